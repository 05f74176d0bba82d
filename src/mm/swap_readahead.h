/* SPDX-License-Identifier: MIT */
/*
 * swap_readahead.h - which neighbours of a swapped page are read along with it.
 *
 * Pages that lay next to each other went one after the other, as a rule, so their slots are neighbours too and one transfer reads them
 * all. What comes along is mapped as well, but not marked used. The next fault looks how many of them were used by then:
 *
 *	fault just behind the last window	twice as wide, forward from there
 *	half of the last window was used	twice as wide, the aligned block around it
 *	some of it				as wide
 *	none of it				half as wide, down to the page alone
 *
 * A guest that goes through memory in order has the window behind read as well, which nobody waits for: the next fault finds it in memory, or
 * on its way, and maps it.
 *
 * A window never leaves its area nor its table, has only slots of one device, and takes no memory that has to be reclaimed first.
 * Locking: page_table_lock, which the area's memory of its last window is under.
 */
#ifndef LODGE_MM_SWAP_READAHEAD_H
#define LODGE_MM_SWAP_READAHEAD_H

#include "fault_internal.h"

/* Entries that one fault brings back: the one it is about, and neighbours; in the order of their slots. */
struct swap_around {
	unsigned int nr, main; /* main: the one that the fault is about */
	struct swap_around_entry {
		gva_t address;
		pte_t pte;
		struct page *page; /* a reference, or NULL: not in memory */
	} at[SWAP_AROUND_PAGES];
};

/* page_table_lock is held. A page that is in memory comes alone, unless it was read ahead. */
void swap_around_find(struct fault *f, struct swap_around *a);

/* The entry of one more page, which keeps the order. */
void swap_around_add(struct swap_around *a, gva_t address, pte_t pte);

/*
 * fault_swap.c: reads what is not in memory of pages of the table that f->address has, which nobody has touched, and maps what has come. The
 * caller holds their device, and the area; takes no memory that has to be reclaimed first. f->gather is begun, and ended.
 */
void swap_around_bring(struct fault *f, struct swap_around *a);

/* What to read while the guest is busy with the window just found; nr 0: nothing. page_table_lock is held. */
void swap_ahead_find(struct fault *f, struct swap_around *a);

#endif
