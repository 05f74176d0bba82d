/* SPDX-License-Identifier: MIT */
/* area.c - the steps that operations on areas share. See area.h. mmap_lock is held for writing throughout. */
#include <errno.h>

#include "area.h"
#include "rmap.h"
#include "vma_lock.h"
#include "vma_merge.h"
#include "zap.h"

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

void area_leave(struct mm *mm, struct vma *vma)
{
	vma_write_lock(vma);
	vma_detach(vma);
	vma_unlink(&mm->vmas, vma);
}

void area_unlink(struct mm *mm, struct vma *vma)
{
	area_leave(mm, vma);
	vma_interval_remove(vma);
}

void area_resize(struct mm *mm, struct vma *vma, gva_t start, gva_t end)
{
	vma_write_lock(vma);
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

	vma_write_lock(vma);
	vma_copy(upper, vma);
	upper->start = address;
	upper->pgoff += (address - vma->start) >> PAGE_SHIFT;
	area_hold_mapping(upper);
	anon_vma_clone_spare(upper, vma, &s->chains);
	vma_interval_insert(upper);
	area_resize(mm, vma, vma->start, address);
	vma_link(&mm->vmas, upper);
	return upper;
}

struct vma *area_merge(struct mm *mm, struct vma *vma)
{
	struct vma_merge m = vma_merge_part(mm, vma, vma->start, vma->end, vma->flags);
	struct vma *merged = vma_merge(&m);

	return merged ? merged : vma;
}

/* A huge entry lies in one area: those that the borders of [start, end) would cut are split first. False: no memory. */
static bool split_huge_edges(struct vma *vma, gva_t start, gva_t end)
{
	struct mm *mm = vma->mm;
	struct gather g;

	if (vma->end - vma->start < PMD_SIZE || !((start | end) & ~PMD_MASK))
		return true;
	vma_write_lock(vma); /* or a fault makes another one */
	gather_begin(&g, mm);
	pthread_mutex_lock(&mm->page_table_lock);
	int err = pgtable_isolate(mm, start, end, ISOLATE_HUGE, &g);
	pthread_mutex_unlock(&mm->page_table_lock);
	gather_end(&g);
	return !err;
}

struct vma *area_modify(struct mm *mm, struct vma *vma, gva_t start, gva_t end, uint64_t flags)
{
	return area_change(mm, vma, start, end, (struct area_change){flags, vma->policy});
}

struct vma *area_change(struct mm *mm, struct vma *vma, gva_t start, gva_t end, struct area_change to)
{
	struct vma_merge m = vma_merge_part(mm, vma, start, end, to.flags);
	int64_t pages = (int64_t)((end - start) >> PAGE_SHIFT);
	uint64_t old_flags = vma->flags;

	m.like.policy = to.policy;
	if (!split_huge_edges(vma, start, end))
		return NULL;
	struct vma *merged = vma_merge(&m);

	if (!merged) {
		unsigned int cuts = (start > vma->start) + (end < vma->end);
		struct spare_areas spare;
		if (mm->vmas.nr + cuts > mm->max_map_count && cuts)
			return NULL;
		if (spare_get(mm, &spare, start, end))
			return NULL;
		if (start > vma->start)
			vma = area_split(mm, vma, start, &spare);
		if (end < vma->end)
			area_split(mm, vma, end, &spare);
		vma_write_lock(vma);
		__atomic_store_n(&vma->flags, to.flags, __ATOMIC_RELAXED); /* walks look */
		vma->policy = to.policy;
		merged = vma;
	}
	vm_stat_account(mm, old_flags, -pages);
	vm_stat_account(mm, to.flags, pages);
	return merged;
}

unsigned int area_cuts(const struct mm *mm, gva_t start, gva_t end)
{
	struct vma *first = vma_find(&mm->vmas, start), *last = vma_find(&mm->vmas, end - 1);

	return (first && first->start < start) + (last && last->start < end && last->end > end);
}

int area_may_cut(const struct vma *vma, gva_t start, gva_t end)
{
	int err = 0;

	if (!vma->vm_ops || !vma->vm_ops->may_split)
		return 0;
	if (start > vma->start)
		err = vma->vm_ops->may_split(vma, start);
	if (!err && end < vma->end)
		err = vma->vm_ops->may_split(vma, end);
	return err;
}

int area_may_unmap(const struct mm *mm, gva_t start, gva_t end)
{
	const struct vma *first = vma_find_intersection(&mm->vmas, start, end);

	if (first && first->start < start && first->end > end && mm->vmas.nr >= mm->max_map_count)
		return -ENOMEM;
	for (int err; first && first->start < end; first = first->next) {
		if (first->flags & VM_SEALED)
			return -EPERM;
		err = area_may_cut(first, start, end);
		if (err)
			return err;
	}
	return 0;
}

int area_unmap_prepare(struct mm *mm, gva_t start, gva_t end, struct spare_areas *s)
{
	struct vma *first = vma_find(&mm->vmas, start), *after = vma_find(&mm->vmas, end);
	const struct vma *prev = first ? first->prev : vma_last(&mm->vmas);
	struct zap_areas z = {start, end, prev ? prev->end : 0, after ? max_u64(after->start, end) : 0};
	int err = spare_get(mm, s, start, end);

	if (!err && first && first->start < end) {
		z.floor = first->start < start ? start : z.floor;
		err = zap_prepare(mm, &z);
		if (err)
			spare_put(mm, s);
	}
	return err;
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
		area_leave(mm, vma);
		vm_stat_account(mm, vma->flags, -(int64_t)vma_pages(vma));
		vma->next = doomed;
		doomed = vma;
		vma = next;
	}
	gather_begin(&g, mm);
	zap_areas(&g, &(struct zap_areas){start, end, prev ? prev->end : 0, vma ? vma->start : 0});
	gather_end(&g);
	while (doomed) {
		struct vma *next = doomed->next;
		vma_interval_remove(doomed);
		vma_free(mm, doomed);
		doomed = next;
	}
}

int check_range(const struct mm *mm, gva_t start, uint64_t *length)
{
	if (start & ~PAGE_MASK || start > mm->task_size || *length > mm->task_size - start)
		return -EINVAL;
	*length = page_align_up(*length);
	return *length ? 0 : -EINVAL;
}
