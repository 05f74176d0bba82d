/* SPDX-License-Identifier: MIT */
/*
 * same_processes.c - fork, vfork, exec, wait, groups, sessions and job control, as parents and children see them.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <unistd.h>

#include "case.h"

extern char **environ;
static const char *self;

static int said(long ret)
{
	return ret < 0 ? -errno : (int)ret;
}

static void show_status(const char *what, int status)
{
	if (WIFEXITED(status))
		printf("%s: exited %d\n", what, WEXITSTATUS(status));
	else if (WIFSIGNALED(status))
		printf("%s: signal %d\n", what, WTERMSIG(status));
	else if (WIFSTOPPED(status))
		printf("%s: stopped %d\n", what, WSTOPSIG(status));
	else
		printf("%s: continued %d\n", what, WIFCONTINUED(status));
}

static int reap(pid_t pid)
{
	int status = -1;

	if (waitpid(pid, &status, 0) != pid)
		printf("not reaped: %s\n", strerrorname_np(errno));
	return status;
}

/* A child that runs `fn` and exits with what it returns. */
static pid_t child(int (*fn)(void))
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(fn());
	return pid;
}

static int returns_7(void)
{
	return 7;
}

static int waits(void)
{
	while (pause() < 0)
		;
	return 0;
}

static int dies(void)
{
	raise(SIGTERM);
	return 1;
}

/* --- fork ----------------------------------------------------------------------------------- */

static int word = 5;

static int changes_memory(void)
{
	char *heap = malloc(100000);

	word++;
	memset(heap, 1, 100000);
	return word;
}

static void memory_is_copied(void)
{
	int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char *private = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	strcpy(private, "parent's");
	show_status("child", reap(child(changes_memory)));
	printf("word %d\n", word);
	pid = fork();
	if (pid == 0) {
		*shared = 42;
		strcpy(private, "child's");
		_exit(private[4096]);
	}
	show_status("child", reap(pid));
	printf("shared %d private %s\n", *shared, private);
	munmap(shared, 4096);
	munmap(private, 8192);
}

static void parent_writes_are_its_own(void)
{
	int go[2], answer[2];
	char c;

	if (pipe(go) || pipe(answer))
		return;
	word = 5;
	pid_t pid = fork();
	if (pid == 0) {
		if (read(go[0], &c, 1) != 1)
			_exit(9);
		_exit(word);
	}
	word = 6;
	if (write(go[1], "x", 1) != 1)
		puts("not written");
	show_status("the child sees the old word", reap(pid));
	word = 7;
	printf("mine %d\n", word);
	for (int i = 0; i < 2; i++) {
		close(go[i]);
		close(answer[i]);
	}
}

static void areas_by_advice(void)
{
	char *gone = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *wiped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int status;

	*gone = *wiped = 1;
	printf("%d %d\n", madvise(gone, 4096, MADV_DONTFORK), madvise(wiped, 4096, MADV_WIPEONFORK));
	pid_t pid = fork();
	if (pid == 0)
		_exit(*wiped + 10);
	show_status("wiped", reap(pid));
	pid = fork();
	if (pid == 0)
		_exit(*gone);
	waitpid(pid, &status, 0);
	show_status("gone", status);
	munmap(gone, 4096);
	munmap(wiped, 4096);
}

static void offsets_are_shared(void)
{
	int fd = open("offsets", O_RDWR | O_CREAT | O_TRUNC, 0600);
	pid_t pid;

	if (write(fd, "abcdef", 6) != 6)
		puts("not written");
	lseek(fd, 0, SEEK_SET);
	pid = fork();
	if (pid == 0) {
		char c[2];
		_exit(read(fd, c, 2) == 2 && close(fd) == 0 ? 0 : 1);
	}
	show_status("child", reap(pid));
	printf("offset %d\n", (int)lseek(fd, 0, SEEK_CUR));
	close(fd);
}

static void numbers(void)
{
	int fds[2], ids[4];
	pid_t pid;

	if (pipe(fds))
		return;
	pid = fork();
	if (pid == 0) {
		int mine[4] = {getpid(), getppid(), getpgrp(), getsid(0)};
		_exit(write(fds[1], mine, sizeof(mine)) != sizeof(mine));
	}
	reap(pid);
	if (read(fds[0], ids, sizeof(ids)) != sizeof(ids))
		puts("not read");
	printf("pid %d parent %d group %d session %d\n", ids[0] == pid, ids[1] == getpid(),
	       ids[2] == getpgrp(), ids[3] == getsid(0));
	printf("getpgid of the reaped: %d\n", said(getpgid(pid)));
	close(fds[0]);
	close(fds[1]);
}

static int counts_signals(void)
{
	sigset_t pending;

	sigpending(&pending);
	return sigismember(&pending, SIGUSR1);
}

static void pending_is_not_inherited(void)
{
	sigset_t set, old;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, &old);
	raise(SIGUSR1);
	printf("pending here %d\n", counts_signals());
	show_status("pending in the child", reap(child(counts_signals)));
	signal(SIGUSR1, SIG_IGN);
	sigprocmask(SIG_SETMASK, &old, NULL);
	signal(SIGUSR1, SIG_DFL);
}

static int forks_on(void)
{
	return WEXITSTATUS(reap(child(returns_7))) + 1;
}

static void grandchildren(void)
{
	show_status("child of a child", reap(child(forks_on)));
}

static void many(void)
{
	int sum = 0;

	for (int i = 0; i < 20; i++)
		child(returns_7);
	for (int i = 0; i < 20; i++) {
		int status;
		if (wait(&status) > 0)
			sum += WEXITSTATUS(status);
	}
	printf("sum %d, then %d\n", sum, said(wait(NULL)));
}

/* --- vfork and exec ------------------------------------------------------------------------- */

static void vforks(void)
{
	volatile int seen = 0;
	pid_t pid = vfork();

	if (pid == 0) {
		seen = 3;
		_exit(4);
	}
	show_status("vfork", reap(pid));
	printf("its writes are ours: %d\n", seen);
}

static pid_t run_self(const char *const argv[], const char *const envp[])
{
	pid_t pid = fork();

	if (pid == 0) {
		execve(self, (char *const *)argv, (char *const *)envp);
		_exit(126);
	}
	return pid;
}

static void execs(void)
{
	const char *const argv[] = {"name", "--said", "two words", "", NULL}, *const envp[] = {"A=b", NULL};

	fflush(stdout);
	show_status("exec", reap(run_self(argv, envp)));
}

static void exec_errors(void)
{
	const char *const argv[] = {"x", NULL};
	char *huge[3];
	int fd = open("empty", O_WRONLY | O_CREAT, 0700);

	close(fd);
	fd = open("text", O_WRONLY | O_CREAT, 0600);
	close(fd);
	printf("not there: %d\n", said(execve("/no/such", (char *const *)argv, environ)));
	printf("a directory: %d\n", said(execve("/tmp", (char *const *)argv, environ)));
	printf("not executable: %d\n", said(execve("text", (char *const *)argv, environ)));
	printf("empty: %d\n", said(execve("empty", (char *const *)argv, environ)));
	printf("no name: %d\n", said(execve("", (char *const *)argv, environ)));
	printf("bad pointer: %d\n", said(syscall(SYS_execve, 8, argv, environ)));
	printf("bad arguments: %d\n", said(syscall(SYS_execve, self, 8, environ)));
	huge[0] = malloc(200000);
	memset(huge[0], 'a', 199999);
	huge[0][199999] = 0;
	huge[1] = NULL;
	printf("one that is too long: %d\n", said(execve(self, huge, environ)));
	printf("below a file: %d\n", said(execve("text/x", (char *const *)argv, environ)));
	free(huge[0]);
}

static void write_script(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0700);

	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		puts("not written");
	close(fd);
}

static void exec_scripts(void)
{
	const char *const argv[] = {"zero", "one", NULL};
	char line[600];

	snprintf(line, sizeof(line), "#!%s --said  x y \n", self);
	write_script("script", line);
	write_script("second", "#! ./script -z\n");
	write_script("gone", "#!/no/such\n");
	write_script("none", "#!\n");
	write_script("loop", "#!./loop\n");
	for (int i = 0; i < 5; i++) {
		static const char *const names[] = {"./script", "./second", "./gone", "./none", "./loop"};
		pid_t pid = fork();
		if (pid == 0) {
			execve(names[i], (char *const *)argv, environ);
			_exit(errno);
		}
		show_status(names[i], reap(pid));
	}
}

static void exec_closes(void)
{
	char fd_text[16];
	const char *const argv[] = {"x", "--fd", fd_text, NULL};
	int kept = open("/dev/null", O_RDONLY), closed = open("/dev/null", O_RDONLY | O_CLOEXEC);

	snprintf(fd_text, sizeof(fd_text), "%d", kept);
	show_status("kept", reap(run_self(argv, (const char *const *)environ)));
	snprintf(fd_text, sizeof(fd_text), "%d", closed);
	show_status("closed", reap(run_self(argv, (const char *const *)environ)));
	close(kept);
	close(closed);
}

static void nothing(int signo)
{
	(void)signo;
}

static void exec_signals(void)
{
	const char *const argv[] = {"x", "--actions", NULL};
	sigset_t set, old;

	signal(SIGUSR1, nothing);
	signal(SIGUSR2, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, &old);
	fflush(stdout);
	show_status("actions", reap(run_self(argv, (const char *const *)environ)));
	sigprocmask(SIG_SETMASK, &old, NULL);
	signal(SIGUSR1, SIG_DFL);
	signal(SIGUSR2, SIG_DFL);
}

static void spawns(void)
{
	const char *const argv[] = {"x", "--said", "spawned", NULL};
	pid_t pid = 0;

	fflush(stdout);
	int ret = posix_spawn(&pid, self, NULL, NULL, (char *const *)argv, environ);
	show_status("spawned", reap(pid));
	printf("spawn: %d\n", ret);
	printf("no such: %d\n", posix_spawn(&pid, "/no/such", NULL, NULL, (char *const *)argv, environ));
}

static void exec_by_descriptor(void)
{
	const char *const argv[] = {"x", "--said", NULL};
	int fd = open(self, O_PATH | O_CLOEXEC);
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		syscall(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH);
		_exit(errno);
	}
	show_status("execveat", reap(pid));
	printf("without the flag: %d\n", said(syscall(SYS_execveat, fd, "", argv, environ, 0)));
	printf("bad flags: %d\n", said(syscall(SYS_execveat, fd, "", argv, environ, 1)));
	close(fd);
}

/* --- wait ----------------------------------------------------------------------------------- */

static void wait_errors(void)
{
	int status;

	printf("no child: %d\n", said(waitpid(-1, &status, 0)));
	printf("not mine: %d\n", said(waitpid(1, &status, 0)));
	printf("bad options: %d\n", said(waitpid(-1, &status, 0x10)));
	printf("waitid without: %d\n", said(waitid(P_ALL, 0, NULL, 0)));
	printf("waitid of 0: %d\n", said(waitid(P_PID, 0, NULL, WEXITED)));
	printf("waitid of a kind: %d\n", said(waitid(77, 1, NULL, WEXITED)));
}

static void wait_kinds(void)
{
	siginfo_t info;
	struct rusage usage;
	int status;
	pid_t pid = child(waits);

	printf("not yet: %d\n", said(waitpid(pid, &status, WNOHANG)));
	kill(pid, SIGKILL);
	memset(&info, 0, sizeof(info));
	printf("waitid: %d\n", said(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT)));
	printf("signo %d code %d status %d pid %d\n", info.si_signo, info.si_code, info.si_status,
	       info.si_pid == pid);
	printf("still there: %d\n", wait4(pid, &status, 0, &usage) == pid);
	show_status("killed", status);
	pid = child(returns_7);
	printf("by group: %d\n", waitpid(0, &status, 0) == pid);
	show_status("exited", status);
	show_status("died", reap(child(dies)));
}

static volatile sig_atomic_t nr_children;
static volatile int child_code, child_status;

static void on_child(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)context;
	nr_children++;
	child_code = info->si_code;
	child_status = info->si_status;
}

static void child_signals(void)
{
	struct sigaction sa = {.sa_sigaction = on_child, .sa_flags = SA_SIGINFO | SA_RESTART};
	pid_t pid;

	sigaction(SIGCHLD, &sa, NULL);
	nr_children = 0;
	pid = child(returns_7);
	reap(pid);
	printf("told %d times, code %d status %d\n", (int)nr_children, child_code, child_status);
	sa.sa_sigaction = NULL;
	sa.sa_handler = SIG_IGN;
	sigaction(SIGCHLD, &sa, NULL);
	pid = child(returns_7);
	printf("ignored: %d\n", said(waitpid(pid, NULL, 0)));
	sa.sa_handler = SIG_DFL;
	sa.sa_flags = SA_NOCLDWAIT;
	sigaction(SIGCHLD, &sa, NULL);
	pid = child(returns_7);
	printf("not waited for: %d\n", said(waitpid(pid, NULL, 0)));
	signal(SIGCHLD, SIG_DFL);
}

static void interrupted_wait(void)
{
	struct sigaction sa = {.sa_handler = nothing};
	pid_t parent = getpid(), pid;

	sigaction(SIGUSR1, &sa, NULL);
	pid = fork();
	if (pid == 0) {
		usleep(30000);
		kill(parent, SIGUSR1);
		waits();
	}
	printf("interrupted: %d\n", said(waitpid(pid, NULL, 0)));
	kill(pid, SIGKILL);
	show_status("then", reap(pid));
	signal(SIGUSR1, SIG_DFL);
}

static void orphans(void)
{
	int fds[2], ppid = 0;
	pid_t pid;

	if (pipe(fds))
		return;
	pid = fork();
	if (pid == 0) {
		if (fork() == 0) {
			while (getppid() == 0 || getppid() == getpgrp())
				usleep(1000);
			usleep(20000);
			ppid = getppid();
			_exit(write(fds[1], &ppid, sizeof(ppid)) < 0);
		}
		_exit(0);
	}
	reap(pid);
	close(fds[1]);
	if (read(fds[0], &ppid, sizeof(ppid)) != sizeof(ppid))
		puts("not read");
	printf("its parent is another: %d; mine to wait for: %d\n", ppid != pid, said(wait(NULL)));
	close(fds[0]);
}

static void usage_of_children(void)
{
	struct rusage before, after;
	struct tms tms;
	pid_t pid;

	getrusage(RUSAGE_CHILDREN, &before);
	pid = fork();
	if (pid == 0) {
		for (volatile long i = 0; i < 30000000; i++)
			;
		_exit(0);
	}
	reap(pid);
	getrusage(RUSAGE_CHILDREN, &after);
	printf("their time grew: %d\n", after.ru_utime.tv_sec * 1000000 + after.ru_utime.tv_usec >
						before.ru_utime.tv_sec * 1000000 + before.ru_utime.tv_usec);
	printf("times: %d\n", times(&tms) > 0 && tms.tms_cutime >= 0);
}

/* --- pidfds --------------------------------------------------------------------------------- */

static void pid_directory(const char *path)
{
	int fd = open(path, O_RDONLY);

	printf("%s: %d\n", path, said(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0)));
	close(fd);
}

static void pidfds(void)
{
	pid_t pid = child(waits);
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	siginfo_t info = {0};

	printf("opened %d, close on exec %d\n", fd >= 0, fcntl(fd, F_GETFD));
	printf("not ready: %d\n", poll(&p, 1, 0));
	printf("signal: %d\n", said(syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0)));
	printf("ready: %d %d\n", poll(&p, 1, 5000), p.revents & POLLIN);
	printf("waitid: %d\n", said(waitid(3 /* P_PIDFD */, (id_t)fd, &info, WEXITED)));
	printf("code %d status %d\n", info.si_code, info.si_status);
	printf("signal the reaped: %d\n", said(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0)));
	pid_directory("/proc/self");
	pid_directory("/proc/self/task");
	pid_directory("/proc/self/status");
	printf("no process: %d\n", said(syscall(SYS_pidfd_open, pid, 0)));
	printf("no number: %d\n", said(syscall(SYS_pidfd_open, 0, 0)));
	printf("bad flags: %d\n", said(syscall(SYS_pidfd_open, getpid(), 1)));
	printf("no pidfd: %d\n", said(syscall(SYS_pidfd_send_signal, 0, 0, NULL, 0)));
	close(fd);
}

/* --- groups, sessions, kill ----------------------------------------------------------------- */

static void groups(void)
{
	pid_t pid = child(waits), second = child(waits);

	printf("own group: %d\n", said(setpgid(pid, 0)));
	printf("it leads: %d\n", getpgid(pid) == pid);
	printf("join: %d\n", said(setpgid(second, pid)));
	printf("not there: %d\n", said(setpgid(second, 0x3ffffff)));
	printf("negative: %d\n", said(setpgid(second, -1)));
	printf("not a child: %d\n", said(setpgid(1, 1)));
	printf("kill the group: %d\n", said(kill(-pid, SIGTERM)));
	show_status("first", reap(pid));
	show_status("second", reap(second));
	printf("nobody left: %d\n", said(kill(-pid, 0)));
	printf("bad signal: %d\n", said(kill(getpid(), 65)));
	printf("no such process: %d\n", said(kill(pid, 0)));
}

static int makes_session(void)
{
	pid_t sid = setsid();

	if (sid != getpid() || getsid(0) != sid || getpgrp() != sid)
		return 1;
	if (setsid() != -1 || errno != EPERM)
		return 2;
	return setpgid(0, 0) == -1 && errno == EPERM ? 0 : 3;
}

static void sessions(void)
{
	show_status("session", reap(child(makes_session)));
	printf("of nobody: %d\n", said(getsid(0x3ffffff)));
}

static void death_signal(void)
{
	int fds[2];
	char c;
	pid_t pid;

	if (pipe(fds))
		return;
	pid = fork();
	if (pid == 0) {
		pid_t middle = getpid();
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			close(fds[0]);
			if (getppid() != middle)
				_exit(1);
			waits();
		}
		usleep(50000);
		_exit(0);
	}
	close(fds[1]);
	reap(pid);
	printf("its end of the pipe is closed: %d\n", (int)read(fds[0], &c, 1));
	close(fds[0]);
}

/* --- stops ---------------------------------------------------------------------------------- */

static void stops(void)
{
	pid_t pid = child(waits);
	int status;

	kill(pid, SIGSTOP);
	waitpid(pid, &status, WUNTRACED);
	show_status("stop", status);
	printf("told once: %d\n", said(waitpid(pid, &status, WUNTRACED | WNOHANG)));
	kill(pid, SIGCONT);
	waitpid(pid, &status, WCONTINUED);
	show_status("continue", status);
	kill(pid, SIGSTOP);
	waitpid(pid, &status, WUNTRACED);
	kill(pid, SIGKILL);
	show_status("killed while stopped", reap(pid));
}

static int ends(void)
{
	return 0;
}

/* Its group is as able to be continued as before: nobody is told anything. */
static void others_end(void)
{
	pid_t pid = child(waits);
	int status;

	kill(pid, SIGSTOP);
	waitpid(pid, &status, WUNTRACED);
	show_status("another", reap(child(ends)));
	usleep(20000);
	printf("still stopped: %d\n", said(waitpid(pid, &status, WCONTINUED | WNOHANG)));
	kill(pid, SIGKILL);
	show_status("killed", reap(pid));
}

/* --- what a program that was executed does -------------------------------------------------- */

static int say_arguments(int argc, char **argv)
{
	for (int i = 0; i < argc; i++)
		printf("argv[%d] = %s\n", i,
		       i == 2 && argc > 2      ? "(second)"
		       : strrchr(argv[i], '/') ? "(path)"
					       : argv[i]);
	printf("A = %s\n", getenv("A") ? getenv("A") : "(none)");
	return 11;
}

static int say_actions(void)
{
	struct sigaction one, two;
	sigset_t set;

	sigaction(SIGUSR1, NULL, &one);
	sigaction(SIGUSR2, NULL, &two);
	sigprocmask(SIG_SETMASK, NULL, &set);
	printf("handler gone %d, ignored stays %d, mask stays %d\n", one.sa_handler == SIG_DFL,
	       two.sa_handler == SIG_IGN, sigismember(&set, SIGHUP));
	return 0;
}

static const struct guest_case cases[] = {
	{"fork: private memory is the child's own, shared memory is both's [M4][M5]", memory_is_copied},
	{"fork: what the parent writes later the child does not see [M4][M7]", parent_writes_are_its_own},
	{"fork: areas that a child does not get, or gets empty [M4]", areas_by_advice},
	{"fork: an open file has one offset for both [J2]", offsets_are_shared},
	{"fork: numbers of the child [J2]", numbers},
	{"fork: pending signals stay with the parent [J2]", pending_is_not_inherited},
	{"fork: children fork too [J2]", grandchildren},
	{"fork: twenty at once, all waited for [J2]", many},
	{"vfork: the child has the parent's memory until it ends [G9]", vforks},
	{"exec: arguments and environment arrive [J2]", execs},
	{"exec: errors [J2]", exec_errors},
	{"exec: scripts, their interpreters' scripts, and loops [J2]", exec_scripts},
	{"exec: closes what is marked so [J2]", exec_closes},
	{"exec: handlers go, what is ignored and blocked stays [J2]", exec_signals},
	{"exec: posix_spawn [G9]", spawns},
	{"exec: by a descriptor [J2]", exec_by_descriptor},
	{"wait: errors [J2]", wait_errors},
	{"wait: how children ended, by number, group and waitid [J2]", wait_kinds},
	{"wait: SIGCHLD, and children nobody waits for [J2]", child_signals},
	{"wait: a handler interrupts it [J2]", interrupted_wait},
	{"wait: an orphan is another's [J2]", orphans},
	{"wait: the times of children that were waited for [J2]", usage_of_children},
	{"pidfd: opened, polled, signalled, waited for [J2]", pidfds},
	{"groups: made, joined, signalled [J2]", groups},
	{"sessions: made once [J2]", sessions},
	{"prctl: a signal when the parent dies [J2]", death_signal},
	{"stops: told to the parent, continued, killed [J2]", stops},
	{"stops: another's end in the group is no news [J2]", others_end},
};

int main(int argc, char **argv)
{
	static char path[4096];

	setvbuf(stdout, NULL, _IONBF, 0);
	if (argc > 1 && !strncmp(argv[1], "--said", 6))
		return say_arguments(argc, argv);
	if (argc > 1 && !strcmp(argv[1], "--actions"))
		return say_actions();
	if (argc > 2 && !strcmp(argv[1], "--fd"))
		return fcntl(atoi(argv[2]), F_GETFD) == -1;
	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	self = realpath(argv[0], path);
	cases_run(argc, argv, cases, NR_CASES(cases), NULL);
	return 0;
}
