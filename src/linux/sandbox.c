/* SPDX-License-Identifier: MIT */
/*
 * sandbox.c - making and ending what processes live in. See process.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "futex.h"
#include "aio.h"
#include "ipc.h"
#include "sockets.h"
#include "task.h"
#include "tty.h"
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
	cred_init(&t->cred, &s->identity);
	t->nice = getpriority(PRIO_PROCESS, 0);
	t->vm = setup->vm;
	t->hostfiles = setup->hostfiles;
	t->vdso = setup->vdso;
	t->process = process_new(s);
	t->sighand = sighand_create();
	if (!t->process || !t->sighand)
		return -ENOMEM;
	sighand_ignore(t->sighand, setup->ignored_signals);
	err = view_create(&setup->view, &view, bad);
	if (!err)
		err = files_create(setup->fds, view, s, &t->files);
	if (!err) {
		*bad = setup->cwd;
		err = fs_create(view, setup->cwd, &t->fs);
	}
	s->view = view;
	if (err)
		return err;
	pthread_mutex_lock(&s->lock);
	process_add_task(t->process, t, NULL);
	s->first = t->process;
	pthread_mutex_unlock(&s->lock);
	err = ttys_begin(s);
	if (err)
		return err;
	t->mm = setup->mm;
	s->first_mm = setup->mm;
	mmget(setup->mm);
	return 0;
}

/* What a task that never ran has. */
static void drop_task(struct task *t)
{
	if (t->vcpu)
		vcpu_put(t->vcpu);
	free(t->xsave);
	files_release(t->files);
	fs_release(t->fs);
	sighand_release(t->sighand);
	mmput(t->mm);
	free(t);
}

static void drop_first_task(struct sandbox *s)
{
	struct task *t = s->first_task;

	if (!t)
		return;
	if (!s->first && t->process)
		process_free(t->process);
	drop_task(t);
}

/* Those of a sandbox that was never started, but for the first. */
static void drop_other_tasks(struct sandbox *s, struct process *p)
{
	struct task *t, *next;

	list_for_each_entry_safe (t, next, &p->threads, thread_node)
		if (t != s->first_task)
			drop_task(t);
}

struct sandbox *sandbox_new(enum lodge_net net, unsigned int max_pids)
{
	struct sandbox *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->pause_changed, NULL);
	list_init(&s->processes);
	list_init(&s->workers);
	list_init(&s->all_workers);
	list_init(&s->signalfds);
	pressure_monitor_init(&s->pressure);
	notices_init(&s->notices);
	list_init(&s->ttys);
	s->orphans.sandbox = s;
	s->orphans.pid = FIRST_ORPHANS_PARENT;
	list_init(&s->orphans.children);
	list_init(&s->orphans.threads);
	identity_init(&s->identity);
	s->max_tasks = max_pids ? max_pids : DEFAULT_MAX_PIDS;
	s->sockets = sockets_create(net);
	s->ipc = ipc_ns_create();
	s->aio = aio_ns_create();
	if (s->sockets && s->ipc && s->aio)
		return s;
	sandbox_destroy(s);
	return NULL;
}

int sandbox_create(const struct sandbox_setup *setup, struct sandbox **result, const char **bad)
{
	struct sandbox *s = sandbox_new(setup->net, setup->max_pids);
	int err;

	*bad = NULL;
	if (!s)
		return -ENOMEM;
	s->last_pid = setup->first_pid;
	if (setup->user) {
		s->identity.uid = setup->user[0];
		s->identity.gid = setup->user[1];
	}
	memcpy(s->caller_fds, setup->fds, sizeof(s->caller_fds));
	err = first_task(s, setup, bad);
	if (err)
		sandbox_destroy(s);
	else
		*result = s;
	return err;
}

/* --- beginning ------------------------------------------------------------------------------ */

/* A task and the thread that is to run it. */
struct start {
	struct task *task;
	struct worker *worker;
};

static int take_processor(struct task *t)
{
	int err = vcpu_take(t->vm, &t->vcpu);

	if (!err && t->xsave)
		err = vcpu_set_xsave(t->vcpu, t->xsave, t->xsave_bytes);
	return err;
}

/* A processor for each task, and a thread for all but the first: *nr of them. */
static int equip_all(struct sandbox *s, struct start *start, unsigned int *nr)
{
	struct process *p;
	struct task *t;

	list_for_each_entry (p, &s->processes, node) {
		list_for_each_entry (t, &p->threads, thread_node) {
			int err = take_processor(t);
			if (err)
				return err;
			if (t == s->first_task)
				continue;
			start[*nr] = (struct start){t, worker_get(s)};
			if (!start[*nr].worker)
				return -EAGAIN;
			++*nr;
		}
	}
	return 0;
}

/* Leaves all as they were. */
static void unequip_all(struct sandbox *s, const struct start *start, unsigned int nr)
{
	struct process *p;
	struct task *t;

	for (unsigned int i = 0; i < nr; i++)
		worker_put(start[i].worker);
	list_for_each_entry (p, &s->processes, node) {
		list_for_each_entry (t, &p->threads, thread_node) {
			if (t->vcpu)
				vcpu_put(t->vcpu);
			t->vcpu = NULL;
		}
	}
}

/* From here on it may be paused only as one that runs. */
static void mark_started(struct sandbox *s)
{
	pthread_mutex_lock(&s->lock);
	while (s->paused)
		pthread_cond_wait(&s->pause_changed, &s->lock);
	s->started = true;
	pthread_mutex_unlock(&s->lock);
}

bool sandbox_is_running(struct sandbox *s)
{
	pthread_mutex_lock(&s->lock);
	bool running = s->started && (s->nr_tasks || s->nr_busy);
	pthread_mutex_unlock(&s->lock);
	return running;
}

int sandbox_start(struct sandbox *s)
{
	struct start *start = calloc(s->nr_tasks, sizeof(*start));
	unsigned int nr = 0;
	int err = start ? equip_all(s, start, &nr) : -ENOMEM;

	if (!err)
		err = timers_resume(s);
	if (err) {
		unequip_all(s, start, nr);
		free(start);
		return err;
	}
	mark_started(s);
	for (unsigned int i = 0; i < nr; i++)
		worker_run(start[i].worker, start[i].task);
	free(start);
	return 0;
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
	list_for_each_entry (p, &s->processes, node)
		drop_other_tasks(s, p);
	drop_first_task(s);
	mmput(s->first_mm);
	list_for_each_entry_safe (p, next, &s->processes, node) {
		list_del(&p->node);
		process_free(p);
	}
	ttys_end(s);
	pressure_monitor_destroy(&s->pressure);
	notices_destroy(&s->notices);
	sockets_destroy(s->sockets);
	ipc_ns_destroy(s->ipc);
	aio_ns_destroy(s->aio);
	pthread_cond_destroy(&s->pause_changed);
	view_release(s->view);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
