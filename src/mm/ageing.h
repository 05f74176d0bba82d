/* SPDX-License-Identifier: MIT */
/*
 * ageing.h - how long ago a page was used: generations, as a number in its frame.
 *
 *	epoch      ... 5         6         7 (under way: account.youngest)
 *	page.generation 5         6         7
 *	age             2         1         0
 *
 * Time is cut into epochs by ageing_close: it goes through the tables of the account's spaces, takes the accessed bits out of them,
 * and gives the frames that had one the number of the epoch that ends. A page that comes into being, or is looked up in the page
 * cache, has the number of the epoch under way from the start. So all that was used in one epoch has one number, however it was used.
 *
 *   E1  age 0 or 1 with the accessed bit set: in use; who evicts looks at the bit once more
 *   E2  numbers are kept modulo 256: a page that nothing takes for so many epochs counts as young again, and is spared a while
 *
 * There are no lists: nothing is paid when a page is mapped or freed but one store beside others, and pages are found through page
 * tables and mappings. docs/reclaim.md says what that costs and what it is worth.
 * Locking: ageing.lock of the account is held by the caller of ageing_close; page_table_lock is taken for a piece of a space at a time.
 * Not here: which pages go (evict.h), when epochs end (vmscan.h).
 */
#ifndef LODGE_MM_AGEING_H
#define LODGE_MM_AGEING_H

#include "memcg.h"
#include "page.h"

struct mm_host;

/* The page was used now. Its account must not go meanwhile: the caller has a reference to the page. */
static inline void page_stamp(struct page *page)
{
	if (page->memcg)
		atomic_store_explicit(&page->generation,
				      (uint8_t)atomic_load_explicit(&page->memcg->ageing.youngest,
								    memory_order_relaxed),
				      memory_order_relaxed);
}

/* The page is as old as if nobody had used it for so many epochs. */
static inline void page_stamp_old(struct page *page, unsigned int epochs)
{
	page_stamp(page);
	atomic_fetch_sub_explicit(&page->generation, (uint8_t)epochs, memory_order_relaxed);
}

/* A page that was charged to the account becomes its. */
static inline void page_set_memcg(struct page *page, struct memcg *cg)
{
	page->memcg = cg;
	page_stamp(page);
}

/* Epochs that ended since it was seen in use. */
static inline unsigned int page_age(const struct page *page, const struct memcg *cg)
{
	return (uint8_t)(atomic_load_explicit(&cg->ageing.youngest, memory_order_relaxed) -
			 atomic_load_explicit(&page->generation, memory_order_relaxed));
}

/* Ends an epoch. Returns how many pages of the account were found in use in it. */
uint64_t ageing_close(struct mm_host *h, struct memcg *cg);

#endif
