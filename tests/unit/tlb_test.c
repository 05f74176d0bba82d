/* SPDX-License-Identifier: MIT */
/*
 * tlb_test.c - what a processor remembers of translations, by the models of sim_tlb.h: what each organisation keeps, what upper
 * levels save, and what forgets it.
 */
#include "../sim/fixture.h"

#define AT	0x10000000ul
#define ENTRIES 8u

static struct fixture *machine(const struct sim_config *config, uint64_t pages)
{
	struct fixture *x = fixture_new(config);

	assert_non_null(x);
	assert_int_equal(fixture_map(x, AT, pages, PROT_READ | PROT_WRITE, MAP_FIXED), AT);
	for (uint64_t i = 0; i < pages; i++)
		fixture_store(x, AT + i * PAGE_SIZE, i);
	sim_cpu_flush(x->cpu);
	x->cpu->tlb.nr_hits = x->cpu->tlb.nr_misses = 0;
	x->cpu->nr_entry_reads = x->cpu->nr_uncached_reads = 0;
	memset(x->cpu->psc.nr_hits, 0, sizeof(x->cpu->psc.nr_hits));
	return x;
}

static uint64_t hits_of(struct fixture *x, const uint64_t *pages, unsigned int nr)
{
	uint64_t before = x->cpu->tlb.nr_hits;

	for (unsigned int i = 0; i < nr; i++)
		fixture_load(x, AT + pages[i] * PAGE_SIZE);
	return x->cpu->tlb.nr_hits - before;
}

/* Hits of one sequence in the three organisations of eight entries. */
static void organisations(void **state)
{
	static const unsigned int ways[] = {1, 2, ENTRIES};
	/* Two pages of one set of any: by turns. Nine pages in a circle, twice. Eight, twice. */
	static const uint64_t turns[] = {0, 8, 0, 8, 0, 8},
			      nine[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8},
			      eight[] = {0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7},
			      three[] = {0, 4, 8, 0, 4, 8};
	static const uint64_t expected[3][4] = {
		{0, 7, 8, 1}, /* direct mapped: 0 and 8 push each other out, 4 stays */
		{4, 6, 8,
		 0}, /* two ways: three pages of one set, oldest first, never meet themselves again */
		{4, 0, 8, 3}, /* fully associative: nine pages in a circle never do */
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(ways); i++) {
		const struct sim_config config = {.tlb_entries = ENTRIES, .tlb_ways = ways[i]};
		struct fixture *x = machine(&config, 9);
		uint64_t got[4];

		got[0] = hits_of(x, turns, ARRAY_SIZE(turns));
		sim_cpu_flush(x->cpu);
		got[1] = hits_of(x, nine, ARRAY_SIZE(nine));
		sim_cpu_flush(x->cpu);
		got[2] = hits_of(x, eight, ARRAY_SIZE(eight));
		sim_cpu_flush(x->cpu);
		got[3] = hits_of(x, three, ARRAY_SIZE(three));
		for (unsigned int s = 0; s < ARRAY_SIZE(got); s++)
			if (got[s] != expected[i][s])
				fail_msg("%u ways, sequence %u: %lu hits, not %lu", ways[i], s, got[s],
					 expected[i][s]);
		assert_int_equal(x->cpu->tlb.nr_hits + x->cpu->tlb.nr_misses,
				 ARRAY_SIZE(turns) + ARRAY_SIZE(nine) + ARRAY_SIZE(eight) +
					 ARRAY_SIZE(three));
		assert_int_equal(fixture_free(x), 0);
	}
}

/* Entries read by walks to one page, its neighbour, one of the next table, one in the next GiB. */
static void upper_levels_are_skipped(void **state)
{
	static const gva_t steps[] = {0, PAGE_SIZE, PMD_SIZE, 1ul << 30};
	static const struct {
		struct sim_config config;
		unsigned int reads[4];
	} rows[] = {
		{{.no_psc = true}, {4, 4, 4, 4}},
		{{.psc_levels = 1}, {4, 1, 4, 4}},
		{{.psc_levels = 2}, {4, 1, 2, 4}},
		{{.psc_levels = 3}, {4, 1, 2, 3}},
	};

	(void)state;
	for (unsigned int r = 0; r < ARRAY_SIZE(rows); r++) {
		struct fixture *x = machine(&rows[r].config, 2);

		for (unsigned int i = 2; i < ARRAY_SIZE(steps); i++) {
			fixture_map(x, AT + steps[i], 1, PROT_READ | PROT_WRITE, MAP_FIXED);
			fixture_store(x, AT + steps[i], i);
		}
		sim_cpu_flush(x->cpu);
		for (unsigned int i = 0; i < ARRAY_SIZE(steps); i++) {
			uint64_t before = x->cpu->nr_entry_reads;
			fixture_load(x, AT + steps[i]);
			if (x->cpu->nr_entry_reads - before != rows[r].reads[i])
				fail_msg("row %u step %u: %lu reads", r, i, x->cpu->nr_entry_reads - before);
		}
		assert_int_equal(fixture_free(x), 0);
	}
}

/* A table that is unlinked must be gone from the caches of upper levels as well. */
static void upper_levels_are_forgotten_with_their_tables(void **state)
{
	const struct sim_config config = {.psc_levels = 3};
	struct fixture *x = machine(&config, 4);

	(void)state;
	fixture_load(x, AT);
	fixture_load(x, AT + PAGE_SIZE);
	assert_true(x->cpu->psc.nr_hits[0] > 0);
	assert_int_equal(mm_munmap(x->mm, AT, 4 * PAGE_SIZE), 0);
	assert_signal(x, SIM_LOAD, AT, SIGSEGV, SEGV_MAPERR);
	fixture_map(x, AT, 4, PROT_READ | PROT_WRITE, MAP_FIXED);
	assert_int_equal(fixture_load(x, AT), 0);
	assert_int_equal(fixture_free(x), 0);
}

static pte_t *slot_of(struct fixture *x, gva_t address)
{
	return pgtable_find(&x->mm->pgt, address);
}

static bool translates(struct fixture *x, gva_t address)
{
	gpa_t gpa;

	return !sim_translate(x->cpu, SIM_LOAD, address, &gpa);
}

/* Two entries are taken away behind the processor's back: which of them still translate tells what it kept. */
static void global_pages_survive_a_new_root(void **state)
{
	struct fixture *x = machine(&(struct sim_config){0}, 2);
	pte_t global = *slot_of(x, AT), plain = *slot_of(x, AT + PAGE_SIZE);

	(void)state;
	pte_set(slot_of(x, AT), global | PTE_GLOBAL);
	assert_true(translates(x, AT) && translates(x, AT + PAGE_SIZE));
	pte_set(slot_of(x, AT), 0);
	pte_set(slot_of(x, AT + PAGE_SIZE), 0);
	assert_true(translates(x, AT) && translates(x, AT + PAGE_SIZE));
	sim_cpu_load_cr3(x->cpu, x->mm, 0, false);
	assert_true(translates(x, AT));
	assert_false(translates(x, AT + PAGE_SIZE));
	sim_cpu_flush(x->cpu); /* CR4.PGE off and on */
	assert_false(translates(x, AT));
	pte_set(slot_of(x, AT), global);
	pte_set(slot_of(x, AT + PAGE_SIZE), plain);
	assert_int_equal(fixture_free(x), 0);
}

/* Two spaces under two numbers, with the same addresses: a switch keeps both apart and forgets neither. */
static void contexts_keep_their_translations(void **state)
{
	struct fixture *x = machine(&(struct sim_config){0}, 1);
	struct mm *other = mm_create(&x->machine->host, 1000);
	uint64_t hits;

	(void)state;
	assert_non_null(other);
	assert_int_equal(mm_mmap(other,
				 &(struct mmap_request){.address = AT,
							.length = PAGE_SIZE,
							.prot = PROT_READ | PROT_WRITE,
							.flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED}),
			 AT);
	sim_cpu_load_cr3(x->cpu, x->mm, 1, false);
	fixture_store(x, AT, 111);
	sim_cpu_load_cr3(x->cpu, other, 2, false);
	fixture_store(x, AT, 222);
	hits = x->cpu->tlb.nr_hits;
	sim_cpu_load_cr3(x->cpu, x->mm, 0x1001, true); /* twelve bits count */
	/* Direct mapped: the other's entry has pushed this one out, but it is not taken for it. */
	assert_int_equal(fixture_load(x, AT), 111);
	sim_cpu_load_cr3(x->cpu, other, 2, true);
	assert_int_equal(fixture_load(x, AT), 222);
	assert_int_equal(x->cpu->tlb.nr_hits, hits);
	sim_cpu_load_cr3(x->cpu, x->mm, 1, false);
	mmput(other);
	assert_int_equal(fixture_free(x), 0);
}

/* With two ways there is room for both: a switch costs no walk; one that does not keep costs one. */
static void switching_without_forgetting_saves_walks(void **state)
{
	const struct sim_config config = {.tlb_ways = 2};
	struct fixture *x = machine(&config, 1);

	(void)state;
	sim_cpu_load_cr3(x->cpu, x->mm, 1, false);
	fixture_load(x, AT);
	sim_cpu_load_cr3(x->cpu, x->mm, 2, false);
	fixture_load(x, AT);
	uint64_t reads = x->cpu->nr_entry_reads;
	sim_cpu_load_cr3(x->cpu, x->mm, 1, true);
	fixture_load(x, AT);
	assert_int_equal(x->cpu->nr_entry_reads, reads);
	sim_cpu_load_cr3(x->cpu, x->mm, 2, false);
	fixture_load(x, AT);
	assert_true(x->cpu->nr_entry_reads > reads);
	/* A revocation reaches every context. */
	assert_int_equal(mm_munmap(x->mm, AT, PAGE_SIZE), 0);
	assert_false(translates(x, AT));
	sim_cpu_load_cr3(x->cpu, x->mm, 1, true);
	assert_false(translates(x, AT));
	assert_int_equal(fixture_free(x), 0);
}

/* PCD in an entry is about what it points at: in a PDE about reads of the page table, in a PTE about the page. */
static void pcd_is_about_the_next_level(void **state)
{
	struct fixture *x = machine(&(struct sim_config){.no_psc = true}, 1);
	pte_t *pde = pgtable_find_pmd(&x->mm->pgt, AT), *pte = slot_of(x, AT);

	(void)state;
	pte_set(pte, *pte | PTE_PCD);
	fixture_load(x, AT);
	assert_int_equal(x->cpu->nr_uncached_reads, 0);
	pte_set(pte, *pte & ~PTE_PCD);
	pte_set(pde, *pde | PTE_PCD);
	sim_cpu_flush(x->cpu);
	fixture_load(x, AT);
	assert_int_equal(x->cpu->nr_uncached_reads, 1);
	pte_set(pde, *pde & ~PTE_PCD);
	sim_cpu_flush(x->cpu);
	fixture_load(x, AT);
	assert_int_equal(x->cpu->nr_uncached_reads, 1);
	assert_int_equal(fixture_free(x), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"tlb: direct mapped, set associative and fully associative keep what they should [B25]",
		 organisations, NULL, NULL, NULL},
		{"tlb: walks begin at the lowest level that is cached [B26]", upper_levels_are_skipped, NULL,
		 NULL, NULL},
		{"tlb: cached upper levels are forgotten with their tables [B26]",
		 upper_levels_are_forgotten_with_their_tables, NULL, NULL, NULL},
		{"tlb: global pages survive a new root [B15]", global_pages_survive_a_new_root, NULL, NULL,
		 NULL},
		{"tlb: contexts keep their translations apart [B28]", contexts_keep_their_translations, NULL,
		 NULL, NULL},
		{"tlb: switching without forgetting saves walks [B28]",
		 switching_without_forgetting_saves_walks, NULL, NULL, NULL},
		{"tlb: PCD in an entry is about the next level [B27]", pcd_is_about_the_next_level, NULL,
		 NULL, NULL},
	};

	return cmocka_run_group_tests_name("tlb", tests, NULL, NULL);
}
