/* SPDX-License-Identifier: MIT */
/*
 * filemap_shrink.h - room: pages of files that an account pays for are given up before a charge to it fails.
 *
 * Files that nobody maps go first. Then the largest cache gives, from a hand that moves around it: ranges of pages are written back
 * where they are dirty, taken out of the spaces that map them, and dropped. They come back by a fault that reads them again. So a
 * program that walks a file larger than its account drops what it walked first, and not its own text. Pages of locked areas, and
 * those that somebody pins, stay.
 * Not here: anonymous memory and shared memory, which have no other place to be.
 */
#ifndef LODGE_MM_FILEMAP_SHRINK_H
#define LODGE_MM_FILEMAP_SHRINK_H

#include "memcg.h"

struct mm_host;

/* How much to ask for at once: 8 MiB, or a sixteenth of a small account, lest all of its files go. */
static inline uint64_t filemap_shrink_batch(const struct memcg *cg)
{
	const uint64_t most = 2048;

	return cg->max_pages / 16 < most ? cg->max_pages / 16 + 1 : most;
}

/*
 * Drops about nr_pages pages of files that `cg` pays for; returns how many went. No lock but mmap_lock (for reading) and those of
 * areas is held.
 */
uint64_t filemap_shrink(struct mm_host *h, struct memcg *cg, uint64_t nr_pages);

#endif
