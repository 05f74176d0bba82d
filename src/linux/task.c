/* SPDX-License-Identifier: MIT */
/*
 * task.c - the loop of a task: run until a trap, answer it, deliver signals, again.
 *
 * A task that is to end only says so (task_exit, task_die), or is told so (ATTENTION_KILLED); the loop sees it before the
 * guest runs again. While it runs,
 * its thread blocks SIGPIPE, so that a write to a closed pipe is an error for the guest and not the end of its host, and
 * leaves KICK_SIGNAL open.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../include/lodge.h"
#include "../mm/dump.h"
#include "../vmm/vm.h"
#include "answers.h"
#include "exec.h"
#include "futex.h"
#include "oom.h"
#include "pause.h"
#include "patch.h"
#include "report.h"
#include "syscall.h"
#include "task.h"
#include "vsyscall.h"

#define LOG_BYTES	 512
#define NS_PER_SECOND	 1000000000ull

/* Vectors of exceptions, Intel SDM vol. 3A, 6.3.1. */
#define VECTOR_PF	 14
#define VECTOR_MF	 16
#define VECTOR_XM	 19

/* FAULT_FLAG_ bits of Linux 5.11 that every user fault has, and the ones of a write and a fetch: shown in traces. */
#define FAULT_FLAGS_USER 0x254u
#define FAULT_FLAG_WRITE 0x001u
#define FAULT_FLAG_INSTR 0x100u

void task_log(struct task *t, const char *format, ...)
{
	char line[LOG_BYTES];
	va_list args;

	if (!t->log.fn)
		return;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	report_sanitize(line);
	t->log.fn(t->log.ctx, line);
}

void task_exit(struct task *t, int status)
{
	t->exited = true;
	t->exit_code = (status & 0xff) << 8;
}

static void exit_group(struct task *t, int exit_code)
{
	pthread_mutex_lock(&t->sandbox->lock);
	process_group_exit(t->process, exit_code, t);
	pthread_mutex_unlock(&t->sandbox->lock);
	t->exited = true;
	t->exit_code = exit_code;
}

void task_exit_group(struct task *t, int status)
{
	exit_group(t, (status & 0xff) << 8);
}

void task_die(struct task *t, int signo)
{
	exit_group(t, signo);
}

void task_wake(struct task *t)
{
	atomic_fetch_add(&t->event, 1);
	futex_host_wake(&t->event, INT_MAX);
}

void task_kick(struct task *t, uint32_t attention)
{
	atomic_fetch_or(&t->attention, attention);
	task_wake(t);
	if (t->running && !pthread_equal(t->thread, pthread_self()))
		vcpu_kick(t->vcpu);
}

/* --- page faults ------------------------------------------------------------------------------------------------ */

struct fault_counts {
	uint64_t leaf[NR_FAULT_LEAVES];
};

static void fault_counts_read(const struct mm *mm, struct fault_counts *c)
{
	for (unsigned int i = 0; i < NR_FAULT_LEAVES; i++)
		c->leaf[i] = atomic_load_explicit(&mm->faults[i], memory_order_relaxed);
}

/*
 * One line for a fault: where, why, with which flags, and the way that it took: the kernel's names for the steps from the
 * exception to the ladder, then the leaves that it came to.
 */
static void trace_vmf(struct task *t, const struct vmf_view *before, uint32_t flags)
{
	struct vmf_view after;
	char text[LOG_BYTES];

	vmf_read(t->mm, before->address, &after);
	vmf_string(before, &after, flags, text, sizeof(text));
	task_log(t, "%s", text);
}

static uint32_t fault_flags(uint32_t error_code)
{
	return FAULT_FLAGS_USER | (error_code & PF_WRITE ? FAULT_FLAG_WRITE : 0) |
	       (error_code & PF_INSTR ? FAULT_FLAG_INSTR : 0);
}

static void trace_fault(struct task *t, gva_t address, uint32_t error_code, const struct fault_counts *before)
{
	char words[96], path[256] = "";
	struct fault_counts now;
	bool handled = false;
	size_t len = 0;

	fault_counts_read(t->mm, &now);
	for (unsigned int i = 0; i < NR_FAULT_LEAVES; i++) {
		if (now.leaf[i] == before->leaf[i] || len >= sizeof(path))
			continue;
		handled |= i <= FAULT_SPURIOUS;
		len += (size_t)snprintf(path + len, sizeof(path) - len, " > %s", fault_leaf_names[i]);
	}
	task_log(t,
		 "fault %#" PRIx64 " error %#x (%s) flags %#x rip %#" PRIx64
		 ": asm_exc_page_fault > exc_page_fault > handle_page_fault > do_user_addr_fault%s%s",
		 address, error_code, fault_error_string(error_code, words, sizeof(words)),
		 fault_flags(error_code), t->regs.rip, handled ? " > handle_mm_fault" : "", path);
}

static struct fault_signal resolve_fault(struct task *t, gva_t address, uint32_t error_code)
{
	struct fault_counts before;
	struct vmf_view view;

	if (!(t->trace & (LODGE_TRACE_FAULT | LODGE_TRACE_VMF)))
		return do_user_addr_fault(t->mm, address, error_code);
	fault_counts_read(t->mm, &before);
	vmf_read(t->mm, address, &view);
	struct fault_signal fs = do_user_addr_fault(t->mm, address, error_code);
	if (t->trace & LODGE_TRACE_FAULT)
		trace_fault(t, address, error_code, &before);
	if (t->trace & LODGE_TRACE_VMF)
		trace_vmf(t, &view, fault_flags(error_code));
	return fs;
}

/* What a program may learn about an address that is not its own: nothing. Linux reports each as a protection error. */
static void kernel_address_fault(struct task *t, gva_t address, uint32_t error_code)
{
	struct fault_context fc = {
		.address = address,
		.trapno = VECTOR_PF,
		.error_code = (error_code & (PF_WRITE | PF_INSTR)) | PF_USER | PF_PROT,
	};

	atomic_fetch_add_explicit(&t->mm->faults[FAULT_SIGSEGV_MAPERR], 1, memory_order_relaxed);
	signal_force(t, SIGSEGV, SEGV_MAPERR, &fc);
}

static void task_fault(struct task *t, const struct trap *trap)
{
	uint32_t error_code = trap->error_code | PF_USER;

	if (vsyscall_emulate(t, trap))
		return;
	if (trap->address >= TASK_SIZE) {
		kernel_address_fault(t, trap->address, error_code);
		return;
	}
	struct fault_signal fs = resolve_fault(t, trap->address, error_code);
	if (fs.signo == SIGKILL) {
		oom_fault(t);
		return;
	}
	oom_fault_served(t);
	if (fs.signo && !task_dying(t)) {
		struct fault_context fc = {fs.address, VECTOR_PF, error_code};
		signal_force(t, fs.signo, fs.code, &fc);
	}
}

/* --- other exceptions ------------------------------------------------------------------------------------------- */

/* As Linux's arch/x86/kernel/traps.c answers them. Vectors that are not here give SIGSEGV. */
static const struct {
	int signo, code;
} exception_signal[32] = {
	[0] = {SIGFPE, FPE_INTDIV},					 /* #DE */
	[1] = {SIGTRAP, TRAP_TRACE},					 /* #DB */
	[3] = {SIGTRAP, SI_KERNEL},					 /* #BP */
	[4] = {SIGSEGV, SI_KERNEL},					 /* #OF */
	[5] = {SIGSEGV, SI_KERNEL},					 /* #BR */
	[6] = {SIGILL, ILL_ILLOPN},					 /* #UD */
	[9] = {SIGFPE, SI_KERNEL},					 /* coprocessor segment overrun */
	[10] = {SIGSEGV, SI_KERNEL},					 /* #TS */
	[11] = {SIGBUS, SI_KERNEL},					 /* #NP */
	[12] = {SIGBUS, SI_KERNEL},					 /* #SS */
	[13] = {SIGSEGV, SI_KERNEL},					 /* #GP */
	[VECTOR_MF] = {SIGFPE, FPE_FLTINV}, [17] = {SIGBUS, BUS_ADRALN}, /* #AC */
	[VECTOR_XM] = {SIGFPE, FPE_FLTINV},
};

/* si_code for unmasked floating-point exceptions, by x87 status or MXCSR: they number them alike. */
static int fpe_code(uint32_t raised)
{
	if (raised & 0x01)
		return FPE_FLTINV;
	if (raised & 0x04)
		return FPE_FLTDIV;
	if (raised & 0x08)
		return FPE_FLTOVF;
	if (raised & 0x12) /* denormal operand, underflow */
		return FPE_FLTUND;
	return raised & 0x20 ? FPE_FLTRES : FPE_FLTINV;
}

/* Looks into the legacy part of the vector state (Intel SDM vol. 1, 10.5.1) for what was raised and not masked. */
static int fpe_code_of_task(struct task *t, uint8_t vector)
{
	_Alignas(64) uint8_t area[16384];
	uint16_t control, status;
	uint32_t mxcsr;

	if (vcpu_get_xsave(t->vcpu, area, sizeof(area)) < 0)
		return FPE_FLTINV;
	memcpy(&control, area, sizeof(control));
	memcpy(&status, area + 2, sizeof(status));
	memcpy(&mxcsr, area + 24, sizeof(mxcsr));
	return vector == VECTOR_MF ? fpe_code((uint32_t)status & ~(uint32_t)control)
				   : fpe_code(mxcsr & ~(mxcsr >> 7));
}

static void task_exception(struct task *t, const struct trap *trap)
{
	struct fault_context fc = {.trapno = trap->vector, .error_code = trap->error_code};
	int signo = 0, code = SI_KERNEL;

	if (trap->vector < ARRAY_SIZE(exception_signal)) {
		signo = exception_signal[trap->vector].signo;
		code = exception_signal[trap->vector].code;
	}
	if (trap->vector == VECTOR_MF || trap->vector == VECTOR_XM)
		code = fpe_code_of_task(t, trap->vector);
	signal_force(t, signo ? signo : SIGSEGV, signo ? code : SI_KERNEL, &fc);
}

/* --- the loop --------------------------------------------------------------------------------------------------- */

static void task_dead(struct task *t, const struct trap *trap)
{
	task_log(t, "the processor cannot go on: %s", trap->cause ? trap->cause : "no reason given");
	report_death(t, SIGKILL, SI_KERNEL, NULL);
	task_die(t, SIGKILL);
}

static void trace_exit(struct task *t, const struct trap *trap)
{
	static const char *const names[] = {"syscall", "fault", "exception", "kick", "dead"};
	char vector[16] = "";

	if (trap->kind == TRAP_EXCEPTION)
		snprintf(vector, sizeof(vector), " %u", trap->vector);
	task_log(t, "exit %s%s rip %#" PRIx64, names[trap->kind], vector, t->regs.rip);
}

static void task_trap(struct task *t, const struct trap *trap)
{
	if (t->trace & LODGE_TRACE_EXIT)
		trace_exit(t, trap);
	switch (trap->kind) {
	case TRAP_SYSCALL:
		syscall_dispatch(t);
		break;
	case TRAP_FAULT:
		task_fault(t, trap);
		break;
	case TRAP_EXCEPTION:
		task_exception(t, trap);
		break;
	case TRAP_KICK: /* whoever kicked left a bit in attention, or the look there is all it wanted */
		break;
	case TRAP_DEAD:
		task_dead(t, trap);
		break;
	}
}

int64_t task_restart_with(struct task *t, const struct restart_block *b)
{
	t->restart_block = *b;
	t->restart = RESTART_BLOCK;
	return -EINTR;
}

/* Zeroes may stand where something else should: the program ends before it sees them. */
static void end_if_void(struct task *t)
{
	const char *cause = supply_cause(t->mm->supply);

	if (!cause || task_dying(t))
		return;
	task_log(t, "%s[%d] died of SIGBUS: %s", t->comm, t->pid, cause);
	task_die(t, SIGBUS);
}

/* True while the guest should run. */
static bool task_may_run(struct task *t)
{
	do {
		if (atomic_load(&t->attention) || t->restart || t->sig.restore_mask)
			signal_deliver(t);
	} while (pause_park(t));
	end_if_void(t);
	return !task_dying(t);
}

static void follow_traps(struct task *t)
{
	int wanted = atomic_load_explicit(&t->sandbox->traps, memory_order_relaxed);

	if (t->traps == wanted)
		return;
	t->traps = wanted;
	vcpu_set_traps(t->vcpu, (enum vcpu_traps)wanted);
}

static void task_loop(struct task *t)
{
	struct trap trap;

	while (task_may_run(t)) {
		follow_traps(t);
		if (vcpu_has_hot_site(t->vcpu))
			patch_rewrite(t);
		vcpu_run(t->vcpu, t->mm, &t->regs, &trap);
		task_trap(t, &trap);
	}
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SECOND + (uint64_t)ts.tv_nsec;
}

/* What the thread's signal mask was, and whether a SIGPIPE of its own was waiting behind it. */
struct thread_signals {
	sigset_t old_mask;
	bool sigpipe_pending;
};

static bool sigpipe_is_pending(void)
{
	sigset_t pending;

	sigpending(&pending);
	return sigismember(&pending, SIGPIPE) == 1;
}

static void thread_signals_enter(struct thread_signals *s)
{
	sigset_t set;

	s->sigpipe_pending = sigpipe_is_pending();
	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &set, &s->old_mask);
	sigemptyset(&set);
	sigaddset(&set, KICK_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* Takes back a SIGPIPE that the guest's writes have caused: the caller never made them. */
static void thread_signals_leave(const struct thread_signals *s)
{
	static const struct timespec no_time;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	if (!s->sigpipe_pending && sigpipe_is_pending())
		sigtimedwait(&set, NULL, &no_time);
	pthread_sigmask(SIG_SETMASK, &s->old_mask, NULL);
}

#define POLICY_RESET_ON_FORK 0x40000000

void task_inherit_processors(struct task *child, const struct task *parent)
{
	pthread_mutex_lock(&parent->sandbox->lock);
	bool chosen = parent->sandbox->masks_are_set;
	child->sched_policy =
		parent->sched_policy & POLICY_RESET_ON_FORK ? SCHED_OTHER : parent->sched_policy;
	child->ioprio = parent->ioprio;
	child->nice = parent->sched_policy & POLICY_RESET_ON_FORK && parent->nice < 0 ? 0 : parent->nice;
	pthread_mutex_unlock(&parent->sandbox->lock);
	child->has_mask = chosen && !sched_getaffinity(0, sizeof(child->mask), &child->mask);
}

/* A host thread serves one task after another: each begins with its own processors, and leaves those that the thread had. */
static void enter_processors(const struct task *t, cpu_set_t *old)
{
	if (sched_getaffinity(0, sizeof(*old), old))
		CPU_ZERO(old);
	if (t->has_mask)
		sched_setaffinity(0, sizeof(t->mask), &t->mask);
}

static void leave_processors(struct sandbox *s, const cpu_set_t *old)
{
	pthread_mutex_lock(&s->lock);
	bool changed = s->masks_are_set;
	pthread_mutex_unlock(&s->lock);
	if (changed && CPU_COUNT(old))
		sched_setaffinity(0, sizeof(*old), old);
}

static void set_running(struct task *t, bool running)
{
	pthread_mutex_lock(&t->sandbox->lock);
	t->thread = pthread_self();
	t->host_tid = gettid();
	t->running = running;
	answers_tell(t);
	pthread_mutex_unlock(&t->sandbox->lock);
}

void task_start_program(struct task *t, const struct exec_result *program)
{
	t->regs = program->regs;
	memcpy(t->comm, program->comm, sizeof(t->comm));
	free(t->process->exe_path);
	t->process->exe_path = program->exe_path;
}

static struct timeval timeval_since(struct timeval now, const struct timeval *before)
{
	now.tv_sec -= before->tv_sec;
	now.tv_usec -= before->tv_usec;
	if (now.tv_usec < 0) {
		now.tv_sec--;
		now.tv_usec += 1000000;
	}
	return now;
}

static void add_us(struct timeval *tv, int64_t more)
{
	int64_t us = tv->tv_sec * 1000000 + tv->tv_usec + more;

	us = us > 0 ? us : 0;
	*tv = (struct timeval){us / 1000000, us % 1000000};
}

void task_usage(struct task *t, struct rusage *usage)
{
	struct rusage now;

	memset(usage, 0, sizeof(*usage));
	if (getrusage(RUSAGE_THREAD, &now))
		return;
	usage->ru_utime = timeval_since(now.ru_utime, &t->usage_before.ru_utime);
	add_us(&usage->ru_utime, task_more_cpu_ns(t) / 1000);
	usage->ru_stime = timeval_since(now.ru_stime, &t->usage_before.ru_stime);
	usage->ru_nvcsw = now.ru_nvcsw - t->usage_before.ru_nvcsw;
	usage->ru_nivcsw = now.ru_nivcsw - t->usage_before.ru_nivcsw;
	if (!t->mm)
		return;
	usage->ru_maxrss = (long)(atomic_load(&t->mm->peak_rss) * (PAGE_SIZE / 1024));
	usage->ru_minflt = (long)atomic_load(&t->mm->min_flt);
	usage->ru_majflt = (long)atomic_load(&t->mm->maj_flt);
}

/* --- the end ---------------------------------------------------------------------------------------------------- */

void task_release_space(struct task *t)
{
	futex_exit(t);
	pthread_mutex_lock(&t->sandbox->lock);
	if (t->vfork) {
		t->vfork->done = true;
		task_wake(t->vfork->parent);
		t->vfork = NULL;
	}
	pthread_mutex_unlock(&t->sandbox->lock);
}

static void add_counts(struct task *t)
{
	struct vcpu_stats *sum = &t->sandbox->counts.vcpu;
	const struct vcpu_stats *s = vcpu_stats(t->vcpu);

	sum->answered += s->answered;
	sum->polled += s->polled;
	sum->rewritten += s->rewritten;
	sum->not_rewritten += s->not_rewritten;
	sum->direct += s->direct;
	sum->poll_ns += s->poll_ns;
	sum->runs += s->runs;
	sum->syscalls += s->syscalls;
	sum->faults += s->faults;
	sum->exceptions += s->exceptions;
	sum->kicks += s->kicks;
	sum->pokes += s->pokes;
	sum->flushes += s->flushes;
	t->cpu_more_ns = task_more_cpu_ns(t);
	t->sandbox->counts.cpu_ns +=
		clock_ns(CLOCK_THREAD_CPUTIME_ID) + (uint64_t)t->cpu_more_ns - t->cpu_before_ns;
}

/*
 * Gives back all that the task has. Whoever joins it does not find it any more; its process ends when its memory is back, so that
 * a parent that starts the next child has room for it. `t` may be gone afterwards.
 */
static void task_end(struct task *t)
{
	struct sandbox *s = t->sandbox;
	struct process *p = t->process;
	struct files *files = t->files;

	atomic_fetch_add(&s->nr_leaving, 1);
	pthread_mutex_lock(&s->lock);
	t->running = false;
	t->files = NULL;
	add_counts(t);
	pthread_mutex_unlock(&s->lock);
	vcpu_put(t->vcpu);
	t->vcpu = NULL;
	files_release(files);
	fs_release(t->fs);
	t->fs = NULL;
	pthread_mutex_lock(&s->lock);
	process_remove_task(t);
	pthread_mutex_unlock(&s->lock);
	task_release_space(t);
	mmput(t->mm);
	t->mm = NULL;
	atomic_fetch_sub(&s->nr_leaving, 1);
	sighand_release(t->sighand);
	t->sighand = NULL;
	seccomp_drop(&t->seccomp);
	oom_enter(NULL);
	files_limit_enter(NULL);
	pthread_mutex_lock(&s->lock);
	process_end_task(p);
	pthread_mutex_unlock(&s->lock);
	if (t != s->first_task)
		free(t);
}

/* What a child does first: Linux's schedule_tail. */
static void store_child_tid(struct task *t)
{
	uint32_t tid = (uint32_t)t->tid;

	if (t->set_child_tid)
		copy_to_user(t->mm, t->set_child_tid, &tid, sizeof(tid));
	t->set_child_tid = 0;
}

void task_run(struct task *t)
{
	struct sandbox *s = t->sandbox;
	struct thread_signals signals;
	cpu_set_t processors;

	thread_signals_enter(&signals);
	enter_processors(t, &processors);
	vcpu_bind(t->vcpu);
	free(t->xsave);
	t->xsave = NULL;
	t->traps = VCPU_TRAPS_EXIT;
	patch_allow(t);
	t->cpu_before_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	getrusage(RUSAGE_THREAD, &t->usage_before);
	files_holds_enter(&t->holds);
	files_limit_enter(&t->process->nr_open);
	oom_enter(t);
	set_running(t, true);
	stall_thread_enter(&t->mm->memcg->stall);
	store_child_tid(t);
	task_loop(t);
	stall_thread_leave();
	files_holds_enter(NULL);
	leave_processors(s, &processors);
	task_end(t);
	thread_signals_leave(&signals);
}
