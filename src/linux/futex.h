/* SPDX-License-Identifier: MIT */
/*
 * futex.h - futex(2) for a task whose one thread is all there is: nobody else can wake it, and it wakes
 * nobody.
 *
 * FUTEX_WAIT and FUTEX_WAIT_BITSET compare and sleep until their timeout or a signal; the two wakes find
 * no one.
 * Not here: requeueing, priority inheritance (-ENOSYS).
 */
#ifndef LODGE_LINUX_FUTEX_H
#define LODGE_LINUX_FUTEX_H

#include <stdint.h>

struct task;

/* The system call, with its argument registers. */
int64_t futex_call(struct task *t, const uint64_t a[6]);

#endif
