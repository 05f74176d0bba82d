/* SPDX-License-Identifier: MIT */
/* swap_readahead.c - see swap_readahead.h. */
#include "swap_readahead.h"

#include "swap_cache.h"

#define FIRST_WINDOW 8u

/* Of the neighbours that came along last time, how many were used since; *nr: how many there were. */
static unsigned int last_used(const struct fault *f, unsigned int *nr)
{
	const struct vma *vma = f->vma;
	gva_t start = max_u64(vma->swap_window_start, vma->start),
	      end = min_u64(start + vma->swap_window_pages * PAGE_SIZE, vma->end);
	const pte_t *slot = start < end ? pgtable_find(&f->mm->pgt, start) : NULL;
	unsigned int used = 0;

	*nr = 0;
	for (; slot && start < end; start += PAGE_SIZE, slot++, ++*nr)
		used += (pte_read(slot) & (PTE_PRESENT | PTE_ACCESSED)) == (PTE_PRESENT | PTE_ACCESSED);
	return used;
}

static struct window choose_window(struct fault *f)
{
	struct vma *vma = f->vma;
	unsigned int nr, used = last_used(f, &nr), wide = max_u64(vma->swap_window_pages, 1);
	gva_t behind = vma->swap_window_start + (uint64_t)vma->swap_window_pages * PAGE_SIZE;
	bool follows = f->address == behind;

	if (nr > 1)
		frames_count(f->mm->frames, SWAP_RA_HIT, used ? used - 1 : 0);
	if (!vma->swap_window_pages)
		wide = FIRST_WINDOW;
	else if (follows || (used > 1 && (used - 1) * 2 >= nr - 1))
		wide = (unsigned int)min_u64(wide * 2ull, SWAP_AROUND_PAGES);
	else if (used <= 1)
		wide = (unsigned int)max_u64(wide / 2, 1);
	wide = (unsigned int)min_u64(wide, atomic_load_explicit(&f->mm->host->swap.around_pages,
								memory_order_relaxed));
	struct window w = fault_block(f, wide);
	if (follows)
		w = (struct window){f->address, min_u64(min_u64(f->address + wide * PAGE_SIZE, vma->end),
							(f->address & PMD_MASK) + PMD_SIZE)};
	vma->swap_window_start = w.start;
	vma->swap_window_pages = (uint32_t)((w.end - w.start) >> PAGE_SHIFT);
	return w;
}

void swap_around_add(struct swap_around *a, gva_t address, pte_t pte)
{
	unsigned int i = a->nr++;

	for (; i && a->at[i - 1].pte > pte; i--)
		a->at[i] = a->at[i - 1];
	a->at[i] = (struct swap_around_entry){.address = address, .pte = pte};
}

/* The one right behind the last window. */
static bool is_next(const struct fault *f)
{
	const struct vma *vma = f->vma;

	return vma->swap_window_pages > FIRST_WINDOW &&
	       f->address == vma->swap_window_start + (uint64_t)vma->swap_window_pages * PAGE_SIZE;
}

void swap_ahead_find(struct fault *f, struct swap_around *a)
{
	const struct vma *vma = f->vma;
	gva_t start = vma->swap_window_start + (uint64_t)vma->swap_window_pages * PAGE_SIZE;
	uint64_t nr = min_u64(vma->swap_window_pages * 2ull,
			      atomic_load_explicit(&f->mm->host->swap.around_pages, memory_order_relaxed));
	gva_t end = min_u64(min_u64(start + nr * PAGE_SIZE, vma->end), (start & PMD_MASK) + PMD_SIZE);

	a->nr = a->main = 0;
	if (!f->in_order || start >= vma->end || memcg_room(f->mm->memcg) < 2 * nr)
		return;
	const pte_t *slot = pgtable_find(&f->mm->pgt, start);
	for (gva_t at = start; slot && at < end; at += PAGE_SIZE, slot++) {
		pte_t pte = pte_read(slot);
		if (entry_type(pte) == ENTRY_SWAP &&
		    swp_device(pte_to_swp_entry(pte)) == swp_device(pte_to_swp_entry(f->swapped)) &&
		    !swap_cached(f->mm->host, pte))
			swap_around_add(a, at, pte);
	}
}

void swap_around_find(struct fault *f, struct swap_around *a)
{
	struct mm_host *h = f->mm->host;
	swp_entry_t entry = pte_to_swp_entry(f->orig);
	struct window w = {f->address, f->address + PAGE_SIZE};
	struct page *page = swap_cache_find(h, entry);

	a->nr = a->main = 0;
	f->swapped = f->orig;
	f->in_order = is_next(f);
	if ((!page || f->in_order) && !(f->flags & FAULT_FLAG_FORCE))
		w = choose_window(f);
	for (gva_t at = w.start; at < w.end; at += PAGE_SIZE) {
		pte_t pte = pte_read(fault_slot_at(f, at));
		if (entry_type(pte) == ENTRY_SWAP && swp_device(pte_to_swp_entry(pte)) == swp_device(entry))
			swap_around_add(a, at, pte);
	}
	for (unsigned int i = 0; i < a->nr; i++) {
		bool main = a->at[i].address == f->address;
		a->main = main ? i : a->main;
		a->at[i].page = main ? page : swap_cache_find(h, pte_to_swp_entry(a->at[i].pte));
	}
}
