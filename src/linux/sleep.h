/* SPDX-License-Identifier: MIT */
/*
 * sleep.h - how a task waits for a point in time, or for a signal.
 *
 * It looks at the task with the kick signal blocked and lets it in atomically with falling asleep, so a kick
 * that comes in between is never lost.
 */
#ifndef LODGE_LINUX_SLEEP_H
#define LODGE_LINUX_SLEEP_H

#include <time.h>

#include "../mm/types.h"

struct task;

/* Reads a timespec of the guest: 0, -EFAULT, or -EINVAL when it is negative or has more than 999999999 ns. */
int sleep_get_timespec(struct task *t, gva_t from, struct timespec *ts);

/* `span` from now on `clock`, cut to what a timespec can say. */
struct timespec sleep_deadline(clockid_t clock, const struct timespec *span);

/* deadline - now, or 0.0 when it has passed. */
struct timespec sleep_left(clockid_t clock, const struct timespec *deadline);

/*
 * Sleeps until `clock` has reached *deadline (NULL: for ever): 0, or -EINTR when a signal wants the task
 * first.
 */
int sleep_until(struct task *t, clockid_t clock, const struct timespec *deadline);

#endif
