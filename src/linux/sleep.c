/* SPDX-License-Identifier: MIT */
/*
 * sleep.c - see sleep.h.
 */
#include <errno.h>

#include "../mm/stall.h"
#include "futex.h"
#include "sleep.h"
#include "task.h"

#define NS_PER_S 1000000000l

int sleep_get_timespec(struct task *t, gva_t from, struct timespec *ts)
{
	if (copy_from_user(t->mm, ts, from, sizeof(*ts)))
		return -EFAULT;
	return ts->tv_sec < 0 || ts->tv_nsec < 0 || ts->tv_nsec >= NS_PER_S ? -EINVAL : 0;
}

struct timespec sleep_deadline(clockid_t clock, const struct timespec *span)
{
	struct timespec at;

	clock_gettime(clock, &at);
	at.tv_nsec += span->tv_nsec;
	if (__builtin_add_overflow(at.tv_sec, span->tv_sec, &at.tv_sec) ||
	    __builtin_add_overflow(at.tv_sec, at.tv_nsec / NS_PER_S, &at.tv_sec))
		at.tv_sec = INT64_MAX;
	at.tv_nsec %= NS_PER_S;
	return at;
}

struct timespec sleep_left(clockid_t clock, const struct timespec *deadline)
{
	struct timespec now, left;

	clock_gettime(clock, &now);
	left.tv_sec = deadline->tv_sec - now.tv_sec;
	left.tv_nsec = deadline->tv_nsec - now.tv_nsec;
	if (left.tv_nsec < 0) {
		left.tv_sec--;
		left.tv_nsec += NS_PER_S;
	}
	return left.tv_sec < 0 ? (struct timespec){0} : left;
}

/* At most so long on a clock that the host's futex cannot count on. */
static const struct timespec slice = {.tv_sec = 1};

static void wait_for_event(struct task *t, uint32_t event, const struct timespec *timeout)
{
	stall_sleep_begin();
	futex_host_wait(&t->event, event, timeout);
	stall_sleep_end();
}

/* One sleep on the event word: until it moved, a kick, or about the deadline. */
static void sleep_on(struct task *t, uint32_t event, clockid_t clock, const struct timespec *deadline)
{
	struct timespec left;

	if (deadline)
		left = sleep_left(clock, deadline);
	if (deadline && clock != CLOCK_MONOTONIC && left.tv_sec > 0)
		left = slice;
	wait_for_event(t, event, deadline ? &left : NULL);
}

int sleep_for(struct task *t, const struct sleep *s)
{
	for (;;) {
		uint32_t event = atomic_load(&t->event);
		if (s->done && s->done(s->ctx))
			return 0;
		if (s->only_death ? task_dying(t) : task_interrupted(t))
			return -EINTR;
		if (s->deadline) {
			struct timespec left = sleep_left(s->clock, s->deadline);
			if (!left.tv_sec && !left.tv_nsec)
				return -ETIMEDOUT;
		}
		sleep_on(t, event, s->clock, s->deadline);
	}
}

int sleep_until(struct task *t, clockid_t clock, const struct timespec *deadline)
{
	int ret = sleep_for(t, &(struct sleep){.clock = clock, .deadline = deadline});

	return ret == -ETIMEDOUT ? 0 : ret;
}

void sleep_stopped(struct task *t)
{
	uint32_t event = atomic_load(&t->event);

	if ((atomic_load(&t->attention) & (ATTENTION_STOP | ATTENTION_KILLED | ATTENTION_PAUSE)) ==
	    ATTENTION_STOP)
		wait_for_event(t, event, NULL);
}
