/* SPDX-License-Identifier: MIT */
/*
 * swap_readahead.h - which neighbours of a swapped page are read along with it.
 *
 * Pages that lay next to each other went one after the other, as a rule, so their slots are neighbours too and one transfer reads them
 * all. What comes along is mapped as well, but not marked used. The next fault looks how many of them were used by then:
 *
 *	fault just behind the last window	forward from there; the third in a row: twice as wide
 *	all of the last window was used		twice as wide, the aligned block around it, if that is worth a try
 *	more than half				as wide
 *	less					half as wide, down to the page alone
 *
 * Where half as wide was enough, wider windows are not tried again before PATIENCE of them were used in full, so that objects of one size
 * at random places are read as such.
 *
 * A row of three is taken for a guest that goes through memory in order. Then neighbours are marked used: they are about to be, and a shadow
 * MMU fills eight entries at a time where all of them are, but one by one where not. And what lies behind is read as well, which nobody waits
 * for: later faults find it in memory, or on its way, and map it. Each asks for up to two windows more, until SWAP_AHEAD_PAGES are under way,
 * or a 32nd of what the account may have: as deep a queue as keeps the device busy while pages are mapped and used.
 *
 *	     window      asked for before          asked for now
 *	    |########|..........................|++++++++++++++++|
 *	    ^ fault  <------ swap_ahead_pages ------------------->
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
	} at[2 * SWAP_AROUND_PAGES];
};

/* page_table_lock is held. A page that is in memory comes alone, unless it was read ahead or is an image's. */
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
