/* SPDX-License-Identifier: MIT */
/*
 * check_host.c - mm_check_host: recounts every frame over all spaces and compares.
 *
 *   H1  a table of level 0 has one reference per entry that points to it, one of an upper level has one (T1, T2 in pgtable.h)
 *   H2  a frame's mapcount is the number of level-0 entries that map it, in tables counted once (P2 in page.h)
 *   H3  a block's head counts its huge entries (K1 in block.h)
 *   H4  references beyond mapcount, cache and block are pins, and those are no more than the spaces say (P3)
 * No processor runs, and nobody else changes anything meanwhile.
 */
#include <stdlib.h>

#include "block.h"
#include "mm.h"

struct recount {
	struct frames *frames;
	void (*complain)(const char *what, uint64_t where);
	unsigned int bad;
	uint32_t *found; /* by pfn: entries of level 0 that map it; of a table: entries that point to it */
	uint32_t *huge;	 /* by pfn >> BLOCK_ORDER: huge entries */
	uint64_t pins;	 /* that the spaces tell of */
};

static void fail(struct recount *r, const char *what, pfn_t pfn)
{
	r->bad++;
	if (r->complain)
		r->complain(what, pfn);
}

static void count_entries(struct recount *r, pfn_t table)
{
	const pte_t *entry = pfn_address(r->frames, table);

	for (unsigned int i = 0; i < PTRS_PER_TABLE; i++) {
		pte_t pte = pte_read(&entry[i]);
		if (pte_present(pte) && !(pte & PTE_SPECIAL))
			r->found[pte_pfn(pte)]++;
	}
}

static void count_table(struct recount *r, pfn_t table, unsigned int level, unsigned int nr)
{
	const pte_t *entry = pfn_address(r->frames, table);

	if (r->found[table]++)
		return; /* its entries were counted for the first space that has it */
	if (!level) {
		count_entries(r, table);
		return;
	}
	for (unsigned int i = 0; i < nr; i++) {
		pte_t pte = pte_read(&entry[i]);
		if (pte_table(pte))
			count_table(r, pte_pfn(pte), level - 1, PTRS_PER_TABLE);
		else if (pte_huge(pte) && !(pte & PTE_SPECIAL))
			r->huge[pte_pfn(pte) >> BLOCK_ORDER]++;
	}
}

static uint32_t held_otherwise(const struct recount *r, pfn_t pfn, uint32_t flags)
{
	return (flags & PG_CACHE ? 1 : 0) + (r->huge[pfn >> BLOCK_ORDER] ? 1 : 0);
}

static void check_frame(struct recount *r, pfn_t pfn)
{
	struct page *page = pfn_to_page(r->frames, pfn);
	uint32_t flags = atomic_load(&page->flags), refs = atomic_load(&page->refs);
	uint32_t expected = r->found[pfn] + held_otherwise(r, pfn, flags);
	bool first = !(pfn & (BLOCK_PAGES - 1));

	if (r->found[pfn] != atomic_load(&page->mapcount))
		fail(r, "mapcount differs from the entries that map the frame", pfn);
	if (first &&
	    r->huge[pfn >> BLOCK_ORDER] != (flags & PG_BLOCK ? atomic_load(&page->block_mapcount) : 0))
		fail(r, "block_mapcount differs from the huge entries that map the block", pfn);
	if (refs < expected)
		fail(r, "frame has fewer references than it has users", pfn);
	else if (r->found[pfn] && refs - expected > r->pins)
		fail(r, "frame has references that nobody tells of", pfn);
	else if (r->found[pfn])
		r->pins -= refs - expected;
}

static void check_frames(struct recount *r)
{
	for (pfn_t pfn = 0; pfn < r->frames->max_pfn; pfn++) {
		const struct page *page = pfn_to_page(r->frames, pfn);
		if (!r->found[pfn] && !atomic_load(&page->mapcount) && !r->huge[pfn >> BLOCK_ORDER])
			continue;
		if (!(atomic_load(&page->flags) & PG_TABLE))
			check_frame(r, pfn);
		else if (atomic_load(&page->refs) != r->found[pfn])
			fail(r, "table's references differ from the entries that point to it", pfn);
	}
}

unsigned int mm_check_host(struct mm_host *h, struct mm *const *space, unsigned int nr,
			   void (*complain)(const char *what, uint64_t where))
{
	struct frames *f = h->frames;
	struct recount r = {.frames = f, .complain = complain};

	r.found = calloc(f->max_pfn, sizeof(*r.found));
	r.huge = calloc((f->max_pfn >> BLOCK_ORDER) + 1, sizeof(*r.huge));
	if (!r.found || !r.huge) {
		fail(&r, "no memory to count in", 0);
	} else {
		for (unsigned int i = 0; i < nr; i++) {
			r.pins += atomic_load(&space[i]->nr_pins);
			count_table(&r, page_to_pfn(f, space[i]->pgt.root), h->levels - 1,
				    PTRS_PER_TABLE / 2);
		}
		check_frames(&r);
	}
	free(r.found);
	free(r.huge);
	return r.bad;
}
