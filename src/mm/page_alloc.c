/* SPDX-License-Identifier: MIT */
/*
 * page_alloc.c - requests that find memory at once, and giving frames back. See page_alloc.h.
 *
 * A request for one frame that nothing speaks against takes the short cut of take_quick: preferred zone, mark, per-CPU list.
 * What it cannot decide goes the whole way, so that both agree in everything but speed.
 */
#include <string.h>

#include "alloc_context.h"
#include "memcg.h"
#include "mempolicy.h"
#include "page_check.h"
#include "pcp.h"
#include "reclaim.h"
#include "trace.h"
#include "watermark.h"
#include "zeropool.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

_Thread_local unsigned int alloc_reserve_depth, alloc_atomic_depth;

void page_alloc_begin_reserve(void)
{
	alloc_reserve_depth++;
}

bool page_alloc_in_reserve(void)
{
	return alloc_reserve_depth;
}

void page_alloc_end_reserve(void)
{
	alloc_reserve_depth--;
}

void page_alloc_begin_atomic(void)
{
	alloc_atomic_depth++;
}

void page_alloc_end_atomic(void)
{
	alloc_atomic_depth--;
}

static bool should_fail(struct frames *f)
{
	if (likely(atomic_load_explicit(&f->fail_in, memory_order_relaxed) <= 0))
		return false;
	if (atomic_fetch_sub(&f->fail_in, 1) != 1)
		return false;
	atomic_fetch_add(&f->nr_fail, 1);
	return true;
}

/* --- frames change hands ------------------------------------------------------------------------------------------- */

/* Makes a free frame one in use, as its owner wants it. Returns whether it had to be cleared. */
static inline bool prepare_page(struct frames *f, struct page *page, bool zero)
{
	bool clear = zero && !(atomic_load_explicit(&page->flags, memory_order_relaxed) & PG_FRESH);

	if (clear)
		memset(page_address(f, page), 0, PAGE_SIZE);
	atomic_store_explicit(&page->flags, 0, memory_order_relaxed);
	atomic_store_explicit(&page->refs, 1, memory_order_relaxed);
	return clear;
}

/* prep_new_page; false: a frame of the block is bad, and the block is gone. */
static bool prepare_block(struct frames *f, struct page *page, unsigned int order, gfp_t gfp)
{
	unsigned int cleared = 0;

	if (!pages_check_new(f, page, order))
		return false;
	for (unsigned int i = 0; i < 1u << order; i++)
		cleared += prepare_page(f, &page[i], gfp & __GFP_ZERO);
	if (gfp & __GFP_ZERO) {
		frames_count(f, ZEROED_ON_ALLOC, cleared);
		frames_count(f, FRESH_HIT, (1u << order) - cleared);
	}
	return true;
}

/* Makes a frame in use a free one. False: it is bad, and stays where it is. */
static inline bool release_page(struct frames *f, struct page *page)
{
	if (unlikely(!page_is_freeable(page))) {
		page_bad_free(f, page);
		return false;
	}
	page->mapping = NULL;
	page->index = 0;
	page->freelist = NULL;
	page->memcg = NULL;
	if (unlikely(atomic_load_explicit(&f->debug, memory_order_relaxed) & FRAMES_POISON))
		page_poison(f, page);
	atomic_store_explicit(&page->flags, PG_FREE, memory_order_relaxed);
	atomic_store_explicit(&page->refs, 0, memory_order_relaxed);
	return true;
}

/* --- from one zone ------------------------------------------------------------------------------------------------- */

static struct page *from_pcp(struct alloc_context *ac, struct zone *z, unsigned int alloc_flags)
{
	struct pcp *pcp = pcp_get(ac->f, z);

	if (!pcp)
		return NULL;
	struct page *page = pcp_pop(pcp, ac->migratetype);
	if (!page)
		page = pcp_refill(ac->f, z, pcp, ac->migratetype, alloc_flags);
	pcp->nr_alloc += page != NULL;
	pcp_unlock(pcp);
	return page;
}

static struct page *from_pcp_huge(struct alloc_context *ac, struct zone *z)
{
	if (!atomic_load_explicit(&z->pcp_high_huge, memory_order_relaxed) ||
	    ac->migratetype != MIGRATE_MOVABLE)
		return NULL;
	struct pcp *pcp = pcp_get(ac->f, z);
	if (!pcp)
		return NULL;
	struct page *page = pcp->nr_huge ? pcp->huge[--pcp->nr_huge] : NULL;
	pcp->nr_alloc_huge += page != NULL;
	pcp_unlock(pcp);
	return page;
}

static struct page *from_buddy(struct alloc_context *ac, struct zone *z, unsigned int alloc_flags)
{
	struct page *page = NULL;

	pthread_mutex_lock(&z->lock);
	if (alloc_flags & ALLOC_HARDER)
		page = buddy_take_smallest(ac->f, z, ac->order, MIGRATE_HIGHATOMIC);
	if (!page)
		page = buddy_take(ac->f, z, ac->order, ac->migratetype, alloc_flags);
	pthread_mutex_unlock(&z->lock);
	if (page)
		zone_count(z, ZONE_PGALLOC, 1ull << ac->order);
	return page;
}

static void count_numa(struct alloc_context *ac, struct zone *z)
{
	const struct zone *wished = ac->preferred->zone;
	bool hit = z->node == wished->node;

	zone_count(z, hit ? NUMA_HIT : NUMA_MISS, 1);
	if (!hit)
		zone_count((struct zone *)(uintptr_t)wished, NUMA_FOREIGN, 1);
	if (hit && ac->interleaved)
		zone_count(z, NUMA_INTERLEAVE, 1);
	zone_count(z, z->node == frames_local_node(ac->f) ? NUMA_LOCAL : NUMA_OTHER, 1);
}

/* rmqueue: a block that passed its checks. */
static struct page *take_from_zone(struct alloc_context *ac, struct zone *z, unsigned int alloc_flags)
{
	struct page *page;

	do {
		page = NULL;
		if (!ac->order)
			page = from_pcp(ac, z, alloc_flags);
		else if (ac->order == PAGEBLOCK_ORDER)
			page = from_pcp_huge(ac, z);
		if (!page)
			page = from_buddy(ac, z, alloc_flags);
	} while (page && !prepare_block(ac->f, page, ac->order, ac->gfp));
	if (page &&
	    unlikely(atomic_load_explicit(&z->flags, memory_order_relaxed) & ZONE_BOOSTED_WATERMARK)) {
		atomic_fetch_and(&z->flags, ~(uint32_t)ZONE_BOOSTED_WATERMARK);
		frames_count(ac->f, BOOST_WAKE, 1);
		alloc_wake_kswapd(ac, z);
	}
	return page;
}

/* A zeroed block that was kept ready. */
static struct page *take_zeroed(struct alloc_context *ac, struct zone *z)
{
	if (!(ac->gfp & __GFP_ZERO) || ac->migratetype != MIGRATE_MOVABLE || !zeropool_has(z, ac->order))
		return NULL;
	struct page *page = zeropool_take(ac->f, z, ac->order);
	if (!page || !pages_check_new(ac->f, page, ac->order))
		return NULL;
	for (unsigned int i = 0; i < 1u << ac->order; i++)
		prepare_page(ac->f, &page[i], false);
	zone_count(z, ZONE_PGALLOC, 1ull << ac->order);
	frames_count(ac->f, ZEROPOOL_HIT, 1ull << ac->order);
	return page;
}

/* --- zone by zone -------------------------------------------------------------------------------------------------- */

/* A zone below its mark: whether reclaim on its node has changed that (node_reclaim_mode). */
static bool node_reclaim_helps(struct alloc_context *ac, struct zone *z, uint64_t mark,
			       unsigned int alloc_flags)
{
	struct frames *f = ac->f;

	if (!f->node_reclaim_mode || !f->reclaim || !f->reclaim->node_reclaim)
		return false;
	if (f->node[ac->preferred->zone->node].distance[z->node] > NODE_RECLAIM_DISTANCE)
		return false;
	switch (f->reclaim->node_reclaim(f->reclaim_ctx, z->node, ac->gfp, ac->order)) {
	case NODE_RECLAIM_NOSCAN:
	case NODE_RECLAIM_FULL:
		return false;
	default:
		return zone_watermark_ok(z, ac->order, mark, ac->highest, alloc_flags);
	}
}

static bool above_mark(struct alloc_context *ac, struct zone *z, unsigned int alloc_flags)
{
	if (alloc_flags & ALLOC_NO_WATERMARKS)
		return true;
	uint64_t mark = wmark_pages(z, (enum zone_watermarks)(alloc_flags & ALLOC_WMARK_MASK));
	if (likely(zone_watermark_fast(z, ac->order, mark, ac->highest, alloc_flags, ac->gfp)))
		return true;
	return node_reclaim_helps(ac, z, mark, alloc_flags);
}

/* The node's share of dirty pages is used up. */
static bool too_dirty(struct alloc_context *ac, const struct zone *z)
{
	const struct frames *f = ac->f;

	return ac->spread_dirty && f->reclaim && f->reclaim->node_dirty_ok &&
	       !f->reclaim->node_dirty_ok(f->reclaim_ctx, z->node);
}

struct page *alloc_from_zones(struct alloc_context *ac, unsigned int alloc_flags)
{
	struct frames *f = ac->f;
	bool left_node = false;

	for_each_zoneref(ref, ac->preferred, ac->highest, ac->nodes)
	{
		struct zone *z = ref->zone;
		if ((alloc_flags & ALLOC_CPUSET) && zone_is_guest(z->type) && !(ac->allowed & 1u << z->node))
			continue;
		if (too_dirty(ac, z))
			continue;
		/* Locality counts for more than whole pageblocks: before another node, the types of this one are mixed. */
		if ((alloc_flags & ALLOC_NOFRAGMENT) && f->nr_nodes > 1 &&
		    z->node != ac->preferred->zone->node) {
			left_node = true;
			break;
		}
		if (!above_mark(ac, z, alloc_flags))
			continue;
		struct page *page = take_zeroed(ac, z);
		if (!page)
			page = take_from_zone(ac, z, alloc_flags);
		if (!page)
			continue;
		if (ac->order && (alloc_flags & ALLOC_HARDER) && zone_is_guest(z->type))
			highatomic_reserve(f, z, page);
		if (zone_is_guest(z->type))
			count_numa(ac, z);
		return page;
	}
	if (left_node || (alloc_flags & ALLOC_NOFRAGMENT))
		return alloc_from_zones(ac, alloc_flags & ~(unsigned int)ALLOC_NOFRAGMENT);
	return NULL;
}

/* --- requests ------------------------------------------------------------------------------------------------------ */

static const struct alloc_task nobody;

static inline enum migratetype migratetype_of(const struct frames *f, gfp_t gfp)
{
	return unlikely(f->page_group_by_mobility_disabled) ? MIGRATE_UNMOVABLE : gfp_migratetype(gfp);
}

/* prepare_alloc_pages and finalise_ac. False: not a zone may serve. */
static bool prepare_context(struct alloc_context *ac, struct frames *f, const struct alloc_task *task,
			    gfp_t gfp, unsigned int order)
{
	nodemask_t nodes = NODE_MASK_ALL;
	struct mempolicy *policy = task->in_interrupt ? NULL : task->policy;

	*ac = (struct alloc_context){.f = f, .gfp = gfp, .order = order, .task = task};
	ac->highest = gfp_zone(gfp);
	ac->migratetype = migratetype_of(f, gfp);
	ac->allowed = task->mems_allowed && !task->in_interrupt ? task->mems_allowed : NODE_MASK_ALL;
	if (gfp & __GFP_HARDWALL)
		nodes = ac->allowed;
	unsigned int nid = mempolicy_node(policy, f, gfp, &nodes);
	ac->interleaved = policy && policy->mode == MPOL_INTERLEAVE;
	ac->nodes = nodes;
	ac->spread_dirty = gfp & __GFP_WRITE;
	ac->zonelist = zonelist_of(f, (int)nid, gfp);
	ac->preferred = next_zoneref(ac->zonelist, ac->highest, nodes);
	return ac->preferred->zone != NULL;
}

static unsigned int first_flags(const struct alloc_context *ac)
{
	unsigned int flags = ALLOC_WMARK_LOW | ALLOC_NOFRAGMENT;

	if (ac->gfp & __GFP_KSWAPD_RECLAIM)
		flags |= ALLOC_KSWAPD;
	if (ac->task->mems_allowed)
		flags |= ALLOC_CPUSET;
	if (ac->migratetype == MIGRATE_MOVABLE)
		flags |= ALLOC_CMA;
	return flags;
}

static bool charge(struct frames *f, const struct alloc_task *task, struct page *page, unsigned int order)
{
	if (!memcg_charge(task->memcg, 1ull << order)) {
		page_free_block(f, page, order);
		return false;
	}
	for (unsigned int i = 0; i < 1u << order; i++)
		page[i].memcg = task->memcg;
	return true;
}

struct page *page_alloc_task(struct frames *f, const struct alloc_task *task, gfp_t gfp, unsigned int order)
{
	struct alloc_context ac;

	if (!task)
		task = &nobody;
	if (order >= MAX_ORDER) {
		if (!(gfp & __GFP_NOWARN))
			frames_warn_once(f, WARN_ORDER, "page_alloc: order beyond MAX_ORDER");
		return NULL;
	}
	if ((gfp & __GFP_NOFAIL) && order > 1)
		frames_warn_once(f, WARN_NOFAIL_ORDER, "page_alloc: __GFP_NOFAIL for more than two frames");
	if ((gfp & __GFP_DIRECT_RECLAIM) && alloc_atomic_depth)
		frames_warn_once(f, WARN_MIGHT_SLEEP,
				 "page_alloc: request that may sleep where that is not allowed");
	if (should_fail(f) || !prepare_context(&ac, f, task, gfp, order))
		return NULL;
	struct page *page = alloc_from_zones(&ac, first_flags(&ac));
	if (unlikely(!page)) {
		ac.spread_dirty = false;
		page = alloc_slowpath(&ac);
	}
	if (page && (gfp & __GFP_ACCOUNT) && task->memcg && !charge(f, task, page, order))
		page = NULL;
	if (page)
		trace_alloc(f, page, order, gfp, ac.migratetype);
	return page;
}

/* Nobody counts down to a failure, listens, checks patterns or forbids sleep, and nothing is unusual about the request. */
static inline bool quick_will_do(struct frames *f, gfp_t gfp, unsigned int order)
{
	return !order && !(gfp & (__GFP_THISNODE | __GFP_ACCOUNT | __GFP_WRITE)) &&
	       atomic_load_explicit(&f->fail_in, memory_order_relaxed) <= 0 && !f->trace &&
	       !(atomic_load_explicit(&f->debug, memory_order_relaxed) & FRAMES_POISON) &&
	       !alloc_atomic_depth;
}

/* The zone has clearly more than its low mark, and no zeroed frame at hand that would be better. */
static inline bool zone_is_plain(const struct frames *f, const struct zone *z, gfp_t gfp,
				 enum zone_type highest, enum migratetype mt)
{
	if (unlikely(atomic_load_explicit(&f->min_free_kbytes, memory_order_relaxed)) &&
	    !zone_watermark_ok(z, 0, wmark_pages(z, WMARK_LOW), highest, 0))
		return false;
	return !(gfp & __GFP_ZERO) || mt != MIGRATE_MOVABLE || !zeropool_has(z, 0);
}

/* A frame that the processor's list of the preferred zone has at hand. NULL says nothing about whether there is memory. */
static inline struct page *take_quick(struct frames *f, gfp_t gfp)
{
	enum zone_type highest = gfp_zone(gfp);
	enum migratetype mt = migratetype_of(f, gfp);
	struct zone *z = f->node[frames_local_node(f)].preferred[highest];

	if (unlikely(!z || !zone_is_plain(f, z, gfp, highest, mt)))
		return NULL;
	struct pcp *pcp = pcp_get(f, z);
	if (unlikely(!pcp))
		return NULL;
	struct page *page = pcp_pop(pcp, mt);
	pcp->nr_quick += page != NULL;
	pcp_unlock(pcp);
	return page;
}

static __attribute__((noinline)) struct page *finish_zeroed(struct frames *f, struct page *page)
{
	frames_count(f, prepare_page(f, page, true) ? ZEROED_ON_ALLOC : FRESH_HIT, 1);
	return page;
}

static __attribute__((noinline, cold)) struct page *replace_bad(struct frames *f, struct page *page,
								gfp_t gfp)
{
	if (!pages_check_new(f, page, 0))
		return page_alloc_task(f, NULL, gfp, 0);
	prepare_page(f, page, gfp & __GFP_ZERO);
	return page;
}

struct page *page_alloc(struct frames *f, gfp_t gfp, unsigned int order)
{
	struct page *page = likely(quick_will_do(f, gfp, order)) ? take_quick(f, gfp) : NULL;

	if (unlikely(!page))
		return page_alloc_task(f, NULL, gfp, order);
	if (unlikely(!page_is_clean_free(page)))
		return replace_bad(f, page, gfp);
	if (gfp & __GFP_ZERO)
		return finish_zeroed(f, page);
	prepare_page(f, page, false);
	return page;
}

unsigned int page_alloc_bulk(struct frames *f, gfp_t gfp, unsigned int nr, struct page **page)
{
	unsigned int n = 0;

	while (n < nr) {
		page[n] = page_alloc(f, n ? (gfp | __GFP_NOWARN) & ~__GFP_DIRECT_RECLAIM : gfp, 0);
		if (!page[n])
			break;
		n++;
	}
	return n;
}

/* --- back ---------------------------------------------------------------------------------------------------------- */

static __attribute__((noinline)) void free_to_zone(struct frames *f, struct zone *z, struct page *page,
						   unsigned int order)
{
	pthread_mutex_lock(&z->lock);
	buddy_free(f, z, page, order, pageblock_migratetype(f, page_to_pfn(f, page)));
	pthread_mutex_unlock(&z->lock);
	zone_count(z, ZONE_PGFREE, 1ull << order);
}

/* The stack that a frame goes to; MIGRATE_PCPTYPES: none, its pageblock is special. */
static inline enum migratetype pcp_type(const struct frames *f, const struct page *page)
{
	enum migratetype mt = pageblock_migratetype(f, page_to_pfn(f, page));

	if (likely(mt < MIGRATE_PCPTYPES))
		return mt;
	return mt == MIGRATE_CMA ? MIGRATE_MOVABLE : MIGRATE_PCPTYPES;
}

void page_free(struct frames *f, struct page *page)
{
	struct zone *z = page_zone(f, page);

	if (!release_page(f, page))
		return;
	if (unlikely(f->trace))
		trace_free(f, page, 0);
	enum migratetype mt = pcp_type(f, page);
	struct pcp *pcp = mt < MIGRATE_PCPTYPES ? pcp_get(f, z) : NULL;
	if (unlikely(!pcp)) {
		free_to_zone(f, z, page, 0);
		return;
	}
	pcp_push(f, z, pcp, page, mt);
	pcp_unlock(pcp);
}

static bool free_to_pcp_huge(struct frames *f, struct zone *z, struct page *page)
{
	uint32_t high = atomic_load_explicit(&z->pcp_high_huge, memory_order_relaxed);

	if (!high || pageblock_migratetype(f, page_to_pfn(f, page)) != MIGRATE_MOVABLE)
		return false;
	struct pcp *pcp = pcp_get(f, z);
	if (!pcp)
		return false;
	bool kept = pcp->nr_huge < high;
	if (kept)
		pcp->huge[pcp->nr_huge++] = page;
	pcp_unlock(pcp);
	if (kept)
		zone_count(z, ZONE_PGFREE, PAGEBLOCK_PAGES);
	return kept;
}

/* Frees a block whose frame `bad` turned out to be bad after those before it were released. */
static void free_around_bad(struct frames *f, struct page *page, unsigned int bad, unsigned int nr)
{
	for (unsigned int i = 0; i < bad; i++)
		free_to_zone(f, page_zone(f, page), &page[i], 0);
	for (unsigned int i = bad + 1; i < nr; i++)
		page_free(f, &page[i]);
}

void page_free_block(struct frames *f, struct page *page, unsigned int order)
{
	struct zone *z = page_zone(f, page);

	if (!order) {
		page_free(f, page);
		return;
	}
	/* A block that is free already is refused as a whole: its frames are not ours to look at one by one. */
	if (unlikely(atomic_load_explicit(&page->flags, memory_order_relaxed) & (PG_FREE | PG_BAD))) {
		page_bad_free(f, page);
		return;
	}
	for (unsigned int i = 0; i < 1u << order; i++) {
		if (unlikely(!release_page(f, &page[i]))) {
			free_around_bad(f, page, i, 1u << order);
			return;
		}
	}
	if (unlikely(f->trace))
		trace_free(f, page, order);
	if (order != PAGEBLOCK_ORDER || !free_to_pcp_huge(f, z, page))
		free_to_zone(f, z, page, order);
}

void page_free_bulk(struct frames *f, unsigned int nr, struct page **page)
{
	for (unsigned int i = 0; i < nr; i++)
		page_free(f, page[i]);
}

void page_put(struct frames *f, struct page *page)
{
	if (atomic_fetch_sub_explicit(&page->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (page->memcg)
		memcg_uncharge(page->memcg, 1);
	page_free(f, page);
}
