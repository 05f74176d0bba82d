/* SPDX-License-Identifier: MIT */
/*
 * kvm.h - the inside of the machine: what the files of this room share.
 *
 * Lock order: vm->patch_lock, all locks of spaces, vm->poke_lock, then vm->lock, then vm->gate_lock, then a zone's lock. poke_lock is held while a processor runs at ring 0 only. Fields: (L) vm->lock  (K) vm->poke_lock  (G) vm->gate_lock  (A) atomic  (C) constant after creation  (O) owner thread.
 */
#ifndef LODGE_VMM_KVM_H
#define LODGE_VMM_KVM_H

#include <linux/kvm.h>

#include "../guest/abi.h"
#include "../mm/cpu.h"
#include "../mm/gather.h"
#include "../uffd/arena.h"
#include "boot.h"
#include "runner.h"
#include "sites.h"
#include "vcpu.h"
#include "vm.h"

#define MAX_POKES    2048

#define CR4_FSGSBASE (1u << 16)

/* What is known of the machine's MMU. */
enum mmu_kind {
	MMU_UNKNOWN,
	MMU_HARDWARE, /* nested paging: a reload of cr3 forgets everything */
	MMU_SHADOW, /* entries are cached until the guest itself stores to them: pokes, then a reload of cr3 */
	MMU_PVM,    /* the same, but SYSCALL stays at CPL3 and a poke alone is enough */
};

struct vm {
	int kvm_fd, fd;
	int load_fd;  /* /proc/loadavg, or -1 */
	int tasks_fd; /* /proc/self/task, or -1 */
	struct arena *arena;
	struct mm_host mm_host;
	struct kvm_cpuid2 *cpuid;      /* (C) */
	uint32_t run_bytes;	       /* (C) size of a vCPU's shared page */
	uint32_t xsave_bytes;	       /* (C) */
	uint64_t xcr0;		       /* (C) 0: the machine does not let us choose */
	uint64_t cr4;		       /* (C) */
	gva_t idt, stubs, lstar, done; /* (C) in the kernel half */
	gpa_t kernel_root;	       /* (C) page tables with the kernel half only, for runs at ring 0 */
	struct page *image;	       /* (C) entry code, idt, tables of the kernel half: one block */
	pfn_t gate_code[2];	       /* (C) of gate.S: for CPL3, for CPL0 */
	_Atomic int mmu_kind;	       /* (A) enum mmu_kind */
	_Atomic bool broken;	       /* (A) a revocation was lost: nothing may run any more */

	struct boot boot; /* boot.h */

	pthread_mutex_t lock;
	struct vcpu *all;	    /* (L) every vCPU ever made */
	struct vcpu *idle;	    /* (L) those nobody owns */
	unsigned int nr_vcpus;	    /* (L) */
	_Atomic uint32_t nr_active; /* (A) vCPUs with an owner */
	_Atomic uint32_t nr_slots;  /* (A) */

	_Atomic uint64_t tlb_gen; /* (A) counts revocations */

	pthread_mutex_t gate_lock; /* gate.c */

	pthread_mutex_t patch_lock;	  /* sites.c */
	_Atomic uint32_t nr_rewritten;	  /* (A) sites at this moment */
	_Atomic uint64_t nr_pages_undone; /* (A) */

	pthread_mutex_t poke_lock;
	_Atomic uint32_t nr_pokes; /* (A) written under poke_lock */
	uint32_t poke[MAX_POKES];  /* (K) gpa: a multiple of 8 pokes one entry, an odd one a whole table */
	uint64_t poke_epoch;	   /* (K) counts how often the list was emptied */
	struct list_head stale;	   /* (K) freed tables whose poke is in the list */
};

/* What a vCPU needs in guest memory: one page of data, one of code that the VMM writes. */
#define CPU_GDT	      0x000
#define CPU_TSS	      0x080
#define CPU_RSP0      0x800
#define CPU_IST_DF    0xa00
#define CPU_IST_NMI   0xc00
#define CPU_IST_MC    0xe00
#define CPU_IST_DB    0x1000
#define THUNK_OFFSET  0x1000
#define THUNK_BYTES   0x1000

/* Where a SYSCALL was seen: see is_after_syscall. */
#define SYSCALL_SITES 16u

struct syscall_site {
	const struct mm *mm;
	gva_t after;
};

/* What mailbox.c knows of a processor. */
struct mailbox {
	bool on;			  /* calls go that way */
	struct cpu_regs call;		  /* the request that was taken last */
	uint64_t calls;			  /* of this session, that were answered there */
	unsigned int exits;		  /* since the last of them */
	unsigned int dense, dense_needed; /* exits for calls, in quick succession */
	uint64_t last_ns;		  /* when one was seen */
	uint64_t not_before_ns;		  /* there is a session */
	uint64_t pause_ns;		  /* after the next one that has no core */
	uint64_t checked_ns, waited_ns;	  /* when its threads' waiting was looked at, and what it was then */
	uint64_t fine_ns;		  /* how long sessions have had their cores, since one had not */
};

struct vcpu {
	struct vm *vm;
	int fd;
	unsigned int id;
	struct kvm_run *run;		   /* shared with KVM */
	struct kvm_sregs user;		   /* (C) as at CPL3; fs, gs and cr3 are filled in for each run */
	struct kvm_sregs kernel;	   /* (C) as at ring 0 */
	struct page *area;		   /* two frames */
	char *data;			   /* their bytes */
	gva_t data_va, text_va;		   /* in the kernel half */
	struct vcpu *next_all, *next_idle; /* (L) */
	pthread_t owner;		   /* (O) */
	_Atomic(struct mm *) mm;	   /* (A) the space it last entered */
	_Atomic bool in_guest;		   /* (A) */
	_Atomic bool kicked;		   /* (A) */
	_Atomic uint64_t tlb_gen;	   /* (A) of the last flush */
	gpa_t root;			   /* (O) page tables it last entered; 0: none */
	unsigned int thunk_body;	   /* (O) bytes of the last thunk without its ending */
	uint32_t thunk_pokes;		   /* (O) how many of vm->poke it carried */
	uint64_t thunk_epoch;		   /* (O) vm->poke_epoch when it was written */
	_Atomic int cpu;		   /* (A) of the host, that its GDT tells of; -1: none yet */
	enum vcpu_traps traps;		   /* (O) */
	unsigned int calls_before_gate;	   /* (O) until the space it is in gets a gate for it */
	gva_t lstar;			   /* (O) where SYSCALL leads */
	_Atomic(struct gate_page *) gate;  /* (A) written under gate_lock; of gate_mm. NULL: none */
	_Atomic(struct mm *) gate_mm;	   /* (A) likewise */
	uint32_t answers[256];		   /* (G) as in struct gate_page */
	struct mailbox mailbox;		   /* (O) */
	struct runner runner;
	_Atomic bool moved; /* (A) its owner's processors have changed */
	bool through_thunk; /* (O) of the run that is being made; the runner's while it is lent, as the next two */
	bool unfinished;			 /* it was interrupted in the thunk */
	int run_error;				 /* what it ended with */
	bool used;				 /* (O) a program ran on it: its vector state is not fresh */
	struct syscall_site site[SYSCALL_SITES]; /* (O) by return address */
	pfn_t vdso_pfn;				 /* (O) the page with the slots; 0: no site is rewritten */
	struct hot_site hot[HOT_SITES];		 /* (O) by return address */
	struct hot_site hottest; /* (O) to be rewritten before the next run; after == 0: none */
	unsigned int look_every; /* (O) of how many answers of a gate one is let pass; 0: all, up to now */
	struct sites *sites;	 /* (O) of gate_mm; NULL: it had none when the gate was opened */
	struct vcpu_stats stats; /* (O) */
};

/* Bits of rflags. */
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

/* The processor that this thread owns, or NULL. */
extern _Thread_local struct vcpu *current_vcpu;

static inline struct kvm_sync_regs *vcpu_sync(struct vcpu *v)
{
	return &v->run->s.regs;
}

/* Whether the next KVM_RUN returns at once; KVM reads it, and a kick writes it, at any time. */
static inline void set_immediate_exit(struct vcpu *v, bool on)
{
	__atomic_store_n(&v->run->immediate_exit, on, __ATOMIC_SEQ_CST);
}

/* --- thunk.c: code written for one entry ----------------------------------------------------------------------------- */

struct thunk {
	char *code;
	gva_t va; /* of code[0] as executed */
	unsigned int used;
};

void thunk_begin(struct thunk *t, struct vcpu *v);
/* A store to guest-physical `gpa` that changes nothing. False: the page is full. */
bool thunk_poke(struct thunk *t, uint32_t gpa);
void thunk_reload_cr3(struct thunk *t);
/* Ends with a return to the frame on the stack, or with the exit GUEST_CALL_DONE. */
void thunk_iretq(struct thunk *t);
void thunk_done(struct thunk *t, struct vm *vm);

/* Lays out the frame that thunk_iretq returns to; returns the stack pointer to start with. */
gva_t thunk_frame(struct vcpu *v, const struct cpu_regs *regs);

/* --- vcpu.c, run.c ---------------------------------------------------------------------------------------------------------- */

void vcpu_destroy_all(struct vm *vm);

/* Makes a processor for the pool. 0 or -errno. */
int vcpu_prepare(struct vm *vm);

/* Runs at ring 0 from `rip` with `stack` until GUEST_CALL_DONE. 0, or -EFAULT when it ended otherwise. */
int vcpu_run_ring0(struct vcpu *v, gva_t rip, gva_t stack);

/* The registers of the last exit. */
void vcpu_store_regs(struct vcpu *v, struct cpu_regs *regs);

/* What a program may have in rflags. */
uint64_t vcpu_user_rflags(uint64_t flags);

/* Makes the run that vcpu_run has prepared, on the owner's thread or the runner's. */
void vcpu_run_entered(struct vcpu *v);

/* KVM_RUN with sync_regs; 0 or -errno. */
int vcpu_enter(struct vcpu *v);
/* The same until something else than an NMI ends it. */
int vcpu_enter_past_nmis(struct vcpu *v);

/* Completes an access that KVM still wants to finish, so that registers set from now on are kept. */
void vcpu_settle(struct vcpu *v);

/* Where SYSCALL leads from the next entry on. 0 or -errno. */
int vcpu_set_lstar(struct vcpu *v, gva_t lstar);

/* --- gate.c: what SYSCALL may find instead of an exit ---------------------------------------------------------------- */

/* Writes the code of all gates, which stays, into two frames: what runs at CPL3, what runs at CPL0. */
void gate_write_code(struct vm *vm, struct page *user, struct page *kernel);

/* Gives `v`, which is between runs, its gate in this space, and says there what it can answer. 0 or -errno: SYSCALL exits. */
int gate_open(struct vcpu *v, struct mm *mm);
/* It serves another task from now on; nothing is answered any more. */
void gate_leave(struct vcpu *v);
/* Adds what the gate has answered to v->stats. */
void gate_count(struct vcpu *v);
/* mmu_ops.release. */
void gate_release(void *ctx, struct mm *mm, struct list_head *freed);

/* The processor was stopped in its gate. */
bool gate_holds(struct vcpu *v, uint64_t rip);

enum gate_stop {
	GATE_CALLS,    /* before anything was answered: it is a system call like any other */
	GATE_ANSWERED, /* on its way back with the answer */
};

/* What sites.c needs: the table of a space, made if it is wanted and not there. NULL: no memory, or none. */
struct sites *gate_sites(struct vm *vm, struct mm *mm, bool make);
/* Where a rewritten site leads to on this processor. */
gva_t gate_direct_entry(const struct vcpu *v);
/* Between there and the gate, where a call is as good as not made; gives the program back what was put by there. */
bool gate_on_direct_way(struct vcpu *v, uint64_t rip);
void gate_leave_direct_way(struct vcpu *v, struct cpu_regs *regs);

/* Makes the registers of such a stop those of the program behind its SYSCALL. */
enum gate_stop gate_resolve(struct vcpu *v, struct cpu_regs *regs);

/* --- mailbox.c: calls without an exit. v is the caller's own ---------------------------------------------------------------- */

/* For another task. */
void mailbox_reset(struct vcpu *v);
/* A call has come by an exit. */
void mailbox_note_exit(struct vcpu *v);
/* Should the next run be the runner's? */
bool mailbox_wanted(struct vcpu *v, const struct mm *mm);
/* What the gate finds from the next run on. */
void mailbox_set(struct vcpu *v, bool attended);
/* The processor is lent. True: a call was taken, with its registers. False: the processor is out. */
bool mailbox_wait(struct vcpu *v, struct cpu_regs *regs);
/* A call that is waiting in the mailbox, if there is one. */
bool mailbox_take(struct vcpu *v, struct cpu_regs *regs);
/* Answers the call that was taken by these registers. False: it cannot be done that way. */
bool mailbox_reply(struct vcpu *v, const struct cpu_regs *regs);
/* Sends the program that waits for an answer out. */
void mailbox_dismiss(struct vcpu *v);

/* --- cores.c: processors for both threads of a session -------------------------------------------------------------------- */

/* Of `nr_cpus` processors one is left at this moment, besides that of the caller. */
bool cores_are_free(const struct vm *vm, unsigned int nr_cpus);
/* A descriptor for what the calling thread waits, the caller's to close; -1: there is none. */
int cores_watch_me(const struct vm *vm);
/* How long owner and runner have waited for a processor while they could run, so far. */
uint64_t cores_waited_ns(const struct runner *r);

/* --- trap.c: from an exit to a trap ---------------------------------------------------------------------------------- */

void trap_decode(struct vcpu *v, struct mm *mm, struct cpu_regs *regs, struct trap *trap);

/* --- shootdown.c ----------------------------------------------------------------------------------------------------- */

extern const struct mmu_ops vm_mmu_ops;

/* True when the next entry of `v` into `mm` must forget something first. */
bool shootdown_pending(struct vcpu *v, struct mm *mm);
/*
 * Does it, or, where that can be part of the entry itself, writes the thunk and returns true: the caller then starts at
 * the thunk with a frame of the user's registers.
 */
bool shootdown_prepare(struct vcpu *v);
/* After that entry; unfinished: it was interrupted inside the thunk, whose work is done now instead. */
void shootdown_finish(struct vcpu *v, bool unfinished);
/* Gives the quarantined tables back at the end of the machine. */
void shootdown_destroy(struct vm *vm);

/* --- selftest.c ------------------------------------------------------------------------------------------------------ */

/* Finds out what the MMU is, on `v`, which is between runs. 0 or -EIO. */
int selftest_run(struct vm *vm, struct vcpu *v);

#endif
