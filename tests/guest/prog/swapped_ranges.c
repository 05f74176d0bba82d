/* SPDX-License-Identifier: MIT */
/*
 * swapped_ranges.c - what is done to ranges whose pages are in swap, and to those that are on their way there or back.
 *
 *	swapped_ranges MIB
 *
 *	moves		pieces that are moved about and come out in another order
 *	rights		pieces that nobody may write, or touch, for a while
 *	islands		locked pages in a sea that is swept: they are in memory whenever somebody looks
 *	ends		children that write and end in the middle of it
 *	gone		one thread reads a range in order, another maps it anew again and again: old pages or zeroes
 *
 * Prints "ok" when every page was what it had to be; status 1 and a line when one was not.
 */
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
#include <unistd.h>

#define PAGE  4096ul
#define PIECE 61ul /* pages: pieces begin and end within tables and windows */
#define RW    (PROT_READ | PROT_WRITE)

static uint64_t nr_pages;
static sigjmp_buf refused;

static void fail(const char *what, uint64_t page)
{
	fprintf(stderr, "swapped_ranges: %s: page %lu\n", what, (unsigned long)page);
	_exit(1);
}

static char *map(uint64_t pages)
{
	char *at = mmap(NULL, pages * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		_exit(2);
	return at;
}

static uint64_t word_of(uint64_t page, unsigned int i)
{
	return (page + 1) * 0x9e3779b97f4a7c15ull + i;
}

static void write_page(char *at, uint64_t page)
{
	uint64_t *word = (uint64_t *)(void *)at;

	for (unsigned int i = 0; i < PAGE / sizeof(*word); i += 64)
		word[i] = word_of(page, i);
}

static bool holds(const char *at, uint64_t page)
{
	const volatile uint64_t *word = (const volatile uint64_t *)(const void *)at;

	for (unsigned int i = 0; i < PAGE / sizeof(*word); i += 64)
		if (word[i] != word_of(page, i))
			return false;
	return true;
}

static void write_all(char *base)
{
	for (uint64_t i = 0; i < nr_pages; i++)
		write_page(base + i * PAGE, i);
}

static void expect_all(const char *base, const char *what)
{
	for (uint64_t i = 0; i < nr_pages; i++)
		if (!holds(base + i * PAGE, i))
			fail(what, i);
}

static void expect_resident(char *at, uint64_t pages)
{
	unsigned char vec[16];

	if (mincore(at, pages * PAGE, vec))
		_exit(2);
	for (uint64_t i = 0; i < pages; i++)
		if (!(vec[i] & 1))
			fail("a locked page is not in memory", i);
}

static void islands(char *base)
{
	for (uint64_t at = 0; at + 3 < nr_pages; at += 512)
		if (mlock(base + at * PAGE, 3 * PAGE))
			_exit(2);
	write_all(base);
	expect_all(base, "islands");
	for (uint64_t at = 0; at + 3 < nr_pages; at += 512) {
		expect_resident(base + at * PAGE, 3);
		munlock(base + at * PAGE, 3 * PAGE);
	}
}

/* Every piece goes elsewhere and comes back, the odd ones first. */
static void moves(char *base)
{
	char *other = map(nr_pages);

	for (uint64_t turn = 0; turn < 2; turn++)
		for (uint64_t at = turn * PIECE; at + PIECE <= nr_pages; at += 2 * PIECE)
			if (mremap(base + at * PAGE, PIECE * PAGE, PIECE * PAGE,
				   MREMAP_MAYMOVE | MREMAP_FIXED, other + at * PAGE) == MAP_FAILED)
				_exit(2);
	for (uint64_t at = 0; at + PIECE <= nr_pages; at += PIECE) {
		if (!holds(other + at * PAGE, at))
			fail("moved", at);
		if (mremap(other + at * PAGE, PIECE * PAGE, PIECE * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
			   base + at * PAGE) == MAP_FAILED)
			_exit(2);
	}
	munmap(other, nr_pages * PAGE);
	expect_all(base, "moves");
}

static void on_segv(int signo)
{
	(void)signo;
	siglongjmp(refused, 1);
}

static bool is_refused(volatile char *at, bool write)
{
	if (sigsetjmp(refused, 1))
		return true;
	if (write)
		*at = 1;
	else
		(void)*at;
	return false;
}

static void rights(char *base)
{
	for (uint64_t at = 0; at + 2 * PIECE <= nr_pages; at += 2 * PIECE)
		if (mprotect(base + at * PAGE, PIECE * PAGE, at / PIECE % 4 ? PROT_READ : PROT_NONE))
			_exit(2);
	for (uint64_t at = 0; at + 2 * PIECE <= nr_pages; at += 2 * PIECE) {
		bool none = at / PIECE % 4 == 0;
		if (!is_refused(base + (at + 7) * PAGE, true) ||
		    is_refused(base + (at + 8) * PAGE, false) != none)
			fail("rights", at);
		if (mprotect(base + at * PAGE, PIECE * PAGE, RW))
			_exit(2);
	}
	expect_all(base, "rights");
}

struct shared {
	char *base;
	atomic_bool done;
};

/* What was mapped anew is zeroes in whole pages. */
static void *look(void *arg)
{
	struct shared *s = arg;

	for (uint64_t i = 0; !atomic_load(&s->done); i = (i + 1) % nr_pages) {
		const volatile uint64_t *word = (volatile uint64_t *)(void *)(s->base + i * PAGE);
		uint64_t first = word[0];
		if (first && first != word_of(i, 0))
			fail("neither old nor new", i);
	}
	return NULL;
}

static void gone(char *base)
{
	struct shared s = {.base = base};
	pthread_t thread;

	if (pthread_create(&thread, NULL, look, &s))
		_exit(2);
	for (uint64_t at = 0; at + PIECE <= nr_pages; at += 3 * PIECE) {
		if (mmap(base + at * PAGE, PIECE * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
			 0) == MAP_FAILED)
			_exit(2);
		if (at % 2)
			madvise(base + at * PAGE, PIECE * PAGE, MADV_DONTNEED);
		for (uint64_t i = at; i < at + PIECE; i++)
			if (*(volatile uint64_t *)(void *)(base + i * PAGE))
				fail("not gone", i);
	}
	atomic_store(&s.done, true);
	pthread_join(thread, NULL);
}

static void write_and_end(char *base, uint64_t pages)
{
	for (uint64_t i = 0; i < pages; i++)
		write_page(base + i * PAGE, nr_pages + i);
	_exit(0);
}

static void ends(char *base)
{
	pid_t child[6];

	for (unsigned int i = 0; i < 6; i++) {
		child[i] = fork();
		if (!child[i])
			write_and_end(base, nr_pages / (i + 1));
	}
	for (unsigned int i = 0; i < 6; i++) {
		int status = -1;
		if (i % 2 && child[i] > 0)
			kill(child[i], SIGKILL);
		if (child[i] < 0 || waitpid(child[i], &status, 0) != child[i] ||
		    (status && status != SIGKILL))
			fail("a child ended otherwise", (uint64_t)status);
	}
	expect_all(base, "ends");
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	nr_pages = strtoull(argv[1], NULL, 10) * 256;
	signal(SIGSEGV, on_segv);
	char *base = map(nr_pages);
	write_all(base);
	moves(base);
	rights(base);
	islands(base);
	ends(base);
	gone(base);
	puts("ok");
	return 0;
}
