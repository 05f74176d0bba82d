/* SPDX-License-Identifier: MIT */
/*
 * msync.c - carrying a range of memory to the files behind it.
 *
 * As Linux: MS_ASYNC alone only checks (the flusher is told to hurry), MS_INVALIDATE only looks for locked areas since there is
 * one copy of a page, and a hole is told of at the end, except by MS_ASYNC alone, which stops there.
 */
#include <errno.h>
#include <sys/mman.h>

#include "lock.h"
#include "mm.h"

/* What lies before the next file to write: 0 and *file with a reference, or NULL at the end; or -errno. */
struct msync_op {
	gva_t start, end;
	unsigned int flags;
	int unmapped; /* -ENOMEM once a hole was seen */
	struct backing *file;
	uint64_t first, last; /* pages of it */
};

static int msync_next(struct mm *mm, struct msync_op *op)
{
	struct vma *vma = vma_find(&mm->vmas, op->start);

	op->file = NULL;
	for (; op->start < op->end; vma = vma->next) {
		if (!vma)
			return -ENOMEM;
		if (op->start < vma->start) {
			if (op->flags == MS_ASYNC || vma->start >= op->end)
				return -ENOMEM;
			op->start = vma->start;
			op->unmapped = -ENOMEM;
		}
		if ((op->flags & MS_INVALIDATE) && (vma->flags & VM_LOCKED))
			return -EBUSY;
		gva_t start = op->start;
		op->start = vma->end;
		if ((op->flags & MS_SYNC) && vma->file && (vma->flags & VM_SHARED)) {
			op->file = backing_get(vma->file);
			op->first = vma_linear_index(vma, start);
			op->last = vma_linear_index(vma, min_u64(op->end, vma->end) - 1);
			return 0;
		}
	}
	return 0;
}

int mm_msync(struct mm *mm, gva_t start, uint64_t length, unsigned int flags)
{
	struct msync_op op = {.start = start, .end = start + page_align_up(length), .flags = flags};

	if (flags & ~(unsigned int)(MS_ASYNC | MS_INVALIDATE | MS_SYNC))
		return -EINVAL;
	if ((start & ~PAGE_MASK) || ((flags & MS_ASYNC) && (flags & MS_SYNC)))
		return -EINVAL;
	if (op.end < start)
		return -ENOMEM;
	while (op.start < op.end) {
		mm_read_lock(mm);
		int err = msync_next(mm, &op);
		mm_read_unlock(mm);
		if (!err && op.file)
			err = writeback_sync(&op.file->cache, op.first, op.last);
		if (op.file)
			backing_put(op.file);
		if (err)
			return err;
	}
	if (flags & MS_ASYNC)
		writeback_kick(mm->host);
	return op.unmapped;
}
