/* SPDX-License-Identifier: MIT */
/* Compaction and the contiguous area: pages move out of the way by a callback that the test plays the owner for. */
#include "../../src/mm/compaction.h"
#include "../../src/mm/page_alloc.h"
#include "../../src/mm/reclaim.h"
#include "../../src/mm/watermark.h"
#include "../harness.h"
#include "../sim/sim_cpu.h"

#define ZONE_PAGES 4096u

struct world {
	struct sim_machine *m;
	struct page *at[ZONE_PAGES]; /* by the number that is written into the frame */
	unsigned int nr_moved, refuse_after;
};

static int migrate(void *ctx, struct page *from, struct page *to)
{
	struct world *w = ctx;
	const struct frames *f = &w->m->frames;

	if (w->refuse_after && w->nr_moved >= w->refuse_after)
		return -EBUSY;
	if (!page_get_unless_zero(from))
		return -EAGAIN;
	uint64_t id = *(uint64_t *)page_address(f, from);
	assert_ptr_equal(w->at[id], from);
	memcpy(page_address(f, to), page_address(f, from), PAGE_SIZE);
	atomic_store(&to->flags, atomic_load(&from->flags));
	w->at[id] = to;
	w->nr_moved++;
	atomic_fetch_sub(&from->refs, 1);
	return 0;
}

static const struct reclaim_ops ops = {.migrate = migrate};

static struct world *world_new(uint64_t cma_pages)
{
	struct sim_config config = {.normal_pages = ZONE_PAGES, .cma_pages = cma_pages, .no_pcp = true};
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->m = sim_frames_new(&config);
	assert_non_null(w->m);
	reclaim_set_ops(&w->m->frames, &ops, w);
	return w;
}

static struct page *take(struct world *w, uint64_t id, gfp_t gfp)
{
	struct page *page = page_alloc(&w->m->frames, gfp, 0);

	if (!page)
		return NULL;
	if (gfp & __GFP_MOVABLE)
		page_set_anon(page, NULL, 0);
	*(uint64_t *)page_address(&w->m->frames, page) = id;
	w->at[id] = page;
	return page;
}

/* Fills memory with movable pages and frees all but each nth. */
static void riddle(struct world *w, unsigned int n)
{
	uint64_t id = 0;

	while (id < ZONE_PAGES && take(w, id, GFP_TRANSHUGE_LIGHT))
		id++;
	for (uint64_t i = 0; i < id; i++) {
		if (i % n == 0)
			continue;
		page_free(&w->m->frames, w->at[i]);
		w->at[i] = NULL;
	}
}

static void world_free(struct world *w)
{
	for (uint64_t i = 0; i < ZONE_PAGES; i++) {
		if (!w->at[i])
			continue;
		assert_int_equal(*(uint64_t *)page_address(&w->m->frames, w->at[i]), i);
		page_free(&w->m->frames, w->at[i]);
	}
	assert_int_equal(zone_check(&w->m->frames, ZONE_NORMAL, complain), 0);
	assert_int_equal(frames_leaked(&w->m->frames), 0);
	sim_frames_free(w->m);
	free(w);
}

static void makes_large_blocks(void **state)
{
	struct world *w = world_new(0);
	struct zone *z = &w->m->frames.zone[ZONE_NORMAL];

	(void)state;
	riddle(w, 8);
	assert_null(page_alloc(&w->m->frames, GFP_TRANSHUGE_LIGHT, 9));
	assert_int_equal(compact_zone(&w->m->frames, z, 9, COMPACT_PRIO_ASYNC), COMPACT_SUCCESS);
	assert_true(w->nr_moved > 0);
	assert_int_equal(w->m->frames.event[PGMIGRATE_SUCCESS], w->nr_moved);
	struct page *block = page_alloc(&w->m->frames, GFP_TRANSHUGE_LIGHT, 9);
	assert_non_null(block);
	page_free_block(&w->m->frames, block, 9);
	world_free(w);
}

static void slow_path_compacts(void **state)
{
	struct world *w = world_new(0);
	struct page *block;

	(void)state;
	riddle(w, 8);
	block = page_alloc(&w->m->frames, GFP_HIGHUSER_MOVABLE | __GFP_NOWARN, 9);
	assert_non_null(block);
	assert_int_equal(w->m->frames.event[COMPACTSUCCESS], 1);
	page_free_block(&w->m->frames, block, 9);
	world_free(w);
}

static void refused_moves_change_nothing(void **state)
{
	struct world *w = world_new(0);
	struct zone *z = &w->m->frames.zone[ZONE_NORMAL];

	(void)state;
	riddle(w, 8);
	uint64_t free = z->nr_free_pages;
	w->refuse_after = 1;
	assert_int_equal(compact_zone(&w->m->frames, z, 9, COMPACT_PRIO_ASYNC), COMPACT_COMPLETE);
	assert_int_equal(w->nr_moved, 1);
	assert_int_equal(z->nr_free_pages, free);
	assert_int_equal(zone_check(&w->m->frames, ZONE_NORMAL, complain), 0);
	assert_true(w->m->frames.event[PGMIGRATE_FAIL] > 0);
	/* It is put off now: once, then twice, ... */
	assert_int_equal(compact_zone(&w->m->frames, z, 9, COMPACT_PRIO_ASYNC), COMPACT_DEFERRED);
	assert_int_equal(compact_zone(&w->m->frames, z, 9, COMPACT_PRIO_ASYNC), COMPACT_COMPLETE);
	w->refuse_after = 0;
	assert_int_equal(compact_zone(&w->m->frames, z, 9, COMPACT_PRIO_SYNC_FULL), COMPACT_SUCCESS);
	world_free(w);
}

static void needs_free_memory_and_somebody(void **state)
{
	struct world *w = world_new(0);
	struct zone *z = &w->m->frames.zone[ZONE_NORMAL];

	(void)state;
	riddle(w, 1);
	assert_int_equal(compact_zone(&w->m->frames, z, 9, COMPACT_PRIO_ASYNC), COMPACT_SKIPPED);
	w->m->frames.reclaim = NULL;
	assert_int_equal(compact_zone(&w->m->frames, z, 0, COMPACT_PRIO_ASYNC), COMPACT_SKIPPED);
	world_free(w);
}

static void index_of_fragmentation(void **state)
{
	struct world *w = world_new(0);
	struct zone *z = &w->m->frames.zone[ZONE_NORMAL];

	(void)state;
	riddle(w, 1);
	assert_int_equal(fragmentation_index(z, 9), 0);
	for (uint64_t i = 0; i < ZONE_PAGES; i += 2) {
		page_free(&w->m->frames, w->at[i]);
		w->at[i] = NULL;
	}
	/* 2048 single frames: 1000 - (1000 + 2048 * 1000 / 512) / 2048 */
	assert_int_equal(fragmentation_index(z, 9), 998);
	assert_int_equal(fragmentation_index(z, 0), -1000);
	world_free(w);
}

static void only_movable_falls_into_cma(void **state)
{
	struct world *w = world_new(1024);
	struct zone *z = &w->m->frames.zone[ZONE_NORMAL];
	struct page *page;
	unsigned int in_area = 0;

	(void)state;
	assert_int_equal(z->nr_free_cma, 1024);
	for (uint64_t i = 0; i < ZONE_PAGES; i++) {
		page = take(w, i, GFP_NOWAIT | __GFP_NOWARN);
		if (!page)
			break;
		in_area += page_to_pfn(&w->m->frames, page) < z->cma_end_pfn;
	}
	assert_int_equal(in_area, 0);
	assert_int_equal(z->nr_free_pages, 1024);
	page = page_alloc(&w->m->frames, GFP_TRANSHUGE_LIGHT, 0);
	assert_non_null(page);
	assert_true(page_to_pfn(&w->m->frames, page) < z->cma_end_pfn);
	assert_int_equal(z->nr_free_cma, 1023);
	page_free(&w->m->frames, page);
	assert_int_equal(z->nr_free_cma, 1024);
	world_free(w);
}

static void cma_moves_its_guests_out(void **state)
{
	struct world *w = world_new(1024);
	struct frames *f = &w->m->frames;
	struct zone *z = &f->zone[ZONE_NORMAL];

	(void)state;
	riddle(w, 4);
	struct page *area = cma_alloc(f, 700, 0);
	assert_non_null(area);
	assert_int_equal(page_to_pfn(f, area), z->cma_start_pfn);
	for (unsigned int i = 0; i < 700; i++)
		assert_int_equal(atomic_load(&area[i].refs), 1);
	assert_true(w->nr_moved > 0);
	assert_int_equal(zone_check(f, ZONE_NORMAL, complain), 0);
	assert_null(cma_alloc(f, 600, 0));
	assert_int_equal(zone_check(f, ZONE_NORMAL, complain), 0);
	cma_release(f, area, 700);
	world_free(w);
}

static void cma_fails_cleanly(void **state)
{
	struct world *w = world_new(1024);
	struct frames *f = &w->m->frames;
	uint64_t free;

	(void)state;
	riddle(w, 4);
	free = f->zone[ZONE_NORMAL].nr_free_pages;
	w->refuse_after = w->nr_moved + 3;
	assert_null(cma_alloc(f, 1024, 0));
	assert_int_equal(f->zone[ZONE_NORMAL].nr_free_pages, free);
	assert_int_equal(zone_check(f, ZONE_NORMAL, complain), 0);
	w->refuse_after = 0;
	world_free(w);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{"compaction: moving pages makes a block of order 9 [Y1 D36]", makes_large_blocks, NULL, NULL,
		 NULL},
		{"compaction: the slow path compacts for large blocks first [Y1 D35]", slow_path_compacts,
		 NULL, NULL, NULL},
		{"compaction: moves that are refused change nothing, and put it off",
		 refused_moves_change_nothing, NULL, NULL, NULL},
		{"compaction: not without free memory, nor without somebody who moves",
		 needs_free_memory_and_somebody, NULL, NULL, NULL},
		{"compaction: the fragmentation index", index_of_fragmentation, NULL, NULL, NULL},
		{"compaction: only movable requests fall into the contiguous area [D34 D25]",
		 only_movable_falls_into_cma, NULL, NULL, NULL},
		{"compaction: who is in the contiguous area moves out for it [D34]", cma_moves_its_guests_out,
		 NULL, NULL, NULL},
		{"compaction: a contiguous range that cannot be had leaves all as it was", cma_fails_cleanly,
		 NULL, NULL, NULL},
	};

	return cmocka_run_group_tests_name("compaction", tests, NULL, NULL);
}
