/* SPDX-License-Identifier: MIT */
/*
 * workingset.h - pages that come back: how long they were away, and which kind should have stayed.
 *
 *	evicted    clock 100     remembered: 100
 *	           ... 40 pages are evicted ...
 *	comes back clock 140     distance 40: with 40 frames more it would not have gone
 *
 * The distance of a page that comes back is how many pages went after it (Linux's mm/workingset.c argues why that is the number that
 * matters). One that is at most what the account has is a page of the working set: it went for pages that may not be needed as much,
 * and its kind pays: the next pages to go are rather those of the other kind (vmscan.c).
 *
 * What is remembered lies in a table of words, by a hash of what the page is: the page cache or the slot, and the place there. Its size
 * is fixed, so that files that were read once leave nothing behind; a newer page may take the place of an older one, which then is not
 * known any more when it comes back.
 * Locking: all atomic; a lost update costs a hint.
 */
#ifndef LODGE_MM_WORKINGSET_H
#define LODGE_MM_WORKINGSET_H

#include "memcg.h"

struct frames;

/* A page of the account goes. key: what it is, the same when it comes back. */
void workingset_evict(struct memcg *cg, uint64_t key);

/* A page comes into memory that may have been there before. */
void workingset_refault(struct frames *f, struct memcg *cg, enum reclaim_type type, uint64_t key);

/* Whether that page would be one of the working set: it went so lately that it would be here still with twice the memory. */
bool workingset_is_recent(const struct memcg *cg, uint64_t key);

/* Times that pages of the working set came back, of late. */
static inline uint64_t workingset_cost(const struct memcg *cg, enum reclaim_type type)
{
	return atomic_load_explicit(&cg->workingset.cost[type], memory_order_relaxed);
}

#endif
