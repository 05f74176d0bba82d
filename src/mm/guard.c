/* SPDX-License-Identifier: MIT */
/*
 * guard.c - pages that nobody may touch. See guard.h.
 *
 * Locking: page_table_lock, for one table at a time when guards are installed: each 2 MiB is made fit to be written first, so that
 * nothing has changed when memory runs out, and then filled.
 */
#include <errno.h>

#include "anon_vma.h"
#include "guard.h"
#include "pagewalk.h"
#include "zap.h"

/* --- installing --------------------------------------------------------------------------------------------------------------- */

typedef void table_fn(struct gather *g, pte_t *slot, gva_t start, gva_t end);

static void leave_as_is(struct gather *g, pte_t *slot, gva_t start, gva_t end)
{
	(void)g;
	(void)slot;
	(void)start;
	(void)end;
}

/* Poison stays: it tells of memory that is lost. */
static void fill(struct gather *g, pte_t *slot, gva_t start, gva_t end)
{
	for (gva_t at = start; at < end; at += PAGE_SIZE, slot++) {
		enum entry_type type = entry_type(pte_read(slot));
		if (type == ENTRY_GUARD || type == ENTRY_POISON)
			continue;
		zap_slot(g, slot, at);
		pte_set(slot, entry_make(ENTRY_GUARD, 0));
	}
}

static int each_table(struct mm *mm, gva_t start, gva_t end, table_fn *fn)
{
	int err = 0;

	for (gva_t at = start, stop; at < end && !err; at = stop) {
		struct gather g;
		stop = min_u64((at & PMD_MASK) + PMD_SIZE, end);
		gather_begin(&g, mm);
		pthread_mutex_lock(&mm->page_table_lock);
		pte_t *slot = pgtable_own(mm, at, &g);
		if (slot)
			fn(&g, slot, at, stop);
		else
			err = -ENOMEM;
		gather_end(&g);
		pthread_mutex_unlock(&mm->page_table_lock);
	}
	return err;
}

int guard_install(struct vma *vma, gva_t start, gva_t end)
{
	if (vma->flags & (VM_SPECIAL | VM_HUGETLB | VM_LOCKED))
		return -EINVAL;
	/* Also where pages are shared: it tells a fork that entries mean something which no fault brings back. */
	if (anon_vma_prepare(vma) || each_table(vma->mm, start, end, leave_as_is))
		return -ENOMEM;
	page_alloc_begin_reserve(); /* a table may have collapsed in between */
	int err = each_table(vma->mm, start, end, fill);
	page_alloc_end_reserve();
	return err;
}

/* --- removing ----------------------------------------------------------------------------------------------------------------- */

struct removal {
	struct mm *mm;
	struct gather gather;
	int err;
};

static bool holds_guard(const pte_t *table, gva_t start, gva_t end)
{
	const pte_t *slot = &table[level_index(start, 0)];
	bool found = false;

	for (gva_t at = start; at < end && !found; at += PAGE_SIZE)
		found = entry_type(pte_read(slot++)) == ENTRY_GUARD;
	return found;
}

static bool own_guarded(void *ctx, pte_t *pmd, gva_t address, gva_t end)
{
	struct removal *r = ctx;
	const pte_t *table = pfn_address(r->mm->frames, pte_pfn(pte_read(pmd)));

	if (!r->err && holds_guard(table, address, end) && !pgtable_own(r->mm, address, &r->gather))
		r->err = -ENOMEM;
	return true;
}

static void empty_guard(void *ctx, pte_t *slot, gva_t address)
{
	(void)ctx;
	(void)address;
	if (entry_type(pte_read(slot)) == ENTRY_GUARD)
		pte_set(slot, 0);
}

/* Processors have nothing to forget: they keep no translation of what was not there. */
int guard_remove(struct vma *vma, gva_t start, gva_t end)
{
	static const struct pte_walk_ops prepare = {.table = own_guarded}, remove = {.pte = empty_guard};
	struct removal r = {.mm = vma->mm};

	if (vma->flags & (VM_SPECIAL | VM_HUGETLB))
		return -EINVAL;
	gather_begin(&r.gather, r.mm);
	pthread_mutex_lock(&r.mm->page_table_lock);
	pte_walk(r.mm, start, end, &prepare, &r);
	gather_flush(&r.gather);
	if (!r.err)
		pte_walk(r.mm, start, end, &remove, NULL);
	gather_end(&r.gather);
	pthread_mutex_unlock(&r.mm->page_table_lock);
	return r.err;
}
