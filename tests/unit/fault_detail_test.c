/* SPDX-License-Identifier: MIT */
/* What a fault does beside its branch: tables on the way down, faults that were none, major and minor, and no memory. */
#include "../sim/fixture.h"

#define A  0x10000000ull
#define RW (PROT_READ | PROT_WRITE)

static uint64_t visits(const struct fixture *x, enum fault_leaf leaf)
{
	return x->mm->faults[leaf];
}

/* --- tables -------------------------------------------------------------------------------------------------------- */

/* How many tables a first access to the page at an address makes. */
static uint64_t tables_made(struct fixture *x, gva_t address)
{
	uint64_t before = x->mm->pgt.nr_tables;

	assert_int_equal(fixture_map(x, address, 1, RW, MAP_FIXED), address);
	assert_int_equal(x->mm->pgt.nr_tables, before); /* mapping makes none */
	fixture_store(x, address, address);
	return x->mm->pgt.nr_tables - before;
}

static void tables_on_the_way(void **state)
{
	struct fixture *x = *state;
	unsigned int levels = x->mm->pgt.levels;

	assert_int_equal(x->mm->pgt.nr_tables, 0);
	assert_int_equal(tables_made(x, 1ull << 40), levels - 1);
	assert_int_equal(tables_made(x, (1ull << 40) + PAGE_SIZE), 0);
	assert_int_equal(tables_made(x, (1ull << 40) + PMD_SIZE), 1);
	assert_int_equal(tables_made(x, (1ull << 40) + (1ull << 30)), 2);
	assert_int_equal(tables_made(x, 1ull << 41), 3);
	assert_int_equal(x->mm->memcg->usage_pages, 1 + x->mm->pgt.nr_tables + 5);
	for (gva_t at = 1ull << 40; at <= 1ull << 41; at <<= 1)
		assert_int_equal(fixture_load(x, at), at);
	assert_mm_sound(x->mm);
}

/* A table that cannot be had ends the fault, with nothing mapped; the next try takes up where it ended. */
static void table_without_memory(void **state)
{
	struct fixture *x = *state;
	struct memcg *cg = x->mm->memcg;
	uint64_t max = cg->max_pages;

	fixture_map(x, A, 1, RW, MAP_FIXED);
	for (uint64_t room = 0; room < 4; room++) {
		cg->max_pages = 1 + room; /* the root, and so many */
		assert_signal(x, SIM_STORE, A, SIGKILL, 0);
		assert_int_equal(fixture_pte(x, A), 0);
		assert_int_equal(mm_counter(x->mm, MM_ANONPAGES), 0);
		assert_mm_sound(x->mm);
	}
	assert_int_equal(visits(x, FAULT_OOM), 4);
	cg->max_pages = 5;
	fixture_store(x, A, 5);
	assert_int_equal(x->mm->pgt.nr_tables, 3);
	cg->max_pages = max;
}

/* --- faults that were none ----------------------------------------------------------------------------------------- */

/* Two threads touch one page: the second to come finds it mapped. */
static void another_was_faster(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 1, RW, MAP_FIXED);
	fixture_store(x, A, 7);
	pte_t pte = fixture_pte(x, A);
	struct fault_signal sig = do_user_addr_fault(x->mm, A, PF_USER | PF_WRITE);
	assert_int_equal(sig.signo, 0);
	assert_int_equal(do_user_addr_fault(x->mm, A, PF_USER).signo, 0);
	assert_int_equal(visits(x, FAULT_SPURIOUS), 2);
	assert_int_equal(visits(x, FAULT_ANON_WRITE), 1);
	assert_int_equal(fixture_pte(x, A), pte);
	assert_int_equal(mm_counter(x->mm, MM_ANONPAGES), 1);
	assert_int_equal(fixture_load(x, A), 7);
}

static struct fixture *two_processors(void)
{
	static const struct sim_config config = {.cpus = 2};
	struct fixture *x = fixture_new(&config);

	assert_non_null(x);
	return x;
}

/* One processor still has the entry from before a write was allowed: its fault changes nothing, and its next try gets through. */
static void stale_translation(void **state)
{
	struct fixture *x = two_processors();
	struct sim_cpu *other = &x->machine->cpu[1];
	uint64_t value = 0;

	(void)state;
	fixture_map(x, A, 1, RW, MAP_FIXED);
	fixture_store(x, A, 1);
	assert_int_equal(mm_mprotect(x->mm, A, PAGE_SIZE, PROT_READ), 0);
	assert_int_equal(sim_load(other, A, &value, 8).signo, 0);
	assert_int_equal(mm_mprotect(x->mm, A, PAGE_SIZE, RW), 0);
	fixture_store(x, A, 2);
	pfn_t pfn = pte_pfn(fixture_pte(x, A));
	uint64_t spurious = visits(x, FAULT_SPURIOUS), faults = other->nr_faults;
	value = 3;
	assert_int_equal(sim_store(other, A, &value, 8).signo, 0);
	assert_int_equal(other->nr_faults, faults + 1);
	assert_int_equal(other->last_error, PF_PROT | PF_WRITE | PF_USER);
	assert_int_equal(visits(x, FAULT_SPURIOUS), spurious + 1);
	assert_int_equal(pte_pfn(fixture_pte(x, A)), pfn);
	assert_int_equal(fixture_load(x, A), 3);
	assert_int_equal(fixture_free(x), 0);
}

/* --- counts -------------------------------------------------------------------------------------------------------- */

static void expect_faults(const struct fixture *x, uint64_t minor, uint64_t major)
{
	assert_int_equal(x->mm->min_flt, minor);
	assert_int_equal(x->mm->maj_flt, major);
}

/* Major: something was read for it. A signal is neither. */
static void major_and_minor(void **state)
{
	struct fixture *x = *state;
	static struct sim_file file;

	sim_file_init(&file, x->machine, PAGE_SIZE);
	fixture_map(x, A, 1, RW, MAP_FIXED);
	fixture_load(x, A);
	fixture_store(x, A, 1);
	expect_faults(x, 2, 0);
	fixture_map_file(x, &file, A + PMD_SIZE, 1, 0, RW, MAP_PRIVATE | MAP_FIXED);
	fixture_map_file(x, &file, A + 2 * PMD_SIZE, 1, 0, RW, MAP_PRIVATE | MAP_FIXED);
	fixture_load(x, A + PMD_SIZE);
	expect_faults(x, 2, 1);
	fixture_load(x, A + 2 * PMD_SIZE); /* the cache has it */
	expect_faults(x, 3, 1);
	fixture_store(x, A + PMD_SIZE, 2);
	expect_faults(x, 4, 1);
	assert_signal(x, SIM_LOAD, A - PAGE_SIZE, SIGSEGV, SEGV_MAPERR);
	expect_faults(x, 4, 1);
	mm_munmap(x->mm, A, 3 * PMD_SIZE);
	backing_put(&file.backing);
}

/* --- no memory ----------------------------------------------------------------------------------------------------- */

/* A write to a page shared with a child cannot be copied: both keep what they have, and it works when there is room again. */
static void copy_without_memory(void **state)
{
	struct fixture *x = *state;
	struct memcg *cg = x->mm->memcg;
	uint64_t max = cg->max_pages;
	struct mm *child;

	fixture_map(x, A, 1, RW, MAP_FIXED);
	fixture_store(x, A, 42);
	assert_int_equal(mm_fork(x->mm, &child), 0);
	cg->max_pages = cg->usage_pages;
	assert_signal(x, SIM_STORE, A, SIGKILL, 0);
	assert_int_equal(visits(x, FAULT_OOM), 1);
	assert_int_equal(fixture_load(x, A), 42);
	cg->max_pages = max;
	fixture_store(x, A, 43);
	uint64_t word = 0;
	assert_int_equal(copy_from_user(child, &word, A, sizeof(word)), 0);
	assert_int_equal(word, 42);
	assert_mm_sound(x->mm);
	assert_mm_sound(child);
	mmput(child);
}

/* --- accesses of the kernel ---------------------------------------------------------------------------------------- */

/* A fault of a copy that cannot be resolved is no signal: the copy says how many bytes are left. */
static void copies_are_fixed_up(void **state)
{
	struct fixture *x = *state;
	char bytes[2 * PAGE_SIZE];

	memset(bytes, 'x', sizeof(bytes));
	fixture_map(x, A, 1, RW, MAP_FIXED);
	assert_int_equal(copy_to_user(x->mm, A, bytes, sizeof(bytes)), PAGE_SIZE);
	assert_int_equal(copy_from_user(x->mm, bytes, A + PAGE_SIZE - 10, 30), 20);
	assert_int_equal(copy_from_user(x->mm, bytes, x->mm->task_size - 10, 30), 30);
	assert_int_equal(visits(x, FAULT_ANON_WRITE), 1);
	assert_int_equal(fixture_load(x, A + 8), 0x7878787878787878);
	assert_int_equal(mm_mprotect(x->mm, A, PAGE_SIZE, PROT_READ), 0);
	assert_int_equal(copy_to_user(x->mm, A, bytes, 5), 5);
	assert_int_equal(copy_from_user(x->mm, bytes, A, 5), 0);
	assert_int_equal(mm_mprotect(x->mm, A, PAGE_SIZE, PROT_NONE), 0);
	assert_int_equal(copy_from_user(x->mm, bytes, A, 5), 5);
	assert_mm_sound(x->mm);
}

#define T(title, fn)                                             \
	{                                                        \
		title, fn, fixture_setup, fixture_teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("fault: a first touch makes the tables that are missing, no others [K9]",
		  tables_on_the_way),
		{"fault: the same with five levels [K9]", tables_on_the_way, fixture_setup_5_levels,
		 fixture_teardown, NULL},
		T("fault: no memory for a table at any level: SIGKILL, nothing mapped, and it can be tried "
		  "again [K9][Y8]",
		  table_without_memory),
		T("fault: of two threads at one page the second finds it mapped [Y8]", another_was_faster),
		{"fault: a stale translation is forgotten by its fault, and nothing is copied [Y8]",
		 stale_translation, NULL, NULL, NULL},
		T("fault: major when something was read for it, else minor; a signal is neither [Y8]",
		  major_and_minor),
		T("fault: no memory for a copy leaves parent and child what they had [Y8]",
		  copy_without_memory),
		T("fault: a copy that faults for good tells how much is left, without a signal [Y8]",
		  copies_are_fixed_up),
	};

	return cmocka_run_group_tests_name("fault_detail", tests, NULL, NULL);
}
