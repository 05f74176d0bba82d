/* SPDX-License-Identifier: MIT */
/*
 * regs.S - every general register survives system calls and page faults.
 *
 * Freestanding, so that nothing but this file touches a register. Exit status: 0, or the number of the first
 * check that failed. Registers hold their number in every byte and the round on top, so a mix-up shows. The
 * red zone below rsp is filled before each trap and checked after it.
 */
#define ROUNDS 400

#define SYS_munmap 11
#define SYS_mmap 9
#define SYS_getpid 39
#define SYS_exit 60

	.macro pattern reg, byte
	movabs $(0x0101010101010101 * \byte), \reg
	xor round(%rip), \reg
	.endm

	/* Fails with `number` unless reg still holds its pattern. Clobbers nothing but flags. */
	.macro expect reg, byte, number
	movq \reg, seen(%rip)
	pattern \reg, \byte
	cmpq \reg, seen(%rip)
	movl $\number, failed(%rip)
	jne fail
	.endm

	.macro fill_all
	pattern %rbx, 0x11
	pattern %rdx, 0x12
	pattern %rsi, 0x13
	pattern %rdi, 0x14
	pattern %rbp, 0x15
	pattern %r8, 0x18
	pattern %r9, 0x19
	pattern %r10, 0x1a
	pattern %r12, 0x1c
	pattern %r13, 0x1d
	pattern %r14, 0x1e
	pattern %r15, 0x1f
	.endm

	.macro expect_all first
	expect %rbx, 0x11, \first
	expect %rdx, 0x12, \first+1
	expect %rsi, 0x13, \first+2
	expect %rdi, 0x14, \first+3
	expect %rbp, 0x15, \first+4
	expect %r8, 0x18, \first+5
	expect %r9, 0x19, \first+6
	expect %r10, 0x1a, \first+7
	expect %r12, 0x1c, \first+8
	expect %r13, 0x1d, \first+9
	expect %r14, 0x1e, \first+10
	expect %r15, 0x1f, \first+11
	.endm

	/* The 128 bytes below rsp; uses rax. */
	.macro fill_red_zone
	movabs $0x7265647a6f6e6521, %rax
	xor round(%rip), %rax
	.set offset, 8
	.rept 16
	movq %rax, -offset(%rsp)
	.set offset, offset + 8
	.endr
	.endm

	.macro expect_red_zone number
	movl $\number, failed(%rip)
	movabs $0x7265647a6f6e6521, %rax
	xor round(%rip), %rax
	.set offset, 8
	.rept 16
	cmpq %rax, -offset(%rsp)
	jne fail
	.set offset, offset + 8
	.endr
	.endm

	.bss
	.balign 8
round:	.skip 8
seen:	.skip 8
stack:	.skip 8
page:	.skip 8
flags:	.skip 8
failed:	.skip 4

	.text
	.globl _start
_start:
	movq %rsp, stack(%rip)
next_round:
	/* A fresh page that nobody has touched. */
	movl $SYS_mmap, %eax
	xor %edi, %edi
	movl $4096, %esi
	movl $3, %edx
	movl $0x22, %r10d
	movq $-1, %r8
	xor %r9d, %r9d
	syscall
	movl $90, failed(%rip)
	cmpq $-4096, %rax
	ja fail
	movq %rax, page(%rip)

	fill_red_zone
	fill_all
	/* Carry and direction must come back as they were. */
	movl $SYS_getpid, %eax
	stc
	std
	syscall
after_syscall:
	cld
	movq %r11, flags(%rip)
	movl $1, failed(%rip)
	testq %rax, %rax
	jle fail
	/* rcx: where the call returns to */
	leaq after_syscall(%rip), %rax
	movl $2, failed(%rip)
	cmpq %rax, %rcx
	jne fail
	/* r11: the flags of before, with CF, DF and IF */
	movl $3, failed(%rip)
	movq flags(%rip), %rax
	andl $0x601, %eax
	cmpl $0x601, %eax
	jne fail
	movl $4, failed(%rip)
	cmpq stack(%rip), %rsp
	jne fail
	expect_all 10
	expect_red_zone 5

	/* The same over a fault, where rax, rcx and r11 count too: read (zero page), then write (copy). */
	fill_red_zone
	fill_all
	pattern %rcx, 0x21
	pattern %r11, 0x22
	movq page(%rip), %rax
	cmpb $1, (%rax)
	expect %rcx, 0x21, 30
	expect %r11, 0x22, 31
	expect_all 40
	movb $1, (%rax)
	movl $32, failed(%rip)
	cmpq page(%rip), %rax
	jne fail
	pattern %rcx, 0x21
	expect %rcx, 0x21, 33
	expect %r11, 0x22, 34
	expect_all 60
	movl $6, failed(%rip)
	cmpq stack(%rip), %rsp
	jne fail
	expect_red_zone 7

	movl $SYS_munmap, %eax
	movq page(%rip), %rdi
	movl $4096, %esi
	syscall
	movl $91, failed(%rip)
	testq %rax, %rax
	jne fail
	incq round(%rip)
	cmpq $ROUNDS, round(%rip)
	jb next_round

	/* Done: the segment registers of a Linux program. */
	mov %cs, %eax
	movl $80, failed(%rip)
	cmpw $0x33, %ax
	jne fail
	mov %ss, %eax
	movl $81, failed(%rip)
	cmpw $0x2b, %ax
	jne fail

	/*
	 * An unknown number; a number whose upper half is junk is the lower half's call: 0xffffffff00000009
	 * is mmap.
	 */
	movl $82, failed(%rip)
	movl $9999, %eax
	syscall
	cmpq $-38, %rax
	jne fail
	movl $83, failed(%rip)
	movabs $0xffffffff00000009, %rax
	xor %edi, %edi
	movl $4096, %esi
	movl $3, %edx
	movl $0x22, %r10d
	movq $-1, %r8
	xor %r9d, %r9d
	syscall
	cmpq $-4096, %rax
	ja fail
	movb $1, (%rax)
	/* A negative number is unknown too. */
	movl $84, failed(%rip)
	movq $-1, %rax
	syscall
	cmpq $-38, %rax
	jne fail
	/* A stack pointer is nobody's business but the program's. */
	movl $85, failed(%rip)
	movabs $0x8000000000000000, %rsp
	movl $SYS_getpid, %eax
	syscall
	testq %rax, %rax
	jle fail
	movabs $0x8000000000000000, %rax
	cmpq %rax, %rsp
	jne fail
	movl $0, failed(%rip)
fail:
	movl failed(%rip), %edi
	movl $SYS_exit, %eax
	syscall
	ud2
