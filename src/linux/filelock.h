/* SPDX-License-Identifier: MIT */
/*
 * filelock.h - record locks of processes (F_SETLK and kin), between guests, and between guests and the rest of the machine.
 *
 * To the host all guests are one process, which never waits for itself. So the locks of one table of descriptors on one file are
 * held by an open file description of their own, as the host's OFD locks: the host splits ranges, decides who conflicts and
 * wakes whoever waits. What it cannot know is kept here as well, range by range: whose they are (F_GETLK's l_pid) and who waits
 * for whom (EDEADLK).
 *
 *   C1  an owner's ranges are what its description holds on the host, while filelock_mutex is free
 *   C2  closing any descriptor of a file gives up all locks that its table has on the file
 * Locks belong to the table, as in Linux: threads have them in common, a fork has none, an exec takes them along.
 * Locking: filelock_mutex, innermost; nothing waits under it.
 * Not here: flock and OFD locks, which the host's descriptions carry for us.
 */
#ifndef LODGE_LINUX_FILELOCK_H
#define LODGE_LINUX_FILELOCK_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>

#include "../mm/list.h"

struct files;
struct task;

/* The locks of one table: an owner for each file that it has locked. */
struct filelocks {
	struct list_head owners;
	_Atomic unsigned int nr; /* (A) of them */
};

void filelocks_init(struct filelocks *l);

/* F_GETLK (fills *lock in), F_SETLK, F_SETLKW on a descriptor of the host that stands for a guest's. 0 or -errno. */
int64_t filelock_fcntl(struct task *t, int host_fd, int cmd, struct flock *lock);

/* A descriptor of the file was closed, or (all of) the table goes. */
void filelocks_closed(struct filelocks *l, int host_fd);
void filelocks_drop(struct filelocks *l);

/* An exec goes on with another table. */
void filelocks_move(struct filelocks *to, struct filelocks *from);

#endif
