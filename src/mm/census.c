/* SPDX-License-Identifier: MIT */
/* census.c - counting frames by who has them. See census.h. */
#include <string.h>

#include "census.h"
#include "pcp.h"
#include "zeropool.h"
#include "zone.h"

static uint64_t *count_of(struct census *c, const struct zone *z, const struct page *page)
{
	uint32_t flags = atomic_load_explicit(&page->flags, memory_order_relaxed);

	if (flags & PG_BAD)
		return &c->bad;
	if (flags & PG_FREE)
		return &c->free;
	if (z->type == ZONE_OBJECT)
		return &c->objects;
	if (flags & PG_RESERVED)
		return &c->reserved;
	if (flags & PG_TABLE)
		return &c->tables;
	if (page_anon(page) || (flags & (PG_HUGETLB | PG_SWAPCACHE)))
		return &c->anon;
	if (flags & PG_PRIVATE)
		return &c->compressed;
	return flags & PG_CACHE ? &c->cache : &c->other;
}

void census_zone(struct frames *f, struct zone *z, struct census *c)
{
	uint64_t at_hand = pcp_pages(f, z) + zeropool_pages(z);

	pthread_mutex_lock(&z->lock);
	pfn_t fresh = atomic_load(&z->fresh_pfn);
	for (pfn_t pfn = z->start_pfn; pfn < fresh; pfn++)
		++*count_of(c, z, pfn_to_page(f, pfn));
	c->present += z->present_pages;
	c->fresh += z->bank_end_pfn - fresh;
	c->at_hand += at_hand + atomic_load(&z->nr_reporting_pages);
	pthread_mutex_unlock(&z->lock);
}

void census_take(struct frames *f, struct census *c)
{
	memset(c, 0, sizeof(*c));
	for (unsigned int nid = 0; nid < f->nr_nodes; nid++)
		for (unsigned int type = 0; type < NR_ZONES; type++)
			census_zone(f, node_zone(f, nid, type), c);
}

static void memcg_count(struct memcg_census *c, const struct page *page, uint32_t flags)
{
	if (flags & PG_TABLE) {
		c->tables++;
	} else if (flags & PG_HUGETLB) {
		c->hugetlb++;
	} else if (page_anon(page) || (flags & PG_SWAPCACHE)) {
		c->anon++;
		c->anon_huge += !!(flags & PG_BLOCK);
		c->active_anon += !!(flags & PG_ACTIVE);
	} else if (flags & PG_CACHE) {
		c->cache++;
		c->mapped += atomic_load_explicit(&page->mapcount, memory_order_relaxed) > 0;
		c->dirty += !!(flags & PG_DIRTY);
		c->writeback += !!(flags & PG_WRITEBACK);
		c->active_cache += !!(flags & PG_ACTIVE);
	}
}

void census_memcg(struct frames *f, const struct memcg *cg, struct memcg_census *c)
{
	*c = (struct memcg_census){0};
	for (unsigned int i = 0; i < f->nr_nodes * NR_ZONES; i++) {
		struct zone *z = &f->zone[i];

		if (z->type == ZONE_OBJECT)
			continue;
		pthread_mutex_lock(&z->lock);
		for (pfn_t pfn = z->start_pfn; pfn < atomic_load(&z->fresh_pfn); pfn++) {
			const struct page *page = pfn_to_page(f, pfn);
			uint32_t flags = atomic_load_explicit(&page->flags, memory_order_relaxed);
			if (!(flags & (PG_FREE | PG_SLAB | PG_RESERVED)) && page->memcg == cg)
				memcg_count(c, page, flags);
		}
		pthread_mutex_unlock(&z->lock);
	}
}
