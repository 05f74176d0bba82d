/* SPDX-License-Identifier: MIT */
/*
 * kmalloc.h - memory of any size: caches of 26 sizes, and blocks of frames beyond the largest.
 *
 * The sizes are Linux's 13 and ones between them, in steps of 64 bytes from 256 to 1024 and of a half beyond: what a place
 * is too large for its object is then less than what the best of the peers lose.
 *
 * An object is found again through page.slab_cache alone, so kfree needs no size. Thread-safe as kmem.h is.
 * Not here: which pages (page_alloc.h).
 */
#ifndef LODGE_MM_KMALLOC_H
#define LODGE_MM_KMALLOC_H

#include "kmem.h"

#define KMALLOC_CLASSES	   26
#define KMALLOC_MAX_CACHED 8192
#define KMALLOC_MAX	   (PAGE_SIZE << (MAX_ORDER - 1))

struct kmalloc {
	_Atomic uint16_t
		fast[KMALLOC_CLASSES]; /* of each cache: its sheaf is found without looking at the cache */
	struct kmem_cache cache[KMALLOC_CLASSES];
	struct kmem_cache large; /* whom blocks beyond the classes name as their cache */
	struct slob *slob;	 /* SLOB: serves the small sizes; NULL with the other back-ends */
	char *direct_map;	 /* (C) */
	struct page *mem_map;	 /* (C) */
};

extern const uint16_t kmalloc_sizes[KMALLOC_CLASSES];
extern const uint8_t kmalloc_small_class[1024 / 8 + 1]; /* by (size + 7) / 8 */
extern const uint8_t kmalloc_large_class[8192 / 512];	/* by (size - 1) / 512 */

/* The class of 0..KMALLOC_MAX_CACHED bytes. */
static inline unsigned int kmalloc_class(size_t bytes)
{
	if (bytes <= 1024)
		return kmalloc_small_class[(bytes + 7) / 8];
	return kmalloc_large_class[(bytes - 1) / 512];
}

void *kmalloc_large(struct kmalloc *k, size_t bytes);
void kmalloc_free_slow(struct kmalloc *k, void *p);
size_t kmalloc_size(struct kmalloc *k, const void *p);
void *kmalloc_resize(struct kmalloc *k, void *p, size_t bytes);

/* 0 or -errno. flags: KMEM_, of all caches; SLOB's small sizes have no cache and ignore them. */
int kmalloc_init(struct kmalloc *k, struct frames *f, enum kmem_backend backend, uint32_t flags);

/* Returns the number of objects that were never freed. */
uint64_t kmalloc_destroy(struct kmalloc *k);

/* As kmem_cache_fail_every, of all sizes up to KMALLOC_MAX_CACHED. */
void kmalloc_fail_every(struct kmalloc *k, uint32_t n);

/* At least 8-byte aligned; powers of two by their size. NULL: no memory, or more than KMALLOC_MAX. */
static inline void *kmalloc(struct kmalloc *k, size_t bytes)
{
	if (__builtin_expect(bytes > KMALLOC_MAX_CACHED || k->slob, 0))
		return kmalloc_large(k, bytes);
	unsigned int class = kmalloc_class(bytes);
	uint32_t fast = atomic_load_explicit(&k->fast[class], memory_order_relaxed);
	void *object = kmem_sheaf_pop(kmem_self->main[fast]);
	return __builtin_expect(object != NULL, 1) ? object : kmem_alloc_slow(&k->cache[class]);
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
	const struct page *page = &k->mem_map[(uint64_t)((char *)p - k->direct_map) >> PAGE_SHIFT];
	struct kmem_sheaf *s = kmem_self->main[page->slab_fast];
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
