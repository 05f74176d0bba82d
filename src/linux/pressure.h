/* SPDX-License-Identifier: MIT */
/*
 * pressure.h - triggers on /proc/pressure/memory: "some 150000 2000000" written to it, and poll says POLLPRI when tasks of the space lost
 * 150 ms of 2 s for want of memory (src/mm/stall.h), at most once in 2 s.
 *
 * What the host polls for a guest is a descriptor of the host's. Before a trigger is set that is the host's own file, which says
 * POLLERR | POLLPRI at once; afterwards it is a socket: always readable and writable, and out-of-band data waits in it when there was an event.
 * Whoever was told of it takes the data out (pressure_seen).
 *
 * A thread of the sandbox looks at all triggers: of privileged openers ten times in their window, else every 2 s, as Linux does. It is
 * started by the first one, and sleeps while there is none.
 * Locking: the monitor's lock, in which stall.lock is taken.
 */
#ifndef LODGE_LINUX_PRESSURE_H
#define LODGE_LINUX_PRESSURE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../mm/list.h"

/* Of POLL_ and EPOLL_: what the socket is, and the kernel's file never. */
#define PRESSURE_NEVER 0x200 /* POLLWRBAND */

struct pressure;
struct task;

/* Of a sandbox. */
struct pressure_monitor {
	pthread_mutex_t lock;
	pthread_cond_t changed;	   /* (lock) a trigger came, or `stop` */
	struct list_head triggers; /* (lock) struct pressure */
	bool running, stop;	   /* (lock) */
	pthread_t thread;
};

void pressure_monitor_init(struct pressure_monitor *m);
void pressure_monitor_destroy(struct pressure_monitor *m);

/* What an open of the file has behind it; NULL: no memory. NULL is allowed for the other two. */
struct pressure *pressure_create(struct task *t);
struct pressure *pressure_share(struct pressure *p);
void pressure_drop(struct pressure *p);

/* Sets the trigger: bytes taken, or -EINVAL, -EBUSY (there is one), -ENOMEM, -EOPNOTSUPP. */
int64_t pressure_write(struct pressure *p, const char *text, size_t bytes);

/* What is to be polled in its place, or -1: whatever stands for the file. */
int pressure_poll_fd(struct pressure *p);

/* Somebody was told POLLPRI of that descriptor; -1: of some that are in an epoll set. */
void pressure_seen(struct pressure_monitor *m, int poll_fd);

/* It is in an epoll set. */
void pressure_epolled(struct pressure *p);

#endif
