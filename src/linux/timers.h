/* SPDX-License-Identifier: MIT */
/*
 * timers.h - timers of processes that end in a signal: setitimer, timer_create, and RLIMIT_CPU.
 *
 * One thread of the host per sandbox, from the first timer on, sleeps until the next is due. Timers that count processor time are
 * looked at when the process could have used that much at the earliest.
 *
 * A timer that repeats waits until its signal has been taken before it goes on: how often it would have rung meanwhile is its overrun.
 * Locking: sandbox->lock. Not here: timerfd, which is the host's.
 */
#ifndef LODGE_LINUX_TIMERS_H
#define LODGE_LINUX_TIMERS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "../mm/list.h"

struct process;
struct sandbox;
struct task;

#define NR_ITIMERS 3

/* What a timer counts. */
enum timer_clock_kind {
	TIMER_BY_HOST,	  /* a clock of the host */
	TIMER_BY_PROCESS, /* processor time of the process */
	TIMER_BY_USER,	  /* of that, what was not spent in system calls */
	TIMER_BY_TASK,	  /* processor time of one task */
};

struct timer_clock {
	enum timer_clock_kind kind;
	clockid_t host;
	int tid; /* TIMER_BY_TASK */
};

/* Times in ns. */
struct timer_setting {
	uint64_t left;	/* until it rings; 0: it does not */
	uint64_t every; /* then again; 0: never */
};

struct timer {
	struct timer_clock clock;
	uint64_t at;	/* 0: off */
	uint64_t every; /* 0: once */
};

/* One of timer_create(2). */
struct posix_timer {
	struct list_head node; /* process->timers */
	int id;
	struct timer timer;
	int notify; /* SIGEV_; threads are told by a signal */
	int signo;
	int tid; /* SIGEV_THREAD_ID */
	union sigval value;
	bool waits;	  /* its signal is in a queue */
	uint32_t overrun; /* of the signal that was taken last */
};

/* A process that is made: its timers are off. */
void timers_init(struct process *p);

/* Of setitimer: `which` is ITIMER_. 0, or -EAGAIN when the host has no thread for it. Takes the lock. */
int timers_set_interval(struct process *p, int which, const struct timer_setting *new,
			struct timer_setting *old);
void timers_get_interval(struct process *p, int which, struct timer_setting *now);

/* --- with the lock held ---------------------------------------------------------------------- */

/* Takes over an allocated timer and gives it its number. */
void timers_add(struct process *p, struct posix_timer *new);
struct posix_timer *timers_find(struct process *p, int id);
/* Takes a timer out and frees it. */
void timers_delete(struct process *p, struct posix_timer *timer);
/* As on exec and on the process's end. */
void timers_delete_all(struct process *p);

/* at_ns: when it rings by its clock; `absolute` says so of the setting. 0 or -EAGAIN as above. */
int timers_set(struct process *p, struct posix_timer *timer, const struct timer_setting *new, bool absolute);
void timers_get(struct process *p, const struct posix_timer *timer, struct timer_setting *now);

/* The signal of a timer was taken: *info gets its overrun, and the timer goes on. Dropped: it goes on. */
void timers_signal_taken(struct process *p, siginfo_t *info);
void timers_signal_dropped(struct process *p, const siginfo_t *info);

/* RLIMIT_CPU was set. 0 or -EAGAIN. */
int timers_limit_changed(struct process *p);

/* Gives processes that were made with timers their thread. Nothing else runs. 0 or -EAGAIN. */
int timers_resume(struct sandbox *s);

/*
 * Puts copies of the timers of one process into another, which has none: they ring when the others do. 0 or -ENOMEM. Both
 * locks are held, or nobody has the second one.
 */
int timers_copy(struct process *to, const struct process *from);

/* Ends the thread, if there is one; nothing else runs. */
void timers_stop(struct sandbox *s);

#endif
