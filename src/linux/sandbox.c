/* SPDX-License-Identifier: MIT */
/*
 * sandbox.c - making and ending what processes live in. See process.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "futex.h"
#include "sockets.h"
#include "task.h"
#include "worker.h"

#define DRAIN_REPEAT_NS 2000000l

static int first_task(struct sandbox *s, const struct sandbox_setup *setup, const char **bad)
{
	struct task *t = calloc(1, sizeof(*t));
	struct view *view = NULL;
	int err;

	s->first_task = t;
	if (!t)
		return -ENOMEM;
	list_init(&t->thread_node);
	t->sandbox = s;
	cred_init(&t->cred);
	t->nice = getpriority(PRIO_PROCESS, 0);
	t->vm = setup->vm;
	t->hostfiles = setup->hostfiles;
	t->vdso = setup->vdso;
	t->process = process_new(s);
	t->sighand = sighand_create();
	if (!t->process || !t->sighand)
		return -ENOMEM;
	err = view_create(&setup->view, &view, bad);
	if (!err)
		err = files_create(setup->fds, view, &t->files);
	if (!err) {
		*bad = setup->cwd;
		err = fs_create(view, setup->cwd, &t->fs);
	}
	view_release(view);
	if (err)
		return err;
	pthread_mutex_lock(&s->lock);
	process_add_task(t->process, t, NULL);
	s->first = t->process;
	s->foreground = t->pid;
	pthread_mutex_unlock(&s->lock);
	t->mm = setup->mm;
	s->first_mm = setup->mm;
	mmget(setup->mm);
	return 0;
}

/* What a task that never ran has of the sandbox. */
static void drop_first_task(struct sandbox *s)
{
	struct task *t = s->first_task;

	if (!t)
		return;
	files_release(t->files);
	fs_release(t->fs);
	sighand_release(t->sighand);
	mmput(t->mm);
	if (!s->first && t->process)
		process_free(t->process);
	free(t);
}

int sandbox_create(const struct sandbox_setup *setup, struct sandbox **result, const char **bad)
{
	struct sandbox *s = calloc(1, sizeof(*s));
	int err;

	*bad = NULL;
	if (!s)
		return -ENOMEM;
	pthread_mutex_init(&s->lock, NULL);
	list_init(&s->processes);
	list_init(&s->workers);
	list_init(&s->all_workers);
	list_init(&s->signalfds);
	s->orphans.sandbox = s;
	s->orphans.pid = FIRST_ORPHANS_PARENT;
	list_init(&s->orphans.children);
	list_init(&s->orphans.threads);
	s->max_tasks = setup->max_pids ? setup->max_pids : DEFAULT_MAX_PIDS;
	s->last_pid = setup->first_pid;
	s->sockets = sockets_create(setup->net);
	err = s->sockets ? first_task(s, setup, bad) : -ENOMEM;
	if (err)
		sandbox_destroy(s);
	else
		*result = s;
	return err;
}

void sandbox_kill(struct sandbox *s, int signo)
{
	struct process *p;

	pthread_mutex_lock(&s->lock);
	list_for_each_entry (p, &s->processes, node)
		if (!process_is_zombie(p))
			process_group_exit(p, signo, NULL);
	pthread_mutex_unlock(&s->lock);
}

bool sandbox_kick_dying(struct sandbox *s)
{
	struct process *p;
	struct task *t;
	bool busy;

	pthread_mutex_lock(&s->lock);
	busy = s->nr_busy;
	list_for_each_entry (p, &s->processes, node)
		list_for_each_entry (t, &p->threads, thread_node)
			if (task_dying(t))
				task_kick(t, ATTENTION_KILLED);
	pthread_mutex_unlock(&s->lock);
	return busy;
}

void sandbox_drain(struct sandbox *s)
{
	const struct timespec pause = {.tv_nsec = DRAIN_REPEAT_NS};

	while (sandbox_kick_dying(s)) {
		uint32_t ended = atomic_load(&s->ended);
		pthread_mutex_lock(&s->lock);
		bool any = s->nr_busy;
		pthread_mutex_unlock(&s->lock);
		if (any)
			futex_host_wait(&s->ended, ended, &pause);
	}
}

void sandbox_destroy(struct sandbox *s)
{
	struct process *p, *next;

	timers_stop(s);
	workers_stop(s);
	drop_first_task(s);
	mmput(s->first_mm);
	list_for_each_entry_safe (p, next, &s->processes, node) {
		list_del(&p->node);
		process_free(p);
	}
	sockets_destroy(s->sockets);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
