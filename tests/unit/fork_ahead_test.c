/* SPDX-License-Identifier: MIT */
/* fork: pages that the parent wrote since its last fork are copied at once, if they are few. */
#include "../sim/fixture.h"

#define A    0x40000000ull
#define P    PAGE_SIZE
#define RW   (PROT_READ | PROT_WRITE)
#define MANY 64

static struct mm *fork_ahead(struct mm *mm, uint64_t pages)
{
	struct mm *child = NULL;

	assert_int_equal(mm_fork_ahead(mm, pages, &child), 0);
	return child;
}

static bool same_page(struct mm *a, struct mm *b, gva_t address)
{
	return pte_pfn(fixture_pte_in(a, address)) == pte_pfn(fixture_pte_in(b, address));
}

static bool table_shared(struct mm *mm, gva_t address)
{
	return pgtable_shared(&mm->pgt, *pgtable_find_pmd(&mm->pgt, address));
}

static void fill(struct fixture *x, unsigned int pages)
{
	assert_int_equal(fixture_map(x, A, pages, RW, MAP_FIXED), A);
	for (unsigned int i = 0; i < pages; i++)
		fixture_store(x, A + i * P, i + 1);
}

static void check_both_and_end(struct fixture *x, struct mm *child)
{
	struct mm *both[] = {x->mm, child};

	assert_mm_sound(x->mm);
	assert_mm_sound(child);
	assert_int_equal(mm_check_host(&x->machine->host, both, 2, complain), 0);
	sim_cpu_load(x->cpu, x->mm);
	mmput(child);
	assert_mm_sound(x->mm);
}

static uint64_t faults_of(const struct mm *mm)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < NR_FAULT_LEAVES; i++)
		sum += mm->faults[i];
	return sum;
}

static void neither_faults(void **state)
{
	struct fixture *x = *state;

	fill(x, 8);
	uint64_t used = x->mm->memcg->usage_pages, revokes = x->mm->nr_revokes, faults = faults_of(x->mm);
	struct mm *child = fork_ahead(x->mm, MANY);
	assert_int_equal(x->mm->nr_revokes, revokes);
	assert_int_equal(mm_counter(child, MM_ANONPAGES), 8);
	assert_int_equal(x->mm->memcg->usage_pages, used + 8 + 1 + child->pgt.nr_tables);
	for (unsigned int i = 0; i < 8; i++) {
		assert_false(same_page(x->mm, child, A + i * P));
		fixture_store_in(x, child, A + i * P, 100 + i);
		fixture_store_in(x, x->mm, A + i * P, 200 + i);
	}
	for (unsigned int i = 0; i < 8; i++) {
		assert_int_equal(fixture_load_in(x, child, A + i * P), 100 + i);
		assert_int_equal(fixture_load_in(x, x->mm, A + i * P), 200 + i);
	}
	assert_int_equal(faults_of(child), 0);
	assert_int_equal(faults_of(x->mm), faults);
	check_both_and_end(x, child);
	assert_int_equal(x->mm->memcg->usage_pages, used);
}

static void too_many_are_shared(void **state)
{
	struct fixture *x = *state;

	fill(x, 9);
	struct mm *child = fork_ahead(x->mm, 8);
	assert_true(table_shared(x->mm, A));
	check_both_and_end(x, child);
	child = fork_ahead(x->mm, 0);
	assert_true(table_shared(x->mm, A));
	check_both_and_end(x, child);
}

/* What the first fork shared stays so, but for what is written after it. */
static void only_what_was_written_since(void **state)
{
	struct fixture *x = *state;

	fill(x, 100);
	struct mm *first = fork_ahead(x->mm, MANY);
	assert_true(table_shared(x->mm, A));
	for (unsigned int i = 10; i < 13; i++)
		fixture_store_in(x, x->mm, A + i * P, 1000 + i);
	unsigned int written = 0;
	for (unsigned int i = 0; i < 100; i++)
		written += !!pte_write(fixture_pte_in(x->mm, A + i * P));
	assert_in_range(written, 3, MANY); /* their neighbours came along */
	struct mm *second = fork_ahead(x->mm, MANY);
	for (unsigned int i = 0; i < 100; i++) {
		bool was = !same_page(x->mm, first, A + i * P);
		assert_int_equal(same_page(x->mm, second, A + i * P), !was);
		assert_int_equal(!!pte_write(fixture_pte_in(x->mm, A + i * P)), was);
		assert_int_equal(fixture_load_in(x, second, A + i * P), i >= 10 && i < 13 ? 1000 + i : i + 1);
		assert_int_equal(fixture_load_in(x, first, A + i * P), i + 1);
	}
	assert_mm_sound(second);
	sim_cpu_load(x->cpu, x->mm);
	mmput(first);
	check_both_and_end(x, second);
}

/* A table without any such page is shared, whatever becomes of the others. */
static void tables_are_judged_apart(void **state)
{
	struct fixture *x = *state;

	fill(x, 512 + 4);
	struct mm *child = fork_ahead(x->mm, MANY);
	assert_true(table_shared(x->mm, A));
	assert_false(table_shared(x->mm, A + PMD_SIZE));
	assert_false(same_page(x->mm, child, A + 515 * P));
	fixture_store_in(x, child, A, 5);
	assert_int_equal(fixture_load_in(x, x->mm, A), 1);
	check_both_and_end(x, child);
}

/* All that such a table has comes along: shared memory with its right to write, a page that is pinned, what the child is not to get. */
static void whatever_else_is_there(void **state)
{
	struct fixture *x = *state;
	struct page *pinned;

	fill(x, 16);
	assert_int_equal(fixture_map(x, A + 32 * P, 4, RW, MAP_FIXED | MAP_SHARED), A + 32 * P);
	fixture_store(x, A + 32 * P, 9);
	uint64_t shared = mm_counter(x->mm, MM_SHMEMPAGES);
	assert_int_equal(get_user_pages(x->mm, A + 2 * P, 1, GUP_WRITE, &pinned), 1);
	sim_cpu_load(x->cpu, x->mm);
	struct mm *child = fork_ahead(x->mm, 15);
	assert_int_equal(mm_counter(child, MM_SHMEMPAGES), 0); /* too many: the pin alone decides */
	assert_false(same_page(x->mm, child, A + 2 * P));
	assert_true(same_page(x->mm, child, A + 3 * P));
	check_both_and_end(x, child);
	for (unsigned int i = 0; i < 16; i++)
		fixture_store_in(x, x->mm, A + i * P, i + 1);
	child = fork_ahead(x->mm, 16);
	assert_int_equal(mm_counter(child, MM_SHMEMPAGES), shared);
	assert_true(same_page(x->mm, child, A + 32 * P));
	assert_true(pte_write(fixture_pte_in(child, A + 32 * P)));
	assert_false(same_page(x->mm, child, A + 2 * P));
	fixture_store_in(x, child, A + 32 * P, 10);
	assert_int_equal(fixture_load_in(x, x->mm, A + 32 * P), 10);
	check_both_and_end(x, child);
	put_user_pages(x->mm, 1, &pinned);
	assert_int_equal(mm_madvise(x->mm, A + 4 * P, 4 * P, MADV_DONTFORK), 0);
	assert_int_equal(mm_madvise(x->mm, A + 8 * P, 4 * P, MADV_WIPEONFORK), 0);
	child = fork_ahead(x->mm, MANY);
	assert_int_equal(mm_counter(child, MM_ANONPAGES), 8);
	assert_int_equal(fixture_load_in(x, child, A + 8 * P), 0);
	assert_int_equal(fixture_load_in(x, child, A + 12 * P), 13);
	check_both_and_end(x, child);
}

/* A fork needs no more than it did: pages for which there is no room are shared. */
static void short_of_memory(void **state)
{
	struct fixture *x = *state;
	struct memcg *cg = x->mm->memcg;
	uint64_t max = cg->max_pages, shared = 0;

	fill(x, 16);
	struct mm *child = fork_ahead(x->mm, MANY);
	uint64_t most = cg->usage_pages;
	check_both_and_end(x, child);
	for (uint64_t less = 0; less <= 16; less++) {
		cg->max_pages = most - less;
		child = fork_ahead(x->mm, MANY);
		cg->max_pages = max;
		for (unsigned int i = 0; i < 16; i++) {
			bool same = same_page(x->mm, child, A + i * P);
			assert_true(!same || !pte_write(fixture_pte_in(x->mm, A + i * P)));
			assert_true(!same || !pte_write(fixture_pte_in(child, A + i * P)));
			shared += same;
		}
		fixture_store_in(x, child, A + 15 * P, 7);
		assert_int_equal(fixture_load_in(x, x->mm, A + 15 * P), 16);
		check_both_and_end(x, child);
		for (unsigned int i = 0; i < 16; i++)
			fixture_store_in(x, x->mm, A + i * P, i + 1);
	}
	assert_true(shared >= 16);
}

static void any_failure_leaves_the_parent(void **state)
{
	struct fixture *x = *state;
	struct frames *f = &x->machine->frames;
	uint64_t injected = 0, failed;
	struct mm *child;
	int err;

	fill(x, 8);
	for (long n = 1;; n++) {
		uint64_t before = f->nr_fail, used = x->mm->memcg->usage_pages;
		f->fail_in = n;
		err = mm_fork_ahead(x->mm, MANY, &child);
		f->fail_in = 0;
		failed = f->nr_fail - before;
		injected += failed;
		if (!err)
			check_both_and_end(x, child);
		assert_true(!err || err == -ENOMEM);
		assert_int_equal(x->mm->memcg->usage_pages, used);
		assert_mm_sound(x->mm);
		assert_int_equal(fixture_load_in(x, x->mm, A + 7 * P), 8);
		for (unsigned int i = 0; i < 8; i++)
			fixture_store_in(x, x->mm, A + i * P, i + 1);
		if (!failed)
			break;
	}
	assert_true(injected > 8);
}

#define T(name, fn)                                             \
	{                                                       \
		name, fn, fixture_setup, fixture_teardown, NULL \
	}
#define S(name, fn)                                                    \
	{                                                              \
		name, fn, fixture_setup_shadow, fixture_teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T("fork: what was written lately is copied, and neither side faults [M3]", neither_faults),
		S("fork: the same on a shadow MMU [M3]", neither_faults),
		T("fork: more than a child is to get ahead is shared [M3]", too_many_are_shared),
		S("fork: what was not written since the last fork stays shared [M3][M4]",
		  only_what_was_written_since),
		T("fork: each table is judged by itself [M3]", tables_are_judged_apart),
		S("fork: copied tables have shared memory and pins as well [M5]", whatever_else_is_there),
		S("fork: where memory is short, pages are shared as ever [M3]", short_of_memory),
		T("fork: any single failure leaves the parent unchanged, copies or none",
		  any_failure_leaves_the_parent),
	};

	return cmocka_run_group_tests_name("fork_ahead", tests, NULL, NULL);
}
