/* SPDX-License-Identifier: MIT */
/*
 * same_aio.c - native asynchronous I/O: contexts, what is submitted, and the events that come of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#include "case.h"

#define NOWHERE	   ((void *)8)
#define RING_MAGIC 0xa10a10a1u

/* The head of a ring, as libraries know it. */
struct ring {
	unsigned int id, nr, head, tail, magic, compat, incompat, header_bytes;
	struct io_event event[];
};

struct sigset_argument {
	const sigset_t *set;
	size_t bytes;
};

static long said(long ret)
{
	return ret < 0 ? -errno : ret;
}

static long setup(unsigned int nr, aio_context_t *ctx)
{
	return said(syscall(SYS_io_setup, nr, ctx));
}

static long destroy(aio_context_t ctx)
{
	return said(syscall(SYS_io_destroy, ctx));
}

static long submit(aio_context_t ctx, long nr, struct iocb **list)
{
	return said(syscall(SYS_io_submit, ctx, nr, list));
}

static long submit_one(aio_context_t ctx, struct iocb *cb)
{
	return submit(ctx, 1, &cb);
}

static long get(aio_context_t ctx, long least, long most, struct io_event *to, struct timespec *timeout)
{
	return said(syscall(SYS_io_getevents, ctx, least, most, to, timeout));
}

static aio_context_t context(unsigned int nr)
{
	aio_context_t ctx = 0;

	if (setup(nr, &ctx))
		printf("io_setup: %d\n", errno);
	return ctx;
}

static struct iocb operation(int opcode, int fd, const void *buf, size_t bytes, long long offset)
{
	return (struct iocb){.aio_lio_opcode = (uint16_t)opcode,
			     .aio_fildes = (uint32_t)fd,
			     .aio_buf = (uintptr_t)buf,
			     .aio_nbytes = bytes,
			     .aio_offset = offset,
			     .aio_data = 0x1234};
}

/* Submits one and prints what came of it: of the call, and of the operation. */
static void show(aio_context_t ctx, const char *what, struct iocb cb)
{
	struct io_event e = {0};
	long ret = submit_one(ctx, &cb);

	printf("%s: %ld", what, ret);
	if (ret == 1) {
		ret = get(ctx, 1, 1, &e, NULL);
		printf(", events %ld: data %llx its %d res %lld res2 %lld", ret, e.data,
		       e.obj == (uintptr_t)&cb, e.res, e.res2);
	}
	printf("\n");
}

static int scratch(const char *name)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);

	if (fd < 0)
		printf("%s: %d\n", name, errno);
	return fd;
}

static void contexts(void)
{
	aio_context_t ctx = 0, other = 5, third = 0;
	struct timespec none = {0};

	printf("none %ld, in use %ld, nowhere %ld\n", setup(0, &ctx), setup(1, &other), setup(1, NOWHERE));
	printf("too many %ld %ld %ld\n", setup(~0u, &ctx), setup(0x400000, &ctx), setup(1000000, &ctx));
	printf("one %ld", setup(1, &ctx));
	printf(" %d, another %ld", ctx != 0, setup(100, &third));
	printf(" %d\n", third != ctx);
	printf("nothing there %ld\n", get(ctx, 0, 1, NULL, &none));
	printf("submit nothing %ld, less %ld, nowhere %ld\n", submit(ctx, 0, NULL), submit(ctx, -1, NULL),
	       submit(ctx, 1, NOWHERE));
	printf("gone %ld", destroy(ctx));
	printf(", again %ld\n", destroy(ctx));
	printf("of nobody %ld %ld %ld\n", destroy(0), destroy(8), destroy((aio_context_t)&ctx));
	printf("after that: %ld %ld %ld\n", submit(ctx, 0, NULL), get(ctx, 0, 1, NULL, &none),
	       said(syscall(SYS_io_cancel, ctx, NOWHERE, NULL)));
	printf("the other %ld\n", destroy(third));
}

static void moves_data(void)
{
	char text[] = "some text to be written", into[64] = "", more[16] = "";
	struct iovec out[2] = {{text, 5}, {text + 5, 5}}, in[2] = {{into, 3}, {more, 10}};
	aio_context_t ctx = context(16);
	int fd = scratch("moved");

	show(ctx, "write", operation(IOCB_CMD_PWRITE, fd, text, sizeof(text), 0));
	show(ctx, "read", operation(IOCB_CMD_PREAD, fd, into, sizeof(into), 5));
	printf("it is '%s', position %ld\n", into, (long)lseek(fd, 0, SEEK_CUR));
	show(ctx, "gather", operation(IOCB_CMD_PWRITEV, fd, out, 2, 100));
	show(ctx, "scatter", operation(IOCB_CMD_PREADV, fd, in, 2, 100));
	printf("it is '%.3s' '%.7s'\n", into, more);
	show(ctx, "behind the end", operation(IOCB_CMD_PREAD, fd, into, 10, 200));
	show(ctx, "nothing", operation(IOCB_CMD_PREAD, fd, into, 0, 0));
	show(ctx, "sync", operation(IOCB_CMD_FSYNC, fd, NULL, 0, 0));
	show(ctx, "data sync", operation(IOCB_CMD_FDSYNC, fd, NULL, 0, 0));
	show(ctx, "no such memory", operation(IOCB_CMD_PREAD, fd, NOWHERE, 10, 0));
	show(ctx, "memory of the kernel", operation(IOCB_CMD_PREAD, fd, (void *)(1ull << 63), 10, 0));
	show(ctx, "write from nowhere", operation(IOCB_CMD_PWRITE, fd, NOWHERE, 10, 0));
	show(ctx, "no such vector", operation(IOCB_CMD_PREADV, fd, NOWHERE, 1, 0));
	show(ctx, "too long a vector", operation(IOCB_CMD_PREADV, fd, in, 1025, 0));
	fcntl(fd, F_SETFL, O_APPEND);
	show(ctx, "append", operation(IOCB_CMD_PWRITE, fd, text, 4, 0));
	printf("%ld bytes\n", (long)lseek(fd, 0, SEEK_END));
	close(fd);
	destroy(ctx);
}

static void is_refused(void)
{
	aio_context_t ctx = context(4);
	int fd = scratch("refused"), ro = open("refused", O_RDONLY), wo = open("refused", O_WRONLY),
	    path = open("refused", O_PATH), dir = open(".", O_RDONLY), p[2];
	char byte[8] = "";
	struct iocb cb, good = operation(IOCB_CMD_PWRITE, fd, byte, 1, 0), *list[3] = {&good, &cb, &good};
	struct io_event e[4];

	pipe(p);
	show(ctx, "opcode", operation(42, fd, byte, 1, 0));
	show(ctx, "preadx", operation(4, fd, byte, 1, 0));
	show(ctx, "noop", operation(6, fd, byte, 1, 0));
	show(ctx, "descriptor", operation(IOCB_CMD_PREAD, -1, byte, 1, 0));
	show(ctx, "descriptor and opcode", operation(42, -1, byte, 1, 0));
	show(ctx, "only its path", operation(IOCB_CMD_PREAD, path, byte, 1, 0));
	show(ctx, "read of write only", operation(IOCB_CMD_PREAD, wo, byte, 1, 0));
	show(ctx, "write of read only", operation(IOCB_CMD_PWRITE, ro, byte, 1, 0));
	show(ctx, "a directory", operation(IOCB_CMD_PREAD, dir, byte, 1, 0));
	show(ctx, "write to a directory", operation(IOCB_CMD_PWRITE, dir, byte, 1, 0));
	show(ctx, "before the beginning", operation(IOCB_CMD_PREAD, fd, byte, 1, -1));
	show(ctx, "write before it", operation(IOCB_CMD_PWRITE, fd, byte, 1, -5));
	show(ctx, "too much", operation(IOCB_CMD_PREAD, fd, byte, 1ull << 63, 0));
	show(ctx, "sync with a buffer", operation(IOCB_CMD_FSYNC, fd, byte, 0, 0));
	show(ctx, "sync with bytes", operation(IOCB_CMD_FSYNC, fd, NULL, 1, 0));
	show(ctx, "sync with an offset", operation(IOCB_CMD_FDSYNC, fd, NULL, 0, 1));
	show(ctx, "sync of a pipe", operation(IOCB_CMD_FSYNC, p[0], NULL, 0, 0));
	show(ctx, "sync of a directory", operation(IOCB_CMD_FSYNC, dir, NULL, 0, 0));
	cb = operation(IOCB_CMD_PREAD, fd, byte, 1, 0);
	cb.aio_reserved2 = 1;
	show(ctx, "reserved", cb);
	cb = operation(IOCB_CMD_PREAD, fd, byte, 1, 0);
	cb.aio_flags = IOCB_FLAG_RESFD;
	cb.aio_resfd = 99;
	show(ctx, "no such eventfd", cb);
	cb.aio_resfd = (uint32_t)fd;
	show(ctx, "no eventfd", cb);
	cb.aio_flags = 0x80;
	show(ctx, "an unknown flag", cb);
	cb.aio_flags = IOCB_FLAG_IOPRIO;
	cb.aio_reqprio = 0x7fff;
	show(ctx, "priority", cb);
	cb.aio_reqprio = 0x4004;
	show(ctx, "good priority", cb);
	cb.aio_flags = 0;
	cb.aio_rw_flags = 0x40000000;
	show(ctx, "unknown rw flag", cb);
	cb.aio_rw_flags = RWF_DSYNC;
	show(ctx, "known rw flag", cb);
	cb = operation(42, fd, byte, 1, 0);
	cb.aio_key = 77;
	printf("the second is bad: %ld, key %u\n", submit(ctx, 3, list), cb.aio_key);
	printf("events %ld\n", get(ctx, 0, 4, e, NULL));
	list[1] = NOWHERE;
	printf("the second is nowhere: %ld\n", submit(ctx, 3, list));
	printf("events %ld\n", get(ctx, 0, 4, e, NULL));
	printf("ring of nobody %ld\n", submit(ctx + 4096, 1, list));
	destroy(ctx);
}

static void streams(void)
{
	aio_context_t ctx = context(4);
	int p[2], event = eventfd(3, 0);
	uint64_t word = 0;
	char text[8] = "";

	pipe(p);
	signal(SIGPIPE, SIG_IGN);
	show(ctx, "to a pipe", operation(IOCB_CMD_PWRITE, p[1], "hello", 5, 0));
	show(ctx, "from a pipe", operation(IOCB_CMD_PREAD, p[0], text, 8, 0));
	printf("it is '%s'\n", text);
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	show(ctx, "nothing there", operation(IOCB_CMD_PREAD, p[0], text, 8, 0));
	show(ctx, "the wrong end", operation(IOCB_CMD_PREAD, p[1], text, 8, 0));
	show(ctx, "at an offset", operation(IOCB_CMD_PWRITE, p[1], "x", 1, 55));
	close(p[0]);
	show(ctx, "broken", operation(IOCB_CMD_PWRITE, p[1], "hello", 5, 0));
	show(ctx, "an eventfd", operation(IOCB_CMD_PREAD, event, &word, 8, 0));
	printf("it is %d\n", (int)word);
	show(ctx, "zeroes", operation(IOCB_CMD_PREAD, open("/dev/zero", O_RDONLY), text, 8, 3));
	show(ctx, "into nothing", operation(IOCB_CMD_PWRITE, open("/dev/null", O_WRONLY), text, 8, 3));
	destroy(ctx);
}

static void tells_an_eventfd(void)
{
	aio_context_t ctx = context(8);
	int fd = scratch("told"), event = eventfd(0, EFD_NONBLOCK);
	struct iocb cb[3], *list[3];
	struct io_event e[3];
	uint64_t count = 0;

	for (int i = 0; i < 3; i++) {
		cb[i] = operation(IOCB_CMD_PWRITE, fd, "abc", 3, i * 3);
		cb[i].aio_flags = IOCB_FLAG_RESFD;
		cb[i].aio_resfd = (uint32_t)event;
		list[i] = &cb[i];
	}
	printf("submitted %ld\n", submit(ctx, 3, list));
	printf("events %ld", get(ctx, 3, 3, e, NULL));
	printf(" read %ld", said(read(event, &count, 8)));
	printf(" count %d\n", (int)count);
	destroy(ctx);
}

static void nothing(int signo)
{
	(void)signo;
}

static void *interrupt(void *arg)
{
	usleep(50000);
	pthread_kill(*(pthread_t *)arg, SIGUSR1);
	return NULL;
}

static long interrupted(aio_context_t ctx, long least, struct io_event *e)
{
	pthread_t self = pthread_self(), other;
	long ret;

	pthread_create(&other, NULL, interrupt, &self);
	ret = get(ctx, least, 4, e, NULL);
	pthread_join(other, NULL);
	return ret;
}

static void waits(void)
{
	aio_context_t ctx = context(8);
	struct timespec none = {0}, soon = {.tv_nsec = 20000000};
	struct iocb cb = operation(IOCB_CMD_PWRITE, scratch("waited"), "abc", 3, 0), *list[2] = {&cb, &cb};
	struct io_event e[4];
	sigset_t set;
	struct sigset_argument mask = {&set, 8};

	sigaction(SIGUSR1, &(struct sigaction){.sa_handler = nothing, .sa_flags = SA_RESTART}, NULL);
	printf("more than most %ld, less than none %ld %ld\n", get(ctx, 2, 1, e, &none),
	       get(ctx, -1, 1, e, &none), get(ctx, 0, -1, e, &none));
	printf("no time %ld %ld, soon %ld\n", get(ctx, 1, 1, e, &none), get(ctx, 0, 0, e, NULL),
	       get(ctx, 1, 1, e, &soon));
	printf("time from nowhere %ld, from nobody %ld\n", get(ctx, 1, 1, e, NOWHERE),
	       get(0, 1, 1, e, NOWHERE));
	printf("interrupted %ld\n", interrupted(ctx, 1, e));
	printf("two %ld", submit(ctx, 2, list));
	printf(", interrupted with them %ld\n", interrupted(ctx, 3, e));
	printf("two %ld", submit(ctx, 2, list));
	printf(", nowhere %ld", get(ctx, 1, 4, NOWHERE, NULL));
	printf(", one of them %ld", get(ctx, 1, 1, e, NULL));
	printf(", not enough %ld\n", get(ctx, 3, 4, e, &soon));
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGUSR1);
	sigemptyset(&set);
	printf("masked %ld", said(syscall(SYS_io_pgetevents, ctx, 1, 1, e, NULL, &mask)));
	mask.bytes = 7;
	printf(", wrong size %ld", said(syscall(SYS_io_pgetevents, ctx, 1, 1, e, &none, &mask)));
	printf(", nowhere %ld", said(syscall(SYS_io_pgetevents, ctx, 1, 1, e, &none, NOWHERE)));
	mask = (struct sigset_argument){NOWHERE, 8};
	printf(" %ld", said(syscall(SYS_io_pgetevents, ctx, 1, 1, e, &none, &mask)));
	mask = (struct sigset_argument){NULL, 5};
	printf(", no mask %ld %ld\n", said(syscall(SYS_io_pgetevents, ctx, 1, 1, e, &none, &mask)),
	       said(syscall(SYS_io_pgetevents, ctx, 1, 1, e, &none, NULL)));
	sigprocmask(SIG_BLOCK, NULL, &set);
	printf("the mask is as it was: %d\n", sigismember(&set, SIGUSR1));
	destroy(ctx);
}

struct writer {
	int fd;
	const char *text;
};

static void *write_later(void *arg)
{
	const struct writer *w = arg;

	usleep(50000);
	write(w->fd, w->text, strlen(w->text));
	return NULL;
}

static struct iocb polling(int fd, unsigned int events)
{
	return operation(IOCB_CMD_POLL, fd, (void *)(uintptr_t)events, 0, 0);
}

static void polls(void)
{
	aio_context_t ctx = context(8);
	struct iocb cb, *both[2];
	struct iocb first, second;
	struct io_event e[2] = {0};
	struct timespec none = {0};
	int p[2], event = eventfd(0, 0);
	uint64_t count = 0;
	struct writer w;
	pthread_t other;

	pipe(p);
	w = (struct writer){p[1], "x"};
	show(ctx, "room for writing", polling(p[1], POLLOUT));
	cb = polling(p[0], POLLIN);
	cb.aio_flags = IOCB_FLAG_RESFD;
	cb.aio_resfd = (uint32_t)event;
	printf("nothing to read: %ld", submit_one(ctx, &cb));
	printf(", events %ld\n", get(ctx, 0, 1, e, &none));
	pthread_create(&other, NULL, write_later, &w);
	printf("now %ld", get(ctx, 1, 1, e, NULL));
	pthread_join(other, NULL);
	printf(": res %llx res2 %lld its %d", e[0].res, e[0].res2, e[0].obj == (uintptr_t)&cb);
	printf(", told %ld %d\n", said(read(event, &count, 8)), (int)count);
	show(ctx, "something to read", polling(p[0], POLLIN | POLLPRI));
	show(ctx, "an offset", operation(IOCB_CMD_POLL, p[0], (void *)1, 0, 1));
	show(ctx, "bytes", operation(IOCB_CMD_POLL, p[0], (void *)1, 1, 0));
	show(ctx, "too many bits", operation(IOCB_CMD_POLL, p[0], (void *)0x10001, 0, 0));
	show(ctx, "a file", polling(scratch("polled"), POLLIN | POLLOUT));
	read(p[0], &count, 1);
	first = polling(p[0], POLLIN);
	second = polling(p[0], POLLRDNORM);
	both[0] = &first;
	both[1] = &second;
	printf("two of one: %ld\n", submit(ctx, 2, both));
	write(p[1], "y", 1);
	printf("events %ld", get(ctx, 2, 2, e, NULL));
	printf(": %llx\n", (e[0].obj == (uintptr_t)&first ? e[0] : e[1]).res);
	read(p[0], &count, 1);
	printf("waits %ld", submit_one(ctx, &first));
	close(p[1]);
	printf(", hung up %ld", get(ctx, 1, 1, e, NULL));
	printf(": %llx\n", e[0].res);
	destroy(ctx);
}

static void cancels(void)
{
	aio_context_t ctx = context(8);
	struct io_event e = {.res = 77};
	struct timespec none = {0};
	struct iocb cb;
	int p[2];

	pipe(p);
	cb = polling(p[0], POLLIN);
	printf("waits %ld", submit_one(ctx, &cb));
	printf(", nothing %ld", get(ctx, 0, 1, &e, &none));
	printf(", cancelled %ld", said(syscall(SYS_io_cancel, ctx, &cb, &e)));
	printf(", event %ld", get(ctx, 1, 1, &e, NULL));
	printf(": res %lld res2 %lld\n", e.res, e.res2);
	printf("again %ld\n", said(syscall(SYS_io_cancel, ctx, &cb, &e)));
	cb.aio_key = 1;
	printf("another key %ld, nowhere %ld, nobody's %ld\n", said(syscall(SYS_io_cancel, ctx, &cb, &e)),
	       said(syscall(SYS_io_cancel, ctx, NOWHERE, &e)), said(syscall(SYS_io_cancel, 0, NOWHERE, &e)));
	cb = polling(p[0], POLLIN);
	printf("waits %ld", submit_one(ctx, &cb));
	printf(", destroyed %ld\n", destroy(ctx));
}

static void ends_with_work(void)
{
	aio_context_t ctx = context(8);
	struct iocb cb;
	int p[2];

	pipe(p);
	cb = polling(p[0], POLLIN);
	printf("waits %ld\n", submit_one(ctx, &cb));
}

static void the_ring(void)
{
	aio_context_t ctx = context(32);
	struct ring *r = (void *)ctx;
	struct iocb cb = operation(IOCB_CMD_PWRITE, scratch("ring"), "abc", 3, 0), *list[3] = {&cb, &cb, &cb};
	struct timespec none = {0};
	struct io_event e[4];

	printf("magic %d compat %u incompat %u header %u, head %u tail %u\n", r->magic == RING_MAGIC,
	       r->compat, r->incompat, r->header_bytes, r->head, r->tail);
	printf("room for all %d, fills its pages %d\n", r->nr >= 2 * 32, (32 + r->nr * 32) % 4096 == 0);
	printf("submitted %ld", submit(ctx, 3, list));
	printf(": head %u tail %u\n", r->head, r->tail);
	printf("event: data %llx its %d res %lld\n", r->event[1].data, r->event[1].obj == (uintptr_t)&cb,
	       r->event[1].res);
	r->head = 2;
	printf("left %ld", get(ctx, 0, 4, e, &none));
	printf(": head %u tail %u\n", r->head, r->tail);
	printf("unmapped %d", munmap(r, 4096));
	printf(", then %ld", submit(ctx, 3, list));
	printf(" %ld\n", destroy(ctx));
}

/* The line of the ring in maps, without its address. */
static void show_line(aio_context_t ctx)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512], rights[8], name[256];
	unsigned long start, end, offset;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx %7s %lx %*s %*s %255[^\n]", &start, &end, rights, &offset, name) ==
			    5 &&
		    start == ctx)
			printf("%s offset %lx %s\n", rights, offset, name);
	if (f)
		fclose(f);
}

static void the_rings_area(void)
{
	aio_context_t ctx = context(1), at;
	struct iocb cb = operation(IOCB_CMD_PWRITE, scratch("area"), "abc", 3, 0);
	struct timespec none = {0};
	struct io_event e;
	size_t bytes = 32 + 32 * (((struct ring *)ctx)->nr);

	bytes = (bytes + 4095) & ~4095ul;
	show_line(ctx);
	fflush(stdout);
	if (!fork()) {
		show_line(ctx);
		printf("in a child: %ld", get(ctx, 0, 1, &e, &none));
		printf(" %ld\n", destroy(ctx));
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
	printf("grown %ld\n", said((long)mremap((void *)ctx, bytes, bytes * 2, MREMAP_MAYMOVE)));
	void *room = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	at = (aio_context_t)mremap((void *)ctx, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, room);
	printf("moved %d", at == (aio_context_t)room);
	printf(": the old place %ld", submit_one(ctx, &cb));
	printf(", the new one %ld", submit_one(at, &cb));
	printf(", events %ld\n", get(at, 1, 1, &e, NULL));
	printf("destroyed %ld", destroy(at));
	printf(", unmapped %d\n", said(msync((void *)at, 4096, MS_ASYNC)) == -ENOMEM);
}

static void is_full(void)
{
	aio_context_t ctx = context(1);
	struct iocb cb = operation(IOCB_CMD_PWRITE, scratch("full"), "abc", 3, 0), *list[4096];
	struct ring *r = (void *)ctx;
	struct io_event e[8];
	long nr = 0, ret;

	for (int i = 0; i < 4096; i++)
		list[i] = &cb;
	while ((ret = submit(ctx, 1, list)) == 1 && nr < 10000)
		nr++;
	printf("what was asked for %d, not more than the ring %d, then %ld\n", nr >= 1, nr < (long)r->nr,
	       ret);
	printf("some taken %ld", get(ctx, 8, 8, e, NULL));
	printf(", room again %ld\n", submit(ctx, 1, list));
	destroy(ctx);
}

static _Atomic long nr_got;

static void *getter(void *arg)
{
	aio_context_t ctx = *(aio_context_t *)arg;
	struct io_event e[3];
	long n;

	while (nr_got < 300) {
		struct timespec soon = {.tv_nsec = 10000000};
		n = get(ctx, 1, 3, e, &soon);
		if (n < 0)
			break;
		nr_got += n;
	}
	return NULL;
}

static void many_threads_get(void)
{
	aio_context_t ctx = context(128);
	struct iocb cb = operation(IOCB_CMD_PWRITE, scratch("many"), "abc", 3, 0), *one = &cb;
	pthread_t t[3];
	long nr = 0;

	nr_got = 0;
	for (int i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, getter, &ctx);
	while (nr < 300)
		if (submit(ctx, 1, &one) == 1)
			nr++;
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	printf("submitted %ld, got %ld\n", nr, nr_got);
	destroy(ctx);
}

static long read_number(const char *path)
{
	FILE *f = fopen(path, "r");
	long value = -1;

	if (f && fscanf(f, "%ld", &value) != 1)
		value = -1;
	if (f)
		fclose(f);
	return value;
}

/* Others may have contexts, and change them meanwhile. */
static void numbers(void)
{
	long more = 0;

	for (int i = 0; i < 50 && more != 64; i++) {
		long before = read_number("/proc/sys/fs/aio-nr");
		aio_context_t ctx = context(64);
		more = read_number("/proc/sys/fs/aio-nr") - before;
		destroy(ctx);
	}
	printf("at most %ld, this one %ld\n", read_number("/proc/sys/fs/aio-max-nr"), more);
}

static const struct guest_case cases[] = {
	{"aio: contexts are made and destroyed, and what is wrong with one is said in order [J2]", contexts},
	{"aio: reads, writes, vectors and syncs are done, and their events say so [J2]", moves_data},
	{"aio: what cannot be done is refused, or told by the event [J2]", is_refused},
	{"aio: pipes, eventfds and devices are read and written too [J2]", streams},
	{"aio: an eventfd counts the events [J2]", tells_an_eventfd},
	{"aio: getevents waits, for a time, and until a signal comes [J2]", waits},
	{"aio: a poll ends when the file is ready [J2]", polls},
	{"aio: a poll that waits is cancelled [J2]", cancels},
	{"aio: a process ends while a poll waits [J2]", ends_with_work},
	{"aio: the ring is as libraries read it [J2]", the_ring},
	{"aio: the ring's area is one of its own, and its place is the context's name [J2]", the_rings_area},
	{"aio: a ring that is full takes no more [J2]", is_full},
	{"aio: threads that take events get each of them once [J2]", many_threads_get},
	{"aio: /proc/sys/fs tells how many there are [J2]", numbers},
};

int main(int argc, char **argv)
{
	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	cases_run(argc, argv, cases, NR_CASES(cases), case_in_child);
	return 0;
}
