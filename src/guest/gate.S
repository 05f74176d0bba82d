/* SPDX-License-Identifier: MIT */
/*
 * gate.S - where SYSCALL leads in spaces that may answer without an exit (docs/traps.md).
 *
 * A page of this, and behind it the processor's own struct gate_page. Nothing is known of the stack, so nothing is saved there, and the
 * program's flags must be what they were, so no instruction here changes any: all decisions are made by JRCXZ, in rcx and r11, which
 * SYSCALL has given up already. Every other register is the program's until there is an answer.
 *
 * A program of which no flag is known comes in by gate_user_direct too, where a jump stands in the place of its call (sites.c).
 *
 * Twice the same: gate_user runs at CPL3 (where SYSCALL stays there), is nobody's secret and trusts nobody; gate_kernel runs at CPL0,
 * and its page is the kernel's alone. The VMM knows where a processor was that was stopped here by the labels (gate_resolve).
 */
#include "abi.h"

	/* The page lies behind the code, whatever the address of both is. */
#define PAGE(field) \page+field(%rip)

	.macro	gate_entry name, page
	.balign	4096
	.globl	gate_\name, gate_\name\()_saved, gate_\name\()_known, gate_\name\()_gave_up, gate_\name\()_answered, gate_\name\()_end
gate_\name:
	mov	%rcx, PAGE(GATE_RCX)
	mov	%r11, PAGE(GATE_R11)
gate_\name\()_saved:
	/* A program that steps (TF, bit 8) is stepped by an exit: the lowest bit of %ch, moved to the highest of %cl. */
	mov	%r11, %rcx
	movzbl	%ch, %ecx
	lea	(,%rcx,8), %ecx
	lea	(,%rcx,8), %ecx
	lea	(%rcx,%rcx), %ecx
	movzbl	%cl, %ecx
	jrcxz	1f
	jmp	gate_\name\()_exit
1:	/* The number is the low half of rax: below 256? */
	movzbl	%al, %ecx
	not	%rcx
	lea	1(%rax,%rcx), %ecx
	jrcxz	2f
	jmp	3f
2:	movzbl	%al, %ecx
	lea	PAGE(GATE_ANSWERS), %r11
	mov	(%r11,%rcx,4), %r11d
	mov	%r11, %rcx
	jrcxz	3f
	/* Lodge wants to see one of many, to learn who asks. */
	mov	PAGE(GATE_COUNTDOWN), %ecx
	lea	-1(%rcx), %ecx
	mov	%ecx, PAGE(GATE_COUNTDOWN)
	jrcxz	12f
	jmp	13f
12:	jmp	gate_\name\()_exit
13:	mov	PAGE(GATE_NR_ANSWERED), %rcx
	lea	1(%rcx), %rcx
	mov	%rcx, PAGE(GATE_NR_ANSWERED)
	lea	-1(%r11), %rax
gate_\name\()_known:
	jmp	gate_\name\()_leave

3:	mov	PAGE(GATE_ATTENDED), %ecx
	jrcxz	10f
	jmp	11f
10:	jmp	gate_\name\()_exit
11:	mov	%rax, PAGE(GATE_REGS)
	mov	%rdi, PAGE(GATE_REGS+0x08)
	mov	%rsi, PAGE(GATE_REGS+0x10)
	mov	%rdx, PAGE(GATE_REGS+0x18)
	mov	%r10, PAGE(GATE_REGS+0x20)
	mov	%r8,  PAGE(GATE_REGS+0x28)
	mov	%r9,  PAGE(GATE_REGS+0x30)
	mov	%rsp, PAGE(GATE_REGS+0x38)
	mov	%rbx, PAGE(GATE_REGS+0x40)
	mov	%rbp, PAGE(GATE_REGS+0x48)
	mov	%r12, PAGE(GATE_REGS+0x50)
	mov	%r13, PAGE(GATE_REGS+0x58)
	mov	%r14, PAGE(GATE_REGS+0x60)
	mov	%r15, PAGE(GATE_REGS+0x68)
	rdfsbase %rcx
	mov	%rcx, PAGE(GATE_REGS+0x70)
	rdgsbase %rcx
	mov	%rcx, PAGE(GATE_REGS+0x78)
	movl	$GATE_STATE_REQUEST, PAGE(GATE_STATE)
	mov	PAGE(GATE_SPIN_CLAIM), %r11d
4:	pause
	mov	PAGE(GATE_STATE), %ecx
	jrcxz	7f
	lea	-GATE_STATE_REQUEST(%rcx), %ecx
	jrcxz	5f
	mov	PAGE(GATE_SPIN_ANSWER), %r11d
	jmp	6f
5:	lea	-1(%r11), %r11d
	mov	%r11d, %ecx
	jrcxz	9f
	jmp	4b
6:	pause
	mov	PAGE(GATE_STATE), %ecx
7:	jrcxz	gate_\name\()_answered
	lea	-GATE_STATE_TAKEN(%rcx), %ecx
	jrcxz	8f
	jmp	gate_\name\()_exit
8:	lea	-1(%r11), %r11d
	mov	%r11d, %ecx
	jrcxz	9f
	jmp	6b
9:	mov	$GATE_STATE_EXIT, %ecx
	xchg	%ecx, PAGE(GATE_STATE)
gate_\name\()_gave_up:
	/* An answer that came between the last look and this counts. */
	jrcxz	gate_\name\()_answered
gate_\name\()_exit:
	mov	PAGE(GATE_R11), %r11
	mov	PAGE(GATE_RCX), %rcx
	.endm

	/* Between the two: the exit. Then the way back to the program. */
	.macro	gate_return name, page
gate_\name\()_answered:
	mov	PAGE(GATE_RETURN), %rax
	movl	$GATE_STATE_IDLE, PAGE(GATE_STATE)
gate_\name\()_leave:
	mov	PAGE(GATE_R11), %r11
	mov	PAGE(GATE_RCX), %rcx
	.endm

	.section .rodata.gate, "a"
	gate_entry user, gate_user+4096
	jmp	*gate_user_out(%rip)
	gate_return user, gate_user+4096
	jmp	*%rcx
	.balign	8
	.globl	gate_user_out
gate_user_out:
	.quad	0 /* entry_lstar, which cannot be fetched from CPL3: the fault is the exit */

	/*
	 * From a rewritten site: rax is the address of its struct gate_site. What SYSCALL would have done is done here. The program's flags
	 * go by way of a stack of the gate's own, for the program's may have something below rsp.
	 */
	.globl	gate_user_direct, gate_user_direct_saved, gate_user_direct_called
gate_user_direct:
	mov	%rcx, gate_user+4096+GATE_SITE_RCX(%rip)
	mov	%r11, gate_user+4096+GATE_SITE_R11(%rip)
	mov	%rsp, gate_user+4096+GATE_SITE_RSP(%rip)
gate_user_direct_saved:
	lea	gate_user+4096+GATE_STACK_TOP(%rip), %rsp
	pushfq
	pop	%r11
	mov	gate_user+4096+GATE_SITE_RSP(%rip), %rsp
	mov	gate_user+4096+GATE_NR_DIRECT(%rip), %rcx
	lea	1(%rcx), %rcx
	mov	%rcx, gate_user+4096+GATE_NR_DIRECT(%rip)
	mov	(%rax), %rcx
	mov	8(%rax), %eax
gate_user_direct_called:
	jmp	gate_user

	/* At SITES_BASE, where struct sites_page lies behind it: what the slots of the vDSO jump to. */
	.org	gate_user + SITE_SLOTS
	.set	site, 0
	.rept	NR_SITES
	.balign	SITE_SLOT_BYTES
	lea	gate_user+4096+SITES_SITE+16*site(%rip), %rax
	jmp	*gate_user+4096+SITES_ENTRY(%rip)
	.set	site, site + 1
	.endr
gate_user_end:

	gate_entry kernel, gate_kernel+4096
	out	%eax, $GUEST_CALL_SYSCALL
	hlt
	gate_return kernel, gate_kernel+4096
	sysretq
gate_kernel_end:

	.section .note.GNU-stack, "", @progbits
