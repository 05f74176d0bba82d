/* SPDX-License-Identifier: MIT */
/*
 * stall.h - time that an account's tasks lose for want of memory: what Linux calls pressure (PSI), as it defines it.
 *
 *	some	at least one task waits for memory
 *	full	so does every task that is not asleep for another reason: nobody gets on
 *
 * A task waits for memory from stall_begin to stall_end, on its own thread: while it reclaims, is throttled, or reads what it had a
 * while ago. Beginnings may nest; the outermost counts. Threads tell by stall_thread_enter that they run a task, and by the brackets of a
 * sleep that it waits for something else. Where nobody tells of tasks full is some.
 *
 * Averages are per cent of the last 10, 60 and 300 s, each period of 2 s weighing less than the next.
 * Locking: its own, a leaf; taken by sleeps only while somebody waits for memory.
 */
#ifndef LODGE_MM_STALL_H
#define LODGE_MM_STALL_H

#include <pthread.h>
#include <stdatomic.h>

#include "types.h"

enum stall_kind { STALL_SOME, STALL_FULL, NR_STALL_KINDS };

#define STALL_PERIOD_NS	  2000000000ull
#define STALL_NR_AVERAGES 3 /* of 10, 60, 300 s */

/* What there is to know of one kind. */
struct stall_times {
	uint64_t total_ns;
	double average[STALL_NR_AVERAGES]; /* per cent */
};

struct stall {
	pthread_mutex_t lock;
	_Atomic unsigned int nr_stalled; /* (A) changed under lock */
	_Atomic unsigned int nr_going;	 /* (A) tasks that neither wait for memory nor sleep */
	uint64_t since_ns;		 /* (lock) CLOCK_MONOTONIC: what follows holds up to then, */
	bool was[NR_STALL_KINDS];	 /* (lock) and this from then on */
	struct stall_times times[NR_STALL_KINDS];
	uint64_t period_end_ns,
		period_ns
			[NR_STALL_KINDS]; /* (lock) the period under way: its end, what it had of each kind */
};

void stall_init(struct stall *s);

/* The calling thread waits for memory of the account, or is done. */
void stall_begin(struct stall *s);
void stall_end(struct stall *s);

/* It runs a task of the account from now on, or no more; the account outlives that. */
void stall_thread_enter(struct stall *s);
void stall_thread_leave(void);

/* Its task sleeps, for something other than memory. Of a thread that runs none: nothing. */
void stall_sleep_begin(void);
void stall_sleep_end(void);

/* Up to now. */
void stall_read(struct stall *s, struct stall_times times[NR_STALL_KINDS]);

/* For tests: the same as of `now_ns`, which does not go back. */
void stall_read_at(struct stall *s, uint64_t now_ns, struct stall_times times[NR_STALL_KINDS]);

#endif
