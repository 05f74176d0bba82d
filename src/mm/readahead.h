/* SPDX-License-Identifier: MIT */
/*
 * readahead.h - which pages of a file to read before they are asked for.
 *
 *	       ra->start            mark          ra->start + ra->size
 *	           |-- to be mapped --|--- async_size ---|......
 *	           ^ the miss         ^ PG_READAHEAD     ^ where the next window begins
 *
 *   - a miss where the last window ended is a sequence: the window grows, and the one after it is read along with it, marked at its
 *     first page;
 *   - a fault on the marked page reads the next window, larger again, while the marked one is being used: in a sequence there is
 *     one fault for each window, and none finds its page missing;
 *   - any other miss reads what fault-around maps and no more, so that reads at random stay small.
 *
 * An area with VM_SEQ_READ takes every miss for a sequence, with windows of twice the width; one with VM_RAND_READ reads single pages.
 * Windows end at multiples of their width in the address space, so that each is mapped with one fault.
 * The growth is that of Linux (mm/readahead.c): by four while windows are small, then by two.
 * Locking: the owner's; here nothing is locked and nothing is read. Not here: reading (filemap.h), how wide to map (fault_file.c).
 */
#ifndef LODGE_MM_READAHEAD_H
#define LODGE_MM_READAHEAD_H

#include "types.h"

/* An area's last window, in pages of its file. size 0: there was none. */
struct file_ra_state {
	uint64_t start;
	uint32_t size;
	uint32_t async_size; /* of them, how many lie from the mark on */
};

/* What a fault knows. */
struct ra_request {
	uint64_t index;	       /* the page of the file */
	uint64_t around_first; /* what fault-around would map: the first page, */
	uint32_t around_pages; /* and how many */
	uint32_t max_pages;    /* widest window: a power of two */
	uint64_t vpn;	       /* the page's number in the address space: where windows may end */
	uint64_t vm_flags;
};

/* Pages to read. mark: the one that gets PG_READAHEAD; outside the window: none does. */
struct ra_window {
	uint64_t first;
	uint32_t nr_pages;
	uint64_t mark;
};

/* The page is missing. The window holds it. */
struct ra_window readahead_sync(struct file_ra_state *ra, const struct ra_request *r);

/* The page is there and was marked: what to read now. nr_pages 0: nothing. */
struct ra_window readahead_async(struct file_ra_state *ra, const struct ra_request *r);

#endif
