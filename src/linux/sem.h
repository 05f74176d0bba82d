/* SPDX-License-Identifier: MIT */
/* sem.h - the sets of semaphores of a sandbox (ipc.h), as the calls on them want them. */
#ifndef LODGE_LINUX_SEM_H
#define LODGE_LINUX_SEM_H

#include <sys/sem.h>
#include <time.h>

#include "ipc.h"

#define SEM_MAX_PER_SET 32000	 /* SEMMSL */
#define SEM_MAX_ALL	1000000u /* SEMMNS */
#define SEM_MAX_OPS	500	 /* SEMOPM */
#define SEM_MAX_VALUE	32767	 /* SEMVMX */

int64_t sem_get(struct task *t, key_t key, int nr, int flags);

/* Does all of the operations, once it can. deadline: CLOCK_MONOTONIC, or NULL. */
int64_t sem_operate(struct task *t, int id, const struct sembuf *ops, unsigned int nr,
		    const struct timespec *deadline);

/* One semaphore's GETVAL, GETPID, GETNCNT, GETZCNT; or SETVAL. */
int64_t sem_ask(struct task *t, int id, int index, int cmd);
int64_t sem_set_value(struct task *t, int id, int index, int value);

/* How many a set has, for who may do that with it: or -errno. */
int64_t sem_count(struct task *t, int id, unsigned int rights);
/* All values; `nr` is what sem_count said. -EIDRM: it is another set now. */
int64_t sem_get_all(struct task *t, int id, unsigned short *values, unsigned int nr);
int64_t sem_set_all(struct task *t, int id, const unsigned short *values, unsigned int nr);

/* By number (IPC_STAT) or index. What the call returns, or -errno. */
int64_t sem_stat(struct task *t, int id, int cmd, struct semid_ds *ds);
int64_t sem_info(struct task *t, int cmd, struct seminfo *info);
int64_t sem_set(struct task *t, int id, const struct semid_ds *ds);
int64_t sem_remove(struct task *t, int id);

#endif
