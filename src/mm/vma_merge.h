/* SPDX-License-Identifier: MIT */
/* vma_merge.h - joining areas that nothing tells apart. mmap_lock is held for writing. */
#ifndef LODGE_MM_VMA_MERGE_H
#define LODGE_MM_VMA_MERGE_H

#include "mm.h"

/* One attempt: what a range becomes, and who stands around it. */
struct vma_merge {
	struct mm *mm;
	struct vma *prev, *next; /* neighbours, or NULL */
	struct vma *middle;	 /* the area that the range is all or part of now; NULL: the range is free */
	struct vma like;	 /* the range with bounds, offset, flags and all that it will have */
};

/* Describes what [start, end) of `vma` would be with other flags. */
struct vma_merge vma_merge_part(struct mm *mm, struct vma *vma, gva_t start, gva_t end, uint64_t flags);

/*
 * Makes the range part of one or both of its neighbours. Returns the area that holds it now, or NULL when it cannot be:
 * nothing changed then. Needs no memory.
 */
struct vma *vma_merge(struct vma_merge *m);

/* True when `b`, right behind `a`, could be part of the same area. */
bool vma_mergeable(const struct vma *a, const struct vma *b);

/* True when an area may vanish in another: nobody waits for its close. */
bool vma_removable(const struct vma *vma);

#endif
