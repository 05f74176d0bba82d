/* SPDX-License-Identifier: MIT */
/*
 * zone.h - parts of the physical space with one purpose, the nodes they belong to, and the order in which they are tried.
 *
 * Each node has one zone of each type; those without frames are never tried. Zones of tables and objects exist on node 0
 * only and are on no list but their own. A zone's frames come in banks, on demand:
 *
 *	start_pfn             fresh_pfn          bank_end_pfn              limit_pfn
 *	  | on lists or in use    | never handed out    | no bank brought yet     |
 *	  |<----------- present_pages ----------------->|
 *	  |<----------- managed: what watermarks are computed from -------------->|
 *
 * Free, for watermarks, is what is on lists plus the room from fresh_pfn to limit_pfn: room that the host refused to fill
 * (bank_refused) does not count until a bank succeeds again.
 * Locking: (Z) zone->lock  (A) atomic  (C) constant after frames_setup  (B) zone->lock to write, any time to read.
 * Not here: blocks and their lists (buddy.h), per-CPU lists (pcp.h).
 */
#ifndef LODGE_MM_ZONE_H
#define LODGE_MM_ZONE_H

#include <pthread.h>
#include <stdatomic.h>

#include "gfp.h"
#include "list.h"

struct frames;
struct page;
struct pcp;
struct zeropool;

#ifndef MAX_ORDER
#define MAX_ORDER 11 /* block orders are 0..MAX_ORDER-1 */
#endif

/* Blocks of this order have one migratetype: 2 MiB, or the largest block where that is smaller. */
#ifndef PAGEBLOCK_ORDER
#define PAGEBLOCK_ORDER (MAX_ORDER - 1 < 9 ? MAX_ORDER - 1 : 9)
#endif
#define PAGEBLOCK_PAGES		(1ull << PAGEBLOCK_ORDER)
#define PAGE_ALLOC_COSTLY_ORDER 3

/* Zones begin and end at multiples of what a bank is made of. */
#define ZONE_ALIGN_PAGES	PMD_PAGES

#define MAX_NODES		8
#define MAX_ZONES		(MAX_NODES * NR_ZONES)
#define NUMA_NO_NODE		(-1)

#define LOCAL_DISTANCE		10
#define REMOTE_DISTANCE		20
#define NODE_RECLAIM_DISTANCE	30

typedef uint32_t nodemask_t; /* bit n: node n */

#define NODE_MASK_ALL ((nodemask_t)~0u)

enum zone_watermarks { WMARK_MIN, WMARK_LOW, WMARK_HIGH, NR_WMARK };

enum zone_flags {
	ZONE_BOOSTED_WATERMARK = 1 << 0, /* boosted lately: whoever allocates next wakes kswapd */
};

enum zone_stat {
	ZONE_PGALLOC, /* frames handed out */
	ZONE_PGFREE,
	NUMA_HIT,	 /* blocks taken here as wished */
	NUMA_MISS,	 /* blocks taken here although another node was wished */
	NUMA_FOREIGN,	 /* blocks wished here that another node gave */
	NUMA_INTERLEAVE, /* blocks taken here as the turn wanted */
	NUMA_LOCAL,	 /* blocks for a processor of this node */
	NUMA_OTHER,
	NR_ZONE_STATS,
};

struct free_area {
	struct list_head free_list[MIGRATE_TYPES];
	_Atomic uint32_t types; /* (B) bit mt: the list is not empty */
	uint64_t nr_free;	/* blocks, of all types */
};

/* How long compaction is put off after it failed. */
struct compact_state {
	unsigned int considered, defer_shift;
	int order_failed;
};

struct zone {
	_Atomic uint64_t watermark[NR_WMARK]; /* (A) without the boost */
	_Atomic uint64_t watermark_boost;     /* (A) */
	_Atomic uint64_t
		lowmem_reserve[NR_ZONES];     /* (A) held back from requests that a higher zone could serve */
	struct pcp *pcp;		      /* (C) one per processor */
	struct zeropool *zeropool;	      /* (C) */
	_Atomic uint32_t pcp_high, pcp_batch; /* (A) */
	_Atomic uint32_t pcp_high_huge;	      /* (A) blocks of PAGEBLOCK_ORDER */
	enum zone_type type;		      /* (C) */
	uint8_t node, id;		      /* (C) id: index in frames->zone */
	pfn_t start_pfn, limit_pfn;	      /* (C) the zone's part of the physical space */
	pfn_t cma_start_pfn, cma_end_pfn;     /* (C) contiguous area within it, empty if there is none */
	_Atomic uint32_t flags;		      /* (A) enum zone_flags */

	pthread_mutex_t
		lock; /* rank LOCK_ZONE; nothing but bank_ops and hooks that only record is called under it */
	struct free_area free_area[MAX_ORDER];	 /* (Z) */
	_Atomic uint64_t nr_free_pages;		 /* (B) on free lists */
	_Atomic uint64_t nr_reported_pages;	 /* (B) of those, in blocks whose memory the machine has */
	_Atomic uint64_t nr_reporting_pages;	 /* (B) on no list for the time of a call: page_reporting.h */
	_Atomic uint64_t nr_free_cma;		 /* (B) of those, in the contiguous area */
	_Atomic uint64_t nr_reserved_highatomic; /* (B) */
	uint64_t present_pages;			 /* (Z) in banks: free + allocated + fresh */
	_Atomic pfn_t fresh_pfn;	      /* (B) frames from here to bank_end_pfn were never handed out */
	pfn_t bank_end_pfn;		      /* (Z) */
	_Atomic bool bank_refused;	      /* (B) the last request for a bank failed */
	uint64_t nr_isolated_blocks;	      /* (Z) pageblocks of MIGRATE_ISOLATE */
	uint64_t nr_bad_pages;		      /* (Z) frames that no check trusts: never handed out again */
	struct compact_state compact;	      /* (Z) */
	_Atomic uint64_t stat[NR_ZONE_STATS]; /* (A) what per-CPU lists did not count */
};

struct zoneref {
	struct zone *zone; /* NULL: end of the list */
	enum zone_type zone_idx;
};

struct zonelist {
	struct zoneref ref[MAX_ZONES + 1];
};

enum { ZONELIST_FALLBACK, ZONELIST_NOFALLBACK, MAX_ZONELISTS };

struct pglist_data {
	int nid;
	struct zone *zones; /* (C) NR_ZONES of them */
	struct zonelist
		node_zonelists[MAX_ZONELISTS]; /* (C) guest zones: nearest node first, highest zone first */
	struct zonelist special[2];	       /* (C) ZONE_TABLE, ZONE_OBJECT */
	struct zone *preferred[NR_ZONES];      /* (C) by highest zone: where requests go first; NULL: none */
	uint8_t distance[MAX_NODES];	       /* (C) */
	/* kswapd sleeps while every zone it was woken for is above WMARK_HIGH. Who runs it is reclaim_ops' matter. */
	_Atomic uint64_t nr_kswapd_wakes; /* (A) */
};

static inline uint64_t zone_managed_pages(const struct zone *z)
{
	return z->limit_pfn - z->start_pfn;
}

/* Frames that the zone could still bring. */
static inline uint64_t zone_room_pages(const struct zone *z)
{
	pfn_t fresh = atomic_load_explicit(&z->fresh_pfn, memory_order_relaxed);

	return atomic_load_explicit(&z->bank_refused, memory_order_relaxed) ? 0 : z->limit_pfn - fresh;
}

/* What watermarks compare: on lists, or room. */
static inline uint64_t zone_free_pages(const struct zone *z)
{
	return atomic_load_explicit(&z->nr_free_pages, memory_order_relaxed) + zone_room_pages(z);
}

static inline bool zone_populated(const struct zone *z)
{
	return z->limit_pfn > z->start_pfn;
}

static inline void zone_count(struct zone *z, enum zone_stat what, uint64_t nr)
{
	atomic_fetch_add_explicit(&z->stat[what], nr, memory_order_relaxed);
}

/* A zone over [start, limit), without frames. */
void zone_init(struct frames *f, struct zone *z, enum zone_type type, unsigned int nid, pfn_t start,
	       pfn_t limit);
void zone_destroy(struct zone *z);

/*
 * Puts the next pageblock that nobody had yet on the lists, as one of type mt; asks for a bank if need be. The lock is
 * held. False: there is none.
 */
bool zone_carve(struct frames *f, struct zone *z, enum migratetype mt);

/* Fills in the zonelists of all nodes from their distances. */
void zonelists_build(struct frames *f);

/*
 * The list for a request, and a walk along it over the zones that may serve it: z becomes each zone of highest_zoneidx or
 * below on a node of the mask, in order.
 */
const struct zoneref *zonelist_of(const struct frames *f, int nid, gfp_t gfp);
const struct zoneref *next_zoneref(const struct zoneref *ref, enum zone_type highest, nodemask_t nodes);

#define for_each_zoneref(ref, list, highest, nodes)                                     \
	for (const struct zoneref *ref = next_zoneref(list, highest, nodes); ref->zone; \
	     ref = next_zoneref(ref + 1, highest, nodes))

const char *zone_name(enum zone_type type);

#endif
