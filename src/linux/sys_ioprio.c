/* SPDX-License-Identifier: MIT */
/*
 * sys_ioprio.c - ioprio_get and ioprio_set.
 *
 * What was set is told, and a child has it; nothing is read or written earlier or later for it. A priority is a class (3 bits) above a
 * hint (10) and a level (3).
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <sys/syscall.h>

#include "sys_ioprio.h"
#include "syscall.h"

#define CLASS(priority)	   ((unsigned int)(priority) >> IOPRIO_CLASS_SHIFT & 7)
#define LEVEL(priority)	   ((unsigned int)(priority)&7)
#define BEST_EFFORT(level) (IOPRIO_CLASS_BE << IOPRIO_CLASS_SHIFT | (level))

/* The real-time class is for who administers a machine. */
int ioprio_check(int priority)
{
	switch (CLASS(priority)) {
	case IOPRIO_CLASS_RT:
		return -EPERM;
	case IOPRIO_CLASS_BE:
	case IOPRIO_CLASS_IDLE:
		return 0;
	case IOPRIO_CLASS_NONE:
		return LEVEL(priority) ? -EINVAL : 0;
	default:
		return -EINVAL;
	}
}

/* What each task of those that a call means is asked or told. */
struct ioprio_op {
	struct task *t;
	bool set;
	int priority; /* to be set, or the best that was found */
	int ret;      /* -ESRCH: nobody was found */
};

static void set_one(struct ioprio_op *op, struct task *to)
{
	uint32_t uid = to->cred.uid.real;

	if (uid != op->t->cred.uid.effective && uid != op->t->cred.uid.real &&
	    !cred_capable(&op->t->cred, CAP_KILL))
		op->ret = -EPERM;
	else
		to->ioprio = (uint16_t)op->priority;
}

/* Where none was set it follows from the nice value. */
static int effective(const struct task *of)
{
	return of->ioprio ? of->ioprio : BEST_EFFORT((of->nice + 20) / 5);
}

static void visit(struct ioprio_op *op, struct task *one)
{
	int found = op->set ? 0 : effective(one);
	bool first = op->ret == -ESRCH;

	op->ret = op->ret == -ESRCH ? 0 : op->ret;
	if (op->set && !op->ret)
		set_one(op, one);
	else if (!op->set && (first || found < op->priority))
		op->priority = found;
}

static bool is_meant(const struct ioprio_op *op, const struct process *p, const struct task *one, int which,
		     int who)
{
	if (which == IOPRIO_WHO_PGRP)
		return p->pgid == (who ? who : op->t->process->pgid);
	return one->cred.uid.real == (who ? (uint32_t)who : op->t->cred.uid.real);
}

/* The lock is held. */
static int64_t visit_all(struct ioprio_op *op, int which, int who)
{
	struct process *p;
	struct task *one;

	if (which == IOPRIO_WHO_PROCESS) {
		one = who ? task_find(op->t->sandbox, who) : op->t;
		if (!one)
			return -ESRCH;
		op->ret = 0;
		if (op->set)
			set_one(op, one);
		else
			op->priority = one->ioprio; /* as it is */
	} else {
		list_for_each_entry (p, &op->t->sandbox->processes, node)
			list_for_each_entry (one, &p->threads, thread_node)
				if (is_meant(op, p, one, which, who))
					visit(op, one);
	}
	return op->ret ? op->ret : op->set ? 0 : op->priority;
}

static int64_t run(struct ioprio_op *op, int which, int who)
{
	int64_t ret;

	if (which != IOPRIO_WHO_PROCESS && which != IOPRIO_WHO_PGRP && which != IOPRIO_WHO_USER)
		return -EINVAL;
	pthread_mutex_lock(&op->t->sandbox->lock);
	ret = visit_all(op, which, who);
	pthread_mutex_unlock(&op->t->sandbox->lock);
	return ret;
}

static int64_t sys_ioprio_set(struct task *t, const uint64_t a[6])
{
	struct ioprio_op op = {.t = t, .set = true, .priority = (int)a[2], .ret = -ESRCH};
	int err = ioprio_check(op.priority);

	return err ? err : run(&op, (int)a[0], (int)a[1]);
}

static int64_t sys_ioprio_get(struct task *t, const uint64_t a[6])
{
	struct ioprio_op op = {.t = t, .ret = -ESRCH};

	return run(&op, (int)a[0], (int)a[1]);
}

const struct syscall_entry sys_ioprio_calls[] = {
	SYSCALL_ENTRY(ioprio_set),
	SYSCALL_ENTRY(ioprio_get),
	{0},
};
