/* SPDX-License-Identifier: MIT */
/*
 * vdso_image.S - the vDSO as the linker made it, for the host to map into every space, and at the end of its page the slots that rewritten
 * call sites jump to (docs/traps.md).
 */
#include "abi.h"

	.section .rodata.vdso, "a"
	.balign	4096
	.globl	vdso_image
vdso_image:
	.incbin	"guest/vdso.so"
	.if . - vdso_image > SITE_SLOTS
	.error	"the vDSO and the slots do not fit into one page"
	.endif
	.org	vdso_image + SITE_SLOTS
	.set	slot, SITES_BASE + SITE_SLOTS
	.rept	NR_SITES
	.balign	SITE_SLOT_BYTES
	jmp	*0f(%rip)
0:	.quad	slot
	.set	slot, slot + SITE_SLOT_BYTES
	.endr
	.balign	SITE_SLOT_BYTES
	.globl	vdso_image_end
vdso_image_end:

	.section .note.GNU-stack, "", @progbits
