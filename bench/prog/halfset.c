/* SPDX-License-Identifier: MIT */
/*
 * halfset.c - a working set, used in two ways, by a program that may have half of it in memory: `halfset anon MIB`, `halfset file MIB`.
 *
 * anon: memory that was written, and is read and written; file: the beginning of filemap.data beside the program, mapped and read. In
 * order: all of it, twice. Mostly the same: nine of ten touches in a tenth of it, at random. Prints "anon-order ns", "anon-mostly ns", or
 * those of file: per touch. Each page begins with its number; what else anonymous ones hold becomes about a third as large if it is compressed.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clock.h"

#define PAGE	4096ul
#define TOUCHES 10000u

static char *base;
static size_t nr_pages;
static int is_file;
static uint64_t wrong;

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static void touch(size_t page)
{
	volatile uint64_t *word = (uint64_t *)(void *)(base + page * PAGE);

	wrong += word[0] != page;
	if (!is_file)
		word[1]++;
}

static void in_order(void)
{
	uint64_t start = clock_now_ns();

	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < nr_pages; i++)
			touch(i);
	printf("%s-order %.1f\n", is_file ? "file" : "anon",
	       (double)(clock_now_ns() - start) / (double)(2 * nr_pages));
}

static void mostly_the_same(void)
{
	uint64_t x = 88172645463325252ull, start = clock_now_ns();

	for (unsigned int i = 0; i < TOUCHES; i++) {
		uint64_t hot = next_random(&x) % 10;
		touch(next_random(&x) % (hot ? nr_pages / 10 : nr_pages));
	}
	printf("%s-mostly %.1f\n", is_file ? "file" : "anon", (double)(clock_now_ns() - start) / TOUCHES);
}

static int map_file(const char *program)
{
	char path[4096];
	const char *slash = strrchr(program, '/');

	snprintf(path, sizeof(path), "%.*s/filemap.data", slash ? (int)(slash - program) : 0, program);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	base = fd < 0 ? MAP_FAILED : mmap(NULL, nr_pages * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	return base == MAP_FAILED ? -1 : 0;
}

/* A third of each page is random, the rest zero. */
static int map_memory(void)
{
	uint64_t x = 1;

	base = mmap(NULL, nr_pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED)
		return -1;
	for (size_t i = 0; i < nr_pages; i++) {
		uint64_t *word = (uint64_t *)(void *)(base + i * PAGE);
		for (unsigned int k = 0; k < PAGE / 8 / 3; k++)
			word[k] = next_random(&x);
		word[0] = i;
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	is_file = !strcmp(argv[1], "file");
	nr_pages = strtoul(argv[2], NULL, 10) * 256;
	if (is_file ? map_file(argv[0]) : map_memory())
		return 1;
	in_order();
	mostly_the_same();
	return wrong != 0;
}
