/* SPDX-License-Identifier: MIT */
/* lock.c - see lock.h. */
#include "lock.h"

#ifdef LODGE_DEBUG
static __thread uint8_t held[NR_LOCK_RANKS];

unsigned int locks_held(void)
{
	unsigned int mask = 0;

	for (unsigned int i = 0; i < NR_LOCK_RANKS; i++)
		mask |= held[i] ? 1u << i : 0;
	return mask;
}

void lock_acquired(enum lock_rank rank)
{
	if (locks_held() >> rank) /* this rank or an inner one */
		__builtin_trap();
	held[rank]++;
}

void lock_acquired_nested(enum lock_rank rank)
{
	if (locks_held() >> rank != 1)
		__builtin_trap();
	held[rank]++;
}

void lock_released(enum lock_rank rank)
{
	if (!held[rank])
		__builtin_trap();
	held[rank]--;
}
#endif

void mm_read_lock(struct mm *mm)
{
	lock_acquired(LOCK_MMAP);
	pthread_rwlock_rdlock(&mm->mmap_lock);
}

void mm_read_unlock(struct mm *mm)
{
	pthread_rwlock_unlock(&mm->mmap_lock);
	lock_released(LOCK_MMAP);
}

void mm_write_lock(struct mm *mm)
{
	lock_acquired(LOCK_MMAP);
	pthread_rwlock_wrlock(&mm->mmap_lock);
}

void mm_write_lock_nested(struct mm *mm)
{
	lock_acquired_nested(LOCK_MMAP);
	pthread_rwlock_wrlock(&mm->mmap_lock);
}

void mm_write_unlock(struct mm *mm)
{
	atomic_fetch_add_explicit(&mm->lock_seq, 1, memory_order_release);
	pthread_rwlock_unlock(&mm->mmap_lock);
	lock_released(LOCK_MMAP);
}
