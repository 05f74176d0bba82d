/* SPDX-License-Identifier: MIT */
/* sys_prctl.c - prctl(2): what a task may ask about, and of, itself. */
#include <errno.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "syscall.h"

#define TIMER_SLACK_NS 50000ull

static int64_t set_name(struct task *t, gva_t from)
{
	char name[sizeof(t->comm)] = {0};
	int64_t len = strncpy_from_user(t->mm, name, from, sizeof(name) - 1);

	if (len == -EFAULT)
		return -EFAULT;
	if (len == -ENAMETOOLONG && copy_from_user(t->mm, name, from, sizeof(name) - 1))
		return -EFAULT;
	pthread_mutex_lock(&t->sandbox->lock);
	memset(t->comm, 0, sizeof(t->comm));
	/* The copy may have read on behind the NUL. */
	memcpy(t->comm, name, strnlen(name, sizeof(t->comm) - 1));
	pthread_mutex_unlock(&t->sandbox->lock);
	return 0;
}

static int64_t get_name(struct task *t, gva_t to)
{
	char comm[sizeof(t->comm)];

	task_get_comm(t, comm);
	return copy_to_user(t->mm, to, comm, sizeof(comm)) ? -EFAULT : 0;
}

static int64_t set_death_signal(struct task *t, uint64_t signo)
{
	if (signo > NR_SIGNALS)
		return -EINVAL;
	pthread_mutex_lock(&t->sandbox->lock);
	t->parent_death_signal = (int)signo;
	pthread_mutex_unlock(&t->sandbox->lock);
	return 0;
}

static int64_t set_subreaper(struct task *t, bool on)
{
	pthread_mutex_lock(&t->sandbox->lock);
	t->process->subreaper = on;
	pthread_mutex_unlock(&t->sandbox->lock);
	return 0;
}

static int64_t set_keep_caps(struct task *t, uint64_t on)
{
	if (on > 1)
		return -EINVAL;
	t->cred.keep_caps = on;
	return 0;
}

/* Only who may set capabilities gives one up for those it will exec. */
static int64_t drop_bounding(struct task *t, uint64_t capability)
{
	if (!cred_capable(&t->cred, CAP_SETPCAP))
		return -EPERM;
	if (capability > CAP_LAST_CAP)
		return -EINVAL;
	t->cred.caps.bounding &= ~(1ull << capability);
	return 0;
}

static int64_t set_dumpable(struct task *t, uint64_t value)
{
	if (value > 1)
		return -EINVAL;
	atomic_store(&t->process->not_dumpable, !value);
	return 0;
}

/* Nothing here wakes late; 0 asks for what there was at first. */
static int64_t set_timer_slack(struct task *t, uint64_t ns)
{
	t->timer_slack_ns = ns ? ns : TIMER_SLACK_NS;
	return 0;
}

/* Nothing that a task starts gives it any; it can be told what it said. */
static int64_t set_no_new_privs(struct task *t)
{
	t->cred.no_new_privs = true;
	return 0;
}

static int64_t set_seccomp(struct task *t, const uint64_t a[6])
{
	switch ((int)a[1]) {
	case SECCOMP_MODE_STRICT:
		return seccomp_set(t, SECCOMP_SET_MODE_STRICT, 0, 0);
	case SECCOMP_MODE_FILTER:
		return seccomp_set(t, SECCOMP_SET_MODE_FILTER, 0, a[2]);
	default:
		return -EINVAL;
	}
}

static int64_t prctl_rights(struct task *t, const uint64_t a[6])
{
	bool no_more = !a[2] && !a[3] && !a[4];

	switch ((int)a[0]) {
	case PR_SET_NO_NEW_PRIVS:
		return a[1] == 1 && no_more ? set_no_new_privs(t) : -EINVAL;
	case PR_GET_NO_NEW_PRIVS:
		return !a[1] && no_more ? t->cred.no_new_privs : -EINVAL;
	case PR_GET_SECCOMP:
		return atomic_load(&t->seccomp.mode);
	case PR_SET_SECCOMP:
		return set_seccomp(t, a);
	case PR_SET_KEEPCAPS:
		return set_keep_caps(t, a[1]);
	case PR_GET_KEEPCAPS:
		return t->cred.keep_caps;
	case PR_CAPBSET_READ:
		return a[1] > CAP_LAST_CAP ? -EINVAL : (int64_t)(t->cred.caps.bounding >> a[1] & 1);
	case PR_CAPBSET_DROP:
		return drop_bounding(t, a[1]);
	case PR_GET_SECUREBITS:
	case PR_GET_TIMING:
		return 0;
	case PR_SET_TIMING:
		return a[1] == PR_TIMING_STATISTICAL ? 0 : -EINVAL;
	case PR_GET_THP_DISABLE:
		return a[1] || !no_more ? -EINVAL : 0;
	case PR_SET_THP_DISABLE: /* that they are not used cannot be had */
		return a[1] || !no_more ? -EINVAL : 0;
	case PR_MCE_KILL_GET:
		return a[1] || !no_more ? -EINVAL : PR_MCE_KILL_DEFAULT;
	case PR_GET_IO_FLUSHER:
		return -EPERM;
	case PR_GET_TSC:
		return put_u32(t, a[1], PR_TSC_ENABLE);
	default:
		return -EINVAL;
	}
}

static int64_t sys_prctl(struct task *t, const uint64_t a[6])
{
	switch ((int)a[0]) {
	case PR_SET_NAME:
		return set_name(t, a[1]);
	case PR_GET_NAME:
		return get_name(t, a[1]);
	case PR_SET_DUMPABLE:
		return set_dumpable(t, a[1]);
	case PR_GET_DUMPABLE:
		return !atomic_load(&t->process->not_dumpable);
	case PR_SET_PDEATHSIG:
		return set_death_signal(t, a[1]);
	case PR_GET_PDEATHSIG:
		return put_u32(t, a[1], (uint32_t)t->parent_death_signal);
	case PR_SET_TIMERSLACK:
		return set_timer_slack(t, a[1]);
	case PR_GET_TIMERSLACK:
		return (int64_t)(t->timer_slack_ns ? t->timer_slack_ns : TIMER_SLACK_NS);
	case PR_GET_TID_ADDRESS:
		return put_u64(t, a[1], t->clear_child_tid);
	case PR_SET_CHILD_SUBREAPER:
		return set_subreaper(t, a[1]);
	case PR_GET_CHILD_SUBREAPER:
		return put_u32(t, a[1], t->process->subreaper);
	default:
		return prctl_rights(t, a);
	}
}

const struct syscall_entry sys_prctl_calls[] = {
	SYSCALL_ENTRY(prctl),
	{0},
};
