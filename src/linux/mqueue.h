/* SPDX-License-Identifier: MIT */
/*
 * mqueue.h - POSIX message queues of a sandbox.
 *
 * Behind each is a queue of the host that lost its name as soon as it was made: it keeps messages in their order, knows its limits, and is
 * what a guest's descriptors stand for, so that poll and epoll see it. Names, rights and who is to be told of a message are lodge's.
 *
 *   Q1  a queue is in ns->mqueues while a descriptor has it or it has a name
 *   Q2  messages go in and out with queue->lock held; whoever waits for them does so without, and is counted
 * Locking: ns->lock for the list, names and references; queue->lock inside it for the rest, nothing but the host's calls inside that.
 * Not here: SIGEV_THREAD (EINVAL), which needs the kernel's own sockets; descriptors that came over a socket are none.
 */
#ifndef LODGE_LINUX_MQUEUE_H
#define LODGE_LINUX_MQUEUE_H

#include <stdbool.h>

struct guest_file;
struct ipc_ns;
struct mqueue;
struct task;

/* What a descriptor holds. drop: NULL is allowed. */
struct mqueue *mqueue_share(struct mqueue *q);
void mqueue_drop(struct mqueue *q);

/* A descriptor of it is closed by a process, which will not be told of messages any more. NULL is allowed. */
void mqueue_flush(struct mqueue *q, const struct task *t);

/* The namespace goes, and no descriptor is left. */
void mqueue_free_all(struct ipc_ns *ns);

#endif
