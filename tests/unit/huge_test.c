/* SPDX-License-Identifier: MIT */
/* Huge entries: when a fault makes one, what splits it, and what becomes one again. */
#include "../../src/mm/block.h"
#include "../../src/mm/collapse.h"
#include "../../src/mm/huge.h"
#include "../../src/mm/rmap.h"
#include "../../src/mm/usage.h"
#include "../sim/fixture.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define A   0x40000000ull
#define P   PAGE_SIZE
#define M2  PMD_SIZE
#define RW  (PROT_READ | PROT_WRITE)
#define MAX 1000000u

static unsigned int level_at(struct fixture *x, gva_t address)
{
	unsigned int level = MAX;

	return pgtable_leaf(&x->mm->pgt, address, &level) ? level : MAX;
}

static pte_t leaf_at(struct fixture *x, gva_t address)
{
	unsigned int level;
	const pte_t *slot = pgtable_leaf(&x->mm->pgt, address, &level);

	return slot ? pte_read(slot) : 0;
}

static void map_at(struct fixture *x, gva_t at, uint64_t bytes)
{
	assert_int_equal(fixture_map(x, at, bytes / P, RW, MAP_FIXED), at);
}

static void map_with(struct fixture *x, gva_t at, uint64_t bytes, uint64_t vm_flags)
{
	const struct mmap_request r = {.address = at,
				       .length = bytes,
				       .prot = RW,
				       .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
				       .extra_flags = vm_flags};

	assert_int_equal(mm_mmap(x->mm, &r), at);
}

static void map_advised(struct fixture *x, gva_t at, uint64_t bytes)
{
	map_with(x, at, bytes, VM_HUGEPAGE);
}

static void write_maps_a_block(void **state)
{
	struct fixture *x = *state;

	map_advised(x, A, 2 * M2);
	fixture_store(x, A + 5 * P + 8, 77);
	assert_int_equal(level_at(x, A), 1);
	assert_int_equal(leaf_at(x, A) & 0xfff,
			 PTE_PRESENT | PTE_WRITE | PTE_USER | PTE_ACCESSED | PTE_DIRTY | PTE_HUGE);
	assert_int_equal(mm_counter(x->mm, MM_ANONPAGES), BLOCK_PAGES);
	assert_int_equal(x->mm->faults[FAULT_HUGE_ANON], 1);
	assert_int_equal(fixture_load(x, A + 5 * P + 8), 77);
	assert_int_equal(fixture_load(x, A + M2 - 8), 0);
	assert_int_equal(level_at(x, A + M2), MAX);
}

static void read_maps_the_huge_zero_page(void **state)
{
	struct fixture *x = *state;

	map_advised(x, A, 2 * M2);
	assert_int_equal(fixture_load(x, A + 100 * P), 0);
	assert_int_equal(level_at(x, A), 1);
	assert_true(leaf_at(x, A) & PTE_SPECIAL);
	assert_false(pte_write(leaf_at(x, A)));
	assert_int_equal(mm_counter(x->mm, MM_ANONPAGES), 0);
	assert_int_equal(fixture_load(x, A + M2), 0);
	assert_int_equal(pte_pfn(leaf_at(x, A)), pte_pfn(leaf_at(x, A + M2)));
	fixture_store(x, A + 3 * P, 5); /* read first, then written: a block of its own */
	assert_int_equal(level_at(x, A), 1);
	assert_false(leaf_at(x, A) & PTE_SPECIAL);
	assert_int_equal(fixture_load(x, A + 3 * P), 5);
	assert_int_equal(fixture_load(x, A), 0);
	assert_int_equal(fixture_load(x, A + M2 + 3 * P), 0);
}

static void zeroes_split_into_zeroes(void **state)
{
	struct fixture *x = *state;

	map_advised(x, A, M2);
	assert_int_equal(fixture_load(x, A), 0);
	assert_int_equal(mm_munmap(x->mm, A, P), 0);
	assert_int_equal(level_at(x, A + P), 0);
	assert_int_equal(fixture_load(x, A + 7 * P), 0);
	fixture_store(x, A + 7 * P, 9);
	assert_int_equal(fixture_load(x, A + 7 * P), 9);
	assert_int_equal(fixture_load(x, A + 8 * P), 0);
}

static void policy_decides(void **state)
{
	struct fixture *x = *state;

	map_at(x, A, M2);
	fixture_store(x, A, 1);
	assert_int_equal(level_at(x, A), 0); /* nobody asked */
	atomic_store(&x->mm->memcg->thp, THP_NEVER);
	map_advised(x, A + M2, M2);
	fixture_store(x, A + M2, 1);
	assert_int_equal(level_at(x, A + M2), 0);
	atomic_store(&x->mm->memcg->thp, THP_ALWAYS);
	map_at(x, A + 2 * M2, M2);
	fixture_store(x, A + 2 * M2, 1);
	assert_int_equal(level_at(x, A + 2 * M2), 1);
	map_with(x, A + 4 * M2, M2, VM_NOHUGEPAGE);
	fixture_store(x, A + 4 * M2, 1);
	assert_int_equal(level_at(x, A + 4 * M2), 0);
}

static void shape_decides(void **state)
{
	struct fixture *x = *state;

	map_advised(x, A + P, M2); /* no aligned 2 MiB in it */
	fixture_store(x, A + 2 * P, 1);
	fixture_store(x, A + M2, 1);
	assert_int_equal(level_at(x, A + 2 * P), 0);
	assert_int_equal(level_at(x, A + M2), 0);
	map_advised(x, A + 4 * M2 - P, M2 + 2 * P);
	fixture_store(x, A + 4 * M2 - P, 1);
	fixture_store(x, A + 4 * M2, 1);
	fixture_store(x, A + 5 * M2, 1);
	assert_int_equal(level_at(x, A + 4 * M2 - P), 0);
	assert_int_equal(level_at(x, A + 4 * M2), 1);
	assert_int_equal(level_at(x, A + 5 * M2), 0);
}

static void dense_row_grows_into_blocks(void **state)
{
	struct fixture *x = *state;
	uint64_t faults;

	x->mm->fault_around_pages = 512;
	map_at(x, A, 32 * M2);
	for (gva_t at = A; at < A + 32 * M2; at += P)
		fixture_store(x, at, at);
	assert_int_equal(level_at(x, A), 0);
	for (unsigned int i = 1; i < 32; i++)
		assert_int_equal(level_at(x, A + i * M2), 1);
	faults = x->mm->faults[FAULT_HUGE_ANON];
	assert_in_range(faults, 8, 10); /* one, two, then four blocks at a time */
	for (gva_t at = A; at < A + 32 * M2; at += 37 * P)
		assert_int_equal(fixture_load(x, at), at);
}

static void small_account_gets_small_pages(void **state)
{
	struct fixture *x = *state;

	x->mm->memcg->max_pages = 2 * BLOCK_PAGES - 1;
	map_advised(x, A, M2);
	fixture_store(x, A, 1);
	assert_int_equal(level_at(x, A), 0);
}

static void no_block_no_harm(void **state)
{
	struct fixture *x = *state;

	map_advised(x, A, 2 * M2);
	x->machine->frames.fail_in = 3; /* behind the anon_vma and the tables */
	struct fault_signal sig = sim_store(x->cpu, A, &(uint64_t){7}, 8);
	x->machine->frames.fail_in = 0;
	if (sig.signo)
		fixture_store(x, A, 7);
	assert_int_equal(fixture_load(x, A), 7);
	assert_mm_sound(x->mm);
}

static void unmapping_part_splits(void **state)
{
	struct fixture *x = *state;

	map_advised(x, A, M2);
	fixture_store(x, A, 1);
	fixture_store(x, A + M2 - 8, 2);
	assert_int_equal(mm_munmap(x->mm, A + 10 * P, P), 0);
	assert_int_equal(level_at(x, A), 0);
	assert_int_equal(mm_counter(x->mm, MM_ANONPAGES), BLOCK_PAGES - 1);
	assert_int_equal(fixture_load(x, A), 1);
	assert_int_equal(fixture_load(x, A + M2 - 8), 2);
	assert_signal(x, SIM_LOAD, A + 10 * P, SIGSEGV, SEGV_MAPERR);
}

static void protecting_whole_keeps_it_huge(void **state)
{
	struct fixture *x = *state;

	map_advised(x, A, M2);
	fixture_store(x, A, 1);
	assert_int_equal(mm_mprotect(x->mm, A, M2, PROT_READ), 0);
	assert_int_equal(level_at(x, A), 1);
	assert_signal(x, SIM_STORE, A, SIGSEGV, SEGV_ACCERR);
	assert_int_equal(mm_mprotect(x->mm, A, M2, RW), 0);
	fixture_store(x, A + P, 2); /* its own: it just gets the right back */
	assert_int_equal(level_at(x, A), 1);
	assert_int_equal(mm_mprotect(x->mm, A + P, P, PROT_READ), 0);
	assert_int_equal(level_at(x, A), 0);
	assert_signal(x, SIM_STORE, A + P, SIGSEGV, SEGV_ACCERR);
	fixture_store(x, A, 3);
	assert_int_equal(fixture_load(x, A + P), 2);
}

static void moving_whole_keeps_it_huge(void **state)
{
	struct fixture *x = *state;

	map_advised(x, A, M2);
	fixture_store(x, A + 8, 11);
	assert_int_equal(mm_mremap(x->mm, A, M2, M2, MREMAP_MAYMOVE | MREMAP_FIXED, A + 8 * M2), A + 8 * M2);
	assert_int_equal(level_at(x, A + 8 * M2), 1);
	assert_int_equal(fixture_load(x, A + 8 * M2 + 8), 11);
	assert_int_equal(mm_mremap(x->mm, A + 8 * M2, M2, M2, MREMAP_MAYMOVE | MREMAP_FIXED, A + P), A + P);
	assert_int_equal(level_at(x, A + P), 0);
	assert_int_equal(fixture_load(x, A + P + 8), 11);
}

static void copies_reach_into_blocks(void **state)
{
	struct fixture *x = *state;
	char text[] = "in a block";
	struct page *page;

	map_advised(x, A, M2);
	assert_int_equal(copy_to_user(x->mm, A + 3 * P - 4, text, sizeof(text)), 0);
	assert_int_equal(level_at(x, A), 1);
	memset(text, 0, sizeof(text));
	assert_int_equal(copy_from_user(x->mm, text, A + 3 * P - 4, sizeof(text)), 0);
	assert_string_equal(text, "in a block");
	assert_int_equal(get_user_pages(x->mm, A + 3 * P, 1, true, &page), 1);
	assert_int_equal(level_at(x, A), 1);
	assert_int_equal(mm_munmap(x->mm, A, M2), 0); /* the pin keeps the page of a block that is gone */
	assert_string_equal(page_address(x->mm->frames, page), " block");
	page_put(x->mm->frames, page);
}

static void fork_shares_the_block(void **state)
{
	struct fixture *x = *state;
	struct mm *child, *parent = x->mm;
	uint64_t value = 9;

	map_advised(x, A, M2);
	fixture_store(x, A, 1);
	assert_int_equal(mm_fork(parent, &child), 0);
	assert_int_equal(mm_counter(child, MM_ANONPAGES), mm_counter(parent, MM_ANONPAGES));
	struct page *head = pfn_to_page(parent->frames, pte_pfn(leaf_at(x, A)));
	assert_int_equal(head->block_mapcount, 2);
	sim_cpu_load(x->cpu, child);
	assert_int_equal(sim_store(x->cpu, A, &value, 8).signo, 0);
	assert_mm_sound(child);
	sim_cpu_load(x->cpu, parent);
	assert_int_equal(fixture_load(x, A), 1);
	assert_int_equal(level_at(x, A), 1);
	sim_cpu_load(x->cpu, NULL);
	mmput(child);
	sim_cpu_load(x->cpu, parent);
	fixture_store(x, A + 8, 3); /* alone again: no copy */
	assert_int_equal(level_at(x, A), 1);
	assert_ptr_equal(pfn_to_page(parent->frames, pte_pfn(leaf_at(x, A))), head);
}

static void freed_block_goes_whole(void **state)
{
	struct fixture *x = *state;
	uint64_t used = x->mm->memcg->usage_pages;

	map_advised(x, A, 4 * M2);
	for (unsigned int i = 0; i < 4; i++)
		fixture_store(x, A + i * M2, i);
	assert_int_equal(mm_munmap(x->mm, A, 4 * M2), 0);
	assert_int_equal(x->mm->memcg->usage_pages, used);
}

/* --- collapse ---------------------------------------------------------------------------------------------------------- */

static void collapse_fills_and_copies(void **state)
{
	struct fixture *x = *state;

	map_at(x, A, 2 * M2);
	for (gva_t at = A; at < A + M2; at += 3 * P)
		fixture_store(x, at, at);
	assert_int_equal(fixture_load(x, A + P), 0); /* the zero page is there too */
	fixture_store(x, A + M2, 1);
	assert_int_equal(mm_madvise(x->mm, A + M2, P, MADV_DONTNEED), 0); /* a table with nothing in it */
	assert_int_equal(collapse_range(vma_find(&x->mm->vmas, A), A, A + 2 * M2), 0);
	assert_int_equal(level_at(x, A), 1);
	assert_int_equal(level_at(x, A + M2), 1);
	assert_int_equal(mm_counter(x->mm, MM_ANONPAGES), 2 * BLOCK_PAGES);
	for (gva_t at = A; at < A + M2; at += P)
		assert_int_equal(fixture_load(x, at), (at - A) % (3 * P) ? 0 : at);
	fixture_store(x, A, 4);
	assert_mm_sound(x->mm);
}

static void pinned_pages_stay(void **state)
{
	struct fixture *x = *state;
	struct page *page;

	map_at(x, A, M2);
	fixture_store(x, A, 1);
	assert_int_equal(get_user_pages(x->mm, A, 1, true, &page), 1);
	assert_int_equal(collapse_range(vma_find(&x->mm->vmas, A), A, A + M2), -EAGAIN);
	assert_int_equal(level_at(x, A), 0);
	*(uint64_t *)page_address(x->mm->frames, page) = 5;
	assert_int_equal(fixture_load(x, A), 5);
	page_put(x->mm->frames, page);
	assert_int_equal(collapse_range(vma_find(&x->mm->vmas, A), A, A + M2), 0);
	assert_int_equal(fixture_load(x, A), 5);
}

static void collapse_needs_room(void **state)
{
	struct fixture *x = *state;
	uint64_t max = x->mm->memcg->max_pages;

	map_at(x, A, M2 + P);
	fixture_store(x, A, 1);
	x->mm->memcg->max_pages = x->mm->memcg->usage_pages + 5;
	assert_int_equal(collapse_range(vma_find(&x->mm->vmas, A), A, A + M2), -EBUSY);
	x->mm->memcg->max_pages = max;
	assert_int_equal(collapse_range(vma_find(&x->mm->vmas, A), A + P, A + 2 * P), -EINVAL);
	for (long n = 1;; n++) {
		x->machine->frames.fail_in = n;
		int err = collapse_range(vma_find(&x->mm->vmas, A), A, A + M2);
		bool failed = x->machine->frames.fail_in <= 0;
		x->machine->frames.fail_in = 0;
		assert_mm_sound(x->mm);
		if (!failed) {
			assert_int_equal(err, 0);
			assert_true(n > 1);
			break;
		}
		assert_int_equal(err, -ENOMEM);
		assert_int_equal(level_at(x, A), 0);
	}
	assert_int_equal(fixture_load(x, A), 1);
}

static void background_collapses_what_is_full(void **state)
{
	struct fixture *x = *state;
	gva_t cursor = 0;

	map_at(x, A, 3 * M2);
	for (gva_t at = A; at < A + M2; at += P)
		fixture_store(x, at, at);
	fixture_store(x, A + M2, 1);				 /* one page of the second table */
	assert_int_equal(collapse_scan(x->mm, &cursor, 100), 0); /* nobody asked for it */
	assert_int_equal(cursor, 0);
	atomic_store(&x->mm->memcg->thp, THP_ALWAYS);
	assert_int_equal(collapse_scan(x->mm, &cursor, 100), 1);
	assert_int_equal(level_at(x, A), 1);
	assert_int_equal(level_at(x, A + M2), 0);
	assert_int_equal(collapse_scan(x->mm, &cursor, 100), 0);
	for (gva_t at = A; at < A + M2; at += P)
		assert_int_equal(fixture_load(x, at), at);
}

static void collapse_says_what_linux_says(void **state)
{
	struct fixture *x = *state;

	map_at(x, A, 4 * M2);
	assert_int_equal(mm_madvise(x->mm, A, M2, MADV_COLLAPSE), -EINVAL); /* nothing there */
	assert_int_equal(mm_madvise(x->mm, A, P, MADV_COLLAPSE), -EINVAL);
	assert_int_equal(fixture_load(x, A), 0);
	assert_int_equal(mm_madvise(x->mm, A, M2, MADV_COLLAPSE), -EINVAL); /* never written */
	fixture_store(x, A, 1);
	assert_int_equal(mm_madvise(x->mm, A, 4 * M2, MADV_COLLAPSE),
			 -EINVAL);	     /* part of it never touched, */
	assert_int_equal(level_at(x, A), 1); /* but the rest was done */
	assert_int_equal(mm_madvise(x->mm, A + P, P, MADV_COLLAPSE), -EINVAL);
	assert_int_equal(mm_madvise(x->mm, A + P, M2, MADV_COLLAPSE), 0);
	assert_int_equal(mm_madvise(x->mm, A, P, MADV_COLLAPSE), 0);
	assert_int_equal(mm_madvise(x->mm, A, 0, MADV_COLLAPSE), 0);
	assert_int_equal(fixture_map(x, A, 512, RW, MAP_FIXED | MAP_SHARED), A);
	assert_int_equal(mm_madvise(x->mm, A, M2, MADV_COLLAPSE), -EINVAL);
}

static void collapse_of_what_nobody_may_touch(void **state)
{
	struct fixture *x = *state;

	map_at(x, A, M2);
	fixture_store(x, A + P, 7);
	assert_int_equal(mm_mprotect(x->mm, A, M2, PROT_NONE), 0);
	assert_int_equal(mm_madvise(x->mm, A, M2, MADV_COLLAPSE), 0);
	assert_int_equal(level_at(x, A), 1);
	assert_signal(x, SIM_LOAD, A + P, SIGSEGV, SEGV_ACCERR);
	assert_mm_sound(x->mm);
	assert_int_equal(mm_mprotect(x->mm, A, M2, RW), 0);
	assert_int_equal(fixture_load(x, A + P), 7);
	fixture_store(x, A, 8);
	assert_int_equal(level_at(x, A), 1);
}

/* What two spaces share is copied for the one that collapses; the other keeps its pages. */
static void collapse_of_what_others_share(void **state)
{
	struct fixture *x = *state;
	struct mm *child;

	map_at(x, A, M2);
	for (gva_t at = A; at < A + M2; at += P)
		fixture_store(x, at, at);
	assert_int_equal(mm_fork(x->mm, &child), 0);
	assert_int_equal(mm_madvise(x->mm, A, M2, MADV_COLLAPSE), 0);
	assert_int_equal(level_at(x, A), 1);
	fixture_store(x, A, 1);
	assert_mm_sound(x->mm);
	assert_mm_sound(child);
	uint64_t word = 0;
	assert_int_equal(copy_from_user(child, &word, A, sizeof(word)), 0);
	assert_int_equal(word, A);
	assert_int_equal(mm_madvise(child, A, M2, MADV_COLLAPSE), 0); /* its own again */
	assert_mm_sound(child);
	assert_int_equal(copy_from_user(child, &word, A + P, sizeof(word)), 0);
	assert_int_equal(word, A + P);
	mmput(child);
}

/* --- what others see of it ------------------------------------------------------------------------------------------------ */

static void walks_find_huge_entries(void **state)
{
	struct fixture *x = *state;
	struct mm *child;

	map_advised(x, A, M2);
	fixture_store(x, A, 1);
	struct page *head = pfn_to_page(x->mm->frames, pte_pfn(leaf_at(x, A)));
	assert_int_equal(rmap_count(x->mm->host, &head[77]), 1);
	assert_int_equal(page_referenced(x->mm->host, &head[77]), 1);
	assert_int_equal(page_referenced(x->mm->host, &head[77]), 0);
	assert_int_equal(mm_fork(x->mm, &child), 0);
	assert_int_equal(rmap_count(x->mm->host, &head[77]), 2);
	assert_int_equal(mm_munmap(child, A, P), 0); /* from here on one by PDE, one by an entry of its own */
	assert_int_equal(rmap_count(x->mm->host, &head[77]), 2);
	assert_int_equal(page_total_mapcount(x->mm->frames, &head[77]), 2);
	assert_int_equal(rmap_count(x->mm->host, head), 1);
	struct mm *const all[] = {x->mm, child};
	assert_int_equal(mm_check_host(x->mm->host, all, 2, NULL), 0);
	mmput(child);
	assert_int_equal(rmap_count(x->mm->host, &head[77]), 1);
}

static void usage_counts_blocks(void **state)
{
	struct fixture *x = *state;
	struct vma_usage u = {0};
	struct mm *child;

	map_advised(x, A, 2 * M2);
	fixture_store(x, A, 1);
	assert_int_equal(fixture_load(x, A + M2), 0); /* zeroes count for nothing */
	vma_usage_add(vma_find(&x->mm->vmas, A), &u);
	assert_int_equal(u.rss, M2);
	assert_int_equal(u.anon_huge, M2);
	assert_int_equal(u.private_dirty, M2);
	assert_int_equal(u.pss >> USAGE_PSS_SHIFT, M2);
	assert_int_equal(mm_fork(x->mm, &child), 0);
	u = (struct vma_usage){0};
	vma_usage_add(vma_find(&x->mm->vmas, A), &u);
	assert_int_equal(u.shared_dirty, M2);
	assert_int_equal(u.anon_huge, M2);
	assert_int_equal(u.pss >> USAGE_PSS_SHIFT, M2 / 2);
	assert_true(page_view_at(x->mm, A + 5 * P).present);
	assert_false(page_view_at(x->mm, A + 5 * P).exclusive);
	mmput(child);
	assert_true(page_view_at(x->mm, A + 5 * P).exclusive);
	mm_clear_refs(x->mm, CLEAR_REFS_ALL);
	assert_false(leaf_at(x, A) & PTE_ACCESSED);
	assert_int_equal(mm_munmap(x->mm, A, P), 0);
	u = (struct vma_usage){0};
	vma_usage_add(vma_find(&x->mm->vmas, A + P), &u);
	assert_int_equal(u.rss, M2 - P);
	assert_int_equal(u.anon_huge, 0);
}

/* A call that reads memory which only was read so far finds zeroes, and comes back. */
static void host_reads_zeroes(void **state)
{
	struct fixture *x = *state;
	uint64_t word = 1;
	struct page *page;

	map_advised(x, A, M2);
	assert_int_equal(fixture_load(x, A), 0);
	assert_int_equal(level_at(x, A + 7 * P), 1);
	assert_int_equal(copy_from_user(x->mm, &word, A + 7 * P, 8), 0);
	assert_int_equal(word, 0);
	assert_int_equal(get_user_pages(x->mm, A + 9 * P, 1, 0, &page), 1);
	assert_ptr_equal(page, x->mm->frames->zero_page);
	put_user_pages(x->mm, 1, &page);
	word = 5;
	assert_int_equal(copy_to_user(x->mm, A + 7 * P, &word, 8), 0);
	assert_int_equal(fixture_load(x, A + 7 * P), 5);
}

/* Advice and locks on a part make areas of their own; what they need of the huge entry they get, and else they fail. */
static void areas_are_not_cut_through(void **state)
{
	struct fixture *x = *state;

	map_advised(x, A, 2 * M2);
	fixture_store(x, A, 1);
	fixture_store(x, A + M2, 2);
	assert_int_equal(mm_madvise(x->mm, A + 5 * P, P, MADV_DONTFORK), 0);
	assert_int_equal(level_at(x, A), 0);
	assert_int_equal(level_at(x, A + M2), 1);
	assert_mm_sound(x->mm);
	x->machine->frames.fail_in = 1;
	assert_int_equal(mm_mlock(x->mm, A + M2 + 5 * P, P, 0), -ENOMEM);
	x->machine->frames.fail_in = 0;
	assert_int_equal(level_at(x, A + M2), 1);
	assert_mm_sound(x->mm);
	assert_int_equal(mm_mlock(x->mm, A + M2 + 5 * P, P, 0), 0);
	assert_int_equal(level_at(x, A + M2), 0);
	assert_mm_sound(x->mm);
	assert_int_equal(fixture_load(x, A), 1);
	assert_int_equal(fixture_load(x, A + M2), 2);
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
	static const struct CMUnitTest tests[] = {
		T("huge: the host reads the huge zero page for a guest", host_reads_zeroes),
		T("huge: an area is not cut through a huge entry", areas_are_not_cut_through),
		T("huge: a write where it was asked for maps 2 MiB at once [B19][K12]", write_maps_a_block),
		T("huge: a read maps the huge zero page, a write replaces it [K13][K14]",
		  read_maps_the_huge_zero_page),
		T("huge: the huge zero page splits into zero pages", zeroes_split_into_zeroes),
		T("huge: always, madvise, never, and the area's own word", policy_decides),
		T("huge: only aligned 2 MiB that lie in one area", shape_decides),
		T("huge: a dense row of windows goes on in blocks, ever more of them",
		  dense_row_grows_into_blocks),
		T("huge: an account that is nearly full gets small pages", small_account_gets_small_pages),
		T("huge: without a block the fault is resolved by small pages", no_block_no_harm),
		T("huge: unmapping part of a block splits it", unmapping_part_splits),
		S("huge: the same on a shadow MMU", unmapping_part_splits),
		T("huge: protecting all of a block keeps it, protecting part splits it",
		  protecting_whole_keeps_it_huge),
		S("huge: protection on a shadow MMU", protecting_whole_keeps_it_huge),
		T("huge: a block moves whole where it fits, in pages where it does not",
		  moving_whole_keeps_it_huge),
		S("huge: moving on a shadow MMU", moving_whole_keeps_it_huge),
		T("huge: copies and pins reach into blocks [P5]", copies_reach_into_blocks),
		T("huge: a fork shares the block, a write by either side copies [M3][M7]",
		  fork_shares_the_block),
		S("huge: fork on a shadow MMU", fork_shares_the_block),
		T("huge: a block that nobody maps any more goes back whole", freed_block_goes_whole),
		T("collapse: pages are copied, gaps filled with zeroes", collapse_fills_and_copies),
		S("collapse: on a shadow MMU", collapse_fills_and_copies),
		T("collapse: pinned pages stay where they are [P5]", pinned_pages_stay),
		T("collapse: out of memory leaves all as it was", collapse_needs_room),
		T("collapse: refused as Linux refuses it", collapse_says_what_linux_says),
		T("collapse: memory that nobody may touch stays so", collapse_of_what_nobody_may_touch),
		T("collapse: pages that another space has too are copied [M4]",
		  collapse_of_what_others_share),
		S("collapse: the same on a shadow MMU", collapse_of_what_others_share),
		T("huge: walks from a page find the huge entries that map it [N2]", walks_find_huge_entries),
		T("huge: what is told of an area counts its blocks", usage_counts_blocks),
		T("collapse: the background takes tables that are three quarters full",
		  background_collapses_what_is_full),
	};

	return cmocka_run_group_tests_name("huge", tests, NULL, NULL);
}
