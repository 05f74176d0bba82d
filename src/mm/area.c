/* SPDX-License-Identifier: MIT */
/* area.c - the steps that operations on areas share. See area.h. mmap_lock is held for writing throughout. */
#include <errno.h>
#include <sys/mman.h>

#include "area.h"
#include "rmap.h"
#include "zap.h"

/* Where the search begins when there is no room below mmap_base: a third of the space. */
#define UNMAPPED_BASE(mm) page_align_down((mm)->task_size / 3)

void spare_none(struct spare_areas *s)
{
	s->vma[0] = s->vma[1] = NULL;
	list_init(&s->chains);
}

/* What one cut of `vma` takes. */
static int spare_add(struct mm *mm, struct spare_areas *s, const struct vma *vma)
{
	struct vma *spare = kmem_cache_zalloc(&mm->host->vma_cache);

	if (!spare)
		return -ENOMEM;
	s->vma[s->vma[0] ? 1 : 0] = spare;
	return anon_vma_reserve(mm->host, &s->chains, vma);
}

int spare_get(struct mm *mm, struct spare_areas *s, gva_t start, gva_t end)
{
	const struct vma *first = vma_find(&mm->vmas, start), *last = vma_find(&mm->vmas, end - 1);
	int err = 0;

	spare_none(s);
	if (first && first->start < start)
		err = spare_add(mm, s, first);
	if (!err && last && last->start < end && last->end > end)
		err = spare_add(mm, s, last);
	if (err)
		spare_put(mm, s);
	return err;
}

void spare_put(struct mm *mm, struct spare_areas *s)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(s->vma); i++) {
		if (s->vma[i])
			kmem_cache_free(&mm->host->vma_cache, s->vma[i]);
		s->vma[i] = NULL;
	}
	anon_vma_unreserve(mm->host, &s->chains);
}

static struct vma *spare_take(struct spare_areas *s)
{
	unsigned int i = s->vma[0] ? 0 : 1;
	struct vma *vma = s->vma[i];

	s->vma[i] = NULL;
	return vma;
}

void area_hold_mapping(struct vma *vma)
{
	if (vma->file)
		backing_get(vma->file);
	if (vma->vm_ops && vma->vm_ops->open)
		vma->vm_ops->open(vma);
}

void area_link(struct mm *mm, struct vma *vma)
{
	vma_interval_insert(vma);
	vma_link(&mm->vmas, vma);
}

void area_unlink(struct mm *mm, struct vma *vma)
{
	vma_unlink(&mm->vmas, vma);
	vma_interval_remove(vma);
}

void area_resize(struct mm *mm, struct vma *vma, gva_t start, gva_t end)
{
	vma_interval_lock(vma);
	vma_interval_remove_locked(vma);
	vma->pgoff = start < vma->start ? vma->pgoff - ((vma->start - start) >> PAGE_SHIFT)
					: vma_linear_index(vma, start);
	vma_resize(&mm->vmas, vma, start, end);
	vma_interval_insert_locked(vma);
	vma_interval_unlock(vma);
}

/* Walks find the pages of the upper part in both for a moment, never in none. */
struct vma *area_split(struct mm *mm, struct vma *vma, gva_t address, struct spare_areas *s)
{
	struct vma *upper = spare_take(s);

	*upper = *vma;
	upper->start = address;
	upper->pgoff += (address - vma->start) >> PAGE_SHIFT;
	area_hold_mapping(upper);
	anon_vma_clone_spare(upper, vma, &s->chains);
	vma_interval_insert(upper);
	area_resize(mm, vma, vma->start, address);
	vma_link(&mm->vmas, upper);
	return upper;
}

static bool can_merge(const struct vma *a, const struct vma *b)
{
	return a && b && a->end == b->start && a->flags == b->flags && a->file == b->file &&
	       a->mapping == b->mapping && a->name == b->name && a->pgoff + vma_pages(a) == b->pgoff &&
	       anon_vma_mergeable(a, b);
}

/* Lets `lower` swallow `upper`, its neighbour. */
static void merge_pair(struct mm *mm, struct vma *lower, struct vma *upper)
{
	vma_unlink(&mm->vmas, upper);
	area_resize(mm, lower, lower->start, upper->end);
	anon_vma_merge(lower, upper);
	vma_interval_remove(upper);
	vma_free(mm, upper);
}

struct vma *area_merge(struct mm *mm, struct vma *vma)
{
	/* Both neighbours may go with it and not with one another: the lower one has it then. */
	if (can_merge(vma->prev, vma)) {
		vma = vma->prev;
		merge_pair(mm, vma, vma->next);
	}
	if (can_merge(vma, vma->next))
		merge_pair(mm, vma, vma->next);
	return vma;
}

unsigned int area_cuts(const struct mm *mm, gva_t start, gva_t end)
{
	struct vma *first = vma_find(&mm->vmas, start), *last = vma_find(&mm->vmas, end - 1);

	return (first && first->start < start) + (last && last->start < end && last->end > end);
}

void area_unmap(struct mm *mm, gva_t start, gva_t end, struct spare_areas *s)
{
	struct vma *vma = vma_find_intersection(&mm->vmas, start, end);
	struct gather g;

	if (!vma)
		return;
	if (vma->start < start)
		vma = area_split(mm, vma, start, s);
	struct vma *prev = vma->prev, *doomed = NULL;
	while (vma && vma->start < end) {
		if (vma->end > end)
			area_split(mm, vma, end, s);
		struct vma *next = vma->next;
		vma_unlink(&mm->vmas, vma);
		mm->total_vm_pages -= vma_pages(vma);
		vma->next = doomed;
		doomed = vma;
		vma = next;
	}
	gather_begin(&g, mm);
	for (struct vma *d = doomed; d; d = d->next)
		zap_range(&g, d->start, d->end);
	zap_tables(&g, start, end, prev, vma);
	gather_end(&g);
	while (doomed) {
		struct vma *next = doomed->next;
		vma_interval_remove(doomed);
		vma_free(mm, doomed);
		doomed = next;
	}
}

static bool hint_is_free(const struct mm *mm, gva_t hint, uint64_t length)
{
	struct vma *next = vma_find(&mm->vmas, hint);

	return length <= mm->task_size && hint <= mm->task_size - length &&
	       (!next || hint + length <= vma_start_gap(next));
}

int64_t area_find_room(const struct mm *mm, gva_t hint, uint64_t length, unsigned int flags)
{
	struct vma_gap gap = {length, max_u64(PAGE_SIZE, mm->mmap_min_addr), mm->mmap_base};

	if (length > mm->task_size)
		return -ENOMEM;
	hint = page_align_down(hint);
	if (hint)
		hint = max_u64(hint, mm->mmap_min_addr);
	if (hint && hint_is_free(mm, hint, length))
		return (int64_t)hint;
	if (flags & MAP_32BIT) {
		gap.low_limit = 0x40000000;
		gap.high_limit = 0x80000000;
		return vma_gap_bottomup(&mm->vmas, &gap);
	}
	int64_t found = vma_gap_topdown(&mm->vmas, &gap);
	if (found >= 0)
		return found;
	gap.low_limit = UNMAPPED_BASE(mm);
	gap.high_limit = mm->task_size;
	return vma_gap_bottomup(&mm->vmas, &gap);
}

bool may_expand_vm(const struct mm *mm, uint64_t nr_pages)
{
	return mm->total_vm_pages + nr_pages <= mm->as_limit_bytes >> PAGE_SHIFT;
}

int check_range(const struct mm *mm, gva_t start, uint64_t *length)
{
	if (start & ~PAGE_MASK || start > mm->task_size || *length > mm->task_size - start)
		return -EINVAL;
	*length = page_align_up(*length);
	return *length ? 0 : -EINVAL;
}
