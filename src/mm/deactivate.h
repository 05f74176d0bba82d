/* SPDX-License-Identifier: MIT */
/*
 * deactivate.h - pages whose owner says that it does not need them soon: MADV_FREE, MADV_COLD, MADV_PAGEOUT.
 *
 *	lazyfree_range		contents may vanish until they are written again. The page gets PG_LAZYFREE and its entry loses
 *				PTE_DIRTY: who comes for room frees those that a processor did not set it in again
 *	deactivate_range	the oldest pages of the account from now on
 *	pageout_range		go now, as far as they can
 * Only pages that the space alone maps: others did not say anything.
 * Locking: mmap_lock is held for reading.
 */
#ifndef LODGE_MM_DEACTIVATE_H
#define LODGE_MM_DEACTIVATE_H

#include "vma.h"

void lazyfree_range(struct vma *vma, gva_t start, gva_t end);
void deactivate_range(struct vma *vma, gva_t start, gva_t end);

/* Returns how many pages went. */
uint64_t pageout_range(struct vma *vma, gva_t start, gva_t end);

#endif
