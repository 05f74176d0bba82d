/* SPDX-License-Identifier: MIT */
/*
 * sem.c - System V semaphores. See sem.h and ipc.h.
 *
 * All operations of a call are done at once or not at all. Who cannot wait in line; whatever changes values looks through the line from its
 * head, again and again until nobody can go on, and does their operations for them:
 *
 *	set --- values
 *	 +----- waiters: task, operations, result --- ...	(first come, first tried)
 *	 +----- undos: process, what to add at its end --- ...
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../mm/list.h"
#include "sem.h"
#include "sleep.h"
#include "task.h"

#define WAITING 1 /* no result yet */

struct semaphore {
	int value, pid;
};

struct undo {
	struct list_head node;
	const struct process *process;
	short adjust[]; /* of each semaphore */
};

struct set {
	struct ipc_object object;
	time_t otime, ctime;
	unsigned int nr;
	struct list_head waiters, undos;
	struct semaphore semaphore[];
};

/* The operations of a call. */
struct operation {
	struct list_head node; /* in set->waiters while it waits */
	struct task *task;
	const struct sembuf *ops;
	unsigned int nr;
	struct undo *undo;	     /* of the process, if something is to be undone */
	const struct sembuf *blocks; /* the one that cannot be done now */
	int result;
};

static struct ipc_ns *ns_lock(struct task *t)
{
	struct ipc_ns *ns = t->sandbox->ipc;

	pthread_mutex_lock(&ns->lock);
	return ns;
}

static struct set *find_set(const struct ipc_ns *ns, int id)
{
	return (struct set *)(void *)ipc_find(&ns->semaphores, id);
}

/* The set, with the lock held; NULL and *err, and it is not. */
static struct set *set_lock(struct task *t, int id, unsigned int rights, int64_t *err)
{
	struct ipc_ns *ns = ns_lock(t);
	struct set *s = find_set(ns, id);

	*err = s ? ipc_check(t, &s->object, rights) : -EINVAL;
	if (!*err)
		return s;
	pthread_mutex_unlock(&ns->lock);
	return NULL;
}

static void unlock(struct task *t)
{
	pthread_mutex_unlock(&t->sandbox->ipc->lock);
}

/* --- sets ------------------------------------------------------------------------------------ */

static int64_t new_set(struct task *t, struct ipc_ns *ns, key_t key, unsigned int nr, int flags)
{
	struct set *s;
	int id;

	if (!nr)
		return -EINVAL;
	if (ns->nr_semaphores + nr > SEM_MAX_ALL)
		return -ENOSPC;
	s = calloc(1, sizeof(*s) + nr * sizeof(s->semaphore[0]));
	if (!s)
		return -ENOMEM;
	list_init(&s->waiters);
	list_init(&s->undos);
	s->nr = nr;
	s->ctime = time(NULL);
	id = ipc_add(&ns->semaphores, &s->object, t, key, flags);
	if (id < 0)
		free(s);
	else
		ns->nr_semaphores += nr;
	return id;
}

int64_t sem_get(struct task *t, key_t key, int nr, int flags)
{
	struct ipc_ns *ns;
	struct set *s = NULL;
	int64_t ret;

	if (nr < 0 || nr > SEM_MAX_PER_SET)
		return -EINVAL;
	ns = ns_lock(t);
	if (key != IPC_PRIVATE)
		s = (struct set *)(void *)ipc_find_key(&ns->semaphores, key);
	if (!s)
		ret = key == IPC_PRIVATE || (flags & IPC_CREAT) ? new_set(t, ns, key, (unsigned int)nr, flags)
								: -ENOENT;
	else if ((flags & IPC_CREAT) && (flags & IPC_EXCL))
		ret = -EEXIST;
	else if ((unsigned int)nr > s->nr)
		ret = -EINVAL;
	else
		ret = ipc_check(t, &s->object, (unsigned int)flags) ?: s->object.id;
	unlock(t);
	return ret;
}

static void set_result(struct operation *o, int result)
{
	list_del(&o->node);
	o->result = result;
	task_wake(o->task);
}

static void free_set(struct ipc_ns *ns, struct set *s)
{
	struct undo *u, *next_undo;

	ns->nr_semaphores -= s->nr;
	ipc_remove(&ns->semaphores, &s->object);
	list_for_each_entry_safe (u, next_undo, &s->undos, node)
		free(u);
	free(s);
}

int64_t sem_remove(struct task *t, int id)
{
	struct operation *o, *next;
	struct set *s;
	int64_t err;

	s = set_lock(t, id, 0, &err);
	if (!s)
		return err;
	err = ipc_check_owner(t, &s->object);
	if (!err) {
		list_for_each_entry_safe (o, next, &s->waiters, node)
			set_result(o, -EIDRM);
		free_set(t->sandbox->ipc, s);
	}
	unlock(t);
	return err;
}

void sem_free_all(struct ipc_ns *ns)
{
	for (int i = 0; i < IPC_MAX_OBJECTS; i++)
		if (ns->semaphores.object[i])
			free_set(ns, (struct set *)(void *)ns->semaphores.object[i]);
}

/* --- undoing --------------------------------------------------------------------------------- */

static struct undo *find_undo(const struct set *s, const struct process *p)
{
	struct undo *u;

	list_for_each_entry (u, &s->undos, node)
		if (u->process == p)
			return u;
	return NULL;
}

static struct undo *get_undo(struct set *s, const struct process *p)
{
	struct undo *u = find_undo(s, p);

	if (u)
		return u;
	u = calloc(1, sizeof(*u) + s->nr * sizeof(u->adjust[0]));
	if (!u)
		return NULL;
	u->process = p;
	list_add_tail(&u->node, &s->undos);
	return u;
}

/* --- operations ------------------------------------------------------------------------------ */

/* Takes back the first `nr` of them. */
static void take_back(struct set *s, const struct operation *o, unsigned int nr)
{
	while (nr-- > 0) {
		const struct sembuf *op = &o->ops[nr];
		s->semaphore[op->sem_num].value -= op->sem_op;
		if (op->sem_flg & SEM_UNDO)
			o->undo->adjust[op->sem_num] = (short)(o->undo->adjust[op->sem_num] + op->sem_op);
	}
}

/* One: 0, WAITING, -EAGAIN or -ERANGE. */
static int do_one(struct set *s, struct operation *o, const struct sembuf *op)
{
	struct semaphore *sem = &s->semaphore[op->sem_num];
	int value = sem->value + op->sem_op, adjust;

	if ((!op->sem_op && sem->value) || value < 0) {
		o->blocks = op;
		return op->sem_flg & IPC_NOWAIT ? -EAGAIN : WAITING;
	}
	if (value > SEM_MAX_VALUE)
		return -ERANGE;
	if (op->sem_flg & SEM_UNDO) {
		adjust = o->undo->adjust[op->sem_num] - op->sem_op;
		if (adjust < -SEM_MAX_VALUE - 1 || adjust > SEM_MAX_VALUE)
			return -ERANGE;
		o->undo->adjust[op->sem_num] = (short)adjust;
	}
	sem->value = value;
	return 0;
}

/* All or none. */
static int do_all(struct set *s, struct operation *o)
{
	for (unsigned int i = 0; i < o->nr; i++) {
		int ret = do_one(s, o, &o->ops[i]);
		if (ret) {
			take_back(s, o, i);
			return ret;
		}
	}
	for (unsigned int i = 0; i < o->nr; i++)
		s->semaphore[o->ops[i].sem_num].pid = o->task->pid;
	s->otime = time(NULL);
	return 0;
}

/* Values have changed: who can go on now? Each that does may be what another waits for. */
static void look_through(struct set *s)
{
	struct operation *o, *next;
	bool again = true;

	while (again) {
		again = false;
		list_for_each_entry_safe (o, next, &s->waiters, node) {
			int result = do_all(s, o);
			if (result == WAITING)
				continue;
			set_result(o, result);
			again = again || !result;
		}
	}
}

static bool has_result(void *ctx)
{
	const struct operation *o = ctx;
	bool has;

	pthread_mutex_lock(&o->task->sandbox->ipc->lock);
	has = o->result != WAITING;
	pthread_mutex_unlock(&o->task->sandbox->ipc->lock);
	return has;
}

/* Until somebody has done it for us; what comes first otherwise takes us out of the line. */
static int64_t wait_in_line(struct operation *o, const struct timespec *deadline)
{
	struct task *t = o->task;
	int ret = sleep_for(t, &(struct sleep){.done = has_result,
					       .ctx = o,
					       .clock = CLOCK_MONOTONIC,
					       .deadline = deadline});

	ns_lock(t);
	if (o->result == WAITING) {
		list_del(&o->node);
		o->result = ret == -ETIMEDOUT ? -EAGAIN : ret;
	}
	unlock(t);
	return o->result;
}

/* What is asked of the set: whether to have something undone, and to change anything. 0 or -errno. */
static int prepare(struct set *s, struct operation *o)
{
	bool undoes = false, alters = false;
	unsigned int highest = 0;
	int err;

	for (unsigned int i = 0; i < o->nr; i++) {
		highest = o->ops[i].sem_num > highest ? o->ops[i].sem_num : highest;
		undoes = undoes || (o->ops[i].sem_flg & SEM_UNDO);
		alters = alters || o->ops[i].sem_op;
	}
	if (highest >= s->nr)
		return -EFBIG;
	err = ipc_check(o->task, &s->object, alters ? 0222 : 0444);
	if (!err && undoes) {
		o->undo = get_undo(s, o->task->process);
		err = o->undo ? 0 : -ENOMEM;
	}
	return err;
}

int64_t sem_operate(struct task *t, int id, const struct sembuf *ops, unsigned int nr,
		    const struct timespec *deadline)
{
	struct operation o = {.task = t, .ops = ops, .nr = nr, .result = WAITING};
	struct set *s;
	int64_t err;

	s = set_lock(t, id, 0, &err);
	if (!s)
		return err;
	err = prepare(s, &o);
	if (!err)
		err = do_all(s, &o);
	if (!err)
		look_through(s);
	else if (err == WAITING)
		list_add_tail(&o.node, &s->waiters);
	unlock(t);
	return err == WAITING ? wait_in_line(&o, deadline) : err;
}

void sem_process_exits(struct process *p)
{
	struct ipc_ns *ns = p->sandbox->ipc;

	if (!ns)
		return;
	pthread_mutex_lock(&ns->lock);
	for (unsigned int i = 0, seen = 0; i < IPC_MAX_OBJECTS && seen < ns->semaphores.nr; i++) {
		struct set *s = (struct set *)(void *)ns->semaphores.object[i];
		struct undo *u = s ? find_undo(s, p) : NULL;

		seen += s != NULL;
		for (unsigned int n = 0; u && n < s->nr; n++) {
			int value = s->semaphore[n].value + u->adjust[n];
			if (!u->adjust[n])
				continue;
			s->semaphore[n].value = value < 0 ? 0 : value > SEM_MAX_VALUE ? SEM_MAX_VALUE : value;
			s->semaphore[n].pid = p->pid;
		}
		if (u) {
			list_del(&u->node);
			free(u);
			look_through(s);
		}
	}
	pthread_mutex_unlock(&ns->lock);
}

/* --- asking and setting ---------------------------------------------------------------------- */

static int64_t count_waiters(const struct set *s, int index, bool for_zero)
{
	const struct operation *o;
	int64_t nr = 0;

	list_for_each_entry (o, &s->waiters, node)
		nr += o->blocks->sem_num == index && (o->blocks->sem_op == 0) == for_zero;
	return nr;
}

int64_t sem_ask(struct task *t, int id, int index, int cmd)
{
	int64_t ret;
	struct set *s = set_lock(t, id, 0444, &ret);

	if (!s)
		return ret;
	if (index < 0 || (unsigned int)index >= s->nr)
		ret = -EINVAL;
	else if (cmd == GETVAL)
		ret = s->semaphore[index].value;
	else if (cmd == GETPID)
		ret = s->semaphore[index].pid;
	else
		ret = count_waiters(s, index, cmd == GETZCNT);
	unlock(t);
	return ret;
}

/* A value that is set is what it is: nothing of before is undone. */
static void set_one(struct set *s, unsigned int index, int value, int pid)
{
	struct undo *u;

	s->semaphore[index] = (struct semaphore){value, pid};
	list_for_each_entry (u, &s->undos, node)
		u->adjust[index] = 0;
}

static void changed(struct set *s)
{
	s->ctime = time(NULL);
	look_through(s);
}

int64_t sem_set_value(struct task *t, int id, int index, int value)
{
	struct set *s;
	int64_t err;

	if (value < 0 || value > SEM_MAX_VALUE)
		return -ERANGE;
	s = set_lock(t, id, 0, &err);
	if (!s)
		return err;
	if (index < 0 || (unsigned int)index >= s->nr)
		err = -EINVAL;
	else
		err = ipc_check(t, &s->object, 0222);
	if (!err) {
		set_one(s, (unsigned int)index, value, t->pid);
		changed(s);
	}
	unlock(t);
	return err;
}

int64_t sem_count(struct task *t, int id, unsigned int rights)
{
	int64_t ret;
	struct set *s = set_lock(t, id, rights, &ret);

	if (!s)
		return ret;
	ret = s->nr;
	unlock(t);
	return ret;
}

int64_t sem_get_all(struct task *t, int id, unsigned short *values, unsigned int nr)
{
	int64_t err;
	struct set *s = set_lock(t, id, 0444, &err);

	if (!s)
		return err == -EINVAL ? -EIDRM : err;
	for (unsigned int i = 0; i < nr && i < s->nr; i++)
		values[i] = (unsigned short)s->semaphore[i].value;
	unlock(t);
	return 0;
}

int64_t sem_set_all(struct task *t, int id, const unsigned short *values, unsigned int nr)
{
	struct set *s;
	int64_t err;

	for (unsigned int i = 0; i < nr; i++)
		if (values[i] > SEM_MAX_VALUE)
			return -ERANGE;
	s = set_lock(t, id, 0222, &err);
	if (!s)
		return err == -EINVAL ? -EIDRM : err;
	for (unsigned int i = 0; i < nr && i < s->nr; i++)
		set_one(s, i, values[i], t->pid);
	changed(s);
	unlock(t);
	return 0;
}

int64_t sem_stat(struct task *t, int id, int cmd, struct semid_ds *ds)
{
	struct ipc_ns *ns = ns_lock(t);
	struct ipc_object *o = cmd == IPC_STAT ? ipc_find(&ns->semaphores, id) : ipc_at(&ns->semaphores, id);
	const struct set *s = (struct set *)(void *)o;
	int64_t ret = !s ? -EINVAL : cmd == SEM_STAT_ANY ? 0 : ipc_check(t, o, 0444);

	if (!ret) {
		*ds = (struct semid_ds){.sem_perm = o->perm,
					.sem_otime = s->otime,
					.sem_ctime = s->ctime,
					.sem_nsems = s->nr};
		ret = cmd == IPC_STAT ? 0 : o->id;
	}
	unlock(t);
	return ret;
}

int64_t sem_info(struct task *t, int cmd, struct seminfo *info)
{
	const struct ipc_ns *ns = ns_lock(t);
	int64_t highest = ipc_highest(&ns->semaphores);

	*info = (struct seminfo){.semmap = SEM_MAX_ALL,
				 .semmni = IPC_MAX_OBJECTS,
				 .semmns = SEM_MAX_ALL,
				 .semmnu = SEM_MAX_ALL,
				 .semmsl = SEM_MAX_PER_SET,
				 .semopm = SEM_MAX_OPS,
				 .semume = SEM_MAX_OPS,
				 .semusz = 20,
				 .semvmx = SEM_MAX_VALUE,
				 .semaem = SEM_MAX_VALUE};
	if (cmd == SEM_INFO) {
		info->semusz = (int)ns->semaphores.nr;
		info->semaem = (int)ns->nr_semaphores;
	}
	unlock(t);
	return highest;
}

int64_t sem_set(struct task *t, int id, const struct semid_ds *ds)
{
	int64_t err;
	struct set *s = set_lock(t, id, 0, &err);

	if (!s)
		return err;
	err = ipc_check_owner(t, &s->object);
	if (!err) {
		ipc_set(&s->object, &ds->sem_perm);
		s->ctime = time(NULL);
	}
	unlock(t);
	return err;
}
