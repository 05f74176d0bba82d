/* SPDX-License-Identifier: MIT */
/*
 * madvise.c - advice about a range.
 *
 *	flags of areas		NORMAL, SEQUENTIAL, RANDOM, DONTFORK, WIPEONFORK, DONTDUMP, HUGEPAGE, MERGEABLE and their opposites:
 *				areas are cut and joined by them; mmap_lock for writing
 *	contents		DONTNEED, FREE, REMOVE
 *	when memory is short	FREE, COLD, PAGEOUT
 *	how it is mapped	COLLAPSE (collapse.c)
 *	pages not to be touched	GUARD_INSTALL, GUARD_REMOVE (guard.c)
 *	making resident		WILLNEED, POPULATE_READ, POPULATE_WRITE (populate.c)
 *
 * FREE, COLD and PAGEOUT are about reclaim: deactivate.h.
 * MADV_MERGEABLE marks areas; nothing merges pages.
 */
#include <errno.h>
#include <sys/mman.h>

#include "anon_vma.h"
#include "area.h"
#include "collapse.h"
#include "deactivate.h"
#include "guard.h"
#include "hugetlb.h"
#include "hugetlb_object.h"
#include "i_mmap.h"
#include "lock.h"
#include "populate.h"
#include "retry.h"
#include "shmem.h"
#include "shmem_swap.h"
#include "swap_bring.h"
#include "zap.h"

/* Newer than the headers we build with. */
#ifndef MADV_COLD
#define MADV_COLD    20 /* Linux 5.4 */
#define MADV_PAGEOUT 21
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22 /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* Linux 5.18 */
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#define MADV_GUARD_REMOVE  103
#endif

/* One call, and the part of it that one area has. */
struct madvise {
	struct mm *mm;
	int advice;
	gva_t start, end;
};

/* --- flags -------------------------------------------------------------------------------------------------------- */

/* What ksm never looks at, so that the mark would be meaningless: accepted and without effect. */
#define VM_NOT_MERGEABLE                                                                          \
	(VM_SHARED | VM_MAYSHARE | VM_PFNMAP | VM_IO | VM_DONTEXPAND | VM_HUGETLB | VM_MIXEDMAP | \
	 VM_DROPPABLE)

/* The flags that an area has after the advice; 0, or -EINVAL where it does not apply. */
static int advised_flags(const struct vma *vma, int advice, uint64_t *flags)
{
	uint64_t f = vma->flags;

	switch (advice) {
	case MADV_NORMAL:
		f &= ~(VM_RAND_READ | VM_SEQ_READ);
		break;
	case MADV_SEQUENTIAL:
		f = (f & ~VM_RAND_READ) | VM_SEQ_READ;
		break;
	case MADV_RANDOM:
		f = (f & ~VM_SEQ_READ) | VM_RAND_READ;
		break;
	case MADV_DONTFORK:
		f |= VM_DONTCOPY;
		break;
	case MADV_DOFORK:
		if (f & VM_IO)
			return -EINVAL;
		f &= ~VM_DONTCOPY;
		break;
	case MADV_WIPEONFORK:
		if (vma->file || (f & VM_SHARED))
			return -EINVAL;
		f |= VM_WIPEONFORK;
		break;
	case MADV_KEEPONFORK:
		if (f & VM_DROPPABLE)
			return -EINVAL;
		f &= ~VM_WIPEONFORK;
		break;
	case MADV_DONTDUMP:
		f |= VM_DONTDUMP;
		break;
	case MADV_DODUMP:
		if ((!(f & VM_HUGETLB) && (f & VM_SPECIAL)) || (f & VM_DROPPABLE))
			return -EINVAL;
		f &= ~VM_DONTDUMP;
		break;
	case MADV_MERGEABLE:
		f |= f & VM_NOT_MERGEABLE ? 0 : VM_MERGEABLE;
		break;
	case MADV_UNMERGEABLE:
		f &= ~VM_MERGEABLE;
		break;
	case MADV_HUGEPAGE:
		f = (f & ~VM_NOHUGEPAGE) | VM_HUGEPAGE;
		break;
	default: /* MADV_NOHUGEPAGE */
		f = (f & ~VM_HUGEPAGE) | VM_NOHUGEPAGE;
		break;
	}
	*flags = f;
	return 0;
}

static bool changes_flags(int advice)
{
	switch (advice) {
	case MADV_NORMAL:
	case MADV_SEQUENTIAL:
	case MADV_RANDOM:
	case MADV_DONTFORK:
	case MADV_DOFORK:
	case MADV_WIPEONFORK:
	case MADV_KEEPONFORK:
	case MADV_DONTDUMP:
	case MADV_DODUMP:
	case MADV_MERGEABLE:
	case MADV_UNMERGEABLE:
	case MADV_HUGEPAGE:
	case MADV_NOHUGEPAGE:
		return true;
	default:
		return false;
	}
}

static int advise_flags(const struct madvise *m, struct vma *vma)
{
	uint64_t flags = 0;
	int err = advised_flags(vma, m->advice, &flags);

	if (err || flags == vma->flags)
		return err;
	err = area_may_cut(vma, m->start, m->end);
	if (err)
		return err;
	return area_modify(m->mm, vma, m->start, m->end, flags) ? 0 : -EAGAIN;
}

/* --- contents ----------------------------------------------------------------------------------------------------- */

/* Whole blocks go: a range that begins inside one is refused, one that ends inside one leaves it. */
static int dontneed_hugetlb(const struct madvise *m, struct vma *vma)
{
	gva_t end = m->end & PMD_MASK;
	struct gather g;

	if (m->start & ~PMD_MASK)
		return -EINVAL;
	if (end <= m->start)
		return 0;
	gather_begin(&g, m->mm);
	int err = zap_range(&g, m->start, end);
	gather_end(&g);
	hugetlb_restore(vma, m->start, end);
	return err;
}

static int dontneed(const struct madvise *m, struct vma *vma)
{
	struct gather g;

	if (vma->flags & (VM_PFNMAP | (m->advice == MADV_DONTNEED_LOCKED ? 0 : VM_LOCKED)))
		return -EINVAL;
	if (vma_is_hugetlb(vma))
		return dontneed_hugetlb(m, vma);
	gather_begin(&g, m->mm);
	int err = zap_range(&g, m->start, m->end);
	gather_end(&g);
	return err;
}

static int advise_free(const struct madvise *m, struct vma *vma)
{
	if ((vma->flags & (VM_PFNMAP | VM_LOCKED)) || !vma_is_anonymous(vma))
		return -EINVAL;
	lazyfree_range(vma, m->start, m->end);
	return 0;
}

/* A hole in a shared object or file: it reads as zero afterwards, for everybody. Not under mmap_lock: others may hold theirs. */
static int remove_pages(const struct madvise *m, const struct vma *vma)
{
	uint64_t first = vma_linear_index(vma, m->start), end = first + ((m->end - m->start) >> PAGE_SHIFT);
	int err = 0;

	if ((vma->flags & VM_LOCKED) || !vma->mapping)
		return -EINVAL;
	if (!vma_is_shared_maywrite(vma->flags))
		return -EACCES;
	struct backing *file = backing_get(vma->file);
	mm_read_unlock(m->mm);
	if (hugetlb_object_of(file))
		hugetlb_object_punch(hugetlb_object_of(file), first << PAGE_SHIFT, end << PAGE_SHIFT);
	else if (file->cache.shmem)
		shmem_punch(file, first << PAGE_SHIFT, end << PAGE_SHIFT);
	else
		err = filemap_punch(&file->cache, first, end - 1);
	backing_put(file);
	mm_read_lock(m->mm);
	return err;
}

/*
 * Of shared files only what the program might write is its own to send away, as on Linux. A clean page of a private mapping goes even
 * from the cache.
 */
static int advise_cold(const struct madvise *m, struct vma *vma)
{
	if (vma->flags & (VM_LOCKED | VM_PFNMAP | VM_HUGETLB))
		return -EINVAL;
	if (m->advice == MADV_COLD)
		deactivate_range(vma, m->start, m->end);
	else
		pageout_range(vma, m->start, m->end);
	return 0;
}

/* Files not under mmap_lock: it may take long. What is in swap comes for as long as nothing has to go for it. */
static int willneed(const struct madvise *m, struct vma *vma)
{
	uint64_t first = vma_linear_index(vma, m->start), nr = (m->end - m->start) >> PAGE_SHIFT;

	if (vma_anon_vma(vma))
		swap_bring_range(vma, m->start, m->end, SWAP_AROUND_PAGES);
	if (vma->mapping && vma->mapping->shmem)
		shmem_bring(vma->mapping, first, first + nr - 1, m->mm->memcg, SWAP_AROUND_PAGES);
	if (!vma->mapping || vma->mapping->shmem)
		return 0;
	struct backing *file = backing_get(vma->file);
	mm_read_unlock(m->mm);
	filemap_readahead(&file->cache, first, nr, m->mm->memcg);
	backing_put(file);
	mm_read_lock(m->mm);
	return 0;
}

/* --- ranges ------------------------------------------------------------------------------------------------------- */

/* What would take contents away that the program itself could not change is refused for a sealed area. */
static bool may_discard(const struct vma *vma, int advice)
{
	if (!(vma->flags & VM_SEALED) || (vma->flags & (VM_SHARED | VM_WRITE)))
		return true;
	switch (advice) {
	case MADV_FREE:
	case MADV_DONTNEED:
	case MADV_DONTNEED_LOCKED:
	case MADV_REMOVE:
	case MADV_DONTFORK:
	case MADV_WIPEONFORK:
	case MADV_GUARD_INSTALL:
		return false;
	default:
		return true;
	}
}

static int advise_part(const struct madvise *m, struct vma *vma)
{
	if (!may_discard(vma, m->advice))
		return -EPERM;
	switch (m->advice) {
	case MADV_DONTNEED:
	case MADV_DONTNEED_LOCKED:
		return dontneed(m, vma);
	case MADV_FREE:
		return advise_free(m, vma);
	case MADV_REMOVE:
		return remove_pages(m, vma);
	case MADV_COLD:
	case MADV_PAGEOUT:
		return advise_cold(m, vma);
	case MADV_WILLNEED:
		return willneed(m, vma);
	case MADV_COLLAPSE:
		return collapse_range(vma, m->start, m->end);
	case MADV_GUARD_INSTALL:
		return guard_install(vma, m->start, m->end);
	case MADV_GUARD_REMOVE:
		return guard_remove(vma, m->start, m->end);
	default:
		return advise_flags(m, vma);
	}
}

static bool is_known(int advice)
{
	switch (advice) {
	case MADV_WILLNEED:
	case MADV_DONTNEED:
	case MADV_DONTNEED_LOCKED:
	case MADV_FREE:
	case MADV_REMOVE:
	case MADV_COLD:
	case MADV_PAGEOUT:
	case MADV_POPULATE_READ:
	case MADV_POPULATE_WRITE:
	case MADV_COLLAPSE:
	case MADV_GUARD_INSTALL:
	case MADV_GUARD_REMOVE:
		return true;
	default:
		return changes_flags(advice);
	}
}

/* Areas are advised in turn; a hole is reported only after the rest was done, as Linux does. */
static int advise_range(struct madvise *m, gva_t start, gva_t end)
{
	int unmapped = 0;

	while (start < end) {
		struct vma *vma = vma_find(&m->mm->vmas, start);
		if (!vma || vma->start >= end)
			return -ENOMEM;
		if (vma->start > start) {
			unmapped = -ENOMEM;
			start = vma->start;
		}
		m->start = start;
		m->end = min_u64(end, vma->end);
		int err = advise_part(m, vma);
		if (err)
			return err;
		start = m->end;
	}
	return unmapped;
}

int mm_madvise(struct mm *mm, gva_t start, uint64_t length, int advice)
{
	struct madvise m = {.mm = mm, .advice = advice};
	uint64_t bytes = page_align_up(length);

	if (!is_known(advice) || start & ~PAGE_MASK || (length && !bytes) || start + bytes < start)
		return -EINVAL;
	if (!bytes)
		return 0;
	if (advice == MADV_POPULATE_READ || advice == MADV_POPULATE_WRITE)
		return mm_populate_for(mm, start, start + bytes,
				       advice == MADV_POPULATE_READ ? POPULATE_READ : POPULATE_WRITE);
	struct retry retry = retry_begin(mm->host, mm->memcg);
	int err;
	do {
		if (changes_flags(advice)) {
			mm_write_lock(mm);
			err = advise_range(&m, start, start + bytes);
			mm_write_unlock(mm);
		} else {
			mm_read_lock(mm);
			err = advise_range(&m, start, start + bytes);
			mm_read_unlock(mm);
		}
	} while (retry_with_room(&retry, err));
	return err;
}
