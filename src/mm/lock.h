/* SPDX-License-Identifier: MIT */
/*
 * lock.h - the order of the core's locks, and mmap_lock.
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
 * Builds with LODGE_DEBUG stop at the first violation by a lock that is taken through lock_acquired.
 */
#ifndef LODGE_MM_LOCK_H
#define LODGE_MM_LOCK_H

#include "mm.h"

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
/* The calling thread is about to take, or released, a lock. */
void lock_acquired(enum lock_rank rank);
void lock_released(enum lock_rank rank);
/* The same for a second lock of the innermost rank that is held. */
void lock_acquired_nested(enum lock_rank rank);
/* The ranks that the calling thread holds, a bit each. */
unsigned int locks_held(void);
#else
static inline void lock_acquired(enum lock_rank rank)
{
	(void)rank;
}

static inline void lock_acquired_nested(enum lock_rank rank)
{
	(void)rank;
}

static inline void lock_released(enum lock_rank rank)
{
	(void)rank;
}
#endif

void mm_read_lock(struct mm *mm);
void mm_read_unlock(struct mm *mm);
void mm_write_lock(struct mm *mm);
/* Of a space that nobody runs in yet, inside its parent's. */
void mm_write_lock_nested(struct mm *mm);
/* Releases every area that vma_write_lock took, too. */
void mm_write_unlock(struct mm *mm);

#endif
