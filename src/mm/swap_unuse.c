/* SPDX-License-Identifier: MIT */
/*
 * swap_unuse.c - see swap_unuse.h.
 *
 *	1  every space that may have swapped pages: each entry that says the device is faulted in; objects of shared memory likewise
 *	2  each space's page_table_lock is taken once, so that nobody is still judging a page by what its flags were before (S4 of swap.h)
 *	3  pages that are mapped only, but cached still, leave the cache
 *
 * and again, until nothing is in use: entries move while they are looked for, and spaces that end take some time.
 */
#include "swap_unuse.h"

#include <errno.h>
#include <time.h>

#include "anon_vma.h"
#include "fault.h"
#include "lock.h"
#include "shmem_swap.h"
#include "swap_bring.h"
#include "swap_cache.h"
#include "zap.h"

/* The space after `mm` on the list, with the caller as a user; the one before loses it. */
static struct mm *next_space(struct mm_host *h, struct mm *mm)
{
	struct swap_space *s = &h->swap;
	struct mm *found = NULL;

	pthread_mutex_lock(&s->mmlist_lock);
	for (struct list_head *at = mm ? mm->mmlist.next : s->mmlist.next; at != &s->mmlist && !found;
	     at = at->next) {
		struct mm *next = list_entry(at, struct mm, mmlist);
		found = mmget_not_zero(next) ? next : NULL;
	}
	pthread_mutex_unlock(&s->mmlist_lock);
	mmput(mm);
	return found;
}

/* --- step 1 -------------------------------------------------------------------------------------------------------- */

/* What nobody can read any more. */
static int poison(struct mm *mm, gva_t address)
{
	struct gather g;

	gather_begin(&g, mm);
	pthread_mutex_lock(&mm->page_table_lock);
	pte_t *slot = pgtable_own(mm, address, &g);
	if (slot && entry_type(pte_read(slot)) == ENTRY_SWAP) {
		zap_slot(&g, slot, address);
		pte_set(slot, entry_make(ENTRY_POISON, 0));
	}
	gather_end(&g);
	pthread_mutex_unlock(&mm->page_table_lock);
	return slot ? 0 : -ENOMEM;
}

static int bring(struct vma *vma, gva_t address)
{
	switch (handle_mm_fault(vma, address, 0, 0)) {
	case VM_FAULT_OOM:
		return -ENOMEM;
	case VM_FAULT_SIGBUS:
		return poison(vma->mm, address);
	default:
		return 0;
	}
}

static int unuse_area(const struct swap_device *d, struct vma *vma)
{
	gva_t at = vma->start;
	int err = 0;

	while (!err && swap_find_entry(vma->mm, at, vma->end, d, &at))
		err = bring(vma, at);
	return err;
}

static int unuse_space(const struct swap_device *d, struct mm *mm)
{
	struct vma *vma;
	int err = 0;

	mm_read_lock(mm);
	vma_for_each (vma, &mm->vmas) {
		err = vma_anon_vma(vma) ? unuse_area(d, vma) : 0;
		if (err)
			break;
	}
	mm_read_unlock(mm);
	return err;
}

static int unuse_spaces(struct swap_device *d)
{
	struct mm *mm = NULL;
	int err = 0;

	while (!err && (mm = next_space(d->host, mm)))
		err = unuse_space(d, mm);
	if (err)
		mmput(mm);
	return err ? err : shmem_unuse(d);
}

/* --- steps 2 and 3 ------------------------------------------------------------------------------------------------- */

static void settle_spaces(struct mm_host *h)
{
	struct mm *mm = NULL;

	while ((mm = next_space(h, mm))) {
		pthread_mutex_lock(&mm->page_table_lock);
		pthread_mutex_unlock(&mm->page_table_lock);
	}
}

/* The page of a slot that no entry says, with a reference. */
static struct page *page_without_entry(struct swap_device *d, uint64_t at)
{
	pthread_mutex_lock(&d->map.lock);
	struct page *page = d->map.slot[at].count ? NULL : d->map.slot[at].page;
	if (page)
		page_get(page);
	pthread_mutex_unlock(&d->map.lock);
	return page;
}

static void uncache(struct swap_device *d, uint64_t at)
{
	struct mm_host *h = d->host;
	struct page *page = page_without_entry(d, at);

	if (!page)
		return;
	page_lock(page);
	if (page_in_swap_cache(page) && page_swap_entry(page).val == swp_entry(d->index, at).val &&
	    !swap_count(h, page_swap_entry(page)))
		swap_cache_remove(h, page);
	swap_cache_unlock(h, page);
	page_put(h->frames, page);
}

static uint64_t slots_in_use(struct swap_device *d)
{
	pthread_mutex_lock(&d->map.lock);
	uint64_t used = d->map.nr_used;
	pthread_mutex_unlock(&d->map.lock);
	return used;
}

int swap_unuse(struct swap_device *d)
{
	const struct timespec while_spaces_end = {.tv_nsec = 1000000};

	while (slots_in_use(d)) {
		int err = unuse_spaces(d);
		if (err)
			return err;
		settle_spaces(d->host);
		for (uint64_t at = 1; at < d->nr_slots && slots_in_use(d); at++)
			uncache(d, at);
		if (slots_in_use(d))
			nanosleep(&while_spaces_end, NULL);
	}
	return 0;
}
