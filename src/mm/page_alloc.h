/* SPDX-License-Identifier: MIT */
/*
 * page_alloc.h - blocks of 2^order frames, naturally aligned, for whoever asks by the rules of gfp.h.
 *
 * The way of a request: nodes by policy, zones in order, each passed over when it is below its low mark; from a zone, one
 * frame by the per-CPU list, more by the lists of blocks. If that fails, the slow path: kswapd, compaction, reclaim,
 * reserves, the OOM hook (slowpath.c). The rules are Linux 5.11's; docs/page_alloc.md says where they differ.
 * Thread-safe.
 */
#ifndef LODGE_MM_PAGE_ALLOC_H
#define LODGE_MM_PAGE_ALLOC_H

#include "page.h"

struct memcg;
struct mempolicy;

/* On whose behalf a block is taken, where that matters. */
struct alloc_task {
	struct mempolicy *policy; /* NULL: the default */
	nodemask_t mems_allowed;  /* cpuset; 0: all */
	struct memcg *memcg;	  /* charged for requests with __GFP_ACCOUNT; NULL: nobody */
	bool oom_victim;	  /* chosen by the OOM hook: may use half of the reserve */
	bool in_interrupt;	  /* policy and cpuset do not hold */
};

/* A block of 2^order frames with refs 1 on each of them; order 0..MAX_ORDER-1. NULL when there is none. */
struct page *page_alloc(struct frames *f, gfp_t gfp, unsigned int order);

/* The same on behalf of a task; NULL task: as page_alloc. */
struct page *page_alloc_task(struct frames *f, const struct alloc_task *task, gfp_t gfp, unsigned int order);

/* Up to nr single frames into page[]; returns how many there were. Never enters the slow path for more than the first. */
unsigned int page_alloc_bulk(struct frames *f, gfp_t gfp, unsigned int nr, struct page **page);

/* Takes one frame that nobody references any more (refs is 0 or 1, mapcount 0) back to its zone. */
void page_free(struct frames *f, struct page *page);

/* Takes back a whole block as page_alloc returned it. */
void page_free_block(struct frames *f, struct page *page, unsigned int order);

/* page_free for each of nr frames. */
void page_free_bulk(struct frames *f, unsigned int nr, struct page **page);

static inline void page_get(struct page *page)
{
	atomic_fetch_add_explicit(&page->refs, 1, memory_order_relaxed);
}

/* Takes a reference to a frame that may be freed at any moment. False: it was. */
static inline bool page_get_unless_zero(struct page *page)
{
	uint32_t refs = atomic_load_explicit(&page->refs, memory_order_relaxed);

	do {
		if (!refs)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&page->refs, &refs, refs + 1, memory_order_acquire,
							memory_order_relaxed));
	return true;
}

/* Drops a reference; the last one uncharges and frees the frame. */
void page_put(struct frames *f, struct page *page);

/* Between these, requests of the calling thread use the reserves and never reclaim (PF_MEMALLOC). They nest. */
void page_alloc_begin_reserve(void);
void page_alloc_end_reserve(void);
bool page_alloc_in_reserve(void);

/* Between these, a request that may sleep is reported: the calling thread holds what others spin for. They nest. */
void page_alloc_begin_atomic(void);
void page_alloc_end_atomic(void);

/*
 * Verifies every invariant of the lists of all zones of a type against the frame table, while nobody allocates. Returns the
 * number of violations, each told to `complain` (which may be NULL).
 */
unsigned int zone_check(struct frames *f, enum zone_type type, void (*complain)(const char *what, pfn_t pfn));

/* Frames of a type that are handed out: neither free, nor at hand for a processor, nor bad. While nobody allocates. */
uint64_t zone_used_pages(struct frames *f, enum zone_type type);

#endif
