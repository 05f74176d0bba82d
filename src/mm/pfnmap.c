/* SPDX-License-Identifier: MIT */
/* pfnmap.c - areas over a device's frames. See pfnmap.h. */
#include <errno.h>

#include "fault.h"
#include "pfnmap.h"

#define MAX_LEVEL 2u

/* What an area is that has no operations of its own: not anonymous, and nothing there is brought by a fault. */
static const struct vm_operations no_operations;

struct remap {
	struct vma *vma;
	gva_t at, end;
	pfn_t pfn;
};

static bool fits(const struct remap *r, unsigned int level)
{
	uint64_t span = 1ull << level_shift(level);

	return !((r->at | (r->pfn << PAGE_SHIFT)) & (span - 1)) && r->end - r->at >= span;
}

/*
 * The slot for the largest entry that may lie at r->at, with the tables above it, and its level. A table that an area before left there,
 * empty, stays in use. NULL: no memory.
 */
static pte_t *slot_for(const struct remap *r, unsigned int *level)
{
	for (*level = MAX_LEVEL;; --*level) {
		pte_t *slot = fits(r, *level) ? pgtable_alloc_level(&r->vma->mm->pgt, r->at, *level) : NULL;
		if (fits(r, *level) && (!slot || !*level || pte_none(pte_read(slot))))
			return slot;
	}
}

static void advance(struct remap *r, unsigned int level)
{
	r->at += 1ull << level_shift(level);
	r->pfn += 1ull << (level_shift(level) - PAGE_SHIFT);
}

/* Every table that the range needs; those that are there when memory runs out stay, empty. */
static int make_tables(struct remap r)
{
	for (unsigned int level; r.at < r.end; advance(&r, level))
		if (!slot_for(&r, &level))
			return -ENOMEM;
	return 0;
}

static void set_entries(struct remap r, uint64_t cache)
{
	uint64_t flags = vma_pte_flags(r.vma->flags) | PTE_SPECIAL | cache;

	if ((r.vma->flags & (VM_SHARED | VM_WRITE)) == (VM_SHARED | VM_WRITE))
		flags |= PTE_WRITE | PTE_DIRTY;
	for (unsigned int level; r.at < r.end; advance(&r, level)) {
		pte_t *slot = slot_for(&r, &level);
		pte_set(slot, pte_make(r.pfn, flags | (level ? PTE_HUGE : 0)));
	}
}

int remap_pfn_range(struct vma *vma, gva_t start, pfn_t pfn, uint64_t bytes, uint64_t cache)
{
	struct remap r = {vma, start, start + bytes, pfn};
	struct mm *mm = vma->mm;

	if ((start | bytes) & ~PAGE_MASK || !bytes || r.end < start || start < vma->start ||
	    r.end > vma->end || (cache & ~(PTE_PCD | PTE_PWT)))
		return -EINVAL;
	/* Which of its pages such an area has written copies of shows by their frames: those must be in a row. */
	if (is_cow_mapping(vma->flags) && (start != vma->start || r.end != vma->end))
		return -EINVAL;
	pthread_mutex_lock(&mm->page_table_lock);
	int err = make_tables(r);
	if (!err)
		set_entries(r, cache);
	pthread_mutex_unlock(&mm->page_table_lock);
	if (err)
		return err;
	if (is_cow_mapping(vma->flags))
		vma->pgoff = pfn;
	if (!vma->vm_ops)
		vma->vm_ops = &no_operations;
	vma->flags |= VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP;
	return 0;
}
