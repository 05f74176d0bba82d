/* SPDX-License-Identifier: MIT */
/*
 * mprotect.c - changing what may be done with a range.
 *
 * Areas change one after the other, as in Linux: when one of them refuses, those before it have changed. Within one area
 * nothing changes unless all of it can.
 */
#include <errno.h>

#include "area.h"
#include "fault.h"
#include "zap.h"

struct protect {
	struct gather gather;
	struct mm *mm;
	const struct vma *vma;
	uint64_t vm_flags;
};

/* A writable entry may be had without a fault when nobody else could notice the write. */
static bool may_write_now(const struct protect *p, const struct page *page)
{
	if (!(p->vm_flags & VM_WRITE))
		return false;
	if (p->vm_flags & VM_SHARED)
		return !vma_wants_mkwrite(p->vma) || page_written_freely(page);
	return page_anon(page) && atomic_load(&page->mapcount) == 1;
}

static pte_t protected_entry(const struct protect *p, pte_t old)
{
	pte_t keep = old & (PTE_PFN_MASK | PTE_ACCESSED | PTE_DIRTY | PTE_SPECIAL);

	if (!(p->vm_flags & VM_ACCESS_FLAGS))
		return old & PTE_SPECIAL ? 0 : keep | PTE_PROTNONE; /* the zero page comes back by a fault */
	if (!(old & PTE_SPECIAL) && may_write_now(p, pfn_to_page(p->mm->frames, pte_pfn(old))))
		keep |= PTE_WRITE;
	return keep | vma_pte_flags(p->vm_flags);
}

static bool gave_up_rights(pte_t old, pte_t new)
{
	if (!(old & PTE_PRESENT))
		return false;
	return !(new &PTE_PRESENT) || (pte_write(old) && !pte_write(new)) ||
	       (!(old & PTE_NX) && (new &PTE_NX));
}

static void protect_entry(void *ctx, pte_t *slot, gva_t address)
{
	struct protect *p = ctx;
	pte_t old = pte_read(slot), new;

	do /* a processor may set A or D meanwhile */
		new = protected_entry(p, old);
	while (!__atomic_compare_exchange_n(slot, &old, new, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
	if (gave_up_rights(old, new))
		gather_entry(&p->gather, slot, address);
}

static void change_protection(struct mm *mm, struct vma *vma)
{
	struct protect p = {.mm = mm, .vma = vma, .vm_flags = vma->flags};

	gather_begin(&p.gather, mm);
	pthread_mutex_lock(&mm->page_table_lock);
	pte_walk(mm, vma->start, vma->end, protect_entry, &p);
	pthread_mutex_unlock(&mm->page_table_lock);
	gather_end(&p.gather);
}

/* Gives the part of `vma` that lies in [start, end) the access flags; *next is where to go on. */
static int protect_area(struct mm *mm, struct vma *vma, gva_t start, gva_t end, uint64_t access,
			struct vma **next)
{
	struct spare_areas spare;

	start = max_u64(start, vma->start);
	end = min_u64(end, vma->end);
	*next = vma;
	if (access & ~(vma->flags >> 4) & VM_ACCESS_FLAGS) /* VM_MAYREAD is VM_READ << 4, and so on */
		return -EACCES;
	if ((vma->flags & VM_ACCESS_FLAGS) == access)
		return 0;
	unsigned int cuts = (start > vma->start) + (end < vma->end);
	if (mm->vmas.nr + cuts > mm->max_map_count || spare_get(mm, &spare, start, end))
		return -ENOMEM;
	if (start > vma->start)
		vma = area_split(mm, vma, start, &spare);
	if (end < vma->end)
		area_split(mm, vma, end, &spare);
	vma->flags = (vma->flags & ~(uint64_t)VM_ACCESS_FLAGS) | access;
	change_protection(mm, vma);
	*next = area_merge(mm, vma);
	return 0;
}

static int do_mprotect(struct mm *mm, gva_t start, gva_t end, uint64_t access)
{
	struct vma *vma = vma_find(&mm->vmas, start);

	if (!vma || vma->start > start)
		return -ENOMEM;
	for (;;) {
		int err = protect_area(mm, vma, start, end, access, &vma);
		if (err)
			return err;
		start = vma->end;
		if (start >= end)
			return 0;
		vma = vma->next;
		if (!vma || vma->start != start)
			return -ENOMEM;
	}
}

int mm_mprotect(struct mm *mm, gva_t start, uint64_t length, unsigned int prot)
{
	uint64_t access = prot_vm_flags(prot);
	gva_t end = start + page_align_up(length);

	if (start & ~PAGE_MASK || (prot & ~(PROT_BITS_READ | PROT_BITS_WRITE | PROT_BITS_EXEC)))
		return -EINVAL;
	if (!length)
		return 0;
	if (end <= start)
		return -ENOMEM;
	pthread_rwlock_wrlock(&mm->mmap_lock);
	int err = do_mprotect(mm, start, end, access);
	pthread_rwlock_unlock(&mm->mmap_lock);
	return err;
}
