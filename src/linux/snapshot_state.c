/* SPDX-License-Identifier: MIT */
/* snapshot_state.c - sandbox, processes and threads of a snapshot: see snapshot.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../vmm/vm.h"
#include "files_clone.h"
#include "futex.h"
#include "rlimit.h"
#include "sleep.h"
#include "snapshot.h"
#include "sockets.h"
#include "task.h"
#include "view.h"

#define MAX_TIMERS 65536u
#define MAX_XSAVE  16384u
#define NS_PER_S   1000000000ll
#define NO_PARENT  0
#define MAX_CLOCK  (INT64_MAX / 4) /* of ns since the machine began */

int snapshot_refuse(struct snapshot *n, int err, const char *format, ...)
{
	va_list args;

	if (n->why[0])
		return err;
	va_start(args, format);
	vsnprintf(n->why, sizeof(n->why), format, args);
	va_end(args);
	return err;
}

/* --- numbers ------------------------------------------------------------------------------------ */

bool numbered_add(struct numbered *w, void *thing)
{
	if (w->nr == w->room) {
		uint32_t room = w->room ? 2 * w->room : 16;
		void **more = realloc(w->at, room * sizeof(*more));
		if (!more)
			return false;
		w->at = more;
		w->room = room;
	}
	w->at[w->nr++] = thing;
	return true;
}

uint32_t numbered_note(struct numbered *w, void *thing)
{
	for (uint32_t i = 0; i < w->nr; i++)
		if (w->at[i] == thing)
			return i;
	return numbered_add(w, thing) ? w->nr - 1 : UINT32_MAX;
}

void *numbered_get(const struct numbered *w, uint32_t nr)
{
	return nr < w->nr ? w->at[nr] : NULL;
}

/* --- clocks ------------------------------------------------------------------------------------- */

static int64_t now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static void code_clocks(struct snapshot *n)
{
	int64_t monotonic = now_ns(CLOCK_MONOTONIC), boottime = now_ns(CLOCK_BOOTTIME);
	int64_t then[2] = {monotonic, boottime};

	CODE(&n->c, then);
	n->c.bad |= then[0] < 0 || then[0] > MAX_CLOCK || then[1] < 0 || then[1] > MAX_CLOCK;
	if (n->c.bad)
		return;
	n->monotonic_shift = monotonic - then[0];
	n->boottime_shift = boottime - then[1];
}

static int64_t shift_of(const struct snapshot *n, clockid_t clock)
{
	if (clock == CLOCK_MONOTONIC)
		return n->monotonic_shift;
	return clock == CLOCK_BOOTTIME ? n->boottime_shift : 0;
}

static uint64_t moved(uint64_t ns, int64_t shift)
{
	uint64_t to = ns + (uint64_t)shift;

	return shift < 0 && to > ns ? 1 : to;
}

static void code_timer(struct snapshot *n, struct timer *t)
{
	int32_t kind = t->clock.kind, host = t->clock.host, tid = t->clock.tid;

	CODE(&n->c, kind);
	CODE(&n->c, host);
	CODE(&n->c, tid);
	CODE(&n->c, t->at);
	CODE(&n->c, t->every);
	if (n->c.writing)
		return;
	n->c.bad |= kind < TIMER_BY_HOST || kind > TIMER_BY_TASK;
	t->clock = (struct timer_clock){(enum timer_clock_kind)kind, host, tid};
	if (t->at && t->clock.kind == TIMER_BY_HOST)
		t->at = moved(t->at, shift_of(n, host));
}

static void code_posix_timer(struct snapshot *n, struct posix_timer *x)
{
	CODE(&n->c, x->id);
	code_timer(n, &x->timer);
	CODE(&n->c, x->notify);
	CODE(&n->c, x->signo);
	CODE(&n->c, x->tid);
	CODE(&n->c, x->value);
	CODE(&n->c, x->overrun);
	uint32_t waits = x->waits;
	CODE(&n->c, waits);
	x->waits = waits;
	n->c.bad |= x->signo < 0 || x->signo > NR_SIGNALS;
}

static int code_timers(struct snapshot *n, struct process *p)
{
	struct posix_timer *x;
	uint32_t nr = 0;

	for (int i = 0; i < NR_ITIMERS; i++)
		code_timer(n, &p->itimer[i]);
	CODE(&n->c, p->next_timer_id);
	CODE(&n->c, p->cpu_warned_s);
	list_for_each_entry (x, &p->timers, node)
		nr++;
	nr = codec_count(&n->c, nr, MAX_TIMERS);
	if (n->c.writing) {
		list_for_each_entry (x, &p->timers, node)
			code_posix_timer(n, x);
		return 0;
	}
	for (uint32_t i = 0; i < nr; i++) {
		x = calloc(1, sizeof(*x));
		if (!x)
			return -ENOMEM;
		code_posix_timer(n, x);
		list_add_tail(&x->node, &p->timers);
	}
	return 0;
}

/* --- signals ------------------------------------------------------------------------------------ */

static void code_queue(struct codec *c, struct sigqueue *q)
{
	q->nr_queued = codec_count(c, q->nr_queued, SIGQUEUE_MAX);
	codec_bytes(c, q->queue, q->nr_queued * sizeof(q->queue[0]));
	q->pending = 0;
	for (unsigned int i = 0; i < q->nr_queued; i++) {
		int signo = q->queue[i].si_signo;
		c->bad |= signo < 1 || signo > NR_SIGNALS;
		if (!c->bad)
			q->pending |= signal_bit(signo);
	}
}

static void code_signals(struct codec *c, struct sigstate *s)
{
	uint32_t restore = s->restore_mask;

	CODE(c, s->blocked);
	CODE(c, s->saved_mask);
	CODE(c, restore);
	s->restore_mask = restore;
	code_queue(c, &s->queue);
	CODE(c, s->altstack_sp);
	CODE(c, s->altstack_bytes);
	CODE(c, s->altstack_flags);
}

static int code_actions(struct snapshot *n)
{
	uint32_t nr = codec_count(&n->c, n->sighand.nr, SNAPSHOT_MAX_TASKS);

	for (uint32_t i = 0; i < nr; i++) {
		struct sighand *h = n->c.writing ? n->sighand.at[i] : sighand_create();
		if (!h || (!n->c.writing && !numbered_add(&n->sighand, h))) {
			if (h)
				sighand_release(h);
			return -ENOMEM;
		}
		CODE(&n->c, h->action);
	}
	return 0;
}

/* --- threads ------------------------------------------------------------------------------------ */

/* What a call that was interrupted goes on with, by number. */
static int64_t (*const restart_fn[])(struct task *t, const struct restart_block *b) = {NULL, futex_wait_again,
										       sleep_again,
										       poll_again};

static void code_restart(struct snapshot *n, struct task *t)
{
	struct restart_block *b = &t->restart_block;
	uint32_t restart = t->restart, fn = 0;

	for (uint32_t i = 1; i < ARRAY_SIZE(restart_fn); i++)
		if (b->fn == restart_fn[i])
			fn = i;
	CODE(&n->c, t->syscall_nr);
	CODE(&n->c, restart);
	CODE(&n->c, fn);
	CODE(&n->c, b->deadline);
	CODE(&n->c, b->clock);
	CODE(&n->c, b->arg);
	if (n->c.writing)
		return;
	n->c.bad |= restart > RESTART_BLOCK || fn >= ARRAY_SIZE(restart_fn);
	t->restart = n->c.bad ? RESTART_NOT : (enum task_restart)restart;
	b->fn = n->c.bad ? NULL : restart_fn[fn];
	n->c.bad |= b->deadline.tv_nsec < 0 || b->deadline.tv_nsec >= NS_PER_S;
	if (n->c.bad || b->deadline.tv_sec <= 0 || b->deadline.tv_sec > MAX_CLOCK / NS_PER_S)
		return;
	int64_t at = b->deadline.tv_sec * NS_PER_S + b->deadline.tv_nsec + shift_of(n, b->clock);
	b->deadline = at > 0 ? (struct timespec){at / NS_PER_S, at % NS_PER_S} : (struct timespec){0};
}

static void code_numbers(struct codec *c, struct task *t)
{
	CODE(c, t->tid);
	CODE(c, t->regs);
	CODE(c, t->cred);
	CODE(c, t->timer_slack_ns);
	CODE(c, t->clear_child_tid);
	CODE(c, t->robust_list);
	CODE(c, t->comm);
	CODE(c, t->personality);
	CODE(c, t->parent_death_signal);
	CODE(c, t->nice);
	CODE(c, t->sched_policy);
	uint32_t aslr = t->aslr, stops = atomic_load(&t->attention) & ATTENTION_STOP;
	CODE(c, aslr);
	CODE(c, stops);
	t->aslr = aslr;
	t->comm[sizeof(t->comm) - 1] = '\0';
	c->bad |= t->cred.nr_groups > CRED_MAX_GROUPS;
	if (!c->writing) /* it looks once whether there is a signal for it */
		atomic_store(&t->attention, (stops & ATTENTION_STOP) | ATTENTION_SIGNAL);
}

static void number_parts(struct snapshot *n, const struct task *t, uint32_t part[4])
{
	part[0] = numbered_note(&n->mm, t->mm);
	part[1] = numbered_note(&n->files, t->files);
	part[2] = numbered_note(&n->fs, t->fs);
	part[3] = numbered_note(&n->sighand, t->sighand);
}

static void take_parts(struct snapshot *n, struct task *t, const uint32_t part[4])
{
	struct mm *mm = numbered_get(&n->mm, part[0]);
	struct files *files = numbered_get(&n->files, part[1]);
	struct fs *fs = numbered_get(&n->fs, part[2]);
	struct sighand *sighand = numbered_get(&n->sighand, part[3]);

	n->c.bad |= !mm || !files || !fs || !sighand;
	if (n->c.bad)
		return;
	mmget(mm);
	t->mm = mm;
	t->files = files_share(files);
	t->fs = fs_share(fs);
	t->sighand = sighand_share(sighand);
}

static void code_thread(struct snapshot *n, struct task *t)
{
	uint32_t part[4] = {0};

	if (n->c.writing)
		number_parts(n, t, part);
	CODE(&n->c, part);
	if (!n->c.writing)
		take_parts(n, t, part);
	code_numbers(&n->c, t);
	code_signals(&n->c, &t->sig);
	code_restart(n, t);
	codec_block(&n->c, &t->xsave, &t->xsave_bytes, MAX_XSAVE);
}

static int read_thread(struct snapshot *n, struct process *p)
{
	struct sandbox *s = n->sandbox;
	struct task *t = calloc(1, sizeof(*t));
	uint32_t first;

	if (!t)
		return -ENOMEM;
	list_init(&t->thread_node);
	t->sandbox = s;
	t->process = p;
	t->vm = n->vm;
	t->hostfiles = n->hostfiles;
	t->vdso = n->vdso;
	t->shm = n->shm;
	list_add_tail(&t->thread_node, &p->threads);
	p->nr_threads++;
	s->nr_tasks++;
	CODE(&n->c, first);
	if (first && !s->first_task)
		s->first_task = t;
	code_thread(n, t);
	t->pid = p->pid;
	return n->c.bad ? -EBADMSG : 0;
}

static int code_threads(struct snapshot *n, struct process *p)
{
	uint32_t nr = codec_count(&n->c, p->nr_threads, SNAPSHOT_MAX_TASKS);
	struct task *t;
	int err = 0;

	if (n->c.writing) {
		list_for_each_entry (t, &p->threads, thread_node) {
			uint32_t first = t == n->sandbox->first_task;
			CODE(&n->c, first);
			code_thread(n, t);
		}
		return 0;
	}
	for (uint32_t i = 0; i < nr && !err; i++)
		err = read_thread(n, p);
	return err;
}

/* --- processes ---------------------------------------------------------------------------------- */

static void code_ids(struct codec *c, struct process *p)
{
	CODE(c, p->pid);
	CODE(c, p->serial);
	CODE(c, p->pgid);
	CODE(c, p->sid);
	CODE(c, p->uid);
	CODE(c, p->exit_signal);
	CODE(c, p->exit_code);
	CODE(c, p->stop_signal);
	CODE(c, p->oom_score_adj);
	CODE(c, p->cpu_ns);
	CODE(c, p->usage);
	CODE(c, p->children_usage);
	c->bad |= p->pid < 1;
}

static void code_flags(struct codec *c, struct process *p)
{
	uint8_t flag[6] = {p->subreaper,  atomic_load(&p->not_dumpable),
			   p->has_execed, p->group_exit,
			   p->stop_told,  p->cont_told};

	CODE(c, flag);
	p->subreaper = flag[0];
	atomic_store(&p->not_dumpable, flag[1]);
	p->has_execed = flag[2];
	p->group_exit = flag[3];
	p->stop_told = flag[4];
	p->cont_told = flag[5];
}

static void code_rlimits(struct codec *c, struct process *p)
{
	for (unsigned int i = 0; i < RLIM_NLIMITS; i++) {
		uint32_t set = p->rlimit[i].set;
		CODE(c, set);
		CODE(c, p->rlimit[i].value);
		p->rlimit[i].set = set;
	}
	uint32_t nr_open = atomic_load(&p->nr_open);
	CODE(c, nr_open);
	c->bad |= nr_open > NR_OPEN_MAX;
	if (!c->writing)
		atomic_store(&p->nr_open, nr_open);
}

/* Parents stand before their children, or are process 1. */
static void code_parent(struct snapshot *n, struct process *p)
{
	int parent = p->parent ? p->parent->pid : NO_PARENT;

	CODE(&n->c, parent);
	if (n->c.writing || n->c.bad || parent == NO_PARENT)
		return;
	p->parent = parent == FIRST_ORPHANS_PARENT ? &n->sandbox->orphans : process_find(n->sandbox, parent);
	if (p->parent && p->parent != p)
		list_add_tail(&p->sibling, &p->parent->children);
	else
		n->c.bad = true;
}

static int code_process(struct snapshot *n, struct process *p)
{
	code_ids(&n->c, p);
	code_flags(&n->c, p);
	code_rlimits(&n->c, p);
	codec_string(&n->c, &p->exe_path);
	code_queue(&n->c, &p->pending);
	int64_t start = (int64_t)p->start_ns;
	CODE(&n->c, start);
	if (!n->c.writing)
		p->start_ns = moved((uint64_t)start, n->monotonic_shift);
	int err = code_timers(n, p);
	return err ? err : code_threads(n, p);
}

static int read_process(struct snapshot *n)
{
	struct sandbox *s = n->sandbox;
	struct process *p = process_new(s);

	if (!p)
		return -ENOMEM;
	list_add_tail(&p->node, &s->processes);
	if (!s->first)
		s->first = p;
	code_parent(n, p);
	int err = code_process(n, p);
	return n->c.bad && !err ? -EBADMSG : err;
}

/* The first process stands first, for it was there first. */
static int code_processes(struct snapshot *n)
{
	struct process *p;
	uint32_t nr = 0;
	int err = 0;

	list_for_each_entry (p, &n->sandbox->processes, node)
		nr++;
	nr = codec_count(&n->c, nr, SNAPSHOT_MAX_TASKS);
	if (n->c.writing) {
		list_for_each_entry (p, &n->sandbox->processes, node) {
			code_parent(n, p);
			err = err ? err : code_process(n, p);
		}
		return err;
	}
	for (uint32_t i = 0; i < nr && !err; i++)
		err = read_process(n);
	return err;
}

/* --- the whole ---------------------------------------------------------------------------------- */

int snapshot_note(struct snapshot *n)
{
	uint32_t part[4];
	struct process *p;
	struct task *t;

	list_for_each_entry (p, &n->sandbox->processes, node)
		list_for_each_entry (t, &p->threads, thread_node)
			number_parts(n, t, part);
	if (numbered_note(&n->mm, n->sandbox->first_mm) == UINT32_MAX)
		return -ENOMEM;
	int err = snapshot_note_files(n);
	return err ? err : snapshot_note_objects(n);
}

static void code_sandbox(struct codec *c, struct sandbox *s)
{
	uint64_t serial = atomic_load(&s->last_serial);

	CODE(c, s->max_tasks);
	CODE(c, s->last_pid);
	CODE(c, s->identity.uid); /* who runs lodge is another one where it is restored */
	CODE(c, s->identity.gid);
	CODE(c, serial);
	if (!c->writing)
		atomic_store(&s->last_serial, serial);
	c->bad |= !s->max_tasks || s->max_tasks > SNAPSHOT_MAX_TASKS;
}

/* A sandbox as it has to be: somebody runs, and who is first has a task. */
static int complete(struct snapshot *n)
{
	struct sandbox *s = n->sandbox;
	uint32_t first;

	CODE(&n->c, first);
	struct mm *mm = numbered_get(&n->mm, first);
	if (!codec_is_done(&n->c) || !mm || !s->nr_tasks || !s->first || !s->first->exe_path ||
	    s->first->parent)
		return -EBADMSG;
	mmget(mm);
	s->first_mm = mm;
	if (s->first_task)
		return s->first_task->process == s->first ? 0 : -EBADMSG;
	s->first_task = calloc(1, sizeof(*s->first_task));
	if (!s->first_task)
		return -ENOMEM;
	s->first_task->sandbox = s;
	s->first_task->process = s->first;
	s->first_task->vm = n->vm;
	return 0;
}

static int write_state(struct snapshot *n)
{
	int err;

	code_clocks(n);
	code_sandbox(&n->c, n->sandbox);
	err = snapshot_code_objects(n);
	if (!err)
		err = snapshot_code_spaces(n);
	if (!err)
		err = snapshot_code_contents(n);
	if (!err)
		err = snapshot_code_files(n);
	if (!err)
		err = code_actions(n);
	if (!err)
		err = code_processes(n);
	uint32_t first = numbered_note(&n->mm, n->sandbox->first_mm);
	CODE(&n->c, first);
	return !err && n->c.bad ? -ENOMEM : err;
}

static int read_state(struct snapshot *n)
{
	int err;

	code_clocks(n);
	code_sandbox(&n->c, n->sandbox);
	err = n->c.bad ? -EBADMSG : snapshot_code_objects(n);
	if (!err)
		err = snapshot_code_spaces(n);
	if (!err)
		err = snapshot_code_contents(n);
	if (!err)
		err = snapshot_code_files(n);
	if (!err)
		err = code_actions(n);
	if (!err)
		err = code_processes(n);
	if (!err)
		err = complete(n);
	if (!err)
		err = snapshot_map_pages(n);
	return err == -EBADMSG ? snapshot_refuse(n, err, "the state makes no sense") : err;
}

int snapshot_code(struct snapshot *n)
{
	return n->c.writing ? write_state(n) : read_state(n);
}

void snapshot_destroy(struct snapshot *n)
{
	if (!n->c.writing) {
		for (uint32_t i = 0; i < n->mm.nr; i++)
			mmput(n->mm.at[i]);
		for (uint32_t i = 0; i < n->files.nr; i++)
			files_release(n->files.at[i]);
		for (uint32_t i = 0; i < n->fs.nr; i++)
			fs_release(n->fs.at[i]);
		for (uint32_t i = 0; i < n->sighand.nr; i++)
			sighand_release(n->sighand.at[i]);
		for (uint32_t i = 0; i < n->file.nr; i++)
			guest_file_put(n->file.at[i]);
	}
	snapshot_destroy_objects(n);
	free(n->mm.at);
	free(n->files.at);
	free(n->fs.at);
	free(n->sighand.at);
	free(n->file.at);
}
