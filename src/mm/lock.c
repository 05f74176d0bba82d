/* SPDX-License-Identifier: MIT */
/* lock.c - see lock.h and lock_rank.h. */
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

void lock_may_wait(enum lock_rank rank)
{
	if (locks_held() >> rank) /* this rank or an inner one */
		__builtin_trap();
}

void lock_acquired(enum lock_rank rank)
{
	lock_may_wait(rank);
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

/* --- mutexes. Their rank, plus one, is in a word that none but recursive ones use; 0: it has none ------------------------------ */

int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __real_pthread_mutex_trylock(pthread_mutex_t *mutex);
int __real_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_trylock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);

static unsigned int rank_of(const pthread_mutex_t *mutex)
{
	bool recursive = (mutex->__data.__kind & 3) == PTHREAD_MUTEX_RECURSIVE;

	return recursive ? 0 : mutex->__data.__count;
}

void lock_set_rank(pthread_mutex_t *mutex, enum lock_rank rank)
{
	mutex->__data.__count = rank + 1;
}

/* Object caches take locks of their own inside one another. */
static bool nests_freely(enum lock_rank rank)
{
	return rank == LOCK_KMEM && held[LOCK_KMEM] && !(locks_held() >> (LOCK_KMEM + 1));
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
	unsigned int rank = rank_of(mutex);

	if (rank && nests_freely(rank - 1))
		held[rank - 1]++;
	else if (rank)
		lock_acquired(rank - 1);
	return __real_pthread_mutex_lock(mutex);
}

void lock_nested(pthread_mutex_t *mutex)
{
	if (rank_of(mutex))
		lock_acquired_nested(rank_of(mutex) - 1);
	__real_pthread_mutex_lock(mutex);
}

int __wrap_pthread_mutex_trylock(pthread_mutex_t *mutex)
{
	int err = __real_pthread_mutex_trylock(mutex);

	if (!err && rank_of(mutex))
		held[rank_of(mutex) - 1]++;
	return err;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
	if (rank_of(mutex))
		lock_released(rank_of(mutex) - 1);
	return __real_pthread_mutex_unlock(mutex);
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
