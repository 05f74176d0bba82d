/* SPDX-License-Identifier: MIT */
/*
 * cma.c - ranges of frames that are contiguous, made by moving out whoever is there. See compaction.h.
 *
 * The pageblocks of the range are isolated first: what becomes free there is not handed out again meanwhile.
 */
#include <errno.h>

#include "buddy.h"
#include "compaction.h"
#include "page_check.h"
#include "pcp.h"
#include "reclaim.h"

struct contig {
	struct frames *f;
	struct zone *z;
	pfn_t start, end;	      /* the range */
	pfn_t block_start, block_end; /* its pageblocks */
	enum migratetype mt;	      /* what they were, all of them */
};

static bool range_is_of_one_kind(struct contig *c)
{
	if (c->start >= c->end || c->block_end > atomic_load(&c->z->fresh_pfn) ||
	    c->block_start < c->z->start_pfn)
		return false;
	c->mt = pageblock_migratetype(c->f, c->start);
	for (pfn_t pfn = c->block_start; pfn < c->block_end; pfn += PAGEBLOCK_PAGES)
		if (pageblock_migratetype(c->f, pfn) != c->mt || c->mt == MIGRATE_ISOLATE)
			return false;
	return true;
}

/* Cuts blocks at the edges of the range's pageblocks, so that each lies within or without. */
static void split_at(struct contig *c, pfn_t pfn)
{
	struct page *head = pfn < c->z->limit_pfn ? buddy_head_of(c->f, pfn_to_page(c->f, pfn)) : NULL;

	if (!head || page_to_pfn(c->f, head) == pfn)
		return;
	buddy_carve_out(c->f, c->z, head, pfn_to_page(c->f, pfn), PAGEBLOCK_ORDER);
	struct page *cut = pfn_to_page(c->f, pfn);
	/* Carved out means on no list: back on its own. No merging: that would undo the cut. */
	buddy_insert(c->z, cut, PAGEBLOCK_ORDER, pageblock_migratetype(c->f, pfn));
}

static void set_blocks(struct contig *c, enum migratetype mt)
{
	for (pfn_t pfn = c->block_start; pfn < c->block_end; pfn += PAGEBLOCK_PAGES) {
		pageblock_set_migratetype(c->f, pfn, mt);
		buddy_move_pageblock(c->f, c->z, pfn_to_page(c->f, pfn), mt);
	}
}

static void isolate(struct contig *c)
{
	pthread_mutex_lock(&c->z->lock);
	split_at(c, c->block_start);
	split_at(c, c->block_end);
	set_blocks(c, MIGRATE_ISOLATE);
	c->z->nr_isolated_blocks += (c->block_end - c->block_start) / PAGEBLOCK_PAGES;
	pthread_mutex_unlock(&c->z->lock);
}

static void unisolate(struct contig *c)
{
	pthread_mutex_lock(&c->z->lock);
	set_blocks(c, c->mt);
	c->z->nr_isolated_blocks -= (c->block_end - c->block_start) / PAGEBLOCK_PAGES;
	pthread_mutex_unlock(&c->z->lock);
}

static int move_out(struct contig *c, struct page *from)
{
	struct frames *f = c->f;

	if (!f->reclaim || !f->reclaim->migrate)
		return -EBUSY;
	struct page *to = page_alloc(f, GFP_TRANSHUGE_LIGHT, 0);
	if (!to)
		return -EBUSY;
	int err = f->reclaim->migrate(f->reclaim_ctx, from, to);
	frames_count(f, err ? PGMIGRATE_FAIL : PGMIGRATE_SUCCESS, 1);
	page_put(f, err ? to : from);
	return err ? -EBUSY : 0;
}

static int evacuate(struct contig *c)
{
	int err = 0;

	for (pfn_t pfn = c->start; pfn < c->end && !err; pfn++) {
		struct page *p = pfn_to_page(c->f, pfn);
		uint32_t flags = atomic_load(&p->flags);
		if (!atomic_load(&p->refs))
			continue;
		err = flags & (PG_CACHE | PG_LRU) || page_anon(p) ? move_out(c, p) : -EBUSY;
	}
	pcp_drain_zone(c->f, c->z);
	return err;
}

/* The lock is held. */
static bool all_free(struct contig *c)
{
	for (pfn_t pfn = c->start; pfn < c->end; pfn++)
		if (!buddy_head_of(c->f, pfn_to_page(c->f, pfn)))
			return false;
	return true;
}

static void take_frames(struct contig *c)
{
	for (pfn_t pfn = c->start; pfn < c->end; pfn++) {
		struct page *p = pfn_to_page(c->f, pfn);
		buddy_carve_out(c->f, c->z, buddy_head_of(c->f, p), p, 0);
		atomic_store(&p->flags, 0);
		atomic_store(&p->refs, 1);
	}
}

int alloc_contig_range(struct frames *f, pfn_t start, uint64_t nr)
{
	struct contig c = {.f = f,
			   .z = page_zone(f, pfn_to_page(f, start)),
			   .start = start,
			   .end = start + nr};

	c.block_start = start & ~(PAGEBLOCK_PAGES - 1);
	c.block_end = (c.end + PAGEBLOCK_PAGES - 1) & ~(PAGEBLOCK_PAGES - 1);
	if (!range_is_of_one_kind(&c))
		return -EINVAL;
	isolate(&c);
	pcp_drain_zone(f, c.z);
	int err = evacuate(&c);
	if (!err) {
		pthread_mutex_lock(&c.z->lock);
		err = all_free(&c) ? 0 : -EBUSY;
		if (!err)
			take_frames(&c);
		pthread_mutex_unlock(&c.z->lock);
	}
	unisolate(&c);
	if (!err)
		zone_count(c.z, ZONE_PGALLOC, nr);
	return err;
}

struct page *cma_alloc(struct frames *f, uint64_t nr, unsigned int align_order)
{
	const struct zone *z = node_zone(f, 0, ZONE_NORMAL);
	pfn_t align = 1ull << align_order, pfn = (z->cma_start_pfn + align - 1) & ~(align - 1);

	for (; nr && pfn + nr <= z->cma_end_pfn; pfn += max_u64(align, PAGEBLOCK_PAGES))
		if (!alloc_contig_range(f, pfn, nr))
			return pfn_to_page(f, pfn);
	return NULL;
}

void cma_release(struct frames *f, struct page *page, uint64_t nr)
{
	for (uint64_t i = 0; i < nr; i++)
		page_free(f, &page[i]);
}
