/* SPDX-License-Identifier: MIT */
/*
 * host_poll.c - see host_poll.h.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "../mm/stall.h"
#include "host_poll.h"
#include "sleep.h"
#include "task.h"

void poll_deadline_set(struct poll_deadline *d, const struct timespec *span)
{
	d->set = true;
	d->at = sleep_deadline(CLOCK_MONOTONIC, span);
}

int64_t host_wait_masked(struct task *t, host_wait_fn wait, void *ctx, const struct poll_deadline *d)
{
	sigset_t kick, old;
	int64_t ret;

	sigemptyset(&kick);
	sigaddset(&kick, KICK_SIGNAL);
	pthread_sigmask(SIG_BLOCK, &kick, &old);
	sigdelset(&old, KICK_SIGNAL);
	stall_sleep_begin();
	do {
		bool stop = task_interrupted(t);
		struct timespec left = {0};

		if (d->set && !stop)
			left = sleep_left(CLOCK_MONOTONIC, &d->at);
		ret = wait(ctx, d->set || stop ? &left : NULL, &old);
		if (ret < 0)
			ret = -errno;
		else if (!ret && stop)
			ret = -EINTR;
	} while (ret == -EINTR && !task_interrupted(t));
	stall_sleep_end();
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return ret;
}

struct poll_set {
	struct pollfd *fds;
	unsigned int nr;
};

static int wait_for_fds(void *ctx, const struct timespec *left, const sigset_t *mask)
{
	const struct poll_set *set = ctx;

	return ppoll(set->fds, set->nr, left, mask);
}

int64_t host_poll(struct task *t, struct pollfd *fds, unsigned int nr, const struct poll_deadline *d)
{
	return host_wait_masked(t, wait_for_fds, &(struct poll_set){fds, nr}, d);
}
