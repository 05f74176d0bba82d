/* SPDX-License-Identifier: MIT */
/* Page tables: entries, decomposition of addresses, walks of four and five levels, and what the processor makes of them. */
#include "../../src/mm/anon_vma.h"
#include "../../src/mm/block.h"
#include "../../src/mm/gather.h"
#include "../sim/fixture.h"

static struct frames *frames_of(void **state)
{
	return &((struct fixture *)*state)->machine->frames;
}

static void decomposition(void **state)
{
	static const struct {
		gva_t address;
		int pml4, pdpt, pd, pt; /* -1: not given */
	} row[] = {
		{0x7ffff7ff9000, 255, 511, 447, 505},
		{0x7ffffffde000, 255, 511, 511, 478},
		{0x400000, 0, 0, 2, 0},
		{0x4bc000, 0, 0, 2, 188},
		{0x4be000, 0, 0, 2, 190},
		{0x4c7000, 0, 0, 2, 199},
		{0x7fffffffe000, 255, 511, 511, 510},
		{0x7fffffffd000, 255, 511, 511, 509},
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(row); i++) {
		gva_t a = row[i].address;

		assert_int_equal(level_index(a, 3), row[i].pml4);
		assert_int_equal(level_index(a, 2), row[i].pdpt);
		assert_int_equal(level_index(a, 1), row[i].pd);
		assert_int_equal(level_index(a, 0), row[i].pt);
		assert_int_equal(
			((((((uint64_t)row[i].pml4 << 9 | (uint64_t)row[i].pdpt) << 9) | (uint64_t)row[i].pd)
			  << 9) |
			 (uint64_t)row[i].pt)
				<< 12,
			a);
	}
}

static void entry_bits(void **state)
{
	pte_t pte =
		pte_make(0x240309, PTE_PRESENT | PTE_WRITE | PTE_USER | PTE_ACCESSED | PTE_DIRTY | PTE_NX);

	(void)state;
	assert_int_equal(pte, 0x8000000240309067);
	assert_int_equal(pte_pfn(pte), 0x240309);
	assert_int_equal(pte_make(0x1b44, PTE_PRESENT | PTE_USER | PTE_ACCESSED | PTE_SPECIAL | PTE_NX),
			 0x8000000001b44225);
	assert_int_equal(PTE_PRESENT | PTE_WRITE << 0 | PTE_USER | PTE_PWT, 0xf);
	assert_int_equal(PTE_PWT, 1 << 3);
	assert_int_equal(PTE_PCD, 1 << 4);
	assert_true(pte_none(0));
	assert_true(pte_none(PTE_ACCESSED | PTE_DIRTY));
	assert_false(pte_none(pte));
	assert_true(pte_present(PTE_PROTNONE | pte_make(1, 0)));
	assert_false(pte_write(pte & ~PTE_WRITE));
}

static void free_list(struct frames *f, struct list_head *freed)
{
	struct page *page, *next;

	list_for_each_entry_safe (page, next, freed, node) {
		list_del(&page->node);
		pgtable_free_page(f, page);
	}
}

static void tables_on_demand(void **state, unsigned int levels)
{
	static const gva_t x = 0x7ffff7ff9000;
	struct frames *f = frames_of(state);
	struct memcg cg = {.max_pages = 100};
	struct pgtable pt;
	struct list_head freed;
	pte_t *slot;

	list_init(&freed);
	assert_int_equal(pgtable_init(&pt, f, &cg, levels, 0x1234001), 0);
	assert_int_equal(pt.nr_tables, 0);
	assert_null(pgtable_find(&pt, x));
	slot = pgtable_alloc(&pt, x);
	assert_non_null(slot);
	assert_int_equal(pt.nr_tables, levels - 1);
	assert_int_equal(cg.usage_pages, levels);
	assert_int_equal(*slot, 0);
	assert_int_equal((uintptr_t)slot & 0xfff, 0xfc8);
	assert_ptr_equal(pgtable_find(&pt, x), slot);
	assert_ptr_equal(page_address(f, pgtable_page(&pt, slot)), (char *)slot - 0xfc8);
	/* A neighbour shares every table; another 2 MiB needs one more; another 1 GiB two. */
	assert_ptr_equal(pgtable_alloc(&pt, x + PAGE_SIZE), slot + 1);
	assert_int_equal(pt.nr_tables, levels - 1);
	assert_non_null(pgtable_alloc(&pt, x - PMD_SIZE));
	assert_int_equal(pt.nr_tables, levels);
	assert_non_null(pgtable_alloc(&pt, x - (1ull << 30)));
	assert_int_equal(pt.nr_tables, levels + 2);
	assert_int_equal(pgtable_unlink(&pt, 0, TASK_SIZE, 0, 0, &freed), levels + 2);
	assert_int_equal(pt.nr_tables, 0);
	free_list(f, &freed);
	pgtable_destroy(&pt);
	assert_int_equal(cg.usage_pages, 0);
}

static void four_levels(void **state)
{
	tables_on_demand(state, 4);
}

static void five_levels(void **state)
{
	tables_on_demand(state, 5);
}

static void slot_address(void **state)
{
	struct fixture *x = *state;
	pte_t *slot;

	assert_int_equal(0xffff88810448b000 + 505 * sizeof(pte_t), 0xffff88810448bfc8);
	assert_int_equal(fixture_map(x, 0x7ffff7ff9000, 1, PROT_READ | PROT_WRITE, MAP_FIXED),
			 0x7ffff7ff9000);
	assert_int_equal(fixture_pte(x, 0x7ffff7ff9000), 0);
	fixture_store(x, 0x7ffff7ff9000, 10);
	slot = pgtable_find(&x->mm->pgt, 0x7ffff7ff9000);
	assert_int_equal((uintptr_t)slot & 0xfff, 0xfc8);
	assert_int_not_equal(*slot, 0);
}

static void fault_makes_tables(void **state)
{
	struct fixture *x = *state;
	uint64_t before = x->mm->pgt.nr_tables;

	assert_int_equal(fixture_map(x, 0x10000000, 2048, PROT_READ | PROT_WRITE, MAP_FIXED), 0x10000000);
	assert_int_equal(x->mm->pgt.nr_tables, before);
	fixture_store(x, 0x10000000, 1);
	assert_int_equal(x->mm->pgt.nr_tables, before + 3);
	fixture_store(x, 0x10001000, 1);
	assert_int_equal(x->mm->pgt.nr_tables, before + 3);
	fixture_store(x, 0x10000000 + 2 * PMD_SIZE, 1);
	assert_int_equal(x->mm->pgt.nr_tables, before + 4);
	assert_int_equal(mm_munmap(x->mm, 0x10000000, 2048 << PAGE_SHIFT), 0);
	assert_int_equal(x->mm->pgt.nr_tables, before);
}

static void unlink_respects_the_limits(void **state)
{
	struct frames *f = frames_of(state);
	struct pgtable pt;
	struct list_head freed;

	list_init(&freed);
	assert_int_equal(pgtable_init(&pt, f, NULL, 4, 0), 0);
	assert_non_null(pgtable_alloc(&pt, 0x40000000));
	assert_non_null(pgtable_alloc(&pt, 0x40200000));
	assert_non_null(pgtable_alloc(&pt, 0x40400000));
	/* A neighbour begins in the middle of the third table, and one ends in the first. */
	assert_int_equal(pgtable_unlink(&pt, 0x40100000, 0x40500000, 0x40100000, 0x40500000, &freed), 1);
	assert_null(pgtable_find(&pt, 0x40200000));
	assert_non_null(pgtable_find(&pt, 0x40000000));
	assert_non_null(pgtable_find(&pt, 0x40400000));
	assert_int_equal(pgtable_unlink(&pt, 0x40000000, 0x40500000, 0x40000000, 0x40600000, &freed), 2);
	assert_int_equal(pgtable_unlink(&pt, 0x40000000, 0x40500000, 0, 0, &freed), 2);
	assert_int_equal(pt.nr_tables, 0);
	free_list(f, &freed);
	pgtable_destroy(&pt);
}

/* The tables as software reads them and the processor's own answer must name the same byte. */
static void walks_agree(void **state)
{
	struct fixture *x = *state;
	uint64_t rng = random_seed(9);

	assert_int_equal(fixture_map(x, 0x20000000, 4096, PROT_READ | PROT_WRITE, MAP_FIXED), 0x20000000);
	for (unsigned int i = 0; i < 500; i++) {
		gva_t a = 0x20000000 + (random_below(&rng, 4096 << PAGE_SHIFT) & ~7ull);
		gpa_t gpa;

		fixture_store(x, a, a);
		assert_int_equal(sim_translate(x->cpu, SIM_LOAD, a, &gpa), 0);
		assert_int_equal(gpa, pte_pfn(fixture_pte(x, a)) << PAGE_SHIFT | (a & ~PAGE_MASK));
		assert_int_equal(*(uint64_t *)(void *)(x->machine->frames.direct_map + gpa), a);
	}
}

static void accessed_and_dirty(void **state)
{
	struct fixture *x = *state;
	gva_t a = 0x10000000;
	pte_t *slot;

	assert_int_equal(fixture_map(x, a, 1, PROT_READ | PROT_WRITE, MAP_FIXED), a);
	fixture_store(x, a, 1);
	slot = pgtable_find(&x->mm->pgt, a);
	__atomic_fetch_and(slot, ~(PTE_ACCESSED | PTE_DIRTY), __ATOMIC_RELAXED);
	sim_cpu_load(x->cpu, x->mm); /* flushes */
	assert_int_equal(fixture_load(x, a), 1);
	assert_int_equal(*slot & (PTE_ACCESSED | PTE_DIRTY), PTE_ACCESSED);
	__atomic_fetch_and(slot, ~PTE_ACCESSED, __ATOMIC_RELAXED);
	assert_int_equal(fixture_load(x, a), 1);
	assert_int_equal(*slot & PTE_ACCESSED, 0); /* cached: nobody looked */
	sim_cpu_load(x->cpu, x->mm);
	fixture_store(x, a, 2);
	assert_int_equal(*slot & (PTE_ACCESSED | PTE_DIRTY), PTE_ACCESSED | PTE_DIRTY);
	assert_mm_sound(x->mm);
}

static void error_codes_of_the_walk(void **state)
{
	struct fixture *x = *state;
	gva_t a = 0x10000000;
	pte_t *slot, good;
	gpa_t gpa;

	assert_int_equal(fixture_map(x, a, 1, PROT_READ | PROT_WRITE, MAP_FIXED), a);
	fixture_store(x, a, 1);
	slot = pgtable_find(&x->mm->pgt, a);
	good = *slot;
	sim_cpu_load(x->cpu, x->mm);
	*slot = good & ~PTE_PRESENT;
	assert_int_equal(sim_translate(x->cpu, SIM_LOAD, a, &gpa), SIM_FAULTED | PF_USER);
	*slot = good & ~PTE_WRITE;
	assert_int_equal(sim_translate(x->cpu, SIM_STORE, a, &gpa),
			 SIM_FAULTED | PF_PROT | PF_WRITE | PF_USER);
	*slot = good & ~PTE_USER;
	assert_int_equal(sim_translate(x->cpu, SIM_LOAD, a, &gpa), SIM_FAULTED | PF_PROT | PF_USER);
	*slot = good | PTE_NX;
	assert_int_equal(sim_translate(x->cpu, SIM_FETCH, a, &gpa),
			 SIM_FAULTED | PF_PROT | PF_USER | PF_INSTR);
	*slot = good | 1ull << 51;
	assert_int_equal(sim_translate(x->cpu, SIM_LOAD, a, &gpa), SIM_FAULTED | PF_PROT | PF_RSVD | PF_USER);
	*slot = good;
	assert_int_equal(sim_translate(x->cpu, SIM_LOAD, a, &gpa), 0);
}

static void supervisor_pages(void **state)
{
	struct fixture *x = *state;
	gva_t kernel = sim_kernel_base(x->machine);
	gpa_t gpa;

	assert_int_equal(sim_translate(x->cpu, SIM_LOAD, kernel, &gpa), SIM_FAULTED | PF_PROT | PF_USER);
	assert_int_equal(sim_translate(x->cpu, SIM_STORE, kernel, &gpa),
			 SIM_FAULTED | PF_PROT | PF_WRITE | PF_USER);
	assert_signal(x, SIM_LOAD, kernel, SIGSEGV, SEGV_MAPERR);
	assert_signal(x, SIM_STORE, kernel + 0x1000, SIGSEGV, SEGV_MAPERR);
	assert_signal(x, SIM_FETCH, kernel, SIGSEGV, SEGV_MAPERR);
}

static void canonical_addresses(void **state)
{
	struct fixture *x = *state;

	assert_signal(x, SIM_LOAD, 0x0000800000000000, SIGSEGV, SI_KERNEL);
	assert_signal(x, SIM_LOAD, 0xffff7fffffffffff, SIGSEGV, SI_KERNEL);
	assert_signal(x, SIM_LOAD, 0x00007fffffffffff, SIGSEGV, SEGV_MAPERR);
	assert_signal(x, SIM_LOAD, 0xffff800000000000, SIGSEGV, SEGV_MAPERR);
}

static void canonical_addresses_57(void **state)
{
	struct fixture *x = *state;

	assert_signal(x, SIM_LOAD, 0x0100000000000000, SIGSEGV, SI_KERNEL);
	assert_signal(x, SIM_LOAD, 0x0000800000000000, SIGSEGV, SEGV_MAPERR);
	fixture_map(x, 0x10000000, 1, PROT_READ | PROT_WRITE, MAP_FIXED);
	fixture_store(x, 0x10000000, 7);
	assert_int_equal(x->mm->pgt.nr_tables, 4);
	assert_int_equal(fixture_load(x, 0x10000000), 7);
}

static void large_pages(void **state)
{
	struct fixture *x = *state;
	gva_t a = 0x10000000;
	pte_t *pmd;
	gpa_t gpa;
	pfn_t huge = NORMAL_START_PFN + 512;

	assert_int_equal(fixture_map(x, a, 1, PROT_READ | PROT_WRITE, MAP_FIXED), a);
	fixture_store(x, a, 1);
	pmd = pgtable_find_pmd(&x->mm->pgt, a);
	pte_t table = *pmd;
	sim_cpu_load(x->cpu, x->mm);
	*pmd = pte_make(huge, TABLE_FLAGS | PTE_HUGE | PTE_DIRTY);
	assert_int_equal(sim_translate(x->cpu, SIM_LOAD, a + 0x123456, &gpa), 0);
	assert_int_equal(gpa, (huge << PAGE_SHIFT) + 0x123456);
	sim_cpu_load(x->cpu, x->mm);
	*pmd = pte_make(huge + 1, TABLE_FLAGS | PTE_HUGE);	       /* not aligned: reserved bits */
	assert_int_equal(sim_translate(x->cpu, SIM_LOAD, a, &gpa), 0); /* bit 12 is PAT */
	sim_cpu_load(x->cpu, x->mm);
	*pmd = pte_make(huge + 2, TABLE_FLAGS | PTE_HUGE);
	assert_int_equal(sim_translate(x->cpu, SIM_LOAD, a, &gpa), SIM_FAULTED | PF_PROT | PF_RSVD | PF_USER);
	*pmd = table;
}

#define DEVICE_PFN (1ull << 28) /* nobody's memory, at 1 TiB */

static void map_huge(struct fixture *x, gva_t a, unsigned int level, pte_t more)
{
	pte_t *slot = pgtable_alloc_pmd(&x->mm->pgt, a);

	if (level == 2) { /* take the table of level 1 away again: the entry above it is what this is about */
		pte_t *table = page_address(&x->machine->frames, x->mm->pgt.root);
		table = pfn_address(&x->machine->frames, pte_pfn(table[level_index(a, 3)]));
		slot = &table[level_index(a, 2)];
		page_put(&x->machine->frames, pgtable_below(&x->mm->pgt, *slot));
		memcg_uncharge(x->mm->memcg, 1);
		x->mm->pgt.nr_tables--;
	}
	pte_set(slot, pte_make(DEVICE_PFN, PTE_PRESENT | PTE_WRITE | PTE_USER | PTE_NX | PTE_ACCESSED |
						   PTE_DIRTY | PTE_SPECIAL | PTE_HUGE | more));
}

#define GIB (1ull << 30)

static void map_device(struct fixture *x, uint64_t bytes)
{
	/* Shared, so that its entries may be writable and are nobody's pages. */
	assert_int_equal(fixture_map(x, GIB, bytes >> PAGE_SHIFT, PROT_READ | PROT_WRITE,
				     MAP_FIXED | MAP_SHARED | MAP_NORESERVE),
			 GIB);
}

/* What is found at `a`: its frame within what is mapped, and the level. */
static void assert_maps(struct fixture *x, gva_t a, unsigned int level)
{
	unsigned int found;
	pte_t *slot;
	gpa_t gpa;

	assert_non_null(pgtable_leaf(&x->mm->pgt, a, &found));
	assert_int_equal(found, level);
	assert_int_equal(pte_pfn(pgtable_translate(&x->mm->pgt, a, &slot)),
			 DEVICE_PFN + ((a - GIB) >> PAGE_SHIFT));
	assert_int_equal(sim_translate(x->cpu, SIM_STORE, a, &gpa), 0);
	assert_int_equal(gpa, (DEVICE_PFN << PAGE_SHIFT) + (a - GIB));
}

static void one_gib_entry(void **state)
{
	struct fixture *x = *state;

	map_device(x, GIB);
	map_huge(x, GIB, 2, PTE_PCD);
	assert_null(pgtable_find(&x->mm->pgt, GIB + 0x345000));
	assert_maps(x, GIB + 0x12345678, 2);
	/* Forbidding a part of it cuts it: to 2 MiB, and one of those to 4 KiB. Nothing else changes. */
	assert_int_equal(mm_mprotect(x->mm, GIB + 0x10003000, PAGE_SIZE, PROT_READ), 0);
	assert_maps(x, GIB + 0x12345678, 1);
	assert_maps(x, GIB + 0x10002ff8, 0);
	assert_maps(x, GIB + 0x10004000, 0);
	assert_maps(x, GIB, 1);
	assert_maps(x, GIB + GIB - 8, 1);
	assert_int_equal(fixture_pte(x, GIB + 0x10002000) & (PTE_PCD | PTE_PWT | PTE_HUGE), PTE_PCD);
	assert_signal(x, SIM_STORE, GIB + 0x10003000, SIGSEGV, SEGV_ACCERR);
	assert_mm_sound(x->mm);
	assert_int_equal(mm_munmap(x->mm, GIB + 0x10001000, 0x400000), 0);
	assert_maps(x, GIB + 0x10000008, 0);
	assert_signal(x, SIM_LOAD, GIB + 0x10003000, SIGSEGV, SEGV_MAPERR);
	assert_mm_sound(x->mm);
	assert_int_equal(mm_munmap(x->mm, GIB, GIB), 0);
	assert_int_equal(x->mm->pgt.nr_tables, 0);
}

static void huge_entries_are_kept_whole(void **state)
{
	struct fixture *x = *state;
	unsigned int level;

	map_device(x, 4 * PMD_SIZE);
	map_huge(x, GIB, 1, PTE_PWT);
	assert_maps(x, GIB + 0x123458, 1);
	/* Changed in place, there and back; found through the mask of all levels. */
	assert_int_equal(mm_mprotect(x->mm, GIB, PMD_SIZE, PROT_NONE), 0);
	assert_non_null(pgtable_leaf(&x->mm->pgt, GIB, &level));
	assert_int_equal(level, 1);
	assert_signal(x, SIM_LOAD, GIB + 0x5000, SIGSEGV, SEGV_ACCERR);
	assert_int_equal(mm_mprotect(x->mm, GIB, PMD_SIZE, PROT_READ), 0);
	assert_int_equal(*pgtable_leaf(&x->mm->pgt, GIB, &level) & (PTE_PWT | PTE_WRITE | PTE_HUGE),
			 PTE_PWT | PTE_HUGE);
	assert_signal(x, SIM_STORE, GIB + 0x5000, SIGSEGV, SEGV_ACCERR);
	assert_mm_sound(x->mm);
	/* Moved whole when it can be, in pieces when not. */
	assert_int_equal(mm_mremap(x->mm, GIB, PMD_SIZE, PMD_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, 3 * GIB),
			 3 * GIB);
	assert_non_null(pgtable_leaf(&x->mm->pgt, 3 * GIB, &level));
	assert_int_equal(level, 1);
	assert_int_equal(mm_mremap(x->mm, 3 * GIB, PMD_SIZE, PMD_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
				   5 * GIB + PAGE_SIZE),
			 5 * GIB + PAGE_SIZE);
	assert_int_equal(pte_pfn(fixture_pte(x, 5 * GIB + PAGE_SIZE)), DEVICE_PFN);
	assert_int_equal(pte_pfn(fixture_pte(x, 5 * GIB + PMD_SIZE)), DEVICE_PFN + 511);
	assert_mm_sound(x->mm);
	/* Advice about a part cuts; about all of it takes it whole. */
	map_huge(x, GIB + PMD_SIZE, 1, 0);
	assert_int_equal(mm_madvise(x->mm, GIB + PMD_SIZE, PAGE_SIZE, MADV_DONTNEED), 0);
	assert_int_equal(fixture_pte(x, GIB + PMD_SIZE), 0);
	assert_int_not_equal(fixture_pte(x, GIB + PMD_SIZE + PAGE_SIZE), 0);
	assert_int_equal(mm_madvise(x->mm, GIB + PMD_SIZE, PMD_SIZE, MADV_DONTNEED), 0);
	assert_int_equal(fixture_pte(x, GIB + PMD_SIZE + PAGE_SIZE), 0);
	assert_mm_sound(x->mm);
}

/* Memory in blocks, counted as such while two spaces have it. */
static void blocks_are_counted(void **state)
{
	struct fixture *x = *state;
	struct frames *f = &x->machine->frames;
	struct page *head;
	struct vma *vma;
	struct gather g;

	assert_int_equal(fixture_map(x, GIB, 512, PROT_READ | PROT_WRITE, MAP_FIXED), GIB);
	vma = vma_find(&x->mm->vmas, GIB);
	assert_int_equal(anon_vma_prepare(vma), 0);
	assert_true(memcg_charge(x->mm->memcg, 512));
	head = page_alloc(f, GFP_TRANSHUGE_LIGHT | __GFP_ZERO, BLOCK_ORDER);
	assert_non_null(head);
	for (unsigned int i = 0; i < 512; i++) {
		head[i].memcg = x->mm->memcg;
		page_set_anon(&head[i], vma_anon_vma(vma), (GIB >> PAGE_SHIFT) + i);
	}
	block_make(head);
	x->mm->rss[MM_ANONPAGES] = 512;
	pte_t *pmd = pgtable_alloc_pmd(&x->mm->pgt, GIB);
	pte_t entry = pte_make(page_to_pfn(f, head), TABLE_FLAGS | PTE_DIRTY | PTE_NX | PTE_HUGE);
	pte_set(pmd, entry);
	fixture_store(x, GIB + 0x7008, 42);
	assert_int_equal(x->cpu->nr_faults, 0);
	assert_int_equal(page_total_mapcount(f, head + 7), 1);
	assert_mm_sound(x->mm);
	/* A second entry, which is split: its frames then have two entries each, of which one is the block's. */
	block_get(head);
	block_split(f, head);
	assert_int_equal(page_total_mapcount(f, head + 7), 2);
	assert_int_equal(head[7].refs, 2);
	for (unsigned int i = 0; i < 512; i++) {
		head[i].mapcount--;
		page_put(f, &head[i]);
	}
	/* The only entry, split: the frames stay, as 512 pages. */
	gather_begin(&g, x->mm);
	assert_non_null(pgtable_own(x->mm, GIB + 0x7000, &g));
	gather_end(&g);
	assert_int_equal(page_total_mapcount(f, head + 7), 1);
	assert_int_equal(head[7].refs, 1);
	assert_false(page_in_block(head));
	assert_int_equal(fixture_load(x, GIB + 0x7008), 42);
	fixture_store(x, GIB + 0x7008, 43);
	assert_int_equal(mm_munmap(x->mm, GIB + 0x7000, PAGE_SIZE), 0);
	assert_int_equal(mm_counter(x->mm, MM_ANONPAGES), 511);
	assert_mm_sound(x->mm);
}

/* A processor keeps the way to a table as well as translations: neighbours need no walk from the root, and see no change above. */
static void upper_levels_are_cached(void **state)
{
	struct fixture *x = *state;
	gva_t a = 0x10000000;
	gpa_t gpa;

	assert_int_equal(fixture_map(x, a, 512, PROT_READ | PROT_WRITE, MAP_FIXED), a);
	fixture_store(x, a, 1);
	fixture_store(x, a + PAGE_SIZE, 2);
	sim_cpu_load(x->cpu, x->mm);
	assert_int_equal(fixture_load(x, a), 1);
	pte_t *pmd = pgtable_find_pmd(&x->mm->pgt, a), table = pte_exchange(pmd, 0);
	assert_int_equal(sim_translate(x->cpu, SIM_LOAD, a + PAGE_SIZE, &gpa),
			 0); /* the level above was skipped */
	sim_cpu_load(x->cpu, x->mm);
	assert_int_equal(sim_translate(x->cpu, SIM_LOAD, a + PAGE_SIZE, &gpa), SIM_FAULTED | PF_USER);
	pte_set(pmd, table);
	/* Taking the table away properly makes processors forget the way as well. */
	assert_int_equal(fixture_load(x, a), 1);
	assert_int_equal(mm_munmap(x->mm, a, 512 << PAGE_SHIFT), 0);
	assert_signal(x, SIM_LOAD, a + PAGE_SIZE, SIGSEGV, SEGV_MAPERR);
}

/* How a table may be cached is said in the entry that points to it, and is not the page's affair. */
static void caching_of_tables(void **state)
{
	struct fixture *x = *state;
	gva_t a = 0x10000000;
	pte_t *pmd;

	assert_int_equal(fixture_map(x, a, 8, PROT_READ | PROT_WRITE, MAP_FIXED), a);
	fixture_store(x, a, 1);
	pmd = pgtable_find_pmd(&x->mm->pgt, a);
	__atomic_fetch_or(pmd, PTE_PCD | PTE_PWT, __ATOMIC_ACQ_REL);
	sim_cpu_load(x->cpu, x->mm);
	assert_int_equal(fixture_load(x, a), 1);
	fixture_store(x, a + PAGE_SIZE, 2);
	assert_int_equal(mm_mprotect(x->mm, a, PAGE_SIZE, PROT_READ), 0);
	assert_int_equal(*pmd & (PTE_PCD | PTE_PWT), PTE_PCD | PTE_PWT);
	assert_int_equal(fixture_pte(x, a) & (PTE_PCD | PTE_PWT), 0);
	/* The table itself lies in memory like any other: what is written there is what a walk reads. */
	assert_ptr_equal(page_address(&x->machine->frames, pgtable_below(&x->mm->pgt, *pmd)),
			 (char *)pgtable_find(&x->mm->pgt, a) - level_index(a, 0) * sizeof(pte_t));
	assert_mm_sound(x->mm);
}

static void special_entries(void **state)
{
	struct fixture *x = *state;
	gva_t a = 0x10000000;
	pte_t guard = entry_make(ENTRY_GUARD, 0),
	      moving = entry_make(ENTRY_MIGRATION, 0x123456) | ENTRY_WRITABLE;

	assert_int_equal(entry_type(guard), ENTRY_GUARD);
	assert_int_equal(entry_type(moving), ENTRY_MIGRATION);
	assert_int_equal(entry_offset(moving), 0x123456);
	assert_false(pte_none(guard) || pte_present(guard) || pte_none(moving) || pte_present(moving));
	assert_int_equal(entry_type(pte_make(5, PTE_PRESENT | PTE_WRITE)), ENTRY_NONE);
	assert_int_equal(entry_type(0), ENTRY_NONE);
	assert_int_equal(fixture_map(x, a, 8, PROT_READ | PROT_WRITE, MAP_FIXED), a);
	fixture_store(x, a, 1);
	*pgtable_find(&x->mm->pgt, a + PAGE_SIZE) = guard;
	*pgtable_find(&x->mm->pgt, a + 2 * PAGE_SIZE) = entry_make(ENTRY_POISON, 0);
	assert_signal(x, SIM_LOAD, a + PAGE_SIZE, SIGSEGV, SEGV_MAPERR);
	assert_signal(x, SIM_STORE, a + PAGE_SIZE, SIGSEGV, SEGV_MAPERR);
	assert_signal(x, SIM_LOAD, a + 2 * PAGE_SIZE, SIGBUS, BUS_ADRERR);
	assert_mm_sound(x->mm);
	/* They stay where pages are only given back, move with their range, and go when it is unmapped. */
	assert_int_equal(mm_mprotect(x->mm, a, 8 * PAGE_SIZE, PROT_READ), 0);
	assert_int_equal(mm_madvise(x->mm, a, 8 * PAGE_SIZE, MADV_DONTNEED), 0);
	assert_int_equal(fixture_pte(x, a), 0);
	assert_int_equal(fixture_pte(x, a + PAGE_SIZE), guard);
	assert_int_equal(mm_mremap(x->mm, a, 8 * PAGE_SIZE, 8 * PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
				   2 * a),
			 2 * a);
	assert_int_equal(fixture_pte(x, 2 * a + PAGE_SIZE), guard);
	assert_int_equal(mm_munmap(x->mm, 2 * a, 8 * PAGE_SIZE), 0);
	assert_int_equal(x->mm->pgt.nr_tables, 0);
}

/* The model of the processor must be able to catch the core: without revocations, stale entries show. */
static void stale_entries_show(enum sim_kind kind)
{
	struct sim_config config = {.kind = kind, .forget_revoke = true};
	struct fixture *x = fixture_new(&config);
	gva_t a = 0x10000000;
	uint64_t value = 0;

	assert_int_equal(fixture_map(x, a, 1, PROT_READ | PROT_WRITE, MAP_FIXED), a);
	fixture_store(x, a, 42);
	assert_int_equal(mm_mprotect(x->mm, a, PAGE_SIZE, PROT_NONE), 0);
	assert_int_equal(sim_load(x->cpu, a, &value, 8).signo, 0);
	assert_int_equal(value, 42);
	assert_int_equal(mm_mprotect(x->mm, a, PAGE_SIZE, PROT_READ | PROT_WRITE), 0);
	x->machine->config.forget_revoke = false;
	assert_int_equal(mm_mprotect(x->mm, a, PAGE_SIZE, PROT_NONE), 0);
	assert_signal(x, SIM_LOAD, a, SIGSEGV, SEGV_ACCERR);
	assert_int_equal(fixture_free(x), 0);
}

static void stale_entries_show_in_a_tlb(void **state)
{
	(void)state;
	stale_entries_show(SIM_TLB);
}

static void stale_entries_show_in_a_shadow(void **state)
{
	(void)state;
	stale_entries_show(SIM_SHADOW);
}

#define T(name, fn)                                             \
	{                                                       \
		name, fn, fixture_setup, fixture_teardown, NULL \
	}
#define T5(name, fn)                                                     \
	{                                                                \
		name, fn, fixture_setup_5_levels, fixture_teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("pgtable: an address is four indexes of nine bits and an offset [B6 B8]", decomposition),
		T("pgtable: entries have the recorded bits [B18 B20 B21]", entry_bits),
		T("pgtable: four levels, and tables only where they are needed [B6 B24]", four_levels),
		T("pgtable: five levels, and tables only where they are needed [B7 B24]", five_levels),
		T("pgtable: the slot of 0x7ffff7ff9000 is at 505 * 8, empty before the fault [B23 K25]",
		  slot_address),
		T("pgtable: a fault makes the missing tables and munmap takes them away [B24]",
		  fault_makes_tables),
		T("pgtable: a table that a neighbour may use is not unlinked", unlink_respects_the_limits),
		T("pgtable: the software walk and the processor name the same byte [B9]", walks_agree),
		T("pgtable: reads set A, writes set D, and a cached entry hides both [B13 B14]",
		  accessed_and_dirty),
		T("pgtable: P, R/W, U/S, XD and reserved bits fault with their error codes [B10 B11 B12 B17 "
		  "K1]",
		  error_codes_of_the_walk),
		T("pgtable: a supervisor page is there and a user cannot have it [B12 F9]", supervisor_pages),
		T("pgtable: addresses that are not canonical never reach the tables [B29]",
		  canonical_addresses),
		T5("pgtable: five levels reach to 57 bits and work [B7 B29]", canonical_addresses_57),
		T("pgtable: PS maps 2 MiB, and its low address bits are reserved [B19]", large_pages),
		T("pgtable: a 1 GiB entry is found, translated, and cut where it must be [B16] [B19]",
		  one_gib_entry),
		T("pgtable: huge entries change and move as a whole where they can [B19]",
		  huge_entries_are_kept_whole),
		T("pgtable: a block counts its huge entries, and its frames theirs", blocks_are_counted),
		T("pgtable: the way to a table is cached, and forgotten with it [B26]",
		  upper_levels_are_cached),
		T("pgtable: PCD and PWT of an upper entry are the table's, not the page's [B27] [B16]",
		  caching_of_tables),
		T("pgtable: guards and poison are entries too, and survive what keeps them", special_entries),
		{"pgtable: without revocations a TLB shows the stale entry", stale_entries_show_in_a_tlb,
		 NULL, NULL, NULL},
		{"pgtable: without revocations a shadow shows the stale entry",
		 stale_entries_show_in_a_shadow, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests_name("pgtable", tests, NULL, NULL);
}
