/* SPDX-License-Identifier: MIT */
/* Free memory that goes back to the machine: which, when, and what is found there afterwards. */
#include <unistd.h>

#include "../../src/mm/page_alloc.h"
#include "../../src/mm/page_reporting.h"
#include "../../src/mm/vmstat.h"
#include "../harness.h"
#include "../sim/sim_cpu.h"

#define NR_PAGES  (8 * REPORT_KEEP_PAGES)
#define NR_BLOCKS (NR_PAGES / PAGEBLOCK_PAGES)
/* What is freed while the thread looks goes in two parts, and a block of the largest order is kept or goes as a whole. */
#define AT_LEAST  (NR_PAGES - REPORT_KEEP_PAGES - (1u << (MAX_ORDER - 1)))
#define BYTE	  0x5a

static struct sim_machine *machine(void)
{
	const struct sim_config config = {.normal_pages = NR_PAGES, .no_pcp = true};
	struct sim_machine *m = sim_frames_new(&config);

	assert_non_null(m);
	return m;
}

static void free_machine(struct sim_machine *m)
{
	assert_int_equal(frames_leaked(&m->frames), 0);
	assert_int_equal(zone_check(&m->frames, ZONE_NORMAL, complain), 0);
	sim_frames_free(m);
}

static struct zone *zone_of(struct sim_machine *m)
{
	return node_zone(&m->frames, 0, ZONE_NORMAL);
}

static unsigned int take_and_fill(struct frames *f, struct page *block[NR_BLOCKS], unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		block[i] = page_alloc(f, GFP_HIGHUSER_MOVABLE, PAGEBLOCK_ORDER);
		if (!block[i])
			return i;
		memset(page_address(f, block[i]), BYTE, PAGEBLOCK_PAGES * PAGE_SIZE);
	}
	return nr;
}

static void free_all(struct frames *f, struct page *block[NR_BLOCKS], unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		page_free_block(f, block[i], PAGEBLOCK_ORDER);
}

static bool all_bytes_are(const void *memory, size_t bytes, uint8_t byte)
{
	const uint8_t *at = memory;

	return at[0] == byte && !memcmp(at, at + 1, bytes - 1);
}

/* Blocks of zeroes among those that are taken now; nobody has cleared any of them for us. */
static unsigned int take_zeroed(struct frames *f, struct page *block[NR_BLOCKS])
{
	unsigned int zeroes = 0;

	for (unsigned int i = 0; i < NR_BLOCKS; i++) {
		block[i] = page_alloc(f, GFP_HIGHUSER_MOVABLE, PAGEBLOCK_ORDER);
		assert_non_null(block[i]);
		zeroes += all_bytes_are(page_address(f, block[i]), PAGEBLOCK_PAGES * PAGE_SIZE, 0);
	}
	return zeroes;
}

static void what_is_free_goes_but_for_what_is_kept(void **state)
{
	struct sim_machine *m = machine();
	struct frames *f = &m->frames;
	struct page *block[NR_BLOCKS];

	(void)state;
	assert_int_equal(take_and_fill(f, block, NR_BLOCKS), NR_BLOCKS);
	assert_int_equal(page_unreported_pages(zone_of(m)), 0);
	free_all(f, block, NR_BLOCKS);
	assert_int_equal(page_unreported_pages(zone_of(m)), NR_PAGES);
	assert_int_equal(page_report_zone(f, zone_of(m), UINT64_MAX), NR_PAGES - REPORT_KEEP_PAGES);
	assert_int_equal(page_unreported_pages(zone_of(m)), REPORT_KEEP_PAGES);
	assert_int_equal(page_report_zone(f, zone_of(m), UINT64_MAX), 0);
	assert_int_equal(vmstat_event(f, PAGE_REPORTED), NR_PAGES - REPORT_KEEP_PAGES);
	assert_in_range(vmstat_event(f, PAGE_REPORT_CALLS), 1, NR_BLOCKS / 4); /* neighbours go together */
	assert_int_equal(zone_check(f, ZONE_NORMAL, complain), 0);
	/* Those that are kept are taken first. */
	assert_int_equal(take_and_fill(f, block, REPORT_KEEP_PAGES / PAGEBLOCK_PAGES),
			 REPORT_KEEP_PAGES / PAGEBLOCK_PAGES);
	assert_int_equal(page_unreported_pages(zone_of(m)), 0);
	assert_int_equal(zone_of(m)->nr_reported_pages, NR_PAGES - REPORT_KEEP_PAGES);
	free_all(f, block, REPORT_KEEP_PAGES / PAGEBLOCK_PAGES);
	assert_int_equal(take_zeroed(f, block), NR_BLOCKS - REPORT_KEEP_PAGES / PAGEBLOCK_PAGES);
	assert_int_equal(zone_of(m)->nr_reported_pages, 0);
	free_all(f, block, NR_BLOCKS);
	free_machine(m);
}

/* Whoever wants zeroes has them without clearing. */
static void what_went_is_known_to_be_zero(void **state)
{
	struct sim_machine *m = machine();
	struct frames *f = &m->frames;
	struct page *block[NR_BLOCKS];
	struct page *page[2 * REPORT_KEEP_PAGES];

	(void)state;
	assert_int_equal(take_and_fill(f, block, NR_BLOCKS), NR_BLOCKS);
	free_all(f, block, NR_BLOCKS);
	page_report_zone(f, zone_of(m), UINT64_MAX);
	for (unsigned int i = 0; i < ARRAY_SIZE(page); i++) {
		page[i] = page_alloc(f, GFP_HIGHUSER_MOVABLE | __GFP_ZERO, 0);
		assert_true(all_bytes_are(page_address(f, page[i]), PAGE_SIZE, 0));
	}
	assert_int_equal(vmstat_event(f, ZEROED_ON_ALLOC), REPORT_KEEP_PAGES);
	assert_int_equal(vmstat_event(f, FRESH_HIT), REPORT_KEEP_PAGES);
	for (unsigned int i = 0; i < ARRAY_SIZE(page); i++)
		page_put(f, page[i]);
	free_machine(m);
}

static void refused_is_not_lost(void **state)
{
	struct sim_machine *m = machine();
	struct frames *f = &m->frames;
	struct page *block[NR_BLOCKS];

	(void)state;
	assert_int_equal(take_and_fill(f, block, NR_BLOCKS), NR_BLOCKS);
	free_all(f, block, NR_BLOCKS);
	m->refuses_discard = true;
	assert_int_equal(page_report_zone(f, zone_of(m), UINT64_MAX), 0);
	assert_int_equal(page_unreported_pages(zone_of(m)), NR_PAGES);
	assert_int_equal(zone_check(f, ZONE_NORMAL, complain), 0);
	assert_int_equal(take_zeroed(f, block), 0);
	free_all(f, block, NR_BLOCKS);
	free_machine(m);
}

struct owned {
	struct page *block;
	unsigned int order;
};

static void give_up(struct frames *f, struct owned *o, uint8_t byte)
{
	if (!o->block)
		return;
	assert_true(all_bytes_are(page_address(f, o->block), PAGE_SIZE << o->order, byte));
	page_free_block(f, o->block, o->order);
	o->block = NULL;
}

/* Blocks of all orders come and go; what somebody has is never touched, and the counts stay right. */
static void reported_blocks_split_and_merge(void **state)
{
	struct sim_machine *m = machine();
	struct frames *f = &m->frames;
	struct owned has[64] = {{0}};
	struct page *block[NR_BLOCKS];
	uint64_t rng = random_seed(7);

	(void)state;
	assert_int_equal(take_and_fill(f, block, NR_BLOCKS), NR_BLOCKS);
	free_all(f, block, NR_BLOCKS);
	for (unsigned int step = 0; step < 10000; step++) {
		unsigned int i = (unsigned int)random_below(&rng, ARRAY_SIZE(has));
		if (step % 1000 == 999)
			for (unsigned int j = 0; j < ARRAY_SIZE(has); j++)
				give_up(f, &has[j], (uint8_t)j);
		if (has[i].block) {
			give_up(f, &has[i], (uint8_t)i);
		} else {
			has[i].order =
				(unsigned int)random_below(&rng, random_below(&rng, 9) ? 6 : MAX_ORDER);
			has[i].block = page_alloc(f, GFP_HIGHUSER_MOVABLE | __GFP_NOWARN, has[i].order);
			if (has[i].block)
				memset(page_address(f, has[i].block), (int)i, PAGE_SIZE << has[i].order);
		}
		if (step % 250 == 0) {
			page_report_zone(f, zone_of(m), UINT64_MAX);
			assert_int_equal(zone_check(f, ZONE_NORMAL, complain), 0);
		}
	}
	assert_true(vmstat_event(f, PAGE_REPORTED) > NR_PAGES / 2);
	for (unsigned int i = 0; i < ARRAY_SIZE(has); i++)
		give_up(f, &has[i], (uint8_t)i);
	free_machine(m);
}

static void wait_for_reports(struct frames *f, uint64_t nr)
{
	for (unsigned int ms = 0; vmstat_event(f, PAGE_REPORTED) < nr && ms < 20000; ms++)
		usleep(1000);
	assert_true(vmstat_event(f, PAGE_REPORTED) >= nr);
}

/* As often as memory is freed, and others take some meanwhile. */
static void the_thread_gives_back_again_and_again(void **state)
{
	struct sim_machine *m = machine();
	struct frames *f = &m->frames;
	struct page *block[NR_BLOCKS];
	struct page_reporting *r;

	(void)state;
	assert_int_equal(page_reporting_start(f, 16, &r), 0);
	for (unsigned int round = 1; round <= 3; round++) {
		assert_int_equal(take_and_fill(f, block, NR_BLOCKS), NR_BLOCKS);
		page_reporting_notify(f); /* nothing is free */
		free_all(f, block, NR_BLOCKS);
		page_reporting_notify(f);
		wait_for_reports(f, round * AT_LEAST);
	}
	page_reporting_notify(f);
	page_reporting_stop(r);
	assert_int_equal(zone_of(m)->nr_reporting_pages, 0);
	free_machine(m);
}

/* Requests for the last frames wait for those that are on their way, in the place of failing. */
static void nobody_misses_what_is_on_its_way(void **state)
{
	struct sim_machine *m = machine();
	struct frames *f = &m->frames;
	struct page *block[NR_BLOCKS];
	struct page_reporting *r;

	(void)state;
	assert_int_equal(page_reporting_start(f, 1, &r), 0);
	for (unsigned int round = 0; round < 200; round++) {
		for (unsigned int i = 0; i < NR_BLOCKS; i++) {
			block[i] = page_alloc(f, GFP_HIGHUSER_MOVABLE, PAGEBLOCK_ORDER);
			assert_non_null(block[i]);
		}
		free_all(f, block, NR_BLOCKS);
		page_reporting_notify(f);
		usleep(round % 5 * 500);
	}
	page_reporting_stop(r);
	free_machine(m);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{"page_reporting: what is free goes, coldest first, but for what is kept",
		 what_is_free_goes_but_for_what_is_kept, NULL, NULL, NULL},
		{"page_reporting: what went is known to be zero", what_went_is_known_to_be_zero, NULL, NULL,
		 NULL},
		{"page_reporting: what the machine does not take is as it was", refused_is_not_lost, NULL,
		 NULL, NULL},
		{"page_reporting: reported blocks split and merge", reported_blocks_split_and_merge, NULL,
		 NULL, NULL},
		{"page_reporting: the thread gives back what was freed, each time",
		 the_thread_gives_back_again_and_again, NULL, NULL, NULL},
		{"page_reporting: nobody misses the blocks that are on their way",
		 nobody_misses_what_is_on_its_way, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests_name("page_reporting", tests, NULL, NULL);
}
