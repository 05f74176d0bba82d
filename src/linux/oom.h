/* SPDX-License-Identifier: MIT */
/*
 * oom.h - who ends when a fault finds the sandbox's memory full.
 */
#ifndef LODGE_LINUX_OOM_H
#define LODGE_LINUX_OOM_H

#define OOM_SCORE_ADJ_MAX 1000

struct task;

/*
 * A fault of the caller found no memory. Waits for memory that is being given back, or ends the worst process of the sandbox
 * and waits for its memory: the fault is then to be tried again. Or the caller is the worst, and is dead.
 */
void oom_fault(struct task *t);

#endif
