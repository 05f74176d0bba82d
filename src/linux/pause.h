/* SPDX-License-Identifier: MIT */
/*
 * pause.h - all tasks of a sandbox standing still, so that somebody can make a copy of them.
 *
 * A task comes to stand between two runs of the guest, with its registers complete: a call that it slept in has been undone and is made
 * again afterwards (restart_call), and the guest notices nothing. It stands in pause_park until the pause is over, even if it is killed
 * meanwhile; one that is on its way out already is waited for. A vfork child runs on until its parent does not wait for it any more, for the parent stands in the middle of its call.
 *
 *   P1  between pause_begin and pause_end no task changes its registers, its signals' state, its space, or what it shares with others
 * Locking: sandbox->lock. Signals may still be sent meanwhile, and the sandbox be killed.
 */
#ifndef LODGE_LINUX_PAUSE_H
#define LODGE_LINUX_PAUSE_H

#include <stdbool.h>
#include <stdint.h>

struct sandbox;
struct task;

/* Where a task comes to stand by itself, for fn to be called: before a call of this number. */
struct pause_at {
	int nr;		       /* (C) */
	_Atomic uint64_t left; /* (A) how many it is until then; 0: nowhere, or it was there */
	void (*fn)(void *ctx); /* (C) NULL: nowhere */
	void *ctx;
};

/*
 * Any thread but those of the tasks. 0; -ESRCH: the sandbox has ended; -EBUSY: a task is in a call that does not end. A sandbox that has
 * not started stands still already; it does not start before pause_end.
 */
int pause_begin(struct sandbox *s);
void pause_end(struct sandbox *s);

/* Stands still while somebody wants it to. False: nobody does. */
bool pause_park(struct task *t);

/* The task has trapped for a call: true: it stood before it, and makes it again. */
bool pause_before_call(struct task *t, int nr);

/* Whether the task was interrupted for a pause and for nothing else. */
bool pause_alone(struct task *t);

#endif
