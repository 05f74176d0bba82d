/* SPDX-License-Identifier: MIT */
/*
 * patch.h - call sites in a task's text that were rewritten to go to its gate by a jump (src/vmm/sites.c), and what must find the text as
 * it was: calls that change, move or lock it, calls that copy the space, and whoever reads it from outside. A space has such sites while
 * it has one user alone, so most of it is a look ahead of a call by the task itself.
 *
 * Not here: a program that reads its own text by instructions, or hands it to write(2): it sees the jump (docs/traps.md).
 */
#ifndef LODGE_LINUX_PATCH_H
#define LODGE_LINUX_PATCH_H

#include "task.h"

/* At its start: what its sandbox allows. */
void patch_allow(struct task *t);

/* Between two runs: the call site that its processor has found is rewritten, if the task is alone in its space. */
void patch_rewrite(struct task *t);

/* In front of each call of a task. */
void patch_before_call(struct task *t, int nr, const uint64_t a[6]);

/* Before somebody looks into a space, whose user he is or whose tasks stand still. */
void patch_undo(struct mm *mm);

#endif
