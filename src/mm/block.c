/* SPDX-License-Identifier: MIT */
/* block.c - counting who maps a block. See block.h. */
#include "block.h"
#include "memcg.h"

uint32_t page_total_mapcount(const struct frames *f, struct page *page)
{
	/* The block first: a frame that loses it meanwhile has gained its own entry before. */
	uint32_t huge = page_in_block(page) ? atomic_load(&block_head(f, page)->block_mapcount) : 0;

	return huge + atomic_load(&page->mapcount);
}

void block_make(struct page *head)
{
	atomic_store_explicit(&head->block_mapcount, 1, memory_order_relaxed);
	for (unsigned int i = 0; i < BLOCK_PAGES; i++)
		atomic_fetch_or_explicit(&head[i].flags, PG_BLOCK, memory_order_release);
}

/* Memory of no area's own, and of no pool. It may have left its cache. */
static bool is_cached(const struct page *head)
{
	return !page_anon(head) && !(atomic_load(&head->flags) & PG_HUGETLB);
}

void block_map_cached(struct frames *f, struct page *head)
{
	pthread_mutex_lock(&f->block_lock);
	if (page_in_block(head)) {
		block_get(head);
	} else {
		for (unsigned int i = 0; i < BLOCK_PAGES; i++)
			page_get(&head[i]);
		block_make(head);
	}
	pthread_mutex_unlock(&f->block_lock);
}

void block_get(struct page *head)
{
	atomic_fetch_add_explicit(&head->block_mapcount, 1, memory_order_relaxed);
}

static void unmark(struct page *head)
{
	for (unsigned int i = 0; i < BLOCK_PAGES; i++)
		atomic_fetch_and_explicit(&head[i].flags, ~(uint32_t)PG_BLOCK, memory_order_release);
}

/* Takes the block's references, so that nobody gets one, if there are no others and one account pays for all frames. */
static bool goes_whole(struct page *head)
{
	unsigned int taken = 0;
	uint32_t only = 1;

	while (taken < BLOCK_PAGES && head[taken].memcg == head->memcg &&
	       atomic_compare_exchange_strong(&head[taken].refs, &only, 0))
		taken++;
	for (unsigned int i = 0; i < taken && taken < BLOCK_PAGES; i++)
		atomic_store(&head[i].refs, 1);
	return taken == BLOCK_PAGES;
}

static void put_cached(struct frames *f, struct page *head)
{
	pthread_mutex_lock(&f->block_lock);
	bool last = atomic_fetch_sub(&head->block_mapcount, 1) == 1;
	if (last)
		unmark(head);
	pthread_mutex_unlock(&f->block_lock);
	for (unsigned int i = 0; last && i < BLOCK_PAGES; i++)
		page_put(f, &head[i]);
}

void block_put(struct frames *f, struct page *head)
{
	if (is_cached(head)) {
		put_cached(f, head);
		return;
	}
	if (atomic_fetch_sub(&head->block_mapcount, 1) != 1)
		return;
	unmark(head);
	if (atomic_load(&head->flags) & PG_HUGETLB) {
		hugetlb_pool_put(f, head);
		return;
	}
	if (goes_whole(head)) {
		if (head->memcg)
			memcg_uncharge(head->memcg, BLOCK_PAGES);
		page_free_block(f, head, BLOCK_ORDER);
		return;
	}
	for (unsigned int i = 0; i < BLOCK_PAGES; i++)
		page_put(f, &head[i]);
}

static void split(struct frames *f, struct page *head)
{
	bool sole = atomic_load(&head->block_mapcount) == 1;

	for (unsigned int i = 0; i < BLOCK_PAGES; i++) {
		if (!sole)
			page_get(&head[i]); /* else the block's reference becomes the entry's */
		atomic_fetch_add(&head[i].mapcount, 1);
	}
	if (!sole && !is_cached(head)) {
		block_put(f, head);
		return;
	}
	if (sole)
		unmark(head);
	atomic_fetch_sub(&head->block_mapcount, 1);
}

void block_split(struct frames *f, struct page *head)
{
	bool cached = is_cached(head);

	if (cached)
		pthread_mutex_lock(&f->block_lock);
	split(f, head);
	if (cached)
		pthread_mutex_unlock(&f->block_lock);
}
