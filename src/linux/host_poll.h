/* SPDX-License-Identifier: MIT */
/*
 * host_poll.h - waiting until host descriptors are ready, in a way that a kick ends.
 */
#ifndef LODGE_LINUX_HOST_POLL_H
#define LODGE_LINUX_HOST_POLL_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct task;

/* When to give up, on CLOCK_MONOTONIC. */
struct poll_deadline {
	bool set; /* false: never */
	struct timespec at;
};

/* `span` from now. */
void poll_deadline_set(struct poll_deadline *d, const struct timespec *span);

/*
 * ppoll on host descriptors: how many are ready, 0 after the deadline, -EINTR when the task has to look up. The kick is let in by
 * the wait itself, so that none is lost.
 */
int64_t host_poll(struct task *t, struct pollfd *fds, unsigned int nr, const struct poll_deadline *d);

#endif
