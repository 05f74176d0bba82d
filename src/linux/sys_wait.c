/* SPDX-License-Identifier: MIT */
/*
 * sys_wait.c - wait4, waitid, and descriptors of processes.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host_wait.h"
#include "pidfd.h"
#include "sleep.h"
#include "syscall.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif
#ifndef PIDFD_NONBLOCK
#define PIDFD_NONBLOCK O_NONBLOCK
#endif
#define CORE_BIT 0x80

/* One wait: whom for, and what was found. */
struct wait {
	struct task *t;
	idtype_t type;
	int id;
	uint64_t serial; /* P_PIDFD */
	int options;
	/* Found: */
	int pid, code, status; /* code: CLD_ */
	uint32_t uid;	       /* the real one */
	int exit_code;	       /* as wait4 tells it */
	struct rusage usage;
	bool any; /* there is a child that could be waited for */
};

static bool is_meant(const struct wait *w, const struct process *p)
{
	bool cloned = p->exit_signal != SIGCHLD;

	if (!(w->options & __WALL) && cloned != !!(w->options & __WCLONE))
		return false;
	switch (w->type) {
	case P_PID:
		return p->pid == w->id;
	case P_PGID:
		return p->pgid == w->id;
	case (idtype_t)P_PIDFD:
		return p->serial == w->serial;
	default:
		return true;
	}
}

static void found(struct wait *w, struct process *p, int code, int status)
{
	w->pid = p->pid;
	w->uid = process_uid(p);
	w->code = code;
	w->status = status;
	process_usage(p, &w->usage);
	rusage_add(&w->usage, &p->children_usage);
}

static bool take_exit(struct wait *w, struct process *p)
{
	int signal = p->exit_code & 0x7f;

	if (!process_has_ended(p) || !(w->options & WEXITED))
		return false;
	found(w, p, signal ? p->exit_code & CORE_BIT ? CLD_DUMPED : CLD_KILLED : CLD_EXITED,
	      signal ? signal : p->exit_code >> 8 & 0xff);
	w->exit_code = p->exit_code;
	if (!(w->options & WNOWAIT))
		process_reap(p);
	return true;
}

static bool take_stop(struct wait *w, struct process *p)
{
	if (!(w->options & WSTOPPED) || !p->stop_signal || p->stop_told || process_is_zombie(p))
		return false;
	found(w, p, CLD_STOPPED, p->stop_signal);
	w->exit_code = p->stop_signal << 8 | 0x7f;
	p->stop_told = !(w->options & WNOWAIT);
	return true;
}

static bool take_continuation(struct wait *w, struct process *p)
{
	if (!(w->options & WCONTINUED) || p->cont_told || p->stop_signal || process_is_zombie(p))
		return false;
	found(w, p, CLD_CONTINUED, SIGCONT);
	w->exit_code = 0xffff;
	p->cont_told = !(w->options & WNOWAIT);
	return true;
}

/* The lock is held. True when something was found, or nobody is there. */
static bool scan(struct wait *w)
{
	struct process *p;

	w->any = false;
	list_for_each_entry (p, &w->t->process->children, sibling) {
		if (!is_meant(w, p))
			continue;
		w->any = true;
		if (take_exit(w, p) || take_stop(w, p) || take_continuation(w, p))
			return true;
	}
	return !w->any;
}

static bool wait_is_over(void *ctx)
{
	struct wait *w = ctx;
	bool over;

	pthread_mutex_lock(&w->t->sandbox->lock);
	over = scan(w);
	pthread_mutex_unlock(&w->t->sandbox->lock);
	return over;
}

/* 1: found; 0: nothing yet (WNOHANG); or -errno. */
static int do_wait(struct wait *w)
{
	bool over = wait_is_over(w);

	if (!over && !(w->options & WNOHANG)) {
		int err = sleep_for(w->t, &(struct sleep){.done = wait_is_over, .ctx = w});
		if (err)
			return (int)host_wait_interrupted(w->t);
	}
	return !w->any ? -ECHILD : w->pid ? 1 : 0;
}

static int64_t sys_wait4(struct task *t, const uint64_t a[6])
{
	struct wait w = {.t = t, .id = (int)a[0], .options = (int)a[2] | WEXITED};
	int ret, status;

	if ((int)a[2] & ~(WNOHANG | WUNTRACED | WCONTINUED | __WNOTHREAD | __WCLONE | __WALL))
		return -EINVAL;
	if ((int)a[0] == INT32_MIN)
		return -ESRCH;
	w.type = w.id == -1 ? P_ALL : w.id > 0 ? P_PID : P_PGID;
	if (w.id == 0)
		w.id = t->process->pgid;
	else if (w.id < -1)
		w.id = -w.id;
	ret = do_wait(&w);
	if (ret <= 0)
		return ret;
	status = w.exit_code;
	if (a[1] && copy_to_user(t->mm, a[1], &status, sizeof(status)))
		return -EFAULT;
	if (a[3] && copy_to_user(t->mm, a[3], &w.usage, sizeof(w.usage)))
		return -EFAULT;
	return w.pid;
}

/* Whom waitid means. 0 or -errno. */
static int whom(struct wait *w, uint64_t type, uint64_t id)
{
	struct process *p;
	int err = 0;

	w->type = (idtype_t)(int)type;
	w->id = (int)id;
	switch ((int)type) {
	case P_ALL:
		return 0;
	case P_PID:
		return w->id <= 0 ? -EINVAL : 0;
	case P_PGID:
		if (!w->id)
			w->id = w->t->process->pgid;
		return w->id < 0 ? -EINVAL : 0;
	case P_PIDFD:
		if (w->id < 0)
			return -EINVAL;
		pthread_mutex_lock(&w->t->sandbox->lock);
		p = pidfd_process(w->t, w->id, &err);
		w->serial = p ? p->serial : 0;
		pthread_mutex_unlock(&w->t->sandbox->lock);
		return err == -ESRCH ? -ECHILD : err;
	default:
		return -EINVAL;
	}
}

/* The kernel stores these six fields alone, and zeros where there is nothing to tell or the call fails. */
static int64_t put_info(struct task *t, gva_t to, const siginfo_t *info)
{
	if (to && (copy_to_user(t->mm, to, info, 3 * sizeof(int)) ||
		   copy_to_user(t->mm, to + offsetof(siginfo_t, si_pid), &info->si_pid, 3 * sizeof(int))))
		return -EFAULT;
	return 0;
}

static int wait_by_id(struct wait *w, uint64_t which, uint64_t id)
{
	int ret;

	if (w->options & ~(WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | __WNOTHREAD | __WCLONE |
			   __WALL) ||
	    !(w->options & (WEXITED | WSTOPPED | WCONTINUED)))
		return -EINVAL;
	ret = whom(w, which, id);
	return ret ? ret : do_wait(w);
}

static int64_t sys_waitid(struct task *t, const uint64_t a[6])
{
	struct wait w = {.t = t, .options = (int)a[3]};
	siginfo_t info;
	int64_t err;
	int ret = wait_by_id(&w, a[0], a[1]);

	memset(&info, 0, sizeof(info));
	if (ret > 0) {
		info.si_signo = SIGCHLD;
		info.si_code = w.code;
		info.si_pid = w.pid;
		info.si_uid = w.uid;
		info.si_status = w.status;
		if (a[4] && copy_to_user(t->mm, a[4], &w.usage, sizeof(w.usage)))
			return -EFAULT;
	}
	/* A call that is to run again stores nothing. */
	err = ret == -EINTR ? 0 : put_info(t, a[2], &info);
	return err ? err : ret < 0 ? ret : 0;
}

/* --- descriptors of processes --------------------------------------------------------------- */

int pidfd_install(struct task *t, struct process *p)
{
	int fd = -1;

	if (p->exit_event < 0)
		p->exit_event = eventfd(p->pid && process_has_ended(p), EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->exit_event >= 0)
		fd = fcntl(p->exit_event, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -EMFILE;
	return files_install(t->files, fd, true, 0, &(struct guest_file){.process_serial = p->serial});
}

struct process *pidfd_process(struct task *t, int guest_fd, int *err)
{
	const struct guest_file *file = files_get(t->files, guest_fd);
	struct process *p = NULL;

	*err = -EBADF;
	if (!file || !file->process_serial)
		return NULL;
	*err = -ESRCH;
	p = process_find_serial(t->sandbox, file->process_serial);
	if (p)
		*err = 0;
	return p;
}

static int64_t sys_pidfd_open(struct task *t, const uint64_t a[6])
{
	struct process *p;
	int64_t ret;
	int pid = (int)a[0];

	if (((unsigned int)a[1] & ~(unsigned int)PIDFD_NONBLOCK) || pid <= 0)
		return -EINVAL;
	pthread_mutex_lock(&t->sandbox->lock);
	p = process_find(t->sandbox, pid);
	if (p)
		ret = pidfd_install(t, p);
	else
		ret = task_find(t->sandbox, pid) ? -EINVAL : -ESRCH;
	pthread_mutex_unlock(&t->sandbox->lock);
	return ret;
}

/* A copy of what a process of the same user has open. The lock is held. */
static int64_t get_fd(struct task *t, struct process *p, int guest_fd)
{
	struct guest_file *file;
	struct task *of;
	int host_fd;

	if (list_empty(&p->threads))
		return -ESRCH;
	of = list_entry(p->threads.next, struct task, thread_node);
	if (of->cred.uid.real != t->cred.uid.effective && of != t)
		return -EPERM;
	file = of->files ? files_get(of->files, guest_fd) : NULL;
	if (!file)
		return -EBADF;
	host_fd = fcntl(file->host_fd, F_DUPFD_CLOEXEC, 0);
	return host_fd < 0 ? -EMFILE : files_install(t->files, host_fd, true, 0, file);
}

static int64_t sys_pidfd_getfd(struct task *t, const uint64_t a[6])
{
	struct process *p;
	int64_t ret;
	int err;

	if ((unsigned int)a[2])
		return -EINVAL;
	pthread_mutex_lock(&t->sandbox->lock);
	p = pidfd_process(t, (int)a[0], &err);
	ret = p ? get_fd(t, p, (int)a[1]) : err;
	pthread_mutex_unlock(&t->sandbox->lock);
	return ret;
}

const struct syscall_entry sys_wait_calls[] = {
	SYSCALL_ENTRY(pidfd_getfd),
	SYSCALL_ENTRY(wait4),
	SYSCALL_ENTRY(waitid),
	SYSCALL_ENTRY(pidfd_open),
	{0},
};
