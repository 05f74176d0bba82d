/* SPDX-License-Identifier: MIT */
/* swap_read.h - filling a frame with what a slot holds. */
#ifndef LODGE_MM_SWAP_READ_H
#define LODGE_MM_SWAP_READ_H

#include "swap.h"

#define SWAP_READ_UNDER_WAY 1
#define SWAP_READ_UNPACKED  2

/*
 * Makes a page that nobody else knows, locked and charged to cg, the cached one of a slot, and has it filled. 0: it is, and unlocked.
 * SWAP_READ_UNPACKED: the same, and it came out of compressed memory. SWAP_READ_UNDER_WAY: by a transfer of `plug`, which unlocks it. A
 * fault of the last two kinds is a major one, as on Linux. -EEXIST, -ENOENT as swap_cache_add, and it is still the caller's.
 */
int swap_read(struct mm_host *h, struct memcg *cg, swp_entry_t entry, struct page *page,
	      struct swap_plug *plug);

#endif
