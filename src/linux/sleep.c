/* SPDX-License-Identifier: MIT */
/*
 * sleep.c - see sleep.h.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>

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

int sleep_until(struct task *t, clockid_t clock, const struct timespec *deadline)
{
	struct timespec left = {0};
	sigset_t kick, old;
	int ret;

	sigemptyset(&kick);
	sigaddset(&kick, KICK_SIGNAL);
	pthread_sigmask(SIG_BLOCK, &kick, &old);
	sigdelset(&old, KICK_SIGNAL);
	for (;;) {
		if (deadline)
			left = sleep_left(clock, deadline);
		ret = task_interrupted(t) ? -EINTR : 0;
		if (ret || (deadline && !left.tv_sec && !left.tv_nsec))
			break;
		/* ppoll counts on the monotonic clock; the others may be set meanwhile. */
		if (clock != CLOCK_MONOTONIC && left.tv_sec > 0)
			left = (struct timespec){.tv_sec = 1};
		ppoll(NULL, 0, deadline ? &left : NULL, &old);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return ret;
}
