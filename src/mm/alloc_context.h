/* SPDX-License-Identifier: MIT */
/* alloc_context.h - one request on its way through the allocator: between page_alloc.c and slowpath.c only. */
#ifndef LODGE_MM_ALLOC_CONTEXT_H
#define LODGE_MM_ALLOC_CONTEXT_H

#include "buddy.h"
#include "page_alloc.h"

struct alloc_context {
	struct frames *f;
	gfp_t gfp;
	unsigned int order;
	const struct alloc_task *task; /* never NULL */
	const struct zoneref *zonelist;
	const struct zoneref *preferred; /* first zone of the list that may serve */
	enum zone_type highest;
	enum migratetype migratetype;
	nodemask_t nodes;   /* by policy and cpuset */
	nodemask_t allowed; /* by cpuset alone */
	bool spread_dirty;  /* pages that will be written are shared out among nodes: first pass only */
	bool interleaved;
};

/* get_page_from_freelist: the first zone that is above the mark of alloc_flags and has a block. Prepared; or NULL. */
struct page *alloc_from_zones(struct alloc_context *ac, unsigned int alloc_flags);

/* Everything that can be done when alloc_from_zones found nothing. */
struct page *alloc_slowpath(struct alloc_context *ac);

/* Tells the node's kswapd that a zone is low. */
void alloc_wake_kswapd(struct alloc_context *ac, const struct zone *z);

extern _Thread_local unsigned int alloc_reserve_depth, alloc_atomic_depth;

#endif
