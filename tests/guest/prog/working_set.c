/* SPDX-License-Identifier: MIT */
/*
 * working_set.c - more memory than there is, used in every order, with a checksum in each page.
 *
 *	working_set MIB SECONDS SEED [lossy] [shared]
 *
 * SECONDS 0: all pages written, some work of most kinds, all pages read, however long that takes.
 *
 * Each page holds its number, a version, and words made of both; the versions are kept apart as well. A page that does not hold
 * what it should is the end, with status 1. With `lossy` a page may be lost, which SIGBUS tells: it is mapped anew and begins again.
 * Half a dozen kinds of work take turns: reading and writing in order, backwards, in strides and at random, or nearly always the same tenth;
 * children that share the pages and change their own; pages given back; a second thread all the while on the last quarter. With `shared`
 * it is a memfd's: children change what the parent sees, and some work is done by pread and pwrite.
 * Prints "ok OPERATIONS operations, LOST lost".
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE  4096ul
#define WORDS (PAGE / sizeof(uint64_t))

static char *base;
static uint32_t *version;	      /* of each page; 0: nothing was written yet, or it was given back */
static uint64_t nr_pages, deadline_s; /* 0: none */
static bool lossy;
static int memfd = -1; /* with `shared` */
static atomic_ulong nr_operations, nr_lost;
static __thread sigjmp_buf lost;
static __thread volatile sig_atomic_t may_lose;

static uint64_t now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec;
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

static uint64_t word_of(uint64_t page, uint32_t v, unsigned int i)
{
	return (page * 0x9e3779b97f4a7c15ull + v) * 0xd1342543de82ef95ull + i;
}

static void on_sigbus(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)info;
	(void)context;
	if (!may_lose)
		_exit(3);
	may_lose = 0;
	siglongjmp(lost, 1);
}

static void fill_at(void *at, uint64_t page, uint32_t v)
{
	uint64_t *word = at;

	for (unsigned int i = 0; i < WORDS; i += 16)
		word[i] = word_of(page, v, i);
}

/* True: there is version v of the page; of untouched memory, zeroes. */
static bool holds_at(const void *at, uint64_t page, uint32_t v)
{
	const uint64_t *word = at;
	bool right = true;

	for (unsigned int i = 0; i < WORDS && right; i += 16)
		right = word[i] == (v ? word_of(page, v, i) : 0);
	if (!right)
		fprintf(stderr, "working_set: page %lu does not hold version %u\n", (unsigned long)page, v);
	return right;
}

static void lose(uint64_t page)
{
	char *at = base + page * PAGE;

	atomic_fetch_add(&nr_lost, 1);
	version[page] = 0;
	if (memfd >= 0 ? madvise(at, PAGE, MADV_REMOVE)
		       : mmap(at, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
			      0) == MAP_FAILED)
		_exit(4);
}

/* One page looked at, and written if `write`. */
static void touch(uint64_t page, bool write)
{
	if (sigsetjmp(lost, 1)) {
		lose(page);
		return;
	}
	may_lose = lossy;
	if (!holds_at(base + page * PAGE, page, version[page]))
		_exit(1);
	if (write)
		fill_at(base + page * PAGE, page, ++version[page]);
	may_lose = 0;
	atomic_fetch_add(&nr_operations, 1);
}

static bool time_left(void)
{
	return !deadline_s || now_s() < deadline_s;
}

struct range {
	uint64_t first, nr;
	uint64_t seed;
};

static void in_order(struct range r, bool write)
{
	for (uint64_t i = 0; i < r.nr && (i % 512 || time_left()); i++)
		touch(r.first + i, write);
}

static void backwards(struct range r)
{
	for (uint64_t i = r.nr; i > 0 && (i % 512 || time_left()); i--)
		touch(r.first + i - 1, i % 3 == 0);
}

static void strides(struct range r)
{
	const uint64_t step = 1 + next_random(&r.seed) % 600;

	for (uint64_t at = 0, i = 0; i < r.nr / 4 && (i % 512 || time_left()); i++, at = (at + step) % r.nr)
		touch(r.first + at, i % 2);
}

static void at_random(struct range r)
{
	for (uint64_t i = 0; i < r.nr / 8 && (i % 512 || time_left()); i++)
		touch(r.first + next_random(&r.seed) % r.nr, i % 2);
}

/* Nine times out of ten one of the first tenth. */
static void hot_and_cold(struct range r)
{
	for (uint64_t i = 0; i < r.nr / 4 && (i % 512 || time_left()); i++) {
		uint64_t n = next_random(&r.seed) % r.nr;
		touch(r.first + (i % 10 ? n / 10 : n), i % 4 == 0);
	}
}

/* The same page by calls; false: it cannot be had. */
static bool by_call(uint64_t page)
{
	uint64_t word[WORDS];

	if (pread(memfd, word, PAGE, (off_t)(page * PAGE)) != (ssize_t)PAGE)
		return false;
	if (!holds_at(word, page, version[page]))
		_exit(1);
	memset(word, 0, PAGE); /* words in between, too */
	fill_at(word, page, ++version[page]);
	return pwrite(memfd, word, PAGE, (off_t)(page * PAGE)) == (ssize_t)PAGE;
}

static void by_calls(struct range r)
{
	for (uint64_t i = 0; i < r.nr / 8 && (i % 512 || time_left()); i++) {
		uint64_t page = r.first + next_random(&r.seed) % r.nr;
		if (!by_call(page)) {
			if (!lossy || errno != EIO)
				_exit(5);
			lose(page);
		}
		atomic_fetch_add(&nr_operations, 1);
	}
}

/* The page was given back and is zeroes again; false also when it cannot be told. */
static bool is_gone(uint64_t page)
{
	if (sigsetjmp(lost, 1))
		return false;
	may_lose = lossy;
	bool gone = *(volatile uint64_t *)(void *)(base + page * PAGE) == 0;
	may_lose = 0;
	return gone;
}

static void given_back(struct range r)
{
	uint64_t first = r.first + next_random(&r.seed) % (r.nr - 64), nr = 1 + next_random(&r.seed) % 64;

	madvise(base + first * PAGE, nr * PAGE,
		next_random(&r.seed) % 2 ? MADV_PAGEOUT
		: memfd < 0		 ? MADV_DONTNEED
					 : MADV_REMOVE);
	for (uint64_t i = first; i < first + nr; i++) {
		if (is_gone(i))
			version[i] = 0;
		touch(i, true);
	}
}

/*
 * A child sees private pages as they were, whatever the parent writes, and the parent nothing of what the child does; of shared ones the
 * parent sees afterwards what the child wrote.
 */
static void with_child(struct range r)
{
	uint64_t first = r.first + next_random(&r.seed) % (r.nr - 256);
	struct range part = {first, 256, r.seed};
	int status;
	pid_t child = fork();

	if (child < 0)
		return;
	if (!child) {
		in_order(part, true);
		backwards(part);
		_exit(0);
	}
	if (memfd < 0)
		in_order(part, true);
	if (waitpid(child, &status, 0) != child)
		_exit(2);
	/* Its stack is not locked: what cannot be told by a signal is a worse one. */
	bool died_of_loss = lossy && (status == SIGBUS || status == SIGSEGV || status == 3 << 8);
	if (status && !died_of_loss) {
		fprintf(stderr, "working_set: a child ended with %#x\n", (unsigned int)status);
		_exit(2);
	}
	if (memfd >= 0 && !status)
		in_order(part, false);
}

#define NR_KINDS    10
#define FIRST_SHORT 4 /* kinds from here on do not go through all pages */

static void one_kind(struct range r, unsigned int kind)
{
	switch (kind) {
	case 0:
		in_order(r, false);
		break;
	case 1:
		in_order(r, true);
		break;
	case 2:
		backwards(r);
		break;
	case 3:
	case 4:
		strides(r);
		break;
	case 5:
		given_back(r);
		break;
	case 6:
		if (r.first == 0) /* the first thread */
			with_child(r);
		break;
	case 7:
		if (memfd >= 0)
			by_calls(r);
		else
			at_random(r);
		break;
	case 8:
		hot_and_cold(r);
		break;
	default:
		at_random(r);
	}
}

static void work(struct range r)
{
	in_order(r, true);
	for (unsigned int kind = FIRST_SHORT; !deadline_s && kind < NR_KINDS; kind++)
		one_kind(r, kind);
	while (deadline_s && time_left()) {
		unsigned int kind = (unsigned int)(next_random(&r.seed) % NR_KINDS);
		one_kind(r, kind);
	}
	in_order(r, false);
}

static void *second_thread(void *arg)
{
	work(*(struct range *)arg);
	return NULL;
}

/* Locked with all that is there from the beginning. */
static char thread_stack[256 << 10] __attribute__((aligned(4096)));

static bool has_word(char **argv, const char *word)
{
	while (*argv && strcmp(*argv, word))
		argv++;
	return *argv;
}

/* The pages, and their versions, which stay in memory. */
static bool make_pages(bool shared)
{
	int flags = shared ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;

	memfd = shared ? memfd_create("working_set", 0) : -1;
	if (shared && (memfd < 0 || ftruncate(memfd, (off_t)(nr_pages * PAGE))))
		return false;
	base = mmap(NULL, nr_pages * PAGE, PROT_READ | PROT_WRITE, flags, memfd, 0);
	version = mmap(NULL, nr_pages * sizeof(*version), PROT_READ | PROT_WRITE,
		       MAP_ANONYMOUS | (shared ? MAP_SHARED : MAP_PRIVATE), -1, 0);
	return base != MAP_FAILED && version != MAP_FAILED && !mlock(version, nr_pages * sizeof(*version));
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER};
	pthread_attr_t attr;
	pthread_t thread;

	if (argc < 4)
		return 2;
	nr_pages = strtoull(argv[1], NULL, 10) * 256;
	deadline_s = strtoull(argv[2], NULL, 10);
	deadline_s += deadline_s ? now_s() : 0;
	uint64_t seed = strtoull(argv[3], NULL, 10) * 2 + 1;
	lossy = has_word(argv + 4, "lossy");
	mlockall(MCL_CURRENT); /* what cannot be mapped anew is not lost */
	if (!make_pages(has_word(argv + 4, "shared")))
		return 2;
	sigaction(SIGBUS, &action, NULL);
	struct range most = {0, nr_pages / 4 * 3, seed}, rest = {nr_pages / 4 * 3, nr_pages / 4, seed + 2};
	if (pthread_attr_init(&attr) || pthread_attr_setstack(&attr, thread_stack, sizeof(thread_stack)) ||
	    pthread_create(&thread, &attr, second_thread, &rest))
		return 2;
	work(most);
	pthread_join(thread, NULL);
	printf("ok %lu operations, %lu lost\n", atomic_load(&nr_operations), atomic_load(&nr_lost));
	return 0;
}
