/* SPDX-License-Identifier: MIT */
/*
 * The way of a request, step by step: every hook and trace point writes a letter and the node it was called for, and the
 * line that comes out is compared. Then failures at each step in turn.
 */
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../src/mm/buddy.h"
#include "../../src/mm/memcg.h"
#include "../../src/mm/mempolicy.h"
#include "../../src/mm/page_alloc.h"
#include "../../src/mm/reclaim.h"
#include "../../src/mm/trace.h"
#include "../../src/mm/watermark.h"
#include "../harness.h"
#include "../sim/sim_cpu.h"

#define ZONE_PAGES 4096u /* of a node */

struct world {
	struct sim_machine *m;
	struct frames *f;
	/* k: kswapd is woken, r: reclaim, n: node reclaim, d: asked about dirty pages, z: taken from a zone's lists,
	 * a: mm_page_alloc, f: freed, m: moved */
	char log[512];
	bool recording, dirty[MAX_NODES];
	struct page *held[4 * ZONE_PAGES];
	unsigned int nr_held;
	uint64_t gives_per_reclaim;
	struct memcg cg;
	/* what the trace points saw last */
	uint64_t charged_at_zone, charged_at_alloc;
	uint32_t refs_at_zone, refs_at_alloc;
	const struct memcg *memcg_at_alloc;
	unsigned int order;
	gfp_t gfp;
	enum migratetype mt;
	/* compaction */
	struct page *at[ZONE_PAGES]; /* by the number that is written into the frame */
	unsigned int nr_moved, refuse_after;
};

static void note(struct world *w, char what, unsigned int nid)
{
	size_t n = strlen(w->log);

	if (w->recording && n + 3 < sizeof(w->log))
		snprintf(w->log + n, sizeof(w->log) - n, "%c%u", what, nid);
}

static unsigned int node_of(struct world *w, const struct page *page)
{
	return page_zone(w->f, page)->node;
}

static void on_zone(void *ctx, const struct page *page, unsigned int order, enum migratetype mt)
{
	struct world *w = ctx;

	(void)order, (void)mt;
	note(w, 'z', node_of(w, page));
	w->charged_at_zone = w->cg.usage_pages;
	w->refs_at_zone = page->refs;
}

static void on_alloc(void *ctx, const struct page *page, unsigned int order, gfp_t gfp, enum migratetype mt)
{
	struct world *w = ctx;

	note(w, 'a', node_of(w, page));
	w->charged_at_alloc = w->cg.usage_pages;
	w->refs_at_alloc = page->refs;
	w->memcg_at_alloc = page->memcg;
	w->order = order;
	w->gfp = gfp;
	w->mt = mt;
}

static void on_free(void *ctx, const struct page *page, unsigned int order)
{
	(void)order;
	note(ctx, 'f', node_of(ctx, page));
}

static const struct page_trace trace = {.page_alloc = on_alloc,
					.page_alloc_zone_locked = on_zone,
					.page_free = on_free};

static void wake_kswapd(void *ctx, unsigned int nid, unsigned int order, enum zone_type highest)
{
	(void)order, (void)highest;
	note(ctx, 'k', nid);
}

static uint64_t reclaim(void *ctx, gfp_t gfp, unsigned int order, uint64_t nr, nodemask_t nodes)
{
	struct world *w = ctx;

	(void)gfp, (void)order, (void)nr, (void)nodes;
	note(w, 'r', 0);
	bool recording = w->recording;
	w->recording = false;
	for (uint64_t i = 0; i < w->gives_per_reclaim && w->nr_held; i++)
		page_free(w->f, w->held[--w->nr_held]);
	w->recording = recording;
	return w->gives_per_reclaim;
}

static enum node_reclaim_result node_reclaim(void *ctx, unsigned int nid, gfp_t gfp, unsigned int order)
{
	(void)gfp, (void)order;
	note(ctx, 'n', nid);
	return NODE_RECLAIM_FULL;
}

static bool node_dirty_ok(void *ctx, unsigned int nid)
{
	note(ctx, 'd', nid);
	return !((struct world *)ctx)->dirty[nid];
}

static const struct reclaim_ops ops = {.wake_kswapd = wake_kswapd,
				       .reclaim = reclaim,
				       .node_reclaim = node_reclaim,
				       .node_dirty_ok = node_dirty_ok};

/* Nodes are those of processors: the thread stays on the first, which is node 0's. */
static void stay_on_node_0(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	assert_int_equal(sched_setaffinity(0, sizeof(set), &set), 0);
}

static struct world *world_of(struct sim_config config, const struct reclaim_ops *hooks)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	config.no_pcp = true;
	stay_on_node_0();
	w->m = sim_frames_new(&config);
	assert_non_null(w->m);
	w->f = &w->m->frames;
	reclaim_set_ops(w->f, hooks, w);
	w->f->trace = &trace;
	w->f->trace_ctx = w;
	memcg_init(&w->cg, 64, NULL);
	return w;
}

static struct world *world_new(unsigned int nodes)
{
	return world_of((struct sim_config){.nodes = nodes, .normal_pages = nodes * ZONE_PAGES}, &ops);
}

static void world_free(struct world *w)
{
	while (w->nr_held)
		page_free(w->f, w->held[--w->nr_held]);
	for (enum zone_type z = 0; z < NR_ZONES; z++)
		assert_int_equal(zone_check(w->f, z, complain), 0);
	assert_int_equal(frames_leaked(w->f), 0);
	sim_frames_free(w->m);
	free(w);
}

/* Takes frames of a node, which are not to be seen in the log, until `left` are free in its ZONE_NORMAL. */
static void fill_to(struct world *w, unsigned int nid, uint64_t left)
{
	const struct alloc_task task = {.mems_allowed = 1u << nid};
	const struct zone *z = node_zone(w->f, nid, ZONE_NORMAL);

	page_alloc_begin_reserve();
	while (zone_free_pages(z) > left) {
		struct page *page = page_alloc_task(w->f, &task, GFP_USER | __GFP_NOWARN, 0);
		assert_non_null(page);
		assert_int_equal(node_of(w, page), nid);
		w->held[w->nr_held++] = page;
	}
	page_alloc_end_reserve();
}

/* One request, and what it wrote. The block is given back unseen. */
static void assert_steps(struct world *w, const struct alloc_task *task, gfp_t gfp, const char *steps)
{
	w->log[0] = 0;
	w->recording = true;
	struct page *page = page_alloc_task(w->f, task, gfp | __GFP_NOWARN, 0);
	w->recording = false;
	assert_string_equal(w->log, steps);
	assert_int_equal(page != NULL, strchr(steps, 'a') != NULL);
	if (page)
		page_put(w->f, page);
}

/* --- order of steps [D12] ------------------------------------------------------------------------------------------ */

static void account_then_trace(void **state)
{
	struct world *w = world_new(1);
	const struct alloc_task task = {.memcg = &w->cg};

	(void)state;
	watermarks_set(w->f, MIN_FREE_BY_FORMULA);
	assert_steps(w, &task, GFP_KERNEL | __GFP_ACCOUNT, "z0a0");
	/* Taken from the lists before it is prepared, prepared and charged before it is told. */
	assert_int_equal(w->refs_at_zone, 0);
	assert_int_equal(w->charged_at_zone, 0);
	assert_int_equal(w->refs_at_alloc, 1);
	assert_int_equal(w->charged_at_alloc, 1);
	assert_ptr_equal(w->memcg_at_alloc, &w->cg);
	assert_int_equal(w->order, 0);
	assert_int_equal(w->gfp, GFP_KERNEL | __GFP_ACCOUNT | __GFP_NOWARN);
	assert_int_equal(w->mt, MIGRATE_UNMOVABLE);
	assert_int_equal(w->cg.usage_pages, 0);
	world_free(w);
}

static void refused_charge_is_not_told(void **state)
{
	struct world *w = world_new(1);
	const struct alloc_task task = {.memcg = &w->cg};
	const struct zone *z = &w->f->zone[ZONE_NORMAL];

	(void)state;
	fill_to(w, 0, ZONE_PAGES / 2);
	assert_true(memcg_charge(&w->cg, 64));
	uint64_t free = zone_free_pages(z);
	assert_steps(w, &task, GFP_KERNEL | __GFP_ACCOUNT, "z0f0");
	assert_int_equal(zone_free_pages(z), free);
	assert_int_equal(w->cg.usage_pages, 64);
	assert_int_equal(w->cg.nr_failures, 1);
	world_free(w);
}

static void slow_path_comes_second(void **state)
{
	struct world *w = world_new(1);
	const struct zone *z = &w->f->zone[ZONE_NORMAL];

	(void)state;
	watermarks_set(w->f, MIN_FREE_BY_FORMULA);
	fill_to(w, 0, wmark_pages(z, WMARK_LOW) + 1);
	assert_steps(w, NULL, GFP_KERNEL, "z0a0");
	fill_to(w, 0, wmark_pages(z, WMARK_LOW));
	assert_steps(w, NULL, GFP_KERNEL, "k0z0a0");
	fill_to(w, 0, wmark_pages(z, WMARK_MIN));
	w->gives_per_reclaim = 32;
	assert_steps(w, NULL, GFP_KERNEL, "k0k0r0z0a0");
	world_free(w);
}

static void slow_path_takes_dirty_nodes(void **state)
{
	struct world *w = world_new(1);

	(void)state;
	w->dirty[0] = true;
	/* Asked on the first pass, with whole pageblocks and without; no more in the slow path. */
	assert_steps(w, NULL, GFP_KERNEL | __GFP_WRITE, "d0d0k0z0a0");
	world_free(w);
}

/* --- preparing [D13 D14] -------------------------------------------------------------------------------------------- */

static struct world *world_of_all_zones(void)
{
	return world_of((struct sim_config){.nodes = 1,
					    .normal_pages = ZONE_PAGES,
					    .dma32_pages = 1024,
					    .movable_pages = 1024},
			&ops);
}

static void zone_and_type_by_gfp(void **state)
{
	static const struct {
		gfp_t gfp;
		enum zone_type zone;
		enum migratetype mt;
	} row[] = {
		{GFP_KERNEL, ZONE_NORMAL, MIGRATE_UNMOVABLE},
		{GFP_HIGHUSER, ZONE_NORMAL, MIGRATE_UNMOVABLE},
		{GFP_KERNEL | __GFP_RECLAIMABLE, ZONE_NORMAL, MIGRATE_RECLAIMABLE},
		{GFP_USER | __GFP_MOVABLE, ZONE_NORMAL, MIGRATE_MOVABLE},
		{GFP_HIGHUSER_MOVABLE, ZONE_MOVABLE, MIGRATE_MOVABLE},
		{GFP_USER | __GFP_DMA32, ZONE_DMA32, MIGRATE_UNMOVABLE},
		{GFP_USER | __GFP_DMA32 | __GFP_MOVABLE, ZONE_DMA32, MIGRATE_MOVABLE},
		{GFP_TABLE, ZONE_TABLE, MIGRATE_UNMOVABLE},
		{GFP_OBJECT, ZONE_OBJECT, MIGRATE_UNMOVABLE},
	};
	struct world *w = world_of_all_zones();

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(row); i++) {
		for (unsigned int order = 0; order < 2; order++) {
			struct page *page = page_alloc(w->f, row[i].gfp, order);
			assert_non_null(page);
			assert_int_equal(page_zone_type(page), row[i].zone);
			assert_int_equal(page->migratetype, row[i].mt); /* of the list it came from */
			assert_int_equal(w->mt, row[i].mt);
			assert_int_equal(w->order, order);
			page_free_block(w->f, page, order);
		}
	}
	w->f->page_group_by_mobility_disabled = true;
	page_free(w->f, page_alloc(w->f, GFP_HIGHUSER_MOVABLE, 0));
	assert_int_equal(w->mt, MIGRATE_UNMOVABLE);
	world_free(w);
}

static void induced_failure_comes_first(void **state)
{
	struct world *w = world_new(1);

	(void)state;
	w->f->fail_in = 2;
	assert_steps(w, NULL, GFP_KERNEL | __GFP_WRITE, "d0z0a0");
	assert_steps(w, NULL, GFP_KERNEL | __GFP_WRITE, "");
	assert_int_equal(w->f->nr_fail, 1);
	assert_steps(w, NULL, GFP_KERNEL | __GFP_WRITE, "d0z0a0");
	world_free(w);
}

static void hardwall_makes_the_mask(void **state)
{
	struct world *w = world_new(2);
	const struct alloc_task far = {.mems_allowed = 2}, nowhere = {.mems_allowed = 4};

	(void)state;
	assert_steps(w, &far, GFP_USER, "z1a1");
	/* A mask without a zone: nobody is asked for anything, the slow path neither. */
	assert_steps(w, &nowhere, GFP_USER, "");
	/* Interrupts do not care. */
	const struct alloc_task interrupt = {.mems_allowed = 4, .in_interrupt = true};
	assert_steps(w, &interrupt, GFP_USER, "z0a0");
	world_free(w);
}

static void movable_may_use_cma(void **state)
{
	struct world *w = world_of((struct sim_config){.normal_pages = ZONE_PAGES, .cma_pages = 1024}, &ops);
	struct zone *z = &w->f->zone[ZONE_NORMAL];

	(void)state;
	fill_to(w, 0, 1024);
	assert_int_equal(z->nr_free_cma, 1024);
	assert_null(page_alloc(w->f, GFP_NOWAIT | __GFP_NOWARN, 0));
	assert_null(page_alloc(w->f, GFP_NOWAIT | __GFP_RECLAIMABLE | __GFP_NOWARN, 0));
	struct page *page = page_alloc(w->f, GFP_HIGHUSER_MOVABLE, 0);
	assert_non_null(page);
	assert_int_equal(pageblock_migratetype(w->f, page_to_pfn(w->f, page)), MIGRATE_CMA);
	assert_int_equal(w->mt, MIGRATE_MOVABLE);
	page_free(w->f, page);
	w->f->page_group_by_mobility_disabled = true;
	assert_null(page_alloc(w->f, GFP_TRANSHUGE_LIGHT, 0)); /* movable in name only */
	world_free(w);
}

static void write_spreads_dirty(void **state)
{
	struct world *w = world_new(2);

	(void)state;
	w->dirty[0] = true;
	assert_steps(w, NULL, GFP_KERNEL, "z0a0");
	assert_steps(w, NULL, GFP_HIGHUSER_MOVABLE, "z0a0");
	/* Leaving the node costs a second look at it, with types mixed. */
	assert_steps(w, NULL, GFP_KERNEL | __GFP_WRITE, "d0d1d0d1z1a1");
	world_free(w);
}

static void preferred_zone_is_in_the_mask(void **state)
{
	struct world *w = world_new(2);
	const struct alloc_task far = {.mems_allowed = 2}, policy_far = {.policy = &(struct mempolicy){0}};
	const struct zone *near_zone = node_zone(w->f, 0, ZONE_NORMAL),
			  *far_zone = node_zone(w->f, 1, ZONE_NORMAL);

	(void)state;
	assert_steps(w, &far, GFP_USER, "z1a1");
	assert_int_equal(mempolicy_init(policy_far.policy, w->f, MPOL_BIND, 2), 0);
	assert_steps(w, &policy_far, GFP_KERNEL, "z1a1");
	/* Wished there and had there: the node that the mask leaves out was never preferred. */
	assert_int_equal(far_zone->stat[NUMA_HIT], 2);
	assert_int_equal(far_zone->stat[NUMA_MISS], 0);
	assert_int_equal(near_zone->stat[NUMA_FOREIGN], 0);
	/* A cpuset without the wall leaves node 0 preferred: passed over, and counted so. */
	assert_steps(w, &far, GFP_KERNEL, "z1a1");
	assert_int_equal(far_zone->stat[NUMA_MISS], 1);
	assert_int_equal(near_zone->stat[NUMA_FOREIGN], 1);
	world_free(w);
}

/* --- zone by zone [D16] -------------------------------------------------------------------------------------------- */

static void zone_steps_in_order(void **state)
{
	struct world *w = world_new(2);
	const struct alloc_task far = {.mems_allowed = 2};

	(void)state;
	watermarks_set(w->f, MIN_FREE_BY_FORMULA);
	w->f->node_reclaim_mode = 1;
	fill_to(w, 0, 1);
	/* A node outside the cpuset is asked neither about dirty pages nor for its mark. */
	w->dirty[0] = true;
	assert_steps(w, &far, GFP_KERNEL | __GFP_WRITE, "d1d1z1a1");
	/* A dirty one is not asked for its mark: no reclaim on node 0, though it is below. */
	assert_steps(w, NULL, GFP_KERNEL | __GFP_WRITE, "d0d1d0d1z1a1");
	/* One that is clean and low is reclaimed on, and nothing is taken from it. */
	w->dirty[0] = false;
	assert_steps(w, NULL, GFP_KERNEL | __GFP_WRITE, "d0n0d1d0n0d1z1a1");
	/* One above its mark is taken from at once. */
	w->gives_per_reclaim = ZONE_PAGES;
	reclaim(w, 0, 0, 0, 0);
	assert_steps(w, NULL, GFP_KERNEL | __GFP_WRITE, "d0z0a0");
	world_free(w);
}

static void no_marks_no_questions(void **state)
{
	struct world *w = world_new(1);

	(void)state;
	watermarks_set(w->f, MIN_FREE_BY_FORMULA);
	w->f->node_reclaim_mode = 1;
	fill_to(w, 0, 8);
	/* The right to all reserves passes the mark by, in the slow path where it is given. */
	assert_steps(w, NULL, GFP_NOWAIT | __GFP_MEMALLOC, "n0n0k0n0k0z0a0");
	world_free(w);
}

/* --- blocks [D24 D38] ---------------------------------------------------------------------------------------------- */

static void free_held(struct world *w, unsigned int first, unsigned int nr)
{
	for (unsigned int i = 0; i < w->nr_held;) {
		uint64_t at = page_to_pfn(w->f, w->held[i]) - NORMAL_START_PFN;
		if (at < first || at >= first + nr) {
			i++;
			continue;
		}
		page_free(w->f, w->held[i]);
		w->held[i] = w->held[--w->nr_held];
	}
}

/* Takes straight from the lists; the place in the zone, or -1. */
static int take_smallest(struct world *w, unsigned int order, enum migratetype mt)
{
	struct zone *z = &w->f->zone[ZONE_NORMAL];

	pthread_mutex_lock(&z->lock);
	struct page *page = buddy_take_smallest(w->f, z, order, mt);
	pthread_mutex_unlock(&z->lock);
	if (!page)
		return -1;
	assert_int_equal(page->migratetype, mt);
	assert_false(page->flags & PG_BUDDY);
	return (int)(page_to_pfn(w->f, page) - NORMAL_START_PFN);
}

static void put_back(struct world *w, unsigned int at, unsigned int order)
{
	struct zone *z = &w->f->zone[ZONE_NORMAL];

	pthread_mutex_lock(&z->lock);
	buddy_free(w->f, z, pfn_to_page(w->f, NORMAL_START_PFN + at), order, MIGRATE_UNMOVABLE);
	pthread_mutex_unlock(&z->lock);
}

static void assert_free_blocks(struct world *w, const unsigned int (*nr)[4])
{
	for (unsigned int o = 0; o < MAX_ORDER; o++)
		assert_int_equal(w->f->zone[ZONE_NORMAL].free_area[o].nr_free, o < 4 ? (*nr)[o] : 0);
}

static void smallest_first_and_its_head(void **state)
{
	struct world *w = world_new(1);

	(void)state;
	fill_to(w, 0, 0);
	free_held(w, 8, 1);
	free_held(w, 16, 2);
	free_held(w, 32, 8);
	free_held(w, 64, 8); /* last to come, so the head */
	assert_free_blocks(w, &(const unsigned int[4]){1, 1, 0, 2});
	assert_int_equal(take_smallest(w, 0, MIGRATE_MOVABLE), -1);
	assert_int_equal(take_smallest(w, 4, MIGRATE_UNMOVABLE), -1);
	assert_int_equal(take_smallest(w, 0, MIGRATE_UNMOVABLE), 8);
	assert_int_equal(take_smallest(w, 0, MIGRATE_UNMOVABLE), 16); /* and 17 stays */
	assert_free_blocks(w, &(const unsigned int[4]){1, 0, 0, 2});
	assert_int_equal(take_smallest(w, 1, MIGRATE_UNMOVABLE), 64); /* 66 and 68 stay */
	assert_free_blocks(w, &(const unsigned int[4]){1, 1, 1, 1});
	assert_int_equal(take_smallest(w, 2, MIGRATE_UNMOVABLE), 68);
	assert_int_equal(take_smallest(w, 2, MIGRATE_UNMOVABLE), 32);
	assert_free_blocks(w, &(const unsigned int[4]){1, 1, 1, 0});
	assert_int_equal(take_smallest(w, 3, MIGRATE_UNMOVABLE), -1);
	put_back(w, 8, 0);
	put_back(w, 16, 0);
	put_back(w, 64, 1);
	put_back(w, 68, 2);
	put_back(w, 32, 2);
	assert_free_blocks(w, &(const unsigned int[4]){1, 1, 0, 2});
	world_free(w);
}

static struct {
	const char *what;
	pfn_t at;
} first_complaint;

static void record(const char *what, pfn_t at)
{
	if (first_complaint.what)
		return;
	first_complaint.what = what;
	first_complaint.at = at;
}

/* Puts a frame of anybody's on the zone's list for a moment. */
static void assert_caught(struct world *w, struct page *page, const char *what)
{
	struct zone *z = &w->f->zone[ZONE_NORMAL];
	uint32_t flags = page->flags, refs = page->refs;
	uint8_t order = page->order, mt = page->migratetype;
	struct list_head node = page->node;

	first_complaint.what = NULL;
	assert_int_equal(zone_check(w->f, ZONE_NORMAL, complain), 0);
	page->flags = PG_FREE;
	page->refs = 0;
	pthread_mutex_lock(&z->lock);
	buddy_insert(z, page, 0, MIGRATE_UNMOVABLE);
	pthread_mutex_unlock(&z->lock);
	assert_true(zone_check(w->f, ZONE_NORMAL, record) > 0);
	assert_string_equal(first_complaint.what, what);
	assert_int_equal(first_complaint.at, page_to_pfn(w->f, page));
	pthread_mutex_lock(&z->lock);
	buddy_remove(z, page, 0);
	pthread_mutex_unlock(&z->lock);
	page->flags = flags;
	page->refs = refs;
	page->order = order;
	page->migratetype = mt;
	page->node = node;
	assert_int_equal(zone_check(w->f, ZONE_NORMAL, complain), 0);
}

static void foreign_block_is_caught(void **state)
{
	struct world *w = world_of_all_zones();
	struct page *table = page_alloc(w->f, GFP_TABLE, 0), *own = page_alloc(w->f, GFP_KERNEL, 0);
	struct zone *z = &w->f->zone[ZONE_NORMAL];

	(void)state;
	assert_true(table && own);
	assert_caught(w, table, "free block of another zone");
	/* In the zone's range, but not handed to it yet; and right behind its end. */
	assert_true(z->fresh_pfn < z->limit_pfn);
	assert_caught(w, pfn_to_page(w->f, z->fresh_pfn), "free block of another zone");
	assert_caught(w, pfn_to_page(w->f, z->limit_pfn), "free block of another zone");
	/* The other way round: the place is right, but the frame says that it is another zone's. */
	own->zone = table->zone;
	assert_caught(w, own, "frame of a free block is not free");
	own->zone = z->id;
	page_free(w->f, own);
	page_free(w->f, table);
	world_free(w);
}

/* Where two zones meet in the middle of a largest block, its halves are buddies that stay apart. */
static void zones_do_not_merge(void **state)
{
	struct world *w =
		world_of((struct sim_config){.nodes = 1, .normal_pages = ZONE_PAGES, .movable_pages = 512},
			 NULL);
	struct zone *normal = &w->f->zone[ZONE_NORMAL], *movable = &w->f->zone[ZONE_MOVABLE];
	struct page *block[8];

	(void)state;
	assert_int_equal(movable->start_pfn & 1023, 512);
	for (unsigned int i = 0; i < 8; i++) {
		block[i] = page_alloc(w->f, i < 7 ? GFP_KERNEL : GFP_HIGHUSER_MOVABLE, 9);
		assert_non_null(block[i]);
		assert_int_equal(page_zone_type(block[i]), i < 7 ? ZONE_NORMAL : ZONE_MOVABLE);
	}
	for (unsigned int i = 0; i < 8; i++)
		page_free_block(w->f, block[i], 9);
	assert_int_equal(normal->free_area[10].nr_free, 3);
	assert_int_equal(normal->free_area[9].nr_free, 1);
	assert_int_equal(movable->free_area[9].nr_free, 1);
	assert_int_equal(movable->free_area[10].nr_free, 0);
	world_free(w);
}

/* --- each step fails in turn --------------------------------------------------------------------------------------- */

/* mmap and munmap of this whole program: the nth can be made to fail, and what is mapped is counted. */
static long map_fails_in, nr_maps, bytes_mapped;

void *mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset)
{
	nr_maps++;
	if (map_fails_in && !--map_fails_in) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	long ret = syscall(SYS_mmap, at, bytes, prot, flags, fd, offset);
	if (ret != -1)
		bytes_mapped += (long)bytes;
	return (void *)ret;
}

int munmap(void *at, size_t bytes)
{
	bytes_mapped -= (long)bytes;
	return (int)syscall(SYS_munmap, at, bytes);
}

static long bank_fails_in, nr_banks;

/* A bank that the first pageblocks of a contiguous area are made of, one at a time. Nobody looks into its frames. */
static int small_bank(void *ctx, enum zone_type zone, pfn_t start, uint64_t *nr_pages)
{
	(void)ctx, (void)zone, (void)start;
	nr_banks++;
	if (bank_fails_in && !--bank_fails_in)
		return -ENOMEM;
	*nr_pages = 512;
	return 0;
}

static const struct bank_ops small_banks = {.add_bank = small_bank};

static int setup_frames(struct frames *f)
{
	const struct frames_setup setup = {.direct_map = (void *)(uintptr_t)PMD_SIZE,
					   .max_pfn = NORMAL_START_PFN + 2 * ZONE_PAGES,
					   .ops = &small_banks,
					   .nr_nodes = 2,
					   .dma32_pages = 1024,
					   .movable_pages = 1024,
					   .cma_pages = 2048};

	return frames_setup(f, &setup);
}

static void setup_fails(struct frames *f)
{
	long before = bytes_mapped;

	assert_int_equal(setup_frames(f), -ENOMEM);
	assert_int_equal(bytes_mapped, before);
	assert_null(f->mem_map);
	assert_null(f->pageblock);
	for (unsigned int i = 0; i < MAX_ZONES; i++) {
		assert_null(f->zone[i].pcp);
		assert_null(f->zone[i].zeropool);
	}
}

static void setup_gives_all_back(void **state)
{
	struct frames *f = malloc(sizeof(*f));

	(void)state;
	assert_non_null(f);
	memset(f, 0xff, sizeof(*f));
	long maps = nr_maps, mapped = bytes_mapped, banks = nr_banks;
	assert_int_equal(setup_frames(f), 0);
	maps = nr_maps - maps;
	banks = nr_banks - banks;
	frames_destroy(f);
	assert_int_equal(bytes_mapped, mapped);
	assert_true(maps > 2 && banks == 4);
	for (long n = 1; n <= maps; n++) {
		map_fails_in = n;
		setup_fails(f);
		assert_int_equal(map_fails_in, 0);
	}
	for (long n = 1; n <= banks; n++) {
		bank_fails_in = n;
		setup_fails(f);
		assert_int_equal(bank_fails_in, 0);
	}
	assert_int_equal(setup_frames(f), 0);
	assert_int_equal(zone_check(f, ZONE_NORMAL, complain), 0);
	assert_int_equal(f->zone[ZONE_NORMAL].nr_free_cma, 2048);
	frames_destroy(f);
	free(f);
}

/* Keeps books of its own for each move, so that it can fail for want of memory too. */
static int migrate(void *ctx, struct page *from, struct page *to)
{
	struct world *w = ctx;
	uint64_t id = *(uint64_t *)page_address(w->f, from);

	if (w->nr_moved >= w->refuse_after)
		return -EBUSY;
	struct page *book = page_alloc(w->f, GFP_OBJECT, 0);
	if (!book)
		return -ENOMEM;
	page_free(w->f, book);
	if (!page_get_unless_zero(from))
		return -EAGAIN;
	assert_ptr_equal(w->at[id], from);
	memcpy(page_address(w->f, to), page_address(w->f, from), PAGE_SIZE);
	to->mapping = from->mapping;
	w->at[id] = to;
	w->nr_moved++;
	atomic_fetch_sub(&from->refs, 1);
	return 0;
}

static const struct reclaim_ops mover = {.migrate = migrate};

#define LIVE_EACH 8u

/* All memory in movable pages, all but each eighth free again: no large block without moving. */
static struct world *riddled(void)
{
	struct world *w = world_of((struct sim_config){.normal_pages = ZONE_PAGES}, &mover);

	w->refuse_after = ~0u;
	for (uint64_t i = 0; i < ZONE_PAGES; i++) {
		w->at[i] = page_alloc(w->f, GFP_TRANSHUGE_LIGHT, 0);
		assert_non_null(w->at[i]);
		page_set_anon(w->at[i], NULL, 0);
		*(uint64_t *)page_address(w->f, w->at[i]) = i;
	}
	for (uint64_t i = 0; i < ZONE_PAGES; i++) {
		if (i % LIVE_EACH) {
			page_free(w->f, w->at[i]);
			w->at[i] = NULL;
		}
	}
	return w;
}

static void assert_live_pages(struct world *w)
{
	const struct zone *z = &w->f->zone[ZONE_NORMAL];

	for (uint64_t i = 0; i < ZONE_PAGES; i += LIVE_EACH) {
		assert_int_equal(*(uint64_t *)page_address(w->f, w->at[i]), i);
		assert_int_equal(w->at[i]->refs, 1);
		assert_true(page_anon(w->at[i]));
	}
	assert_int_equal(z->nr_free_pages, ZONE_PAGES - ZONE_PAGES / LIVE_EACH);
	assert_int_equal(zone_used_pages(w->f, ZONE_NORMAL), ZONE_PAGES / LIVE_EACH);
	assert_int_equal(zone_used_pages(w->f, ZONE_OBJECT), 0);
	assert_int_equal(zone_check(w->f, ZONE_NORMAL, complain), 0);
}

static void riddled_free(struct world *w)
{
	for (uint64_t i = 0; i < ZONE_PAGES; i += LIVE_EACH)
		page_free(w->f, w->at[i]);
	world_free(w);
}

static struct page *ask_for_large(struct world *w)
{
	return page_alloc(w->f, GFP_HIGHUSER_MOVABLE | __GFP_NOWARN, 9);
}

static unsigned int moves_needed(void)
{
	struct world *w = riddled();
	struct page *block = ask_for_large(w);
	unsigned int nr = w->nr_moved;

	assert_non_null(block);
	assert_true(nr > 2);
	page_free_block(w->f, block, 9);
	assert_live_pages(w);
	riddled_free(w);
	return nr;
}

/* One allocation of the whole way fails: the request's own, or one on behalf of a move. */
static void compaction_without_memory(void **state)
{
	unsigned int injected = 0;

	(void)state;
	for (long n = 1; injected == (unsigned long)n - 1; n++) {
		struct world *w = riddled();
		w->f->fail_in = n;
		struct page *block = ask_for_large(w);
		injected += w->f->nr_fail == 1;
		w->f->fail_in = 0;
		assert_int_equal(!block, n == 1);
		assert_int_equal(w->f->event[PGMIGRATE_FAIL], n > 1 && w->f->nr_fail);
		if (n == 1)
			assert_int_equal(w->nr_moved, 0);
		if (block)
			page_free_block(w->f, block, 9);
		assert_live_pages(w);
		riddled_free(w);
	}
	assert_true(injected > moves_needed());
}

/* From the nth on, every move is refused: the request fails, and all that was is still there. */
static void compaction_that_gets_stuck(void **state)
{
	unsigned int needed = moves_needed();

	(void)state;
	for (unsigned int n = 0; n < needed; n++) {
		struct world *w = riddled();
		const struct zone *z = &w->f->zone[ZONE_NORMAL];
		w->refuse_after = n;
		assert_null(ask_for_large(w));
		assert_int_equal(w->nr_moved, n);
		assert_true(w->f->event[PGMIGRATE_FAIL] > 0);
		assert_live_pages(w);
		if (!n) /* the lists too: 7 of 8 frames are three blocks */
			for (unsigned int o = 0; o < MAX_ORDER; o++)
				assert_int_equal(z->free_area[o].nr_free, o < 3 ? ZONE_PAGES / LIVE_EACH : 0);
		/* Put off for a while, it works when moves do. */
		w->refuse_after = ~0u;
		struct page *block = NULL;
		for (unsigned int i = 0; i < 64 && !block; i++)
			block = ask_for_large(w);
		assert_non_null(block);
		page_free_block(w->f, block, 9);
		assert_live_pages(w);
		riddled_free(w);
	}
}

#define T(name, fn)                         \
	{                                   \
		name, fn, NULL, NULL, NULL, \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("alloc_path: taken, prepared, charged, and told last [D12]", account_then_trace),
		T("alloc_path: a block whose charge is refused goes back untold [D12]",
		  refused_charge_is_not_told),
		T("alloc_path: the slow path only after the fast one failed [D12]", slow_path_comes_second),
		T("alloc_path: the slow path does not mind dirty nodes [D12 D14]",
		  slow_path_takes_dirty_nodes),
		T("alloc_path: highest zone and migratetype follow from gfp [D13]", zone_and_type_by_gfp),
		T("alloc_path: an induced failure comes before everything else [D13]",
		  induced_failure_comes_first),
		T("alloc_path: a cpuset with hardwall is the nodemask [D13]", hardwall_makes_the_mask),
		T("alloc_path: movable requests, and no others, may use the contiguous area [D13 D34]",
		  movable_may_use_cma),
		T("alloc_path: dirty pages are spread for __GFP_WRITE alone [D14]", write_spreads_dirty),
		T("alloc_path: the preferred zone is the first within the mask [D14]",
		  preferred_zone_is_in_the_mask),
		T("alloc_path: cpuset, dirty, mark, take: zone by zone in this order [D16]",
		  zone_steps_in_order),
		T("alloc_path: reserves pass the marks by [D16]", no_marks_no_questions),
		T("alloc_path: the head of the smallest list that will do, split [D24]",
		  smallest_first_and_its_head),
		T("alloc_path: a free block outside its zone is caught [D38]", foreign_block_is_caught),
		T("alloc_path: buddies of two zones do not merge [D38]", zones_do_not_merge),
		T("alloc_path: frames_setup: any single ENOMEM leaves nothing behind", setup_gives_all_back),
		T("alloc_path: compaction: any single ENOMEM loses nothing", compaction_without_memory),
		T("alloc_path: compaction: moves refused from the nth on lose nothing",
		  compaction_that_gets_stuck),
	};

	return cmocka_run_group_tests_name("alloc_path", tests, NULL, NULL);
}
