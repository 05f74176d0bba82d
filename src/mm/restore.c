/* SPDX-License-Identifier: MIT */
/* restore.c - see restore.h. Locking: mmap_lock for writing, page_table_lock for entries. */
#include "restore.h"

#include <errno.h>
#include <sys/mman.h>

#include "anon_vma.h"
#include "block.h"
#include "fault_internal.h"
#include "gather.h"
#include "lock.h"
#include "pagewalk.h"

/* --- what an image has to have ----------------------------------------------------------------------- */

struct own_pages {
	struct mm *mm;
	const struct own_page_ops *ops;
	void *ctx;
};

static bool is_own(struct mm *mm, pte_t pte)
{
	if (entry_type(pte) == ENTRY_SWAP || entry_type(pte) == ENTRY_MIGRATION)
		return true;
	return pte_present(pte) && !(pte & PTE_SPECIAL) && page_anon(pfn_to_page(mm->frames, pte_pfn(pte)));
}

static void see_entry(void *ctx, pte_t *slot, gva_t address)
{
	struct own_pages *o = ctx;
	pte_t pte = pte_read(slot);
	enum entry_type type = entry_type(pte);

	if (type == ENTRY_GUARD || type == ENTRY_POISON)
		o->ops->guard(o->ctx, address);
	else if (is_own(o->mm, pte))
		o->ops->page(o->ctx, address);
}

static void see_huge(void *ctx, pte_t *slot, gva_t address, gva_t end, unsigned int level)
{
	struct own_pages *o = ctx;

	(void)level;
	if (is_own(o->mm, pte_read(slot)))
		for (; address < end; address += PAGE_SIZE)
			o->ops->page(o->ctx, address);
}

void mm_each_own_page(struct mm *mm, const struct vma *vma, const struct own_page_ops *ops, void *ctx)
{
	static const struct pte_walk_ops walk = {.pte = see_entry, .huge = see_huge};
	struct own_pages o = {mm, ops, ctx};

	if (vma->flags & (VM_MAYSHARE | VM_SPECIAL))
		return;
	pthread_mutex_lock(&mm->page_table_lock);
	pte_walk(mm, vma->start, vma->end, &walk, &o);
	pthread_mutex_unlock(&mm->page_table_lock);
}

/* --- areas ------------------------------------------------------------------------------------------- */

/* What an area keeps besides what its request says. */
#define KEPT_FLAGS                                                                                  \
	(VM_GROWSDOWN | VM_LOCKED | VM_LOCKONFAULT | VM_SEQ_READ | VM_RAND_READ | VM_DONTCOPY |     \
	 VM_DONTEXPAND | VM_NORESERVE | VM_WIPEONFORK | VM_DONTDUMP | VM_HUGEPAGE | VM_NOHUGEPAGE | \
	 VM_MERGEABLE | VM_DROPPABLE | VM_SEALED | VM_PROGRAM)

static unsigned int prot_of(uint64_t flags)
{
	return (flags & VM_READ ? PROT_BITS_READ : 0) | (flags & VM_WRITE ? PROT_BITS_WRITE : 0) |
	       (flags & VM_EXEC ? PROT_BITS_EXEC : 0);
}

/* Seals are kept from the program, and it does not run. */
static void unseal(struct mm *mm, gva_t start, gva_t end)
{
	mm_write_lock(mm);
	for (struct vma *v = vma_find(&mm->vmas, start); v && v->start < end; v = v->next)
		v->flags &= ~VM_SEALED;
	mm_write_unlock(mm);
}

int mm_restore_area(struct mm *mm, const struct saved_area *a)
{
	bool shared = a->flags & VM_MAYSHARE;
	const struct mmap_request r = {.address = a->start,
				       .length = a->end - a->start,
				       .prot = prot_of(a->flags),
				       .flags = MAP_FIXED | (shared ? MAP_SHARED : MAP_PRIVATE) |
						(a->file ? 0 : MAP_ANONYMOUS),
				       .extra_flags = a->flags & KEPT_FLAGS,
				       .file = a->file,
				       .pgoff = a->pgoff,
				       .may_not_write = shared && !(a->flags & VM_MAYWRITE),
				       .vm_ops = a->vm_ops,
				       .private_data = a->private_data,
				       .stays_empty = true};

	unseal(mm, a->start, a->end);
	int64_t at = mm_mmap(mm, &r);
	return at < 0 ? (int)at : 0;
}

/* --- pages ------------------------------------------------------------------------------------------- */

struct restore {
	struct mm *mm;
	gva_t start;
	swp_entry_t first;
	const struct image_page *page;
	struct gather gather;
};

static int restore_one(struct restore *r, gva_t address)
{
	uint64_t i = (address - r->start) >> PAGE_SHIFT;
	const struct image_page *page = &r->page[i];
	swp_entry_t entry = {r->first.val + i};
	pte_t *slot = pgtable_own(r->mm, address, &r->gather);

	if (!slot)
		return -ENOMEM;
	if (!pte_none(pte_read(slot)) ||
	    !swap_claim(r->mm->host, entry, r->mm->memcg, page->is_word ? &page->word : NULL))
		return -EINVAL;
	pte_set(slot, swp_entry_to_pte(entry));
	atomic_fetch_add_explicit(&r->mm->rss[MM_SWAPENTS], 1, memory_order_relaxed);
	return 0;
}

/* What one area has of the range. */
static int restore_area(struct restore *r, struct vma *vma, gva_t start, gva_t end)
{
	int err;

	if (vma->flags & (VM_SHARED | VM_SPECIAL | VM_HUGETLB))
		return -EINVAL;
	err = anon_vma_prepare(vma);
	pthread_mutex_lock(&r->mm->page_table_lock);
	for (gva_t at = start; at < end && !err; at += PAGE_SIZE)
		err = restore_one(r, at);
	gather_flush(&r->gather);
	pthread_mutex_unlock(&r->mm->page_table_lock);
	return err;
}

int mm_restore_pages(struct mm *mm, gva_t start, swp_entry_t first, const struct image_page *page,
		     uint64_t nr)
{
	struct restore r = {.mm = mm, .start = start, .first = first, .page = page};
	gva_t end = start + (nr << PAGE_SHIFT);
	int err = 0;

	if (start % PAGE_SIZE || nr > mm->task_size >> PAGE_SHIFT || end > mm->task_size || end < start)
		return -EINVAL;
	mm_write_lock(mm);
	swap_note_space(mm);
	gather_begin(&r.gather, mm);
	for (gva_t at = start; at < end && !err;) {
		struct vma *vma = vma_find(&mm->vmas, at);
		if (!vma || vma->start > at) {
			err = -EINVAL;
			break;
		}
		gva_t to = min_u64(end, vma->end);
		err = restore_area(&r, vma, at, to);
		at = to;
	}
	gather_end(&r.gather);
	mm_write_unlock(mm);
	return err;
}

/* --- blocks that a supply fills ------------------------------------------------------------------- */

static bool takes_supplied_block(struct mm *mm, const struct vma *vma, gva_t start, const struct supply *s)
{
	return vma && vma->start <= start && fault_area_takes_block(vma, start) &&
	       !(vma->flags & VM_SPECIAL) && thp_mode(mm) != THP_NEVER && (!mm->supply || mm->supply == s) &&
	       memcg_room(mm->memcg) >= 2 * BLOCK_PAGES;
}

/* page_table_lock is held. */
static int map_supplied_block(struct vma *vma, gva_t start, const struct supplied_block *b)
{
	struct mm *mm = vma->mm;
	pte_t *pmd = pgtable_alloc_pmd(&mm->pgt, start);

	if (!pmd || !pte_none(pte_read(pmd)))
		return pmd ? -EINVAL : -ENOMEM;
	struct page *head = fault_alloc_block(vma, start, 0);
	if (!head)
		return -ENOMEM;
	int err = b->arm(b->ctx, page_address(mm->frames, head));
	if (err) {
		block_put(mm->frames, head);
		return err;
	}
	fault_map_block(vma, pmd, head);
	if (!mm->supply)
		mm->supply = supply_get(b->supply);
	return 0;
}

int mm_restore_block(struct mm *mm, gva_t start, const struct supplied_block *b)
{
	int err = -EINVAL;

	if (start % PMD_SIZE)
		return -EINVAL;
	mm_write_lock(mm);
	struct vma *vma = vma_find(&mm->vmas, start);
	if (takes_supplied_block(mm, vma, start, b->supply))
		err = anon_vma_prepare(vma);
	else
		vma = NULL;
	if (vma && !err) {
		pthread_mutex_lock(&mm->page_table_lock);
		err = map_supplied_block(vma, start, b);
		pthread_mutex_unlock(&mm->page_table_lock);
	}
	mm_write_unlock(mm);
	return err;
}
