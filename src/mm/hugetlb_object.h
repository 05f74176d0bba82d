/* SPDX-License-Identifier: MIT */
/*
 * hugetlb_object.h - what lies behind areas of 2 MiB pages: a file without a name, or with one.
 *
 *   of MAP_ANONYMOUS   made by mmap, of fixed size
 *   a file             memfd or System V segment; its blocks are found by index, and it may get another size
 *   private of a file  made by a private mapping of one: it has the reservations, `below` is what is read until it is written to
 *
 * Reservations. Unless MAP_NORESERVE was said, each 2 MiB that is mapped has one from mmap on, which ends with the first touch. They are
 * marks by index in `reserved`. Those of a private object are for the space that mapped it, not for its children, and go with its areas;
 * those of a file go with the file, or the part of it that is cut off.
 *
 * Locking: object->lock, inside page_table_lock, outside pool->lock; io_lock of the cache for changes of the size, outside mmap_lock.
 * Not here: areas and faults (hugetlb.h), how many blocks there are (hugetlb_pool.h).
 */
#ifndef LODGE_MM_HUGETLB_OBJECT_H
#define LODGE_MM_HUGETLB_OBJECT_H

#include "backing.h"
#include "radix.h"

struct memcg;

struct hugetlb_object {
	struct backing backing;
	struct frames *frames;
	struct memcg *memcg; /* whose pool; one reference */
	struct hugetlb_object
		*below; /* (C) of a private mapping of a file: the file, one reference; else NULL */
	_Atomic uint64_t size_bytes;	/* (A) changes under the lock */
	bool reserves;			/* (C) private: it was mapped with reservations */
	const struct mm *_Atomic owner; /* (A) of a private object: who has the reservations; NULL: gone */
	unsigned int owner_areas;	/* (mmap_lock of the owner) */
	pthread_mutex_t lock;
	struct radix_tree reserved; /* (lock) the index of each page that is promised */
	struct radix_tree blocks;   /* (lock) of a file; each counts it as a user */
	char *path;		    /* (C) owned; NULL: that of anonymous memory, or the file's */
};

/* An object of that size with one reference. The path is copied; NULL: anonymous. NULL: no memory. */
struct hugetlb_object *hugetlb_object_create(struct mm_host *h, struct memcg *cg, uint64_t bytes,
					     const char *path);

/* What a private mapping of a file has of its own. NULL: no memory. */
struct hugetlb_object *hugetlb_object_over(struct hugetlb_object *file);

/* The object behind a file, or NULL when that is another kind of file. */
struct hugetlb_object *hugetlb_object_of(struct backing *b);

/* Promises the pages [first, first + nr), indices of 2 MiB, that are neither there nor promised. 0 or -ENOMEM. */
int hugetlb_object_reserve(struct hugetlb_object *h, uint64_t first, uint64_t nr);

/* Takes the promise of one page back, to use it; false: there was none. */
bool hugetlb_object_use(struct hugetlb_object *h, uint64_t index);
/* It was not used after all. */
void hugetlb_object_unuse(struct hugetlb_object *h, uint64_t index);
/* Forgets promises. */
void hugetlb_object_drop(struct hugetlb_object *h, uint64_t first, uint64_t nr);

/* A block of a file, with one more user: NULL: there is none, or it lies behind the end. */
struct page *hugetlb_object_find(struct hugetlb_object *h, uint64_t index);
/* The same; puts `head`, cleared and nobody's, there if nothing is. NULL: behind the end, or no memory for the index. */
struct page *hugetlb_object_add(struct hugetlb_object *h, uint64_t index, struct page *head);

static inline bool hugetlb_object_has(const struct hugetlb_object *h, uint64_t index)
{
	return index * PMD_SIZE < atomic_load(&h->size_bytes);
}

/* --- calls on a file; mmap_lock is not held --------------------------------------------------- */

/* Another size, a multiple of 2 MiB: what lies behind it is gone, for areas too. */
void hugetlb_object_resize(struct hugetlb_object *h, uint64_t bytes);
/* A mapping that may be written makes the file as long as it reaches. */
void hugetlb_object_extend(struct hugetlb_object *h, uint64_t bytes);
/* Whole pages of [start, end) are gone, the rest of it reads as zero. */
void hugetlb_object_punch(struct hugetlb_object *h, uint64_t start, uint64_t end);
/* Makes the pages of [start, end) be there, and the file that long unless keep_size says not: 0 or -ENOSPC. */
enum hugetlb_grow { HUGETLB_GROW, HUGETLB_KEEP_SIZE };
int hugetlb_object_allocate(struct hugetlb_object *h, uint64_t start, uint64_t end, enum hugetlb_grow grow);
/* Bytes read at `offset`: less than asked for only at the end. */
int64_t hugetlb_object_read(struct hugetlb_object *h, const struct iovec *iov, unsigned int nr,
			    uint64_t offset);
uint64_t hugetlb_object_pages(struct hugetlb_object *h);

#endif
