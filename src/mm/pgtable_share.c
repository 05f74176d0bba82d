/* SPDX-License-Identifier: MIT */
/*
 * pgtable_share.c - tables that several spaces use: sharing, taking back, copying. T1-T3 are in pgtable.h.
 *
 * A table is copied when its space wants to write an entry. The copy adds a reference and a mapcount for each page, and takes
 * PTE_WRITE from the anonymous ones in both, for from now on they have two entries. Nobody has to be told of that for the old
 * table's sake, since no entry that points to it lets anybody write (T2); but a shadow MMU keeps translations by table, and will use
 * them again when the table is taken back. So it is told.
 *
 * The old table keeps the reference of the space that left it until processors have forgotten the way to it: another space that
 * found itself alone too early would put pages into it that were not the first space's to see.
 */
#include <errno.h>

#include "huge.h"
#include "pagewalk.h"

/* Two entries will wait for the page that moves: neither may let write. False: the entry is not what it was. */
static bool dup_moving(pte_t *slot, pte_t *pte)
{
	pte_t both = *pte;

	if (((both >> ENTRY_COUNTER_SHIFT) & ENTRY_COUNTER_MASK) == MM_ANONPAGES)
		both &= ~ENTRY_WRITABLE;
	bool done = __atomic_compare_exchange_n(slot, pte, both, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
	*pte = both;
	return done;
}

/* Takes what one more entry like the one at `slot` needs, and returns that entry; *cleared: the slot's own lost PTE_WRITE. */
static pte_t dup_entry(struct mm_host *h, pte_t *slot, bool *cleared)
{
	struct frames *f = h->frames;

	for (;;) {
		pte_t pte = pte_read(slot);
		if (pte_none(pte))
			return 0;
		if (entry_type(pte) == ENTRY_MIGRATION) {
			if (dup_moving(slot, &pte))
				return pte;
			continue;
		}
		if (entry_type(pte) == ENTRY_SWAP)
			swap_dup(h, pte_to_swp_entry(pte)); /* nobody empties an entry of a shared table */
		if (!pte_present(pte) || (pte & PTE_SPECIAL))
			return pte;
		struct page *page = pfn_to_page(f, pte_pfn(pte));
		if (!page_get_unless_zero(page))
			continue; /* it is moving to another frame this very moment */
		if (page_anon(page) && pte_write(pte)) {
			pte_change(slot, PTE_WRITE, 0);
			*cleared = true;
		}
		pte_t now = pte_read(slot);
		if (pte_present(now) && pte_pfn(now) == page_to_pfn(f, page)) {
			atomic_fetch_add(&page->mapcount, 1);
			return now;
		}
		page_put(f, page);
	}
}

/* Gives the space a copy of the table that the entry at `pmd` shares. */
static bool copy_table(struct mm *mm, pte_t *pmd, gva_t address, struct gather *g)
{
	struct page *old = pgtable_below(&mm->pgt, pte_read(pmd)), *copy = pgtable_alloc_page(&mm->pgt);
	bool cleared = false;

	if (!copy)
		return false;
	pte_t *from = page_address(mm->frames, old), *to = page_address(mm->frames, copy);
	for (unsigned int i = 0; i < PTRS_PER_TABLE; i++)
		to[i] = dup_entry(mm->host, &from[i], &cleared);
	pte_exchange(pmd, pte_make(page_to_pfn(mm->frames, copy), TABLE_FLAGS));
	gather_entry_at(g, pmd, address, 1);
	if (cleared)
		gather_table(g, old, address);
	gather_table_put(g, old);
	return true;
}

/*
 * T3. The entry is empty while processors forget it: a shadow MMU that found it writable and its old translation still there would
 * mix what it knows of the table as it is with what it knows of the table read-only, and serve that to the next spaces to share it.
 */
static void take_back(pte_t *pmd, gva_t address, struct gather *g)
{
	pte_t entry = pte_exchange(pmd, 0);

	gather_entry_at(g, pmd, address, 1);
	gather_flush(g);
	pte_set(pmd, entry | PTE_WRITE);
}

static bool own_table(struct mm *mm, pte_t *pmd, gva_t address, struct gather *g)
{
	pte_t entry = pte_read(pmd);

	if (entry & PTE_WRITE)
		return true;
	if (pgtable_shared(&mm->pgt, entry))
		return copy_table(mm, pmd, address, g);
	take_back(pmd, address, g);
	return true;
}

/* Splits an entry of 1 GiB, if that is what is in the way. */
static bool split_above(struct mm *mm, gva_t address, struct gather *g)
{
	unsigned int level;
	pte_t *slot = pgtable_leaf(&mm->pgt, address, &level);

	return !slot || level < 2 || huge_split_entry(mm, slot, address, level, g);
}

pte_t *pgtable_own(struct mm *mm, gva_t address, struct gather *g)
{
	pte_t *pmd = split_above(mm, address, g) ? pgtable_alloc_pmd(&mm->pgt, address) : NULL;

	if (!pmd)
		return NULL;
	pte_t entry = pte_read(pmd);
	if (pte_huge(entry) ? !huge_split_entry(mm, pmd, address, 1, g)
			    : pte_table(entry) && !own_table(mm, pmd, address, g))
		return NULL;
	return pgtable_alloc(&mm->pgt, address);
}

/* Whatever lies astride `edge` is split or copied. */
static bool isolate_edge(struct mm *mm, gva_t edge, enum isolate_how how, struct gather *g)
{
	unsigned int level;
	pte_t *slot;

	while ((slot = pgtable_leaf(&mm->pgt, edge, &level)) && level) {
		if (!(edge & ((1ull << level_shift(level)) - 1)))
			return true;
		if (!huge_split_entry(mm, slot, edge, level, g))
			return false;
	}
	if (!slot || how == ISOLATE_HUGE || !(edge & ~PMD_MASK))
		return true;
	return !pgtable_shared(&mm->pgt, pte_read(pgtable_find_pmd(&mm->pgt, edge))) ||
	       pgtable_own(mm, edge, g);
}

struct isolate {
	struct mm *mm;
	struct gather *gather;
	int err;
};

static bool isolate_table(void *ctx, pte_t *pmd, gva_t address, gva_t end)
{
	struct isolate *i = ctx;

	(void)end;
	if (!i->err && !own_table(i->mm, pmd, address, i->gather))
		i->err = -ENOMEM;
	return true;
}

static const struct pte_walk_ops isolate_ops = {.table = isolate_table};

int pgtable_isolate(struct mm *mm, gva_t start, gva_t end, enum isolate_how how, struct gather *g)
{
	struct isolate i = {.mm = mm, .gather = g};

	if (!isolate_edge(mm, start, how, g) || !isolate_edge(mm, end, how, g))
		i.err = -ENOMEM;
	else if (how == ISOLATE_ALL)
		pte_walk(mm, start, end, &isolate_ops, &i);
	gather_flush(g);
	return i.err;
}

bool pgtable_share(struct mm *mm, pte_t *from, pte_t *to)
{
	pte_t entry = __atomic_fetch_and(from, ~PTE_WRITE, __ATOMIC_ACQ_REL);

	page_get(pgtable_below(&mm->pgt, entry));
	pte_set(to, entry & ~PTE_WRITE);
	mm->pgt.nr_tables++;
	return pte_write(entry);
}

static void put_entry(struct gather *g, pte_t pte)
{
	if (entry_type(pte) == ENTRY_SWAP)
		swap_put(g->batch.mm->host, pte_to_swp_entry(pte));
	if (!pte_present(pte) || (pte & PTE_SPECIAL))
		return;
	struct page *page = pfn_to_page(g->batch.mm->frames, pte_pfn(pte));
	atomic_fetch_sub(&page->mapcount, 1);
	gather_page(g, page);
}

void pgtable_put_shared(struct mm *mm, struct page *table)
{
	struct gather g;

	if (atomic_fetch_sub(&table->refs, 1) != 1)
		return;
	atomic_store(&table->refs, 1); /* nobody knows of it any more, but what a shadow MMU made of it */
	gather_begin(&g, mm);
	gather_table(&g, table, 0);
	pte_t *entry = page_address(mm->frames, table);
	for (unsigned int i = 0; i < PTRS_PER_TABLE; i++)
		put_entry(&g, pte_exchange(&entry[i], 0));
	pgtable_discard(table, &g.batch.freed_tables);
	gather_tables(&g, 0,
		      PMD_SIZE); /* where it was is known to nobody any more: only which table it is counts */
	gather_end(&g);
}
