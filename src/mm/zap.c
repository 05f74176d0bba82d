/* SPDX-License-Identifier: MIT */
/* zap.c - taking pages and tables out of an address space. See zap.h. */
#include <errno.h>

#include "account.h"
#include "i_mmap.h"
#include "pagewalk.h"
#include "zap.h"

enum mm_counter page_counter(const struct page *page)
{
	if (atomic_load_explicit(&page->flags, memory_order_relaxed) & PG_HUGETLB)
		return MM_HUGETLBPAGES;
	if (page_anon(page))
		return MM_ANONPAGES;
	return atomic_load_explicit(&page->flags, memory_order_relaxed) & PG_SWAPBACKED ? MM_SHMEMPAGES
											: MM_FILEPAGES;
}

enum mm_counter entry_counter(const struct mm *mm, pte_t pte)
{
	if (entry_type(pte) == ENTRY_MIGRATION)
		return (enum mm_counter)((pte >> ENTRY_COUNTER_SHIFT) & ENTRY_COUNTER_MASK);
	if (entry_type(pte) == ENTRY_SWAP)
		return MM_SWAPENTS;
	return page_counter(pfn_to_page(mm->frames, pte_pfn(pte)));
}

static void rss_drop(struct mm *mm, pte_t pte, int64_t nr)
{
	atomic_fetch_sub_explicit(&mm->rss[entry_counter(mm, pte)], nr, memory_order_relaxed);
}

/* Is a page of the space's there? One that is moving is resident still. */
static bool is_resident(pte_t pte)
{
	return pte_present(pte) ? !(pte & PTE_SPECIAL) : entry_type(pte) == ENTRY_MIGRATION;
}

bool entry_is_counted(pte_t pte)
{
	return is_resident(pte) || entry_type(pte) == ENTRY_SWAP;
}

void zap_slot(struct gather *g, pte_t *slot, gva_t address)
{
	struct mm *mm = g->batch.mm;
	pte_t pte = pte_exchange(slot, 0);

	if (pte & PTE_PRESENT)
		gather_entry(g, slot, address);
	if (entry_is_counted(pte))
		rss_drop(mm, pte, 1);
	if (entry_type(pte) == ENTRY_SWAP)
		swap_put(mm->host, pte_to_swp_entry(pte));
	if (!pte_present(pte) || (pte & PTE_SPECIAL))
		return;
	struct page *page = pfn_to_page(mm->frames, pte_pfn(pte));
	atomic_fetch_sub(&page->mapcount, 1);
	gather_page(g, page);
}

static void zap_entry(void *ctx, pte_t *slot, gva_t address)
{
	zap_slot(ctx, slot, address);
}

static bool is_marker(pte_t pte)
{
	return entry_type(pte) == ENTRY_GUARD || entry_type(pte) == ENTRY_POISON;
}

static void zap_entry_keep_marker(void *ctx, pte_t *slot, gva_t address)
{
	if (!is_marker(pte_read(slot)))
		zap_entry(ctx, slot, address);
}

static void zap_huge(void *ctx, pte_t *slot, gva_t address, gva_t end, unsigned int level)
{
	struct gather *g = ctx;
	pte_t pte = pte_exchange(slot, 0);

	(void)end;
	if (pte & PTE_PRESENT)
		gather_entry_at(g, slot, address, level);
	if (pte & PTE_SPECIAL)
		return;
	rss_drop(g->batch.mm, pte, PMD_PAGES);
	gather_block(g, pfn_to_page(g->batch.mm->frames, pte_pfn(pte)));
}

void zap_cache_huge(struct gather *g, pte_t *slot, gva_t address, unsigned int level)
{
	pte_t pte = pte_read(slot);

	if (!(pte & PTE_SPECIAL) && !page_anon(pfn_to_page(g->batch.mm->frames, pte_pfn(pte))))
		zap_huge(g, slot, address, 0, level);
}

static void leave(struct gather *g, pte_t *pmd, gva_t address)
{
	struct mm *mm = g->batch.mm;
	pte_t entry = pte_exchange(pmd, 0);

	gather_entry_at(g, pmd, address, 1);
	gather_table_put(g, pgtable_below(&mm->pgt, entry));
	mm->pgt.nr_tables--;
}

/* T4: nobody who replaces a page in a table that was left may miss a processor that knows it. */
static void unlock_left(struct gather *g)
{
	if (gather_holds_table(g))
		gather_flush(g);
	pthread_mutex_unlock(&g->batch.mm->page_table_lock);
}

/* A shared table goes as a whole: its entries stay for the others. False: it is this space's alone. */
static bool leave_table(void *ctx, pte_t *pmd, gva_t address, gva_t end)
{
	struct gather *g = ctx;

	(void)end;
	if (!pgtable_shared(&g->batch.mm->pgt, pte_read(pmd)))
		return false;
	leave(g, pmd, address);
	return true;
}

static bool zap_table(void *ctx, pte_t *pmd, gva_t address, gva_t end)
{
	struct gather *g = ctx;
	struct mm *mm = g->batch.mm;
	const pte_t *table = pfn_address(mm->frames, pte_pfn(pte_read(pmd)));

	if (!pgtable_shared(&mm->pgt, pte_read(pmd)))
		return false;
	if (end - address < PMD_SIZE)
		return true; /* a range that was not isolated has nothing here */
	for (unsigned int i = 0; i < PTRS_PER_TABLE; i++) {
		pte_t pte = pte_read(&table[i]);
		if (entry_is_counted(pte))
			rss_drop(mm, pte, 1);
	}
	leave(g, pmd, address); /* even if it is ours alone by now: nobody could share it before it is put */
	return true;
}

/* Copies of tables that are needed on the way to give memory back come from the reserve, and may exceed the account. */

/* --- what goes and comes back when it is touched ------------------------------------------------------------------------------ */

struct own_marked {
	struct gather *gather;
	int err;
};

/* Guards stay where they are, so a shared table that holds some cannot go as a whole. */
static bool own_marked(void *ctx, pte_t *pmd, gva_t address, gva_t end)
{
	struct own_marked *o = ctx;
	struct mm *mm = o->gather->batch.mm;
	const pte_t *table = pfn_address(mm->frames, pte_pfn(pte_read(pmd)));
	bool marked = false;

	(void)end;
	if (!o->err && pgtable_shared(&mm->pgt, pte_read(pmd))) {
		for (unsigned int i = 0; i < PTRS_PER_TABLE && !marked; i++)
			marked = is_marker(pte_read(&table[i]));
		if (marked && !pgtable_own(mm, address, o->gather))
			o->err = -ENOMEM;
	}
	return true;
}

int zap_range(struct gather *g, gva_t start, gva_t end)
{
	static const struct pte_walk_ops prepare = {.table = own_marked};
	static const struct pte_walk_ops zap = {zap_entry_keep_marker, zap_huge, zap_table};
	struct mm *mm = g->batch.mm;
	struct own_marked o = {.gather = g};

	pthread_mutex_lock(&mm->page_table_lock);
	page_alloc_begin_reserve();
	o.err = pgtable_isolate(mm, start, end, ISOLATE_EDGES, g);
	pte_walk(mm, start, end, &prepare, &o);
	page_alloc_end_reserve();
	gather_flush(g);
	if (!o.err)
		pte_walk(mm, start, end, &zap, g);
	unlock_left(g);
	return o.err;
}

/* A page that is moving has to go like others: its entry would come back otherwise. */
static void zap_cache_entry(void *ctx, pte_t *slot, gva_t address)
{
	const struct gather *g = ctx;
	pte_t pte = pte_read(slot);

	if (is_resident(pte) && !page_anon(pfn_to_page(g->batch.mm->frames, pte_pfn(pte))))
		zap_entry(ctx, slot, address);
}

/* More than the range, if it must be: nothing is lost, and nobody needs a table. */
static void zap_cache_block(void *ctx, pte_t *slot, gva_t address, gva_t end, unsigned int level)
{
	(void)end;
	zap_cache_huge(ctx, slot, address, level);
}

/*
 * Without memory for a copy of a shared table the pages go for all who share it, and how much of theirs is resident is then a guess.
 * Whoever empties an entry, each of them tells its processors, and the cache has the pages until all have.
 */
static bool own_table(void *ctx, pte_t *pmd, gva_t address, gva_t end)
{
	struct gather *g = ctx;

	(void)end;
	if (!pgtable_own(g->batch.mm, address, g))
		gather_table(g, pgtable_below(&g->batch.mm->pgt, pte_read(pmd)), address);
	return true;
}

void zap_cache_range(struct gather *g, gva_t start, gva_t end)
{
	static const struct pte_walk_ops prepare = {.table = own_table},
					 zap = {.pte = zap_cache_entry, .huge = zap_cache_block};
	struct mm *mm = g->batch.mm;

	pthread_mutex_lock(&mm->page_table_lock);
	page_alloc_begin_reserve();
	pte_walk(mm, start, end, &prepare, g);
	page_alloc_end_reserve();
	pte_walk(mm, start, end, &zap, g);
	gather_flush(g);
	pthread_mutex_unlock(&mm->page_table_lock);
}

/* --- what goes for good -------------------------------------------------------------------------------------------------------- */

/* The tables at the edges go as a whole when nothing else is mapped by them. */
static gva_t widened_start(const struct zap_areas *z)
{
	return max_u64(z->start & PMD_MASK, z->floor);
}

static gva_t widened_end(const struct zap_areas *z)
{
	gva_t end = (z->end + PMD_SIZE - 1) & PMD_MASK;

	return z->ceiling ? min_u64(end, z->ceiling) : end;
}

int zap_prepare(struct mm *mm, const struct zap_areas *z)
{
	struct gather g;

	gather_begin(&g, mm);
	pthread_mutex_lock(&mm->page_table_lock);
	page_alloc_begin_reserve();
	int err = pgtable_isolate(mm, widened_start(z), widened_end(z), ISOLATE_EDGES, &g);
	page_alloc_end_reserve();
	pthread_mutex_unlock(&mm->page_table_lock);
	return err;
}

/* page_table_lock is held. */
static void zap_with(struct gather *g, const struct zap_areas *z, const struct pte_walk_ops *ops)
{
	struct mm *mm = g->batch.mm;

	pte_walk(mm, widened_start(z), widened_end(z), ops, g);
	pgtable_unlink(&mm->pgt, z->start, z->end, z->floor, z->ceiling, &g->batch.freed_tables);
	gather_tables(g, z->start, z->end);
}

void zap_areas(struct gather *g, const struct zap_areas *z)
{
	static const struct pte_walk_ops ops = {zap_entry, zap_huge, zap_table};

	pthread_mutex_lock(&g->batch.mm->page_table_lock);
	zap_with(g, z, &ops);
	unlock_left(g);
}

void vma_free(struct mm *mm, struct vma *vma)
{
	if (vma->vm_ops && vma->vm_ops->close)
		vma->vm_ops->close(vma);
	if (vma->file)
		backing_put(vma->file);
	if (vma->detached) /* a lookup may still look at its lock */
		kmem_cache_free_deferred(&mm->host->vma_cache, vma);
	else
		kmem_cache_free(&mm->host->vma_cache, vma);
}

void zap_all(struct mm *mm)
{
	struct gather g;
	struct vma *vma, *next;

	gather_begin(&g, mm);
	/* Nobody will ask how much is resident: tables that others share are left without a look at them. */
	static const struct pte_walk_ops ops = {zap_entry, zap_huge, leave_table};
	vma_for_each (vma, &mm->vmas)
		vma_interval_remove(vma); /* walks go by the root: it must not go before them */
	pthread_mutex_lock(&mm->page_table_lock);
	zap_with(&g, &(struct zap_areas){.end = mm->task_size}, &ops);
	pthread_mutex_unlock(&mm->page_table_lock);
	if (mm->host->mmu_ops->release)
		mm->host->mmu_ops->release(mm->host->mmu_ctx, mm, &g.batch.freed_tables);
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
