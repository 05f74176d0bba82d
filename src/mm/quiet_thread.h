/* SPDX-License-Identifier: MIT */
/* quiet_thread.h - threads that signals to the host's process pass by. */
#ifndef LODGE_MM_QUIET_THREAD_H
#define LODGE_MM_QUIET_THREAD_H

#include <pthread.h>
#include <sched.h>
#include <stddef.h>

/*
 * Starts fn(arg) with all signals blocked but those of what a thread does to itself (a blocked one would end the process without its
 * handler) and `open`, 0 for none. 0 or -errno.
 */
int quiet_thread_create(pthread_t *thread, size_t stack_bytes, int open, void *(*fn)(void *), void *arg);

/* The same on some of the processors that the caller may use. NULL: all of them. */
int quiet_thread_create_on(pthread_t *thread, size_t stack_bytes, int open, const cpu_set_t *processors,
			   void *(*fn)(void *), void *arg);

#endif
