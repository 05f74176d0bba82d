/* SPDX-License-Identifier: MIT */
/*
 * retry.h - operations on a space that a full account refused: begun anew after reclaim.
 *
 * Faults reclaim by themselves (fault.c). What forks a space, or makes tables for a change of areas, does it under mmap_lock for writing,
 * where nothing may be reclaimed. It fails and leaves everything as it was, or as far as it came where that may be done twice; whoever
 * called it gives his locks back and asks here. That it was the account is told by its count of refused charges: other reasons for
 * -ENOMEM, as a hole or a limit of areas, are reported at once.
 */
#ifndef LODGE_MM_RETRY_H
#define LODGE_MM_RETRY_H

#include "mm.h"

struct retry {
	struct mm_host *host;
	struct memcg *cg;
	uint64_t nr_failures;
	unsigned int attempts;
};

static inline struct retry retry_begin(struct mm_host *h, struct memcg *cg)
{
	return (struct retry){h, cg, atomic_load(&cg->nr_failures), 0};
}

/* Whether it is worth trying again, after this result. No lock is held. */
bool retry_with_room(struct retry *r, int64_t result);

#endif
