/* SPDX-License-Identifier: MIT */
/*
 * run.c - running a processor. See vcpu.h for the seam, trap.c for what comes out of it, mailbox.c for what comes without an exit.
 *
 * Registers travel through the page shared with KVM (sync_regs) in both directions at every entry, so no ioctl but KVM_RUN
 * is on the path and what the processor held before does not matter. A run is prepared on its owner's thread, made there or by the
 * runner (vcpu_run_entered), and concluded on its owner's thread.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm.h"

/* Read-only data whose limit is what counts; programs read it by LSL, from memory, so it is right from the next entry on. */
static void write_cpu_node(struct vcpu *v, unsigned int cpu, unsigned int node)
{
	uint64_t limit = (cpu & ((1u << CPU_NODE_SHIFT) - 1)) | node << CPU_NODE_SHIFT;
	uint64_t *gdt = (uint64_t *)(void *)(v->data + CPU_GDT);

	__atomic_store_n(&gdt[GUEST_CPU_NODE / 8],
			 (limit & 0xffff) | 0xf5ull << 40 | (limit >> 16 & 0xf) << 48 | 1ull << 54,
			 __ATOMIC_RELAXED);
}

/* The host moves the thread as it likes: what a program reads was so when it was entered. */
static void tell_cpu(struct vcpu *v)
{
	int now = sched_getcpu();

	if (now == atomic_load_explicit(&v->cpu, memory_order_relaxed) || now < 0)
		return;
	atomic_store_explicit(&v->cpu, now, memory_order_relaxed);
	write_cpu_node(v, (unsigned int)now, frames_local_node(&v->vm->arena->frames));
}

int vcpu_enter(struct vcpu *v)
{
	v->stats.runs++;
	return ioctl(v->fd, KVM_RUN, 0) ? -errno : 0;
}

static bool at_nmi(const struct vcpu *v)
{
	const struct kvm_run *run = v->run;

	return run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_OUT && run->io.size == 1 &&
	       run->io.port == VECTOR_NMI;
}

/*
 * While the stub of an NMI runs the next one is held back by the processor, which has room for one. The stub goes on with nothing
 * but its iretq, so no NMI ever finds another's frame on the stack, and what it interrupted goes on as it was: a program, a thunk,
 * or the entry code on its way to an exit.
 */
int vcpu_enter_past_nmis(struct vcpu *v)
{
	int err = vcpu_enter(v);

	while (!err && at_nmi(v)) {
		v->stats.nmis++;
		v->run->kvm_dirty_regs = 0;
		err = vcpu_enter(v);
	}
	return err;
}

void vcpu_settle(struct vcpu *v)
{
	v->run->kvm_dirty_regs = 0;
	for (unsigned int tries = 0; tries < 8; tries++) {
		set_immediate_exit(v, true);
		if (vcpu_enter(v) == -EINTR)
			break;
	}
	set_immediate_exit(v, atomic_load(&v->kicked));
}

int vcpu_run_ring0(struct vcpu *v, gva_t rip, gva_t stack)
{
	struct kvm_sync_regs *s = vcpu_sync(v);

	s->sregs = v->kernel;
	s->regs = (struct kvm_regs){.rip = rip, .rsp = stack, .rflags = FLAG_ONE};
	v->run->kvm_dirty_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
	int err;
	do {
		set_immediate_exit(v, false); /* a kick waits: this run is short and has to end */
		err = vcpu_enter_past_nmis(v);
		v->run->kvm_dirty_regs = 0;
	} while (err == -EINTR);
	set_immediate_exit(v, atomic_load(&v->kicked));
	bool done = !err && v->run->exit_reason == KVM_EXIT_IO && v->run->io.size == 4 &&
		    v->run->io.port == GUEST_CALL_DONE;
	return done ? 0 : -EFAULT;
}

uint64_t vcpu_user_rflags(uint64_t flags)
{
	return (flags & USER_FLAGS) | FLAG_IF | FLAG_ONE;
}

/* Puts a program's registers where KVM takes them from. */
static void load_regs(struct vcpu *v, struct mm *mm, const struct cpu_regs *regs, bool through_thunk)
{
	struct kvm_sync_regs *s = vcpu_sync(v);

	memcpy(&s->regs, regs, sizeof(s->regs));
	s->sregs = through_thunk ? v->kernel : v->user;
	if (through_thunk) {
		s->regs.rip = v->text_va + THUNK_OFFSET;
		s->regs.rsp = thunk_frame(v, regs);
		s->regs.rflags = FLAG_ONE;
	}
	s->sregs.cr3 = page_to_gpa(mm->frames, mm->pgt.root);
	s->sregs.fs.base = regs->fs_base;
	s->sregs.gs.base = regs->gs_base;
	v->run->kvm_dirty_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
}

_Static_assert(offsetof(struct cpu_regs, fs_base) == sizeof(struct kvm_regs), "cpu_regs begins as kvm_regs");

void vcpu_store_regs(struct vcpu *v, struct cpu_regs *regs)
{
	const struct kvm_sync_regs *s = vcpu_sync(v);

	memcpy(regs, &s->regs, sizeof(s->regs));
	regs->fs_base = s->sregs.fs.base;
	regs->gs_base = s->sregs.gs.base;
}

static bool at_ring0(struct vcpu *v)
{
	return !(vcpu_sync(v)->sregs.cs.selector & 3);
}

static bool in_thunk(struct vcpu *v)
{
	uint64_t rip = vcpu_sync(v)->regs.rip, start = v->text_va + THUNK_OFFSET;

	return at_ring0(v) && rip >= start && rip < start + THUNK_BYTES;
}

/* SYSCALL has happened and, on a machine where it stays at CPL3, has not been told yet. */
static bool at_syscall_entry(struct vcpu *v)
{
	return vcpu_sync(v)->regs.rip == v->vm->lstar;
}

static bool in_gate(struct vcpu *v)
{
	return gate_holds(v, vcpu_sync(v)->regs.rip);
}

/*
 * An exception has been raised and its delivery was put off by the signal. KVM keeps it apart from the registers and would
 * deliver it to whatever they hold at the next entry: another task, or code of ours at ring 0.
 */
static bool owes_exception(struct vcpu *v)
{
	struct kvm_vcpu_events events;

	return !ioctl(v->fd, KVM_GET_VCPU_EVENTS, &events) &&
	       (events.exception.injected || events.exception.pending);
}

/* A signal can stop the processor on its way to saying what happened. */
static bool halfway(struct vcpu *v)
{
	return at_syscall_entry(v) || (at_ring0(v) && !in_thunk(v) && !in_gate(v)) || owes_exception(v);
}

/* Enters until there is something to look at. From halfway it is let go on, and the kick waits for the next run. */
static int enter_program(struct vcpu *v)
{
	int err = vcpu_enter_past_nmis(v);

	while (err == -EINTR && halfway(v)) {
		v->run->kvm_dirty_regs = 0;
		set_immediate_exit(v, false);
		err = vcpu_enter_past_nmis(v);
	}
	return err;
}

static void take_kick(struct vcpu *v, struct trap *trap)
{
	set_immediate_exit(v, false);
	atomic_store(&v->kicked, false);
	v->stats.kicks++;
	*trap = (struct trap){.kind = TRAP_KICK};
}

static void dead(struct trap *trap, const char *cause)
{
	*trap = (struct trap){.kind = TRAP_DEAD, .cause = cause};
}

/* What a fetch from outside the user half gives: #PF in the kernel half, #GP where no address is canonical. */
static void bad_rip(uint64_t rip, struct trap *trap)
{
	if (rip >= KERNEL_DATA_BASE)
		*trap = (struct trap){.kind = TRAP_FAULT,
				      .vector = 14,
				      .address = rip,
				      .error_code = PF_PROT | PF_USER | PF_INSTR};
	else
		*trap = (struct trap){.kind = TRAP_EXCEPTION, .vector = 13};
}

/* Calls of a program before it gets a gate: most of those that live shortly make fewer than it would cost. */
#define CALLS_BEFORE_GATE 16

void vcpu_set_traps(struct vcpu *v, enum vcpu_traps traps)
{
	v->traps = traps;
	v->calls_before_gate = traps == VCPU_TRAPS_POLL ? 0 : CALLS_BEFORE_GATE;
}

/* Sees to it that SYSCALL leads where it should in this space. False: the machine has refused. */
static bool choose_gate(struct vcpu *v, struct mm *mm)
{
	if (atomic_load(&v->gate_mm) == mm)
		return true;
	if (v->traps == VCPU_TRAPS_AUTO && atomic_load(&v->mm) != mm)
		v->calls_before_gate = CALLS_BEFORE_GATE;
	if (v->traps != VCPU_TRAPS_EXIT && !v->calls_before_gate && !gate_open(v, mm))
		return true;
	return !vcpu_set_lstar(v, v->vm->lstar);
}

/* A kick found it on its way through the gate: the call comes first, and the kick with the next run. False: it has been made. */
static bool stopped_in_gate(struct vcpu *v, struct cpu_regs *regs, struct trap *trap)
{
	if (!gate_holds(v, regs->rip) || gate_resolve(v, regs) == GATE_ANSWERED)
		return false;
	v->stats.syscalls++;
	*trap = (struct trap){.kind = TRAP_SYSCALL};
	return true;
}

void vcpu_run_entered(struct vcpu *v)
{
	tell_cpu(v);
	v->run_error = enter_program(v);
	v->unfinished = v->run_error == -EINTR && v->through_thunk && in_thunk(v);
	if (v->through_thunk)
		shootdown_finish(v, v->unfinished);
	atomic_store(&v->in_guest, false);
}

/* What a run has ended with, when it is over. */
static void conclude(struct vcpu *v, struct mm *mm, struct cpu_regs *regs, struct trap *trap)
{
	int err = v->run_error;

	if (err == -EINTR) {
		if (!v->unfinished)
			vcpu_store_regs(v, regs);
		if (v->unfinished || sites_resolve(v, mm, regs) || !stopped_in_gate(v, regs, trap))
			take_kick(v, trap);
	} else if (err) {
		vcpu_store_regs(v, regs);
		dead(trap, err == -EFAULT ? "guest memory is gone on the host" : "KVM_RUN failed");
	} else {
		trap_decode(v, mm, regs, trap);
	}
	if (trap->kind == TRAP_SYSCALL) {
		mailbox_note_exit(v);
		sites_note(v, mm, regs);
	}
}

/* Registers and page tables for the next run. False: there is none. */
static bool prepare(struct vcpu *v, struct mm *mm, const struct cpu_regs *regs, struct trap *trap)
{
	if (!choose_gate(v, mm)) {
		dead(trap, "KVM_SET_MSRS failed");
		return false;
	}
	atomic_store(&v->mm, mm);
	atomic_store(&v->in_guest, true);
	v->through_thunk = shootdown_pending(v, mm) && shootdown_prepare(v);
	if (atomic_load(&v->vm->broken)) {
		atomic_store(&v->in_guest, false);
		dead(trap, "a page table change could not be made visible");
		return false;
	}
	load_regs(v, mm, regs, v->through_thunk);
	if (atomic_load(&v->kicked))
		set_immediate_exit(v, true);
	return true;
}

/* A processor that is lent, until there is something to look at. */
static void look_on(struct vcpu *v, struct mm *mm, struct cpu_regs *regs, struct trap *trap)
{
	if (mailbox_wait(v, regs)) {
		*trap = (struct trap){.kind = TRAP_SYSCALL};
		sites_note(v, mm, regs);
	} else {
		conclude(v, mm, regs, trap);
	}
}

void vcpu_run(struct vcpu *v, struct mm *mm, struct cpu_regs *regs, struct trap *trap)
{
	regs->rflags = vcpu_user_rflags(regs->rflags);
	if (v->runner.lent && atomic_load(&v->mm) == mm && !shootdown_pending(v, mm) &&
	    !atomic_load(&v->vm->broken) && mailbox_reply(v, regs)) {
		look_on(v, mm, regs, trap);
		return;
	}
	vcpu_recall(v);
	/* TASK_SIZE itself is where a system call at the very end returns to: a plain fault. */
	if (regs->rip > TASK_SIZE) {
		bad_rip(regs->rip, trap);
		return;
	}
	if (!prepare(v, mm, regs, trap))
		return;
	bool lend = mailbox_wanted(v, mm);
	mailbox_set(v, lend);
	if (lend) {
		atomic_store_explicit(&v->cpu, -1, memory_order_relaxed); /* the runner will say */
		runner_lend(v);
		look_on(v, mm, regs, trap);
	} else {
		vcpu_run_entered(v);
		conclude(v, mm, regs, trap);
	}
}

/* How often to look for the program to leave by itself, before it is interrupted. */
#define RECALL_LOOKS   4096u
#define RECALL_A_YIELD 256u

void vcpu_recall(struct vcpu *v)
{
	if (!v->runner.lent)
		return;
	mailbox_dismiss(v);
	for (unsigned int i = 1; !runner_is_out(v); i++) {
		__builtin_ia32_pause();
		if (i % RECALL_LOOKS == 0) {
			set_immediate_exit(v, true);
			runner_kick(v);
		}
		if (i % RECALL_A_YIELD == 0)
			sched_yield();
	}
	set_immediate_exit(v, atomic_load(&v->kicked));
	/* What it came out with was for registers that are superseded; KVM may still want to complete it. */
	if (!v->run_error && (v->run->exit_reason != KVM_EXIT_IO || v->run->io.direction != KVM_EXIT_IO_OUT))
		vcpu_settle(v);
}
