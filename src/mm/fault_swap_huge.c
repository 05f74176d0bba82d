/* SPDX-License-Identifier: MIT */
/*
 * fault_swap_huge.c - 2 MiB that went to swap and come back whole: one huge entry instead of 512 that say slots.
 *
 *	page_table_lock:  all 512 entries say slots of one device, which nobody else says and nothing is cached for; take a block
 *	none:             its frames become the cached pages of the slots, and are read in runs; wait for all of them
 *	page_table_lock:  all entries as before, all pages read and nobody else's: the pages leave their slots, the table goes
 *
 * Where anything is otherwise the pages stay cached, and the fault goes on page by page, with what was read.
 *
 * Only where 2 MiB are wanted: the area asked for them or the space always does, and a row of windows that were used has come to their
 * beginning, or there is room for plenty: a quarter of the account. One touch is no reason to make others go.
 */
#include "ageing.h"
#include "block.h"
#include "clock.h"
#include "fault_internal.h"
#include "swap_cache.h"
#include "swap_read.h"
#include "workingset.h"

struct whole {
	struct fault *f;
	gva_t start;
	struct page *head;
	unsigned int nr_added; /* frames that are cached for slots, from the first on */
	pte_t pte[BLOCK_PAGES];
};

static pte_t *first_entry(const struct fault *f)
{
	return f->slot - level_index(f->address, 0);
}

/* --- whether -------------------------------------------------------------------------------------------------------- */

static bool is_hot(const struct fault *f)
{
	const struct vma *vma = f->vma;
	const struct memcg *cg = f->mm->memcg;
	gva_t behind = vma->swap_window_start + (uint64_t)vma->swap_window_pages * PAGE_SIZE;
	bool row =
		f->address == behind && vma->swap_window_pages == SWAP_AROUND_PAGES && !(behind & ~PMD_MASK);

	return row ? memcg_room(cg) >= 2 * BLOCK_PAGES
		   : memcg_room(cg) >= max_u64(4 * BLOCK_PAGES, cg->max_pages / 4);
}

/* Takes over the entries, if they are as they have to be. */
static bool look(struct whole *w)
{
	const pte_t *entry = first_entry(w->f);
	struct mm_host *h = w->f->mm->host;
	unsigned int device = swp_device(pte_to_swp_entry(w->f->orig));

	for (unsigned int i = 0; i < BLOCK_PAGES; i++) {
		w->pte[i] = pte_read(&entry[i]);
		swp_entry_t slot = pte_to_swp_entry(w->pte[i]);
		if (entry_type(w->pte[i]) != ENTRY_SWAP || swp_device(slot) != device ||
		    swap_count(h, slot) != 1 || swap_cached(h, w->pte[i]))
			return false;
	}
	return true;
}

static bool take_block(struct whole *w)
{
	struct mm *mm = w->f->mm;

	if (!memcg_charge(mm->memcg, BLOCK_PAGES))
		return false;
	w->head = fault_alloc_by_policy(w->f->vma, w->start, GFP_TRANSHUGE_LIGHT, BLOCK_ORDER);
	if (!w->head) {
		memcg_uncharge(mm->memcg, BLOCK_PAGES);
		return false;
	}
	for (unsigned int i = 0; i < BLOCK_PAGES; i++)
		page_set_memcg(&w->head[i], mm->memcg);
	return true;
}

/* --- reading -------------------------------------------------------------------------------------------------------- */

static void read_all(struct whole *w)
{
	struct mm *mm = w->f->mm;
	struct swap_plug plug;

	swap_plug_begin(&plug, mm->host, SWAP_READ);
	for (w->nr_added = 0; w->nr_added < BLOCK_PAGES; w->nr_added++) {
		struct page *page = &w->head[w->nr_added];
		page_trylock(page); /* nobody else knows it */
		if (swap_read(mm->host, mm->memcg, pte_to_swp_entry(w->pte[w->nr_added]), page, &plug) < 0) {
			page_unlock(page);
			break;
		}
	}
	swap_plug_end(&plug);
	for (unsigned int i = 0; i < w->nr_added; i++)
		if (!page_wait_or_stop(&w->head[i], mm->host->is_dying))
			return; /* they are found locked, and left */
}

/* --- mapping -------------------------------------------------------------------------------------------------------- */

/* The page of an entry that is as it was, read, and cached for nobody but us. */
static bool is_ready(struct page *page, pte_t pte)
{
	return page_in_swap_cache(page) && page_swap_entry(page).val == pte_to_swp_entry(pte).val &&
	       (atomic_load(&page->flags) & PG_UPTODATE) && atomic_load(&page->refs) == 2;
}

static bool entries_are_same(const struct whole *w)
{
	const pte_t *entry = first_entry(w->f);

	for (unsigned int i = 0; i < BLOCK_PAGES; i++)
		if (pte_read(&entry[i]) != w->pte[i] ||
		    swap_count(w->f->mm->host, pte_to_swp_entry(w->pte[i])) != 1)
			return false;
	return true;
}

static void unlock(struct whole *w, unsigned int nr)
{
	while (nr-- > 0)
		swap_cache_unlock(w->f->mm->host, &w->head[nr]);
}

/* All of them locked and ready; else none locked. */
static bool lock_all(struct whole *w)
{
	unsigned int nr = 0;

	for (; nr < BLOCK_PAGES && page_trylock(&w->head[nr]); nr++)
		if (!is_ready(&w->head[nr], w->pte[nr])) {
			unlock(w, nr + 1);
			return false;
		}
	if (nr < BLOCK_PAGES)
		unlock(w, nr);
	return nr == BLOCK_PAGES;
}

/* The page leaves its slot, which the table says no more, and becomes memory of the area alone. */
static void take_from_slot(struct whole *w, unsigned int i)
{
	struct mm_host *h = w->f->mm->host;
	struct page *page = &w->head[i];

	swap_put(h, pte_to_swp_entry(w->pte[i]));
	swap_cache_remove(h, page);
	page_set_anon(page, vma_anon_vma(w->f->vma),
		      vma_linear_index(w->f->vma, w->start + ((gva_t)i << PAGE_SHIFT)));
	page_unlock(page);
}

/* The table, of which no entry is present, goes; what processors know of the way to it, too. */
static void drop_table(struct whole *w, pte_t *pmd)
{
	struct fault *f = w->f;
	struct page *table = pgtable_below(&f->mm->pgt, pte_exchange(pmd, 0));

	for (unsigned int i = 0; i < BLOCK_PAGES; i++)
		pte_set(&first_entry(f)[i], 0);
	gather_entry_at(&f->gather, pmd, w->start, 1);
	gather_table(&f->gather, table, w->start);
	gather_flush(&f->gather);
	f->mm->pgt.nr_tables--;
	pgtable_discard(table, &f->gather.batch.freed_tables);
	gather_tables(&f->gather, w->start, w->start + PMD_SIZE);
}

/* page_table_lock is held, and the slot looked up anew. */
static bool install(struct whole *w)
{
	struct fault *f = w->f;
	struct vma *vma = f->vma;
	pte_t *pmd = pgtable_find_pmd(&f->mm->pgt, f->address);

	if (w->nr_added < BLOCK_PAGES || !entries_are_same(w) || !lock_all(w))
		return false;
	drop_table(w, pmd);
	for (unsigned int i = 0; i < BLOCK_PAGES; i++)
		take_from_slot(w, i);
	block_make(w->head);
	uint64_t write = vma->flags & VM_WRITE ? PTE_WRITE | PTE_DIRTY : 0;
	pte_set(pmd,
		pte_make(page_to_pfn(f->mm->frames, w->head), vma_pte_flags(vma->flags) | write | PTE_HUGE));
	rss_add(f->mm, MM_ANONPAGES, BLOCK_PAGES);
	atomic_fetch_sub_explicit(&f->mm->rss[MM_SWAPENTS], BLOCK_PAGES, memory_order_relaxed);
	frames_count(f->mm->frames, THP_SWPIN, 1);
	fault_count_swap(f->mm, f->vmf.major);
	vma->swap_window_start = w->start + PMD_SIZE - SWAP_AROUND_PAGES * PAGE_SIZE;
	vma->swap_window_pages = SWAP_AROUND_PAGES;
	vma->swap_ahead_pages = 0;
	return true;
}

/* What was read stays for the entries that say it. */
static void give_back(struct whole *w)
{
	for (unsigned int i = 0; i < BLOCK_PAGES; i++) {
		swap_cache_drop(w->f->mm->host, &w->head[i]);
		page_put(w->f->mm->frames, &w->head[i]);
	}
}

bool do_swap_block(struct fault *f)
{
	struct whole w = {.f = f, .start = f->address & PMD_MASK};
	struct memcg *cg = f->mm->memcg;

	if ((f->flags & FAULT_FLAG_FORCE) || !is_hot(f) || !fault_takes_block(f) || !look(&w) ||
	    !take_block(&w))
		return false;
	struct swap_device *d = swap_hold(f->mm->host, pte_to_swp_entry(f->orig));
	bool recent = workingset_is_recent(cg, pte_to_swp_entry(f->orig).val);
	gather_flush(&f->gather);
	pthread_mutex_unlock(&f->mm->page_table_lock);
	f->vmf.major = true;
	f->major_since_ns = clock_now_ns();
	if (recent)
		stall_begin(&cg->stall);
	read_all(&w);
	if (recent)
		stall_end(&cg->stall);
	pthread_mutex_lock(&f->mm->page_table_lock);
	f->slot = pgtable_own(f->mm, f->address, &f->gather);
	bool done = f->slot && install(&w);
	if (!done)
		give_back(&w);
	swap_unhold(d);
	return done;
}
