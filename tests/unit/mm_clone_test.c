/* SPDX-License-Identifier: MIT */
/* mm_clone: all areas as they are, on another account; mm_diff: where two spaces are not the same. */
#include "../../src/mm/diff.h"
#include "../../src/mm/vmscan.h"
#include "../sim/failnth.h"
#include "../sim/fixture.h"
#include "../sim/sim_swap.h"

#define A  0x40000000ull
#define B  0x50000000ull
#define P  PAGE_SIZE
#define RW (PROT_READ | PROT_WRITE)

static struct mm *clone_of(struct mm *mm)
{
	struct mm *clone = NULL;

	assert_int_equal(mm_clone(mm, NULL, &clone), 0);
	return clone;
}

static void check_both(struct fixture *x, struct mm *clone)
{
	struct mm *both[] = {x->mm, clone};

	assert_mm_sound(x->mm);
	assert_mm_sound(clone);
	assert_int_equal(mm_check_host(x->mm->host, both, 2, complain), 0);
}

static void own_account(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 600, RW, MAP_FIXED);
	for (unsigned int i = 0; i < 600; i++)
		fixture_store(x, A + i * P, i + 1);
	uint64_t usage = x->mm->memcg->usage_pages;
	atomic_store(&x->mm->memcg->swappiness, 7);
	struct mm *clone = clone_of(x->mm);
	assert_ptr_not_equal(clone->memcg, x->mm->memcg);
	assert_int_equal(clone->memcg->max_pages, x->mm->memcg->max_pages);
	assert_int_equal(clone->memcg->swappiness, 7);
	assert_int_equal(x->mm->memcg->usage_pages, usage);
	assert_in_range(clone->memcg->usage_pages, 1, 6); /* its root, and what leads to tables of level 0 */
	uint64_t tables = clone->memcg->usage_pages;
	fixture_store_in(x, clone, A, 99);
	assert_int_equal(clone->memcg->usage_pages, tables + 2); /* the page, and the table */
	assert_int_equal(fixture_load_in(x, x->mm, A), 1);
	assert_int_equal(fixture_load_in(x, clone, A), 99);
	check_both(x, clone);
	sim_cpu_load(x->cpu, x->mm);
	mmput(clone);
}

static void outlives(void **state)
{
	struct fixture *x = *state;
	struct mm *second, *clone;

	fixture_map(x, A, 8, RW, MAP_FIXED);
	fixture_store(x, A, 42);
	second = clone_of(x->mm);
	clone = clone_of(second);
	mmput(second); /* whose account lives on while tables of it are in use */
	assert_int_equal(fixture_load_in(x, clone, A), 42);
	fixture_store_in(x, clone, A, 43);
	assert_int_equal(fixture_load_in(x, x->mm, A), 42);
	check_both(x, clone);
	sim_cpu_load(x->cpu, x->mm);
	mmput(clone);
}

static void all_areas(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 3, RW, MAP_FIXED);
	for (unsigned int i = 0; i < 3; i++)
		fixture_store(x, A + i * P, i + 1);
	assert_int_equal(mm_madvise(x->mm, A, P, MADV_DONTFORK), 0);
	assert_int_equal(mm_madvise(x->mm, A + P, P, MADV_WIPEONFORK), 0);
	assert_int_equal(mm_mlock(x->mm, A + 2 * P, P, 0), 0);
	struct mm *clone = clone_of(x->mm);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(fixture_load_in(x, clone, A + i * P), i + 1);
	assert_int_equal(clone->locked_vm_pages, 1);
	assert_int_equal(clone->total_vm_pages, x->mm->total_vm_pages);
	check_both(x, clone);
	sim_cpu_load(x->cpu, x->mm);
	mmput(clone);
}

/* --- differences ----------------------------------------------------------------------------------- */

struct seen {
	unsigned int nr;
	gva_t at[64];
};

static void see(void *ctx, gva_t address)
{
	struct seen *s = ctx;

	if (s->nr < ARRAY_SIZE(s->at))
		s->at[s->nr] = address;
	s->nr++;
}

static struct seen differences(struct mm *mm, struct mm *base)
{
	struct seen s = {0};

	mm_diff(mm, base, see, &s);
	return s;
}

static void differs_where_written(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 1200, RW, MAP_FIXED);
	for (unsigned int i = 0; i < 1000; i++)
		fixture_store(x, A + i * P, i + 1);
	struct mm *clone = clone_of(x->mm);
	assert_int_equal(differences(clone, x->mm).nr, 0);
	fixture_store_in(x, clone, A + 3 * P, 1);    /* written */
	fixture_store_in(x, clone, A + 700 * P, 1);  /* in another table */
	fixture_store_in(x, clone, A + 1100 * P, 1); /* where there was nothing */
	fixture_store_in(x, clone, A + 1101 * P, 0); /* nor is there now */
	fixture_store_in(x, clone, A + 5 * P, 6);    /* what it was */
	struct seen s = differences(clone, x->mm);
	assert_int_equal(s.nr, 3);
	assert_int_equal(s.at[0], A + 3 * P);
	assert_int_equal(s.at[1], A + 700 * P);
	assert_int_equal(s.at[2], A + 1100 * P);
	/* And the other way round. */
	assert_int_equal(differences(x->mm, clone).nr, 3);
	sim_cpu_load(x->cpu, x->mm);
	mmput(clone);
}

static void differs_where_dropped(void **state)
{
	static struct sim_file file;
	struct fixture *x = *state;

	sim_file_init(&file, x->machine, 64 * P);
	fixture_map(x, A, 8, RW, MAP_FIXED);
	fixture_store(x, A + 2 * P, 5);
	fixture_map_file(x, &file, B, 4, 0, RW, MAP_PRIVATE | MAP_FIXED);
	fixture_store(x, B + P, 5);
	struct mm *clone = clone_of(x->mm);
	assert_int_equal(mm_madvise(clone, A, 8 * P, MADV_DONTNEED), 0);
	assert_int_equal(mm_madvise(clone, B, 4 * P, MADV_DONTNEED), 0);
	fixture_load_in(x, clone, B + 2 * P); /* a page of the file, as before */
	struct seen s = differences(clone, x->mm);
	assert_int_equal(s.nr, 2);
	assert_int_equal(s.at[0], A + 2 * P);
	assert_int_equal(s.at[1], B + P);
	sim_cpu_load(x->cpu, x->mm);
	mmput(clone);
	assert_int_equal(mm_munmap(x->mm, B, 4 * P), 0);
	backing_put(&file.backing);
}

/* --- no memory --------------------------------------------------------------------------------------- */

static int op_clone(struct scene *s)
{
	struct mm *clone = NULL;
	int err = mm_clone(s->x->mm, NULL, &clone);

	if (!err)
		mmput(clone);
	return err;
}

static void fails_clean(void **state)
{
	(void)state;
	failnth_run(failnth_nothing, op_clone, true);
}

static void fails_clean_shared(void **state)
{
	(void)state;
	failnth_run(failnth_fork, op_clone, true);
}

/* What the original wrote over stays on its account, and is the clone's alone. */
static void copies_give_too(void **state)
{
	struct fixture *x = *state;
	struct memcg *cg = x->mm->memcg;
	static struct sim_swap swap;

	x->mm->host->swap.around_pages = 1;
	assert_int_equal(sim_swap_on(&swap, x->mm->host, 4096, NULL), 0);
	fixture_map(x, A, 100, RW, MAP_FIXED);
	for (unsigned int i = 0; i < 100; i++)
		fixture_store(x, A + i * P, i + 1);
	struct mm *clone = clone_of(x->mm);
	for (unsigned int i = 0; i < 100; i++)
		fixture_store_in(x, x->mm, A + i * P, i + 1000);
	assert_int_equal(mm_mlock(x->mm, A, 100 * P, 0), 0); /* its own stay */
	uint64_t usage = cg->usage_pages;
	assert_true(memcg_reclaim(x->mm->host, cg, 100, 0) > 0);
	while (cg->usage_pages > usage - 100 && memcg_reclaim(x->mm->host, cg, 100, 0))
		;
	assert_int_equal(cg->usage_pages, usage - 100);
	assert_int_equal(mm_counter(clone, MM_SWAPENTS), 100);
	check_both(x, clone);
	uint64_t theirs = clone->memcg->usage_pages;
	for (unsigned int i = 0; i < 100; i++) {
		assert_int_equal(fixture_load_in(x, clone, A + i * P), i + 1);
		assert_int_equal(fixture_load_in(x, x->mm, A + i * P), i + 1000);
	}
	assert_true(clone->memcg->usage_pages >= theirs + 100); /* who brings a page back pays for it */
	check_both(x, clone);
	sim_cpu_load(x->cpu, x->mm);
	mmput(clone);
	assert_int_equal(mm_munmap(x->mm, A, 100 * P), 0);
	assert_int_equal(sim_swap_off(&swap), 0);
}

#define CASE(title, fn)                                                      \
	{                                                                    \
		.name = title, .test_func = fn, .setup_func = fixture_setup, \
		.teardown_func = fixture_teardown                            \
	}
#define SHADOW(title, fn)                                                           \
	{                                                                           \
		.name = title, .test_func = fn, .setup_func = fixture_setup_shadow, \
		.teardown_func = fixture_teardown                                   \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE("mm_clone: what the clone gets alone is on its own account [M1][M4]", own_account),
		SHADOW("mm_clone: the same on a shadow MMU [M1][M4]", own_account),
		CASE("mm_clone: reclaim for the original finds what only the clone has still [M1][O1]",
		     copies_give_too),
		SHADOW("mm_clone: the same on a shadow MMU [M1][O1]", copies_give_too),
		CASE("mm_clone: a clone outlives what it is a clone of [M1]", outlives),
		CASE("mm_clone: what a child would not get, or get empty, it has [M1]", all_areas),
		CASE("mm_diff: the pages whose contents differ, and no others [M4]", differs_where_written),
		CASE("mm_diff: what was given back differs where it held something [M4]",
		     differs_where_dropped),
		{"mm_clone: any allocation that fails leaves the space as it was [M1]", fails_clean, NULL,
		 NULL, NULL},
		{"mm_clone: also where its tables are shared already [M1]", fails_clean_shared, NULL, NULL,
		 NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
