/* SPDX-License-Identifier: MIT */
/*
 * signalfd.h - descriptors from which pending signals are read.
 *
 * A read takes signals of whoever reads, as on Linux. Whether there is something to read the host's poll must be able to tell: behind a
 * descriptor is an eventfd, readable while any process that has the descriptor has a signal of its set.
 * Locking: sandbox->lock for the sets and for what is readable.
 */
#ifndef LODGE_LINUX_SIGNALFD_H
#define LODGE_LINUX_SIGNALFD_H

#include <stdatomic.h>
#include <stdint.h>

#include "../mm/list.h"

struct process;
struct sandbox;
struct task;
struct uio;

struct signalfd {
	_Atomic uint32_t refs;
	struct sandbox *sandbox;
	struct list_head node; /* (P) sandbox->signalfds */
	uint64_t set;	       /* (P) */
	int event;	       /* the eventfd, a descriptor of our own */
};

struct signalfd *signalfd_share(struct signalfd *s);
/* NULL is allowed. The last one takes sandbox->lock. */
void signalfd_drop(struct signalfd *s);

/* What read() gives: as many struct signalfd_siginfo as fit and are there; waits for the first where the descriptor does. */
int64_t signalfd_read(struct task *t, struct signalfd *s, int host_fd, struct uio *u);

/* A signal waits for p now. The lock is held. */
void signalfd_signal(struct process *p, int signo);

/* Signals may have been taken: what is readable no more says so. The lock is held. */
void signalfd_settle(struct sandbox *sandbox);

#endif
