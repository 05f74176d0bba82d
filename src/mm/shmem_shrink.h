/* SPDX-License-Identifier: MIT */
/*
 * shmem_shrink.h - room from shared memory that nobody maps: it is in no table, so evict.h does not come by it.
 *
 * A hand goes round the objects of the host, and through the index of each. It takes pages of the account that are old enough, and pages
 * that were read along with others and not asked for. What a slot did not take goes back into its object, and into another slot later.
 * Locking: ageing.lock of the account is held.
 * Not here: pages that areas map (evict.h), how they go (swap_out.c).
 */
#ifndef LODGE_MM_SHMEM_SHRINK_H
#define LODGE_MM_SHMEM_SHRINK_H

#include "memcg.h"

struct mm_host;

#define SHMEM_SHRINK_ALL (~0ull)

/*
 * Gives up to nr_pages pages of this age and older that cg pays for to swap, looking at up to `looks` indices; returns how many went, or
 * are on their way.
 */
uint64_t shmem_shrink(struct mm_host *h, struct memcg *cg, uint64_t nr_pages, unsigned int min_age,
		      uint64_t looks);

#endif
