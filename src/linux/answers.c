/* SPDX-License-Identifier: MIT */
/* answers.c - see answers.h. */
#include <sys/syscall.h>

#include "answers.h"
#include "task.h"

static bool may_tell(const struct task *t)
{
	return t->running && t->vcpu && !(t->trace & ~LODGE_TRACE_DEATH) && !t->sandbox->pause_at.fn &&
	       !atomic_load(&t->seccomp.mode);
}

static uint32_t parent_pid(const struct process *p)
{
	return p->parent ? (uint32_t)p->parent->pid : 0;
}

void answers_tell_cred(struct task *t)
{
	if (!may_tell(t))
		return;
	vcpu_set_answer(t->vcpu, SYS_getuid, t->cred.uid.real);
	vcpu_set_answer(t->vcpu, SYS_geteuid, t->cred.uid.effective);
	vcpu_set_answer(t->vcpu, SYS_getgid, t->cred.gid.real);
	vcpu_set_answer(t->vcpu, SYS_getegid, t->cred.gid.effective);
}

void answers_take_back(struct task *t)
{
	static const unsigned int told[] = {SYS_getpid,	 SYS_gettid, SYS_getppid, SYS_getuid,
					    SYS_geteuid, SYS_getgid, SYS_getegid};

	for (unsigned int i = 0; t->running && t->vcpu && i < ARRAY_SIZE(told); i++)
		vcpu_set_answer(t->vcpu, told[i], ~0u);
}

void answers_tell(struct task *t)
{
	if (!may_tell(t))
		return;
	vcpu_set_answer(t->vcpu, SYS_getpid, (uint32_t)t->pid);
	vcpu_set_answer(t->vcpu, SYS_gettid, (uint32_t)t->tid);
	vcpu_set_answer(t->vcpu, SYS_getppid, parent_pid(t->process));
	answers_tell_cred(t);
}

void answers_tell_parent(struct process *p)
{
	struct task *t;

	list_for_each_entry (t, &p->threads, thread_node)
		if (may_tell(t))
			vcpu_set_answer(t->vcpu, SYS_getppid, parent_pid(p));
}
