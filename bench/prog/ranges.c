/* SPDX-License-Identifier: MIT */
/*
 * ranges.c - ns per call of the system calls that change mappings.
 *
 *	ranges mmap|touch|munmap|mprotect|mremap|madvise plain|small|huge
 *
 * prints "VARIANT ns". The second word says which pages the memory asks for, as in touch.c. Large ranges are 2 MiB aligned and
 * every page of them has been written before the call; only the call is timed, and what is printed is the median.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "clock.h"
#include "median.h"

#define PAGE  4096ul
#define HUGE  (2ul << 20)
#define MIB   (1ul << 20)
#define CALLS 500 /* of small operations, timed together */
#define LARGE 9	  /* calls on large ranges */

static const char *pages;

static char *map(size_t bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* An aligned range of its own with nothing next to it; NULL: failed. */
static char *map_aligned(size_t bytes)
{
	char *p = map(bytes + 2 * HUGE);

	if (!p)
		return NULL;
	char *start = p + (-(uintptr_t)p & (HUGE - 1));
	if (start == p)
		start += HUGE;
	munmap(p, (size_t)(start - p));
	munmap(start + bytes, (size_t)(p + 2 * HUGE - start));
	if (!strcmp(pages, "huge"))
		madvise(start, bytes, MADV_HUGEPAGE);
	if (!strcmp(pages, "small"))
		madvise(start, bytes, MADV_NOHUGEPAGE);
	return start;
}

static void touch(char *p, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += PAGE)
		*(volatile char *)(p + at) = 1;
}

/* --- small operations ----------------------------------------------------------------------------------------------- */

static int map_unmap(int touched)
{
	double ns[LARGE];

	for (int round = 0; round < LARGE; round++) {
		uint64_t start = clock_now_ns();
		for (int i = 0; i < CALLS; i++) {
			char *p = map(PAGE);
			if (!p)
				return -1;
			if (touched)
				*(volatile char *)p = 1;
			munmap(p, PAGE);
		}
		ns[round] = (double)(clock_now_ns() - start) / CALLS;
	}
	printf("%s %.1f\n", touched ? "map-touch-unmap" : "map-unmap", median(ns, LARGE));
	return 0;
}

static int run_mmap(void)
{
	return map_unmap(0);
}

static int run_touch(void)
{
	return map_unmap(1);
}

/* One page in the middle of an area, whose neighbours are joined with it and cut off again. */
static int protect_page(void)
{
	double ns[LARGE];
	char *p = map(16 * PAGE);

	if (!p)
		return -1;
	touch(p, 16 * PAGE);
	for (int round = 0; round < LARGE; round++) {
		uint64_t start = clock_now_ns();
		for (int i = 0; i < CALLS; i++)
			if (mprotect(p + 8 * PAGE, PAGE, i & 1 ? PROT_READ | PROT_WRITE : PROT_READ))
				return -1;
		ns[round] = (double)(clock_now_ns() - start) / CALLS;
	}
	printf("page %.1f\n", median(ns, LARGE));
	return 0;
}

/* --- large ranges --------------------------------------------------------------------------------------------------- */

static int run_munmap(void)
{
	const size_t bytes = 1024 * MIB;
	double ns[3];

	for (int i = 0; i < 3; i++) {
		char *p = map_aligned(bytes);
		if (!p)
			return -1;
		touch(p, bytes);
		uint64_t start = clock_now_ns();
		if (munmap(p, bytes))
			return -1;
		ns[i] = (double)(clock_now_ns() - start);
	}
	printf("munmap-1GiB %.1f\n", median(ns, 3));
	return 0;
}

/* Both ways: taking the right to write away, and giving it back. */
static int protect_large(void)
{
	const size_t bytes = 64 * MIB;
	double take[LARGE], give[LARGE];
	char *p = map_aligned(bytes);

	if (!p)
		return -1;
	for (int i = 0; i < LARGE; i++) {
		touch(p, bytes);
		uint64_t start = clock_now_ns();
		if (mprotect(p, bytes, PROT_READ))
			return -1;
		uint64_t between = clock_now_ns();
		if (mprotect(p, bytes, PROT_READ | PROT_WRITE))
			return -1;
		give[i] = (double)(clock_now_ns() - between);
		take[i] = (double)(between - start);
	}
	printf("read-64MiB %.1f\nwrite-64MiB %.1f\n", median(take, LARGE), median(give, LARGE));
	return 0;
}

static int run_mprotect(void)
{
	return protect_page() ? -1 : protect_large();
}

/* There and back again; `shift` puts the other place off the boundary of a table. */
static int move(const char *name, size_t shift)
{
	const size_t bytes = 64 * MIB;
	double ns[LARGE];
	char *p = map_aligned(bytes), *room = map_aligned(bytes + HUGE);

	if (!p || !room)
		return -1;
	touch(p, bytes);
	for (int i = 0; i < LARGE; i++) {
		uint64_t start = clock_now_ns();
		char *to = mremap(p, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, room + shift);
		ns[i] = (double)(clock_now_ns() - start);
		if (to == MAP_FAILED || mremap(to, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, p) != p)
			return -1;
		for (size_t at = 0; at < bytes; at += PAGE)
			if (p[at] != 1)
				return -1;
	}
	printf("%s %.1f\n", name, median(ns, LARGE));
	munmap(p, bytes);
	return munmap(room, bytes + HUGE);
}

static int run_mremap(void)
{
	return move("move-64MiB", 0) ? -1 : move("move-64MiB-unaligned", PAGE);
}

static int run_madvise(void)
{
	const size_t bytes = 64 * MIB;
	double ns[LARGE];
	char *p = map_aligned(bytes);

	if (!p)
		return -1;
	for (int i = 0; i < LARGE; i++) {
		touch(p, bytes);
		uint64_t start = clock_now_ns();
		if (madvise(p, bytes, MADV_DONTNEED))
			return -1;
		ns[i] = (double)(clock_now_ns() - start);
		if (p[bytes / 2])
			return -1;
	}
	printf("dontneed-64MiB %.1f\n", median(ns, LARGE));
	return 0;
}

static const struct {
	const char *name;
	int (*run)(void);
} runs[] = {{"mmap", run_mmap},		{"touch", run_touch},	{"munmap", run_munmap},
	    {"mprotect", run_mprotect}, {"mremap", run_mremap}, {"madvise", run_madvise}};

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	pages = argv[2];
	for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
		if (strcmp(argv[1], runs[i].name) != 0)
			continue;
		if (!runs[i].run())
			return 0;
		perror("ranges");
		return 1;
	}
	return 2;
}
