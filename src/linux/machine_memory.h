/* SPDX-License-Identifier: MIT */
/* machine_memory.h - the memory of the machine that a guest sees: the account that its space is charged to. */
#ifndef LODGE_LINUX_MACHINE_MEMORY_H
#define LODGE_LINUX_MACHINE_MEMORY_H

#include "../mm/mm.h"

/* In pages. total = free + anon + cache + tables, and what is pinned after it was unmapped. */
struct machine_memory {
	uint64_t total, free, available; /* available: free, or could be without asking anybody */
	uint64_t anon, cache, tables;
	uint64_t anon_huge; /* of anon: by 2 MiB entries */
	uint64_t shmem;	    /* of cache, and mapped by this space: shared memory */
	uint64_t mapped;    /* of cache: by some entry */
	uint64_t active_anon, inactive_anon, active_file, inactive_file, locked, dirty, writeback;
	uint64_t committed, commit_limit; /* promised, and the most that may be in mode 2 */
};

/* Looks at every frame; takes mmap_lock. */
void machine_memory(struct mm *mm, struct machine_memory *m);

#endif
