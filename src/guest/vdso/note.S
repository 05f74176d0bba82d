/* SPDX-License-Identifier: MIT */
/* note.S - the version of Linux whose ABI the image has, as loaders read it: 6.18. */
	.section .note.Linux, "a", @note
	.balign	4
	.long	2f - 1f, 4f - 3f, 0
1:	.asciz	"Linux"
2:	.balign	4
3:	.long	6 << 16 | 18 << 8
4:	.balign	4
