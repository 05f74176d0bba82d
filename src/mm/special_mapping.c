/* SPDX-License-Identifier: MIT */
/* special_mapping.c - see special_mapping.h. */
#include <errno.h>

#include "area.h"
#include "fault_internal.h"
#include "lock.h"
#include "retry.h"
#include "special_mapping.h"
#include "unmapped_area.h"

static pte_t special_entry(const struct special_mapping *s, uint64_t vm_flags, uint64_t page)
{
	uint64_t rights = vm_flags & VM_ACCESS_FLAGS ? vma_pte_flags(vm_flags) : PTE_ACCESSED | PTE_PROTNONE;

	return pte_make(s->pfn + page, rights | PTE_SPECIAL);
}

/* After a MADV_DONTNEED. Never writable: a write comes again, to be given a copy. */
static enum vm_fault_result special_fault(struct vm_fault *vmf)
{
	const struct special_mapping *s = vmf->vma->private_data;
	struct fault *f = container_of(vmf, struct fault, vmf);
	uint64_t page = (f->address - f->vma->start) >> PAGE_SHIFT;

	if (page >= s->nr_frames)
		return VM_FAULT_SIGBUS;
	pthread_mutex_lock(&f->mm->page_table_lock);
	if (pte_none(pte_read(f->slot)))
		pte_set(f->slot, special_entry(s, f->vma->flags, page));
	pthread_mutex_unlock(&f->mm->page_table_lock);
	return VM_FAULT_DONE;
}

static int special_may_split(const struct vma *vma, gva_t address)
{
	(void)vma;
	(void)address;
	return -EINVAL;
}

static const struct vm_operations special_vm_ops = {.fault = special_fault, .may_split = special_may_split};

static int fill_entries(struct vma *vma, struct gather *g)
{
	const struct special_mapping *s = vma->private_data;

	for (uint64_t i = 0; i < s->nr_frames; i++) {
		pte_t *slot = pgtable_own(vma->mm, vma->start + (i << PAGE_SHIFT), g);
		if (!slot)
			return -ENOMEM;
		pte_set(slot, special_entry(s, vma->flags, i));
	}
	return 0;
}

/* A new area with its entries, linked; 0 or -ENOMEM. */
static int install(struct mm *mm, gva_t at, const struct special_mapping *s)
{
	struct vma *vma = kmem_cache_alloc(&mm->host->vma_cache);
	struct gather g;

	if (!vma)
		return -ENOMEM;
	*vma = (struct vma){
		.start = at,
		.end = at + (s->nr_pages << PAGE_SHIFT),
		.flags = s->vm_flags | VM_DONTEXPAND,
		.mm = mm,
		.pgoff = at >> PAGE_SHIFT,
		.vm_ops = &special_vm_ops,
		.private_data = (void *)(uintptr_t)s,
		.name = s->name,
	};
	list_init(&vma->anon_vma_chain);
	area_link(mm, vma);
	vm_stat_account(mm, vma->flags, (int64_t)s->nr_pages);
	gather_begin(&g, mm);
	pthread_mutex_lock(&mm->page_table_lock);
	int err = fill_entries(vma, &g);
	gather_end(&g);
	pthread_mutex_unlock(&mm->page_table_lock);
	return err;
}

/* What was linked so far goes again: areas at whose edges nothing has to be cut. */
static void uninstall(struct mm *mm, gva_t start, gva_t end)
{
	struct spare_areas none;

	spare_none(&none);
	area_unmap(mm, start, end, &none);
}

static int64_t install_locked(struct mm *mm, const struct special_mapping *s, unsigned int nr)
{
	struct unmapped_request u = {0};
	int err = 0;

	for (unsigned int i = 0; i < nr; i++)
		u.length += s[i].nr_pages << PAGE_SHIFT;
	int64_t start = get_unmapped_area(mm, &u);
	if (start < 0)
		return start;
	/* At most as many areas as this are made where there was none. */
	if (!may_expand_vm(mm, s->vm_flags, u.length >> PAGE_SHIFT))
		return -ENOMEM;
	gva_t at = (gva_t)start;
	for (unsigned int i = 0; i < nr && !err; i++) {
		err = install(mm, at, &s[i]);
		at += s[i].nr_pages << PAGE_SHIFT;
	}
	if (err)
		uninstall(mm, (gva_t)start, at);
	return err ? err : start;
}

int64_t install_special_mappings(struct mm *mm, const struct special_mapping *s, unsigned int nr)
{
	struct retry retry = retry_begin(mm->host, mm->memcg);
	int64_t start;

	do {
		mm_write_lock(mm);
		start = install_locked(mm, s, nr);
		mm_write_unlock(mm);
	} while (retry_with_room(&retry, start));
	return start;
}

int install_special_mapping_at(struct mm *mm, const struct special_mapping *s, gva_t at)
{
	uint64_t bytes = s->nr_pages << PAGE_SHIFT;

	mm_write_lock(mm);
	int err = vma_find_intersection(&mm->vmas, at, at + bytes) ? -ENOMEM : install(mm, at, s);
	if (err && vma_find_intersection(&mm->vmas, at, at + bytes))
		uninstall(mm, at, at + bytes);
	mm_write_unlock(mm);
	return err;
}
