/* SPDX-License-Identifier: MIT */
/* usage.c - see usage.h. */
#include "block.h"
#include "gather.h"
#include "pagewalk.h"
#include "usage.h"
#include "zap.h"

/* One entry that maps a frame with a struct page of its own kind: all but the zero page and what is not present. */
struct usage_entry {
	pte_t pte;
	const struct page *page;
	uint32_t page_flags;
	uint64_t mappings; /* entries that map it; each space that shares this table has one */
};

/* False: the entry counts for nothing. */
static bool entry_read(struct mm *mm, pte_t *slot, struct usage_entry *e)
{
	e->pte = pte_read(slot);
	if (!pte_present(e->pte) || (e->pte & PTE_SPECIAL))
		return false;
	e->page = pfn_to_page(mm->frames, pte_pfn(e->pte));
	e->page_flags = atomic_load_explicit(&e->page->flags, memory_order_relaxed);
	e->mappings = atomic_load_explicit(&e->page->mapcount, memory_order_relaxed) +
		      atomic_load_explicit(&pgtable_page(&mm->pgt, slot)->refs, memory_order_relaxed) - 1;
	return true;
}

/* The frame that a huge entry maps `address` with; false: it counts for nothing. */
static bool huge_read(struct mm *mm, pte_t pte, gva_t address, struct usage_entry *e)
{
	if (pte & PTE_SPECIAL)
		return false;
	struct page *page = pfn_to_page(mm->frames, pte_pfn(pte)) + level_index(address, 0);
	*e = (struct usage_entry){.pte = pte,
				  .page = page,
				  .page_flags = atomic_load_explicit(&page->flags, memory_order_relaxed),
				  .mappings = page_total_mapcount(mm->frames, page)};
	return true;
}

static bool entry_dirty(const struct usage_entry *e)
{
	return (e->pte & PTE_DIRTY) || (e->page_flags & PG_DIRTY);
}

/* --- smaps ----------------------------------------------------------------------------------- */

struct usage_walk {
	const struct vma *vma;
	struct vma_usage *sum;
};

static void add_proportional(struct usage_walk *w, const struct usage_entry *e, uint64_t bytes)
{
	struct vma_usage *sum = w->sum;
	uint64_t pss = (bytes << USAGE_PSS_SHIFT) / (e->mappings ? e->mappings : 1);

	sum->pss += pss;
	if (page_anon(e->page))
		sum->pss_anon += pss;
	else if (page_counter(e->page) == MM_SHMEMPAGES)
		sum->pss_shmem += pss;
	else
		sum->pss_file += pss;
	if (entry_dirty(e))
		sum->pss_dirty += pss;
	if (w->vma->flags & VM_LOCKED)
		sum->pss_locked += pss;
}

static void add_page(struct usage_walk *w, const struct usage_entry *e)
{
	struct vma_usage *sum = w->sum;
	bool shared = e->mappings > 1;

	sum->rss += PAGE_SIZE;
	if (entry_dirty(e))
		*(shared ? &sum->shared_dirty : &sum->private_dirty) += PAGE_SIZE;
	else
		*(shared ? &sum->shared_clean : &sum->private_clean) += PAGE_SIZE;
	if ((e->pte & PTE_ACCESSED) || (e->page_flags & PG_REFERENCED))
		sum->referenced += PAGE_SIZE;
	if (page_anon(e->page))
		sum->anonymous += PAGE_SIZE;
	if ((e->page_flags & PG_LAZYFREE) && !entry_dirty(e))
		sum->lazyfree += PAGE_SIZE;
	add_proportional(w, e, PAGE_SIZE);
}

/* Each space that shares the table has the slot as well. */
static void add_swapped(struct usage_walk *w, const pte_t *slot, swp_entry_t entry)
{
	struct mm *mm = w->vma->mm;
	uint64_t users = swap_count(mm->host, entry) + atomic_load(&pgtable_page(&mm->pgt, slot)->refs) - 1;

	w->sum->swap += PAGE_SIZE;
	w->sum->swap_pss += (PAGE_SIZE << USAGE_PSS_SHIFT) / users;
}

static void add_entry(void *ctx, pte_t *slot, gva_t address)
{
	struct usage_walk *w = ctx;
	struct usage_entry e;
	pte_t pte = pte_read(slot);

	(void)address;
	if (entry_type(pte) == ENTRY_SWAP)
		add_swapped(w, slot, pte_to_swp_entry(pte));
	if (entry_read(w->vma->mm, slot, &e))
		add_page(w, &e);
}

/* Not resident in the sense of rss; the object of shared memory is no entry. */
static void add_hugetlb(struct usage_walk *w, pte_t pte, uint64_t bytes)
{
	const struct page *head = pfn_to_page(w->vma->mm->frames, pte_pfn(pte));
	uint32_t users = atomic_load(&head->block_mapcount) - !page_anon(head);

	*(users > 1 ? &w->sum->shared_hugetlb : &w->sum->private_hugetlb) += bytes;
}

static void add_huge(void *ctx, pte_t *slot, gva_t address, gva_t end, unsigned int level)
{
	struct usage_walk *w = ctx;
	struct usage_entry e;

	(void)level; /* 1: those above it map no frames that count */
	if (w->vma->flags & VM_HUGETLB) {
		add_hugetlb(w, pte_read(slot), end - address);
		return;
	}
	for (; address < end && huge_read(w->vma->mm, pte_read(slot), address, &e); address += PAGE_SIZE) {
		add_page(w, &e);
		*(page_anon(e.page) ? &w->sum->anon_huge : &w->sum->file_huge) += PAGE_SIZE;
	}
}

static void walk_area(const struct vma *vma, const struct pte_walk_ops *ops, void *ctx)
{
	pthread_mutex_lock(&vma->mm->page_table_lock);
	pte_walk(vma->mm, vma->start, vma->end, ops, ctx);
	pthread_mutex_unlock(&vma->mm->page_table_lock);
}

/* Pages of the object that are in slots, where the area has no page of its own instead: no entry says these. */
static void add_swapped_shmem(const struct vma *vma, struct vma_usage *sum)
{
	struct address_space *as = vma->mapping;
	bool all = (vma->flags & VM_SHARED) || !(vma->flags & VM_WRITE);
	uint64_t index = vma->pgoff, end = vma_linear_index(vma, vma->end);
	struct radix_entry e;

	pthread_mutex_lock(&vma->mm->page_table_lock);
	pthread_mutex_lock(&as->lock);
	for (; radix_next_entry(&as->pages, &index, &e) && index < end; index++) {
		gva_t address = vma->start + ((index - vma->pgoff) << PAGE_SHIFT);
		const pte_t *slot = all ? NULL : pgtable_find(&vma->mm->pgt, address);
		if (e.is_number && (!slot || pte_none(pte_read(slot))))
			sum->swap += PAGE_SIZE;
	}
	pthread_mutex_unlock(&as->lock);
	pthread_mutex_unlock(&vma->mm->page_table_lock);
}

void vma_usage_add(const struct vma *vma, struct vma_usage *sum)
{
	static const struct pte_walk_ops ops = {.pte = add_entry, .huge = add_huge};
	struct usage_walk w = {vma, sum};

	walk_area(vma, &ops, &w);
	if (vma->mapping && vma->mapping->shmem && vma->mapping->pages.nr_numbers)
		add_swapped_shmem(vma, sum);
}

/* --- numa_maps ------------------------------------------------------------------------------- */

struct nodes_walk {
	struct mm *mm;
	struct vma_nodes *n;
};

static void count_page(struct nodes_walk *w, const struct usage_entry *e)
{
	struct vma_nodes *n = w->n;

	n->pages++;
	n->anon += page_anon(e->page);
	n->dirty += entry_dirty(e);
	n->active += !!(e->page_flags & PG_ACTIVE);
	n->writeback += !!(e->page_flags & PG_WRITEBACK);
	n->swapcache += !!(e->page_flags & PG_SWAPCACHE);
	n->mapcount_max = max_u64(n->mapcount_max, e->mappings);
	n->node[page_zone(w->mm->frames, e->page)->node]++;
}

static void count_entry(void *ctx, pte_t *slot, gva_t address)
{
	struct nodes_walk *w = ctx;
	struct usage_entry e;

	(void)address;
	if (entry_read(w->mm, slot, &e))
		count_page(w, &e);
}

static void count_huge(void *ctx, pte_t *slot, gva_t address, gva_t end, unsigned int level)
{
	struct nodes_walk *w = ctx;
	struct usage_entry e;

	(void)level;
	for (; address < end && huge_read(w->mm, pte_read(slot), address, &e); address += PAGE_SIZE)
		count_page(w, &e);
}

void vma_nodes_count(const struct vma *vma, struct vma_nodes *n)
{
	static const struct pte_walk_ops ops = {.pte = count_entry, .huge = count_huge};

	*n = (struct vma_nodes){0};
	struct nodes_walk w = {vma->mm, n};

	walk_area(vma, &ops, &w);
}

/* --- one page -------------------------------------------------------------------------------- */

struct page_view page_view_at(struct mm *mm, gva_t address)
{
	struct page_view view = {0};
	struct usage_entry e;
	unsigned int level;

	pthread_mutex_lock(&mm->page_table_lock);
	pte_t *slot = pgtable_leaf(&mm->pgt, address, &level);
	if (slot && (level ? huge_read(mm, pte_read(slot), address, &e) : entry_read(mm, slot, &e)))
		view = (struct page_view){true, !page_anon(e.page), e.mappings == 1};
	else if (slot)
		view = (struct page_view){.present = pte_present(pte_read(slot)),
					  .guard = entry_type(pte_read(slot)) == ENTRY_GUARD,
					  .swapped = entry_type(pte_read(slot)) == ENTRY_SWAP};
	pthread_mutex_unlock(&mm->page_table_lock);
	return view;
}

/* --- clear_refs ------------------------------------------------------------------------------ */

static void forget_page(struct mm *mm, pfn_t pfn)
{
	atomic_fetch_and_explicit(&pfn_to_page(mm->frames, pfn)->flags, ~(uint32_t)PG_REFERENCED,
				  memory_order_relaxed);
}

static void forget_entry(struct gather *g, pte_t *slot, gva_t address, unsigned int level)
{
	pte_t old = pte_change(slot, PTE_ACCESSED, 0);

	if ((old & PTE_ACCESSED) && (old & PTE_PRESENT))
		gather_entry_at(g, slot, address, level);
}

static void clear_accessed(void *ctx, pte_t *slot, gva_t address)
{
	struct gather *g = ctx;
	struct usage_entry e;

	if (!entry_read(g->batch.mm, slot, &e))
		return;
	forget_page(g->batch.mm, pte_pfn(e.pte));
	forget_entry(g, slot, address, 0);
}

static void clear_huge_accessed(void *ctx, pte_t *slot, gva_t address, gva_t end, unsigned int level)
{
	struct gather *g = ctx;
	pte_t pte = pte_read(slot);

	if (pte & PTE_SPECIAL)
		return;
	for (gva_t at = address; at < end; at += PAGE_SIZE)
		forget_page(g->batch.mm, pte_pfn(pte) + level_index(at, 0));
	forget_entry(g, slot, address & PMD_MASK, level);
}

void mm_clear_refs(struct mm *mm, enum clear_refs_what what)
{
	static const struct pte_walk_ops ops = {.pte = clear_accessed, .huge = clear_huge_accessed};
	struct gather g;
	struct vma *vma;

	gather_begin(&g, mm);
	vma_for_each (vma, &mm->vmas) {
		if (what == (vma->file ? CLEAR_REFS_ANON : CLEAR_REFS_MAPPED))
			continue;
		walk_area(vma, &ops, &g);
	}
	gather_end(&g);
}
