/* SPDX-License-Identifier: MIT */
/* notice.c - see notice.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "../mm/quiet_thread.h"
#include "futex.h"
#include "notice.h"
#include "task.h"

#define THREAD_STACK_BYTES (64ul << 10)

/* Whom to tell, read while the file cannot go. */
struct telling {
	int owner_type, owner, signo, guest_fd;
	siginfo_t host;
};

/* --- to the owner ---------------------------------------------------------------------------------------------------- */

/* As Linux's send_sigio: signals whose codes mean something else say so. */
static siginfo_t info_of(const struct telling *what)
{
	siginfo_t info = {.si_signo = what->signo, .si_code = what->host.si_code};

	switch (what->signo) {
	case SIGILL:
	case SIGFPE:
	case SIGSEGV:
	case SIGBUS:
	case SIGTRAP:
	case SIGCHLD:
	case SIGSYS:
		info.si_code = SI_SIGIO;
		break;
	default:
		break;
	}
	info.si_fd = what->guest_fd;
	info.si_band = what->host.si_band;
	return info;
}

static void tell_group(struct sandbox *s, int pgid, int signo, const siginfo_t *info)
{
	struct process *p;

	list_for_each_entry (p, &s->processes, node)
		if (p->pgid == pgid)
			signal_send_process(p, signo, info);
}

/* Without a signal of its own it is SIGIO, from the kernel. */
static void tell(struct sandbox *s, const struct telling *what)
{
	const siginfo_t plain = {.si_signo = SIGIO, .si_code = SI_KERNEL};
	siginfo_t info = what->signo ? info_of(what) : plain;
	struct process *p;
	struct task *to;

	pthread_mutex_lock(&s->lock);
	p = what->owner_type == F_OWNER_PID ? process_find(s, what->owner) : NULL;
	to = what->owner_type == F_OWNER_TID ? task_find(s, what->owner) : NULL;
	if (what->owner_type == F_OWNER_PGRP)
		tell_group(s, what->owner, info.si_signo, &info);
	/* A real-time signal that finds the queue full is told as SIGIO. */
	else if (to && signal_send_locked(to, info.si_signo, &info))
		signal_send_locked(to, SIGIO, &plain);
	else if (p && signal_send_process(p, info.si_signo, &info))
		signal_send_process(p, SIGIO, &plain);
	pthread_mutex_unlock(&s->lock);
}

/* False: nobody is to be told of that descriptor. */
static bool look_up(struct notices *n, int host_fd, struct telling *what)
{
	struct notice *notice;
	bool found = false;

	pthread_mutex_lock(&n->lock);
	list_for_each_entry (notice, &n->files, node) {
		if (notice->host_fd != host_fd)
			continue;
		what->owner_type = atomic_load(&notice->file->owner_type);
		what->owner = atomic_load(&notice->file->owner);
		what->signo = atomic_load(&notice->file->signo);
		what->guest_fd = notice->guest_fd;
		found = what->owner;
		break;
	}
	pthread_mutex_unlock(&n->lock);
	return found;
}

static void *notices_main(void *arg)
{
	struct sandbox *s = arg;
	struct notices *n = &s->notices;
	struct telling what;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, NOTICE_SIGNAL);
	atomic_store(&n->tid, (uint32_t)gettid());
	futex_host_wake(&n->tid, 1);
	while (!atomic_load(&n->stop))
		if (sigwaitinfo(&set, &what.host) > 0 && what.host.si_code > 0 &&
		    look_up(n, what.host.si_fd, &what))
			tell(s, &what);
	return NULL;
}

/* --- the list -------------------------------------------------------------------------------------------------------- */

void notices_init(struct notices *n)
{
	pthread_mutex_init(&n->lock, NULL);
	list_init(&n->files);
}

void notices_destroy(struct notices *n)
{
	if (n->running) {
		atomic_store(&n->stop, true);
		pthread_kill(n->thread, NOTICE_SIGNAL);
		pthread_join(n->thread, NULL);
	}
	pthread_mutex_destroy(&n->lock);
}

/* The lock is held. 0 or -EAGAIN. */
static int start(struct sandbox *s)
{
	struct notices *n = &s->notices;

	if (n->running)
		return 0;
	if (quiet_thread_create(&n->thread, THREAD_STACK_BYTES, 0, notices_main, s))
		return -EAGAIN;
	n->running = true;
	while (!atomic_load(&n->tid))
		futex_host_wait(&n->tid, 0, NULL);
	return 0;
}

/* A lease and F_NOTIFY leave an owner that is there as it is. */
static void own(const struct notice *notice)
{
	struct f_owner_ex owner = {.type = F_OWNER_TID, .pid = (pid_t)atomic_load(&notice->notices->tid)};

	fcntl(notice->host_fd, F_SETSIG, NOTICE_SIGNAL);
	fcntl(notice->host_fd, F_SETOWN_EX, &owner);
}

/* The lock is held. */
static int add(struct notices *n, struct guest_file *file)
{
	struct notice *notice = file->notice;

	if (notice)
		return 0;
	notice = calloc(1, sizeof(*notice));
	if (!notice)
		return -ENOMEM;
	*notice = (struct notice){.notices = n, .file = file, .host_fd = file->host_fd};
	list_add_tail(&notice->node, &n->files);
	file->notice = notice;
	return 0;
}

int notice_arm(struct task *t, struct guest_file *file, int guest_fd)
{
	struct notices *n = &t->sandbox->notices;
	int err;

	if (!file->owned)
		return -EINVAL;
	pthread_mutex_lock(&n->lock);
	err = start(t->sandbox);
	if (!err)
		err = add(n, file);
	if (!err)
		file->notice->guest_fd = guest_fd;
	pthread_mutex_unlock(&n->lock);
	if (!err)
		own(file->notice);
	return err;
}

void notice_drop(struct notice *notice)
{
	if (!notice)
		return;
	pthread_mutex_lock(&notice->notices->lock);
	list_del(&notice->node);
	pthread_mutex_unlock(&notice->notices->lock);
	free(notice);
}
