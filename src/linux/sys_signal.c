/* SPDX-License-Identifier: MIT */
/*
 * sys_signal.c - the system calls about signals.
 */
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pidfd.h"
#include "sleep.h"
#include "syscall.h"

#define SIGSET_BYTES 8
#define SIGACTION_FLAGS                                                                                  \
	(SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | SA_RESTORER | SA_ONSTACK | SA_RESTART | SA_NODEFER | \
	 SA_RESETHAND)

struct user_stack {
	uint64_t sp;
	int32_t flags, padding;
	uint64_t bytes;
};

static bool signo_valid(uint64_t signo)
{
	return (int)signo >= 1 && (int)signo <= NR_SIGNALS;
}

/* --- actions and masks ----------------------------------------------------------------------- */

static int64_t sys_rt_sigaction(struct task *t, const uint64_t a[6])
{
	struct ksigaction new, old;
	int signo = (int)a[0];

	if (a[3] != SIGSET_BYTES)
		return -EINVAL;
	if (a[1] && copy_from_user(t->mm, &new, a[1], sizeof(new)))
		return -EFAULT;
	if (!signo_valid(a[0]) || (a[1] && (signo == SIGKILL || signo == SIGSTOP)))
		return -EINVAL;
	pthread_mutex_lock(&t->sandbox->lock);
	old = t->sighand->action[signo];
	pthread_mutex_unlock(&t->sandbox->lock);
	if (a[1]) {
		new.flags &= SIGACTION_FLAGS;
		new.mask &= ~(signal_bit(SIGKILL) | signal_bit(SIGSTOP));
		signal_set_action(t, signo, &new);
	}
	if (a[2] && copy_to_user(t->mm, a[2], &old, sizeof(old)))
		return -EFAULT;
	return 0;
}

static int64_t sys_rt_sigprocmask(struct task *t, const uint64_t a[6])
{
	uint64_t set, old = t->sig.blocked;

	if (a[3] != SIGSET_BYTES)
		return -EINVAL;
	if (a[1]) {
		if (copy_from_user(t->mm, &set, a[1], sizeof(set)))
			return -EFAULT;
		switch ((int)a[0]) {
		case SIG_BLOCK:
			signal_set_blocked(t, old | set);
			break;
		case SIG_UNBLOCK:
			signal_set_blocked(t, old & ~set);
			break;
		case SIG_SETMASK:
			signal_set_blocked(t, set);
			break;
		default:
			return -EINVAL;
		}
	}
	if (a[2] && copy_to_user(t->mm, a[2], &old, sizeof(old)))
		return -EFAULT;
	return 0;
}

static int64_t sys_rt_sigpending(struct task *t, const uint64_t a[6])
{
	uint64_t set = signal_pending(t) & t->sig.blocked;

	if (a[1] > SIGSET_BYTES)
		return -EINVAL;
	return copy_to_user(t->mm, a[0], &set, a[1]) ? -EFAULT : 0;
}

static int64_t sys_sigaltstack(struct task *t, const uint64_t a[6])
{
	const struct sigstate *s = &t->sig;
	struct user_stack new;
	struct user_stack old = {
		.sp = s->altstack_sp,
		.flags = (int32_t)(sigstate_altstack_state(s, t->regs.rsp) |
				   (s->altstack_flags & SS_AUTODISARM)),
		.bytes = s->altstack_bytes,
	};
	int err;

	if (a[0] && copy_from_user(t->mm, &new, a[0], sizeof(new)))
		return -EFAULT;
	err = a[0] ? signal_set_altstack(t, new.sp, new.bytes, (uint32_t) new.flags) : 0;
	if (err)
		return err;
	return a[1] && copy_to_user(t->mm, a[1], &old, sizeof(old)) ? -EFAULT : 0;
}

static int64_t sys_rt_sigreturn(struct task *t, const uint64_t a[6])
{
	(void)a;
	return signal_return(t);
}

/* --- waiting --------------------------------------------------------------------------------- */

/* Until a handler has run: what ends without one begins anew. */
static int64_t sleep_for_handler(struct task *t)
{
	t->restart = RESTART_NO_HANDLER;
	return sleep_until(t, CLOCK_MONOTONIC, NULL);
}

static int64_t sys_pause(struct task *t, const uint64_t a[6])
{
	(void)a;
	return sleep_for_handler(t);
}

static int64_t sys_rt_sigsuspend(struct task *t, const uint64_t a[6])
{
	uint64_t set;

	if (a[1] != SIGSET_BYTES)
		return -EINVAL;
	if (copy_from_user(t->mm, &set, a[0], sizeof(set)))
		return -EFAULT;
	t->sig.saved_mask = t->sig.blocked;
	t->sig.restore_mask = true;
	signal_set_blocked(t, set);
	return sleep_for_handler(t);
}

/* Waits for a signal of `set`; a blocked one wakes too, and so does any other that is not blocked. */
static int timed_dequeue(struct task *t, uint64_t set, const struct timespec *timeout, siginfo_t *info)
{
	uint64_t blocked = t->sig.blocked;
	struct timespec deadline;
	int signo = signal_dequeue(t, set, info);
	int err;

	if (signo || (timeout && !timeout->tv_sec && !timeout->tv_nsec))
		return signo ? signo : -EAGAIN;
	if (timeout)
		deadline = sleep_deadline(CLOCK_MONOTONIC, timeout);
	signal_set_waited(t, blocked & set);
	signal_set_blocked(t, blocked & ~set);
	err = sleep_until(t, CLOCK_MONOTONIC, timeout ? &deadline : NULL);
	signal_set_blocked(t, blocked);
	signal_set_waited(t, 0);
	signo = signal_dequeue(t, set, info);
	if (signo)
		return signo;
	return err ? err : -EAGAIN;
}

static int64_t sys_rt_sigtimedwait(struct task *t, const uint64_t a[6])
{
	struct timespec timeout;
	siginfo_t info;
	uint64_t set;
	int signo, err;

	if (a[3] != SIGSET_BYTES)
		return -EINVAL;
	if (copy_from_user(t->mm, &set, a[0], sizeof(set)))
		return -EFAULT;
	err = a[2] ? sleep_get_timespec(t, a[2], &timeout) : 0;
	if (err)
		return err;
	set &= ~(signal_bit(SIGKILL) | signal_bit(SIGSTOP));
	signo = timed_dequeue(t, set, a[2] ? &timeout : NULL, &info);
	if (signo > 0 && a[1] && copy_to_user(t->mm, a[1], &info, sizeof(info)))
		return -EFAULT;
	return signo;
}

/* --- sending --------------------------------------------------------------------------------- */

static siginfo_t sender_info(struct task *t, int code)
{
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	info.si_code = code;
	info.si_pid = t->pid;
	info.si_uid = t->cred.uid.real;
	return info;
}

/* A process of one's own session may always be continued. A zombie takes anything. */
static bool may_signal(struct task *t, struct process *p, int signo)
{
	return process_is_zombie(p) || p == t->process || (signo == SIGCONT && p->sid == t->process->sid) ||
	       cred_may_signal(&t->cred, &list_entry(p->threads.next, struct task, thread_node)->cred);
}

/* The lock is held. signo 0 only asks whether it could be. */
static int send_to(struct task *t, struct process *p, int signo, const siginfo_t *info)
{
	if (signo < 0 || signo > NR_SIGNALS)
		return -EINVAL;
	if (!may_signal(t, p, signo))
		return -EPERM;
	return signo ? signal_send_process(p, signo, info) : 0;
}

/* To all of a group, or (pgid 0) to all but the caller and its world's first. 0, -ESRCH, or an error when none worked. */
static int send_to_many(struct task *t, int pgid, int signo, const siginfo_t *info)
{
	struct process *p;
	int ret = -ESRCH;

	list_for_each_entry (p, &t->sandbox->processes, node) {
		if (pgid ? p->pgid != pgid : p == t->process || p == t->sandbox->first)
			continue;
		int err = send_to(t, p, signo, info);
		ret = ret && err ? err : 0;
	}
	return ret;
}

/* Process 1 ignores what it is sent by those who may. */
static int64_t kill_init(struct task *t, int signo)
{
	if (signo < 0 || signo > NR_SIGNALS)
		return -EINVAL;
	return cred_capable(&t->cred, CAP_KILL) ? 0 : -EPERM;
}

static int64_t kill_locked(struct task *t, int pid, int signo, const siginfo_t *info)
{
	struct process *p;
	struct task *thread;

	if (pid == -1)
		return send_to_many(t, 0, signo, info);
	if (pid <= 0)
		return send_to_many(t, pid ? -pid : t->process->pgid, signo, info);
	p = process_find(t->sandbox, pid);
	thread = p ? NULL : task_find(t->sandbox, pid);
	if (thread)
		p = thread->process;
	if (!p && pid == FIRST_ORPHANS_PARENT)
		return kill_init(t, signo);
	return p ? send_to(t, p, signo, info) : -ESRCH;
}

static int64_t sys_kill(struct task *t, const uint64_t a[6])
{
	const siginfo_t info = sender_info(t, SI_USER);
	int pid = (int)a[0], signo = (int)a[1];
	int64_t ret;

	if (pid == INT32_MIN)
		return -ESRCH;
	pthread_mutex_lock(&t->sandbox->lock);
	ret = kill_locked(t, pid, signo, &info);
	pthread_mutex_unlock(&t->sandbox->lock);
	return ret;
}

/* tgid 0: of any process. */
static int64_t send_to_task(struct task *t, int tgid, int tid, int signo, const siginfo_t *info)
{
	struct task *to;
	int64_t ret = 0;

	pthread_mutex_lock(&t->sandbox->lock);
	to = task_find(t->sandbox, tid);
	if (!to || (tgid && to->pid != tgid))
		ret = -ESRCH;
	else if (signo < 0 || signo > NR_SIGNALS)
		ret = -EINVAL;
	else if (!may_signal(t, to->process, signo))
		ret = -EPERM;
	else if (signo)
		ret = signal_send_locked(to, signo, info);
	pthread_mutex_unlock(&t->sandbox->lock);
	return ret;
}

static int64_t sys_tkill(struct task *t, const uint64_t a[6])
{
	const siginfo_t info = sender_info(t, SI_TKILL);

	if ((int)a[0] <= 0)
		return -EINVAL;
	return send_to_task(t, 0, (int)a[0], (int)a[1], &info);
}

static int64_t sys_tgkill(struct task *t, const uint64_t a[6])
{
	const siginfo_t info = sender_info(t, SI_TKILL);

	if ((int)a[0] <= 0 || (int)a[1] <= 0)
		return -EINVAL;
	return send_to_task(t, (int)a[0], (int)a[1], (int)a[2], &info);
}

/* To itself a process may claim any origin; towards others only what a user can have sent. */
static bool may_claim(const siginfo_t *info, bool self)
{
	return self || (info->si_code < 0 && info->si_code != SI_TKILL);
}

static int64_t sys_rt_sigqueueinfo(struct task *t, const uint64_t a[6])
{
	int pid = (int)a[0], signo = (int)a[1];
	struct process *p;
	siginfo_t info;
	int64_t ret;

	if (copy_from_user(t->mm, &info, a[2], sizeof(info)))
		return -EFAULT;
	if (!may_claim(&info, pid == t->pid))
		return -EPERM;
	pthread_mutex_lock(&t->sandbox->lock);
	p = process_find(t->sandbox, pid);
	if (!p)
		ret = -ESRCH;
	else if (signo < 0 || signo > NR_SIGNALS)
		ret = -EINVAL;
	else
		ret = send_to(t, p, signo, &info);
	pthread_mutex_unlock(&t->sandbox->lock);
	return ret;
}

static int64_t sys_rt_tgsigqueueinfo(struct task *t, const uint64_t a[6])
{
	int tgid = (int)a[0], tid = (int)a[1];
	siginfo_t info;

	if (tgid <= 0 || tid <= 0)
		return -EINVAL;
	if (copy_from_user(t->mm, &info, a[3], sizeof(info)))
		return -EFAULT;
	if (!may_claim(&info, tgid == t->pid))
		return -EPERM;
	return send_to_task(t, tgid, tid, (int)a[2], &info);
}

/* Without siginfo as kill(2), to whoever the descriptor stands for. */
/* PIDFD_SIGNAL_THREAD, _THREAD_GROUP, _PROCESS_GROUP (Linux 6.9). A pidfd of ours is one of a process. */
#define SIGNAL_SCOPES 7u
#define SIGNAL_GROUP  4u

/* The directory of a process in /proc stands for it as well. */
static struct process *pidfd_or_directory(struct task *t, int guest_fd, int *err)
{
	const struct guest_file *file = files_get_open(t->files, guest_fd);
	struct process *p;

	if (!file || file->proc.kind != PROC_DIR || file->proc.thread)
		return pidfd_process(t, guest_fd, err);
	p = file->proc.who.serial ? process_find_serial(t->sandbox, file->proc.who.serial) : t->process;
	*err = p ? 0 : -ESRCH;
	return p;
}

static int64_t sys_pidfd_send_signal(struct task *t, const uint64_t a[6])
{
	siginfo_t info = sender_info(t, SI_USER);
	int signo = (int)a[1], err;
	struct process *p;

	if (a[3] & ~(uint64_t)SIGNAL_SCOPES || a[3] & (a[3] - 1))
		return -EINVAL;
	if (!files_get_open(t->files, (int)a[0]))
		return -EBADF;
	if (a[2] && copy_from_user(t->mm, &info, a[2], sizeof(info)))
		return -EFAULT;
	if (a[2] && info.si_signo != signo)
		return -EINVAL;
	pthread_mutex_lock(&t->sandbox->lock);
	p = pidfd_or_directory(t, (int)a[0], &err);
	if (p && a[2] && !may_claim(&info, p == t->process))
		err = -EPERM;
	else if (p && (signo < 0 || signo > NR_SIGNALS))
		err = -EINVAL;
	else if (p)
		err = process_is_zombie(p)  ? -ESRCH
		      : a[3] & SIGNAL_GROUP ? send_to_many(t, p->pgid, signo, &info)
					    : send_to(t, p, signo, &info);
	pthread_mutex_unlock(&t->sandbox->lock);
	return err;
}

/* What a task is sent to after a call that had to stop in the middle of its time; nobody else has use for it. */
static int64_t sys_restart_syscall(struct task *t, const uint64_t a[6])
{
	const struct restart_block b = t->restart_block;

	(void)a;
	t->restart_block.fn = NULL;
	return b.fn ? b.fn(t, &b) : -EINTR;
}

const struct syscall_entry sys_signal_calls[] = {
	SYSCALL_ENTRY(rt_sigaction),
	SYSCALL_ENTRY(rt_sigprocmask),
	SYSCALL_ENTRY(rt_sigpending),
	SYSCALL_ENTRY(rt_sigsuspend),
	SYSCALL_ENTRY(rt_sigtimedwait),
	SYSCALL_ENTRY(rt_sigreturn),
	SYSCALL_ENTRY(sigaltstack),
	SYSCALL_ENTRY(pause),
	SYSCALL_ENTRY(kill),
	SYSCALL_ENTRY(tkill),
	SYSCALL_ENTRY(tgkill),
	SYSCALL_ENTRY(rt_sigqueueinfo),
	SYSCALL_ENTRY(rt_tgsigqueueinfo),
	SYSCALL_ENTRY(pidfd_send_signal),
	SYSCALL_ENTRY(restart_syscall),
	{0},
};
