/* SPDX-License-Identifier: MIT */
/* The page cache: the radix tree by its height, reads, and how mappings use it. */
#include "../sim/fixture.h"

#define A 0x10000000ull
#define P PAGE_SIZE

struct cache {
	struct fixture *x;
	struct sim_file file;
};

static int setup(void **state)
{
	struct cache *c = calloc(1, sizeof(*c));

	c->x = fixture_new(NULL);
	if (!c->x)
		return -1;
	sim_file_init(&c->file, c->x->machine, 1024 * P);
	*state = c;
	return 0;
}

static int teardown(void **state)
{
	struct cache *c = *state;
	int err;

	mm_munmap(c->x->mm, 0x10000, TASK_SIZE - 0x10000);
	backing_put(&c->file.backing);
	err = c->file.releases != 1;
	err |= fixture_free(c->x);
	free(c);
	return err ? -1 : 0;
}

static struct page *get(struct cache *c, uint64_t index)
{
	struct page *page = NULL;
	bool major;

	assert_int_equal(filemap_get(&c->file.backing.cache, index, c->x->mm->memcg, &page, &major), 0);
	return page;
}

static void put(struct cache *c, struct page *page)
{
	page_put(&c->x->machine->frames, page);
}

static void heights(void **state)
{
	static const struct {
		uint64_t index;
		unsigned int height;
	} row[] = {{0, 1}, {1, 1}, {3, 1}, {63, 1}, {64, 2}, {194, 2}, {4095, 2}, {4096, 3}, {1ull << 50, 9}};
	struct cache *c = *state;
	struct address_space *as = &c->file.backing.cache;

	c->file.bytes = ~0ull >> 1;
	for (unsigned int i = 0; i < ARRAY_SIZE(row); i++) {
		struct page *page = get(c, row[i].index);

		assert_int_equal(as->pages.height, row[i].height);
		assert_int_equal(page->index, row[i].index);
		assert_ptr_equal(page->mapping, as);
		assert_true(page->flags & PG_CACHE);
		put(c, page);
		assert_int_equal(page->refs, 1);
	}
	assert_int_equal(as->pages.nr_pages, ARRAY_SIZE(row));
	for (unsigned int i = 0; i < ARRAY_SIZE(row); i++) {
		struct page *page = filemap_find(as, row[i].index);

		assert_non_null(page);
		assert_int_equal(page->index, row[i].index);
		put(c, page);
	}
	assert_null(filemap_find(as, 2));
	assert_null(filemap_find(as, 65));
	assert_null(filemap_find(as, ~0ull));
}

static uint64_t nodes_of(struct cache *c)
{
	struct kmem_info info;

	kmem_cache_info(&c->x->machine->host.node_cache, &info);
	return info.active_objects;
}

/* 1, 3 and 194 are in slots 0/1, 0/3 and 3/2 of a tree of height 2. */
static void two_levels(void **state)
{
	struct cache *c = *state;
	struct address_space *as = &c->file.backing.cache;

	assert_int_equal(RADIX_SLOTS, 64);
	put(c, get(c, 1));
	put(c, get(c, 3));
	put(c, get(c, 194));
	assert_int_equal(as->pages.height, 2);
	assert_int_equal(194 >> RADIX_SHIFT, 3);
	assert_int_equal(194 & (RADIX_SLOTS - 1), 2);
	assert_int_equal(nodes_of(c), 3);
	assert_int_equal(filemap_drop(as, 194, 194), 1);
	assert_int_equal(as->pages.height, 1);
	assert_int_equal(nodes_of(c), 1);
	assert_int_equal(filemap_drop(as, 0, 1000), 2);
	assert_int_equal(nodes_of(c), 0);
}

static void against_an_array(void **state)
{
	struct cache *c = *state;
	struct address_space *as = &c->file.backing.cache;
	static bool there[1024];
	uint64_t rng = random_seed(23);

	memset(there, 0, sizeof(there));
	for (unsigned int step = 0; step < 5000; step++) {
		uint64_t i = random_below(&rng, 1024), n = random_below(&rng, 20);

		if (random_below(&rng, 8)) {
			put(c, get(c, i));
			there[i] = true;
		} else {
			uint64_t expected = 0;

			for (uint64_t k = i; k <= i + n && k < 1024; k++) {
				expected += there[k];
				there[k] = false;
			}
			assert_int_equal(filemap_drop(as, i, i + n), expected);
		}
		i = random_below(&rng, 1024);
		struct page *page = filemap_find(as, i);
		assert_int_equal(page != NULL, there[i]);
		if (page)
			put(c, page);
	}
}

static void contents_and_reads(void **state)
{
	struct cache *c = *state;
	struct page *page = NULL;
	bool major = false;

	assert_int_equal(filemap_get(&c->file.backing.cache, 5, c->x->mm->memcg, &page, &major), 0);
	assert_true(major);
	assert_int_equal(((uint64_t *)page_address(&c->x->machine->frames, page))[3],
			 sim_file_word(5 * P + 24));
	put(c, page);
	assert_int_equal(filemap_get(&c->file.backing.cache, 5, c->x->mm->memcg, &page, &major), 0);
	assert_false(major);
	assert_int_equal(c->file.reads, 1);
	put(c, page);
}

static void errors(void **state)
{
	struct cache *c = *state;
	struct address_space *as = &c->file.backing.cache;
	struct page *page = NULL;
	bool major;
	uint64_t used = c->x->mm->memcg->usage_pages;

	assert_int_equal(filemap_get(as, 1024, c->x->mm->memcg, &page, &major), -ENXIO);
	c->file.error = -EIO;
	assert_int_equal(filemap_get(as, 0, c->x->mm->memcg, &page, &major), -EIO);
	c->file.error = 0;
	c->x->mm->memcg->max_pages = used;
	assert_int_equal(filemap_get(as, 0, c->x->mm->memcg, &page, &major), -ENOMEM);
	c->x->mm->memcg->max_pages = 1000;
	c->x->machine->frames.fail_in = 1;
	assert_int_equal(filemap_get(as, 0, c->x->mm->memcg, &page, &major), -ENOMEM);
	assert_int_equal(c->x->machine->frames.nr_fail, 1);
	assert_int_equal(as->pages.nr_pages, 0);
	assert_int_equal(as->pages.height, 0);
	assert_int_equal(c->x->mm->memcg->usage_pages, used);
}

/* Each of the allocations that an insertion makes may fail: the tree is then as it was. */
static void every_allocation(void **state)
{
	struct cache *c = *state;
	struct address_space *as = &c->file.backing.cache;
	struct kmem_cache *node_cache = &c->x->machine->host.node_cache;
	struct frames *f = &c->x->machine->frames;
	struct page *page = NULL;
	bool major;
	unsigned int n = 0;
	int err;

	c->file.bytes = ~0ull >> 1;
	put(c, get(c, 0));
	do {
		uint64_t used = c->x->mm->memcg->usage_pages, nodes = nodes_of(c);

		f->fail_in = ++n == 1;
		kmem_cache_fail_every(node_cache, n - 1);
		err = filemap_get(as, 1ull << 50, c->x->mm->memcg, &page, &major);
		if (err) {
			assert_int_equal(err, -ENOMEM);
			assert_int_equal(c->x->mm->memcg->usage_pages, used);
			assert_int_equal(nodes_of(c), nodes);
			assert_int_equal(as->pages.nr_pages, 1);
			page = filemap_find(as, 0);
			assert_non_null(page);
			put(c, page);
		}
	} while (err);
	kmem_cache_fail_every(node_cache, 0);
	assert_int_equal(f->nr_fail, 1);
	assert_true(node_cache->stat.fails >= 10); /* each node of two long branches */
	put(c, page);
}

static void pinned_pages_stay(void **state)
{
	struct cache *c = *state;
	struct page *page = get(c, 7);

	put(c, get(c, 8));
	assert_int_equal(filemap_drop(&c->file.backing.cache, 0, 100), 1);
	assert_int_equal(c->file.backing.cache.pages.nr_pages, 1);
	put(c, page);
	assert_int_equal(filemap_drop(&c->file.backing.cache, 0, 100), 1);
}

static void warm_cache(void **state)
{
	struct cache *c = *state;
	struct fixture *x = c->x;

	fixture_map_file(x, &c->file, A, 4, 0, PROT_READ, MAP_PRIVATE | MAP_FIXED);
	for (unsigned int i = 0; i < 4; i++)
		fixture_load(x, A + i * P);
	assert_int_equal(x->mm->maj_flt, 4);
	fixture_map_file(x, &c->file, A + 0x100000, 4, 0, PROT_READ, MAP_PRIVATE | MAP_FIXED);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(fixture_load(x, A + 0x100000 + i * P), sim_file_word(i * P));
		assert_int_equal(pte_pfn(fixture_pte(x, A + i * P)),
				 pte_pfn(fixture_pte(x, A + 0x100000 + i * P)));
	}
	assert_int_equal(x->mm->maj_flt, 4);
	assert_int_equal(x->mm->min_flt, 4);
	struct page *page = filemap_find(&c->file.backing.cache, 2);
	assert_int_equal(page_to_pfn(&x->machine->frames, page), pte_pfn(fixture_pte(x, A + 2 * P)));
	assert_int_equal(page->mapcount, 2);
	put(c, page);
}

static void around_a_warm_fault(void **state)
{
	struct cache *c = *state;
	struct fixture *x = c->x;
	unsigned int mapped = 0;

	for (unsigned int i = 0; i < 256; i++)
		put(c, get(c, i));
	x->mm->fault_around_pages = 16;
	fixture_map_file(x, &c->file, A, 256, 0, PROT_READ, MAP_PRIVATE | MAP_FIXED);
	fixture_load(x, A + 40 * P);
	for (unsigned int i = 0; i < 256; i++)
		mapped += fixture_pte(x, A + i * P) != 0;
	assert_int_equal(mapped, 16);
	for (unsigned int i = 32; i < 48; i++)
		assert_int_not_equal(fixture_pte(x, A + i * P), 0);
	/* Clipped to the area. */
	fixture_map_file(x, &c->file, A + 0x200000 + 3 * P, 5, 0, PROT_READ, MAP_PRIVATE | MAP_FIXED);
	fixture_load(x, A + 0x200000 + 5 * P);
	mapped = 0;
	for (unsigned int i = 0; i < 16; i++)
		mapped += fixture_pte(x, A + 0x200000 + i * P) != 0;
	assert_int_equal(mapped, 5);
}

static void few_large_reads(void **state)
{
	struct cache *c = *state;

	filemap_readahead(&c->file.backing.cache, 3, 64, c->x->mm->memcg);
	assert_in_range(c->file.backing.cache.pages.nr_pages, 48, 64);
	assert_in_range(c->file.reads, 1, 8);
	for (unsigned int i = 3; i < 51; i++) {
		struct page *page = filemap_find(&c->file.backing.cache, i);

		assert_non_null(page);
		assert_int_equal(*(uint64_t *)page_address(&c->x->machine->frames, page),
				 sim_file_word(i * P));
		put(c, page);
	}
	filemap_readahead(&c->file.backing.cache, 1020, 64, c->x->mm->memcg);
	assert_null(filemap_find(&c->file.backing.cache, 1024));
	filemap_readahead(&c->file.backing.cache, ~0ull - 4, 64, c->x->mm->memcg);
}

#define T(name, fn)                             \
	{                                       \
		name, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("filemap: the tree is as high as its highest index needs", heights),
		T("filemap: 1, 3 and 194 need height 2 and two leaves, and it shrinks again [L13]",
		  two_levels),
		T("filemap: inserts, drops and lookups agree with an array [L12]", against_an_array),
		T("filemap: a page is read once and holds what the file holds [L12]", contents_and_reads),
		T("filemap: end of file, read errors, limit and no memory leave nothing behind", errors),
		T("filemap: any single failed allocation leaves the tree as it was", every_allocation),
		T("filemap: drop leaves pinned pages alone", pinned_pages_stay),
		T("filemap: a second mapping maps the same frames, without reading [K17 K18 K19]",
		  warm_cache),
		T("filemap: a fault on a warm file maps an aligned window, clipped to the area [K16 H21]",
		  around_a_warm_fault),
		T("filemap: readahead fills a range with few reads and stops at the end of the file [L14]",
		  few_large_reads),
	};

	return cmocka_run_group_tests_name("filemap", tests, NULL, NULL);
}
