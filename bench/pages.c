/* SPDX-License-Identifier: MIT */
/*
 * pages.c - what a block of frames costs from the page allocator alone: no faults, no KVM, no memory is touched.
 *
 *	pages MODE	prints "VARIANT NUMBER" for each variant
 *
 *	pcp, buddy	ns per get and put, with per-CPU lists or without: pages-order0, -order9, -batch512 (per frame),
 *			-mix (orders 0 to 9, held a while); the same with two threads at once: -2t, per pair of both together
 *	grouped, mixed	after a long random mix of movable and unmovable blocks, with grouping by mobility or without: per
 *			cent of free memory that is not in blocks of order 9 or above
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../src/mm/page_alloc.h"
#include "../src/mm/pcp.h"
#include "prog/clock.h"

#define NORMAL_PAGES (2ull << (30 - PAGE_SHIFT))
#define BATCH	     512u
#define HELD	     256u

struct worker {
	struct frames *f;
	void (*loop)(struct frames *f, uint64_t rounds);
	uint64_t rounds;
};

static int add_bank(void *ctx, enum zone_type zone, pfn_t start, uint64_t *nr_pages)
{
	(void)ctx, (void)zone, (void)start, (void)nr_pages;
	return 0;
}

static const struct bank_ops bank_ops = {.add_bank = add_bank};

static uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void order0(struct frames *f, uint64_t rounds)
{
	while (rounds--)
		page_free(f, page_alloc(f, GFP_HIGHUSER_MOVABLE, 0));
}

static void order9(struct frames *f, uint64_t rounds)
{
	while (rounds--)
		page_free_block(f, page_alloc(f, GFP_HIGHUSER_MOVABLE, 9), 9);
}

static void batch(struct frames *f, uint64_t rounds)
{
	struct page *page[BATCH];

	for (; rounds >= BATCH; rounds -= BATCH)
		page_free_bulk(f, page_alloc_bulk(f, GFP_HIGHUSER_MOVABLE, BATCH, page), page);
}

static void mix(struct frames *f, uint64_t rounds)
{
	struct page *page[HELD] = {NULL};
	uint8_t order[HELD];
	uint64_t state = 88172645463325252ull ^ (uintptr_t)&state;

	while (rounds--) {
		uint64_t r = random_next(&state);
		unsigned int i = (unsigned int)(r % HELD);
		if (page[i])
			page_free_block(f, page[i], order[i]);
		/* Half of the blocks are single frames, a quarter are pairs, and so on. */
		order[i] = (uint8_t)(__builtin_ctzll(r >> 8 | 1ull << 9));
		page[i] = page_alloc(f, GFP_HIGHUSER_MOVABLE, order[i]);
	}
	for (unsigned int i = 0; i < HELD; i++)
		if (page[i])
			page_free_block(f, page[i], order[i]);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	w->loop(w->f, w->rounds);
	return NULL;
}

/* ns per round, all threads together. */
static double measure(struct worker *w, unsigned int nr_threads)
{
	pthread_t thread[2];

	w->loop(w->f, w->rounds / 16);
	uint64_t start = clock_now_ns();
	for (unsigned int i = 1; i < nr_threads; i++)
		if (pthread_create(&thread[i], NULL, work, w))
			return -1;
	work(w);
	for (unsigned int i = 1; i < nr_threads; i++)
		pthread_join(thread[i], NULL);
	return (double)(clock_now_ns() - start) / (double)(w->rounds * nr_threads);
}

static const struct {
	const char *name;
	void (*loop)(struct frames *f, uint64_t rounds);
	uint64_t rounds;
} loops[] = {{"order0", order0, 2u << 20},
	     {"order9", order9, 16u << 10},
	     {"batch512", batch, 2u << 20},
	     {"mix", mix, 256u << 10}};

static void speed(struct frames *f, unsigned int threads)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(loops); i++) {
		struct worker w = {f, loops[i].loop, loops[i].rounds};
		printf("pages-%s%s %.2f\n", loops[i].name, threads == 1 ? "" : "-2t", measure(&w, threads));
	}
}

struct block {
	struct page *page;
	unsigned int order;
};

/*
 * Fills memory to about 15/16, then replaces random blocks for long, then frees every movable one: what does not
 * move must not have spread over all pageblocks.
 */
static void churn(struct frames *f, struct block *held, unsigned int nr)
{
	uint64_t state = 1181783497276652981ull, used = 0;

	for (uint64_t step = 0; step < 10u << 20; step++) {
		uint64_t r = random_next(&state);
		struct block *b = &held[r % nr];
		if (b->page) {
			used -= 1ull << b->order;
			page_free_block(f, b->page, b->order);
			b->page = NULL;
		}
		unsigned int order = (unsigned int)__builtin_ctzll(r >> 32 | 1ull << 4);
		if (used + (1ull << order) > NORMAL_PAGES / 16 * 15)
			continue;
		/* One in sixteen does not move. */
		gfp_t gfp = b - held < nr / 16 ? GFP_KERNEL : GFP_HIGHUSER_MOVABLE;
		b->page = page_alloc(f, gfp | __GFP_NOWARN, order);
		b->order = order;
		used += b->page ? 1ull << order : 0;
	}
	for (unsigned int i = nr / 16; i < nr; i++)
		if (held[i].page)
			page_free_block(f, held[i].page, held[i].order);
	pcp_drain_all(f);
}

static int fragmentation(struct frames *f)
{
	const struct zone *z = node_zone(f, 0, ZONE_NORMAL);
	unsigned int nr = (unsigned int)(NORMAL_PAGES * 3 / 5);
	struct block *held = calloc(nr, sizeof(*held));
	uint64_t large = zone_room_pages(z);

	if (!held)
		return 1;
	churn(f, held, nr);
	large = zone_room_pages(z);
	for (unsigned int o = 9; o < MAX_ORDER; o++)
		large += z->free_area[o].nr_free << o;
	printf("pages-fragmented %.3f\n", 100.0 - 100.0 * (double)large / (double)zone_free_pages(z));
	free(held);
	return 0;
}

int main(int argc, char **argv)
{
	static struct frames f;
	const char *mode = argc >= 2 ? argv[1] : "";
	unsigned int threads = argc == 3 && !strcmp(argv[2], "2") ? 2 : 1;
	size_t bytes = (NORMAL_START_PFN + NORMAL_PAGES) << PAGE_SHIFT;
	char *arena =
		mmap(NULL, bytes + PMD_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct frames_setup setup = {.max_pfn = NORMAL_START_PFN + NORMAL_PAGES, .ops = &bank_ops};

	if (arena == MAP_FAILED)
		return 1;
	setup.direct_map = arena + (-(uintptr_t)arena & (PMD_SIZE - 1));
	setup.no_pcp = !strcmp(mode, "buddy");
	if (frames_setup(&f, &setup))
		return 1;
	if (!strcmp(mode, "grouped") || !strcmp(mode, "mixed")) {
		f.page_group_by_mobility_disabled = !strcmp(mode, "mixed");
		return fragmentation(&f);
	}
	if (strcmp(mode, "pcp") != 0 && strcmp(mode, "buddy") != 0) {
		fputs("usage: pages pcp|buddy [1|2], pages grouped|mixed\n", stderr);
		return 2;
	}
	speed(&f, threads);
	return 0;
}
