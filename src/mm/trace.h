/* SPDX-License-Identifier: MIT */
/*
 * trace.h - the allocator's trace points: mm_page_alloc, mm_page_alloc_zone_locked, mm_page_alloc_extfrag, and freeing.
 *
 * Hooks may run under a zone's lock or a per-CPU list's: they record, and neither allocate nor free frames. One that is NULL is
 * not called.
 */
#ifndef LODGE_MM_TRACE_H
#define LODGE_MM_TRACE_H

#include "page.h"

struct page_trace {
	void (*page_alloc)(void *ctx, const struct page *page, unsigned int order, gfp_t gfp,
			   enum migratetype mt);
	void (*page_alloc_zone_locked)(void *ctx, const struct page *page, unsigned int order,
				       enum migratetype mt);
	void (*page_alloc_extfrag)(void *ctx, const struct page *page, unsigned int alloc_order,
				   unsigned int fallback_order, enum migratetype alloc_mt,
				   enum migratetype fallback_mt, bool change_ownership);
	void (*page_free)(void *ctx, const struct page *page, unsigned int order);
};

static inline void trace_alloc(struct frames *f, const struct page *page, unsigned int order, gfp_t gfp,
			       enum migratetype mt)
{
	if (f->trace && f->trace->page_alloc)
		f->trace->page_alloc(f->trace_ctx, page, order, gfp, mt);
}

static inline void trace_alloc_zone_locked(struct frames *f, const struct page *page, unsigned int order,
					   enum migratetype mt)
{
	if (f->trace && f->trace->page_alloc_zone_locked)
		f->trace->page_alloc_zone_locked(f->trace_ctx, page, order, mt);
}

static inline void trace_alloc_extfrag(struct frames *f, const struct page *page, unsigned int alloc_order,
				       unsigned int fallback_order, enum migratetype alloc_mt,
				       enum migratetype fallback_mt, bool change_ownership)
{
	if (f->trace && f->trace->page_alloc_extfrag)
		f->trace->page_alloc_extfrag(f->trace_ctx, page, alloc_order, fallback_order, alloc_mt,
					     fallback_mt, change_ownership);
}

static inline void trace_free(struct frames *f, const struct page *page, unsigned int order)
{
	if (f->trace && f->trace->page_free)
		f->trace->page_free(f->trace_ctx, page, order);
}

#endif
