/* SPDX-License-Identifier: MIT */
/*
 * highatomic.c - pageblocks set aside for orders above 0 of those who cannot wait: at most one pageblock more than 1 % of
 * the zone. What is freed in such a pageblock stays for them, until memory is so short that it is given back.
 */
#include "buddy.h"

void highatomic_reserve(struct frames *f, struct zone *z, struct page *page)
{
	uint64_t most = zone_managed_pages(z) / 100 + PAGEBLOCK_PAGES;

	if (z->nr_reserved_highatomic >= most)
		return;
	pthread_mutex_lock(&z->lock);
	enum migratetype mt = pageblock_migratetype(f, page_to_pfn(f, page));
	if (z->nr_reserved_highatomic < most && mt < MIGRATE_PCPTYPES) {
		z->nr_reserved_highatomic += PAGEBLOCK_PAGES;
		pageblock_set_migratetype(f, page_to_pfn(f, page), MIGRATE_HIGHATOMIC);
		buddy_move_pageblock(f, z, page, MIGRATE_HIGHATOMIC);
	}
	pthread_mutex_unlock(&z->lock);
}

static bool unreserve_locked(struct frames *f, struct zone *z, enum migratetype mt)
{
	for (unsigned int o = 0; o < MAX_ORDER; o++) {
		struct list_head *list = &z->free_area[o].free_list[MIGRATE_HIGHATOMIC];
		if (list_empty(list))
			continue;
		struct page *page = list_entry(list->next, struct page, node);
		/* A block of two pageblocks is one that merged with its like: both go. */
		for (pfn_t i = 0; i < 1ull << o || !i; i += PAGEBLOCK_PAGES) {
			struct page *block = page + i;
			if (pageblock_migratetype(f, page_to_pfn(f, block)) == MIGRATE_HIGHATOMIC)
				z->nr_reserved_highatomic -= PAGEBLOCK_PAGES;
			pageblock_set_migratetype(f, page_to_pfn(f, block), mt);
		}
		if (o > PAGEBLOCK_ORDER)
			buddy_move(z, page, o, mt);
		else
			buddy_move_pageblock(f, z, page, mt);
		return true;
	}
	return false;
}

bool highatomic_unreserve(struct frames *f, struct zone *z, enum migratetype mt, bool force)
{
	if (!z->nr_reserved_highatomic || (!force && z->nr_reserved_highatomic <= PAGEBLOCK_PAGES))
		return false;
	pthread_mutex_lock(&z->lock);
	bool done = unreserve_locked(f, z, mt);
	pthread_mutex_unlock(&z->lock);
	return done;
}
