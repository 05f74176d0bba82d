/* SPDX-License-Identifier: MIT */
/*
 * sim_tlb.h - what a simulated processor remembers of translations: a TLB of any organisation, and paging-structure caches.
 *
 * A TLB has `entries` in sets of `ways`: one way is direct mapped, as many as there are entries is fully associative, the
 * others are set associative. Within a set the entry used longest ago gives way. Entries are tagged with the context they were
 * made in (a PCID) and may be global: for every context, and kept when the root is loaded anew.
 *
 * A paging-structure cache keeps, for all addresses under one entry of an upper level, what the walk from the root to that entry
 * came to: a hit skips these levels (Intel SDM vol. 3A, 4.10.3).
 * Locking: the processor's.
 */
#ifndef LODGE_TESTS_SIM_TLB_H
#define LODGE_TESTS_SIM_TLB_H

#include "../../src/mm/mm.h"

#define SIM_TLB_ENTRIES 4096 /* most that a processor may have */
#define SIM_PSC_ENTRIES 64
#define SIM_PSC_LEVELS	3 /* PDE, PDPTE, PML4E caches */

struct sim_translation {
	uint64_t page; /* virtual page number (PSC: address >> the level's shift) + 1; 0: empty */
	pte_t rights; /* frame and the rights of all levels together; PTE_DIRTY when the leaf is dirty, PTE_GLOBAL */
	uint16_t pcid;
	uint64_t used; /* when, in lookups */
};

struct sim_tlb {
	unsigned int entries, ways; /* powers of two */
	uint64_t now;
	uint64_t nr_hits, nr_misses;
	struct sim_translation entry[SIM_TLB_ENTRIES];
};

void sim_tlb_init(struct sim_tlb *tlb, unsigned int entries, unsigned int ways);

/* The entry of a page in a context, counting; or NULL. */
struct sim_translation *sim_tlb_find(struct sim_tlb *tlb, uint64_t page, uint16_t pcid);

/* Remembers; what the page had before, or what its set has longest not used, is forgotten. */
void sim_tlb_insert(struct sim_tlb *tlb, uint64_t page, uint16_t pcid, pte_t rights);

/* INVLPG: the page of a context, and global entries of it. */
void sim_tlb_forget(struct sim_tlb *tlb, uint64_t page, uint16_t pcid);

/* What loading CR3 does: all of a context but global entries. */
void sim_tlb_flush_context(struct sim_tlb *tlb, uint16_t pcid);

void sim_tlb_flush(struct sim_tlb *tlb);

struct sim_psc {
	uint64_t nr_hits[SIM_PSC_LEVELS]; /* by the level of the entry that was cached, less one */
	struct sim_translation entry[SIM_PSC_LEVELS][SIM_PSC_ENTRIES];
};

/* The slot for what lies under an entry at `level` (1: a PDE) around an address; it may hold another's. */
struct sim_translation *sim_psc_slot(struct sim_psc *psc, unsigned int level, gva_t address);

/* Does the slot hold this? */
bool sim_psc_holds(const struct sim_translation *slot, unsigned int level, gva_t address, uint16_t pcid);

void sim_psc_insert(struct sim_psc *psc, unsigned int level, gva_t address, uint16_t pcid, pte_t rights);
void sim_psc_flush(struct sim_psc *psc);

#endif
