/* SPDX-License-Identifier: MIT */
/*
 * same_proccalls.c - what calls about the process and about time answer, where Linux and lodge owe the same
 * answer.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "case.h"

static void tell(const char *what, long ret)
{
	printf("%-62s %s\n", what, ret < 0 ? strerrorname_np(errno) : "ok");
}

#define TELL(call) tell(#call, (long)(call))
#define SELF	   getpid()
#define NOBODY	   0x3fffffff

static double seconds(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void thread(void)
{
	uint64_t fs = 0, gs = 1;
	char mask[128] = {0};
	void *head;
	size_t bytes = 0;
	unsigned int cpu = 99, node = 99;

	TELL(syscall(SYS_arch_prctl, 0x1003, &fs));
	printf("fs is the thread's own: %d\n", fs == (uint64_t)(uintptr_t)__builtin_thread_pointer());
	TELL(syscall(SYS_arch_prctl, 0x1001, 0x1234567));
	TELL(syscall(SYS_arch_prctl, 0x1004, &gs));
	printf("gs %lx\n", (unsigned long)gs);
	TELL(syscall(SYS_arch_prctl, 0x1001, 0x7ffffffff000));
	TELL(syscall(SYS_arch_prctl, 0x1001, 0xffff800000000000));
	TELL(syscall(SYS_arch_prctl, 0x1002, 0x8000000000000000));
	TELL(syscall(SYS_arch_prctl, 0x9999, 0));
	printf("tid is pid: %d\n",
	       syscall(SYS_set_tid_address, &head) == getpid() && syscall(SYS_gettid) == getpid());
	TELL(syscall(SYS_set_robust_list, &head, 23));
	TELL(syscall(SYS_set_robust_list, &mask, 24));
	TELL(syscall(SYS_get_robust_list, 0, &head, &bytes));
	printf("robust list kept: %d %zu\n", head == (void *)mask, bytes);
	TELL(syscall(SYS_get_robust_list, NOBODY, &head, &bytes));
	TELL(syscall(SYS_sched_getaffinity, 0, 128, mask) > 0);
	TELL(syscall(SYS_sched_getaffinity, 0, 0, mask));
	TELL(syscall(SYS_sched_getaffinity, 0, 12, mask));
	TELL(syscall(SYS_sched_getaffinity, NOBODY, 128, mask));
	TELL(syscall(SYS_sched_setaffinity, 0, 128, mask));
	memset(mask, 0, sizeof(mask));
	TELL(syscall(SYS_sched_setaffinity, 0, 128, mask));
	TELL(syscall(SYS_sched_setaffinity, NOBODY, 128, mask));
	TELL(syscall(SYS_sched_getscheduler, 0));
	TELL(syscall(SYS_sched_getscheduler, -1));
	TELL(syscall(SYS_sched_getscheduler, NOBODY));
	TELL(syscall(SYS_sched_getparam, 0, NULL));
	TELL(syscall(SYS_getcpu, &cpu, &node, NULL));
	printf("cpu known: %d\n", cpu != 99 && node != 99);
	TELL(sched_yield());
}

/* Policies of real time are left out: who may have them depends on privileges that programs under lodge never have. */
static void policies(void)
{
	static const int known[] = {SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, 4, SCHED_IDLE, 6, 99, -1};
	struct sched_param none = {0}, some = {.sched_priority = 1};
	struct timespec slice;

	for (size_t i = 0; i < NR_CASES(known); i++) {
		printf("%d: ", known[i]);
		TELL(syscall(SYS_sched_get_priority_min, known[i]));
		TELL(syscall(SYS_sched_get_priority_max, known[i]));
	}
	TELL(syscall(SYS_sched_setscheduler, 0, SCHED_BATCH, &none));
	printf("policy %ld\n", syscall(SYS_sched_getscheduler, 0));
	pid_t child = fork();
	if (!child)
		_exit((int)syscall(SYS_sched_getscheduler, 0));
	int status = -1;
	waitpid(child, &status, 0);
	printf("child's %#x\n", status);
	TELL(syscall(SYS_sched_setscheduler, 0, SCHED_IDLE | 0x40000000, &none));
	printf("policy %#lx\n", syscall(SYS_sched_getscheduler, 0));
	TELL(syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &some));
	TELL(syscall(SYS_sched_setscheduler, 0, -1, &none));
	TELL(syscall(SYS_sched_setscheduler, 0, 99, &none));
	TELL(syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, NULL));
	TELL(syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, 8));
	TELL(syscall(SYS_sched_setscheduler, NOBODY, SCHED_OTHER, &none));
	TELL(syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &none));
	TELL(syscall(SYS_sched_setparam, 0, &none));
	TELL(syscall(SYS_sched_setparam, 0, &some));
	TELL(syscall(SYS_sched_setparam, -1, &none));
	TELL(syscall(SYS_sched_rr_get_interval, 0, &slice));
	printf("a slice of some time: %d\n", !slice.tv_sec && slice.tv_nsec > 0);
	TELL(syscall(SYS_sched_rr_get_interval, -1, &slice));
	TELL(syscall(SYS_sched_rr_get_interval, NOBODY, &slice));
}

/* What lowers a nice value, and whose privilege that takes, is left out. */
static void niceness(void)
{
	static const int which[] = {PRIO_PROCESS, PRIO_PGRP, PRIO_USER, 3, -1};
	int status = -1;

	for (size_t i = 0; i < NR_CASES(which); i++) {
		errno = 0;
		printf("%d: %d", which[i],
		       getpriority((__priority_which_t)which[i], i == 1 ? 0 : (id_t)getpid()));
		printf(" %s\n", i == 2 ? "" : strerrorname_np(errno));
	}
	errno = 0;
	TELL(setpriority(PRIO_PROCESS, 0, 3));
	printf("now %d %ld\n", getpriority(PRIO_PROCESS, 0),
	       syscall(SYS_getpriority, PRIO_PROCESS, getpid()));
	pid_t child = fork();
	if (!child)
		_exit(getpriority(PRIO_PROCESS, 0));
	waitpid(child, &status, 0);
	printf("a child's %#x\n", status);
	TELL(setpriority(PRIO_PROCESS, 0, 100));
	printf("now %d\n", getpriority(PRIO_PROCESS, 0));
	TELL(setpriority(PRIO_PROCESS, NOBODY, 5));
	TELL(setpriority(9, 0, 5));
	TELL(syscall(SYS_getpriority, PRIO_PROCESS, NOBODY));
}

/* A task runs where its mask says, and hands the mask to its children. */
static void masks(void)
{
	cpu_set_t before, one, seen;
	int status = -1, cpu = 0;

	if (sched_getaffinity(0, sizeof(before), &before))
		return;
	while (!CPU_ISSET(cpu, &before))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	TELL(sched_setaffinity(0, sizeof(one), &one));
	TELL(sched_getaffinity(0, sizeof(seen), &seen));
	printf("that one %d, and it is where this runs %d\n", CPU_EQUAL(&one, &seen), sched_getcpu() == cpu);
	pid_t child = fork();
	if (!child)
		_exit(sched_getaffinity(0, sizeof(seen), &seen) || !CPU_EQUAL(&one, &seen) ||
		      sched_getcpu() != cpu);
	waitpid(child, &status, 0);
	printf("so does a child: %#x\n", status);
	TELL(sched_setaffinity(0, sizeof(before), &before));
	TELL(sched_getaffinity(getpid(), sizeof(seen), &seen));
	printf("as before %d\n", CPU_EQUAL(&before, &seen));
	printf("as many as online: %d\n", CPU_COUNT(&before) <= sysconf(_SC_NPROCESSORS_ONLN));
}

static void names(void)
{
	char name[16];
	struct utsname uts;

	memset(name, 'x', sizeof(name));
	TELL(prctl(PR_SET_NAME, "a name that is longer than fifteen"));
	TELL(prctl(PR_GET_NAME, name));
	printf("name %s\n", name);
	TELL(prctl(PR_SET_NAME, "ab"));
	TELL(prctl(PR_GET_NAME, name));
	for (unsigned int i = 0; i < sizeof(name); i++)
		printf("%02x", (unsigned char)name[i]);
	printf("\n");
	TELL(prctl(PR_SET_PDEATHSIG, SIGTERM));
	TELL(prctl(PR_SET_PDEATHSIG, 65));
	TELL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	TELL(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
	TELL(prctl(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0));
	printf("no new privileges %d, dumpable %d\n", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0),
	       prctl(PR_GET_DUMPABLE));
	TELL(prctl(0x7fffffff));
	TELL(uname(&uts));
	printf("%s %s\n", uts.sysname, uts.machine);
}

static void ids(void)
{
	uid_t r, e, s;
	gid_t groups[1];

	printf("ids agree: %d\n", !getresuid(&r, &e, &s) && r == getuid() && e == geteuid() && s == r);
	printf("group ids agree: %d\n", !getresgid(&r, &e, &s) && r == getgid() && e == getegid() && s == r);
	TELL(setuid(getuid()));
	TELL(setgid(getgid()));
	TELL(setreuid((uid_t)-1, (uid_t)-1));
	TELL(setregid(getgid(), (gid_t)-1));
	TELL(setresuid((uid_t)-1, getuid(), (uid_t)-1));
	TELL(setresgid(getgid(), getgid(), getgid()));
	TELL(syscall(SYS_setuid, -1));
	TELL(syscall(SYS_setgid, -1));
	TELL(syscall(SYS_getgroups, -1, groups));
	TELL(getgroups(0, groups));
	TELL(getpgid(NOBODY));
	TELL(getsid(NOBODY));
	TELL(setpgid(NOBODY, 0));
	TELL(setpgid(0, -1));
	TELL(getpgid(0));
	TELL(getsid(0));
	printf("process group agrees: %d\n", getpgrp() == getpgid(0) && getpgid(0) == getpgid(getpid()));
}

static void capabilities(void)
{
	uint32_t header[2] = {0x20080522, 0}, data[6] = {0};

	TELL(syscall(SYS_capget, header, data));
	header[1] = NOBODY;
	TELL(syscall(SYS_capget, header, data));
	header[1] = (uint32_t)-1;
	TELL(syscall(SYS_capget, header, data));
	header[0] = 1;
	header[1] = 0;
	TELL(syscall(SYS_capget, header, data));
	printf("preferred version %x\n", header[0]);
	header[0] = 1;
	TELL(syscall(SYS_capget, header, NULL));
}

static void limits(void)
{
	struct rlimit limit = {4 << 20, RLIM_INFINITY}, old;
	char *p;

	getrlimit(RLIMIT_STACK, &old);
	printf("stack %lu\n", (unsigned long)old.rlim_cur);
	limit.rlim_max = old.rlim_max;
	TELL(setrlimit(RLIMIT_STACK, &limit));
	TELL(getrlimit(RLIMIT_STACK, &old));
	printf("stack %lu\n", (unsigned long)old.rlim_cur);
	limit = (struct rlimit){2, 1};
	TELL(setrlimit(RLIMIT_AS, &limit));
	TELL(getrlimit(99, &limit));
	TELL(setrlimit(99, &limit));
	TELL(syscall(SYS_prlimit64, NOBODY, RLIMIT_AS, NULL, &limit));
	TELL(syscall(SYS_prlimit64, 0, 16, NULL, &limit));
	limit = (struct rlimit){256 << 20, RLIM_INFINITY};
	TELL(setrlimit(RLIMIT_AS, &limit));
	p = mmap(NULL, 512 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	TELL(p == MAP_FAILED ? -1 : 0);
	limit.rlim_cur = RLIM_INFINITY;
	TELL(setrlimit(RLIMIT_AS, &limit));
	p = mmap(NULL, 512 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	TELL(p == MAP_FAILED ? -1 : 0);
	limit = (struct rlimit){1 << 20, RLIM_INFINITY};
	TELL(setrlimit(RLIMIT_DATA, &limit));
	printf("heap within the limit: %d\n", sbrk(2 << 20) == (void *)-1);
	limit.rlim_cur = RLIM_INFINITY;
	TELL(setrlimit(RLIMIT_DATA, &limit));
	printf("heap without it: %d\n", sbrk(2 << 20) != (void *)-1);
}

static void counts(void)
{
	struct rusage usage;
	struct sysinfo info;
	struct tms tms;

	TELL(getrusage(RUSAGE_SELF, &usage));
	printf("faults counted: %d, resident: %d\n", usage.ru_minflt > 0, usage.ru_maxrss > 0);
	TELL(getrusage(RUSAGE_CHILDREN, &usage));
	printf("children: %ld %ld\n", usage.ru_minflt, usage.ru_utime.tv_sec);
	TELL(getrusage(99, &usage));
	TELL(times(&tms));
	TELL(times(NULL));
	TELL(sysinfo(&info));
	printf("memory: %d, uptime %d\n", info.totalram > 0 && info.freeram <= info.totalram,
	       info.uptime > 0);
}

static void randomness(void)
{
	static unsigned char a[10000], b[10000];

	printf("random %zd %zd\n", getrandom(a, sizeof(a), 0), getrandom(b, sizeof(b), GRND_NONBLOCK));
	printf("differ %d, filled %d\n", !!memcmp(a, b, sizeof(a)),
	       a[9996] | a[9997] | a[9998] | a[9999] ? 1 : 0);
	TELL(getrandom(a, 0, 0));
	TELL(getrandom(a, 10, 8));
	TELL(getrandom(a, 10, GRND_RANDOM | 4));
	TELL(getrandom(a, 10, GRND_RANDOM | GRND_NONBLOCK));
}

static long futex(void *word, int op, uint32_t value, struct timespec *timeout, uint32_t bits)
{
	return syscall(SYS_futex, word, op, value, timeout, NULL, bits);
}

static void futexes(void)
{
	struct timespec soon = {0, 20000000}, bad = {0, 1000000000}, past = {1, 0};
	uint32_t word[2] = {5, 0};
	double start = seconds(CLOCK_MONOTONIC);

	TELL(futex(word, FUTEX_WAKE, 1, NULL, 0));
	printf("woken: %ld\n", futex(word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, 0));
	TELL(futex(word, FUTEX_WAIT, 4, NULL, 0));
	TELL(futex(word, FUTEX_WAIT_PRIVATE, 5, &soon, 0));
	TELL(futex(word, FUTEX_WAIT, 5, &bad, 0));
	TELL(futex((char *)word + 1, FUTEX_WAIT, 5, &soon, 0));
	TELL(futex((char *)word + 2, FUTEX_WAKE, 1, NULL, 0));
	TELL(futex(word, FUTEX_WAIT_BITSET, 5, &past, 1));
	TELL(futex(word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 5, &past, 1));
	TELL(futex(word, FUTEX_WAIT_BITSET, 5, &past, 0));
	TELL(futex(word, FUTEX_WAKE_BITSET, 5, NULL, 0));
	TELL(futex(word, FUTEX_WAKE_BITSET, 5, NULL, 1));
	TELL(futex(word, 99, 5, NULL, 1));
	printf("waited: %d\n", seconds(CLOCK_MONOTONIC) - start >= 0.02);
}

static int cpu_clock_of(int pid)
{
	return (int)(~(unsigned int)pid << 3 | 2);
}

static void clocks(void)
{
	static const int known[] = {0, 1, 2, 3, 4, 5, 6, 7, 11};
	struct timespec ts, res;
	struct timeval tv;
	time_t now;

	for (unsigned int i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		long ret =
			syscall(SYS_clock_gettime, known[i], &ts) | syscall(SYS_clock_getres, known[i], &res);

		printf("clock %d: %ld resolution %ld\n", known[i], ret, res.tv_nsec);
	}
	TELL(syscall(SYS_clock_gettime, 10, &ts));
	TELL(syscall(SYS_clock_gettime, 12, &ts));
	TELL(syscall(SYS_clock_gettime, 99, &ts));
	TELL(syscall(SYS_clock_gettime, -1, &ts));
	TELL(syscall(SYS_clock_gettime, -6, &ts));
	TELL(syscall(SYS_clock_gettime, -2, &ts));
	TELL(syscall(SYS_clock_gettime, cpu_clock_of(0x1fffff), &ts));
	TELL(syscall(SYS_clock_gettime, cpu_clock_of(getpid()), &ts));
	TELL(syscall(SYS_clock_getres, 1, NULL));
	TELL(syscall(SYS_clock_getres, 99, NULL));
	TELL(syscall(SYS_clock_settime, 1, &ts));
	TELL(syscall(SYS_clock_settime, 99, &ts));
	syscall(SYS_gettimeofday, &tv, NULL);
	syscall(SYS_clock_gettime, CLOCK_REALTIME, &ts);
	now = syscall(SYS_time, &now);
	printf("times agree: %d %d\n", ts.tv_sec - tv.tv_sec <= 1, now - ts.tv_sec <= 1);
}

static void sleeping(void)
{
	struct timespec soon = {0, 30000000}, none = {0, 0}, bad = {0, 1000000000}, negative = {-1, 0}, at;
	double start = seconds(CLOCK_MONOTONIC);

	TELL(syscall(SYS_nanosleep, &soon, NULL));
	TELL(syscall(SYS_nanosleep, &none, NULL));
	TELL(syscall(SYS_nanosleep, &bad, NULL));
	TELL(syscall(SYS_nanosleep, &negative, NULL));
	TELL(syscall(SYS_clock_nanosleep, CLOCK_REALTIME, 0, &soon, NULL));
	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_nsec += 30000000;
	at.tv_sec += at.tv_nsec / 1000000000;
	at.tv_nsec %= 1000000000;
	TELL(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL));
	TELL(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &none, NULL));
	TELL(syscall(SYS_clock_nanosleep, CLOCK_REALTIME, TIMER_ABSTIME, &none, NULL));
	TELL(syscall(SYS_clock_nanosleep, CLOCK_BOOTTIME, 0, &none, NULL));
	TELL(syscall(SYS_clock_nanosleep, CLOCK_TAI, 0, &none, NULL));
	TELL(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC_RAW, 0, &none, NULL));
	TELL(syscall(SYS_clock_nanosleep, CLOCK_REALTIME_COARSE, 0, &none, NULL));
	TELL(syscall(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &none, NULL));
	TELL(syscall(SYS_clock_nanosleep, CLOCK_PROCESS_CPUTIME_ID, 0, &none, NULL));
	TELL(syscall(SYS_clock_nanosleep, CLOCK_PROCESS_CPUTIME_ID, TIMER_ABSTIME, &none, NULL));
	TELL(syscall(SYS_clock_nanosleep, 99, 0, &none, NULL));
	TELL(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &bad, NULL));
	printf("slept: %d\n", seconds(CLOCK_MONOTONIC) - start >= 0.09);
}

static const struct guest_case cases[] = {
	{"threads: arguments and what they share", thread},
	{"names of the system", names},
	{"user and group numbers", ids},
	{"capget: arguments", capabilities},
	{"getrlimit and setrlimit", limits},
	{"counts of what the program used", counts},
	{"getrandom: arguments", randomness},
	{"futex: arguments", futexes},
	{"clocks and timers", clocks},
	{"sleeping", sleeping},
	{"scheduling: policies and priorities", policies},
	{"scheduling: nice values", niceness},
	{"scheduling: the processors of a task and its children", masks},
};

int main(int argc, char **argv)
{
	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	cases_run(argc, argv, cases, NR_CASES(cases), NULL);
	syscall(SYS_exit_group, 0x12345);
	return 0;
}
