/* SPDX-License-Identifier: MIT */
/*
 * fault_huge.c - faults that one huge entry resolves: on private anonymous memory; on files: fault_file_huge.c.
 *
 * When 2 MiB are mapped at once. The aligned 2 MiB around the fault lie in the area, nothing is mapped there yet, the account has
 * room for twice as much, and
 *   - the area asked for it (MADV_HUGEPAGE), or the space always does (THP_ALWAYS); or
 *   - the space leaves it to areas (THP_MADVISE) and use has shown to be dense: a row of windows (fault_anon.c), each four times as
 *     wide as the one before, has come to the beginning of these 2 MiB; or somebody said that all of it will be used.
 * Such a row goes on with twice as many huge entries each time, up to HUGE_WINDOW_PAGES: an exit costs as much as clearing a
 * quarter of a block. When no block of frames can be had, 4 KiB entries do; nothing waits for one.
 *
 * A read of memory that asked for huge entries maps the huge zero page. A write to it, or to a block that other spaces map too,
 * begins anew: with a block of zeroes, or with 512 entries of which the ladder copies what it must.
 *
 * Locking: page_table_lock is held throughout.
 */
#include "ageing.h"
#include "anon_vma.h"
#include "block.h"
#include "fault_internal.h"
#include "huge.h"

#define HUGE_WINDOW_PAGES (4 * BLOCK_PAGES)

static gva_t block_start(gva_t address)
{
	return address & PMD_MASK;
}

/* Private memory without a file, in which the aligned 2 MiB around `address` lie. */
bool fault_area_takes_block(const struct vma *vma, gva_t address)
{
	gva_t start = block_start(address);

	return vma_is_anonymous(vma) && !(vma->flags & (VM_SHARED | VM_NOHUGEPAGE)) && start >= vma->start &&
	       vma->end - start >= PMD_SIZE;
}

static bool asked_for(const struct fault *f)
{
	return thp_mode(f->mm) == THP_ALWAYS ||
	       (thp_mode(f->mm) == THP_MADVISE && (f->vma->flags & VM_HUGEPAGE));
}

bool fault_takes_block(const struct fault *f)
{
	return fault_area_takes_block(f->vma, f->address) && asked_for(f);
}

/* A row of windows has come here, the last of them as wide as growth by four allows before a block. */
static bool in_dense_row(const struct fault *f)
{
	return f->address == block_start(f->address) && f->address == f->vma->window_end &&
	       f->vma->window_pages >= BLOCK_PAGES / 4;
}

static bool all_is_wanted(const struct fault *f)
{
	return f->wanted_end && f->address == block_start(f->address) &&
	       f->wanted_end - f->address >= PMD_SIZE;
}

static bool wants_block(const struct fault *f)
{
	if (thp_mode(f->mm) == THP_NEVER || memcg_room(f->mm->memcg) < 2 * BLOCK_PAGES)
		return false;
	if (asked_for(f))
		return true;
	return f->mm->fault_around_pages >= BLOCK_PAGES && (in_dense_row(f) || all_is_wanted(f));
}

struct page *fault_alloc_block(const struct vma *vma, gva_t address, gfp_t gfp)
{
	struct mm *mm = vma->mm;

	memcg_keep_reserve(mm->memcg);
	if (!memcg_charge(mm->memcg, BLOCK_PAGES))
		return NULL;
	struct page *head = page_alloc(mm->frames, GFP_TRANSHUGE_LIGHT | gfp, BLOCK_ORDER);
	frames_count(mm->frames, head ? THP_FAULT_ALLOC : THP_FAULT_FALLBACK, 1);
	if (!head) {
		memcg_uncharge(mm->memcg, BLOCK_PAGES);
		return NULL;
	}
	for (unsigned int i = 0; i < BLOCK_PAGES; i++) {
		page_set_memcg(&head[i], mm->memcg);
		page_set_anon(&head[i], vma_anon_vma(vma),
			      vma_linear_index(vma, address + ((gva_t)i << PAGE_SHIFT)));
	}
	block_make(head);
	return head;
}

void fault_map_block(struct vma *vma, pte_t *pmd, struct page *head)
{
	uint64_t write = vma->flags & VM_WRITE ? PTE_WRITE | PTE_DIRTY : 0;

	pte_set(pmd,
		pte_make(page_to_pfn(vma->mm->frames, head), vma_pte_flags(vma->flags) | write | PTE_HUGE));
	rss_add(vma->mm, MM_ANONPAGES, BLOCK_PAGES);
}

static bool map_block(struct fault *f, pte_t *pmd, gva_t address)
{
	struct page *head = fault_alloc_block(f->vma, address, __GFP_ZERO);

	if (!head)
		return false;
	fault_map_block(f->vma, pmd, head);
	return true;
}

/* How many blocks the row goes on with, and its memory of it. */
static uint64_t row_pages(const struct fault *f)
{
	uint64_t nr = f->vma->window_pages < BLOCK_PAGES ? BLOCK_PAGES : 2ull * f->vma->window_pages;

	while (nr > BLOCK_PAGES && 2 * nr > memcg_room(f->mm->memcg))
		nr /= 2;
	return min_u64(nr, HUGE_WINDOW_PAGES);
}

/* The blocks behind the first one, as far as there is nothing yet. */
static gva_t map_row(struct fault *f, gva_t at, gva_t end)
{
	for (; at < end && fault_area_takes_block(f->vma, at); at += PMD_SIZE) {
		pte_t *pmd = pgtable_alloc_pmd(&f->mm->pgt, at);
		if (!pmd || !pte_none(pte_read(pmd)) || !map_block(f, pmd, at))
			break;
	}
	return at;
}

static bool map_first_block(struct fault *f, pte_t *pmd)
{
	gva_t start = block_start(f->address), end = start + PMD_SIZE;
	bool row = in_dense_row(f);
	uint64_t pages = row ? row_pages(f) : BLOCK_PAGES;

	if (!map_block(f, pmd, start))
		return false;
	fault_count(f->mm, FAULT_HUGE_ANON);
	if (row) {
		end = map_row(f, end, start + (pages << PAGE_SHIFT));
		f->vma->window_pages = (uint32_t)pages;
	}
	f->vma->window_end = end;
	atomic_fetch_add_explicit(&f->mm->fault_around_mapped, ((end - start) >> PAGE_SHIFT) - 1,
				  memory_order_relaxed);
	return true;
}

static bool map_huge_zero_page(struct fault *f, pte_t *pmd)
{
	const struct page *zero = huge_zero_page(f->mm->host);

	if (!zero)
		return false;
	pte_set(pmd, pte_make(page_to_pfn(f->mm->frames, zero),
			      vma_pte_flags(f->vma->flags) | PTE_HUGE | PTE_SPECIAL));
	fault_count(f->mm, FAULT_HUGE_ZERO_PAGE);
	return true;
}

static bool do_huge_anonymous(struct fault *f)
{
	bool write = fault_wants_write(f);

	if (!fault_area_takes_block(f->vma, f->address) || !(write ? wants_block(f) : asked_for(f)))
		return false;
	pte_t *pmd = pgtable_alloc_pmd(&f->mm->pgt, f->address);
	if (!pmd || !pte_none(pte_read(pmd)))
		return false;
	return write ? map_first_block(f, pmd) : map_huge_zero_page(f, pmd);
}

/* No frame of the block is mapped by anybody else's entry, of any level. */
static bool block_is_own(struct fault *f, struct page *head)
{
	bool own = true;

	for (unsigned int i = 0; i < BLOCK_PAGES && own; i++)
		own = page_total_mapcount(f->mm->frames, &head[i]) == 1;
	return own;
}

/* A write to a huge entry without the right to it. False: it has to be split, or is gone, and the ladder goes on. */
static bool do_huge_wp(struct fault *f, pte_t *pmd, pte_t entry)
{
	if (entry & PTE_SPECIAL) {
		if (!huge_is_zero_page(f->mm->host, entry))
			return false;
		pte_exchange(pmd, 0);
		gather_entry_at(&f->gather, pmd, block_start(f->address), 1);
		gather_flush(&f->gather);
		return do_huge_anonymous(f);
	}
	struct page *head = pfn_to_page(f->mm->frames, pte_pfn(entry));
	if (!page_anon(head) || !block_is_own(f, head))
		return false;
	__atomic_fetch_or(pmd, PTE_WRITE | PTE_DIRTY | PTE_ACCESSED, __ATOMIC_ACQ_REL);
	fault_count(f->mm, FAULT_HUGE_WP_REUSE);
	return true;
}

bool do_huge_fault(struct fault *f)
{
	pte_t *pmd = pgtable_find_pmd(&f->mm->pgt, f->address);
	pte_t entry = pmd ? pte_read(pmd) : 0;

	if (pte_none(entry))
		return do_huge_file(f) || do_huge_anonymous(f);
	return pte_huge(entry) && (entry & PTE_PRESENT) && fault_wants_write(f) && do_huge_wp(f, pmd, entry);
}
