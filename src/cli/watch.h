/* SPDX-License-Identifier: MIT */
/*
 * watch.h - what comes to a run from outside: a signal from the user or the terminal, or the clock.
 *
 * The signals are blocked in every thread and read by one thread of its own, because lodge_space_kill takes
 * locks that a signal handler must not. Those that the terminal makes (Ctrl-C, Ctrl-Z, its size) are the
 * program's, as they would be without lodge. So are those that somebody sends, where the program has something of its own to do with them:
 *
 *	                        it takes it            it ignores it       it would end it
 *	SIGTERM                 it has it, and a time  ended               ended
 *	SIGINT, SIGQUIT         it has it              ended               ended
 *	SIGHUP, SIGUSR1, 2      it has it              nothing             ended
 *	ignored at lodge's own start: nothing where the program ignores it, too
 *
 * Nothing a guest does may make lodge unkillable: three SIGINT, SIGTERM or SIGQUIT that are sent within a second, or
 * Ctrl-\ three times, end it whatever it does. Once it was told to end, another one, or five seconds more, end lodge at once.
 */
#ifndef LODGE_CLI_WATCH_H
#define LODGE_CLI_WATCH_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

struct lodge_space;
struct terminal;

enum { WATCH_TIMEOUT = -1 };

#define WATCH_TIMEOUT_STATUS 124
#define WATCH_GRACE_NS	     10000000000ull /* unless somebody says otherwise */

struct watch {
	struct lodge_space *const *spaces;
	unsigned int nr;
	const struct terminal *terminal; /* NULL: none to restore */
	sigset_t signals, old_mask;
	int signal_fd, stop_fd;
	sigset_t ignored;      /* when lodge began */
	uint64_t deadline_ns;  /* CLOCK_MONOTONIC; 0: none */
	uint64_t grace_ns;     /* what the program has after a SIGTERM that it takes; 0: no end */
	uint64_t grace_end_ns; /* 0: it had none yet */
	bool told;	       /* the program was told to end */
	pthread_t thread;
	uint64_t insisted_ns[2]; /* when the last two signals came that count for it */
	int cause; /* what ended the run: 0, a signal, or WATCH_TIMEOUT; valid after watch_stop */
};

/* The argument of --timeout, in ns. 0, or -EINVAL and the user has been told. */
int watch_parse_timeout(const char *arg, uint64_t *ns);

/* Blocks the signals that are watched for, but for one that somebody else waits for (0: none). Before any thread. */
void watch_block(struct watch *w, int except);

/* The signals that the caller has us ignore (nohup, background jobs): bit n-1, signal n. */
uint64_t watch_ignored(const struct watch *w);

/* As lodge_space_options.on_stop, ctx being the watch: all of lodge stops, as a job of the caller's shell. */
void watch_stop_lodge(void *ctx, int signo);

/* Undoes watch_block. */
void watch_unblock(struct watch *w);

/*
 * Begins to watch over the spaces, which stay until it ends; 0 for either time: no end. All of them get what is sent, and all end when
 * one does not take it. 0 or -errno.
 */
int watch_start(struct watch *w, struct lodge_space *const *spaces, unsigned int nr, uint64_t timeout_ns,
		uint64_t grace_ns, const struct terminal *terminal);

/* Ends the watch. */
void watch_stop(struct watch *w);

#endif
