/* SPDX-License-Identifier: MIT */
/*
 * stall.h - time that an account's tasks lose for want of memory: what Linux calls pressure (PSI).
 *
 *	some	at least one task waits for memory
 *	full	all that could run wait: nothing goes on
 *
 * A task is one that could run from task_begin to task_end; who tells nothing of tasks gets full for some.
 * Locking: its own, a leaf.
 */
#ifndef LODGE_MM_STALL_H
#define LODGE_MM_STALL_H

#include <pthread.h>

#include "types.h"

struct stall {
	pthread_mutex_t lock;
	unsigned int nr_stalled, nr_tasks; /* (lock) */
	uint64_t since_ns;		   /* (lock) when either changed; CLOCK_MONOTONIC */
	uint64_t some_ns, full_ns;	   /* (lock) up to then */
};

void stall_init(struct stall *s);

/* The calling thread begins to wait, or is done; by turns, and each time it began it ends. */
void stall_begin(struct stall *s);
void stall_end(struct stall *s);

void stall_task_begin(struct stall *s);
void stall_task_end(struct stall *s);

/* Totals up to now. */
void stall_times(struct stall *s, uint64_t *some_ns, uint64_t *full_ns);

#endif
