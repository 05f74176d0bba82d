/* SPDX-License-Identifier: MIT */
/*
 * fallback.c - taking blocks of another migratetype: which, and whether their pageblock changes sides.
 *
 * Stealing takes the pageblock over: whatever is freed in it later belongs to the new type. Borrowing takes the block
 * alone. Large blocks are stolen, and unmovable and reclaimable requests steal always, since each pageblock that they are
 * scattered over is one less for large blocks. The rules are those of Linux 5.11.
 */
#include "buddy.h"
#include "trace.h"
#include "watermark.h"

const enum migratetype migratetype_fallbacks[MIGRATE_PCPTYPES][2] = {
	[MIGRATE_UNMOVABLE] = {MIGRATE_RECLAIMABLE, MIGRATE_MOVABLE},
	[MIGRATE_MOVABLE] = {MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE},
	[MIGRATE_RECLAIMABLE] = {MIGRATE_UNMOVABLE, MIGRATE_MOVABLE},
};

bool can_steal_fallback(const struct frames *f, unsigned int order, enum migratetype start_mt)
{
	return order >= PAGEBLOCK_ORDER || order >= PAGEBLOCK_ORDER / 2 || start_mt == MIGRATE_RECLAIMABLE ||
	       start_mt == MIGRATE_UNMOVABLE || f->page_group_by_mobility_disabled;
}

int find_suitable_fallback(const struct frames *f, const struct free_area *area, unsigned int order,
			   enum migratetype mt, bool only_stealable, bool *can_steal)
{
	*can_steal = false;
	if (!area->nr_free)
		return -1;
	for (unsigned int i = 0; i < 2; i++) {
		enum migratetype from = migratetype_fallbacks[mt][i];
		if (list_empty(&area->free_list[from]))
			continue;
		*can_steal = can_steal_fallback(f, order, mt);
		if (!only_stealable || *can_steal)
			return (int)from;
	}
	return -1;
}

/* Frames of the pageblock that are in use and probably movable; free ones are counted too. */
struct block_use {
	uint64_t free, movable;
};

static struct block_use pageblock_use(struct frames *f, struct page *page)
{
	pfn_t pfn = page_to_pfn(f, page) & ~(PAGEBLOCK_PAGES - 1), end = pfn + PAGEBLOCK_PAGES;
	struct block_use use = {0};

	while (pfn < end) {
		const struct page *p = pfn_to_page(f, pfn);
		uint32_t flags = atomic_load_explicit(&p->flags, memory_order_relaxed);
		if (flags & PG_BUDDY) {
			use.free += 1ull << p->order;
			pfn += 1ull << p->order;
			continue;
		}
		use.movable += (flags & (PG_CACHE | PG_LRU)) || (!(flags & PG_SLAB) && page_anon(p));
		pfn++;
	}
	return use;
}

/* Frames that get along with start_mt in a pageblock of old_mt. */
static uint64_t alike_pages(const struct block_use *use, enum migratetype start_mt, enum migratetype old_mt)
{
	if (start_mt == MIGRATE_MOVABLE)
		return use->movable;
	/* Unmovable and reclaimable do each other no harm; of a movable block all that is not movable is theirs alike. */
	return old_mt == MIGRATE_MOVABLE ? PAGEBLOCK_PAGES - use->free - use->movable : 0;
}

static void retag_whole_blocks(struct frames *f, struct page *page, unsigned int order,
			       enum migratetype start_mt)
{
	for (pfn_t i = 0; i < 1ull << order; i += PAGEBLOCK_PAGES)
		pageblock_set_migratetype(f, page_to_pfn(f, page) + i, start_mt);
}

/* steal_suitable_fallback: the block, or as much of its pageblock as gets along, becomes start_mt's. */
static bool steal(struct frames *f, struct zone *z, struct page *page, enum migratetype start_mt,
		  unsigned int alloc_flags, bool whole_block)
{
	unsigned int order = page->order;
	enum migratetype old_mt = pageblock_migratetype(f, page_to_pfn(f, page));

	if (old_mt >= MIGRATE_PCPTYPES) {
		buddy_move(z, page, order, start_mt);
		return false;
	}
	if (order >= PAGEBLOCK_ORDER) {
		retag_whole_blocks(f, page, order, start_mt);
		buddy_move(z, page, order, start_mt);
		return true;
	}
	if (watermark_boost(f, z) && (alloc_flags & ALLOC_KSWAPD))
		atomic_fetch_or(&z->flags, ZONE_BOOSTED_WATERMARK);
	if (!whole_block) {
		buddy_move(z, page, order, start_mt);
		return false;
	}
	struct block_use use = pageblock_use(f, page);
	uint64_t alike = alike_pages(&use, start_mt, old_mt);
	uint64_t moved = buddy_move_pageblock(f, z, page, start_mt);
	bool change = moved + alike >= PAGEBLOCK_PAGES / 2 || f->page_group_by_mobility_disabled;
	if (change) {
		pageblock_set_migratetype(f, page_to_pfn(f, page), start_mt);
		frames_count(f, PAGEBLOCK_STEAL, 1);
	}
	return change;
}

/* A free block of another type that start_mt may have, and what it may do with it. */
struct candidate {
	struct page *page; /* NULL: none */
	enum migratetype from;
	bool can_steal;
};

static struct candidate candidate_of(struct frames *f, struct zone *z, unsigned int order,
				     enum migratetype start_mt)
{
	struct candidate c = {0};
	int from = find_suitable_fallback(f, &z->free_area[order], order, start_mt, false, &c.can_steal);

	if (from >= 0) {
		c.from = (enum migratetype)from;
		c.page = list_entry(z->free_area[order].free_list[from].next, struct page, node);
	}
	return c;
}

/* The largest block: so that the next requests find the rest of it. */
static struct candidate largest(struct frames *f, struct zone *z, unsigned int min_order,
				enum migratetype start_mt)
{
	struct candidate c = {0};

	for (unsigned int o = MAX_ORDER; o-- > min_order && !c.page;)
		c = candidate_of(f, z, o, start_mt);
	return c;
}

static struct candidate smallest(struct frames *f, struct zone *z, unsigned int order,
				 enum migratetype start_mt)
{
	struct candidate c = {0};

	for (unsigned int o = order; o < MAX_ORDER && !c.page; o++)
		c = candidate_of(f, z, o, start_mt);
	return c;
}

bool buddy_fallback(struct frames *f, struct zone *z, unsigned int order, enum migratetype start_mt,
		    unsigned int alloc_flags)
{
	bool whole = alloc_flags & ALLOC_NOFRAGMENT;

	if (start_mt >= MIGRATE_PCPTYPES)
		return false;
	struct candidate c =
		largest(f, z, whole ? (unsigned int)max_u64(order, PAGEBLOCK_ORDER) : order, start_mt);
	if (!c.page)
		return false;
	/* What cannot be stolen is only borrowed: then rather the smallest, and leave large blocks whole. */
	if (!c.can_steal && start_mt == MIGRATE_MOVABLE && c.page->order > order)
		c = smallest(f, z, order, start_mt);
	unsigned int fallback_order = c.page->order;
	bool changed = steal(f, z, c.page, start_mt, alloc_flags, c.can_steal);
	frames_count(f, ALLOC_EXTFRAG, 1);
	trace_alloc_extfrag(f, c.page, order, fallback_order, start_mt, c.from, changed);
	return true;
}
