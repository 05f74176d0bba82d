/* SPDX-License-Identifier: MIT */
/*
 * mprotect.c - changing what may be done with a range.
 *
 * Areas change one after the other, as in Linux: when one of them refuses, those before it have changed. Within one area
 * nothing changes unless all of it can.
 */
#include <errno.h>
#include <sys/mman.h>

#include "area.h"
#include "block.h"
#include "fault.h"
#include "gather.h"
#include "lock.h"
#include "pagewalk.h"
#include "populate.h"
#include "retry.h"
#include "rmap.h"

#define PROT_SEM_BIT 0x8u /* accepted, and without a meaning on x86 */

struct protect {
	struct gather gather;
	struct mm *mm;
	const struct vma *vma;
	uint64_t vm_flags;
};

/* A writable entry may be had without a fault when nobody else could notice the write. */
static bool may_write_now(const struct protect *p, pte_t old)
{
	if (!(p->vm_flags & VM_WRITE))
		return false;
	if (p->vm_flags & VM_SHARED)
		return (old & PTE_SPECIAL) || !vma_wants_mkwrite(p->vma) ||
		       page_written_freely(pfn_to_page(p->mm->frames, pte_pfn(old)));
	if (old & PTE_SPECIAL)
		return false;
	struct page *page = pfn_to_page(p->mm->frames, pte_pfn(old));
	return page_anon(page) && page_is_exclusive(p->mm->frames, page);
}

static bool is_zero_page(const struct protect *p, pte_t pte)
{
	return (pte & PTE_SPECIAL) && pte_pfn(pte) == page_to_pfn(p->mm->frames, p->mm->frames->zero_page);
}

static pte_t protected_entry(const struct protect *p, pte_t old, bool write)
{
	pte_t keep = old & (PTE_PFN_MASK | PTE_ACCESSED | PTE_DIRTY | PTE_SPECIAL | PTE_PCD | PTE_PWT);

	if (!pte_present(old))
		return entry_type(old) == ENTRY_MIGRATION ? old & ~ENTRY_WRITABLE : old;
	if (!(p->vm_flags & VM_ACCESS_FLAGS))
		return is_zero_page(p, old) ? 0
					    : keep | PTE_PROTNONE; /* the zero page comes back by a fault */
	return keep | vma_pte_flags(p->vm_flags) | (write ? PTE_WRITE : 0);
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
		new = protected_entry(p, old, pte_present(old) && may_write_now(p, old));
	while (!__atomic_compare_exchange_n(slot, &old, new, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
	if (gave_up_rights(old, new))
		gather_entry(&p->gather, slot, address);
}

/* Whether all of a block could be written is for a fault to find out; what could be written before still can. */
static void protect_huge(void *ctx, pte_t *slot, gva_t address, gva_t end, unsigned int level)
{
	struct protect *p = ctx;
	pte_t old = pte_read(slot), new;

	(void)end;
	bool device = (old & PTE_SPECIAL) && (p->vm_flags & VM_SHARED);
	do
		new = protected_entry(p, old, (p->vm_flags & VM_WRITE) && (device || pte_write(old))) |
		      PTE_HUGE;
	while (!__atomic_compare_exchange_n(slot, &old, new, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
	if (gave_up_rights(old, new))
		gather_entry_at(&p->gather, slot, address, level);
}

static void change_protection(struct vma *vma, gva_t start, gva_t end)
{
	static const struct pte_walk_ops ops = {.pte = protect_entry, .huge = protect_huge};
	struct protect p = {.mm = vma->mm, .vma = vma, .vm_flags = vma->flags};

	gather_begin(&p.gather, p.mm);
	pthread_mutex_lock(&p.mm->page_table_lock);
	pte_walk(p.mm, start, end, &ops, &p);
	pthread_mutex_unlock(&p.mm->page_table_lock);
	gather_end(&p.gather);
}

/* Every entry of the range becomes one that may be changed: 0 or -ENOMEM. */
static int own_entries(struct mm *mm, gva_t start, gva_t end)
{
	struct gather g;

	gather_begin(&g, mm);
	pthread_mutex_lock(&mm->page_table_lock);
	int err = pgtable_isolate(mm, start, end, ISOLATE_ALL, &g);
	pthread_mutex_unlock(&mm->page_table_lock);
	return err;
}

/* Whether nr_pages of an area may have other flags; a private area that becomes writable is promised its pages. */
static int charge_flags(const struct vma *vma, uint64_t *flags, uint64_t nr_pages)
{
	const struct mm *mm = vma->mm;
	uint64_t old = vma->flags;

	if (!(*flags & VM_WRITE)) {
		/* Pages that nobody ever wrote, and nobody may: the promise is given back. */
		if (vma_is_anonymous(vma) && !vma_anon_vma(vma))
			*flags &= ~VM_ACCOUNT;
		return 0;
	}
	/* What counts as data already may stay so, whatever the limit is now. */
	if (!may_expand_vm(mm, *flags, nr_pages) && may_expand_vm(mm, old, nr_pages))
		return -ENOMEM;
	if (old & (VM_ACCOUNT | VM_WRITE | VM_HUGETLB | VM_SHARED | VM_NORESERVE))
		return 0;
	if (!vm_enough_memory(mm, nr_pages))
		return -ENOMEM;
	*flags |= VM_ACCOUNT;
	return 0;
}

/* Gives the part of `vma` that lies in [start, end) the access flags; *next is the area that has it then. */
static int protect_area(struct vma *vma, gva_t start, gva_t end, uint64_t access, struct vma **next)
{
	uint64_t old = vma->flags, flags = (old & ~(uint64_t)VM_ACCESS_FLAGS) | access;

	*next = vma;
	if (access & ~(vma->flags >> 4) & VM_ACCESS_FLAGS) /* VM_MAYREAD is VM_READ << 4, and so on */
		return -EACCES;
	if (vma->flags & VM_SEALED)
		return -EPERM;
	if (vma->flags == flags)
		return 0;
	int err = charge_flags(vma, &flags, (end - start) >> PAGE_SHIFT);
	if (!err)
		err = area_may_cut(vma, start, end);
	if (err)
		return err;
	if (own_entries(vma->mm, start, end))
		return -ENOMEM;
	vma = area_modify(vma->mm, vma, start, end, flags);
	if (!vma)
		return -ENOMEM;
	change_protection(vma, start, end);
	/* Locked pages are had before they are touched, the area's own ones now that there can be such. */
	if ((old & (VM_WRITE | VM_SHARED | VM_LOCKED)) == VM_LOCKED && (access & VM_WRITE))
		populate_area(vma, start, end);
	*next = vma;
	return 0;
}

static int do_mprotect(struct mm *mm, gva_t start, gva_t end, uint64_t access, unsigned int grows)
{
	struct vma *vma = vma_find_intersection(&mm->vmas, start, end);

	if (!vma)
		return -ENOMEM;
	if (grows & PROT_GROWSDOWN) {
		start = vma->start;
		if (!(vma->flags & VM_GROWSDOWN))
			return -EINVAL;
	} else if (vma->start > start) {
		return -ENOMEM;
	} else if (grows) { /* no area grows up here */
		return -EINVAL;
	}
	while (start < end) {
		if (!vma || vma->start > start)
			return -ENOMEM;
		gva_t stop = min_u64(vma->end, end);
		int err = protect_area(vma, start, stop, access, &vma);
		if (err)
			return err;
		start = stop;
		vma = vma->end > stop ? vma : vma->next;
	}
	return 0;
}

int mm_mprotect(struct mm *mm, gva_t start, uint64_t length, unsigned int prot)
{
	unsigned int grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
	uint64_t access = prot_vm_flags(prot);
	gva_t end = start + page_align_up(length);

	if (grows == (PROT_GROWSDOWN | PROT_GROWSUP) || start & ~PAGE_MASK)
		return -EINVAL;
	if (!length)
		return 0;
	if (end <= start)
		return -ENOMEM;
	if (prot & ~(grows | PROT_BITS_READ | PROT_BITS_WRITE | PROT_BITS_EXEC | PROT_SEM_BIT))
		return -EINVAL;
	struct retry retry = retry_begin(mm->host, mm->memcg);
	int err;
	do {
		mm_write_lock(mm);
		err = do_mprotect(mm, start, end, access, grows);
		mm_write_unlock(mm);
	} while (retry_with_room(&retry, err));
	return err;
}
