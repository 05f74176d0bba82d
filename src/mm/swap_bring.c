/* SPDX-License-Identifier: MIT */
/* swap_bring.c - see swap_bring.h. */
#include "swap_bring.h"

#include <errno.h>

#include "fault.h"
#include "pagewalk.h"

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
