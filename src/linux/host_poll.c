/* SPDX-License-Identifier: MIT */
/*
 * host_poll.c - see host_poll.h.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "host_poll.h"
#include "sleep.h"
#include "task.h"

void poll_deadline_set(struct poll_deadline *d, const struct timespec *span)
{
	d->set = true;
	d->at = sleep_deadline(CLOCK_MONOTONIC, span);
}

int64_t host_poll(struct task *t, struct pollfd *fds, unsigned int nr, const struct poll_deadline *d)
{
	sigset_t kick, old;
	int64_t ret;

	sigemptyset(&kick);
	sigaddset(&kick, KICK_SIGNAL);
	pthread_sigmask(SIG_BLOCK, &kick, &old);
	sigdelset(&old, KICK_SIGNAL);
	do {
		bool stop = task_interrupted(t);
		struct timespec left = {0};

		if (d->set && !stop)
			left = sleep_left(CLOCK_MONOTONIC, &d->at);
		ret = ppoll(fds, nr, d->set || stop ? &left : NULL, &old);
		if (ret < 0)
			ret = -errno;
		else if (!ret && stop)
			ret = -EINTR;
	} while (ret == -EINTR && !task_interrupted(t));
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return ret;
}
