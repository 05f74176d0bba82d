/* SPDX-License-Identifier: MIT */
/*
 * special_mapping.h - areas over a few frames that the host keeps for all spaces: the code and data that every program is given.
 *
 * Entries are special: no mapcount, no reference, no rss. Those of the frames that are there are made with the area, so that no access
 * faults; an entry that MADV_DONTNEED took comes back by a fault, a page without a frame is SIGBUS. Such an area may be unmapped, moved
 * and protected as a whole, never cut.
 */
#ifndef LODGE_MM_SPECIAL_MAPPING_H
#define LODGE_MM_SPECIAL_MAPPING_H

#include "mm.h"

/* What the areas of one kind show; it outlives them. The frames are reserved (PG_RESERVED) and in a row. */
struct special_mapping {
	const char *name; /* as /proc/pid/maps has it */
	uint64_t vm_flags;
	uint64_t nr_pages;
	pfn_t pfn;	    /* of the first page */
	uint64_t nr_frames; /* the pages behind them are empty */
};

/*
 * Maps nr (at most SPECIAL_MAPPINGS_MAX) of them one behind the other where the space has room. The address of the first, or -ENOMEM
 * with nothing mapped. Takes mmap_lock.
 */
#define SPECIAL_MAPPINGS_MAX 2
int64_t install_special_mappings(struct mm *mm, const struct special_mapping *s, unsigned int nr);

/* The same for one of them at a place that is free. 0 or -ENOMEM. */
int install_special_mapping_at(struct mm *mm, const struct special_mapping *s, gva_t at);

#endif
