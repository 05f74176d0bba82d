/* SPDX-License-Identifier: MIT */
/* huge.c - entries that map 2 MiB or 1 GiB at once. See huge.h. */
#include "huge.h"
#include "block.h"

/* What the entries below have in common with the huge one; frames apart. */
static pte_t lower_flags(pte_t entry, unsigned int level)
{
	pte_t flags = entry & ~PTE_PFN_MASK;

	return level > 1 ? flags
			 : flags & ~PTE_HUGE; /* in an entry of level 0 that bit means something else */
}

struct page *huge_zero_page(struct mm_host *h)
{
	struct page *zero = atomic_load(&h->huge_zero), *none = NULL;

	if (zero)
		return zero;
	zero = page_alloc(h->frames, GFP_TRANSHUGE_LIGHT | __GFP_ZERO, BLOCK_ORDER);
	if (!zero)
		return NULL;
	for (unsigned int i = 0; i < BLOCK_PAGES; i++)
		atomic_fetch_or(&zero[i].flags, PG_RESERVED);
	if (atomic_compare_exchange_strong(&h->huge_zero, &none, zero)) {
		frames_count(h->frames, THP_ZERO_PAGE_ALLOC, 1);
		return zero;
	}
	for (unsigned int i = 0; i < BLOCK_PAGES; i++)
		atomic_fetch_and(&zero[i].flags, ~(uint32_t)PG_RESERVED);
	page_free_block(h->frames, zero, BLOCK_ORDER);
	return none;
}

bool huge_is_zero_page(struct mm_host *h, pte_t entry)
{
	const struct page *zero = atomic_load(&h->huge_zero);

	return zero && (entry & PTE_SPECIAL) && pte_pfn(entry) == page_to_pfn(h->frames, zero);
}

/* The first frame of the table that a huge entry becomes, and how far it is from each to the next. */
static pfn_t lower_pfn(struct mm *mm, pte_t old, unsigned int level, uint64_t *step)
{
	*step = 1ull << (9 * (level - 1));
	if (!huge_is_zero_page(mm->host, old))
		return pte_pfn(old);
	*step = 0; /* untouched memory has one zero page for all */
	return page_to_pfn(mm->frames, mm->frames->zero_page);
}

bool huge_split_entry(struct mm *mm, pte_t *slot, gva_t address, unsigned int level, struct gather *g)
{
	struct page *table = pgtable_alloc_page(&mm->pgt);

	if (!table)
		return false;
	/* Empty for a moment, so that no A or D that a processor sets meanwhile is lost. */
	pte_t *entry = page_address(mm->frames, table), old = pte_exchange(slot, 0);
	uint64_t step;
	pfn_t first = lower_pfn(mm, old, level, &step);
	for (unsigned int i = 0; i < PTRS_PER_TABLE; i++)
		entry[i] = pte_make(first + i * step, lower_flags(old, level));
	if (!(old & PTE_SPECIAL))
		block_split(mm->frames, pfn_to_page(mm->frames, pte_pfn(old)));
	pte_set(slot, pte_make(page_to_pfn(mm->frames, table), TABLE_FLAGS));
	mm->pgt.nr_tables++;
	frames_count(mm->frames, THP_SPLIT_PMD, level == 1);
	if (old & PTE_PRESENT)
		gather_entry_at(g, slot, address, level);
	return true;
}
