/* SPDX-License-Identifier: MIT */
/*
 * dump.h - the things of a space as text, for whoever looks for a fault in it.
 *
 * A page, an area and a space read like the kernel's dump_page, dump_vma and dump_mm; page tables are told with the names that
 * the processor's manual has for them. Entries are values as they lie in memory, with their bits in words behind.
 * Locking: each takes what it needs and lets go of it again; nothing is printed under page_table_lock but page tables.
 * Not here: what guests see (linux/procfs_mem.c), the state of zones and lists (vmstat.h).
 */
#ifndef LODGE_MM_DUMP_H
#define LODGE_MM_DUMP_H

#include <stdio.h>

#include "mm.h"

/* "P|RW|US|A|D|XD": the bits of an entry at a level, as in Intel SDM vol. 3A, 4.5. Returns buffer. */
const char *pte_flags_string(pte_t pte, unsigned int level, char *buffer, size_t bytes);

/* "PML4E", "PDPTE", "PDE", "PTE": an entry at a level; and the table it lies in. */
const char *level_entry_name(unsigned int level);
const char *level_table_name(unsigned int level);

/* One line: an address as its sign extension, an index for each level, and an offset. */
void address_dump(gva_t address, unsigned int levels, FILE *out);

/* Every entry that is not empty for [start, end), level by level, with the address of its slot in guest physical memory. */
void pgtable_dump(struct mm *mm, gva_t start, gva_t end, FILE *out);

/* mmap_lock held. */
void vma_dump(const struct vma *vma, FILE *out);

/* All of them. Takes mmap_lock. */
void mm_dump_areas(struct mm *mm, FILE *out);

/* The space, and the layout that its addresses are to be read by. Takes mmap_lock. */
void mm_dump(struct mm *mm, FILE *out);

void page_dump(struct frames *f, const struct page *page, FILE *out);

/* Every page that the space maps, by address: its entry and its frame. Takes mmap_lock. */
void mm_dump_pages(struct mm *mm, FILE *out);

/* What a fault at an address finds: the fields of the kernel's struct vm_fault. */
#define MAX_LEVELS 5

struct vmf_view {
	gva_t address; /* of the page */
	gva_t vma_start, vma_end;
	uint64_t vma_flags, pgoff;
	pte_t entry[MAX_LEVELS]; /* by level; 0: none, or no table to hold one */
	gpa_t slot;		 /* of the level-0 entry; 0: no table */
	const void *ptl;
};

void vmf_read(struct mm *mm, gva_t address, struct vmf_view *v);

/* One line without its newline, from what was there before and after; flags: FAULT_FLAG_. */
void vmf_string(const struct vmf_view *before, const struct vmf_view *after, unsigned int flags, char *text,
		size_t bytes);

#endif
