/* SPDX-License-Identifier: MIT */
/*
 * reclaim.h - what the page allocator asks of whoever owns the pages when memory is short. Every hook may be NULL.
 *
 * Hooks run on the allocating thread, with no lock of the allocator held, and may allocate themselves: such requests use
 * the reserves and are never sent to reclaim again.
 * Not here: which pages go, where to, and whom the OOM choice hits.
 */
#ifndef LODGE_MM_RECLAIM_H
#define LODGE_MM_RECLAIM_H

#include "page.h"

enum node_reclaim_result { NODE_RECLAIM_NOSCAN, NODE_RECLAIM_FULL, NODE_RECLAIM_SOME, NODE_RECLAIM_SUCCESS };

struct reclaim_ops {
	/* A zone of the node fell below its low mark: make it rise above the high one, in the background. Only wakes. */
	void (*wake_kswapd)(void *ctx, unsigned int nid, unsigned int order, enum zone_type highest);
	/* Free about nr frames now. Returns how many were. */
	uint64_t (*reclaim)(void *ctx, gfp_t gfp, unsigned int order, uint64_t nr, nodemask_t nodes);
	/* The same on one node, when the next one is too far away (node_reclaim_mode). */
	enum node_reclaim_result (*node_reclaim)(void *ctx, unsigned int nid, gfp_t gfp, unsigned int order);
	/* Pages that reclaim could still free in a zone: whether it is worth trying again. */
	uint64_t (*reclaimable)(void *ctx, unsigned int nid, enum zone_type zone);
	/*
	 * Moves a page in use to another frame: content, references, mappings. Takes a reference of its own first
	 * (page_get_unless_zero), since the page may be freed at any moment. 0: only the caller's hold on `from` is left and
	 * it may be freed (refs 1); `to` (refs 1 on entry) belongs to the page's owners. Else -errno and nothing changed.
	 */
	int (*migrate)(void *ctx, struct page *from, struct page *to);
	/* Nothing else helps. True when memory was freed, or will be soon. */
	bool (*oom)(void *ctx, gfp_t gfp, unsigned int order, nodemask_t nodes);
	/* Whether a page that will be written may come from this node (its share of dirty pages). */
	bool (*node_dirty_ok)(void *ctx, unsigned int nid);
} __randomize_layout;

/* Installs the hooks. NULL ops: nobody reclaims. Marks are set separately (watermark.h). Before the first allocation. */
static inline void reclaim_set_ops(struct frames *f, const struct reclaim_ops *ops, void *ctx)
{
	f->reclaim = ops;
	f->reclaim_ctx = ctx;
}

#endif
