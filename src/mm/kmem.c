/* SPDX-License-Identifier: MIT */
/* kmem.c - caches: making and destroying them, and the calls that the fast path cannot serve. See kmem.h. */
#include <errno.h>
#include <sys/auxv.h>

#include "barn.h"
#include "lock_rank.h"
#include "slab.h"

static const struct kmem_ops *const backends[NR_KMEM_BACKENDS] = {
	[KMEM_SLUB] = &slub_ops,
	[KMEM_SLAB] = &slab_array_ops,
	[KMEM_SLOB] = &slob_ops,
	[KMEM_MAGAZINE] = &magazine_ops,
};

#define MIN_ALIGN     8
#define DEFAULT_ALIGN 16
#define CACHE_LINE    64
#define MAX_BYTES     (PAGE_SIZE << (MAX_ORDER - 1))

/* A sheaf holds 32 KiB of objects, within these. 124 make it 1 KiB. */
#define SHEAF_BYTES   32768
#define SHEAF_MIN     8
#define SHEAF_MAX     124

static uint32_t round_up(uint32_t n, uint32_t to)
{
	return (n + to - 1) & ~(to - 1);
}

static uint32_t choose_align(const struct kmem_args *args)
{
	uint32_t align = args->object_bytes < DEFAULT_ALIGN ? MIN_ALIGN : DEFAULT_ALIGN;

	if (args->align)
		align = args->align < MIN_ALIGN ? MIN_ALIGN : (uint32_t)args->align;
	if (args->flags & KMEM_HWCACHE_ALIGN) {
		uint32_t line = CACHE_LINE;
		while (args->object_bytes <= line / 2)
			line /= 2;
		align = align > line ? align : line;
	}
	return align;
}

/*
 * A slot: [left red zone] object [right red zone] [free pointer] [struct kmem_meta] [padding]. Without debugging and
 * constructor the free pointer lies in the middle of the object, away from a neighbour's overflow.
 */
static void choose_layout(struct kmem_cache *c)
{
	uint32_t end = kmem_debug_layout(c);

	if (c->ctor || (c->flags & KMEM_DEBUG)) {
		c->fp_offset = end;
		end += 8;
	} else {
		c->fp_offset = c->object_bytes / 2 & ~7u;
	}
	if (c->meta_offset) {
		uint32_t meta = c->meta_offset;
		c->meta_offset = end;
		end += meta;
	}
	c->size = round_up(c->red_left + end, c->align);
	if (c->size < MIN_ALIGN)
		c->size = MIN_ALIGN;
}

static uint32_t choose_sheaf(uint32_t size)
{
	uint32_t nr = SHEAF_BYTES / size;

	return nr < SHEAF_MIN ? SHEAF_MIN : nr > SHEAF_MAX ? SHEAF_MAX : nr;
}

/* As Linux's SLUB: more slabs are kept where objects are large. */
static uint32_t choose_min_partial(uint32_t size)
{
	uint32_t n = (31 - (uint32_t)__builtin_clz(size)) / 2;

	return n < 5 ? 5 : n > 10 ? 10 : n;
}

static uint64_t choose_random(const struct kmem_cache *c)
{
	const uint64_t *bytes =
		(const uint64_t *)getauxval(AT_RANDOM); /* 16 bytes, by the kernel's promise */
	uint64_t value = (uint64_t)(uintptr_t)c;

	if (bytes) {
		uint64_t seed[2];
		memcpy(seed, bytes, sizeof(seed));
		value ^= seed[0] ^ seed[1] << 1;
	}
	return value * 0x9e3779b97f4a7c15ull;
}

static void node_init(struct kmem_node *n)
{
	pthread_mutexattr_t attr;

	/* Held for tens of nanoseconds: waiting for it on the spot is cheaper than sleeping. */
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
	pthread_mutex_init(&n->list_lock, &attr);
	lock_set_rank(&n->list_lock, LOCK_KMEM);
	pthread_mutexattr_destroy(&attr);
	list_init(&n->partial);
	list_init(&n->full);
	list_init(&n->free);
}

static bool args_good(const struct kmem_args *args)
{
	size_t align = args->align;

	return args->object_bytes && args->object_bytes <= MAX_BYTES && args->backend < NR_KMEM_BACKENDS &&
	       align <= PAGE_SIZE && !(align & (align - 1)) && args->nodes <= KMEM_MAX_NODES;
}

/* Allocations that all go through the slow call: there is something to check or to choose for each. */
static bool is_slow(const struct kmem_cache *c)
{
	return !kmem_free_slot(c) || atomic_load(&c->fail_every);
}

_Static_assert(KMEM_SLOTS <= 1 << 9, "page.slab_fast holds a slot");

static void choose_slab(struct kmem_cache *c)
{
	c->min_order = slab_min_order(c->size);
	c->order = slab_order(c->size);
	c->per_slab = (uint32_t)((PAGE_SIZE << c->order) / c->size);
	c->min_partial = choose_min_partial(c->size);
	c->sheaf_limit = choose_sheaf(c->size);
}

int kmem_cache_init(struct kmem_cache *c, const struct kmem_args *args)
{
	if (!args_good(args))
		return -EINVAL;
	memset(c, 0, sizeof(*c));
	c->ops = backends[args->backend];
	c->frames = args->frames;
	c->mem_map = args->frames->mem_map;
	c->direct_map = args->frames->direct_map;
	c->object_bytes = (uint32_t)args->object_bytes;
	c->flags = args->flags & ~(args->ctor ? KMEM_POISON : 0);
	c->ctor = args->ctor;
	c->align = choose_align(args);
	c->nr_nodes = args->nodes && args->backend == KMEM_SLAB ? args->nodes : 1;
	c->random = choose_random(c);
	c->low_pfn = ~0ull;
	strncpy(c->name, args->name, KMEM_NAME_MAX - 1);
	choose_layout(c);
	if (c->size > MAX_BYTES)
		return -EINVAL;
	choose_slab(c);
	for (unsigned int i = 0; i < KMEM_MAX_NODES; i++)
		node_init(&c->node[i]);
	barn_init(c);
	kmem_register(c);
	int err = c->ops->init(c);
	if (err) {
		kmem_unregister(c);
		barn_destroy(c);
		return err;
	}
	/* Header and entries; a unit also holds a struct kmem_local. */
	uint32_t bytes = (uint32_t)(sizeof(struct kmem_sheaf) + c->sheaf_limit * sizeof(void *));
	c->sheaf_bytes =
		round_up(bytes > sizeof(struct kmem_local) ? bytes : (uint32_t)sizeof(struct kmem_local), 64);
	atomic_store(&c->fast, is_slow(c) ? 0 : c->slot);
	return 0;
}

uint64_t kmem_cache_destroy(struct kmem_cache *c)
{
	atomic_store(&c->fast, 0);
	kmem_unregister(c);
	c->slot = 0;
	uint64_t leaked = atomic_load(&c->slob_objects);
	/* A slab that is gone must not be looked at again: those that stay come after the back-end's own. */
	c->ops->destroy(c);
	uint64_t in_slabs = slab_destroy_all(c);
	if (c->ops == &slob_ops && leaked && !in_slabs)
		kmem_report(c, KMEM_LEAK, NULL);
	barn_destroy(c);
	for (unsigned int i = 0; i < KMEM_MAX_NODES; i++)
		pthread_mutex_destroy(&c->node[i].list_lock);
	return c->ops == &slob_ops ? leaked : in_slabs;
}

void kmem_cache_fail_every(struct kmem_cache *c, uint32_t n)
{
	atomic_store(&c->fail_every, n);
	atomic_store(&c->fail_count, 0);
	atomic_store(&c->fast, is_slow(c) ? 0 : c->slot);
}

static bool should_fail(struct kmem_cache *c)
{
	uint32_t every = atomic_load_explicit(&c->fail_every, memory_order_relaxed);

	if (!every || (atomic_fetch_add(&c->fail_count, 1) + 1) % every)
		return false;
	KMEM_COUNT(c, fails);
	return true;
}

/* What a slow call does first: statistics, and what others asked of this thread. NULL: no sheaves. */
static struct kmem_local *enter(struct kmem_cache *c)
{
	struct kmem_local *l = kmem_local_get(c);

	if (!l)
		return NULL;
	struct kmem_sheaf *s = local_main(l);
	uint32_t pops = atomic_load_explicit(&s->pops, memory_order_relaxed);
	if (pops) {
		l->touched = true;
		atomic_fetch_add_explicit(&c->stat.alloc_fast, pops, memory_order_relaxed);
		atomic_store_explicit(&s->pops, 0, memory_order_relaxed);
	}
	uint32_t round = atomic_load_explicit(&c->reap_round, memory_order_relaxed);
	if (l->reap_round != round) {
		l->reap_round = round;
		c->ops->reap(c, l);
		l->touched = false;
	}
	return l;
}

void *kmem_alloc_slow(struct kmem_cache *c)
{
	void *object;

	KMEM_COUNT(c, alloc_slow);
	if (should_fail(c))
		return NULL;
	struct kmem_local *l = enter(c);
	if (l && sheaf_avail(local_main(l))) {
		object = sheaf_pop(local_main(l));
	} else {
		object = c->ops->alloc(c, l);
		if (!object && defer_poll(c))
			object = c->ops->alloc(c, l);
	}
	if (object && (c->flags & KMEM_DEBUG))
		kmem_debug_alloc(c, object);
	return object;
}

/* False, and reported, for what cannot be an object of this cache. */
static bool owned(struct kmem_cache *c, const void *object)
{
	uint64_t pfn = (uint64_t)((const char *)object - c->direct_map) >> PAGE_SHIFT;

	if (pfn >= c->frames->max_pfn || !(atomic_load(&pfn_to_page(c->frames, pfn)->flags) & PG_SLAB)) {
		kmem_report(c, KMEM_BAD_POINTER, object);
		return false;
	}
	const struct page *page = kmem_page(c, object);
	if (c->ops->owns ? !c->ops->owns(c, page) : page->slab_cache != c) {
		kmem_report(c, KMEM_WRONG_CACHE, object);
		return false;
	}
	return true;
}

void kmem_free_slow(struct kmem_cache *c, void *object)
{
	KMEM_COUNT(c, free_slow);
	if (!owned(c, object) || ((c->flags & KMEM_DEBUG) && !kmem_debug_free(c, object)))
		return;
	struct kmem_local *l = enter(c);
	struct kmem_sheaf *s = l ? local_main(l) : &kmem_empty;
	if (c->nr_nodes == 1 && sheaf_avail(s) < s->limit)
		sheaf_push(s, object);
	else
		c->ops->free(c, l, object);
}

/* What main holds, up to nr objects, without a slow call. */
static size_t take_main(struct kmem_cache *c, size_t nr, void **p)
{
	struct kmem_sheaf *s = kmem_self->main[atomic_load_explicit(&c->fast, memory_order_relaxed)];
	uint32_t have = sheaf_avail(s);

	if (nr > have)
		nr = have;
	if (!nr)
		return 0;
	memcpy(p, &s->entry[have - nr], nr * sizeof(*p));
	sheaf_set(s, have - (uint32_t)nr);
	atomic_store_explicit(&s->pops, atomic_load_explicit(&s->pops, memory_order_relaxed) + (uint32_t)nr,
			      memory_order_relaxed);
	return nr;
}

size_t kmem_cache_alloc_bulk(struct kmem_cache *c, size_t nr, void **p)
{
	size_t got = 0;

	while (got < nr) {
		got += take_main(c, nr - got, p + got);
		if (got == nr)
			break;
		p[got] = kmem_alloc_slow(c);
		if (!p[got]) {
			kmem_cache_free_bulk(c, got, p);
			return 0;
		}
		got++;
	}
	return nr;
}

void kmem_cache_free_bulk(struct kmem_cache *c, size_t nr, void **p)
{
	for (size_t i = 0; i < nr; i++)
		kmem_cache_free(c, p[i]);
}

uint64_t kmem_cache_shrink(struct kmem_cache *c)
{
	struct kmem_local *l = kmem_local_get(c);

	if (l) {
		defer_seal(c, l);
		defer_poll(c);
		c->ops->drain(c, l);
	}
	return c->ops->shrink(c);
}

uint64_t kmem_cache_reap(struct kmem_cache *c)
{
	struct kmem_local *l = enter(c);

	/* The other threads do theirs at their next slow call. */
	uint32_t round = atomic_fetch_add(&c->reap_round, 1) + 1;
	if (l) {
		l->reap_round = round;
		defer_seal(c, l);
		defer_poll(c);
	}
	uint64_t frames = c->ops->reap(c, l);
	if (l)
		l->touched = false;
	return frames;
}
