/* SPDX-License-Identifier: MIT */
/* sys_cred.c - the system calls about user and group numbers and capabilities. See cred.h. */
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "answers.h"
#include "syscall.h"

#define KEEP ~0u

static int put_three(struct task *t, const uint64_t a[6], const struct cred_ids *ids)
{
	const uint32_t id[3] = {ids->real, ids->effective, ids->saved};

	for (unsigned int i = 0; i < 3; i++)
		if (copy_to_user(t->mm, a[i], &id[i], sizeof(id[i])))
			return -EFAULT;
	return 0;
}

/* --- user numbers ---------------------------------------------------------------------------- */

static int64_t sys_getuid(struct task *t, const uint64_t a[6])
{
	(void)a;
	return t->cred.uid.real;
}

static int64_t sys_geteuid(struct task *t, const uint64_t a[6])
{
	(void)a;
	return t->cred.uid.effective;
}

static int64_t sys_getresuid(struct task *t, const uint64_t a[6])
{
	return put_three(t, a, &t->cred.uid);
}

static int set_uid(struct task *t, uint32_t real, uint32_t effective, uint32_t saved)
{
	int err;

	pthread_mutex_lock(&t->sandbox->lock);
	err = cred_set_uid(&t->cred, real, effective, saved);
	answers_tell_cred(t);
	pthread_mutex_unlock(&t->sandbox->lock);
	return err;
}

static int set_gid(struct task *t, uint32_t real, uint32_t effective, uint32_t saved)
{
	int err;

	pthread_mutex_lock(&t->sandbox->lock);
	err = cred_set_gid(&t->cred, real, effective, saved);
	answers_tell_cred(t);
	pthread_mutex_unlock(&t->sandbox->lock);
	return err;
}

/* Who may become anybody becomes it for good. */
static int64_t sys_setuid(struct task *t, const uint64_t a[6])
{
	const struct cred *c = &t->cred;
	uint32_t id = (uint32_t)a[0];

	if (id == KEEP)
		return -EINVAL;
	if (cred_capable(c, CAP_SETUID))
		return set_uid(t, id, id, id);
	return id == c->uid.real || id == c->uid.saved ? set_uid(t, KEEP, id, KEEP) : -EPERM;
}

/* The saved number follows when the real one is set, or the effective one to what the real one was not. */
static uint32_t saved_after(const struct cred_ids *ids, uint32_t real, uint32_t effective)
{
	uint32_t now = effective == KEEP ? ids->effective : effective;

	return real != KEEP || (effective != KEEP && effective != ids->real) ? now : KEEP;
}

/* The real number becomes what the real or effective one was, the effective one what any was. */
static bool may_set_two(const struct cred_ids *ids, uint32_t real, uint32_t effective)
{
	return (real == KEEP || real == ids->real || real == ids->effective) &&
	       (effective == KEEP || effective == ids->real || effective == ids->effective ||
		effective == ids->saved);
}

static int64_t sys_setreuid(struct task *t, const uint64_t a[6])
{
	uint32_t real = (uint32_t)a[0], effective = (uint32_t)a[1];

	if (!cred_capable(&t->cred, CAP_SETUID) && !may_set_two(&t->cred.uid, real, effective))
		return -EPERM;
	return set_uid(t, real, effective, saved_after(&t->cred.uid, real, effective));
}

static int64_t sys_setresuid(struct task *t, const uint64_t a[6])
{
	return set_uid(t, (uint32_t)a[0], (uint32_t)a[1], (uint32_t)a[2]);
}

/* Both tell the number that was there before, and nothing else. */
static uint32_t set_fs_id(struct task *t, struct cred_ids *ids, uint32_t id, int capability)
{
	uint32_t old;

	pthread_mutex_lock(&t->sandbox->lock);
	old = ids->fs;
	if (id != KEEP && (id == ids->real || id == ids->effective || id == ids->saved || id == ids->fs ||
			   cred_capable(&t->cred, capability)))
		ids->fs = id;
	pthread_mutex_unlock(&t->sandbox->lock);
	return old;
}

static int64_t sys_setfsuid(struct task *t, const uint64_t a[6])
{
	return set_fs_id(t, &t->cred.uid, (uint32_t)a[0], CAP_SETUID);
}

/* --- group numbers --------------------------------------------------------------------------- */

static int64_t sys_getgid(struct task *t, const uint64_t a[6])
{
	(void)a;
	return t->cred.gid.real;
}

static int64_t sys_getegid(struct task *t, const uint64_t a[6])
{
	(void)a;
	return t->cred.gid.effective;
}

static int64_t sys_getresgid(struct task *t, const uint64_t a[6])
{
	return put_three(t, a, &t->cred.gid);
}

static int64_t sys_setgid(struct task *t, const uint64_t a[6])
{
	const struct cred *c = &t->cred;
	uint32_t id = (uint32_t)a[0];

	if (id == KEEP)
		return -EINVAL;
	if (cred_capable(c, CAP_SETGID))
		return set_gid(t, id, id, id);
	return id == c->gid.real || id == c->gid.saved ? set_gid(t, KEEP, id, KEEP) : -EPERM;
}

static int64_t sys_setregid(struct task *t, const uint64_t a[6])
{
	uint32_t real = (uint32_t)a[0], effective = (uint32_t)a[1];

	if (!cred_capable(&t->cred, CAP_SETGID) && !may_set_two(&t->cred.gid, real, effective))
		return -EPERM;
	return set_gid(t, real, effective, saved_after(&t->cred.gid, real, effective));
}

static int64_t sys_setresgid(struct task *t, const uint64_t a[6])
{
	return set_gid(t, (uint32_t)a[0], (uint32_t)a[1], (uint32_t)a[2]);
}

static int64_t sys_setfsgid(struct task *t, const uint64_t a[6])
{
	return set_fs_id(t, &t->cred.gid, (uint32_t)a[0], CAP_SETGID);
}

static int64_t sys_getgroups(struct task *t, const uint64_t a[6])
{
	const struct cred *c = &t->cred;
	int room = (int)a[0];

	if (room < 0 || (room && (unsigned int)room < c->nr_groups))
		return -EINVAL;
	if (room && copy_to_user(t->mm, a[1], c->groups, c->nr_groups * sizeof(c->groups[0])))
		return -EFAULT;
	return c->nr_groups;
}

static int64_t sys_setgroups(struct task *t, const uint64_t a[6])
{
	gid_t groups[CRED_MAX_GROUPS];
	unsigned int nr = (unsigned int)a[0];

	if (!cred_capable(&t->cred, CAP_SETGID))
		return -EPERM;
	if (nr > CRED_MAX_GROUPS)
		return -EINVAL;
	if (copy_from_user(t->mm, groups, a[1], nr * sizeof(groups[0])))
		return -EFAULT;
	pthread_mutex_lock(&t->sandbox->lock);
	memcpy(t->cred.groups, groups, nr * sizeof(groups[0]));
	t->cred.nr_groups = nr;
	pthread_mutex_unlock(&t->sandbox->lock);
	return 0;
}

/* --- capabilities ---------------------------------------------------------------------------- */

/* Reads the header: the number of 32-bit sets that the version has, or -errno; 0: it was only asked for the version. */
static int capability_sets(struct task *t, const uint64_t a[6], int *pid)
{
	struct __user_cap_header_struct header;

	if (copy_from_user(t->mm, &header, a[0], sizeof(header)))
		return -EFAULT;
	*pid = header.pid;
	switch (header.version) {
	case _LINUX_CAPABILITY_VERSION_1:
		return header.pid < 0 ? -EINVAL : 1;
	case _LINUX_CAPABILITY_VERSION_2:
	case _LINUX_CAPABILITY_VERSION_3:
		return header.pid < 0 ? -EINVAL : 2;
	default:
		header.version = _LINUX_CAPABILITY_VERSION_3;
		if (copy_to_user(t->mm, a[0], &header.version, sizeof(header.version)))
			return -EFAULT;
		return a[1] ? -EINVAL : 0;
	}
}

/* Those of a task; 0: the caller. 0 or -ESRCH. */
static int caps_of(struct task *t, int tid, struct cred_caps *caps)
{
	const struct task *other;

	pthread_mutex_lock(&t->sandbox->lock);
	other = tid ? task_find(t->sandbox, tid) : t;
	if (other)
		*caps = other->cred.caps;
	pthread_mutex_unlock(&t->sandbox->lock);
	if (!other && tid == FIRST_ORPHANS_PARENT)
		*caps = t->sandbox->first_task->cred.caps;
	return other || tid == FIRST_ORPHANS_PARENT ? 0 : -ESRCH;
}

static int64_t sys_capget(struct task *t, const uint64_t a[6])
{
	struct __user_cap_data_struct data[2];
	struct cred_caps caps;
	int pid, sets = capability_sets(t, a, &pid);
	int err = sets > 0 ? caps_of(t, pid, &caps) : sets;

	if (err || sets <= 0 || !a[1])
		return err;
	for (int i = 0; i < 2; i++)
		data[i] = (struct __user_cap_data_struct){.effective = (uint32_t)(caps.effective >> 32 * i),
							  .permitted = (uint32_t)(caps.permitted >> 32 * i),
							  .inheritable =
								  (uint32_t)(caps.inheritable >> 32 * i)};
	return copy_to_user(t->mm, a[1], data, (size_t)sets * sizeof(data[0])) ? -EFAULT : 0;
}

static int64_t sys_capset(struct task *t, const uint64_t a[6])
{
	struct __user_cap_data_struct data[2] = {0};
	struct cred_caps wanted = {0};
	int pid = 0, err, sets = capability_sets(t, a, &pid);

	if (sets == -EINVAL && pid < 0)
		return -EPERM;
	if (sets <= 0)
		return sets < 0 ? sets : -EINVAL;
	if (pid && pid != t->tid)
		return -EPERM;
	if (copy_from_user(t->mm, data, a[1], (size_t)sets * sizeof(data[0])))
		return -EFAULT;
	for (int i = 0; i < 2; i++) {
		wanted.effective |= (uint64_t)data[i].effective << 32 * i;
		wanted.permitted |= (uint64_t)data[i].permitted << 32 * i;
		wanted.inheritable |= (uint64_t)data[i].inheritable << 32 * i;
	}
	pthread_mutex_lock(&t->sandbox->lock);
	err = cred_set_caps(&t->cred, &wanted);
	pthread_mutex_unlock(&t->sandbox->lock);
	return err;
}

const struct syscall_entry sys_cred_calls[] = {
	SYSCALL_ENTRY(getuid),
	SYSCALL_ENTRY(geteuid),
	SYSCALL_ENTRY(getresuid),
	SYSCALL_ENTRY(setuid),
	SYSCALL_ENTRY(setreuid),
	SYSCALL_ENTRY(setresuid),
	SYSCALL_ENTRY(setfsuid),
	SYSCALL_ENTRY(getgid),
	SYSCALL_ENTRY(getegid),
	SYSCALL_ENTRY(getresgid),
	SYSCALL_ENTRY(setgid),
	SYSCALL_ENTRY(setregid),
	SYSCALL_ENTRY(setresgid),
	SYSCALL_ENTRY(setfsgid),
	SYSCALL_ENTRY(getgroups),
	SYSCALL_ENTRY(setgroups),
	SYSCALL_ENTRY(capget),
	SYSCALL_ENTRY(capset),
	{0},
};
