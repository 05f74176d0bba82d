/* SPDX-License-Identifier: MIT */
/* seccomp.c - see seccomp.h. */
#include <errno.h>
#include <linux/audit.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "answers.h"
#include "bpf.h"
#include "seccomp.h"
#include "syscall.h"

#define PATH_MAX_INSNS	   32768 /* of a chain, each filter counted as four more than it has */
#define FILTER_COST	   4
#define SYS_SECCOMP_CODE   1 /* si_code of SIGSYS */
#define MAX_RETURNED_ERRNO 4095
#define KNOWN_FLAGS                                                                             \
	(SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW | \
	 SECCOMP_FILTER_FLAG_TSYNC_ESRCH)

struct seccomp_filter {
	_Atomic uint32_t refs;
	struct seccomp_filter *before; /* (C) the older one, one reference */
	unsigned int length;	       /* (C) */
	struct sock_filter program[];  /* (C) sound */
};

/* --- chains ---------------------------------------------------------------------------------- */

static struct seccomp_filter *filter_share(struct seccomp_filter *f)
{
	if (f)
		atomic_fetch_add(&f->refs, 1);
	return f;
}

static void filter_put(struct seccomp_filter *f)
{
	while (f && atomic_fetch_sub(&f->refs, 1) == 1) {
		struct seccomp_filter *before = f->before;

		free(f);
		f = before;
	}
}

void seccomp_share(struct seccomp *to, const struct seccomp *from)
{
	atomic_store(&to->mode, atomic_load(&from->mode));
	to->filter = filter_share(from->filter);
}

void seccomp_drop(struct seccomp *s)
{
	filter_put(s->filter);
	s->filter = NULL;
}

unsigned int seccomp_nr_filters(const struct seccomp *s)
{
	unsigned int nr = 0;

	for (const struct seccomp_filter *f = s->filter; f; f = f->before)
		nr++;
	return nr;
}

bool seccomp_is_used(struct sandbox *s)
{
	struct process *p;
	struct task *t;

	list_for_each_entry (p, &s->processes, node)
		list_for_each_entry (t, &p->threads, thread_node)
			if (atomic_load(&t->seccomp.mode))
				return true;
	return false;
}

/* --- calls ----------------------------------------------------------------------------------- */

/* The thread ends; its process as well if it is the last. */
static void end_thread(struct task *t, int signo)
{
	pthread_mutex_lock(&t->sandbox->lock);
	bool last = t->process->nr_threads == 1;
	pthread_mutex_unlock(&t->sandbox->lock);
	if (last) {
		task_die(t, signo);
		return;
	}
	t->exited = true;
	t->exit_code = signo;
}

static bool strict_allows(struct task *t, int nr)
{
	if (nr == SYS_read || nr == SYS_write || nr == SYS_exit || nr == SYS_rt_sigreturn)
		return true;
	end_thread(t, SIGKILL);
	return false;
}

static uint32_t action_of(uint32_t result)
{
	return result & SECCOMP_RET_ACTION_FULL;
}

/* The severest is the smallest, as a signed number. */
static uint32_t run_filters(struct task *t, const struct seccomp_data *data)
{
	uint32_t worst = SECCOMP_RET_ALLOW;
	struct seccomp_filter *chain;

	pthread_mutex_lock(&t->sandbox->lock);
	chain = filter_share(t->seccomp.filter);
	pthread_mutex_unlock(&t->sandbox->lock);
	for (const struct seccomp_filter *f = chain; f; f = f->before) {
		uint32_t result = bpf_run(f->program, data);
		if ((int32_t)action_of(result) < (int32_t)action_of(worst))
			worst = result;
	}
	filter_put(chain);
	return worst;
}

/* The handler finds the registers as they were before the call, and sees to its result. */
static int64_t trap(struct task *t, int nr, uint32_t data)
{
	siginfo_t info = {.si_signo = SIGSYS, .si_code = SYS_SECCOMP_CODE, .si_errno = (int)data};
	void *at = (void *)t->regs.rip;

	info.si_call_addr = at;
	info.si_syscall = nr;
	info.si_arch = AUDIT_ARCH_X86_64;
	signal_force_info(t, &info);
	return (int64_t)t->regs.rax;
}

bool seccomp_allows(struct task *t, int nr, const uint64_t a[6], int64_t *ret)
{
	struct seccomp_data data = {.nr = nr, .arch = AUDIT_ARCH_X86_64, .instruction_pointer = t->regs.rip};
	uint32_t result, value;

	*ret = -ENOSYS;
	if (atomic_load(&t->seccomp.mode) == SECCOMP_MODE_STRICT)
		return strict_allows(t, nr);
	for (unsigned int i = 0; i < ARRAY_SIZE(data.args); i++)
		data.args[i] = a[i];
	result = run_filters(t, &data);
	value = result & SECCOMP_RET_DATA;
	switch (action_of(result)) {
	case SECCOMP_RET_ALLOW:
	case SECCOMP_RET_LOG:
		return true;
	case SECCOMP_RET_ERRNO:
		*ret = -(int64_t)min_u64(value, MAX_RETURNED_ERRNO);
		return false;
	case SECCOMP_RET_TRACE:
	case SECCOMP_RET_USER_NOTIF:
		return false;
	case SECCOMP_RET_TRAP:
		*ret = trap(t, nr, value);
		return false;
	case SECCOMP_RET_KILL_THREAD:
		end_thread(t, SIGSYS);
		return false;
	default:
		task_die(t, SIGSYS);
		return false;
	}
}

/* --- setting --------------------------------------------------------------------------------- */

static struct seccomp_filter *filter_new(struct task *t, const struct sock_fprog *program, int *err)
{
	size_t bytes = program->len * sizeof(struct sock_filter);
	struct seccomp_filter *f = malloc(sizeof(*f) + bytes);

	*err = f ? 0 : -ENOMEM;
	if (!f)
		return NULL;
	atomic_init(&f->refs, 1);
	f->before = NULL;
	f->length = program->len;
	if (copy_from_user(t->mm, f->program, (gva_t)program->filter, bytes))
		*err = -EFAULT;
	else if (!bpf_is_sound(f->program, f->length))
		*err = -EINVAL;
	if (!*err)
		return f;
	free(f);
	return NULL;
}

static bool has_ancestor(const struct seccomp_filter *f, const struct seccomp_filter *ancestor)
{
	while (f && f != ancestor)
		f = f->before;
	return f == ancestor;
}

/* A thread that could not take over the caller's filters, since it has others; 0: none. The lock is held. */
static int other_branch(struct task *t)
{
	struct task *other;

	list_for_each_entry (other, &t->process->threads, thread_node) {
		int mode = atomic_load(&other->seccomp.mode);

		if (other != t && mode &&
		    !(mode == SECCOMP_MODE_FILTER && has_ancestor(t->seccomp.filter, other->seccomp.filter)))
			return other->tid;
	}
	return 0;
}

static void become(struct task *t, int mode)
{
	atomic_store(&t->seccomp.mode, mode);
	answers_take_back(t);
}

static void give_to_all(struct task *t)
{
	struct task *other;

	list_for_each_entry (other, &t->process->threads, thread_node) {
		if (other == t)
			continue;
		filter_put(other->seccomp.filter);
		other->seccomp.filter = filter_share(t->seccomp.filter);
		other->cred.no_new_privs |= t->cred.no_new_privs;
		become(other, SECCOMP_MODE_FILTER);
	}
}

/* Puts f, which is taken over with success, before what there is. The lock is held. */
static int64_t attach(struct task *t, struct seccomp_filter *f, unsigned int flags)
{
	uint64_t length = f->length;
	int other;

	if (atomic_load(&t->seccomp.mode) == SECCOMP_MODE_STRICT)
		return -EINVAL;
	for (const struct seccomp_filter *b = t->seccomp.filter; b; b = b->before)
		length += b->length + FILTER_COST;
	if (length > PATH_MAX_INSNS)
		return -ENOMEM;
	other = flags & SECCOMP_FILTER_FLAG_TSYNC ? other_branch(t) : 0;
	if (other)
		return flags & SECCOMP_FILTER_FLAG_TSYNC_ESRCH ? -ESRCH : other;
	f->before = t->seccomp.filter;
	t->seccomp.filter = f;
	become(t, SECCOMP_MODE_FILTER);
	if (flags & SECCOMP_FILTER_FLAG_TSYNC)
		give_to_all(t);
	return 0;
}

/* Who is root here gets no rights from a program that it starts, so that it may do without the promise to want none. */
static bool may_filter(const struct task *t)
{
	return t->cred.no_new_privs || !t->cred.uid.effective;
}

static int64_t set_filter(struct task *t, unsigned int flags, gva_t args)
{
	struct sock_fprog program;
	struct seccomp_filter *f;
	int64_t ret;
	int err;

	if (flags & ~KNOWN_FLAGS)
		return -EINVAL;
	if (copy_from_user(t->mm, &program, args, sizeof(program)))
		return -EFAULT;
	if (!program.len || program.len > BPF_MAXINSNS)
		return -EINVAL;
	if (!may_filter(t))
		return -EACCES;
	if (!program.filter)
		return -EINVAL;
	f = filter_new(t, &program, &err);
	if (!f)
		return err;
	pthread_mutex_lock(&t->sandbox->lock);
	ret = attach(t, f, flags);
	pthread_mutex_unlock(&t->sandbox->lock);
	if (ret)
		free(f);
	return ret;
}

static int64_t set_strict(struct task *t)
{
	if (atomic_load(&t->seccomp.mode) == SECCOMP_MODE_FILTER)
		return -EINVAL;
	pthread_mutex_lock(&t->sandbox->lock);
	become(t, SECCOMP_MODE_STRICT);
	pthread_mutex_unlock(&t->sandbox->lock);
	return 0;
}

static int64_t action_is_known(struct task *t, gva_t from)
{
	uint32_t action;

	if (copy_from_user(t->mm, &action, from, sizeof(action)))
		return -EFAULT;
	switch (action) {
	case SECCOMP_RET_KILL_PROCESS:
	case SECCOMP_RET_KILL_THREAD:
	case SECCOMP_RET_TRAP:
	case SECCOMP_RET_ERRNO:
	case SECCOMP_RET_TRACE:
	case SECCOMP_RET_LOG:
	case SECCOMP_RET_ALLOW:
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

int64_t seccomp_set(struct task *t, unsigned int operation, unsigned int flags, uint64_t args)
{
	switch (operation) {
	case SECCOMP_SET_MODE_STRICT:
		return flags || args ? -EINVAL : set_strict(t);
	case SECCOMP_SET_MODE_FILTER:
		return set_filter(t, flags, args);
	case SECCOMP_GET_ACTION_AVAIL:
		return flags ? -EINVAL : action_is_known(t, args);
	default:
		return -EINVAL;
	}
}

static int64_t sys_seccomp(struct task *t, const uint64_t a[6])
{
	return seccomp_set(t, (unsigned int)a[0], (unsigned int)a[1], a[2]);
}

const struct syscall_entry seccomp_calls[] = {
	SYSCALL_ENTRY(seccomp),
	{0},
};
