/* SPDX-License-Identifier: MIT */
/* mempolicy.c - see mempolicy.h. */
#include <errno.h>

#include "mempolicy.h"

int mempolicy_init(struct mempolicy *policy, const struct frames *f, enum mempolicy_mode mode,
		   nodemask_t nodes)
{
	nodemask_t exist = (1u << f->nr_nodes) - 1;

	if (mode >= NR_MPOL_MODES || (nodes && !(nodes & exist)))
		return -EINVAL;
	if (mode == MPOL_DEFAULT || mode == MPOL_LOCAL ? nodes : !nodes && mode != MPOL_PREFERRED)
		return -EINVAL;
	*policy = (struct mempolicy){.mode = mode, .nodes = nodes & exist};
	return 0;
}

int mempolicy_setting_init(struct mempolicy_setting *s, const struct frames *f, enum mempolicy_mode mode,
			   unsigned int flags, nodemask_t nodes)
{
	struct mempolicy policy;
	int err = mempolicy_init(&policy, f, mode, nodes);

	if (err)
		return err;
	if (mode == MPOL_PREFERRED && !nodes)
		mode = MPOL_LOCAL;
	if (mode == MPOL_DEFAULT)
		flags = 0;
	*s = (struct mempolicy_setting){(uint16_t)mode, (uint16_t)flags, policy.nodes};
	return 0;
}

static unsigned int nth_node(nodemask_t nodes, unsigned int n)
{
	while (n--)
		nodes &= nodes - 1;
	return (unsigned int)__builtin_ctz(nodes);
}

unsigned int mempolicy_node(struct mempolicy *policy, const struct frames *f, gfp_t gfp, nodemask_t *nodes)
{
	unsigned int local = frames_local_node(f);
	nodemask_t mine = policy ? policy->nodes & *nodes : 0;

	/* A request for this very node is nobody's to redirect; a policy that allows nothing here does not hold. */
	if (!policy || policy->mode == MPOL_DEFAULT || (gfp & __GFP_THISNODE) || !mine)
		return local;
	if (policy->mode == MPOL_PREFERRED)
		return (unsigned int)__builtin_ctz(mine);
	if (policy->mode == MPOL_PREFERRED_MANY)
		return mine & 1u << local ? local : (unsigned int)__builtin_ctz(mine);
	if (policy->mode == MPOL_INTERLEAVE || policy->mode == MPOL_WEIGHTED_INTERLEAVE) {
		unsigned int nr = (unsigned int)__builtin_popcount(mine);
		return nth_node(mine, atomic_fetch_add_explicit(&policy->turn, 1, memory_order_relaxed) % nr);
	}
	*nodes = mine;
	return mine & 1u << local ? local : (unsigned int)__builtin_ctz(mine);
}
