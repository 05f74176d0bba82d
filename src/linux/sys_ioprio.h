/* SPDX-License-Identifier: MIT */
/*
 * sys_ioprio.h - what priorities of I/O there are.
 */
#ifndef LODGE_LINUX_SYS_IOPRIO_H
#define LODGE_LINUX_SYS_IOPRIO_H

/* Whether a guest may have it: 0, -EINVAL, -EPERM. */
int ioprio_check(int priority);

#endif
