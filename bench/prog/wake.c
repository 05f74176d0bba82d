/* SPDX-License-Identifier: MIT */
/*
 * wake.c - "wake MIB THREADS ORDER" writes so much memory, prints "ready", waits for a byte, has the threads read a word of each page of their
 * share, and prints the time of that, in ns for a page of all. ORDER: rows, or random. Ends with 0 if all is there.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clock.h"

#define PAGE	    4096ul
#define MAX_THREADS 8
#define STEP	    40503u /* odd, so that it meets each page of a power of two once */

static volatile uint64_t *word;
static uint64_t nr;
static int at_random;

struct reader {
	pthread_t thread;
	uint64_t first, end, sum;
};

static void *read_share(void *arg)
{
	struct reader *r = arg;

	for (uint64_t i = r->first; i < r->end; i++)
		r->sum += word[(at_random ? i * STEP % nr : i) * PAGE / sizeof(*word)];
	return NULL;
}

static uint64_t read_all(int threads)
{
	struct reader reader[MAX_THREADS];
	uint64_t sum = 0;

	for (int i = 0; i < threads; i++) {
		reader[i] = (struct reader){.first = nr * (uint64_t)i / (uint64_t)threads,
					    .end = nr * (uint64_t)(i + 1) / (uint64_t)threads};
		if (i && pthread_create(&reader[i].thread, NULL, read_share, &reader[i]))
			return 0;
	}
	read_share(&reader[0]);
	for (int i = 0; i < threads; i++) {
		if (i)
			pthread_join(reader[i].thread, NULL);
		sum += reader[i].sum;
	}
	return sum;
}

int main(int argc, char **argv)
{
	int threads = argc > 3 ? atoi(argv[2]) : 0;
	char byte;

	if (threads < 1 || threads > MAX_THREADS)
		return 2;
	nr = strtoul(argv[1], NULL, 10) << 20 >> 12;
	at_random = !strcmp(argv[3], "random");
	word = mmap(NULL, nr * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (word == MAP_FAILED)
		return 2;
	for (uint64_t i = 0; i < nr * PAGE / sizeof(*word); i += 64) /* pages that are all different */
		word[i] = i;
	if (write(1, "ready\n", 6) != 6 || read(0, &byte, 1) != 1)
		return 3;
	uint64_t begin = clock_now_ns(), sum = read_all(threads);
	printf("%.1f\n", (double)(clock_now_ns() - begin) / (double)nr);
	return sum != nr * (nr - 1) / 2 * (PAGE / sizeof(*word));
}
