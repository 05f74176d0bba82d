/* SPDX-License-Identifier: MIT */
/* retry.c - see retry.h. */
#include <errno.h>

#include "retry.h"
#include "vmscan.h"

#define RETRY_ATTEMPTS 8

bool retry_with_room(struct retry *r, int64_t result)
{
	uint64_t failures = atomic_load(&r->cg->nr_failures);

	if (result != -ENOMEM || failures == r->nr_failures || r->attempts++ == RETRY_ATTEMPTS)
		return false;
	r->nr_failures = failures;
	return memcg_reclaim(r->host, r->cg, memcg_reclaim_batch(r->cg), 0);
}
