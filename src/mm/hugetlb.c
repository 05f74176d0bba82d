/* SPDX-License-Identifier: MIT */
/* hugetlb.c - areas of 2 MiB pages. See hugetlb.h. */
#include "hugetlb.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "anon_vma.h"
#include "block.h"
#include "fault_internal.h"
#include "hugetlb_object.h"
#include "i_mmap.h"
#include "unmapped_area.h"

static struct hugetlb_object *object_of(const struct vma *vma)
{
	return container_of(vma->file, struct hugetlb_object, backing);
}

static uint64_t index_of(const struct vma *vma, gva_t address)
{
	return vma_linear_index(vma, address) / BLOCK_PAGES;
}

static bool may_use_promises(const struct vma *vma)
{
	return (vma->flags & VM_MAYSHARE) || object_of(vma)->owner == vma->mm;
}

void hugetlb_restore(struct vma *vma, gva_t start, gva_t end)
{
	struct hugetlb_object *h = object_of(vma);

	if (!h->reserves || (vma->flags & VM_MAYSHARE) || h->owner != vma->mm)
		return;
	/* One that is promised still stays so; and there may be no more. */
	for (; start < end; start += PMD_SIZE)
		hugetlb_object_reserve(h, index_of(vma, start), 1);
}

/* --- blocks --------------------------------------------------------------------------------------------------------------- */

static struct page *take_block(struct vma *vma, uint64_t index)
{
	struct hugetlb_object *h = object_of(vma);
	bool promised = may_use_promises(vma) && hugetlb_object_use(h, index);
	struct page *head = hugetlb_pool_take(h->frames, h->memcg, promised);

	if (!head && promised)
		hugetlb_object_unuse(h, index);
	return head;
}

static struct page *make_own(struct vma *vma, gva_t address, struct page *head)
{
	for (unsigned int i = 0; i < BLOCK_PAGES; i++)
		page_set_anon(&head[i], vma_anon_vma(vma),
			      vma_linear_index(vma, address + ((gva_t)i << PAGE_SHIFT)));
	block_make(head);
	return head;
}

struct page *hugetlb_copy(struct vma *vma, gva_t address, const struct page *from)
{
	struct frames *f = vma->mm->frames;
	struct page *head = take_block(vma, index_of(vma, address));

	if (!head)
		return NULL;
	memcpy(page_address(f, head), page_address(f, from), PMD_SIZE);
	return make_own(vma, address, head);
}

static struct page *new_block(struct vma *vma, gva_t address)
{
	struct page *head = take_block(vma, index_of(vma, address));

	if (!head)
		return NULL;
	memset(page_address(vma->mm->frames, head), 0, PMD_SIZE);
	return make_own(vma, address, head);
}

/* With a use for the entry that is about to map it. */
static struct page *shared_block(struct vma *vma, gva_t address)
{
	struct hugetlb_object *h = object_of(vma);
	uint64_t index = index_of(vma, address);
	struct page *head = hugetlb_object_find(h, index);

	if (head || !hugetlb_object_has(h, index))
		return head;
	head = take_block(vma, index);
	if (!head)
		return NULL;
	memset(page_address(h->frames, head), 0, PMD_SIZE);
	return hugetlb_object_add(h, index, head);
}

/* --- faults ----------------------------------------------------------------------------------------------------------------- */

struct huge_fault {
	struct vma *vma;
	struct mm *mm;
	gva_t address;
	bool write;
	pte_t *slot;
	struct gather gather;
};

static void install(struct huge_fault *f, struct page *head, bool write)
{
	uint64_t flags = vma_pte_flags(f->vma->flags) | PTE_HUGE;

	if (write && (f->vma->flags & VM_WRITE))
		flags |= PTE_WRITE | PTE_DIRTY;
	pte_set(f->slot, pte_make(page_to_pfn(f->mm->frames, head), flags));
}

/* Private: a block of the area's own, or, to be read only, that of the file below. */
static struct page *private_block(struct huge_fault *f, bool *write)
{
	struct hugetlb_object *below = object_of(f->vma)->below;
	uint64_t index = index_of(f->vma, f->address);
	struct page *head = below ? hugetlb_object_find(below, index) : NULL;

	if (below && !hugetlb_object_has(below, index))
		return NULL;
	*write = f->write;
	if (!head)
		return new_block(f->vma, f->address);
	if (!f->write)
		return head;
	struct page *copy = hugetlb_copy(f->vma, f->address, head);
	block_put(f->mm->frames, head);
	return copy;
}

static enum vm_fault_result no_page(struct huge_fault *f)
{
	bool write = true;
	struct page *head =
		f->vma->flags & VM_MAYSHARE ? shared_block(f->vma, f->address) : private_block(f, &write);

	if (!head)
		return VM_FAULT_SIGBUS;
	install(f, head, write);
	atomic_fetch_add(&f->mm->rss[MM_HUGETLBPAGES], BLOCK_PAGES);
	return VM_FAULT_DONE;
}

/* Only this entry maps it. */
static bool is_own(const struct page *head)
{
	return page_anon(head) && atomic_load(&head->block_mapcount) == 1;
}

static enum vm_fault_result wp(struct huge_fault *f, pte_t entry)
{
	struct page *old = pfn_to_page(f->mm->frames, pte_pfn(entry));

	if ((f->vma->flags & VM_MAYSHARE) || is_own(old)) {
		__atomic_fetch_or(f->slot,
				  (f->vma->flags & VM_WRITE ? PTE_WRITE : 0) | PTE_DIRTY | PTE_ACCESSED,
				  __ATOMIC_ACQ_REL);
		return VM_FAULT_DONE;
	}
	struct page *copy = hugetlb_copy(f->vma, f->address, old);
	if (!copy)
		return VM_FAULT_SIGBUS;
	pte_exchange(f->slot, 0);
	gather_entry_at(&f->gather, f->slot, f->address, 1);
	gather_block(&f->gather, old);
	gather_flush(&f->gather);
	install(f, copy, true);
	return VM_FAULT_DONE;
}

static enum vm_fault_result fault_locked(struct huge_fault *f)
{
	f->slot = pgtable_alloc_pmd(&f->mm->pgt, f->address);
	if (!f->slot)
		return VM_FAULT_OOM;
	pte_t entry = pte_read(f->slot);
	if (pte_none(entry))
		return no_page(f);
	if (f->write && !pte_write(entry))
		return wp(f, entry);
	__atomic_fetch_or(f->slot, PTE_ACCESSED | (f->write ? PTE_DIRTY : 0), __ATOMIC_ACQ_REL);
	return VM_FAULT_DONE;
}

enum vm_fault_result hugetlb_fault(struct vma *vma, gva_t address, unsigned int flags)
{
	struct huge_fault f = {.vma = vma,
			       .mm = vma->mm,
			       .address = address & PMD_MASK,
			       .write = flags & FAULT_FLAG_WRITE};

	if (!(vma->flags & VM_MAYSHARE) && anon_vma_prepare(vma))
		return VM_FAULT_OOM;
	gather_begin(&f.gather, f.mm);
	pthread_mutex_lock(&f.mm->page_table_lock);
	enum vm_fault_result r = fault_locked(&f);
	gather_end(&f.gather);
	pthread_mutex_unlock(&f.mm->page_table_lock);
	if (r == VM_FAULT_DONE)
		atomic_fetch_add_explicit(&f.mm->min_flt, 1, memory_order_relaxed);
	return r;
}

/* --- areas ------------------------------------------------------------------------------------------------------------------ */

static bool is_owners(const struct vma *vma)
{
	return !(vma->flags & VM_MAYSHARE) && object_of(vma)->owner == vma->mm;
}

static void hugetlb_open(struct vma *vma)
{
	if (is_owners(vma))
		object_of(vma)->owner_areas++;
}

/* While an area moves, two of the space show the same pages for a moment; the one that stays keeps the promises. */
static bool shown_elsewhere(const struct vma *vma)
{
	struct address_space *as = vma->mapping;
	struct interval_node *node;
	bool found = false;

	pthread_mutex_lock(&as->i_mmap_lock);
	interval_tree_for_each(node, &as->i_mmap, vma->pgoff, vma->pgoff + vma_pages(vma) - 1)
	{
		const struct vma *other = list_entry(node, struct vma, shared);
		found |= other != vma && other->mm == vma->mm && other->file == vma->file;
	}
	pthread_mutex_unlock(&as->i_mmap_lock);
	return found;
}

static void hugetlb_close(struct vma *vma)
{
	struct hugetlb_object *h = object_of(vma);

	if (!is_owners(vma))
		return;
	if (!shown_elsewhere(vma))
		hugetlb_object_drop(h, index_of(vma, vma->start), vma_pages(vma) / BLOCK_PAGES);
	if (!--h->owner_areas)
		h->owner = NULL;
}

static int hugetlb_may_split(const struct vma *vma, gva_t address)
{
	(void)vma;
	return address & ~PMD_MASK ? -EINVAL : 0;
}

static uint64_t hugetlb_pagesize(const struct vma *vma)
{
	(void)vma;
	return PMD_SIZE;
}

const struct vm_operations hugetlb_vm_ops = {
	.open = hugetlb_open,
	.close = hugetlb_close,
	.may_split = hugetlb_may_split,
	.pagesize = hugetlb_pagesize,
};

/* --- mappings --------------------------------------------------------------------------------------------------------------- */

static int promise(struct hugetlb_object *h, const struct vma *vma)
{
	if (vma->flags & VM_NORESERVE)
		return 0;
	return hugetlb_object_reserve(h, vma->pgoff / BLOCK_PAGES, vma_pages(vma) / BLOCK_PAGES);
}

/* The object of a private mapping takes the place of the file in its area, which stays in the file's i_mmap. */
static int map_private(struct hugetlb_object *file, struct vma *vma)
{
	struct hugetlb_object *h = hugetlb_object_over(file);
	int err = h ? promise(h, vma) : -ENOMEM;

	if (err) {
		if (h)
			backing_put(&h->backing);
		return err;
	}
	h->reserves = !(vma->flags & VM_NORESERVE);
	h->owner = vma->mm;
	h->owner_areas = 1;
	backing_put(vma->file);
	vma->file = &h->backing;
	return 0;
}

int hugetlb_file_mmap(struct backing *b, struct vma *vma)
{
	struct hugetlb_object *h = hugetlb_object_of(b);
	int err = vma->flags & VM_MAYSHARE ? promise(h, vma) : map_private(h, vma);

	if (err)
		return err;
	if (vma->flags & VM_WRITE)
		hugetlb_object_extend(h, (vma->pgoff + vma_pages(vma)) << PAGE_SHIFT);
	vma->vm_ops = &hugetlb_vm_ops;
	return 0;
}

/* As a search without alignment, for as much more as finds an aligned place in what it found. */
int64_t hugetlb_get_unmapped_area(struct backing *b, struct mm *mm, const struct unmapped_request *r)
{
	struct unmapped_request padded = *r;

	(void)b;
	padded.address = 0;
	if (r->address) {
		gva_t hint = (r->address + PMD_SIZE - 1) & PMD_MASK;
		if (hint <= mm->task_size - r->length &&
		    !vma_find_intersection(&mm->vmas, hint, hint + r->length))
			return (int64_t)hint;
	}
	padded.length += PMD_SIZE - PAGE_SIZE;
	int64_t at = mm->get_unmapped_area(mm, &padded);
	return at < 0 ? at : (int64_t)(((gva_t)at + PMD_SIZE - PAGE_SIZE) & PMD_MASK);
}

int64_t hugetlb_mmap(struct mm *mm, const struct mmap_request *request)
{
	struct mmap_request r = *request;
	struct hugetlb_object *anonymous = NULL;

	r.length = (r.length + PMD_SIZE - 1) & PMD_MASK;
	if (!r.length || (r.pgoff & (BLOCK_PAGES - 1)) ||
	    ((r.flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) && (r.address & ~PMD_MASK)))
		return -EINVAL;
	if (!r.file) {
		anonymous =
			hugetlb_object_create(mm->host, mm->memcg, (r.pgoff << PAGE_SHIFT) + r.length, NULL);
		if (!anonymous)
			return -ENOMEM;
		r.file = &anonymous->backing;
	}
	r.extra_flags |= VM_HUGETLB | VM_DONTEXPAND;
	if (r.flags & MAP_NORESERVE)
		r.extra_flags |= VM_NORESERVE;
	int64_t at = mm_mmap(mm, &r);
	if (anonymous)
		backing_put(&anonymous->backing);
	return at;
}
