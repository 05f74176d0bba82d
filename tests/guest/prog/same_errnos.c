/* SPDX-License-Identifier: MIT */
/*
 * same_errnos.c - hands every pointer that the kernel may refuse to every call that takes one, and prints
 * what came back.
 *
 * Each line is one call with one pointer gone wild and the others good. A call must answer as Linux does:
 * with an errno, or with success where the pointer is optional; never by dying.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "case.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Arguments that stand for something made at the start; kept apart from real values by their upper half. */
#define MARK	      0xa5a5000000000000ull
#define BUFFER	      (MARK | 1) /* 4096 zero bytes, fresh for every call */
#define PATH	      (MARK | 2) /* the name of a file that is there */
#define NO_PATH	      (MARK | 3) /* the name of one that is not */
#define FILE_FD	      (MARK | 4) /* that file, open for reading and writing */
#define DIR_FD	      (MARK | 7)
#define IOVEC	      (MARK | 8) /* one struct iovec, of 16 bytes in the buffer */
#define ONE_NS	      (MARK | 9) /* a timespec of one nanosecond */
#define SELF	      (MARK | 10)
#define LINK	      (MARK | 11) /* the name of a symbolic link */

/* Without this pointer the call would wait for ever. */
#define NOT_NULL(n)   (0x100u << (n))

struct call {
	const char *name;
	long nr;
	unsigned int pointers; /* bit n: argument n is one */
	uint64_t a[6];
};

#define CALL(name, pointers, ...)            \
	{                                    \
#name, SYS_##name, pointers, \
		{                            \
			__VA_ARGS__          \
		}                            \
	}

static const struct call calls[] = {
	CALL(read, 2, FILE_FD, BUFFER, 16),
	CALL(write, 2, FILE_FD, BUFFER, 16),
	CALL(pread64, 2, FILE_FD, BUFFER, 16, 0),
	CALL(pwrite64, 2, FILE_FD, BUFFER, 16, 0),
	CALL(readv, 2, FILE_FD, IOVEC, 1),
	CALL(writev, 2, FILE_FD, IOVEC, 1),
	CALL(open, 1, PATH, O_RDONLY),
	CALL(openat, 2, (uint64_t)AT_FDCWD, PATH, O_RDONLY),
	CALL(stat, 3, PATH, BUFFER),
	CALL(lstat, 3, PATH, BUFFER),
	CALL(fstat, 2, FILE_FD, BUFFER),
	CALL(newfstatat, 6, (uint64_t)AT_FDCWD, PATH, BUFFER, 0),
	CALL(statx, 18, (uint64_t)AT_FDCWD, PATH, 0, STATX_BASIC_STATS, BUFFER),
	CALL(access, 1, PATH, R_OK),
	CALL(faccessat, 2, (uint64_t)AT_FDCWD, PATH, R_OK),
	CALL(readlink, 3, LINK, BUFFER, 100),
	CALL(getcwd, 1, BUFFER, 4096),
	CALL(chdir, 1, NO_PATH),
	CALL(mkdir, 1, PATH, 0755),
	CALL(rmdir, 1, NO_PATH),
	CALL(unlink, 1, NO_PATH),
	CALL(rename, 3, NO_PATH, PATH),
	CALL(truncate, 1, NO_PATH, 0),
	CALL(pipe, 1, BUFFER),
	CALL(pipe2, 1, BUFFER, O_CLOEXEC),
	CALL(getdents64, 2, DIR_FD, BUFFER, 4096),
	CALL(statfs, 1, PATH, 0),
	CALL(poll, 1, BUFFER, 1, 0),
	CALL(uname, 1, BUFFER),
	CALL(sysinfo, 1, BUFFER),
	CALL(getrusage, 2, RUSAGE_SELF, BUFFER),
	CALL(getrlimit, 2, RLIMIT_STACK, BUFFER),
	CALL(setrlimit, 2, RLIMIT_CORE, BUFFER),
	CALL(prlimit64, 12, 0, RLIMIT_CORE, BUFFER, BUFFER),
	CALL(times, 1, BUFFER),
	CALL(getrandom, 1, BUFFER, 16, 0),
	CALL(getresuid, 7, BUFFER, BUFFER, BUFFER),
	CALL(getresgid, 7, BUFFER, BUFFER, BUFFER),
	CALL(sched_getaffinity, 4, 0, 128, BUFFER),
	CALL(sched_setaffinity, 4, 0, 8, BUFFER),
	CALL(sched_getparam, 2, 0, BUFFER),
	CALL(getcpu, 3, BUFFER, BUFFER, 0),
	CALL(arch_prctl, 2, 0x1003, BUFFER),
	CALL(get_robust_list, 6, 0, BUFFER, BUFFER),
	CALL(prctl, 2, 15, BUFFER),
	CALL(prctl, 2, 16, BUFFER),
	CALL(capget, 1, BUFFER, 0),
	CALL(futex, 1, BUFFER, FUTEX_WAIT_PRIVATE, 7, 0),
	CALL(futex, 9, BUFFER, FUTEX_WAIT_PRIVATE, 7, ONE_NS),
	CALL(futex, 1, BUFFER, FUTEX_WAKE_PRIVATE, 1),
	CALL(clock_gettime, 2, CLOCK_MONOTONIC, BUFFER),
	CALL(clock_getres, 2, CLOCK_MONOTONIC, BUFFER),
	CALL(gettimeofday, 3, BUFFER, BUFFER),
	CALL(nanosleep, 3, BUFFER, BUFFER),
	CALL(clock_nanosleep, 12, CLOCK_MONOTONIC, 0, BUFFER, BUFFER),
	CALL(rt_sigaction, 6, SIGUSR1, BUFFER, BUFFER, 8),
	CALL(rt_sigprocmask, 6, SIG_UNBLOCK, BUFFER, BUFFER, 8),
	CALL(rt_sigpending, 1, BUFFER, 8),
	CALL(rt_sigtimedwait, 7 | NOT_NULL(2), BUFFER, BUFFER, ONE_NS, 8),
	CALL(rt_sigqueueinfo, 4, SELF, 0, BUFFER),
	CALL(sigaltstack, 2, 0, BUFFER),
	CALL(mincore, 4, BUFFER, 4096, BUFFER),
};

static const struct wild {
	const char *name;
	uint64_t address;
	int from_map; /* offset in the test mapping, if address is 0 and this is not negative */
} wild[] = {
	{"NULL", 0, -1},
	{"1", 1, -1},
	{"unmapped", 0x10000, -1},
	{"read-only", 0, 0},
	{"no-access", 0, 4096},
	{"last-byte-before-a-hole", 0, 3 * 4096 - 1},
	{"end-of-user", 0x7ffffffffff8, -1},
	{"non-canonical", 0x800000000000, -1},
	{"kernel", 0xffff800000000000, -1},
	{"kernel-text", 0xffffffff81000000, -1},
	{"minus-8", 0xfffffffffffffff8, -1},
	{"minus-1", 0xffffffffffffffff, -1},
};

static char buffer[4096] __attribute__((aligned(4096)));
static char *map;
static int file_fd, dir_fd;

static uint64_t value(uint64_t arg)
{
	static struct {
		void *base;
		size_t bytes;
	} vec;
	static struct timespec one_ns;

	vec.base = buffer;
	vec.bytes = 16;
	one_ns = (struct timespec){0, 1};
	switch (arg) {
	case BUFFER:
		return (uintptr_t)buffer;
	case PATH:
		return (uintptr_t) "file";
	case LINK:
		return (uintptr_t) "link";
	case NO_PATH:
		return (uintptr_t) "none";
	case FILE_FD:
		return (uint64_t)file_fd;
	case DIR_FD:
		return (uint64_t)dir_fd;
	case IOVEC:
		return (uintptr_t)&vec;
	case ONE_NS:
		return (uintptr_t)&one_ns;
	case SELF:
		return (uint64_t)getpid();
	default:
		return arg;
	}
}

static uint64_t wild_address(const struct wild *w)
{
	return w->from_map >= 0 ? (uintptr_t)map + (unsigned int)w->from_map : w->address;
}

/*
 * What a success returns may differ from run to run (descriptors, ticks): it is told apart from failure
 * alone.
 */
static void tell(const char *name, unsigned int argument, const char *what, long ret)
{
	printf("%s(%u: %s) = %s\n", name, argument, what, ret < 0 ? strerrorname_np(errno) : "ok");
}

/* Undoes what a call that went through has left behind. */
static void clean_up(long nr, long ret)
{
	int fds[2];

	lseek(file_fd, 0, SEEK_SET);
	if ((nr == SYS_open || nr == SYS_openat) && ret >= 0)
		close((int)ret);
	memcpy(fds, buffer, sizeof(fds));
	if ((nr == SYS_pipe || nr == SYS_pipe2) && ret == 0 && fds[0] > 2) {
		close(fds[0]);
		close(fds[1]);
	}
}

static void try(const struct call *c, unsigned int argument, const struct wild *w)
{
	uint64_t a[6];
	long ret;

	if ((c->pointers & NOT_NULL(argument)) && !wild_address(w))
		return;
	memset(buffer, 0, sizeof(buffer));
	memset(map + 2 * 4096, 0, 4096);
	for (unsigned int i = 0; i < 6; i++)
		a[i] = value(c->a[i]);
	a[argument] = wild_address(w);
	ret = syscall(c->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	tell(c->name, argument, w->name, ret);
	clean_up(c->nr, ret);
}

static void prepare(void)
{
	file_fd = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600);
	dir_fd = open(".", O_RDONLY | O_DIRECTORY);
	if (file_fd < 0 || dir_fd < 0 || (symlink("file", "link") && errno != EEXIST) ||
	    write(file_fd, buffer, sizeof(buffer)) < 0)
		exit(1);
	lseek(file_fd, 0, SEEK_SET);
	/* read-only | no access | readable and writable | hole */
	map = mmap(NULL, 4 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(map + 4096, 4096, PROT_NONE);
	mprotect(map + 2 * 4096, 4096, PROT_READ | PROT_WRITE);
	munmap(map + 3 * 4096, 4096);
}

static void wild_pointers(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(calls); i++)
		for (unsigned int argument = 0; argument < 6; argument++)
			if (calls[i].pointers & (1u << argument))
				for (unsigned int w = 0; w < ARRAY_SIZE(wild); w++)
					try(&calls[i], argument, &wild[w]);
}

static const struct guest_case cases[] = {
	{"every pointer of every call, pointing nowhere [P1][P2]", wild_pointers},
};

int main(int argc, char **argv)
{
	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	prepare();
	cases_run(argc, argv, cases, NR_CASES(cases), NULL);
	return 0;
}
