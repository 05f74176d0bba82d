/* SPDX-License-Identifier: MIT */
/*
 * unmapped_area.c - where a mapping goes that did not say where.
 *
 *	get_unmapped_area	a file's own hook; 2 MiB aligned for what could be mapped huge; else the space's hook:
 *	  arch_get_unmapped_area_topdown	the usual layout
 *	  arch_get_unmapped_area		the legacy layout, MAP_32BIT, and what found no room top down
 * mmap_lock is held.
 */
#include <errno.h>
#include <sys/mman.h>

#include "unmapped_area.h"

/* Where the search upwards begins: a third of the space. */
#define UNMAPPED_BASE(mm) page_align_down((mm)->task_size / 3)

#ifndef MAP_ABOVE4G
#define MAP_ABOVE4G 0x80 /* Linux 6.6 */
#endif

#define LOW_2G_START 0x40000000ull
#define LOW_2G_END   0x80000000ull
#define LOW_4G_END   0x100000000ull

static bool hint_is_free(const struct mm *mm, gva_t hint, uint64_t length, gva_t limit)
{
	const struct vma *next = vma_find(&mm->vmas, hint);

	return length <= limit && hint <= limit - length && (!next || hint + length <= vma_start_gap(next));
}

int64_t arch_get_unmapped_area(const struct mm *mm, const struct unmapped_request *r)
{
	bool low = r->flags & MAP_32BIT;
	struct vma_gap gap = {r->length, low ? LOW_2G_START : UNMAPPED_BASE(mm),
			      low ? LOW_2G_END : mm->task_size};
	gva_t hint = page_align_up(r->address);

	if (r->length > gap.high_limit)
		return -ENOMEM;
	if (hint && hint_is_free(mm, hint, r->length, gap.high_limit))
		return (int64_t)hint;
	if (r->flags & MAP_ABOVE4G)
		gap.low_limit = max_u64(gap.low_limit, LOW_4G_END);
	return vma_gap_bottomup(&mm->vmas, &gap);
}

int64_t arch_get_unmapped_area_topdown(const struct mm *mm, const struct unmapped_request *r)
{
	struct vma_gap gap = {r->length, max_u64(PAGE_SIZE, mm->mmap_min_addr), mm->mmap_base};
	gva_t hint = page_align_down(r->address);

	if (r->flags & MAP_32BIT)
		return arch_get_unmapped_area(mm, r);
	if (hint && hint_is_free(mm, hint, r->length, mm->task_size))
		return (int64_t)hint;
	if (r->flags & MAP_ABOVE4G)
		gap.low_limit = LOW_4G_END;
	int64_t found = vma_gap_topdown(&mm->vmas, &gap);
	return found >= 0 ? found : arch_get_unmapped_area(mm, r);
}

static int64_t place(const struct mm *mm, const struct unmapped_request *r)
{
	return mm->get_unmapped_area(mm, r);
}

int64_t thp_get_unmapped_area(struct mm *mm, const struct unmapped_request *r)
{
	uint64_t offset = r->pgoff << PAGE_SHIFT;
	struct unmapped_request padded = *r;

	padded.length += PMD_SIZE;
	/* Only where a whole huge page of the object fits in, and the padding does not wrap. */
	if (offset + r->length < ((offset + PMD_SIZE - 1) & PMD_MASK) + PMD_SIZE || padded.length < r->length)
		return place(mm, r);
	int64_t at = place(mm, &padded);
	if (at < 0)
		return place(mm, r);
	if (r->address && (gva_t)at == page_align_down(r->address))
		return at;
	uint64_t ahead = (offset - (gva_t)at) & ~PMD_MASK;
	/* Top down the range found ends at what is above it: with nothing to skip the upper end of it is as good. */
	if (!ahead && mm->get_unmapped_area == arch_get_unmapped_area_topdown)
		return at + (int64_t)PMD_SIZE;
	return at + (int64_t)ahead;
}

static int64_t choose(struct mm *mm, const struct unmapped_request *r)
{
	if (r->flags & MAP_FIXED)
		return (int64_t)r->address;
	if (r->file && r->file->ops->get_unmapped_area)
		return r->file->ops->get_unmapped_area(r->file, mm, r);
	if (!r->file && !r->address && !(r->flags & MAP_SHARED) && !(r->length & ~PMD_MASK)) {
		struct unmapped_request from_0 = *r;
		from_0.pgoff = 0;
		return thp_get_unmapped_area(mm, &from_0);
	}
	return place(mm, r);
}

int64_t get_unmapped_area(struct mm *mm, const struct unmapped_request *request)
{
	struct unmapped_request r = *request;

	if (r.length > mm->task_size)
		return -ENOMEM;
	if (!(r.flags & MAP_FIXED) && page_align_down(r.address))
		r.address = max_u64(page_align_down(r.address), mm->mmap_min_addr);
	else if (!(r.flags & MAP_FIXED))
		r.address = 0;
	int64_t at = choose(mm, &r);
	if (at < 0 && at > -4096)
		return at;
	if ((gva_t)at > mm->task_size - r.length)
		return -ENOMEM;
	if ((gva_t)at & ~PAGE_MASK)
		return -EINVAL;
	return (gva_t)at < mm->mmap_min_addr ? -EPERM : at;
}
