/* SPDX-License-Identifier: MIT */
/*
 * layout.h - how Linux divides virtual addresses between user and kernel, and what lies where in the kernel's half.
 *
 * Guests have the user's part of LAYOUT_X86_64: its task_size is TASK_SIZE. No guest can reach the kernel's part; the names are for
 * whoever reads a wild address in a dump. Nothing here changes.
 * Not here: where mappings of a space go (unmapped_area.h), what this machine keeps in its own upper half (guest/abi.h).
 */
#ifndef LODGE_MM_LAYOUT_H
#define LODGE_MM_LAYOUT_H

#include <stdio.h>

#include "types.h"

enum layout_kind {
	LAYOUT_I386,	   /* 3 GB and 1 GB */
	LAYOUT_X86_64_OLD, /* until Linux 4.19 */
	LAYOUT_X86_64,	   /* Linux 5.11, 4 levels of page tables, nothing randomised */
	NR_LAYOUTS,
};

/* Both bounds belong to it: the highest range ends with the last address that there is. */
struct layout_range {
	const char *name;
	gva_t first, last;
};

#define LAYOUT_MAX_RANGES 12

struct layout {
	const char *name;
	gva_t task_size;    /* the first address that a program may not map */
	gva_t user_last;    /* of the user's part: with 64 bits, of the canonical half */
	gva_t kernel_first; /* of the kernel's part */
	gva_t page_offset;  /* where physical address 0 is in the direct map */
	gva_t text;	    /* where it is in the mapping of the kernel's text; 0: there is none apart */
	unsigned int nr;
	struct layout_range range[LAYOUT_MAX_RANGES]; /* of the kernel's part, ascending */
};

extern const struct layout layout_table[NR_LAYOUTS];

/* The range that an address lies in, or NULL: the user's part, a hole, not canonical. */
const struct layout_range *layout_find(const struct layout *l, gva_t address);

/* __va: the address of physical memory in the direct map. */
gva_t layout_va(const struct layout *l, gpa_t physical);

/* __pa: of an address in the direct map or in the kernel's text; anything else has none: ~0. */
gpa_t layout_pa(const struct layout *l, gva_t address);

/* One line for each part and range. */
void layout_dump(const struct layout *l, FILE *out);

#endif
