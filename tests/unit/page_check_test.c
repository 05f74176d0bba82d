/* SPDX-License-Identifier: MIT */
/* Frames that are not what they must be: reported, and never handed out again. And frames zeroed ahead of time. */
#include <unistd.h>

#include "../../src/mm/page_alloc.h"
#include "../../src/mm/pcp.h"
#include "../../src/mm/zeropool.h"
#include "../harness.h"
#include "../sim/sim_cpu.h"

#define ZONE_PAGES 2048u

static char report[512];
static unsigned int nr_reports;

static void on_report(void *ctx, const char *line)
{
	(void)ctx;
	nr_reports++;
	snprintf(report, sizeof(report), "%s", line);
}

static struct sim_machine *machine(bool no_pcp)
{
	struct sim_config config = {.normal_pages = ZONE_PAGES, .no_pcp = no_pcp};
	struct sim_machine *m = sim_frames_new(&config);

	assert_non_null(m);
	m->frames.report = on_report;
	nr_reports = 0;
	return m;
}

static void machine_free(struct sim_machine *m)
{
	assert_int_equal(zone_check(&m->frames, ZONE_NORMAL, complain), 0);
	assert_int_equal(frames_leaked(&m->frames), 0);
	sim_frames_free(m);
}

/* Takes all there is; whether the frame was among it. */
static bool comes_again(struct frames *f, const struct page *bad)
{
	static struct page *page[ZONE_PAGES];
	unsigned int n = page_alloc_bulk(f, GFP_HIGHUSER_MOVABLE | __GFP_NOWARN, ZONE_PAGES, page);
	bool seen = false;

	for (unsigned int i = 0; i < n; i++)
		seen = seen || page[i] == bad;
	page_free_bulk(f, n, page);
	return seen;
}

static void bad_on_free(void **state)
{
	for (int no_pcp = 0; no_pcp < 2; no_pcp++) {
		struct sim_machine *m = machine(no_pcp);
		struct page *page = page_alloc(&m->frames, GFP_HIGHUSER_MOVABLE, 0);

		(void)state;
		atomic_store(&page->mapcount, 1);
		page_free(&m->frames, page);
		assert_int_equal(nr_reports, 1);
		assert_non_null(strstr(report, "nonzero mapcount"));
		assert_false(comes_again(&m->frames, page));
		assert_int_equal(m->frames.event[BAD_PAGE], 1);
		assert_int_equal(m->frames.zone[ZONE_NORMAL].nr_bad_pages, 1);
		machine_free(m);
	}
}

static void bad_on_alloc(void **state)
{
	for (int no_pcp = 0; no_pcp < 2; no_pcp++) {
		struct sim_machine *m = machine(no_pcp);
		struct page *page = page_alloc(&m->frames, GFP_HIGHUSER_MOVABLE, 0), *other;

		(void)state;
		page_free(&m->frames, page);
		atomic_store(&page->mapcount, 7);
		other = page_alloc(&m->frames, GFP_HIGHUSER_MOVABLE, 0);
		assert_non_null(other);
		assert_ptr_not_equal(other, page);
		assert_int_equal(nr_reports, 1);
		page_free(&m->frames, other);
		assert_false(comes_again(&m->frames, page));
		machine_free(m);
	}
}

static void freed_twice(void **state)
{
	for (int no_pcp = 0; no_pcp < 2; no_pcp++) {
		struct sim_machine *m = machine(no_pcp);
		struct page *page = page_alloc(&m->frames, GFP_HIGHUSER_MOVABLE, 0);
		struct page *block = page_alloc(&m->frames, GFP_HIGHUSER_MOVABLE, 3);

		(void)state;
		page_free(&m->frames, page);
		page_free(&m->frames, page);
		assert_int_equal(nr_reports, 1);
		assert_non_null(strstr(report, "freed twice"));
		page_free_block(&m->frames, block, 3);
		page_free_block(&m->frames, block, 3);
		page_free(&m->frames, block + 5);
		assert_int_equal(nr_reports, 3);
		assert_int_equal(m->frames.zone[ZONE_NORMAL].nr_bad_pages, 0);
		machine_free(m);
	}
}

static void block_with_a_bad_frame(void **state)
{
	struct sim_machine *m = machine(true);
	struct page *block = page_alloc(&m->frames, GFP_HIGHUSER_MOVABLE, 4);

	(void)state;
	page_get(&block[5]); /* somebody else still holds it */
	page_free_block(&m->frames, block, 4);
	assert_int_equal(nr_reports, 1);
	assert_int_equal(m->frames.zone[ZONE_NORMAL].nr_bad_pages, 1);
	assert_false(comes_again(&m->frames, &block[5]));
	assert_true(comes_again(&m->frames, &block[6]));
	machine_free(m);
}

static void poison(void **state)
{
	struct sim_machine *m = machine(false);
	struct page *page, *other;

	(void)state;
	m->frames.debug = FRAMES_POISON;
	page = page_alloc(&m->frames, GFP_HIGHUSER_MOVABLE, 0);
	page_free(&m->frames, page);
	assert_int_equal(((unsigned char *)page_address(&m->frames, page))[4095], 0xaa);
	other = page_alloc(&m->frames, GFP_HIGHUSER_MOVABLE | __GFP_ZERO, 0);
	assert_ptr_equal(other, page);
	assert_int_equal(((unsigned char *)page_address(&m->frames, page))[4095], 0);
	page_free(&m->frames, page);
	assert_int_equal(nr_reports, 0);
	((char *)page_address(&m->frames, page))[1000] = 1; /* written while it is free */
	other = page_alloc(&m->frames, GFP_HIGHUSER_MOVABLE, 0);
	assert_ptr_not_equal(other, page);
	assert_non_null(strstr(report, "written while it was free"));
	page_free(&m->frames, other);
	machine_free(m);
}

static bool is_zero(const struct frames *f, const struct page *page)
{
	const uint64_t *word = page_address(f, page);

	for (unsigned int i = 0; i < PAGE_SIZE / 8; i++)
		if (word[i])
			return false;
	return true;
}

static void dirty_all(struct frames *f)
{
	static struct page *page[ZONE_PAGES];
	unsigned int n = page_alloc_bulk(f, GFP_HIGHUSER_MOVABLE | __GFP_NOWARN, ZONE_PAGES, page);

	for (unsigned int i = 0; i < n; i++)
		memset(page_address(f, page[i]), 0xee, PAGE_SIZE);
	page_free_bulk(f, n, page);
	pcp_drain_all(f);
}

static void pool_spares_zeroing(void **state)
{
	struct sim_machine *m = machine(false);
	struct frames *f = &m->frames;
	struct page *page, *block;

	(void)state;
	page = page_alloc(f, GFP_HIGHUSER_MOVABLE | __GFP_ZERO, 0);
	assert_int_equal(f->event[FRESH_HIT], 1);
	page_free(f, page);
	dirty_all(f);
	page = page_alloc(f, GFP_HIGHUSER_MOVABLE | __GFP_ZERO, 0);
	assert_int_equal(f->event[ZEROED_ON_ALLOC], 1);
	assert_true(is_zero(f, page));
	page_free(f, page);
	pcp_drain_all(f);
	assert_true(zeropool_fill(f, 700) >= 512);
	assert_int_equal(zone_check(f, ZONE_NORMAL, complain), 0);
	page = page_alloc(f, GFP_HIGHUSER_MOVABLE | __GFP_ZERO, 0);
	assert_true(is_zero(f, page));
	assert_int_equal(f->event[ZEROPOOL_HIT], 1);
	block = page_alloc(f, GFP_HIGHUSER_MOVABLE | __GFP_ZERO, 9);
	assert_int_equal(f->event[ZEROPOOL_HIT], 513);
	for (unsigned int i = 0; i < 512; i++)
		assert_true(is_zero(f, &block[i]));
	page_free(f, page);
	page_free_block(f, block, 9);
	machine_free(m);
}

/* What the pool holds is not lost for those who need it. */
static void pool_is_drained_for_need(void **state)
{
	struct sim_machine *m = machine(false);
	struct frames *f = &m->frames;
	static struct page *page[ZONE_PAGES];

	(void)state;
	dirty_all(f);
	while (zeropool_fill(f, 4096))
		;
	assert_true(zeropool_pages(&f->zone[ZONE_NORMAL]) > 0);
	assert_int_equal(page_alloc_bulk(f, GFP_KERNEL | __GFP_NOWARN, ZONE_PAGES, page), ZONE_PAGES);
	page_free_bulk(f, ZONE_PAGES, page);
	machine_free(m);
}

static void helper_thread(void **state)
{
	struct sim_machine *m = machine(false);
	struct zeropool_thread *thread;

	(void)state;
	dirty_all(&m->frames);
	assert_int_equal(zeropool_start(&m->frames, &thread), 0);
	for (unsigned int i = 0; i < 5000 && !zeropool_pages(&m->frames.zone[ZONE_NORMAL]); i++)
		usleep(1000);
	assert_true(zeropool_pages(&m->frames.zone[ZONE_NORMAL]) > 0);
	zeropool_stop(thread);
	machine_free(m);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{"page_check: a mapped frame that is freed is reported and stays out of use [D37 R14]",
		 bad_on_free, NULL, NULL, NULL},
		{"page_check: a free frame that went bad is never handed out [D37 R14]", bad_on_alloc, NULL,
		 NULL, NULL},
		{"page_check: freeing twice is reported and does no harm [D37]", freed_twice, NULL, NULL,
		 NULL},
		{"page_check: of a block with a bad frame, the others are free [D37]", block_with_a_bad_frame,
		 NULL, NULL, NULL},
		{"page_check: a write to a free frame shows in its pattern [D37 D38]", poison, NULL, NULL,
		 NULL},
		{"zeropool: a fault finds frames zeroed [D17]", pool_spares_zeroing, NULL, NULL, NULL},
		{"zeropool: frames kept ready are free for who needs them", pool_is_drained_for_need, NULL,
		 NULL, NULL},
		{"zeropool: the helper thread fills the pool", helper_thread, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests_name("page_check", tests, NULL, NULL);
}
