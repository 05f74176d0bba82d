/* SPDX-License-Identifier: MIT */
/* The slow path with fakes for everything that it asks for: what is asked, in which order, and how often. */
#include <sched.h>

#include "../../src/mm/page_alloc.h"
#include "../../src/mm/reclaim.h"
#include "../../src/mm/watermark.h"
#include "../harness.h"
#include "../sim/sim_cpu.h"

#define ZONE_PAGES 2048u

struct world {
	struct sim_machine *m;
	struct page *held[ZONE_PAGES];
	unsigned int nr_held;
	char log[64]; /* k: kswapd, r: reclaim, o: OOM, n: node reclaim, m: migrate */
	unsigned int nr_log, nr_reports;
	char report[256];
	uint64_t gives_per_reclaim, reclaimable;
	unsigned int reclaims_before_giving;
	bool oom_gives, dirty[MAX_NODES], recursed;
	enum node_reclaim_result node_result;
};

static void note(struct world *w, char c)
{
	if (w->nr_log < sizeof(w->log) - 1)
		w->log[w->nr_log++] = c;
}

static unsigned int noted(const struct world *w, char c)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < w->nr_log; i++)
		n += w->log[i] == c;
	return n;
}

static void give(struct world *w, uint64_t nr)
{
	while (nr-- && w->nr_held)
		page_free(&w->m->frames, w->held[--w->nr_held]);
}

static void wake_kswapd(void *ctx, unsigned int nid, unsigned int order, enum zone_type highest)
{
	(void)nid, (void)order, (void)highest;
	note(ctx, 'k');
}

static uint64_t reclaim(void *ctx, gfp_t gfp, unsigned int order, uint64_t nr, nodemask_t nodes)
{
	struct world *w = ctx;

	(void)gfp, (void)order, (void)nodes;
	assert_true(nr >= 32);
	note(w, 'r');
	if (!w->recursed) { /* what reclaim needs itself comes from the reserve and does not end here again */
		w->recursed = true;
		struct page *page = page_alloc(&w->m->frames, GFP_KERNEL | __GFP_NOWARN, 0);
		if (page)
			page_free(&w->m->frames, page);
	}
	if (w->reclaims_before_giving) {
		w->reclaims_before_giving--;
		return 0;
	}
	give(w, w->gives_per_reclaim);
	return w->gives_per_reclaim;
}

static enum node_reclaim_result node_reclaim(void *ctx, unsigned int nid, gfp_t gfp, unsigned int order)
{
	struct world *w = ctx;

	(void)nid, (void)gfp, (void)order;
	note(w, 'n');
	if (w->node_result == NODE_RECLAIM_SUCCESS)
		give(w, 64);
	return w->node_result;
}

static uint64_t reclaimable(void *ctx, unsigned int nid, enum zone_type zone)
{
	(void)nid, (void)zone;
	return ((struct world *)ctx)->reclaimable;
}

static bool oom(void *ctx, gfp_t gfp, unsigned int order, nodemask_t nodes)
{
	struct world *w = ctx;

	(void)gfp, (void)order, (void)nodes;
	note(w, 'o');
	if (w->oom_gives)
		give(w, 256);
	return w->oom_gives;
}

static bool node_dirty_ok(void *ctx, unsigned int nid)
{
	return !((struct world *)ctx)->dirty[nid];
}

static const struct reclaim_ops ops = {.wake_kswapd = wake_kswapd,
				       .reclaim = reclaim,
				       .node_reclaim = node_reclaim,
				       .reclaimable = reclaimable,
				       .oom = oom,
				       .node_dirty_ok = node_dirty_ok};

static void on_report(void *ctx, const char *line)
{
	struct world *w = ctx;

	w->nr_reports++;
	snprintf(w->report, sizeof(w->report), "%s", line);
}

static struct world *world_new(unsigned int nodes, const uint8_t (*distance)[MAX_NODES])
{
	struct sim_config config = {.normal_pages = ZONE_PAGES,
				    .nodes = nodes,
				    .distance = distance,
				    .no_pcp = true};
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->m = sim_frames_new(&config);
	assert_non_null(w->m);
	reclaim_set_ops(&w->m->frames, &ops, w);
	watermarks_set(&w->m->frames, 512); /* 128 frames */
	w->m->frames.report = on_report;
	w->m->frames.report_ctx = w;
	return w;
}

static int setup(void **state)
{
	*state = world_new(1, NULL);
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	unsigned int bad;

	give(w, ZONE_PAGES);
	bad = zone_check(&w->m->frames, ZONE_NORMAL, complain) + (frames_leaked(&w->m->frames) != 0);
	sim_frames_free(w->m);
	free(w);
	return bad ? -1 : 0;
}

/* Uses up the zone to the min mark, without anybody's noticing. */
static void fill(struct world *w)
{
	struct page *page;

	w->m->frames.reclaim = NULL;
	while ((page = page_alloc(&w->m->frames, GFP_NOWAIT | __GFP_NOWARN, 0)))
		w->held[w->nr_held++] = page;
	w->m->frames.reclaim = &ops;
	w->nr_log = 0;
}

static void ask(struct world *w, gfp_t gfp, unsigned int order, bool expected)
{
	struct page *page = page_alloc(&w->m->frames, gfp, order);

	assert_int_equal(page != NULL, expected);
	if (page)
		page_free_block(&w->m->frames, page, order);
}

static void low_wakes_kswapd(void **state)
{
	struct world *w = *state;
	struct frames *f = &w->m->frames;
	struct page *page;

	while (zone_free_pages(&f->zone[ZONE_NORMAL]) > 160 && (page = page_alloc(f, GFP_KERNEL, 0)))
		w->held[w->nr_held++] = page;
	assert_int_equal(w->nr_log, 0);
	ask(w, GFP_KERNEL, 0, true);
	assert_string_equal(w->log, "k");
}

static void min_means_direct_reclaim(void **state)
{
	struct world *w = *state;

	fill(w);
	w->gives_per_reclaim = 32;
	ask(w, GFP_KERNEL, 0, true);
	assert_int_equal(noted(w, 'r'), 1);
	assert_int_equal(noted(w, 'o'), 0);
	assert_true(w->log[0] == 'k');
	assert_int_equal(w->m->frames.event[ALLOCSTALL], 1);
}

static void nowait_does_not_wait(void **state)
{
	struct world *w = *state;

	fill(w);
	w->gives_per_reclaim = 32;
	ask(w, GFP_NOWAIT | __GFP_NOWARN, 0, false);
	assert_int_equal(noted(w, 'r') + noted(w, 'o'), 0);
	assert_true(noted(w, 'k') > 0);
}

static void sixteen_rounds(void **state)
{
	struct world *w = *state;

	fill(w);
	w->reclaims_before_giving = 1000;
	w->reclaimable = 4096; /* enough, if only it could be had */
	ask(w, GFP_KERNEL | __GFP_NOWARN, 0, false);
	assert_int_equal(noted(w, 'r'), 17);
	assert_int_equal(noted(w, 'o'), 1);
	assert_int_equal(w->m->frames.event[PGSCAN_RETRY], 16);
}

static void progress_in_the_end(void **state)
{
	struct world *w = *state;

	fill(w);
	w->reclaims_before_giving = 5;
	w->gives_per_reclaim = 64;
	w->reclaimable = 4096;
	ask(w, GFP_KERNEL, 0, true);
	assert_int_equal(noted(w, 'r'), 6);
	assert_int_equal(noted(w, 'o'), 0);
}

static void oom_then_retry(void **state)
{
	struct world *w = *state;

	fill(w);
	w->reclaims_before_giving = 1000;
	w->oom_gives = true;
	ask(w, GFP_KERNEL, 0, true);
	assert_int_equal(noted(w, 'o'), 1);
}

static void failure_is_said(void **state)
{
	struct world *w = *state;

	fill(w);
	w->reclaims_before_giving = 1000;
	w->nr_reports = 0;
	uint64_t failed = w->m->frames.event[ALLOC_FAIL];
	ask(w, GFP_KERNEL | __GFP_NOWARN, 0, false);
	assert_int_equal(w->nr_reports, 0);
	ask(w, GFP_KERNEL, 1, false);
	assert_int_equal(w->nr_reports, 1);
	assert_non_null(strstr(w->report, "page allocation failure: order:1, mode:0xcc0"));
	assert_int_equal(w->m->frames.event[ALLOC_FAIL], failed + 2);
}

static void costly_gives_up_early(void **state)
{
	struct world *w = *state;

	fill(w);
	w->gives_per_reclaim = 1;
	w->reclaimable = 4096;
	ask(w, GFP_KERNEL | __GFP_NOWARN, 4, false);
	assert_int_equal(noted(w, 'r'), 1);
	assert_int_equal(noted(w, 'o'), 0);
	w->nr_log = 0;
	ask(w, GFP_KERNEL | __GFP_NOWARN | __GFP_NORETRY, 4, false);
	assert_int_equal(noted(w, 'r'), 0);
}

static void noretry_and_mayfail(void **state)
{
	struct world *w = *state;

	fill(w);
	w->reclaims_before_giving = 1000;
	w->reclaimable = 4096;
	ask(w, GFP_KERNEL | __GFP_NOWARN | __GFP_NORETRY, 0, false);
	assert_int_equal(noted(w, 'r'), 1);
	assert_int_equal(noted(w, 'o'), 0);
	w->nr_log = 0;
	ask(w, GFP_KERNEL | __GFP_NOWARN | __GFP_RETRY_MAYFAIL, 0, false);
	assert_int_equal(noted(w, 'r'), 17);
	assert_int_equal(noted(w, 'o'), 0);
}

static void nofail_waits(void **state)
{
	struct world *w = *state;

	page_alloc_begin_reserve(); /* even the reserve is gone */
	fill(w);
	page_alloc_end_reserve();
	w->reclaims_before_giving = 40;
	w->gives_per_reclaim = 200;
	ask(w, GFP_KERNEL | __GFP_NOFAIL, 0, true);
	assert_int_equal(w->reclaims_before_giving, 0);
	ask(w, GFP_KERNEL | __GFP_NOFAIL, 2, true);
	assert_non_null(strstr(w->report, "__GFP_NOFAIL"));
	unsigned int reports = w->nr_reports;
	ask(w, GFP_KERNEL | __GFP_NOFAIL, 2, true);
	assert_int_equal(w->nr_reports, reports);
}

static void warnings_once(void **state)
{
	struct world *w = *state;

	ask(w, GFP_KERNEL | __GFP_NOWARN, MAX_ORDER, false);
	assert_int_equal(w->nr_reports, 0);
	ask(w, GFP_KERNEL, MAX_ORDER, false);
	ask(w, GFP_KERNEL, MAX_ORDER + 3, false);
	assert_int_equal(w->nr_reports, 1);
	page_alloc_begin_atomic();
	ask(w, GFP_NOWAIT, 0, true);
	assert_int_equal(w->nr_reports, 1);
	ask(w, GFP_KERNEL, 0, true);
	ask(w, GFP_KERNEL, 0, true);
	page_alloc_end_atomic();
	assert_int_equal(w->nr_reports, 2);
	fill(w);
	w->gives_per_reclaim = 64;
	ask(w, GFP_ATOMIC | __GFP_DIRECT_RECLAIM | __GFP_NOWARN, 0, true);
	give(w, 128);
	assert_int_equal(w->nr_reports, 3);
}

static void exhaustion_changes_nothing(void **state)
{
	struct world *w = *state;
	const struct zone *z = &w->m->frames.zone[ZONE_NORMAL];

	fill(w);
	w->reclaims_before_giving = 100000;
	uint64_t before[MAX_ORDER], used = frames_leaked(&w->m->frames);
	for (unsigned int o = 0; o < MAX_ORDER; o++)
		before[o] = z->free_area[o].nr_free;
	for (unsigned int o = 0; o < MAX_ORDER; o++)
		ask(w, GFP_KERNEL | __GFP_NOWARN, o, false);
	for (unsigned int o = 0; o < MAX_ORDER; o++)
		assert_int_equal(z->free_area[o].nr_free, before[o]);
	assert_int_equal(frames_leaked(&w->m->frames), used);
}

static void reclaim_on_the_node(void **state)
{
	static const uint8_t far[MAX_NODES][MAX_NODES] = {{10, 40}, {40, 10}};
	struct world *w = world_new(2, NULL);
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	sched_setaffinity(0, sizeof(set), &set); /* node 0 */
	fill(w);
	ask(w, GFP_NOWAIT | __GFP_NOWARN, 0, false);
	assert_int_equal(noted(w, 'n'), 0); /* mode 0: not at all */
	w->m->frames.node_reclaim_mode = 1;
	w->node_result = NODE_RECLAIM_FULL;
	ask(w, GFP_NOWAIT | __GFP_NOWARN, 0, false);
	assert_true(noted(w, 'n') >= 2);
	w->node_result = NODE_RECLAIM_SUCCESS;
	ask(w, GFP_NOWAIT | __GFP_NOWARN, 0, true);
	teardown((void **)&w);

	w = world_new(2, far);
	fill(w);
	w->m->frames.node_reclaim_mode = 1;
	const struct alloc_task only_far = {.mems_allowed = 2};
	assert_null(page_alloc_task(&w->m->frames, &only_far, GFP_NOWAIT | __GFP_NOWARN, 0));
	assert_int_equal(noted(w, 'n'), 0);
	ask(w, GFP_NOWAIT | __GFP_NOWARN, 0, false);
	assert_true(noted(w, 'n') > 0);
	teardown((void **)&w);
	(void)state;
}

static void dirty_node_is_passed(void **state)
{
	struct world *w = world_new(2, NULL);
	struct page *page;

	(void)state;
	page = page_alloc(&w->m->frames, GFP_KERNEL | __GFP_WRITE, 0);
	unsigned int first = page_zone(&w->m->frames, page)->node;
	page_free(&w->m->frames, page);
	w->dirty[first] = true;
	page = page_alloc(&w->m->frames, GFP_KERNEL | __GFP_WRITE, 0);
	assert_int_not_equal(page_zone(&w->m->frames, page)->node, first);
	page_free(&w->m->frames, page);
	page = page_alloc(&w->m->frames, GFP_KERNEL, 0);
	assert_int_equal(page_zone(&w->m->frames, page)->node, first);
	page_free(&w->m->frames, page);
	/* All dirty: better a dirty node than none. */
	w->dirty[0] = w->dirty[1] = true;
	ask(w, GFP_KERNEL | __GFP_WRITE, 0, true);
	teardown((void **)&w);
}

#define T(name, fn)                             \
	{                                       \
		name, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("slowpath: below the low mark kswapd is woken, and no more [C3]", low_wakes_kswapd),
		T("slowpath: below the min mark the request reclaims itself [C3 Y1]",
		  min_means_direct_reclaim),
		T("slowpath: a request that may not wait does not [D35]", nowait_does_not_wait),
		T("slowpath: 16 rounds without progress, then the OOM hook [Y1 D36]", sixteen_rounds),
		T("slowpath: progress in time spares the OOM hook [D36]", progress_in_the_end),
		T("slowpath: after the OOM hook helped, once more [Y1]", oom_then_retry),
		T("slowpath: a failure is said, with order and mode [Y1 R14]", failure_is_said),
		T("slowpath: large blocks are not worth everything [D35]", costly_gives_up_early),
		T("slowpath: NORETRY and RETRY_MAYFAIL [Y1]", noretry_and_mayfail),
		T("slowpath: NOFAIL waits until it succeeds, and large ones are frowned upon once [D20]",
		  nofail_waits),
		T("slowpath: what makes no sense is said once [C13 D2 D35 R14]", warnings_once),
		T("slowpath: exhaustion at any order leaves the lists as they were",
		  exhaustion_changes_nothing),
		{"slowpath: reclaim on the node comes before a node that is far [C5]", reclaim_on_the_node,
		 NULL, NULL, NULL},
		{"slowpath: pages to be written are spread over nodes [C6 D14]", dirty_node_is_passed, NULL,
		 NULL, NULL},
	};

	return cmocka_run_group_tests_name("slowpath", tests, NULL, NULL);
}
