/* SPDX-License-Identifier: MIT */
/*
 * fault_swap.c - faults on pages that are in a slot.
 *
 *	page_table_lock:  is the page in memory still? hold the device
 *	none:             take a frame and read; wait for the page's lock
 *	page_table_lock:  is the entry still the same? then map the page, and the slot has one entry less
 *
 * A page that somebody else has too, or that is only read, is mapped read-only and keeps its slot: it may go again without a transfer.
 * Who writes to a page that he has alone takes it from its slot.
 *
 * A page that cannot be read, or is not what was written, is SIGBUS for who asked for it; the entry stays.
 */
#include "fault_internal.h"
#include "swap_cache.h"

/* A charged frame for the page, locked. NULL: no memory. */
static struct page *new_page(struct fault *f)
{
	if (!memcg_charge(f->mm->memcg, 1))
		return NULL;
	struct page *page = fault_alloc_by_policy(f->vma, f->address, GFP_HIGHUSER_MOVABLE, 0);
	if (!page) {
		memcg_uncharge(f->mm->memcg, 1);
		return NULL;
	}
	page->memcg = f->mm->memcg;
	page_trylock(page); /* nobody else knows it */
	return page;
}

/* A slot that remembers a word instead of a page. */
static bool fill_from_word(struct mm_host *h, swp_entry_t entry, struct page *page)
{
	struct swap_map *m = &swap_device_of(h, entry)->map;
	uint64_t *word = page_address(h->frames, page);

	pthread_mutex_lock(&m->lock);
	struct swap_slot slot = m->slot[swp_slot(entry)];
	pthread_mutex_unlock(&m->lock);
	if (!(slot.flags & SLOT_SAME))
		return false;
	for (unsigned int i = 0; i < PAGE_SIZE / sizeof(*word); i++)
		word[i] = slot.value;
	atomic_fetch_or(&page->flags, PG_UPTODATE);
	frames_count(h->frames, SWPIN_ZERO, 1);
	return true;
}

/* Has the page read, which comes into the cache; *page has a reference, and its lock is the transfer's until that is done. */
static enum vm_fault_result read_page(struct fault *f, swp_entry_t entry, struct page **page)
{
	struct mm_host *h = f->mm->host;
	struct page *fresh = new_page(f);
	struct swap_plug plug;

	if (!fresh)
		return VM_FAULT_OOM;
	if (swap_cache_add(h, entry, fresh)) {
		page_unlock(fresh);
		page_put(h->frames, fresh);
		return VM_FAULT_RETRY;
	}
	if (fill_from_word(h, entry, fresh)) {
		page_unlock(fresh);
	} else {
		page_get(fresh);
		swap_plug_begin(&plug, h, SWAP_READ);
		swap_plug_add(&plug, fresh);
		swap_plug_end(&plug);
		f->vmf.major = true;
	}
	*page = fresh;
	return VM_FAULT_DONE;
}

static bool is_of(const struct page *page, swp_entry_t entry)
{
	return page_in_swap_cache(page) && page_swap_entry(page).val == entry.val;
}

/* The page of the slot, with a reference, locked, and filled. page_table_lock is not held. */
static enum vm_fault_result get_page(struct fault *f, swp_entry_t entry, struct page **page)
{
	struct mm_host *h = f->mm->host;
	bool asked = !*page;

	if (asked) {
		enum vm_fault_result r = read_page(f, entry, page);
		if (r != VM_FAULT_DONE)
			return r;
	}
	page_lock(*page);
	bool filled = atomic_load(&(*page)->flags) & PG_UPTODATE;
	if (filled && is_of(*page, entry))
		return VM_FAULT_DONE;
	swap_cache_unlock(h, *page);
	page_put(h->frames, *page);
	return asked && !filled ? VM_FAULT_SIGBUS : VM_FAULT_RETRY;
}

/* What finds the page: the area's own anon_vma when nobody else has the page, else what all who may have it are linked to. */
static void name_page(const struct fault *f, struct page *page, swp_entry_t entry)
{
	const struct anon_vma *own = vma_anon_vma(f->vma);
	bool sole = swap_count(f->mm->host, entry) == 1;

	if (!page_anon(page))
		page_set_anon(page, sole ? own : own->root, vma_linear_index(f->vma, f->address));
}

static pte_t read_only_entry(const struct fault *f, const struct page *page)
{
	pfn_t pfn = page_to_pfn(f->mm->frames, page);

	if (!(f->vma->flags & VM_ACCESS_FLAGS))
		return pte_make(pfn, PTE_ACCESSED | PTE_PROTNONE);
	return pte_make(pfn, vma_pte_flags(f->vma->flags));
}

/* The entry says the page again instead of its slot. page_table_lock is held, the page locked. */
static void map_page(struct fault *f, swp_entry_t entry, struct page *page)
{
	struct vma *vma = f->vma;

	name_page(f, page, entry);
	page_get(page);
	atomic_fetch_add(&page->mapcount, 1);
	pte_t pte = read_only_entry(f, page);
	if (fault_wants_write(f) && swap_count(f->mm->host, entry) == 1 && atomic_load(&page->mapcount) == 1)
		pte |= PTE_DIRTY | (vma->flags & VM_WRITE ? PTE_WRITE : 0);
	swap_put(f->mm->host, entry);
	if (pte & PTE_DIRTY) {
		swap_cache_reuse(f->mm->host, page);
		page_move_anon_rmap(page, vma);
	}
	pte_set(f->slot, pte);
	rss_add(f->mm, MM_ANONPAGES, 1);
	atomic_fetch_sub_explicit(&f->mm->rss[MM_SWAPENTS], 1, memory_order_relaxed);
	fault_count(f->mm, FAULT_SWAP);
	if (vma->vm_ops && vma->vm_ops->swapin)
		vma->vm_ops->swapin(vma, f->address, page);
}

/* page_table_lock is held, and the page locked: only the latter ends here. */
static enum vm_fault_result install(struct fault *f, swp_entry_t entry, struct page *page)
{
	struct mm_host *h = f->mm->host;

	f->slot = pgtable_own(f->mm, f->address, &f->gather);
	bool same = f->slot && pte_read(f->slot) == f->orig;
	if (same)
		map_page(f, entry, page);
	swap_cache_unlock(h, page);
	page_put(h->frames, page);
	if (!same)
		return f->slot ? VM_FAULT_RETRY : VM_FAULT_OOM;
	f->orig = pte_read(f->slot);
	return fault_wants_write(f) && !(f->orig & PTE_DIRTY) ? do_wp_page(f) : VM_FAULT_DONE;
}

enum vm_fault_result do_swap_page(struct fault *f)
{
	swp_entry_t entry = pte_to_swp_entry(f->orig);
	struct mm_host *h = f->mm->host;
	struct page *page = swap_cache_find(h, entry);
	struct swap_device *d = swap_hold(h, entry);

	gather_flush(&f->gather);
	pthread_mutex_unlock(&f->mm->page_table_lock);
	enum vm_fault_result r = get_page(f, entry, &page);
	if (r == VM_FAULT_DONE) {
		pthread_mutex_lock(&f->mm->page_table_lock);
		r = install(f, entry, page);
		gather_end(&f->gather);
		pthread_mutex_unlock(&f->mm->page_table_lock);
	}
	swap_unhold(d);
	return r;
}
