/* SPDX-License-Identifier: MIT */
/*
 * mempolicy.h - which nodes a task's memory comes from.
 *
 * Locking: a policy is constant but for its turn, which is atomic.
 */
#ifndef LODGE_MM_MEMPOLICY_H
#define LODGE_MM_MEMPOLICY_H

#include "page.h"

enum mempolicy_mode {
	MPOL_DEFAULT,	 /* the local node first */
	MPOL_PREFERRED,	 /* the first node of the mask first; an empty mask: the local one */
	MPOL_BIND,	 /* nodes of the mask only */
	MPOL_INTERLEAVE, /* nodes of the mask in turn; any other when it is full */
};

struct mempolicy {
	enum mempolicy_mode mode;
	nodemask_t nodes;
	_Atomic uint32_t turn; /* (A) blocks that were interleaved */
};

/* 0; -EINVAL: a mode unknown, a mask without a node that exists, or one where none belongs. */
int mempolicy_init(struct mempolicy *policy, const struct frames *f, enum mempolicy_mode mode,
		   nodemask_t nodes);

/* Where to start looking, and in *nodes (in: the nodes allowed) where to look at all. NULL policy: the default. */
unsigned int mempolicy_node(struct mempolicy *policy, const struct frames *f, gfp_t gfp, nodemask_t *nodes);

#endif
