/* SPDX-License-Identifier: MIT */
/*
 * filemap_shrink.h - room from files, found through their mappings.
 *
 * Pages that no area maps are found in no table: evict.h does not come by them. And where everything was in use lately, files give all
 * the same: the largest cache, from a hand that moves around it. Ranges of pages are written back where they are dirty, taken out of the
 * spaces that map them, and dropped; they come back by a fault that reads them again. Pages of locked areas, and those that somebody
 * pins, stay.
 * Locking: as vmscan.h, which decides when.
 * Not here: anonymous memory and shared memory, which have no other place to be.
 */
#ifndef LODGE_MM_FILEMAP_SHRINK_H
#define LODGE_MM_FILEMAP_SHRINK_H

#include "memcg.h"

struct mm_host;

#define NO_AGE (~0u)

/*
 * Drops about nr_pages pages of files that `cg` pays for, of files that nobody maps first, then whatever they are used for; returns how
 * many went.
 */
uint64_t filemap_shrink(struct mm_host *h, struct memcg *cg, uint64_t nr_pages);

/* Only what no area maps: of files that none maps all, of others pages of this age and older; NO_AGE: none of those. */
uint64_t filemap_shrink_unmapped(struct mm_host *h, struct memcg *cg, uint64_t nr_pages,
				 unsigned int min_age);

#endif
