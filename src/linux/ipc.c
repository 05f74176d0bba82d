/* SPDX-License-Identifier: MIT */
/* ipc.c - see ipc.h. */
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>

#include "ipc.h"
#include "mqueue.h"
#include "task.h"

struct ipc_ns *ipc_ns_create(void)
{
	struct ipc_ns *ns = calloc(1, sizeof(*ns));

	if (ns)
		pthread_mutex_init(&ns->lock, NULL);
	if (ns)
		list_init(&ns->mqueues);
	return ns;
}

bool ipc_ns_is_empty(struct ipc_ns *ns)
{
	pthread_mutex_lock(&ns->lock);
	bool empty = !ns->semaphores.nr && !ns->queues.nr && list_empty(&ns->mqueues);
	pthread_mutex_unlock(&ns->lock);
	return empty;
}

void ipc_ns_destroy(struct ipc_ns *ns)
{
	if (!ns)
		return;
	sem_free_all(ns);
	msg_free_all(ns);
	mqueue_free_all(ns);
	pthread_mutex_destroy(&ns->lock);
	free(ns);
}

struct ipc_object *ipc_at(const struct ipc_table *table, int index)
{
	return index >= 0 && index < IPC_MAX_OBJECTS ? table->object[index] : NULL;
}

struct ipc_object *ipc_find(const struct ipc_table *table, int id)
{
	struct ipc_object *o = id < 0 ? NULL : ipc_at(table, id % IPC_SEQUENCE);

	return o && o->id == id ? o : NULL;
}

struct ipc_object *ipc_find_key(const struct ipc_table *table, key_t key)
{
	for (unsigned int i = 0, seen = 0; i < IPC_MAX_OBJECTS && seen < table->nr; i++) {
		seen += table->object[i] != NULL;
		if (table->object[i] && table->object[i]->perm.__key == key)
			return table->object[i];
	}
	return NULL;
}

int ipc_highest(const struct ipc_table *table)
{
	int index = IPC_MAX_OBJECTS - 1;

	while (index > 0 && !table->object[index])
		index--;
	return index;
}

int ipc_add(struct ipc_table *table, struct ipc_object *o, struct task *t, key_t key, int flags)
{
	int index = 0;

	while (index < IPC_MAX_OBJECTS && table->object[index])
		index++;
	if (index == IPC_MAX_OBJECTS)
		return -ENOSPC;
	o->id = index + (int)(table->sequence++ % (INT32_MAX / IPC_SEQUENCE)) * IPC_SEQUENCE;
	o->perm = (struct ipc_perm){.__key = key,
				    .uid = t->cred.uid.effective,
				    .gid = t->cred.gid.effective,
				    .cuid = t->cred.uid.effective,
				    .cgid = t->cred.gid.effective,
				    .mode = (unsigned short)(flags & 0777),
				    .__seq = (unsigned short)(o->id / IPC_SEQUENCE)};
	table->object[index] = o;
	table->nr++;
	return o->id;
}

void ipc_remove(struct ipc_table *table, struct ipc_object *o)
{
	table->object[o->id % IPC_SEQUENCE] = NULL;
	table->nr--;
}

static bool in_group(const struct cred *c, gid_t gid)
{
	if (c->gid.effective == gid)
		return true;
	for (unsigned int i = 0; i < c->nr_groups; i++)
		if (c->groups[i] == gid)
			return true;
	return false;
}

int ipc_check_perm(struct task *t, const struct ipc_perm *perm, unsigned int rights)
{
	unsigned int wanted = (rights >> 6 | rights >> 3 | rights) & 7, granted = perm->mode;
	const struct cred *c = &t->cred;

	if (c->uid.effective == perm->cuid || c->uid.effective == perm->uid)
		granted >>= 6;
	else if (in_group(c, perm->cgid) || in_group(c, perm->gid))
		granted >>= 3;
	return wanted & ~granted && !cred_capable(c, CAP_KILL) ? -EACCES : 0;
}

int ipc_check_perm_owner(struct task *t, const struct ipc_perm *perm)
{
	uid_t uid = t->cred.uid.effective;

	return uid == perm->cuid || uid == perm->uid || cred_capable(&t->cred, CAP_KILL) ? 0 : -EPERM;
}

int ipc_check(struct task *t, const struct ipc_object *o, unsigned int rights)
{
	return ipc_check_perm(t, &o->perm, rights);
}

int ipc_check_owner(struct task *t, const struct ipc_object *o)
{
	return ipc_check_perm_owner(t, &o->perm);
}

void ipc_set(struct ipc_object *o, const struct ipc_perm *perm)
{
	o->perm.uid = perm->uid;
	o->perm.gid = perm->gid;
	o->perm.mode = (unsigned short)((o->perm.mode & ~0777) | (perm->mode & 0777));
}
