/* SPDX-License-Identifier: MIT */
/*
 * compaction.c - see compaction.h. The scanners, the put-off after failures and the index are those of Linux 5.11.
 *
 * Locking: zone->lock is taken for each pageblock that the free scanner visits and never held while a page moves. A page may be
 * freed, or come into use, at any time; what the migrate scanner sees without the lock is a hint that migrate() verifies.
 */
#include <errno.h>

#include "buddy.h"
#include "compaction.h"
#include "pcp.h"
#include "reclaim.h"
#include "watermark.h"

#define COMPACT_MAX_DEFER_SHIFT 6

struct compact_control {
	struct frames *f;
	struct zone *z;
	unsigned int order;
	enum compact_priority priority;
	pfn_t migrate_pfn;	     /* next frame to look at, upwards */
	pfn_t free_pfn;		     /* first frame of the pageblock that was taken from last; downwards */
	struct list_head free_pages; /* isolated, one by one */
	uint64_t nr_free;
};

int fragmentation_index(struct zone *z, unsigned int order)
{
	uint64_t total = 0, blocks = 0;

	pthread_mutex_lock(&z->lock);
	for (unsigned int o = 0; o < MAX_ORDER; o++) {
		uint64_t nr = z->free_area[o].nr_free;
		total += nr << o;
		blocks += nr;
		if (o >= order && nr) {
			pthread_mutex_unlock(&z->lock);
			return -1000;
		}
	}
	pthread_mutex_unlock(&z->lock);
	if (!blocks)
		return 0;
	return 1000 - (int)((1000 + total * 1000 / (1ull << order)) / blocks);
}

static bool deferred(struct zone *z, unsigned int order)
{
	struct compact_state *c = &z->compact;
	bool put_off = false;

	pthread_mutex_lock(&z->lock);
	if (c->defer_shift && (int)order >= c->order_failed) {
		unsigned int limit = 1u << c->defer_shift;
		c->considered = (unsigned int)min_u64(c->considered + 1, limit);
		put_off = c->considered < limit;
	}
	pthread_mutex_unlock(&z->lock);
	return put_off;
}

/* Remembers how it went: each failure doubles how often the next one is put off. */
static void remember(struct zone *z, unsigned int order, bool success)
{
	struct compact_state *c = &z->compact;

	pthread_mutex_lock(&z->lock);
	if (success) {
		*c = (struct compact_state){0};
	} else {
		c->considered = 0;
		if (c->defer_shift < COMPACT_MAX_DEFER_SHIFT)
			c->defer_shift++;
		if (!c->order_failed || (int)order < c->order_failed)
			c->order_failed = (int)order;
	}
	pthread_mutex_unlock(&z->lock);
}

/* There must be frames to move to: twice the block beside the low mark. */
static bool suitable(struct zone *z, unsigned int order)
{
	uint64_t mark = wmark_pages(z, order > PAGE_ALLOC_COSTLY_ORDER ? WMARK_LOW : WMARK_MIN);

	return atomic_load(&z->nr_free_pages) > mark + (2ull << order);
}

static bool block_is_there(struct compact_control *cc)
{
	bool found = false;

	pthread_mutex_lock(&cc->z->lock);
	for (unsigned int o = cc->order; o < MAX_ORDER && !found; o++)
		for (unsigned int mt = 0; mt < MIGRATE_PCPTYPES && !found; mt++)
			found = !list_empty(&cc->z->free_area[o].free_list[mt]);
	pthread_mutex_unlock(&cc->z->lock);
	return found;
}

static bool block_is_movable(const struct compact_control *cc, pfn_t pfn)
{
	enum migratetype mt = pageblock_migratetype(cc->f, pfn);

	return mt == MIGRATE_MOVABLE || mt == MIGRATE_CMA ||
	       (cc->priority == COMPACT_PRIO_SYNC_FULL && mt < MIGRATE_PCPTYPES);
}

/* Takes the free frames of a pageblock, except blocks that are as large as what is being made. */
static void isolate_free_block(struct compact_control *cc, pfn_t pfn)
{
	struct zone *z = cc->z;
	pfn_t end = pfn + PAGEBLOCK_PAGES;

	pthread_mutex_lock(&z->lock);
	while (pfn < end) {
		struct page *p = pfn_to_page(cc->f, pfn);
		uint32_t flags = atomic_load_explicit(&p->flags, memory_order_relaxed);
		unsigned int order = flags & PG_BUDDY ? p->order : 0;
		if ((flags & PG_BUDDY) && order < cc->order) {
			buddy_remove(z, p, order);
			for (unsigned int i = 0; i < 1u << order; i++)
				list_add_tail(&p[i].node, &cc->free_pages);
			cc->nr_free += 1ull << order;
		}
		pfn += 1ull << order;
	}
	pthread_mutex_unlock(&z->lock);
	frames_count(cc->f, COMPACTFREE_SCANNED, PAGEBLOCK_PAGES);
}

/* Sees to it that there is a frame to move to; false when the scanners have met. */
static bool find_free(struct compact_control *cc)
{
	while (!cc->nr_free) {
		if (cc->free_pfn < cc->migrate_pfn + 2 * PAGEBLOCK_PAGES)
			return false;
		cc->free_pfn -= PAGEBLOCK_PAGES;
		if (block_is_movable(cc, cc->free_pfn))
			isolate_free_block(cc, cc->free_pfn);
	}
	return true;
}

static struct page *pop_free(struct compact_control *cc)
{
	struct page *page = list_entry(cc->free_pages.next, struct page, node);

	list_del(&page->node);
	cc->nr_free--;
	atomic_store_explicit(&page->flags, 0, memory_order_relaxed);
	atomic_store_explicit(&page->refs, 1, memory_order_release);
	return page;
}

static void put_free(struct compact_control *cc, struct page *page, bool was_fresh)
{
	atomic_store_explicit(&page->refs, 0, memory_order_relaxed);
	atomic_store_explicit(&page->flags, PG_FREE | (was_fresh ? PG_FRESH : 0), memory_order_relaxed);
	list_add(&page->node, &cc->free_pages);
	cc->nr_free++;
}

static void release_free(struct compact_control *cc)
{
	pthread_mutex_lock(&cc->z->lock);
	while (!list_empty(&cc->free_pages)) {
		struct page *page = list_entry(cc->free_pages.next, struct page, node);
		list_del(&page->node);
		buddy_free(cc->f, cc->z, page, 0, pageblock_migratetype(cc->f, page_to_pfn(cc->f, page)));
	}
	pthread_mutex_unlock(&cc->z->lock);
	cc->nr_free = 0;
}

static bool may_move(const struct page *page)
{
	uint32_t flags = atomic_load_explicit(&page->flags, memory_order_relaxed);

	return atomic_load_explicit(&page->refs, memory_order_relaxed) &&
	       !(flags & (PG_FREE | PG_RESERVED | PG_TABLE | PG_SLAB | PG_BAD)) &&
	       ((flags & (PG_CACHE | PG_LRU)) || page_anon(page));
}

/* 0, or -errno and the frame to move to is back on the list. */
static int move_page(struct compact_control *cc, struct page *from)
{
	struct frames *f = cc->f;
	struct page *to = list_entry(cc->free_pages.next, struct page, node);
	bool fresh = atomic_load_explicit(&to->flags, memory_order_relaxed) & PG_FRESH;

	pop_free(cc);
	page_alloc_begin_reserve();
	int err = f->reclaim->migrate(f->reclaim_ctx, from, to);
	page_alloc_end_reserve();
	frames_count(f, COMPACTISOLATED, 1);
	frames_count(f, err ? PGMIGRATE_FAIL : PGMIGRATE_SUCCESS, 1);
	if (err) {
		put_free(cc, to, fresh);
		return err;
	}
	zone_count(cc->z, ZONE_PGALLOC, 1);
	zone_count(cc->z, ZONE_PGFREE, 1);
	page_put(f, from); /* another scanner may be looking at it */
	return 0;
}

/* Moves what moves out of one pageblock. False: no frames to move to are left. */
static bool migrate_block(struct compact_control *cc)
{
	pfn_t end = (cc->migrate_pfn & ~(PAGEBLOCK_PAGES - 1)) + PAGEBLOCK_PAGES;

	for (; cc->migrate_pfn < end; cc->migrate_pfn++) {
		struct page *page = pfn_to_page(cc->f, cc->migrate_pfn);
		if (!may_move(page))
			continue;
		if (!find_free(cc))
			return false;
		move_page(cc, page);
	}
	frames_count(cc->f, COMPACTMIGRATE_SCANNED, PAGEBLOCK_PAGES);
	return true;
}

static enum compact_result run(struct compact_control *cc)
{
	while (cc->migrate_pfn + PAGEBLOCK_PAGES < cc->free_pfn) {
		if (!block_is_movable(cc, cc->migrate_pfn)) {
			cc->migrate_pfn = (cc->migrate_pfn & ~(PAGEBLOCK_PAGES - 1)) + PAGEBLOCK_PAGES;
			continue;
		}
		bool more = migrate_block(cc);
		pcp_drain_zone(cc->f, cc->z);
		if (block_is_there(cc))
			return COMPACT_SUCCESS;
		if (!more)
			break;
	}
	return COMPACT_COMPLETE;
}

enum compact_result compact_zone(struct frames *f, struct zone *z, unsigned int order,
				 enum compact_priority priority)
{
	struct compact_control cc = {.f = f, .z = z, .order = order, .priority = priority};

	if (!f->reclaim || !f->reclaim->migrate || !suitable(z, order))
		return COMPACT_SKIPPED;
	if (priority != COMPACT_PRIO_SYNC_FULL && deferred(z, order))
		return COMPACT_DEFERRED;
	list_init(&cc.free_pages);
	cc.migrate_pfn = z->start_pfn;
	cc.free_pfn = atomic_load(&z->fresh_pfn);
	frames_count(f, COMPACTSTALL, 1);
	enum compact_result result = run(&cc);
	release_free(&cc);
	if (result != COMPACT_SUCCESS && block_is_there(&cc))
		result = COMPACT_SUCCESS;
	frames_count(f, result == COMPACT_SUCCESS ? COMPACTSUCCESS : COMPACTFAIL, 1);
	remember(z, order, result == COMPACT_SUCCESS);
	return result;
}
