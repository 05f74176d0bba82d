/* SPDX-License-Identifier: MIT */
/*
 * sweep.h - calls a system call with every interesting argument, and prints what came back.
 *
 * A call is a row of a table: a number and what each argument is. What an argument is says which values are worth a try; the first one
 * makes the call go well. Each argument takes each of its values while the others are good; and each two arguments are bad together,
 * which shows the order in which the kernel looks at them.
 *
 *	CALL(pread64, VALUE, FD, OUT, SIZE, OFFSET)		CALL(dup3, FILE_FD, FD, INT(150), BITS(O_CLOEXEC))
 *
 * Objects stand at fixed numbers and addresses, so that tables are constant. Nothing here needs a right that a plain user lacks: the
 * program gives its own up first. Where a call changes files, it is given names and descriptors of the program's own directory only.
 */
#ifndef TESTS_GUEST_SWEEP_H
#define TESTS_GUEST_SWEEP_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/time.h>
#include <time.h>

#ifndef SYS_mseal
#define SYS_mseal 462 /* Linux 6.10 */
#endif
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452 /* Linux 6.6 */
#endif
#ifndef SYS_cachestat
#define SYS_cachestat 451 /* Linux 6.5 */
#endif

#include "case.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* --- objects --------------------------------------------------------------------------------- */

/* Descriptors of the files that prepare() makes, and of others. */
enum sweep_fd {
	FD_HOME = 99, /* the working directory */
	FD_RW = 100,  /* "file", 8192 bytes */
	FD_RO,
	FD_WO,
	FD_APPEND,
	FD_PATH,     /* "file", O_PATH */
	FD_DIR,	     /* "dir" */
	FD_DIR_PATH, /* O_PATH */
	FD_PIPE_R,   /* 4 bytes are in it; both O_NONBLOCK */
	FD_PIPE_W,
	FD_SOCKET, /* one of a pair, with 4 bytes to read; O_NONBLOCK */
	FD_OTHER,  /* its peer */
	FD_DGRAM,  /* a UNIX socket of nobody */
	FD_LISTEN, /* a UNIX socket that listens; O_NONBLOCK */
	FD_EVENT,
	FD_TIMER,
	FD_SIGNAL,
	FD_EPOLL,
	FD_INOTIFY,
	FD_MEMFD,
	FD_PIDFD,
	FD_NULL,
	FD_ZERO,
	FD_FIFO,       /* "fifo", both ways, so that opening it does not wait */
	FD_FREE = 150, /* and up to the next: nothing */
	FD_LAST = 255, /* the working directory again */
};

/* Pages: writable, read-only, none, writable, hole. */
#define ARENA	   0x7a0000000000ul
#define ARENA_PAGE 4096ul
#define AT_RW	   (ARENA)
#define AT_RO	   (ARENA + ARENA_PAGE)
#define AT_NONE	   (ARENA + 2 * ARENA_PAGE)
#define AT_LAST	   (ARENA + 3 * ARENA_PAGE)
#define AT_HOLE	   (ARENA + 4 * ARENA_PAGE)
#define AT_EDGE	   (AT_HOLE - 3) /* three bytes, then nothing */

/* Text that a path argument may be; filled in by prepare(). Four-byte-aligned places of 64 bytes each in the page before the hole. */
#define AT_TEXT(n) (AT_LAST + 64ul * (n))
#define AT_LONG	   0x7a0000100000ul /* names of 256 and 5000 bytes, in pages of their own */
#define AT_LONGER  (AT_LONG + 2 * ARENA_PAGE)

/* --- values ---------------------------------------------------------------------------------- */

struct sweep_value {
	const char *name;
	uint64_t value;
};

/* Worth a try, the base first; the next `nr_worst` are those that are bad in pairs. `around`: bits and numbers around a base. */
struct sweep_kind {
	const struct sweep_value *values;
	unsigned int nr, nr_worst;
	enum { NOT_AROUND, AROUND_BITS, AROUND_INT, AROUND_LONG } around;
};

#define SV(x)                     \
	{                         \
#x, (uint64_t)(x) \
	}
static const struct sweep_value sweep_fds[] = {
	SV(FD_RW),	   SV(-1),	  SV(FD_PATH),	   SV(FD_FREE),	  SV(AT_FDCWD),	 SV(FD_RO),
	SV(FD_WO),	   SV(FD_APPEND), SV(FD_DIR),	   SV(FD_PIPE_R), SV(FD_PIPE_W), SV(FD_SOCKET),
	SV(FD_DGRAM),	   SV(FD_LISTEN), SV(FD_EVENT),	   SV(FD_TIMER),  SV(FD_SIGNAL), SV(FD_EPOLL),
	SV(FD_INOTIFY),	   SV(FD_MEMFD),  SV(FD_DIR_PATH), SV(1024),	  SV(INT_MAX),	 SV(INT_MIN),
	SV(0x100000064ul), SV(FD_NULL),	  SV(FD_ZERO),
};
#define NR_FOREIGN_FDS 2
static const struct sweep_value sweep_dirfds[] = {
	SV(AT_FDCWD), SV(-1),	     SV(FD_FREE),   SV(FD_RW),	     SV(FD_DIR),
	SV(FD_PATH),  SV(FD_PIPE_R), SV(FD_SOCKET), SV(FD_DIR_PATH), SV(0xffffff9cul),
};
static const struct sweep_value sweep_outs[] = {
	SV(AT_RW),
	SV(0),
	SV(AT_HOLE),
	SV(AT_RO),
	SV(AT_NONE),
	SV(AT_EDGE),
	SV(AT_RW + 1),
	SV(1),
	SV(AT_HOLE - 1),
	SV(0x7ffffffff000ul),
	SV(0x800000000000ul),
	SV(1ul << 63),
	SV(0xffff888000000000ul),
	SV(-8),
	SV(-1),
};
static const struct sweep_value sweep_paths[] = {
	{"file", AT_TEXT(0)},
	{"NULL", 0},
	{"none", AT_TEXT(1)},
	{"", AT_TEXT(2)},
	{"dir", AT_TEXT(3)},
	{"dir/", AT_TEXT(4)},
	{"file/", AT_TEXT(5)},
	{"file/x", AT_TEXT(6)},
	{"none/x", AT_TEXT(7)},
	{"link", AT_TEXT(8)},
	{"link/", AT_TEXT(9)},
	{"dangling", AT_TEXT(10)},
	{"loop", AT_TEXT(11)},
	{"loop/x", AT_TEXT(12)},
	{"dirlink", AT_TEXT(13)},
	{"dirlink/", AT_TEXT(14)},
	{".", AT_TEXT(15)},
	{"dir/.", AT_TEXT(19)},
	{"dir/..", AT_TEXT(20)},
	{"fifo", AT_TEXT(21)},
	{"socket", AT_TEXT(22)},
	{"dir/full", AT_TEXT(23)},
	{"none/", AT_TEXT(24)},
	{"dangling/", AT_TEXT(25)},
	{"file/.", AT_TEXT(26)},
	{"dir/full/..", AT_TEXT(27)},
	{"./file", AT_TEXT(29)},
	{"exe", AT_TEXT(30)},
	{"256 bytes", AT_LONG},
	{"5000 bytes", AT_LONGER},
	{"AT_EDGE", AT_EDGE},
	{"AT_HOLE", AT_HOLE},
	{"AT_NONE", AT_NONE},
	{"kernel", 0xffff888000000000ul},
	{"-1", -1ul},
	{"..", AT_TEXT(16)},
	{"/", AT_TEXT(17)},
	{"//", AT_TEXT(18)},
	{"/dev/null", AT_TEXT(28)},
};
#define NR_FOREIGN_PATHS 4
static const struct sweep_value sweep_sizes[] = {
	SV(16),		  SV(-1),	 SV(0),		SV(1),		SV(4096),
	SV(4097),	  SV(8192),	 SV(INT_MAX),	SV(0x7ffff000), SV(1ul << 31),
	SV(0xfffffffful), SV(1ul << 32), SV(1ul << 47), SV(1ul << 63),
};
static const struct sweep_value sweep_offsets[] = {
	SV(0),	  SV(-1),   SV(1),	SV(4095),      SV(4096),
	SV(8191), SV(8192), SV(100000), SV(INT64_MIN), SV(1ul << 40),
};
/* Of pages. */
static const struct sweep_value sweep_addresses[] = {
	SV(AT_RW),
	SV(AT_RW + 1),
	SV(AT_HOLE),
	SV(AT_RO),
	SV(AT_NONE),
	SV(AT_LAST),
	SV(0),
	SV(0x7ffffffff000ul),
	SV(0x800000000000ul),
	SV(-4096),
	SV(0xffff888000000000ul),
	SV(1ul << 63),
};
static const struct sweep_value sweep_lengths[] = {
	SV(4096), SV(0),	SV(-1),	       SV(1),	      SV(4097),
	SV(8192), SV(5 * 4096), SV(1ul << 47), SV(1ul << 63), SV(-4096),
};
/* Not 32 and 33, libc's own: whoever starts the program may have them blocked. */
static const struct sweep_value sweep_signals[] = {
	SV(0), SV(-1), SV(65), SV(64), SV(INT_MIN), SV(0x100000000ul),
};
static const struct sweep_value sweep_clocks[] = {
	SV(0),	SV(-1), SV(100), SV(1),	 SV(2),	 SV(3),	 SV(4),	      SV(5),	   SV(6),
	SV(7),	SV(8),	SV(9),	 SV(10), SV(11), SV(12), SV(15),      SV(16),	   SV(-2),
	SV(-3), SV(-4), SV(-5),	 SV(-6), SV(-7), SV(-8), SV(INT_MIN), SV(INT_MAX),
};
/* Not 1 or -1: those are somebody. */
static const struct sweep_value sweep_pids[] = {
	SV(0), SV(INT_MAX), SV(INT_MIN), SV(-INT_MAX), SV(4194304), SV(99999999),
};
#undef SV

#define KIND(array, worst)                        \
	{                                         \
		(array), ARRAY_SIZE(array), worst \
	}

/* What an argument is. */
#define FD                                \
	{                                 \
		KIND(sweep_fds, 3), FD_RW \
	}
#define FD_OF(fd)                      \
	{                              \
		KIND(sweep_fds, 3), fd \
	}
#define DIRFD                                             \
	{                                                 \
		KIND(sweep_dirfds, 3), (uint64_t)AT_FDCWD \
	}
#define OUT                                \
	{                                  \
		KIND(sweep_outs, 2), AT_RW \
	}
#define IN(at)                                                 \
	{                                                      \
		KIND(sweep_outs, 2), (uint64_t)(uintptr_t)(at) \
	}
#define PATH                                     \
	{                                        \
		KIND(sweep_paths, 3), AT_TEXT(0) \
	}
#define PATH_OF(n)                               \
	{                                        \
		KIND(sweep_paths, 3), AT_TEXT(n) \
	}
#define SIZE                             \
	{                                \
		KIND(sweep_sizes, 2), 16 \
	}
#define SIZE_OF(n)                      \
	{                               \
		KIND(sweep_sizes, 2), n \
	}
#define OFFSET                            \
	{                                 \
		KIND(sweep_offsets, 1), 0 \
	}
#define ADDRESS                                 \
	{                                       \
		KIND(sweep_addresses, 2), AT_RW \
	}
#define ADDRESS_OF(a)                       \
	{                                   \
		KIND(sweep_addresses, 2), a \
	}
#define LENGTH                               \
	{                                    \
		KIND(sweep_lengths, 2), 4096 \
	}
#define SIGNAL(s)                         \
	{                                 \
		KIND(sweep_signals, 2), s \
	}
#define CLOCK(c)                                     \
	{                                            \
		KIND(sweep_clocks, 2), (uint64_t)(c) \
	}
#define PID                            \
	{                              \
		KIND(sweep_pids, 2), 0 \
	}
#define BITS(b)                                           \
	{                                                 \
		{NULL, 33, 1, AROUND_BITS}, (uint64_t)(b) \
	} /* each bit turned over, and none, and all */
#define INT(b)                                           \
	{                                                \
		{NULL, 14, 1, AROUND_INT}, (uint64_t)(b) \
	}
#define LONG(b)                                          \
	{                                                \
		{NULL, 8, 1, AROUND_LONG}, (uint64_t)(b) \
	}
#define ONLY(b)                                         \
	{                                               \
		{NULL, 0, 0, NOT_AROUND}, (uint64_t)(b) \
	}
#define WITH(array, base)                        \
	{                                        \
		KIND(array, 1), (uint64_t)(base) \
	} /* values of the table's own */

/* What is worth telling of a success, and what the call changes. */
#define VALUE	 1u    /* tell the number that it returned; otherwise "ok" */
#define MAKES_FD 2u    /* it returned a descriptor */
#define CHANGES	 4u    /* its process: one for each try */
#define FILES	 8u    /* files: prepared anew after each try that went well */
#define FRESH	 0x24u /* its process, and open files that it shares with others: new ones for each try */
#define NO_PAIRS 0x10u /* bad arguments together make something large or slow */

struct sweep_arg {
	struct sweep_kind kind;
	uint64_t base;
};

struct sweep_call {
	const char *name;
	long nr;
	unsigned int how;
	struct sweep_arg a[6];
};

#define CALL(name, how, ...)            \
	{                               \
#name, SYS_##name, how, \
		{                       \
			__VA_ARGS__     \
		}                       \
	}

/* --- preparation ----------------------------------------------------------------------------- */

static const char *const sweep_texts[] = {
	"file",	 "none",      "",	  "dir",	 "dir/",      "file/",	 "file/x",   "none/x",
	"link",	 "link/",     "dangling", "loop",	 "loop/x",    "dirlink", "dirlink/", ".",
	"..",	 "/",	      "//",	  "dir/.",	 "dir/..",    "fifo",	 "socket",   "dir/full",
	"none/", "dangling/", "file/.",	  "dir/full/..", "/dev/null", "./file",	 "exe",
};

static void sweep_die(const char *what)
{
	printf("cannot prepare %s: %s\n", what, strerrorname_np(errno));
	fflush(stdout);
	_exit(1);
}

static void sweep_place(int fd, int at)
{
	if (fd < 0 || dup2(fd, at) != at)
		sweep_die("a descriptor");
	close(fd);
}

static int sweep_remove(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	return at->level ? remove(path) : 0;
}

static inline void sweep_files(void)
{
	static char data[8192];
	struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "socket"};
	int fd;

	fchmod(FD_HOME, 0755);
	chmod("dir", 0700);
	chmod("dir/full", 0700);
	nftw(".", sweep_remove, 8, FTW_DEPTH | FTW_PHYS);
	for (unsigned int i = 0; i < sizeof(data); i++)
		data[i] = (char)('a' + i % 26);
	fd = open("file", O_RDWR | O_CREAT | O_TRUNC, 0644);
	if (fd < 0 || write(fd, data, sizeof(data)) != sizeof(data) || close(fd))
		sweep_die("file");
	fd = open("exe", O_RDWR | O_CREAT | O_TRUNC, 0755);
	if (fd < 0 || write(fd, "#!/bin/true\n", 12) != 12 || close(fd))
		sweep_die("exe");
	if (mkdir("dir", 0755) || mkdir("dir/full", 0755) || mkdir("dir/full/x", 0755) ||
	    symlink("file", "link") || symlink("nowhere", "dangling") || symlink("loop", "loop") ||
	    symlink("dir", "dirlink") || mkfifo("fifo", 0644))
		sweep_die("names");
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&name, sizeof(name)) || listen(fd, 1))
		sweep_die("socket");
	sweep_place(fd, FD_LISTEN);
}

/* Of what sweep_files() makes. */
static inline void sweep_file_descriptors(void)
{
	sweep_place(open("file", O_RDWR), FD_RW);
	sweep_place(open("file", O_RDONLY), FD_RO);
	sweep_place(open("file", O_WRONLY), FD_WO);
	sweep_place(open("file", O_RDWR | O_APPEND), FD_APPEND);
	sweep_place(open("file", O_PATH), FD_PATH);
	sweep_place(open("dir", O_RDONLY | O_DIRECTORY), FD_DIR);
	sweep_place(open("dir", O_PATH), FD_DIR_PATH);
	sweep_place(open("fifo", O_RDWR), FD_FIFO);
}

static inline void sweep_descriptors(void)
{
	int fds[2];
	sigset_t usr2;

	sigemptyset(&usr2);
	sigaddset(&usr2, SIGUSR2);
	if (pipe2(fds, O_NONBLOCK) || write(fds[1], "abcd", 4) != 4)
		sweep_die("a pipe");
	sweep_place(fds[0], FD_PIPE_R);
	sweep_place(fds[1], FD_PIPE_W);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) || write(fds[1], "abcd", 4) != 4)
		sweep_die("a socket");
	sweep_place(fds[0], FD_SOCKET);
	sweep_place(fds[1], FD_OTHER);
	sweep_place(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0), FD_DGRAM);
	sweep_place(eventfd(1, EFD_NONBLOCK), FD_EVENT);
	sweep_place(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), FD_TIMER);
	sweep_place(signalfd(-1, &usr2, SFD_NONBLOCK), FD_SIGNAL);
	sweep_place(epoll_create1(0), FD_EPOLL);
	sweep_place(inotify_init1(IN_NONBLOCK), FD_INOTIFY);
	sweep_place(memfd_create("memfd", MFD_ALLOW_SEALING), FD_MEMFD);
	sweep_place((int)syscall(SYS_pidfd_open, getpid(), 0), FD_PIDFD);
	sweep_place(open("/dev/null", O_RDWR), FD_NULL);
	sweep_place(open("/dev/zero", O_RDWR), FD_ZERO);
}

static inline void sweep_memory(void)
{
	char *at = mmap((void *)ARENA, 4 * ARENA_PAGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	if (at == MAP_FAILED || mmap((void *)AT_LONG, 4 * ARENA_PAGE, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		sweep_die("memory");
	for (unsigned int i = 0; i < ARRAY_SIZE(sweep_texts); i++)
		strcpy((char *)AT_TEXT(i), sweep_texts[i]);
	memset((char *)AT_EDGE, 'f', 3);
	memset((char *)AT_LONG, 'x', 256);
	memset((char *)AT_LONGER, 'x', 5000);
	if (mprotect((void *)AT_RO, ARENA_PAGE, PROT_READ) ||
	    mprotect((void *)AT_NONE, ARENA_PAGE, PROT_NONE))
		sweep_die("protections");
}

/* Rights that a plain user has not; what they let do is not the sandbox's to give. */
static inline void sweep_drop_rights(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {{0}};

	if (syscall(SYS_capset, &header, none))
		sweep_die("rights");
}

/* --- tries ----------------------------------------------------------------------------------- */

static inline struct sweep_value sweep_value(const struct sweep_arg *a, unsigned int i, char name[32])
{
	static const int64_t ints[14] = {-1, 0, 1, 2, 3, 4, 5, 6, 7, 64, 1000, INT_MAX, INT_MIN, -2};
	static const int64_t longs[8] = {-1, 0, 1, 4096, INT64_MAX, INT64_MIN, INT_MAX, 1ll << 32};
	struct sweep_value v = {name, 0};

	switch (a->kind.around) {
	case NOT_AROUND:
		return a->kind.values[i];
	case AROUND_BITS:
		v.value = i == 0 ? ~0u : i == 32 + 1 ? 0 : a->base ^ (1u << (i - 1));
		break;
	case AROUND_INT:
		v.value = (uint64_t)ints[i];
		break;
	case AROUND_LONG:
		v.value = (uint64_t)longs[i];
		break;
	}
	snprintf(name, 32, "%#lx", v.value);
	return v;
}

static inline unsigned int sweep_first(const struct sweep_arg *a)
{
	return a->kind.around ? 0 : 1;
}

/* Some call of this row has gone well: the files may be others than those that were prepared. */
static bool sweep_is_dirty;

static inline void sweep_one(const struct sweep_call *c, const uint64_t a[6], const char *what)
{
	long ret;

	errno = 0;
	alarm(5);
	ret = syscall(c->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	alarm(0);
	if (ret == -1 && errno)
		printf("  %s: %s\n", what, strerrorname_np(errno));
	else if (c->how & VALUE)
		printf("  %s: %ld\n", what, ret);
	else
		printf("  %s: ok\n", what);
	sweep_is_dirty = sweep_is_dirty || ret >= 0;
	if ((c->how & MAKES_FD) && ret >= 0)
		close((int)ret);
	/* Natively it would stay behind, for the next run to find. */
	if (c->nr == SYS_shmget && ret >= 0)
		shmctl((int)ret, IPC_RMID, NULL);
	if (c->nr == SYS_semget && ret >= 0)
		semctl((int)ret, 0, IPC_RMID);
	if (c->nr == SYS_msgget && ret >= 0)
		msgctl((int)ret, IPC_RMID, NULL);
}

/* Positions, and what is in pipes and sockets. */
static inline void sweep_reset(void)
{
	char rest[4096];

	for (int fd = FD_RW; fd <= FD_APPEND; fd++)
		lseek(fd, 0, SEEK_SET);
	lseek(FD_DIR, 0, SEEK_SET);
	lseek(FD_MEMFD, 0, SEEK_SET);
	while (read(FD_PIPE_R, rest, sizeof(rest)) == sizeof(rest))
		;
	while (read(FD_SOCKET, rest, sizeof(rest)) == sizeof(rest))
		;
	while (read(FD_OTHER, rest, sizeof(rest)) == sizeof(rest))
		;
	while (read(FD_EVENT, rest, 8) == 8)
		;
	if (write(FD_PIPE_W, "abcd", 4) != 4 || write(FD_OTHER, "abcd", 4) != 4 ||
	    write(FD_EVENT, "\1\0\0\0\0\0\0", 8) != 8)
		printf("a pipe or socket is gone\n");
	memset((void *)AT_RW, 0, ARENA_PAGE);
}

static inline void sweep_try(const struct sweep_call *c, const uint64_t a[6], const char *what)
{
	pid_t pid;
	int status;

	if ((c->how & FILES) && sweep_is_dirty) {
		sweep_files();
		sweep_file_descriptors();
		sweep_is_dirty = false;
	} else if (!(c->how & (CHANGES | FILES))) {
		sweep_reset();
	}
	if (!(c->how & CHANGES)) {
		sweep_one(c, a, what);
		return;
	}
	fflush(stdout);
	pid = fork();
	if (!pid) {
		setpgid(0, 0);
		if ((c->how & FRESH) == FRESH) {
			sweep_file_descriptors();
			sweep_descriptors();
		}
		sweep_one(c, a, what);
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (status)
		printf("  %s: ended with %#x\n", what, status);
}

static inline void sweep_pairs(const struct sweep_call *c, unsigned int first, unsigned int second,
			       const uint64_t good[6])
{
	const struct sweep_arg *x = &c->a[first], *y = &c->a[second];
	char names[2][32], what[128];
	uint64_t a[6];

	for (unsigned int i = 0; i < x->kind.nr_worst; i++)
		for (unsigned int j = 0; j < y->kind.nr_worst; j++) {
			struct sweep_value v = sweep_value(x, sweep_first(x) + i, names[0]);
			struct sweep_value w = sweep_value(y, sweep_first(y) + j, names[1]);

			memcpy(a, good, sizeof(a));
			a[first] = v.value;
			a[second] = w.value;
			snprintf(what, sizeof(what), "%u=%s %u=%s", first, v.name, second, w.name);
			sweep_try(c, a, what);
		}
}

/*
 * The values of an argument. What is not the program's own stands last in its list, and no call that changes files ever sees it: natively
 * it would be the machine's.
 */
static inline unsigned int sweep_nr(const struct sweep_call *c, const struct sweep_arg *a)
{
	unsigned int nr = a->kind.nr + (a->kind.around == AROUND_BITS);

	if (!(c->how & FILES))
		return nr;
	return nr - (a->kind.values == sweep_fds     ? NR_FOREIGN_FDS
		     : a->kind.values == sweep_paths ? NR_FOREIGN_PATHS
						     : 0);
}

static const struct sweep_call *sweep_current;

static void sweep_run_one(void)
{
	const struct sweep_call *c = sweep_current;
	uint64_t a[6], good[6];
	char name[32], what[64];

	for (unsigned int i = 0; i < 6; i++)
		good[i] = c->a[i].base;
	sweep_files();
	sweep_file_descriptors();
	sweep_descriptors();
	sweep_memory();
	sweep_try(c, good, "good");
	for (unsigned int i = 0; i < 6; i++) {
		for (unsigned int n = 0; n < sweep_nr(c, &c->a[i]); n++) {
			struct sweep_value v = sweep_value(&c->a[i], n, name);

			memcpy(a, good, sizeof(a));
			a[i] = v.value;
			snprintf(what, sizeof(what), "%u=%s", i, v.name);
			sweep_try(c, a, what);
		}
	}
	for (unsigned int i = 0; i < 6 && !(c->how & NO_PAIRS); i++)
		for (unsigned int j = i + 1; j < 6; j++)
			sweep_pairs(c, i, j, good);
}

static void sweep_in_child(void (*run)(void))
{
	(void)run;
	case_in_child(sweep_run_one);
}

static void sweep_nothing(int signo)
{
	(void)signo;
}

/* The main function of a program whose cases are the rows of a table. Each row's title names the call. */
static inline int sweep_main(int argc, char **argv, const struct sweep_call *calls, size_t nr)
{
	struct sigaction wake = {.sa_handler = sweep_nothing};
	char title[128];
	struct guest_case one = {title, sweep_run_one};

	setrlimit(RLIMIT_NOFILE, &(struct rlimit){1024, 1024});
	sweep_place(open(".", O_RDONLY | O_DIRECTORY), FD_HOME);
	/* select() leaves out what is beyond the kernel's table, which is as long as its last descriptor needs. */
	sweep_place(dup(FD_HOME), FD_LAST);
	sigaction(SIGALRM, &wake, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (argc < 2 || strcmp(argv[1], "--list"))
		sweep_drop_rights();
	for (size_t i = 0; i < nr; i++) {
		if (argc > 2 && !strcmp(argv[1], "--only") && strcmp(argv[2], calls[i].name))
			continue;
		snprintf(title, sizeof(title), "%s (%zu): every argument [A11][P1][P2]", calls[i].name, i);
		if (cases_listed(argc, argv, &one, 1))
			continue;
		sweep_current = &calls[i];
		cases_run(0, NULL, &one, 1, sweep_in_child);
	}
	return 0;
}

#endif
