/* SPDX-License-Identifier: MIT */
/* slab.c - see slab.h. */
#include "slab.h"

unsigned int slab_min_order(size_t size)
{
	unsigned int order = 0;

	while ((PAGE_SIZE << order) < size)
		order++;
	return order;
}

/* Slabs with few objects spend most calls on lists: 8 of them, or as many as the largest order has. */
#define MIN_OBJECTS 8

unsigned int slab_order(size_t size)
{
	size_t most = (PAGE_SIZE << SLAB_MAX_ORDER) / size;
	size_t wanted = most < MIN_OBJECTS ? most : MIN_OBJECTS;

	for (unsigned int fraction = 32; fraction > 1 && most; fraction /= 2) {
		for (unsigned int order = slab_min_order(wanted * size); order <= SLAB_MAX_ORDER; order++) {
			size_t bytes = PAGE_SIZE << order;
			if (bytes % size <= bytes / fraction)
				return order;
		}
	}
	return slab_min_order(size);
}

struct page *slab_get_frames(struct kmem_cache *c, struct kmem_cache *owner, unsigned int order,
			     unsigned int min_order)
{
	struct page *slab = page_alloc(c->frames, GFP_OBJECT, order);

	if (!slab && order > min_order) {
		order = min_order;
		slab = page_alloc(c->frames, GFP_OBJECT, order);
	}
	if (!slab)
		return NULL;
	for (unsigned int i = 0; i < 1u << order; i++) {
		atomic_fetch_or_explicit(&slab[i].flags, PG_SLAB, memory_order_relaxed);
		slab[i].slab_cache = owner;
		slab[i].slab_tail = (uint16_t)i;
		slab[i].slab_order = order & 0xf;
		slab[i].slab_fast = kmem_free_slot(owner) & 0x1ff;
	}
	KMEM_COUNT(c, slabs_created);
	return slab;
}

void slab_put_frames(struct kmem_cache *c, struct page *slab)
{
	unsigned int order = slab->slab_order;

	for (unsigned int i = 0; i < 1u << order; i++) {
		slab[i].slab_cache = NULL;
		slab[i].index = 0;
		slab[i].s_mem = NULL;
		slab[i].freelist = NULL;
	}
	KMEM_COUNT(c, slabs_freed);
	page_free_block(c->frames, slab, order);
}

/* The pointer and its place hidden in each other: reading one from a freed object tells neither. */
static uintptr_t hidden(const struct kmem_cache *c, uintptr_t value, const void *place)
{
	return value ^ c->random ^ __builtin_bswap64((uintptr_t)place);
}

static uintptr_t *free_pointer(const struct kmem_cache *c, const void *object)
{
	return (uintptr_t *)(void *)((char *)(uintptr_t)object + c->fp_offset);
}

static void set_next_free(const struct kmem_cache *c, void *object, const void *next)
{
	uintptr_t *place = free_pointer(c, object);

	*place = hidden(c, (uintptr_t)next, place);
}

void *slab_next_free(const struct kmem_cache *c, const void *object)
{
	const uintptr_t *place = free_pointer(c, object);

	return (void *)hidden(c, *place, place);
}

static bool is_object(const struct kmem_cache *c, const struct page *slab, const void *p)
{
	uint64_t at = (uint64_t)((const char *)p - (const char *)slab->s_mem);

	return at < (uint64_t)slab->objects * c->size && !(at & 7);
}

static bool construct(struct kmem_cache *c, void *object)
{
	if (c->ctor)
		c->ctor(object);
	return !(c->flags & KMEM_DEBUG) || kmem_debug_object(c, object);
}

struct page *slab_create(struct kmem_cache *c)
{
	struct page *slab = slab_get_frames(c, c, c->order, c->min_order);
	void *next = NULL;

	if (!slab)
		return NULL;
	slab->s_mem = (char *)page_address(c->frames, slab) + c->red_left;
	slab->objects = (uint16_t)(slab_bytes(slab) / c->size);
	slab->inuse = 0;
	for (uint32_t i = slab->objects; i-- > 0;) {
		char *object = (char *)slab->s_mem + (size_t)i * c->size;
		construct(c, object);
		set_next_free(c, object, next);
		next = object;
	}
	slab->freelist = next;
	return slab;
}

void slab_release(struct kmem_cache *c, struct page *slab)
{
	slab_put_frames(c, slab);
}

void *slab_pop(struct kmem_cache *c, struct page *slab)
{
	void *object = slab->freelist;
	void *next = slab_next_free(c, object);

	slab->inuse++;
	if (__builtin_expect(next && !is_object(c, slab, next), 0)) {
		/* Somebody wrote into a free object: what follows it is lost, but nothing outside the slab is touched. */
		kmem_report(c, KMEM_BAD_FREELIST, object);
		slab->inuse = slab->objects;
		next = NULL;
	}
	slab->freelist = next;
	return object;
}

bool slab_push(struct kmem_cache *c, struct page *slab, void *object)
{
	if (__builtin_expect(object == slab->freelist || !slab->inuse, 0)) {
		kmem_report(c, KMEM_DOUBLE_FREE, object);
		return false;
	}
	set_next_free(c, object, slab->freelist);
	slab->freelist = object;
	slab->inuse--;
	return true;
}

unsigned int slab_check(struct kmem_cache *c, struct page *slab, void (*complain)(const char *, uint64_t))
{
	uint32_t nr = 0;

	for (void *o = slab->freelist; o && nr <= slab->objects && is_object(c, slab, o);
	     o = slab_next_free(c, o))
		nr++;
	if (nr + slab->inuse == slab->objects && slab->slab_cache == c)
		return 0;
	if (complain)
		complain("objects of a slab do not add up", page_to_pfn(c->frames, slab));
	return 1;
}

uint64_t slab_destroy_all(struct kmem_cache *c)
{
	uint64_t leaked = 0;

	for (pfn_t pfn = c->low_pfn; pfn < c->high_pfn; pfn++) {
		struct page *page = pfn_to_page(c->frames, pfn);
		if (!(atomic_load(&page->flags) & PG_SLAB) || page->slab_cache != c || page->slab_tail)
			continue;
		leaked += page->inuse;
		if (page->inuse)
			kmem_debug_leaks(c, page);
		slab_put_frames(c, page);
	}
	return leaked;
}
