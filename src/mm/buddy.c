/* SPDX-License-Identifier: MIT */
/*
 * buddy.c - free blocks of page frames.
 *
 * A block is 2^order frames, naturally aligned; its buddy differs in bit `order` of the pfn alone, so split and merge never
 * search.
 *   B1  a free block is on exactly one list, that of its order and migratetype; its first frame has PG_BUDDY and both
 *   B2  two free buddies of one order never coexist below the largest order, unless their pageblocks must stay apart
 *   B3  sum(nr_free[o] << o) == zone->nr_free_pages; nr_free_cma is the part of it on lists of MIGRATE_CMA
 *   B4  frames from fresh_pfn to bank_end_pfn were never on a list
 *   B5  nr_reported_pages is the part of B3 in blocks with PG_REPORTED
 * Locking: zone->lock; add_bank is called under it.
 * Not here: when another type's blocks are taken (fallback.c), watermarks, per-CPU lists.
 */
#include "buddy.h"
#include "trace.h"

static struct page *buddy_of(struct frames *f, struct page *page, unsigned int order)
{
	return pfn_to_page(f, page_to_pfn(f, page) ^ (1ull << order));
}

/* A frame that the allocator owns is nobody else's to change: no read-modify-write needed. */
static void set_flags(struct page *page, uint32_t flags)
{
	atomic_store_explicit(&page->flags, flags, memory_order_relaxed);
}

static uint32_t flags_of(const struct page *page)
{
	return atomic_load_explicit(&page->flags, memory_order_relaxed);
}

static void add_free(_Atomic uint64_t *counter, uint64_t nr)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + nr,
			      memory_order_relaxed);
}

static void note_types(struct free_area *area, unsigned int mt)
{
	uint32_t old = atomic_load_explicit(&area->types, memory_order_relaxed);
	uint32_t now = list_empty(&area->free_list[mt]) ? old & ~(1u << mt) : old | 1u << mt;

	if (now != old)
		atomic_store_explicit(&area->types, now, memory_order_relaxed);
}

static void block_add(struct zone *z, struct page *page, unsigned int order, enum migratetype mt, bool tail)
{
	struct list_head *list = &z->free_area[order].free_list[mt];

	page->order = (uint8_t)order;
	page->migratetype = (uint8_t)mt;
	set_flags(page, flags_of(page) | PG_BUDDY);
	if (tail)
		list_add_tail(&page->node, list);
	else
		list_add(&page->node, list);
	note_types(&z->free_area[order], mt);
	z->free_area[order].nr_free++;
	add_free(&z->nr_free_pages, 1ull << order);
	if (mt == MIGRATE_CMA)
		add_free(&z->nr_free_cma, 1ull << order);
}

void buddy_remove(struct zone *z, struct page *page, unsigned int order)
{
	uint32_t flags = flags_of(page);

	list_del(&page->node);
	note_types(&z->free_area[order], page->migratetype);
	set_flags(page, flags & ~(uint32_t)(PG_BUDDY | PG_REPORTED));
	if (flags & PG_REPORTED)
		add_free(&z->nr_reported_pages, -(1ull << order));
	z->free_area[order].nr_free--;
	add_free(&z->nr_free_pages, -(1ull << order));
	if (page->migratetype == MIGRATE_CMA)
		add_free(&z->nr_free_cma, -(1ull << order));
}

void buddy_move(struct zone *z, struct page *page, unsigned int order, enum migratetype mt)
{
	buddy_remove(z, page, order);
	block_add(z, page, order, mt, false);
}

void buddy_insert(struct zone *z, struct page *page, unsigned int order, enum migratetype mt)
{
	block_add(z, page, order, mt, false);
}

static bool is_free_block(const struct page *page, unsigned int order)
{
	return (flags_of(page) & PG_BUDDY) && page->order == order;
}

/* Beyond a pageblock, blocks of the contiguous area, of the highatomic reserve and isolated ones keep to themselves. */
static bool may_merge(struct frames *f, const struct page *page, const struct page *buddy, unsigned int order)
{
	/* A frame beyond the zone's banks has no flags, so it is never taken for a free buddy. */
	if (!is_free_block(buddy, order) || buddy->zone != page->zone)
		return false;
	if (order < PAGEBLOCK_ORDER)
		return true;
	enum migratetype a = pageblock_migratetype(f, page_to_pfn(f, page));
	enum migratetype b = pageblock_migratetype(f, page_to_pfn(f, buddy));
	return a == b || (a < MIGRATE_PCPTYPES && b < MIGRATE_PCPTYPES);
}

/* The block above this one would merge as soon as this one's buddy comes back: better not hand this one out soon. */
static bool merge_is_likely(struct frames *f, struct page *page, unsigned int order)
{
	if (order >= MAX_ORDER - 2)
		return false;
	pfn_t above = page_to_pfn(f, page) & ~(1ull << order);
	const struct page *higher_buddy = pfn_to_page(f, above ^ (1ull << (order + 1)));
	return is_free_block(higher_buddy, order + 1) && higher_buddy->zone == page->zone;
}

void buddy_free(struct frames *f, struct zone *z, struct page *page, unsigned int order, enum migratetype mt)
{
	while (order < MAX_ORDER - 1) {
		struct page *buddy = buddy_of(f, page, order);
		if (!may_merge(f, page, buddy, order))
			break;
		buddy_remove(z, buddy, order);
		if (buddy < page)
			page = buddy;
		order++;
	}
	block_add(z, page, order, mt, merge_is_likely(f, page, order));
}

/* At the end of its list, since it would be the dearest to touch. A block that merged is reported anew. */
void buddy_free_reported(struct frames *f, struct zone *z, struct page *page, unsigned int order,
			 enum migratetype mt)
{
	buddy_free(f, z, page, order, mt);
	if (!is_free_block(page, order))
		return;
	set_flags(page, flags_of(page) | PG_REPORTED);
	add_free(&z->nr_reported_pages, 1ull << order);
	list_del(&page->node);
	list_add_tail(&page->node, &z->free_area[order].free_list[page->migratetype]);
}

/* expand: keeps the lower half, puts the upper one back, one order lower each time. */
static void split_to(struct frames *f, struct zone *z, struct page *page, unsigned int from,
		     unsigned int order, enum migratetype mt)
{
	while (from > order) {
		from--;
		block_add(z, pfn_to_page(f, page_to_pfn(f, page) + (1ull << from)), from, mt, false);
	}
}

struct page *buddy_take_smallest(struct frames *f, struct zone *z, unsigned int order, enum migratetype mt)
{
	for (unsigned int o = order; o < MAX_ORDER; o++) {
		struct list_head *list = &z->free_area[o].free_list[mt];
		if (list_empty(list))
			continue;
		struct page *page = list_entry(list->next, struct page, node);
		buddy_remove(z, page, o);
		split_to(f, z, page, o, order, mt);
		page->migratetype = (uint8_t)mt;
		return page;
	}
	return NULL;
}

struct page *buddy_head_of(struct frames *f, struct page *page)
{
	pfn_t pfn = page_to_pfn(f, page);

	for (unsigned int o = 0; o < MAX_ORDER; o++) {
		struct page *head = pfn_to_page(f, pfn & ~((1ull << o) - 1));
		if ((flags_of(head) & PG_BUDDY) && head->order >= o)
			return pfn < page_to_pfn(f, head) + (1ull << head->order) ? head : NULL;
	}
	return NULL;
}

void buddy_carve_out(struct frames *f, struct zone *z, struct page *head, struct page *page,
		     unsigned int order)
{
	unsigned int o = head->order;
	enum migratetype mt = (enum migratetype)head->migratetype;

	buddy_remove(z, head, o);
	while (o > order) {
		struct page *upper = pfn_to_page(f, page_to_pfn(f, head) + (1ull << --o));
		bool in_upper = page >= upper;
		block_add(z, in_upper ? head : upper, o, mt, false);
		head = in_upper ? upper : head;
	}
}

uint64_t buddy_move_pageblock(struct frames *f, struct zone *z, struct page *page, enum migratetype mt)
{
	pfn_t pfn = page_to_pfn(f, page) & ~(PAGEBLOCK_PAGES - 1), end = pfn + PAGEBLOCK_PAGES;
	uint64_t moved = 0;

	while (pfn < end) {
		struct page *p = pfn_to_page(f, pfn);
		if (!(flags_of(p) & PG_BUDDY)) {
			pfn++;
			continue;
		}
		unsigned int order = p->order;
		buddy_remove(z, p, order);
		/* What kept a whole pageblock from its buddy was its type. */
		if (order >= PAGEBLOCK_ORDER)
			buddy_free(f, z, p, order, mt);
		else
			block_add(z, p, order, mt, false);
		moved += 1ull << order;
		pfn += 1ull << order;
	}
	return moved;
}

void pageblock_set_migratetype(struct frames *f, pfn_t pfn, enum migratetype mt)
{
	__atomic_store_n(&f->pageblock[pfn >> PAGEBLOCK_ORDER], (uint8_t)mt, __ATOMIC_RELAXED);
}

/* When more than half of what is free lies in the contiguous area, movable requests go there first to balance. */
static bool cma_is_due(const struct zone *z)
{
	uint64_t cma = atomic_load_explicit(&z->nr_free_cma, memory_order_relaxed);

	return cma && cma > atomic_load_explicit(&z->nr_free_pages, memory_order_relaxed) / 2;
}

struct page *buddy_take(struct frames *f, struct zone *z, unsigned int order, enum migratetype mt,
			unsigned int alloc_flags)
{
	bool cma = mt == MIGRATE_MOVABLE && (alloc_flags & ALLOC_CMA);
	struct page *page = NULL;

	if (cma && cma_is_due(z))
		page = buddy_take_smallest(f, z, order, MIGRATE_CMA);
	while (!page) {
		page = buddy_take_smallest(f, z, order, mt);
		if (!page && cma)
			page = buddy_take_smallest(f, z, order, MIGRATE_CMA);
		/* Room of its own is better than another type's. */
		if (page || (!zone_carve(f, z, mt) && !buddy_fallback(f, z, order, mt, alloc_flags)))
			break;
	}
	if (page)
		trace_alloc_zone_locked(f, page, order, mt);
	return page;
}
