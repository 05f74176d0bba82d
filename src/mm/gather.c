/* SPDX-License-Identifier: MIT */
/* gather.c - batching of revocations. See gather.h. */
#include "gather.h"

static void reset(struct gather *g)
{
	g->batch.start = ~0ull;
	g->batch.end = 0;
	g->batch.nr_tables = 0;
	g->nr_entries = 0;
	g->nr_pages = 0;
}

void gather_begin(struct gather *g, struct mm *mm)
{
	g->batch.mm = mm;
	list_init(&g->batch.freed_tables);
	reset(g);
}

static void revoke(struct gather *g)
{
	struct mm *mm = g->batch.mm;

	if (g->batch.nr_tables || !list_empty(&g->batch.freed_tables)) {
		atomic_fetch_add_explicit(&mm->nr_revokes, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&mm->nr_revoked_ptes, g->nr_entries, memory_order_relaxed);
		mm->host->mmu_ops->revoke(mm->host->mmu_ctx, &g->batch);
	}
	for (unsigned int i = 0; i < g->nr_pages; i++)
		page_put(mm->frames, g->pages[i]);
	reset(g);
}

static void widen(struct gather *g, gva_t start, gva_t end)
{
	g->batch.start = min_u64(g->batch.start, start);
	g->batch.end = max_u64(g->batch.end, end);
}

void gather_entry(struct gather *g, const pte_t *slot, gva_t address)
{
	struct mmu_batch *b = &g->batch;
	pfn_t table = page_to_pfn(b->mm->frames, pgtable_page(&b->mm->pgt, slot));
	uint16_t index = (uint16_t)(((uintptr_t)slot & ~PAGE_MASK) / sizeof(pte_t));
	struct mmu_batch_table *t = b->nr_tables ? &b->tables[b->nr_tables - 1] : NULL;

	if (!t || t->table != table) {
		if (b->nr_tables == MMU_BATCH_TABLES)
			revoke(g);
		t = &b->tables[b->nr_tables++];
		*t = (struct mmu_batch_table){.table = table, .first = index, .last = index};
	}
	t->nr++;
	if (index < t->first)
		t->first = index;
	if (index > t->last)
		t->last = index;
	g->nr_entries++;
	widen(g, address, address + PAGE_SIZE);
}

void gather_page(struct gather *g, struct page *page)
{
	if (g->nr_pages == GATHER_PAGES)
		revoke(g);
	g->pages[g->nr_pages++] = page;
}

void gather_tables(struct gather *g, gva_t start, gva_t end)
{
	if (!list_empty(&g->batch.freed_tables))
		widen(g, start, end);
}

void gather_end(struct gather *g)
{
	revoke(g);
}
