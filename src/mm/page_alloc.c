/* SPDX-License-Identifier: MIT */
/*
 * page_alloc.c - free blocks of page frames.
 *
 * A block is 2^order frames, naturally aligned; its buddy differs in bit `order` of the pfn alone, so split and merge never
 * search.
 *   B1  a free block is on exactly one list, that of its order; its first frame has PG_BUDDY and the order
 *   B2  two free buddies of one order never coexist below the largest order
 *   B3  sum(nr_free[o] << o) == zone->nr_free_pages
 *   B4  frames from fresh_pfn to bank_end_pfn were never on a list: they enter it 2 MiB at a time, when the lists run dry
 * Locking: zone->lock; add_bank is called under it.
 * Not here: limits (memcg.c), reclaim.
 */
#include <string.h>

#include "memcg.h"
#include "page_alloc.h"

/* What a zone asks for at first and at most, in frames. A bank is as large as all before it, within these. */
static const struct {
	uint64_t first, most;
} bank_size[NR_ZONES] = {
	[ZONE_TABLE] = {512, 8192},
	[ZONE_OBJECT] = {512, 8192},
	[ZONE_NORMAL] = {4096, 131072},
};

#define CARVE_ORDER 9

static struct page *buddy_of(struct frames *f, struct page *page, unsigned int order)
{
	return pfn_to_page(f, page_to_pfn(f, page) ^ (1ull << order));
}

static void block_add(struct zone *z, struct page *page, unsigned int order)
{
	page->order = (uint8_t)order;
	atomic_fetch_or_explicit(&page->flags, PG_BUDDY, memory_order_relaxed);
	list_add(&page->node, &z->free_area[order].free_list);
	z->free_area[order].nr_free++;
	z->nr_free_pages += 1ull << order;
}

static void block_del(struct zone *z, struct page *page, unsigned int order)
{
	list_del(&page->node);
	atomic_fetch_and_explicit(&page->flags, ~(uint32_t)PG_BUDDY, memory_order_relaxed);
	z->free_area[order].nr_free--;
	z->nr_free_pages -= 1ull << order;
}

static bool is_free_block(const struct page *page, unsigned int order)
{
	return (atomic_load_explicit(&page->flags, memory_order_relaxed) & PG_BUDDY) && page->order == order;
}

/* Gives a block back, merging it with its buddy as often as that is free too. */
static void free_block(struct frames *f, struct zone *z, struct page *page, unsigned int order)
{
	while (order < MAX_ORDER - 1) {
		struct page *buddy = buddy_of(f, page, order);
		/* A frame beyond the zone's banks has no flags, so it is never taken for a free buddy. */
		if (!is_free_block(buddy, order))
			break;
		block_del(z, buddy, order);
		if (buddy < page)
			page = buddy;
		order++;
	}
	block_add(z, page, order);
}

static bool zone_add_bank(struct frames *f, struct zone *z)
{
	uint64_t left = z->limit_pfn - z->bank_end_pfn;
	uint64_t nr = max_u64(z->present_pages, bank_size[z->type].first);

	nr = min_u64(min_u64(nr, bank_size[z->type].most), left) & ~(PMD_PAGES - 1);
	if (!nr || f->bank_ops->add_bank(f->bank_ctx, z->type, z->bank_end_pfn, &nr) || !nr)
		return false;
	z->fresh_pfn = z->bank_end_pfn;
	z->bank_end_pfn += nr;
	z->present_pages += nr;
	return true;
}

/* Puts the next 2 MiB that nobody had yet on the lists. */
static bool zone_carve(struct frames *f, struct zone *z)
{
	if (z->fresh_pfn == z->bank_end_pfn && !zone_add_bank(f, z))
		return false;
	struct page *block = pfn_to_page(f, z->fresh_pfn);
	for (unsigned int i = 0; i < 1u << CARVE_ORDER; i++) {
		list_init(&block[i].node);
		block[i].zone = (uint8_t)z->type;
		atomic_store_explicit(&block[i].flags, PG_FRESH, memory_order_relaxed);
	}
	z->fresh_pfn += 1ull << CARVE_ORDER;
	free_block(f, z, block, CARVE_ORDER);
	return true;
}

static struct page *take_from_lists(struct frames *f, struct zone *z, unsigned int order)
{
	for (unsigned int o = order; o < MAX_ORDER; o++) {
		if (list_empty(&z->free_area[o].free_list))
			continue;
		struct page *page = list_entry(z->free_area[o].free_list.next, struct page, node);
		block_del(z, page, o);
		while (o > order) { /* the upper half goes back, one order lower each time */
			o--;
			block_add(z, pfn_to_page(f, page_to_pfn(f, page) + (1ull << o)), o);
		}
		return page;
	}
	return NULL;
}

static bool should_fail(struct frames *f)
{
	if (atomic_load_explicit(&f->fail_in, memory_order_relaxed) <= 0)
		return false;
	if (atomic_fetch_sub(&f->fail_in, 1) != 1)
		return false;
	atomic_fetch_add(&f->nr_fail, 1);
	return true;
}

static void prepare_pages(struct frames *f, struct page *page, unsigned int order, gfp_t gfp)
{
	for (unsigned int i = 0; i < 1u << order; i++) {
		struct page *p = &page[i];
		bool fresh = atomic_load_explicit(&p->flags, memory_order_relaxed) & PG_FRESH;
		if ((gfp & __GFP_ZERO) && !fresh)
			memset(page_address(f, p), 0, PAGE_SIZE);
		p->mapping = NULL;
		p->index = 0;
		p->memcg = NULL;
		p->freelist = NULL;
		atomic_store_explicit(&p->flags, 0, memory_order_relaxed);
		atomic_store_explicit(&p->refs, 1, memory_order_relaxed);
	}
}

struct page *page_alloc(struct frames *f, gfp_t gfp, unsigned int order)
{
	struct zone *z = &f->zone[gfp & GFP_ZONE_MASK];
	struct page *page;

	if (order >= MAX_ORDER || should_fail(f))
		return NULL;
	pthread_mutex_lock(&z->lock);
	do
		page = take_from_lists(f, z, order);
	while (!page && zone_carve(f, z));
	pthread_mutex_unlock(&z->lock);
	if (page)
		prepare_pages(f, page, order, gfp);
	return page;
}

void page_free_block(struct frames *f, struct page *page, unsigned int order)
{
	struct zone *z = &f->zone[page->zone];

	for (unsigned int i = 0; i < 1u << order; i++) {
		atomic_store_explicit(&page[i].flags, 0, memory_order_relaxed);
		atomic_store_explicit(&page[i].refs, 0, memory_order_relaxed);
	}
	pthread_mutex_lock(&z->lock);
	free_block(f, z, page, order);
	pthread_mutex_unlock(&z->lock);
}

void page_free(struct frames *f, struct page *page)
{
	page_free_block(f, page, 0);
}

void page_put(struct frames *f, struct page *page)
{
	if (atomic_fetch_sub_explicit(&page->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (page->memcg)
		memcg_uncharge(page->memcg, 1);
	page_free(f, page);
}

static unsigned int check_list(struct frames *f, struct zone *z, unsigned int order,
			       void (*complain)(const char *, pfn_t))
{
	unsigned int bad = 0;
	uint64_t nr = 0;
	struct page *page;

	list_for_each_entry (page, &z->free_area[order].free_list, node) {
		pfn_t pfn = page_to_pfn(f, page);
		const char *what = NULL;
		nr++;
		if (!is_free_block(page, order))
			what = "block on a list without its order";
		else if (pfn & ((1ull << order) - 1))
			what = "free block not aligned";
		else if (atomic_load(&page->refs))
			what = "free block is referenced";
		else if (order < MAX_ORDER - 1 && is_free_block(buddy_of(f, page, order), order))
			what = "two free buddies not merged";
		if (what) {
			bad++;
			if (complain)
				complain(what, pfn);
		}
	}
	if (nr != z->free_area[order].nr_free) {
		bad++;
		if (complain)
			complain("nr_free differs from its list", order);
	}
	return bad;
}

unsigned int zone_check(struct frames *f, enum zone_type type, void (*complain)(const char *what, pfn_t pfn))
{
	struct zone *z = &f->zone[type];
	unsigned int bad = 0;
	uint64_t free_pages = 0, used = 0;

	pthread_mutex_lock(&z->lock);
	for (unsigned int o = 0; o < MAX_ORDER; o++) {
		bad += check_list(f, z, o, complain);
		free_pages += z->free_area[o].nr_free << o;
	}
	for (pfn_t pfn = z->start_pfn; pfn < z->fresh_pfn; pfn++)
		used += atomic_load(&pfn_to_page(f, pfn)->refs) != 0;
	if (free_pages != z->nr_free_pages ||
	    free_pages + used + (z->bank_end_pfn - z->fresh_pfn) != z->present_pages) {
		bad++;
		if (complain)
			complain("free, used and fresh frames do not add up", free_pages);
	}
	pthread_mutex_unlock(&z->lock);
	return bad;
}
