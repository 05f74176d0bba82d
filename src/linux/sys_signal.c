/* SPDX-License-Identifier: MIT */
/*
 * sys_signal.c - the system calls about signals. A guest is one process with one thread: it can only signal
 * itself.
 */
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sleep.h"
#include "syscall.h"

#define SIGSET_BYTES 8
#define SIGACTION_FLAGS                                                                                  \
	(SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | SA_RESTORER | SA_ONSTACK | SA_RESTART | SA_NODEFER | \
	 SA_RESETHAND)
#define ACTION_IGN ((uint64_t)1)

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

static void action_set(struct task *t, int signo, const struct ksigaction *new)
{
	struct ksigaction *ka = &t->sig.action[signo];

	*ka = *new;
	ka->flags &= SIGACTION_FLAGS;
	ka->mask &= ~(signal_bit(SIGKILL) | signal_bit(SIGSTOP));
	if (ka->handler == ACTION_IGN || (!ka->handler && signal_default_ignored(signo)))
		signal_flush(t, signal_bit(signo));
}

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
	old = t->sig.action[signo];
	if (a[1])
		action_set(t, signo, &new);
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
	uint64_t set = t->sig.pending & t->sig.blocked;

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

static int64_t sys_pause(struct task *t, const uint64_t a[6])
{
	(void)a;
	return sleep_until(t, CLOCK_MONOTONIC, NULL);
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
	return sleep_until(t, CLOCK_MONOTONIC, NULL);
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
	signal_set_blocked(t, blocked & ~set);
	err = sleep_until(t, CLOCK_MONOTONIC, timeout ? &deadline : NULL);
	signal_set_blocked(t, blocked);
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

static int64_t send_self(struct task *t, int signo, int code)
{
	siginfo_t info;

	if (signo < 0 || signo > NR_SIGNALS)
		return -EINVAL;
	if (!signo)
		return 0;
	memset(&info, 0, sizeof(info));
	info.si_code = code;
	info.si_pid = t->pid;
	info.si_uid = getuid();
	return signal_send(t, signo, &info);
}

/* Itself and its group, which has no other member; -1 means all others, and there are none. */
static int64_t sys_kill(struct task *t, const uint64_t a[6])
{
	int pid = (int)a[0];

	if (pid != t->pid && pid != 0 && pid != -t->pid)
		return -ESRCH;
	return send_self(t, (int)a[1], SI_USER);
}

static int64_t sys_tkill(struct task *t, const uint64_t a[6])
{
	int tid = (int)a[0];

	if (tid <= 0)
		return -EINVAL;
	return tid == t->pid ? send_self(t, (int)a[1], SI_TKILL) : -ESRCH;
}

static int64_t sys_tgkill(struct task *t, const uint64_t a[6])
{
	int tgid = (int)a[0], tid = (int)a[1];

	if (tgid <= 0 || tid <= 0)
		return -EINVAL;
	return tgid == t->pid && tid == t->pid ? send_self(t, (int)a[2], SI_TKILL) : -ESRCH;
}

/* To itself a task may claim any origin; towards others only what a user can have sent. */
static int64_t queue_info(struct task *t, bool self, int signo, gva_t from)
{
	siginfo_t info;

	if (copy_from_user(t->mm, &info, from, sizeof(info)))
		return -EFAULT;
	if (!self)
		return info.si_code >= 0 || info.si_code == SI_TKILL ? -EPERM : -ESRCH;
	if (signo < 0 || signo > NR_SIGNALS)
		return -EINVAL;
	return signo ? signal_send(t, signo, &info) : 0;
}

static int64_t sys_rt_sigqueueinfo(struct task *t, const uint64_t a[6])
{
	return queue_info(t, (int)a[0] == t->pid, (int)a[1], a[2]);
}

static int64_t sys_rt_tgsigqueueinfo(struct task *t, const uint64_t a[6])
{
	int tgid = (int)a[0], tid = (int)a[1];

	if (tgid <= 0 || tid <= 0)
		return -EINVAL;
	return queue_info(t, tgid == t->pid && tid == t->pid, (int)a[2], a[3]);
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
	{0},
};
