/* SPDX-License-Identifier: MIT */
/*
 * fault_wp.c - writes to entries that are present and read-only: made writable where nobody else could notice, else copied.
 *
 * Locking: page_table_lock is held throughout.
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
	fault_install_anon(f, f->slot, page);
	gather_entry(&f->gather, f->slot, f->address);
	atomic_fetch_sub_explicit(&old->mapcount, 1, memory_order_relaxed);
	rss_add(f->mm, page_counter(old), -1);
	rss_add(f->mm, MM_ANONPAGES, 1);
	gather_page(&f->gather, old);
	gather_end(&f->gather);
	return VM_FAULT_DONE;
}

enum vm_fault_result do_wp_page(struct fault *f)
{
	if (pte_is_zero_page(f->orig)) {
		fault_count(f->mm, FAULT_WP_ZERO_PAGE);
		return fault_map_anon(f);
	}
	struct page *page = pfn_to_page(f->mm->frames, pte_pfn(f->orig));
	if (f->vma->flags & VM_SHARED) {
		fault_count(f->mm, FAULT_WP_SHARED);
		make_writable(f);
		return VM_FAULT_DONE;
	}
	if (page_anon(page) && atomic_load(&page->mapcount) == 1) {
		fault_count(f->mm, FAULT_WP_REUSE);
		make_writable(f);
		return VM_FAULT_DONE;
	}
	return wp_page_copy(f, page);
}
