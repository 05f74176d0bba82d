/* SPDX-License-Identifier: MIT */
/* pcp.c - filling, shrinking and draining per-CPU lists. See pcp.h. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sched.h>

#include "buddy.h"
#include "pcp.h"

_Static_assert(PCP_SLOTS >= PCP_MAX_HIGH + PCP_MAX_BATCH, "a full list takes another batch");

static size_t pcp_bytes(const struct frames *f)
{
	return f->nr_cpus * sizeof(struct pcp);
}

/* zone_batchsize: a thousandth of the zone, at most 256 frames; a quarter of that; one less than a power of two. */
static uint32_t zone_batch(const struct zone *z)
{
	uint64_t batch = min_u64(zone_managed_pages(z) / 1024, 256) / 4;

	if (!batch)
		return 0;
	batch += batch / 2;
	return (1u << (63 - __builtin_clzll(batch))) - 1;
}

int pcp_init(struct frames *f, struct zone *z, bool none)
{
	uint32_t batch = zone_batch(z);

	/* Objects have caches of their own in front of their frames. */
	if (none || !zone_populated(z) || z->type == ZONE_OBJECT)
		return 0;
	void *map = mmap(NULL, pcp_bytes(f), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED)
		return -ENOMEM;
	z->pcp = map;
	z->pcp_batch = batch ? batch : 1;
	z->pcp_high = 6 * batch;
	if (zone_is_guest(z->type) && zone_managed_pages(z) >= PAGEBLOCK_PAGES * 64 * f->nr_cpus)
		z->pcp_high_huge = PCP_HUGE_SLOTS;
	return 0;
}

void pcp_destroy(struct frames *f, struct zone *z)
{
	if (z->pcp)
		munmap(z->pcp, pcp_bytes(f));
	z->pcp = NULL;
}

/* rmqueue_bulk: lower addresses are handed out first. */
static unsigned int take_batch(struct frames *f, struct zone *z, struct pcp *pcp, enum migratetype mt,
			       unsigned int alloc_flags)
{
	unsigned int want = atomic_load_explicit(&z->pcp_batch, memory_order_relaxed), got = 0;
	struct page *batch[PCP_MAX_BATCH];

	pthread_mutex_lock(&z->lock);
	while (got < want) {
		batch[got] = buddy_take(f, z, 0, mt, alloc_flags);
		if (!batch[got])
			break;
		got++;
	}
	pthread_mutex_unlock(&z->lock);
	for (unsigned int i = 0; i < got; i++)
		pcp->slot[mt][i] = batch[got - 1 - i];
	return got;
}

struct page *pcp_refill(struct frames *f, struct zone *z, struct pcp *pcp, enum migratetype mt,
			unsigned int alloc_flags)
{
	unsigned int got = take_batch(f, z, pcp, mt, alloc_flags);

	pcp->count[mt] = got;
	return pcp_pop(pcp, mt);
}

static void give_back(struct frames *f, struct zone *z, struct page **page, unsigned int nr,
		      unsigned int order)
{
	for (unsigned int i = 0; i < nr; i++)
		buddy_free(f, z, page[i], order, pageblock_migratetype(f, page_to_pfn(f, page[i])));
}

void pcp_shrink(struct frames *f, struct zone *z, struct pcp *pcp, enum migratetype mt, unsigned int nr)
{
	nr = (unsigned int)min_u64(nr, pcp->count[mt]);
	pthread_mutex_lock(&z->lock);
	give_back(f, z, pcp->slot[mt], nr, 0);
	pthread_mutex_unlock(&z->lock);
	pcp->count[mt] -= nr;
	memmove(pcp->slot[mt], pcp->slot[mt] + nr, pcp->count[mt] * sizeof(pcp->slot[mt][0]));
}

static uint64_t held_by(const struct pcp *pcp)
{
	uint64_t nr = pcp->nr_huge * PAGEBLOCK_PAGES;

	for (unsigned int mt = 0; mt < MIGRATE_PCPTYPES; mt++)
		nr += pcp->count[mt];
	return nr;
}

static void lock_waiting(struct pcp *pcp)
{
	while (!pcp_trylock(pcp))
		sched_yield();
}

static uint64_t drain(struct frames *f, struct zone *z, struct pcp *pcp)
{
	lock_waiting(pcp);
	uint64_t nr = held_by(pcp);
	for (unsigned int mt = 0; mt < MIGRATE_PCPTYPES; mt++)
		pcp_shrink(f, z, pcp, (enum migratetype)mt, pcp->count[mt]);
	pthread_mutex_lock(&z->lock);
	give_back(f, z, pcp->huge, pcp->nr_huge, PAGEBLOCK_ORDER);
	pthread_mutex_unlock(&z->lock);
	pcp->nr_huge = 0;
	pcp_unlock(pcp);
	return nr;
}

uint64_t pcp_drain_zone(struct frames *f, struct zone *z)
{
	uint64_t nr = 0;

	for (unsigned int cpu = 0; z->pcp && cpu < f->nr_cpus; cpu++)
		nr += drain(f, z, &z->pcp[cpu]);
	return nr;
}

uint64_t pcp_drain_all(struct frames *f)
{
	uint64_t nr = 0;

	for (unsigned int i = 0; i < f->nr_nodes * NR_ZONES; i++)
		nr += pcp_drain_zone(f, &f->zone[i]);
	frames_count(f, PCP_DRAIN, 1);
	return nr;
}

uint64_t pcp_pages(struct frames *f, struct zone *z)
{
	uint64_t nr = 0;

	for (unsigned int cpu = 0; z->pcp && cpu < f->nr_cpus; cpu++) {
		struct pcp *pcp = &z->pcp[cpu];
		lock_waiting(pcp);
		nr += held_by(pcp);
		pcp_unlock(pcp);
	}
	return nr;
}
