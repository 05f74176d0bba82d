/* SPDX-License-Identifier: MIT */
/*
 * rlimit.c - see rlimit.h.
 */
#include <errno.h>
#include <signal.h>

#include "../mm/lock.h"
#include "rlimit.h"

/* The hard limit is the host's, as the soft one was (exec.c). */
static struct rlimit memlock_first(const struct mm *mm)
{
	struct rlimit host;

	if (getrlimit(RLIMIT_MEMLOCK, &host) || host.rlim_max < mm->memlock_limit_bytes)
		host.rlim_max = mm->memlock_limit_bytes;
	return (struct rlimit){mm->memlock_limit_bytes, host.rlim_max};
}

#define MQUEUE_BYTES 819200

static struct rlimit rlimit_first(const struct process *p, const struct mm *mm, unsigned int which)
{
	switch (which) {
	case RLIMIT_STACK:
		return (struct rlimit){mm->stack_limit_bytes, RLIM_INFINITY};
	case RLIMIT_AS:
		return (struct rlimit){mm->as_limit_bytes, RLIM_INFINITY};
	case RLIMIT_DATA:
		return (struct rlimit){mm->data_limit_bytes, RLIM_INFINITY};
	case RLIMIT_MEMLOCK:
		return memlock_first(mm);
	case RLIMIT_NOFILE:
		return (struct rlimit){NR_OPEN_DEFAULT, NR_OPEN_MAX};
	case RLIMIT_NPROC:
		return (struct rlimit){p->sandbox->max_tasks, p->sandbox->max_tasks};
	case RLIMIT_SIGPENDING:
		return (struct rlimit){RT_QUEUE_MAX, RT_QUEUE_MAX};
	case RLIMIT_CORE:
		return (struct rlimit){0, RLIM_INFINITY};
	case RLIMIT_MSGQUEUE:
		return (struct rlimit){MQUEUE_BYTES, MQUEUE_BYTES};
	case RLIMIT_NICE:
	case RLIMIT_RTPRIO:
		return (struct rlimit){0, 0};
	default:
		return (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
	}
}

/* The lock is held, or it is the caller's own. */
static struct rlimit limit_of(const struct process *p, const struct mm *mm, unsigned int which)
{
	return p->rlimit[which].set ? p->rlimit[which].value : rlimit_first(p, mm, which);
}

struct rlimit rlimit_get(const struct task *t, unsigned int which)
{
	return limit_of(t->process, t->mm, which);
}

/* The space is told of what counts there. mmap_lock is taken. */
static void set_in_space(struct mm *mm, unsigned int which, const struct rlimit *new)
{
	mm_write_lock(mm);
	if (which == RLIMIT_STACK)
		mm->stack_limit_bytes = new->rlim_cur;
	else if (which == RLIMIT_AS)
		mm->as_limit_bytes = new->rlim_cur;
	else if (which == RLIMIT_DATA)
		mm->data_limit_bytes = new->rlim_cur;
	else if (which == RLIMIT_MEMLOCK)
		mm->memlock_limit_bytes = new->rlim_cur;
	mm_write_unlock(mm);
}

/* The lock is held. */
static int set_limit(struct process *p, const struct mm *mm, unsigned int which, const struct rlimit *new)
{
	if (new->rlim_cur > new->rlim_max)
		return -EINVAL;
	if (new->rlim_max > limit_of(p, mm, which).rlim_max)
		return -EPERM;
	p->rlimit[which] = (struct task_rlimit){true, *new};
	if (which == RLIMIT_NOFILE)
		atomic_store(&p->nr_open, (uint32_t)min_u64(new->rlim_cur, NR_OPEN_MAX));
	return which == RLIMIT_CPU ? timers_limit_changed(p) : 0;
}

/* The task that stands for a number, or NULL and *err. The lock is held. */
static struct task *task_to_limit(struct task *t, int pid, int *err)
{
	struct task *to = pid ? task_find(t->sandbox, pid) : t;

	*err = 0;
	if (!to)
		*err = -ESRCH;
	else if (to->process != t->process && !cred_may_limit(&t->cred, &to->cred))
		*err = -EPERM;
	return *err ? NULL : to;
}

int rlimit_change(struct task *t, int pid, unsigned int which, const struct rlimit *new, struct rlimit *old)
{
	struct mm *mm = NULL;
	struct task *to;
	int err;

	pthread_mutex_lock(&t->sandbox->lock);
	to = task_to_limit(t, pid, &err);
	if (to) {
		*old = limit_of(to->process, to->mm, which);
		err = new ? set_limit(to->process, to->mm, which, new) : 0;
	}
	if (to && new && !err) {
		mm = to->mm;
		mmget(mm);
	}
	pthread_mutex_unlock(&t->sandbox->lock);
	if (!mm)
		return err;
	set_in_space(mm, which, new);
	mmput(mm);
	return 0;
}

int rlimit_set(struct task *t, unsigned int which, const struct rlimit *new)
{
	struct rlimit old;

	return rlimit_change(t, 0, which, new, &old);
}

bool rlimit_refuses_size(struct task *t, uint64_t bytes)
{
	if (bytes <= rlimit_get(t, RLIMIT_FSIZE).rlim_cur)
		return false;
	signal_send(t, SIGXFSZ, NULL);
	return true;
}
