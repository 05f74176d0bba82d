/* SPDX-License-Identifier: MIT */
/*
 * kmem.h - caches of equal objects, on pages of ZONE_OBJECT.
 *
 * Algorithm: slabs with a free list threaded through the free objects (Bonwick 1994, without constructors).
 * Thread-safe: one lock per cache.
 */
#ifndef LODGE_MM_KMEM_H
#define LODGE_MM_KMEM_H

#include "page.h"

struct kmem_cache {
	pthread_mutex_t lock; /* rank LOCK_KMEM; zone->lock nests inside */
	struct frames *frames;
	const char *name;
	uint32_t object_bytes;	   /* (C) rounded up to 16 */
	uint32_t objects_per_slab; /* (C) */
	struct list_head partial;  /* slabs with a free object */
	struct list_head full;
	uint64_t nr_objects; /* allocated */
	uint64_t nr_slabs;
};

/* object_bytes is 1..2048. The name is not copied. */
void kmem_cache_init(struct kmem_cache *c, struct frames *f, const char *name, size_t object_bytes);

/* Returns the slabs. Returns the number of objects that were never freed: 0 when all is well. */
uint64_t kmem_cache_destroy(struct kmem_cache *c);

/* A zeroed object, or NULL when memory is out. */
void *kmem_cache_alloc(struct kmem_cache *c);
void kmem_cache_free(struct kmem_cache *c, void *object);

#endif
