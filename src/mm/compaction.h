/* SPDX-License-Identifier: MIT */
/*
 * compaction.h - making large blocks by moving pages out of the way.
 *
 * Two scanners walk a zone towards each other: one from the start looks for pages that can move, one from the end takes
 * free frames for them to move to. Who moves a page is reclaim_ops.migrate. Only pageblocks of movable types are entered,
 * unless the priority is the highest.
 */
#ifndef LODGE_MM_COMPACTION_H
#define LODGE_MM_COMPACTION_H

#include "page_alloc.h"

enum compact_result {
	COMPACT_SKIPPED,  /* too little free memory to move anything to, or nobody who moves it */
	COMPACT_DEFERRED, /* it failed too often of late */
	COMPACT_COMPLETE, /* the scanners met */
	COMPACT_SUCCESS,  /* a block of the wanted order is free */
};

enum compact_priority { COMPACT_PRIO_SYNC_FULL, COMPACT_PRIO_SYNC_LIGHT, COMPACT_PRIO_ASYNC };
#define COMPACT_PRIO_INIT COMPACT_PRIO_ASYNC

/* Compacts one zone until a block of `order` is free or the scanners meet. */
enum compact_result compact_zone(struct frames *f, struct zone *z, unsigned int order,
				 enum compact_priority priority);

/*
 * Why a request of `order` would fail now, in thousandths: towards 0 for want of memory, towards 1000 for want of large
 * blocks; -1000 when it would not fail.
 */
int fragmentation_index(struct zone *z, unsigned int order);

/*
 * Moves the pages out of [start, start + nr) of one zone and takes the frames, which are the caller's then (refs 1 each).
 * 0; -EBUSY when something there does not move, -EINVAL for a range that is not of one zone's pageblocks. After a failure
 * everything that was free is free.
 */
int alloc_contig_range(struct frames *f, pfn_t start, uint64_t nr);

/* The first nr free-able frames of node 0's contiguous area, aligned to 2^align_order; NULL: no room. */
struct page *cma_alloc(struct frames *f, uint64_t nr, unsigned int align_order);
void cma_release(struct frames *f, struct page *page, uint64_t nr);

#endif
