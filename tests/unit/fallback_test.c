/* SPDX-License-Identifier: MIT */
/* Migratetypes: whose blocks are taken when one's own are gone, and whether their pageblocks change sides. */
#include "../../src/mm/buddy.h"
#include "../../src/mm/page_alloc.h"
#include "../../src/mm/trace.h"
#include "../../src/mm/watermark.h"
#include "../harness.h"
#include "../sim/sim_cpu.h"

#define ZONE_PAGES 2048u
#define UNMOVABLE  GFP_NOWAIT
#define MOVABLE	   GFP_TRANSHUGE_LIGHT
#define RECLAIM	   (GFP_NOWAIT | __GFP_RECLAIMABLE)

struct world {
	struct sim_machine *m;
	struct page *page[ZONE_PAGES];
	unsigned int nr_extfrag, alloc_order, fallback_order, nr_alloc, nr_locked;
	enum migratetype alloc_mt, fallback_mt;
	bool changed;
};

static void on_alloc(void *ctx, const struct page *page, unsigned int order, gfp_t gfp, enum migratetype mt)
{
	struct world *w = ctx;

	(void)page, (void)order, (void)gfp, (void)mt;
	w->nr_alloc++;
}

static void on_locked(void *ctx, const struct page *page, unsigned int order, enum migratetype mt)
{
	struct world *w = ctx;

	(void)page, (void)order, (void)mt;
	w->nr_locked++;
}

static void on_extfrag(void *ctx, const struct page *page, unsigned int alloc_order,
		       unsigned int fallback_order, enum migratetype alloc_mt, enum migratetype fallback_mt,
		       bool change_ownership)
{
	struct world *w = ctx;

	(void)page;
	w->nr_extfrag++;
	w->alloc_order = alloc_order;
	w->fallback_order = fallback_order;
	w->alloc_mt = alloc_mt;
	w->fallback_mt = fallback_mt;
	w->changed = change_ownership;
}

static const struct page_trace trace = {.page_alloc = on_alloc,
					.page_alloc_zone_locked = on_locked,
					.page_alloc_extfrag = on_extfrag};

static int setup(void **state)
{
	struct sim_config config = {.normal_pages = ZONE_PAGES, .no_pcp = true};
	struct world *w = calloc(1, sizeof(*w));

	if (!w || !(w->m = sim_frames_new(&config)))
		return -1;
	w->m->frames.trace_ctx = w;
	w->m->frames.trace = &trace;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	unsigned int bad;

	for (unsigned int i = 0; i < ZONE_PAGES; i++)
		if (w->page[i])
			page_free(&w->m->frames, w->page[i]);
	bad = zone_check(&w->m->frames, ZONE_NORMAL, complain);
	bad += frames_leaked(&w->m->frames) != 0;
	sim_frames_free(w->m);
	free(w);
	return bad ? -1 : 0;
}

/* Takes the whole zone as single frames of one type, stored by their place. */
static void fill(struct world *w, gfp_t gfp)
{
	struct frames *f = &w->m->frames;
	struct page *page;

	while ((page = page_alloc(f, gfp | __GFP_NOWARN, 0)))
		w->page[page_to_pfn(f, page) - NORMAL_START_PFN] = page;
	w->nr_extfrag = 0;
}

static void drop(struct world *w, unsigned int first, unsigned int nr)
{
	for (unsigned int i = first; i < first + nr; i++) {
		page_free(&w->m->frames, w->page[i]);
		w->page[i] = NULL;
	}
}

static unsigned int take(struct world *w, gfp_t gfp)
{
	struct page *page = page_alloc(&w->m->frames, gfp | __GFP_NOWARN, 0);

	assert_non_null(page);
	unsigned int i = (unsigned int)(page_to_pfn(&w->m->frames, page) - NORMAL_START_PFN);
	w->page[i] = page;
	return i;
}

static enum migratetype type_of(const struct world *w, unsigned int i)
{
	return pageblock_migratetype(&w->m->frames, NORMAL_START_PFN + i);
}

static void table(void **state)
{
	static const enum migratetype expected[3][2] = {{MIGRATE_RECLAIMABLE, MIGRATE_MOVABLE},
							{MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE},
							{MIGRATE_UNMOVABLE, MIGRATE_MOVABLE}};

	(void)state;
	for (unsigned int mt = 0; mt < 3; mt++)
		for (unsigned int i = 0; i < 2; i++)
			assert_int_equal(migratetype_fallbacks[mt][i], expected[mt][i]);
}

static void who_may_steal(void **state)
{
	struct frames f = {0};

	(void)state;
	for (unsigned int o = 0; o < MAX_ORDER; o++) {
		assert_true(can_steal_fallback(&f, o, MIGRATE_UNMOVABLE));
		assert_true(can_steal_fallback(&f, o, MIGRATE_RECLAIMABLE));
		assert_int_equal(can_steal_fallback(&f, o, MIGRATE_MOVABLE), o >= PAGEBLOCK_ORDER / 2);
	}
	assert_int_equal(PAGEBLOCK_ORDER / 2, 4);
	f.page_group_by_mobility_disabled = true;
	assert_true(can_steal_fallback(&f, 0, MIGRATE_MOVABLE));
}

static void suitable(void **state)
{
	struct world *w = *state;
	struct frames *f = &w->m->frames;
	struct free_area *area = &f->zone[ZONE_NORMAL].free_area[2];
	bool steal = true;

	fill(w, UNMOVABLE);
	assert_int_equal(find_suitable_fallback(f, area, 2, MIGRATE_MOVABLE, false, &steal), -1);
	assert_false(steal);
	drop(w, 4, 4);
	assert_int_equal(find_suitable_fallback(f, area, 2, MIGRATE_MOVABLE, false, &steal),
			 MIGRATE_UNMOVABLE);
	assert_false(steal);
	assert_int_equal(find_suitable_fallback(f, area, 2, MIGRATE_MOVABLE, true, &steal), -1);
	assert_int_equal(find_suitable_fallback(f, area, 2, MIGRATE_RECLAIMABLE, true, &steal),
			 MIGRATE_UNMOVABLE);
	assert_true(steal);
	assert_int_equal(find_suitable_fallback(f, area, 2, MIGRATE_UNMOVABLE, false, &steal), -1);
}

static void room_before_fallback(void **state)
{
	struct world *w = *state;

	take(w, UNMOVABLE);
	take(w, MOVABLE);
	take(w, RECLAIM);
	assert_int_equal(w->nr_extfrag, 0);
	assert_int_equal(type_of(w, 0), MIGRATE_UNMOVABLE);
	assert_int_equal(type_of(w, 512), MIGRATE_MOVABLE);
	assert_int_equal(type_of(w, 1024), MIGRATE_RECLAIMABLE);
}

static void steals_the_largest(void **state)
{
	struct world *w = *state;

	fill(w, MOVABLE);
	drop(w, 16, 8);
	drop(w, 512, 512);
	assert_int_equal(take(w, UNMOVABLE), 512);
	assert_int_equal(w->nr_extfrag, 1);
	assert_int_equal(w->alloc_order, 0);
	assert_int_equal(w->fallback_order, 9);
	assert_int_equal(w->alloc_mt, MIGRATE_UNMOVABLE);
	assert_int_equal(w->fallback_mt, MIGRATE_MOVABLE);
	assert_true(w->changed);
	assert_int_equal(type_of(w, 512), MIGRATE_UNMOVABLE);
	assert_int_equal(type_of(w, 0), MIGRATE_MOVABLE);
}

static void movable_takes_the_smallest(void **state)
{
	struct world *w = *state;

	fill(w, UNMOVABLE);
	drop(w, 8, 8);
	drop(w, 100, 1);
	drop(w, 200, 2);
	assert_int_equal(take(w, MOVABLE), 100);
	assert_int_equal(w->fallback_order, 0);
	assert_false(w->changed);
	assert_int_equal(type_of(w, 100), MIGRATE_UNMOVABLE);
}

static void movable_steals_from_order_4_on(void **state)
{
	struct world *w = *state;

	fill(w, UNMOVABLE);
	drop(w, 8, 1);
	drop(w, 32, 16);
	assert_int_equal(take(w, MOVABLE), 8);
	assert_int_equal(w->fallback_order, 4);
	/* All that is free in the pageblock came along, but not the pageblock: what is in use there does not move. */
	assert_false(w->changed);
	assert_int_equal(take(w, MOVABLE), 32);
	assert_int_equal(w->nr_extfrag, 1);
}

/* free + alike >= half of the pageblock: it changes sides. */
static void half_is_enough(void **state)
{
	struct world *w = *state;

	fill(w, UNMOVABLE);
	drop(w, 0, 256);
	assert_int_equal(take(w, MOVABLE), 0);
	assert_true(w->changed);
	assert_int_equal(type_of(w, 0), MIGRATE_MOVABLE);
}

static void less_than_half_is_borrowed(void **state)
{
	struct world *w = *state;

	fill(w, UNMOVABLE);
	drop(w, 0, 255);
	take(w, MOVABLE);
	assert_false(w->changed);
	assert_int_equal(type_of(w, 0), MIGRATE_UNMOVABLE);
}

static void alike_pages_count(void **state)
{
	struct world *w = *state;

	/* Frames in use in movable pageblocks that nothing marks as movable: they are unmovable's own kind. */
	fill(w, MOVABLE);
	drop(w, 0, 16);
	take(w, UNMOVABLE);
	assert_true(w->changed);
}

static void movable_neighbours_do_not_count(void **state)
{
	struct world *w = *state;

	fill(w, MOVABLE);
	for (unsigned int i = 0; i < ZONE_PAGES; i++)
		page_set_anon(w->page[i], NULL, 0);
	drop(w, 0, 16);
	take(w, UNMOVABLE);
	assert_false(w->changed);
	assert_int_equal(type_of(w, 0), MIGRATE_MOVABLE);
}

static void stealing_boosts(void **state)
{
	struct world *w = *state;
	struct zone *z = &w->m->frames.zone[ZONE_NORMAL];

	watermarks_set(&w->m->frames, 128);
	w->m->frames.min_free_kbytes = 128;
	fill(w, MOVABLE | __GFP_MEMALLOC);
	page_alloc_begin_reserve();
	fill(w, MOVABLE & ~__GFP_NOMEMALLOC);
	page_alloc_end_reserve();
	drop(w, 0, 64);
	assert_int_equal(z->watermark_boost, 0);
	uint64_t wakes = w->m->frames.event[BOOST_WAKE];
	page_alloc_begin_reserve();
	take(w, UNMOVABLE);
	page_alloc_end_reserve();
	assert_int_equal(z->watermark_boost, PAGEBLOCK_PAGES);
	assert_int_equal(z->flags & ZONE_BOOSTED_WATERMARK, 0);
	assert_int_equal(w->m->frames.event[BOOST_WAKE], wakes + 1);
}

static void nofragment_needs_whole_blocks(void **state)
{
	struct world *w = *state;
	struct frames *f = &w->m->frames;
	struct zone *z = &f->zone[ZONE_NORMAL];

	fill(w, MOVABLE);
	drop(w, 0, 256);
	pthread_mutex_lock(&z->lock);
	assert_false(buddy_fallback(f, z, 0, MIGRATE_UNMOVABLE, ALLOC_NOFRAGMENT));
	assert_int_equal(w->nr_extfrag, 0);
	assert_true(buddy_fallback(f, z, 0, MIGRATE_UNMOVABLE, 0));
	pthread_mutex_unlock(&z->lock);
	assert_int_equal(w->nr_extfrag, 1);
}

static void traced(void **state)
{
	struct world *w = *state;

	take(w, MOVABLE);
	assert_int_equal(w->nr_alloc, 1);
	assert_int_equal(w->nr_locked, 1);
	assert_int_equal(w->m->frames.event[ALLOC_EXTFRAG], 0);
}

static void highatomic_reserve_and_cap(void **state)
{
	struct world *w = *state;
	struct frames *f = &w->m->frames;
	struct zone *z = &f->zone[ZONE_NORMAL];
	struct page *page[3];

	/* 1 % of 2048 frames and one pageblock: 532 frames, so one pageblock and no second one beyond the cap. */
	fill(w, UNMOVABLE);
	drop(w, 0, 1536);
	watermarks_set(f, 8192); /* so that the request goes by the slow path, where it may try harder */
	for (unsigned int i = 0; i < 3; i++)
		page[i] = page_alloc(f, GFP_ATOMIC | __GFP_NOWARN, 1);
	assert_non_null(page[0]);
	assert_int_equal(pageblock_migratetype(f, page_to_pfn(f, page[0])), MIGRATE_HIGHATOMIC);
	assert_true(z->nr_reserved_highatomic <= ZONE_PAGES / 100 + 2 * PAGEBLOCK_PAGES);
	assert_true(z->nr_reserved_highatomic >= PAGEBLOCK_PAGES);
	for (unsigned int i = 0; i < 3; i++)
		if (page[i])
			page_free_block(f, page[i], 1);
	assert_int_equal(zone_check(f, ZONE_NORMAL, complain), 0);
	while (highatomic_unreserve(f, z, MIGRATE_MOVABLE, true))
		;
	assert_int_equal(z->nr_reserved_highatomic, 0);
}

#define T(name, fn)                             \
	{                                       \
		name, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("fallback: the table of types [D27]", table),
		T("fallback: who may steal what [D31]", who_may_steal),
		T("fallback: the first type that has a block, and what may be done with it [D30]", suitable),
		T("fallback: frames that nobody had come before another type's [D25]", room_before_fallback),
		T("fallback: the largest block is stolen, with its pageblock [D28 D32]", steals_the_largest),
		T("fallback: what is only borrowed is the smallest [D29 D32]", movable_takes_the_smallest),
		T("fallback: movable steals from order 4 on [D31]", movable_steals_from_order_4_on),
		T("fallback: half of a pageblock free makes it change sides [Y3]", half_is_enough),
		T("fallback: less than half does not [Y3 D32]", less_than_half_is_borrowed),
		T("fallback: frames in use that are alike count [Y3]", alike_pages_count),
		T("fallback: movable neighbours do not [Y3]", movable_neighbours_do_not_count),
		T("fallback: stealing boosts the marks and wakes kswapd [C11]", stealing_boosts),
		T("fallback: NOFRAGMENT takes nothing less than a pageblock [D15 D28]",
		  nofragment_needs_whole_blocks),
		T("fallback: trace points fire with their arguments [D39 R11]", traced),
		T("fallback: highatomic pageblocks, and their cap [D33 Y3]", highatomic_reserve_and_cap),
	};

	return cmocka_run_group_tests_name("fallback", tests, NULL, NULL);
}
