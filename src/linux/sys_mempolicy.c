/* SPDX-License-Identifier: MIT */
/*
 * sys_mempolicy.c - the system calls about where memory comes from: arguments as Linux checks them, then the core.
 *
 * A policy is that of the space: threads share it. Pages that are there stay where they are: MPOL_MF_MOVE moves none.
 */
#include <errno.h>
#include <sys/syscall.h>

#include "../mm/mempolicy.h"
#include "syscall.h"

/* Linux's numbers, <linux/mempolicy.h>. */
#define MODE_FLAGS     0xe000u
#define STATIC_NODES   0x8000u
#define RELATIVE_NODES 0x4000u
#define NUMA_BALANCING 0x2000u
#define F_NODE	       1u
#define F_ADDR	       2u
#define F_MEMS_ALLOWED 4u
#define MF_STRICT      1u
#define MF_MOVE	       2u
#define MF_MOVE_ALL    4u

#define MAX_NUMNODES   1024u /* what a mask may name; those that do not exist must be 0 */

/* --- node masks -------------------------------------------------------------------------------- */

/* A guest's mask of maxnode - 1 bits. 0, -EINVAL or -EFAULT. */
static int get_nodes(struct task *t, gva_t from, uint64_t maxnode, nodemask_t *nodes)
{
	uint64_t word, bits = maxnode - 1;

	*nodes = 0;
	if (!bits || !from)
		return 0;
	if (bits > PAGE_SIZE * 8)
		return -EINVAL;
	for (uint64_t at = 0; at < bits; at += 64) {
		if (copy_from_user(t->mm, &word, from + at / 8, sizeof(word)))
			return -EFAULT;
		if (bits - at < 64)
			word &= (1ull << (bits - at)) - 1;
		if (at == 0) {
			*nodes = (nodemask_t)word;
			word >>= 32;
		}
		/* No machine here has so many nodes; those that Linux could have are refused with the policy, as empty. */
		if (word && at >= MAX_NUMNODES)
			return -EINVAL;
	}
	return 0;
}

static int put_nodes(struct task *t, gva_t to, uint64_t maxnode, nodemask_t nodes)
{
	uint64_t bytes = (maxnode - 1 + 63) / 64 * 8, word = nodes;

	if (bytes > PAGE_SIZE)
		return -EINVAL;
	if (bytes > sizeof(word) && clear_user(t->mm, to + sizeof(word), bytes - sizeof(word)))
		return -EFAULT;
	return bytes && copy_to_user(t->mm, to, &word, sizeof(word)) ? -EFAULT : 0;
}

/* A mode with its flags and nodes, as a guest named them. 0 or -errno. */
static int get_policy(struct task *t, uint64_t mode, gva_t mask, uint64_t maxnode,
		      struct mempolicy_setting *s)
{
	unsigned int flags = (unsigned int)mode & MODE_FLAGS;
	nodemask_t nodes;
	int err;

	mode &= ~(uint64_t)MODE_FLAGS;
	if ((unsigned int)mode >= NR_MPOL_MODES ||
	    (flags & (STATIC_NODES | RELATIVE_NODES)) == (STATIC_NODES | RELATIVE_NODES))
		return -EINVAL;
	if ((flags & NUMA_BALANCING) && mode != MPOL_BIND && mode != MPOL_PREFERRED_MANY)
		return -EINVAL;
	err = get_nodes(t, mask, maxnode, &nodes);
	if (err)
		return err;
	if ((mode == MPOL_LOCAL || (mode == MPOL_PREFERRED && !nodes)) &&
	    (flags & (STATIC_NODES | RELATIVE_NODES)))
		return -EINVAL;
	return mempolicy_setting_init(s, t->mm->frames, (enum mempolicy_mode)mode, flags, nodes);
}

/* --- calls ------------------------------------------------------------------------------------- */

static int64_t sys_set_mempolicy(struct task *t, const uint64_t a[6])
{
	struct mempolicy_setting s;
	int err = get_policy(t, (uint64_t)(int)a[0], a[1], a[2], &s);

	if (!err)
		mm_set_mempolicy(t->mm, s);
	return err;
}

static int64_t sys_mbind(struct task *t, const uint64_t a[6])
{
	unsigned int flags = (unsigned int)a[5];
	struct mempolicy_setting s;
	uint64_t length = page_align_up(a[1]);
	int err = get_policy(t, a[2], a[3], a[4], &s);

	if (err == -EFAULT || (err && (a[2] & ~(uint64_t)MODE_FLAGS) >= NR_MPOL_MODES))
		return err;
	if (a[5] & ~(uint64_t)(MF_STRICT | MF_MOVE | MF_MOVE_ALL))
		return -EINVAL;
	if ((flags & MF_MOVE_ALL) && !t->mm->privileged)
		return -EPERM;
	if ((a[0] & ~PAGE_MASK) || a[0] + length < a[0])
		return -EINVAL;
	if (!length)
		return 0;
	return err ? err : mm_mbind(t->mm, a[0], length, s);
}

/* What get_mempolicy answers. 0 or -errno. */
static int find_policy(struct task *t, gva_t address, unsigned int flags, int *mode, nodemask_t *nodes)
{
	struct mempolicy_setting s = mm_mempolicy(t->mm);

	if (flags & ~(F_NODE | F_ADDR | F_MEMS_ALLOWED))
		return -EINVAL;
	*mode = 0;
	*nodes = (nodemask_t)((1ull << t->mm->frames->nr_nodes) - 1);
	if (flags & F_MEMS_ALLOWED)
		return flags & (F_NODE | F_ADDR) ? -EINVAL : 0;
	if (!(flags & F_ADDR) && address)
		return -EINVAL;
	if (flags & F_ADDR) {
		int err = mm_vma_mempolicy(t->mm, address, &s);
		if (err)
			return err;
	}
	*nodes = s.nodes;
	*mode = s.mode | s.flags;
	if (!(flags & F_NODE))
		return 0;
	if (flags & F_ADDR)
		*mode = mm_node_of(t->mm, address);
	else if (s.mode == MPOL_INTERLEAVE || s.mode == MPOL_WEIGHTED_INTERLEAVE)
		*mode = mm_mempolicy_next(t->mm);
	else
		return -EINVAL;
	return *mode < 0 ? *mode : 0;
}

static int64_t sys_get_mempolicy(struct task *t, const uint64_t a[6])
{
	nodemask_t nodes;
	int mode, err;

	if (a[1] && a[2] < t->mm->frames->nr_nodes)
		return -EINVAL;
	err = find_policy(t, a[3], (unsigned int)a[4], &mode, &nodes);
	if (err)
		return err;
	if (a[4] & ~(uint64_t)(F_NODE | F_ADDR | F_MEMS_ALLOWED))
		return -EINVAL;
	if (a[0] && copy_to_user(t->mm, a[0], &mode, sizeof(mode)))
		return -EFAULT;
	return a[1] ? put_nodes(t, a[1], a[2], nodes) : 0;
}

const struct syscall_entry sys_mempolicy_calls[] = {
	SYSCALL_ENTRY(set_mempolicy),
	SYSCALL_ENTRY(get_mempolicy),
	SYSCALL_ENTRY(mbind),
	{0},
};
