/* SPDX-License-Identifier: MIT */
/*
 * sys_sched.c - the calls about processors and scheduling.
 *
 * A task runs on a thread of the host, and on the processors that the host lets that thread use: their numbers and masks are the host's, and
 * a mask that a guest sets is its thread's. Policies are remembered and have no effect; those of real time, by which a guest could keep
 * the host from running, are refused as they are to any program without privileges.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "syscall.h"
#include "vdso.h"

#define MASK_BYTES	     1024
#define MAX_RT_PRIORITY	     99
#define POLICY_DEADLINE	     6
#define POLICY_EXT	     7 /* Linux 6.12 */
#define POLICY_RESET_ON_FORK 0x40000000

static int64_t put(struct task *t, gva_t to, const void *from, size_t bytes)
{
	return copy_to_user(t->mm, to, from, bytes) ? -EFAULT : 0;
}

/* The task of a pid argument, with sandbox->lock held; NULL: there is none, and it is not. */
static struct task *find_locked(struct task *t, uint64_t pid)
{
	pthread_mutex_lock(&t->sandbox->lock);
	struct task *found = (int)pid ? task_find(t->sandbox, (int)pid) : t;
	if (!found)
		pthread_mutex_unlock(&t->sandbox->lock);
	return found;
}

static void unlock(struct task *t)
{
	pthread_mutex_unlock(&t->sandbox->lock);
}

static int64_t sys_sched_yield(struct task *t, const uint64_t a[6])
{
	(void)t;
	(void)a;
	sched_yield();
	return 0;
}

/* --- processors ------------------------------------------------------------------------------ */

/* The thread of a task that has begun; the caller's own, which it begins with, for one that has not. */
static int host_thread(const struct task *t)
{
	return t->running ? t->host_tid : 0;
}

static int64_t host_get_mask(int host_tid, uint32_t bytes, void *mask)
{
	long n = syscall(SYS_sched_getaffinity, host_tid, bytes < MASK_BYTES ? bytes : MASK_BYTES, mask);

	return n < 0 ? -errno : n;
}

static int64_t sys_sched_getaffinity(struct task *t, const uint64_t a[6])
{
	uint64_t mask[MASK_BYTES / sizeof(uint64_t)];
	uint32_t bytes = (uint32_t)a[1];
	int64_t n;

	/* Of two errors Linux tells that of the size. */
	n = host_get_mask(0, bytes, mask);
	if (n < 0 || bytes % sizeof(uint64_t))
		return -EINVAL;
	const struct task *other = find_locked(t, a[0]);
	if (!other)
		return -ESRCH;
	n = host_get_mask(host_thread(other), bytes, mask);
	unlock(t);
	return n < 0 ? n : put(t, a[2], mask, (size_t)n) ? -EFAULT : n;
}

static int64_t sys_sched_setaffinity(struct task *t, const uint64_t a[6])
{
	uint64_t mask[MASK_BYTES / sizeof(uint64_t)] = {0};
	int64_t whole = host_get_mask(0, MASK_BYTES, mask);

	if (whole < 0)
		return whole;
	memset(mask, 0, sizeof(mask));
	if (copy_from_user(t->mm, mask, a[2], min_u64((uint32_t)a[1], (uint64_t)whole)))
		return -EFAULT;
	const struct task *other = find_locked(t, a[0]);
	if (!other)
		return -ESRCH;
	long ret = syscall(SYS_sched_setaffinity, host_thread(other), (size_t)whole, mask);
	if (!ret) {
		t->sandbox->masks_are_set = true;
		if (other->running)
			vcpu_moved(other->vcpu);
	}
	int err = errno;
	unlock(t);
	return ret ? -err : 0;
}

static int64_t sys_getcpu(struct task *t, const uint64_t a[6])
{
	uint32_t node = frames_local_node(t->mm->frames);
	int cpu = sched_getcpu();
	uint32_t number = cpu < 0 ? 0 : (uint32_t)cpu;

	if (t->vdso)
		vdso_find_cpu(t->vdso, t->vm);
	if (a[0] && put(t, a[0], &number, sizeof(number)))
		return -EFAULT;
	return a[1] ? put(t, a[1], &node, sizeof(node)) : 0;
}

/* --- policies -------------------------------------------------------------------------------- */

static bool is_real_time(int policy)
{
	return policy == SCHED_FIFO || policy == SCHED_RR;
}

static bool is_known(int policy)
{
	return policy == SCHED_OTHER || policy == SCHED_BATCH || policy == SCHED_IDLE || is_real_time(policy);
}

/* Whether the two go together, and a guest may have them. */
static int check_policy(int policy, int priority)
{
	if (!is_known(policy) || priority < 0 || priority > MAX_RT_PRIORITY ||
	    is_real_time(policy) != (priority != 0))
		return -EINVAL;
	return is_real_time(policy) ? -EPERM : 0;
}

static int64_t sys_sched_getscheduler(struct task *t, const uint64_t a[6])
{
	if ((int)a[0] < 0)
		return -EINVAL;
	const struct task *other = find_locked(t, a[0]);
	if (!other)
		return -ESRCH;
	int64_t policy = other->sched_policy;
	unlock(t);
	return policy;
}

static int64_t sys_sched_getparam(struct task *t, const uint64_t a[6])
{
	const uint32_t priority = 0;

	if (!a[1] || (int)a[0] < 0)
		return -EINVAL;
	if (!find_locked(t, a[0]))
		return -ESRCH;
	unlock(t);
	return put(t, a[1], &priority, sizeof(priority));
}

/* What keeps children from a policy only root takes back. */
static bool may_reset(const struct task *t, int from, int to)
{
	return !(from & POLICY_RESET_ON_FORK) || (to & POLICY_RESET_ON_FORK) || !t->cred.uid.effective;
}

static int64_t set_policy(struct task *t, uint64_t pid, const int *policy, gva_t param)
{
	int priority;

	if (!param || (int)pid < 0)
		return -EINVAL;
	if (copy_from_user(t->mm, &priority, param, sizeof(priority)))
		return -EFAULT;
	struct task *other = find_locked(t, pid);
	if (!other)
		return -ESRCH;
	int to = policy ? *policy : other->sched_policy;
	int err = check_policy(to & ~POLICY_RESET_ON_FORK, priority);
	if (!err && !may_reset(t, other->sched_policy, to))
		err = -EPERM;
	if (!err)
		other->sched_policy = to;
	unlock(t);
	return err;
}

static int64_t sys_sched_setscheduler(struct task *t, const uint64_t a[6])
{
	int policy = (int)a[1];

	return policy < 0 ? -EINVAL : set_policy(t, a[0], &policy, a[2]);
}

static int64_t sys_sched_setparam(struct task *t, const uint64_t a[6])
{
	return set_policy(t, a[0], NULL, a[1]);
}

static int64_t priority_bound(int policy, int real_time)
{
	if (is_real_time(policy))
		return real_time;
	return is_known(policy) || policy == POLICY_DEADLINE || policy == POLICY_EXT ? 0 : -EINVAL;
}

static int64_t sys_sched_get_priority_max(struct task *t, const uint64_t a[6])
{
	(void)t;
	return priority_bound((int)a[0], MAX_RT_PRIORITY);
}

static int64_t sys_sched_get_priority_min(struct task *t, const uint64_t a[6])
{
	(void)t;
	return priority_bound((int)a[0], 1);
}

static int64_t sys_sched_rr_get_interval(struct task *t, const uint64_t a[6])
{
	struct timespec ts;

	if ((int)a[0] < 0)
		return -EINVAL;
	if (!find_locked(t, a[0]))
		return -ESRCH;
	unlock(t);
	return sched_rr_get_interval(0, &ts) ? -errno : put(t, a[1], &ts, sizeof(ts));
}

/* --- attributes: policy and nice value in one structure ---------------------------------------- */

/* As the kernel has it; libc may not. */
struct attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
	uint32_t util_min, util_max;
};

#define ATTR_FIRST_BYTES 48
#define ATTR_RESET	 1u
#define ATTR_KEEP_POLICY 8u
#define ATTR_KEEP_PARAMS 0x10u
#define ATTR_KNOWN	 0x1fu
#define ATTR_CLAMP	 0x60u

/* 0 or -errno. A size that is refused is answered with ours. */
static int attributes_get(struct task *t, gva_t from, struct attributes *attr)
{
	const uint32_t ours = sizeof(*attr);
	uint32_t size;
	char more = 0;

	if (copy_from_user(t->mm, &size, from, sizeof(size)))
		return -EFAULT;
	size = size ? size : ATTR_FIRST_BYTES;
	for (uint32_t at = ours; at < size && size <= PAGE_SIZE && !more; at++)
		if (copy_from_user(t->mm, &more, from + at, 1))
			return -EFAULT;
	if (size < ATTR_FIRST_BYTES || size > PAGE_SIZE || more) {
		put(t, from, &ours, sizeof(ours));
		return -E2BIG;
	}
	memset(attr, 0, sizeof(*attr));
	if (copy_from_user(t->mm, attr, from, size < ours ? size : ours))
		return -EFAULT;
	if ((attr->flags & ATTR_CLAMP) && size < ours)
		return -EINVAL;
	return (int)attr->policy < 0 ? -EINVAL : 0;
}

static bool has_nice(int policy)
{
	return policy == SCHED_OTHER || policy == SCHED_BATCH;
}

/* The lock is held. */
static int attributes_apply(struct task *t, const struct attributes *attr)
{
	int policy =
		attr->flags & ATTR_KEEP_POLICY ? t->sched_policy & ~POLICY_RESET_ON_FORK : (int)attr->policy;
	bool keeps = attr->flags & ATTR_KEEP_PARAMS;
	int nice = keeps ? t->nice : attr->nice < -20 ? -20 : attr->nice > 19 ? 19 : attr->nice, err;

	if (policy == POLICY_DEADLINE)
		err = attr->priority ? -EINVAL : -EPERM;
	else if (attr->flags & ~(uint64_t)(ATTR_KNOWN | ATTR_CLAMP))
		err = -EINVAL;
	else
		err = check_policy(policy, keeps ? 0 : (int)attr->priority);
	if (!err && (attr->flags & ATTR_CLAMP))
		err = -EOPNOTSUPP;
	if (!err && has_nice(policy) && nice < t->nice)
		err = -EPERM;
	policy |= attr->flags & ATTR_RESET ? POLICY_RESET_ON_FORK : 0;
	if (!err && !may_reset(t, t->sched_policy, policy))
		err = -EPERM;
	if (err)
		return err;
	t->sched_policy = policy;
	t->nice = has_nice(policy & ~POLICY_RESET_ON_FORK) ? nice : t->nice;
	return 0;
}

static int64_t sys_sched_setattr(struct task *t, const uint64_t a[6])
{
	struct attributes attr;
	struct task *other;
	int err;

	if (!a[1] || (int)a[0] < 0 || (unsigned int)a[2])
		return -EINVAL;
	err = attributes_get(t, a[1], &attr);
	if (err)
		return err;
	other = find_locked(t, a[0]);
	if (!other)
		return -ESRCH;
	err = attributes_apply(other, &attr);
	unlock(t);
	return err;
}

static int64_t sys_sched_getattr(struct task *t, const uint64_t a[6])
{
	unsigned int bytes = (unsigned int)a[2];
	struct attributes attr = {.size = bytes < sizeof(attr) ? bytes : sizeof(attr)};
	const struct task *other;

	if (!a[1] || (int)a[0] < 0 || (unsigned int)a[3] || bytes < ATTR_FIRST_BYTES || bytes > PAGE_SIZE)
		return -EINVAL;
	other = find_locked(t, a[0]);
	if (!other)
		return -ESRCH;
	attr.policy = (uint32_t)(other->sched_policy & ~POLICY_RESET_ON_FORK);
	attr.flags = other->sched_policy & POLICY_RESET_ON_FORK ? ATTR_RESET : 0;
	attr.nice = other->nice;
	unlock(t);
	return put(t, a[1], &attr, attr.size);
}

/* --- nice ------------------------------------------------------------------------------------ */

#define NICE_MIN   (-20)
#define NICE_MAX   19
#define NICE_ASKED (1 << 16) /* no value: it is only asked for */

/* Does to one thread what a call asks for. `err` and `best` are of all so far, as Linux puts them together. */
static void renice(struct task *t, int nice, int *err, int *best)
{
	if (nice == NICE_ASKED) {
		*err = 0;
		*best = t->nice < *best ? t->nice : *best;
	} else if (nice < t->nice) {
		*err = -EACCES; /* nobody has the privilege */
	} else {
		*err = *err == -ESRCH ? 0 : *err;
		t->nice = nice;
	}
}

static void renice_process(const struct process *p, int nice, int *err, int *best)
{
	struct task *t;

	list_for_each_entry (t, &p->threads, thread_node)
		renice(t, nice, err, best);
}

/* All threads that a call means: one, a group's, a user's. 0, -ESRCH, -EACCES. */
static int renice_all(struct task *t, int which, int who, int nice, int *best)
{
	struct sandbox *s = t->sandbox;
	struct process *p;
	struct task *one;
	int err = -ESRCH;

	pthread_mutex_lock(&s->lock);
	one = who ? task_find(s, who) : t;
	if (which == PRIO_PROCESS && one)
		renice(one, nice, &err, best);
	list_for_each_entry (p, &s->processes, node)
		if ((which == PRIO_PGRP && p->pgid == (who ? who : t->process->pgid)) ||
		    (which == PRIO_USER && process_uid(p) == (who ? (uint32_t)who : t->cred.uid.real)))
			renice_process(p, nice, &err, best);
	pthread_mutex_unlock(&s->lock);
	return err;
}

static bool is_which(int which)
{
	return which == PRIO_PROCESS || which == PRIO_PGRP || which == PRIO_USER;
}

static int64_t sys_getpriority(struct task *t, const uint64_t a[6])
{
	int best = NICE_MAX;

	if (!is_which((int)a[0]))
		return -EINVAL;
	int err = renice_all(t, (int)a[0], (int)a[1], NICE_ASKED, &best);
	return err ? err : 20 - best;
}

static int64_t sys_setpriority(struct task *t, const uint64_t a[6])
{
	int nice = (int)a[2], best = 0;

	if (!is_which((int)a[0]))
		return -EINVAL;
	nice = nice < NICE_MIN ? NICE_MIN : nice > NICE_MAX ? NICE_MAX : nice;
	return renice_all(t, (int)a[0], (int)a[1], nice, &best);
}

const struct syscall_entry sys_sched_calls[] = {
	SYSCALL_ENTRY(getpriority),
	SYSCALL_ENTRY(setpriority),
	SYSCALL_ENTRY(sched_yield),
	SYSCALL_ENTRY(sched_getaffinity),
	SYSCALL_ENTRY(sched_setaffinity),
	SYSCALL_ENTRY(getcpu),
	SYSCALL_ENTRY(sched_getscheduler),
	SYSCALL_ENTRY(sched_getparam),
	SYSCALL_ENTRY(sched_setscheduler),
	SYSCALL_ENTRY(sched_setparam),
	SYSCALL_ENTRY(sched_get_priority_max),
	SYSCALL_ENTRY(sched_get_priority_min),
	SYSCALL_ENTRY(sched_rr_get_interval),
	SYSCALL_ENTRY(sched_setattr),
	SYSCALL_ENTRY(sched_getattr),
	{0},
};
