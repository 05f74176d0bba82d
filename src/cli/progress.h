/* SPDX-License-Identifier: MIT */
/*
 * progress.h - a line on the terminal while something takes long that nobody sees: pages on their way to swap, memory that is taken down.
 *
 * Only where standard error is a terminal. The line is written over itself and erased when its reason has passed.
 */
#ifndef LODGE_CLI_PROGRESS_H
#define LODGE_CLI_PROGRESS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct lodge_space;

struct progress {
	pthread_t thread;
	bool running; /* a thread is there */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct lodge_space *space; /* (lock) that runs; NULL: it is taken down */
	bool stop;		   /* (lock) */
	uint64_t left_pages;	   /* (lock) what it had at its end */
};

/* Begins to watch a space that runs. Without a thread there is no line. */
void progress_start(struct progress *p, struct lodge_space *space);
/* The space is taken down from now on. */
void progress_end_of_run(struct progress *p);
void progress_stop(struct progress *p);

#endif
