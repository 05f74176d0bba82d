/* SPDX-License-Identifier: MIT */
/*
 * sys_session.c - numbers of processes and threads, process groups, sessions.
 *
 * The first process leads a session and a group of its own, and has no parent in its world.
 */
#include <errno.h>
#include <sys/syscall.h>

#include "syscall.h"

static int64_t sys_getpid(struct task *t, const uint64_t a[6])
{
	(void)a;
	return t->pid;
}

static int64_t sys_gettid(struct task *t, const uint64_t a[6])
{
	(void)a;
	return t->tid;
}

static int64_t sys_getppid(struct task *t, const uint64_t a[6])
{
	(void)a;
	return process_ids(t->process).ppid;
}

/* 0 and any thread's number mean its process. The lock is held. */
static struct process *process_of(struct task *t, int pid)
{
	struct process *p = pid ? process_find(t->sandbox, pid) : t->process;
	struct task *other = p || pid <= 0 ? NULL : task_find(t->sandbox, pid);

	return other ? other->process : p;
}

static int64_t sys_getpgid(struct task *t, const uint64_t a[6])
{
	struct process *p;
	int64_t ret;

	pthread_mutex_lock(&t->sandbox->lock);
	p = process_of(t, (int)a[0]);
	ret = p ? p->pgid : -ESRCH;
	pthread_mutex_unlock(&t->sandbox->lock);
	return ret;
}

static int64_t sys_getpgrp(struct task *t, const uint64_t a[6])
{
	(void)a;
	return sys_getpgid(t, (const uint64_t[6]){0});
}

static int64_t sys_getsid(struct task *t, const uint64_t a[6])
{
	struct process *p;
	int64_t ret;

	pthread_mutex_lock(&t->sandbox->lock);
	p = process_of(t, (int)a[0]);
	ret = p ? p->sid : -ESRCH;
	pthread_mutex_unlock(&t->sandbox->lock);
	return ret;
}

static int64_t sys_setsid(struct task *t, const uint64_t a[6])
{
	struct process *p = t->process;
	int64_t ret = -EPERM;

	(void)a;
	pthread_mutex_lock(&t->sandbox->lock);
	if (p->sid != p->pid && !process_group_exists(t->sandbox, p->pid)) {
		p->sid = p->pgid = p->pid;
		p->tty = NULL;
		ret = p->pid;
	}
	pthread_mutex_unlock(&t->sandbox->lock);
	return ret;
}

static bool group_in_session(struct sandbox *s, int pgid, int sid)
{
	struct process *p;

	list_for_each_entry (p, &s->processes, node)
		if (p->pgid == pgid && p->sid == sid)
			return true;
	return false;
}

/* The lock is held. In the order of Linux's checks. */
static int64_t set_group(struct task *t, int pid, int pgid)
{
	struct process *p = pid ? process_find(t->sandbox, pid) : t->process;

	if (!p || (p != t->process && p->parent != t->process))
		return p || !pid || !task_find(t->sandbox, pid) ? -ESRCH : -EINVAL;
	if (p != t->process) {
		if (p->sid != t->process->sid)
			return -EPERM;
		if (p->has_execed)
			return -EACCES;
	}
	if (p->sid == p->pid)
		return -EPERM;
	if (!pgid)
		pgid = p->pid;
	if (pgid != p->pid && !group_in_session(t->sandbox, pgid, p->sid))
		return -EPERM;
	p->pgid = pgid;
	return 0;
}

static int64_t sys_setpgid(struct task *t, const uint64_t a[6])
{
	int64_t ret;

	if ((int)a[1] < 0 || (!(int)a[1] && (int)a[0] < 0)) /* no group is its own number then */
		return -EINVAL;
	pthread_mutex_lock(&t->sandbox->lock);
	ret = set_group(t, (int)a[0], (int)a[1]);
	pthread_mutex_unlock(&t->sandbox->lock);
	return ret;
}

const struct syscall_entry sys_session_calls[] = {
	SYSCALL_ENTRY(getpid),	SYSCALL_ENTRY(gettid),	SYSCALL_ENTRY(getppid),
	SYSCALL_ENTRY(getpgrp), SYSCALL_ENTRY(getpgid), SYSCALL_ENTRY(getsid),
	SYSCALL_ENTRY(setsid),	SYSCALL_ENTRY(setpgid), {0},
};
