/* SPDX-License-Identifier: MIT */
/* sys_shm.c - the system calls of System V shared memory. */
#include <errno.h>
#include <sys/syscall.h>

#include "shm.h"
#include "syscall.h"

static int64_t sys_shmget(struct task *t, const uint64_t a[6])
{
	return shm_get(t, (key_t)a[0], a[1], (int)a[2]);
}

static int64_t sys_shmat(struct task *t, const uint64_t a[6])
{
	return shm_attach(t, (int)a[0], a[1], (int)a[2]);
}

static int64_t sys_shmdt(struct task *t, const uint64_t a[6])
{
	return shm_detach(t, a[0]);
}

static int64_t put(struct task *t, gva_t to, const void *from, size_t bytes, int64_t ret)
{
	return ret >= 0 && copy_to_user(t->mm, to, from, bytes) ? -EFAULT : ret;
}

static int64_t ctl_info(struct task *t, gva_t to)
{
	struct shminfo info;
	int64_t ret = shm_info(t, &info);

	return put(t, to, &info, sizeof(info), ret);
}

static int64_t ctl_usage(struct task *t, gva_t to)
{
	struct shm_info info;
	int64_t ret = shm_usage(t, &info);

	return put(t, to, &info, sizeof(info), ret);
}

static int64_t ctl_stat(struct task *t, int id, int cmd, gva_t to)
{
	struct shmid_ds ds;
	int64_t ret = shm_stat(t, id, cmd, &ds);

	return put(t, to, &ds, sizeof(ds), ret);
}

static int64_t sys_shmctl(struct task *t, const uint64_t a[6])
{
	int id = (int)a[0], cmd = (int)a[1];
	struct shmid_ds ds;

	if (id < 0 || cmd < 0)
		return -EINVAL;
	switch (cmd) {
	case IPC_INFO:
		return ctl_info(t, a[2]);
	case SHM_INFO:
		return ctl_usage(t, a[2]);
	case IPC_STAT:
	case SHM_STAT:
	case SHM_STAT_ANY:
		return ctl_stat(t, id, cmd, a[2]);
	case IPC_SET:
		return copy_from_user(t->mm, &ds, a[2], sizeof(ds)) ? -EFAULT : shm_set(t, id, &ds);
	case IPC_RMID:
		return shm_remove(t, id);
	case SHM_LOCK:
	case SHM_UNLOCK:
		return shm_lock(t, id, cmd == SHM_LOCK);
	default:
		return -EINVAL;
	}
}

const struct syscall_entry sys_shm_calls[] = {
	SYSCALL_ENTRY(shmget), SYSCALL_ENTRY(shmat), SYSCALL_ENTRY(shmdt), SYSCALL_ENTRY(shmctl), {0},
};
