/* SPDX-License-Identifier: MIT */
/*
 * buddy.h - free blocks of 2^order frames, naturally aligned, by order and migratetype.
 *
 * Algorithm: binary buddy system (Knowlton 1965; Knuth, TAOCP 1, 2.5); grouping by mobility as Linux 5.11 does it.
 * Every function needs zone->lock held.
 */
#ifndef LODGE_MM_BUDDY_H
#define LODGE_MM_BUDDY_H

#include "page.h"

/* Takes a block back, merging it with its buddy as often as that is free too; it goes on the list of mt. */
void buddy_free(struct frames *f, struct zone *z, struct page *page, unsigned int order, enum migratetype mt);

/* The same for one whose memory the machine has: page_reporting.h. */
void buddy_free_reported(struct frames *f, struct zone *z, struct page *page, unsigned int order,
			 enum migratetype mt);

/* The smallest block of this type that is large enough, split down to order. NULL: none. */
struct page *buddy_take_smallest(struct frames *f, struct zone *z, unsigned int order, enum migratetype mt);

/* Takes the given free block of exactly this order off its list. */
void buddy_remove(struct zone *z, struct page *page, unsigned int order);

/* Moves the given free block of exactly this order to the list of mt. */
void buddy_move(struct zone *z, struct page *page, unsigned int order, enum migratetype mt);

/* Puts a block that is on no list on that of mt, without merging. */
void buddy_insert(struct zone *z, struct page *page, unsigned int order, enum migratetype mt);

/* Cuts one block of `order`, from `page` on, out of the free block `head` that contains it; the rest stays free. */
void buddy_carve_out(struct frames *f, struct zone *z, struct page *head, struct page *page,
		     unsigned int order);

/* The head of the free block that contains a frame, or NULL. */
struct page *buddy_head_of(struct frames *f, struct page *page);

/*
 * Moves every free block within the pageblock of `page` to the lists of mt. Returns the frames moved. If the pageblock
 * changes its type, that is set before: a block of the whole of it merges with a buddy that it may now have.
 */
uint64_t buddy_move_pageblock(struct frames *f, struct zone *z, struct page *page, enum migratetype mt);

void pageblock_set_migratetype(struct frames *f, pfn_t pfn, enum migratetype mt);

enum alloc_flags {
	ALLOC_WMARK_MIN = WMARK_MIN,
	ALLOC_WMARK_LOW = WMARK_LOW,
	ALLOC_WMARK_HIGH = WMARK_HIGH,
	ALLOC_WMARK_MASK = 3,
	ALLOC_NO_WATERMARKS = 1 << 2,
	ALLOC_OOM = 1 << 3,    /* the victim of the OOM choice: half of the reserve */
	ALLOC_HARDER = 1 << 4, /* a quarter of the reserve, and the highatomic pageblocks */
	ALLOC_HIGH = 1 << 5,   /* half of the reserve */
	ALLOC_CPUSET = 1 << 6,
	ALLOC_CMA = 1 << 7,
	ALLOC_NOFRAGMENT = 1 << 8, /* no pageblocks of two types */
	ALLOC_KSWAPD = 1 << 11,
};

/*
 * __rmqueue: a block of this type, however it has to be come by: from its own lists, the contiguous area (movable only),
 * frames that nobody had yet, or another type's lists.
 */
struct page *buddy_take(struct frames *f, struct zone *z, unsigned int order, enum migratetype mt,
			unsigned int alloc_flags);

/* --- fallback.c: what to do when a type's own lists are empty --- */

extern const enum migratetype migratetype_fallbacks[MIGRATE_PCPTYPES][2];

/* Whether a block of this order may be taken over with its pageblock. */
bool can_steal_fallback(const struct frames *f, unsigned int order, enum migratetype start_mt);

/* The type to fall back to at this order, or -1. *can_steal tells what is possible; only_stealable wants nothing less. */
int find_suitable_fallback(const struct frames *f, const struct free_area *area, unsigned int order,
			   enum migratetype mt, bool only_stealable, bool *can_steal);

/* Moves a block of another type to the lists of start_mt. False: there is none, and nothing has changed. */
bool buddy_fallback(struct frames *f, struct zone *z, unsigned int order, enum migratetype start_mt,
		    unsigned int alloc_flags);

/* --- highatomic.c: a few pageblocks for orders above 0 of those who cannot wait --- */

void highatomic_reserve(struct frames *f, struct zone *z, struct page *page);

/* Gives one of these pageblocks back to mt; `force`: even the last one. True when frames became free for mt. */
bool highatomic_unreserve(struct frames *f, struct zone *z, enum migratetype mt, bool force);

#endif
