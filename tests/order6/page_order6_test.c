/* SPDX-License-Identifier: MIT */
/* The same allocator built for six orders, 0 to 5: blocks of 4 KiB to 128 KiB, as early Linux had them. */
#include "../harness.h"
#include "../sim/sim_cpu.h"

#define ZONE_PAGES 512u

static struct sim_machine *machine(void)
{
	struct sim_config config = {.normal_pages = ZONE_PAGES, .no_pcp = true};
	struct sim_machine *m = sim_frames_new(&config);

	assert_non_null(m);
	return m;
}

static void table(void **state)
{
	struct sim_machine *m = machine();
	struct frames *f = &m->frames;

	(void)state;
	assert_int_equal(MAX_ORDER, 6);
	assert_int_equal(PAGEBLOCK_ORDER, 5);
	for (unsigned int order = 0; order < MAX_ORDER; order++) {
		struct page *block[ZONE_PAGES];
		unsigned int n = 0;
		while (n < ZONE_PAGES && (block[n] = page_alloc(f, GFP_KERNEL | __GFP_NOWARN, order))) {
			assert_int_equal(page_to_gpa(f, block[n]) % ((4096ull << order)), 0);
			n++;
		}
		assert_int_equal(n, ZONE_PAGES >> order);
		while (n-- > 0)
			page_free_block(f, block[n], order);
		assert_int_equal(zone_check(f, ZONE_NORMAL, complain), 0);
	}
	assert_null(page_alloc(f, GFP_KERNEL | __GFP_NOWARN, 6));
	assert_int_equal(f->zone[ZONE_NORMAL].free_area[5].nr_free, ZONE_PAGES / 32);
	sim_frames_free(m);
}

/* A fresh block of 32 frames, 8 wanted: one of 16 and one of 8 are left. */
static void split(void **state)
{
	struct sim_machine *m = machine();
	struct zone *z = &m->frames.zone[ZONE_NORMAL];
	struct page *block = page_alloc(&m->frames, GFP_KERNEL, 3);

	(void)state;
	for (unsigned int o = 0; o < MAX_ORDER; o++)
		assert_int_equal(z->free_area[o].nr_free, o == 3 || o == 4);
	page_free_block(&m->frames, block, 3);
	assert_int_equal(z->free_area[5].nr_free, 1);
	sim_frames_free(m);
}

static void random_walk(void **state)
{
	struct sim_machine *m = machine();
	struct page *held[64] = {NULL};
	unsigned int order[64];
	uint64_t rng = random_seed(3);

	(void)state;
	for (unsigned int step = 0; step < 20000; step++) {
		unsigned int i = (unsigned int)random_below(&rng, 64);
		if (held[i])
			page_free_block(&m->frames, held[i], order[i]);
		order[i] = (unsigned int)random_below(&rng, MAX_ORDER);
		held[i] = page_alloc(&m->frames,
				     random_below(&rng, 2) ? GFP_NOWAIT | __GFP_NOWARN : GFP_TRANSHUGE_LIGHT,
				     order[i]);
		if (step % 500 == 0)
			assert_int_equal(zone_check(&m->frames, ZONE_NORMAL, complain), 0);
	}
	for (unsigned int i = 0; i < 64; i++)
		if (held[i])
			page_free_block(&m->frames, held[i], order[i]);
	assert_int_equal(frames_leaked(&m->frames), 0);
	sim_frames_free(m);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{"page_order6: blocks of orders 0 to 5, and none of 6 [D1 D2 D4 Z2]", table, NULL, NULL,
		 NULL},
		{"page_order6: 8 of 32 frames leave 16 and 8 [D6 D7 D8]", split, NULL, NULL, NULL},
		{"page_order6: a random walk keeps the lists sound", random_walk, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests_name("page_order6", tests, NULL, NULL);
}
