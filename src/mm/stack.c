/* SPDX-License-Identifier: MIT */
/* stack.c - areas that grow down: how far, and how close to others. mmap_lock is held for writing. */
#include "area.h"
#include "fault_internal.h"

static bool stack_may_grow(const struct mm *mm, const struct vma *vma, gva_t start)
{
	const struct vma *prev = vma->prev;

	if (start < mm->mmap_min_addr)
		return false;
	/* Another stack may come close; anything else that can be accessed keeps the guard gap. */
	if (prev && !(prev->flags & VM_GROWSDOWN) && (prev->flags & VM_ACCESS_FLAGS) &&
	    start < prev->end + STACK_GUARD_GAP)
		return false;
	return !prev || start >= prev->end;
}

/* Whether every limit lets a stack become `bytes` long by growing nr_pages. */
static bool acct_stack_growth(const struct mm *mm, const struct vma *vma, uint64_t bytes, uint64_t nr_pages)
{
	return may_expand_vm(mm, vma->flags, nr_pages) && bytes <= mm->stack_limit_bytes &&
	       mlock_future_ok(mm, vma->flags, nr_pages) &&
	       (!(vma->flags & VM_ACCOUNT) || vm_enough_memory(mm, nr_pages));
}

struct vma *mm_expand_stack(struct mm *mm, gva_t address)
{
	struct vma *vma = vma_find(&mm->vmas, address);
	gva_t start = page_align_down(address);

	if (!vma || vma->start <= address)
		return vma;
	uint64_t grow = (vma->start - start) >> PAGE_SHIFT;
	if (!(vma->flags & VM_GROWSDOWN) || !stack_may_grow(mm, vma, start))
		return NULL;
	if (grow > vma->pgoff || !acct_stack_growth(mm, vma, vma->end - start, grow))
		return NULL;
	area_resize(mm, vma, start, vma->end);
	vm_stat_account(mm, vma->flags, (int64_t)grow);
	fault_count(mm, FAULT_STACK_GROWTH);
	return vma; /* as Linux: it stays apart from what it may have come down to */
}
