/* SPDX-License-Identifier: MIT */
/*
 * swap_cache.h - pages that are in memory and have a slot as well. S1-S5 are in swap.h.
 *
 * A page comes into the cache when it is about to be written, or to be read. It leaves it when its frame goes and the slot stays; when a
 * space that has it alone writes to it, and the slot goes; or when nobody has it any more, and both go.
 *
 * That nobody has it any more is found by whoever takes the last entry away (swap_cache_drop). Where the page is locked just then, the
 * one who unlocks it (swap_cache_unlock) looks once more.
 */
#ifndef LODGE_MM_SWAP_CACHE_H
#define LODGE_MM_SWAP_CACHE_H

#include "page_lock.h"
#include "swap.h"

static inline bool page_in_swap_cache(const struct page *page)
{
	return atomic_load_explicit(&page->flags, memory_order_acquire) & PG_SWAPCACHE;
}

/* The slot of a cached page. */
static inline swp_entry_t page_swap_entry(const struct page *page)
{
	return (swp_entry_t){__atomic_load_n(&page->swap_entry, __ATOMIC_RELAXED)};
}

/* The page of a slot, with a reference; NULL: it is on the device alone. The device is held, or an entry that says it. */
struct page *swap_cache_find(struct mm_host *h, swp_entry_t entry);

/* Gives a locked page that nobody maps or has cached a slot of the account's. False: there is none. */
bool swap_cache_add_new(struct mm_host *h, struct memcg *cg, struct page *page);

/* Makes a locked page the one of a slot, before it is read. 0, -EEXIST: another was faster; -ENOENT: no entry says the slot now. */
int swap_cache_add(struct mm_host *h, swp_entry_t entry, struct page *page);

/* Gives a locked page another slot. No entry says its old one, or that holds what the page does. False: there is none. */
bool swap_cache_move(struct mm_host *h, struct page *page);

/*
 * Of a page of shared memory (shmem_swap.h), locked: gives it a slot of its account's, while it is its object's still (false: there is
 * none); gives that up again; or makes it the cached page of the slot, which one entry says, and which takes over the object's reference.
 */
bool swap_cache_reserve(struct mm_host *h, struct page *page);
void swap_cache_unreserve(struct mm_host *h, struct page *page);
void swap_cache_take(struct mm_host *h, struct page *page);

/* And back: a locked page leaves the cache and its slot, which the one entry says no more; the reference is the caller's. */
void swap_cache_give(struct mm_host *h, struct page *page);

/* Takes a locked page out; its slot goes if no entry says it. */
void swap_cache_remove(struct mm_host *h, struct page *page);

/* A locked page that one entry alone maps, and no entry says: out of the cache with it, and true. */
bool swap_cache_reuse(struct mm_host *h, struct page *page);

/*
 * The page, locked, of which the caller has one reference, leaves memory: out of the cache when that and the cache's are all there are
 * and its slot has what it holds. True: the caller's is the last one.
 */
bool swap_cache_evict(struct mm_host *h, struct page *page);

/* The page, which the caller has a reference of, may just have lost its last entry or its slot's. */
void swap_cache_drop(struct mm_host *h, struct page *page);

/* page_unlock for what may be a cached page. The caller has a reference. */
void swap_cache_unlock(struct mm_host *h, struct page *page);

#endif
