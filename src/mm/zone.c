/* SPDX-License-Identifier: MIT */
/*
 * zone.c - where a zone's frames come from, and which zones a request may go to. See zone.h.
 *
 * A bank is as large as all before it, within limits: few memory slots for large guests, little for small ones.
 */
#include <string.h>

#include "buddy.h"
#include "lock_rank.h"
#include "page.h"

static const struct {
	uint64_t first, most; /* frames */
} bank_size[NR_ZONES] = {
	[ZONE_TABLE] = {512, 8192},	[ZONE_OBJECT] = {512, 8192},	 [ZONE_DMA32] = {4096, 131072},
	[ZONE_NORMAL] = {4096, 131072}, [ZONE_MOVABLE] = {4096, 131072},
};

static const char *const names[NR_ZONES] = {
	[ZONE_TABLE] = "Table",	  [ZONE_OBJECT] = "Object",   [ZONE_DMA32] = "DMA32",
	[ZONE_NORMAL] = "Normal", [ZONE_MOVABLE] = "Movable",
};

const char *zone_name(enum zone_type type)
{
	return names[type];
}

void zone_init(struct frames *f, struct zone *z, enum zone_type type, unsigned int nid, pfn_t start,
	       pfn_t limit)
{
	pthread_mutexattr_t attr;

	/* Held for less than a wake-up costs: worth spinning for. */
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
	pthread_mutex_init(&z->lock, &attr);
	lock_set_rank(&z->lock, LOCK_ZONE);
	pthread_mutexattr_destroy(&attr);
	z->type = type;
	z->node = (uint8_t)nid;
	z->id = (uint8_t)(z - f->zone);
	for (unsigned int o = 0; o < MAX_ORDER; o++)
		for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++)
			list_init(&z->free_area[o].free_list[mt]);
	z->start_pfn = start;
	z->limit_pfn = max_u64(start, limit);
	z->fresh_pfn = start;
	z->bank_end_pfn = start;
	z->cma_start_pfn = start;
	z->cma_end_pfn = start;
}

void zone_destroy(struct zone *z)
{
	pthread_mutex_destroy(&z->lock);
}

static bool zone_add_bank(struct frames *f, struct zone *z)
{
	uint64_t left = z->limit_pfn - z->bank_end_pfn;
	uint64_t nr = max_u64(z->present_pages, bank_size[z->type].first);

	nr = min_u64(min_u64(nr, bank_size[z->type].most), left) & ~(ZONE_ALIGN_PAGES - 1);
	if (!nr)
		return false;
	bool added = !f->bank_ops->add_bank(f->bank_ctx, z->type, z->bank_end_pfn, &nr) && nr;
	z->bank_refused = !added;
	if (!added)
		return false;
	z->bank_end_pfn += nr;
	z->present_pages += nr;
	return true;
}

bool zone_carve(struct frames *f, struct zone *z, enum migratetype mt)
{
	pfn_t fresh = z->fresh_pfn;

	if (fresh == z->bank_end_pfn && !zone_add_bank(f, z))
		return false;
	if (fresh >= z->cma_start_pfn && fresh < z->cma_end_pfn)
		mt = MIGRATE_CMA;
	struct page *block = pfn_to_page(f, fresh);
	for (unsigned int i = 0; i < PAGEBLOCK_PAGES; i++) {
		list_init(&block[i].node);
		block[i].zone = z->id;
		atomic_store_explicit(&block[i].flags, PG_FREE | PG_FRESH, memory_order_relaxed);
	}
	pageblock_set_migratetype(f, fresh, mt);
	z->fresh_pfn = fresh + PAGEBLOCK_PAGES;
	buddy_free(f, z, block, PAGEBLOCK_ORDER, mt);
	return true;
}

/* The node of `left` that is nearest to nid; of equals the one that follows it first, so that load spreads. */
static unsigned int nearest_node(const struct frames *f, unsigned int nid, nodemask_t left)
{
	unsigned int best = nid, best_distance = ~0u;

	for (unsigned int i = 0; i < f->nr_nodes; i++) {
		unsigned int n = (nid + i) % f->nr_nodes;
		if ((left & 1u << n) && f->node[nid].distance[n] < best_distance) {
			best = n;
			best_distance = f->node[nid].distance[n];
		}
	}
	return best;
}

static unsigned int add_node_zones(struct frames *f, struct zonelist *list, unsigned int nr, unsigned int nid)
{
	for (unsigned int t = NR_ZONES; t-- > ZONE_DMA32;) {
		struct zone *z = node_zone(f, nid, (enum zone_type)t);
		if (zone_populated(z))
			list->ref[nr++] = (struct zoneref){z, z->type};
	}
	list->ref[nr] = (struct zoneref){0};
	return nr;
}

static struct zone *first_zone(struct frames *f, unsigned int nid, enum zone_type highest)
{
	const struct pglist_data *node = &f->node[nid];
	const struct zoneref *list = zone_is_guest(highest) ? node->node_zonelists[ZONELIST_FALLBACK].ref
							    : node->special[highest].ref;

	return next_zoneref(list, highest, NODE_MASK_ALL)->zone;
}

void zonelists_build(struct frames *f)
{
	for (unsigned int nid = 0; nid < f->nr_nodes; nid++) {
		struct pglist_data *node = &f->node[nid];
		nodemask_t left = (1u << f->nr_nodes) - 1;
		unsigned int nr = 0;
		while (left) {
			unsigned int next = left & 1u << nid ? nid : nearest_node(f, nid, left);
			nr = add_node_zones(f, &node->node_zonelists[ZONELIST_FALLBACK], nr, next);
			left &= ~(1u << next);
		}
		add_node_zones(f, &node->node_zonelists[ZONELIST_NOFALLBACK], 0, nid);
		for (unsigned int t = ZONE_TABLE; t <= ZONE_OBJECT; t++)
			node->special[t].ref[0] = (struct zoneref){&f->zone[t], (enum zone_type)t};
		for (unsigned int t = 0; t < NR_ZONES; t++)
			node->preferred[t] = first_zone(f, nid, (enum zone_type)t);
	}
}

const struct zoneref *zonelist_of(const struct frames *f, int nid, gfp_t gfp)
{
	const struct pglist_data *node = &f->node[nid];
	enum zone_type highest = gfp_zone(gfp);

	if (!zone_is_guest(highest))
		return node->special[highest].ref;
	return node->node_zonelists[gfp & __GFP_THISNODE ? ZONELIST_NOFALLBACK : ZONELIST_FALLBACK].ref;
}

const struct zoneref *next_zoneref(const struct zoneref *ref, enum zone_type highest, nodemask_t nodes)
{
	while (ref->zone && (ref->zone_idx > highest ||
			     (zone_is_guest(ref->zone_idx) && !(nodes & 1u << ref->zone->node))))
		ref++;
	return ref;
}
