/* SPDX-License-Identifier: MIT */
/*
 * vcpu.h - a guest processor: runs a task's registers in a space until the next trap.
 *
 * This is the seam between what a trap means (src/linux) and how it travels (here: a KVM exit). A vCPU belongs to one
 * thread from vcpu_get to vcpu_put. vcpu_kick may be called by any thread; everything else is the owner's alone.
 */
#ifndef LODGE_VMM_VCPU_H
#define LODGE_VMM_VCPU_H

#include <signal.h>

#include "../guest/abi.h" /* the selectors that programs see */
#include "../mm/mm.h"

struct vm;
struct vcpu;

/* The registers a trap saves and restores. Vector state stays in the vCPU between runs. The order is KVM's. */
struct cpu_regs {
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rip, rflags;
	uint64_t fs_base, gs_base;
};

enum trap_kind {
	TRAP_SYSCALL, /* rcx and r11 hold rip and rflags, as the instruction leaves them; regs.rip is behind it */
	TRAP_FAULT,	/* #PF: address, error_code */
	TRAP_EXCEPTION, /* any other exception: vector, error_code; regs.rip as the processor reports it */
	TRAP_KICK,	/* vcpu_kick, or a signal for this thread */
	TRAP_DEAD,	/* the processor cannot go on: `cause` says why */
};

struct trap {
	enum trap_kind kind;
	uint8_t vector;
	uint32_t error_code;
	gva_t address;
	const char *cause; /* TRAP_DEAD: static text */
};

/* The signal that interrupts a vCPU's thread. The host installs an empty handler for it; tasks keep it unblocked. */
#define KICK_SIGNAL (SIGRTMAX - 1)

/* How system calls travel: docs/traps.md. */
enum vcpu_traps {
	VCPU_TRAPS_EXIT, /* by an exit, always */
	VCPU_TRAPS_AUTO, /* without one where that pays */
	VCPU_TRAPS_POLL, /* without one where that is possible */
};

/* A processor from the pool, or a new one. 0 or -errno. */
int vcpu_get(struct vm *vm, struct vcpu **vcpu);
/* The same for another thread, which calls vcpu_bind before anything else. */
int vcpu_take(struct vm *vm, struct vcpu **vcpu);
/* The same with the vector state of the caller's own. */
int vcpu_take_like(struct vcpu *own, struct vcpu **vcpu);
void vcpu_bind(struct vcpu *vcpu);
void vcpu_put(struct vcpu *vcpu);

/*
 * Runs `regs` at CPL3 in `mm` until a trap, and stores the registers back. Bits of rflags that a user may not change are
 * corrected; a rip outside the user half gives the trap of a fetch from there. All registers and vector state survive.
 */
void vcpu_run(struct vcpu *vcpu, struct mm *mm, struct cpu_regs *regs, struct trap *trap);

/* From the next run on; a processor from the pool has VCPU_TRAPS_EXIT. */
void vcpu_set_traps(struct vcpu *vcpu, enum vcpu_traps traps);

/*
 * Call sites in a program's text may be rewritten to go to the gate by a jump, where that is possible: sites.c. vdso: the frame of the vDSO
 * of all programs. A processor from the pool rewrites nothing.
 */
void vcpu_set_patching(struct vcpu *vcpu, pfn_t vdso);
/* A call site has been used so much that it is worth it. */
bool vcpu_has_hot_site(const struct vcpu *vcpu);
/* Rewrites it if that can be done, and forgets about it. `users`: mm_users where nobody uses the space but the task that runs here. */
void vcpu_rewrite_site(struct vcpu *vcpu, struct mm *mm, uint32_t users);

/*
 * Says what a call without arguments, of a number below 256, returns until something else is said or the processor goes back to the pool:
 * the guest may then find that answer without a trap. ~0 cannot be said, and takes the answer back. Any thread, while it has an owner.
 */
void vcpu_set_answer(struct vcpu *vcpu, unsigned int nr, uint32_t value);

/* The processors that its owner's thread may use have changed. Any thread, while it has an owner. */
void vcpu_moved(struct vcpu *vcpu);

/* Its program runs while its owner looks on: what the host says of the owner's thread is not true of the program. Likewise. */
bool vcpu_is_watched(struct vcpu *vcpu);

/* What its program has used beyond the processor time of its owner's thread; negative where that has only looked on. Likewise. */
int64_t vcpu_more_cpu_ns(struct vcpu *vcpu);

/* From its return to the next vcpu_run the program does not run: it may wait in the guest for the end of a call otherwise. */
void vcpu_recall(struct vcpu *vcpu);

/* Makes the vCPU leave the guest soon, or not enter it; sticky until its next TRAP_KICK. Any thread. */
void vcpu_kick(struct vcpu *vcpu);

/* Vector state in the XSAVE standard format: returns its size in bytes, or -errno. `area` is 64-byte aligned. */
int vcpu_get_xsave(struct vcpu *vcpu, void *area, size_t bytes);
int vcpu_set_xsave(struct vcpu *vcpu, const void *area, size_t bytes);
/* Vector state as a new program finds it. */
int vcpu_reset_fpu(struct vcpu *vcpu);

struct vcpu_stats {
	uint64_t runs; /* KVM_RUN calls */
	uint64_t syscalls, faults, exceptions, kicks;
	uint64_t nmis;		/* they change nothing for the program */
	uint64_t pokes;		/* stores that made a shadow MMU forget an entry */
	uint64_t flushes;	/* entries that began with a TLB flush */
	uint64_t polled;	/* system calls that came through the mailbox: not among `syscalls` */
	uint64_t poll_ns;	/* processor time of owners meanwhile, calls included */
	uint64_t rewritten;	/* call sites that became jumps, each time that they did */
	uint64_t not_rewritten; /* times that one was looked at which must stay */
	uint64_t
		direct; /* calls that came by such a jump, as the guest has counted them; among all others too */
	uint64_t answered; /* system calls answered without a trap, as the guest has counted them */
};

/* On its owner's thread. */
const struct vcpu_stats *vcpu_stats(struct vcpu *vcpu);

#endif
