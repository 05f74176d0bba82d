/* SPDX-License-Identifier: MIT */
/* kmalloc.c - see kmalloc.h. */
#include <stdio.h>

#include "kmalloc.h"
#include "slab.h"
#include "slob.h"

const uint16_t kmalloc_sizes[KMALLOC_CLASSES] = {8,   16,   32,	  64,	96,   128,  192,  256, 320,
						 384, 448,  512,  576,	640,  704,  768,  832, 896,
						 960, 1024, 1536, 2048, 3072, 4096, 6144, 8192};

const uint8_t kmalloc_small_class[1024 / 8 + 1] = {
	[2] = 1,	   [3 ... 4] = 2,      [5 ... 8] = 3,	   [9 ... 12] = 4,     [13 ... 16] = 5,
	[17 ... 24] = 6,   [25 ... 32] = 7,    [33 ... 40] = 8,	   [41 ... 48] = 9,    [49 ... 56] = 10,
	[57 ... 64] = 11,  [65 ... 72] = 12,   [73 ... 80] = 13,   [81 ... 88] = 14,   [89 ... 96] = 15,
	[97 ... 104] = 16, [105 ... 112] = 17, [113 ... 120] = 18, [121 ... 128] = 19,
};

const uint8_t kmalloc_large_class[8192 / 512] = {
	[2] = 20, [3] = 21, [4 ... 5] = 22, [6 ... 7] = 23, [8 ... 11] = 24, [12 ... 15] = 25,
};

/* SLOB's own header: the length, before what the user gets. */
#define SLOB_HEADER 8

/* Bytes beyond a class: whole blocks of frames. */
static void *large_take(struct kmalloc *k, size_t bytes)
{
	if (bytes > KMALLOC_MAX)
		return NULL;
	unsigned int order = slab_min_order(bytes);
	struct page *block = slab_get_frames(&k->large, &k->large, order, order);
	if (!block)
		return NULL;
	block->inuse = 1;
	block->objects = 1;
	block->s_mem = page_address(k->large.frames, block);
	atomic_fetch_add_explicit(&k->large.slob_objects, 1, memory_order_relaxed);
	return block->s_mem;
}

static bool fits_slob(size_t bytes)
{
	return bytes + SLOB_HEADER < PAGE_SIZE;
}

static void *slob_heap_take(struct kmalloc *k, size_t bytes)
{
	bytes = bytes ? bytes : 1; /* the pointer to nothing must still lie in this frame */
	uint64_t *header = slob_take(k->slob, bytes + SLOB_HEADER, SLOB_HEADER);

	if (!header)
		return NULL;
	*header = bytes;
	atomic_fetch_add_explicit(&k->large.slob_objects, 1, memory_order_relaxed);
	return header + 1;
}

void *kmalloc_slow(struct kmalloc *k, size_t bytes)
{
	if (k->slob && fits_slob(bytes))
		return slob_heap_take(k, bytes);
	if (k->slob || bytes > KMALLOC_MAX_CACHED)
		return large_take(k, bytes);
	return kmem_alloc_slow(&k->cache[kmalloc_class(bytes)]);
}

static const struct page *block_of(const struct kmalloc *k, const void *p)
{
	return k->mem_map + ((uint64_t)((const char *)p - k->direct_map) >> PAGE_SHIFT);
}

static bool is_large_block(const struct kmalloc *k, const struct page *page)
{
	return page->slab_cache == &k->large;
}

static bool is_slob(const struct kmalloc *k, const struct page *page)
{
	return k->slob && page->slab_cache == &k->slob->owner;
}

static bool is_cached(const struct kmalloc *k, const struct page *page)
{
	return page->slab_cache >= &k->cache[0] && page->slab_cache < &k->cache[KMALLOC_CLASSES];
}

void kmalloc_free_slow(struct kmalloc *k, void *p)
{
	const struct page *page = block_of(k, p);
	uint64_t *header = (uint64_t *)p - 1;

	if (is_cached(k, page)) {
		kmem_free_slow(page->slab_cache, p);
	} else if (is_slob(k, page)) {
		if (slob_give(k->slob, header, *header + SLOB_HEADER))
			atomic_fetch_sub_explicit(&k->large.slob_objects, 1, memory_order_relaxed);
		else
			kmem_report(&k->large, KMEM_DOUBLE_FREE, p);
	} else if (is_large_block(k, page) && slab_of(&k->large, p)->s_mem == p) {
		atomic_fetch_sub_explicit(&k->large.slob_objects, 1, memory_order_relaxed);
		slab_put_frames(&k->large, slab_of(&k->large, p));
	} else {
		kmem_report(&k->large, KMEM_BAD_POINTER, p);
	}
}

size_t kmalloc_size(struct kmalloc *k, const void *p)
{
	const struct page *page = block_of(k, p);

	if (is_cached(k, page))
		return page->slab_cache->object_bytes;
	if (is_slob(k, page))
		return ((const uint64_t *)p)[-1];
	return is_large_block(k, page) ? slab_bytes(page) : 0;
}

void *kmalloc_resize(struct kmalloc *k, void *p, size_t bytes)
{
	size_t have = ksize(k, p);

	if (p && bytes <= have && bytes > have / 2)
		return p;
	void *to = kmalloc(k, bytes);
	if (!to) /* a smaller one can do with the place it has */
		return p && bytes <= have ? p : NULL;
	if (!p)
		return to;
	if (ksize(k, to) == have && bytes <= have) { /* the smallest place there is for it */
		kfree(k, to);
		return p;
	}
	memcpy(to, p, bytes < have ? bytes : have);
	kfree(k, p);
	return to;
}

static int make_class(struct kmalloc *k, unsigned int i, const struct kmem_args *common)
{
	struct kmem_args args = *common;
	size_t bytes = kmalloc_sizes[i];
	char name[KMEM_NAME_MAX];

	snprintf(name, sizeof(name), bytes % 1024 ? "kmalloc-%zu" : "kmalloc-%zuk",
		 bytes % 1024 ? bytes : bytes / 1024);
	args.name = name;
	args.object_bytes = bytes;
	args.align = bytes & -bytes; /* of 96 and 192: 32 and 64 */
	args.align = args.align > PAGE_SIZE ? PAGE_SIZE : args.align;
	return kmem_cache_init(&k->cache[i], &args);
}

static void copy_fast(struct kmalloc *k)
{
	for (unsigned int i = 0; i < KMALLOC_CLASSES; i++)
		atomic_store(&k->fast[i], (uint16_t)atomic_load(&k->cache[i].fast));
}

void kmalloc_fail_every(struct kmalloc *k, uint32_t n)
{
	for (unsigned int i = 0; i < KMALLOC_CLASSES; i++)
		kmem_cache_fail_every(&k->cache[i], n);
	copy_fast(k);
}

static void init_large(struct kmalloc *k, struct frames *f)
{
	memset(&k->large, 0, sizeof(k->large));
	k->large.frames = f;
	k->large.mem_map = f->mem_map;
	k->large.direct_map = f->direct_map;
	k->large.object_bytes = KMALLOC_MAX;
	k->large.ops = &slub_ops;
	memcpy(k->large.name, "kmalloc-large", 14);
}

int kmalloc_init(struct kmalloc *k, struct frames *f, enum kmem_backend backend, uint32_t flags)
{
	struct kmem_args args = {.frames = f, .flags = flags, .backend = backend};

	k->mem_map = f->mem_map;
	k->direct_map = f->direct_map;
	k->slob = NULL;
	init_large(k, f);
	for (unsigned int i = 0; i < KMALLOC_CLASSES; i++) {
		int err = make_class(k, i, &args);
		if (err) {
			while (i-- > 0)
				kmem_cache_destroy(&k->cache[i]);
			return err;
		}
	}
	copy_fast(k);
	if (backend == KMEM_SLOB)
		k->slob = slob_get(f); /* there already: the caches use it */
	return 0;
}

uint64_t kmalloc_destroy(struct kmalloc *k)
{
	uint64_t leaked = atomic_load(&k->large.slob_objects);

	for (unsigned int i = 0; i < KMALLOC_CLASSES; i++)
		leaked += kmem_cache_destroy(&k->cache[i]);
	if (k->slob)
		slob_put(k->slob);
	return leaked;
}
