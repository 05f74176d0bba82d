/* SPDX-License-Identifier: MIT */
/*
 * host_poll.h - waiting until host descriptors are ready, in a way that a kick ends.
 */
#ifndef LODGE_LINUX_HOST_POLL_H
#define LODGE_LINUX_HOST_POLL_H

#include <poll.h>
#include <signal.h>
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
 * A call of the host that takes a signal mask and waits `left` at most (NULL: for ever): how many are ready, 0 after that time, or -1 and
 * errno.
 */
typedef int (*host_wait_fn)(void *ctx, const struct timespec *left, const sigset_t *mask);

/*
 * Makes such a call until something is ready or the deadline has passed: what it returned, 0, -errno, or -EINTR when the task has to look
 * up. The kick is let in by the wait itself, so that none is lost.
 */
int64_t host_wait_masked(struct task *t, host_wait_fn wait, void *ctx, const struct poll_deadline *d);

/*
 * ppoll on host descriptors, as above.
 */
int64_t host_poll(struct task *t, struct pollfd *fds, unsigned int nr, const struct poll_deadline *d);

#endif
