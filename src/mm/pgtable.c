/* SPDX-License-Identifier: MIT */
/*
 * pgtable.c - walking and building page tables. See pgtable.h.
 *
 * Levels are folded, not special-cased: a 4-level space simply starts its walk at level 3.
 */
#include <errno.h>
#include <string.h>

#include "memcg.h"
#include "pgtable.h"

static pte_t *table_of(const struct pgtable *pt, pfn_t pfn)
{
	return pfn_address(pt->frames, pfn);
}

/* Whoever gives memory back may need a table on the way. */
static bool charge(struct memcg *cg)
{
	return page_alloc_in_reserve() ? memcg_charge_reserve(cg, 1) : memcg_charge(cg, 1);
}

struct page *pgtable_alloc_page(struct pgtable *pt)
{
	if (pt->memcg && !charge(pt->memcg))
		return NULL;
	struct page *page = page_alloc(pt->frames, GFP_TABLE | __GFP_ZERO, 0);
	if (!page) {
		if (pt->memcg)
			memcg_uncharge(pt->memcg, 1);
		return NULL;
	}
	page->memcg = pt->memcg;
	atomic_fetch_or(&page->flags, PG_TABLE);
	return page;
}

void pgtable_free_page(struct frames *f, struct page *table)
{
	page_put(f, table);
}

void pgtable_discard(struct page *table, struct list_head *freed)
{
	if (table->memcg)
		memcg_uncharge(table->memcg, 1);
	table->memcg = NULL;
	list_add_tail(&table->node, freed);
}

int pgtable_init(struct pgtable *pt, struct frames *f, struct memcg *cg, unsigned int levels,
		 pte_t kernel_entry)
{
	*pt = (struct pgtable){.frames = f, .memcg = cg, .levels = levels};
	pt->root = pgtable_alloc_page(pt);
	if (!pt->root)
		return -ENOMEM;
	pte_t *root = page_address(f, pt->root);
	root[PTRS_PER_TABLE / 2] = kernel_entry;
	return 0;
}

void pgtable_destroy(struct pgtable *pt)
{
	if (pt->root)
		pgtable_free_page(pt->frames, pt->root);
	pt->root = NULL;
}

/* Walks to the slot at `level`; makes missing tables when `make`. NULL too when a huge entry is in the way. */
static pte_t *walk(struct pgtable *pt, gva_t address, unsigned int level, bool make)
{
	pte_t *table = page_address(pt->frames, pt->root);

	for (unsigned int l = pt->levels - 1; l > level; l--) {
		pte_t *slot = &table[level_index(address, l)];
		pte_t entry = pte_read(slot);
		if (!pte_table(entry)) {
			struct page *page = make && pte_none(entry) ? pgtable_alloc_page(pt) : NULL;
			if (!page)
				return NULL;
			entry = pte_make(page_to_pfn(pt->frames, page), TABLE_FLAGS);
			pte_set(slot, entry);
			pt->nr_tables++;
		}
		table = table_of(pt, pte_pfn(entry));
	}
	return &table[level_index(address, level)];
}

/* The const of pgtable_find and its like is honest: without `make`, walk changes nothing. */
pte_t *pgtable_find(const struct pgtable *pt, gva_t address)
{
	return walk((struct pgtable *)(uintptr_t)pt, address, 0, false);
}

pte_t *pgtable_find_pmd(const struct pgtable *pt, gva_t address)
{
	return walk((struct pgtable *)(uintptr_t)pt, address, 1, false);
}

pte_t *pgtable_alloc(struct pgtable *pt, gva_t address)
{
	return walk(pt, address, 0, true);
}

pte_t *pgtable_alloc_pmd(struct pgtable *pt, gva_t address)
{
	return walk(pt, address, 1, true);
}

pte_t *pgtable_alloc_level(struct pgtable *pt, gva_t address, unsigned int level)
{
	return walk(pt, address, level, true);
}

pte_t *pgtable_leaf(const struct pgtable *pt, gva_t address, unsigned int *level)
{
	pte_t *table = page_address(pt->frames, pt->root);

	for (unsigned int l = pt->levels - 1;; l--) {
		pte_t *slot = &table[level_index(address, l)], entry = pte_read(slot);
		*level = l;
		if (!l || pte_huge(entry))
			return slot;
		if (!pte_table(entry))
			return NULL;
		table = table_of(pt, pte_pfn(entry));
	}
}

pte_t pgtable_translate(const struct pgtable *pt, gva_t address, pte_t **slot)
{
	pte_t *table = page_address(pt->frames, pt->root), rights = PTE_WRITE;

	*slot = NULL;
	for (unsigned int l = pt->levels - 1;; l--) {
		pte_t *at = &table[level_index(address, l)], entry = pte_read(at);
		if (l && !pte_huge(entry) && !pte_table(entry))
			return 0;
		if (!l || pte_huge(entry)) {
			uint64_t inside = (address & ((1ull << level_shift(l)) - 1)) >> PAGE_SHIFT;
			*slot = at;
			entry = l ? (entry & ~PTE_HUGE) + (inside << PAGE_SHIFT) : entry;
			return entry & PTE_PRESENT ? entry & ~(PTE_WRITE & ~rights) : entry;
		}
		rights &= entry;
		table = table_of(pt, pte_pfn(entry));
	}
}

struct page *pgtable_page(const struct pgtable *pt, const pte_t *slot)
{
	uint64_t offset = (uint64_t)((const char *)slot - pt->frames->direct_map);

	return pfn_to_page(pt->frames, offset >> PAGE_SHIFT);
}

struct unlink {
	struct pgtable *pt;
	gva_t floor, ceiling; /* tables must cover nothing outside; ceiling 0: the end of the address space */
	struct list_head *freed;
	uint64_t nr;
};

/* Unlinks the tables below `table` (at `level`) that cover [start, end] (end inclusive, so that it cannot wrap). */
static void unlink_below(struct unlink *u, pte_t *table, unsigned int level, gva_t start, gva_t end)
{
	uint64_t span = 1ull << level_shift(level);

	for (gva_t at = start & ~(span - 1);; at += span) {
		pte_t *slot = &table[level_index(at, level)];
		pte_t entry = pte_read(slot);
		gva_t last = at + span - 1;
		if (pte_table(entry)) {
			if (level > 1)
				unlink_below(u, table_of(u->pt, pte_pfn(entry)), level - 1,
					     max_u64(at, start), min_u64(last, end));
			if (at >= u->floor && last <= u->ceiling - 1) {
				struct page *page = pfn_to_page(u->pt->frames, pte_pfn(entry));
				pte_exchange(slot, 0);
				pgtable_discard(page, u->freed);
				u->pt->nr_tables--;
				u->nr++;
			}
		}
		if (last >= end)
			break;
	}
}

uint64_t pgtable_unlink(struct pgtable *pt, gva_t start, gva_t end, gva_t floor, gva_t ceiling,
			struct list_head *freed)
{
	struct unlink u = {pt, floor, ceiling, freed, 0};

	/* A table at the edge may be wider than the range: look at all that the limits allow around it. */
	unlink_below(&u, page_address(pt->frames, pt->root), pt->levels - 1, start, end - 1);
	return u.nr;
}
