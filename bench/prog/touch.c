/* SPDX-License-Identifier: MIT */
/*
 * touch.c - ns per 4 KiB page for the first write to each page of a fresh private anonymous mapping.
 *
 *	touch NAME MIB plain|small|huge
 *
 * prints "NAME ns" for the first mapping of the process and "NAME-again ns", the median of those that follow. The
 * range is 2 MiB aligned, so that huge pages can serve all of it. Only the stores are timed, not mmap and munmap.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "clock.h"
#include "median.h"

#define PAGE  4096u
#define HUGE  (2ul << 20)
#define AGAIN 3 /* odd: the median is one of them */

struct range {
	char *map, *start;
	size_t bytes;
};

static int range_map(struct range *r, const char *pages)
{
	r->map = mmap(NULL, r->bytes + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (r->map == MAP_FAILED)
		return -1;
	r->start = r->map + (-(uintptr_t)r->map & (HUGE - 1));
	if (!strcmp(pages, "huge"))
		return madvise(r->map, r->bytes + HUGE, MADV_HUGEPAGE);
	if (!strcmp(pages, "small"))
		return madvise(r->map, r->bytes + HUGE, MADV_NOHUGEPAGE);
	return strcmp(pages, "plain");
}

static double range_touch_ns(const struct range *r)
{
	uint64_t start = clock_now_ns();

	for (size_t at = 0; at < r->bytes; at += PAGE)
		*(volatile char *)(r->start + at) = 1;
	return (double)(clock_now_ns() - start) / (double)(r->bytes / PAGE);
}

int main(int argc, char **argv)
{
	double ns[1 + AGAIN];

	if (argc != 4)
		return 2;
	struct range r = {.bytes = strtoul(argv[2], NULL, 10) << 20};
	for (int i = 0; i < 1 + AGAIN; i++) {
		if (range_map(&r, argv[3])) {
			perror("touch");
			return 1;
		}
		ns[i] = range_touch_ns(&r);
		munmap(r.map, r.bytes + HUGE);
	}
	printf("%s %.1f\n%s-again %.1f\n", argv[1], ns[0], argv[1], median(ns + 1, AGAIN));
	return 0;
}
