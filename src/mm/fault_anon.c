/* SPDX-License-Identifier: MIT */
/*
 * fault_anon.c - faults on private anonymous memory, and how wide they map.
 *
 * Fault-around. An exit is expensive, so one fault maps a window of pages, never past the area or one table page:
 *   - an area of up to SMALL_AREA_PAGES is mapped whole;
 *   - a fault just behind the last window continues it, four times as wide, up to mm->fault_around_pages;
 *   - any other fault looks at the aligned blocks of 4, 16, 64, 256 pages around it and takes the widest chain of blocks of
 *     which a quarter is populated already, so that sparse use stays sparse and dense use fills up with few faults. A heap begins with
 *     32, the data of a program that is copied with 16, and the next wider block.
 * Pages of a window are marked accessed and dirty as if touched: a shadow MMU then installs neighbours ahead too. The
 * memory a window adds is at most four times what was touched, and none of it when the account is nearly full.
 *
 * Locking: page_table_lock is held throughout.
 */
#include <string.h>

#include "ageing.h"
#include "fault_internal.h"

#define SMALL_AREA_PAGES     16
#define ZERO_AROUND_PAGES    16
#define HEAP_AROUND_PAGES    32
#define PROGRAM_AROUND_PAGES 16

/* A page that the guest has used already in the way that the fault is about: had, or, where copies are made, written. */
static bool counts_as_used(const struct fault *f, pte_t pte)
{
	if (!pte_present(pte) || (pte & PTE_SPECIAL))
		return false;
	return !pte_present(f->orig) || (f->orig & PTE_SPECIAL) || pte_write(pte);
}

static bool quarter_populated(const struct fault *f, uint64_t nr)
{
	struct window w = fault_block(f, nr);
	uint64_t there = 1; /* the page about to come */

	for (gva_t at = w.start; at < w.end; at += PAGE_SIZE)
		there += counts_as_used(f, pte_read(fault_slot_at(f, at)));
	return there * 4 >= nr;
}

/*
 * What is used densely as a rule: a heap, which is asked for piece by piece (but not what is copied of it after a fork), and the data of a
 * program.
 */
static uint64_t expected_pages(const struct fault *f)
{
	bool copied = pte_present(f->orig) && !(f->orig & PTE_SPECIAL);

	if (vma_is_anonymous(f->vma))
		return !copied && f->vma->start == f->mm->start_brk ? HEAP_AROUND_PAGES : 1;
	return copied && (f->vma->flags & VM_PROGRAM) &&
			       !page_anon(pfn_to_page(f->mm->frames, pte_pfn(f->orig)))
		       ? PROGRAM_AROUND_PAGES
		       : 1;
}

static uint64_t dense_pages(const struct fault *f, uint64_t most)
{
	uint64_t wide = min_u64(expected_pages(f), most);

	for (uint64_t nr = wide > 16 ? 64 : 4 * wide; nr <= most && quarter_populated(f, nr); nr *= 4)
		wide = nr;
	return wide;
}

struct window fault_window(struct fault *f)
{
	struct vma *vma = f->vma;
	uint64_t most = f->mm->fault_around_pages, room = memcg_room(f->mm->memcg);
	struct window w;

	while (most > 1 && most * 2 > room)
		most /= 2;
	if (f->wanted_end) {
		w = fault_block(f, most);
		return (struct window){f->address, min_u64(w.end, f->wanted_end)};
	}
	if (vma_pages(vma) <= min_u64(SMALL_AREA_PAGES, most)) {
		w = fault_block(f, most);
	} else if (f->address == vma->window_end) {
		uint64_t nr = min_u64(max_u64(vma->window_pages, 1) * 4, most);
		w = fault_block(f, nr);
		w.start = f->address;
		vma->window_pages = (uint32_t)nr;
	} else {
		uint64_t nr = dense_pages(f, most);
		w = fault_block(f, nr);
		vma->window_pages = (uint32_t)nr;
	}
	vma->window_end = w.end;
	return w;
}

/* A run of charged, zeroed frames; fewer than wanted when memory is short or broken up. */
struct frame_run {
	struct page *page;
	unsigned int left;
};

struct page *fault_alloc_by_policy(struct vma *vma, gva_t address, gfp_t gfp, unsigned int order)
{
	struct mm *mm = vma->mm;
	bool own = vma->policy.mode != MPOL_DEFAULT;
	struct mempolicy_setting s = own ? vma->policy : mm_mempolicy(mm);

	if (s.mode == MPOL_DEFAULT)
		return page_alloc(mm->frames, gfp, order);
	/* An area interleaves by the numbers of its pages, so that it does not matter who touches them when. */
	uint32_t turn =
		own ? (uint32_t)vma_linear_index(vma, address) : atomic_fetch_add(&mm->policy_turn, 1);
	struct mempolicy policy = mempolicy_of(s, turn);
	const struct alloc_task task = {.policy = &policy};
	return page_alloc_task(mm->frames, &task, gfp, order);
}

/* Interleaving goes page by page. */
static bool is_interleaved(const struct vma *vma)
{
	unsigned int mode = vma->policy.mode != MPOL_DEFAULT ? vma->policy.mode : mm_mempolicy(vma->mm).mode;

	return mode == MPOL_INTERLEAVE || mode == MPOL_WEIGHTED_INTERLEAVE;
}

static struct page *run_next(struct fault *f, struct frame_run *run, gva_t address, uint64_t wanted)
{
	unsigned int order = is_interleaved(f->vma) ? 0 : 63u - (unsigned int)__builtin_clzll(wanted);

	if (order > 9)
		order = 9;
	while (!run->left) {
		if (memcg_charge(f->mm->memcg, 1ull << order)) {
			gfp_t gfp = order ? GFP_TRANSHUGE_LIGHT : GFP_HIGHUSER_MOVABLE;
			run->page = fault_alloc_by_policy(f->vma, address, gfp | __GFP_ZERO, order);
			if (run->page) {
				run->left = 1u << order;
				break;
			}
			memcg_uncharge(f->mm->memcg, 1ull << order);
		}
		if (!order)
			return NULL;
		order--;
	}
	struct page *page = run->page++;
	run->left--;
	page_set_memcg(page, f->mm->memcg);
	return page;
}

static void run_give_back(struct fault *f, struct frame_run *run)
{
	for (; run->left; run->left--, run->page++) {
		run->page->memcg = f->mm->memcg;
		page_put(f->mm->frames, run->page);
	}
}

void fault_install_anon(struct fault *f, gva_t address, struct page *page)
{
	page_add_new_anon_rmap(page, f->vma, address);
	uint64_t write = f->vma->flags & VM_WRITE ? PTE_WRITE | PTE_DIRTY : 0;
	pte_set(fault_slot_at(f, address),
		pte_make(page_to_pfn(f->mm->frames, page), vma_pte_flags(f->vma->flags) | write));
}

/* Empties the entries of the zero page: no thread may read it any more when another sees what has come in its place. */
static void unmap_zero_page(struct fault *f, struct window w)
{
	bool found = false;

	for (gva_t at = w.start; at < w.end; at += PAGE_SIZE) {
		pte_t *slot = fault_slot_at(f, at);
		if (!pte_is_zero_page(pte_read(slot)))
			continue;
		pte_exchange(slot, 0);
		gather_entry(&f->gather, slot, at);
		found = true;
	}
	if (found)
		gather_flush(&f->gather);
}

/* Puts zeroed pages of our own under every entry of the window that is empty or has the zero page. */
static enum vm_fault_result map_anon_window(struct fault *f, struct window w)
{
	struct frame_run run = {0};
	int64_t mapped = 0;

	unmap_zero_page(f, w);
	for (gva_t at = w.start; at < w.end; at += PAGE_SIZE) {
		pte_t *slot = fault_slot_at(f, at);
		if (!pte_none(pte_read(slot)))
			continue;
		struct page *page = run_next(f, &run, at, (w.end - at) >> PAGE_SHIFT);
		if (!page)
			break;
		fault_install_anon(f, at, page);
		mapped++;
	}
	run_give_back(f, &run);
	rss_add(f->mm, MM_ANONPAGES, mapped);
	if (mapped > 1)
		atomic_fetch_add_explicit(&f->mm->fault_around_mapped, (uint64_t)mapped - 1,
					  memory_order_relaxed);
	/* Out of frames before the window came to the page that is needed? */
	return pte_none(pte_read(f->slot)) ? VM_FAULT_OOM : VM_FAULT_DONE;
}

enum vm_fault_result fault_map_anon(struct fault *f)
{
	return map_anon_window(f, fault_window(f));
}

static enum vm_fault_result map_zero_window(struct fault *f)
{
	struct window w = fault_block(f, min_u64(ZERO_AROUND_PAGES, f->mm->fault_around_pages));
	pte_t zero = pte_make(page_to_pfn(f->mm->frames, f->mm->frames->zero_page),
			      vma_pte_flags(f->vma->flags) | PTE_SPECIAL);

	for (gva_t at = w.start; at < w.end; at += PAGE_SIZE) {
		pte_t *slot = fault_slot_at(f, at);
		if (pte_none(pte_read(slot)))
			pte_set(slot, zero);
	}
	return VM_FAULT_DONE;
}

enum vm_fault_result do_anonymous_page(struct fault *f)
{
	if (!fault_wants_write(f)) {
		fault_count(f->mm, FAULT_ANON_ZERO_PAGE);
		return map_zero_window(f);
	}
	fault_count(f->mm, FAULT_ANON_WRITE);
	return fault_map_anon(f);
}

struct page *fault_copy_page(struct mm *mm, const struct page *from)
{
	if (!memcg_charge(mm->memcg, 1))
		return NULL;
	struct page *page = page_alloc(mm->frames, GFP_HIGHUSER_MOVABLE, 0);
	if (!page) {
		memcg_uncharge(mm->memcg, 1);
		return NULL;
	}
	page_set_memcg(page, mm->memcg);
	memcpy(page_address(mm->frames, page), page_address(mm->frames, from), PAGE_SIZE);
	return page;
}
