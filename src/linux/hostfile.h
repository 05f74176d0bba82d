/* SPDX-License-Identifier: MIT */
/*
 * hostfile.h - a regular file of the host as a backing: what mappings of a file read from.
 *
 *   H1  two live backings of one table never stand for the same (st_dev, st_ino), so all mappings share one page cache
 *   H2  a backing holds a descriptor of its own: the one it was made from may be closed
 *   H3  a backing that a guest may write through holds a descriptor that can
 *   H4  a backing with a failed write that nobody was told of stays in the table until it is destroyed
 *   H5  the files that were mapped last, and never to be written, stay with their pages when nobody maps them any more, unless
 *       somebody needs the room; they are opened anew, so that nobody's locks (flock) stay with them
 * The table belongs to a host and is reached through struct task; it outlives every backing made from it.
 * Locking: table->lock, inside LOCK_MMAP (release may be called with it held) and outside nothing.
 */
#ifndef LODGE_LINUX_HOSTFILE_H
#define LODGE_LINUX_HOSTFILE_H

#include "../mm/backing.h"

struct inject;

#define HOSTFILE_BUCKETS  64u
#define HOSTFILE_MAX_KEPT 32u

struct hostfile_table {
	pthread_mutex_t lock;
	struct list_head live[HOSTFILE_BUCKETS]; /* (lock) struct hostfile, by node */
	_Atomic unsigned int nr_live;		 /* (A) */
	struct list_head kept;	 /* (lock) struct hostfile, by kept_node: H5, the last one first */
	unsigned int nr_kept;	 /* (lock) */
	bool closing;		 /* (lock) */
	struct inject *inject;	 /* (C) failures on purpose; NULL: none */
	struct mm_host *mm_host; /* (C) where pages of the caches come from */
};

void hostfile_table_init(struct hostfile_table *table, struct mm_host *mm_host, struct inject *inject);
/* Nobody maps anything any more. */
void hostfile_table_destroy(struct hostfile_table *table);

/*
 * The backing of the regular file behind host_fd, with a reference for the caller (backing_put). `path` is shown in maps;
 * NULL: as the kernel names the descriptor. When the file has changed on disk since its last mapping was made, pages that
 * nobody maps are read again.
 * 0, -EACCES (not open for reading), -ENODEV (not a regular file), -EBADF, -ENOMEM, -EMFILE.
 */
int hostfile_get(struct hostfile_table *table, int host_fd, const char *path, struct backing **backing);

/* The backing of a file if there is one, with a reference for the caller. Cheap where nothing is mapped. table may be NULL. */
struct backing *hostfile_find(struct hostfile_table *table, uint64_t dev, uint64_t ino);

/* Drops every cached page that nobody maps. */
void hostfile_drop_caches(struct hostfile_table *table);

#endif
