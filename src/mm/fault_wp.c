/* SPDX-License-Identifier: MIT */
/*
 * fault_wp.c - writes to entries that are present and read-only: made writable where nobody else could notice, else copied.
 *
 * A page is the space's own when no other entry, of any level and in any table, maps it: then the write just gets its right
 * (wp_page_reuse), whatever pins there are - those are this space's, and must see the write. Otherwise the page is copied, and its
 * neighbours with it where the guest has written around it before: an exit costs as much as copying dozens of pages.
 *
 * A copy becomes visible in three steps: the old entries are emptied, processors forget them, the new ones are set. Otherwise one
 * thread could read the old page after another had written to the new one.
 *
 * Locking: page_table_lock is held, but for the time that page_mkwrite takes.
 */
#include "block.h"
#include "fault_internal.h"
#include "swap_cache.h"

/* Copied along with a page even if nothing around it was written yet. */
#define WP_AROUND_PAGES 4

static void make_writable(const struct fault *f, pte_t *slot)
{
	/* Anonymous memory gets here only when nobody else has it. */
	struct page *page = pfn_to_page(f->mm->frames, pte_pfn(pte_read(slot)));
	uint64_t write = f->vma->flags & VM_WRITE ? PTE_WRITE : 0;

	if (page_anon(page))
		page_move_anon_rmap(page, f->vma);
	__atomic_fetch_or(slot, write | PTE_DIRTY | PTE_ACCESSED, __ATOMIC_ACQ_REL);
}

static bool is_own(const struct fault *f, pte_t pte)
{
	struct page *page = pfn_to_page(f->mm->frames, pte_pfn(pte));

	return page_anon(page) && page_is_exclusive(f->mm->frames, page);
}

/* Present, of a page that may be copied or reused, and not writable. */
static bool is_protected(pte_t pte)
{
	return (pte & PTE_PRESENT) && !(pte & PTE_SPECIAL) && !pte_write(pte);
}

/* A page that has a slot as well leaves it when nobody else has either: true. */
static bool leave_slot(const struct fault *f, struct page *page)
{
	page_get(page);
	bool locked = page_trylock(page), own = locked && swap_cache_reuse(f->mm->host, page);
	if (locked)
		swap_cache_unlock(f->mm->host, page);
	page_put(f->mm->frames, page);
	return own;
}

/* Neighbours that have slots lose them only where writes are dense: a slot is what lets a page go without a transfer. */
static void leave_slots_around(struct fault *f)
{
	struct window w = fault_window(f);

	for (gva_t at = w.start; at < w.end; at += PAGE_SIZE) {
		pte_t *slot = fault_slot_at(f, at), pte = pte_read(slot);
		struct page *page = pfn_to_page(f->mm->frames, pte_pfn(pte));
		if (is_protected(pte) && page_in_swap_cache(page) && leave_slot(f, page))
			make_writable(f, slot);
	}
}

/* Every page of the window that is the space's own becomes writable: that costs nothing, and saves exits. */
static void wp_page_reuse(struct fault *f)
{
	struct window w = fault_block(f, f->mm->fault_around_pages);

	fault_count(f->mm, FAULT_WP_REUSE);
	make_writable(f, f->slot);
	for (gva_t at = w.start; at < w.end; at += PAGE_SIZE) {
		pte_t *slot = fault_slot_at(f, at), pte = pte_read(slot);
		if (is_protected(pte) && is_own(f, pte))
			make_writable(f, slot);
	}
}

/* A window of pages while they are between the old and the new ones; by their place in the table. */
struct cow {
	struct window window;
	struct page *copy[PTRS_PER_TABLE];
};

static struct page **cow_at(struct cow *c, gva_t address)
{
	return &c->copy[level_index(address, 0)];
}

/* Copies the page at `address` and empties its entry. */
static bool cow_begin(struct fault *f, struct cow *c, gva_t address)
{
	pte_t *slot = fault_slot_at(f, address), pte = pte_read(slot);
	struct page *old = pfn_to_page(f->mm->frames, pte_pfn(pte)), *copy = fault_copy_page(f->mm, old);

	if (!copy)
		return false;
	*cow_at(c, address) = copy;
	pte_exchange(slot, 0);
	gather_entry(&f->gather, slot, address);
	atomic_fetch_sub(&old->mapcount, 1);
	rss_add(f->mm, page_counter(old), -1);
	gather_page(&f->gather, old);
	return true;
}

/*
 * A page of a file shows what is written to the file until the guest itself writes to it: such a neighbour stays, but in a program. One
 * with a slot stays too.
 */
static bool may_come_along(const struct fault *f, pte_t pte)
{
	struct page *page = pfn_to_page(f->mm->frames, pte_pfn(pte));

	if (!is_protected(pte))
		return false;
	return page_anon(page) ? !page_in_swap_cache(page) : !!(f->vma->flags & VM_PROGRAM);
}

/* The neighbours, as far as memory allows. */
static void cow_around(struct fault *f, struct cow *c)
{
	for (gva_t at = c->window.start; at < c->window.end; at += PAGE_SIZE) {
		pte_t pte = pte_read(fault_slot_at(f, at));
		if (at == f->address || !may_come_along(f, pte))
			continue;
		if (is_own(f, pte))
			make_writable(f, fault_slot_at(f, at));
		else if (!cow_begin(f, c, at))
			return;
	}
}

static void cow_end(struct fault *f, struct cow *c)
{
	uint64_t copied = 0;

	for (gva_t at = c->window.start; at < c->window.end; at += PAGE_SIZE) {
		struct page *copy = *cow_at(c, at);
		if (!copy)
			continue;
		fault_install_anon(f, at, copy);
		copied++;
	}
	rss_add(f->mm, MM_ANONPAGES, (int64_t)copied);
	atomic_fetch_add_explicit(&f->mm->fault_around_mapped, copied - 1, memory_order_relaxed);
}

static struct window cow_window(struct fault *f)
{
	struct window w = fault_window(f),
		      least = fault_block(f, min_u64(WP_AROUND_PAGES, f->mm->fault_around_pages));

	if (memcg_room(f->mm->memcg) < 2 * WP_AROUND_PAGES)
		return w;
	return (struct window){min_u64(w.start, least.start), max_u64(w.end, least.end)};
}

static enum vm_fault_result wp_page_copy(struct fault *f)
{
	struct cow c = {.window = {f->address, f->address + PAGE_SIZE}};

	if (!cow_begin(f, &c, f->address))
		return VM_FAULT_OOM;
	fault_count(f->mm, FAULT_WP_COPY);
	if (!(f->flags & FAULT_FLAG_FORCE)) {
		c.window = cow_window(f);
		cow_around(f, &c);
	}
	gather_flush(&f->gather);
	cow_end(f, &c);
	return VM_FAULT_DONE;
}

/* The area's operations may have to wait before the page becomes writable: the entry is looked at anew after that. */
static enum vm_fault_result wp_shared(struct fault *f, struct page *page)
{
	enum vm_fault_result r = VM_FAULT_DONE;

	fault_count(f->mm, FAULT_WP_SHARED);
	if (vma_wants_mkwrite(f->vma)) {
		f->vmf = (struct vm_fault){.vma = f->vma,
					   .address = f->address,
					   .pgoff = vma_linear_index(f->vma, f->address),
					   .flags = f->flags};
		page_get(page);
		gather_flush(&f->gather);
		pthread_mutex_unlock(&f->mm->page_table_lock);
		r = fault_mkwrite(f, page);
		pthread_mutex_lock(&f->mm->page_table_lock);
		page_put(f->mm->frames, page);
	}
	pte_t now = pte_read(f->slot);
	if (r == VM_FAULT_DONE && (now & PTE_PRESENT) && pte_pfn(now) == pte_pfn(f->orig) &&
	    fault_page_is_current(f, page)) {
		make_writable(f, f->slot);
		f->dirtied |=
			filemap_set_dirty(page); /* after that, and both under page_table_lock: see W1 */
	}
	return r;
}

static bool is_device(const struct fault *f)
{
	return (f->orig & PTE_SPECIAL) &&
	       pte_pfn(f->orig) != page_to_pfn(f->mm->frames, f->mm->frames->zero_page);
}

/* wp_pfn_shared, or the copy of a frame that nobody counts; one that is no memory cannot be copied. */
static enum vm_fault_result wp_device(struct fault *f)
{
	if (f->vma->flags & VM_SHARED) {
		__atomic_fetch_or(f->slot, PTE_WRITE | PTE_DIRTY | PTE_ACCESSED, __ATOMIC_ACQ_REL);
		return VM_FAULT_DONE;
	}
	if (pte_pfn(f->orig) >= f->mm->frames->max_pfn)
		return VM_FAULT_SIGBUS;
	struct page *copy = fault_copy_page(f->mm, pfn_to_page(f->mm->frames, pte_pfn(f->orig)));
	if (!copy)
		return VM_FAULT_OOM;
	fault_count(f->mm, FAULT_WP_COPY);
	pte_exchange(f->slot, 0);
	gather_entry(&f->gather, f->slot, f->address);
	gather_flush(&f->gather);
	fault_install_anon(f, f->address, copy);
	rss_add(f->mm, MM_ANONPAGES, 1);
	return VM_FAULT_DONE;
}

/* While a page is being written out it is waited for, without page_table_lock. */
static enum vm_fault_result wp_swap_cache(struct fault *f, struct page *page)
{
	enum vm_fault_result r = VM_FAULT_DONE;

	if (page_locked(page)) {
		page_get(page);
		gather_flush(&f->gather);
		pthread_mutex_unlock(&f->mm->page_table_lock);
		page_wait_unlocked(page);
		pthread_mutex_lock(&f->mm->page_table_lock);
		page_put(f->mm->frames, page);
		r = VM_FAULT_RETRY;
	} else if (leave_slot(f, page)) {
		leave_slots_around(f);
	}
	return r;
}

enum vm_fault_result do_wp_page(struct fault *f)
{
	if (is_device(f))
		return wp_device(f);
	if (pte_is_zero_page(f->orig)) {
		fault_count(f->mm, FAULT_WP_ZERO_PAGE);
		return fault_map_anon(f);
	}
	if (f->vma->flags & VM_SHARED)
		return wp_shared(f, pfn_to_page(f->mm->frames, pte_pfn(f->orig)));
	struct page *page = pfn_to_page(f->mm->frames, pte_pfn(f->orig));
	enum vm_fault_result r = page_in_swap_cache(page) ? wp_swap_cache(f, page) : VM_FAULT_DONE;
	if (r != VM_FAULT_DONE)
		return r;
	if (!is_own(f, f->orig))
		return wp_page_copy(f);
	wp_page_reuse(f);
	return VM_FAULT_DONE;
}
