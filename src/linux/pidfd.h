/* SPDX-License-Identifier: MIT */
/*
 * pidfd.h - descriptors that stand for a process: readable when it has ended.
 *
 * Behind one is an eventfd of the process; the open file remembers whose by a serial number, which is never used twice.
 */
#ifndef LODGE_LINUX_PIDFD_H
#define LODGE_LINUX_PIDFD_H

#include "task.h"

/* Makes a descriptor for p, with sandbox->lock held or p known to nobody yet. The number, or -errno. */
int pidfd_install(struct task *t, struct process *p);

/* The process behind a descriptor, with sandbox->lock held: NULL and *err: -EBADF, or -ESRCH when it has been reaped. */
struct process *pidfd_process(struct task *t, int guest_fd, int *err);

#endif
