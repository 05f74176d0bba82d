/* SPDX-License-Identifier: MIT */
/* deactivate.c - pages that are not needed soon. See deactivate.h. */
#include "ageing.h"
#include "block.h"
#include "deactivate.h"
#include "evict.h"
#include "gather.h"
#include "pagewalk.h"

#define OLD_EPOCHS 32 /* older than anything becomes by itself */

struct deactivate {
	struct mm *mm;
	bool free; /* contents, too */
	uint64_t nr_marked;
	struct gather gather;
};

static bool deactivate_entry(struct deactivate *d, pte_t *slot, gva_t address)
{
	pte_t pte = pte_read(slot);

	if (!pte_present(pte) || (pte & PTE_SPECIAL))
		return false;
	struct page *page = pfn_to_page(d->mm->frames, pte_pfn(pte));
	if (atomic_load(&page->mapcount) != 1 || page_in_block(page) || (d->free && !page_anon(page)))
		return false;
	pte_t old = __atomic_fetch_and(slot, ~(PTE_ACCESSED | (d->free ? PTE_DIRTY : 0)), __ATOMIC_ACQ_REL);
	if (old & PTE_PRESENT)
		gather_entry(&d->gather, slot, address);
	if (d->free)
		d->nr_marked += !(atomic_fetch_or(&page->flags, PG_LAZYFREE) & PG_LAZYFREE);
	page_stamp_old(page, OLD_EPOCHS);
	return true;
}

/* A table that several spaces share is not theirs alone to give up. */
static bool deactivate_table(void *ctx, pte_t *pmd, gva_t address, gva_t end)
{
	struct deactivate *d = ctx;
	pte_t *slot = page_address(d->mm->frames, pgtable_below(&d->mm->pgt, pte_read(pmd)));

	if (pgtable_shared(&d->mm->pgt, pte_read(pmd)))
		return true;
	for (gva_t at = address; at < end; at += PAGE_SIZE)
		deactivate_entry(d, &slot[level_index(at, 0)], at);
	return true;
}

static uint64_t deactivate(struct vma *vma, gva_t start, gva_t end, bool free)
{
	static const struct pte_walk_ops ops = {.table = deactivate_table};
	struct deactivate d = {.mm = vma->mm, .free = free};

	gather_begin(&d.gather, d.mm);
	pthread_mutex_lock(&d.mm->page_table_lock);
	pte_walk(d.mm, start, end, &ops, &d);
	gather_end(&d.gather);
	pthread_mutex_unlock(&d.mm->page_table_lock);
	return d.nr_marked;
}

void lazyfree_range(struct vma *vma, gva_t start, gva_t end)
{
	struct memcg *cg = vma->mm->memcg;
	uint64_t nr = deactivate(vma, start, end, true);

	atomic_fetch_add(&cg->ageing.nr_lazyfree, nr);
	frames_count(vma->mm->frames, PGLAZYFREE, nr);
}

void deactivate_range(struct vma *vma, gva_t start, gva_t end)
{
	deactivate(vma, start, end, false);
}

uint64_t pageout_range(struct vma *vma, gva_t start, gva_t end)
{
	bool files = !(vma->flags & VM_MAYSHARE) || (vma->flags & VM_MAYWRITE);
	uint64_t nr = 0;

	for (unsigned int i = files ? RECLAIM_FILE : RECLAIM_ANON; i <= RECLAIM_ANON; i++) {
		struct evict e = {.host = vma->mm->host,
				  .cg = vma->mm->memcg,
				  .type = (enum reclaim_type)i,
				  .wanted = EVICT_BATCH,
				  .mm = vma->mm,
				  .start = start,
				  .end = end};
		while (e.start < end) {
			e.nr_scanned = e.nr_freed = 0;
			evict_range(&e);
			nr += e.nr_freed;
		}
	}
	return nr;
}
