/* SPDX-License-Identifier: MIT */
/* pagewalk.c - visiting what a range maps. See pagewalk.h. */
#include "pagewalk.h"

struct walk {
	struct mm *mm;
	const struct pte_walk_ops *ops;
	void *ctx;
};

static void walk_entries(const struct walk *w, pte_t *table, gva_t start, gva_t last)
{
	pte_t *slot = &table[level_index(start, 0)];

	if (!w->ops->pte)
		return;
	for (gva_t at = start; at <= last; at += PAGE_SIZE, slot++)
		if (!pte_none(pte_read(slot)))
			w->ops->pte(w->ctx, slot, at);
}

/* [start, last] (inclusive, so that it cannot wrap) below `table`, which is at `level`. */
static void walk_level(const struct walk *w, pte_t *table, unsigned int level, gva_t start, gva_t last)
{
	uint64_t span = 1ull << level_shift(level);

	if (!level) {
		walk_entries(w, table, start, last);
		return;
	}
	for (gva_t at = start;; at = (at & ~(span - 1)) + span) {
		pte_t *slot = &table[level_index(at, level)], entry = pte_read(slot);
		gva_t stop = min_u64(at | (span - 1), last);
		if (pte_huge(entry)) {
			if (w->ops->huge)
				w->ops->huge(w->ctx, slot, at, stop + 1, level);
		} else if (pte_table(entry) &&
			   !(level == 1 && w->ops->table && w->ops->table(w->ctx, slot, at, stop + 1))) {
			walk_level(w, pfn_address(w->mm->frames, pte_pfn(entry)), level - 1, at, stop);
		}
		if (stop == last)
			break;
	}
}

void pte_walk(struct mm *mm, gva_t start, gva_t end, const struct pte_walk_ops *ops, void *ctx)
{
	struct walk w = {mm, ops, ctx};

	if (start < end)
		walk_level(&w, page_address(mm->frames, mm->pgt.root), mm->pgt.levels - 1, start, end - 1);
}
