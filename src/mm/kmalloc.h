/* SPDX-License-Identifier: MIT */
/*
 * kmalloc.h - memory of any size: caches of 13 sizes, and blocks of frames beyond the largest.
 *
 * An object is found again through page.slab_cache alone, so kfree needs no size. Thread-safe as kmem.h is.
 * Not here: which pages (page_alloc.h).
 */
#ifndef LODGE_MM_KMALLOC_H
#define LODGE_MM_KMALLOC_H

#include "kmem.h"

#define KMALLOC_CLASSES	   13
#define KMALLOC_MAX_CACHED 8192
#define KMALLOC_MAX	   (PAGE_SIZE << (MAX_ORDER - 1))

struct kmalloc {
	struct kmem_cache cache[KMALLOC_CLASSES];
	struct kmem_cache large; /* whom blocks beyond the classes name as their cache */
	struct slob *slob;	 /* SLOB: serves the small sizes; NULL with the other back-ends */
	char *direct_map;	 /* (C) */
	struct page *mem_map;	 /* (C) */
};

extern const uint16_t kmalloc_sizes[KMALLOC_CLASSES];
extern const uint8_t kmalloc_small_class[1024 / 8 + 1]; /* by (size + 7) / 8 */

/* The class of 0..KMALLOC_MAX_CACHED bytes. */
static inline unsigned int kmalloc_class(size_t bytes)
{
	if (bytes <= 1024)
		return kmalloc_small_class[(bytes + 7) / 8];
	return 63u - (unsigned int)__builtin_clzll(bytes - 1); /* 1025..2048 has bit 10, and is class 10 */
}

void *kmalloc_large(struct kmalloc *k, size_t bytes);
void kmalloc_free_slow(struct kmalloc *k, void *p);
size_t kmalloc_size(struct kmalloc *k, const void *p);
void *kmalloc_resize(struct kmalloc *k, void *p, size_t bytes);

/* 0 or -errno. flags: KMEM_, of all caches; SLOB's small sizes have no cache and ignore them. */
int kmalloc_init(struct kmalloc *k, struct frames *f, enum kmem_backend backend, uint32_t flags);

/* Returns the number of objects that were never freed. */
uint64_t kmalloc_destroy(struct kmalloc *k);

/* At least 8-byte aligned; powers of two by their size. NULL: no memory, or more than KMALLOC_MAX. */
static inline void *kmalloc(struct kmalloc *k, size_t bytes)
{
	if (__builtin_expect(bytes > KMALLOC_MAX_CACHED || k->slob, 0))
		return kmalloc_large(k, bytes);
	return kmem_cache_alloc(&k->cache[kmalloc_class(bytes)]);
}

static inline void *kzalloc(struct kmalloc *k, size_t bytes)
{
	void *p = kmalloc(k, bytes);

	return p ? memset(p, 0, bytes) : NULL;
}

/* Takes NULL too. */
static inline void kfree(struct kmalloc *k, void *p)
{
	if (!p)
		return;
	struct kmem_cache *c = k->mem_map[(uint64_t)((char *)p - k->direct_map) >> PAGE_SHIFT].slab_cache;
	if (__builtin_expect(!c, 0)) {
		kmalloc_free_slow(k, p);
		return;
	}
	uint32_t fast = atomic_load_explicit(&c->fast, memory_order_relaxed);
	struct kmem_sheaf *s = kmem_self->main[fast];
	uint32_t n = atomic_load_explicit(&s->avail, memory_order_relaxed);
	if (__builtin_expect(n >= s->limit, 0)) {
		kmalloc_free_slow(k, p);
		return;
	}
	s->entry[n] = p;
	atomic_store_explicit(&s->avail, n + 1, memory_order_relaxed);
}

/* Usable bytes; 0 for NULL. */
static inline size_t ksize(struct kmalloc *k, const void *p)
{
	return p ? kmalloc_size(k, p) : 0;
}

/* p stays where it is while that holds the new size and is not twice too large. NULL: no memory, and p is as it was. */
static inline void *krealloc(struct kmalloc *k, void *p, size_t bytes)
{
	return kmalloc_resize(k, p, bytes);
}

#endif
