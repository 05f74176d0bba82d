/* SPDX-License-Identifier: MIT */
/* vdso_image.S - the vDSO as the linker made it, for the host to map into every space. */
	.section .rodata.vdso, "a"
	.balign	4096
	.globl	vdso_image
vdso_image:
	.incbin	"guest/vdso.so"
	.globl	vdso_image_end
vdso_image_end:
	.if vdso_image_end - vdso_image > 4096
	.error	"the vDSO does not fit into its page"
	.endif

	.section .note.GNU-stack, "", @progbits
