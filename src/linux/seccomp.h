/* SPDX-License-Identifier: MIT */
/*
 * seccomp.h - filters that a task has put before its own system calls, and the strict mode that knows four of them.
 *
 *	task --+
 *	       +--> filter --> filter --> NULL	the newest first; a child has its parent's, and each may put its own before them
 *	task -----------------^
 *
 * All filters of a chain see each call, and the severest result counts. exec changes nothing.
 * Locking: the chain of a task is its own; one that gives its chain to all threads of its process (SECCOMP_FILTER_FLAG_TSYNC) changes theirs
 * under sandbox->lock, under which each takes its own for a call.
 * Not here: notifications to a supervisor (SECCOMP_FILTER_FLAG_NEW_LISTENER is EINVAL, as before Linux 5.0), and no tracer: both ask
 * somebody, and without one the call is ENOSYS.
 */
#ifndef LODGE_LINUX_SECCOMP_H
#define LODGE_LINUX_SECCOMP_H

#include <stdbool.h>
#include <stdint.h>

struct sandbox;
struct seccomp_filter;
struct task;

/* (P) in struct task. */
struct seccomp {
	_Atomic int mode;	       /* SECCOMP_MODE_; 0: every call is made */
	struct seccomp_filter *filter; /* the newest, one reference */
};

/* A new task's; drop gives the references back. */
void seccomp_share(struct seccomp *to, const struct seccomp *from);
void seccomp_drop(struct seccomp *s);

/* Whether the call that the task is about to make is made. If not, *ret is what it is given instead; the task may have ended. */
bool seccomp_allows(struct task *t, int nr, const uint64_t a[6], int64_t *ret);

/* How many filters there are before it. */
unsigned int seccomp_nr_filters(const struct seccomp *s);

/* Whether any task of a sandbox has one. The lock is held. */
bool seccomp_is_used(struct sandbox *s);

/* seccomp(2), for prctl() as well. */
int64_t seccomp_set(struct task *t, unsigned int operation, unsigned int flags, uint64_t args);

#endif
