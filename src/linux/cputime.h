/* SPDX-License-Identifier: MIT */
/*
 * cputime.h - processor time: what CPUTIME clocks show, and what limits and timers of processes count.
 *
 * It is that of the threads of the host that run the tasks, and so has what lodge does for them. How much of it was the user's own is
 * known of the calling thread and of ended ones; of others it is all counted as that.
 */
#ifndef LODGE_LINUX_CPUTIME_H
#define LODGE_LINUX_CPUTIME_H

#include <stdint.h>

struct process;
struct task;

/* In ns. sandbox->lock is held, or the task is the caller's own. */
uint64_t cputime_task(const struct task *t);

/* Of all threads that a process has and had, in ns; only what was not spent in system calls, as far as that is known. The lock is held. */
uint64_t cputime_process(struct process *p);
uint64_t cputime_process_user(struct process *p);

#endif
