/* SPDX-License-Identifier: MIT */
/*
 * pcp.h - per-CPU lists: a few free frames of each zone at hand for each processor, so that most requests for one frame
 * touch neither the zone's lock nor its lists.
 *
 * A list is a stack: what was freed last, and is hot, is handed out first; what goes back to the zone is the coldest.
 * Frames come and go `batch` at a time; a stack keeps less than `high`. Blocks of PAGEBLOCK_ORDER have a small
 * stack of their own.
 *   C1  a frame on a stack has PG_FREE and not PG_BUDDY, refs 0, and counts neither as nr_free_pages nor as used
 *   C2  a frame is on the stack of the type that its pageblock had when it came; those of the contiguous area are with the
 *       movable ones; highatomic and isolated ones never come
 * Locking: (P) pcp->lock, a flag that nobody waits for: a thread that finds it taken (its holder was put aside in the
 * middle) goes to the zone instead. Only draining waits. zone->lock nests inside.
 * Why so, and not per thread or by restartable sequences: docs/page_alloc.md.
 */
#ifndef LODGE_MM_PCP_H
#define LODGE_MM_PCP_H

#include "cpu.h"
#include "page.h"

#define PCP_MAX_BATCH  63
#define PCP_MAX_HIGH   (6 * PCP_MAX_BATCH)
#define PCP_SLOTS      (PCP_MAX_HIGH + PCP_MAX_BATCH + 7)
#define PCP_HUGE_SLOTS 4

struct pcp {
	_Alignas(64) _Atomic uint32_t lock;
	uint32_t count[MIGRATE_PCPTYPES]; /* (P) */
	uint32_t nr_huge;		  /* (P) */
	uint64_t nr_free;		  /* (P) frames that came to the stacks */
	uint64_t nr_alloc, nr_quick; /* (P) that went: by all checks; by the short cut, local and as wished */
	uint64_t nr_alloc_huge;	     /* (P) blocks */
	struct page *huge[PCP_HUGE_SLOTS];		/* (P) movable blocks of PAGEBLOCK_ORDER */
	struct page *slot[MIGRATE_PCPTYPES][PCP_SLOTS]; /* (P) */
};

/* Sets up the lists of a zone: sizes by Linux's formula, or none at all. 0 or -ENOMEM. */
int pcp_init(struct frames *f, struct zone *z, bool none);
void pcp_destroy(struct frames *f, struct zone *z);

/* Fills an empty stack from the zone and takes one from it; the lock is held. NULL: the zone has none. */
struct page *pcp_refill(struct frames *f, struct zone *z, struct pcp *pcp, enum migratetype mt,
			unsigned int alloc_flags);

/* Gives the nr coldest frames of a stack back to the zone; the lock is held. */
void pcp_shrink(struct frames *f, struct zone *z, struct pcp *pcp, enum migratetype mt, unsigned int nr);

/* Gives everything that processors hold of a zone back to it. Returns the frames given. */
uint64_t pcp_drain_zone(struct frames *f, struct zone *z);

/* The same for all zones: drain_all_pages. */
uint64_t pcp_drain_all(struct frames *f);

/* Frames that processors hold of a zone. */
uint64_t pcp_pages(struct frames *f, struct zone *z);

static inline bool pcp_trylock(struct pcp *pcp)
{
	return !atomic_exchange_explicit(&pcp->lock, 1, memory_order_acquire);
}

static inline void pcp_unlock(struct pcp *pcp)
{
	atomic_store_explicit(&pcp->lock, 0, memory_order_release);
}

/* The caller's lists of a zone, locked; NULL when they are taken or there are none. */
static inline struct pcp *pcp_get(const struct frames *f, struct zone *z)
{
	unsigned int cpu = cpu_current();

	if (!z->pcp)
		return NULL;
	struct pcp *pcp = &z->pcp[cpu < f->nr_cpus ? cpu : cpu % f->nr_cpus];
	return pcp_trylock(pcp) ? pcp : NULL;
}

/* One frame; the lock is held. */
static inline struct page *pcp_pop(struct pcp *pcp, enum migratetype mt)
{
	return pcp->count[mt] ? pcp->slot[mt][--pcp->count[mt]] : NULL;
}

/* Adds a frame and gives some back if they are too many now; the lock is held. */
static inline void pcp_push(struct frames *f, struct zone *z, struct pcp *pcp, struct page *page,
			    enum migratetype mt)
{
	uint32_t n = pcp->count[mt];

	pcp->slot[mt][n] = page;
	pcp->count[mt] = n + 1;
	pcp->nr_free++;
	if (__builtin_expect(n >= atomic_load_explicit(&z->pcp_high, memory_order_relaxed), 0))
		pcp_shrink(f, z, pcp, mt, atomic_load_explicit(&z->pcp_batch, memory_order_relaxed));
}

#endif
