/* SPDX-License-Identifier: MIT */
/*
 * slab_array.c - the SLAB back-end: array caches in front of slabs whose free objects are an array of indices.
 *
 * A thread's array_cache (its main sheaf) is refilled with batchcount objects when it is empty, from the array that the
 * threads of a node share, then from slabs; when it is full its batchcount oldest entries go the same way back. An object
 * of another node waits in an alien array until that is full. Successive slabs begin at offsets 0, c, 2c.. (c a cache
 * line), as far as the slab's waste reaches, so that the same field of many objects does not fall on the same cache set.
 *   A1  page.inuse objects of a slab are outside; freelist[inuse..objects) are the indices of the others
 *   A2  inuse == 0 on `free`, inuse == objects on `full`, else on `partial`
 * The array of indices is at the slab's end, or, where an object can hold it, in the object that is freed first and so
 * taken last.
 * After Linux's mm/slab.c. Locking: see kmem.h; the shared array belongs to list_lock.
 */
#include "barn.h"
#include "slab.h"

#define SMALL_BATCH  16 /* what an untouched array is refilled with at most */
#define ALIEN_LIMIT  12
#define SHARED_BATCH 8
#define CACHE_LINE   64

/* --- slabs ------------------------------------------------------------------------------------------------------- */

static uint32_t index_bytes(uint32_t objects)
{
	return objects <= 256 ? 1 : 2;
}

/* The array lives in an object only if nobody expects the object to keep its contents. */
static bool index_in_object(const struct kmem_cache *c)
{
	return !c->ctor && !(c->flags & KMEM_DEBUG) &&
	       c->per_slab * index_bytes(c->per_slab) <= c->object_bytes;
}

static uint32_t objects_in(const struct kmem_cache *c, unsigned int order)
{
	uint32_t bytes = (uint32_t)(PAGE_SIZE << order), nr = bytes / c->size;

	if (nr && nr * index_bytes(nr) <= c->object_bytes && !c->ctor && !(c->flags & KMEM_DEBUG))
		return nr;
	while (nr && (uint64_t)nr * (c->size + index_bytes(nr)) > bytes)
		nr--;
	return nr;
}

static uint32_t waste_of(const struct kmem_cache *c, unsigned int order)
{
	uint32_t nr = objects_in(c, order);

	return (uint32_t)(PAGE_SIZE << order) - nr * c->size;
}

/* The first order that wastes at most 1/8. */
static void choose_order(struct kmem_cache *c)
{
	unsigned int order = c->min_order;

	while (!objects_in(c, order))
		order++;
	c->min_order = order;
	while (order < SLAB_MAX_ORDER && waste_of(c, order) > (PAGE_SIZE << order) / 8)
		order++;
	if (waste_of(c, order) > (PAGE_SIZE << order) / 8)
		order = c->min_order;
	c->min_order = order; /* one size of slab, hence one colour range */
	c->order = order;
	c->per_slab = objects_in(c, order);
}

static uint8_t *index_at_end(const struct kmem_cache *c, const struct page *slab)
{
	char *end = (char *)page_address(c->frames, slab) + slab_bytes(slab);

	return (uint8_t *)end - ((slab->objects * index_bytes(slab->objects) + 1) & ~1u);
}

static uint32_t index_get(const struct page *slab, uint32_t i)
{
	return slab->objects <= 256 ? ((const uint8_t *)slab->freelist)[i]
				    : ((const uint16_t *)slab->freelist)[i];
}

static void index_set(struct page *slab, uint32_t i, uint32_t value)
{
	if (slab->objects <= 256)
		((uint8_t *)slab->freelist)[i] = (uint8_t)value;
	else
		((uint16_t *)slab->freelist)[i] = (uint16_t)value;
}

static void *object_at(const struct kmem_cache *c, const struct page *slab, uint32_t i)
{
	return (char *)slab->s_mem + (size_t)i * c->size;
}

static struct page *slab_grow(struct kmem_cache *c, unsigned int node, uint32_t colour)
{
	struct page *slab = slab_get_frames(c, c, c->order, c->min_order);

	if (!slab)
		return NULL;
	char *base = page_address(c->frames, slab);
	slab->s_mem = base + (size_t)colour * c->colour_off + c->red_left;
	slab->objects = (uint16_t)c->per_slab;
	slab->inuse = 0;
	slab->slab_node = node & 0x3;
	for (uint32_t i = 0; i < slab->objects; i++) {
		if (c->ctor)
			c->ctor(object_at(c, slab, i));
		if (c->flags & KMEM_DEBUG)
			kmem_debug_object(c, object_at(c, slab, i));
	}
	slab->freelist = index_in_object(c) ? object_at(c, slab, slab->objects - 1u) : index_at_end(c, slab);
	for (uint32_t i = 0; i < slab->objects; i++)
		index_set(slab, i, i);
	return slab;
}

/* --- node lists (list_lock) -------------------------------------------------------------------------------------- */

static void list_by_use(struct kmem_node *n, struct page *slab)
{
	list_del(&slab->node);
	if (!slab->inuse) {
		list_add(&slab->node, &n->free);
	} else if (slab->inuse == slab->objects) {
		list_add(&slab->node, &n->full);
	} else {
		list_add(&slab->node, &n->partial);
	}
}

static uint32_t take_from_slab(struct kmem_cache *c, struct kmem_node *n, struct page *slab, void **p,
			       uint32_t nr)
{
	uint32_t got = 0;

	if (!slab->inuse) {
		n->nr_free_slabs--;
		n->free_touched = true;
	}
	while (got < nr && slab->inuse < slab->objects)
		p[got++] = object_at(c, slab, index_get(slab, slab->inuse++));
	n->free_objects -= got;
	list_by_use(n, slab);
	return got;
}

static struct page *first_slab(struct kmem_node *n)
{
	if (!list_empty(&n->partial))
		return list_entry(n->partial.next, struct page, node);
	return list_empty(&n->free) ? NULL : list_entry(n->free.next, struct page, node);
}

static uint32_t take_from_node(struct kmem_cache *c, struct kmem_node *n, void **p, uint32_t nr)
{
	uint32_t got = 0;
	struct page *slab;

	while (got < nr && (slab = first_slab(n)))
		got += take_from_slab(c, n, slab, p + got, nr - got);
	return got;
}

static void forget_slab(struct kmem_node *n, struct page *slab)
{
	list_del(&slab->node);
	n->nr_slabs--;
	n->total_objects -= slab->objects;
	n->free_objects -= slab->objects;
}

/* The slab when it should go back to its zone. */
static struct page *put_object(struct kmem_cache *c, struct kmem_node *n, void *object)
{
	struct page *slab = slab_of(c, object);
	uint32_t i = (uint32_t)((char *)object - (char *)slab->s_mem) / c->size;

	if (!slab->inuse || (slab->inuse < slab->objects && index_get(slab, slab->inuse) == i)) {
		kmem_report(c, KMEM_DOUBLE_FREE, object);
		return NULL;
	}
	if (slab->inuse == slab->objects && index_in_object(c))
		slab->freelist = object;
	index_set(slab, --slab->inuse, i);
	n->free_objects++;
	if (!slab->inuse && n->free_objects > n->free_limit) {
		forget_slab(n, slab);
		return slab;
	}
	n->nr_free_slabs += !slab->inuse;
	list_by_use(n, slab);
	return NULL;
}

static uint64_t release_chain(struct kmem_cache *c, struct list_head *slabs)
{
	struct page *slab, *next;
	uint64_t frames = 0;

	list_for_each_entry_safe (slab, next, slabs, node) {
		list_del(&slab->node);
		frames += 1ull << slab->slab_order;
		slab_put_frames(c, slab);
	}
	return frames;
}

static void put_in_node(struct kmem_cache *c, unsigned int node, void **p, uint32_t nr)
{
	struct kmem_node *n = &c->node[node];
	struct list_head empty;

	list_init(&empty);
	pthread_mutex_lock(&n->list_lock);
	for (uint32_t i = 0; i < nr; i++) {
		struct page *slab = put_object(c, n, p[i]);
		if (slab)
			list_add(&slab->node, &empty);
	}
	pthread_mutex_unlock(&n->list_lock);
	release_chain(c, &empty);
}

/* Objects of any nodes. */
static void put_objects(struct kmem_cache *c, void **p, uint32_t nr)
{
	if (c->nr_nodes == 1) {
		put_in_node(c, 0, p, nr);
		return;
	}
	for (uint32_t i = 0; i < nr; i++)
		put_in_node(c, slab_of(c, p[i])->slab_node, &p[i], 1);
}

/* --- arrays ------------------------------------------------------------------------------------------------------ */

static unsigned int home_node(const struct kmem_cache *c)
{
	return kmem_thread_node() % c->nr_nodes;
}

static bool add_new_slab(struct kmem_cache *c, unsigned int node)
{
	struct kmem_node *n = &c->node[node];

	pthread_mutex_lock(&n->list_lock);
	uint32_t colour = n->colour_next;
	n->colour_next = colour + 1 < c->colours ? colour + 1 : 0;
	pthread_mutex_unlock(&n->list_lock);
	struct page *slab = slab_grow(c, node, colour);
	if (!slab)
		return false;
	pfn_t pfn = page_to_pfn(c->frames, slab);
	pthread_mutex_lock(&n->list_lock);
	list_add(&slab->node, &n->free);
	n->nr_free_slabs++;
	n->nr_slabs++;
	n->total_objects += slab->objects;
	n->free_objects += slab->objects;
	pthread_mutex_unlock(&n->list_lock);
	pthread_mutex_lock(&c->barn.lock); /* one range for all nodes */
	c->low_pfn = min_u64(c->low_pfn, pfn);
	c->high_pfn = max_u64(c->high_pfn, pfn + 1);
	pthread_mutex_unlock(&c->barn.lock);
	return true;
}

static void sheaf_append(struct kmem_sheaf *s, void *const *p, uint32_t nr)
{
	memcpy(&s->entry[sheaf_avail(s)], p, nr * sizeof(*p));
	sheaf_set(s, sheaf_avail(s) + nr);
}

/* (list_lock) The newest entries of the shared array. */
static uint32_t take_shared(struct kmem_cache *c, struct kmem_node *n, void **p, uint32_t nr)
{
	uint32_t have = n->shared ? sheaf_avail(n->shared) : 0;

	if (nr > have)
		nr = have;
	if (!nr)
		return 0;
	memcpy(p, &n->shared->entry[have - nr], nr * sizeof(*p));
	sheaf_set(n->shared, have - nr);
	n->shared->batchcount = 1; /* touched */
	KMEM_COUNT(c, shared_hits);
	return nr;
}

/* Up to nr objects of a node; 0: no memory. */
static uint32_t take_objects(struct kmem_cache *c, unsigned int node, void **p, uint32_t nr)
{
	struct kmem_node *n = &c->node[node];
	uint32_t got;

	do {
		pthread_mutex_lock(&n->list_lock);
		got = take_shared(c, n, p, nr);
		if (!got)
			got = take_from_node(c, n, p, nr);
		pthread_mutex_unlock(&n->list_lock);
	} while (!got && add_new_slab(c, node));
	return got;
}

/* The thread's array, made at its first use; kmem_empty: no memory. */
static struct kmem_sheaf *array_of(struct kmem_cache *c, struct kmem_local *l)
{
	struct kmem_sheaf *s = local_main(l);

	if (s != &kmem_empty)
		return s;
	s = barn_get_empty(c, c->sheaf_limit);
	if (!s)
		return &kmem_empty;
	s->batchcount = (s->limit + 1) / 2;
	local_set_main(l, s);
	return s;
}

static void *array_alloc(struct kmem_cache *c, struct kmem_local *l)
{
	struct kmem_sheaf *s = l ? array_of(c, l) : &kmem_empty;
	void *object = NULL;

	if (s == &kmem_empty) {
		take_objects(c, home_node(c), &object, 1);
		return object;
	}
	uint32_t batch = s->batchcount;
	if (!l->touched && batch > SMALL_BATCH)
		batch = SMALL_BATCH;
	KMEM_COUNT(c, refills);
	sheaf_set(s, take_objects(c, home_node(c), s->entry, batch));
	l->touched = true;
	return sheaf_avail(s) ? sheaf_pop(s) : NULL;
}

/* (list_lock) How many of nr entries the shared array took. */
static uint32_t put_shared(struct kmem_node *n, void *const *p, uint32_t nr)
{
	uint32_t room = n->shared ? n->shared->limit - sheaf_avail(n->shared) : 0;

	if (nr > room)
		nr = room;
	if (nr)
		sheaf_append(n->shared, p, nr);
	return nr;
}

/* The nr oldest entries leave the array. */
static void flush_array(struct kmem_cache *c, struct kmem_sheaf *s, uint32_t nr)
{
	struct kmem_node *n = &c->node[home_node(c)];
	uint32_t avail = sheaf_avail(s);

	pthread_mutex_lock(&n->list_lock);
	uint32_t shared = put_shared(n, s->entry, nr);
	pthread_mutex_unlock(&n->list_lock);
	if (!shared)
		put_objects(c, s->entry, shared = nr);
	sheaf_set(s, avail - shared);
	memmove(s->entry, s->entry + shared, (avail - shared) * sizeof(s->entry[0]));
	KMEM_COUNT(c, flushes);
}

static void free_alien(struct kmem_cache *c, struct kmem_local *l, unsigned int node, void *object)
{
	KMEM_COUNT(c, alien_frees);
	if (l && !l->alien[node])
		l->alien[node] = barn_get_empty(c, ALIEN_LIMIT);
	if (!l || !l->alien[node]) {
		put_in_node(c, node, &object, 1);
		return;
	}
	struct kmem_sheaf *s = l->alien[node];
	if (sheaf_avail(s) == s->limit) {
		put_in_node(c, node, s->entry, s->limit);
		sheaf_set(s, 0);
	}
	sheaf_push(s, object);
}

static void array_free(struct kmem_cache *c, struct kmem_local *l, void *object)
{
	unsigned int node = c->nr_nodes > 1 ? slab_of(c, object)->slab_node : 0;

	if (node != home_node(c)) {
		free_alien(c, l, node, object);
		return;
	}
	struct kmem_sheaf *s = l ? array_of(c, l) : &kmem_empty;
	if (s == &kmem_empty) {
		put_in_node(c, node, &object, 1);
		return;
	}
	if (sheaf_avail(s) == s->limit)
		flush_array(c, s, s->batchcount);
	sheaf_push(s, object);
}

static void drain_sheaf(struct kmem_cache *c, struct kmem_sheaf *s)
{
	uint32_t nr = sheaf_avail(s);

	sheaf_set(s, 0);
	put_objects(c, s->entry, nr);
}

static void drain_aliens(struct kmem_cache *c, struct kmem_local *l)
{
	for (unsigned int i = 0; i < KMEM_MAX_NODES; i++) {
		if (!l->alien[i])
			continue;
		drain_sheaf(c, l->alien[i]);
		barn_put_empty(c, l->alien[i]);
		l->alien[i] = NULL;
	}
}

static void array_drain(struct kmem_cache *c, struct kmem_local *l)
{
	struct kmem_sheaf *s = local_main(l);

	if (s != &kmem_empty) {
		drain_sheaf(c, s);
		local_set_main(l, &kmem_empty);
		barn_put_empty(c, s);
	}
	drain_aliens(c, l);
}

/* nr entries, or all, of the shared array go to slabs. */
static void drain_shared(struct kmem_cache *c, struct kmem_node *n, uint32_t nr)
{
	void *p[64];
	uint32_t got;

	do {
		pthread_mutex_lock(&n->list_lock);
		got = take_shared(c, n, p, (uint32_t)min_u64(nr, ARRAY_SIZE(p)));
		pthread_mutex_unlock(&n->list_lock);
		put_objects(c, p, got);
		nr -= got;
	} while (got && nr);
}

/* Up to nr slabs of the free list go back to the zone. */
static uint64_t drain_free_slabs(struct kmem_cache *c, struct kmem_node *n, uint64_t nr)
{
	struct list_head slabs;
	struct page *slab, *next;

	list_init(&slabs);
	pthread_mutex_lock(&n->list_lock);
	list_for_each_entry_safe (slab, next, &n->free, node) {
		if (!nr--)
			break;
		forget_slab(n, slab);
		n->nr_free_slabs--;
		list_add(&slab->node, &slabs);
	}
	pthread_mutex_unlock(&n->list_lock);
	return release_chain(c, &slabs);
}

static uint64_t array_shrink(struct kmem_cache *c)
{
	uint64_t frames = 0;

	for (unsigned int i = 0; i < c->nr_nodes; i++)
		drain_shared(c, &c->node[i], ~0u);
	for (unsigned int i = 0; i < c->nr_nodes; i++)
		frames += drain_free_slabs(c, &c->node[i], ~0ull);
	return frames + barn_shrink(c);
}

/* A fifth of the limit, but not more than half of what is there. */
static uint32_t reap_share(const struct kmem_sheaf *s)
{
	return (uint32_t)min_u64((s->limit + 4) / 5, (sheaf_avail(s) + 1) / 2);
}

static void reap_array(struct kmem_cache *c, struct kmem_local *l)
{
	struct kmem_sheaf *s = local_main(l);
	uint32_t nr = reap_share(s), avail = sheaf_avail(s);

	drain_aliens(c, l);
	if (l->touched || !nr) {
		l->touched = false;
		return;
	}
	put_objects(c, s->entry, nr);
	sheaf_set(s, avail - nr);
	memmove(s->entry, s->entry + nr, (avail - nr) * sizeof(s->entry[0]));
}

static uint64_t reap_node(struct kmem_cache *c, struct kmem_node *n)
{
	pthread_mutex_lock(&n->list_lock);
	bool shared_idle = n->shared && !n->shared->batchcount, free_idle = !n->free_touched;
	uint32_t nr = shared_idle ? reap_share(n->shared) : 0;
	if (n->shared)
		n->shared->batchcount = 0;
	n->free_touched = false;
	pthread_mutex_unlock(&n->list_lock);
	if (nr) {
		drain_shared(c, n, nr);
		pthread_mutex_lock(&n->list_lock);
		n->shared->batchcount = 0;
		pthread_mutex_unlock(&n->list_lock);
	}
	uint64_t five = 5ull * c->per_slab;
	return free_idle ? drain_free_slabs(c, n, (n->free_limit + five - 1) / five) : 0;
}

static uint64_t array_reap(struct kmem_cache *c, struct kmem_local *l)
{
	uint64_t frames = 0;

	if (l)
		reap_array(c, l);
	for (unsigned int i = 0; i < c->nr_nodes; i++)
		frames += reap_node(c, &c->node[i]);
	return frames;
}

static uint32_t array_limit(uint32_t size)
{
	return size > 131072 ? 1 : size > 4096 ? 8 : size > 1024 ? 24 : size > 256 ? 54 : 120;
}

/* A frame for the array that a node's threads share. */
static bool make_shared(struct kmem_cache *c, struct kmem_node *n)
{
	uint32_t room = (PAGE_SIZE - sizeof(struct kmem_sheaf)) / sizeof(void *);
	struct page *page = page_alloc(c->frames, GFP_OBJECT, 0);

	if (!page)
		return false;
	n->shared = page_address(c->frames, page);
	memset(n->shared, 0, sizeof(*n->shared));
	n->shared->limit = (uint32_t)min_u64((c->sheaf_limit + 1) / 2 * SHARED_BATCH, room);
	return true;
}

static int array_init(struct kmem_cache *c)
{
	choose_order(c);
	uint32_t index = index_in_object(c) ? 0 : (c->per_slab * index_bytes(c->per_slab) + 1) & ~1u;
	c->colour_off = c->align > CACHE_LINE ? c->align : CACHE_LINE;
	c->colours = ((uint32_t)(PAGE_SIZE << c->order) - c->per_slab * c->size - index) / c->colour_off + 1;
	c->sheaf_limit = array_limit(c->size);
	for (unsigned int i = 0; i < c->nr_nodes; i++) {
		struct kmem_node *n = &c->node[i];
		n->free_limit = 2ull * ((c->sheaf_limit + 1) / 2) + c->per_slab;
		/* Only threads that go their own ways need it; a cache works without. */
		if (c->size <= PAGE_SIZE && c->slot)
			make_shared(c, n);
	}
	return 0;
}

static void array_destroy(struct kmem_cache *c)
{
	array_shrink(c);
	for (unsigned int i = 0; i < c->nr_nodes; i++) {
		if (c->node[i].shared)
			page_free(c->frames, kmem_page(c, c->node[i].shared));
		c->node[i].shared = NULL;
	}
}

static unsigned int check_list(struct kmem_cache *c, struct list_head *head, uint32_t low, uint32_t high,
			       uint64_t *free)
{
	unsigned int bad = 0;
	struct page *slab;

	list_for_each_entry (slab, head, node) {
		bad += slab->inuse < low || slab->inuse > high || slab->slab_cache != c;
		for (uint32_t i = slab->inuse; i < slab->objects; i++)
			bad += index_get(slab, i) >= slab->objects;
		*free += slab->objects - (uint64_t)slab->inuse;
	}
	return bad;
}

static unsigned int array_check(struct kmem_cache *c, void (*complain)(const char *, uint64_t))
{
	unsigned int bad = 0;

	for (unsigned int i = 0; i < c->nr_nodes; i++) {
		struct kmem_node *n = &c->node[i];
		uint64_t free = 0;
		pthread_mutex_lock(&n->list_lock);
		bad += check_list(c, &n->free, 0, 0, &free);
		bad += check_list(c, &n->partial, 1, c->per_slab - 1, &free);
		bad += check_list(c, &n->full, c->per_slab, c->per_slab, &free);
		bad += free != n->free_objects;
		pthread_mutex_unlock(&n->list_lock);
	}
	if (bad && complain)
		complain("slab lists do not add up", bad);
	return bad;
}

const struct kmem_ops slab_array_ops = {
	.name = "slab",
	.init = array_init,
	.destroy = array_destroy,
	.alloc = array_alloc,
	.free = array_free,
	.drain = array_drain,
	.shrink = array_shrink,
	.reap = array_reap,
	.check = array_check,
};
