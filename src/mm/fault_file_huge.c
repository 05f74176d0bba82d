/* SPDX-License-Identifier: MIT */
/*
 * fault_file_huge.c - faults on files that one huge entry resolves.
 *
 *	file	| 512 pages | 512 pages |	each read at once into one block of frames (filemap.c), because windows of
 *	frames	| block     | block     |	read-ahead end where tables do in the address space (readahead.h)
 *	table	  PS          PS
 *
 * When the 512 pages around the fault are in the cache, in 512 frames that lie as the address space needs them, one entry maps them,
 * and a row of such faults maps several blocks at once. Nothing is read for that, and nothing allocated.
 *
 * The entry never lets anybody write: areas that write to their file are served page by page, because each first write has to be
 * noticed, and a private area that writes splits the entry and copies its page. A page with PG_READAHEAD has to fault by itself.
 *
 * Locking: page_table_lock is held throughout; mapping->lock keeps the pages in the cache while the block is taken.
 */
#include "block.h"
#include "fault_internal.h"

#define MAX_ROW_PAGES (8 * BLOCK_PAGES)

/* An area over a file, whose pages nobody writes through it, in which the aligned 2 MiB around `address` lie. */
static bool area_takes_block(const struct vma *vma, gva_t address)
{
	gva_t start = address & PMD_MASK;

	return vma->vm_ops == &filemap_vm_ops && !(vma->flags & (VM_NOHUGEPAGE | VM_RAND_READ)) &&
	       (vma->flags & (VM_SHARED | VM_WRITE)) != (VM_SHARED | VM_WRITE) && start >= vma->start &&
	       vma->end - start >= PMD_SIZE;
}

bool fault_takes_file_block(const struct fault *f)
{
	return !fault_wants_write(f) && area_takes_block(f->vma, f->address) &&
	       f->mm->fault_around_pages >= BLOCK_PAGES && thp_mode(f->mm) != THP_NEVER;
}

/* The first of 512 aligned frames that hold the pages from `index` on, or NULL. mapping->lock is held. */
static struct page *cached_block(struct frames *f, struct address_space *mapping, uint64_t index)
{
	struct page *head = radix_find(&mapping->pages, index);

	if (!head || block_head(f, head) != head)
		return NULL;
	for (unsigned int i = 0; i < BLOCK_PAGES; i++)
		if (page_mapping(&head[i]) != mapping || head[i].index != index + i ||
		    (atomic_load_explicit(&head[i].flags, memory_order_relaxed) & PG_READAHEAD))
			return NULL;
	return head;
}

static bool map_block(struct fault *f, pte_t *pmd, gva_t address)
{
	struct address_space *mapping = f->vma->mapping;

	pthread_mutex_lock(&mapping->lock);
	struct page *head = cached_block(f->mm->frames, mapping, vma_linear_index(f->vma, address));
	if (head)
		block_map_cached(f->mm->frames, head);
	pthread_mutex_unlock(&mapping->lock);
	if (!head)
		return false;
	pte_set(pmd, pte_make(page_to_pfn(f->mm->frames, head), vma_pte_flags(f->vma->flags) | PTE_HUGE));
	rss_add(f->mm, MM_FILEPAGES, BLOCK_PAGES);
	return true;
}

/* Blocks behind the first one, as far as there is nothing yet. */
static gva_t map_row(struct fault *f, gva_t at, gva_t end)
{
	for (; at < end && area_takes_block(f->vma, at); at += PMD_SIZE) {
		pte_t *pmd = pgtable_alloc_pmd(&f->mm->pgt, at);
		if (!pmd || !pte_none(pte_read(pmd)) || !map_block(f, pmd, at))
			break;
	}
	return at;
}

bool do_huge_file(struct fault *f)
{
	struct vma *vma = f->vma;
	gva_t start = f->address & PMD_MASK, end = start + PMD_SIZE;
	uint64_t pages = BLOCK_PAGES;

	if (!fault_takes_file_block(f))
		return false;
	pte_t *pmd = pgtable_alloc_pmd(&f->mm->pgt, f->address);
	if (!pmd || !pte_none(pte_read(pmd)) || !map_block(f, pmd, start))
		return false;
	fault_count(f->mm, FAULT_HUGE_FILE);
	if (f->address == vma->window_end && vma->window_pages >= BLOCK_PAGES) {
		pages = min_u64(2ull * vma->window_pages, MAX_ROW_PAGES);
		end = map_row(f, end, start + (pages << PAGE_SHIFT));
	}
	vma->window_pages = (uint32_t)pages;
	vma->window_end = end;
	atomic_fetch_add_explicit(&f->mm->fault_around_mapped, ((end - start) >> PAGE_SHIFT) - 1,
				  memory_order_relaxed);
	return true;
}
