/* SPDX-License-Identifier: MIT */
/*
 * slowpath.c - what is done for a request when no zone is above its low mark.
 *
 *	wake kswapd, try down to the min mark --> compact, if what is wanted is a large block
 *	  retry: try with the reserves one may use --> reclaim --> compact --> retry while it makes progress, 16 times without
 *	    the OOM hook --> retry if it helped --> fail, and say so
 *
 * The order of steps and the conditions are those of __alloc_pages_slowpath in Linux 5.11. Two steps are ours: zones whose
 * host refused a bank are asked again, and what processors hold is drained before a request fails, whatever it may do.
 * Locking: none held; nothing sleeps but in hooks.
 */
#include <sched.h>

#include "alloc_context.h"
#include "compaction.h"
#include "pcp.h"
#include "reclaim.h"
#include "watermark.h"
#include "zeropool.h"

#define MAX_RECLAIM_RETRIES 16
#define MAX_COMPACT_RETRIES 16
#define SWAP_CLUSTER_MAX    32

struct slowpath {
	struct alloc_context *ac;
	unsigned int alloc_flags;
	bool costly;	  /* a large block: not worth everything */
	bool may_reclaim; /* the request allows it, and is not itself made on behalf of reclaim */
	enum compact_priority compact_priority;
	enum compact_result compact_result;
	unsigned int compaction_retries, no_progress_loops;
	uint64_t did_some_progress;
};

void alloc_wake_kswapd(struct alloc_context *ac, const struct zone *z)
{
	struct frames *f = ac->f;

	if (!zone_is_guest(z->type))
		return;
	atomic_fetch_add_explicit(&f->node[z->node].nr_kswapd_wakes, 1, memory_order_relaxed);
	frames_count(f, KSWAPD_WAKE, 1);
	if (f->reclaim && f->reclaim->wake_kswapd)
		f->reclaim->wake_kswapd(f->reclaim_ctx, z->node, ac->order, ac->highest);
}

/* Once per node. */
static void wake_all_kswapds(struct alloc_context *ac)
{
	nodemask_t done = 0;

	for_each_zoneref(ref, ac->preferred, ac->highest, ac->nodes)
	{
		if (!(done & 1u << ref->zone->node))
			alloc_wake_kswapd(ac, ref->zone);
		done |= 1u << ref->zone->node;
	}
}

/* gfp_to_alloc_flags */
static unsigned int flags_of(const struct alloc_context *ac)
{
	unsigned int flags = ALLOC_WMARK_MIN;

	if (ac->task->mems_allowed)
		flags |= ALLOC_CPUSET;
	if (ac->gfp & __GFP_HIGH)
		flags |= ALLOC_HIGH;
	if (ac->gfp & __GFP_KSWAPD_RECLAIM)
		flags |= ALLOC_KSWAPD;
	if (ac->gfp & __GFP_ATOMIC) {
		if (!(ac->gfp & __GFP_NOMEMALLOC))
			flags |= ALLOC_HARDER;
		flags &= ~(unsigned int)ALLOC_CPUSET;
	}
	if (ac->migratetype == MIGRATE_MOVABLE)
		flags |= ALLOC_CMA;
	return flags;
}

/* __gfp_pfmemalloc_flags: what part of the reserves is open to the request, or 0. */
static unsigned int reserve_flags(const struct alloc_context *ac)
{
	if (ac->gfp & __GFP_NOMEMALLOC)
		return 0;
	if ((ac->gfp & __GFP_MEMALLOC) || alloc_reserve_depth)
		return ALLOC_NO_WATERMARKS;
	return ac->task->oom_victim ? ALLOC_OOM : 0;
}

static struct page *compact(struct slowpath *s)
{
	struct alloc_context *ac = s->ac;

	s->compact_result = COMPACT_SKIPPED;
	if (!ac->order)
		return NULL;
	for_each_zoneref(ref, ac->preferred, ac->highest, ac->nodes)
	{
		enum compact_result r = compact_zone(ac->f, ref->zone, ac->order, s->compact_priority);
		s->compact_result = r > s->compact_result ? r : s->compact_result;
		if (r == COMPACT_SUCCESS)
			break;
	}
	if (s->compact_result <= COMPACT_DEFERRED)
		return NULL;
	return alloc_from_zones(ac, s->alloc_flags);
}

/* The calls that give memory back are short. */
static void wait_for_reporting(const struct zone *z)
{
	while (atomic_load(&z->nr_reporting_pages))
		sched_yield();
}

/* Frames that only seem to be in use: at hand for processors, zeroed ahead, on their way, or kept for those who cannot wait. */
static void release_reserves(struct alloc_context *ac)
{
	for_each_zoneref(ref, ac->preferred, ac->highest,
			 ac->nodes) if (highatomic_unreserve(ac->f, ref->zone, ac->migratetype, false)) break;
	for_each_zoneref(ref, ac->preferred, ac->highest, ac->nodes) zeropool_drain(ac->f, ref->zone);
	for_each_zoneref(ref, ac->preferred, ac->highest, ac->nodes) wait_for_reporting(ref->zone);
	pcp_drain_all(ac->f);
}

static struct page *reclaim(struct slowpath *s)
{
	struct alloc_context *ac = s->ac;
	struct frames *f = ac->f;

	s->did_some_progress = 0;
	if (!f->reclaim || !f->reclaim->reclaim)
		return NULL;
	frames_count(f, ALLOCSTALL, 1);
	page_alloc_begin_reserve();
	s->did_some_progress = f->reclaim->reclaim(f->reclaim_ctx, ac->gfp, ac->order,
						   max_u64(SWAP_CLUSTER_MAX, 1ull << ac->order), ac->nodes);
	page_alloc_end_reserve();
	if (!s->did_some_progress)
		return NULL;
	struct page *page = alloc_from_zones(ac, s->alloc_flags);
	if (!page) {
		release_reserves(ac);
		page = alloc_from_zones(ac, s->alloc_flags);
	}
	return page;
}

static uint64_t reclaimable(struct alloc_context *ac, const struct zone *z)
{
	const struct frames *f = ac->f;

	return f->reclaim && f->reclaim->reclaimable
		       ? f->reclaim->reclaimable(f->reclaim_ctx, z->node, z->type)
		       : 0;
}

/* Whether a zone would be above its min mark if all that can be reclaimed were; 16 rounds without progress are enough. */
static bool should_reclaim_retry(struct slowpath *s)
{
	struct alloc_context *ac = s->ac;

	s->no_progress_loops = s->did_some_progress && !s->costly ? 0 : s->no_progress_loops + 1;
	if (s->no_progress_loops > MAX_RECLAIM_RETRIES) {
		for_each_zoneref(ref, ac->preferred, ac->highest,
				 ac->nodes) if (highatomic_unreserve(ac->f, ref->zone, ac->migratetype,
								     true)) return true;
		return false;
	}
	for_each_zoneref(ref, ac->preferred, ac->highest, ac->nodes)
	{
		const struct zone *z = ref->zone;
		uint64_t available = reclaimable(ac, z) + zone_free_pages(z),
			 mark = wmark_pages(z, WMARK_MIN);
		if (available > mark && available - mark > 1ull << ac->order && reclaimable(ac, z)) {
			frames_count(ac->f, PGSCAN_RETRY, 1);
			sched_yield();
			return true;
		}
	}
	return false;
}

static bool should_compact_retry(struct slowpath *s)
{
	unsigned int most = s->costly ? MAX_COMPACT_RETRIES / 4 : MAX_COMPACT_RETRIES;

	if (!s->ac->order || s->compact_result == COMPACT_SKIPPED)
		return false;
	if (s->compact_result != COMPACT_DEFERRED && ++s->compaction_retries <= most)
		return true;
	if (s->compact_priority == COMPACT_PRIO_SYNC_FULL)
		return false;
	s->compact_priority--;
	s->compaction_retries = 0;
	return true;
}

/* __alloc_pages_may_oom. True when the hook says that it helped. */
static bool ask_oom(struct slowpath *s)
{
	struct alloc_context *ac = s->ac;
	struct frames *f = ac->f;

	if (s->costly || (ac->gfp & (__GFP_RETRY_MAYFAIL | __GFP_THISNODE)) || !f->reclaim ||
	    !f->reclaim->oom)
		return false;
	frames_count(f, OOM_CALL, 1);
	page_alloc_begin_reserve();
	bool helped = f->reclaim->oom(f->reclaim_ctx, ac->gfp, ac->order, ac->nodes);
	page_alloc_end_reserve();
	return helped;
}

static void say_failed(struct alloc_context *ac)
{
	frames_count(ac->f, ALLOC_FAIL, 1);
	if (!(ac->gfp & __GFP_NOWARN))
		frames_report(ac->f, "page allocation failure: order:%u, mode:%#x, nodemask=%#x", ac->order,
			      ac->gfp, ac->nodes);
}

/* The first tries, which cost nothing but time: down to the min mark, and by compaction for large blocks. */
static struct page *first_tries(struct slowpath *s)
{
	struct alloc_context *ac = s->ac;

	for_each_zoneref(ref, ac->preferred, ac->highest, ac->nodes) ref->zone->bank_refused = false;
	if (s->alloc_flags & ALLOC_KSWAPD)
		wake_all_kswapds(ac);
	struct page *page = alloc_from_zones(ac, s->alloc_flags);
	bool large = s->costly || (ac->order && ac->migratetype != MIGRATE_MOVABLE);
	if (!page && large && (ac->gfp & __GFP_DIRECT_RECLAIM) && !reserve_flags(ac)) {
		page = compact(s);
		s->compact_priority = COMPACT_PRIO_INIT;
	}
	return page;
}

/* One round after the first tries. *again: worth another. */
static struct page *one_round(struct slowpath *s, bool *again)
{
	struct alloc_context *ac = s->ac;
	unsigned int reserves = reserve_flags(ac);
	struct page *page;

	*again = false;
	if (s->alloc_flags & ALLOC_KSWAPD)
		wake_all_kswapds(ac);
	if (reserves) {
		s->alloc_flags = reserves | (s->alloc_flags & (ALLOC_CMA | ALLOC_KSWAPD));
		ac->nodes = NODE_MASK_ALL; /* a policy is no reason to fail for who frees memory */
		ac->preferred = next_zoneref(ac->zonelist, ac->highest, ac->nodes);
	}
	page = alloc_from_zones(ac, s->alloc_flags);
	if (page || !s->may_reclaim)
		return page;
	page = reclaim(s);
	if (!page)
		page = compact(s);
	if (page || (ac->gfp & __GFP_NORETRY) || (s->costly && !(ac->gfp & __GFP_RETRY_MAYFAIL)))
		return page;
	*again = should_reclaim_retry(s) || (s->did_some_progress && should_compact_retry(s));
	if (*again)
		return NULL;
	if (!ask_oom(s) || ac->task->oom_victim)
		return alloc_from_zones(ac, s->alloc_flags);
	s->no_progress_loops = 0;
	*again = true;
	return NULL;
}

/* Nothing may be left unused before a request fails, unless it is only for a block that would be welcome. */
static struct page *last_try(struct slowpath *s)
{
	const struct alloc_context *ac = s->ac;

	if (ac->order && zone_is_guest(ac->highest) && !(ac->gfp & __GFP_RECLAIM))
		return NULL;
	release_reserves(s->ac);
	return alloc_from_zones(s->ac, s->alloc_flags);
}

struct page *alloc_slowpath(struct alloc_context *ac)
{
	struct slowpath s = {.ac = ac,
			     .costly = ac->order > PAGE_ALLOC_COSTLY_ORDER,
			     .compact_priority = COMPACT_PRIO_INIT};
	bool again = true;

	if ((ac->gfp & (__GFP_ATOMIC | __GFP_DIRECT_RECLAIM)) == (__GFP_ATOMIC | __GFP_DIRECT_RECLAIM)) {
		frames_warn_once(ac->f, WARN_ATOMIC_RECLAIM, "page_alloc: __GFP_ATOMIC that may reclaim");
		ac->gfp &= ~__GFP_ATOMIC;
	}
	s.alloc_flags = flags_of(ac);
	s.may_reclaim = (ac->gfp & __GFP_DIRECT_RECLAIM) && !alloc_reserve_depth;
	struct page *page = first_tries(&s);
	if (!page && s.costly && (ac->gfp & __GFP_NORETRY) && s.compact_result <= COMPACT_DEFERRED)
		again = false; /* reclaim would make small blocks only */
	while (!page && again)
		page = one_round(&s, &again);
	if (!page)
		page = last_try(&s);
	/* A request that must not fail waits for whoever frees; one that may not wait cannot have that. */
	while (!page && (ac->gfp & __GFP_NOFAIL)) {
		if (!s.may_reclaim) {
			frames_warn_once(ac->f, WARN_NOFAIL_ATOMIC,
					 "page_alloc: __GFP_NOFAIL without reclaim");
			break;
		}
		sched_yield();
		s.alloc_flags |= ALLOC_HARDER;
		page = one_round(&s, &again);
	}
	if (!page)
		say_failed(ac);
	return page;
}
