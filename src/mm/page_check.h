/* SPDX-License-Identifier: MIT */
/*
 * page_check.h - whether a frame is what it must be when it is handed out or taken back; filling freed frames with a
 * pattern.
 *
 * A frame that fails a check is reported, marked PG_BAD, and stays out of use for good: nobody knows who still uses it.
 */
#ifndef LODGE_MM_PAGE_CHECK_H
#define LODGE_MM_PAGE_CHECK_H

#include "page.h"

#define PAGE_POISON 0xaa /* what Linux fills freed frames with */

/* Flags that a frame may have when its owner gives it back. */
#define PAGE_FLAGS_FREEABLE                                                                                 \
	(PG_RESERVED | PG_TABLE | PG_CACHE | PG_UPTODATE | PG_DIRTY | PG_SLAB | PG_REFERENCED | PG_ACTIVE | \
	 PG_PRIVATE | PG_MAPPEDTODISK | PG_SWAPBACKED | PG_LAZYFREE)

/* What a free frame must look like. */
static inline bool page_is_clean_free(const struct page *page)
{
	uint32_t flags = atomic_load_explicit(&page->flags, memory_order_relaxed);

	/* A frame that was taken off its list says nothing but that it is free. */
	return (flags & ~(uint32_t)PG_FRESH) == PG_FREE &&
	       !atomic_load_explicit(&page->refs, memory_order_relaxed) &&
	       !atomic_load_explicit(&page->mapcount, memory_order_relaxed) && !page->mapping && !page->memcg;
}

/* What a frame must look like when it is freed. */
static inline bool page_is_freeable(const struct page *page)
{
	uint32_t flags = atomic_load_explicit(&page->flags, memory_order_relaxed);

	return !(flags & ~(uint32_t)PAGE_FLAGS_FREEABLE) &&
	       atomic_load_explicit(&page->refs, memory_order_relaxed) <= 1 &&
	       !atomic_load_explicit(&page->mapcount, memory_order_relaxed);
}

/* Reports a frame that cannot be taken back, and takes it out of use. The zone's lock is not held. */
void page_bad_free(struct frames *f, struct page *page);

/* A block that is about to be handed out; it goes out of use as a whole, and the answer is false, if a frame is bad. */
bool pages_check_new(struct frames *f, struct page *page, unsigned int order);

/* Fills and checks frames when FRAMES_POISON is set, from before the first free on. A fresh frame's pattern is zero. */
void page_poison(struct frames *f, struct page *page);
bool page_poison_intact(struct frames *f, const struct page *page);

#endif
