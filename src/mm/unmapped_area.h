/* SPDX-License-Identifier: MIT */
/* unmapped_area.h - where a mapping goes that did not say where. */
#ifndef LODGE_MM_UNMAPPED_AREA_H
#define LODGE_MM_UNMAPPED_AREA_H

#include "mm.h"

/* What is to be placed. */
struct unmapped_request {
	gva_t address;	      /* a hint, or with MAP_FIXED the place */
	uint64_t length;      /* bytes, page aligned */
	uint64_t pgoff;	      /* of the file, in pages */
	unsigned int flags;   /* MAP_ */
	struct backing *file; /* NULL: anonymous */
};

/* The address for a mapping: -ENOMEM, -EINVAL (fixed and not aligned), -EPERM (below mmap_min_addr). */
int64_t get_unmapped_area(struct mm *mm, const struct unmapped_request *r);

/* The layout of 64-bit processes: below mmap_base, highest first; above a third of the space when that is full. */
int64_t arch_get_unmapped_area_topdown(const struct mm *mm, const struct unmapped_request *r);

/* The legacy layout: from a third of the space up. */
int64_t arch_get_unmapped_area(const struct mm *mm, const struct unmapped_request *r);

/* The same as the space's own layout, but at a place where pages of the object can be huge; for files that map them. */
int64_t thp_get_unmapped_area(struct mm *mm, const struct unmapped_request *r);

#endif
