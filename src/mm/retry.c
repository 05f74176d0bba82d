/* SPDX-License-Identifier: MIT */
/* retry.c - see retry.h. */
#include <errno.h>

#include "retry.h"
#include "vmscan.h"

bool retry_with_room(struct retry *r, int64_t result)
{
	uint64_t failures = atomic_load(&r->cg->nr_failures);

	if (result != -ENOMEM || failures == r->nr_failures)
		return false;
	r->nr_failures = failures;
	return memcg_make_room(r->host, r->cg, true, r->attempts++);
}
