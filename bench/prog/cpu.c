/* SPDX-License-Identifier: MIT */
/*
 * cpu.c - ms for a fixed amount of computation, without system calls or page faults while the clock runs.
 *
 *	cpu int		hashes half a MiB again and again, then sorts 65536 numbers, 16 times
 *	cpu fp		multiplies two matrices of doubles
 *	cpu chase	follows pointers in random order through 64 MiB
 *
 * The first two stay within a second-level cache, so that other load on the machine disturbs them little.
 * Each checks its result, so that a faster wrong answer does not count.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

static uint64_t random_state = 88172645463325252u;

/* xorshift64 (Marsaglia 2003): the same sequence everywhere. */
static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static void *must_alloc(size_t bytes)
{
	void *p = aligned_alloc(64, bytes);

	if (!p)
		exit(1);
	memset(p, 0, bytes);
	return p;
}

static double ms_since(uint64_t start)
{
	return (double)(clock_now_ns() - start) / 1e6;
}

/* --- int ------------------------------------------------------------------------------------------------- */

#define HASH_WORDS  (1u << 16)
#define HASH_ROUNDS 1536
#define SORT_NR	    (1u << 16)
#define SORT_ROUNDS 16

static uint64_t hash(const uint64_t *words, size_t nr, uint64_t h)
{
	for (size_t i = 0; i < nr; i++) {
		h = (h ^ words[i]) * 0x9e3779b97f4a7c15u;
		h ^= h >> 29;
	}
	return h;
}

static void sift_down(uint64_t *heap, size_t root, size_t nr)
{
	uint64_t value = heap[root];

	for (size_t child = 2 * root + 1; child < nr; root = child, child = 2 * root + 1) {
		if (child + 1 < nr && heap[child + 1] > heap[child])
			child++;
		if (heap[child] <= value)
			break;
		heap[root] = heap[child];
		heap[child] = value;
	}
}

static void heap_sort(uint64_t *v, size_t nr)
{
	for (size_t i = nr / 2; i-- > 0;)
		sift_down(v, i, nr);
	while (nr-- > 1) {
		uint64_t largest = v[0];
		v[0] = v[nr];
		v[nr] = largest;
		sift_down(v, 0, nr);
	}
}

static bool is_sorted(const uint64_t *v, size_t nr)
{
	for (size_t i = 1; i < nr; i++)
		if (v[i - 1] > v[i])
			return false;
	return true;
}

static bool run_int(double *ms)
{
	uint64_t *words = must_alloc(HASH_WORDS * sizeof(*words)),
		 *numbers = must_alloc(SORT_NR * sizeof(*numbers));
	uint64_t h = 0;

	for (unsigned int i = 0; i < HASH_WORDS; i++)
		words[i] = random_next();
	uint64_t start = clock_now_ns();
	for (unsigned int i = 0; i < HASH_ROUNDS; i++)
		h = hash(words, HASH_WORDS, h);
	for (unsigned int i = 0; i < SORT_ROUNDS; i++) {
		memcpy(numbers, words, SORT_NR * sizeof(*numbers));
		heap_sort(numbers, SORT_NR);
	}
	*ms = ms_since(start);
	return is_sorted(numbers, SORT_NR) && hash(numbers, SORT_NR, h) == 0x422ddeac8351ff81u;
}

/* --- fp -------------------------------------------------------------------------------------------------- */

#define MATRIX	  192
#define FP_ROUNDS 280

static void multiply(double (*restrict c)[MATRIX], const double (*a)[MATRIX], const double (*b)[MATRIX])
{
	memset(c, 0, sizeof(*c) * MATRIX);
	for (int i = 0; i < MATRIX; i++)
		for (int k = 0; k < MATRIX; k++)
			for (int j = 0; j < MATRIX; j++)
				c[i][j] += a[i][k] * b[k][j];
}

/* a[i][k] = i + k, b[k][j] = k - j: sums of small integers, which doubles hold exactly. */
static double expected(int i, int j)
{
	double sum = 0;

	for (int k = 0; k < MATRIX; k++)
		sum += (double)(i + k) * (double)(k - j);
	return sum;
}

static bool run_fp(double *ms)
{
	double(*a)[MATRIX] = must_alloc(sizeof(*a) * MATRIX);
	double(*b)[MATRIX] = must_alloc(sizeof(*b) * MATRIX);
	double(*c)[MATRIX] = must_alloc(sizeof(*c) * MATRIX);
	bool right = true;

	for (int i = 0; i < MATRIX; i++)
		for (int j = 0; j < MATRIX; j++) {
			a[i][j] = i + j;
			b[i][j] = i - j;
		}
	uint64_t start = clock_now_ns();
	for (int i = 0; i < FP_ROUNDS; i++)
		multiply(c, (const double(*)[MATRIX])a, (const double(*)[MATRIX])b);
	*ms = ms_since(start);
	for (int i = 0; i < MATRIX; i++)
		for (int j = 0; j < MATRIX; j++)
			right &= c[i][j] == expected(i, j);
	return right;
}

/* --- chase ----------------------------------------------------------------------------------------------- */

#define NODES	     (1u << 20)
#define CHASE_ROUNDS 2

struct node {
	struct node *next;
	char pad[56];
};
_Static_assert(sizeof(struct node) == 64, "one cache line, 64 MiB in all");

/* One cycle through all nodes (Sattolo 1986). */
static void make_cycle(struct node *nodes)
{
	uint32_t *order = must_alloc(NODES * sizeof(*order));

	for (uint32_t i = 0; i < NODES; i++)
		order[i] = i;
	for (uint32_t i = NODES - 1; i > 0; i--) {
		uint32_t j = (uint32_t)(random_next() % i), t = order[i];
		order[i] = order[j];
		order[j] = t;
	}
	for (uint32_t i = 0; i < NODES; i++)
		nodes[i].next = &nodes[order[i]];
	free(order);
}

/* After exactly NODES steps a cycle is back at its start, and not before. */
static bool run_chase(double *ms)
{
	struct node *nodes = must_alloc(NODES * sizeof(*nodes)), *n = nodes;
	uint32_t visits = 0;

	make_cycle(nodes);
	uint64_t start = clock_now_ns();
	for (unsigned int i = 0; i < CHASE_ROUNDS * NODES; i++) {
		n = n->next;
		visits += n == nodes;
	}
	*ms = ms_since(start);
	return n == nodes && visits == CHASE_ROUNDS;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		bool (*run)(double *ms);
	} kinds[] = {{"int", run_int}, {"fp", run_fp}, {"chase", run_chase}};
	double ms;

	for (size_t i = 0; argc == 2 && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(argv[1], kinds[i].name))
			continue;
		if (!kinds[i].run(&ms)) {
			fprintf(stderr, "cpu %s: wrong result\n", argv[1]);
			return 1;
		}
		printf("%s %.3f\n", argv[1], ms);
		return 0;
	}
	return 2;
}
