/* SPDX-License-Identifier: MIT */
/* lock.h - mmap_lock. The order of all locks is in lock_rank.h. */
#ifndef LODGE_MM_LOCK_H
#define LODGE_MM_LOCK_H

#include "lock_rank.h"
#include "mm.h"

void mm_read_lock(struct mm *mm);
void mm_read_unlock(struct mm *mm);
void mm_write_lock(struct mm *mm);
/* Of a space that nobody runs in yet, inside its parent's. */
void mm_write_lock_nested(struct mm *mm);
/* Releases every area that vma_write_lock took, too. */
void mm_write_unlock(struct mm *mm);

#endif
