/* SPDX-License-Identifier: MIT */
/*
 * shmem.h - memory that is shared and has no file: shared anonymous areas, memfds, System V segments.
 *
 * An object is a backing like a file, so that areas hold it like one; its pages are all there is of it. A page that is missing
 * reads as zero. Pages are charged to the account whose access made them. Those that are not in use go to swap: shmem_swap.h; to read or
 * write one that cannot be read from there is -EIO.
 * Locking: io_lock of the cache: for reading by what looks at the size and makes pages, for writing by what changes the size.
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

/* Bytes read at `offset`: less than asked for only at the end, or before a page that cannot be had: -ENOMEM or -EIO when that is the first. */
int64_t shmem_read(struct backing *b, const struct iovec *iov, unsigned int nr, uint64_t offset);

/* Bytes written at `offset`, where the object grows if it must; new pages are charged to cg. -ENOMEM when not one byte could be. */
int64_t shmem_write(struct backing *b, struct memcg *cg, const struct iovec *iov, unsigned int nr,
		    uint64_t offset);

/* Another size: pages behind it are gone, for areas too. */
void shmem_resize(struct backing *b, uint64_t bytes);

/* Frees whole pages of [start, end) and clears the rest of it. */
void shmem_punch(struct backing *b, uint64_t start, uint64_t end);

/* Makes the pages of [start, end) be there, in memory or in a slot, whatever the size: 0 or -ENOMEM. */
int shmem_allocate(struct backing *b, struct memcg *cg, uint64_t start, uint64_t end);

/* SEEK_DATA (hole false) or SEEK_HOLE (true): where the next is from `offset` on, or -ENXIO. */
int64_t shmem_seek(struct backing *b, uint64_t offset, bool hole);

#endif
