/* SPDX-License-Identifier: MIT */
/*
 * gather.h - one operation's changes to page tables, collected so that processors are told once.
 *
 * Frames that lost a mapping, and tables that lost a space, are put only after the revocation, so none can be reused while a
 * processor might still reach it. Used under mm->page_table_lock; gather_end is called after it was released or with it held, as
 * suits - with it held when a table was replaced, for others must not change entries of the new one while processors still have
 * the way to the old.
 */
#ifndef LODGE_MM_GATHER_H
#define LODGE_MM_GATHER_H

#include "mm.h"

#define GATHER_PAGES 256

struct gather {
	struct mmu_batch batch;
	uint64_t nr_entries;
	unsigned int nr_held;
	bool holds_table;
	uintptr_t held[GATHER_PAGES]; /* struct page *, and in the low bits what is to be put */
};

void gather_begin(struct gather *g, struct mm *mm);

/* The entry of level 0 at `slot`, for `address`, was present and gave up rights. */
void gather_entry(struct gather *g, const pte_t *slot, gva_t address);

/* The same for an entry of any level: a huge one, or one that pointed to another table, or let write through it. */
void gather_entry_at(struct gather *g, const pte_t *slot, gva_t address, unsigned int level);

/* Any entries of `table`, of level 0, which covers `address`, gave up rights. */
void gather_table(struct gather *g, const struct page *table, gva_t address);

/* To put after the revocation: a reference, the huge entry's share in a block, the space's share in a table. */
void gather_page(struct gather *g, struct page *page);
void gather_block(struct gather *g, struct page *head);
void gather_table_put(struct gather *g, struct page *table);

/* Table pages that pgtable_unlink appended to g->batch.freed_tables covered [start, end). */
void gather_tables(struct gather *g, gva_t start, gva_t end);

/* Has the space left a table whose processors have not been told yet? */
static inline bool gather_holds_table(const struct gather *g)
{
	return g->holds_table;
}

/* Revokes what was collected so far and puts the pages; more may be collected. */
void gather_flush(struct gather *g);

/* The same, at the end. */
void gather_end(struct gather *g);

#endif
