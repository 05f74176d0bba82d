/* SPDX-License-Identifier: MIT */
/*
 * alarm.h - the interval timer of a process by real time: ITIMER_REAL and alarm(2).
 *
 * One thread of the host per sandbox, from the first timer on, sleeps until the next is due.
 * Not here: timers by processor time, timer_create (-ENOSYS).
 */
#ifndef LODGE_LINUX_ALARM_H
#define LODGE_LINUX_ALARM_H

#include <sys/time.h>

struct process;
struct sandbox;

/* Replaces the timer of p; *old is what was left of the one before. 0, or -EAGAIN when the host has no thread for it. */
int alarm_set(struct process *p, const struct itimerval *new, struct itimerval *old);
void alarm_get(struct process *p, struct itimerval *now);

/* Ends the thread, if there is one. */
void alarm_stop(struct sandbox *s);

#endif
