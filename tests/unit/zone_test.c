/* SPDX-License-Identifier: MIT */
/* Zones, nodes and masks: who may be served from where, in which order. */
#include "../../src/mm/page_alloc.h"
#include "../../src/mm/watermark.h"
#include "../harness.h"
#include "../sim/sim_cpu.h"

#define NODE_PAGES 4096u

static const uint8_t distances[MAX_NODES][MAX_NODES] = {{10, 40, 20}, {40, 10, 20}, {20, 20, 10}};

static struct sim_machine *machine(unsigned int nodes)
{
	const struct sim_config config = {.normal_pages = (uint64_t)nodes * NODE_PAGES,
					  .nodes = nodes,
					  .dma32_pages = 1024,
					  .movable_pages = 1024,
					  .distance = nodes == 3 ? distances : NULL,
					  .no_pcp = true};
	struct sim_machine *m = sim_frames_new(&config);

	assert_non_null(m);
	return m;
}

static void free_machine(struct sim_machine *m)
{
	assert_int_equal(frames_leaked(&m->frames), 0);
	for (enum zone_type z = 0; z < NR_ZONES; z++)
		assert_int_equal(zone_check(&m->frames, z, complain), 0);
	sim_frames_free(m);
}

static void masks(void **state)
{
	(void)state;
	assert_int_equal(GFP_HIGHUSER_MOVABLE, 0x100cca);
	assert_int_equal(GFP_HIGHUSER_MOVABLE | __GFP_ZERO, 0x100dca);
	assert_int_equal(GFP_HIGHUSER_MOVABLE | __GFP_ZERO, 1052106);
	assert_int_equal(GFP_KERNEL, 0xcc0);
	assert_int_equal(GFP_ATOMIC, 0xa20);
}

static void zone_of_mask(void **state)
{
	(void)state;
	assert_int_equal(gfp_zone(GFP_KERNEL), ZONE_NORMAL);
	assert_int_equal(gfp_zone(GFP_KERNEL | __GFP_DMA32), ZONE_DMA32);
	assert_int_equal(gfp_zone(GFP_HIGHUSER_MOVABLE), ZONE_MOVABLE);
	assert_int_equal(gfp_zone(GFP_KERNEL | __GFP_MOVABLE), ZONE_NORMAL);
	assert_int_equal(gfp_zone(GFP_TABLE), ZONE_TABLE);
	assert_int_equal(gfp_zone(GFP_OBJECT), ZONE_OBJECT);
	assert_int_equal(gfp_migratetype(GFP_KERNEL), MIGRATE_UNMOVABLE);
	assert_int_equal(gfp_migratetype(GFP_HIGHUSER_MOVABLE), MIGRATE_MOVABLE);
	assert_int_equal(gfp_migratetype(GFP_KERNEL | __GFP_RECLAIMABLE), MIGRATE_RECLAIMABLE);
}

/* Takes single frames until there are none; says how many of each zone type came, and checks that types come in runs. */
static unsigned int take(struct frames *f, gfp_t gfp, struct list_head *got, unsigned int per_type[NR_ZONES])
{
	struct page *page;
	unsigned int runs = 0;
	int last = -1;

	while ((page = page_alloc(f, gfp | __GFP_NOWARN, 0))) {
		per_type[page_zone_type(page)]++;
		runs += last != (int)page->zone;
		last = page->zone;
		list_add(&page->node, got);
	}
	return runs;
}

static void give(struct frames *f, struct list_head *got)
{
	while (!list_empty(got)) {
		struct page *page = list_entry(got->next, struct page, node);
		list_del(&page->node);
		page_free(f, page);
	}
}

static void fallback_order(void **state)
{
	struct sim_machine *m = machine(1);
	unsigned int n[NR_ZONES] = {0};
	struct list_head got;

	(void)state;
	list_init(&got);
	assert_int_equal(page_zone_type(page_alloc(&m->frames, GFP_HIGHUSER_MOVABLE, 10)), ZONE_MOVABLE);
	assert_int_equal(take(&m->frames, GFP_HIGHUSER_MOVABLE, &got, n), 2);
	assert_int_equal(n[ZONE_NORMAL], 3072);
	assert_int_equal(n[ZONE_DMA32], 1024);
	give(&m->frames, &got);
	page_free_block(&m->frames, pfn_to_page(&m->frames, m->frames.zone[ZONE_MOVABLE].start_pfn), 10);
	free_machine(m);
}

static void dma32_is_limited(void **state)
{
	struct sim_machine *m = machine(1);
	unsigned int n[NR_ZONES] = {0};
	struct list_head got;

	(void)state;
	list_init(&got);
	take(&m->frames, GFP_KERNEL | __GFP_DMA32, &got, n);
	assert_int_equal(n[ZONE_DMA32], 1024);
	assert_int_equal(n[ZONE_NORMAL] + n[ZONE_MOVABLE], 0);
	assert_true(page_to_pfn(&m->frames, list_entry(got.next, struct page, node)) < NORMAL_START_PFN);
	give(&m->frames, &got);
	free_machine(m);
}

static void kernel_memory_stays_out_of_movable(void **state)
{
	struct sim_machine *m = machine(1);
	unsigned int n[NR_ZONES] = {0};
	struct list_head got;

	(void)state;
	list_init(&got);
	take(&m->frames, GFP_KERNEL, &got, n);
	assert_int_equal(n[ZONE_MOVABLE], 0);
	assert_int_equal(n[ZONE_NORMAL] + n[ZONE_DMA32], 4096);
	assert_int_equal(n[ZONE_TABLE] + n[ZONE_OBJECT], 0);
	give(&m->frames, &got);
	free_machine(m);
}

static void hole_below_4_gib(void **state)
{
	struct sim_config config = {.normal_pages = 512, .dma32_pages = 1ull << 20};
	struct sim_machine *m = sim_frames_new(&config);
	const struct zone *z = &m->frames.zone[ZONE_DMA32];

	(void)state;
	assert_int_equal(z->start_pfn << PAGE_SHIFT, 3ull << 30);
	assert_true(z->limit_pfn << PAGE_SHIFT <= 0xfffbc000ull);
	sim_frames_free(m);
}

static unsigned int nodes_of(const struct frames *f, int nid, gfp_t gfp, unsigned int *node)
{
	unsigned int n = 0;

	for_each_zoneref(ref, zonelist_of(f, nid, gfp), gfp_zone(gfp), NODE_MASK_ALL)
	{
		if (!n || node[n - 1] != ref->zone->node)
			node[n++] = ref->zone->node;
	}
	return n;
}

static void nearest_node_first(void **state)
{
	struct sim_machine *m = machine(3);
	unsigned int node[MAX_NODES];

	(void)state;
	assert_int_equal(nodes_of(&m->frames, 0, GFP_HIGHUSER_MOVABLE, node), 3);
	assert_int_equal(node[0], 0);
	assert_int_equal(node[1], 2);
	assert_int_equal(node[2], 1);
	assert_int_equal(nodes_of(&m->frames, 2, GFP_HIGHUSER_MOVABLE, node), 3);
	assert_int_equal(node[0], 2);
	assert_int_equal(nodes_of(&m->frames, 1, GFP_HIGHUSER_MOVABLE | __GFP_THISNODE, node), 1);
	assert_int_equal(node[0], 1);
	free_machine(m);
}

static void mask_of_nodes(void **state)
{
	struct sim_machine *m = machine(3);
	const struct alloc_task task = {.mems_allowed = 1u << 1};
	struct page *page;

	(void)state;
	for (unsigned int i = 0; i < 8; i++) {
		page = page_alloc_task(&m->frames, &task, GFP_HIGHUSER_MOVABLE, 0);
		assert_int_equal(page_zone(&m->frames, page)->node, 1);
		page_free(&m->frames, page);
	}
	page = page_alloc_task(&m->frames, &task, GFP_TABLE, 0);
	assert_int_equal(page_zone_type(page), ZONE_TABLE);
	page_free(&m->frames, page);
	free_machine(m);
}

static void struct_page_arithmetic(void **state)
{
	const struct frames f = {.mem_map = (struct page *)(uintptr_t)0xffffea0000000000ull};
	const struct page *page = (const struct page *)(uintptr_t)0xffffea000900c400ull;

	(void)state;
	assert_int_equal(sizeof(struct page), 64);
	assert_int_equal(page_to_pfn(&f, page), 0x240310);
	assert_ptr_equal(pfn_to_page(&f, 0x240310), page);
}

static void flags_decoded(void **state)
{
	char text[160];

	(void)state;
	assert_string_equal(page_flags_string(0x2203d, text, sizeof(text)),
			    "locked|uptodate|dirty|lru|active|private|mappedtodisk");
	assert_int_equal(PG_LOCKED | PG_UPTODATE | PG_DIRTY | PG_LRU | PG_ACTIVE | PG_PRIVATE |
				 PG_MAPPEDTODISK,
			 0x2203d);
	assert_string_equal(page_flags_string(0, text, sizeof(text)), "");
}

static void too_many_nodes(void **state)
{
	struct frames f;
	const struct frames_setup setup = {.max_pfn = 1024, .nr_nodes = MAX_NODES + 1};

	(void)state;
	assert_int_equal(frames_setup(&f, &setup), -EINVAL);
}

static void room_is_free(void **state)
{
	struct sim_machine *m = machine(1);
	struct zone *z = &m->frames.zone[ZONE_NORMAL];
	struct page *page;

	(void)state;
	m->pages_left[ZONE_NORMAL] = 1024;
	m->pages_left[ZONE_DMA32] = 0;
	assert_int_equal(z->present_pages, 0);
	assert_int_equal(zone_free_pages(z), 3072);
	page = page_alloc(&m->frames, GFP_KERNEL, 3);
	assert_int_equal(zone_free_pages(z), 3064);
	page_free_block(&m->frames, page, 3);
	/* What the host refuses does not count. */
	while ((page = page_alloc(&m->frames, GFP_KERNEL | __GFP_NOWARN, 0)))
		atomic_fetch_or(&page->flags, PG_RESERVED);
	assert_int_equal(zone_free_pages(z), 0);
	assert_true(z->bank_refused);
	sim_frames_free(m);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{"zone: masks have the kernel's numbers [D18]", masks, NULL, NULL, NULL},
		{"zone: a mask chooses the highest zone and the migratetype [C1 D26]", zone_of_mask, NULL,
		 NULL, NULL},
		{"zone: movable, then normal, then below 4 GiB [C1]", fallback_order, NULL, NULL, NULL},
		{"zone: a request for frames below 4 GiB is limited to them [C1]", dma32_is_limited, NULL,
		 NULL, NULL},
		{"zone: what does not move stays out of the movable zone, guests out of special ones [C1]",
		 kernel_memory_stays_out_of_movable, NULL, NULL, NULL},
		{"zone: no frames where processors have their devices", hole_below_4_gib, NULL, NULL, NULL},
		{"zone: nodes in the order of their distance; this node only [C1]", nearest_node_first, NULL,
		 NULL, NULL},
		{"zone: a task keeps to its nodes, but tables are for all [C7]", mask_of_nodes, NULL, NULL,
		 NULL},
		{"zone: page to pfn is arithmetic: 0xffffea000900c400 is 0x240310 [B4]",
		 struct_page_arithmetic, NULL, NULL, NULL},
		{"zone: page flags decode as the kernel's [B5]", flags_decoded, NULL, NULL, NULL},
		{"zone: more nodes than there can be are refused", too_many_nodes, NULL, NULL, NULL},
		{"zone: room that no bank has filled is free until the host refuses it", room_is_free, NULL,
		 NULL, NULL},
	};

	return cmocka_run_group_tests_name("zone", tests, NULL, NULL);
}
