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
	MPOL_DEFAULT,		  /* the local node first */
	MPOL_PREFERRED,		  /* the first node of the mask first; an empty mask: the local one */
	MPOL_BIND,		  /* nodes of the mask only */
	MPOL_INTERLEAVE,	  /* nodes of the mask in turn; any other when it is full */
	MPOL_LOCAL,		  /* the local node first, whatever the task's policy is */
	MPOL_PREFERRED_MANY,	  /* nodes of the mask first, then any other */
	MPOL_WEIGHTED_INTERLEAVE, /* as MPOL_INTERLEAVE: all weights are 1 */
	NR_MPOL_MODES,
};

/* A policy as it is asked for, kept and compared; {0}: the default. */
struct mempolicy_setting {
	_Alignas(8) uint16_t mode;
	uint16_t
		flags; /* MPOL_F_ as the asker gave them: they are told, and mean nothing as long as no node comes or goes */
	nodemask_t nodes;
};

struct mempolicy {
	enum mempolicy_mode mode;
	nodemask_t nodes;
	_Atomic uint32_t turn; /* (A) blocks that were interleaved */
};

/* 0; -EINVAL: a mode unknown, a mask without a node that exists, or one where none belongs. */
int mempolicy_init(struct mempolicy *policy, const struct frames *f, enum mempolicy_mode mode,
		   nodemask_t nodes);

/* The same for a setting; -EINVAL, too, for MPOL_LOCAL with nodes. */
int mempolicy_setting_init(struct mempolicy_setting *s, const struct frames *f, enum mempolicy_mode mode,
			   unsigned int flags, nodemask_t nodes);

static inline struct mempolicy mempolicy_of(struct mempolicy_setting s, uint32_t turn)
{
	return (struct mempolicy){.mode = (enum mempolicy_mode)s.mode, .nodes = s.nodes, .turn = turn};
}

static inline bool mempolicy_equal(struct mempolicy_setting a, struct mempolicy_setting b)
{
	return a.mode == b.mode && a.flags == b.flags && a.nodes == b.nodes;
}

/* Where to start looking, and in *nodes (in: the nodes allowed) where to look at all. NULL policy: the default. */
unsigned int mempolicy_node(struct mempolicy *policy, const struct frames *f, gfp_t gfp, nodemask_t *nodes);

#endif
