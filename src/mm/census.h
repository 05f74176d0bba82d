/* SPDX-License-Identifier: MIT */
/*
 * census.h - who has the frames.
 *
 * Counted frame by frame, under each zone's lock in turn: exact while nobody allocates. Every frame that banks brought is
 * in one of the counts, so they add up to `present`; census_sum says whether they do.
 */
#ifndef LODGE_MM_CENSUS_H
#define LODGE_MM_CENSUS_H

#include "page.h"

struct census {
	uint64_t present;    /* in banks */
	uint64_t fresh;	     /* never handed out, not on lists yet */
	uint64_t free;	     /* on lists, in per-CPU lists and pools */
	uint64_t at_hand;    /* of those, in per-CPU lists and pools */
	uint64_t anon;	     /* anonymous memory of guests, and what accounts keep for MAP_HUGETLB */
	uint64_t cache;	     /* pages of files and shared memory */
	uint64_t compressed; /* pools of pages that are swapped: zpool.h */
	uint64_t tables;     /* page tables, those in quarantine included */
	uint64_t objects;    /* lodge's own objects, and what their allocator needs */
	uint64_t reserved;   /* the zero page, entry code, what processors need */
	uint64_t bad;	     /* out of use since a check failed */
	uint64_t other;	     /* referenced, but not by any of these: pinned after it was unmapped */
};

void census_take(struct frames *f, struct census *c);

/* The same for one zone. */
void census_zone(struct frames *f, struct zone *z, struct census *c);

/* What one account pays for, by kind, in pages. */
struct memcg_census {
	uint64_t anon, cache, tables; /* cache: pages of files and of shared memory */
	uint64_t mapped, dirty, writeback, active_anon,
		active_cache; /* of these; mapped and dirty: of the cache */
	uint64_t hugetlb;     /* in the pool, free or not */
	uint64_t anon_huge;   /* of anon, what huge entries map */
};

/* Looks at every frame that was ever handed out; exact while nobody allocates. */
void census_memcg(struct frames *f, const struct memcg *cg, struct memcg_census *c);

/* What the counts add up to: c->present. */
static inline uint64_t census_sum(const struct census *c)
{
	return c->fresh + c->free + c->anon + c->cache + c->compressed + c->tables + c->objects +
	       c->reserved + c->bad + c->other;
}

#endif
