/* SPDX-License-Identifier: MIT */
/*
 * procfs_peer.c - files of procfs about another process of the sandbox, or another thread, than the one that asks.
 *
 * The host knows no directory with a guest's number. So the path is walked in our own process's directory in its place, which has the
 * same names, and the entry that it comes to remembers whom it is about. What files say comes from a copy of the other's task that is
 * made for one read, under sandbox->lock: the functions that write the texts know nothing of this.
 *
 * Not here: links and descriptors of other processes, which are refused.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "procfs.h"
#include "task.h"

#define PROC_PATH "/proc/"
#define TASK_PATH "/task/"

/* --- names ----------------------------------------------------------------------------------- */

/* The number at *text, which goes on with a slash or ends behind it; -1: there is none. */
static int take_number(const char **text)
{
	char *end;
	long n;

	if (!isdigit((unsigned char)**text))
		return -1;
	n = strtol(*text, &end, 10);
	if ((*end && *end != '/') || n > INT_MAX)
		return -1;
	*text = end;
	return (int)n;
}

/* Whose directory a path leads into, and the rest of it. False: it is for the host to say. */
static bool parse_path(const struct task *t, const char *path, int *pid, int *tid, const char **rest)
{
	const char *at = path + strlen(PROC_PATH);

	if (strncmp(path, PROC_PATH, strlen(PROC_PATH)))
		return false;
	if (!strncmp(at, "self/", 5)) {
		*pid = t->pid;
		at += 4;
	} else {
		*pid = take_number(&at);
	}
	*tid = -1;
	*rest = at;
	if (*pid >= 0 && !strncmp(at, TASK_PATH, strlen(TASK_PATH))) {
		at += strlen(TASK_PATH);
		*tid = take_number(&at);
		if (*tid >= 0)
			*rest = at;
	}
	return *pid >= 0;
}

/* Is there such a process, and thread (-1: any)? A thread's number leads to a directory too, though none of those that are listed. */
static bool find_peer(struct task *t, int pid, int tid, struct proc_who *who)
{
	struct sandbox *s = t->sandbox;

	pthread_mutex_lock(&s->lock);
	struct process *p = process_find(s, pid);
	struct task *thread = tid >= 0 ? task_find(s, tid) : NULL;
	if (!p && tid < 0) {
		thread = task_find(s, pid);
		p = thread ? thread->process : NULL;
		tid = pid;
	}
	bool found = p && (tid < 0 || (thread && thread->process == p));
	if (found)
		*who = (struct proc_who){.serial = p->serial, .tid = tid < 0 ? 0 : tid};
	pthread_mutex_unlock(&s->lock);
	return found;
}

/* What a process's own directory says of its first thread alone, whichever thread asks. */
static bool is_of_first_thread(const char *rest)
{
	return !strcmp(rest, "/status") || !strcmp(rest, "/stat") || !strcmp(rest, "/comm");
}

/* Whether what the path leads to is the caller's, and may be looked at where it is. */
static bool is_own(const struct task *t, const struct proc_who *who, const char *rest)
{
	if (who->serial != t->process->serial)
		return false;
	return who->tid ? who->tid == t->tid : t->tid == t->pid || !is_of_first_thread(rest);
}

int procfs_redirect(struct task *t, char path[PATH_MAX], struct proc_who *who)
{
	int pid, tid;
	const char *rest;

	*who = (struct proc_who){0};
	if (!parse_path(t, path, &pid, &tid, &rest))
		return 0;
	if (!find_peer(t, pid, tid,
		       who)) /* the host's are not there; ours and the first are refused where they are */
		return pid == getpid() || pid == FIRST_ORPHANS_PARENT || tid == gettid() ? 0 : -ENOENT;
	const char *dir = tid >= 0 ? "/proc/thread-self" : "/proc/self";
	if (is_own(t, who, rest))
		*who = (struct proc_who){0};
	size_t head = strlen(dir), length = strlen(rest);
	/* The directory itself, not the link that leads to it. */
	const char *tail = length ? "" : "/.";
	if (head + length + strlen(tail) + 1 > PATH_MAX)
		return -ENAMETOOLONG;
	memmove(path + head, rest, length + 1);
	memcpy(path, dir, head);
	strcat(path, tail);
	return 0;
}

bool procfs_is_stranger(const struct task *t, const struct proc_who *who)
{
	return who->serial && who->serial != t->process->serial;
}

/* --- what there is to tell ------------------------------------------------------------------- */

struct proc_view {
	struct task task;
	struct process process, parent;
	struct sighand *sighand;
};

/* Under sandbox->lock. What only its own thread may read is left out. */
static void copy_process(struct proc_view *v, const struct process *p)
{
	struct process *copy = &v->process;

	v->parent.pid = p->parent ? p->parent->pid : 0;
	copy->sandbox = p->sandbox;
	copy->pid = p->pid;
	copy->serial = p->serial;
	copy->pgid = p->pgid;
	copy->sid = p->sid;
	copy->tty = p->tty;
	copy->parent = &v->parent;
	copy->nr_threads = p->nr_threads;
	copy->pending.pending = p->pending.pending;
	copy->pending.nr_queued = p->pending.nr_queued;
	copy->stop_signal = p->stop_signal;
	copy->oom_score_adj = p->oom_score_adj;
	copy->start_ns = p->start_ns;
	memcpy(copy->rlimit, p->rlimit, sizeof(copy->rlimit));
}

/* Likewise. */
static void copy_task(struct proc_view *v, const struct task *from)
{
	struct task *copy = &v->task;

	copy->sandbox = from->sandbox;
	copy->process = &v->process;
	copy->pid = from->pid;
	copy->tid = from->tid;
	copy->host_tid = from->host_tid;
	copy->watched = from->running && vcpu_is_watched(from->vcpu);
	copy->cpu_more_ns = from->running ? task_more_cpu_ns(from) : 0;
	copy->aslr = from->aslr;
	copy->personality = from->personality;
	copy->nice = from->nice;
	copy->cred = from->cred;
	seccomp_share(&copy->seccomp, &from->seccomp);
	copy->sig.blocked = from->sig.blocked;
	copy->sig.queue.pending = from->sig.queue.pending;
	copy->sig.queue.nr_queued = from->sig.queue.nr_queued;
	memcpy(copy->comm, from->comm, sizeof(copy->comm));
	copy->mm = from->mm;
	mmget(copy->mm);
	copy->sighand = v->sighand = sighand_share(from->sighand);
}

/* Its thread and its space are gone. */
static void copy_zombie(struct proc_view *v, const struct process *p)
{
	const char *path = p->exe_path ? p->exe_path : "", *slash = strrchr(path, '/');

	v->task.cred.uid = (struct cred_ids){p->uid, p->uid, p->uid, p->uid};
	snprintf(v->task.comm, sizeof(v->task.comm), "%.*s", (int)sizeof(v->task.comm) - 1,
		 slash ? slash + 1 : path);
}

static struct task *find_task(struct sandbox *s, const struct process *p, int tid)
{
	if (tid)
		return task_find(s, tid);
	return process_is_zombie(p) ? NULL : list_entry(p->threads.next, struct task, thread_node);
}

struct task *procfs_subject(struct task *t, const struct proc_who *who, struct proc_view **view)
{
	struct sandbox *s = t->sandbox;

	*view = NULL;
	if (!who->serial)
		return t;
	struct proc_view *v = calloc(1, sizeof(*v));
	if (!v)
		return NULL;
	pthread_mutex_lock(&s->lock);
	const struct process *p = process_find_serial(s, who->serial);
	const struct task *from = p ? find_task(s, p, who->tid) : NULL;
	if (p)
		copy_process(v, p);
	if (from && !from->mm)
		from = NULL; /* on its way out: as good as a zombie */
	if (from)
		copy_task(v, from);
	else if (p)
		copy_zombie(v, p);
	pthread_mutex_unlock(&s->lock);
	if (!p || (!from && who->tid)) { /* nothing was taken */
		free(v);
		return NULL;
	}
	v->task.pid = v->process.pid;
	v->task.sandbox = s;
	v->task.files = t->files; /* nothing is told of the other's */
	v->task.fs = t->fs;
	v->task.process = &v->process;
	*view = v;
	return &v->task;
}

int64_t procfs_set(struct task *t, const struct proc_file *file, const struct proc_who *who, const char *text,
		   size_t bytes)
{
	struct sandbox *s = t->sandbox;
	int64_t ret = -ESRCH;

	pthread_mutex_lock(&s->lock);
	struct process *p = who->serial ? process_find_serial(s, who->serial) : t->process;
	struct task *of = !who->serial ? t : p ? find_task(s, p, who->tid) : NULL;
	if (p && (of || !who->tid))
		ret = file->set(t, p, of, text, bytes);
	pthread_mutex_unlock(&s->lock);
	return ret;
}

void procfs_subject_put(struct proc_view *view)
{
	if (!view)
		return;
	mmput(view->task.mm);
	sighand_release(view->sighand);
	seccomp_drop(&view->task.seccomp);
	free(view);
}
