/* SPDX-License-Identifier: MIT */
/*
 * oom.h - what happens when a space finds its memory full: who waits, who ends, who is asked.
 */
#ifndef LODGE_LINUX_OOM_H
#define LODGE_LINUX_OOM_H

#include <stdbool.h>

#include "../../include/lodge.h"

#define OOM_SCORE_ADJ_MAX 1000
#define OOM_TEXT_BYTES	  128

struct memcg;
struct task;

/* Of a sandbox. */
struct oom_policy {
	enum lodge_oom policy;			 /* (C) */
	enum lodge_oom_answer (*ask)(void *ctx); /* (C) LODGE_OOM_STOP; NULL: the answer is LODGE_OOM_END */
	void *ctx;				 /* (C) */
	_Atomic bool asking; /* (A) set under sandbox->lock: a task waits for the answer */
	bool stopped;	     /* (P) it was to end: text says why */
	char text[OOM_TEXT_BYTES];
};

/*
 * The caller found no memory on the account, the attempts-th time after the first. True: try again, since somebody else has
 * given memory back, or has been ended for it. False: the caller is killed, or its call is to fail (syscall_dispatch makes the
 * EFAULT of a copy that was refused so an ENOMEM). No lock is held that anybody needs who is to end.
 */
bool oom_wait(struct task *t, struct memcg *cg, unsigned int attempts);

/* A fault of the caller found no memory: to be tried again, or the task is killed. */
void oom_fault(struct task *t);
/*
 * One did. Where programs have come to take the same few pages from one another, each fault for one touch, there is no memory either,
 * though every fault is served.
 */
void oom_fault_served(struct task *t);

/* The calling thread is the task's, for oom_copy and oom_is_dying; NULL: nobody's any more. */
void oom_enter(struct task *t);
/* The same as mm_host.is_dying. */
bool oom_is_dying(void);
/* The same as mm_host.out_of_memory: for the calling thread's task. */
bool oom_copy(void *ctx, struct memcg *cg, unsigned int attempts);

#endif
