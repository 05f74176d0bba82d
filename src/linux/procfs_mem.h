/* SPDX-License-Identifier: MIT */
/* procfs_mem.h - how large a space is, by what its areas are for: as status, stat and statm have it. */
#ifndef LODGE_LINUX_PROCFS_MEM_H
#define LODGE_LINUX_PROCFS_MEM_H

#include "../mm/mm.h"

/* In pages. */
struct mm_sizes {
	uint64_t total, peak, locked;
	uint64_t exec;	/* executable and not writable */
	uint64_t data;	/* private and writable */
	uint64_t stack; /* grow down */
	uint64_t text;	/* the program's own part of exec */
};

/* mmap_lock held. */
void mm_sizes(const struct mm *mm, struct mm_sizes *s);

#endif
