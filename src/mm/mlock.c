/* SPDX-License-Identifier: MIT */
/*
 * mlock.c - pages that stay: mlock, munlock, mlockall, munlockall.
 *
 * A locked area is marked (VM_LOCKED), counted (locked_vm) and made resident; VM_LOCKONFAULT leaves the last to its faults.
 * Not here: who respects the mark (madvise.c, reclaim), locking by mmap itself (mmap.c).
 */
#include <errno.h>
#include <sys/mman.h>

#include "area.h"
#include "lock.h"
#include "populate.h"

/* Areas without pages of the core's own are never locked, and that is no error. */
#define VM_UNLOCKABLE (VM_SPECIAL | VM_HUGETLB | VM_DROPPABLE)

/* Gives a part of an area the VM_LOCKED flags; *vma becomes the area that has it then. 0 or -ENOMEM. */
static int mlock_fixup(struct vma **vma, gva_t start, gva_t end, uint64_t lock)
{
	uint64_t flags = ((*vma)->flags & ~VM_LOCKED_MASK) | lock;

	if (flags == (*vma)->flags || ((*vma)->flags & VM_UNLOCKABLE))
		return 0;
	struct vma *now = area_modify((*vma)->mm, *vma, start, end, flags);
	if (!now)
		return -ENOMEM;
	*vma = now;
	return 0;
}

static int apply_lock_flags(struct mm *mm, gva_t start, gva_t end, uint64_t lock)
{
	struct vma *vma = vma_find(&mm->vmas, start);

	while (start < end) {
		if (!vma || vma->start > start)
			return -ENOMEM;
		gva_t stop = min_u64(vma->end, end);
		int err = mlock_fixup(&vma, start, stop, lock);
		if (err)
			return err;
		start = stop;
		vma = vma->end > stop ? vma : vma->next;
	}
	return 0;
}

static uint64_t locked_pages_in(const struct mm *mm, gva_t start, gva_t end)
{
	uint64_t sum = 0;

	for (const struct vma *v = vma_find_intersection(&mm->vmas, start, end); v && v->start < end;
	     v = v->next)
		if (v->flags & VM_LOCKED)
			sum += (min_u64(v->end, end) - max_u64(v->start, start)) >> PAGE_SHIFT;
	return sum;
}

/* The pages that [start, start + length) touches; a length that wraps is 0, as in Linux. -EINVAL: they wrap themselves. */
static int whole_pages(gva_t *start, gva_t *end, uint64_t length)
{
	length = page_align_up(length + (*start & ~PAGE_MASK));
	*start = page_align_down(*start);
	*end = *start + length;
	return *end < *start ? -EINVAL : 0;
}

/* Whether locking [start, end) stays within the limit; what is locked already does not count twice. */
static bool within_limit(const struct mm *mm, gva_t start, gva_t end)
{
	uint64_t pages = (end - start) >> PAGE_SHIFT;

	return mlock_future_ok(mm, VM_LOCKED, pages) ||
	       mlock_future_ok(mm, VM_LOCKED, pages - locked_pages_in(mm, start, end));
}

int mm_mlock(struct mm *mm, gva_t start, uint64_t length, unsigned int flags)
{
	uint64_t lock = VM_LOCKED | (flags & MLOCK_ONFAULT ? VM_LOCKONFAULT : 0);
	gva_t end = 0;

	if (flags & ~(unsigned int)MLOCK_ONFAULT)
		return -EINVAL;
	if (!can_do_mlock(mm))
		return -EPERM;
	int err = whole_pages(&start, &end, length);
	mm_write_lock(mm);
	if (!within_limit(mm, start, end))
		err = -ENOMEM;
	else if (!err)
		err = apply_lock_flags(mm, start, end, lock);
	mm_write_unlock(mm);
	if (err)
		return err;
	err = mm_populate_for(mm, start, end, POPULATE_AS_MAPPED);
	/* POSIX: ENOMEM for what cannot be there, EAGAIN for what could not be had. */
	return err == -EFAULT ? -ENOMEM : err == -ENOMEM ? -EAGAIN : err;
}

int mm_munlock(struct mm *mm, gva_t start, uint64_t length)
{
	gva_t end = 0;
	int err = whole_pages(&start, &end, length);

	if (err)
		return err;
	mm_write_lock(mm);
	err = apply_lock_flags(mm, start, end, 0);
	mm_write_unlock(mm);
	return err;
}

/* Every area there is, and def_flags for those to come. Areas that cannot be changed are passed over, as in Linux. */
static void apply_mlockall(struct mm *mm, unsigned int flags)
{
	uint64_t lock = VM_LOCKED | (flags & MCL_ONFAULT ? VM_LOCKONFAULT : 0);

	mm->def_flags = (mm->def_flags & ~VM_LOCKED_MASK) | (flags & MCL_FUTURE ? lock : 0);
	if ((flags & MCL_FUTURE) && !(flags & MCL_CURRENT))
		return;
	for (struct vma *vma = mm->vmas.first; vma; vma = vma->next)
		mlock_fixup(&vma, vma->start, vma->end, flags & MCL_CURRENT ? lock : 0);
}

void mm_populate_locked(struct mm *mm)
{
	for (gva_t at = 0; at < mm->task_size;) {
		mm_read_lock(mm);
		struct vma *vma = vma_find(&mm->vmas, at);
		gva_t start = vma ? max_u64(vma->start, at) : mm->task_size, end = vma ? vma->end : start;
		bool locked = vma && (vma->flags & VM_LOCKED);
		mm_read_unlock(mm);
		if (locked)
			mm_populate_for(mm, start, end, POPULATE_AS_MAPPED);
		at = end;
	}
}

int mm_mlockall(struct mm *mm, unsigned int flags)
{
	if (!flags || (flags & ~(unsigned int)(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) ||
	    flags == MCL_ONFAULT)
		return -EINVAL;
	if (!can_do_mlock(mm))
		return -EPERM;
	mm_write_lock(mm);
	bool fits = !(flags & MCL_CURRENT) || mm->privileged ||
		    mm->total_vm_pages <= mm->memlock_limit_bytes >> PAGE_SHIFT;
	if (fits)
		apply_mlockall(mm, flags);
	mm_write_unlock(mm);
	if (fits && (flags & MCL_CURRENT))
		mm_populate_locked(mm);
	return fits ? 0 : -ENOMEM;
}

void mm_munlockall(struct mm *mm)
{
	mm_write_lock(mm);
	apply_mlockall(mm, 0);
	mm_write_unlock(mm);
}
