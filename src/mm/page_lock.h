/* SPDX-License-Identifier: MIT */
/*
 * page_lock.h - the lock of one page: held by whoever moves it, writes it out or takes it from its file.
 *
 * Rank LOCK_PAGE: inside LOCK_MMAP, outside LOCK_IMMAP, LOCK_ANON_VMA and LOCK_PTL; so it is only tried for under those. The holder keeps a
 * reference. Faults do not take it: they wait for it when they find an entry of ENTRY_MIGRATION.
 */
#ifndef LODGE_MM_PAGE_LOCK_H
#define LODGE_MM_PAGE_LOCK_H

#include "page.h"

/* True: the caller holds the lock now. */
static inline bool page_trylock(struct page *page)
{
	return !(atomic_fetch_or_explicit(&page->flags, PG_LOCKED, memory_order_acquire) & PG_LOCKED);
}

static inline bool page_locked(const struct page *page)
{
	return atomic_load_explicit(&page->flags, memory_order_acquire) & PG_LOCKED;
}

void page_lock(struct page *page);
void page_unlock(struct page *page);

/* Returns when the page has been unlocked once. The caller need not hold a reference: a frame's struct page stays. */
void page_wait_unlocked(struct page *page);

/* The same, but false when `stop`, which is asked every now and then, says that there is no point in waiting. NULL: nobody is asked. */
bool page_wait_or_stop(struct page *page, bool (*stop)(void));

#endif
