/* SPDX-License-Identifier: MIT */
/* page_lock.c - see page_lock.h. A short spin, then a futex on page.flags; PG_WAITERS tells the holder that somebody sleeps. */
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lock_rank.h"
#include "page_lock.h"

#define SPINS 64

static bool futex(struct page *page, int op, uint32_t value)
{
	return syscall(SYS_futex, &page->flags, op, value, NULL, NULL, 0) >= 0;
}

/*
 * Sleeps while the page is locked and nothing else about its flags changes. False: it is locked, perhaps all the time; a signal came, or a
 * flag changed.
 */
static bool sleep_while_locked(struct page *page)
{
	uint32_t flags = atomic_load_explicit(&page->flags, memory_order_relaxed);

	while ((flags & PG_LOCKED) && !(flags & PG_WAITERS))
		if (atomic_compare_exchange_weak(&page->flags, &flags, flags | PG_WAITERS))
			flags |= PG_WAITERS;
	return !(flags & PG_LOCKED) || futex(page, FUTEX_WAIT_PRIVATE, flags) || !page_locked(page);
}

void page_lock(struct page *page)
{
	lock_may_wait(LOCK_PAGE);
	for (unsigned int i = 0; i < SPINS; i++) {
		if (page_trylock(page))
			return;
		sched_yield();
	}
	while (!page_trylock(page))
		sleep_while_locked(page);
}

void page_unlock(struct page *page)
{
	uint32_t flags = atomic_fetch_and_explicit(&page->flags, ~(uint32_t)(PG_LOCKED | PG_WAITERS),
						   memory_order_release);

	if (flags & PG_WAITERS)
		futex(page, FUTEX_WAKE_PRIVATE, INT32_MAX);
}

void page_wait_unlocked(struct page *page)
{
	lock_may_wait(LOCK_PAGE);
	for (unsigned int i = 0; i < SPINS; i++) {
		if (!page_locked(page))
			return;
		sched_yield();
	}
	while (!sleep_while_locked(page))
		;
}
