/* SPDX-License-Identifier: MIT */
/* The account of a space: what is charged, and what happens at the limit. */
#include "../sim/fixture.h"

#define A  0x10000000ull
#define P  PAGE_SIZE
#define RW (PROT_READ | PROT_WRITE)

static unsigned int released;

static void note_release(struct memcg *cg)
{
	(void)cg;
	released++;
}

static void charges(void **state)
{
	struct memcg cg;

	(void)state;
	released = 0;
	memcg_init(&cg, 10, note_release);
	assert_int_equal(memcg_room(&cg), 10);
	assert_true(memcg_charge(&cg, 7));
	assert_int_equal(memcg_room(&cg), 3);
	assert_false(memcg_charge(&cg, 4));
	assert_int_equal(cg.usage_pages, 7);
	assert_int_equal(cg.nr_failures, 1);
	assert_true(memcg_charge(&cg, 3));
	assert_false(memcg_charge(&cg, 1));
	assert_false(memcg_charge(&cg, ~0ull));
	memcg_uncharge(&cg, 9);
	assert_int_equal(cg.usage_pages, 1);
	assert_int_equal(cg.peak_pages, 10);
	memcg_put(&cg);
	assert_int_equal(released, 0);
	memcg_uncharge(&cg, 1);
	assert_int_equal(released, 1);
}

/* The last ones are for who gives memory back: no frame more than the limit for anybody. */
static void the_reserve_is_within_the_limit(void **state)
{
	struct memcg cg;

	(void)state;
	memcg_init(&cg, 640, NULL);
	assert_true(memcg_charge(&cg, 640));
	assert_int_equal(memcg_room(&cg), 0);
	assert_false(memcg_charge_reserve(&cg, 1));
	memcg_uncharge(&cg, 640);
	memcg_keep_reserve(&cg);
	assert_int_equal(memcg_room(&cg), 629);
	assert_false(memcg_charge(&cg, 630));
	assert_true(memcg_charge(&cg, 629));
	assert_int_equal(memcg_room(&cg), 0);
	assert_false(memcg_charge(&cg, 1));
	assert_true(memcg_charge_reserve(&cg, 11));
	assert_false(memcg_charge_reserve(&cg, 1));
	assert_int_equal(memcg_room(&cg), 0);
	assert_int_equal(cg.peak_pages, 640);
	cg.max_pages = 600; /* what gives memory back must not fail for that */
	assert_false(memcg_charge(&cg, 1));
	assert_true(memcg_charge_reserve(&cg, 1));
	memcg_uncharge(&cg, 641);
	memcg_put(&cg);
}

/* The sum over all frames of who pays equals the account. */
static uint64_t frames_paid_by(struct fixture *x)
{
	struct frames *f = &x->machine->frames;
	uint64_t n = 0;

	for (unsigned int z = 0; z < NR_ZONES; z++) {
		for (pfn_t pfn = f->zone[z].start_pfn; pfn < f->zone[z].fresh_pfn; pfn++) {
			struct page *page = pfn_to_page(f, pfn);

			n += page->refs && page->memcg == x->mm->memcg;
		}
	}
	return n;
}

static void account_is_exact(void **state)
{
	struct fixture *x = *state;
	static struct sim_file file;

	sim_file_init(&file, x->machine, 64 * P);
	assert_int_equal(x->mm->memcg->usage_pages, 1); /* the root */
	x->mm->fault_around_pages = 16;
	fixture_map(x, A, 1000, RW, MAP_FIXED);
	fixture_map(x, A + PMD_SIZE * 8, 100, RW, MAP_FIXED | MAP_SHARED);
	fixture_map_file(x, &file, A + PMD_SIZE * 16, 64, 0, RW, MAP_PRIVATE | MAP_FIXED);
	for (unsigned int i = 0; i < 100; i++) {
		fixture_store(x, A + i * 10 * P, i);
		fixture_store(x, A + PMD_SIZE * 8 + i * P, i);
		fixture_load(x, A + PMD_SIZE * 16 + i % 64 * P);
		assert_int_equal(frames_paid_by(x), x->mm->memcg->usage_pages);
	}
	mm_madvise(x->mm, A, 500 * P, MADV_DONTNEED);
	assert_int_equal(frames_paid_by(x), x->mm->memcg->usage_pages);
	mm_munmap(x->mm, A, PMD_SIZE * 32);
	backing_put(&file.backing);
	assert_int_equal(x->mm->memcg->usage_pages, 1);
	assert_int_equal(frames_paid_by(x), 1);
	assert_true(x->mm->memcg->peak_pages > 200);
}

static void limit_kills(void **state)
{
	struct fixture *x = *state;
	unsigned int n = 0;
	struct fault_signal sig;

	x->mm->memcg->max_pages = 64;
	x->mm->fault_around_pages = 512;
	fixture_map(x, A, 1000, RW, MAP_FIXED);
	do {
		uint64_t word = n;

		sig = sim_store(x->cpu, A + n * P, &word, 8);
	} while (!sig.signo && ++n < 1000);
	assert_int_equal(sig.signo, SIGKILL);
	assert_int_equal(n, 64 - x->mm->pgt.nr_tables - 1); /* nothing wasted: fault-around backs off */
	assert_int_equal(x->mm->memcg->usage_pages, 64);
	assert_mm_sound(x->mm);
	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(fixture_load(x, A + i * P), i);
	/* Room again after giving some back. */
	assert_int_equal(mm_munmap(x->mm, A, 8 * P), 0);
	fixture_store(x, A + n * P, 1);
}

static void host_memory_runs_out(void **state)
{
	struct sim_config config = {.normal_pages = 1024};
	struct fixture *x = fixture_new(&config);
	unsigned int n = 0;
	uint64_t word = 0;

	(void)state;
	fixture_map(x, A, 1024, RW, MAP_FIXED);
	while (n < 1024 && !sim_store(x->cpu, A + n * P, &word, 8).signo)
		n++;
	assert_int_equal(n, 1023); /* one is the zero page */
	assert_signal(x, SIM_STORE, A + n * P, SIGKILL, 0);
	assert_int_equal(copy_to_user(x->mm, A + n * P, &word, 8), 8);
	assert_int_equal(x->mm->memcg->usage_pages, n + x->mm->pgt.nr_tables + 1);
	assert_mm_sound(x->mm);
	assert_int_equal(mm_madvise(x->mm, A, P, MADV_DONTNEED), 0);
	fixture_store(x, A + n * P, 1);
	assert_int_equal(fixture_free(x), 0);
}

/* Page cache that one space paid for outlives it while another space uses it. */
static void cache_outlives_the_payer(void **state)
{
	struct fixture *x = *state;
	struct mm *payer = mm_create(&x->machine->host, 100);
	static struct sim_file file;
	struct mmap_request r = {.address = A,
				 .length = 4 * P,
				 .prot = PROT_READ,
				 .flags = MAP_PRIVATE | MAP_FIXED};
	uint64_t word;

	assert_non_null(payer);
	sim_file_init(&file, x->machine, 4 * P);
	r.file = &file.backing;
	assert_int_equal(mm_mmap(payer, &r), A);
	assert_int_equal(copy_from_user(payer, &word, A, 8), 0);
	assert_int_equal(mm_mmap(x->mm, &r), A);
	assert_int_equal(fixture_load(x, A), sim_file_word(0));
	mmput(payer);
	assert_int_equal(fixture_load(x, A), sim_file_word(0));
	mm_munmap(x->mm, A, 4 * P);
	backing_put(&file.backing);
	assert_int_equal(file.releases, 1);
}

#define T(name, fn)                                             \
	{                                                       \
		name, fn, fixture_setup, fixture_teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{"memcg: charges, limit, peak and failures [C12]", charges, NULL, NULL, NULL},
		{"memcg: what is kept for giving memory back is part of the limit [C12]",
		 the_reserve_is_within_the_limit, NULL, NULL, NULL},
		T("memcg: the account equals the frames it paid for, at any time", account_is_exact),
		T("memcg: the limit kills, wastes nothing, and leaves the space sound [C12]", limit_kills),
		{"memcg: the host's memory runs out cleanly", host_memory_runs_out, NULL, NULL, NULL},
		T("memcg: page cache outlives the space that paid for it", cache_outlives_the_payer),
	};

	return cmocka_run_group_tests_name("memcg", tests, NULL, NULL);
}
