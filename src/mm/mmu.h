/* SPDX-License-Identifier: MIT */
/*
 * mmu.h - how a change in page tables reaches the processors that may have cached it; the core's one request to its host.
 *
 * The core changes entries and collects what gave up rights in a struct mmu_batch; then it calls ops->revoke once. When
 * revoke returns, no guest instruction that executes afterwards can use a translation recorded in the batch, and the
 * frames may be reused. Entries that only gained rights are never in a batch: a processor that cached the old entry takes
 * one spurious fault.
 *
 * Tables of any level may be in a batch. A table that several spaces share is named by each space whose batch concerns it; for
 * processors that know translations by address alone, the hull and the batch's own space are what counts.
 */
#ifndef LODGE_MM_MMU_H
#define LODGE_MM_MMU_H

#include "pgtable.h"

struct mm;

/* One table page in which entries gave up rights. */
struct mmu_batch_table {
	pfn_t table;
	uint16_t nr;	/* entries changed */
	uint16_t first; /* index of the first and the last of them */
	uint16_t last;
};

#define MMU_BATCH_TABLES 64

struct mmu_batch {
	struct mm *mm;
	gva_t start, end; /* hull of the addresses concerned */
	unsigned int nr_tables;
	struct mmu_batch_table tables[MMU_BATCH_TABLES];
	/* Table pages that were unlinked. Their frames must not become tables again before a processor has forgotten them. */
	struct list_head freed_tables;
};

struct mmu_ops {
	/* See above. Takes every page off freed_tables and sees to it that pgtable_free_page is called on each in the end. */
	void (*revoke)(void *ctx, struct mmu_batch *batch);
	/*
	 * The space ends, and no processor enters it any more: what was kept in mm->mmu_data goes, tables of the upper half are appended to
	 * `freed`. NULL: nothing is kept.
	 */
	void (*release)(void *ctx, struct mm *mm, struct list_head *freed);
};

#endif
