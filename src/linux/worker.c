/* SPDX-License-Identifier: MIT */
/*
 * worker.c - see worker.h.
 */
#include <limits.h>
#include <stdlib.h>

#include "../mm/quiet_thread.h"
#include "futex.h"
#include "task.h"
#include "worker.h"

#define STACK_BYTES (512u << 10)

struct worker {
	struct list_head node, all_node; /* (P) */
	struct sandbox *sandbox;
	pthread_t thread;
	struct task *task;	/* given by worker_run */
	_Atomic uint32_t state; /* (A) IDLE, RUN, QUIT */
};

enum { IDLE, RUN, QUIT };

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct sandbox *s = w->sandbox;

	for (;;) {
		while (atomic_load(&w->state) == IDLE)
			futex_host_wait(&w->state, IDLE, NULL);
		if (atomic_load(&w->state) == QUIT)
			return NULL;
		atomic_store(&w->state, IDLE);
		task_run(w->task);
		pthread_mutex_lock(&s->lock);
		list_add(&w->node, &s->workers);
		s->nr_busy--;
		atomic_fetch_add(&s->ended, 1);
		futex_host_wake(&s->ended, INT_MAX);
		pthread_mutex_unlock(&s->lock);
	}
}

static struct worker *worker_new(struct sandbox *s)
{
	struct worker *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	list_init(&w->node);
	w->sandbox = s;
	/* task_run opens the signals that it needs. */
	if (quiet_thread_create(&w->thread, STACK_BYTES, 0, worker_main, w)) {
		free(w);
		return NULL;
	}
	pthread_mutex_lock(&s->lock);
	list_add(&w->all_node, &s->all_workers);
	pthread_mutex_unlock(&s->lock);
	return w;
}

struct worker *worker_get(struct sandbox *s)
{
	struct worker *w = NULL;

	pthread_mutex_lock(&s->lock);
	if (!list_empty(&s->workers)) {
		w = list_entry(s->workers.next, struct worker, node);
		list_del(&w->node);
	}
	pthread_mutex_unlock(&s->lock);
	return w ? w : worker_new(s);
}

void worker_put(struct worker *w)
{
	pthread_mutex_lock(&w->sandbox->lock);
	list_add(&w->node, &w->sandbox->workers);
	pthread_mutex_unlock(&w->sandbox->lock);
}

static void set_state(struct worker *w, uint32_t state)
{
	atomic_store(&w->state, state);
	futex_host_wake(&w->state, 1);
}

void worker_run(struct worker *w, struct task *t)
{
	pthread_mutex_lock(&w->sandbox->lock);
	w->sandbox->nr_busy++;
	pthread_mutex_unlock(&w->sandbox->lock);
	w->task = t;
	set_state(w, RUN);
}

void workers_stop(struct sandbox *s)
{
	struct worker *w, *next;

	list_for_each_entry_safe (w, next, &s->all_workers, all_node) {
		set_state(w, QUIT);
		pthread_join(w->thread, NULL);
		free(w);
	}
}
