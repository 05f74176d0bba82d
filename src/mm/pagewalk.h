/* SPDX-License-Identifier: MIT */
/*
 * pagewalk.h - visiting what a range maps: entries, huge entries, tables.
 *
 * page_table_lock is held. Tables that several spaces share are walked like others unless the walk says otherwise: whoever changes
 * entries isolates the range first (pgtable_isolate).
 */
#ifndef LODGE_MM_PAGEWALK_H
#define LODGE_MM_PAGEWALK_H

#include "mm.h"

struct pte_walk_ops {
	/* An entry of level 0 that is not empty: present, or special. NULL: such are passed over. */
	void (*pte)(void *ctx, pte_t *slot, gva_t address);
	/* A huge entry; [address, end) is what the range has of it. NULL: such are passed over. */
	void (*huge)(void *ctx, pte_t *slot, gva_t address, gva_t end, unsigned int level);
	/* An entry that points to a table of level 0. True: done with it, its entries are not visited. NULL: they are. */
	bool (*table)(void *ctx, pte_t *slot, gva_t address, gva_t end);
};

/* Visits everything in [start, end), in the order of addresses. A callback may change the entry that it was called for. */
void pte_walk(struct mm *mm, gva_t start, gva_t end, const struct pte_walk_ops *ops, void *ctx);

#endif
