/* SPDX-License-Identifier: MIT */
/*
 * mseal.c - areas that stay as they are (Linux 6.10).
 *
 * A sealed area is not unmapped, moved, resized or mapped over, its rights do not change, and nothing discards what
 * the program could not write itself: each operation refuses with -EPERM before it changes anything. There is no way back.
 */
#include <errno.h>

#include "area.h"
#include "lock.h"

static bool all_mapped(const struct mm *mm, gva_t start, gva_t end)
{
	for (const struct vma *v = vma_find(&mm->vmas, start); v && v->start <= start && start < end;
	     v = v->next)
		start = v->end;
	return start >= end;
}

static int do_mseal(struct mm *mm, gva_t start, gva_t end)
{
	if (!all_mapped(mm, start, end))
		return -ENOMEM;
	while (start < end) {
		struct vma *vma = vma_find(&mm->vmas, start);
		gva_t stop = min_u64(vma->end, end);
		int err = area_may_cut(vma, start, stop);
		if (err)
			return err;
		if (!(vma->flags & VM_SEALED) && !area_modify(mm, vma, start, stop, vma->flags | VM_SEALED))
			return -ENOMEM;
		start = stop;
	}
	return 0;
}

int mm_mseal(struct mm *mm, gva_t start, uint64_t length, unsigned long flags)
{
	uint64_t bytes = page_align_up(length);

	if (flags || start & ~PAGE_MASK || (length && !bytes) || start + bytes < start)
		return -EINVAL;
	if (!bytes)
		return 0;
	mm_write_lock(mm);
	int err = do_mseal(mm, start, start + bytes);
	mm_write_unlock(mm);
	return err;
}
