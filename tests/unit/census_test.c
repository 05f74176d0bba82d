/* SPDX-License-Identifier: MIT */
/* census_test.c - every frame has one owner, and the owners add up to the arena. */
#include "../../src/mm/census.h"
#include "../sim/fixture.h"

#define BASE 0x10000000ull

static struct census take(struct fixture *x)
{
	struct census c;

	census_take(x->mm->frames, &c);
	assert_int_equal(census_sum(&c), c.present);
	assert_true(c.at_hand <= c.free);
	assert_int_equal(c.bad, 0);
	return c;
}

static void anonymous_pages(void **state)
{
	struct fixture *x = *state;
	struct census before = take(x), after;

	assert_int_equal(fixture_map(x, BASE, 8, PROT_READ | PROT_WRITE, MAP_FIXED), BASE);
	for (uint64_t i = 0; i < 5; i++)
		fixture_store(x, BASE + i * PAGE_SIZE, i);
	after = take(x);
	assert_int_equal(after.anon, before.anon + 5);
	assert_int_equal(after.tables - before.tables, 3); /* pud, pmd, pte */
	assert_int_equal(after.anon + after.cache + after.tables, x->mm->memcg->usage_pages);
}

static void cache_pages_and_pins(void **state)
{
	struct fixture *x = *state;
	static struct sim_file file;
	struct page *pinned;

	sim_file_init(&file, x->machine, 4 * PAGE_SIZE);
	assert_int_equal(fixture_map_file(x, &file, BASE, 4, 0, PROT_READ, MAP_PRIVATE | MAP_FIXED), BASE);
	fixture_load(x, BASE);
	struct census mapped = take(x);
	assert_true(mapped.cache >= 1);
	assert_int_equal(mapped.anon + mapped.cache + mapped.tables, x->mm->memcg->usage_pages);
	assert_int_equal(fixture_map(x, BASE, 1, PROT_READ | PROT_WRITE, MAP_FIXED), BASE);
	fixture_store(x, BASE, 1);
	assert_int_equal(get_user_pages(x->mm, BASE, 1, true, &pinned), 1);
	assert_int_equal(mm_munmap(x->mm, BASE, 4 * PAGE_SIZE), 0);
	struct census held = take(x);
	assert_int_equal(held.anon, 1); /* unmapped, but not gone */
	page_put(x->mm->frames, pinned);
	assert_int_equal(take(x).anon, 0);
	backing_put(&file.backing);
	assert_int_equal(take(x).cache, 0);
}

static void free_blocks_and_objects(void **state)
{
	struct fixture *x = *state;
	struct frames *f = x->mm->frames;
	struct census before = take(x);
	struct page *block = page_alloc(f, GFP_USER, 4), *table = page_alloc(f, GFP_TABLE, 0);
	struct page *object = page_alloc(f, GFP_OBJECT, 2);
	struct census during = take(x);

	assert_non_null(block);
	assert_non_null(table);
	assert_non_null(object);
	assert_int_equal(during.other - before.other, 16 + 1); /* nobody said what for */
	assert_int_equal(during.objects - before.objects, 4);
	page_free_block(f, block, 4);
	page_free(f, table);
	page_free_block(f, object, 2);
	struct census after = take(x);
	assert_int_equal(after.other, before.other);
	assert_int_equal(after.objects, before.objects);
}

static void mapping_tag(void **state)
{
	struct fixture *x = *state;
	static struct sim_file file;

	sim_file_init(&file, x->machine, PAGE_SIZE);
	assert_int_equal(fixture_map_file(x, &file, BASE, 1, 0, PROT_READ, MAP_PRIVATE | MAP_FIXED), BASE);
	fixture_load(x, BASE);
	const struct page *cache = pfn_to_page(x->mm->frames, pte_pfn(fixture_pte(x, BASE)));
	assert_false((uintptr_t)cache->mapping & PAGE_MAPPING_ANON);
	assert_false(page_anon(cache));
	assert_ptr_equal(page_mapping(cache), &file.backing.cache);
	assert_int_equal(fixture_map(x, BASE, 1, PROT_READ | PROT_WRITE, MAP_FIXED), BASE);
	fixture_store(x, BASE, 1);
	const struct page *anon = pfn_to_page(x->mm->frames, pte_pfn(fixture_pte(x, BASE)));
	assert_true(page_anon(anon));
	assert_null(page_mapping(anon));
	assert_int_equal((uintptr_t)anon->mapping,
			 (uintptr_t)vma_find(&x->mm->vmas, BASE)->anon_vma | PAGE_MAPPING_ANON);
	backing_put(&file.backing);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"census: anonymous pages and tables are their space's", anonymous_pages, fixture_setup,
		 fixture_teardown, NULL},
		{"census: cache pages go with their file, pinned pages with the pin", cache_pages_and_pins,
		 fixture_setup, fixture_teardown, NULL},
		{"census: blocks, objects and free frames add up", free_blocks_and_objects, fixture_setup,
		 fixture_teardown, NULL},
		{"page: bit 0 of mapping tells anonymous pages from cache pages [B3]", mapping_tag,
		 fixture_setup, fixture_teardown, NULL},
	};

	return cmocka_run_group_tests_name("census", tests, NULL, NULL);
}
