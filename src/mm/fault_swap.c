/* SPDX-License-Identifier: MIT */
/*
 * fault_swap.c - faults on pages that are in a slot.
 *
 *	page_table_lock:  is the page in memory still? which neighbours come along? hold the device
 *	none:             take frames for those that are not, and read; wait for the locks of the pages
 *	page_table_lock:  is the entry still the same? then map the page, and the slot has one entry less; likewise neighbours
 *
 * A page that somebody else has too, or that is only read, is mapped read-only and keeps its slot: it may go again without a transfer.
 * Who writes to a page that he has alone takes it from its slot.
 *
 * A page that cannot be read, or is not what was written, is SIGBUS for who asked for it; the entry stays.
 */
#include "ageing.h"
#include "clock.h"
#include "swap_cache.h"
#include "swap_read.h"
#include "swap_readahead.h"
#include "workingset.h"

/* --- reading ------------------------------------------------------------------------------------------------------- */

/* A charged frame for a page, locked. NULL: no memory. */
static struct page *new_page(struct fault *f, gva_t address, gfp_t gfp)
{
	if (!memcg_charge(f->mm->memcg, 1))
		return NULL;
	struct page *page = fault_alloc_by_policy(f->vma, address, gfp, 0);
	if (!page) {
		memcg_uncharge(f->mm->memcg, 1);
		return NULL;
	}
	page_set_memcg(page, f->mm->memcg);
	page_trylock(page); /* nobody else knows it */
	return page;
}

/* Has the page of an entry read, which comes into the cache; its lock is the transfer's until that is done. */
static enum vm_fault_result read_page(struct fault *f, struct swap_around_entry *e, gfp_t gfp,
				      struct swap_plug *plug)
{
	struct mm_host *h = f->mm->host;
	struct page *page = new_page(f, e->address, gfp);

	if (!page)
		return VM_FAULT_OOM;
	int err = swap_read(h, f->mm->memcg, pte_to_swp_entry(e->pte), page, plug);
	if (err < 0) {
		page_unlock(page);
		page_put(h->frames, page);
		return VM_FAULT_RETRY;
	}
	e->page = page;
	if (err && e->address == f->address) {
		f->vmf.major = true;
		f->major_since_ns = err == SWAP_READ_UNDER_WAY ? clock_now_ns() : 0;
	}
	return VM_FAULT_DONE;
}

/* Neighbours for which there is no memory at hand stay where they are. */
static enum vm_fault_result read_pages(struct fault *f, struct swap_around *a)
{
	enum vm_fault_result r = VM_FAULT_DONE;
	struct swap_plug plug;
	uint64_t ahead = 0;

	swap_plug_begin(&plug, f->mm->host, SWAP_READ);
	for (unsigned int i = 0; i < a->nr && r == VM_FAULT_DONE; i++) {
		if (a->at[i].page)
			continue;
		if (i == a->main)
			r = read_page(f, &a->at[i], GFP_HIGHUSER_MOVABLE, &plug);
		else if (memcg_room(f->mm->memcg) > 1)
			ahead += read_page(f, &a->at[i], GFP_HIGHUSER_MOVABLE & ~__GFP_DIRECT_RECLAIM,
					   &plug) == VM_FAULT_DONE;
	}
	swap_plug_end(&plug);
	frames_count(f->mm->frames, SWAP_RA, ahead);
	return r;
}

static void put_pages(struct fault *f, struct swap_around *a)
{
	for (unsigned int i = 0; i < a->nr; i++) {
		struct page *page = a->at[i].page;
		if (!page)
			continue;
		swap_cache_drop(f->mm->host, page);
		page_put(f->mm->frames, page);
	}
}

/* --- mapping ------------------------------------------------------------------------------------------------------- */

void fault_count_swap(struct mm *mm, bool waited)
{
	fault_count(mm, FAULT_SWAP);
	atomic_fetch_add_explicit(&mm->memcg->nr_swap_faults, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&mm->memcg->nr_swap_waits, waited, memory_order_relaxed);
}

static bool is_filled(const struct page *page, swp_entry_t entry)
{
	return page_in_swap_cache(page) && page_swap_entry(page).val == entry.val &&
	       (atomic_load(&page->flags) & PG_UPTODATE);
}

/* What finds the page: the area's own anon_vma when nobody else has the page, else what all who may have it are linked to. */
static void name_page(const struct fault *f, const struct swap_around_entry *e)
{
	const struct anon_vma *own = vma_anon_vma(f->vma);
	bool sole = swap_count(f->mm->host, pte_to_swp_entry(e->pte)) == 1;

	if (!page_anon(e->page))
		page_set_anon(e->page, sole ? own : own->root, vma_linear_index(f->vma, e->address));
}

static pte_t read_only_entry(const struct fault *f, const struct page *page)
{
	pfn_t pfn = page_to_pfn(f->mm->frames, page);

	if (!(f->vma->flags & VM_ACCESS_FLAGS))
		return pte_make(pfn, PTE_PROTNONE);
	return pte_make(pfn, vma_pte_flags(f->vma->flags) & ~PTE_ACCESSED);
}

/* The entry says the page again instead of its slot; `used`: PTE_ACCESSED, PTE_DIRTY or none. The page is locked. */
static void map_page(struct fault *f, const struct swap_around_entry *e, pte_t used)
{
	struct vma *vma = f->vma;
	struct page *page = e->page;
	swp_entry_t entry = pte_to_swp_entry(e->pte);

	name_page(f, e);
	page_get(page);
	atomic_fetch_add(&page->mapcount, 1);
	pte_t pte = read_only_entry(f, page) | used;
	swap_put(f->mm->host, entry);
	if ((used & PTE_DIRTY) && swap_cache_reuse(f->mm->host, page)) {
		pte |= vma->flags & VM_WRITE ? PTE_WRITE : 0;
		page_move_anon_rmap(page, vma);
	} else {
		pte &= ~PTE_DIRTY;
	}
	pte_set(fault_slot_at(f, e->address), pte);
	rss_add(f->mm, MM_ANONPAGES, 1);
	atomic_fetch_sub_explicit(&f->mm->rss[MM_SWAPENTS], 1, memory_order_relaxed);
	if (vma->vm_ops && vma->vm_ops->swapin)
		vma->vm_ops->swapin(vma, e->address, page);
}

static void map_neighbours(struct fault *f, struct swap_around *a)
{
	const pte_t used = f->in_order ? PTE_ACCESSED : 0;
	uint64_t mapped = 0;

	for (unsigned int i = 0; i < a->nr; i++) {
		const struct swap_around_entry *e = &a->at[i];
		if (i == a->main || !e->page || pte_read(fault_slot_at(f, e->address)) != e->pte ||
		    !page_trylock(e->page))
			continue;
		if (is_filled(e->page, pte_to_swp_entry(e->pte))) {
			map_page(f, e, used);
			mapped++;
		}
		swap_cache_unlock(f->mm->host, e->page);
	}
	atomic_fetch_add_explicit(&f->mm->fault_around_mapped, mapped, memory_order_relaxed);
}

/* page_table_lock is held. */
static enum vm_fault_result map_pages(struct fault *f, struct swap_around *a, bool waited)
{
	const struct swap_around_entry *e = &a->at[a->main];
	bool write = fault_wants_write(f);

	f->slot = pgtable_own(f->mm, f->address, &f->gather);
	if (!f->slot)
		return VM_FAULT_OOM;
	if (pte_read(f->slot) != f->orig || !page_trylock(e->page))
		return VM_FAULT_RETRY;
	bool filled = is_filled(e->page, pte_to_swp_entry(e->pte));
	if (filled)
		map_page(f, e, PTE_ACCESSED | (write ? PTE_DIRTY : 0));
	swap_cache_unlock(f->mm->host, e->page);
	if (!filled)
		return VM_FAULT_RETRY;
	fault_count_swap(f->mm, waited);
	map_neighbours(f, a);
	f->orig = pte_read(f->slot);
	return write && !(f->orig & PTE_DIRTY) ? do_wp_page(f) : VM_FAULT_DONE;
}

/*
 * Waits for those that come along as well: they are on their way in the same transfers. Who has been killed does not wait; the pages stay
 * locked until their transfers are over, whoever had them.
 */
static enum vm_fault_result wait_for_pages(const struct fault *f, const struct swap_around *a, bool asked)
{
	for (unsigned int i = a->nr; i-- > 0;) /* the last ones come last: one sleep for all, mostly */
		if (a->at[i].page && !page_wait_or_stop(a->at[i].page, f->mm->host->is_dying))
			return VM_FAULT_SIGBUS;
	bool filled = atomic_load(&a->at[a->main].page->flags) & PG_UPTODATE;
	return filled || !asked ? VM_FAULT_DONE : VM_FAULT_SIGBUS;
}

/* For those to come, which are on their way while this window is waited for and used; what cannot be had at once is left. */
static void read_ahead(struct fault *f, struct swap_around *a)
{
	struct swap_plug plug;
	uint64_t nr = 0;

	swap_plug_begin(&plug, f->mm->host, SWAP_READ);
	plug.ahead = true;
	while (nr < a->nr &&
	       read_page(f, &a->at[nr], GFP_HIGHUSER_MOVABLE & ~__GFP_DIRECT_RECLAIM, &plug) == VM_FAULT_DONE)
		nr++;
	swap_plug_end(&plug);
	put_pages(f, a);
	frames_count(f->mm->frames, SWAP_RA, nr);
}

/* One page, with neighbours. */
static enum vm_fault_result do_swap_small(struct fault *f)
{
	struct swap_around a, ahead;
	struct swap_device *d = swap_hold(f->mm->host, pte_to_swp_entry(f->orig));

	swap_around_find(f, &a);
	swap_ahead_find(f, &ahead);
	bool asked = !a.at[a.main].page, waited = false,
	     recent = workingset_is_recent(f->mm->memcg, pte_to_swp_entry(f->orig).val);
	gather_flush(&f->gather);
	pthread_mutex_unlock(&f->mm->page_table_lock);
	if (recent)
		stall_begin(&f->mm->memcg->stall);
	enum vm_fault_result r = read_pages(f, &a);
	if (r == VM_FAULT_DONE) {
		waited = f->vmf.major || !(atomic_load(&a.at[a.main].page->flags) & PG_UPTODATE);
		read_ahead(f, &ahead);
		r = wait_for_pages(f, &a, asked);
	}
	if (recent)
		stall_end(&f->mm->memcg->stall);
	if (r == VM_FAULT_DONE) {
		pthread_mutex_lock(&f->mm->page_table_lock);
		r = map_pages(f, &a, waited);
		gather_end(&f->gather);
		pthread_mutex_unlock(&f->mm->page_table_lock);
	}
	put_pages(f, &a);
	swap_unhold(d);
	return r;
}

void swap_around_bring(struct fault *f, struct swap_around *a)
{
	struct swap_plug plug;
	enum vm_fault_result r = VM_FAULT_DONE;
	uint64_t nr = 0;

	swap_plug_begin(&plug, f->mm->host, SWAP_READ);
	plug.ahead = true;
	for (unsigned int i = 0; i < a->nr && r != VM_FAULT_OOM; i++)
		if (!a->at[i].page) {
			r = read_page(f, &a->at[i], GFP_HIGHUSER_MOVABLE & ~__GFP_DIRECT_RECLAIM, &plug);
			nr += r == VM_FAULT_DONE;
		}
	swap_plug_end(&plug);
	frames_count(f->mm->frames, SWAP_RA, nr);
	for (unsigned int i = 0; i < a->nr; i++)
		if (a->at[i].page)
			page_wait_unlocked(a->at[i].page);
	pthread_mutex_lock(&f->mm->page_table_lock);
	f->slot = pgtable_find(&f->mm->pgt, f->address); /* it may have become a huge entry */
	if (f->slot)
		f->slot = pgtable_own(f->mm, f->address, &f->gather);
	a->main = a->nr; /* nobody has faulted */
	if (f->slot)
		map_neighbours(f, a);
	gather_end(&f->gather);
	pthread_mutex_unlock(&f->mm->page_table_lock);
	put_pages(f, a);
}

enum vm_fault_result do_swap_page(struct fault *f)
{
	enum vm_fault_result r = VM_FAULT_DONE;

	if (!do_swap_block(f)) {
		if (f->slot && pte_read(f->slot) == f->orig)
			return do_swap_small(f);
		r = f->slot ? VM_FAULT_RETRY : VM_FAULT_OOM;
	}
	gather_end(&f->gather);
	pthread_mutex_unlock(&f->mm->page_table_lock);
	return r;
}
