/* SPDX-License-Identifier: MIT */
/* swap_cache.c - see swap_cache.h. */
#include "swap_cache.h"

#include <errno.h>

#include "mm.h"

static struct swap_map *map_of(struct mm_host *h, swp_entry_t entry)
{
	return &swap_device_of(h, entry)->map;
}

/* The slot of a cached page, with the lock of its map, which *m is. The page is locked. */
static struct swap_slot *lock_slot(struct mm_host *h, const struct page *page, struct swap_map **m)
{
	swp_entry_t entry = page_swap_entry(page);

	*m = map_of(h, entry);
	pthread_mutex_lock(&(*m)->lock);
	return &(*m)->slot[swp_slot(entry)];
}

struct page *swap_cache_find(struct mm_host *h, swp_entry_t entry)
{
	struct swap_map *m = map_of(h, entry);

	if (!atomic_load_explicit(&m->slot[swp_slot(entry)].page, memory_order_relaxed))
		return NULL;
	pthread_mutex_lock(&m->lock);
	struct page *page = m->slot[swp_slot(entry)].page;
	if (page)
		page_get(page);
	pthread_mutex_unlock(&m->lock);
	return page;
}

static void mark(struct page *page, swp_entry_t entry, uint32_t flags)
{
	__atomic_store_n(&page->swap_entry, entry.val, __ATOMIC_RELAXED);
	page_get(page);
	atomic_fetch_or(&page->flags, PG_SWAPCACHE | flags);
}

bool swap_cache_add_new(struct mm_host *h, struct memcg *cg, struct page *page)
{
	swp_entry_t entry;

	/* Found by nobody until an entry says it, which is after this. */
	if (!swap_alloc(h, cg, page, &entry))
		return false;
	mark(page, entry, PG_UPTODATE | PG_DIRTY);
	return true;
}

int swap_cache_add(struct mm_host *h, swp_entry_t entry, struct page *page)
{
	struct swap_map *m = map_of(h, entry);
	struct swap_slot *slot = &m->slot[swp_slot(entry)];

	pthread_mutex_lock(&m->lock);
	int err = slot->page ? -EEXIST : slot->count ? 0 : -ENOENT;
	if (!err) {
		mark(page, entry, 0);
		swap_slot_set_page(slot, page);
		m->nr_cached++;
	}
	pthread_mutex_unlock(&m->lock);
	return err;
}

bool swap_cache_move(struct mm_host *h, struct page *page)
{
	swp_entry_t old = page_swap_entry(page), entry;
	struct swap_map *m = map_of(h, old);

	if (!swap_alloc(h, page->memcg, page, &entry))
		return false;
	__atomic_store_n(&page->swap_entry, entry.val, __ATOMIC_RELAXED);
	atomic_fetch_or(&page->flags, PG_DIRTY);
	pthread_mutex_lock(&m->lock);
	swap_slot_set_page(&m->slot[swp_slot(old)], NULL);
	m->nr_cached--;
	swap_map_release(m, swp_slot(old));
	pthread_mutex_unlock(&m->lock);
	return true;
}

/* --- shared memory -------------------------------------------------------------------------------------------------- */

bool swap_cache_reserve(struct mm_host *h, struct page *page)
{
	swp_entry_t entry;

	if (!swap_alloc(h, page->memcg, page, &entry))
		return false;
	__atomic_store_n(&page->swap_entry, entry.val, __ATOMIC_RELAXED);
	return true;
}

static void free_slot(struct swap_map *m, struct swap_slot *slot)
{
	swap_slot_set_page(slot, NULL);
	m->nr_cached--;
	swap_map_release(m, (uint64_t)(slot - m->slot));
}

void swap_cache_unreserve(struct mm_host *h, struct page *page)
{
	struct swap_map *m;
	struct swap_slot *slot = lock_slot(h, page, &m);

	free_slot(m, slot);
	pthread_mutex_unlock(&m->lock);
}

void swap_cache_take(struct mm_host *h, struct page *page)
{
	struct swap_map *m;

	lock_slot(h, page, &m)->count++;
	atomic_fetch_or(&page->flags, PG_SWAPCACHE | PG_DIRTY);
	pthread_mutex_unlock(&m->lock);
}

void swap_cache_give(struct mm_host *h, struct page *page)
{
	struct swap_map *m;
	struct swap_slot *slot = lock_slot(h, page, &m);

	atomic_fetch_and(&page->flags, ~(uint32_t)(PG_SWAPCACHE | PG_DIRTY));
	slot->count--;
	free_slot(m, slot);
	pthread_mutex_unlock(&m->lock);
}

/* --- leaving -------------------------------------------------------------------------------------------------------- */

/* map.lock is held, and the caller has a reference beside the cache's. */
static void remove_from(struct swap_map *m, struct swap_slot *slot, struct page *page)
{
	atomic_fetch_and(&page->flags, ~(uint32_t)PG_SWAPCACHE);
	atomic_fetch_sub(&page->refs, 1);
	free_slot(m, slot);
}

void swap_cache_remove(struct mm_host *h, struct page *page)
{
	struct swap_map *m;
	struct swap_slot *slot = lock_slot(h, page, &m);

	remove_from(m, slot, page);
	pthread_mutex_unlock(&m->lock);
}

/* Takes the page out if no entry says its slot and as many as `users` map it. */
static bool remove_if(struct mm_host *h, struct page *page, uint32_t users)
{
	struct swap_map *m;
	struct swap_slot *slot = lock_slot(h, page, &m);
	bool gone = !slot->count && atomic_load(&page->mapcount) == users;

	if (gone)
		remove_from(m, slot, page);
	pthread_mutex_unlock(&m->lock);
	return gone;
}

bool swap_cache_reuse(struct mm_host *h, struct page *page)
{
	return remove_if(h, page, 1);
}

bool swap_cache_evict(struct mm_host *h, struct page *page)
{
	struct swap_map *m;
	struct swap_slot *slot = lock_slot(h, page, &m);
	bool gone = !(atomic_load(&page->flags) & PG_DIRTY) && !atomic_load(&page->mapcount) &&
		    atomic_load(&page->refs) == 2;

	if (gone)
		remove_from(m, slot, page);
	pthread_mutex_unlock(&m->lock);
	return gone;
}

/*
 * Whoever may have made the page unused and finds it locked leaves it to the holder, and says so in nr_missed: after that either the lock
 * can be had, or the holder finds the number changed.
 */
static bool lock_or_miss(struct mm_host *h, struct page *page)
{
	if (page_trylock(page))
		return true;
	atomic_fetch_add(&h->swap.nr_missed, 1);
	return page_trylock(page);
}

void swap_cache_drop(struct mm_host *h, struct page *page)
{
	if (page_in_swap_cache(page) && !atomic_load(&page->mapcount) && lock_or_miss(h, page))
		swap_cache_unlock(h, page);
}

void swap_cache_unlock(struct mm_host *h, struct page *page)
{
	uint64_t missed;

	do {
		missed = atomic_load(&h->swap.nr_missed);
		if (page_in_swap_cache(page))
			remove_if(h, page, 0);
		page_unlock(page);
	} while (missed != atomic_load(&h->swap.nr_missed) && page_in_swap_cache(page) &&
		 !atomic_load(&page->mapcount) && page_trylock(page));
}
