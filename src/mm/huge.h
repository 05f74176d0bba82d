/* SPDX-License-Identifier: MIT */
/*
 * huge.h - entries that map 2 MiB or 1 GiB at once.
 *
 * What such an entry maps is either a block of anonymous frames (block.h; level 1 only) or, with PTE_SPECIAL, frames that nobody
 * counts: zeroes, or a device's. page_table_lock is held.
 */
#ifndef LODGE_MM_HUGE_H
#define LODGE_MM_HUGE_H

#include "gather.h"

/*
 * Puts a table with the same translations in the place of the huge entry at `slot`, at `level`, on the way of `address`. False: no
 * memory, nothing changed.
 */
bool huge_split_entry(struct mm *mm, pte_t *slot, gva_t address, unsigned int level, struct gather *g);

/* The frames that huge entries of untouched memory map, made at the first call; NULL: there is no block. Any thread. */
struct page *huge_zero_page(struct mm_host *h);

bool huge_is_zero_page(struct mm_host *h, pte_t entry);

#endif
