/* SPDX-License-Identifier: MIT */
/* populate.h - making the pages of a range resident ahead of their use. mmap_lock is not held unless told otherwise. */
#ifndef LODGE_MM_POPULATE_H
#define LODGE_MM_POPULATE_H

#include "mm.h"

enum populate_for {
	POPULATE_AS_MAPPED, /* writable where a write would go to the area itself; what cannot be touched is an error */
	POPULATE_READ,	/* MADV_POPULATE_READ */
	POPULATE_WRITE, /* MADV_POPULATE_WRITE */
};

/*
 * Touches every page of [start, end), page aligned. 0; -ENOMEM: a hole, or no memory; -EFAULT: no page can be there (beyond the
 * end of a file); -EINVAL: the area does not allow it. POPULATE_AS_MAPPED passes over holes and gives -EFAULT for what
 * is not allowed.
 */
int mm_populate_for(struct mm *mm, gva_t start, gva_t end, enum populate_for what);

/* What POPULATE_AS_MAPPED does for a part of one area, as far as it can be done; mmap_lock is held. */
void populate_area(struct vma *vma, gva_t start, gva_t end);

#endif
