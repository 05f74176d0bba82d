/* SPDX-License-Identifier: MIT */
/*
 * fault_file.c - faults on pages of a file or of a shared object: the cache's page mapped, or a copy of it.
 *
 * A file is read without page_table_lock; whoever comes back second finds the entry filled and leaves it.
 */
#include <errno.h>

#include "clock.h"
#include "fault_internal.h"
#include "vmscan.h"

#define FILE_AROUND_PAGES 64
#define COPY_AROUND_PAGES 16
#define MAP_BATCH	  64 /* looked up with one hold of the cache's lock */

bool vma_wants_mkwrite(const struct vma *vma)
{
	return (vma->flags & VM_SHARED) && vma->vm_ops && vma->vm_ops->page_mkwrite;
}

/* Pages that need no notice of a first write are writable from the first read on. */
static bool maps_writable(const struct vma *vma, const struct page *page)
{
	return (vma->flags & (VM_SHARED | VM_WRITE)) == (VM_SHARED | VM_WRITE) &&
	       (!vma_wants_mkwrite(vma) || page_written_freely(page));
}

/* Maps a page of the cache, for a write if `dirty`; the caller's reference becomes the mapping's. */
static void install_cache(struct fault *f, pte_t *slot, struct page *page, bool dirty)
{
	bool write = dirty || maps_writable(f->vma, page);

	atomic_fetch_add_explicit(&page->mapcount, 1, memory_order_relaxed);
	pte_set(slot, pte_make(page_to_pfn(f->mm->frames, page),
			       vma_pte_flags(f->vma->flags) | (write ? PTE_WRITE | PTE_DIRTY : 0)));
	rss_add(f->mm, page_counter(page), 1);
	if (dirty)
		f->dirtied |= filemap_set_dirty(page);
}

void fault_map_around(struct vm_fault *vmf, uint64_t pgoff, struct page *page)
{
	struct fault *f = container_of(vmf, struct fault, vmf);
	gva_t address = f->address + ((pgoff - vmf->pgoff) << PAGE_SHIFT);
	pte_t *slot = fault_slot_at(f, address);

	if (!pte_none(pte_read(slot))) {
		page_put(f->mm->frames, page);
		return;
	}
	install_cache(f, slot, page, false);
	atomic_fetch_add_explicit(&f->mm->fault_around_mapped, 1, memory_order_relaxed);
}

/* A copy of the cache's page, which comes with a reference, where nothing is mapped. False: no memory. */
static bool install_copy(struct fault *f, gva_t address, struct page *cache_page)
{
	struct page *page = fault_copy_page(f->mm, cache_page);

	page_put(f->mm->frames, cache_page);
	if (!page)
		return false;
	fault_install_anon(f, address, page);
	rss_add(f->mm, MM_ANONPAGES, 1);
	return true;
}

/* A program's data is written all over soon: what the cache holds around it and nobody looked at is copied as well. */
static void copy_program_around(struct fault *f)
{
	struct window w = fault_block(f, min_u64(COPY_AROUND_PAGES, f->mm->fault_around_pages));
	uint64_t first = vma_linear_index(f->vma, w.start), last = vma_linear_index(f->vma, w.end) - 1;
	struct page *page[COPY_AROUND_PAGES];
	unsigned int nr;
	bool room = memcg_room(f->mm->memcg) >= 4 * COPY_AROUND_PAGES;

	while (room && (nr = filemap_find_batch(f->vma->mapping, &first, last, page, COPY_AROUND_PAGES)))
		for (unsigned int i = 0; i < nr; i++) {
			gva_t at = f->address + ((page[i]->index - f->vmf.pgoff) << PAGE_SHIFT);
			if (room && pte_none(pte_read(fault_slot_at(f, at))) &&
			    !(atomic_load(&page[i]->flags) & PG_READAHEAD))
				room = install_copy(f, at, page[i]);
			else /* somebody's, or a marked one, which has to fault */
				page_put(f->mm->frames, page[i]);
		}
}

static enum vm_fault_result finish_cow_fault(struct fault *f, struct page *cache_page)
{
	if (!install_copy(f, f->address, cache_page))
		return VM_FAULT_OOM;
	if ((f->vma->flags & VM_PROGRAM) && f->vma->vm_ops == &filemap_vm_ops &&
	    !(f->flags & FAULT_FLAG_FORCE))
		copy_program_around(f);
	return VM_FAULT_DONE;
}

static struct window around(const struct fault *f)
{
	return fault_block(f, min_u64(FILE_AROUND_PAGES, f->mm->fault_around_pages));
}

/* What one fault maps: the block around it, or, where the last one ended, twice as much as that. */
static struct window file_window(struct fault *f)
{
	struct vma *vma = f->vma;
	struct window w = around(f);

	if (f->address == vma->window_end && vma->window_pages) {
		uint64_t nr = min_u64(2ull * vma->window_pages, f->mm->fault_around_pages);
		w = fault_block(f, nr);
		w.start = f->address;
		vma->window_pages = (uint32_t)nr;
	} else {
		vma->window_pages = (uint32_t)min_u64(FILE_AROUND_PAGES, f->mm->fault_around_pages);
	}
	vma->window_end = w.end;
	return w;
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
	install_cache(f, f->slot, page, fault_wants_write(f));
	if (f->vma->vm_ops->map_pages) {
		struct window w = file_window(f);
		f->vma->vm_ops->map_pages(&f->vmf, vma_linear_index(f->vma, w.start),
					  vma_linear_index(f->vma, w.end) - 1);
	}
	return VM_FAULT_DONE;
}

enum vm_fault_result fault_mkwrite(struct fault *f, struct page *page)
{
	if (!vma_wants_mkwrite(f->vma))
		return VM_FAULT_DONE;
	f->vmf.page = page;
	return f->vma->vm_ops->page_mkwrite(&f->vmf);
}

enum vm_fault_result do_fault(struct fault *f)
{
	enum vm_fault_result r;

	f->vmf = (struct vm_fault){.vma = f->vma,
				   .address = f->address,
				   .pgoff = vma_linear_index(f->vma, f->address),
				   .flags = f->flags};
	r = f->vma->vm_ops->fault ? f->vma->vm_ops->fault(&f->vmf) : VM_FAULT_SIGBUS;
	struct page *page = f->vmf.page;
	if (r != VM_FAULT_DONE || !page)
		return r;
	if (fault_wants_write(f))
		r = fault_mkwrite(f, page);
	if (r != VM_FAULT_DONE) {
		page_put(f->mm->frames, page);
		return r;
	}
	pthread_mutex_lock(&f->mm->page_table_lock);
	if (pte_none(pte_read(f->slot)) && fault_page_is_current(f, page))
		r = finish_fault(f, page);
	else
		page_put(f->mm->frames, page); /* another thread was faster, or the page is out of date */
	pthread_mutex_unlock(&f->mm->page_table_lock);
	return r;
}

/* --- areas over a page cache: a file's, or that of a shared object ------------------------------------------------- */

static enum vm_fault_result mapping_error(int err)
{
	return err == -ENOMEM ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
}

static uint64_t shmem_pages(struct address_space *mapping)
{
	return BYTES_TO_PAGES((uint64_t)mapping->host->ops->size(mapping->host));
}

static struct ra_request ra_request(const struct fault *f, const struct memcg *cg)
{
	uint64_t most = f->mm->fault_around_pages, room = memcg_room(cg);
	struct window w = around(f);

	while (most > 1 && most * 2 > room)
		most /= 2;
	return (struct ra_request){.index = f->vmf.pgoff,
				   .around_first = vma_linear_index(f->vma, w.start),
				   .around_pages = (uint32_t)((w.end - w.start) >> PAGE_SHIFT),
				   .max_pages = (uint32_t)most,
				   .vpn = f->address >> PAGE_SHIFT,
				   .vm_flags = f->vma->flags};
}

/* Before an account is full windows would shrink: what was walked long ago goes first, if there is much of it. */
static void make_room(const struct fault *f, struct address_space *mapping, struct memcg *cg)
{
	uint64_t batch = memcg_reclaim_batch(cg);

	if (memcg_room(cg) < min_u64(batch, 2ull * f->mm->fault_around_pages) &&
	    filemap_nr_pages(mapping) >= 4 * batch)
		memcg_reclaim(f->mm->host, cg, batch, 0);
}

/* Where nothing is read there is nothing to read ahead of. */
static bool is_cached(struct address_space *mapping, uint64_t index)
{
	pthread_mutex_lock(&mapping->lock);
	bool cached = radix_find(&mapping->pages, index);
	pthread_mutex_unlock(&mapping->lock);
	return cached;
}

typedef struct ra_window readahead_fn(struct file_ra_state *ra, const struct ra_request *r);

static void read_ahead(const struct fault *f, struct memcg *cg, readahead_fn *decide)
{
	struct address_space *mapping = f->vma->mapping;

	make_room(f, mapping, cg);
	const struct ra_request r = ra_request(f, cg);
	pthread_mutex_lock(&mapping->lock);
	struct ra_window w = decide(&f->vma->ra, &r);
	pthread_mutex_unlock(&mapping->lock);
	if (!w.nr_pages)
		return;
	bool marks = w.mark - w.first < w.nr_pages && !is_cached(mapping, w.mark);
	filemap_readahead(mapping, w.first, w.nr_pages, cg);
	if (marks)
		filemap_mark_readahead(mapping, w.mark);
}

static bool take_mark(struct page *page)
{
	return (atomic_load(&page->flags) & PG_READAHEAD) &&
	       (atomic_fetch_and(&page->flags, ~(uint32_t)PG_READAHEAD) & PG_READAHEAD);
}

void fault_read_ahead_marked(struct fault *f)
{
	f->vmf.pgoff = vma_linear_index(f->vma, f->address);
	struct page *page = filemap_find(f->vma->mapping, f->vmf.pgoff);
	if (!page)
		return;
	if (take_mark(page))
		read_ahead(f, f->mm->memcg, readahead_async);
	page_put(f->mm->frames, page);
}

static enum vm_fault_result filemap_fault(struct vm_fault *vmf)
{
	struct fault *f = container_of(vmf, struct fault, vmf);
	struct address_space *mapping = vmf->vma->mapping;
	struct memcg *cg = vmf->vma->mm->memcg;

	if (mapping->shmem && vmf->pgoff >= shmem_pages(mapping))
		return VM_FAULT_SIGBUS; /* though there may be a page: fallocate reaches behind the end */
	vmf->page = filemap_find(mapping, vmf->pgoff);
	if (vmf->page) {
		if (take_mark(vmf->page))
			read_ahead(f, cg, readahead_async);
		return VM_FAULT_DONE;
	}
	f->major_since_ns = clock_now_ns();
	if (!mapping->shmem)
		read_ahead(f, cg, readahead_sync);
	int err = filemap_get(mapping, vmf->pgoff, cg, &vmf->page, &vmf->major);
	vmf->major |= !mapping->shmem; /* also when the readahead brought it */
	return err ? mapping_error(err) : VM_FAULT_DONE;
}

/* The neighbours that the cache holds already; a marked one has to fault. */
static void filemap_map_pages(struct vm_fault *vmf, uint64_t first, uint64_t last)
{
	struct page *page[MAP_BATCH];
	unsigned int nr;

	if (vmf->vma->mapping->shmem)
		last = min_u64(last, shmem_pages(vmf->vma->mapping) - 1); /* the page found is before that */
	while ((nr = filemap_find_batch(vmf->vma->mapping, &first, last, page, MAP_BATCH)))
		for (unsigned int i = 0; i < nr; i++) {
			if (page[i] == vmf->page || (atomic_load(&page[i]->flags) & PG_READAHEAD))
				page_put(vmf->vma->mm->frames, page[i]);
			else
				fault_map_around(vmf, page[i]->index, page[i]);
		}
}

/* Nothing to prepare here: the page becomes dirty with its entry. That there is this operation makes first writes fault. */
static enum vm_fault_result filemap_page_mkwrite(struct vm_fault *vmf)
{
	(void)vmf;
	return VM_FAULT_DONE;
}

const struct vm_operations filemap_vm_ops = {
	.fault = filemap_fault,
	.map_pages = filemap_map_pages,
	.page_mkwrite = filemap_page_mkwrite,
};
const struct vm_operations shmem_vm_ops = {.fault = filemap_fault, .map_pages = filemap_map_pages};
