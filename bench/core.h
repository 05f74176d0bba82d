/* SPDX-License-Identifier: MIT */
/*
 * core.h - the memory manager on its own, for benchmarks: spaces over an arena of plain memory that no processor uses. There is
 * no KVM and no exit, and revoking a translation does nothing.
 */
#ifndef LODGE_BENCH_CORE_H
#define LODGE_BENCH_CORE_H

#include "../src/mm/mm.h"

struct core {
	struct frames frames;
	struct mm_host host;
	struct mm *mm; /* its account has room for the whole arena; a fault maps one page */
};

/* How the arena gets its memory from the machine. */
enum core_arena {
	CORE_ARENA_FRESH, /* as it is touched */
	CORE_ARENA_TOUCHED /* all of it at once, in huge pages where there are any; zero, as a fresh frame is */
};

/* An arena with room for nr_pages besides what the core takes for itself. 0 or -1. */
int core_init(struct core *c, uint64_t nr_pages, enum core_arena how);

/* A new mapping of nr_pages that can be read and written; flags besides MAP_ANONYMOUS. 0: failed. */
gva_t core_map(struct core *c, uint64_t nr_pages, unsigned int flags);

#endif
