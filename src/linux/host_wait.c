/* SPDX-License-Identifier: MIT */
/*
 * host_wait.c - see host_wait.h.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "../mm/stall.h"
#include "host_wait.h"
#include "task.h"

/* The kernel's name for it, which older C libraries lack. */
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

void host_wait_begin(struct host_wait *w)
{
	const struct timespec every = {.tv_nsec = HOST_WAIT_KICK_MS * 1000000l};
	struct sigevent event;

	stall_sleep_begin();
	memset(&event, 0, sizeof(event));
	event.sigev_notify = SIGEV_THREAD_ID;
	event.sigev_signo = KICK_SIGNAL;
	event.sigev_notify_thread_id = gettid();
	w->armed = !timer_create(CLOCK_MONOTONIC, &event, &w->timer);
	if (w->armed)
		timer_settime(w->timer, 0, &(struct itimerspec){.it_interval = every, .it_value = every},
			      NULL);
}

void host_wait_end(struct host_wait *w)
{
	if (w->armed)
		timer_delete(w->timer);
	stall_sleep_end();
}

int64_t host_wait_interrupted(struct task *t)
{
	t->restart = RESTART_CALL;
	return -EINTR;
}
