/* SPDX-License-Identifier: MIT */
/*
 * pressure_trigger.c - triggers on /proc/pressure/memory: which are taken, and what poll and epoll say of them.
 *
 *	pressure_trigger MIB
 *
 * MIB is more memory than there is: a thread uses it in order, over and over, whenever an event is waited for. Prints "ok"; status 1 and a
 * line when something is otherwise than on Linux. Windows are multiples of 2 s, which every opener may ask for.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#define FILE_NAME "/proc/pressure/memory"
#define PAGE	  4096ul
#define ALL	  (POLLIN | POLLOUT | POLLPRI)
#define LONG_MS	  100000
#define WINDOW_MS 2000
#define ROUNDS	  20

static size_t bytes;
static atomic_int stop;

static void expect(int right, const char *what)
{
	if (right)
		return;
	fprintf(stderr, "pressure_trigger: %s (errno %d)\n", what, errno);
	exit(1);
}

static int open_file(int flags)
{
	int fd = open(FILE_NAME, flags | O_CLOEXEC);

	expect(fd >= 0, "cannot open it");
	return fd;
}

static int polled(int fd, short events, int ms)
{
	struct pollfd p = {.fd = fd, .events = events};

	expect(poll(&p, 1, ms) >= 0, "poll");
	return p.revents;
}

/* --- what is taken ----------------------------------------------------------------------------- */

/* With the NUL behind it: the kernel takes the last byte for one. */
static void rules(void)
{
	static const struct {
		const char *text;
		int error;
	} rule[] = {
		{"some 150000 2000000", 0},	  {"full 150000 2000000", 0},
		{"some 10000000 10000000", 0},	  {"some 1 2000000 x", 0},
		{"some 150000 12000000", EINVAL}, {"some 0 2000000", EINVAL},
		{"some 3000000 2000000", EINVAL}, {"some 150000", EINVAL},
		{"many 150000 2000000", EINVAL},  {" some 150000 2000000", EINVAL},
		{"some 150000 0", EINVAL},	  {"", EINVAL},
	};

	for (size_t i = 0; i < sizeof(rule) / sizeof(rule[0]); i++) {
		int fd = open_file(O_RDWR);
		ssize_t want = rule[i].error ? -1 : (ssize_t)strlen(rule[i].text) + 1;
		errno = 0;
		expect(polled(fd, ALL, 0) == (ALL | POLLERR), "without a trigger poll says an error");
		expect(write(fd, rule[i].text, strlen(rule[i].text) + 1) == want && errno == rule[i].error,
		       rule[i].text);
		if (!rule[i].error) {
			expect(!(polled(fd, ALL, 0) & POLLERR), "with a trigger it does not");
			expect(write(fd, "some 1 2000000", 15) < 0 && errno == EBUSY, "a second trigger");
		}
		close(fd);
	}
}

static void open_files(void)
{
	int fd = open_file(O_RDWR), copy = dup(fd), reader = open_file(O_RDONLY);
	char text[8];

	expect(write(reader, "some 1 2000000", 15) < 0 && errno == EBADF, "only who opened it for that");
	expect(write(copy, "some 1000000 2000000", 21) == 21, "by a copy of the descriptor");
	expect(write(fd, "some 1 2000000", 15) < 0 && errno == EBUSY, "they have one trigger");
	expect(!(polled(fd, ALL, 0) & POLLERR), "and one state");
	expect(read(fd, text, 5) == 5 && !memcmp(text, "some ", 5), "it is read from the beginning");
	expect(pwrite(reader, "x", 1, 0) < 0, "pwrite");
	close(copy);
	close(fd);
	close(reader);
}

/* --- events ------------------------------------------------------------------------------------ */

static void *use(void *arg)
{
	char *base = arg;

	for (unsigned char n = 1; !stop; n++)
		for (size_t at = 0; at < bytes && !stop; at += PAGE)
			*(volatile unsigned char *)(base + at) = (unsigned char)(n + at / PAGE);
	return NULL;
}

/* Waits for an event by `wait`, then until there are no more: each is told once. */
static void expect_event(char *base, int (*wait)(int fd, int ms), int fd)
{
	pthread_t thread;
	int rounds = 0;

	stop = 0;
	expect(!pthread_create(&thread, NULL, use, base), "pthread_create");
	expect(wait(fd, LONG_MS), "no event");
	stop = 1;
	pthread_join(thread, NULL);
	while (wait(fd, WINDOW_MS + WINDOW_MS / 2) && rounds < ROUNDS)
		rounds++;
	expect(rounds < ROUNDS, "an event is told again and again");
}

static int wait_by_poll(int fd, int ms)
{
	int events = polled(fd, POLLPRI, ms);

	expect(!(events & ~POLLPRI), "poll says what was not asked");
	return events;
}

static int wait_by_epoll(int fd, int ms)
{
	struct epoll_event event = {0};
	int nr = epoll_wait(fd, &event, 1, ms);

	expect(nr >= 0, "epoll_wait");
	expect(!nr || (event.events == EPOLLPRI && event.data.u64 == 77), "another event");
	return nr;
}

static void events(char *base)
{
	int fd = open_file(O_RDWR), epoll = epoll_create1(0);
	struct epoll_event event = {.events = EPOLLPRI, .data.u64 = 77};

	expect(write(fd, "some 1000 2000000", 18) == 18, "a trigger");
	expect_event(base, wait_by_poll, fd);
	expect(!epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
	expect_event(base, wait_by_epoll, epoll);
	expect(!epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL), "epoll_ctl");
	close(epoll);
	close(fd);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	bytes = strtoul(argv[1], NULL, 10) << 20;
	char *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	expect(base != MAP_FAILED, "mmap");
	rules();
	open_files();
	events(base);
	puts("ok");
	return 0;
}
