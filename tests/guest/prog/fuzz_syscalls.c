/* SPDX-License-Identifier: MIT */
/*
 * fuzz_syscalls.c SEED MILLISECONDS DIR [PATH...] - random calls with hostile arguments, from threads and processes at once.
 *
 * The first process makes workers, ends each after a moment by SIGKILL, and makes the next; it stays small and careful. A worker and
 * its threads call whatever comes: numbers out of a table with the kind of each argument, or any number with anything. They share an
 * arena of memory that all of them map, unmap, protect and hand to calls, some files below DIR, descriptors, and signal handlers. PATHs
 * are names of things that nobody here may change.
 *
 * What the calls answer is not looked at: the program ends with 0 when its time is over, and everything else is its host's to check.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE	    4096ul
#define ARENA	    0x100000000ul
#define ARENA_PAGES 1024ul
#define NR_WORKERS  3
#define NR_THREADS  3
#define MAX_PATHS   64
#define CHILD_CALLS 30
#define LAST_CALL   470
#define SYS_MSEAL   462 /* Linux 6.10 */

static const char *paths[MAX_PATHS];
static unsigned int nr_paths;
static pid_t parent;

/* --- chance ----------------------------------------------------------------------------------------------------- */

static __thread uint64_t chance_state;

static uint64_t chance(void)
{
	chance_state ^= chance_state >> 12;
	chance_state ^= chance_state << 25;
	chance_state ^= chance_state >> 27;
	return chance_state * 0x2545f4914f6cdd1dull;
}

static uint64_t below(uint64_t bound)
{
	return (chance() >> 16) % bound;
}

static uint64_t one_of(const uint64_t *values, size_t nr)
{
	return values[below(nr)];
}

#define ONE_OF(...) one_of((const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / 8)

/* --- memory that may not be there ------------------------------------------------------------------------------- */

static __thread sigjmp_buf back;
static __thread volatile sig_atomic_t touching;

/* A fault of ours is passed over; any other is the worker's end. */
static void on_fault(int signo)
{
	if (touching)
		siglongjmp(back, signo);
	_exit(3);
}

/* Copies as far as it goes. */
static void copy_to(uint64_t to, const uint64_t *word, size_t nr)
{
	volatile uint64_t *at = (volatile uint64_t *)(uintptr_t)to;

	touching = 1;
	if (!sigsetjmp(back, 0))
		for (size_t i = 0; i < nr; i++)
			at[i] = word[i];
	touching = 0;
}

/* Memory is touched as programs do it: faults race with the calls. */
static void touch(void)
{
	volatile char *at = (volatile char *)(ARENA + below(ARENA_PAGES) * PAGE);
	bool store = below(2);

	touching = 1;
	if (!sigsetjmp(back, 0)) {
		if (store)
			*at = 1;
		else
			(void)*at;
	}
	touching = 0;
}

/* --- arguments -------------------------------------------------------------------------------------------------- */

static uint64_t any_number(void)
{
	switch (below(6)) {
	case 0:
		return below(16);
	case 1:
		return 1ull << below(64);
	case 2:
		return ~0ull - below(4096);
	case 3:
		return ONE_OF(0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff,
			      0x8000000000000000, 0x7ffffffff000, 0x800000000000, 0xffff800000000000,
			      0xffffffffffffffff);
	case 4:
		return (1ull << below(64)) - 1;
	default:
		return chance();
	}
}

static uint64_t any_address(void)
{
	switch (below(12)) {
	case 0:
		return ONE_OF(0, 8, PAGE, 0x7fffffffe000, 0x7ffffffff000 - 8, 0x7fffffffffff, 0x800000000000,
			      0xffffffff81000000, 0xffffffffffffffff, 0xfffffffffffff000);
	case 1:
		return any_number();
	case 2:
		return (uint64_t)(uintptr_t)&chance_state & ~(PAGE - 1);
	case 3: /* the end of a page, and over it */
		return ARENA + below(ARENA_PAGES) * PAGE - below(64);
	default:
		return ARENA + below(ARENA_PAGES) * PAGE + (below(2) ? below(512) * 8 : 0);
	}
}

static uint64_t page_address(void)
{
	return below(16) ? ARENA + below(ARENA_PAGES) * PAGE : any_address();
}

static uint64_t length(void)
{
	switch (below(8)) {
	case 0:
		return any_number();
	case 1:
		return (1 + below(ARENA_PAGES)) * PAGE;
	case 2:
		return below(PAGE);
	default:
		return (1 + below(16)) * PAGE;
	}
}

static uint64_t any_size(void)
{
	return below(8) ? below(3 * PAGE) : any_number();
}

static uint64_t file_descriptor(void)
{
	return below(16) ? below(40) : ONE_OF(-1ull, (uint64_t)AT_FDCWD, 1023, 1024, 0x7fffffff, 0x100000001);
}

static uint64_t process(void)
{
	uint64_t pid = below(4) ? (uint64_t)syscall(SYS_getpid) : below(8) ? below(100000) : any_number();

	return (int)pid == -1 || (int)pid == parent || (int)pid == -parent ? 0 : pid;
}

static uint64_t path(void)
{
	if (!below(32))
		return any_address();
	return (uint64_t)(uintptr_t)paths[below(nr_paths)];
}

/* Memory with something in it: small numbers, addresses, descriptors, times. */
static uint64_t filled(void)
{
	uint64_t at = ARENA + below(ARENA_PAGES - 1) * PAGE + below(32) * 8, word[16];

	if (!below(8))
		return any_address();
	for (size_t i = 0; i < sizeof(word) / sizeof(word[0]); i++) {
		switch (below(5)) {
		case 0:
			word[i] = any_number();
			break;
		case 1:
			word[i] = any_address();
			break;
		case 2:
			word[i] = below(40) | below(64) << 32;
			break;
		default:
			word[i] = below(3 * PAGE);
			break;
		}
	}
	copy_to(at, word, sizeof(word) / sizeof(word[0]));
	return at;
}

static uint64_t short_time(void)
{
	static _Thread_local struct timespec ts;

	if (!below(8))
		return filled();
	ts = (struct timespec){.tv_nsec = (long)below(3000000)};
	return (uint64_t)(uintptr_t)&ts;
}

static uint64_t clone_flags(void)
{
	static const uint64_t common[] = {SIGCHLD,
					  0,
					  CLONE_VM | SIGCHLD,
					  CLONE_VM | CLONE_VFORK | SIGCHLD,
					  CLONE_FILES | CLONE_FS | SIGCHLD,
					  CLONE_VM | CLONE_SIGHAND,
					  CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD};

	return below(4) ? one_of(common, sizeof(common) / sizeof(common[0])) : chance();
}

/* One letter, one kind. */
static uint64_t argument(char kind)
{
	switch (kind) {
	case 'a':
		return page_address();
	case 'b':
		return any_address();
	case 'l':
		return length();
	case 'n':
		return any_size();
	case 'p':
		return below(16) ? below(8) : any_number();
	case 'm':
		return ONE_OF(MAP_PRIVATE, MAP_SHARED) | (below(2) ? MAP_FIXED : 0) |
		       (below(4) ? MAP_ANONYMOUS : 0) | (below(16) ? 0 : chance() & 0xffffff);
	case 'f':
		return file_descriptor();
	case 'o':
		return below(4) ? below(64) * PAGE : any_number();
	case 's':
		return path();
	case 'S':
		return filled();
	case 'F':
		return below(4) | (below(2) ? O_CREAT : 0) | (below(4) ? 0 : chance() & 0x7fffff);
	case 'P':
		return process();
	case 'g':
		return below(8) ? below(66) : any_number();
	case 't':
		return short_time();
	case 'c':
		return clone_flags();
	case 'i':
		return below(32);
	case '0':
		return 0;
	default:
		return any_number();
	}
}

/* --- calls ------------------------------------------------------------------------------------------------------ */

struct call {
	int nr;
	const char *kinds;
};

#define CALL(name, kinds)         \
	{                         \
		SYS_##name, kinds \
	}

static const struct call calls[] = {
	CALL(mmap, "alpmfo"),
	CALL(mmap, "alpmfo"),
	CALL(munmap, "al"),
	CALL(mprotect, "alp"),
	CALL(mremap, "allia"),
	CALL(madvise, "ali"),
	CALL(brk, "b"),
	CALL(mlock, "al"),
	CALL(mlock2, "ali"),
	CALL(munlock, "al"),
	CALL(mlockall, "i"),
	CALL(munlockall, ""),
	CALL(msync, "ali"),
	CALL(mincore, "alb"),
	CALL(mbind, "aliSni"),
	CALL(set_mempolicy, "iSn"),
	CALL(get_mempolicy, "bbnai"),
	CALL(move_pages, "PnSSSi"),
	CALL(remap_file_pages, "al0oi"),
	{SYS_MSEAL, "al0"},
	CALL(pkey_mprotect, "alpi"),
	CALL(process_madvise, "fSnii"),
	CALL(membarrier, "iii"),
	CALL(memfd_create, "si"),
	CALL(shmget, "inx"),
	CALL(shmat, "iai"),
	CALL(shmdt, "a"),
	CALL(shmctl, "iiS"),
	CALL(read, "fbn"),
	CALL(write, "fbn"),
	CALL(pread64, "fbno"),
	CALL(pwrite64, "fbno"),
	CALL(readv, "fSi"),
	CALL(writev, "fSi"),
	CALL(preadv2, "fSioii"),
	CALL(pwritev2, "fSioii"),
	CALL(lseek, "foi"),
	CALL(openat, "fsFx"),
	CALL(open, "sFx"),
	CALL(openat2, "fsSn"),
	CALL(creat, "sx"),
	CALL(close, "f"),
	CALL(close_range, "ffi"),
	CALL(dup, "f"),
	CALL(dup2, "ff"),
	CALL(dup3, "ffF"),
	CALL(fcntl, "fix"),
	CALL(fcntl, "fiS"),
	CALL(ioctl, "fxS"),
	CALL(ftruncate, "fo"),
	CALL(truncate, "so"),
	CALL(fallocate, "fioo"),
	CALL(fsync, "f"),
	CALL(sync_file_range, "fooi"),
	CALL(flock, "fi"),
	CALL(sendfile, "ffSn"),
	CALL(splice, "fSfSni"),
	CALL(copy_file_range, "fSfSni"),
	CALL(pipe2, "Si"),
	CALL(eventfd2, "ii"),
	CALL(epoll_create1, "i"),
	CALL(epoll_ctl, "fifS"),
	CALL(epoll_pwait, "fSit0n"),
	CALL(poll, "Sii"),
	CALL(ppoll, "SitSn"),
	CALL(pselect6, "iSSStS"),
	CALL(timerfd_create, "ii"),
	CALL(timerfd_settime, "fiSS"),
	CALL(socketpair, "iiiS"),
	CALL(socket, "iii"),
	CALL(bind, "fSn"),
	CALL(connect, "fSn"),
	CALL(listen, "fi"),
	CALL(accept4, "fSSi"),
	CALL(sendmsg, "fSi"),
	CALL(recvmsg, "fSi"),
	CALL(sendto, "fbniSn"),
	CALL(recvfrom, "fbniSS"),
	CALL(setsockopt, "fiiSn"),
	CALL(getsockopt, "fiiSS"),
	CALL(shutdown, "fi"),
	CALL(stat, "sb"),
	CALL(statx, "fsiib"),
	CALL(newfstatat, "fsbi"),
	CALL(access, "si"),
	CALL(mkdir, "sx"),
	CALL(rmdir, "s"),
	CALL(unlink, "s"),
	CALL(unlinkat, "fsx"),
	CALL(rename, "ss"),
	CALL(renameat2, "fsfsi"),
	CALL(link, "ss"),
	CALL(linkat, "fsfsx"),
	CALL(symlink, "ss"),
	CALL(readlink, "sbn"),
	CALL(mknod, "sxx"),
	CALL(chmod, "sx"),
	CALL(fchmod, "fx"),
	CALL(chown, "sxx"),
	CALL(utimensat, "fsSi"),
	CALL(setxattr, "ssSni"),
	CALL(getdents64, "fbn"),
	CALL(chdir, "s"),
	CALL(fchdir, "f"),
	CALL(getcwd, "bn"),
	CALL(chroot, "s"),
	CALL(mount, "sssxS"),
	CALL(umount2, "si"),
	CALL(futex, "biitax"),
	CALL(set_robust_list, "Sn"),
	CALL(set_tid_address, "a"),
	CALL(rt_sigaction, "gSbn"),
	CALL(rt_sigprocmask, "iSbn"),
	CALL(rt_sigtimedwait, "Sbtn"),
	CALL(rt_sigqueueinfo, "PgS"),
	CALL(rt_tgsigqueueinfo, "PPgS"),
	CALL(sigaltstack, "Sb"),
	CALL(kill, "Pg"),
	CALL(tgkill, "PPg"),
	CALL(pidfd_open, "Pi"),
	CALL(pidfd_send_signal, "fgSi"),
	CALL(pidfd_getfd, "ffi"),
	CALL(alarm, "i"),
	CALL(setitimer, "iSb"),
	CALL(timer_create, "iSS"),
	CALL(nanosleep, "tb"),
	CALL(clock_nanosleep, "iitb"),
	CALL(clock_gettime, "ib"),
	CALL(clone, "cabbx"),
	CALL(clone3, "Sn"),
	CALL(fork, ""),
	CALL(vfork, ""),
	CALL(execve, "sSS"),
	CALL(execveat, "fsSSx"),
	CALL(wait4, "PSiS"),
	CALL(waitid, "iPSiS"),
	CALL(exit, "x"),
	CALL(prctl, "ixxxx"),
	CALL(arch_prctl, "xb"),
	CALL(prlimit64, "PiSb"),
	CALL(setrlimit, "iS"),
	CALL(getrusage, "ib"),
	CALL(process_vm_readv, "PSiSi0"),
	CALL(process_vm_writev, "PSiSi0"),
	CALL(sched_setaffinity, "PnS"),
	CALL(sched_getaffinity, "Pnb"),
	CALL(setpgid, "PP"),
	CALL(setsid, ""),
	CALL(capget, "SS"),
	CALL(capset, "SS"),
	CALL(setuid, "x"),
	CALL(setgroups, "nS"),
	CALL(getrandom, "bni"),
	CALL(uname, "b"),
	CALL(sysinfo, "b"),
	CALL(kcmp, "PPiff"),
	CALL(userfaultfd, "i"),
	CALL(reboot, "xxxS"),
	CALL(rseq, "Snix"),
};

#define NR_CALLS (sizeof(calls) / sizeof(calls[0]))

/* Calls that find the careful parent by themselves, or that nothing ends but a signal. */
static int is_left_out(int nr)
{
	return nr == SYS_pause || nr == SYS_rt_sigsuspend || nr == SYS_ptrace;
}

/* A process that was not there before ends soon. */
static void child_or_not(pid_t before, int depth);

static bool makes_tasks(int nr)
{
	return nr == SYS_fork || nr == SYS_vfork || nr == SYS_clone || nr == SYS_clone3;
}

static void one_call(int depth)
{
	struct call c = calls[below(NR_CALLS)];
	uint64_t a[6];
	pid_t before;

	if (!below(24))
		c = (struct call){(int)below(LAST_CALL), below(2) ? "xxxxxx" : "SSSSSS"};
	for (size_t i = 0, end = strlen(c.kinds); i < 6; i++)
		a[i] = argument(i < end ? c.kinds[i] : '0');
	if (is_left_out(c.nr))
		return;
	if (c.nr == SYS_kill || c.nr == SYS_rt_sigqueueinfo || c.nr == SYS_tkill || c.nr == SYS_tgkill ||
	    c.nr == SYS_rt_tgsigqueueinfo || c.nr == SYS_setpriority || c.nr == SYS_process_vm_writev)
		a[0] = process();
	if (c.nr == SYS_poll || c.nr == SYS_epoll_wait || c.nr == SYS_epoll_pwait)
		a[c.nr == SYS_poll ? 2 : 3] = below(4);
	before = makes_tasks(c.nr) ? (pid_t)syscall(SYS_getpid) : 0;
	syscall(c.nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (before)
		child_or_not(before, depth);
}

static void child_or_not(pid_t before, int depth)
{
	if ((pid_t)syscall(SYS_getpid) == before)
		return;
	chance_state ^= (uint64_t)syscall(SYS_getpid) * 0x9e3779b97f4a7c15ull;
	for (int i = 0; depth < 3 && i < CHILD_CALLS; i++)
		one_call(depth + 1);
	syscall(SYS_exit_group, 0);
}

/* --- workers ---------------------------------------------------------------------------------------------------- */

static void on_signal(int signo)
{
	(void)signo;
}

static void install_handlers(void)
{
	struct sigaction fault = {.sa_handler = on_fault, .sa_flags = SA_NODEFER},
			 other = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

	for (int signo = SIGHUP; signo < SIGTERM; signo++)
		sigaction(signo, signo == SIGSEGV || signo == SIGBUS ? &fault : &other, NULL);
}

static void *call_for_ever(void *seed)
{
	chance_state = (uint64_t)(uintptr_t)seed | 1;
	for (;;) {
		one_call(0);
		touch();
	}
	return NULL;
}

static void map_arena(int shared)
{
	mmap((void *)ARENA, ARENA_PAGES / 2 * PAGE, PROT_READ | PROT_WRITE,
	     MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mmap((void *)(ARENA + ARENA_PAGES / 2 * PAGE), ARENA_PAGES / 4 * PAGE, PROT_READ | PROT_WRITE,
	     MAP_FIXED | MAP_SHARED, shared, 0);
}

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd >= 0 && write(fd, text, strlen(text)) < 0)
		_exit(2);
	close(fd);
}

static void work(uint64_t seed, int shared)
{
	const struct rlimit files = {64, 64};
	pthread_t thread;

	write_text("/proc/self/oom_score_adj", "1000");
	setsid();
	setrlimit(RLIMIT_NOFILE, &files);
	map_arena(shared);
	for (uint64_t i = 1; i < NR_THREADS; i++)
		pthread_create(&thread, NULL, call_for_ever,
			       (void *)(uintptr_t)(seed + i * 0x9e3779b97f4a7c15ull));
	call_for_ever((void *)(uintptr_t)seed);
}

/* --- the parent ------------------------------------------------------------------------------------------------- */

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void add_path(const char *dir, const char *name)
{
	static char text[MAX_PATHS][300];

	if (nr_paths < MAX_PATHS) {
		snprintf(text[nr_paths], sizeof(text[0]), "%s%s", dir, name);
		paths[nr_paths] = text[nr_paths];
		nr_paths++;
	}
}

static void name_paths(const char *dir, char **others)
{
	static const char *const in_dir[] = {"",       "/a",	"/b",	   "/a/b",	 "/a/../b", "/sub",
					     "/sub/c", "/link", "/link/x", "/../secret", "/./a/",   "/c/d/e"};
	static const char *const fixed[] = {"",
					    ".",
					    "..",
					    "/",
					    "a",
					    "/dev/null",
					    "/dev/zero",
					    "/tmp",
					    "/etc/passwd",
					    "/proc/self/mem",
					    "/proc/self/maps",
					    "/proc/self/smaps",
					    "/proc/self/status",
					    "/proc/self/fd",
					    "/proc/self/fd/5",
					    "/proc/self/exe",
					    "/proc/self/cwd",
					    "/proc/self/root",
					    "/proc/self/pagemap",
					    "/proc/self/clear_refs",
					    "/proc/self/oom_score_adj",
					    "/proc/meminfo",
					    "/proc/sys/vm/overcommit_memory",
					    "/proc/1/maps",
					    "/bin/true"};

	for (size_t i = 0; i < sizeof(in_dir) / sizeof(in_dir[0]); i++)
		add_path(dir, in_dir[i]);
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		add_path("", fixed[i]);
	for (; *others; others++) {
		add_path(*others, "");
		add_path(*others, "/new");
	}
}

static pid_t start_worker(int shared)
{
	uint64_t seed = chance();
	pid_t pid = fork();

	if (!pid) {
		work(seed, shared);
		_exit(1);
	}
	return pid;
}

static void end_worker(pid_t pid)
{
	if (pid > 0 && !kill(pid, SIGKILL))
		waitpid(pid, NULL, __WALL);
}

/* Descriptors of all kinds, for workers to inherit. */
static void open_some(const char *dir)
{
	char name[300];
	int pair[2];

	snprintf(name, sizeof(name), "%s/a", dir);
	for (int i = 0; i < 2; i++)
		if (open(name, O_RDWR | O_CREAT, 0666) < 0 || open(dir, O_RDONLY | O_DIRECTORY) < 0 ||
		    open("/dev/zero", O_RDWR) < 0 || open("/proc/self/maps", O_RDONLY) < 0 || pipe(pair) ||
		    socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || eventfd(3, 0) < 0 || epoll_create1(0) < 0 ||
		    timerfd_create(CLOCK_MONOTONIC, 0) < 0 || memfd_create("more", MFD_ALLOW_SEALING) < 0)
			perror("fewer descriptors");
}

int main(int argc, char **argv)
{
	pid_t worker[NR_WORKERS] = {0};

	if (argc < 4)
		return 2;
	chance_state = strtoull(argv[1], NULL, 0) | 1;
	uint64_t end = now_ms() + strtoull(argv[2], NULL, 0);
	int shared = memfd_create("arena", 0);
	if (shared < 0 || ftruncate(shared, ARENA_PAGES / 4 * PAGE))
		return 2;
	parent = getpid();
	name_paths(argv[3], argv + 4);
	open_some(argv[3]);
	install_handlers();
	while (now_ms() < end) {
		pid_t *one = &worker[below(NR_WORKERS)];
		if (below(10) == 0)
			end_worker(*one);
		if (!*one || waitpid(*one, NULL, WNOHANG))
			*one = start_worker(shared);
		usleep(4000);
	}
	for (size_t i = 0; i < NR_WORKERS; i++)
		end_worker(worker[i]);
	return 0;
}
