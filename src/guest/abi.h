/* SPDX-License-Identifier: MIT */
/*
 * abi.h - what the entry code in the guest's kernel half and the VMM agree on.
 *
 * Seen by C and by the assembler. The kernel half maps the table zone (guest-physical 0..1 GiB) twice: a data window,
 * writable and not executable, and a text window, executable and not writable. Guests run at CPL3 and can use neither.
 *
 * A trap leaves the guest by an OUT to a port that names it: a byte-wide OUT to port N is exception or interrupt vector N,
 * a dword-wide one is a GUEST_CALL.
 */
#ifndef LODGE_GUEST_ABI_H
#define LODGE_GUEST_ABI_H

#define KERNEL_DATA_BASE    0xffff800000000000
#define KERNEL_TEXT_BASE    0xffff800040000000
#define KERNEL_WINDOW_BYTES 0x40000000

/* Linux's selectors: programs see them in their segment registers. */
#define GUEST_KERNEL_CS	    0x10
#define GUEST_KERNEL_DS	    0x18
#define GUEST_USER32_CS	    0x23
#define GUEST_USER_DS	    0x2b
#define GUEST_USER_CS	    0x33
#define GUEST_TSS	    0x40

/* Ports of a dword-wide OUT. */
#define GUEST_CALL_SYSCALL  0x80 /* from LSTAR: every register still holds what the guest put there */
#define GUEST_CALL_DONE	    0x81 /* the end of a ring-0 run that does not return to the guest */

#define ENTRY_STUB_BYTES    8 /* one per vector, in a table of 256 */
#define VECTOR_NMI	    2 /* its stub alone goes on behind the OUT, with an iretq */

/* A segment whose limit is the number of the processor that a program runs on; its node is in the bits from CPU_NODE_SHIFT on. */
#define GUEST_CPU_NODE	    0x7b
#define CPU_NODE_SHIFT	    12

/*
 * Where SYSCALL leads in spaces with a gate (gate.S): for each processor a page of code and one of data, at the same addresses in every
 * space, in a slot of the root of their own. Guests that run at CPL3 of a machine without rings can read and write the data.
 */
#define GATE_BASE	    0xffff808000000000
#define GATE_STRIDE	    0x2000
#define NR_GATES	    255

/*
 * Call sites that were rewritten (docs/traps.md): behind the last gate, its code once more and behind that the space's own struct
 * sites_page. At the same place in that code and in the vDSO's page there is a slot for each site; the second leads to the first.
 */
#define SITES_BASE	    (GATE_BASE + NR_GATES * GATE_STRIDE)
#define NR_SITES	    38
#define SITE_SLOT_BYTES	    16
#define SITE_SLOTS	    (0x1000 - NR_SITES * SITE_SLOT_BYTES)
#define SITES_ENTRY	    0x00
#define SITES_SITE	    0x10 /* 16 bytes each */

/* Offsets in struct gate_page, for the assembler. */
#define GATE_STATE	    0x000
#define GATE_REGS	    0x008
#define GATE_ATTENDED	    0x0c0
#define GATE_SPIN_CLAIM	    0x0c4
#define GATE_SPIN_ANSWER    0x0c8
#define GATE_RETURN	    0x0d0
#define GATE_RCX	    0x100
#define GATE_R11	    0x108
#define GATE_NR_ANSWERED    0x110
#define GATE_COUNTDOWN	    0x118
#define GATE_SITE_RCX	    0x120
#define GATE_SITE_R11	    0x128
#define GATE_SITE_RSP	    0x130
#define GATE_NR_DIRECT	    0x138
#define GATE_STACK_TOP	    0x400
#define GATE_ANSWERS	    0x400

/* What GATE_STATE says of the mailbox (docs/traps.md); who may change it from what to what: */
#define GATE_STATE_ANSWERED 0 /* lodge, from TAKEN; the gate leaves by itself */
#define GATE_STATE_IDLE	    1 /* the gate, from ANSWERED, or lodge while the processor is out */
#define GATE_STATE_REQUEST  2 /* the gate */
#define GATE_STATE_TAKEN    3 /* lodge, from REQUEST */
#define GATE_STATE_EXIT	    4 /* lodge, from TAKEN: the gate is to exit; the gate, when it gives up */

/* Pages in front of the vDSO's image; the first begins with struct vvar. */
#define VVAR_PAGES	    4

#ifndef __ASSEMBLER__
#include <stdint.h>

/* Of a request, in the order in which the gate stores them: all that a program has but rcx and r11, which are in the page already. */
struct gate_regs {
	uint64_t rax, rdi, rsi, rdx, r10, r8, r9;
	uint64_t rsp, rbx, rbp, r12, r13, r14, r15;
	uint64_t fs_base, gs_base;
};

/*
 * What a gate reads and writes, by cache lines: the mailbox, what lodge writes, and what is the gate's own. The guest can write it at any
 * time, where it runs at the same level.
 */
struct gate_page {
	uint32_t state, unused_state;
	struct gate_regs regs;
	uint64_t unused_regs[7];
	uint32_t attended;    /* somebody looks at `state` */
	uint32_t spin_claim;  /* how often the gate looks before it gives up a request that nobody takes, */
	uint32_t spin_answer; /* and one that was taken */
	uint32_t unused_spin;
	uint64_t return_value; /* of a request that was answered */
	uint64_t unused_line[5];
	uint64_t rcx, r11;		       /* as SYSCALL left them */
	uint64_t nr_answered;		       /* by the gate itself; counted by the guest */
	uint32_t countdown, unused_countdown;  /* of answers: the one that makes it 0 takes an exit */
	uint64_t site_rcx, site_r11, site_rsp; /* of the program, on the way from a rewritten site */
	uint64_t nr_direct;		       /* calls that came that way; counted by the guest */
	uint64_t stack[(GATE_STACK_TOP - GATE_NR_DIRECT) / 8 - 1]; /* of the gate, for the flags */
	uint32_t answers
		[256]; /* by number of the call: the value to return, plus 1; 0: the gate does not know */
};

/* A call that is made by a jump; (C) once its `after` is there. */
struct gate_site {
	uint64_t after; /* the address behind its SYSCALL */
	uint64_t nr;	/* of the call */
};

/* What the code at SITES_BASE reads. The guest cannot write it. */
struct sites_page {
	uint64_t entry; /* gate_user_direct, of the one processor that runs in the space */
	uint64_t unused;
	struct gate_site site[NR_SITES];
};

#define GATE_FIELD_IS_AT(field, offset) \
	_Static_assert(__builtin_offsetof(struct gate_page, field) == (offset), "the assembler's offset")
GATE_FIELD_IS_AT(state, GATE_STATE);
GATE_FIELD_IS_AT(regs, GATE_REGS);
GATE_FIELD_IS_AT(attended, GATE_ATTENDED);
GATE_FIELD_IS_AT(spin_claim, GATE_SPIN_CLAIM);
GATE_FIELD_IS_AT(spin_answer, GATE_SPIN_ANSWER);
GATE_FIELD_IS_AT(return_value, GATE_RETURN);
GATE_FIELD_IS_AT(rcx, GATE_RCX);
GATE_FIELD_IS_AT(r11, GATE_R11);
GATE_FIELD_IS_AT(nr_answered, GATE_NR_ANSWERED);
GATE_FIELD_IS_AT(countdown, GATE_COUNTDOWN);
GATE_FIELD_IS_AT(site_rcx, GATE_SITE_RCX);
GATE_FIELD_IS_AT(site_r11, GATE_SITE_R11);
GATE_FIELD_IS_AT(site_rsp, GATE_SITE_RSP);
GATE_FIELD_IS_AT(nr_direct, GATE_NR_DIRECT);
GATE_FIELD_IS_AT(answers, GATE_ANSWERS);
_Static_assert(__builtin_offsetof(struct sites_page, entry) == SITES_ENTRY, "the assembler's offset");
_Static_assert(__builtin_offsetof(struct sites_page, site) == SITES_SITE, "the assembler's offset");

/* A time, with the fraction of a second in units of 2^-32 ns. */
struct vvar_time {
	uint64_t sec, shifted_nsec;
};

/* SYSCALL: nobody has asked yet. RDPID: the host's own number is there; the node is 0. LSL: of GUEST_CPU_NODE. */
enum vvar_cpu_by { VVAR_CPU_SYSCALL, VVAR_CPU_RDPID, VVAR_CPU_LSL };

/* Clocks that are read as a base and cycles since. */
enum vvar_clock { VVAR_MONOTONIC, VVAR_REALTIME, VVAR_BOOTTIME, VVAR_TAI, VVAR_RAW, NR_VVAR_CLOCKS };

#define VVAR_SHIFT 32

/*
 * What the vDSO makes times from. Whoever reads takes seq first and again at the end: both must be the same and even, and the time stamp
 * counter within max_cycles of cycle_last. Otherwise the system call knows better, and brings this page up to date.
 */
struct vvar {
	uint32_t seq;	   /* odd: being written, or there is nothing to read */
	uint32_t tick_ns;  /* by which the coarse clocks are behind */
	uint32_t clock_ns; /* resolution of the others */
	uint32_t cpu_by;   /* enum vvar_cpu_by: how a program learns of its processor */
	uint64_t cycle_last, max_cycles;
	uint64_t mult[2];		       /* 2^-32 ns per cycle: [1] of VVAR_RAW, [0] of all others */
	struct vvar_time base[NR_VVAR_CLOCKS]; /* at cycle_last */
};
#endif

#endif
