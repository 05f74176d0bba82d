/* SPDX-License-Identifier: MIT */
/*
 * watermark.h - how much of a zone stays free, for whom.
 *
 * The marks are min < low < high, by Linux's formula: min is the zone's share of min_free_kbytes, which defaults to
 * 4 * sqrt(KiB of memory); low and high lie a quarter and a half of it above, or watermark_scale_factor ten-thousandths of
 * the zone, whichever is more. A request that a higher zone could serve leaves lowmem_reserve more. Free includes room
 * that no bank has filled yet (zone.h), so a host that is still growing is not short of memory.
 *
 * Marks are off until somebody turns them on: without anyone who reclaims, what lies below them is lost.
 * Locking: readers need none; setting takes no lock either and is for one thread at a time.
 */
#ifndef LODGE_MM_WATERMARK_H
#define LODGE_MM_WATERMARK_H

#include "page.h"

#define MIN_FREE_BY_FORMULA ~0ull

/* Sets min_free_kbytes (0: no marks, no reserves) and all that follows from it and from the other knobs. */
void watermarks_set(struct frames *f, uint64_t min_free_kbytes);

/* The mark with its boost. */
static inline uint64_t wmark_pages(const struct zone *z, enum zone_watermarks which)
{
	return atomic_load_explicit(&z->watermark[which], memory_order_relaxed) +
	       atomic_load_explicit(&z->watermark_boost, memory_order_relaxed);
}

/*
 * Whether a block of this order can be taken with `mark` frames staying free. highest is the highest zone of the request.
 * An order above 0 also needs a block that is large enough, of a type that alloc_flags allow.
 */
bool zone_watermark_ok(const struct zone *z, unsigned int order, uint64_t mark, enum zone_type highest,
		       unsigned int alloc_flags);

/* The same, quick for order 0; ignores the boost for GFP_ATOMIC below the mark. */
bool zone_watermark_fast(const struct zone *z, unsigned int order, uint64_t mark, enum zone_type highest,
			 unsigned int alloc_flags, gfp_t gfp);

/* Raises the marks after types were mixed in a pageblock, so that kswapd makes more room. False: no boost. */
bool watermark_boost(struct frames *f, struct zone *z);

/* kswapd is done with a zone. */
void watermark_unboost(struct zone *z);

#endif
