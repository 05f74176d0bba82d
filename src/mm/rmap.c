/* SPDX-License-Identifier: MIT */
/* rmap.c - walks from a page to the entries that map it. See rmap.h. */
#include <sched.h>

#include "block.h"
#include "filemap.h"
#include "pagewalk.h"
#include "rmap.h"
#include "zap.h"

/* Tries for a lock that a walk may not wait for. */
#define BUSY_TRIES 32

static bool maps(const struct mm_host *h, pte_t pte, unsigned int level, const struct page *page)
{
	pfn_t pfn = page_to_pfn(h->frames, page);

	if (pte_present(pte))
		return !(pte & PTE_SPECIAL) && pfn - pte_pfn(pte) < 1ull << (9 * level);
	return entry_type(pte) == ENTRY_MIGRATION && entry_offset(pte) == pfn;
}

static bool lock(pthread_mutex_t *mutex, const struct rmap_walk *w)
{
	if (!w->try_locks) {
		pthread_mutex_lock(mutex);
		return true;
	}
	for (unsigned int i = 0; i < BUSY_TRIES; i++) {
		if (!pthread_mutex_trylock(mutex))
			return true;
		sched_yield();
	}
	return false;
}

/* The page's place in one area. False: the walk is over. */
static bool visit(struct page *page, uint64_t index, struct vma *vma, const struct rmap_walk *w)
{
	struct mm *mm = vma->mm;
	struct rmap_hit hit = {.vma = vma, .address = vma->start + ((index - vma->pgoff) << PAGE_SHIFT)};
	struct gather g;
	bool more = true;

	if (!lock(&mm->page_table_lock, w))
		return false;
	gather_begin(&g, mm);
	hit.slot = pgtable_leaf(&mm->pgt, hit.address, &hit.level);
	hit.pte = hit.slot ? pte_read(hit.slot) : 0;
	if (maps(mm->host, hit.pte, hit.level, page))
		more = w->fn(w->ctx, &hit, &g);
	gather_end(&g);
	pthread_mutex_unlock(&mm->page_table_lock);
	return more;
}

static bool walk_anon(struct page *page, struct anon_vma *av, const struct rmap_walk *w)
{
	struct interval_node *node;
	uint64_t index = page->index;
	bool more = true;

	if (!lock(&av->root->lock, w))
		return false;
	for (node = interval_tree_first(&av->tree, index, index); node && more;
	     node = interval_tree_next(node, index, index))
		more = visit(page, index, list_entry(node, struct anon_vma_chain, node)->vma, w);
	anon_vma_unlock(av);
	return more;
}

static bool walk_file(struct page *page, struct address_space *mapping, const struct rmap_walk *w)
{
	struct interval_node *node;
	uint64_t index = page->index;
	bool more = true;

	if (!lock(&mapping->i_mmap_lock, w))
		return false;
	for (node = interval_tree_first(&mapping->i_mmap, index, index); node && more;
	     node = interval_tree_next(node, index, index))
		more = visit(page, index, list_entry(node, struct vma, shared), w);
	pthread_mutex_unlock(&mapping->i_mmap_lock);
	return more;
}

bool rmap_walk(struct mm_host *h, struct page *page, const struct rmap_walk *w)
{
	struct address_space *mapping = page_mapping(page);

	if (w->anon_vma)
		return walk_anon(page, w->anon_vma, w);
	if (mapping)
		return walk_file(page, mapping, w);
	struct anon_vma *av = page_get_anon_vma(page);
	if (!av)
		return true;
	bool done = walk_anon(page, av, w);
	anon_vma_put(h, av);
	return done;
}

static bool count_one(void *ctx, const struct rmap_hit *hit, struct gather *g)
{
	(void)g;
	*(unsigned int *)ctx += pte_present(hit->pte);
	return true;
}

unsigned int rmap_count(struct mm_host *h, struct page *page)
{
	unsigned int nr = 0;
	struct rmap_walk w = {.fn = count_one, .ctx = &nr};

	rmap_walk(h, page, &w);
	return nr;
}

/* --- was it used? -------------------------------------------------------------------------------------------------- */

/* No revocation: a processor that has the translation at hand may use the page unnoticed until it forgets. It is a hint. */
static bool take_accessed(void *ctx, const struct rmap_hit *hit, struct gather *g)
{
	(void)g;
	pte_t old = pte_change(hit->slot, PTE_ACCESSED, 0);
	*(unsigned int *)ctx += pte_present(old) && (old & PTE_ACCESSED);
	return true;
}

unsigned int page_referenced(struct mm_host *h, struct page *page)
{
	unsigned int nr = 0;
	struct rmap_walk w = {.fn = take_accessed, .ctx = &nr};

	rmap_walk(h, page, &w);
	return nr;
}

/* --- clean pages --------------------------------------------------------------------------------------------------- */

static bool clean_entry(pte_t *slot, gva_t address, struct gather *g)
{
	pte_t old = pte_change(slot, PTE_WRITE | PTE_DIRTY, 0);

	if (!pte_present(old) || !(old & (PTE_WRITE | PTE_DIRTY)))
		return false;
	if (old & PTE_PRESENT)
		gather_entry(g, slot, address);
	return true;
}

/* One that moves must not come back writable either. True: it could have been written. */
static bool clean_moving(pte_t *slot)
{
	return __atomic_fetch_and(slot, ~ENTRY_WRITABLE, __ATOMIC_ACQ_REL) & ENTRY_WRITABLE;
}

static bool mkclean_one(void *ctx, const struct rmap_hit *hit, struct gather *g)
{
	if (hit->vma->flags & VM_SHARED)
		*(unsigned int *)ctx += pte_present(hit->pte) ? clean_entry(hit->slot, hit->address, g)
							      : clean_moving(hit->slot);
	return true;
}

unsigned int page_mkclean(struct mm_host *h, struct page *page)
{
	unsigned int nr = 0;
	struct rmap_walk w = {.fn = mkclean_one, .ctx = &nr};

	if (page_mapping(page))
		rmap_walk(h, page, &w);
	return nr;
}

struct mkclean {
	struct gather gather;
	uint64_t nr;
};

static void mkclean_entry(void *ctx, pte_t *slot, gva_t address)
{
	struct mkclean *m = ctx;
	pte_t pte = pte_read(slot);

	if (entry_type(pte) == ENTRY_MIGRATION)
		m->nr += clean_moving(slot);
	else if (pte_present(pte) && !(pte & PTE_SPECIAL))
		m->nr += clean_entry(slot, address, &m->gather);
}

static uint64_t mkclean_area(struct vma *vma, uint64_t first, uint64_t last)
{
	static const struct pte_walk_ops ops = {.pte = mkclean_entry};
	struct mkclean m = {.nr = 0};
	gva_t start, end;

	vma_index_range(vma, first, last, &start, &end);
	gather_begin(&m.gather, vma->mm);
	pthread_mutex_lock(&vma->mm->page_table_lock);
	pte_walk(vma->mm, start, end, &ops, &m);
	pthread_mutex_unlock(&vma->mm->page_table_lock);
	gather_end(&m.gather);
	return m.nr;
}

uint64_t mapping_mkclean(struct address_space *mapping, uint64_t first, uint64_t last)
{
	struct interval_node *node;
	uint64_t nr = 0;

	pthread_mutex_lock(&mapping->i_mmap_lock);
	interval_tree_for_each(node, &mapping->i_mmap, first, last)
	{
		struct vma *vma = list_entry(node, struct vma, shared);
		if (vma->flags & VM_SHARED)
			nr += mkclean_area(vma, first, last);
	}
	pthread_mutex_unlock(&mapping->i_mmap_lock);
	return nr;
}

/* --- unmapping ----------------------------------------------------------------------------------------------------- */

/* A huge entry of a file goes as a whole: it comes back with the next fault. */
static bool unmap_cached_block(const struct rmap_hit *hit, struct gather *g)
{
	if (hit->vma->flags & VM_LOCKED)
		return false;
	zap_cache_huge(g, hit->slot, hit->address, hit->level);
	return true;
}

static bool unmap_one(void *ctx, const struct rmap_hit *hit, struct gather *g)
{
	struct page *page = ctx;
	struct mm *mm = hit->vma->mm;

	if (atomic_load(&mm->forking))
		return false;
	if (hit->level)
		return unmap_cached_block(hit, g);
	if (!pte_present(hit->pte) || (hit->vma->flags & VM_LOCKED) ||
	    atomic_load(&pgtable_page(&mm->pgt, hit->slot)->refs) > 1)
		return false;
	pte_t old = pte_exchange(hit->slot, 0);
	if (old & PTE_PRESENT)
		gather_entry(g, hit->slot, hit->address);
	atomic_fetch_sub_explicit(&mm->rss[page_counter(page)], 1, memory_order_relaxed);
	atomic_fetch_sub(&page->mapcount, 1);
	gather_page(g, page);
	return true;
}

bool try_to_unmap(struct mm_host *h, struct page *page)
{
	struct rmap_walk w = {.fn = unmap_one, .ctx = page, .try_locks = true};

	if (page_mapping(page))
		rmap_walk(h, page, &w);
	return !page_total_mapcount(h->frames, page);
}
