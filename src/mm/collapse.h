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
 * missing filled by zeroes. mmap_lock is held. 0, -ENOMEM (no block, or no room in the account), -EAGAIN (a page is pinned, or another
 * space maps it too), -EINVAL (not private anonymous memory, or not an aligned 2 MiB in it); the first failure, after
 * the rest was tried.
 */
int collapse_range(struct vma *vma, gva_t start, gva_t end);

/*
 * One step of what the background does: looks at up to nr_tables tables of a space, from *cursor on, and collapses those that are
 * full enough and that their area and the space's policy allow. Moves the cursor; 0 when it came to the end. Returns how many
 * collapsed.
 */
unsigned int collapse_scan(struct mm *mm, gva_t *cursor, unsigned int nr_tables);

/* khugepaged: a thread that goes round the spaces of a host. 0 or -errno. */
struct khugepaged;
int khugepaged_start(struct mm_host *h, struct khugepaged **k);
void khugepaged_stop(struct khugepaged *k);

#endif
