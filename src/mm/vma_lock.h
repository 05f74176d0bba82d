/* SPDX-License-Identifier: MIT */
/*
 * vma_lock.h - an area's own lock: faults that need not wait for whoever maps elsewhere.
 *
 * A fault reads one area; operations that change areas hold mmap_lock for writing and lock those that they change. A fault
 * that finds its area in the space's cache of areas, and can lock it, never touches mmap_lock; any other takes the slow
 * way and leaves the area in the cache for the next.
 *
 *   L1  a reader's count is not 0: bounds, flags, operations and entries of the area stay as they are
 *   L2  vma->lock_seq == mm->lock_seq: locked for writing; mm_write_unlock ends that for all areas at once
 *   L3  an area in the cache is linked: area_unlink takes it out before it can be freed
 *   L4  an area is freed when every reader that may have found it in the cache is gone (kmem_read_lock)
 * A writer waits for the readers of an area (they never wait for mmap_lock), so it cannot be kept out for longer than
 * a fault takes; readers do not wait for a writer, they take the slow way.
 */
#ifndef LODGE_MM_VMA_LOCK_H
#define LODGE_MM_VMA_LOCK_H

#include "lock.h"

/* The area that holds `address`, locked for reading, without mmap_lock; NULL: not to be had that way. */
struct vma *vma_lock_lookup(struct mm *mm, gva_t address);
void vma_read_unlock(struct vma *vma);

/* For the next vma_lock_lookup; mmap_lock is held for reading. */
void vma_cache_fill(struct mm *mm, gva_t address, struct vma *vma);

/* Locks out readers until mm_write_unlock; mmap_lock is held for writing. May be called again for the same area. */
void vma_write_lock(struct vma *vma);

/* The area, locked for writing, is no longer of the space: no lookup finds it. */
void vma_detach(struct vma *vma);

/* Copies everything but the lock, which is that of a new area, and its place among the mappings of its file. */
void vma_copy(struct vma *to, const struct vma *from);

#endif
