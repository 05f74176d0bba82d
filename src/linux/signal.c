/* SPDX-License-Identifier: MIT */
/*
 * signal.c - see signal.h.
 *
 *   S1  bit n-1 of a queue's pending is set exactly when an instance of signal n is in it
 *   S2  a standard signal is queued at most once per queue; real-time ones queue in order, RT_QUEUE_MAX in all
 *   S3  SIGKILL and SIGSTOP are never blocked and always have the default action
 *   S4  when a task has something to take that it does not block, its ATTENTION_SIGNAL is set
 * The first process of a sandbox cannot be stopped: who could continue it is not part of its world. Where lodge itself can be, that
 * stops instead.
 * Not here: the layout of a handler's frame (sigframe.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pause.h"
#include "report.h"
#include "sigframe.h"
#include "signalfd.h"
#include "sleep.h"
#include "task.h"

#define MASK(signo) (1ull << ((signo)-1))
#define UNBLOCKABLE (MASK(SIGKILL) | MASK(SIGSTOP))
#define SYNCHRONOUS \
	(MASK(SIGSEGV) | MASK(SIGBUS) | MASK(SIGILL) | MASK(SIGTRAP) | MASK(SIGFPE) | MASK(SIGSYS))
#define STOPS	       (MASK(SIGSTOP) | MASK(SIGTSTP) | MASK(SIGTTIN) | MASK(SIGTTOU))
#define IGNORED	       (MASK(SIGCHLD) | MASK(SIGCONT) | MASK(SIGURG) | MASK(SIGWINCH))
#define REALTIME       (~0ull << 31)
#define MIN_SIGSTACK   2048
#define VECTOR_PF      14
#define VECTOR_AC      17
#define HANDLER_DFL    ((uint64_t)0)
#define HANDLER_IGN    ((uint64_t)1)
#define SI_CODE_KERNEL 0x80

/* --- actions --------------------------------------------------------------------------------- */

struct sighand *sighand_create(void)
{
	struct sighand *h = calloc(1, sizeof(*h));

	if (h)
		atomic_store(&h->refs, 1);
	return h;
}

struct sighand *sighand_share(struct sighand *h)
{
	atomic_fetch_add(&h->refs, 1);
	return h;
}

struct sighand *sighand_copy(const struct sighand *h)
{
	struct sighand *copy = sighand_create();

	if (copy)
		memcpy(copy->action, h->action, sizeof(copy->action));
	return copy;
}

void sighand_release(struct sighand *h)
{
	if (h && atomic_fetch_sub(&h->refs, 1) == 1)
		free(h);
}

void sighand_reset(struct sighand *h, bool all)
{
	for (int i = 1; i <= NR_SIGNALS; i++) {
		bool ignored = h->action[i].handler == HANDLER_IGN && !all;
		h->action[i] = (struct ksigaction){.handler = ignored ? HANDLER_IGN : HANDLER_DFL};
	}
}

void sighand_ignore(struct sighand *h, uint64_t mask)
{
	for (int i = 1; i <= NR_SIGNALS; i++)
		if (mask & ~UNBLOCKABLE & MASK(i))
			h->action[i].handler = HANDLER_IGN;
}

struct ksigaction *signal_actions(struct process *p)
{
	return list_entry(p->threads.next, struct task, thread_node)->sighand->action;
}

bool signal_default_ignored(int signo)
{
	return IGNORED & MASK(signo);
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

/* --- queues (sandbox->lock is held) ---------------------------------------------------------- */

static bool is_ignored(const struct task *t, int signo)
{
	uint64_t handler = t->sighand->action[signo].handler;

	/* A blocked one is kept: its action may have changed by the time it is unblocked. */
	if ((t->sig.blocked | t->sig.waited) & MASK(signo))
		return false;
	return handler == HANDLER_IGN || (handler == HANDLER_DFL && signal_default_ignored(signo));
}

static unsigned int nr_queued_realtime(const struct sigqueue *q)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < q->nr_queued; i++)
		n += q->queue[i].si_signo > 31 || q->queue[i].si_code == SI_TIMER;
	return n;
}

/* 0, -EAGAIN, or 1: it is there already. */
static int queue_add(struct sigqueue *q, int signo, const siginfo_t *info, int pid, uint32_t uid)
{
	bool of_timer = info && info->si_code == SI_TIMER;
	siginfo_t *slot;

	if (!of_timer && (q->pending & MASK(signo) & ~REALTIME))
		return 1;
	if ((of_timer || (MASK(signo) & REALTIME)) && nr_queued_realtime(q) == RT_QUEUE_MAX)
		return -EAGAIN;
	slot = &q->queue[q->nr_queued++];
	memset(slot, 0, sizeof(*slot));
	if (info)
		*slot = *info;
	slot->si_signo = signo;
	if (!info) {
		slot->si_pid = pid;
		slot->si_uid = uid;
	}
	q->pending |= MASK(signo);
	return 0;
}

/* Removes queue[i]; the others keep their order. */
static void queue_remove(struct sigqueue *q, unsigned int i)
{
	int signo = q->queue[i].si_signo;

	q->nr_queued--;
	memmove(&q->queue[i], &q->queue[i + 1], (q->nr_queued - i) * sizeof(q->queue[0]));
	q->pending &= ~MASK(signo);
	for (i = 0; i < q->nr_queued; i++)
		if (q->queue[i].si_signo == signo)
			q->pending |= MASK(signo);
}

static void queue_flush(struct process *p, struct sigqueue *q, uint64_t set)
{
	for (unsigned int i = 0; i < q->nr_queued;) {
		const siginfo_t info = q->queue[i];

		if (!(MASK(info.si_signo) & set)) {
			i++;
			continue;
		}
		queue_remove(q, i);
		if (info.si_code == SI_TIMER)
			timers_signal_dropped(p, &info);
	}
}

/* Descriptors that signals are read from. */
static void note_queued(struct process *p, int signo)
{
	if (!list_empty(&p->sandbox->signalfds))
		signalfd_signal(p, signo);
}

static void note_taken(struct process *p)
{
	if (!list_empty(&p->sandbox->signalfds))
		signalfd_settle(p->sandbox);
}

static void process_flush(struct process *p, uint64_t set)
{
	struct task *t;

	queue_flush(p, &p->pending, set);
	list_for_each_entry (t, &p->threads, thread_node)
		queue_flush(p, &t->sig.queue, set);
	note_taken(p);
}

static void queue_forget_timer(struct sigqueue *q, int timer_id)
{
	for (unsigned int i = 0; i < q->nr_queued;) {
		if (q->queue[i].si_code == SI_TIMER && q->queue[i].si_timerid == timer_id)
			queue_remove(q, i);
		else
			i++;
	}
}

void signal_forget_timer(struct process *p, int timer_id)
{
	struct task *t;

	queue_forget_timer(&p->pending, timer_id);
	list_for_each_entry (t, &p->threads, thread_node)
		queue_forget_timer(&t->sig.queue, timer_id);
	note_taken(p);
}

/* Faults that were sent come first, then the lowest number. */
static int next_signal(const struct sigqueue *q, uint64_t set)
{
	uint64_t ready = q->pending & set;

	if (ready & SYNCHRONOUS)
		ready &= SYNCHRONOUS;
	return ready ? __builtin_ctzll(ready) + 1 : 0;
}

static int queue_take(struct sigqueue *q, uint64_t set, siginfo_t *info)
{
	int signo = next_signal(q, set);

	for (unsigned int i = 0; signo && i < q->nr_queued; i++) {
		if (q->queue[i].si_signo != signo)
			continue;
		*info = q->queue[i];
		queue_remove(q, i);
		break;
	}
	return signo;
}

static int dequeue(struct task *t, uint64_t set, siginfo_t *info)
{
	int signo = queue_take(&t->sig.queue, set, info);

	if (!signo)
		signo = queue_take(&t->process->pending, set, info);
	if (signo && info->si_code == SI_TIMER)
		timers_signal_taken(t->process, info);
	t->sig.stop_taken = signo && (MASK(signo) & STOPS);
	return signo;
}

static uint64_t all_pending(const struct task *t)
{
	return t->sig.queue.pending | t->process->pending.pending;
}

/* Makes S4 true of the calling task, and no more than true. */
static void recalculate(struct task *t)
{
	if (all_pending(t) & ~t->sig.blocked)
		atomic_fetch_or(&t->attention, ATTENTION_SIGNAL);
	else
		atomic_fetch_and(&t->attention, ~ATTENTION_SIGNAL);
}

/* --- sending --------------------------------------------------------------------------------- */

static bool would_take(const struct task *t, int signo)
{
	return !t->exited && !(t->sig.blocked & MASK(signo));
}

/* Finds the task that takes a signal of its process: the oldest that can. */
static struct task *choose(struct process *p, int signo)
{
	struct task *t;

	list_for_each_entry (t, &p->threads, thread_node)
		if (would_take(t, signo))
			return t;
	return NULL;
}

static void resume(struct process *p)
{
	struct task *t;

	p->stop_signal = 0;
	p->cont_told = false;
	list_for_each_entry (t, &p->threads, thread_node) {
		atomic_fetch_and(&t->attention, ~ATTENTION_STOP);
		task_wake(t);
	}
	process_tell_parent(p, CLD_CONTINUED, SIGCONT);
}

/* What happens when a signal is made, whoever will take it: stopping and continuing undo one another. */
static void prepare(struct process *p, int signo)
{
	struct task *t;

	if (signo == SIGCONT) {
		process_flush(p, STOPS);
		list_for_each_entry (t, &p->threads, thread_node)
			t->sig.stop_taken = false;
		if (p->stop_signal)
			resume(p);
	} else if (MASK(signo) & STOPS) {
		process_flush(p, MASK(SIGCONT));
	}
}

int signal_send_locked(struct task *t, int signo, const siginfo_t *info)
{
	int ret;

	prepare(t->process, signo);
	if (signo == SIGKILL) {
		process_group_exit(t->process, SIGKILL, NULL);
		return 0;
	}
	if (is_ignored(t, signo))
		return 0;
	ret = queue_add(&t->sig.queue, signo, info, t->pid, t->cred.uid.real);
	if (!ret)
		note_queued(t->process, signo);
	if (!ret && would_take(t, signo))
		task_kick(t, ATTENTION_SIGNAL);
	return ret < 0 ? ret : 0;
}

int signal_send(struct task *t, int signo, const siginfo_t *info)
{
	int ret;

	pthread_mutex_lock(&t->sandbox->lock);
	ret = signal_send_locked(t, signo, info);
	pthread_mutex_unlock(&t->sandbox->lock);
	return ret;
}

int signal_send_process(struct process *p, int signo, const siginfo_t *info)
{
	struct task *t;
	int ret;

	if (process_is_zombie(p))
		return 0;
	prepare(p, signo);
	if (signo == SIGKILL) {
		process_group_exit(p, SIGKILL, NULL);
		return 0;
	}
	t = list_entry(p->threads.next, struct task, thread_node);
	if (is_ignored(t, signo))
		return 0;
	ret = queue_add(&p->pending, signo, info, p->pid, process_uid(p));
	if (!ret)
		note_queued(p, signo);
	t = ret ? NULL : choose(p, signo);
	if (t)
		task_kick(t, ATTENTION_SIGNAL);
	return ret < 0 ? ret : 0;
}

bool signal_send_timer(struct process *p, struct task *to, const siginfo_t *info)
{
	int signo = info->si_signo;
	struct task *t = to ? to : list_entry(p->threads.next, struct task, thread_node);

	prepare(p, signo);
	if (signo == SIGKILL) {
		process_group_exit(p, SIGKILL, NULL);
		return false;
	}
	if (is_ignored(t, signo) ||
	    queue_add(to ? &to->sig.queue : &p->pending, signo, info, p->pid, process_uid(p)))
		return false;
	note_queued(p, signo);
	if (!to)
		t = choose(p, signo);
	if (t && would_take(t, signo))
		task_kick(t, ATTENTION_SIGNAL);
	return true;
}

/* --- the task's own calls -------------------------------------------------------------------- */

void signal_set_waited(struct task *t, uint64_t mask)
{
	pthread_mutex_lock(&t->sandbox->lock);
	t->sig.waited = mask;
	pthread_mutex_unlock(&t->sandbox->lock);
}

void signal_set_blocked(struct task *t, uint64_t mask)
{
	uint64_t given, old;

	pthread_mutex_lock(&t->sandbox->lock);
	old = t->sig.blocked;
	t->sig.blocked = mask & ~UNBLOCKABLE;
	given = t->process->pending.pending & t->sig.blocked & ~old;
	for (; given; given &= given - 1) {
		struct task *other = choose(t->process, __builtin_ctzll(given) + 1);
		if (other && other != t)
			task_kick(other, ATTENTION_SIGNAL);
	}
	recalculate(t);
	pthread_mutex_unlock(&t->sandbox->lock);
}

int signal_dequeue(struct task *t, uint64_t set, siginfo_t *info)
{
	int signo;

	pthread_mutex_lock(&t->sandbox->lock);
	signo = dequeue(t, set, info);
	if (signo)
		note_taken(t->process);
	recalculate(t);
	pthread_mutex_unlock(&t->sandbox->lock);
	return signo;
}

uint64_t signal_pending(struct task *t)
{
	uint64_t pending;

	pthread_mutex_lock(&t->sandbox->lock);
	pending = all_pending(t);
	pthread_mutex_unlock(&t->sandbox->lock);
	return pending;
}

void signal_set_action(struct task *t, int signo, const struct ksigaction *new)
{
	pthread_mutex_lock(&t->sandbox->lock);
	t->sighand->action[signo] = *new;
	if (new->handler == HANDLER_IGN || (new->handler == HANDLER_DFL &&signal_default_ignored(signo))) {
		process_flush(t->process, MASK(signo));
		recalculate(t);
	}
	pthread_mutex_unlock(&t->sandbox->lock);
}

/* --- delivery -------------------------------------------------------------------------------- */

/* A process that another one has made is that one's to tell of; it may have been made to die. */
static bool tells_of_death(const struct task *t)
{
	return t->process == t->sandbox->first || (t->trace & LODGE_TRACE_DEATH);
}

/* The end by the task's own fault; unless it was killed already, while memory was looked for. */
static void die(struct task *t, int signo, int code, const struct fault_context *fc)
{
	if (task_dying(t))
		return;
	if (tells_of_death(t))
		report_death(t, signo, code, fc);
	task_die(t, signo);
}

/* The instruction behind which the task stands is SYSCALL: back to it. */
static void restart_call(struct task *t)
{
	t->regs.rip -= SYSCALL_BYTES;
	t->regs.rax = t->restart == RESTART_BLOCK ? SYS_restart_syscall : t->syscall_nr;
	t->restart = RESTART_NOT;
}

/* Pushes the frame of a handler. 0, or -EFAULT when the stack cannot take it. */
static int handler_enter(struct task *t, const siginfo_t *info, const struct fault_context *fc)
{
	struct sigstate *s = &t->sig;
	struct ksigaction ka;
	int err;

	pthread_mutex_lock(&t->sandbox->lock);
	ka = t->sighand->action[info->si_signo];
	if (ka.flags & SA_RESETHAND)
		t->sighand->action[info->si_signo].handler = HANDLER_DFL;
	pthread_mutex_unlock(&t->sandbox->lock);
	if (t->restart == RESTART_ALWAYS || (t->restart == RESTART_CALL && (ka.flags & SA_RESTART)))
		restart_call(t);
	t->restart = RESTART_NOT;
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
	struct ksigaction *ka = &t->sighand->action[info->si_signo];
	bool handled;

	pthread_mutex_lock(&t->sandbox->lock);
	if ((t->sig.blocked & MASK(info->si_signo)) || ka->handler == HANDLER_IGN)
		ka->handler = HANDLER_DFL;
	handled = ka->handler != HANDLER_DFL;
	pthread_mutex_unlock(&t->sandbox->lock);
	return handled && !handler_enter(t, info, fc);
}

static uint64_t handler_of(struct task *t, int signo)
{
	uint64_t handler;

	pthread_mutex_lock(&t->sandbox->lock);
	handler = t->sighand->action[signo].handler;
	pthread_mutex_unlock(&t->sandbox->lock);
	return handler;
}

void signal_force(struct task *t, int signo, int code, const struct fault_context *fc)
{
	siginfo_t info;

	siginfo_fault(t, &info, signo, code, fc);
	if (try_force(t, &info, fc))
		return;
	/* A handler without a usable stack becomes SIGSEGV, whose own handler may have one. */
	if (signo != SIGSEGV && handler_of(t, signo) != HANDLER_DFL) {
		siginfo_fault(t, &info, SIGSEGV, SI_CODE_KERNEL, fc);
		if (try_force(t, &info, fc))
			return;
		signo = SIGSEGV;
	}
	die(t, signo, code, fc);
}

void signal_force_info(struct task *t, const siginfo_t *info)
{
	if (try_force(t, info, NULL))
		return;
	if (handler_of(t, info->si_signo) != HANDLER_DFL)
		signal_force(t, SIGSEGV, SI_CODE_KERNEL, NULL);
	else
		die(t, info->si_signo, SI_CODE_KERNEL, NULL);
}

/* The process stops, unless nobody could continue it. In the place of the first, lodge is what stops: see on_stop. */
static void stop_process(struct task *t, int signo)
{
	struct process *p = t->process;
	struct task *other;

	if (p == t->sandbox->first) {
		if (t->sandbox->on_stop && signo != SIGSTOP)
			t->sandbox->on_stop(t->sandbox->on_stop_ctx, signo);
		return;
	}
	pthread_mutex_lock(&t->sandbox->lock);
	/* SIGCONT may have come since. */
	bool orphaned = signo != SIGSTOP && process_group_is_orphaned(t->sandbox, p->pgid, p->sid);
	if (t->sig.stop_taken && !p->group_exit && !p->stop_signal && !orphaned) {
		p->stop_signal = signo;
		p->stop_told = false;
		list_for_each_entry (other, &p->threads, thread_node) {
			if (other == t)
				atomic_fetch_or(&t->attention, ATTENTION_STOP);
			else
				task_kick(other, ATTENTION_STOP);
		}
		process_tell_parent(p, CLD_STOPPED, signo);
	}
	pthread_mutex_unlock(&t->sandbox->lock);
}

static void deliver_one(struct task *t, const siginfo_t *info)
{
	int signo = info->si_signo;
	uint64_t handler = handler_of(t, signo);

	if (handler == HANDLER_DFL && (MASK(signo) & STOPS)) {
		stop_process(t, signo);
		return;
	}
	if (handler == HANDLER_IGN || (handler == HANDLER_DFL && signal_default_ignored(signo)))
		return;
	if (handler == HANDLER_DFL) {
		task_die(t, signo);
		return;
	}
	if (!handler_enter(t, info, NULL))
		return;
	if (signo == SIGSEGV)
		die(t, SIGSEGV, SI_CODE_KERNEL, NULL);
	else
		signal_force(t, SIGSEGV, SI_CODE_KERNEL, NULL);
}

/* Sleeps while the process is stopped. */
static void stay_stopped(struct task *t)
{
	while ((atomic_load(&t->attention) & (ATTENTION_STOP | ATTENTION_KILLED)) == ATTENTION_STOP)
		if (!pause_park(t))
			sleep_stopped(t);
}

void signal_deliver(struct task *t)
{
	struct sigstate *s = &t->sig;
	siginfo_t info;

	while ((atomic_load(&t->attention) & ~ATTENTION_PAUSE) && !task_dying(t)) {
		stay_stopped(t);
		if (signal_dequeue(t, ~s->blocked, &info))
			deliver_one(t, &info);
	}
	if (task_dying(t))
		return;
	if (t->restart)
		restart_call(t);
	if (s->restore_mask)
		signal_set_blocked(t, s->saved_mask);
	s->restore_mask = false;
}

int64_t signal_return(struct task *t)
{
	t->restart_block.fn = NULL;
	if (sigframe_pop(t))
		signal_force(t, SIGSEGV, SI_CODE_KERNEL, NULL);
	return (int64_t)t->regs.rax;
}
