/* SPDX-License-Identifier: MIT */
/*
 * collapse.h - 512 entries become a huge one: when a program says so, and in the background.
 *
 * Thread-safety: any thread, unless told otherwise.
 */
#ifndef LODGE_MM_COLLAPSE_H
#define LODGE_MM_COLLAPSE_H

#include "mm.h"

/*
 * MADV_COLLAPSE: every aligned 2 MiB within [start, end), which lies in `vma`, is mapped by a huge entry afterwards, with what is
 * missing filled by zeroes. mmap_lock is held. 0, or as Linux says it: -ENOMEM (no block), -EBUSY (no room in the account), and with
 * either the rest is not tried; -EAGAIN (a page is pinned or moves), -EINVAL (not private anonymous memory, no aligned 2 MiB in it,
 * nothing there yet, a guard, a swapped page that cannot be read): the last of such, after the rest was tried.
 */
int collapse_range(struct vma *vma, gva_t start, gva_t end);

/*
 * One step of what the background does: looks at up to nr_tables tables of a space, from *cursor on, and collapses those that are
 * full enough and that their area and the space's policy allow. Moves the cursor; 0 when it came to the end. Returns how many
 * collapsed.
 */
unsigned int collapse_scan(struct mm *mm, gva_t *cursor, unsigned int nr_tables);

#endif
