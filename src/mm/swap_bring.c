/* SPDX-License-Identifier: MIT */
/* swap_bring.c - see swap_bring.h. */
#include "swap_bring.h"

#include <errno.h>

#include "lock.h"
#include "pagewalk.h"
#include "swap_cache.h"
#include "swap_readahead.h"

struct search {
	const struct swap_device *device; /* NULL: any */
	gva_t address;
	bool found;
};

static void look(void *ctx, pte_t *slot, gva_t address)
{
	struct search *s = ctx;
	pte_t pte = pte_read(slot);

	if (s->found || entry_type(pte) != ENTRY_SWAP ||
	    (s->device && swp_device(pte_to_swp_entry(pte)) != s->device->index))
		return;
	s->found = true;
	s->address = address;
}

/* The rest of the tables is passed over once something was found. */
static bool enough(void *ctx, pte_t *pmd, gva_t address, gva_t end)
{
	(void)pmd;
	(void)address;
	(void)end;
	return ((const struct search *)ctx)->found;
}

bool swap_find_entry(struct mm *mm, gva_t start, gva_t end, const struct swap_device *d, gva_t *address)
{
	static const struct pte_walk_ops ops = {.pte = look, .table = enough};
	struct search s = {.device = d};

	if (!mm_counter(mm, MM_SWAPENTS))
		return false;
	pthread_mutex_lock(&mm->page_table_lock);
	pte_walk(mm, start, end, &ops, &s);
	pthread_mutex_unlock(&mm->page_table_lock);
	*address = s.address;
	return s.found;
}

int swap_bring_range(struct vma *vma, gva_t start, gva_t end, uint64_t least_room)
{
	while (memcg_room(vma->mm->memcg) > least_room &&
	       swap_find_entry(vma->mm, start, end, NULL, &start)) {
		switch (handle_mm_fault(vma, start, 0, 0)) {
		case VM_FAULT_OOM:
			return -ENOMEM;
		case VM_FAULT_SIGBUS:
			return -EIO;
		default:
			break;
		}
	}
	return 0;
}

/* --- those that are known ------------------------------------------------------------------------------------------ */

/* Of the pages of one area those that are in slots of one device, with that held. NULL: none. page_table_lock is held. */
static struct swap_device *note_entries(struct fault *f, const gva_t *at, unsigned int nr,
					struct swap_around *a)
{
	struct mm_host *h = f->mm->host;
	struct swap_device *d = NULL;

	f->slot = pgtable_find(&f->mm->pgt, f->address);
	for (unsigned int i = 0; f->slot && i < nr; i++) {
		pte_t pte = pte_read(fault_slot_at(f, at[i]));
		if (entry_type(pte) != ENTRY_SWAP)
			continue;
		swp_entry_t entry = pte_to_swp_entry(pte);
		if (!d)
			d = swap_hold(h, entry);
		if (swap_device_of(h, entry) == d)
			swap_around_add(a, at[i], pte);
	}
	for (unsigned int i = 0; i < a->nr; i++)
		a->at[i].page = swap_cache_find(h, pte_to_swp_entry(a->at[i].pte));
	return d;
}

/* mmap_lock is held. */
static void prefetch_area(struct vma *vma, const gva_t *at, unsigned int nr)
{
	struct fault f = {.mm = vma->mm, .vma = vma, .address = at[0]};
	struct swap_around a = {0};

	if (vma->flags & (VM_SHARED | VM_SPECIAL | VM_HUGETLB))
		return;
	gather_begin(&f.gather, f.mm);
	pthread_mutex_lock(&f.mm->page_table_lock);
	struct swap_device *d = note_entries(&f, at, nr, &a);
	gather_flush(&f.gather);
	pthread_mutex_unlock(&f.mm->page_table_lock);
	if (!d)
		return;
	swap_around_bring(&f, &a);
	swap_unhold(d);
}

bool mm_prefetch(struct mm *mm, const gva_t *at, unsigned int nr, uint64_t least_room)
{
	if (memcg_room(mm->memcg) < least_room + nr)
		return false;
	mm_read_lock(mm);
	for (unsigned int i = 0, end; i < nr; i = end) {
		struct vma *vma = vma_find(&mm->vmas, at[i]);
		for (end = i + 1; vma && end < nr && at[end] < vma->end; end++)
			;
		if (vma && vma->start <= at[i])
			prefetch_area(vma, at + i, end - i);
	}
	mm_read_unlock(mm);
	return true;
}
