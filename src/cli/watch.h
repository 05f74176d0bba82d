/* SPDX-License-Identifier: MIT */
/*
 * watch.h - what comes to a run from outside: a signal from the user or the terminal, or the clock.
 *
 * The signals are blocked in every thread and read by one thread of its own, because lodge_space_kill takes
 * locks that a signal handler must not. Those that the terminal makes (Ctrl-C, Ctrl-Z, its size) are the
 * program's, as they would be without lodge; those that somebody sends end it. A second one, or a guest that has
 * not ended GRACE seconds after it was told to, ends lodge at once. Nothing a guest does may make lodge
 * unkillable from the keyboard: Ctrl-\ three times within a second ends it too.
 */
#ifndef LODGE_CLI_WATCH_H
#define LODGE_CLI_WATCH_H

#include <pthread.h>
#include <signal.h>
#include <stdint.h>

struct lodge_space;
struct terminal;

enum { WATCH_TIMEOUT = -1 };

#define WATCH_TIMEOUT_STATUS 124

struct watch {
	struct lodge_space *space;
	const struct terminal *terminal;
	sigset_t signals, old_mask;
	int signal_fd, stop_fd;
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0: none */
	pthread_t thread;
	uint64_t quit_ns[2]; /* when the terminal's last two SIGQUIT came */
	int cause;	     /* what ended the run: 0, a signal, or WATCH_TIMEOUT; valid after watch_stop */
};

/*
 * Blocks the signals that end a run, except those the caller has us ignore (nohup, background jobs). Before
 * any thread.
 */
void watch_block(struct watch *w);

/* As lodge_space_options.on_stop, ctx being the watch: all of lodge stops, as a job of the caller's shell. */
void watch_stop_lodge(void *ctx, int signo);

/* Undoes watch_block. */
void watch_unblock(struct watch *w);

/* Begins to watch over `space`; timeout_ns 0: no clock. 0 or -errno. */
int watch_start(struct watch *w, struct lodge_space *space, uint64_t timeout_ns,
		const struct terminal *terminal);

/* Ends the watch. */
void watch_stop(struct watch *w);

#endif
