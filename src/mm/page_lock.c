/* SPDX-License-Identifier: MIT */
/* page_lock.c - see page_lock.h. A short spin, then a futex on page.flags; PG_WAITERS tells the holder that somebody sleeps. */
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lock_rank.h"
#include "page_lock.h"

#define SPINS	    64
#define STOP_ASK_NS 50000000l

static bool futex(struct page *page, int op, uint32_t value, const struct timespec *most)
{
	return syscall(SYS_futex, &page->flags, op, value, most, NULL, 0) >= 0;
}

/*
 * Sleeps while the page is locked and nothing else about its flags changes. False: it is locked, perhaps all the time; a signal came, a
 * flag changed, or the time (NULL: none) is over.
 */
static bool sleep_while_locked(struct page *page, const struct timespec *most)
{
	uint32_t flags = atomic_load_explicit(&page->flags, memory_order_relaxed);

	while ((flags & PG_LOCKED) && !(flags & PG_WAITERS))
		if (atomic_compare_exchange_weak(&page->flags, &flags, flags | PG_WAITERS))
			flags |= PG_WAITERS;
	return !(flags & PG_LOCKED) || futex(page, FUTEX_WAIT_PRIVATE, flags, most) || !page_locked(page);
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
		sleep_while_locked(page, NULL);
}

void page_unlock(struct page *page)
{
	uint32_t flags = atomic_fetch_and_explicit(&page->flags, ~(uint32_t)(PG_LOCKED | PG_WAITERS),
						   memory_order_release);

	if (flags & PG_WAITERS)
		futex(page, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL);
}

bool page_wait_or_stop(struct page *page, bool (*stop)(void))
{
	const struct timespec until_asked = {.tv_nsec = STOP_ASK_NS};

	lock_may_wait(LOCK_PAGE);
	for (unsigned int i = 0; i < SPINS; i++) {
		if (!page_locked(page))
			return true;
		sched_yield();
	}
	do
		if (stop && stop())
			return false;
	while (!sleep_while_locked(page, stop ? &until_asked : NULL));
	return true;
}

void page_wait_unlocked(struct page *page)
{
	page_wait_or_stop(page, NULL);
}
