/* SPDX-License-Identifier: MIT */
/*
 * trap.c - from a KVM exit to a trap.
 *
 * Two worlds meet here. On hardware SYSCALL enters ring 0 and the stub at LSTAR exits with every register as the
 * instruction left it. Where the guest's ring 0 is emulated (PVM) SYSCALL jumps to LSTAR but stays at CPL3: the fetch faults,
 * and what arrives is a #PF on LSTAR whose frame holds the stack pointer. A program that jumps to LSTAR looks the same, so
 * the two bytes before the return address must be a SYSCALL.
 */
#include <signal.h>

#include "kvm.h"

#define VECTOR_DB 1
#define VECTOR_BP 3
#define VECTOR_OF 4
#define VECTOR_UD 6
#define VECTOR_GP 13
#define VECTOR_PF 14

/* What the processor pushes. */
struct exception_frame {
	uint64_t rip, cs, rflags, rsp, ss;
};

static bool has_error_code(unsigned int vector)
{
	return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21;
}

static unsigned int stack_top(unsigned int vector)
{
	switch (vector) {
	case 1:
		return CPU_IST_DB;
	case 8:
		return CPU_IST_DF;
	case 18:
		return CPU_IST_MC;
	default:
		return CPU_RSP0;
	}
}

static void dead(struct trap *trap, const char *cause)
{
	trap->kind = TRAP_DEAD;
	trap->cause = cause;
}

static bool user_bytes_are(struct mm *mm, gva_t at, uint8_t first, uint8_t *second)
{
	uint8_t bytes[2];

	if (copy_from_user(mm, bytes, at, sizeof(bytes)) || bytes[0] != first)
		return false;
	*second = bytes[1];
	return true;
}

static bool is_entry_fault(struct vcpu *v, const struct cpu_regs *regs, const struct trap *trap)
{
	return trap->vector == VECTOR_PF && (trap->error_code & PF_INSTR) && regs->rip == v->vm->lstar &&
	       trap->address == v->vm->lstar;
}

/*
 * Sites that were looked at are remembered. That a program changes such an instruction and jumps to LSTAR with its old address can be
 * had only on purpose, and gives it a system call that it could have made.
 */
static bool is_after_syscall(struct vcpu *v, struct mm *mm, const struct cpu_regs *regs)
{
	struct syscall_site *site = &v->site[regs->rcx % SYSCALL_SITES];
	uint8_t second;

	if (site->mm == mm && site->after == regs->rcx)
		return true;
	if (!user_bytes_are(mm, regs->rcx - 2, 0x0f, &second) || second != 0x05)
		return false;
	*site = (struct syscall_site){mm, regs->rcx};
	return true;
}

/*
 * The page of the instruction may have gone to make room since the processor fetched from it, and there may be none to read it
 * again. Then the instruction has not been executed yet: RCX and R11 are all that it changed, and it changes them again.
 */
static bool is_unreadable_code(struct mm *mm, const struct cpu_regs *regs)
{
	uint8_t any[2];

	if (!copy_from_user(mm, any, regs->rcx - 2, sizeof(any)))
		return false;
	int signo = do_user_addr_fault(mm, regs->rcx - 2, PF_USER | PF_INSTR).signo;
	return !signo || signo == SIGKILL;
}

static void retry_syscall(struct cpu_regs *regs, struct trap *trap)
{
	regs->rip = regs->rcx - 2;
	regs->rflags = regs->r11;
	trap->address = regs->rip;
	trap->error_code = PF_USER | PF_INSTR;
}

static void syscall_trap(struct vcpu *v, struct cpu_regs *regs, struct trap *trap)
{
	regs->rip = regs->rcx;
	regs->rflags = regs->r11;
	trap->kind = TRAP_SYSCALL;
	v->stats.syscalls++;
	if (v->calls_before_gate)
		v->calls_before_gate--;
}

/* PVM raises #UD for every INT n; the gates' DPL says what it would have been: #BP, #OF, or #GP with the gate's selector. */
static void restore_int_n(struct mm *mm, struct cpu_regs *regs, struct trap *trap)
{
	uint8_t n;

	if (trap->vector != VECTOR_UD || !user_bytes_are(mm, regs->rip, 0xcd, &n))
		return;
	if (n == VECTOR_BP || n == VECTOR_OF) {
		trap->vector = n;
		regs->rip += 2;
		return;
	}
	trap->vector = VECTOR_GP;
	trap->error_code = (uint32_t)n * 8 + 2;
}

static void exception(struct vcpu *v, struct mm *mm, struct cpu_regs *regs, struct trap *trap,
		      unsigned int vector)
{
	const char *top = v->data + stack_top(vector);
	const struct exception_frame *f = (const void *)(top - sizeof(*f));

	trap->vector = (uint8_t)vector;
	trap->error_code = has_error_code(vector) ? (uint32_t)((const uint64_t *)(const void *)f)[-1] : 0;
	if ((f->cs & 3) != 3 || vector == 8 || vector == 18) {
		dead(trap, vector == 8 ? "double fault" : "exception at ring 0");
		return;
	}
	regs->rip = f->rip;
	regs->rflags = f->rflags;
	regs->rsp = f->rsp;
	if (vector == VECTOR_PF)
		trap->address = vcpu_sync(v)->sregs.cr2;
	/* A step ended on the way to the gate, or the vDSO's page is not there: the SYSCALL itself comes next. */
	if (sites_resolve(v, mm, regs) && vector != VECTOR_DB) {
		trap->kind = TRAP_KICK;
		return;
	}
	if (is_entry_fault(v, regs, trap)) {
		if (is_after_syscall(v, mm, regs)) {
			int unknown = MMU_UNKNOWN;
			atomic_compare_exchange_strong(&v->vm->mmu_kind, &unknown, MMU_PVM);
			syscall_trap(v, regs, trap);
			return;
		}
		if (is_unreadable_code(mm, regs))
			retry_syscall(regs, trap);
	}
	if (atomic_load(&v->vm->mmu_kind) == MMU_PVM)
		restore_int_n(mm, regs, trap);
	if (vector == VECTOR_PF) {
		trap->kind = TRAP_FAULT;
		v->stats.faults++;
	} else {
		trap->kind = TRAP_EXCEPTION;
		v->stats.exceptions++;
	}
}

static void io_exit(struct vcpu *v, struct mm *mm, struct cpu_regs *regs, struct trap *trap)
{
	unsigned int port = v->run->io.port;

	if (v->run->io.direction != KVM_EXIT_IO_OUT) {
		vcpu_settle(v);
		dead(trap, "port input at ring 0");
	} else if (v->run->io.size == 1 && port < 256) {
		exception(v, mm, regs, trap, port);
	} else if (v->run->io.size == 4 && port == GUEST_CALL_SYSCALL) {
		syscall_trap(v, regs, trap);
	} else {
		dead(trap, "unknown call from the entry code");
	}
}

void trap_decode(struct vcpu *v, struct mm *mm, struct cpu_regs *regs, struct trap *trap)
{
	*trap = (struct trap){.kind = TRAP_DEAD};
	vcpu_store_regs(v, regs);
	switch (v->run->exit_reason) {
	case KVM_EXIT_IO:
		io_exit(v, mm, regs, trap);
		break;
	case KVM_EXIT_MMIO:
		vcpu_settle(v);
		dead(trap, "access to guest-physical memory that does not exist");
		break;
	case KVM_EXIT_SHUTDOWN:
		dead(trap, "triple fault");
		break;
	case KVM_EXIT_HLT:
		dead(trap, "halt in the entry code");
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		vcpu_settle(v);
		dead(trap, "KVM could not emulate an instruction");
		break;
	case KVM_EXIT_FAIL_ENTRY:
		dead(trap, "the processor refused the guest's state");
		break;
	default:
		dead(trap, "unexpected exit from KVM");
		break;
	}
}
