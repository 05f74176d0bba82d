/* SPDX-License-Identifier: MIT */
/*
 * signal.h - signal actions, masks, queues and delivery.
 *
 * The frame that a handler finds is Linux's rt_sigframe with the vector state as an XSAVE area behind it.
 * A signal waits in the queue of a task or of a process; the tasks of a process share its actions, processes that were
 * made so share them too.
 * Locking: sandbox->lock for queues and actions, and for changing a mask: others look at it when they choose a task.
 */
#ifndef LODGE_LINUX_SIGNAL_H
#define LODGE_LINUX_SIGNAL_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct process;
struct task;

#define NR_SIGNALS    64
#define SYSCALL_BYTES 2 /* of the instruction */

/* One pending instance of each standard signal, and this many of the real-time ones together. */
#define RT_QUEUE_MAX  64
#define SIGQUEUE_MAX  (31 + RT_QUEUE_MAX)

/* The kernel's struct sigaction on x86-64. */
struct ksigaction {
	uint64_t handler, flags, restorer, mask;
};

struct sighand {
	_Atomic uint32_t refs;
	struct ksigaction action[NR_SIGNALS + 1]; /* (P) by signal number */
};

struct sigqueue {
	uint64_t pending;	       /* (P) those of which an instance is in queue[] */
	siginfo_t queue[SIGQUEUE_MAX]; /* (P) the pending instances, oldest first */
	unsigned int nr_queued;	       /* (P) */
};

struct sigstate {
	uint64_t blocked; /* (P) to change; bit n-1: signal n */
	uint64_t waited;  /* (P) to change; blocked but for a wait for them: kept, whatever their action is */
	uint64_t saved_mask; /* what sigsuspend and kin restore after the handler */
	bool restore_mask;
	bool stop_taken;       /* (P) a stop signal was taken, and no SIGCONT has come since */
	struct sigqueue queue; /* what was sent to this task alone */
	uint64_t altstack_sp, altstack_bytes;
	uint32_t altstack_flags;
};

/* All actions at their defaults; NULL: no memory. */
struct sighand *sighand_create(void);
struct sighand *sighand_share(struct sighand *h);
struct sighand *sighand_copy(const struct sighand *h);
void sighand_release(struct sighand *h);
/* What an exec leaves: handlers are gone, what is ignored stays so. Also for `all`: that too. */
void sighand_reset(struct sighand *h, bool all);

/* Ignores the signals of a mask, of which those that cannot be are left out. Nobody has it yet. */
void sighand_ignore(struct sighand *h, uint64_t mask);

/* The actions of a process that has threads. */
struct ksigaction *signal_actions(struct process *p);

/*
 * What the processor says of the instruction that was at fault; goes into the handler's ucontext and the
 * report.
 */
struct fault_context {
	uint64_t address; /* cr2 */
	uint32_t trapno, error_code;
};

/* The kernel's, which libc keeps to itself: the handler returns through ksigaction.restorer. */
#ifndef SA_RESTORER
#define SA_RESTORER 0x04000000
#endif

/* The flag of sigaltstack(2), Linux 4.7: the stack is forgotten while a handler runs on it. */
#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)
#endif

/* sigaltstack's view of the task while its stack pointer is sp: SS_DISABLE, SS_ONSTACK or 0. */
uint32_t sigstate_altstack_state(const struct sigstate *s, uint64_t sp);

/* sigaltstack(2). 0, -EPERM (running on it), -EINVAL (flags), -ENOMEM (too small). */
int signal_set_altstack(struct task *t, uint64_t sp, uint64_t bytes, uint32_t flags);

/* The bit of a signal in a mask. */
static inline uint64_t signal_bit(int signo)
{
	return 1ull << (signo - 1);
}

/* Sets the mask; SIGKILL and SIGSTOP stay out of it. What others of the process could take now is given to them. */
void signal_set_blocked(struct task *t, uint64_t mask);

/* Sets which signals the task waits for. Those that are blocked otherwise, and are unblocked after this; blocked again before it. */
void signal_set_waited(struct task *t, uint64_t mask);

/*
 * Makes a signal pending for one task, as tgkill() does; one that is ignored, or a standard one that is pending already, is
 * dropped. info NULL: the task sent it to itself. 0, or -EAGAIN when RT_QUEUE_MAX real-time signals are pending.
 */
int signal_send(struct task *t, int signo, const siginfo_t *info);
int signal_send_locked(struct task *t, int signo, const siginfo_t *info);

/* The same for a process, as kill() does: whichever task does not block it takes it. The lock is held. */
int signal_send_process(struct process *p, int signo, const siginfo_t *info);

/*
 * The signal of a timer (SI_TIMER), for a process or, if not NULL, for one task of it. True: it waits in a queue, and
 * timers_signal_taken or timers_signal_dropped follows; one of its number may be there before it. The lock is held.
 */
bool signal_send_timer(struct process *p, struct task *to, const siginfo_t *info);
/* Takes the waiting signal of a timer back, if it is there. The lock is held. */
void signal_forget_timer(struct process *p, int timer_id);

/* Takes the first pending signal of `set` off the queues: its number, with *info filled in, or 0. */
int signal_dequeue(struct task *t, uint64_t set, siginfo_t *info);

/* Those that wait for the task, blocked or not. */
uint64_t signal_pending(struct task *t);

/* sigaction(2): also forgets what is pending and now ignored. */
void signal_set_action(struct task *t, int signo, const struct ksigaction *new);

/* True when the default action of a signal is to do nothing. */
bool signal_default_ignored(int signo);

/*
 * A fault by the task's own instruction: the handler runs next, or, if it is blocked, ignored or default, the
 * task dies with a report of the fault.
 */
void signal_force(struct task *t, int signo, int code, const struct fault_context *fc);

/* The same for what is no fault: SIGSYS. */
void signal_force_info(struct task *t, const siginfo_t *info);

/* Before returning to the guest: sets up the handler of a pending signal, or ends the task. */
void signal_deliver(struct task *t);

/* rt_sigreturn: restores the registers from the frame at rsp. Returns rax to be kept. */
int64_t signal_return(struct task *t);

#endif
