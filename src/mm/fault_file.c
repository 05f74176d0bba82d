/* SPDX-License-Identifier: MIT */
/*
 * fault_file.c - faults on pages of a file or of a shared object: the cache's page mapped, or a copy of it.
 *
 * A file is read without page_table_lock; whoever comes back second finds the entry filled and leaves it.
 */
#include <errno.h>

#include "fault_internal.h"

#define FILE_AROUND_PAGES 64

/* Maps a page of the cache; the caller's reference becomes the mapping's. */
static void install_cache(struct fault *f, pte_t *slot, struct page *page, bool write)
{
	atomic_fetch_add_explicit(&page->mapcount, 1, memory_order_relaxed);
	pte_set(slot, pte_make(page_to_pfn(f->mm->frames, page),
			       vma_pte_flags(f->vma->flags) | (write ? PTE_WRITE | PTE_DIRTY : 0)));
	rss_add(f->mm, page_counter(page), 1);
}

/* map_pages: the neighbours that the cache holds already. page_table_lock is held. */
static void map_cached_around(struct fault *f, bool write)
{
	struct window w = fault_block(f, min_u64(FILE_AROUND_PAGES, f->mm->fault_around_pages));

	for (gva_t at = w.start; at < w.end; at += PAGE_SIZE) {
		pte_t *slot = fault_slot_at(f, at);
		struct page *page = NULL;
		if (pte_none(pte_read(slot)))
			page = filemap_find(f->vma->mapping, vma_linear_index(f->vma, at));
		if (page) {
			install_cache(f, slot, page, write);
			atomic_fetch_add_explicit(&f->mm->fault_around_mapped, 1, memory_order_relaxed);
		}
	}
}

/* Shared anonymous pages need no notice of a first write: a read maps them writable at once. */
static bool maps_writable(const struct fault *f)
{
	return (f->vma->flags & (VM_SHARED | VM_WRITE)) == (VM_SHARED | VM_WRITE);
}

static enum vm_fault_result finish_cow_fault(struct fault *f, struct page *cache_page)
{
	struct page *page = fault_copy_page(f->mm, cache_page);

	page_put(f->mm->frames, cache_page);
	if (!page)
		return VM_FAULT_OOM;
	fault_install_anon(f, f->slot, page);
	rss_add(f->mm, MM_ANONPAGES, 1);
	return VM_FAULT_DONE;
}

/* The entry is still empty and page_table_lock is held; `page` comes with a reference. */
static enum vm_fault_result finish_fault(struct fault *f, struct page *page)
{
	bool shared = f->vma->flags & VM_SHARED;

	if (fault_wants_write(f) && !shared) {
		fault_count(f->mm, FAULT_COW);
		return finish_cow_fault(f, page);
	}
	fault_count(f->mm, fault_wants_write(f) ? FAULT_SHARED : FAULT_READ);
	install_cache(f, f->slot, page, maps_writable(f));
	map_cached_around(f, maps_writable(f));
	return VM_FAULT_DONE;
}

static enum vm_fault_result mapping_error(int err)
{
	return err == -ENOMEM ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
}

enum vm_fault_result do_fault(struct fault *f)
{
	struct address_space *mapping = f->vma->mapping;
	uint64_t index = vma_linear_index(f->vma, f->address);
	struct window w = fault_block(f, min_u64(FILE_AROUND_PAGES, f->mm->fault_around_pages));
	struct page *page = filemap_find(mapping, index);
	bool major = false;

	if (!page) {
		if (mapping->host)
			filemap_readahead(mapping, vma_linear_index(f->vma, w.start),
					  (unsigned int)((w.end - w.start) >> PAGE_SHIFT), f->mm->memcg);
		int err = filemap_get(mapping, index, f->mm->memcg, &page, &major);
		if (err)
			return mapping_error(err);
		major = mapping->host;
	}
	atomic_fetch_add_explicit(major ? &f->mm->maj_flt : &f->mm->min_flt, 1, memory_order_relaxed);
	pthread_mutex_lock(&f->mm->page_table_lock);
	enum vm_fault_result r = VM_FAULT_DONE;
	if (pte_none(pte_read(f->slot)))
		r = finish_fault(f, page);
	else
		page_put(f->mm->frames, page); /* another thread was faster; the access is tried again */
	pthread_mutex_unlock(&f->mm->page_table_lock);
	return r;
}
