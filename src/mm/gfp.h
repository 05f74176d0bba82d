/* SPDX-License-Identifier: MIT */
/*
 * gfp.h - what an allocation asks for: the bits of a gfp mask, and what follows from them.
 *
 * Bits 0..22 are numbered as in Linux 5.11, so that masks in traces and reports read the same. The two highest ones are
 * ours: they choose a zone that guests do not share.
 */
#ifndef LODGE_MM_GFP_H
#define LODGE_MM_GFP_H

#include "types.h"

typedef unsigned int gfp_t;

enum zone_type {
	ZONE_TABLE, /* page tables, descriptor tables, entry code: supervisor-only in guests, never reclaimed */
	ZONE_OBJECT,  /* object caches; not part of any guest's physical space */
	ZONE_DMA32,   /* guest frames below 4 GiB */
	ZONE_NORMAL,  /* guest frames */
	ZONE_MOVABLE, /* guest frames that hold nothing but movable pages */
	NR_ZONES,
};

enum migratetype {
	MIGRATE_UNMOVABLE,
	MIGRATE_MOVABLE,
	MIGRATE_RECLAIMABLE,
	MIGRATE_PCPTYPES, /* the number of types that per-CPU lists have */
	MIGRATE_HIGHATOMIC = MIGRATE_PCPTYPES,
	MIGRATE_CMA,
	MIGRATE_ISOLATE, /* nothing is allocated from such a pageblock */
	MIGRATE_TYPES,
};

#define __GFP_DMA	     0x1u /* no such zone: as if not given */
#define __GFP_HIGHMEM	     0x2u
#define __GFP_DMA32	     0x4u
#define __GFP_MOVABLE	     0x8u
#define __GFP_RECLAIMABLE    0x10u
#define __GFP_HIGH	     0x20u
#define __GFP_IO	     0x40u
#define __GFP_FS	     0x80u
#define __GFP_ZERO	     0x100u /* the block comes back filled with zeroes */
#define __GFP_ATOMIC	     0x200u
#define __GFP_DIRECT_RECLAIM 0x400u
#define __GFP_KSWAPD_RECLAIM 0x800u
#define __GFP_WRITE	     0x1000u
#define __GFP_NOWARN	     0x2000u
#define __GFP_RETRY_MAYFAIL  0x4000u
#define __GFP_NOFAIL	     0x8000u
#define __GFP_NORETRY	     0x10000u
#define __GFP_MEMALLOC	     0x20000u
#define __GFP_COMP	     0x40000u
#define __GFP_NOMEMALLOC     0x80000u
#define __GFP_HARDWALL	     0x100000u
#define __GFP_THISNODE	     0x200000u
#define __GFP_ACCOUNT	     0x400000u
#define __GFP_TABLE	     0x10000000u
#define __GFP_OBJECT	     0x20000000u

#define __GFP_RECLAIM	     (__GFP_DIRECT_RECLAIM | __GFP_KSWAPD_RECLAIM)
#define GFP_ATOMIC	     (__GFP_HIGH | __GFP_ATOMIC | __GFP_KSWAPD_RECLAIM)
#define GFP_NOWAIT	     __GFP_KSWAPD_RECLAIM
#define GFP_NOIO	     __GFP_RECLAIM
#define GFP_KERNEL	     (__GFP_RECLAIM | __GFP_IO | __GFP_FS)
#define GFP_USER	     (GFP_KERNEL | __GFP_HARDWALL)
#define GFP_HIGHUSER	     (GFP_USER | __GFP_HIGHMEM)
#define GFP_HIGHUSER_MOVABLE (GFP_HIGHUSER | __GFP_MOVABLE)
/* For blocks that are welcome but not needed: nobody reclaims or says anything for them. */
#define GFP_TRANSHUGE_LIGHT \
	((GFP_HIGHUSER_MOVABLE | __GFP_COMP | __GFP_NOMEMALLOC | __GFP_NOWARN) & ~__GFP_RECLAIM)

/* From zones of their own; nothing that guests give up could help when they are full. */
#define GFP_TABLE  (__GFP_TABLE | __GFP_NOWARN)
#define GFP_OBJECT (__GFP_OBJECT | __GFP_NOWARN)

_Static_assert(GFP_HIGHUSER_MOVABLE == 0x100cca, "the number that Linux 5.11 prints");

/* The highest zone that may serve the request. */
static inline enum zone_type gfp_zone(gfp_t gfp)
{
	if (gfp & (__GFP_TABLE | __GFP_OBJECT))
		return gfp & __GFP_TABLE ? ZONE_TABLE : ZONE_OBJECT;
	if (gfp & __GFP_DMA32)
		return ZONE_DMA32;
	return (gfp & (__GFP_HIGHMEM | __GFP_MOVABLE)) == (__GFP_HIGHMEM | __GFP_MOVABLE) ? ZONE_MOVABLE
											  : ZONE_NORMAL;
}

/* One of the first three; a page cannot be both movable and reclaimable: the latter is ignored then. */
static inline enum migratetype gfp_migratetype(gfp_t gfp)
{
	return gfp & __GFP_MOVABLE	 ? MIGRATE_MOVABLE
	       : gfp & __GFP_RECLAIMABLE ? MIGRATE_RECLAIMABLE
					 : MIGRATE_UNMOVABLE;
}

static inline bool zone_is_guest(enum zone_type type)
{
	return type >= ZONE_DMA32;
}

#endif
