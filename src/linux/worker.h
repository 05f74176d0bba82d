/* SPDX-License-Identifier: MIT */
/*
 * worker.h - threads of the host that tasks run on, but for the first.
 *
 * A worker whose task has ended waits for another one until the sandbox goes: a program that forks forks again.
 */
#ifndef LODGE_LINUX_WORKER_H
#define LODGE_LINUX_WORKER_H

struct sandbox;
struct task;
struct worker;

/* A worker of the caller's, who gives it a task or puts it back; NULL: the host has no more threads. */
struct worker *worker_get(struct sandbox *s);
void worker_put(struct worker *w);

/* Lets it run a task. */
void worker_run(struct worker *w, struct task *t);

/* Ends and joins all; none has a task. */
void workers_stop(struct sandbox *s);

#endif
