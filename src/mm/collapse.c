/* SPDX-License-Identifier: MIT */
/*
 * collapse.c - 512 entries become a huge one. See collapse.h.
 *
 *	take a block of frames
 *	page_table_lock:  look again       each page present is anonymous and pinned by nobody
 *	                  empty the pmd    processors forget the table: from here on nobody writes the old pages
 *	                  copy, set the pmd
 *	put the old pages and the table
 *
 * A guest that touches the range meanwhile faults and waits for page_table_lock. Copying 2 MiB under it takes about as long as
 * clearing a block for a fault does. Pages that other spaces map too are copied like others: nobody writes such.
 *
 * khugepaged leaves alone what is mostly empty: at most a quarter of a table's entries may be missing, which is the density from
 * which on windows fill up too (fault_anon.c).
 */
#include "ageing.h"
#include "collapse.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "anon_vma.h"
#include "block.h"
#include "fault.h"
#include "gather.h"
#include "huge.h"
#include "lock.h"
#include "swap_bring.h"
#include "swap_cache.h"

#define MAX_MISSING (PTRS_PER_TABLE / 4)

struct collapse {
	struct mm *mm;
	struct vma *vma;
	gva_t start;
	pte_t *pmd;
	struct page *table, *head;
	unsigned int nr_present;
	struct gather gather;
};

/* 1: an anonymous page; 0: nothing, or zeroes; -EAGAIN: a page that must stay where it is; -EINVAL: no page at all. */
static int entry_is_movable(const struct collapse *c, pte_t pte)
{
	if (pte_none(pte) || (pte_present(pte) && (pte & PTE_SPECIAL)))
		return 0;
	if (!pte_present(pte))
		return entry_type(pte) == ENTRY_MIGRATION ? -EAGAIN : -EINVAL;
	struct page *page = pfn_to_page(c->mm->frames, pte_pfn(pte));
	uint32_t users = atomic_load(&page->mapcount) + page_in_block(page) + page_in_swap_cache(page);
	return page_anon(page) && atomic_load(&page->refs) == users ? 1 : -EAGAIN;
}

/* Counts the pages of the table: 0, or what forbids that they go. */
static int look(struct collapse *c)
{
	const pte_t *entry = page_address(c->mm->frames, c->table);

	c->nr_present = 0;
	for (unsigned int i = 0; i < PTRS_PER_TABLE; i++) {
		int movable = entry_is_movable(c, pte_read(&entry[i]));
		if (movable < 0)
			return movable;
		c->nr_present += (unsigned int)movable;
	}
	return 0;
}

static void copy_pages(struct collapse *c)
{
	struct frames *f = c->mm->frames;
	pte_t *entry = page_address(f, c->table);

	for (unsigned int i = 0; i < PTRS_PER_TABLE; i++) {
		pte_t pte = pte_exchange(&entry[i], 0);
		void *to = page_address(f, &c->head[i]);
		if (pte_none(pte) || (pte & PTE_SPECIAL)) {
			memset(to, 0, PAGE_SIZE);
			continue;
		}
		struct page *page = pfn_to_page(f, pte_pfn(pte));
		memcpy(to, page_address(f, page), PAGE_SIZE);
		atomic_fetch_sub(&page->mapcount, 1);
		gather_page(&c->gather, page);
	}
}

static void install(struct collapse *c)
{
	uint64_t write = c->vma->flags & VM_WRITE ? PTE_WRITE | PTE_DIRTY : 0;
	uint64_t rights = vma_pte_flags(c->vma->flags) | write;

	for (unsigned int i = 0; i < BLOCK_PAGES; i++) {
		page_set_memcg(&c->head[i], c->mm->memcg);
		page_set_anon(&c->head[i], vma_anon_vma(c->vma),
			      vma_linear_index(c->vma, c->start + ((gva_t)i << PAGE_SHIFT)));
	}
	block_make(c->head);
	pte_set(c->pmd, pte_make(page_to_pfn(c->mm->frames, c->head), rights | PTE_HUGE));
	c->head = NULL;
	frames_count(c->mm->frames, THP_COLLAPSE_ALLOC, 1);
	atomic_fetch_add_explicit(&c->mm->rss[MM_ANONPAGES], (int64_t)(BLOCK_PAGES - c->nr_present),
				  memory_order_relaxed);
}

/* page_table_lock is held, the table is the space's own. */
static int collapse_table(struct collapse *c)
{
	pte_t entry = pte_exchange(c->pmd, 0);

	gather_entry_at(&c->gather, c->pmd, c->start, 1);
	gather_table(&c->gather, c->table,
		     c->start); /* a shadow MMU knows its entries apart from the way to them */
	gather_flush(&c->gather);
	int err = look(c); /* a processor could still write until now, and a pin be taken */
	if (err) {
		pte_set(c->pmd, entry);
		return err;
	}
	copy_pages(c);
	install(c);
	c->mm->pgt.nr_tables--;
	pgtable_discard(c->table, &c->gather.batch.freed_tables);
	gather_tables(&c->gather, c->start, c->start + PMD_SIZE);
	return 0;
}

/* What is there to collapse: 1 when there is a table, which is the space's own then, 0 when nothing has to be done, or -errno. */
static int find_table(struct collapse *c)
{
	c->pmd = pgtable_find_pmd(&c->mm->pgt, c->start);
	if (!c->pmd || pte_none(pte_read(c->pmd)))
		return -EINVAL;
	if (pte_huge(pte_read(c->pmd)))
		return pte_read(c->pmd) & PTE_SPECIAL ? -EINVAL : 0;
	if (!pgtable_own(c->mm, c->start, &c->gather))
		return -ENOMEM;
	c->table = pgtable_below(&c->mm->pgt, pte_read(c->pmd));
	return 1;
}

/* 0, -EBUSY: the account is full, or -ENOMEM. */
static int take_block(struct collapse *c)
{
	memcg_keep_reserve(c->mm->memcg);
	if (!memcg_charge(c->mm->memcg, BLOCK_PAGES))
		return -EBUSY;
	c->head = page_alloc(c->mm->frames, GFP_TRANSHUGE_LIGHT, BLOCK_ORDER);
	if (c->head)
		return 0;
	memcg_uncharge(c->mm->memcg, BLOCK_PAGES);
	frames_count(c->mm->frames, THP_COLLAPSE_ALLOC_FAILED, 1);
	return -ENOMEM;
}

static void give_block_back(struct collapse *c)
{
	if (!c->head)
		return;
	memcg_uncharge(c->mm->memcg, BLOCK_PAGES);
	page_free_block(c->mm->frames, c->head, BLOCK_ORDER);
}

/* Collapses the aligned 2 MiB at `start`, which lie in `vma`, if at most max_missing pages of them are missing. */
static int collapse_one(struct vma *vma, gva_t start, unsigned int max_missing)
{
	struct collapse c = {.mm = vma->mm, .vma = vma, .start = start};
	int got, err;

	if (!vma_anon_vma(vma))
		return -EINVAL; /* nothing was ever written there */
	got = take_block(&c);
	gather_begin(&c.gather, c.mm);
	pthread_mutex_lock(&c.mm->page_table_lock);
	err = find_table(&c);
	if (err > 0)
		err = look(&c);
	if (!err && c.table && c.nr_present + max_missing >= PTRS_PER_TABLE)
		err = got ? got : collapse_table(&c);
	gather_end(&c.gather);
	pthread_mutex_unlock(&c.mm->page_table_lock);
	give_block_back(&c);
	return err;
}

static gva_t block_up(gva_t address)
{
	return (address + PMD_SIZE - 1) & PMD_MASK;
}

/* Private memory without a file, with an aligned 2 MiB in it. */
static bool area_collapses(const struct vma *vma)
{
	return vma_is_anonymous(vma) && !(vma->flags & (VM_SHARED | VM_NOHUGEPAGE | VM_SPECIAL)) &&
	       block_up(vma->start) + PMD_SIZE <= vma->end;
}

int collapse_range(struct vma *vma, gva_t start, gva_t end)
{
	int last = 0;

	start = block_up(start);
	end &= PMD_MASK;
	if (!area_collapses(vma) || !vma_anon_vma(vma) || start > end)
		return -EINVAL;
	for (; start < end; start += PMD_SIZE) {
		int err = swap_bring_range(vma, start, start + PMD_SIZE, 0);
		err = err == -EIO ? -EINVAL : err ? err : collapse_one(vma, start, PTRS_PER_TABLE);
		if (err == -ENOMEM || err == -EBUSY)
			return err;
		last = err ? err : last;
	}
	return last;
}

/* --- in the background ------------------------------------------------------------------------------------------------------ */

static bool policy_collapses(const struct vma *vma)
{
	return area_collapses(vma) && thp_mode(vma->mm) != THP_NEVER &&
	       (thp_mode(vma->mm) == THP_ALWAYS || (vma->flags & VM_HUGEPAGE));
}

/* The first aligned 2 MiB at or after `at` that lie in an area whose tables may collapse; *vma is that area. */
static gva_t next_candidate(struct mm *mm, gva_t at, struct vma **vma)
{
	for (*vma = vma_find(&mm->vmas, at); *vma; *vma = (*vma)->next) {
		gva_t start = (max_u64(at, (*vma)->start) + PMD_SIZE - 1) & PMD_MASK;
		if (policy_collapses(*vma) && start < (*vma)->end && (*vma)->end - start >= PMD_SIZE)
			return start;
	}
	return 0;
}

static bool has_table(struct mm *mm, gva_t address)
{
	pthread_mutex_lock(&mm->page_table_lock);
	const pte_t *pmd = pgtable_find_pmd(&mm->pgt, address);
	bool found = pmd && pte_table(pte_read(pmd)) && !pgtable_shared(&mm->pgt, pte_read(pmd));
	pthread_mutex_unlock(&mm->page_table_lock);
	return found;
}

unsigned int collapse_scan(struct mm *mm, gva_t *cursor, unsigned int nr_tables)
{
	unsigned int collapsed = 0;
	struct vma *vma;

	mm_read_lock(mm);
	while (nr_tables--) {
		gva_t at = next_candidate(mm, *cursor, &vma);
		*cursor = vma ? at + PMD_SIZE : 0;
		if (!vma)
			break;
		if (has_table(mm, at) && !collapse_one(vma, at, MAX_MISSING)) {
			const pte_t *pmd = pgtable_find_pmd(&mm->pgt, at);
			collapsed += pmd && pte_huge(pte_read(pmd));
		}
	}
	mm_read_unlock(mm);
	return collapsed;
}
