/* SPDX-License-Identifier: MIT */
/* hugetlb.c - areas of 2 MiB pages. See hugetlb.h. */
#include "hugetlb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "anon_vma.h"
#include "block.h"
#include "fault_internal.h"
#include "i_mmap.h"
#include "radix.h"
#include "unmapped_area.h"

#define HUGETLB_PATH "/anon_hugepage (deleted)"

struct hugetlb {
	struct backing backing;
	struct frames *frames;
	struct memcg *memcg; /* whose pool; one reference */
	uint64_t first, nr;  /* (C) indices of 2 MiB pages */
	const struct mm
		*owner; /* (mmap_lock of it) of a private object: who has the reservations; NULL: gone */
	unsigned int owner_areas; /* likewise */
	pthread_mutex_t lock;
	uint64_t *reserved;	  /* (lock) a bit for each page; NULL: no reservations */
	struct radix_tree blocks; /* (lock) of a shared object */
};

static struct hugetlb *hugetlb_of(const struct vma *vma)
{
	return vma->private_data;
}

static uint64_t index_of(const struct vma *vma, gva_t address)
{
	return vma_linear_index(vma, address) / BLOCK_PAGES;
}

/* --- reservations --------------------------------------------------------------------------------------------------------- */

/* Clears the bit of a page; true: it was set. */
static bool take_bit(struct hugetlb *h, uint64_t index)
{
	uint64_t at = index - h->first, bit = 1ull << (at % 64);
	bool was = false;

	pthread_mutex_lock(&h->lock);
	if (h->reserved && at < h->nr) {
		was = h->reserved[at / 64] & bit;
		h->reserved[at / 64] &= ~bit;
	}
	pthread_mutex_unlock(&h->lock);
	return was;
}

static void set_bit(struct hugetlb *h, uint64_t index)
{
	uint64_t at = index - h->first;

	pthread_mutex_lock(&h->lock);
	h->reserved[at / 64] |= 1ull << (at % 64);
	pthread_mutex_unlock(&h->lock);
}

static void drop_bits(struct hugetlb *h, uint64_t first, uint64_t nr)
{
	uint64_t dropped = 0;

	for (uint64_t i = 0; i < nr && h->reserved; i++)
		dropped += take_bit(h, first + i);
	if (dropped)
		hugetlb_pool_unreserve(h->frames, h->memcg, dropped);
}

static bool may_use_reservations(const struct vma *vma)
{
	return (vma->flags & VM_SHARED) || hugetlb_of(vma)->owner == vma->mm;
}

static int reserve_all(struct hugetlb *h)
{
	int err = hugetlb_pool_reserve(h->frames, h->memcg, h->nr);

	if (err)
		return err;
	h->reserved = calloc((h->nr + 63) / 64, sizeof(*h->reserved));
	if (!h->reserved) {
		hugetlb_pool_unreserve(h->frames, h->memcg, h->nr);
		return -ENOMEM;
	}
	for (uint64_t i = 0; i < h->nr; i++)
		set_bit(h, h->first + i);
	return 0;
}

void hugetlb_restore(struct vma *vma, gva_t start, gva_t end)
{
	struct hugetlb *h = hugetlb_of(vma);

	if (!h->reserved || (vma->flags & VM_SHARED) || h->owner != vma->mm)
		return;
	for (; start < end; start += PMD_SIZE) {
		bool had = take_bit(h, index_of(vma, start));
		if (had || !hugetlb_pool_reserve(h->frames, h->memcg, 1))
			set_bit(h, index_of(vma, start));
	}
}

/* --- blocks --------------------------------------------------------------------------------------------------------------- */

static struct page *take_block(struct vma *vma, uint64_t index)
{
	struct hugetlb *h = hugetlb_of(vma);
	bool reserved = may_use_reservations(vma) && take_bit(h, index);
	struct page *head = hugetlb_pool_take(h->frames, h->memcg, reserved);

	if (!head && reserved)
		set_bit(h, index);
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
	struct page *head = hugetlb_pool_take(f, hugetlb_of(vma)->memcg, false);

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

static struct page *find_shared(struct hugetlb *h, uint64_t index)
{
	pthread_mutex_lock(&h->lock);
	struct page *head = radix_find(&h->blocks, index);
	pthread_mutex_unlock(&h->lock);
	return head;
}

/* Puts a cleared block into the object, unless another space was faster: whose it is then. NULL: no memory for the index. */
static struct page *publish(struct hugetlb *h, uint64_t index, struct page *head)
{
	for (unsigned int i = 0; i < BLOCK_PAGES; i++) {
		head[i].index = index * BLOCK_PAGES + i;
		__atomic_store_n(&head[i].mapping, &h->backing.cache, __ATOMIC_RELEASE);
	}
	pthread_mutex_lock(&h->lock);
	struct page *there = radix_find(&h->blocks, index);
	if (!there && !radix_insert(&h->blocks, index, head)) {
		block_make(head); /* the object is its first user */
		there = head;
	}
	pthread_mutex_unlock(&h->lock);
	if (there != head)
		hugetlb_pool_put(h->frames, head);
	return there;
}

/* With a use for the entry that is about to map it. */
static struct page *shared_block(struct vma *vma, gva_t address)
{
	struct hugetlb *h = hugetlb_of(vma);
	uint64_t index = index_of(vma, address);
	struct page *head = find_shared(h, index);

	if (!head) {
		head = take_block(vma, index);
		if (!head)
			return NULL;
		memset(page_address(h->frames, head), 0, PMD_SIZE);
		head = publish(h, index, head);
	}
	if (head)
		block_get(head);
	return head;
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

static enum vm_fault_result no_page(struct huge_fault *f)
{
	bool shared = f->vma->flags & VM_SHARED;
	struct page *head = shared ? shared_block(f->vma, f->address) : new_block(f->vma, f->address);

	if (!head)
		return VM_FAULT_SIGBUS;
	install(f, head, shared || f->write);
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

	if ((f->vma->flags & VM_SHARED) || is_own(old)) {
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

	if (!(vma->flags & VM_SHARED) && anon_vma_prepare(vma))
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
	return !(vma->flags & VM_SHARED) && hugetlb_of(vma)->owner == vma->mm;
}

static void hugetlb_open(struct vma *vma)
{
	if (is_owners(vma))
		hugetlb_of(vma)->owner_areas++;
}

/* While an area moves, two of the space show the same pages for a moment; the one that stays keeps the reservations. */
static bool shown_elsewhere(const struct vma *vma)
{
	struct address_space *as = vma->mapping;
	struct interval_node *node;
	bool found = false;

	pthread_mutex_lock(&as->i_mmap_lock);
	interval_tree_for_each(node, &as->i_mmap, vma->pgoff, vma->pgoff + vma_pages(vma) - 1)
	{
		const struct vma *other = list_entry(node, struct vma, shared);
		found |= other != vma && other->mm == vma->mm;
	}
	pthread_mutex_unlock(&as->i_mmap_lock);
	return found;
}

static void hugetlb_close(struct vma *vma)
{
	struct hugetlb *h = hugetlb_of(vma);

	if (!is_owners(vma))
		return;
	if (!shown_elsewhere(vma))
		drop_bits(h, index_of(vma, vma->start), vma_pages(vma) / BLOCK_PAGES);
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

static const struct vm_operations hugetlb_vm_ops = {
	.open = hugetlb_open,
	.close = hugetlb_close,
	.may_split = hugetlb_may_split,
	.pagesize = hugetlb_pagesize,
};

/* --- the object ------------------------------------------------------------------------------------------------------------- */

static int hugetlb_ops_mmap(struct backing *b, struct vma *vma)
{
	struct hugetlb *h = container_of(b, struct hugetlb, backing);
	int err = vma->flags & VM_NORESERVE ? 0 : reserve_all(h);

	if (err)
		return err;
	vma->vm_ops = &hugetlb_vm_ops;
	vma->private_data = h;
	if (!(vma->flags & VM_SHARED)) {
		h->owner = vma->mm;
		h->owner_areas = 1;
	}
	return 0;
}

static int64_t hugetlb_ops_size(struct backing *b)
{
	const struct hugetlb *h = container_of(b, struct hugetlb, backing);

	return (int64_t)((h->first + h->nr) * PMD_SIZE);
}

static void hugetlb_ops_release(struct backing *b)
{
	struct hugetlb *h = container_of(b, struct hugetlb, backing);
	uint64_t index = 0;
	struct page *head;

	while ((head = radix_next(&h->blocks, &index))) {
		radix_remove(&h->blocks, index);
		block_put(h->frames, head);
	}
	drop_bits(h, h->first, h->nr);
	memcg_put(h->memcg);
	pthread_mutex_destroy(&h->lock);
	free(h->reserved);
	free(h);
}

/* As a search without alignment, for as much more as finds an aligned place in what it found. */
static int64_t hugetlb_get_unmapped_area(struct backing *b, struct mm *mm, const struct unmapped_request *r)
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

static const struct backing_ops hugetlb_ops = {
	.size = hugetlb_ops_size,
	.release = hugetlb_ops_release,
	.mmap = hugetlb_ops_mmap,
	.get_unmapped_area = hugetlb_get_unmapped_area,
};

static struct hugetlb *hugetlb_create(struct mm *mm, uint64_t bytes, uint64_t pgoff)
{
	struct hugetlb *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	backing_init(&h->backing, mm->host, &hugetlb_ops);
	h->backing.dev = makedev(0, 15);
	h->backing.ino = atomic_fetch_add(&mm->host->shmem_ino, 1) + 1;
	h->backing.path = HUGETLB_PATH;
	h->frames = mm->frames;
	h->memcg = mm->memcg;
	memcg_get(h->memcg);
	h->first = pgoff / BLOCK_PAGES;
	h->nr = bytes / PMD_SIZE;
	pthread_mutex_init(&h->lock, NULL);
	radix_init(&h->blocks, &mm->host->node_cache);
	return h;
}

int64_t hugetlb_mmap(struct mm *mm, const struct mmap_request *request)
{
	struct mmap_request r = *request;

	r.length = (r.length + PMD_SIZE - 1) & PMD_MASK;
	if (!r.length || (r.pgoff & (BLOCK_PAGES - 1)) ||
	    ((r.flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) && (r.address & ~PMD_MASK)))
		return -EINVAL;
	struct hugetlb *h = hugetlb_create(mm, r.length, r.pgoff);
	if (!h)
		return -ENOMEM;
	r.file = &h->backing;
	r.extra_flags |= VM_HUGETLB | VM_DONTEXPAND;
	if (r.flags & MAP_NORESERVE)
		r.extra_flags |= VM_NORESERVE;
	int64_t at = mm_mmap(mm, &r);
	backing_put(&h->backing);
	return at;
}
