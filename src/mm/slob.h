/* SPDX-License-Identifier: MIT */
/* slob.h - the heap of units under the SLOB back-end and its kmalloc. See slob.c. */
#ifndef LODGE_MM_SLOB_H
#define LODGE_MM_SLOB_H

#include "kmem_impl.h"

struct slob {
	pthread_mutex_t lock;
	struct list_head list[3]; /* (lock) frames with free units, for small, medium and large requests */
	struct frames *frames;
	uint64_t nr_pages;	 /* (lock) */
	unsigned int refs;	 /* (registry) caches and kmallocs */
	struct kmem_cache owner; /* whom the frames name as their cache; no objects of its own */
};

/* The heap of a frame table, made at its first use; NULL: no memory. */
struct slob *slob_get(struct frames *f);
void slob_put(struct slob *h);

/* bytes is below PAGE_SIZE, align a power of two. NULL: no memory. */
void *slob_take(struct slob *h, size_t bytes, size_t align);
/* With the bytes that were asked for; false when it is free already. */
bool slob_give(struct slob *h, void *block, size_t bytes);

unsigned int slob_check(struct slob *h, void (*complain)(const char *, uint64_t));

#endif
