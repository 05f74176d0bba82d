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
 * What was seen in use in several epochs is worth more than what was only used last: each of up to three such uses spares a page two epochs
 * more, and each two epochs without take one away. So pages that are used once do not push out those that are used often, and those that
 * were are not kept for long after.
 *
 *   E1  age 0 or 1 with the accessed bit set: in use; who evicts looks at the bit once more
 *   E2  numbers are kept modulo 64: a page that nothing takes for so many epochs counts as young again, and is spared a while
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

/* Of a frame's generation: the number of the epoch, and above that how often it was seen in use, of late. */
#define AGEING_EPOCHS	64u
#define AGEING_USES_MAX 3u
#define AGEING_PER_USE	2u /* epochs that a page is spared longer */

static inline unsigned int ageing_epoch(const struct memcg *cg)
{
	return atomic_load_explicit(&cg->ageing.youngest, memory_order_relaxed) % AGEING_EPOCHS;
}

static inline void page_set_generation(struct page *page, unsigned int epoch, unsigned int uses)
{
	atomic_store_explicit(&page->generation, (uint8_t)(uses * AGEING_EPOCHS + epoch % AGEING_EPOCHS),
			      memory_order_relaxed);
}

static inline unsigned int page_uses(const struct page *page)
{
	return atomic_load_explicit(&page->generation, memory_order_relaxed) / AGEING_EPOCHS;
}

/* Epochs that ended since the page was last seen in use. */
static inline unsigned int page_idle(const struct page *page, const struct memcg *cg)
{
	return (ageing_epoch(cg) - atomic_load_explicit(&page->generation, memory_order_relaxed)) %
	       AGEING_EPOCHS;
}

/* The page counts as used now. Its account must not go meanwhile: the caller has a reference to the page. */
static inline void page_stamp(struct page *page)
{
	if (page->memcg)
		page_set_generation(page, ageing_epoch(page->memcg), page_uses(page));
}

/* It was seen in use: once more than before, unless that was in this epoch; epochs without cost half as much each. */
static inline void page_stamp_used(struct page *page)
{
	if (!page->memcg)
		return;
	unsigned int idle = page_idle(page, page->memcg), uses = page_uses(page),
		     lost = idle / AGEING_PER_USE;

	uses = uses > lost ? uses - lost : 0;
	page_set_generation(page, ageing_epoch(page->memcg),
			    uses < AGEING_USES_MAX && idle ? uses + 1 : uses);
}

/* The page is as old as if nobody had used it for so many epochs. */
static inline void page_stamp_old(struct page *page, unsigned int epochs)
{
	if (page->memcg)
		page_set_generation(page, ageing_epoch(page->memcg) - epochs, 0);
}

/* A page that was charged to the account becomes its. */
static inline void page_set_memcg(struct page *page, struct memcg *cg)
{
	page->memcg = cg;
	page_set_generation(page, ageing_epoch(cg), 0);
}

/* How old it is for who evicts: epochs since it was used, less those that its uses before that are worth. */
static inline unsigned int page_age(const struct page *page, const struct memcg *cg)
{
	bool all_alike = atomic_load_explicit(&cg->ageing.uses_do_not_count, memory_order_relaxed);
	unsigned int idle = page_idle(page, cg), spared = all_alike ? 0 : page_uses(page) * AGEING_PER_USE;

	return idle > spared ? idle - spared : 0;
}

/* Ends an epoch. Returns how many pages of the account were found in use in it. */
uint64_t ageing_close(struct mm_host *h, struct memcg *cg);

#endif
