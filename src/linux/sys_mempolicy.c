/* SPDX-License-Identifier: MIT */
/*
 * sys_mempolicy.c - the system calls about where memory comes from: arguments as Linux checks them, then the core.
 *
 * A policy is that of the space: threads share it.
 */
#include <errno.h>
#include <sys/syscall.h>

#include "../mm/move_pages.h"
#include "syscall.h"
#include "task.h"

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

/* The space of a process, with a user; pid 0: the caller's. */
static struct mm *space_of(struct task *t, int pid)
{
	struct sandbox *s = t->sandbox;

	pthread_mutex_lock(&s->lock);
	const struct task *other = pid ? task_find(s, pid) : t;
	struct mm *mm = other ? other->mm : NULL;
	if (mm)
		mmget(mm);
	pthread_mutex_unlock(&s->lock);
	return mm;
}

#define MOVE_BATCH 64

struct move_request {
	struct task *t;
	struct mm *mm;
	gva_t pages, nodes, status;
	enum move_whose whose;
};

/* What becomes of one page: its status, or an error of the call by *err. */
static int move_one(const struct move_request *r, gva_t address, int32_t node, int *err)
{
	if (!r->nodes)
		return mm_page_node(r->mm, address);
	if (node < 0 || (unsigned int)node >= r->mm->frames->nr_nodes)
		*err = -ENODEV;
	return *err ? 0 : mm_move_page(r->mm, address, (unsigned int)node, r->whose);
}

static int64_t move_batch(const struct move_request *r, uint64_t first, uint64_t nr)
{
	int32_t node[MOVE_BATCH] = {0}, status[MOVE_BATCH];
	uint64_t page[MOVE_BATCH];
	int64_t failed = 0;
	int err = 0;

	if (copy_from_user(r->t->mm, page, r->pages + first * sizeof(*page), nr * sizeof(*page)) ||
	    (r->nodes &&
	     copy_from_user(r->t->mm, node, r->nodes + first * sizeof(*node), nr * sizeof(*node))))
		return -EFAULT;
	for (uint64_t i = 0; i < nr && !err; i++) {
		status[i] = move_one(r, page[i], node[i], &err);
		failed += !err && status[i] == -EBUSY;
	}
	if (err)
		return err;
	return copy_to_user(r->t->mm, r->status + first * sizeof(*status), status, nr * sizeof(*status))
		       ? -EFAULT
		       : failed;
}

static int64_t sys_move_pages(struct task *t, const uint64_t a[6])
{
	struct move_request r = {t, NULL, a[2], a[3], a[4], a[5] & MF_MOVE_ALL ? MOVE_ALL : MOVE_OWN};
	int64_t failed = 0, ret = 0;

	if ((int)a[5] & ~(int)(MF_MOVE | MF_MOVE_ALL))
		return -EINVAL;
	if ((a[5] & MF_MOVE_ALL) && !t->mm->privileged)
		return -EPERM;
	r.mm = space_of(t, (int)a[0]);
	if (!r.mm)
		return -ESRCH;
	for (uint64_t done = 0; done < a[1] && ret >= 0; done += MOVE_BATCH, failed += ret)
		ret = move_batch(&r, done, min_u64(a[1] - done, MOVE_BATCH));
	mmput(r.mm);
	return ret < 0 ? ret : failed;
}

static int64_t sys_migrate_pages(struct task *t, const uint64_t a[6])
{
	nodemask_t from = 0, to = 0, there = (nodemask_t)((1ull << t->mm->frames->nr_nodes) - 1);
	int err = get_nodes(t, a[2], a[1], &from);

	if (!err)
		err = get_nodes(t, a[3], a[1], &to);
	if (err)
		return err;
	struct mm *mm = space_of(t, (int)a[0]);
	if (!mm)
		return -ESRCH;
	int64_t ret = -EINVAL;
	if (to & there)
		ret = (int64_t)mm_move_nodes(mm, 0, mm->task_size, from, to & there,
					     t->mm->privileged ? MOVE_ALL : MOVE_OWN);
	mmput(mm);
	return ret;
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
	if (err)
		return err;
	err = mm_mbind(t->mm, a[0], length, s);
	if (err || !(flags & (MF_MOVE | MF_MOVE_ALL)) || !s.nodes)
		return err;
	/* To where the policy wants them; STRICT: or else an error. */
	uint64_t failed = mm_move_nodes(t->mm, a[0], a[0] + length, (nodemask_t)~s.nodes, s.nodes,
					flags & MF_MOVE_ALL ? MOVE_ALL : MOVE_OWN);
	return failed && (flags & MF_STRICT) ? -EIO : 0;
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
	SYSCALL_ENTRY(set_mempolicy), SYSCALL_ENTRY(get_mempolicy), SYSCALL_ENTRY(mbind),
	SYSCALL_ENTRY(move_pages),    SYSCALL_ENTRY(migrate_pages), {0},
};
