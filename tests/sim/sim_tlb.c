/* SPDX-License-Identifier: MIT */
/* sim_tlb.c - see sim_tlb.h. */
#include <string.h>

#include "sim_tlb.h"

void sim_tlb_init(struct sim_tlb *tlb, unsigned int entries, unsigned int ways)
{
	memset(tlb, 0, sizeof(*tlb));
	tlb->entries = entries;
	tlb->ways = ways;
}

static struct sim_translation *set_of(struct sim_tlb *tlb, uint64_t page)
{
	unsigned int sets = tlb->entries / tlb->ways;

	return &tlb->entry[(page & (sets - 1)) * tlb->ways];
}

static bool matches(const struct sim_translation *t, uint64_t page, uint16_t pcid)
{
	return t->page == page + 1 && (t->pcid == pcid || (t->rights & PTE_GLOBAL));
}

static struct sim_translation *look(struct sim_tlb *tlb, uint64_t page, uint16_t pcid)
{
	struct sim_translation *set = set_of(tlb, page);

	for (unsigned int i = 0; i < tlb->ways; i++)
		if (matches(&set[i], page, pcid))
			return &set[i];
	return NULL;
}

struct sim_translation *sim_tlb_find(struct sim_tlb *tlb, uint64_t page, uint16_t pcid)
{
	struct sim_translation *t = look(tlb, page, pcid);

	tlb->now++;
	if (t)
		t->used = tlb->now;
	++*(t ? &tlb->nr_hits : &tlb->nr_misses);
	return t;
}

static struct sim_translation *victim(struct sim_tlb *tlb, uint64_t page)
{
	struct sim_translation *set = set_of(tlb, page), *oldest = set;

	for (unsigned int i = 0; i < tlb->ways; i++) {
		if (!set[i].page)
			return &set[i];
		if (set[i].used < oldest->used)
			oldest = &set[i];
	}
	return oldest;
}

void sim_tlb_insert(struct sim_tlb *tlb, uint64_t page, uint16_t pcid, pte_t rights)
{
	struct sim_translation *t = look(tlb, page, pcid);

	if (!t)
		t = victim(tlb, page);
	*t = (struct sim_translation){.page = page + 1, .rights = rights, .pcid = pcid, .used = tlb->now};
}

void sim_tlb_forget(struct sim_tlb *tlb, uint64_t page, uint16_t pcid)
{
	struct sim_translation *t = look(tlb, page, pcid);

	if (t)
		t->page = 0;
}

void sim_tlb_flush_context(struct sim_tlb *tlb, uint16_t pcid)
{
	for (unsigned int i = 0; i < tlb->entries; i++)
		if (tlb->entry[i].pcid == pcid && !(tlb->entry[i].rights & PTE_GLOBAL))
			tlb->entry[i].page = 0;
}

void sim_tlb_flush(struct sim_tlb *tlb)
{
	memset(tlb->entry, 0, sizeof(tlb->entry[0]) * tlb->entries);
}

/* --- paging-structure caches --------------------------------------------------------------------------------------- */

static uint64_t psc_tag(unsigned int level, gva_t address)
{
	return (address >> level_shift(level)) + 1;
}

struct sim_translation *sim_psc_slot(struct sim_psc *psc, unsigned int level, gva_t address)
{
	return &psc->entry[level - 1][(address >> level_shift(level)) % SIM_PSC_ENTRIES];
}

bool sim_psc_holds(const struct sim_translation *slot, unsigned int level, gva_t address, uint16_t pcid)
{
	return slot->page == psc_tag(level, address) && slot->pcid == pcid;
}

void sim_psc_insert(struct sim_psc *psc, unsigned int level, gva_t address, uint16_t pcid, pte_t rights)
{
	*sim_psc_slot(psc, level, address) =
		(struct sim_translation){.page = psc_tag(level, address), .rights = rights, .pcid = pcid};
}

void sim_psc_flush(struct sim_psc *psc)
{
	memset(psc->entry, 0, sizeof(psc->entry));
}
