/* SPDX-License-Identifier: MIT */
/*
 * kmem_debug.c - what a debugging cache knows of each object, and whom it tells.
 *
 *	red zone | object ................ | red zone | free pointer | struct kmem_meta
 *	 0xbb      free: 0x6b ... 0x6b 0xa5   0xbb      of the slab    state, who allocated, who freed
 *	 0xcc      in use: the user's         0xcc
 *
 * Bytes as in Linux's SLUB. A hit is reported once and repaired. An object that a bad free names stays as it is.
 * Locking: an object belongs to its caller here; counters are atomic.
 */
#include <execinfo.h>

#include "slab.h"

#define RED_INACTIVE 0xbb
#define RED_ACTIVE   0xcc
#define POISON_FREE  0x6b
#define POISON_END   0xa5

#define STATE_FREE   0xf4eef4eef4eef4eeull
#define STATE_USED   0x05ed05ed05ed05edull

struct kmem_meta {
	uint64_t state; /* one of the two, mixed with the cache's address */
	struct kmem_track alloc, free;
};

static void (*_Atomic report_hook)(const struct kmem_report *);
static _Atomic uint64_t report_counts[NR_KMEM_PROBLEMS];

void kmem_report_to(void (*hook)(const struct kmem_report *))
{
	atomic_store(&report_hook, hook);
}

uint64_t kmem_report_count(enum kmem_problem problem)
{
	return atomic_load(&report_counts[problem]);
}

static struct kmem_meta *meta_of(const struct kmem_cache *c, const void *object)
{
	return (struct kmem_meta *)(void *)((char *)(uintptr_t)object + c->meta_offset);
}

static uint64_t state_of(const struct kmem_cache *c, uint64_t state)
{
	return state ^ (uint64_t)(uintptr_t)c;
}

static bool is_slot(const struct kmem_cache *c, const void *object)
{
	const struct page *slab = slab_of(c, object);
	uint64_t at = (uint64_t)((const char *)object - (const char *)slab->s_mem);

	return c->ops == &slob_ops || (at < (uint64_t)slab->objects * c->size && at % c->size == 0);
}

void kmem_report(struct kmem_cache *c, enum kmem_problem problem, const void *object)
{
	struct kmem_report r = {.problem = problem, .cache = c, .object = object};
	void (*hook)(const struct kmem_report *) = atomic_load(&report_hook);
	bool is_ours = object && problem != KMEM_WRONG_CACHE && problem != KMEM_BAD_POINTER;

	atomic_fetch_add(&report_counts[problem], 1);
	if (!hook)
		return;
	if ((c->flags & KMEM_STORE_USER) && is_ours) {
		r.alloc = &meta_of(c, object)->alloc;
		r.free = &meta_of(c, object)->free;
	}
	hook(&r);
}

uint32_t kmem_debug_layout(struct kmem_cache *c)
{
	uint32_t end = (c->object_bytes + 7) & ~7u;

	if (c->flags & KMEM_RED_ZONE) {
		c->red_left = c->align;
		if (end == c->object_bytes)
			end += 8;
		c->red_right = end;
	}
	if (c->flags & KMEM_DEBUG)
		c->meta_offset = sizeof(struct kmem_meta); /* its size, until the layout has a place for it */
	return end;
}

/* The first byte that is not `value`, NULL: all are. */
static uint8_t *find_other(uint8_t *p, const uint8_t *end, uint8_t value)
{
	for (; p < end; p++)
		if (*p != value)
			return p;
	return NULL;
}

static void set_red(const struct kmem_cache *c, uint8_t *object, uint8_t value)
{
	memset(object - c->red_left, value, c->red_left);
	memset(object + c->object_bytes, value, c->red_right - c->object_bytes);
}

static void check_red(struct kmem_cache *c, uint8_t *object, uint8_t value)
{
	if (!(c->flags & KMEM_RED_ZONE))
		return;
	if (find_other(object - c->red_left, object, value) ||
	    find_other(object + c->object_bytes, object + c->red_right, value))
		kmem_report(c, KMEM_RED_ZONE_HIT, object);
}

static void set_poison(const struct kmem_cache *c, uint8_t *object)
{
	memset(object, POISON_FREE, c->object_bytes - 1);
	object[c->object_bytes - 1] = POISON_END;
}

static void check_poison(struct kmem_cache *c, uint8_t *object)
{
	uint8_t *last = object + c->object_bytes - 1;

	if ((c->flags & KMEM_POISON) && (find_other(object, last, POISON_FREE) || *last != POISON_END))
		kmem_report(c, KMEM_POISON_HIT, object);
}

static void mark(struct kmem_cache *c, uint8_t *object, uint8_t red, uint64_t state)
{
	if (c->flags & KMEM_RED_ZONE)
		set_red(c, object, red);
	meta_of(c, object)->state = state_of(c, state);
}

bool kmem_debug_object(struct kmem_cache *c, void *object)
{
	memset(meta_of(c, object), 0, sizeof(struct kmem_meta));
	mark(c, object, RED_INACTIVE, STATE_FREE);
	if (c->flags & KMEM_POISON)
		set_poison(c, object);
	return true;
}

static void track(const struct kmem_cache *c, struct kmem_track *t)
{
	if (!(c->flags & KMEM_STORE_USER))
		return;
	t->thread = (uint64_t)pthread_self();
	t->depth = (uint32_t)backtrace(t->stack, KMEM_STACK);
}

void kmem_debug_alloc(struct kmem_cache *c, void *object)
{
	check_red(c, object, RED_INACTIVE);
	check_poison(c, object);
	mark(c, object, RED_ACTIVE, STATE_USED);
	track(c, &meta_of(c, object)->alloc);
}

bool kmem_debug_free(struct kmem_cache *c, void *object)
{
	struct kmem_meta *meta = meta_of(c, object);

	if (!is_slot(c, object)) {
		kmem_report(c, KMEM_BAD_POINTER, object);
		return false;
	}
	if (meta->state == state_of(c, STATE_FREE)) {
		kmem_report(c, KMEM_DOUBLE_FREE, object);
		return false;
	}
	if (meta->state != state_of(c, STATE_USED)) {
		/* Overrun as far as here, or not an object of this cache's at all (SLOB: caches share frames). */
		kmem_report(c, KMEM_BAD_POINTER, object);
		return false;
	}
	check_red(c, object, RED_ACTIVE);
	mark(c, object, RED_INACTIVE, STATE_FREE);
	track(c, &meta->free);
	if (c->flags & KMEM_POISON)
		set_poison(c, object);
	return true;
}

void kmem_debug_leaks(struct kmem_cache *c, struct page *slab)
{
	if (!(c->flags & KMEM_DEBUG)) {
		kmem_report(c, KMEM_LEAK, NULL);
		return;
	}
	for (uint32_t i = 0; i < slab->objects; i++) {
		const char *object = (const char *)slab->s_mem + (size_t)i * c->size;
		if (meta_of(c, object)->state == state_of(c, STATE_USED))
			kmem_report(c, KMEM_LEAK, object);
	}
}
