/* SPDX-License-Identifier: MIT */
/*
 * vmscan.h - memory for an account that is full: what goes, how much of which kind, and who waits for it.
 *
 *	whoever is refused a frame --> memcg_reclaim --> files that nobody maps      filemap_shrink.h
 *	                                             --> the oldest pages, by kind    evict.h
 *	                                             --> an epoch ends, once more     ageing.h
 *	                                             --> compressed pages to swap     zswap.h
 *	                                             --> whatever a file can spare    filemap_shrink.h
 *
 * The limit itself is kept where frames are charged (memcg.h): it is never passed, and nothing here is needed for that. A fault that is
 * refused a frame gives its locks back, comes here, and begins anew.
 * Locking: no lock is held but mmap_lock (for reading) and those of areas. One thread at a time reclaims for an account; who waited for
 * it finds room and goes on.
 */
#ifndef LODGE_MM_VMSCAN_H
#define LODGE_MM_VMSCAN_H

#include "memcg.h"

struct mm_host;
struct reclaim_ops;

enum reclaim_flags {
	RECLAIM_KSWAPD =
		1 << 0,	       /* ahead of need: nothing is taken that was in use lately, nothing by force */
	RECLAIM_HOST = 1 << 1, /* for others that share the host's limit */
	RECLAIM_YOUNG =
		1 << 2, /* with RECLAIM_KSWAPD: all the same what was not used in the epoch under way */
};

/* How much to ask for at once: 8 MiB, or a sixteenth of a small account, lest all of its files go. */
static inline uint64_t memcg_reclaim_batch(const struct memcg *cg)
{
	const uint64_t most = 2048;

	return cg->max_pages / 16 < most ? cg->max_pages / 16 + 1 : most;
}

/* For reclaim_set_ops; ctx is the struct mm_host. */
extern const struct reclaim_ops mm_reclaim_ops;

/*
 * After a fault, with no lock held: an account with more than memory.high gives some back, and where it cannot, the caller waits the
 * longer the more it is, as Linux's do.
 */
void memcg_handle_over_high(struct mm_host *h, struct memcg *cg);

static inline bool memcg_over_high(const struct memcg *cg)
{
	return atomic_load_explicit(&cg->usage_pages, memory_order_relaxed) >
	       atomic_load_explicit(&cg->high_pages, memory_order_relaxed);
}

/*
 * For whoever was refused a frame, by the account or by the host, after its attempts-th try: whether another is worth it. Where the account
 * has room it is the host that is short, and all its accounts give in proportion to what they have: they share that limit. `refused`: it was
 * the account, so that room which others have made meanwhile will do.
 */
bool memcg_make_room(struct mm_host *h, struct memcg *cg, bool refused, unsigned int attempts);

/* Whether anonymous pages of the account could go to swap: there are slots, and swappiness is not 0. */
bool memcg_may_swap(struct mm_host *h, struct memcg *cg);

/* Frees about nr_pages of all accounts together. Returns how many there are to be had now, 0: nothing can go. */
uint64_t host_reclaim(struct mm_host *h, uint64_t nr_pages);

/* Ends an epoch ahead of need. */
void memcg_end_epoch(struct mm_host *h, struct memcg *cg);

/* Frees about nr_pages pages that `cg` pays for. Returns how many there are to be had now, 0: nothing can go. */
uint64_t memcg_reclaim(struct mm_host *h, struct memcg *cg, uint64_t nr_pages, unsigned int flags);

#endif
