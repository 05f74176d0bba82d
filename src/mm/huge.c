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

bool huge_split_entry(struct mm *mm, pte_t *slot, gva_t address, unsigned int level, struct gather *g)
{
	struct page *table = pgtable_alloc_page(&mm->pgt);

	if (!table)
		return false;
	/* Empty for a moment, so that no A or D that a processor sets meanwhile is lost. */
	pte_t *entry = page_address(mm->frames, table), old = pte_exchange(slot, 0);
	uint64_t step = 1ull << (9 * (level - 1));
	for (unsigned int i = 0; i < PTRS_PER_TABLE; i++)
		entry[i] = pte_make(pte_pfn(old) + i * step, lower_flags(old, level));
	if (!(old & PTE_SPECIAL))
		block_split(mm->frames, pfn_to_page(mm->frames, pte_pfn(old)));
	pte_set(slot, pte_make(page_to_pfn(mm->frames, table), TABLE_FLAGS));
	mm->pgt.nr_tables++;
	if (old & PTE_PRESENT)
		gather_entry_at(g, slot, address, level);
	return true;
}
