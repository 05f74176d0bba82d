/* SPDX-License-Identifier: MIT */
/*
 * host_wait.h - brackets around a call of the host that may wait for long.
 *
 * The kick that interrupts a task's thread is lost when it comes between the last look at the task and the wait in the
 * host's kernel. Within the brackets it repeats every HOST_WAIT_KICK_MS, so the call fails with EINTR now and then: look at
 * the task again, and call again when nothing wants it. (Calls that take a signal mask need none of this: sleep.h.)
 */
#ifndef LODGE_LINUX_HOST_WAIT_H
#define LODGE_LINUX_HOST_WAIT_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define HOST_WAIT_KICK_MS 50

struct task;

struct host_wait {
	timer_t timer;
	bool armed; /* false: the host gave us no timer; only the one kick is left */
};

void host_wait_begin(struct host_wait *w);
void host_wait_end(struct host_wait *w);

/* -EINTR for a call that did nothing yet and that SA_RESTART runs again. */
int64_t host_wait_interrupted(struct task *t);

#endif
