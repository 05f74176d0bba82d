/* SPDX-License-Identifier: MIT */
/*
 * rlimit.c - see rlimit.h.
 */
#include <errno.h>

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

static struct rlimit rlimit_first(const struct mm *mm, unsigned int which)
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
		return (struct rlimit){NR_OPEN_DEFAULT, NR_OPEN_DEFAULT};
	case RLIMIT_NPROC:
		return (struct rlimit){DEFAULT_MAX_PIDS, DEFAULT_MAX_PIDS};
	case RLIMIT_SIGPENDING:
		return (struct rlimit){RT_QUEUE_MAX, RT_QUEUE_MAX};
	case RLIMIT_CORE:
	case RLIMIT_MSGQUEUE:
	case RLIMIT_NICE:
	case RLIMIT_RTPRIO:
		return (struct rlimit){0, 0};
	default:
		return (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
	}
}

struct rlimit rlimit_get(const struct task *t, unsigned int which)
{
	return t->process->rlimit[which].set ? t->process->rlimit[which].value : rlimit_first(t->mm, which);
}

int rlimit_set(struct task *t, unsigned int which, const struct rlimit *new)
{
	struct mm *mm = t->mm;

	if (new->rlim_cur > new->rlim_max)
		return -EINVAL;
	if (new->rlim_max > rlimit_get(t, which).rlim_max)
		return -EPERM;
	pthread_mutex_lock(&t->sandbox->lock);
	t->process->rlimit[which] = (struct task_rlimit){true, *new};
	int err = which == RLIMIT_CPU ? timers_limit_changed(t->process) : 0;
	pthread_mutex_unlock(&t->sandbox->lock);
	if (err)
		return err;
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
	return 0;
}
