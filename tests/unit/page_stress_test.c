/* SPDX-License-Identifier: MIT */
/*
 * Threads on one allocator, and a long random walk against a table of owners that cannot be wrong: whatever is taken was
 * nobody's, and when all is given back nothing is missing.
 */
#include <pthread.h>

#include "../../src/mm/page_alloc.h"
#include "../../src/mm/pcp.h"
#include "../../src/mm/zeropool.h"
#include "../harness.h"
#include "../sim/sim_cpu.h"

#define ZONE_PAGES 16384u
#define HELD	   200u

struct held {
	struct page *page;
	unsigned int order;
};

struct worker {
	struct frames *f;
	_Atomic uint32_t *owner; /* by frame of the zone; 0: free */
	uint32_t id;
	unsigned int steps;
	uint64_t nr_conflicts, nr_taken;
};

static const gfp_t masks[] = {GFP_TRANSHUGE_LIGHT, GFP_NOWAIT | __GFP_NOWARN,
			      GFP_NOWAIT | __GFP_RECLAIMABLE | __GFP_NOWARN,
			      GFP_TRANSHUGE_LIGHT | __GFP_ZERO};

static void own(struct worker *w, const struct held *h, uint32_t from, uint32_t to)
{
	uint64_t at = page_to_pfn(w->f, h->page) - NORMAL_START_PFN;

	for (uint64_t i = at; i < at + (1u << h->order); i++)
		w->nr_conflicts += atomic_exchange_explicit(&w->owner[i], to, memory_order_relaxed) != from;
}

static void give(struct worker *w, struct held *h)
{
	own(w, h, w->id, 0);
	page_free_block(w->f, h->page, h->order);
	h->page = NULL;
}

static void *walk(void *arg)
{
	struct worker *w = arg;
	struct held held[HELD] = {{0}};
	uint64_t rng = random_seed(w->id);

	for (unsigned int step = 0; step < w->steps; step++) {
		struct held *h = &held[random_below(&rng, HELD)];
		if (h->page) {
			give(w, h);
			continue;
		}
		h->order = random_below(&rng, 32) ? (unsigned int)random_below(&rng, 4) : PAGEBLOCK_ORDER;
		h->page = page_alloc(w->f, masks[random_below(&rng, ARRAY_SIZE(masks))], h->order);
		if (h->page) {
			own(w, h, 0, w->id);
			w->nr_taken++;
		}
		if (step % 4096 == 0)
			pcp_drain_all(w->f);
	}
	for (unsigned int i = 0; i < HELD; i++)
		if (held[i].page)
			give(w, &held[i]);
	return NULL;
}

static void run(unsigned int nr_threads, unsigned int steps, bool zeroing)
{
	struct sim_config config = {.normal_pages = ZONE_PAGES};
	struct sim_machine *m = sim_frames_new(&config);
	_Atomic uint32_t *owner = calloc(ZONE_PAGES, sizeof(*owner));
	struct worker w[4];
	pthread_t thread[4];
	struct zeropool_thread *zero = NULL;

	assert_non_null(m);
	assert_non_null(owner);
	if (zeroing)
		assert_int_equal(zeropool_start(&m->frames, &zero), 0);
	for (unsigned int i = 0; i < nr_threads; i++) {
		w[i] = (struct worker){.f = &m->frames, .owner = owner, .id = i + 1, .steps = steps};
		assert_int_equal(pthread_create(&thread[i], NULL, walk, &w[i]), 0);
	}
	for (unsigned int i = 0; i < nr_threads; i++) {
		pthread_join(thread[i], NULL);
		assert_int_equal(w[i].nr_conflicts, 0);
		assert_true(w[i].nr_taken > steps / 8);
	}
	if (zero)
		zeropool_stop(zero);
	assert_int_equal(zone_check(&m->frames, ZONE_NORMAL, complain), 0);
	assert_int_equal(frames_leaked(&m->frames), 0);
	/* The threads are gone, and nothing with them: all of it can be had. */
	for (unsigned int n = 0; n < ZONE_PAGES >> 9; n++)
		assert_non_null(page_alloc(&m->frames, GFP_KERNEL, 9));
	assert_null(page_alloc(&m->frames, GFP_KERNEL | __GFP_NOWARN, 0));
	sim_frames_free(m);
	free(owner);
}

static void two_threads(void **state)
{
	(void)state;
	run(2, 60000, false);
}

static void four_threads_and_zeroing(void **state)
{
	(void)state;
	run(4, 40000, true);
}

static void model(void **state)
{
	(void)state;
	run(1, 400000, false);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{"page_stress: a long random walk against a table of owners", model, NULL, NULL, NULL},
		{"page_stress: two threads never get one frame", two_threads, NULL, NULL, NULL},
		{"page_stress: four threads and the zeroing helper; ends leave nothing behind",
		 four_threads_and_zeroing, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests_name("page_stress", tests, NULL, NULL);
}
