/* SPDX-License-Identifier: MIT */
/* swap_readahead.c - see swap_readahead.h. */
#include "swap_readahead.h"

#include "swap_cache.h"

#define FIRST_WINDOW 8u
#define ROW	     2 /* windows that began right behind the one before */
#define PATIENCE     16

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

static gva_t behind_window(const struct vma *vma)
{
	return vma->swap_window_start + (uint64_t)vma->swap_window_pages * PAGE_SIZE;
}

/* Widths of windows that do not follow one another: see above. */
static unsigned int adapted_width(struct vma *vma, unsigned int used, unsigned int nr)
{
	unsigned int wide = vma->swap_window_pages;

	if (!wide)
		return FIRST_WINDOW;
	if (nr > 1 && used * 2 <= nr) {
		vma->swap_patience = PATIENCE;
		return wide > 1 ? wide / 2 : 1;
	}
	if (used < nr)
		return wide;
	vma->swap_patience -= vma->swap_patience > 0;
	return vma->swap_patience ? wide : wide * 2;
}

/* The window right behind the last one. */
static struct window next_window(const struct fault *f, unsigned int wide)
{
	return (struct window){f->address, min_u64(min_u64(f->address + wide * PAGE_SIZE, f->vma->end),
						   (f->address & PMD_MASK) + PMD_SIZE)};
}

static void set_window(struct vma *vma, struct window w, bool follows)
{
	uint32_t pages = (uint32_t)((w.end - w.start) >> PAGE_SHIFT);

	vma->swap_window_start = w.start;
	vma->swap_window_pages = pages;
	vma->swap_ahead_pages = follows && vma->swap_ahead_pages > pages ? vma->swap_ahead_pages - pages : 0;
}

/* The widest window; the entry keeps its device, or that is held. */
static uint32_t most_around(const struct fault *f)
{
	struct mm_host *h = f->mm->host;

	if (swap_device_of(h, pte_to_swp_entry(f->swapped))->one_by_one)
		return 1;
	return atomic_load_explicit(&h->swap.around_pages, memory_order_relaxed);
}

static struct window choose_window(struct fault *f)
{
	struct vma *vma = f->vma;
	unsigned int nr, used = last_used(f, &nr), wide = vma->swap_window_pages;
	uint64_t most = most_around(f);
	bool follows = f->address == behind_window(vma);

	if (nr > 1)
		frames_count(f->mm->frames, SWAP_RA_HIT, used ? used - 1 : 0);
	vma->swap_row = !follows ? 0 : vma->swap_row < UINT16_MAX ? vma->swap_row + 1 : UINT16_MAX;
	f->in_order = vma->swap_row >= ROW;
	if (follows && wide)
		wide = f->in_order ? wide * 2 : wide;
	else
		wide = adapted_width(vma, used, nr);
	wide = (unsigned int)min_u64(min_u64(wide, SWAP_AROUND_PAGES), most);
	struct window w = follows ? next_window(f, wide) : fault_block(f, wide);
	set_window(vma, w, follows);
	return w;
}

void swap_around_add(struct swap_around *a, gva_t address, pte_t pte)
{
	unsigned int i = a->nr++;

	for (; i && a->at[i - 1].pte > pte; i--)
		a->at[i] = a->at[i - 1];
	a->at[i] = (struct swap_around_entry){.address = address, .pte = pte};
}

/* How many pages may be under way behind the window. */
static uint64_t most_ahead(const struct fault *f)
{
	uint64_t share = atomic_load(&f->mm->memcg->max_pages) / 32;

	return min_u64(max_u64(share, f->vma->swap_window_pages), SWAP_AHEAD_PAGES);
}

/* What is to be asked for: behind what was. */
static struct window ahead_window(const struct fault *f)
{
	const struct vma *vma = f->vma;
	uint64_t most = most_ahead(f), pages = vma->swap_ahead_pages,
		 step = min_u64(2ull * vma->swap_window_pages, memcg_room(f->mm->memcg) / 2),
		 nr = pages < most ? min_u64(most - pages, min_u64(step, 2 * SWAP_AROUND_PAGES)) : 0;
	gva_t start = vma->swap_window_start + (vma->swap_window_pages + pages) * PAGE_SIZE;

	return (struct window){start, min_u64(min_u64(start + nr * PAGE_SIZE, vma->end),
					      (start & PMD_MASK) + PMD_SIZE)};
}

void swap_ahead_find(struct fault *f, struct swap_around *a)
{
	a->nr = a->main = 0;
	if (!f->in_order || most_around(f) == 1)
		return;
	struct window w = ahead_window(f);
	if (w.start >= w.end)
		return;
	const pte_t *slot = pgtable_find(&f->mm->pgt, w.start);
	for (gva_t at = w.start; slot && at < w.end; at += PAGE_SIZE, slot++) {
		pte_t pte = pte_read(slot);
		if (entry_type(pte) == ENTRY_SWAP &&
		    swp_device(pte_to_swp_entry(pte)) == swp_device(pte_to_swp_entry(f->swapped)) &&
		    !swap_cached(f->mm->host, pte))
			swap_around_add(a, at, pte);
	}
	f->vma->swap_ahead_pages += (uint32_t)((w.end - w.start) >> PAGE_SHIFT);
}

void swap_around_find(struct fault *f, struct swap_around *a)
{
	struct mm_host *h = f->mm->host;
	swp_entry_t entry = pte_to_swp_entry(f->orig);
	struct window w = {f->address, f->address + PAGE_SIZE};
	struct page *page = swap_cache_find(h, entry);

	a->nr = a->main = 0;
	f->swapped = f->orig;
	f->in_order = false;
	bool shared = swap_device_of(h, entry)->is_image; /* others bring its pages, too */
	if ((!page || shared || f->address == behind_window(f->vma)) && !(f->flags & FAULT_FLAG_FORCE))
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
