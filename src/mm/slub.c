/* SPDX-License-Identifier: MIT */
/*
 * slub.c - the default back-end: sheaves in front of slabs with in-object free lists.
 *
 * A thread has two sheaves, main and spare. When both are empty it takes a full one from the barn, and when there is none
 * fills main from slabs; when both are full one goes to the barn, and when that has enough its objects go to their slabs.
 * So a free from another thread than the allocator's costs what any free costs: it goes to the freeing thread's sheaf, and
 * whole sheaves travel back through the barn.
 *   S1  a slab with a free object and one in use is on `partial`; a full one is on no list
 *   S2  an empty slab is on `partial` if that has at most min_partial slabs, else it goes back to its zone
 * After Linux's mm/slub.c with sheaves (6.18). Locking: see kmem.h; frames go back to their zone outside list_lock.
 */
#include "barn.h"
#include "slab.h"

static struct kmem_node *node_of(struct kmem_cache *c)
{
	return &c->node[0];
}

/* Barns keep a batch of a thousand objects, and a mebibyte of larger ones. */
#define BARN_OBJECTS 1024
#define BARN_BYTES   (1u << 20)

static int slub_init(struct kmem_cache *c)
{
	uint32_t objects = BARN_BYTES / c->size;

	c->barn.max_full = (objects < BARN_OBJECTS ? objects : BARN_OBJECTS) / c->sheaf_limit;
	return 0;
}

/* (list_lock) */
static void slab_account(struct kmem_cache *c, struct kmem_node *n, struct page *slab)
{
	pfn_t pfn = page_to_pfn(c->frames, slab);

	n->nr_slabs++;
	n->total_objects += slab->objects;
	n->free_objects += slab->objects;
	c->low_pfn = min_u64(c->low_pfn, pfn);
	c->high_pfn = max_u64(c->high_pfn, pfn + 1);
}

static void add_partial(struct kmem_node *n, struct page *slab)
{
	list_add(&slab->node, &n->partial);
	n->nr_partial++;
}

static void remove_partial(struct kmem_node *n, struct page *slab)
{
	list_del(&slab->node);
	n->nr_partial--;
}

/* (list_lock) Up to nr objects of one slab on `partial`. */
static uint32_t take_from_slab(struct kmem_cache *c, struct kmem_node *n, struct page *slab, void **p,
			       uint32_t nr)
{
	uint32_t got = 0;

	while (got < nr && slab->freelist) {
		uint32_t before = slab->inuse;
		p[got++] = slab_pop(c, slab);
		n->free_objects -= slab->inuse - before;
	}
	if (!slab->freelist)
		remove_partial(n, slab);
	return got;
}

static uint32_t take_partial(struct kmem_cache *c, void **p, uint32_t nr)
{
	struct kmem_node *n = node_of(c);
	uint32_t got = 0;

	pthread_mutex_lock(&n->list_lock);
	while (got < nr && !list_empty(&n->partial))
		got += take_from_slab(c, n, list_entry(n->partial.next, struct page, node), p + got,
				      nr - got);
	pthread_mutex_unlock(&n->list_lock);
	return got;
}

/* Up to nr objects of a new slab; 0: no memory. */
static uint32_t take_new(struct kmem_cache *c, void **p, uint32_t nr)
{
	struct kmem_node *n = node_of(c);
	struct page *slab = slab_create(c);

	if (!slab)
		return 0;
	pthread_mutex_lock(&n->list_lock);
	slab_account(c, n, slab);
	add_partial(n, slab);
	nr = take_from_slab(c, n, slab, p, nr);
	pthread_mutex_unlock(&n->list_lock);
	return nr;
}

static uint32_t take_objects(struct kmem_cache *c, void **p, uint32_t nr)
{
	uint32_t got = take_partial(c, p, nr);

	return got ? got : take_new(c, p, nr);
}

/* (list_lock) The slabs that become empty beyond min_partial go to `empty`. */
static void put_object(struct kmem_cache *c, struct kmem_node *n, void *object, struct list_head *empty)
{
	struct page *slab = slab_of(c, object);
	bool was_full = !slab->freelist;

	if (!slab_push(c, slab, object))
		return;
	n->free_objects++;
	if (was_full)
		add_partial(n, slab);
	if (slab->inuse || n->nr_partial <= c->min_partial)
		return;
	remove_partial(n, slab);
	list_add(&slab->node, empty);
	n->nr_slabs--;
	n->total_objects -= slab->objects;
	n->free_objects -= slab->objects;
}

static uint64_t release_slabs(struct kmem_cache *c, struct list_head *empty)
{
	struct page *slab, *next;
	uint64_t frames = 0;

	list_for_each_entry_safe (slab, next, empty, node) {
		list_del(&slab->node);
		frames += 1ull << slab->slab_order;
		slab_release(c, slab);
	}
	return frames;
}

static void put_objects(struct kmem_cache *c, void **p, uint32_t nr)
{
	struct kmem_node *n = node_of(c);
	struct list_head empty;

	list_init(&empty);
	pthread_mutex_lock(&n->list_lock);
	for (uint32_t i = 0; i < nr; i++)
		put_object(c, n, p[i], &empty);
	pthread_mutex_unlock(&n->list_lock);
	release_slabs(c, &empty);
}

static void flush_sheaf(struct kmem_cache *c, struct kmem_sheaf *s)
{
	uint32_t nr = sheaf_avail(s);

	sheaf_set(s, 0);
	put_objects(c, s->entry, nr);
	KMEM_COUNT(c, flushes);
}

/* True when main has objects now. */
static bool refill(struct kmem_cache *c, struct kmem_local *l)
{
	struct kmem_sheaf *s = local_main(l);

	if (l->spare && sheaf_avail(l->spare)) {
		local_swap(l);
		return true;
	}
	struct kmem_sheaf *full = barn_exchange(c, s == &kmem_empty ? NULL : s);
	if (full) {
		local_set_main(l, full);
		return true;
	}
	if (s == &kmem_empty) {
		s = barn_get_empty(c, c->sheaf_limit);
		if (!s)
			return false;
		local_set_main(l, s);
	}
	KMEM_COUNT(c, refills);
	/* Half of it: the rest of a full one might never be asked for, and the next free finds room. */
	sheaf_set(s, take_objects(c, s->entry, (s->limit + 1) / 2));
	return sheaf_avail(s);
}

static void *slub_alloc(struct kmem_cache *c, struct kmem_local *l)
{
	void *object = NULL;

	if (l && refill(c, l))
		return sheaf_pop(local_main(l));
	take_objects(c, &object, 1);
	return object;
}

/* True when main has room now. */
static bool make_room(struct kmem_cache *c, struct kmem_local *l)
{
	struct kmem_sheaf *s = local_main(l);

	if (l->spare && sheaf_avail(l->spare) < l->spare->limit) {
		local_swap(l);
		return true;
	}
	struct kmem_sheaf *empty = barn_get_empty(c, c->sheaf_limit);
	if (!empty) {
		if (s != &kmem_empty)
			flush_sheaf(c, s);
		return s != &kmem_empty;
	}
	if (s == &kmem_empty) {
		local_set_main(l, empty);
	} else if (!l->spare) {
		l->spare = s;
		local_set_main(l, empty);
	} else if (barn_put_full(c, s)) {
		local_set_main(l, empty);
	} else {
		barn_put_empty(c, empty);
		flush_sheaf(c, s);
	}
	return true;
}

static void slub_free(struct kmem_cache *c, struct kmem_local *l, void *object)
{
	if (l && make_room(c, l))
		sheaf_push(local_main(l), object);
	else
		put_objects(c, &object, 1);
}

static void slub_drain(struct kmem_cache *c, struct kmem_local *l)
{
	struct kmem_sheaf *s = local_main(l);

	if (s != &kmem_empty) {
		flush_sheaf(c, s);
		local_set_main(l, &kmem_empty);
		barn_put_empty(c, s);
	}
	if (l->spare) {
		flush_sheaf(c, l->spare);
		barn_put_empty(c, l->spare);
		l->spare = NULL;
	}
}

static void flush_chain(struct kmem_cache *c, struct kmem_sheaf *chain)
{
	while (chain) {
		struct kmem_sheaf *next = chain->next;
		flush_sheaf(c, chain);
		barn_put_empty(c, chain);
		chain = next;
	}
}

/* Slabs with the fewest free objects come first again, so that the others have a chance to become empty. */
#define SORT_BUCKETS 32

static uint64_t shrink_partial(struct kmem_cache *c)
{
	struct kmem_node *n = node_of(c);
	struct list_head bucket[SORT_BUCKETS], empty;
	struct page *slab, *next;

	list_init(&empty);
	for (unsigned int i = 0; i < SORT_BUCKETS; i++)
		list_init(&bucket[i]);
	pthread_mutex_lock(&n->list_lock);
	list_for_each_entry_safe (slab, next, &n->partial, node) {
		uint32_t free = slab->objects - (uint32_t)slab->inuse;
		list_del(&slab->node);
		if (slab->inuse) {
			list_add_tail(&slab->node, &bucket[min_u64(free, SORT_BUCKETS) - 1]);
			continue;
		}
		list_add(&slab->node, &empty);
		n->nr_partial--;
		n->nr_slabs--;
		n->total_objects -= slab->objects;
		n->free_objects -= slab->objects;
	}
	for (unsigned int i = 0; i < SORT_BUCKETS; i++)
		list_splice_tail(&bucket[i], &n->partial);
	pthread_mutex_unlock(&n->list_lock);
	return release_slabs(c, &empty);
}

static uint64_t slub_shrink(struct kmem_cache *c)
{
	flush_chain(c, barn_take_full(c));
	return shrink_partial(c) + barn_shrink(c);
}

static uint64_t slub_reap(struct kmem_cache *c, struct kmem_local *l)
{
	if (l && !l->touched)
		slub_drain(c, l);
	struct kmem_sheaf *idle = barn_take_idle(c);
	flush_chain(c, idle);
	return idle ? shrink_partial(c) : 0;
}

static void slub_destroy(struct kmem_cache *c)
{
	flush_chain(c, barn_take_full(c));
	shrink_partial(c);
}

static unsigned int slub_check(struct kmem_cache *c, void (*complain)(const char *, uint64_t))
{
	struct kmem_node *n = node_of(c);
	unsigned int bad = 0;
	uint64_t nr = 0, free = 0;
	struct page *slab;

	pthread_mutex_lock(&n->list_lock);
	list_for_each_entry (slab, &n->partial, node) {
		nr++;
		free += slab->objects - (uint64_t)slab->inuse;
		bad += slab_check(c, slab, complain) + !slab->freelist;
	}
	if (nr != n->nr_partial || free != n->free_objects || nr > n->nr_slabs) {
		bad++;
		if (complain)
			complain("partial slabs do not add up", nr);
	}
	pthread_mutex_unlock(&n->list_lock);
	return bad;
}

const struct kmem_ops slub_ops = {
	.name = "slub",
	.init = slub_init,
	.destroy = slub_destroy,
	.alloc = slub_alloc,
	.free = slub_free,
	.drain = slub_drain,
	.shrink = slub_shrink,
	.reap = slub_reap,
	.check = slub_check,
};
