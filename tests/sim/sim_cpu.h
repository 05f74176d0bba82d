/* SPDX-License-Identifier: MIT */
/*
 * sim_cpu.h - a machine made of software: frames in an anonymous mapping and processors that walk page tables at CPL3.
 *
 * A processor keeps translations until it is told to forget them, so an entry that gave up rights without a revocation
 * shows as an access that goes through. What "told to forget" means depends on the machine's kind:
 *
 *   SIM_TLB     caches by virtual page, and level-0 tables by 2 MiB region. A revocation drops the pages within the
 *               batch's hull and every cached table: what INVLPG does.
 *   SIM_SHADOW  caches entries by (table page, index) and keeps them over changes of the root. A revocation drops the
 *               listed ranges of the listed tables, and everything that belongs to or points at an unlinked table page.
 *               A table page that is freed outside a batch stays cached and is stale when it becomes a table again.
 *
 * Both fill unlinked table pages with entries that have reserved bits set before they go back to their zone.
 *
 * Locking: a processor's lock is held over one translation and its access to memory, so a revocation waits for the
 * instruction under way; nothing else is taken under it. One thread drives one processor.
 */
#ifndef LODGE_TESTS_SIM_CPU_H
#define LODGE_TESTS_SIM_CPU_H

#include "sim_tlb.h"

#define SIM_MAX_CPUS	 4
#define SIM_MAX_TABLES	 8192 /* pages of ZONE_TABLE that a machine may have */
#define SIM_PHYS_BITS	 46
#define SIM_TABLE_POISON 0xa5a5a5a5a5a5a5a5ull /* present, and reserved bits set */
#define SIM_FAULT_LIMIT	 32		       /* faults at one address before an access is called stuck */

enum sim_kind { SIM_TLB, SIM_SHADOW };

enum sim_access { SIM_LOAD, SIM_STORE, SIM_FETCH };

struct sim_machine;

struct sim_cpu {
	struct sim_machine *machine;
	struct mm *mm; /* NULL: none loaded */
	pthread_mutex_t lock;
	struct sim_tlb tlb;
	struct sim_psc psc;
	uint16_t pcid;	/* of the space that is loaded */
	bool uses_pcid; /* spaces were loaded without forgetting others */
	uint64_t nr_entry_reads,
		nr_uncached_reads;     /* of table entries; those whose table is not to be cached */
	pte_t *shadow[SIM_MAX_TABLES]; /* by table page: 512 entries, 0: not cached */
	uint64_t nr_faults;
	uint32_t last_error; /* of the last #PF */
	gva_t last_address;
};

struct sim_config {
	enum sim_kind kind;
	unsigned int levels;	  /* 4 or 5; 0: 4 */
	unsigned int cpus;	  /* 0: 1 */
	unsigned int tlb_entries; /* a power of two; 0: SIM_TLB_ENTRIES */
	unsigned int tlb_ways;	  /* a power of two up to tlb_entries; 0: 1 */
	unsigned int psc_levels;  /* upper levels that are cached, 1..SIM_PSC_LEVELS; 0: 1 */
	bool no_psc;		  /* none of them */
	/* Frames that the zones can get, multiples of 512; 0: plenty. */
	uint64_t table_pages, object_pages, normal_pages;
	/* As in struct frames_setup; normal_pages are then shared out among nodes and their movable zones. */
	unsigned int nodes;
	uint64_t dma32_pages, movable_pages, cma_pages;
	const uint8_t (*distance)[MAX_NODES];
	bool no_pcp;
	bool forget_revoke; /* revocations do nothing: to see that stale entries show */
};

struct sim_machine {
	struct sim_config config;
	struct frames frames;
	char *arena;
	uint64_t arena_bytes;
	uint64_t pages_left[NR_ZONES];
	bool refuses_discard;
	struct mm_host host;
	struct page *kernel_table[2];
	struct sim_cpu cpu[SIM_MAX_CPUS];
	_Atomic uint64_t nr_revokes;
	_Atomic uint64_t
		nr_bad_batches; /* batches that break the rules of mmu.h, and frames freed too early */
};

/* Frames only: for tests of the allocators. NULL config: the defaults. */
struct sim_machine *sim_frames_new(const struct sim_config *config);
void sim_frames_free(struct sim_machine *m);

/* A whole machine with its mm_host; the kernel half maps 1 GiB for supervisors only. NULL: could not be made. */
struct sim_machine *sim_machine_new(const struct sim_config *config);

/* Takes the machine apart. Returns how much was leaked: objects, frames, and bad batches seen on the way. 0: all is well. */
uint64_t sim_machine_free(struct sim_machine *m);

/* The first supervisor-only address. */
gva_t sim_kernel_base(const struct sim_machine *m);

/* Makes the processor run in a space, or in none (NULL). */
void sim_cpu_load(struct sim_cpu *cpu, struct mm *mm);

/*
 * What MOV to CR3 does with PCIDs: runs in a space (NULL: none) under a context number of 12 bits, and forgets what it knew under
 * that number, but for global pages, unless told to keep it.
 */
void sim_cpu_load_cr3(struct sim_cpu *cpu, struct mm *mm, uint16_t pcid, bool keep);

/* Makes the processor forget every translation, as a full flush (and, for SIM_SHADOW, a zap of all tables) does. */
void sim_cpu_flush(struct sim_cpu *cpu);

/*
 * Looks through all that processors remember for translations that the tables no longer give, or no longer with these rights: what a
 * revocation should have made them forget. Nobody may be changing tables or running. Returns how many there are; the first is told in
 * words.
 */
unsigned int sim_audit(struct sim_machine *m, char *words, size_t bytes);

/*
 * Executes one access of up to any number of bytes, page by page, asking do_user_addr_fault to resolve what faults.
 * signo 0: done. An address that is not canonical earns SIGSEGV with SI_KERNEL, as #GP does. signo -1: the same fault
 * came SIM_FAULT_LIMIT times, so the core does not resolve what it says it does.
 */
struct fault_signal sim_access(struct sim_cpu *cpu, enum sim_access kind, gva_t address, void *data,
			       size_t bytes);

static inline struct fault_signal sim_load(struct sim_cpu *cpu, gva_t address, void *to, size_t bytes)
{
	return sim_access(cpu, SIM_LOAD, address, to, bytes);
}

static inline struct fault_signal sim_store(struct sim_cpu *cpu, gva_t address, const void *from,
					    size_t bytes)
{
	return sim_access(cpu, SIM_STORE, address, (void *)(uintptr_t)from, bytes);
}

static inline struct fault_signal sim_fetch(struct sim_cpu *cpu, gva_t address, void *to, size_t bytes)
{
	return sim_access(cpu, SIM_FETCH, address, to, bytes);
}

/*
 * One translation, without resolving faults: 0 and *gpa, the page-fault error code | SIM_FAULTED, or SIM_GP for an
 * address that is not canonical.
 */
#define SIM_FAULTED 0x80000000u
#define SIM_GP	    0x40000000u
uint32_t sim_translate(struct sim_cpu *cpu, enum sim_access kind, gva_t address, gpa_t *gpa);

#endif
