/* SPDX-License-Identifier: MIT */
/*
 * gather.h - one operation's changes to page tables, collected so that processors are told once.
 *
 * Frames that lost a mapping are put only after the revocation, so none can be reused while a processor might still
 * reach it. Used under mm->page_table_lock; gather_end is called after it was released or with it held, as suits.
 */
#ifndef LODGE_MM_GATHER_H
#define LODGE_MM_GATHER_H

#include "mm.h"

#define GATHER_PAGES 256

struct gather {
	struct mmu_batch batch;
	uint64_t nr_entries;
	unsigned int nr_pages;
	struct page *pages[GATHER_PAGES];
};

void gather_begin(struct gather *g, struct mm *mm);

/* The entry at `slot`, for `address`, was present and gave up rights. */
void gather_entry(struct gather *g, const pte_t *slot, gva_t address);

/* A reference to put after the revocation. */
void gather_page(struct gather *g, struct page *page);

/* Table pages that pgtable_unlink appended to g->batch.freed_tables covered [start, end). */
void gather_tables(struct gather *g, gva_t start, gva_t end);

/* Revokes what was collected and puts the pages. */
void gather_end(struct gather *g);

#endif
