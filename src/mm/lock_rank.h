/* SPDX-License-Identifier: MIT */
/*
 * lock_rank.h - the order of the core's locks.
 *
 * A lock is taken only when every lock held comes before it here. LOCK_VMA stands for the locks of areas (vma_lock.h): a
 * reader of one never takes mmap_lock while it has it.
 *
 *	LOCK_MMAP		mm->mmap_lock
 *	  LOCK_VMA		an area, for a fault without mmap_lock
 *	    LOCK_PAGE		PG_LOCKED
 *	      LOCK_IMMAP	mapping->i_mmap_lock
 *	        LOCK_ANON_VMA	anon_vma->root->lock
 *	          LOCK_PTL	mm->page_table_lock; of two spaces at a fork the parent's first
 *	            LOCK_CACHE	mapping->lock; swap.lock, then a device's map.lock
 *	              LOCK_KMEM	object caches
 *	                LOCK_ZONE
 *
 * Builds with LODGE_DEBUG stop at the first lock that is waited for out of turn. A mutex that was given its rank is checked wherever it
 * is locked, in tests too: the linker puts lock.c between (Makefile: lock_wrap). One that is only tried for counts as held, no more. A
 * page's lock may be released by another thread than took it: its place is checked when it is waited for.
 * Not here: mutexes without a rank, under which nothing is taken.
 */
#ifndef LODGE_MM_LOCK_RANK_H
#define LODGE_MM_LOCK_RANK_H

#include <pthread.h>

enum lock_rank {
	LOCK_MMAP,
	LOCK_VMA,
	LOCK_PAGE,
	LOCK_IMMAP,
	LOCK_ANON_VMA,
	LOCK_PTL,
	LOCK_CACHE,
	LOCK_KMEM,
	LOCK_ZONE,
	NR_LOCK_RANKS,
};

#ifdef LODGE_DEBUG
/* Gives a mutex, which has just been initialized, its place. */
void lock_set_rank(pthread_mutex_t *mutex, enum lock_rank rank);
/* The calling thread waits for a lock of this rank, without having it afterwards. */
void lock_may_wait(enum lock_rank rank);
/* The calling thread is about to take, or released, a lock. */
void lock_acquired(enum lock_rank rank);
void lock_released(enum lock_rank rank);
/* The same for a second lock of the innermost rank that is held. */
void lock_acquired_nested(enum lock_rank rank);
/* Locks a mutex whose rank is the innermost one held already: a child's inside its parent's. */
void lock_nested(pthread_mutex_t *mutex);
/* The ranks that the calling thread holds, a bit each. */
unsigned int locks_held(void);
#else
static inline void lock_set_rank(pthread_mutex_t *mutex, enum lock_rank rank)
{
	(void)mutex;
	(void)rank;
}

static inline void lock_may_wait(enum lock_rank rank)
{
	(void)rank;
}

static inline void lock_acquired(enum lock_rank rank)
{
	(void)rank;
}

static inline void lock_released(enum lock_rank rank)
{
	(void)rank;
}

static inline void lock_acquired_nested(enum lock_rank rank)
{
	(void)rank;
}

static inline void lock_nested(pthread_mutex_t *mutex)
{
	pthread_mutex_lock(mutex);
}
#endif

#endif
