/* SPDX-License-Identifier: MIT */
/* sys_ipc.c - the system calls of System V semaphores and message queues. Segments: sys_shm.c. */
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "msg.h"
#include "sem.h"
#include "sleep.h"
#include "syscall.h"

static int64_t put(struct task *t, gva_t to, const void *from, size_t bytes, int64_t ret)
{
	return ret >= 0 && copy_to_user(t->mm, to, from, bytes) ? -EFAULT : ret;
}

/* --- semaphores ------------------------------------------------------------------------------ */

static int64_t sys_semget(struct task *t, const uint64_t a[6])
{
	return sem_get(t, (key_t)a[0], (int)a[1], (int)a[2]);
}

static int64_t do_semop(struct task *t, const uint64_t a[6], const struct timespec *span)
{
	unsigned int nr = (unsigned int)a[2];
	struct timespec deadline;
	struct sembuf *ops;
	int64_t ret;

	if (nr > SEM_MAX_OPS)
		return -E2BIG;
	if (nr < 1)
		return -EINVAL;
	ops = calloc(nr, sizeof(*ops));
	if (!ops)
		return -ENOMEM;
	if (span)
		deadline = sleep_deadline(CLOCK_MONOTONIC, span);
	ret = copy_from_user(t->mm, ops, a[1], nr * sizeof(*ops)) ? -EFAULT : 0;
	if (!ret && span && (span->tv_sec < 0 || span->tv_nsec < 0 || span->tv_nsec > 999999999))
		ret = -EINVAL;
	if (!ret && (int)a[0] < 0)
		ret = -EINVAL;
	if (!ret)
		ret = sem_operate(t, (int)a[0], ops, nr, span ? &deadline : NULL);
	free(ops);
	return ret;
}

static int64_t sys_semop(struct task *t, const uint64_t a[6])
{
	return do_semop(t, a, NULL);
}

static int64_t sys_semtimedop(struct task *t, const uint64_t a[6])
{
	struct timespec span;

	if (a[3] && copy_from_user(t->mm, &span, a[3], sizeof(span)))
		return -EFAULT;
	return do_semop(t, a, a[3] ? &span : NULL);
}

static int64_t semctl_info(struct task *t, int cmd, gva_t to)
{
	struct seminfo info;
	int64_t ret = sem_info(t, cmd, &info);

	return put(t, to, &info, sizeof(info), ret);
}

static int64_t semctl_stat(struct task *t, int id, int cmd, gva_t to)
{
	struct semid_ds ds;
	int64_t ret = sem_stat(t, id, cmd, &ds);

	return put(t, to, &ds, sizeof(ds), ret);
}

static int64_t semctl_all(struct task *t, int id, int cmd, gva_t address)
{
	int64_t nr = sem_count(t, id, cmd == GETALL ? 0444 : 0222), ret;
	unsigned short *values;

	if (nr < 0)
		return nr;
	values = calloc((size_t)nr, sizeof(*values));
	if (!values)
		return -ENOMEM;
	if (cmd == GETALL) {
		ret = sem_get_all(t, id, values, (unsigned int)nr);
		ret = put(t, address, values, (size_t)nr * sizeof(*values), ret);
	} else if (copy_from_user(t->mm, values, address, (size_t)nr * sizeof(*values))) {
		ret = -EFAULT;
	} else {
		ret = sem_set_all(t, id, values, (unsigned int)nr);
	}
	free(values);
	return ret;
}

static int64_t sys_semctl(struct task *t, const uint64_t a[6])
{
	int id = (int)a[0], index = (int)a[1], cmd = (int)a[2];
	struct semid_ds ds;

	if (id < 0)
		return -EINVAL;
	switch (cmd) {
	case IPC_INFO:
	case SEM_INFO:
		return semctl_info(t, cmd, a[3]);
	case IPC_STAT:
	case SEM_STAT:
	case SEM_STAT_ANY:
		return semctl_stat(t, id, cmd, a[3]);
	case GETALL:
	case SETALL:
		return semctl_all(t, id, cmd, a[3]);
	case GETVAL:
	case GETPID:
	case GETNCNT:
	case GETZCNT:
		return sem_ask(t, id, index, cmd);
	case SETVAL:
		return sem_set_value(t, id, index, (int)a[3]);
	case IPC_SET:
		return copy_from_user(t->mm, &ds, a[3], sizeof(ds)) ? -EFAULT : sem_set(t, id, &ds);
	case IPC_RMID:
		return sem_remove(t, id);
	default:
		return -EINVAL;
	}
}

/* --- messages -------------------------------------------------------------------------------- */

static int64_t sys_msgget(struct task *t, const uint64_t a[6])
{
	return msg_get(t, (key_t)a[0], (int)a[1]);
}

static int64_t sys_msgsnd(struct task *t, const uint64_t a[6])
{
	struct message *m;
	long type;
	int64_t ret;

	if (copy_from_user(t->mm, &type, a[1], sizeof(type)))
		return -EFAULT;
	if (a[2] > MSG_MAX_BYTES || (int)a[0] < 0 || type < 1)
		return -EINVAL;
	m = message_new(type, a[2]);
	if (!m)
		return -ENOMEM;
	ret = copy_from_user(t->mm, message_text(m), a[1] + sizeof(type), a[2]) ? -EFAULT : 0;
	if (!ret)
		ret = msg_send(t, (int)a[0], m, (int)a[3]);
	if (ret)
		message_free(m);
	return ret;
}

static int64_t sys_msgrcv(struct task *t, const uint64_t a[6])
{
	int flags = (int)a[4];
	struct message *m;
	long type;
	int64_t ret;

	if ((int)a[0] < 0 || (int64_t)a[2] < 0)
		return -EINVAL;
	if ((flags & MSG_COPY) && ((flags & MSG_EXCEPT) || !(flags & IPC_NOWAIT)))
		return -EINVAL;
	ret = msg_receive(t, (int)a[0], a[2], (long)a[3], flags, &m);
	if (ret)
		return ret;
	type = message_type(m);
	ret = (int64_t)min_u64(message_bytes(m), a[2]);
	if (copy_to_user(t->mm, a[1], &type, sizeof(type)) ||
	    copy_to_user(t->mm, a[1] + sizeof(type), message_text(m), (size_t)ret))
		ret = -EFAULT;
	message_free(m);
	return ret;
}

static int64_t msgctl_stat(struct task *t, int id, int cmd, gva_t to)
{
	struct msqid_ds ds;
	int64_t ret = msg_stat(t, id, cmd, &ds);

	return put(t, to, &ds, sizeof(ds), ret);
}

static int64_t sys_msgctl(struct task *t, const uint64_t a[6])
{
	int id = (int)a[0], cmd = (int)a[1];
	struct msginfo info;
	struct msqid_ds ds;

	if (id < 0 || cmd < 0)
		return -EINVAL;
	switch (cmd) {
	case IPC_INFO:
	case MSG_INFO:
		return put(t, a[2], &info, sizeof(info), msg_info(t, cmd, &info));
	case IPC_STAT:
	case MSG_STAT:
	case MSG_STAT_ANY:
		return msgctl_stat(t, id, cmd, a[2]);
	case IPC_SET:
		return copy_from_user(t->mm, &ds, a[2], sizeof(ds)) ? -EFAULT : msg_set(t, id, &ds);
	case IPC_RMID:
		return msg_remove(t, id);
	default:
		return -EINVAL;
	}
}

const struct syscall_entry sys_ipc_calls[] = {
	SYSCALL_ENTRY(semget), SYSCALL_ENTRY(semop),  SYSCALL_ENTRY(semtimedop),
	SYSCALL_ENTRY(semctl), SYSCALL_ENTRY(msgget), SYSCALL_ENTRY(msgsnd),
	SYSCALL_ENTRY(msgrcv), SYSCALL_ENTRY(msgctl), {0},
};
