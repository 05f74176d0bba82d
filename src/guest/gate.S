/* SPDX-License-Identifier: MIT */
/*
 * gate.S - where SYSCALL leads in spaces that may answer without an exit (docs/traps.md).
 *
 * A page of this, and behind it the processor's own struct gate_page. Nothing is known of the stack, so nothing is saved there, and the
 * program's flags must be what they were, so no instruction here changes any: all decisions are made by JRCXZ, in rcx and r11, which
 * SYSCALL has given up already. Every other register is the program's until there is an answer.
 *
 * Twice the same: gate_user runs at CPL3 (where SYSCALL stays there), is nobody's secret and trusts nobody; gate_kernel runs at CPL0,
 * and its page is the kernel's alone. The VMM knows where a processor was that was stopped here by the labels (src/vmm/gate.c).
 */
#include "abi.h"

	/* The page lies behind the code whatever the address of both is. */
	.macro	gate_code name, page
	.balign	4096
	.globl	gate_\name, gate_\name\()_saved, gate_\name\()_leave, gate_\name\()_call, gate_\name\()_end
gate_\name:
	mov	%rcx, \page+GATE_RCX(%rip)
	mov	%r11, \page+GATE_R11(%rip)
gate_\name\()_saved:
	/* A program that steps (TF, bit 8) is stepped by an exit: the lowest bit of %ch, moved to the highest of %cl. */
	mov	%r11, %rcx
	movzbl	%ch, %ecx
	lea	(,%rcx,8), %ecx
	lea	(,%rcx,8), %ecx
	lea	(%rcx,%rcx), %ecx
	movzbl	%cl, %ecx
	jrcxz	1f
	jmp	3f
1:	/* The number is the low half of rax: below 256? */
	movzbl	%al, %ecx
	not	%rcx
	lea	1(%rax,%rcx), %ecx
	jrcxz	2f
	jmp	3f
2:	movzbl	%al, %ecx
	lea	\page+GATE_ANSWERS(%rip), %r11
	mov	(%r11,%rcx,4), %r11d
	mov	%r11, %rcx
	jrcxz	3f
	mov	\page+GATE_NR_ANSWERED(%rip), %rcx
	lea	1(%rcx), %rcx
	mov	%rcx, \page+GATE_NR_ANSWERED(%rip)
	lea	-1(%r11), %rax
gate_\name\()_leave:
	mov	\page+GATE_R11(%rip), %r11
	mov	\page+GATE_RCX(%rip), %rcx
	.endm

	.section .rodata.gate, "a"
	gate_code user, gate_user+4096
	jmp	*%rcx
gate_user_call:
3:	mov	gate_user+4096+GATE_R11(%rip), %r11
	mov	gate_user+4096+GATE_RCX(%rip), %rcx
	jmp	*gate_user_exit(%rip)
	.balign	8
	.globl	gate_user_exit
gate_user_exit:
	.quad	0 /* entry_lstar, which cannot be fetched from CPL3: the fault is the exit */
gate_user_end:

	gate_code kernel, gate_kernel+4096
	sysretq
gate_kernel_call:
3:	mov	gate_kernel+4096+GATE_R11(%rip), %r11
	mov	gate_kernel+4096+GATE_RCX(%rip), %rcx
	out	%eax, $GUEST_CALL_SYSCALL
	hlt
gate_kernel_end:

	.section .note.GNU-stack, "", @progbits
