/* SPDX-License-Identifier: MIT */
/*
 * signal.c - see signal.h.
 *
 *   S1  bit n-1 of pending is set exactly when an instance of signal n is in queue[]
 *   S2  a standard signal is queued at most once; real-time ones queue in order, RT_QUEUE_MAX in all
 *   S3  SIGKILL and SIGSTOP are never blocked and always have the default action
 * A task is one process with one thread, so there is one queue. Stopping is not there: no other process of
 * the guest could continue it, so the stop signals are ignored by default, SIGSTOP always.
 * Not here: the layout of a handler's frame (sigframe.c).
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "report.h"
#include "sigframe.h"
#include "task.h"

#define MASK(signo) (1ull << ((signo)-1))
#define UNBLOCKABLE (MASK(SIGKILL) | MASK(SIGSTOP))
#define SYNCHRONOUS \
	(MASK(SIGSEGV) | MASK(SIGBUS) | MASK(SIGILL) | MASK(SIGTRAP) | MASK(SIGFPE) | MASK(SIGSYS))
#define STOPS	       (MASK(SIGSTOP) | MASK(SIGTSTP) | MASK(SIGTTIN) | MASK(SIGTTOU))
#define IGNORED	       (MASK(SIGCHLD) | MASK(SIGCONT) | MASK(SIGURG) | MASK(SIGWINCH) | STOPS)
#define REALTIME       (~0ull << 31)
#define MIN_SIGSTACK   2048
#define SYSCALL_BYTES  2
#define VECTOR_PF      14
#define VECTOR_AC      17
#define HANDLER_DFL    ((uint64_t)0)
#define HANDLER_IGN    ((uint64_t)1)
#define SI_CODE_KERNEL 0x80

void sigstate_init(struct sigstate *s)
{
	memset(s, 0, sizeof(*s));
}

bool signal_default_ignored(int signo)
{
	return IGNORED & MASK(signo);
}

void signal_set_blocked(struct task *t, uint64_t mask)
{
	t->sig.blocked = mask & ~UNBLOCKABLE;
}

/* --- the alternate stack --------------------------------------------------------------------- */

uint32_t sigstate_altstack_state(const struct sigstate *s, uint64_t sp)
{
	if (!s->altstack_bytes)
		return SS_DISABLE;
	if (s->altstack_flags & SS_AUTODISARM)
		return 0;
	return sp > s->altstack_sp && sp - s->altstack_sp <= s->altstack_bytes ? SS_ONSTACK : 0;
}

int signal_set_altstack(struct task *t, uint64_t sp, uint64_t bytes, uint32_t flags)
{
	struct sigstate *s = &t->sig;
	uint32_t mode = flags & ~SS_AUTODISARM;

	if (sigstate_altstack_state(s, t->regs.rsp) == SS_ONSTACK)
		return -EPERM;
	if (mode != SS_DISABLE && mode != SS_ONSTACK && mode != 0)
		return -EINVAL;
	if (mode == SS_DISABLE)
		sp = bytes = 0;
	else if (bytes < MIN_SIGSTACK)
		return -ENOMEM;
	s->altstack_sp = sp;
	s->altstack_bytes = bytes;
	s->altstack_flags = flags;
	return 0;
}

/* --- the queue ------------------------------------------------------------------------------- */

static bool is_ignored(const struct sigstate *s, int signo)
{
	uint64_t handler = s->action[signo].handler;

	/* A blocked one is kept: its action may have changed by the time it is unblocked. */
	if (s->blocked & MASK(signo))
		return false;
	return handler == HANDLER_IGN || (handler == HANDLER_DFL && signal_default_ignored(signo));
}

static unsigned int nr_queued_realtime(const struct sigstate *s)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < s->nr_queued; i++)
		n += s->queue[i].si_signo > 31;
	return n;
}

int signal_send(struct task *t, int signo, const siginfo_t *info)
{
	struct sigstate *s = &t->sig;
	siginfo_t *slot;

	if (is_ignored(s, signo) || (s->pending & MASK(signo) & ~REALTIME))
		return 0;
	if ((MASK(signo) & REALTIME) && nr_queued_realtime(s) == RT_QUEUE_MAX)
		return -EAGAIN;
	slot = &s->queue[s->nr_queued++];
	memset(slot, 0, sizeof(*slot));
	if (info)
		*slot = *info;
	slot->si_signo = signo;
	if (!info) {
		slot->si_pid = t->pid;
		slot->si_uid = getuid();
	}
	s->pending |= MASK(signo);
	return 0;
}

/* Removes queue[i]; the others keep their order. */
static void queue_remove(struct sigstate *s, unsigned int i)
{
	int signo = s->queue[i].si_signo;

	s->nr_queued--;
	memmove(&s->queue[i], &s->queue[i + 1], (s->nr_queued - i) * sizeof(s->queue[0]));
	s->pending &= ~MASK(signo);
	for (i = 0; i < s->nr_queued; i++)
		if (s->queue[i].si_signo == signo)
			s->pending |= MASK(signo);
}

/* Faults that were sent come first, then the lowest number. */
static int next_signal(const struct sigstate *s, uint64_t set)
{
	uint64_t ready = s->pending & set;

	if (ready & SYNCHRONOUS)
		ready &= SYNCHRONOUS;
	return ready ? __builtin_ctzll(ready) + 1 : 0;
}

int signal_dequeue(struct task *t, uint64_t set, siginfo_t *info)
{
	struct sigstate *s = &t->sig;
	int signo = next_signal(s, set);

	if (!signo)
		return 0;
	for (unsigned int i = 0; i < s->nr_queued; i++) {
		if (s->queue[i].si_signo != signo)
			continue;
		*info = s->queue[i];
		queue_remove(s, i);
		break;
	}
	return signo;
}

void signal_flush(struct task *t, uint64_t set)
{
	struct sigstate *s = &t->sig;

	for (unsigned int i = 0; i < s->nr_queued;) {
		if (MASK(s->queue[i].si_signo) & set)
			queue_remove(s, i);
		else
			i++;
	}
}

/* --- delivery -------------------------------------------------------------------------------- */

/* The end by the task's own fault. */
static void die(struct task *t, int signo, int code, const struct fault_context *fc)
{
	report_death(t, signo, code, fc);
	task_die(t, signo);
}

/* The instruction behind which the task stands is SYSCALL: back to it. */
static void restart_call(struct task *t)
{
	t->restart_syscall = false;
	t->regs.rip -= SYSCALL_BYTES;
	t->regs.rax = t->syscall_nr;
}

/* Pushes the frame of a handler. 0, or -EFAULT when the stack cannot take it. */
static int handler_enter(struct task *t, const siginfo_t *info, const struct fault_context *fc)
{
	struct sigstate *s = &t->sig;
	const struct ksigaction ka = s->action[info->si_signo];
	int err;

	if (ka.flags & SA_RESETHAND)
		s->action[info->si_signo].handler = HANDLER_DFL;
	if (t->restart_syscall && (ka.flags & SA_RESTART))
		restart_call(t);
	t->restart_syscall = false;
	err = sigframe_push(t, &ka, info, s->restore_mask ? s->saved_mask : s->blocked, fc);
	if (err)
		return err;
	s->restore_mask = false;
	signal_set_blocked(t, s->blocked | ka.mask | (ka.flags & SA_NODEFER ? 0 : MASK(info->si_signo)));
	if (s->altstack_flags & SS_AUTODISARM) {
		s->altstack_sp = s->altstack_bytes = 0;
		s->altstack_flags = SS_DISABLE;
	}
	return 0;
}

static void siginfo_fault(struct task *t, siginfo_t *info, int signo, int code,
			  const struct fault_context *fc)
{
	memset(info, 0, sizeof(*info));
	info->si_signo = signo;
	info->si_code = code;
	if (code == SI_CODE_KERNEL || fc->trapno == VECTOR_AC)
		return;
	/* Beside page faults the address that counts is the instruction's. */
	uint64_t address = fc->trapno == VECTOR_PF ? fc->address : t->regs.rip;
	memcpy(&info->si_addr, &address, sizeof(address));
}

/* True when a handler took it; otherwise the task is dead. */
static bool try_force(struct task *t, const siginfo_t *info, const struct fault_context *fc)
{
	struct ksigaction *ka = &t->sig.action[info->si_signo];

	if ((t->sig.blocked & MASK(info->si_signo)) || ka->handler == HANDLER_IGN)
		ka->handler = HANDLER_DFL;
	return ka->handler != HANDLER_DFL && !handler_enter(t, info, fc);
}

void signal_force(struct task *t, int signo, int code, const struct fault_context *fc)
{
	siginfo_t info;

	siginfo_fault(t, &info, signo, code, fc);
	if (try_force(t, &info, fc))
		return;
	/* A handler without a usable stack becomes SIGSEGV, whose own handler may have one. */
	if (signo != SIGSEGV && t->sig.action[signo].handler != HANDLER_DFL) {
		siginfo_fault(t, &info, SIGSEGV, SI_CODE_KERNEL, fc);
		if (try_force(t, &info, fc))
			return;
		signo = SIGSEGV;
	}
	die(t, signo, code, fc);
}

static void deliver_one(struct task *t, const siginfo_t *info)
{
	uint64_t handler = t->sig.action[info->si_signo].handler;

	if (handler == HANDLER_IGN || (handler == HANDLER_DFL && signal_default_ignored(info->si_signo)))
		return;
	if (handler == HANDLER_DFL) {
		task_die(t, info->si_signo);
		return;
	}
	if (!handler_enter(t, info, NULL))
		return;
	if (info->si_signo == SIGSEGV)
		die(t, SIGSEGV, SI_CODE_KERNEL, NULL);
	else
		signal_force(t, SIGSEGV, SI_CODE_KERNEL, NULL);
}

void signal_deliver(struct task *t)
{
	struct sigstate *s = &t->sig;
	siginfo_t info;

	while (!t->exited && signal_dequeue(t, ~s->blocked, &info))
		deliver_one(t, &info);
	if (t->exited)
		return;
	if (t->restart_syscall)
		restart_call(t);
	if (s->restore_mask)
		signal_set_blocked(t, s->saved_mask);
	s->restore_mask = false;
}

int64_t signal_return(struct task *t)
{
	if (sigframe_pop(t))
		signal_force(t, SIGSEGV, SI_CODE_KERNEL, NULL);
	return (int64_t)t->regs.rax;
}
