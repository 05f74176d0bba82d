/* SPDX-License-Identifier: MIT */
/*
 * entry.S - the code that a guest processor executes at ring 0: it only says what happened and stops.
 *
 * No register is saved and no stack is used: the VMM reads all of them at the exit and writes all of them before the next
 * entry, so nothing continues behind an OUT. The hlt is there for a VMM that is wrong.
 * An NMI alone goes on: it may come anywhere, so only its own iretq leads back there and lets the next one in.
 */
#include "abi.h"

	.section .rodata.entry, "a"
	.balign 4096
	.globl	entry_stubs
entry_stubs:
	vector = 0
	.rept	256
	out	%al, $vector
	.if	vector == VECTOR_NMI
	iretq
	.endif
	hlt
	.balign	ENTRY_STUB_BYTES, 0xf4
	vector = vector + 1
	.endr

	.globl	entry_lstar
entry_lstar:
	out	%eax, $GUEST_CALL_SYSCALL
	hlt
	.balign	16, 0xf4
	.globl	entry_done
entry_done:
	out	%eax, $GUEST_CALL_DONE
	hlt
	.globl	entry_end
entry_end:

	.section .note.GNU-stack, "", @progbits
