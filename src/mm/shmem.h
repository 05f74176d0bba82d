/* SPDX-License-Identifier: MIT */
/*
 * shmem.h - memory that is shared and has no file: shared anonymous areas, memfds, System V segments.
 *
 * An object is a backing like a file, so that areas hold it like one; its pages are all there is of it. A page that is missing
 * reads as zero. Pages are charged to the account whose access made them.
 */
#ifndef LODGE_MM_SHMEM_H
#define LODGE_MM_SHMEM_H

#include "backing.h"

/* What a shared anonymous area shows in maps. */
#define SHMEM_ANON_PATH "/dev/zero (deleted)"

struct shmem {
	struct backing backing;
	_Atomic uint64_t size_bytes; /* (A) changes under io_lock */
	char *path;		     /* (C) what maps shows, or NULL: SHMEM_ANON_PATH */
};

/* An object with one reference (backing_put). The path is copied; NULL: that of anonymous memory. NULL: no memory. */
struct backing *shmem_create(struct mm_host *h, uint64_t size_bytes, const char *path);

#endif
