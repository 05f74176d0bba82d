/* SPDX-License-Identifier: MIT */
/*
 * same_procpeer.c - what /proc says of other processes and threads, and what can be done to their memory there.
 */
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "window.h"

static char path[128];

static const char *path_of(int pid, const char *name)
{
	snprintf(path, sizeof(path), "/proc/%d%s%s", pid, *name ? "/" : "", name);
	return path;
}

static char state_of(int pid)
{
	char line[1024] = "";
	int fd = open(path_of(pid, "stat"), O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);
	const char *end = n < 0 ? NULL : strrchr(line, ')');

	if (fd >= 0)
		close(fd);
	return end ? end[2] : '?';
}

static void await_state(int pid, char wanted)
{
	for (int i = 0; i < 2000 && state_of(pid) != wanted; i++)
		usleep(5000);
	printf("state %c\n", state_of(pid));
}

/* Lines that begin with a key. */
static void show_lines(int pid, const char *name, const char *key)
{
	char line[1024];
	FILE *in = fopen(path_of(pid, name), "r");

	if (!in)
		printf("%s: %s\n", name, strerrorname_np(errno));
	while (in && fgets(line, sizeof(line), in))
		if (!strncmp(line, key, strlen(key)))
			printf("%s: %s", name, line);
	if (in)
		fclose(in);
}

static int child_that_waits(void)
{
	int pid = fork();

	if (pid)
		return pid;
	for (;;)
		pause();
}

static void end(int pid)
{
	kill(pid, SIGKILL);
	TELL(waitpid(pid, NULL, 0) == pid ? 0 : -1);
}

static void states(void)
{
	int pid = child_that_waits();

	await_state(pid, 'S');
	kill(pid, SIGSTOP);
	await_state(pid, 'T');
	show_lines(pid, "status", "State");
	kill(pid, SIGCONT);
	await_state(pid, 'S');
	show_lines(pid, "status", "State");
	kill(pid, SIGKILL);
	await_state(pid, 'Z');
	show_lines(pid, "status", "State");
	show_lines(pid, "status", "Vm");
	show_lines(pid, "maps", "");
	TELL(waitpid(pid, NULL, 0) == pid ? 0 : -1);
	TELL(access(path_of(pid, "stat"), F_OK));
	TELL(access(path_of(pid, ""), F_OK));
}

static void a_child_that_runs(void)
{
	int pid = fork();

	if (!pid)
		for (volatile unsigned long i = 0;; i++)
			;
	await_state(pid, 'R');
	end(pid);
}

static void memory(void)
{
	char text[8] = "";
	int pid, fd;

	put(0, 2, RW);
	letters(0, 2);
	mprotect(AT(1), PAGE, PROT_NONE);
	pid = child_that_waits();
	AT(0)[0] = 'P';
	fd = open(path_of(pid, "mem"), O_RDWR);
	COUNT(pread(fd, text, 3, (off_t)(uintptr_t)AT(0)));
	printf("%.3s\n", text);
	COUNT(pwrite(fd, "xyz", 3, (off_t)(uintptr_t)AT(1) - 1));
	COUNT(pread(fd, text, 6, (off_t)(uintptr_t)AT(1) - 2));
	printf("%.6s and here %.3s\n", text, AT(0));
	COUNT(pread(fd, text, 6, (off_t)(uintptr_t)AT(2)));
	kill(pid, SIGKILL);
	await_state(pid, 'Z');
	COUNT(pread(fd, text, 6, (off_t)(uintptr_t)AT(0)));
	TELL(waitpid(pid, NULL, 0) == pid ? 0 : -1);
	COUNT(pread(fd, text, 6, (off_t)(uintptr_t)AT(0)));
	TELL(open(path_of(pid, "mem"), O_RDWR));
	close(fd);
}

static void areas(void)
{
	int pid, fd;
	uint64_t entry = 0;

	put(0, 64, RW);
	letters(0, 1);
	pid = child_that_waits();
	put(80, 1, RW);
	show_lines(pid, "maps", "1000000");
	show_lines(pid, "smaps", "1000000");
	fd = open(path_of(pid, "pagemap"), O_RDONLY);
	for (long i = 0; i < 64; i += 40) {
		COUNT(pread(fd, &entry, 8, (off_t)((uintptr_t)AT(i) / PAGE * 8)));
		printf("present %d\n", (int)(entry >> 63));
	}
	close(fd);
	end(pid);
}

/* What it may is told of the process that is asked about. */
static void rights(void)
{
	int pid, ready[2];
	char byte = 0;

	TELL(pipe(ready));
	fflush(stdout);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		prctl(PR_SET_SECCOMP, 1 /* strict */);
		write(ready[1], &byte, 1);
		for (;;)
			read(ready[0], NULL, 0);
	}
	COUNT(read(ready[0], &byte, 1));
	show_lines(pid, "status", "Uid:");
	show_lines(pid, "status", "Gid:");
	show_lines(pid, "status", "NoNewPrivs:");
	show_lines(pid, "status", "Seccomp:");
	show_lines(getpid(), "status", "NoNewPrivs:");
	show_lines(getpid(), "status", "Seccomp:");
	end(pid);
}

static void names(void)
{
	struct stat st;
	char text[64] = "";
	int pid = child_that_waits(), own = getpid();

	TELL(stat(path_of(pid, ""), &st));
	printf("directory %d\n", S_ISDIR(st.st_mode));
	TELL(lstat(path_of(pid, ""), &st));
	printf("directory %d\n", S_ISDIR(st.st_mode));
	TELL(access(path_of(pid, "nothing"), F_OK));
	TELL(access(path_of(0, "stat"), F_OK));
	TELL(access("/proc/4194999/stat", F_OK));
	int fd = open(path_of(pid, "comm"), O_RDONLY);
	COUNT(read(fd, text, sizeof(text)));
	printf("%s", text);
	close(fd);
	end(pid);
	TELL(access(path_of(own, "stat"), F_OK));
}

/* A child by its own number, and its parent. */
static void in_a_child(void)
{
	int parent = getpid(), pid = fork(), status;

	if (!pid) {
		char self[32] = "", text[32];

		snprintf(text, sizeof(text), "%d", getpid());
		COUNT(readlink("/proc/self", self, sizeof(self)) == (ssize_t)strlen(text));
		printf("same %d\n", !strcmp(self, text));
		TELL(access(path_of(getpid(), "maps"), R_OK));
		TELL(access(path_of(parent, "maps"), R_OK));
		printf("parent %d\n", state_of(parent) != '?');
		fflush(stdout);
		_exit(5);
	}
	waitpid(pid, &status, 0);
	printf("status %d\n", WEXITSTATUS(status));
}

static _Atomic int thread_number;

static void *thread_that_waits(void *arg)
{
	thread_number = (int)syscall(SYS_gettid);
	for (;;)
		pause();
	return arg;
}

static void threads(void)
{
	pthread_t thread;
	char name[64];

	pthread_create(&thread, NULL, thread_that_waits, NULL);
	while (!thread_number)
		usleep(1000);
	snprintf(name, sizeof(name), "task/%d", thread_number);
	TELL(access(path_of(getpid(), name), F_OK));
	snprintf(name, sizeof(name), "/proc/self/task/%d/stat", thread_number);
	TELL(access(name, R_OK));
	FILE *in = fopen(name, "r");
	int number = 0;
	COUNT(in ? fscanf(in, "%d", &number) : -1);
	printf("same %d\n", number == thread_number);
	if (in)
		fclose(in);
	snprintf(name, sizeof(name), "/proc/self/task/%d/stat", getpid());
	TELL(access(name, R_OK));
	TELL(access("/proc/self/task/4194999/stat", R_OK));
	pthread_cancel(thread);
	TELL(pthread_join(thread, NULL));
}

/* The number after a key, and whose it is. */
static void whose(const char *name, const char *key)
{
	char line[256];
	FILE *in = fopen(name, "r");
	int number = 0;

	while (!number && in && fgets(line, sizeof(line), in))
		if (!strncmp(line, key, strlen(key)))
			number = atoi(line + strlen(key));
	if (in)
		fclose(in);
	printf("%s%s\n", key,
	       number == getpid()		    ? "the process's"
	       : number == (int)syscall(SYS_gettid) ? "the thread's"
						    : "of nobody");
}

static void *thread_that_looks(void *arg)
{
	int tid = (int)syscall(SYS_gettid);
	char name[64];

	whose("/proc/self/status", "Pid:");
	whose("/proc/self/stat", "");
	whose(path_of(getpid(), "status"), "Pid:");
	whose("/proc/thread-self/status", "Pid:");
	whose(path_of(tid, "status"), "Pid:");
	whose(path_of(tid, "status"), "Tgid:");
	whose(path_of(tid, "stat"), "");
	snprintf(name, sizeof(name), "task/%d", tid);
	TELL(access(path_of(getpid(), name), F_OK));
	TELL(access(path_of(tid, "task"), F_OK));
	TELL(access(path_of(tid, "cmdline"), R_OK));
	return arg;
}

static void a_thread_looks(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, thread_that_looks, NULL);
	pthread_join(thread, NULL);
}

static void put_text(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY);

	if (fd < 0)
		TELL(fd);
	else
		COUNT(write(fd, text, strlen(text)));
	close(fd);
}

static void show_text(const char *name)
{
	char text[64] = "";
	int fd = open(name, O_RDONLY);

	COUNT(read(fd, text, sizeof(text) - 1));
	printf("%s", text);
	close(fd);
}

static void *thread_that_names(void *arg)
{
	char first[64], own[16] = "";

	prctl(PR_SET_NAME, "second");
	snprintf(first, sizeof(first), "/proc/self/task/%d/comm", getpid());
	show_text("/proc/self/comm");
	show_text("/proc/thread-self/comm");
	put_text("/proc/self/comm", "named by another");
	put_text("/proc/thread-self/comm", "by itself");
	show_text("/proc/self/comm");
	prctl(PR_GET_NAME, own);
	puts(own);
	put_text(first, "");
	show_text(first);
	put_text(path_of(getpid(), "comm"), "short\n");
	show_text(path_of(getpid(), "comm"));
	show_text(path_of((int)syscall(SYS_gettid), "comm"));
	return arg;
}

static void names_of_threads(void)
{
	pthread_t thread;
	char own[16] = "";

	prctl(PR_SET_NAME, "first");
	pthread_create(&thread, NULL, thread_that_names, NULL);
	pthread_join(thread, NULL);
	prctl(PR_GET_NAME, own);
	puts(own);
}

/* What a process may say of a child. */
static void settings_of_a_child(void)
{
	int pid = child_that_waits();

	put_text(path_of(pid, "oom_score_adj"), "300");
	show_text(path_of(pid, "oom_score_adj"));
	put_text(path_of(pid, "oom_score_adj"), "1001");
	put_text(path_of(pid, "oom_score_adj"), "x");
	show_text(path_of(pid, "oom_score_adj"));
	show_text("/proc/self/oom_score_adj");
	put_text(path_of(pid, "comm"), "named");
	end(pid);
}

static const struct guest_case cases[] = {
	{"/proc/PID/stat: a child sleeps, stands still, is dead, is gone", states},
	{"/proc/PID/stat: a child runs", a_child_that_runs},
	{"/proc/PID/mem: a child's memory [P5]", memory},
	{"/proc/PID/maps, smaps, pagemap: of a child [R1 R5]", areas},
	{"/proc/PID/status: what a child may", rights},
	{"/proc/PID: names", names},
	{"/proc/PID: a child's own, and its parent's", in_a_child},
	{"/proc/self/task/TID: another thread", threads},
	{"/proc/self is the first thread's, whoever asks; /proc/TID is the thread's", a_thread_looks},
	{"/proc/PID/comm: of threads, which name each other", names_of_threads},
	{"/proc/PID/oom_score_adj, comm: a child's, set by its parent", settings_of_a_child},
};

CASES_MAIN(cases)
