/* SPDX-License-Identifier: MIT */
/*
 * filemap_shrink.h - room: pages of files that an account pays for are given up before a charge to it fails.
 *
 * Clean pages that nobody maps go first; then pages are written back where they are dirty, taken out of the spaces that map
 * them, and dropped. They come back by a fault that reads them again. The largest cache gives first, from a place that moves
 * through it, so a program that walks a file larger than its account drops what it walked first, and not its own text.
 * Not here: anonymous memory and shared memory, which have no other place to be.
 */
#ifndef LODGE_MM_FILEMAP_SHRINK_H
#define LODGE_MM_FILEMAP_SHRINK_H

#include "memcg.h"

struct mm_host;

/*
 * Drops about nr_pages pages of files that `cg` pays for; returns how many went. No lock but mmap_lock (for reading) and those of
 * areas is held.
 */
uint64_t filemap_shrink(struct mm_host *h, struct memcg *cg, uint64_t nr_pages);

#endif
