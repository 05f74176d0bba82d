/* SPDX-License-Identifier: MIT */
/*
 * ipc.h - System V semaphores and message queues of a sandbox: numbers, keys, rights, and who waits.
 *
 *   I1  an object is in its table until it is removed; whoever waits for it then is woken and told so (EIDRM)
 *   I2  a waiter stands in an object's list exactly while it sleeps in the call
 * Locking: ns->lock, inside sandbox->lock; guest memory is not touched with it held.
 * Not here: shared memory, whose segments are memory (shm.h).
 */
#ifndef LODGE_LINUX_IPC_H
#define LODGE_LINUX_IPC_H

#include <pthread.h>
#include <sys/ipc.h>

#include "../mm/list.h"
#include "../mm/types.h"

struct process;
struct task;

#define IPC_MAX_OBJECTS 1024
#define IPC_SEQUENCE	32768 /* ids of one index differ by it */

/* What every object begins with. */
struct ipc_object {
	struct ipc_perm perm;
	int id;
};

struct ipc_table {
	struct ipc_object *object[IPC_MAX_OBJECTS];
	unsigned int nr, sequence;
};

struct ipc_ns {
	pthread_mutex_t lock;
	struct ipc_table semaphores, queues; /* (lock) */
	uint64_t nr_semaphores;		     /* (lock) of all sets */
	uint64_t nr_messages, message_bytes; /* (lock) of all queues */
	struct list_head mqueues;	     /* (lock) struct mqueue: those of POSIX */
};

/* NULL: no memory. */
struct ipc_ns *ipc_ns_create(void);
/* Nobody is in it any more. NULL is allowed. */
void ipc_ns_destroy(struct ipc_ns *ns);
bool ipc_ns_is_empty(struct ipc_ns *ns);

/* --- with ns->lock held --- */

/* NULL: there is none of that number, or of that key. */
struct ipc_object *ipc_find(const struct ipc_table *table, int id);
struct ipc_object *ipc_find_key(const struct ipc_table *table, key_t key);
/* That at an index, for the calls that list them all. */
struct ipc_object *ipc_at(const struct ipc_table *table, int index);
/* The highest index in use, or 0. */
int ipc_highest(const struct ipc_table *table);

/* Makes it known under a new number, with the caller's as its owner: that, or -ENOSPC. */
int ipc_add(struct ipc_table *table, struct ipc_object *o, struct task *t, key_t key, int flags);
void ipc_remove(struct ipc_table *table, struct ipc_object *o);

/* What can be said of an owner and rights alone. */
int ipc_check_perm(struct task *t, const struct ipc_perm *perm, unsigned int rights);
int ipc_check_perm_owner(struct task *t, const struct ipc_perm *perm);

/* rights: as in a mode, of any of the three groups. 0 or -EACCES. */
int ipc_check(struct task *t, const struct ipc_object *o, unsigned int rights);
/* 0, or -EPERM for who neither made it nor owns it. */
int ipc_check_owner(struct task *t, const struct ipc_object *o);
/* IPC_SET: owner and rights. */
void ipc_set(struct ipc_object *o, const struct ipc_perm *perm);

/* --- without --- */

/* What sem.c and msg.c leave behind at their ends. */
void sem_free_all(struct ipc_ns *ns);
void msg_free_all(struct ipc_ns *ns);

/* A process has ended: what it asked to be undone is. sandbox->lock may be held. */
void sem_process_exits(struct process *p);

#endif
