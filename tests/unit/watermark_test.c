/* SPDX-License-Identifier: MIT */
/* Watermarks: the formula, and who may go how far below. */
#include "../../src/mm/buddy.h"
#include "../../src/mm/page_alloc.h"
#include "../../src/mm/pcp.h"
#include "../../src/mm/watermark.h"
#include "../harness.h"
#include "../sim/sim_cpu.h"

#define ZONE_PAGES 65536u /* 256 MiB */

static int setup(void **state)
{
	struct sim_config config = {.normal_pages = ZONE_PAGES, .no_pcp = true};
	struct sim_machine *m = sim_frames_new(&config);

	*state = m;
	if (m)
		watermarks_set(&m->frames, MIN_FREE_BY_FORMULA);
	return m ? 0 : -1;
}

static int teardown(void **state)
{
	struct sim_machine *m = *state;
	uint64_t lost = frames_leaked(&m->frames);

	sim_frames_free(m);
	return lost ? -1 : 0;
}

static struct frames *frames_of(void **state)
{
	return &((struct sim_machine *)*state)->frames;
}

static struct zone *normal(struct frames *f)
{
	return &f->zone[ZONE_NORMAL];
}

/* Takes frames until the request fails; returns how many stay free, and gives all back. */
static uint64_t left_after(struct frames *f, const struct alloc_task *task, gfp_t gfp)
{
	struct list_head got;
	struct page *page;

	list_init(&got);
	while ((page = page_alloc_task(f, task, gfp | __GFP_NOWARN, 0)))
		list_add(&page->node, &got);
	uint64_t left = zone_free_pages(normal(f));
	while (!list_empty(&got)) {
		page = list_entry(got.next, struct page, node);
		list_del(&page->node);
		page_free(f, page);
	}
	return left;
}

static void formula(void **state)
{
	struct frames *f = frames_of(state);
	const struct zone *z = normal(f);

	/* 4 * sqrt(262144 KiB) = 2048 KiB = 512 frames; low is a quarter above, high half. */
	assert_int_equal(f->min_free_kbytes, 2048);
	assert_int_equal(z->watermark[WMARK_MIN], 512);
	assert_int_equal(z->watermark[WMARK_LOW], 640);
	assert_int_equal(z->watermark[WMARK_HIGH], 768);
	/* A large scale factor takes over: 1 % of the zone. */
	f->watermark_scale_factor = 100;
	watermarks_set(f, 2048);
	assert_int_equal(z->watermark[WMARK_LOW], 512 + 655);
	assert_int_equal(z->watermark[WMARK_HIGH], 512 + 2 * 655);
	watermarks_set(f, 0);
	assert_int_equal(z->watermark[WMARK_HIGH], 0);
}

static void drain_to_each(void **state)
{
	struct frames *f = frames_of(state);
	const struct alloc_task victim = {.oom_victim = true};

	assert_int_equal(left_after(f, NULL, GFP_NOWAIT), 512);
	/* GFP_ATOMIC: half of the mark less a quarter of what is left of it. */
	assert_int_equal(left_after(f, NULL, __GFP_HIGH | GFP_NOWAIT), 256);
	assert_int_equal(left_after(f, NULL, GFP_ATOMIC), 192);
	assert_int_equal(left_after(f, &victim, GFP_NOWAIT), 256);
	assert_int_equal(left_after(f, NULL, GFP_NOWAIT | __GFP_MEMALLOC), 0);
	assert_int_equal(left_after(f, NULL, GFP_NOWAIT | __GFP_MEMALLOC | __GFP_NOMEMALLOC), 512);
	page_alloc_begin_reserve();
	assert_int_equal(left_after(f, NULL, GFP_NOWAIT), 0);
	page_alloc_end_reserve();
	assert_int_equal(zone_check(f, ZONE_NORMAL, complain), 0);
}

/* Only single frames are left: no pair, however many there are. */
static void order_aware(void **state)
{
	struct frames *f = frames_of(state);
	static struct page *page[ZONE_PAGES];
	unsigned int n = 0;

	watermarks_set(f, 0);
	while (n < ZONE_PAGES && (page[n] = page_alloc(f, GFP_HIGHUSER_MOVABLE | __GFP_NOWARN, 0)))
		n++;
	assert_int_equal(n, ZONE_PAGES);
	watermarks_set(f, 2048);
	for (unsigned int i = 0; i < n; i += 2)
		page_free(f, page[i]);
	assert_true(zone_watermark_ok(normal(f), 0, 640, ZONE_MOVABLE, 0));
	assert_false(zone_watermark_ok(normal(f), 1, 640, ZONE_MOVABLE, 0));
	assert_null(page_alloc(f, GFP_NOWAIT | __GFP_NOWARN, 1));
	page_free(f, page[1]);
	assert_true(zone_watermark_ok(normal(f), 1, 640, ZONE_MOVABLE, 0));
	for (unsigned int i = 3; i < n; i += 2)
		page_free(f, page[i]);
	assert_int_equal(zone_check(f, ZONE_NORMAL, complain), 0);
}

static void exact_border(void **state)
{
	struct frames *f = frames_of(state);

	assert_true(zone_watermark_ok(normal(f), 0, ZONE_PAGES - 1, ZONE_NORMAL, 0));
	assert_false(zone_watermark_ok(normal(f), 0, ZONE_PAGES, ZONE_NORMAL, 0));
	/* A block of 8 must leave the mark: 7 more frames. */
	assert_true(zone_watermark_ok(normal(f), 3, ZONE_PAGES - 8, ZONE_NORMAL, 0));
	assert_false(zone_watermark_ok(normal(f), 3, ZONE_PAGES - 7, ZONE_NORMAL, 0));
}

static void boost_is_limited(void **state)
{
	struct frames *f = frames_of(state);
	struct zone *z = normal(f);

	assert_true(watermark_boost(f, z));
	assert_int_equal(z->watermark_boost, PAGEBLOCK_PAGES);
	assert_int_equal(wmark_pages(z, WMARK_MIN), 512 + PAGEBLOCK_PAGES);
	for (unsigned int i = 0; i < 10; i++)
		watermark_boost(f, z);
	assert_int_equal(z->watermark_boost, 768 * 15000 / 10000);
	watermark_unboost(z);
	assert_int_equal(wmark_pages(z, WMARK_MIN), 512);
	f->watermark_boost_factor = 0;
	assert_false(watermark_boost(f, z));
}

static void reserve_for_low_memory(void **state)
{
	struct sim_config config = {.normal_pages = ZONE_PAGES, .dma32_pages = 4096, .no_pcp = true};
	struct sim_machine *m = sim_frames_new(&config);
	const struct zone *dma32 = &m->frames.zone[ZONE_DMA32];

	(void)state;
	watermarks_set(&m->frames, MIN_FREE_BY_FORMULA);
	assert_int_equal(dma32->lowmem_reserve[ZONE_NORMAL], ZONE_PAGES / 256);
	assert_int_equal(dma32->lowmem_reserve[ZONE_DMA32], 0);
	uint64_t min = dma32->watermark[WMARK_MIN];
	assert_true(zone_watermark_ok(dma32, 0, 4095 - 256, ZONE_NORMAL, 0));
	assert_false(zone_watermark_ok(dma32, 0, 4096 - 256, ZONE_NORMAL, 0));
	assert_true(zone_watermark_ok(dma32, 0, 4095, ZONE_DMA32, 0));
	left_after(&m->frames, NULL, GFP_NOWAIT);
	assert_true(min > 0);
	sim_frames_free(m);
}

static void highatomic_is_not_for_all(void **state)
{
	struct frames *f = frames_of(state);
	struct page *page = page_alloc(f, GFP_KERNEL, 0);

	highatomic_reserve(f, normal(f), page);
	assert_int_equal(normal(f)->nr_reserved_highatomic, PAGEBLOCK_PAGES);
	assert_false(zone_watermark_ok(normal(f), 0, ZONE_PAGES - PAGEBLOCK_PAGES, ZONE_NORMAL, 0));
	assert_true(zone_watermark_ok(normal(f), 0, ZONE_PAGES - PAGEBLOCK_PAGES, ZONE_NORMAL, ALLOC_HARDER));
	page_free(f, page);
	assert_int_equal(zone_check(f, ZONE_NORMAL, complain), 0);
}

#define T(name, fn)                             \
	{                                       \
		name, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("watermark: min, low and high by the kernel's formula [C2 Y2]", formula),
		T("watermark: each kind of request stops at its mark [C2 C4 Y1]", drain_to_each),
		T("watermark: many frames and no block of the order is not enough [C4]", order_aware),
		T("watermark: the mark itself is not above the mark [C4]", exact_border),
		T("watermark: the boost goes by pageblocks up to its limit [C11 Y3]", boost_is_limited),
		T("watermark: frames below 4 GiB are kept from who can do without [Y2]",
		  reserve_for_low_memory),
		T("watermark: highatomic pageblocks do not count for others [D33]",
		  highatomic_is_not_for_all),
	};

	return cmocka_run_group_tests_name("watermark", tests, NULL, NULL);
}
