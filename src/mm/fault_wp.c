/* SPDX-License-Identifier: MIT */
/*
 * fault_wp.c - writes to entries that are present and read-only: made writable where nobody else could notice, else copied.
 *
 * Locking: page_table_lock is held, but for the time that page_mkwrite takes.
 */
#include "fault_internal.h"

static void make_writable(struct fault *f)
{
	__atomic_fetch_or(f->slot, PTE_WRITE | PTE_DIRTY | PTE_ACCESSED, __ATOMIC_ACQ_REL);
}

static enum vm_fault_result wp_page_copy(struct fault *f, struct page *old)
{
	struct page *page = fault_copy_page(f->mm, old);

	if (!page)
		return VM_FAULT_OOM;
	fault_count(f->mm, FAULT_WP_COPY);
	gather_begin(&f->gather, f->mm);
	fault_install_anon(f, f->address, page);
	gather_entry(&f->gather, f->slot, f->address);
	atomic_fetch_sub_explicit(&old->mapcount, 1, memory_order_relaxed);
	rss_add(f->mm, page_counter(old), -1);
	rss_add(f->mm, MM_ANONPAGES, 1);
	gather_page(&f->gather, old);
	gather_end(&f->gather);
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
		pthread_mutex_unlock(&f->mm->page_table_lock);
		r = fault_mkwrite(f, page);
		pthread_mutex_lock(&f->mm->page_table_lock);
		page_put(f->mm->frames, page);
	}
	pte_t now = pte_read(f->slot);
	if (r == VM_FAULT_DONE && (now & PTE_PRESENT) && pte_pfn(now) == pte_pfn(f->orig) &&
	    fault_page_is_current(f, page)) {
		make_writable(f);
		f->dirtied |=
			filemap_set_dirty(page); /* after that, and both under page_table_lock: see W1 */
	}
	return r;
}

enum vm_fault_result do_wp_page(struct fault *f)
{
	if (pte_is_zero_page(f->orig)) {
		fault_count(f->mm, FAULT_WP_ZERO_PAGE);
		return fault_map_anon(f);
	}
	struct page *page = pfn_to_page(f->mm->frames, pte_pfn(f->orig));
	if (f->vma->flags & VM_SHARED)
		return wp_shared(f, page);
	if (page_anon(page) && atomic_load(&page->mapcount) == 1) {
		fault_count(f->mm, FAULT_WP_REUSE);
		page_move_anon_rmap(page, f->vma);
		make_writable(f);
		return VM_FAULT_DONE;
	}
	return wp_page_copy(f, page);
}
