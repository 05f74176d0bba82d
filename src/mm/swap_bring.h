/* SPDX-License-Identifier: MIT */
/* swap_bring.h - bringing swapped pages of a range back ahead of their use. */
#ifndef LODGE_MM_SWAP_BRING_H
#define LODGE_MM_SWAP_BRING_H

#include "mm.h"

/* The first entry in [start, end) that says a slot, of this device if one is given. False: there is none. mmap_lock is held. */
bool swap_find_entry(struct mm *mm, gva_t start, gva_t end, const struct swap_device *d, gva_t *address);

/*
 * Faults in what is swapped of [start, end), which lies in `vma`, as long as its account has room for more than least_room pages.
 * mmap_lock is held. 0, -ENOMEM, or -EIO for a page that cannot be read.
 */
int swap_bring_range(struct vma *vma, gva_t start, gva_t end, uint64_t least_room);

/*
 * Brings those of nr pages that entries of the space say slots of, ahead of their use: ascending addresses within 2 MiB, at most
 * SWAP_AROUND_PAGES of them. They are mapped, and not marked used. False: the account has no room for more than least_room pages
 * beside them, and nothing was done; a page that cannot be read, or for which there is no free frame, is left for who touches it.
 */
bool mm_prefetch(struct mm *mm, const gva_t *at, unsigned int nr, uint64_t least_room);

#endif
