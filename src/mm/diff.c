/* SPDX-License-Identifier: MIT */
/*
 * diff.c - see diff.h.
 *
 * Locking: mmap_lock of `mm`, and for each 2 MiB both page_table_locks. Which of the two is a parent's nobody knows here, so there is no
 * order: the second one is only tried for.
 */
#include <sched.h>
#include <string.h>

#include "diff.h"
#include "lock.h"
#include "swap_cache.h"

struct diff {
	struct mm *mm, *base;
	const struct vma *vma;
	void (*fn)(void *ctx, gva_t address);
	void *ctx;
};

/* What a space has for a page. */
struct has {
	enum { HAS_NOTHING, HAS_FRAME, HAS_SLOT } what;
	struct page *page; /* HAS_FRAME */
	swp_entry_t entry; /* HAS_SLOT */
};

static struct has has_of_entry(struct mm *mm, pte_t pte, unsigned int index)
{
	if (pte_present(pte) && !(pte & PTE_SPECIAL))
		return (struct has){.what = HAS_FRAME, .page = pfn_to_page(mm->frames, pte_pfn(pte)) + index};
	if (entry_type(pte) == ENTRY_SWAP)
		return (struct has){.what = HAS_SLOT, .entry = pte_to_swp_entry(pte)};
	return (struct has){.what = HAS_NOTHING};
}

static struct has has_at(struct mm *mm, pte_t pmd, gva_t address)
{
	unsigned int index = (address >> PAGE_SHIFT) % PTRS_PER_TABLE;

	if (pte_huge(pmd))
		return has_of_entry(mm, pmd, index);
	if (!pte_table(pmd))
		return (struct has){.what = HAS_NOTHING};
	const pte_t *table = pfn_address(mm->frames, pte_pfn(pmd));
	return has_of_entry(mm, pte_read(&table[index]), 0);
}

static bool is_slot_of(const struct page *page, swp_entry_t entry)
{
	return page_in_swap_cache(page) && page_swap_entry(page).val == entry.val;
}

static bool is_zero(const struct diff *d, const struct page *page)
{
	const uint64_t *word = page_address(d->mm->frames, page);

	return !word[0] && !memcmp(word, word + 1, PAGE_SIZE - sizeof(*word));
}

/* What an area shows where it has nothing: zeroes, or a page of its file, which is no page of the space's. */
static bool is_nothing(const struct diff *d, const struct has *h)
{
	if (h->what != HAS_FRAME)
		return h->what == HAS_NOTHING;
	return d->vma->mapping ? !page_anon(h->page) : is_zero(d, h->page);
}

static bool same(const struct diff *d, const struct has *a, const struct has *b)
{
	if (a->what == HAS_SLOT || b->what == HAS_SLOT) {
		if (a->what == b->what)
			return a->entry.val == b->entry.val;
		return a->what == HAS_SLOT ? b->what == HAS_FRAME && is_slot_of(b->page, a->entry)
					   : a->what == HAS_FRAME && is_slot_of(a->page, b->entry);
	}
	if (a->what == b->what && a->page == b->page)
		return true;
	if (is_nothing(d, a) || is_nothing(d, b))
		return is_nothing(d, a) && is_nothing(d, b);
	return !memcmp(page_address(d->mm->frames, a->page), page_address(d->mm->frames, b->page), PAGE_SIZE);
}

static pte_t pmd_of(struct mm *mm, gva_t address)
{
	const pte_t *pmd = pgtable_find_pmd(&mm->pgt, address);

	return pmd ? pte_read(pmd) : 0;
}

/* What lies in one table. */
static void diff_table(struct diff *d, gva_t start, gva_t end)
{
	pte_t mine = pmd_of(d->mm, start), theirs = pmd_of(d->base, start);

	if (pte_present(mine) == pte_present(theirs) && pte_pfn(mine) == pte_pfn(theirs))
		return;
	for (gva_t at = start; at < end; at += PAGE_SIZE) {
		struct has a = has_at(d->mm, mine, at), b = has_at(d->base, theirs, at);
		if (!same(d, &a, &b))
			d->fn(d->ctx, at);
	}
}

static void lock_both(struct diff *d)
{
	pthread_mutex_lock(&d->base->page_table_lock);
	while (pthread_mutex_trylock(&d->mm->page_table_lock)) {
		pthread_mutex_unlock(&d->base->page_table_lock);
		sched_yield();
		pthread_mutex_lock(&d->base->page_table_lock);
	}
}

static void diff_area(struct diff *d)
{
	for (gva_t at = d->vma->start, end; at < d->vma->end; at = end) {
		end = min_u64((at & PMD_MASK) + PMD_SIZE, d->vma->end);
		lock_both(d);
		diff_table(d, at, end);
		pthread_mutex_unlock(&d->mm->page_table_lock);
		pthread_mutex_unlock(&d->base->page_table_lock);
	}
}

void mm_diff(struct mm *mm, struct mm *base, void (*fn)(void *ctx, gva_t address), void *ctx)
{
	struct diff d = {.mm = mm, .base = base, .fn = fn, .ctx = ctx};

	mm_read_lock(mm);
	vma_for_each (d.vma, &mm->vmas)
		if (!(d.vma->flags & (VM_SHARED | VM_SPECIAL)))
			diff_area(&d);
	mm_read_unlock(mm);
}
