/* SPDX-License-Identifier: MIT */
/*
 * usage.h - what an area has in memory: counted from its page-table entries and the frames behind them.
 *
 * The numbers are those of Linux's smaps: a page is shared when more than one entry maps it, dirty when the entry or the
 * page says so, and counts for its n-th part in what is proportional. The zero page counts for nothing.
 * Locking: mmap_lock is held by the caller, for reading at least; page_table_lock is taken for one table at a time.
 * Not here: text (linux/procfs_mem.c), counts that are kept up to date (mm.h: rss).
 */
#ifndef LODGE_MM_USAGE_H
#define LODGE_MM_USAGE_H

#include "mm.h"

#define USAGE_PSS_SHIFT 12 /* proportional bytes have this many bits behind the point */

/* In bytes; what has pss in its name in bytes << USAGE_PSS_SHIFT. Sums of several areas are sums of the fields. */
struct vma_usage {
	uint64_t rss, shared_clean, shared_dirty, private_clean, private_dirty;
	uint64_t referenced, anonymous, lazyfree, anon_huge, shmem_huge, file_huge;
	uint64_t shared_hugetlb, private_hugetlb;
	uint64_t swap, swap_pss; /* in slots of swap devices */
	uint64_t pss, pss_dirty, pss_anon, pss_file, pss_shmem, pss_locked;
};

/* Adds what the area has to *sum. */
void vma_usage_add(const struct vma *vma, struct vma_usage *sum);

/* The same in pages, by what numa_maps tells. */
struct vma_nodes {
	uint64_t pages, anon, dirty, active, writeback, mapcount_max, swapcache;
	uint64_t node[MAX_NODES];
};

void vma_nodes_count(const struct vma *vma, struct vma_nodes *n);

/* What a process may know about the page at one of its addresses. */
struct page_view {
	bool present;
	bool file;	/* of a file or shared memory */
	bool exclusive; /* no other entry maps it */
	bool guard;	/* nothing, and it may not be touched (guard.h) */
	bool swapped;	/* in a slot of a swap device */
};

/* mmap_lock held; any address below the end of the space. */
struct page_view page_view_at(struct mm *mm, gva_t address);

/*
 * Clears the accessed bit of every entry of the areas with the flags wanted, so that later accesses show; the processors
 * forget their translations. mmap_lock held.
 */
enum clear_refs_what { CLEAR_REFS_ALL = 1, CLEAR_REFS_ANON, CLEAR_REFS_MAPPED };
void mm_clear_refs(struct mm *mm, enum clear_refs_what what);

#endif
