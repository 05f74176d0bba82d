/* SPDX-License-Identifier: MIT */
/*
 * rlimit.h - the resource limits of a task.
 *
 * They are the guest's own. RLIMIT_STACK, RLIMIT_AS, RLIMIT_DATA and RLIMIT_MEMLOCK take effect in its space, RLIMIT_CPU in its
 * timers, RLIMIT_NOFILE where numbers are given to files (files_limit), RLIMIT_NPROC in clone for who is not root; the others are
 * remembered. A limit that the guest never set has its first value, so a new task needs no setting up.
 */
#ifndef LODGE_LINUX_RLIMIT_H
#define LODGE_LINUX_RLIMIT_H

#include "task.h"

/* which: RLIMIT_, below RLIM_NLIMITS. */
struct rlimit rlimit_get(const struct task *t, unsigned int which);

/* 0, -EINVAL (soft above hard), -EPERM (a hard limit is never raised), -EAGAIN (no thread to watch it). */
/* A file that is to have that size: where RLIMIT_FSIZE has something against it, the task gets its signal. */
bool rlimit_refuses_size(struct task *t, uint64_t bytes);

int rlimit_set(struct task *t, unsigned int which, const struct rlimit *new);

/*
 * prlimit(2): another process's, too; pid 0: the caller's. *old: as it was; new NULL: stays. 0, -ESRCH, -EPERM, or as above.
 */
int rlimit_change(struct task *t, int pid, unsigned int which, const struct rlimit *new, struct rlimit *old);

#endif
