/* SPDX-License-Identifier: MIT */
/*
 * magazine.c - the back-end of Bonwick and Adams, "Magazines and Vmem" (USENIX 2001), over the slab layer of Bonwick,
 * "The Slab Allocator" (USENIX 1994).
 *
 * A thread has a loaded and a previous magazine; with M rounds in each it makes at least M calls between two visits to the
 * depot (the barn: full and empty magazines). Where the depot has no full magazine an object comes from a slab, one at a
 * time; where it has no empty one, a magazine is made. A depot whose lock is contended makes its magazines larger.
 *   G1  the node's list is full slabs, then partial ones, then empty ones; freep is the first with room
 *   G2  a free into a full slab makes that slab freep
 *   G3  at most min_partial slabs are empty
 * loaded is the thread's main sheaf, previous its spare.
 */
#include "barn.h"
#include "slab.h"

#define FIRST_MAGAZINE	 15
#define CONTENTION_LIMIT 16 /* waits for the depot before magazines grow */

static struct kmem_node *node_of(struct kmem_cache *c)
{
	return &c->node[0];
}

static int magazine_init(struct kmem_cache *c)
{
	c->magazine_limit = c->sheaf_limit < FIRST_MAGAZINE ? c->sheaf_limit : FIRST_MAGAZINE;
	c->barn.max_full = ~0u; /* the depot's size follows its working set: magazine_reap */
	c->node[0].freep = &c->node[0].partial;
	return 0;
}

/* --- the slab layer (list_lock) ---------------------------------------------------------------------------------- */

static struct page *list_slab(struct list_head *node)
{
	return list_entry(node, struct page, node);
}

static void add_slab(struct kmem_cache *c, struct kmem_node *n, struct page *slab)
{
	pfn_t pfn = page_to_pfn(c->frames, slab);

	list_add_tail(&slab->node, &n->partial);
	if (n->freep == &n->partial)
		n->freep = &slab->node;
	n->nr_slabs++;
	n->nr_free_slabs++;
	n->total_objects += slab->objects;
	n->free_objects += slab->objects;
	c->low_pfn = min_u64(c->low_pfn, pfn);
	c->high_pfn = max_u64(c->high_pfn, pfn + 1);
}

static void remove_slab(struct kmem_node *n, struct page *slab)
{
	if (n->freep == &slab->node)
		n->freep = slab->node.next;
	list_del(&slab->node);
	n->nr_slabs--;
	n->nr_free_slabs--;
	n->total_objects -= slab->objects;
	n->free_objects -= slab->objects;
}

static void *take_object(struct kmem_cache *c, struct kmem_node *n)
{
	struct page *slab = list_slab(n->freep);
	uint32_t before = slab->inuse;

	n->nr_free_slabs -= !before;
	void *object = slab_pop(c, slab);
	n->free_objects -= slab->inuse - before;
	if (!slab->freelist)
		n->freep = n->freep->next;
	return object;
}

static void move_slab(struct kmem_node *n, struct page *slab, struct list_head *before)
{
	if (before == &slab->node)
		return;
	if (n->freep == &slab->node)
		n->freep = slab->node.next;
	list_del(&slab->node);
	list_insert_between(&slab->node, before->prev, before);
}

/* Returns the slab when it should go back to its zone. */
static struct page *put_object(struct kmem_cache *c, struct kmem_node *n, void *object)
{
	struct page *slab = slab_of(c, object);
	bool was_full = !slab->freelist;

	if (!slab_push(c, slab, object))
		return NULL;
	n->free_objects++;
	if (was_full) {
		move_slab(n, slab, n->freep);
		n->freep = &slab->node;
	}
	if (slab->inuse)
		return NULL;
	n->nr_free_slabs++;
	if (n->nr_free_slabs > c->min_partial) {
		remove_slab(n, slab);
		return slab;
	}
	move_slab(n, slab, &n->partial);
	if (n->freep == &n->partial)
		n->freep = &slab->node;
	return NULL;
}

static void *slab_layer_alloc(struct kmem_cache *c)
{
	struct kmem_node *n = node_of(c);
	void *object = NULL;

	pthread_mutex_lock(&n->list_lock);
	if (n->freep == &n->partial) {
		pthread_mutex_unlock(&n->list_lock);
		struct page *slab = slab_create(c);
		pthread_mutex_lock(&n->list_lock);
		if (slab)
			add_slab(c, n, slab);
	}
	if (n->freep != &n->partial)
		object = take_object(c, n);
	pthread_mutex_unlock(&n->list_lock);
	return object;
}

static void slab_layer_free(struct kmem_cache *c, void *object)
{
	struct kmem_node *n = node_of(c);

	pthread_mutex_lock(&n->list_lock);
	struct page *slab = put_object(c, n, object);
	pthread_mutex_unlock(&n->list_lock);
	if (slab)
		slab_release(c, slab);
}

static uint64_t release_empty(struct kmem_cache *c)
{
	struct kmem_node *n = node_of(c);
	struct page *slab, *next;
	struct list_head empty;
	uint64_t frames = 0;

	list_init(&empty);
	pthread_mutex_lock(&n->list_lock);
	list_for_each_entry_safe (slab, next, &n->partial, node) {
		if (slab->inuse)
			continue;
		remove_slab(n, slab);
		list_add(&slab->node, &empty);
	}
	pthread_mutex_unlock(&n->list_lock);
	list_for_each_entry_safe (slab, next, &empty, node) {
		list_del(&slab->node);
		frames += 1ull << slab->slab_order;
		slab_release(c, slab);
	}
	return frames;
}

/* --- magazines --------------------------------------------------------------------------------------------------- */

static void empty_magazine(struct kmem_cache *c, struct kmem_sheaf *m)
{
	while (sheaf_avail(m))
		slab_layer_free(c, sheaf_pop(m));
	KMEM_COUNT(c, flushes);
}

static void *magazine_alloc(struct kmem_cache *c, struct kmem_local *l)
{
	if (l && l->spare && sheaf_avail(l->spare)) {
		local_swap(l);
		return sheaf_pop(local_main(l));
	}
	struct kmem_sheaf *full = l ? barn_exchange(c, l->spare) : NULL;
	if (!full)
		return slab_layer_alloc(c);
	KMEM_COUNT(c, refills);
	l->spare = local_main(l) == &kmem_empty ? NULL : local_main(l);
	local_set_main(l, full);
	return sheaf_pop(full);
}

static uint32_t magazine_size(struct kmem_cache *c)
{
	pthread_mutex_lock(&c->barn.lock);
	if (c->barn.contended > CONTENTION_LIMIT && c->magazine_limit < c->sheaf_limit) {
		c->magazine_limit = (uint32_t)min_u64(2ull * c->magazine_limit + 1, c->sheaf_limit);
		c->barn.contended = 0;
	}
	uint32_t limit = c->magazine_limit;
	pthread_mutex_unlock(&c->barn.lock);
	return limit;
}

static bool load_empty(struct kmem_cache *c, struct kmem_local *l)
{
	struct kmem_sheaf *empty = barn_get_empty(c, magazine_size(c));

	if (!empty)
		return false;
	if (l->spare)
		barn_put_full(c, l->spare);
	l->spare = local_main(l) == &kmem_empty ? NULL : local_main(l);
	local_set_main(l, empty);
	return true;
}

static void magazine_free(struct kmem_cache *c, struct kmem_local *l, void *object)
{
	if (l && l->spare && !sheaf_avail(l->spare))
		local_swap(l);
	else if (!l || !load_empty(c, l)) {
		slab_layer_free(c, object);
		return;
	}
	sheaf_push(local_main(l), object);
}

static void put_magazine(struct kmem_cache *c, struct kmem_sheaf *m)
{
	empty_magazine(c, m);
	barn_put_empty(c, m);
}

static void magazine_drain(struct kmem_cache *c, struct kmem_local *l)
{
	struct kmem_sheaf *loaded = local_main(l);

	if (loaded != &kmem_empty)
		put_magazine(c, loaded);
	local_set_main(l, &kmem_empty);
	if (l->spare)
		put_magazine(c, l->spare);
	l->spare = NULL;
}

static void put_chain(struct kmem_cache *c, struct kmem_sheaf *chain)
{
	while (chain) {
		struct kmem_sheaf *next = chain->next;
		put_magazine(c, chain);
		chain = next;
	}
}

static uint64_t magazine_shrink(struct kmem_cache *c)
{
	put_chain(c, barn_take_full(c));
	return release_empty(c) + barn_shrink(c);
}

static uint64_t magazine_reap(struct kmem_cache *c, struct kmem_local *l)
{
	if (l && !l->touched)
		magazine_drain(c, l);
	put_chain(c, barn_take_idle(c));
	return release_empty(c);
}

static void magazine_destroy(struct kmem_cache *c)
{
	put_chain(c, barn_take_full(c));
	release_empty(c);
}

static unsigned int magazine_check(struct kmem_cache *c, void (*complain)(const char *, uint64_t))
{
	struct kmem_node *n = node_of(c);
	struct list_head *first = &n->partial;
	unsigned int bad = 0;
	uint64_t free = 0, nr = 0, empty = 0;
	struct page *slab;

	pthread_mutex_lock(&n->list_lock);
	list_for_each_entry (slab, &n->partial, node) {
		bad += slab_check(c, slab, complain);
		if (slab->freelist && first == &n->partial)
			first = &slab->node;
		bad += !slab->freelist && first != &n->partial; /* a full one behind one with room */
		free += slab->objects - (uint64_t)slab->inuse;
		empty += !slab->inuse;
		nr++;
	}
	if (first != n->freep || free != n->free_objects || nr != n->nr_slabs || empty != n->nr_free_slabs) {
		bad++;
		if (complain)
			complain("the slab list does not add up", nr);
	}
	pthread_mutex_unlock(&n->list_lock);
	return bad;
}

const struct kmem_ops magazine_ops = {
	.name = "magazine",
	.init = magazine_init,
	.destroy = magazine_destroy,
	.alloc = magazine_alloc,
	.free = magazine_free,
	.drain = magazine_drain,
	.shrink = magazine_shrink,
	.reap = magazine_reap,
	.check = magazine_check,
};
