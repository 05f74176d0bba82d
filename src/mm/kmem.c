/* SPDX-License-Identifier: MIT */
/*
 * kmem.c - object caches: a slab is one frame cut into equal objects, its free ones chained through themselves.
 *
 *   K1  page.index of a slab is the number of its objects in use; index + length of freelist == objects_per_slab
 *   K2  a slab with a free object is on `partial`, one without on `full`; an empty one goes back to its zone unless it is
 *       the last partial one, which is kept so that a cache that breathes does not pay for it each time
 */
#include <string.h>

#include "kmem.h"
#include "page_alloc.h"

#define OBJECT_ALIGN 16

void kmem_cache_init(struct kmem_cache *c, struct frames *f, const char *name, size_t object_bytes)
{
	memset(c, 0, sizeof(*c));
	pthread_mutex_init(&c->lock, NULL);
	c->frames = f;
	c->name = name;
	c->object_bytes = (uint32_t)((object_bytes + OBJECT_ALIGN - 1) & ~(size_t)(OBJECT_ALIGN - 1));
	c->objects_per_slab = (uint32_t)(PAGE_SIZE / c->object_bytes);
	list_init(&c->partial);
	list_init(&c->full);
}

static struct page *slab_create(struct kmem_cache *c)
{
	struct page *slab = page_alloc(c->frames, GFP_OBJECT, 0);
	if (!slab)
		return NULL;
	char *base = page_address(c->frames, slab);
	void *next = NULL;
	for (uint32_t i = c->objects_per_slab; i-- > 0;) {
		void **object = (void **)(void *)(base + (size_t)i * c->object_bytes);
		*object = next;
		next = object;
	}
	slab->freelist = next;
	atomic_fetch_or(&slab->flags, PG_SLAB);
	list_add(&slab->node, &c->partial);
	c->nr_slabs++;
	return slab;
}

static void slab_destroy(struct kmem_cache *c, struct page *slab)
{
	list_del(&slab->node);
	c->nr_slabs--;
	page_free(c->frames, slab);
}

void *kmem_cache_alloc(struct kmem_cache *c)
{
	void *object = NULL;

	pthread_mutex_lock(&c->lock);
	struct page *slab =
		list_empty(&c->partial) ? slab_create(c) : list_entry(c->partial.next, struct page, node);
	if (slab) {
		object = slab->freelist;
		slab->freelist = *(void **)object;
		slab->index++;
		c->nr_objects++;
		if (!slab->freelist) {
			list_del(&slab->node);
			list_add(&slab->node, &c->full);
		}
	}
	pthread_mutex_unlock(&c->lock);
	if (object)
		memset(object, 0, c->object_bytes);
	return object;
}

static struct page *slab_of(struct kmem_cache *c, const void *object)
{
	return pfn_to_page(c->frames, (pfn_t)((const char *)object - c->frames->direct_map) >> PAGE_SHIFT);
}

void kmem_cache_free(struct kmem_cache *c, void *object)
{
	struct page *slab = slab_of(c, object);

	pthread_mutex_lock(&c->lock);
	if (!slab->freelist) {
		list_del(&slab->node);
		list_add(&slab->node, &c->partial);
	}
	*(void **)object = slab->freelist;
	slab->freelist = object;
	c->nr_objects--;
	bool only_partial = c->partial.next == &slab->node && c->partial.prev == &slab->node;
	if (--slab->index == 0 && !only_partial)
		slab_destroy(c, slab);
	pthread_mutex_unlock(&c->lock);
}

static void destroy_list(struct kmem_cache *c, struct list_head *head)
{
	struct page *slab, *next;

	list_for_each_entry_safe (slab, next, head, node)
		slab_destroy(c, slab);
}

uint64_t kmem_cache_destroy(struct kmem_cache *c)
{
	uint64_t leaked = c->nr_objects;

	destroy_list(c, &c->partial);
	destroy_list(c, &c->full);
	pthread_mutex_destroy(&c->lock);
	return leaked;
}
