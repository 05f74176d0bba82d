/* SPDX-License-Identifier: MIT */
/*
 * madvise.c - advice about a range, and touching one ahead of its use.
 *
 * Advice that only tunes (huge pages, read-ahead, reclaim hints) is accepted and changes nothing here; what programs rely
 * on for its effect is done or refused.
 */
#include <errno.h>
#include <sys/mman.h>

#include "area.h"
#include "fault.h"
#include "populate.h"
#include "zap.h"

#ifndef MADV_COLD
#define MADV_COLD    20 /* Linux 5.4 */
#define MADV_PAGEOUT 21
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22 /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

static int zap_part(struct vma *vma, gva_t start, gva_t end)
{
	struct gather g;

	if (vma->flags & VM_LOCKED)
		return -EINVAL;
	gather_begin(&g, vma->mm);
	zap_range(&g, start, end);
	gather_end(&g);
	return 0;
}

/* Frees the pages of a shared object: they read as zero afterwards, for everybody. */
static int remove_part(struct vma *vma, gva_t start, gva_t end)
{
	if (vma->flags & VM_LOCKED || !vma->mapping || !vma->mapping->shmem)
		return -EINVAL;
	if ((vma->flags & (VM_SHARED | VM_WRITE)) != (VM_SHARED | VM_WRITE))
		return -EACCES;
	zap_part(vma, start, end);
	filemap_drop(vma->mapping, vma_linear_index(vma, start), vma_linear_index(vma, end) - 1);
	return 0;
}

static int willneed_part(struct vma *vma, gva_t start, gva_t end)
{
	if (vma->mapping && !vma->mapping->shmem)
		filemap_readahead(vma->mapping, vma_linear_index(vma, start),
				  (unsigned int)min_u64((end - start) >> PAGE_SHIFT, 512), vma->mm->memcg);
	return 0;
}

static int advise_part(struct vma *vma, gva_t start, gva_t end, int advice)
{
	switch (advice) {
	case MADV_DONTNEED:
		return zap_part(vma, start, end);
	case MADV_REMOVE:
		return remove_part(vma, start, end);
	case MADV_WILLNEED:
		return willneed_part(vma, start, end);
	case MADV_FREE: /* the pages may be kept as long as there is room: they are */
		return vma_is_anonymous(vma) ? 0 : -EINVAL;
	default:
		return 0;
	}
}

static bool is_known(int advice)
{
	switch (advice) {
	case MADV_NORMAL:
	case MADV_RANDOM:
	case MADV_SEQUENTIAL:
	case MADV_WILLNEED:
	case MADV_DONTNEED:
	case MADV_FREE:
	case MADV_REMOVE:
	case MADV_DONTFORK:
	case MADV_DOFORK:
	case MADV_MERGEABLE:
	case MADV_UNMERGEABLE:
	case MADV_HUGEPAGE:
	case MADV_NOHUGEPAGE:
	case MADV_DONTDUMP:
	case MADV_DODUMP:
	case MADV_COLD:
	case MADV_PAGEOUT:
	case MADV_POPULATE_READ:
	case MADV_POPULATE_WRITE:
		return true;
	default:
		return false;
	}
}

/* Areas are advised in turn; a hole is reported only after the rest was done, as Linux does. */
static int advise_range(struct mm *mm, gva_t start, gva_t end, int advice)
{
	struct vma *vma = vma_find(&mm->vmas, start);
	int unmapped = 0;

	while (start < end) {
		if (!vma || vma->start >= end)
			return -ENOMEM;
		if (vma->start > start) {
			unmapped = -ENOMEM;
			start = vma->start;
		}
		int err = advise_part(vma, start, min_u64(end, vma->end), advice);
		if (err)
			return err;
		start = vma->end;
		vma = vma->next;
	}
	return unmapped;
}

int mm_madvise(struct mm *mm, gva_t start, uint64_t length, int advice)
{
	uint64_t bytes = page_align_up(length);

	if (!is_known(advice) || start & ~PAGE_MASK || (length && !bytes) || start + bytes < start)
		return -EINVAL;
	if (!bytes)
		return 0;
	if (advice == MADV_POPULATE_READ || advice == MADV_POPULATE_WRITE)
		return mm_populate_for(mm, start, start + bytes,
				       advice == MADV_POPULATE_READ ? POPULATE_READ : POPULATE_WRITE);
	pthread_rwlock_rdlock(&mm->mmap_lock);
	int err = advise_range(mm, start, start + bytes, advice);
	pthread_rwlock_unlock(&mm->mmap_lock);
	return err;
}
