/* SPDX-License-Identifier: MIT */
/*
 * zeropool.h - zeroed frames kept ready, so that a fault need not clear them.
 *
 * Each guest zone has a small stack of single frames and one of blocks of PAGEBLOCK_ORDER, both movable. Whoever has idle
 * time fills them: zeropool_fill from a thread of the embedder's, or the helper thread here, which is off until it is started.
 * Frames in a pool have PG_FREE and PG_FRESH; they count as free in pcp's way (neither nr_free_pages nor used) and go back to
 * their zone when memory is short or the pool is drained.
 * Locking: the pool's own flag, like pcp->lock; nobody waits for it but filling and draining.
 */
#ifndef LODGE_MM_ZEROPOOL_H
#define LODGE_MM_ZEROPOOL_H

#include "page.h"

#define ZEROPOOL_PAGES 512
#define ZEROPOOL_HUGE  4

struct zeropool {
	_Alignas(64) _Atomic uint32_t lock;
	_Atomic uint32_t nr[2]; /* written under the lock: single frames, blocks */
	struct page *page[ZEROPOOL_PAGES];
	struct page *huge[ZEROPOOL_HUGE];
};

/* Gives the zone an empty pool. 0 or -ENOMEM. */
int zeropool_init(struct zone *z);
void zeropool_destroy(struct zone *z);

static inline bool zeropool_has(const struct zone *z, unsigned int order)
{
	if (!z->zeropool || (order && order != PAGEBLOCK_ORDER))
		return false;
	return atomic_load_explicit(&z->zeropool->nr[order != 0], memory_order_relaxed) != 0;
}

/* A free, zeroed block of order 0 or PAGEBLOCK_ORDER, or NULL. */
struct page *zeropool_take(struct frames *f, struct zone *z, unsigned int order);

/* Clears at most nr frames for all pools together, if memory is plentiful. Returns how many; 0: all pools are full. */
uint64_t zeropool_fill(struct frames *f, uint64_t nr);

/* Gives everything back to the zone. Returns the frames given. */
uint64_t zeropool_drain(struct frames *f, struct zone *z);
uint64_t zeropool_pages(struct zone *z);

/*
 * A thread that fills the pools whenever the machine has time for it (it runs under SCHED_IDLE and looks every few
 * milliseconds). 0 or -errno. Stop before frames_destroy.
 */
struct zeropool_thread;
int zeropool_start(struct frames *f, struct zeropool_thread **thread);
void zeropool_stop(struct zeropool_thread *thread);

#endif
