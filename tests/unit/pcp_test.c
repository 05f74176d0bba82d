/* SPDX-License-Identifier: MIT */
/* Per-CPU lists: stacks in front of the zone. The tests stay on one processor. */
#include <sched.h>

#include "../../src/mm/page_alloc.h"
#include "../../src/mm/pcp.h"
#include "../../src/mm/vmstat.h"
#include "../harness.h"
#include "../sim/sim_cpu.h"

#define ZONE_PAGES 65536u

static int setup(void **state)
{
	struct sim_config config = {.normal_pages = ZONE_PAGES};
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	sched_setaffinity(0, sizeof(set), &set);
	*state = sim_frames_new(&config);
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	struct sim_machine *m = *state;
	uint64_t lost = frames_leaked(&m->frames);
	unsigned int bad = zone_check(&m->frames, ZONE_NORMAL, complain);

	sim_frames_free(m);
	return lost || bad ? -1 : 0;
}

static struct frames *frames_of(void **state)
{
	return &((struct sim_machine *)*state)->frames;
}

static struct zone *normal(struct frames *f)
{
	return &f->zone[ZONE_NORMAL];
}

static struct pcp *mine(struct frames *f)
{
	return &normal(f)->pcp[0];
}

static void sizes_by_formula(void **state)
{
	struct frames *f = frames_of(state);

	/* 65536 / 1024 = 64, a quarter is 16, 24 rounds down to 16, less one. */
	assert_int_equal(normal(f)->pcp_batch, 15);
	assert_int_equal(normal(f)->pcp_high, 90);
	assert_null(f->zone[ZONE_OBJECT].pcp);
}

static void refill_and_pop(void **state)
{
	struct frames *f = frames_of(state);
	struct page *page = page_alloc(f, GFP_HIGHUSER_MOVABLE, 0);

	assert_int_equal(mine(f)->count[MIGRATE_MOVABLE], 14);
	assert_int_equal(mine(f)->count[MIGRATE_UNMOVABLE], 0);
	assert_int_equal(pcp_pages(f, normal(f)), 14);
	page_free(f, page);
	assert_int_equal(mine(f)->count[MIGRATE_MOVABLE], 15);
}

static void ascending(void **state)
{
	struct frames *f = frames_of(state);
	struct page *page[15];

	assert_int_equal(page_alloc_bulk(f, GFP_HIGHUSER_MOVABLE, 15, page), 15);
	for (unsigned int i = 1; i < 15; i++)
		assert_ptr_equal(page[i], page[i - 1] + 1);
	page_free_bulk(f, 15, page);
}

static void last_in_first_out(void **state)
{
	struct frames *f = frames_of(state);
	struct page *page[4];

	page_alloc_bulk(f, GFP_HIGHUSER_MOVABLE, 4, page);
	page_free(f, page[2]);
	page_free(f, page[0]);
	assert_ptr_equal(page_alloc(f, GFP_HIGHUSER_MOVABLE, 0), page[0]);
	assert_ptr_equal(page_alloc(f, GFP_HIGHUSER_MOVABLE, 0), page[2]);
	page_free_bulk(f, 4, page);
}

static void high_gives_back_a_batch(void **state)
{
	struct frames *f = frames_of(state);
	struct page *page[200];

	page_alloc_bulk(f, GFP_HIGHUSER_MOVABLE, 200, page);
	pcp_drain_all(f);
	uint64_t before = normal(f)->nr_free_pages;
	page_free_bulk(f, 90, page);
	assert_int_equal(mine(f)->count[MIGRATE_MOVABLE], 90);
	assert_int_equal(normal(f)->nr_free_pages, before);
	page_free(f, page[90]);
	/* The coldest batch went; the hottest frame is still on top. */
	assert_int_equal(mine(f)->count[MIGRATE_MOVABLE], 76);
	assert_int_equal(normal(f)->nr_free_pages, before + 15);
	assert_ptr_equal(page_alloc(f, GFP_HIGHUSER_MOVABLE, 0), page[90]);
	page_free(f, page[90]);
	page_free_bulk(f, 109, page + 91);
}

static void types_keep_apart(void **state)
{
	struct frames *f = frames_of(state);
	struct page *a = page_alloc(f, GFP_HIGHUSER_MOVABLE, 0), *b = page_alloc(f, GFP_KERNEL, 0);

	assert_int_not_equal(page_to_pfn(f, a) >> PAGEBLOCK_ORDER, page_to_pfn(f, b) >> PAGEBLOCK_ORDER);
	page_free(f, a);
	assert_ptr_not_equal(page_alloc(f, GFP_KERNEL, 0), a);
	assert_ptr_equal(page_alloc(f, GFP_HIGHUSER_MOVABLE, 0), a);
	page_free(f, a);
	page_free(f, b);
	page_free(f, b + 1);
}

static void taken_list_is_passed_by(void **state)
{
	struct frames *f = frames_of(state);
	struct page *page = page_alloc(f, GFP_HIGHUSER_MOVABLE, 0), *other;
	uint32_t count = mine(f)->count[MIGRATE_MOVABLE];

	assert_true(pcp_trylock(mine(f)));
	other = page_alloc(f, GFP_HIGHUSER_MOVABLE, 0);
	assert_non_null(other);
	page_free(f, other);
	assert_int_equal(mine(f)->count[MIGRATE_MOVABLE], count);
	pcp_unlock(mine(f));
	page_free(f, page);
}

static void drain_restores_blocks(void **state)
{
	struct frames *f = frames_of(state);
	struct page *page[64];

	page_alloc_bulk(f, GFP_HIGHUSER_MOVABLE, 64, page);
	page_free_bulk(f, 64, page);
	assert_true(pcp_pages(f, normal(f)) > 0);
	pcp_drain_all(f);
	assert_int_equal(pcp_pages(f, normal(f)), 0);
	assert_int_equal(normal(f)->nr_free_pages, 512);
	assert_int_equal(normal(f)->free_area[9].nr_free, 1);
}

static void huge_stack(void **state)
{
	struct frames *f = frames_of(state);
	struct page *block[6];

	if (!normal(f)->pcp_high_huge)
		skip(); /* more processors than the zone has room for */
	for (unsigned int i = 0; i < 6; i++)
		block[i] = page_alloc(f, GFP_HIGHUSER_MOVABLE, 9);
	for (unsigned int i = 0; i < 6; i++)
		page_free_block(f, block[i], 9);
	assert_int_equal(mine(f)->nr_huge, PCP_HUGE_SLOTS);
	assert_ptr_equal(page_alloc(f, GFP_HIGHUSER_MOVABLE, 9), block[3]);
	assert_int_equal(mine(f)->nr_huge, PCP_HUGE_SLOTS - 1);
	page_free_block(f, block[3], 9);
}

/* sum(free_area) + lists of processors + in use == what banks brought. */
static void nothing_gets_lost(void **state)
{
	struct frames *f = frames_of(state);
	struct page *held[300] = {NULL};
	uint64_t rng = random_seed(5), in_use = 0;

	for (unsigned int step = 0; step < 20000; step++) {
		unsigned int i = (unsigned int)random_below(&rng, 300);
		if (held[i])
			page_free(f, held[i]);
		in_use += held[i] ? -1ull : 1;
		held[i] =
			held[i] ? NULL
				: page_alloc(f, random_below(&rng, 2) ? GFP_KERNEL : GFP_HIGHUSER_MOVABLE, 0);
		if (step % 1000 == 0) {
			const struct zone *z = normal(f);
			assert_int_equal(z->nr_free_pages + pcp_pages(f, normal(f)) + in_use,
					 z->present_pages - (z->bank_end_pfn - z->fresh_pfn));
			assert_int_equal(zone_used_pages(f, ZONE_NORMAL), in_use);
		}
	}
	for (unsigned int i = 0; i < 300; i++)
		if (held[i])
			page_free(f, held[i]);
	assert_int_equal(vmstat_zone(f, normal(f), ZONE_PGALLOC), vmstat_zone(f, normal(f), ZONE_PGFREE));
}

static void exhaustion_finds_cached_frames(void **state)
{
	struct frames *f = frames_of(state);
	static struct page *held[ZONE_PAGES];
	unsigned int n = 0;

	/* Unmovable frames on this processor's stack, then everything as movable: the stack is emptied for it. */
	held[0] = page_alloc(f, GFP_KERNEL, 0);
	page_free(f, held[0]);
	while (n < ZONE_PAGES && (held[n] = page_alloc(f, GFP_HIGHUSER_MOVABLE | __GFP_NOWARN, 0)))
		n++;
	assert_int_equal(n, ZONE_PAGES);
	assert_null(page_alloc(f, GFP_HIGHUSER_MOVABLE | __GFP_NOWARN, 0));
	assert_int_equal(zone_check(f, ZONE_NORMAL, complain), 0);
	page_free_bulk(f, n, held);
}

#define T(name, fn)                             \
	{                                       \
		name, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("pcp: batch and high by the kernel's formula; none for objects [Y4]", sizes_by_formula),
		T("pcp: an empty list takes a batch and gives one of it [D22]", refill_and_pop),
		T("pcp: a batch is handed out in ascending order [D23]", ascending),
		T("pcp: what was freed last is handed out first [D21]", last_in_first_out),
		T("pcp: a full list gives its coldest batch back [Y4]", high_gives_back_a_batch),
		T("pcp: lists go by migratetype [D21 D26]", types_keep_apart),
		T("pcp: a list that is taken is passed by, not waited for [D19]", taken_list_is_passed_by),
		T("pcp: draining restores the blocks [Y4]", drain_restores_blocks),
		T("pcp: blocks of the pageblock order have a stack of their own [Y4]", huge_stack),
		T("pcp: lists, blocks and frames in use add up [C10]", nothing_gets_lost),
		T("pcp: frames at hand do not count as used up", exhaustion_finds_cached_frames),
	};

	return cmocka_run_group_tests_name("pcp", tests, NULL, NULL);
}
