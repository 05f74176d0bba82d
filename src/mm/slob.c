/* SPDX-License-Identifier: MIT */
/*
 * slob.c - the SLOB back-end: one heap of units for all caches over one frame table.
 *
 * A frame is 2048 units of 2 bytes. Its free blocks are chained through themselves in the order of their addresses: a block
 * of one unit holds the negated place of the next, a longer one its length and the place of the next (counted in units from
 * the frame's start; one past the end: none). An allocation takes the first block that is large enough, from the front; a
 * free block merges with both neighbours. Frames with free units are on one of three lists, by the size of the requests
 * that they were made for: below 256, below 1024, the rest. Blocks have no header: a cache knows its size, kmalloc puts
 * the length before what it hands out.
 *   O1  page.inuse is the number of free units; the blocks of the chain add up to it, and no two of them touch
 *   O2  a frame with free units is on a list, unless all are free: then it is with the zone; a full one is on none
 * After Linux's mm/slob.c (Mackall 2005). Locking: slob->lock.
 */
#include <errno.h>
#include <stdlib.h>

#include "slab.h"
#include "slob.h"

#define UNIT	    2u
#define PAGE_UNITS  ((int)(PAGE_SIZE / UNIT))
#define SLOB_BREAK1 256
#define SLOB_BREAK2 1024

static int16_t *page_units(struct slob *h, struct page *page)
{
	return page_address(h->frames, page);
}

/* --- blocks of one frame: places are in units from its start ------------------------------------------------------- */

static int block_size(const int16_t *u, int at)
{
	return u[at] > 0 ? u[at] : 1;
}

static int block_next(const int16_t *u, int at)
{
	return u[at] > 0 ? u[at + 1] : -u[at];
}

static void block_set(int16_t *u, int at, int size, int next)
{
	if (size > 1) {
		u[at] = (int16_t)size;
		u[at + 1] = (int16_t)next;
	} else {
		u[at] = (int16_t)-next;
	}
}

static int page_first(struct slob *h, const struct page *page)
{
	const int16_t *first = page->freelist;

	return first ? (int)(first - page_units(h, (struct page *)(uintptr_t)page)) : PAGE_UNITS;
}

/* Makes `next` what follows block `at`, or the first block when `at` is negative. */
static void block_link(struct slob *h, struct page *page, int at, int next)
{
	int16_t *u = page_units(h, page);

	if (at < 0)
		page->freelist = next < PAGE_UNITS ? u + next : NULL;
	else
		block_set(u, at, block_size(u, at), next);
}

static int align_units(int at, int units)
{
	return (at + units - 1) / units * units;
}

/* First fit of `size` units at a multiple of `align`; NULL: no block is large enough. */
static void *page_take(struct slob *h, struct page *page, int size, int align)
{
	int16_t *u = page_units(h, page);
	int previous = -1;

	for (int at = page_first(h, page); at < PAGE_UNITS; previous = at, at = block_next(u, at)) {
		int have = block_size(u, at), next = block_next(u, at);
		int start = align_units(at, align), before = start - at;
		if (have < before + size)
			continue;
		int after = have - before - size;
		if (after) {
			block_set(u, start + size, after, next);
			next = start + size;
		}
		if (before)
			block_set(u, at, before, next);
		else
			block_link(h, page, previous, next);
		page->inuse = (uint16_t)(page->inuse - size);
		return u + start;
	}
	return NULL;
}

/* False when the block is free already, in whole or in part. */
static bool page_give(struct slob *h, struct page *page, int start, int size)
{
	int16_t *u = page_units(h, page);
	int previous = -1, next = page_first(h, page);

	while (next < start) {
		previous = next;
		next = block_next(u, next);
	}
	if ((previous >= 0 && previous + block_size(u, previous) > start) || start + size > next)
		return false;
	page->inuse = (uint16_t)(page->inuse + size);
	if (next < PAGE_UNITS && start + size == next) {
		size += block_size(u, next);
		next = block_next(u, next);
	}
	if (previous >= 0 && previous + block_size(u, previous) == start) {
		block_set(u, previous, block_size(u, previous) + size, next);
		return true;
	}
	block_set(u, start, size, next);
	block_link(h, page, previous, start);
	return true;
}

/* --- the heap ---------------------------------------------------------------------------------------------------- */

static struct list_head *list_for(struct slob *h, size_t bytes)
{
	return &h->list[bytes < SLOB_BREAK1 ? 0 : bytes < SLOB_BREAK2 ? 1 : 2];
}

static void *take_listed(struct slob *h, struct list_head *list, int units, int align)
{
	struct page *page;

	list_for_each_entry (page, list, node) {
		void *block = page->inuse >= units ? page_take(h, page, units, align) : NULL;
		if (!block)
			continue;
		if (!page->inuse)
			list_del(&page->node);
		return block;
	}
	return NULL;
}

static struct page *new_page(struct slob *h)
{
	struct page *page = slab_get_frames(&h->owner, &h->owner, 0, 0);

	if (!page)
		return NULL;
	int16_t *u = page_units(h, page);
	page->inuse = (uint16_t)PAGE_UNITS;
	page->objects = (uint16_t)PAGE_UNITS;
	page->s_mem = u;
	page->freelist = u;
	block_set(u, 0, PAGE_UNITS, PAGE_UNITS);
	return page;
}

void *slob_take(struct slob *h, size_t bytes, size_t align)
{
	int units = (int)((bytes + UNIT - 1) / UNIT), align_u = (int)(align / UNIT);
	struct list_head *list = list_for(h, bytes);

	align_u = align_u ? align_u : 1;
	pthread_mutex_lock(&h->lock);
	void *block = take_listed(h, list, units, align_u);
	pthread_mutex_unlock(&h->lock);
	if (block)
		return block;
	struct page *page = new_page(h);
	if (!page)
		return NULL;
	pthread_mutex_lock(&h->lock);
	h->nr_pages++;
	pfn_t pfn = page_to_pfn(h->frames, page);
	h->owner.low_pfn = min_u64(h->owner.low_pfn, pfn);
	h->owner.high_pfn = max_u64(h->owner.high_pfn, pfn + 1);
	block = page_take(h, page, units, align_u);
	if (page->inuse)
		list_add(&page->node, list);
	pthread_mutex_unlock(&h->lock);
	return block;
}

bool slob_give(struct slob *h, void *block, size_t bytes)
{
	struct page *page = kmem_page(&h->owner, block);
	int units = (int)((bytes + UNIT - 1) / UNIT), at = (int)((int16_t *)block - page_units(h, page));

	pthread_mutex_lock(&h->lock);
	bool was_full = !page->inuse, good = page_give(h, page, at, units);
	bool empty = page->inuse == PAGE_UNITS;
	if (empty) {
		list_del(&page->node);
		h->nr_pages--;
	} else if (good && was_full) {
		list_add(&page->node, list_for(h, bytes));
	}
	pthread_mutex_unlock(&h->lock);
	if (empty)
		slab_put_frames(&h->owner, page);
	return good;
}

static struct slob *slob_new(struct frames *f)
{
	struct slob *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	pthread_mutex_init(&h->lock, NULL);
	for (unsigned int i = 0; i < ARRAY_SIZE(h->list); i++)
		list_init(&h->list[i]);
	h->frames = f;
	h->owner.frames = f;
	h->owner.mem_map = f->mem_map;
	h->owner.direct_map = f->direct_map;
	h->owner.ops = &slob_ops;
	h->owner.slob = h;
	h->owner.low_pfn = ~0ull;
	memcpy(h->owner.name, "slob", 5);
	return h;
}

struct slob *slob_get(struct frames *f)
{
	pthread_mutex_lock(&kmem_registry_lock);
	if (!f->slob)
		f->slob = slob_new(f);
	if (f->slob)
		f->slob->refs++;
	pthread_mutex_unlock(&kmem_registry_lock);
	return f->slob;
}

void slob_put(struct slob *h)
{
	pthread_mutex_lock(&kmem_registry_lock);
	bool last = !--h->refs;
	if (last)
		h->frames->slob = NULL;
	pthread_mutex_unlock(&kmem_registry_lock);
	if (!last)
		return;
	/* What nobody freed, and counted as leaked by its cache, keeps frames. */
	for (pfn_t pfn = h->owner.low_pfn; pfn < h->owner.high_pfn; pfn++) {
		struct page *page = pfn_to_page(h->frames, pfn);
		if ((atomic_load(&page->flags) & PG_SLAB) && page->slab_cache == &h->owner)
			slab_put_frames(&h->owner, page);
	}
	pthread_mutex_destroy(&h->lock);
	free(h);
}

static unsigned int check_page(struct slob *h, struct page *page)
{
	const int16_t *u = page_units(h, page);
	int units = 0, end = -1;

	for (int at = page_first(h, page); at < PAGE_UNITS; at = block_next(u, at)) {
		if (at <= end) /* not in order, or two blocks that should be one */
			return 1;
		units += block_size(u, at);
		end = at + block_size(u, at);
	}
	return end > PAGE_UNITS || units != page->inuse || !units || units == PAGE_UNITS;
}

unsigned int slob_check(struct slob *h, void (*complain)(const char *, uint64_t))
{
	unsigned int bad = 0;
	struct page *page;

	pthread_mutex_lock(&h->lock);
	for (unsigned int i = 0; i < ARRAY_SIZE(h->list); i++)
		list_for_each_entry (page, &h->list[i], node)
			bad += check_page(h, page);
	pthread_mutex_unlock(&h->lock);
	if (bad && complain)
		complain("units of a frame do not add up", bad);
	return bad;
}

/* --- the back-end ------------------------------------------------------------------------------------------------ */

/* Objects of a frame or more have blocks of frames of their own. */
static bool is_large(const struct kmem_cache *c)
{
	return c->size >= PAGE_SIZE;
}

static int slob_init(struct kmem_cache *c)
{
	c->slob = slob_get(c->frames);
	return c->slob ? 0 : -ENOMEM;
}

static void slob_destroy(struct kmem_cache *c)
{
	slob_put(c->slob);
}

static char *take_slot(struct kmem_cache *c)
{
	if (!is_large(c))
		return slob_take(c->slob, c->size, c->align);
	struct page *page = slab_get_frames(c, c, c->min_order, c->min_order);
	if (!page)
		return NULL;
	page->inuse = 1;
	page->objects = 1;
	page->s_mem = (char *)page_address(c->frames, page) + c->red_left;
	pthread_mutex_lock(&c->slob->lock);
	pfn_t pfn = page_to_pfn(c->frames, page);
	c->low_pfn = min_u64(c->low_pfn, pfn);
	c->high_pfn = max_u64(c->high_pfn, pfn + 1);
	pthread_mutex_unlock(&c->slob->lock);
	return page_address(c->frames, page);
}

static void *slob_alloc(struct kmem_cache *c, struct kmem_local *l)
{
	char *slot = take_slot(c);

	(void)l;
	if (!slot)
		return NULL;
	atomic_fetch_add_explicit(&c->slob_objects, 1, memory_order_relaxed);
	char *object = slot + c->red_left;
	if (c->ctor)
		c->ctor(object);
	if (c->flags & KMEM_DEBUG)
		kmem_debug_object(c, object);
	return object;
}

static void slob_free(struct kmem_cache *c, struct kmem_local *l, void *object)
{
	(void)l;
	if (is_large(c)) {
		slab_put_frames(c, slab_of(c, object));
	} else if (!slob_give(c->slob, (char *)object - c->red_left, c->size)) {
		kmem_report(c, KMEM_DOUBLE_FREE, object);
		return;
	}
	atomic_fetch_sub_explicit(&c->slob_objects, 1, memory_order_relaxed);
}

static void slob_drain(struct kmem_cache *c, struct kmem_local *l)
{
	(void)c;
	(void)l;
}

static uint64_t slob_shrink(struct kmem_cache *c)
{
	(void)c; /* an empty frame never stays */
	return 0;
}

static uint64_t slob_reap(struct kmem_cache *c, struct kmem_local *l)
{
	(void)c;
	(void)l;
	return 0;
}

static unsigned int slob_check_cache(struct kmem_cache *c, void (*complain)(const char *, uint64_t))
{
	return slob_check(c->slob, complain);
}

static bool slob_owns(const struct kmem_cache *c, const struct page *page)
{
	return page->slab_cache == (is_large(c) ? c : &c->slob->owner);
}

const struct kmem_ops slob_ops = {
	.name = "slob",
	.init = slob_init,
	.destroy = slob_destroy,
	.alloc = slob_alloc,
	.free = slob_free,
	.drain = slob_drain,
	.shrink = slob_shrink,
	.reap = slob_reap,
	.check = slob_check_cache,
	.owns = slob_owns,
};
