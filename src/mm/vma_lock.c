/* SPDX-License-Identifier: MIT */
/* vma_lock.c - see vma_lock.h. */
#include <sched.h>
#include <string.h>

#include "vma_lock.h"

/* In lock_readers: a writer waits for the readers to go; none may come. */
#define WRITER_WAITS 0x80000000u

static _Atomic(struct vma *) *cache_slot(struct mm *mm, gva_t address)
{
	return &mm->vma_cache[(address >> PMD_SHIFT) % VMA_CACHE_SLOTS];
}

static bool read_trylock(struct vma *vma)
{
	uint32_t n = atomic_load_explicit(&vma->lock_readers, memory_order_relaxed);

	do {
		if (n & WRITER_WAITS)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&vma->lock_readers, &n, n + 1, memory_order_acquire,
							memory_order_relaxed));
	return true;
}

void vma_read_unlock(struct vma *vma)
{
	atomic_fetch_sub_explicit(&vma->lock_readers, 1, memory_order_release);
	lock_released(LOCK_VMA);
}

/* What a reader that has the count must know: that no writer has it, and that it is the right one. */
static bool is_the_one(const struct vma *vma, struct mm *mm, gva_t address)
{
	uint64_t seq = atomic_load_explicit(&mm->lock_seq, memory_order_acquire);

	return atomic_load_explicit(&vma->lock_seq, memory_order_relaxed) != seq && !vma->detached &&
	       vma->start <= address && address < vma->end;
}

struct vma *vma_lock_lookup(struct mm *mm, gva_t address)
{
	kmem_read_lock();
	struct vma *vma = atomic_load_explicit(cache_slot(mm, address), memory_order_acquire);
	if (vma && !read_trylock(vma))
		vma = NULL;
	kmem_read_unlock(); /* the count keeps it from now on: whoever frees it has to lock it first */
	if (!vma)
		return NULL;
	lock_acquired(LOCK_VMA);
	if (is_the_one(vma, mm, address))
		return vma;
	vma_read_unlock(vma);
	return NULL;
}

void vma_cache_fill(struct mm *mm, gva_t address, struct vma *vma)
{
	_Atomic(struct vma *) *slot = cache_slot(mm, address);

	if (atomic_load_explicit(slot, memory_order_relaxed) != vma)
		atomic_store_explicit(slot, vma, memory_order_release);
}

void vma_write_lock(struct vma *vma)
{
	uint64_t seq = atomic_load_explicit(&vma->mm->lock_seq, memory_order_relaxed);

	if (atomic_load_explicit(&vma->lock_seq, memory_order_relaxed) == seq)
		return;
	atomic_fetch_or_explicit(&vma->lock_readers, WRITER_WAITS, memory_order_acquire);
	while (atomic_load_explicit(&vma->lock_readers, memory_order_acquire) != WRITER_WAITS)
		sched_yield();
	atomic_store_explicit(&vma->lock_seq, seq, memory_order_relaxed);
	atomic_fetch_and_explicit(&vma->lock_readers, ~WRITER_WAITS, memory_order_release);
}

void vma_detach(struct vma *vma)
{
	struct mm *mm = vma->mm;

	vma->detached = true;
	for (unsigned int i = 0; i < VMA_CACHE_SLOTS; i++)
		if (atomic_load_explicit(&mm->vma_cache[i], memory_order_relaxed) == vma)
			atomic_store_explicit(&mm->vma_cache[i], NULL, memory_order_relaxed);
}

void vma_copy(struct vma *to, const struct vma *from)
{
	memcpy(to, from, offsetof(struct vma, shared));
	memset(&to->shared, 0, sizeof(to->shared));
	atomic_init(&to->lock_readers, 0);
	atomic_init(&to->lock_seq, 0);
	to->detached = false;
}
