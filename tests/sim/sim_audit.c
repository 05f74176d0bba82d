/* SPDX-License-Identifier: MIT */
/*
 * sim_audit.c - whether what simulated processors remember is still true. See sim_cpu.h.
 *
 * A processor may remember fewer rights than the tables give by now, never more, nor another frame; nor that a page is dirty which
 * was made clean, if it may write to it: without that right a write faults, and the fault makes it forget.
 */
#include <stdio.h>

#include "sim_cpu.h"

#define RIGHTS (PTE_PRESENT | PTE_WRITE | PTE_USER)

/* What the tables say of an address: the joined rights of all levels, with the frame and PTE_DIRTY of the leaf. 0: nothing. */
static pte_t look_up(const struct sim_cpu *cpu, gva_t address, pfn_t *table)
{
	const struct pgtable *pt = &cpu->mm->pgt;
	struct frames *f = &cpu->machine->frames;
	pte_t rights = RIGHTS;

	*table = page_to_pfn(f, pt->root);
	for (unsigned int level = pt->levels - 1;; level--) {
		pte_t entry = pte_read((pte_t *)pfn_address(f, *table) + level_index(address, level));

		if (!(entry & PTE_PRESENT))
			return 0;
		rights = (rights & entry & RIGHTS) | ((rights | entry) & PTE_NX);
		if (!level || (entry & PTE_HUGE)) {
			pfn_t offset = (address >> PAGE_SHIFT) & ((1ull << 9 * level) - 1);

			if (level)
				*table = 0;
			return pte_make(pte_pfn(entry) + offset, rights | (entry & PTE_DIRTY));
		}
		*table = pte_pfn(entry);
	}
}

/* The same for the table below the entry of `level` on the way to an address: its frame with the rights down to there. */
static pte_t look_up_table(const struct sim_cpu *cpu, unsigned int level, gva_t address)
{
	const struct pgtable *pt = &cpu->mm->pgt;
	struct frames *f = &cpu->machine->frames;
	pfn_t table = page_to_pfn(f, pt->root);
	pte_t rights = RIGHTS;

	for (unsigned int l = pt->levels - 1; l >= level; l--) {
		pte_t entry = pte_read((pte_t *)pfn_address(f, table) + level_index(address, l));

		if (!(entry & PTE_PRESENT) || (entry & PTE_HUGE))
			return 0;
		rights = (rights & entry & RIGHTS) | ((rights | entry) & PTE_NX);
		table = pte_pfn(entry);
	}
	return pte_make(table, rights);
}

static const char *stale(pte_t remembered, pte_t now)
{
	if (!now)
		return "a translation that is gone";
	if (pte_pfn(remembered) != pte_pfn(now))
		return "another frame";
	if (remembered & ~now & RIGHTS)
		return "a right that was taken";
	if (~remembered & now & PTE_NX)
		return "that it may execute";
	if ((remembered & PTE_WRITE) && (remembered & ~now & PTE_DIRTY))
		return "that the page is dirty";
	return NULL;
}

struct audit {
	struct sim_cpu *cpu;
	char *words;
	size_t bytes;
	unsigned int found;
};

static void note(struct audit *a, const char *what, const char *where, gva_t address, pte_t remembered,
		 pte_t now)
{
	if (!what)
		return;
	if (!a->found++)
		snprintf(a->words, a->bytes, "processor %u still remembers %s (%s %#llx: %#llx, now %#llx)",
			 (unsigned int)(a->cpu - a->cpu->machine->cpu), what, where,
			 (unsigned long long)address, (unsigned long long)remembered,
			 (unsigned long long)now);
}

static void audit_tlb(struct audit *a)
{
	const struct sim_tlb *tlb = &a->cpu->tlb;
	pfn_t table;

	for (unsigned int i = 0; i < tlb->entries; i++) {
		const struct sim_translation *t = &tlb->entry[i];
		gva_t address = (t->page - 1) << PAGE_SHIFT;

		if (t->page && t->pcid == a->cpu->pcid) {
			pte_t now = look_up(a->cpu, address, &table);
			note(a, stale(t->rights, now), "page", address, t->rights, now);
		}
	}
}

static void audit_psc(struct audit *a)
{
	for (unsigned int level = 1; level <= a->cpu->machine->config.psc_levels; level++) {
		for (unsigned int i = 0; i < SIM_PSC_ENTRIES; i++) {
			const struct sim_translation *t = &a->cpu->psc.entry[level - 1][i];
			gva_t address = (t->page - 1) << level_shift(level);

			if (t->page && t->pcid == a->cpu->pcid) {
				pte_t now = look_up_table(a->cpu, level, address);
				note(a, stale(t->rights & ~PTE_DIRTY, now), "table", address, t->rights, now);
			}
		}
	}
}

/* Of a table page that is no table now, nothing is used. */
static void audit_shadow(struct audit *a)
{
	struct frames *f = &a->cpu->machine->frames;

	for (pfn_t t = 0; t < SIM_MAX_TABLES; t++) {
		const pte_t *cached = a->cpu->shadow[t], *memory = pfn_address(f, t);

		if (!cached || !(atomic_load(&pfn_to_page(f, t)->flags) & PG_TABLE))
			continue;
		for (unsigned int i = 0; i < PTRS_PER_TABLE; i++) {
			pte_t now = pte_read(&memory[i]);

			if (cached[i])
				note(a, stale(cached[i], now & PTE_PRESENT ? now : 0), "table page",
				     t << PAGE_SHIFT | i * 8, cached[i], now);
		}
	}
}

unsigned int sim_audit(struct sim_machine *m, char *words, size_t bytes)
{
	struct audit a = {.words = words, .bytes = bytes};

	for (unsigned int i = 0; i < m->config.cpus; i++) {
		a.cpu = &m->cpu[i];
		pthread_mutex_lock(&a.cpu->lock);
		if (m->config.kind == SIM_SHADOW) {
			audit_shadow(&a);
		} else if (a.cpu->mm) {
			audit_tlb(&a);
			audit_psc(&a);
		}
		pthread_mutex_unlock(&a.cpu->lock);
	}
	return a.found;
}
