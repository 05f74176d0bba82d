/* SPDX-License-Identifier: MIT */
/* The dumps: their format, and that their numbers are those of the zones. */
#include "../../src/mm/page_alloc.h"
#include "../../src/mm/vmstat.h"
#include "../harness.h"
#include "../sim/sim_cpu.h"

#define ZONE_PAGES 2048u

static int setup(void **state)
{
	struct sim_config config = {.normal_pages = ZONE_PAGES, .no_pcp = true};

	*state = sim_frames_new(&config);
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	sim_frames_free(*state);
	return 0;
}

static struct frames *frames_of(void **state)
{
	return &((struct sim_machine *)*state)->frames;
}

static char *dump(struct frames *f, void (*print)(struct frames *f, FILE *out))
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);

	assert_non_null(out);
	print(f, out);
	fclose(out);
	return text;
}

static void assert_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		print_error("# no '%s' in:\n%s\n", part, text);
	assert_non_null(strstr(text, part));
}

static void buddyinfo(void **state)
{
	struct frames *f = frames_of(state);
	struct page *page = page_alloc(f, GFP_KERNEL, 0);
	char *text = dump(f, vmstat_buddyinfo);

	assert_has(text, "Node 0, zone   Normal      1      1      1      1      1      1      1      1      "
			 "1      0      0 \n");
	free(text);
	page_free(f, page);
	text = dump(f, vmstat_buddyinfo);
	assert_has(text, "Node 0, zone   Normal      0      0      0      0      0      0      0      0      "
			 "0      1      0 \n");
	free(text);
}

static void pagetypeinfo(void **state)
{
	struct frames *f = frames_of(state);
	struct page *a = page_alloc(f, GFP_KERNEL, 9), *b = page_alloc(f, GFP_TRANSHUGE_LIGHT, 8);
	char *text = dump(f, vmstat_pagetypeinfo);

	assert_has(text, "Page block order: 9\nPages per block:  512\n");
	assert_has(text, "Node    0, zone   Normal, type      Movable      0      0      0      0      0     "
			 " 0      0      0"
			 "      1      0      0 \n");
	assert_has(text, "Number of blocks type     Unmovable      Movable  Reclaimable   HighAtomic         "
			 " CMA      Isolate");
	assert_has(text, "Node 0, zone   Normal            1            1            0            0          "
			 "  0            0");
	free(text);
	page_free_block(f, a, 9);
	page_free_block(f, b, 8);
}

static void zoneinfo(void **state)
{
	struct frames *f = frames_of(state);
	struct page *page = page_alloc(f, GFP_KERNEL, 0);
	char *text = dump(f, vmstat_zoneinfo);

	assert_has(text, "Node 0, zone   Normal\n  pages free     2047\n        min      0\n");
	assert_has(text, "        managed  2048\n        protection: (0, 0, 0)\n      nr_free_pages 511\n    "
			 "  nr_room_pages 1536\n");
	assert_has(text, "\n  start_pfn:           1048576\n");
	free(text);
	page_free(f, page);
}

static void counters(void **state)
{
	struct frames *f = frames_of(state);
	struct page *page[10];
	char *text;

	for (unsigned int i = 0; i < 10; i++)
		page[i] = page_alloc(f, GFP_KERNEL, 2);
	for (unsigned int i = 0; i < 4; i++)
		page_free_block(f, page[i], 2);
	text = dump(f, vmstat_counters);
	assert_has(text, "pgalloc_normal 40\n");
	assert_has(text, "pgfree 16\n");
	assert_has(text, "numa_hit 10\n");
	assert_has(text, "nr_free_pages 2024\n");
	assert_has(text, "allocstall 0\n");
	free(text);
	for (unsigned int i = 4; i < 10; i++)
		page_free_block(f, page[i], 2);
}

static void free_adds_up(void **state)
{
	struct frames *f = frames_of(state);
	struct page *page[20];
	char *text;

	page_alloc_bulk(f, GFP_KERNEL, 20, page);
	for (unsigned int i = 0; i < 8; i++)
		atomic_fetch_or(&page[i]->flags, PG_CACHE);
	atomic_store(&page[0]->mapcount, 2);
	struct vmstat_free v = vmstat_free(f);
	assert_int_equal(v.total, ZONE_PAGES * 4);
	assert_int_equal(v.free, (ZONE_PAGES - 20) * 4);
	assert_int_equal(v.buff_cache, 32);
	assert_int_equal(v.shared, 4);
	assert_int_equal(v.used, v.total - v.free - v.buff_cache);
	assert_int_equal(v.used, 48);
	text = dump(f, vmstat_print_free);
	assert_has(text,
		   "               total        used        free      shared  buff/cache   available\n");
	assert_has(text,
		   "Mem:            8192          48        8112           4          32        8144\n");
	assert_has(text, "Swap:              0           0           0\n");
	free(text);
	atomic_store(&page[0]->mapcount, 0);
	page_free_bulk(f, 20, page);
}

/* A block holds what it holds: of a request for 5 frames, 3 are wasted. */
static void internal_waste(void **state)
{
	struct frames *f = frames_of(state);
	uint64_t wanted = 0, before = zone_used_pages(f, ZONE_NORMAL);
	struct page *page[4];
	static const unsigned int sizes[4] = {5, 3, 9, 1}, orders[4] = {3, 2, 4, 0};

	for (unsigned int i = 0; i < 4; i++) {
		page[i] = page_alloc(f, GFP_KERNEL, orders[i]);
		wanted += sizes[i];
	}
	assert_int_equal(zone_used_pages(f, ZONE_NORMAL) - before, 29);
	assert_int_equal(29 - wanted, 11);
	for (unsigned int i = 0; i < 4; i++)
		page_free_block(f, page[i], orders[i]);
}

#define T(name, fn)                             \
	{                                       \
		name, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("vmstat: buddyinfo [D3 R6]", buddyinfo),
		T("vmstat: pagetypeinfo [D26]", pagetypeinfo),
		T("vmstat: zoneinfo shows marks, frames and room [C2]", zoneinfo),
		T("vmstat: frames handed out and taken back are counted [C9 C10 R11]", counters),
		T("vmstat: free adds up: used is total less free less cache [R6]", free_adds_up),
		T("vmstat: what blocks waste on odd sizes [D40]", internal_waste),
	};

	return cmocka_run_group_tests_name("vmstat", tests, NULL, NULL);
}
