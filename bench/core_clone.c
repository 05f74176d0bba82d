/* SPDX-License-Identifier: MIT */
/*
 * core_clone.c - us that the memory manager itself spends on a copy of a space, and on going back to one; no KVM.
 *
 *	core_clone clone MIB	prints "SIZE us" of mm_clone of a space that has written all of so much memory
 *	core_clone reset PAGES	prints "PAGES-pages us" of what a reset does: a clone of the snapshot of a space of 64 MiB on the account of the
 *				one that wrote to PAGES pages since, which goes
 *
 * Processor time of the thread; the median counts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "core.h"
#include "prog/median.h"

#define ROUNDS	    15
#define RESET_PAGES ((64ul << 20) >> PAGE_SHIFT)

static double cpu_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

/* A word into each of nr pages, as a program would write it. 0 or -1. */
static int write_pages(struct mm *mm, gva_t start, uint64_t nr, uint64_t word)
{
	for (uint64_t i = 0; i < nr; i++)
		if (copy_to_user(mm, start + (i << PAGE_SHIFT), &word, sizeof(word)))
			return -1;
	return 0;
}

static bool all_are(struct mm *mm, gva_t start, uint64_t nr, uint64_t word)
{
	uint64_t now;

	for (uint64_t i = 0; i < nr; i++)
		if (copy_from_user(mm, &now, start + (i << PAGE_SHIFT), sizeof(now)) || now != word)
			return false;
	return true;
}

/* us, or -1. */
static double clone_once(struct core *c, gva_t start, uint64_t nr)
{
	struct mm *clone;

	if (write_pages(c->mm, start, nr, 1))
		return -1;
	double begin = cpu_us();
	if (mm_clone(c->mm, NULL, &clone))
		return -1;
	double end = cpu_us();
	bool good = !write_pages(clone, start, 1, 2) && all_are(c->mm, start, 1, 1);
	mmput(clone);
	return good ? end - begin : -1;
}

static double reset_once(struct core *c, gva_t start, uint64_t nr)
{
	struct mm *space, *again;

	if (mm_clone(c->mm, NULL, &space) || write_pages(space, start, nr, 2))
		return -1;
	double begin = cpu_us();
	if (mm_clone(c->mm, space->memcg, &again))
		return -1;
	mmput(space);
	double end = cpu_us();
	bool good = all_are(again, start, RESET_PAGES, 1);
	mmput(again);
	return good ? end - begin : -1;
}

int main(int argc, char **argv)
{
	static struct core c;
	double us[ROUNDS];

	if (argc != 3 || (strcmp(argv[1], "clone") != 0 && strcmp(argv[1], "reset") != 0))
		return 2;
	bool reset = !strcmp(argv[1], "reset");
	uint64_t number = strtoul(argv[2], NULL, 10), nr = reset ? number : number << (20 - PAGE_SHIFT);
	uint64_t touched = reset ? RESET_PAGES : nr;
	if (core_init(&c, touched + touched / 8 + (reset ? nr : 0) + 4096, CORE_ARENA_TOUCHED))
		return 1;
	gva_t start = core_map(&c, touched, MAP_PRIVATE);
	int err = !start || write_pages(c.mm, start, touched, 1);
	for (int i = 0; !err && i < ROUNDS; i++) {
		us[i] = (reset ? reset_once : clone_once)(&c, start, nr);
		err = us[i] < 0;
	}
	if (err) {
		fputs("core_clone: out of memory, or memory that changed\n", stderr);
		return 1;
	}
	if (reset)
		printf("%lu-pages %.2f\n", number, median(us, ROUNDS));
	else if (number % 1024)
		printf("%luMiB %.2f\n", number, median(us, ROUNDS));
	else
		printf("%luGiB %.2f\n", number / 1024, median(us, ROUNDS));
	mmput(c.mm);
	return 0;
}
