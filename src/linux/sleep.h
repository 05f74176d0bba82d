/* SPDX-License-Identifier: MIT */
/*
 * sleep.h - how a task waits for a point in time, or for a signal.
 *
 * A sleeper reads its event word, looks at what it waits for, and sleeps only while the word is the same: whoever changes
 * what it waits for moves the word afterwards (task_wake, task_kick), so nothing is lost in between.
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

/* One wait. */
struct sleep {
	bool (*done)(
		void *ctx); /* what is waited for; NULL: nothing but time. Changes are followed by task_wake */
	void *ctx;
	clockid_t clock;
	const struct timespec *deadline; /* on clock; NULL: for ever */
	bool only_death;		 /* signals that do not kill have to wait */
};

/* 0: done; -ETIMEDOUT; -EINTR. */
int sleep_for(struct task *t, const struct sleep *s);

/* Sleeps until the process of the task may be no longer stopped, or anything else has happened. */
void sleep_stopped(struct task *t);

/* The restart blocks of sleeps (sys_time.c) and of poll (sys_poll.c). */
struct restart_block;
int64_t sleep_again(struct task *t, const struct restart_block *b);
int64_t poll_again(struct task *t, const struct restart_block *b);

#endif
