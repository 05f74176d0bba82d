/* SPDX-License-Identifier: MIT */
/*
 * process.c - see process.h. What a sandbox is made of and how it ends: sandbox.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "answers.h"
#include "cputime.h"
#include "ipc.h"
#include "task.h"
#include "tty.h"

#define NS_PER_S 1000000000ull

/* --- finding -------------------------------------------------------------------------------- */

struct process *process_find(struct sandbox *s, int pid)
{
	struct process *p;

	list_for_each_entry (p, &s->processes, node)
		if (p->pid == pid)
			return p;
	return NULL;
}

struct process *process_find_serial(struct sandbox *s, uint64_t serial)
{
	struct process *p;

	list_for_each_entry (p, &s->processes, node)
		if (p->serial == serial)
			return p;
	return NULL;
}

struct task *task_find(struct sandbox *s, int tid)
{
	struct process *p;
	struct task *t;

	list_for_each_entry (p, &s->processes, node)
		list_for_each_entry (t, &p->threads, thread_node)
			if (t->tid == tid)
				return t;
	return NULL;
}

void task_get_comm(const struct task *t, char comm[16])
{
	pthread_mutex_lock(&t->sandbox->lock);
	memcpy(comm, t->comm, sizeof(t->comm));
	pthread_mutex_unlock(&t->sandbox->lock);
}

bool process_is_zombie(const struct process *p)
{
	return !p->nr_threads;
}

bool process_has_ended(const struct process *p)
{
	return !p->nr_threads && !p->nr_ending;
}

/* --- numbers -------------------------------------------------------------------------------- */

#define PID_FIRST 300 /* where Linux goes on after its last number */
#define PID_LAST  4194303

static bool number_is_used(struct sandbox *s, int n)
{
	struct process *p;

	list_for_each_entry (p, &s->processes, node)
		if (p->pid == n || p->pgid == n || p->sid == n)
			return true;
	return task_find(s, n);
}

static int next_number(struct sandbox *s)
{
	do
		s->last_pid = s->last_pid >= PID_LAST ? PID_FIRST : s->last_pid + 1;
	while (number_is_used(s, s->last_pid));
	return s->last_pid;
}

/* --- beginning ------------------------------------------------------------------------------ */

struct process *process_new(struct sandbox *s)
{
	struct process *p = calloc(1, sizeof(*p));
	struct timespec now;

	if (!p)
		return NULL;
	p->sandbox = s;
	p->serial = atomic_fetch_add(&s->last_serial, 1) + 1;
	p->exit_event = -1;
	atomic_init(&p->nr_open, NR_OPEN_DEFAULT);
	p->cont_told = true;
	list_init(&p->children);
	list_init(&p->sibling);
	list_init(&p->node);
	list_init(&p->threads);
	timers_init(p);
	clock_gettime(CLOCK_MONOTONIC, &now);
	p->start_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	return p;
}

void process_free(struct process *p)
{
	timers_delete_all(p);
	if (p->exit_event >= 0)
		close(p->exit_event);
	free(p->exe_path);
	free(p);
}

static void add_process(struct process *p, int pid, struct process *parent)
{
	struct sandbox *s = p->sandbox;

	p->pid = pid;
	p->pgid = parent ? parent->pgid : pid;
	p->sid = parent ? parent->sid : pid;
	p->tty = parent ? parent->tty : NULL;
	p->parent = parent;
	if (parent)
		list_add_tail(&p->sibling, &parent->children);
	list_add_tail(&p->node, &s->processes);
}

/* Zombies count: they have a number. */
static unsigned int nr_numbers(struct sandbox *s)
{
	unsigned int n = s->nr_tasks;
	struct process *p;

	list_for_each_entry (p, &s->processes, node)
		n += process_is_zombie(p);
	return n;
}

int process_add_task(struct process *p, struct task *t, struct process *parent)
{
	struct sandbox *s = p->sandbox;

	if (s->ending || (p->nr_threads && p->group_exit) || nr_numbers(s) >= s->max_tasks)
		return -EAGAIN;
	t->tid = s->first ? next_number(s) : s->last_pid;
	if (!p->nr_threads)
		add_process(p, t->tid, parent);
	t->pid = p->pid;
	list_add_tail(&t->thread_node, &p->threads);
	p->nr_threads++;
	s->nr_tasks++;
	return 0;
}

/* --- times ---------------------------------------------------------------------------------- */

static void timeval_add(struct timeval *sum, const struct timeval *more)
{
	sum->tv_sec += more->tv_sec;
	sum->tv_usec += more->tv_usec;
	if (sum->tv_usec >= 1000000) {
		sum->tv_sec++;
		sum->tv_usec -= 1000000;
	}
}

void rusage_add(struct rusage *sum, const struct rusage *more)
{
	timeval_add(&sum->ru_utime, &more->ru_utime);
	timeval_add(&sum->ru_stime, &more->ru_stime);
	if (sum->ru_maxrss < more->ru_maxrss)
		sum->ru_maxrss = more->ru_maxrss;
	sum->ru_minflt += more->ru_minflt;
	sum->ru_majflt += more->ru_majflt;
	sum->ru_nvcsw += more->ru_nvcsw;
	sum->ru_nivcsw += more->ru_nivcsw;
}

/* Of another thread only its processor time as a whole is known. */
static void add_live_thread(struct task *t, struct rusage *usage)
{
	struct rusage one = {0};
	uint64_t ns;

	if (t->running && pthread_equal(t->thread, pthread_self())) {
		task_usage(t, &one);
	} else if (t->running) {
		ns = cputime_task(t);
		one.ru_utime.tv_sec = (time_t)(ns / NS_PER_S);
		one.ru_utime.tv_usec = (suseconds_t)(ns % NS_PER_S / 1000);
	}
	rusage_add(usage, &one);
}

void process_usage(struct process *p, struct rusage *usage)
{
	struct task *t;

	*usage = p->usage;
	list_for_each_entry (t, &p->threads, thread_node)
		add_live_thread(t, usage);
}

/* --- what parents are told ------------------------------------------------------------------ */

void process_wake_parent(struct process *p)
{
	struct task *t;

	if (!p->parent)
		return;
	list_for_each_entry (t, &p->parent->threads, thread_node)
		task_wake(t);
}

static long ticks(const struct timeval *tv)
{
	return tv->tv_sec * 100 + tv->tv_usec / 10000;
}

uint32_t process_uid(const struct process *p)
{
	return p->nr_threads ? list_entry(p->threads.next, struct task, thread_node)->cred.uid.real : p->uid;
}

static void child_info(struct process *p, int signo, int code, int status, siginfo_t *info)
{
	memset(info, 0, sizeof(*info));
	info->si_signo = signo;
	info->si_code = code;
	info->si_pid = p->pid;
	info->si_uid = process_uid(p);
	info->si_status = status;
	info->si_utime = ticks(&p->usage.ru_utime);
	info->si_stime = ticks(&p->usage.ru_stime);
}

void process_tell_parent(struct process *p, int code, int status)
{
	struct process *parent = p->parent;
	siginfo_t info;

	if (!parent || process_is_zombie(parent))
		return;
	const struct ksigaction *ka = &signal_actions(parent)[SIGCHLD];
	child_info(p, SIGCHLD, code, status, &info);
	if (ka->handler != 1 && !(ka->flags & SA_NOCLDSTOP))
		signal_send_process(parent, SIGCHLD, &info);
	process_wake_parent(p);
}

/* True when nobody will wait for p: it is gone at once. */
static bool tell_end(struct process *p)
{
	struct process *parent = p->parent;
	bool forgotten = false;
	siginfo_t info;

	if (!parent)
		return p != p->sandbox->first;
	if (process_is_zombie(parent)) /* on its own way out: its children will be others' */
		return false;
	if (p->exit_signal == SIGCHLD) {
		const struct ksigaction *ka = &signal_actions(parent)[SIGCHLD];
		forgotten = ka->handler == 1 || (ka->flags & SA_NOCLDWAIT);
	}
	int signal = p->exit_code & 0x7f;
	child_info(p, p->exit_signal, signal ? CLD_KILLED : CLD_EXITED,
		   signal ? signal : p->exit_code >> 8 & 0xff, &info);
	/* clone takes numbers that are no signals: they say that nobody is told. */
	if (p->exit_signal && p->exit_signal <= NR_SIGNALS &&
	    !(p->exit_signal == SIGCHLD && signal_actions(parent)[SIGCHLD].handler == 1))
		signal_send_process(parent, p->exit_signal, &info);
	process_wake_parent(p);
	return forgotten;
}

/* --- groups --------------------------------------------------------------------------------- */

/* A parent that can continue it: of the first process, who has started lodge. */
static bool has_parent_outside(const struct process *p, int pgid, int sid)
{
	if (p == p->sandbox->first)
		return p->sandbox->on_stop;
	return p->parent && p->parent != &p->sandbox->orphans && p->parent->pgid != pgid &&
	       p->parent->sid == sid;
}

bool process_group_exists(struct sandbox *s, int pgid)
{
	struct process *p;

	list_for_each_entry (p, &s->processes, node)
		if (p->pgid == pgid)
			return true;
	return false;
}

bool process_group_is_orphaned(struct sandbox *s, int pgid, int sid)
{
	struct process *p;

	list_for_each_entry (p, &s->processes, node)
		if (p->pgid == pgid && !process_is_zombie(p) && has_parent_outside(p, pgid, sid))
			return false;
	return true;
}

static bool group_has_stopped(struct sandbox *s, int pgid)
{
	struct process *p;

	list_for_each_entry (p, &s->processes, node)
		if (p->pgid == pgid && p->stop_signal && !process_is_zombie(p))
			return true;
	return false;
}

/* It has, or had until now, a parent that can continue its group: with the last such process the group is orphaned, and not before. */
static bool links_group(const struct process *p)
{
	return has_parent_outside(p, p->pgid, p->sid);
}

/* A group that nobody can continue any more is told so. */
static void release_group(struct sandbox *s, int pgid, int sid)
{
	struct process *p;

	if (!process_group_is_orphaned(s, pgid, sid) || !group_has_stopped(s, pgid))
		return;
	list_for_each_entry (p, &s->processes, node) {
		if (p->pgid != pgid || process_is_zombie(p))
			continue;
		signal_send_process(p, SIGHUP, NULL);
		signal_send_process(p, SIGCONT, NULL);
	}
}

/* --- the end -------------------------------------------------------------------------------- */

void process_group_exit(struct process *p, int exit_code, struct task *self)
{
	struct task *t;

	if (!p->group_exit) {
		p->group_exit = true;
		p->exit_code = exit_code;
	}
	p->stop_signal = 0;
	list_for_each_entry (t, &p->threads, thread_node) {
		if (t == self)
			atomic_fetch_or(&t->attention, ATTENTION_KILLED);
		else
			task_kick(t, ATTENTION_KILLED);
	}
}

void process_reap(struct process *p)
{
	struct process *parent = p->parent;

	if (parent) {
		rusage_add(&parent->children_usage, &p->usage);
		rusage_add(&parent->children_usage, &p->children_usage);
	}
	list_del(&p->sibling);
	list_del(&p->node);
	process_free(p);
}

/* Who takes the children of a process that ends: the nearest of those above it that wants to, or process 1. */
static struct process *reaper_for(struct process *dead)
{
	for (struct process *p = dead->parent; p && p != &dead->sandbox->orphans; p = p->parent)
		if (p->subreaper && !process_is_zombie(p))
			return p;
	return &dead->sandbox->orphans;
}

static void adopt_orphan(struct process *child, struct process *parent)
{
	struct sandbox *s = child->sandbox;
	bool linked = links_group(child);
	struct task *t;

	child->parent = parent;
	list_del(&child->sibling);
	list_add_tail(&child->sibling, &parent->children);
	if (parent != &s->orphans)
		child->exit_signal = SIGCHLD;
	answers_tell_parent(child);
	list_for_each_entry (t, &child->threads, thread_node)
		if (t->parent_death_signal)
			signal_send_locked(t, t->parent_death_signal, NULL);
	if (!process_has_ended(child)) {
		if (linked)
			release_group(s, child->pgid, child->sid);
	} else if (parent == &s->orphans || tell_end(child)) {
		process_reap(child);
	}
}

static void end_process(struct process *p)
{
	struct sandbox *s = p->sandbox;
	struct process *child, *next, *reaper = reaper_for(p);

	sem_process_exits(p);
	list_for_each_entry_safe (child, next, &p->children, sibling)
		adopt_orphan(child, reaper);
	if (p->exit_event >= 0)
		eventfd_write(p->exit_event, 1); /* refused only when it is readable already */
	if (p == s->first) {
		s->ending = true;
		list_for_each_entry (child, &s->processes, node)
			if (child != p)
				process_group_exit(child, SIGKILL, NULL);
		return;
	}
	int pgid = p->pgid, sid = p->sid;
	bool linked = links_group(p);
	tty_leader_ended(p);
	if (p->parent == &s->orphans || tell_end(p))
		process_reap(p);
	if (linked)
		release_group(s, pgid, sid);
}

void process_remove_task(struct task *t)
{
	struct process *p = t->process;
	struct rusage usage;

	task_usage(t, &usage);
	rusage_add(&p->usage, &usage);
	p->cpu_ns += cputime_task(t);
	p->uid = t->cred.uid.real;
	list_del(&t->thread_node);
	p->nr_threads--;
	p->nr_ending++;
	p->sandbox->nr_tasks--;
	if (t->tid == p->pid && !p->group_exit)
		p->exit_code = t->exit_code;
	if (p->exec_task)
		task_wake(p->exec_task);
}

void process_end_task(struct process *p)
{
	p->nr_ending--;
	if (process_has_ended(p))
		end_process(p);
}

struct process_ids process_ids(struct process *p)
{
	struct process_ids ids;

	pthread_mutex_lock(&p->sandbox->lock);
	ids = (struct process_ids){.ppid = p->parent ? p->parent->pid : 0,
				   .pgid = p->pgid,
				   .sid = p->sid,
				   .nr_threads = p->nr_threads};
	tty_tell(p, &ids);
	pthread_mutex_unlock(&p->sandbox->lock);
	return ids;
}
