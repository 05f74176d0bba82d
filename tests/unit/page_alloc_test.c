/* SPDX-License-Identifier: MIT */
/* The buddy allocator: blocks, splits and merges against the checklist's numbers, and a random walk against a bitmap. */
#include "../harness.h"
#include "../sim/sim_cpu.h"

#define ZONE_PAGES 1024u /* one block of the largest order */

static int setup(void **state)
{
	struct sim_config config = {.normal_pages = ZONE_PAGES,
				    .table_pages = ZONE_PAGES,
				    .object_pages = 512,
				    .no_pcp = true};

	*state = sim_frames_new(&config);
	return *state ? 0 : -1;
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

static void assert_sound(struct frames *f)
{
	for (enum zone_type z = 0; z < NR_ZONES; z++)
		assert_int_equal(zone_check(f, z, complain), 0);
}

/* Takes every frame of the zone as single pages, stored by their place in the zone. */
static void take_all(struct frames *f, struct page *at[ZONE_PAGES])
{
	struct page *page;
	unsigned int n = 0;

	while ((page = page_alloc(f, GFP_USER, 0))) {
		at[page_to_pfn(f, page) - NORMAL_START_PFN] = page;
		n++;
	}
	assert_int_equal(n, ZONE_PAGES);
}

static void free_rest(struct frames *f, struct page *at[ZONE_PAGES])
{
	for (unsigned int i = 0; i < ZONE_PAGES; i++) {
		if (at[i])
			page_free(f, at[i]);
	}
}

static void free_at(struct frames *f, struct page *at[ZONE_PAGES], unsigned int first, unsigned int nr)
{
	for (unsigned int i = first; i < first + nr; i++) {
		page_free(f, at[i]);
		at[i] = NULL;
	}
}

static uint64_t nr_free(struct frames *f, unsigned int order)
{
	return normal(f)->free_area[order].nr_free;
}

static void block_sizes(void **state)
{
	static const struct {
		unsigned int order, pages, kib;
	} row[] = {{0, 1, 4}, {1, 2, 8}, {2, 4, 16}, {3, 8, 32}, {4, 16, 64}, {5, 32, 128}};
	struct frames *f = frames_of(state);
	struct page *warm = page_alloc(f, GFP_USER, 0);

	for (unsigned int i = 0; i < ARRAY_SIZE(row); i++) {
		uint64_t before = normal(f)->nr_free_pages;
		struct page *block = page_alloc(f, GFP_USER, row[i].order);

		assert_non_null(block);
		assert_int_equal(before - normal(f)->nr_free_pages, row[i].pages);
		assert_int_equal(row[i].pages * PAGE_SIZE, row[i].kib * 1024);
		for (unsigned int p = 0; p < row[i].pages; p++)
			assert_int_equal(block[p].refs, 1);
		page_free_block(f, block, row[i].order);
		assert_int_equal(normal(f)->nr_free_pages, before);
	}
	page_free(f, warm);
	assert_sound(f);
}

static void largest_order(void **state)
{
	struct frames *f = frames_of(state);
	struct page *block = page_alloc(f, GFP_USER, MAX_ORDER - 1);

	assert_int_equal(MAX_ORDER, 11);
	assert_non_null(block);
	assert_null(page_alloc(f, GFP_USER, MAX_ORDER));
	assert_null(page_alloc(f, GFP_USER, MAX_ORDER - 1));
	assert_int_equal((4u << 20) >> PAGE_SHIFT, 1u << (MAX_ORDER - 1));
	page_free_block(f, block, MAX_ORDER - 1);
	assert_sound(f);
}

static void lists_add_up(void **state)
{
	struct frames *f = frames_of(state);
	struct page *at[ZONE_PAGES] = {0};
	uint64_t listed = 0, tagged = 0;

	take_all(f, at);
	for (unsigned int i = 0; i < ZONE_PAGES; i += 3)
		free_at(f, at, i, 1);
	for (unsigned int o = 0; o < MAX_ORDER; o++)
		listed += nr_free(f, o) << o;
	for (unsigned int i = 0; i < ZONE_PAGES; i++) {
		struct page *page = pfn_to_page(f, NORMAL_START_PFN + i);

		if (page->flags & PG_BUDDY)
			tagged += 1ull << page->order;
	}
	assert_int_equal(listed, (ZONE_PAGES + 2) / 3);
	assert_int_equal(listed, normal(f)->nr_free_pages);
	assert_int_equal(tagged, listed);
	free_rest(f, at);
}

static void blocks_are_aligned(void **state)
{
	struct frames *f = frames_of(state);

	for (unsigned int order = 0; order < MAX_ORDER; order++) {
		struct page *block[ZONE_PAGES + 1];
		unsigned int n = 0;

		while ((block[n] = page_alloc(f, GFP_USER, order))) {
			assert_int_equal(page_to_pfn(f, block[n]) & ((1ull << order) - 1), 0);
			n++;
		}
		assert_int_equal(n, ZONE_PAGES >> order);
		while (n-- > 0)
			page_free_block(f, block[n], order);
		assert_sound(f);
	}
}

static void head_carries_order(void **state)
{
	struct frames *f = frames_of(state);
	struct page *at[ZONE_PAGES] = {0};

	take_all(f, at);
	free_at(f, at, 8, 4);
	assert_true(pfn_to_page(f, NORMAL_START_PFN + 8)->flags & PG_BUDDY);
	assert_int_equal(pfn_to_page(f, NORMAL_START_PFN + 8)->order, 2);
	for (unsigned int i = 9; i < 12; i++)
		assert_false(pfn_to_page(f, NORMAL_START_PFN + i)->flags & PG_BUDDY);
	free_rest(f, at);
}

static void split_of_order_5(void **state)
{
	struct frames *f = frames_of(state);
	struct page *at[ZONE_PAGES] = {0}, *block;

	take_all(f, at);
	free_at(f, at, 64, 32);
	assert_int_equal(nr_free(f, 5), 1);
	block = page_alloc(f, GFP_USER, 3);
	assert_non_null(block);
	assert_int_equal(page_to_pfn(f, block) & 7, 0);
	assert_int_equal(page_to_gpa(f, block) % 0x8000, 0);
	for (unsigned int o = 0; o < MAX_ORDER; o++)
		assert_int_equal(nr_free(f, o), o == 4 || o == 3);
	assert_int_equal(normal(f)->nr_free_pages, 24);
	page_free_block(f, block, 3);
	assert_int_equal(nr_free(f, 5), 1);
	assert_int_equal(normal(f)->nr_free_pages, 32);
	assert_sound(f);
	for (unsigned int i = 64; i < 96; i++)
		assert_null(at[i]);
	free_rest(f, at);
}

static void freeing_all_merges_all(void **state)
{
	struct frames *f = frames_of(state);
	struct page *at[ZONE_PAGES] = {0};
	uint64_t rng = random_seed(7);

	take_all(f, at);
	assert_int_equal(normal(f)->nr_free_pages, 0);
	for (unsigned int left = ZONE_PAGES; left;) {
		unsigned int i = (unsigned int)random_below(&rng, ZONE_PAGES);

		if (!at[i])
			continue;
		free_at(f, at, i, 1);
		left--;
	}
	assert_int_equal(nr_free(f, MAX_ORDER - 1), 1);
	assert_int_equal(normal(f)->nr_free_pages, ZONE_PAGES);
	assert_sound(f);
}

static void buddies_merge(void **state)
{
	struct frames *f = frames_of(state);
	struct page *at[ZONE_PAGES] = {0};

	take_all(f, at);
	free_at(f, at, 0x8, 4);
	assert_int_equal(nr_free(f, 2), 1);
	free_at(f, at, 0xc, 4);
	assert_int_equal(nr_free(f, 2), 0);
	assert_int_equal(nr_free(f, 3), 1);
	assert_int_equal(pfn_to_page(f, NORMAL_START_PFN + 8)->order, 3);
	assert_int_equal((0x8ull ^ (1ull << 2)) << PAGE_SHIFT, 0xc000);
	assert_sound(f);
	free_rest(f, at);
}

static void neighbours_do_not_merge(void **state)
{
	struct frames *f = frames_of(state);
	struct page *at[ZONE_PAGES] = {0};

	take_all(f, at);
	/* 0xC000 and 0x10000: equal and adjacent, but not buddies. */
	free_at(f, at, 0xc, 4);
	free_at(f, at, 0x10, 4);
	assert_int_equal(nr_free(f, 2), 2);
	assert_int_equal(nr_free(f, 3), 0);
	/* Four frames from 0x29000 on: not aligned, so they are blocks of 1, 2 and 1. */
	free_at(f, at, 0x29, 4);
	assert_int_equal(nr_free(f, 0), 2);
	assert_int_equal(nr_free(f, 1), 1);
	assert_int_equal(nr_free(f, 2), 2);
	/* Buddies of different sizes stay apart: 0x40000 of order 2, 0x44000 of order 1. */
	free_at(f, at, 0x40, 4);
	free_at(f, at, 0x44, 2);
	assert_int_equal(nr_free(f, 2), 3);
	assert_int_equal(nr_free(f, 1), 2);
	assert_int_equal(nr_free(f, 3), 0);
	assert_sound(f);
	free_rest(f, at);
}

static void frame_table_size(void **state)
{
	struct sim_config config = {.normal_pages = 16384};
	struct sim_machine *m = sim_frames_new(&config);
	struct frames *f = &m->frames;
	struct page *first = NULL, *page;
	uint64_t n = 0;

	(void)state;
	while ((page = page_alloc(f, GFP_USER, 0))) {
		assert_true(pfn_to_page(f, page_to_pfn(f, page)) == page);
		assert_ptr_equal(page_address(f, page), f->direct_map + page_to_gpa(f, page));
		list_add(&page->node, first ? &first->node : &page->node);
		if (!first)
			list_init(&page->node);
		first = first ? first : page;
		n++;
	}
	assert_int_equal(n, (64u << 20) / 4096);
	assert_int_equal(f->zone[ZONE_NORMAL].present_pages, 16384);
	assert_int_equal(f->max_pfn, NORMAL_START_PFN + 16384);
	while (!list_empty(&first->node)) {
		page = list_entry(first->node.next, struct page, node);
		list_del(&page->node);
		page_free(f, page);
	}
	page_free(f, first);
	assert_int_equal(frames_leaked(f), 0);
	sim_frames_free(m);
}

static void zeroed_on_request(void **state)
{
	struct frames *f = frames_of(state);
	struct page *page = page_alloc(f, GFP_USER, 2);

	memset(page_address(f, page), 0xff, 4 * PAGE_SIZE);
	page_free_block(f, page, 2);
	for (unsigned int i = 0; i < 3; i++) {
		struct page *again = page_alloc(f, GFP_USER | __GFP_ZERO, 2);
		const char *bytes = page_address(f, again);

		for (unsigned int b = 0; b < 4 * PAGE_SIZE; b++)
			assert_int_equal(bytes[b], 0);
		memset(page_address(f, again), 0xff, 4 * PAGE_SIZE);
		page_free_block(f, again, 2);
	}
}

static void zones_do_not_mix(void **state)
{
	struct frames *f = frames_of(state);
	struct page *t = page_alloc(f, GFP_TABLE, 0), *o = page_alloc(f, GFP_OBJECT, 0),
		    *n = page_alloc(f, GFP_USER, 0);

	assert_true(page_to_pfn(f, t) < TABLE_END_PFN);
	assert_true(page_to_pfn(f, o) >= TABLE_END_PFN && page_to_pfn(f, o) < NORMAL_START_PFN);
	assert_true(page_to_pfn(f, n) >= NORMAL_START_PFN);
	assert_int_equal(frames_leaked(f), 2);
	page_free(f, t);
	page_free(f, o);
	page_free(f, n);
}

static void induced_failure(void **state)
{
	struct frames *f = frames_of(state);
	struct page *a, *b;

	f->fail_in = 2;
	a = page_alloc(f, GFP_USER, 0);
	assert_non_null(a);
	assert_null(page_alloc(f, GFP_USER, 0));
	assert_int_equal(f->nr_fail, 1);
	b = page_alloc(f, GFP_USER, 0);
	assert_non_null(b);
	page_free(f, a);
	page_free(f, b);
}

static void last_put_frees(void **state)
{
	struct frames *f = frames_of(state);
	struct page *page = page_alloc(f, GFP_USER, 0);
	uint64_t before = normal(f)->nr_free_pages;

	page_get(page);
	page_put(f, page);
	assert_int_equal(normal(f)->nr_free_pages, before);
	page_put(f, page);
	assert_int_equal(normal(f)->nr_free_pages, before + 1);
	assert_sound(f);
}

static void check_sees_damage(void **state)
{
	struct frames *f = frames_of(state);
	struct page *page = page_alloc(f, GFP_USER, 0);
	struct page *head;

	normal(f)->free_area[3].nr_free++;
	assert_true(zone_check(f, ZONE_NORMAL, NULL) > 0);
	normal(f)->free_area[3].nr_free--;
	assert_int_equal(zone_check(f, ZONE_NORMAL, complain), 0);

	head = list_entry(normal(f)->free_area[0].free_list[MIGRATE_UNMOVABLE].next, struct page, node);
	head->refs = 1;
	assert_true(zone_check(f, ZONE_NORMAL, NULL) > 0);
	head->refs = 0;
	head->order = 4;
	assert_true(zone_check(f, ZONE_NORMAL, NULL) > 0);
	head->order = 0;
	page_free(f, page);
	assert_sound(f);
}

/* A zone that ends in the middle of a block of the largest order: the last block has no buddy to look at. */
static void zone_of_odd_size(void **state)
{
	struct sim_config config = {.normal_pages = 512};
	struct sim_machine *m = sim_frames_new(&config);
	struct page *block = page_alloc(&m->frames, GFP_USER, 9);

	(void)state;
	assert_non_null(block);
	assert_null(page_alloc(&m->frames, GFP_USER, 0));
	page_free_block(&m->frames, block, 9);
	assert_int_equal(m->frames.zone[ZONE_NORMAL].free_area[9].nr_free, 1);
	assert_int_equal(zone_check(&m->frames, ZONE_NORMAL, complain), 0);
	sim_frames_free(m);
}

struct block {
	struct page *page;
	unsigned int order;
};

/* Random blocks come and go; a bitmap of owners must never see one frame twice. */
static void random_walk(void **state)
{
	struct frames *f = frames_of(state);
	struct block held[256];
	bool owned[ZONE_PAGES] = {false};
	unsigned int n = 0;
	uint64_t rng = random_seed(11), used = 0;

	for (unsigned int step = 0; step < 20000; step++) {
		bool take = n < ARRAY_SIZE(held) && (!n || random_below(&rng, 2));
		struct block b = {NULL, (unsigned int)random_below(&rng, 6)};

		if (take) {
			b.page = page_alloc(f, GFP_USER, b.order);
			if (!b.page)
				continue;
			held[n++] = b;
		} else {
			unsigned int i = (unsigned int)random_below(&rng, n);

			b = held[i];
			held[i] = held[--n];
			page_free_block(f, b.page, b.order);
		}
		for (uint64_t i = 0; i < 1u << b.order; i++) {
			bool *o = &owned[page_to_pfn(f, b.page) - NORMAL_START_PFN + i];

			assert_int_equal(*o, !take);
			*o = take;
		}
		used += (take ? 1 : -1ull) << b.order;
		if (step % 512 == 0) {
			assert_sound(f);
			assert_int_equal(frames_leaked(f), used);
		}
	}
	while (n-- > 0)
		page_free_block(f, held[n].page, held[n].order);
	assert_sound(f);
}

#define T(name, fn)                             \
	{                                       \
		name, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("page_alloc: a block of order n is 2^n frames [D1]", block_sizes),
		T("page_alloc: order 10 is the largest, order 11 is refused [D2]", largest_order),
		T("page_alloc: the lists, the tags and the count of free frames agree [D3 O10]",
		  lists_add_up),
		T("page_alloc: every block is aligned to its size [D4 D7]", blocks_are_aligned),
		T("page_alloc: the first frame of a free block carries its order [D5]", head_carries_order),
		T("page_alloc: 8 of 32 pages leave one block of order 4 and one of order 3 [D6 D7]",
		  split_of_order_5),
		T("page_alloc: freeing everything in any order restores the largest block [D8]",
		  freeing_all_merges_all),
		T("page_alloc: 0x8000 and 0xC000 of order 2 are buddies and merge [D9 D10]", buddies_merge),
		T("page_alloc: what is not aligned, equal or a buddy does not merge [D10 D11]",
		  neighbours_do_not_merge),
		T("page_alloc: 64 MiB have 16384 entries in the frame table [B1]", frame_table_size),
		T("page_alloc: a recycled block is zero when asked for [D17]", zeroed_on_request),
		T("page_alloc: each zone gives from its own part of physical space", zones_do_not_mix),
		T("page_alloc: an induced failure fails the allocation it was set for [C14]",
		  induced_failure),
		T("page_alloc: the last put frees the frame", last_put_frees),
		T("page_alloc: a zone that ends within a block of the largest order", zone_of_odd_size),
		T("page_alloc: zone_check sees damage", check_sees_damage),
		T("page_alloc: no frame is given out twice in 20000 random steps", random_walk),
	};

	return cmocka_run_group_tests_name("page_alloc", tests, NULL, NULL);
}
