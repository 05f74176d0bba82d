/* SPDX-License-Identifier: MIT */
/*
 * oom_calls.c CASE - the kernel finds no memory for a page of this program, in a call or for a signal.
 *
 * Under --memory 32M a child owns the most. What the parent asks for then is more than there is left: the child is killed, and the
 * call, or the handler, goes on as if nothing had been.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE	   4096ul
#define CHILD_SIZE (24ul << 20)
#define PAGES	   4096ul /* of ours that are touched: 16 MiB */
#define STACK_SIZE (4ul * PAGE)
#define PIECE	   (256ul * PAGE)
#define OURS	   (PAGES * STACK_SIZE)

static char *ours;
static int zero, memfd;
static volatile sig_atomic_t handled;

/* Makes the kernel write to, or read from, the page at `at`; false: the call failed. */
struct call {
	const char *name;
	bool (*touch)(char *at);
	size_t step;  /* bytes to the next one */
	size_t pages; /* that it touches */
};

static bool touch_read(char *at)
{
	return read(zero, at, 2 * PAGE) == (ssize_t)(2 * PAGE);
}

static bool touch_readv(char *at)
{
	struct iovec v[2] = {{at + 1, 1}, {at + PAGE, PAGE}};

	return readv(zero, v, 2) == (ssize_t)PAGE + 1;
}

static bool touch_stat(char *at)
{
	return !fstat(zero, (struct stat *)(void *)(at + PAGE - 8)); /* over the end of a page */
}

static bool touch_uname(char *at)
{
	return !uname((struct utsname *)(void *)at);
}

static bool touch_random(char *at)
{
	return getrandom(at, PAGE, 0) == (ssize_t)PAGE;
}

static bool touch_other(char *at)
{
	char byte = 1;
	struct iovec here = {&byte, 1}, there = {at, 1};

	return process_vm_writev(getpid(), &here, 1, &there, 1, 0) == 1;
}

/* To write the frame of a file's page is to have it: a memory file grows by what is written. */
static bool touch_file(char *at)
{
	static char piece[PIECE];

	return pwrite(memfd, piece, PIECE, at - ours) == (ssize_t)PIECE;
}

static bool touch_allocate(char *at)
{
	return !fallocate(memfd, 0, at - ours, (off_t)PIECE);
}

static bool touch_futex(char *at)
{
	syscall(SYS_futex, at, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 1, 1, at,
		FUTEX_OP(FUTEX_OP_SET, 7, FUTEX_OP_CMP_EQ, 0));
	return *(volatile int *)(void *)at == 7;
}

static void on_signal(int signo)
{
	(void)signo;
	handled++;
}

/* The frame of a handler on a stack that was not there. */
static bool touch_frame(char *at)
{
	const stack_t stack = {.ss_sp = at, .ss_size = STACK_SIZE};
	int before = handled;

	return !sigaltstack(&stack, NULL) && !raise(SIGUSR1) && handled == before + 1;
}

static const struct call calls[] = {
	{"read", touch_read, 2 * PAGE, 2},
	{"readv", touch_readv, 2 * PAGE, 2},
	{"fstat", touch_stat, 2 * PAGE, 2},
	{"uname", touch_uname, PAGE, 1},
	{"getrandom", touch_random, PAGE, 1},
	{"process_vm_writev", touch_other, PAGE, 1},
	{"pwrite", touch_file, PIECE, PIECE / PAGE},
	{"fallocate", touch_allocate, PIECE, PIECE / PAGE},
	{"futex", touch_futex, PAGE, 1},
	{"signal", touch_frame, STACK_SIZE, 2},
};

static char *map(size_t bytes, int flags)
{
	char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	return at;
}

static void prepare(size_t bytes)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};

	zero = open("/dev/zero", O_RDONLY);
	memfd = memfd_create("ours", 0);
	ours = map(bytes, MAP_SHARED);
	sigaction(SIGUSR1, &action, NULL);
	setbuf(stdout, NULL);
}

/* A child that has its memory and waits. */
static pid_t start_child(void)
{
	int ready = eventfd(0, 0);
	uint64_t one = 1;
	pid_t child = fork();

	if (!child) {
		memset(map(CHILD_SIZE, MAP_PRIVATE), 1, CHILD_SIZE);
		if (write(ready, &one, sizeof(one)) != sizeof(one))
			_exit(2);
		for (;;)
			pause();
	}
	if (read(ready, &one, sizeof(one)) != sizeof(one))
		exit(2);
	close(ready);
	return child;
}

extern const char __executable_start, _end;

/* What a memory file grows by was not promised before: it takes what the call then misses. */
static int refused(const struct call *c)
{
	/* Else our own text goes first, and then nothing does. */
	if (mlock(&__executable_start, (size_t)(&_end - &__executable_start)))
		return 2;
	for (size_t at = 0; at < CHILD_SIZE; at += PIECE)
		if (!touch_file(ours + at))
			break;
	errno = 0;
	for (size_t at = 0, n = 0; n < PAGES; at += c->step, n += c->pages) {
		if (c->touch(ours + at))
			continue;
		printf("%s: %s\n", c->name, strerrorname_np(errno));
		return 0;
	}
	printf("%s: there was memory for all\n", c->name);
	return 1;
}

static int served(const struct call *c)
{
	pid_t child = start_child();
	int status;

	for (size_t at = 0, n = 0; n < PAGES; at += c->step, n += c->pages) {
		if (c->touch(ours + at))
			continue;
		printf("%s: %s at %zu\n", c->name, strerrorname_np(errno), at);
		kill(child, SIGTERM);
		waitpid(child, &status, 0);
		return 1;
	}
	kill(child, SIGTERM);
	waitpid(child, &status, 0);
	printf("%s: all of it, and the child got %d\n", c->name, WTERMSIG(status));
	return 0;
}

static void tell(const char *what, bool done)
{
	printf("%s: %s\n", what, done ? "done" : strerrorname_np(errno));
}

/* What promises memory says when there is none. */
static int promises(void)
{
	char *half = mmap(NULL, CHILD_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t child;

	tell("mmap of some", half != MAP_FAILED);
	tell("mmap of more", mmap(NULL, CHILD_SIZE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED);
	tell("mmap without rights",
	     mmap(NULL, CHILD_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
	tell("brk", sbrk((intptr_t)CHILD_SIZE) != (void *)-1);
	child = fork();
	if (!child)
		_exit(0);
	tell("fork", child > 0);
	tell("munmap", !munmap(half, CHILD_SIZE));
	tell("brk", sbrk((intptr_t)CHILD_SIZE / 2) != (void *)-1);
	return 0;
}

static size_t free_pages(void)
{
	struct sysinfo info;

	sysinfo(&info);
	return info.freeram * info.mem_unit / PAGE;
}

/* A child's memory is back when its parent sees it end, by wait and by its descriptor, however it ended. */
static int ends(void)
{
	size_t before = free_pages(), least = before;
	uint64_t one = 1;

	for (int i = 0; i < 40; i++) {
		int ready = eventfd(0, 0), status;
		pid_t child = fork();
		if (!child) {
			memset(map(CHILD_SIZE, MAP_PRIVATE), 1, CHILD_SIZE);
			if (i & 1)
				_exit(write(ready, &one, sizeof(one)) != sizeof(one));
			while (write(ready, &one, sizeof(one)) == sizeof(one))
				pause();
		}
		int fd = (int)syscall(SYS_pidfd_open, child, 0);
		struct pollfd p = {fd, POLLIN, 0};
		if (read(ready, &one, sizeof(one)) != sizeof(one))
			return 1;
		if (!(i & 1))
			kill(child, SIGKILL);
		if (i & 2)
			poll(&p, 1, -1);
		else
			waitpid(child, &status, 0);
		size_t now = free_pages();
		least = now < least ? now : least;
		if (i & 2)
			waitpid(child, &status, 0);
		close(fd);
		close(ready);
	}
	printf("ends: %s\n", before - least < CHILD_SIZE / PAGE / 2 ? "all came back" : "some is missing");
	return 0;
}

int main(int argc, char **argv)
{
	bool refusal = argc > 2 && !strcmp(argv[2], "refused");
	int bad = 1;

	if (argc > 1 && !strcmp(argv[1], "promises"))
		return promises();
	if (argc > 1 && !strcmp(argv[1], "ends"))
		return ends();
	prepare(refusal ? PAGES * PAGE : OURS);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (argc > 1 && !strcmp(argv[1], calls[i].name))
			bad = refusal ? refused(&calls[i]) : served(&calls[i]);
	return bad;
}
