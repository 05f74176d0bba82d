/* SPDX-License-Identifier: MIT */
/* zap.c - taking pages and tables out of an address space. See zap.h. */
#include "account.h"
#include "i_mmap.h"
#include "zap.h"

enum mm_counter page_counter(const struct page *page)
{
	if (page_anon(page))
		return MM_ANONPAGES;
	return atomic_load_explicit(&page->flags, memory_order_relaxed) & PG_SWAPBACKED ? MM_SHMEMPAGES
											: MM_FILEPAGES;
}

void pte_walk(struct mm *mm, gva_t start, gva_t end, void (*fn)(void *ctx, pte_t *slot, gva_t address),
	      void *ctx)
{
	for (gva_t at = start; at < end;) {
		gva_t stop = min_u64((at & PMD_MASK) + PMD_SIZE, end);
		pte_t *slot = pgtable_find(&mm->pgt, at);
		for (; slot && at < stop; at += PAGE_SIZE, slot++)
			if (!pte_none(pte_read(slot)))
				fn(ctx, slot, at);
		at = stop;
	}
}

static void zap_entry(void *ctx, pte_t *slot, gva_t address)
{
	struct gather *g = ctx;
	struct mm *mm = g->batch.mm;
	pte_t pte = pte_exchange(slot, 0);

	if (pte & PTE_PRESENT)
		gather_entry(g, slot, address);
	if (pte & PTE_SPECIAL)
		return;
	struct page *page = pfn_to_page(mm->frames, pte_pfn(pte));
	atomic_fetch_sub_explicit(&mm->rss[page_counter(page)], 1, memory_order_relaxed);
	if (!pte_present(pte))
		return; /* it is moving: the entry holds nothing */
	atomic_fetch_sub_explicit(&page->mapcount, 1, memory_order_relaxed);
	gather_page(g, page);
}

void zap_range(struct gather *g, gva_t start, gva_t end)
{
	struct mm *mm = g->batch.mm;

	pthread_mutex_lock(&mm->page_table_lock);
	pte_walk(mm, start, end, zap_entry, g);
	pthread_mutex_unlock(&mm->page_table_lock);
}

static void zap_cache_entry(void *ctx, pte_t *slot, gva_t address)
{
	const struct gather *g = ctx;
	pte_t pte = pte_read(slot);

	if (!(pte & PTE_SPECIAL) && !page_anon(pfn_to_page(g->batch.mm->frames, pte_pfn(pte))))
		zap_entry(ctx, slot, address);
}

void zap_cache_range(struct gather *g, gva_t start, gva_t end)
{
	struct mm *mm = g->batch.mm;

	pthread_mutex_lock(&mm->page_table_lock);
	pte_walk(mm, start, end, zap_cache_entry, g);
	pthread_mutex_unlock(&mm->page_table_lock);
}

void zap_tables(struct gather *g, gva_t start, gva_t end, const struct vma *prev, const struct vma *next)
{
	struct mm *mm = g->batch.mm;
	gva_t floor = prev ? prev->end : 0, ceiling = next ? next->start : 0; /* 0: nothing above */

	pthread_mutex_lock(&mm->page_table_lock);
	pgtable_unlink(&mm->pgt, start, end, floor, ceiling, &g->batch.freed_tables);
	gather_tables(g, start, end);
	pthread_mutex_unlock(&mm->page_table_lock);
}

void vma_free(struct mm *mm, struct vma *vma)
{
	if (vma->vm_ops && vma->vm_ops->close)
		vma->vm_ops->close(vma);
	if (vma->file)
		backing_put(vma->file);
	kmem_cache_free(&mm->host->vma_cache, vma);
}

void zap_all(struct mm *mm)
{
	struct gather g;
	struct vma *vma, *next;

	gather_begin(&g, mm);
	vma_for_each (vma, &mm->vmas)
		zap_range(&g, vma->start, vma->end);
	vma_for_each (vma, &mm->vmas)
		vma_interval_remove(vma); /* walks go by the root: it must not go before them */
	zap_tables(&g, 0, mm->task_size, NULL, NULL);
	/* The root is a table like the others: no processor may take its frame's next life for it. */
	pgtable_discard(mm->pgt.root, &g.batch.freed_tables);
	gather_tables(&g, 0, mm->task_size);
	mm->pgt.root = NULL;
	gather_end(&g);
	for (vma = mm->vmas.first; vma; vma = next) {
		next = vma->next;
		vm_stat_account(mm, vma->flags, -(int64_t)vma_pages(vma));
		vma_free(mm, vma);
	}
	vma_tree_init(&mm->vmas);
}
