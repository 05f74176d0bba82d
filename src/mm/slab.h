/* SPDX-License-Identifier: MIT */
/*
 * slab.h - slabs: blocks of frames cut into objects. What SLUB and the magazine layer stand on; SLAB and SLOB take their
 * frames here too.
 *
 * Free objects are chained through themselves, at fp_offset of each, the pointer hidden with a number of the cache's and
 * its own address, so that an overflow cannot aim it. The chain ends NULL.
 *   inuse + length of the chain == objects                                                      (slab_check verifies)
 * Locking: list_lock of the slab's node around all but slab_create and slab_release.
 */
#ifndef LODGE_MM_SLAB_H
#define LODGE_MM_SLAB_H

#include "kmem_impl.h"

#define SLAB_MAX_ORDER \
	3 /* what a slab of several objects may need: larger blocks are rare in a zone that is in use */

/* The slab's first frame. */
static inline struct page *slab_of(const struct kmem_cache *c, const void *object)
{
	struct page *page = kmem_page(c, object);

	return page - page->slab_tail;
}

static inline size_t slab_bytes(const struct page *slab)
{
	return PAGE_SIZE << slab->slab_order;
}

/*
 * The order of a slab, by the waste that remains: 1/32 of it if an order up to SLAB_MAX_ORDER allows that, then 1/16, ...
 * 1/2; at last the order of one object. As calculate_order in Linux's SLUB, which begins at 1/16.
 */
unsigned int slab_order(size_t size);
unsigned int slab_min_order(size_t size);

/* Frames of `order`, or of min_order when there are none, each with its owner; not cut yet. */
struct page *slab_get_frames(struct kmem_cache *c, struct kmem_cache *owner, unsigned int order,
			     unsigned int min_order);
void slab_put_frames(struct kmem_cache *c, struct page *slab);

/* A slab of constructed free objects on no list. NULL: no memory. */
struct page *slab_create(struct kmem_cache *c);
void slab_release(struct kmem_cache *c, struct page *slab);

/* The slab has a free object. */
void *slab_pop(struct kmem_cache *c, struct page *slab);
/* False, and reported, when the object is the last one that was freed. */
bool slab_push(struct kmem_cache *c, struct page *slab, void *object);

/* The object after this one in the chain. */
void *slab_next_free(const struct kmem_cache *c, const void *object);

/* Violations of one slab's chain. */
unsigned int slab_check(struct kmem_cache *c, struct page *slab, void (*complain)(const char *, uint64_t));

/* Reports and releases every slab that is still there, full ones on no list included; the objects that were in use. */
uint64_t slab_destroy_all(struct kmem_cache *c);

#endif
