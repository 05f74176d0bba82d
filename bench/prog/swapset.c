/* SPDX-License-Identifier: MIT */
/*
 * swapset.c - a working set larger than the memory: `swapset WHAT MIB [2M]`; 2M: advised to be in huge pages.
 *
 * All of it is written once, in order; each page begins with its number, and no two are alike. Prints "* ns":
 *
 *	fill		the second half of that, per page: what is new displaces what is old, which is written
 *	sequential	then all of it is read in order, twice; per page: what comes displaces what was not written since
 *	update		then a word of each page is written in order, twice; per page: one comes and one is written
 *	random		then pages are read at random; the time divided by the major faults that there were
 *	objects		the same with objects of 64 KiB at random places, of which all is read; per object
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "clock.h"

#define PAGE	     4096ul
#define ROUNDS	     2u
#define TOUCHES	     6000u
#define OBJECTS	     2000u
#define OBJECT_PAGES 16u

static char *base;
static size_t nr_pages;
static uint64_t wrong;

static uint64_t *first_word(size_t page)
{
	return (uint64_t *)(void *)(base + page * PAGE);
}

static void look(size_t page)
{
	wrong += *(volatile uint64_t *)first_word(page) != page + 1;
}

static void fill(size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		for (size_t at = 0; at < PAGE; at += 64)
			*(uint64_t *)(void *)(base + i * PAGE + at) = i + 1 + at;
}

static void sequential(void)
{
	for (unsigned int round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < nr_pages; i++)
			look(i);
}

static void update(void)
{
	for (uint64_t round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < nr_pages; i++) {
			wrong += first_word(i)[1] != round;
			first_word(i)[1] = round + 1;
		}
}

static uint64_t next_random(void)
{
	static uint64_t x = 88172645463325252ull;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

static void at_random(void)
{
	for (unsigned int i = 0; i < TOUCHES; i++)
		look(next_random() % nr_pages);
}

static void objects(void)
{
	for (unsigned int i = 0; i < OBJECTS; i++) {
		size_t first = next_random() % (nr_pages / OBJECT_PAGES) * OBJECT_PAGES;
		for (size_t k = 0; k < OBJECT_PAGES; k++)
			look(first + k);
	}
}

static uint64_t major_faults(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return (uint64_t)r.ru_majflt;
}

static const struct {
	const char *name;
	void (*run)(void); /* NULL: the filling is what is timed */
} what[] = {{"fill", NULL},
	    {"sequential", sequential},
	    {"update", update},
	    {"random", at_random},
	    {"objects", objects}};

static uint64_t nr_steps(const char *name, uint64_t faults)
{
	if (!strcmp(name, "fill"))
		return nr_pages / 2;
	if (!strcmp(name, "random"))
		return faults;
	return !strcmp(name, "objects") ? OBJECTS : ROUNDS * nr_pages;
}

static int run(const char *name, void (*step)(void))
{
	fill(0, nr_pages / 2);
	uint64_t start = clock_now_ns(), before = major_faults();
	fill(nr_pages / 2, nr_pages);
	if (step) {
		start = clock_now_ns();
		before = major_faults();
		step();
	}
	uint64_t ns = clock_now_ns() - start, nr = nr_steps(name, major_faults() - before);
	printf("* %.1f\n", nr ? (double)ns / (double)nr : 0);
	return wrong != 0;
}

int main(int argc, char **argv)
{
	if (argc != 3 && argc != 4)
		return 2;
	nr_pages = strtoul(argv[2], NULL, 10) * 256;
	base = mmap(NULL, nr_pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED || (argc == 4 && madvise(base, nr_pages * PAGE, MADV_HUGEPAGE)))
		return 1;
	for (size_t i = 0; i < sizeof(what) / sizeof(what[0]); i++)
		if (!strcmp(argv[1], what[i].name))
			return run(what[i].name, what[i].run);
	return 2;
}
