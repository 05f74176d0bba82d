/* SPDX-License-Identifier: MIT */
/* ageing.c - ending an epoch. See ageing.h. */
#include "ageing.h"
#include "block.h"
#include "gather.h"
#include "pagewalk.h"

/* Tables with one hold of page_table_lock, and with one revocation. */
#define STEP_TABLES MMU_BATCH_TABLES

struct harvest {
	struct mm *mm;
	struct gather gather;
	uint64_t nr_used;
	unsigned int nr_tables; /* of this step */
	gva_t next;		/* where the next step begins; 0: nowhere */
};

/* The accessed bit goes. False: there was none. */
static bool take_accessed(struct harvest *hv, pte_t *slot, pte_t pte)
{
	if (!pte_present(pte) || !(pte & PTE_ACCESSED))
		return false;
	pte_change(slot, PTE_ACCESSED, 0);
	if (pte & PTE_SPECIAL)
		return pte & PTE_PRESENT;
	page_stamp_used(pfn_to_page(hv->mm->frames, pte_pfn(pte)));
	hv->nr_used++;
	return pte & PTE_PRESENT;
}

/* Processors set a bit again only after they have forgotten the entry: all of a table at once, which costs as much as three entries. */
static bool harvest_table(void *ctx, pte_t *pmd, gva_t address, gva_t end)
{
	struct harvest *hv = ctx;
	struct page *table = pgtable_below(&hv->mm->pgt, pte_read(pmd));
	pte_t *slot = page_address(hv->mm->frames, table);
	bool any = false;

	(void)end;
	if (hv->next)
		return true;
	if (hv->nr_tables == STEP_TABLES) {
		hv->next = address;
		return true;
	}
	for (unsigned int i = 0; i < PTRS_PER_TABLE; i++)
		any |= take_accessed(hv, &slot[i], pte_read(&slot[i]));
	if (any) {
		gather_table(&hv->gather, table, address);
		hv->nr_tables++;
	}
	return true;
}

static void harvest_huge(void *ctx, pte_t *slot, gva_t address, gva_t end, unsigned int level)
{
	struct harvest *hv = ctx;
	pte_t pte = pte_read(slot);

	(void)end;
	if (hv->next || !take_accessed(hv, slot, pte))
		return;
	gather_entry_at(&hv->gather, slot, address, level);
	hv->nr_used += pte & PTE_SPECIAL ? 0 : BLOCK_PAGES - 1;
	hv->nr_tables++;
}

static uint64_t harvest_space(struct mm *mm)
{
	static const struct pte_walk_ops ops = {.huge = harvest_huge, .table = harvest_table};
	struct harvest hv = {.mm = mm};
	gva_t from = 0;

	do {
		pthread_mutex_lock(&mm->page_table_lock);
		hv.nr_tables = 0;
		hv.next = 0;
		gather_begin(&hv.gather, mm);
		pte_walk(mm, from, TASK_SIZE, &ops, &hv);
		gather_end(&hv.gather);
		pthread_mutex_unlock(&mm->page_table_lock);
		from = hv.next;
	} while (from);
	return hv.nr_used;
}

uint64_t ageing_close(struct mm_host *h, struct memcg *cg)
{
	struct mm *mm = NULL;
	uint64_t nr_used = 0;

	while ((mm = mm_next_with_frames_of(h, cg, mm)))
		nr_used += harvest_space(mm);
	atomic_fetch_add_explicit(&cg->ageing.youngest, 1, memory_order_relaxed);
	cg->ageing.nr_evicted = 0;
	frames_count(h->frames, AGEING_EPOCH, 1);
	frames_count(h->frames, AGEING_USED, nr_used);
	return nr_used;
}
