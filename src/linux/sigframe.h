/* SPDX-License-Identifier: MIT */
/*
 * sigframe.h - what a signal handler finds on its stack, and the way back from it.
 *
 * Linux's rt_sigframe for x86-64 (struct ucontext and siginfo, arch/x86/include/asm/sigframe.h), below it in
 * address order, 64-byte aligned: the vector state in the XSAVE standard format with Linux's software header
 * and trailer.
 *
 *	rsp ->  pretcode | ucontext | siginfo | ... | XSAVE area | FP_XSTATE_MAGIC2 | ... | interrupted stack
 *
 * A frame is guest memory: whatever comes back from it has been checked before it reaches the processor.
 */
#ifndef LODGE_LINUX_SIGFRAME_H
#define LODGE_LINUX_SIGFRAME_H

#include "signal.h"

/*
 * Pushes a frame that will restore the registers and `mask`, and points the registers at the handler of ka.
 * fc may be NULL. 0, or -EFAULT when the stack cannot take it (the registers are as they were).
 */
int sigframe_push(struct task *t, const struct ksigaction *ka, const siginfo_t *info, uint64_t mask,
		  const struct fault_context *fc);

/*
 * Restores registers, vector state, mask and alternate stack from the frame at rsp - 8. 0, or -EFAULT: a bad
 * frame.
 */
int sigframe_pop(struct task *t);

#endif
