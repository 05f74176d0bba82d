/* SPDX-License-Identifier: MIT */
/*
 * notice.h - what a file tells its owner by a signal: O_ASYNC, leases, changes of a directory (F_NOTIFY).
 *
 * The host knows when; whom it tells is a thread of the sandbox, which passes it on to the owner that the guest has chosen:
 *
 *	guest: F_SETOWN, F_SETSIG --> guest_file
 *	host:  F_SETOWN_EX(the thread), F_SETSIG(NOTICE_SIGNAL), then what the guest asked for
 *	something happens --NOTICE_SIGNAL, host fd--> thread --looks it up--> guest_file --SIGIO or what was chosen--> owner
 *
 * Locking: notices->lock for the list, inside nothing, with nothing inside; sandbox->lock is taken after it was let go.
 * Not here: who owns a file (sys_fcntl.c); files that are the caller's own, whose owner in the host stays.
 */
#ifndef LODGE_LINUX_NOTICE_H
#define LODGE_LINUX_NOTICE_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../mm/list.h"

#define NOTICE_SIGNAL (SIGRTMAX - 2) /* of the host: for the one thread that waits for it */

struct guest_file;
struct task;

struct notices {
	pthread_mutex_t lock;
	struct list_head files; /* (lock) struct notice */
	bool running;		/* (lock) there is a thread */
	pthread_t thread;
	_Atomic uint32_t tid; /* (A) the thread's, for the host; 0: it has not begun */
	_Atomic bool stop;
	_Atomic bool leased; /* (A) somebody has had a lease: an open may wait */
};

/* Of a file that may tell something. */
struct notice {
	struct notices *notices; /* (C) */
	struct list_head node;	 /* (notices->lock) */
	struct guest_file *file; /* (C) whose it is; it ends this when it goes */
	int host_fd;		 /* (C) */
	int guest_fd;		 /* (notices->lock) the number that the signal tells */
};

void notices_init(struct notices *n);
/* No file is left. */
void notices_destroy(struct notices *n);

/* From now on what the host says about the file comes to its owner, with guest_fd. 0, -EAGAIN, -ENOMEM, -EINVAL: not ours. */
int notice_arm(struct task *t, struct guest_file *file, int guest_fd);
/* NULL is allowed. */
void notice_drop(struct notice *notice);

#endif
