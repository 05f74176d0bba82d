/* SPDX-License-Identifier: MIT */
/*
 * page_alloc.h - blocks of 2^order frames, naturally aligned, from a zone's buddy lists.
 *
 * Algorithm: binary buddy system (Knowlton 1965; Knuth, TAOCP 1, 2.5), as the Linux page allocator arranges it.
 * Thread-safe: each call takes the zone's lock.
 */
#ifndef LODGE_MM_PAGE_ALLOC_H
#define LODGE_MM_PAGE_ALLOC_H

#include "page.h"

typedef unsigned int gfp_t;

#define GFP_ZONE_MASK 0x3u
#define GFP_TABLE     ((gfp_t)ZONE_TABLE)
#define GFP_OBJECT    ((gfp_t)ZONE_OBJECT)
#define GFP_USER      ((gfp_t)ZONE_NORMAL)
#define __GFP_ZERO    0x100u /* the block comes back filled with zeroes */

/* A block of 2^order frames with refs 1 on each of them; order 0..MAX_ORDER-1. NULL when there is none. */
struct page *page_alloc(struct frames *f, gfp_t gfp, unsigned int order);

/* Takes one frame that nobody references any more (refs is 0 or 1, mapcount 0) back to its zone. */
void page_free(struct frames *f, struct page *page);

/* Takes back a whole block as page_alloc returned it. */
void page_free_block(struct frames *f, struct page *page, unsigned int order);

static inline void page_get(struct page *page)
{
	atomic_fetch_add_explicit(&page->refs, 1, memory_order_relaxed);
}

/* Drops a reference; the last one uncharges and frees the frame. */
void page_put(struct frames *f, struct page *page);

/*
 * Verifies every invariant of the zone's lists against the frame table. Returns the number of violations, each told to
 * `complain` (which may be NULL).
 */
unsigned int zone_check(struct frames *f, enum zone_type type, void (*complain)(const char *what, pfn_t pfn));

#endif
