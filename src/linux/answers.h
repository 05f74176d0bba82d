/* SPDX-License-Identifier: MIT */
/*
 * answers.h - calls whose answer is known beforehand: who a task is. Its processor may give it without a trap (vcpu_set_answer).
 *
 * Whoever changes one of these tells it before anybody can know of the change. Traced tasks have none, so that each call is seen.
 */
#ifndef LODGE_LINUX_ANSWERS_H
#define LODGE_LINUX_ANSWERS_H

struct process;
struct task;

/* With sandbox->lock held: none any more, since each call is to be looked at. */
void answers_take_back(struct task *t);

/* With sandbox->lock held: all of a task that runs, or is about to. */
void answers_tell(struct task *t);

/* The same for its user and group numbers. */
void answers_tell_cred(struct task *t);

/* The same for the parent of a process. */
void answers_tell_parent(struct process *p);

#endif
