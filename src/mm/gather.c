/* SPDX-License-Identifier: MIT */
/* gather.c - batching of revocations. See gather.h. */
#include "gather.h"
#include "block.h"
#include "page_reporting.h"
#include "swap_cache.h"

/* Low bits of held[]. */
#define HELD_PAGE  0ul
#define HELD_BLOCK 1ul
#define HELD_TABLE 2ul
#define HELD_KIND  3ul

static void reset(struct gather *g)
{
	g->batch.start = ~0ull;
	g->batch.end = 0;
	g->batch.nr_tables = 0;
	g->nr_entries = 0;
}

void gather_begin(struct gather *g, struct mm *mm)
{
	g->batch.mm = mm;
	g->nr_held = 0;
	g->holds_table = false;
	list_init(&g->batch.freed_tables);
	reset(g);
}

static void revoke(struct gather *g)
{
	struct mm *mm = g->batch.mm;

	if (!g->batch.nr_tables && list_empty(&g->batch.freed_tables))
		return;
	atomic_fetch_add_explicit(&mm->nr_revokes, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&mm->nr_revoked_ptes, g->nr_entries, memory_order_relaxed);
	mm->host->mmu_ops->revoke(mm->host->mmu_ctx, &g->batch);
	reset(g);
}

static void widen(struct gather *g, gva_t start, gva_t end)
{
	g->batch.start = min_u64(g->batch.start, start);
	g->batch.end = max_u64(g->batch.end, end);
}

static void put_held(struct mm *mm, uintptr_t held)
{
	struct page *page = (struct page *)(held & ~HELD_KIND);

	switch (held & HELD_KIND) {
	case HELD_BLOCK:
		block_put(mm->frames, page);
		break;
	case HELD_TABLE:
		pgtable_put_shared(mm, page);
		break;
	default:
		if (page_in_swap_cache(page))
			swap_cache_drop(mm->host, page);
		page_put(mm->frames, page);
	}
}

void gather_flush(struct gather *g)
{
	revoke(g);
	for (unsigned int i = 0; i < g->nr_held; i++)
		put_held(g->batch.mm, g->held[i]);
	g->nr_held = 0;
	g->holds_table = false;
}

void gather_end(struct gather *g)
{
	gather_flush(g);
	page_reporting_notify(g->batch.mm->frames);
}

static void hold(struct gather *g, const struct page *page, uintptr_t kind)
{
	if (g->nr_held == GATHER_PAGES)
		gather_flush(g);
	g->held[g->nr_held++] = (uintptr_t)page | kind;
}

void gather_page(struct gather *g, struct page *page)
{
	hold(g, page, HELD_PAGE);
}

void gather_block(struct gather *g, struct page *head)
{
	hold(g, head, HELD_BLOCK);
}

void gather_table_put(struct gather *g, struct page *table)
{
	hold(g, table, HELD_TABLE);
	g->holds_table = true;
}

/* The record of a table page: one of the last few, or a new one. An operation goes back and forth between a table and the one above. */
static struct mmu_batch_table *record_of(struct gather *g, pfn_t table)
{
	struct mmu_batch *b = &g->batch;

	for (unsigned int i = b->nr_tables; i > 0 && i + 4 > b->nr_tables; i--)
		if (b->tables[i - 1].table == table)
			return &b->tables[i - 1];
	if (b->nr_tables == MMU_BATCH_TABLES)
		gather_flush(g);
	b->tables[b->nr_tables] = (struct mmu_batch_table){.table = table, .first = PTRS_PER_TABLE - 1};
	return &b->tables[b->nr_tables++];
}

void gather_entry_at(struct gather *g, const pte_t *slot, gva_t address, unsigned int level)
{
	struct mmu_batch *b = &g->batch;
	uint16_t index = (uint16_t)(((uintptr_t)slot & ~PAGE_MASK) / sizeof(pte_t));
	struct mmu_batch_table *t = record_of(g, page_to_pfn(b->mm->frames, pgtable_page(&b->mm->pgt, slot)));
	uint64_t span = 1ull << level_shift(level);

	if (t->nr < PTRS_PER_TABLE)
		t->nr++;
	if (index < t->first)
		t->first = index;
	if (index > t->last)
		t->last = index;
	g->nr_entries++;
	widen(g, address & ~(span - 1), (address & ~(span - 1)) + span);
}

void gather_entry(struct gather *g, const pte_t *slot, gva_t address)
{
	gather_entry_at(g, slot, address, 0);
}

void gather_table(struct gather *g, const struct page *table, gva_t address)
{
	struct mmu_batch_table *t = record_of(g, page_to_pfn(g->batch.mm->frames, table));

	t->nr = PTRS_PER_TABLE;
	t->first = 0;
	t->last = PTRS_PER_TABLE - 1;
	widen(g, address & PMD_MASK, (address & PMD_MASK) + PMD_SIZE);
}

void gather_tables(struct gather *g, gva_t start, gva_t end)
{
	if (!list_empty(&g->batch.freed_tables))
		widen(g, start, end);
}
