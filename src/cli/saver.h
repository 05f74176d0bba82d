/* SPDX-License-Identifier: MIT */
/*
 * saver.h - saves a run into snapshots while it goes on: at a time, at a signal, before a call, or when somebody asks through a socket.
 *
 * One thread waits for all of them; a task that is before the call waits for it. A snapshot that cannot be had is told to the user, or to who asked, and the run goes on.
 * The socket takes packets: one holds the absolute path of a file, its answer is "" or what went wrong.
 */
#ifndef LODGE_CLI_SAVER_H
#define LODGE_CLI_SAVER_H

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

struct lodge_space;

#define SAVER_PACKET_BYTES 4096

/* When to save; each may be 0 or NULL: never. */
struct saver_request {
	const char *file; /* for all but the socket */
	uint64_t after_ns;
	int signo;
	char call[32];	     /* its name, or "" */
	uint64_t nth;	     /* which of them, from 1 on */
	const char *base;    /* what all of them are based on */
	bool compress;	     /* all of them */
	const char *control; /* path of the socket */
};

/* Reads "TIME:SECONDS", "SIGNAL:NAME" (USR1, SIGUSR1, 10), "SYSCALL:NAME" or "SYSCALL:NAME@n=NUMBER". 0 or -EINVAL. */
int saver_parse_at(struct saver_request *r, const char *text);

struct saver {
	struct saver_request request;
	struct lodge_space *space;
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0: none, or it has passed */
	int signal_fd, listen_fd, stop_fd, call_fd;
	sem_t saved; /* a task that is before the call may go on */
	pthread_t thread;
	int runs;
};

/* Blocks the signal; before any thread. */
void saver_block(struct saver *s);

/* 0, or -errno and the user has been told. */
int saver_start(struct saver *s, struct lodge_space *space);

/* As lodge_space_options.on_call, ctx being the saver. */
void saver_at_call(void *ctx);

void saver_stop(struct saver *s);

#endif
