/* SPDX-License-Identifier: MIT */
/*
 * populate.c - making the pages of a range resident ahead of their use: MAP_POPULATE, mlock, MADV_POPULATE_READ and WRITE.
 *
 * mmap_lock is taken for reading, for a batch of pages at a time, so that a long range does not keep others from mapping;
 * areas may change in between, and what is found then counts.
 */
#include <errno.h>

#include "fault.h"
#include "lock.h"
#include "populate.h"

#define BATCH_BYTES (512 * PAGE_SIZE)

/* Makes the page at `address` present, and writable if `write`; `end` is how far the caller will go. */
static int touch(struct mm *mm, struct vma *vma, gva_t address, gva_t end, bool write)
{
	pte_t *slot;

	pthread_mutex_lock(&mm->page_table_lock);
	pte_t pte = pgtable_translate(&mm->pgt, address, &slot);
	pthread_mutex_unlock(&mm->page_table_lock);
	if ((pte & PTE_PRESENT) && (!write || pte_write(pte)))
		return 0;
	switch (handle_mm_fault(vma, address, write ? FAULT_FLAG_WRITE : 0, end)) {
	case VM_FAULT_DONE:
		return 0;
	case VM_FAULT_OOM:
		return -ENOMEM;
	default:
		return -EFAULT;
	}
}

static bool wants_write(const struct vma *vma, enum populate_for what)
{
	if (what == POPULATE_AS_MAPPED) /* a write to a shared page would make it dirty for nothing */
		return (vma->flags & (VM_WRITE | VM_SHARED)) == VM_WRITE;
	return what == POPULATE_WRITE;
}

/* Areas that are left alone: 0 to go on behind it, or -errno; 1: to be touched. */
static int area_wanted(const struct vma *vma, enum populate_for what)
{
	bool write = wants_write(vma, what);

	if (vma->flags & (VM_IO | VM_PFNMAP))
		return what == POPULATE_AS_MAPPED ? 0 : -EINVAL;
	if (what == POPULATE_AS_MAPPED && (vma->flags & VM_LOCKONFAULT))
		return 0;
	if (what == POPULATE_AS_MAPPED)
		return vma->flags & VM_ACCESS_FLAGS ? 1 : -EFAULT;
	return vma->flags & (write ? VM_WRITE : VM_READ) ? 1 : -EINVAL;
}

static int touch_part(struct vma *vma, gva_t *at, gva_t stop, gva_t end, enum populate_for what)
{
	int err = area_wanted(vma, what);

	if (err < 0)
		return err;
	if (!err) {
		*at = min_u64(vma->end, end);
		return 0;
	}
	bool write = wants_write(vma, what);
	for (err = 0; *at < stop && !err; *at += PAGE_SIZE)
		err = touch(vma->mm, vma, *at, min_u64(end, vma->end), write);
	return err;
}

void populate_area(struct vma *vma, gva_t start, gva_t end)
{
	touch_part(vma, &start, end, end, POPULATE_AS_MAPPED);
}

/* One batch from *at on; moves *at behind what was done. */
static int populate_batch(struct mm *mm, gva_t *at, gva_t end, enum populate_for what)
{
	struct vma *vma = vma_find_intersection(&mm->vmas, *at, end);

	if (!vma || vma->start > *at) {
		if (what != POPULATE_AS_MAPPED)
			return -ENOMEM;
		*at = vma ? vma->start : end;
	}
	return vma ? touch_part(vma, at, min_u64(min_u64(vma->end, end), *at + BATCH_BYTES), end, what) : 0;
}

int mm_populate_for(struct mm *mm, gva_t start, gva_t end, enum populate_for what)
{
	int err = 0;

	while (start < end && !err) {
		mm_read_lock(mm);
		err = populate_batch(mm, &start, end, what);
		mm_read_unlock(mm);
	}
	return err;
}

int mm_populate(struct mm *mm, gva_t start, uint64_t length)
{
	start = page_align_down(start);
	return mm_populate_for(mm, start, start + page_align_up(length), POPULATE_AS_MAPPED);
}
