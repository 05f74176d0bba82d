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

#endif
