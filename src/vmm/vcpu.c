/* SPDX-License-Identifier: MIT */
/*
 * vcpu.c - making processors and running them. See vcpu.h for the seam, trap.c for what comes out of it.
 *
 * Registers travel through the page shared with KVM (sync_regs) in both directions at every entry, so no ioctl but KVM_RUN
 * is on the path and what the processor held before does not matter. A vCPU lives until its machine does (KVM cannot
 * destroy one), so those without an owner wait in a pool.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm.h"

#define MSR_STAR      0xc0000081u
#define MSR_LSTAR     0xc0000082u
#define MSR_CSTAR     0xc0000083u
#define MSR_SFMASK    0xc0000084u

#define CR0_USER      0x80050033ull /* PG AM WP NE ET MP PE */
#define EFER_USER     0xd01ull	    /* NXE LMA LME SCE */

#define FLAG_TF	      (1ull << 8)
#define FLAG_IF	      (1ull << 9)
#define FLAG_DF	      (1ull << 10)
#define FLAG_NT	      (1ull << 14)
#define FLAG_RF	      (1ull << 16)
#define FLAG_AC	      (1ull << 18)
#define FLAG_ID	      (1ull << 21)

#define FLAG_STATUS   0x8d5ull /* CF PF AF ZF SF OF */
#define FLAG_IOPL     0x3000ull
#define FLAG_ONE      0x2ull

#define USER_FLAGS    (FLAG_STATUS | FLAG_TF | FLAG_DF | FLAG_NT | FLAG_RF | FLAG_AC | FLAG_ID)
#define SYSCALL_FLAGS (FLAG_TF | FLAG_IF | FLAG_DF | FLAG_IOPL | FLAG_NT | FLAG_RF | FLAG_AC)

_Thread_local struct vcpu *current_vcpu;

static void write_gdt(struct vcpu *v)
{
	uint64_t *gdt = (uint64_t *)(void *)(v->data + CPU_GDT);
	uint64_t tss = v->data_va + CPU_TSS;

	gdt[GUEST_KERNEL_CS / 8] = 0x00af9b000000ffff;
	gdt[GUEST_KERNEL_DS / 8] = 0x00cf93000000ffff;
	/* No 32-bit code segment: in compatibility mode AMD's SYSCALL would enter ring 0 by another door. */
	gdt[GUEST_USER_DS / 8] = 0x00cff3000000ffff;
	gdt[GUEST_USER_CS / 8] = 0x00affb000000ffff;
	gdt[GUEST_TSS / 8] =
		0x67 | (tss & 0xffffff) << 16 | 0x8bull << 40 | (tss >> 24 & 0xff) << 56; /* busy */
	gdt[GUEST_TSS / 8 + 1] = tss >> 32;
}

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

#define TSS_RSP0  0x04
#define TSS_IST1  0x24
#define TSS_IOMAP 0x66
#define TSS_LIMIT 0x67 /* the I/O bitmap begins behind it: no port is open to CPL3 */

static void write_tss(struct vcpu *v)
{
	const uint64_t stack[] = {v->data_va + CPU_IST_DF, v->data_va + CPU_IST_NMI, v->data_va + CPU_IST_MC,
				  v->data_va + CPU_IST_DB};
	uint64_t rsp0 = v->data_va + CPU_RSP0;
	uint16_t iomap = TSS_LIMIT + 1;
	char *tss = v->data + CPU_TSS;

	memcpy(tss + TSS_RSP0, &rsp0, sizeof(rsp0));
	memcpy(tss + TSS_IST1, stack, sizeof(stack));
	memcpy(tss + TSS_IOMAP, &iomap, sizeof(iomap));
}

static struct kvm_segment segment(uint16_t selector, bool code)
{
	return (struct kvm_segment){.limit = 0xffffffff,
				    .selector = selector,
				    .type = code ? 11 : 3,
				    .present = 1,
				    .dpl = selector & 3,
				    .db = !code,
				    .s = 1,
				    .l = code,
				    .g = 1};
}

/* Data segments as Linux leaves them: null, which 64-bit code does not notice. */
static struct kvm_segment null_segment(void)
{
	return (struct kvm_segment){.unusable = 1};
}

static void fill_sregs(struct vcpu *v, struct kvm_sregs *s)
{
	s->cr0 = CR0_USER;
	s->cr4 = v->vm->cr4;
	s->efer = EFER_USER;
	s->gdt = (struct kvm_dtable){.base = v->data_va + CPU_GDT, .limit = CPU_TSS - 1};
	s->idt = (struct kvm_dtable){.base = v->vm->idt, .limit = PAGE_SIZE - 1};
	s->tr = (struct kvm_segment){.base = v->data_va + CPU_TSS,
				     .limit = TSS_LIMIT,
				     .selector = GUEST_TSS,
				     .type = 11,
				     .present = 1};
	s->ldt = (struct kvm_segment){.unusable = 1};
	s->ds = s->es = s->fs = s->gs = null_segment();
	s->cr3 = v->vm->kernel_root;
	v->user = v->kernel = *s;
	v->user.cs = segment(GUEST_USER_CS, true);
	v->user.ss = segment(GUEST_USER_DS, false);
	v->kernel.cs = segment(GUEST_KERNEL_CS, true);
	v->kernel.ss = segment(GUEST_KERNEL_DS, false);
}

static int set_msrs(struct vcpu *v)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry[4];
	} msrs = {.head.nmsrs = 4,
		  .entry = {{.index = MSR_STAR,
			     .data = (uint64_t)GUEST_USER32_CS << 48 | (uint64_t)GUEST_KERNEL_CS << 32},
			    {.index = MSR_LSTAR, .data = v->vm->lstar},
			    {.index = MSR_CSTAR, .data = v->vm->lstar},
			    {.index = MSR_SFMASK, .data = SYSCALL_FLAGS}}};

	v->lstar = v->vm->lstar;
	return ioctl(v->fd, KVM_SET_MSRS, &msrs) == 4 ? 0 : -EIO;
}

/* A gate at CPL3 returns by a jump, which restores no flags: of those that SYSCALL could take away it stops at TF alone. */
int vcpu_set_lstar(struct vcpu *v, gva_t lstar)
{
	bool jumps = lstar != v->vm->lstar && atomic_load(&v->vm->mmu_kind) == MMU_PVM;
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry[2];
	} msrs = {.head.nmsrs = 2,
		  .entry = {{.index = MSR_LSTAR, .data = lstar},
			    {.index = MSR_SFMASK, .data = jumps ? FLAG_TF : SYSCALL_FLAGS}}};

	if (lstar == v->lstar)
		return 0;
	v->lstar = lstar;
	return ioctl(v->fd, KVM_SET_MSRS, &msrs) == 2 ? 0 : -EIO;
}

/*
 * Guests read the host's own time stamp counter, which is what struct vvar is about. KVM before Linux 5.16 does not let us ask for that:
 * guests then see a counter of their own, far from what is there, and make system calls for the time.
 */
static void share_tsc(struct vcpu *v)
{
	const uint64_t offset = 0;
	struct kvm_device_attr attr = {.group = KVM_VCPU_TSC_CTRL,
				       .attr = KVM_VCPU_TSC_OFFSET,
				       .addr = (uintptr_t)&offset};

	ioctl(v->fd, KVM_SET_DEVICE_ATTR, &attr);
}

static int set_xcr0(struct vcpu *v)
{
	struct kvm_xcrs xcrs = {.nr_xcrs = 1, .xcrs[0] = {.xcr = 0, .value = v->vm->xcr0}};

	if (!v->vm->xcr0)
		return 0;
	return ioctl(v->fd, KVM_SET_XCRS, &xcrs) ? -errno : 0;
}

static int setup(struct vcpu *v)
{
	struct frames *f = &v->vm->arena->frames;
	struct kvm_sregs sregs;

	v->area = page_alloc(f, GFP_TABLE | __GFP_ZERO, 1);
	if (!v->area)
		return -ENOMEM;
	for (unsigned int i = 0; i < 2; i++)
		atomic_fetch_or(&v->area[i].flags, PG_RESERVED);
	v->data = page_address(f, v->area);
	v->data_va = KERNEL_DATA_BASE + page_to_gpa(f, v->area);
	v->text_va = KERNEL_TEXT_BASE + page_to_gpa(f, v->area);
	v->run = mmap(NULL, v->vm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED) {
		v->run = NULL;
		return -errno;
	}
	if (ioctl(v->fd, KVM_SET_CPUID2, v->vm->cpuid) || ioctl(v->fd, KVM_GET_SREGS, &sregs))
		return -errno;
	write_gdt(v);
	v->cpu = -1;
	write_tss(v);
	fill_sregs(v, &sregs);
	if (ioctl(v->fd, KVM_SET_SREGS, &v->user))
		return -errno;
	v->run->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
	share_tsc(v);
	int err = set_xcr0(v);
	return err ? err : set_msrs(v);
}

static void destroy(struct vcpu *v)
{
	runner_destroy(&v->runner);
	if (v->run)
		munmap(v->run, v->vm->run_bytes);
	if (v->fd >= 0)
		close(v->fd);
	if (v->area)
		page_free_block(&v->vm->arena->frames, v->area, 1);
	free(v);
}

static int create(struct vm *vm, struct vcpu **result)
{
	struct vcpu *v = calloc(1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	v->vm = vm;
	runner_init(&v->runner);
	pthread_mutex_lock(&vm->lock);
	v->id = vm->nr_vcpus++;
	pthread_mutex_unlock(&vm->lock);
	v->fd = ioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)v->id);
	int err = v->fd < 0 ? -errno : setup(v);
	if (err) {
		destroy(v);
		return err;
	}
	pthread_mutex_lock(&vm->lock);
	v->next_all = vm->all;
	vm->all = v;
	pthread_mutex_unlock(&vm->lock);
	*result = v;
	return 0;
}

void vcpu_destroy_all(struct vm *vm)
{
	while (vm->all) {
		struct vcpu *v = vm->all;
		vm->all = v->next_all;
		destroy(v);
	}
	vm->idle = NULL;
}

static void push_idle(struct vcpu *v)
{
	pthread_mutex_lock(&v->vm->lock);
	v->next_idle = v->vm->idle;
	v->vm->idle = v;
	pthread_mutex_unlock(&v->vm->lock);
}

int vcpu_prepare(struct vm *vm)
{
	struct vcpu *v;
	int err = create(vm, &v);

	if (!err)
		push_idle(v);
	return err;
}

int vcpu_take(struct vm *vm, struct vcpu **result)
{
	int err = vm_ready(vm);

	if (err)
		return err;
	pthread_mutex_lock(&vm->lock);
	struct vcpu *v = vm->idle;
	if (v)
		vm->idle = v->next_idle;
	pthread_mutex_unlock(&vm->lock);
	err = v ? 0 : create(vm, &v);
	if (err)
		return err;
	v->root = 0;
	atomic_store(&v->kicked, false);
	set_immediate_exit(v, false);
	if (v->used)
		err = vcpu_reset_fpu(v);
	v->used = true;
	v->stats = (struct vcpu_stats){0};
	v->traps = VCPU_TRAPS_EXIT;
	mailbox_reset(v);
	memset(v->site, 0, sizeof(v->site));
	atomic_fetch_add(&vm->nr_active, 1);
	if (err)
		vcpu_put(v);
	else
		*result = v;
	return err;
}

void vcpu_bind(struct vcpu *v)
{
	v->owner = pthread_self();
	current_vcpu = v;
}

int vcpu_get(struct vm *vm, struct vcpu **result)
{
	int err = vcpu_take(vm, result);

	if (!err)
		vcpu_bind(*result);
	return err;
}

void vcpu_put(struct vcpu *v)
{
	struct vm *vm = v->vm;

	vcpu_recall(v);
	if (current_vcpu == v)
		current_vcpu = NULL;
	gate_leave(v);
	atomic_store(&v->mm, NULL);
	atomic_fetch_sub(&vm->nr_active, 1);
	push_idle(v);
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
		if (v->unfinished || !stopped_in_gate(v, regs, trap))
			take_kick(v, trap);
	} else if (err) {
		vcpu_store_regs(v, regs);
		dead(trap, err == -EFAULT ? "guest memory is gone on the host" : "KVM_RUN failed");
	} else {
		trap_decode(v, mm, regs, trap);
	}
	if (trap->kind == TRAP_SYSCALL)
		mailbox_note_exit(v);
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
	if (mailbox_wait(v, regs))
		*trap = (struct trap){.kind = TRAP_SYSCALL};
	else
		conclude(v, mm, regs, trap);
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

void vcpu_kick(struct vcpu *v)
{
	atomic_store(&v->kicked, true);
	set_immediate_exit(v, true);
	pthread_kill(v->owner, KICK_SIGNAL);
	runner_kick(v);
}

void vcpu_moved(struct vcpu *v)
{
	atomic_store(&v->moved, true);
}

int vcpu_runner_tid(struct vcpu *v)
{
	return runner_tid(v);
}

int64_t vcpu_more_cpu_ns(struct vcpu *v)
{
	return runner_cpu_ns(v);
}

void vcpu_set_traps(struct vcpu *v, enum vcpu_traps traps)
{
	v->traps = traps;
	v->calls_before_gate = traps == VCPU_TRAPS_POLL ? 0 : CALLS_BEFORE_GATE;
}

const struct vcpu_stats *vcpu_stats(struct vcpu *v)
{
	vcpu_recall(v);
	gate_count(v);
	v->stats.poll_ns = runner_owner_ns(v);
	return &v->stats;
}

/* --- vector state ----------------------------------------------------------------------------------------------------- */

#define FCW_DEFAULT   0x37f
#define MXCSR_DEFAULT 0x1f80
#define XSAVE_MXCSR   24 /* offsets in the standard format (Intel SDM vol. 1, 13.4) */
#define XSAVE_BV      512

int vcpu_get_xsave(struct vcpu *v, void *area, size_t bytes)
{
	uint32_t need = v->vm->xsave_bytes;

	vcpu_recall(v);
	if (bytes < need)
		return -ENOSPC;
	unsigned long request = need > sizeof(struct kvm_xsave) ? KVM_GET_XSAVE2 : KVM_GET_XSAVE;
	return ioctl(v->fd, request, area) ? -errno : (int)need;
}

int vcpu_set_xsave(struct vcpu *v, const void *area, size_t bytes)
{
	vcpu_recall(v);
	if (bytes < v->vm->xsave_bytes)
		return -EINVAL;
	return ioctl(v->fd, KVM_SET_XSAVE, area) ? -errno : 0;
}

int vcpu_reset_fpu(struct vcpu *v)
{
	char *area = aligned_alloc(64, (v->vm->xsave_bytes + 63u) & ~63u);
	const uint16_t fcw = FCW_DEFAULT;
	const uint32_t mxcsr = MXCSR_DEFAULT;
	const uint64_t present = 3; /* x87 and SSE are in the area; all else takes its initial state */

	if (!area)
		return -ENOMEM;
	memset(area, 0, v->vm->xsave_bytes);
	memcpy(area, &fcw, sizeof(fcw));
	memcpy(area + XSAVE_MXCSR, &mxcsr, sizeof(mxcsr));
	memcpy(area + XSAVE_BV, &present, sizeof(present));
	int err = vcpu_set_xsave(v, area, v->vm->xsave_bytes);
	free(area);
	return err;
}
