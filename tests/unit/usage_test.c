/* SPDX-License-Identifier: MIT */
/* usage_test.c - what areas have in memory (mm/usage.h), against what was touched. */
#include "../../src/mm/usage.h"
#include "../../src/mm/census.h"
#include "../sim/fixture.h"

#define AT 0x10000000ul

static struct vma *area(struct fixture *x, gva_t at)
{
	return vma_find(&x->mm->vmas, at);
}

static struct vma_usage usage(struct fixture *x, gva_t at)
{
	struct vma_usage u = {0};

	pthread_rwlock_rdlock(&x->mm->mmap_lock);
	vma_usage_add(area(x, at), &u);
	pthread_rwlock_unlock(&x->mm->mmap_lock);
	return u;
}

static void anonymous_memory_counts_when_written(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(fixture_map(x, AT, 8, PROT_READ | PROT_WRITE, MAP_FIXED), AT);
	for (unsigned int i = 0; i < 8; i++)
		fixture_load(x, AT + i * PAGE_SIZE);
	assert_int_equal(usage(x, AT).rss, 0);
	for (unsigned int i = 0; i < 3; i++)
		fixture_store(x, AT + i * PAGE_SIZE, i);
	struct vma_usage u = usage(x, AT);
	assert_int_equal(u.rss, 3 * PAGE_SIZE);
	assert_int_equal(u.private_dirty, u.rss);
	assert_int_equal(u.anonymous, u.rss);
	assert_int_equal(u.pss, u.rss << USAGE_PSS_SHIFT);
	assert_int_equal(u.pss_anon, u.pss);
	assert_int_equal(u.referenced, u.rss);
	assert_int_equal(u.shared_clean + u.shared_dirty + u.private_clean, 0);
}

/* One page twice in one space: each area has half of it. */
static void a_page_of_two_entries_is_shared_by_halves(void **state)
{
	struct fixture *x = *state;
	static struct sim_file file;

	sim_file_init(&file, x->machine, 4 * PAGE_SIZE);
	fixture_map_file(x, &file, AT, 4, 0, PROT_READ, MAP_SHARED | MAP_FIXED);
	fixture_map_file(x, &file, 2 * AT, 4, 0, PROT_READ, MAP_PRIVATE | MAP_FIXED);
	fixture_load(x, AT);
	fixture_load(x, 2 * AT);
	struct vma_usage a = usage(x, AT), b = usage(x, 2 * AT);
	assert_true(a.rss >= PAGE_SIZE && a.rss == b.rss);
	assert_int_equal(a.shared_clean, a.rss);
	assert_int_equal(a.pss + b.pss, a.rss << USAGE_PSS_SHIFT);
	assert_int_equal(a.pss_file, a.pss);
	mm_munmap(x->mm, 2 * AT, 4 * PAGE_SIZE);
	a = usage(x, AT);
	assert_int_equal(a.private_clean, a.rss);
	assert_int_equal(a.pss, a.rss << USAGE_PSS_SHIFT);
	mm_munmap(x->mm, AT, 4 * PAGE_SIZE);
	backing_put(&file.backing);
}

static void accessed_bits_come_back_after_they_were_cleared(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, AT, 4, PROT_READ | PROT_WRITE, MAP_FIXED);
	for (unsigned int i = 0; i < 4; i++)
		fixture_store(x, AT + i * PAGE_SIZE, i);
	assert_int_equal(usage(x, AT).referenced, 4 * PAGE_SIZE);
	pthread_rwlock_rdlock(&x->mm->mmap_lock);
	mm_clear_refs(x->mm, CLEAR_REFS_MAPPED);
	pthread_rwlock_unlock(&x->mm->mmap_lock);
	assert_int_equal(usage(x, AT).referenced, 4 * PAGE_SIZE);
	pthread_rwlock_rdlock(&x->mm->mmap_lock);
	mm_clear_refs(x->mm, CLEAR_REFS_ANON);
	pthread_rwlock_unlock(&x->mm->mmap_lock);
	assert_int_equal(usage(x, AT).referenced, 0);
	assert_false(fixture_pte(x, AT) & PTE_ACCESSED);
	fixture_load(x, AT + PAGE_SIZE);
	assert_int_equal(usage(x, AT).referenced, PAGE_SIZE);
	assert_true(fixture_pte(x, AT + PAGE_SIZE) & PTE_ACCESSED);
}

static void nodes_are_where_the_frames_are(void **state)
{
	struct fixture *x = *state;
	struct vma_nodes n;

	fixture_map(x, AT, 6, PROT_READ | PROT_WRITE, MAP_FIXED);
	for (unsigned int i = 0; i < 5; i++)
		fixture_store(x, AT + i * PAGE_SIZE, i);
	fixture_load(x, AT + 5 * PAGE_SIZE);
	pthread_rwlock_rdlock(&x->mm->mmap_lock);
	vma_nodes_count(area(x, AT), &n);
	pthread_rwlock_unlock(&x->mm->mmap_lock);
	assert_int_equal(n.pages, 5);
	assert_int_equal(n.anon, 5);
	assert_int_equal(n.dirty, 5);
	assert_int_equal(n.mapcount_max, 1);
	assert_int_equal(n.node[0], 5);
}

static void the_account_is_the_sum_of_its_kinds(void **state)
{
	struct fixture *x = *state;
	struct memcg_census c;

	fixture_map(x, AT, 64, PROT_READ | PROT_WRITE, MAP_FIXED);
	fixture_map(x, 2 * AT, 16, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_SHARED);
	for (unsigned int i = 0; i < 40; i++)
		fixture_store(x, AT + i * PAGE_SIZE, i);
	for (unsigned int i = 0; i < 16; i++)
		fixture_store(x, 2 * AT + i * PAGE_SIZE, i);
	census_memcg(x->mm->frames, x->mm->memcg, &c);
	assert_int_equal(c.anon, 40);
	assert_int_equal(c.cache, 16);
	assert_int_equal(c.mapped, 16);
	assert_int_equal(c.tables, x->mm->pgt.nr_tables + 1);
	assert_int_equal(c.anon + c.cache + c.tables, atomic_load(&x->mm->memcg->usage_pages));
}

#define S(title, fn)                                             \
	{                                                        \
		title, fn, fixture_setup, fixture_teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		S("usage: anonymous memory counts when it was written, the zero page never [R7]",
		  anonymous_memory_counts_when_written),
		S("usage: a page of two entries is shared, by halves",
		  a_page_of_two_entries_is_shared_by_halves),
		S("usage: accessed bits come back by access after they were cleared [B13]",
		  accessed_bits_come_back_after_they_were_cleared),
		S("usage: pages count for the nodes of their frames", nodes_are_where_the_frames_are),
		S("census: an account is the sum of its kinds [R10]", the_account_is_the_sum_of_its_kinds),
	};

	return cmocka_run_group_tests_name("usage", tests, NULL, NULL);
}
