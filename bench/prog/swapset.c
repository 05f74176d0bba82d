/* SPDX-License-Identifier: MIT */
/*
 * swapset.c - a working set of twice the memory: `swapset sequential MIB` and `swapset random MIB`.
 *
 * All of it is written once, in order. Then, sequential: read in order, twice; prints "set-sequential ns", per page. random: pages are
 * read at random; prints "set-random ns", the time divided by the major faults that there were. Each page begins with its number.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "clock.h"

#define PAGE	4096ul
#define TOUCHES 6000u

static char *base;
static size_t nr_pages;
static uint64_t wrong;

static void look(size_t page)
{
	wrong += *(volatile uint64_t *)(void *)(base + page * PAGE) != page + 1;
}

static long major_faults(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return r.ru_majflt;
}

static void sequential(void)
{
	uint64_t start = clock_now_ns();

	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < nr_pages; i++)
			look(i);
	printf("set-sequential %.1f\n", (double)(clock_now_ns() - start) / (double)(2 * nr_pages));
}

static void at_random(void)
{
	long before = major_faults();
	uint64_t start = clock_now_ns(), x = 88172645463325252ull;

	for (unsigned int i = 0; i < TOUCHES; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		look(x % nr_pages);
	}
	uint64_t ns = clock_now_ns() - start;
	long faults = major_faults() - before;
	printf("set-random %.1f\n", faults > 0 ? (double)ns / (double)faults : 0);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	nr_pages = strtoul(argv[2], NULL, 10) * 256;
	base = mmap(NULL, nr_pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED)
		return 1;
	for (size_t i = 0; i < nr_pages; i++)
		for (size_t at = 0; at < PAGE; at += 64)
			*(uint64_t *)(void *)(base + i * PAGE + at) = i + 1 + at;
	if (strcmp(argv[1], "random") != 0)
		sequential();
	else
		at_random();
	return wrong != 0;
}
