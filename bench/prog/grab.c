/* SPDX-License-Identifier: MIT */
/*
 * grab.c - two threads that want memory as fast as they can get it: `grab MIB`; together so much, each its half, three times over.
 *
 * Every second page gets a word of its own, the others one of all: both ways to go are taken.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define PAGE   4096ul
#define ROUNDS 3

static char *base;
static size_t nr_pages;

static void *grab(void *half)
{
	char *from = base + (size_t)half * nr_pages / 2 * PAGE;

	for (unsigned int round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < nr_pages / 2; i++)
			*(volatile uint64_t *)(void *)(from + i * PAGE) = i % 2 ? 0 : i + round;
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t other;

	nr_pages = argc > 1 ? strtoul(argv[1], NULL, 10) * 256 : 0;
	base = mmap(NULL, nr_pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED || pthread_create(&other, NULL, grab, (void *)1))
		return 1;
	grab(NULL);
	return pthread_join(other, NULL);
}
