/* SPDX-License-Identifier: MIT */
/*
 * fork.c - a space like another: the same areas, the same contents.
 *
 * Areas are mapped in the child as their first mapping was, so that shared objects and files are shared. What the parent has
 * written to private areas is copied at once. The parent is read and never changed.
 * Locking: the parent's mmap_lock for reading throughout; its page_table_lock for each page.
 */
#include <errno.h>
#include <sys/mman.h>

#include "fault.h"
#include "mm.h"
#include "pgtable.h"

/* What a child's area has besides its access. */
#define INHERITED (VM_GROWSDOWN | VM_DONTDUMP | VM_WIPEONFORK | VM_SEQ_READ | VM_RAND_READ | VM_NORESERVE)

static unsigned int area_prot(const struct vma *vma)
{
	return (vma->flags & VM_READ ? PROT_BITS_READ : 0) | (vma->flags & VM_WRITE ? PROT_BITS_WRITE : 0) |
	       (vma->flags & VM_EXEC ? PROT_BITS_EXEC : 0);
}

static int map_like(struct mm *child, const struct vma *vma, unsigned int prot)
{
	bool shared = vma->flags & VM_SHARED;
	const struct mmap_request r = {
		.address = vma->start,
		.length = vma->end - vma->start,
		.prot = prot,
		.flags = MAP_FIXED | (shared ? MAP_SHARED : MAP_PRIVATE) | (vma->file ? 0 : MAP_ANONYMOUS),
		.file = vma->file,
		.pgoff = vma->pgoff,
		.may_not_write = shared && !(vma->flags & VM_MAYWRITE),
		.name = vma->name,
		.extra_flags = vma->flags & INHERITED,
		.vm_ops = vma->private_data ? vma->vm_ops : NULL,
		.private_data = vma->private_data,
	};
	int64_t ret = mm_mmap(child, &r);

	return ret < 0 ? (int)ret : 0;
}

/* The bytes of a page that the parent has of its own. False: it has none there. */
static bool read_own_page(struct mm *parent, gva_t address, char *bytes)
{
	const pte_t *slot;
	bool own = false;
	pte_t pte;

	pthread_mutex_lock(&parent->page_table_lock);
	slot = pgtable_find(&parent->pgt, address);
	pte = slot ? pte_read(slot) : 0;
	if (slot && pte_present(pte) && !(pte & PTE_SPECIAL)) {
		struct page *page = pfn_to_page(parent->frames, pte_pfn(pte));
		own = page_anon(page);
		if (own)
			memcpy(bytes, page_address(parent->frames, page), PAGE_SIZE);
	}
	pthread_mutex_unlock(&parent->page_table_lock);
	return own;
}

static int copy_pages(struct mm *parent, struct mm *child, const struct vma *vma)
{
	char bytes[PAGE_SIZE];

	for (gva_t at = vma->start; at < vma->end; at += PAGE_SIZE) {
		if (at % (PAGE_SIZE * PTRS_PER_TABLE) == 0 || at == vma->start)
			while (at < vma->end && !pgtable_find(&parent->pgt, at))
				at = (at | (PAGE_SIZE * PTRS_PER_TABLE - 1)) + 1;
		if (at >= vma->end)
			break;
		if (read_own_page(parent, at, bytes) && copy_to_user(child, at, bytes, PAGE_SIZE))
			return -ENOMEM;
	}
	return 0;
}

static int copy_area(struct mm *parent, struct mm *child, const struct vma *vma)
{
	bool copied = !(vma->flags & (VM_SHARED | VM_WIPEONFORK));
	unsigned int prot = area_prot(vma);
	unsigned int first = copied ? PROT_BITS_READ | PROT_BITS_WRITE : prot;
	int err = map_like(child, vma, first);

	if (!err && copied)
		err = copy_pages(parent, child, vma);
	if (!err && first != prot)
		err = mm_mprotect(child, vma->start, vma->end - vma->start, prot);
	return err;
}

static void copy_settings(const struct mm *parent, struct mm *child)
{
	child->mmap_base = parent->mmap_base;
	child->start_code = parent->start_code;
	child->end_code = parent->end_code;
	child->start_data = parent->start_data;
	child->end_data = parent->end_data;
	child->start_brk = parent->start_brk;
	child->brk = parent->brk;
	child->start_stack = parent->start_stack;
	child->arg_start = parent->arg_start;
	child->arg_end = parent->arg_end;
	child->env_start = parent->env_start;
	child->env_end = parent->env_end;
	memcpy(child->saved_auxv, parent->saved_auxv, sizeof(child->saved_auxv));
	child->nr_auxv_words = parent->nr_auxv_words;
	child->get_unmapped_area = parent->get_unmapped_area;
	child->stack_limit_bytes = parent->stack_limit_bytes;
	child->as_limit_bytes = parent->as_limit_bytes;
	child->data_limit_bytes = parent->data_limit_bytes;
	child->memlock_limit_bytes = parent->memlock_limit_bytes;
	child->privileged = parent->privileged;
	child->mmap_min_addr = parent->mmap_min_addr;
	child->max_map_count = parent->max_map_count;
	child->fault_around_pages = parent->fault_around_pages;
}

int mm_fork(struct mm *parent, struct mm **result)
{
	struct mm *child = mm_create_in(parent->host, parent->memcg);
	const struct vma *vma;
	int err = 0;

	if (!child)
		return -ENOMEM;
	copy_settings(parent, child);
	pthread_rwlock_rdlock(&parent->mmap_lock);
	vma_for_each (vma, &parent->vmas) {
		if (!err && !(vma->flags & VM_DONTCOPY))
			err = copy_area(parent, child, vma);
	}
	pthread_rwlock_unlock(&parent->mmap_lock);
	if (err)
		mmput(child);
	else
		*result = child;
	return err ? -ENOMEM : 0;
}
