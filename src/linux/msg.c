/* SPDX-License-Identifier: MIT */
/*
 * msg.c - System V message queues. See msg.h and ipc.h.
 *
 * Who cannot go on waits in the queue's line; every change wakes all of it, and each looks again.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "../mm/list.h"
#include "host_wait.h"
#include "msg.h"
#include "sleep.h"
#include "task.h"

struct message {
	struct list_head node;
	long type;
	size_t bytes;
	char text[];
};

struct queue {
	struct ipc_object object;
	struct msqid_ds ds;
	struct list_head messages, waiters;
};

/* One call that may have to wait. */
struct transfer {
	struct list_head node;
	struct task *task;
	int id, flags;
	size_t room;
	long type;
	struct message *message; /* to be sent, or received */
	bool sends;
	int64_t result;
};

struct message *message_new(long type, size_t bytes)
{
	struct message *m = malloc(sizeof(*m) + bytes);

	if (m) {
		m->type = type;
		m->bytes = bytes;
	}
	return m;
}

void message_free(struct message *m)
{
	free(m);
}

char *message_text(struct message *m)
{
	return m->text;
}

size_t message_bytes(const struct message *m)
{
	return m->bytes;
}

long message_type(const struct message *m)
{
	return m->type;
}

static struct ipc_ns *ns_lock(struct task *t)
{
	struct ipc_ns *ns = t->sandbox->ipc;

	pthread_mutex_lock(&ns->lock);
	return ns;
}

static void unlock(struct task *t)
{
	pthread_mutex_unlock(&t->sandbox->ipc->lock);
}

/* --- queues ---------------------------------------------------------------------------------- */

static int64_t new_queue(struct task *t, struct ipc_ns *ns, key_t key, int flags)
{
	struct queue *q = calloc(1, sizeof(*q));
	int id;

	if (!q)
		return -ENOMEM;
	list_init(&q->messages);
	list_init(&q->waiters);
	q->ds.msg_qbytes = MSG_MAX_QUEUE_BYTES;
	q->ds.msg_ctime = time(NULL);
	id = ipc_add(&ns->queues, &q->object, t, key, flags);
	if (id < 0)
		free(q);
	return id;
}

int64_t msg_get(struct task *t, key_t key, int flags)
{
	struct ipc_ns *ns = ns_lock(t);
	struct ipc_object *o = key == IPC_PRIVATE ? NULL : ipc_find_key(&ns->queues, key);
	int64_t ret;

	if (!o)
		ret = key == IPC_PRIVATE || (flags & IPC_CREAT) ? new_queue(t, ns, key, flags) : -ENOENT;
	else if ((flags & IPC_CREAT) && (flags & IPC_EXCL))
		ret = -EEXIST;
	else
		ret = ipc_check(t, o, (unsigned int)flags) ?: o->id;
	unlock(t);
	return ret;
}

static void wake_all(struct queue *q)
{
	struct transfer *x;

	list_for_each_entry (x, &q->waiters, node)
		task_wake(x->task);
}

static void count(struct ipc_ns *ns, struct queue *q, const struct message *m, int64_t sign)
{
	q->ds.msg_qnum += (uint64_t)sign;
	q->ds.__msg_cbytes += (uint64_t)sign * m->bytes;
	ns->nr_messages += (uint64_t)sign;
	ns->message_bytes += (uint64_t)sign * m->bytes;
}

static void free_queue(struct ipc_ns *ns, struct queue *q)
{
	struct transfer *x, *next_transfer;
	struct message *m, *next;

	list_for_each_entry_safe (x, next_transfer, &q->waiters, node) {
		list_del(&x->node);
		list_init(&x->node);
		x->result = -EIDRM;
		task_wake(x->task);
	}
	list_for_each_entry_safe (m, next, &q->messages, node) {
		count(ns, q, m, -1);
		free(m);
	}
	ipc_remove(&ns->queues, &q->object);
	free(q);
}

void msg_free_all(struct ipc_ns *ns)
{
	for (int i = 0; i < IPC_MAX_OBJECTS; i++)
		if (ns->queues.object[i])
			free_queue(ns, (struct queue *)(void *)ns->queues.object[i]);
}

/* The queue, with the lock held; NULL and *err, and it is not. */
static struct queue *queue_lock(struct task *t, int id, unsigned int rights, int64_t *err)
{
	struct ipc_ns *ns = ns_lock(t);
	struct ipc_object *o = ipc_find(&ns->queues, id);

	*err = o ? ipc_check(t, o, rights) : -EINVAL;
	if (!*err)
		return (struct queue *)(void *)o;
	unlock(t);
	return NULL;
}

/* --- messages -------------------------------------------------------------------------------- */

/* 0; -EAGAIN: not now. The lock is held. */
static int64_t try_send(struct queue *q, struct transfer *x)
{
	int64_t err = ipc_check(x->task, &q->object, 0222);

	if (err)
		return err;
	if (x->message->bytes + q->ds.__msg_cbytes > q->ds.msg_qbytes ||
	    q->ds.msg_qnum + 1 > q->ds.msg_qbytes)
		return -EAGAIN;
	list_add_tail(&x->message->node, &q->messages);
	count(x->task->sandbox->ipc, q, x->message, 1);
	q->ds.msg_lspid = x->task->pid;
	q->ds.msg_stime = time(NULL);
	wake_all(q);
	return 0;
}

/* Which is meant: by its place (MSG_COPY), the first of all, of a type, of any other; or the first of the lowest types. */
static struct message *choose(const struct queue *q, const struct transfer *x)
{
	long most = x->type == LONG_MIN ? LONG_MAX : -x->type, place = x->type;
	struct message *m, *found = NULL;

	list_for_each_entry (m, &q->messages, node) {
		if (x->flags & MSG_COPY ? !place-- : !x->type)
			return m;
		if (x->flags & MSG_COPY)
			continue;
		if (x->type > 0 && (m->type == x->type) == !(x->flags & MSG_EXCEPT))
			return m;
		if (x->type < 0 && m->type <= most && (!found || m->type < found->type))
			found = m;
	}
	return found;
}

static int64_t try_receive(struct queue *q, struct transfer *x)
{
	int64_t err = ipc_check(x->task, &q->object, 0444);
	struct message *m = err ? NULL : choose(q, x), *copy;

	if (!m)
		return err ? err : -EAGAIN;
	if (m->bytes > x->room && !(x->flags & MSG_NOERROR))
		return -E2BIG;
	if (x->flags & MSG_COPY) {
		copy = message_new(m->type, m->bytes);
		if (!copy)
			return -ENOMEM;
		memcpy(copy->text, m->text, m->bytes);
		x->message = copy;
		return 0;
	}
	list_del(&m->node);
	count(x->task->sandbox->ipc, q, m, -1);
	q->ds.msg_lrpid = x->task->pid;
	q->ds.msg_rtime = time(NULL);
	wake_all(q);
	x->message = m;
	return 0;
}

/* True when it is decided; the lock is held. */
static bool go_on(struct queue *q, struct transfer *x)
{
	x->result = x->sends ? try_send(q, x) : try_receive(q, x);
	return x->result != -EAGAIN;
}

/* Looked at by the one who waits: is it decided, or can it be? */
static bool may_go_on(void *ctx)
{
	struct transfer *x = ctx;
	struct ipc_ns *ns = ns_lock(x->task);
	struct ipc_object *o = ipc_find(&ns->queues, x->id);
	bool done = x->result != -EAGAIN;

	if (!done && o && go_on((struct queue *)(void *)o, x)) {
		list_del(&x->node);
		list_init(&x->node);
		done = true;
	}
	unlock(x->task);
	return done;
}

static int64_t wait_in_line(struct transfer *x)
{
	int ret = sleep_for(x->task, &(struct sleep){.done = may_go_on, .ctx = x});

	ns_lock(x->task);
	if (x->result == -EAGAIN) {
		list_del(&x->node);
		x->result = ret;
	}
	unlock(x->task);
	if (x->result != -EINTR)
		return x->result;
	x->task->restart = RESTART_NO_HANDLER;
	return -EINTR;
}

static int64_t transfer(struct transfer *x)
{
	struct queue *q;
	int64_t err;

	list_init(&x->node);
	q = queue_lock(x->task, x->id, 0, &err);
	if (!q)
		return err;
	if (!go_on(q, x) && !(x->flags & IPC_NOWAIT)) {
		list_add_tail(&x->node, &q->waiters);
		unlock(x->task);
		return wait_in_line(x);
	}
	unlock(x->task);
	return x->result;
}

int64_t msg_send(struct task *t, int id, struct message *m, int flags)
{
	struct transfer x = {.task = t, .id = id, .flags = flags, .message = m, .sends = true};

	return transfer(&x);
}

int64_t msg_receive(struct task *t, int id, size_t room, long type, int flags, struct message **m)
{
	struct transfer x = {.task = t, .id = id, .flags = flags, .room = room, .type = type};
	int64_t ret = transfer(&x);

	*m = x.message;
	return ret == -EAGAIN ? -ENOMSG : ret;
}

/* --- asking and setting ---------------------------------------------------------------------- */

int64_t msg_stat(struct task *t, int id, int cmd, struct msqid_ds *ds)
{
	struct ipc_ns *ns = ns_lock(t);
	struct ipc_object *o = cmd == IPC_STAT ? ipc_find(&ns->queues, id) : ipc_at(&ns->queues, id);
	int64_t ret = !o ? -EINVAL : cmd == MSG_STAT_ANY ? 0 : ipc_check(t, o, 0444);

	if (!ret) {
		*ds = ((struct queue *)(void *)o)->ds;
		ds->msg_perm = o->perm;
		ret = cmd == IPC_STAT ? 0 : o->id;
	}
	unlock(t);
	return ret;
}

int64_t msg_info(struct task *t, int cmd, struct msginfo *info)
{
	const struct ipc_ns *ns = ns_lock(t);
	int64_t highest = ipc_highest(&ns->queues);

	*info = (struct msginfo){.msgpool = IPC_MAX_OBJECTS * (MSG_MAX_QUEUE_BYTES / 1024),
				 .msgmap = MSG_MAX_QUEUE_BYTES,
				 .msgmax = MSG_MAX_BYTES,
				 .msgmnb = MSG_MAX_QUEUE_BYTES,
				 .msgmni = IPC_MAX_OBJECTS,
				 .msgssz = 16,
				 .msgtql = MSG_MAX_QUEUE_BYTES,
				 .msgseg = 0xffff};
	if (cmd == MSG_INFO) {
		info->msgpool = (int)ns->queues.nr;
		info->msgmap = (int)ns->nr_messages;
		info->msgtql = (int)ns->message_bytes;
	}
	unlock(t);
	return highest;
}

int64_t msg_set(struct task *t, int id, const struct msqid_ds *ds)
{
	int64_t err;
	struct queue *q = queue_lock(t, id, 0, &err);

	if (!q)
		return err;
	err = ipc_check_owner(t, &q->object);
	if (!err && ds->msg_qbytes > MSG_MAX_QUEUE_BYTES)
		err = -EPERM;
	if (!err) {
		ipc_set(&q->object, &ds->msg_perm);
		q->ds.msg_qbytes = ds->msg_qbytes;
		q->ds.msg_ctime = time(NULL);
		wake_all(q);
	}
	unlock(t);
	return err;
}

int64_t msg_remove(struct task *t, int id)
{
	int64_t err;
	struct queue *q = queue_lock(t, id, 0, &err);

	if (!q)
		return err;
	err = ipc_check_owner(t, &q->object);
	if (!err)
		free_queue(t->sandbox->ipc, q);
	unlock(t);
	return err;
}
