/* SPDX-License-Identifier: MIT */
/* barn.c - see barn.h. */
#include "barn.h"

void barn_init(struct kmem_cache *c)
{
	pthread_mutex_init(&c->barn.lock, NULL);
	list_init(&c->barn.pages);
}

void barn_destroy(struct kmem_cache *c)
{
	struct page *page, *next;

	list_for_each_entry_safe (page, next, &c->barn.pages, node) {
		list_del(&page->node);
		page_free(c->frames, page);
	}
	pthread_mutex_destroy(&c->barn.lock);
}

/* A thread that had to wait tells magazines that they are too small. */
static void barn_lock(struct kmem_cache *c)
{
	if (!pthread_mutex_trylock(&c->barn.lock))
		return;
	pthread_mutex_lock(&c->barn.lock);
	c->barn.contended++;
}

/* page.inuse is the number of units that are not on the list of empty ones. */
static void push_empty(struct kmem_cache *c, struct kmem_sheaf *s)
{
	struct kmem_barn *b = &c->barn;

	kmem_page(c, s)->inuse--;
	s->next = b->empty;
	b->empty = s;
	b->nr_empty++;
}

static struct kmem_sheaf *pop_empty(struct kmem_cache *c)
{
	struct kmem_barn *b = &c->barn;
	struct kmem_sheaf *s = b->empty;

	if (s) {
		b->empty = s->next;
		b->nr_empty--;
		kmem_page(c, s)->inuse++;
	}
	return s;
}

static void barn_add_page(struct kmem_cache *c, struct page *page)
{
	char *unit = page_address(c->frames, page);

	list_add(&page->node, &c->barn.pages);
	c->barn.nr_pages++;
	for (size_t at = 0; at + c->sheaf_bytes <= PAGE_SIZE; at += c->sheaf_bytes) {
		page->inuse++;
		push_empty(c, (struct kmem_sheaf *)(void *)(unit + at));
	}
}

struct kmem_sheaf *barn_get_empty(struct kmem_cache *c, uint32_t limit)
{
	barn_lock(c);
	struct kmem_sheaf *s = pop_empty(c);
	pthread_mutex_unlock(&c->barn.lock);
	if (!s) {
		struct page *page = page_alloc(c->frames, GFP_OBJECT, 0);
		if (!page)
			return NULL;
		barn_lock(c);
		barn_add_page(c, page);
		s = pop_empty(c);
		pthread_mutex_unlock(&c->barn.lock);
	}
	memset(s, 0, sizeof(*s));
	s->limit = limit;
	return s;
}

void barn_put_empty(struct kmem_cache *c, struct kmem_sheaf *s)
{
	barn_lock(c);
	push_empty(c, s);
	pthread_mutex_unlock(&c->barn.lock);
}

static struct kmem_sheaf *pop_full(struct kmem_barn *b)
{
	struct kmem_sheaf *s = b->full;

	if (s) {
		b->full = s->next;
		if (--b->nr_full < b->min_full)
			b->min_full = b->nr_full;
	}
	return s;
}

struct kmem_sheaf *barn_exchange(struct kmem_cache *c, struct kmem_sheaf *empty)
{
	barn_lock(c);
	struct kmem_sheaf *s = pop_full(&c->barn);
	if (s && empty)
		push_empty(c, empty);
	pthread_mutex_unlock(&c->barn.lock);
	return s;
}

bool barn_put_full(struct kmem_cache *c, struct kmem_sheaf *s)
{
	struct kmem_barn *b = &c->barn;

	barn_lock(c);
	bool room = b->nr_full < b->max_full;
	if (room) {
		s->next = b->full;
		b->full = s;
		b->nr_full++;
	}
	pthread_mutex_unlock(&b->lock);
	return room;
}

static struct kmem_sheaf *take(struct kmem_barn *b, uint32_t nr)
{
	struct kmem_sheaf *chain = NULL, *s;

	while (nr-- > 0 && (s = pop_full(b))) {
		s->next = chain;
		chain = s;
	}
	return chain;
}

struct kmem_sheaf *barn_take_idle(struct kmem_cache *c)
{
	barn_lock(c);
	struct kmem_sheaf *chain = take(&c->barn, c->barn.min_full);
	c->barn.min_full = c->barn.nr_full;
	pthread_mutex_unlock(&c->barn.lock);
	return chain;
}

struct kmem_sheaf *barn_take_full(struct kmem_cache *c)
{
	barn_lock(c);
	struct kmem_sheaf *chain = take(&c->barn, ~0u);
	pthread_mutex_unlock(&c->barn.lock);
	return chain;
}

/* Takes the units of pages that nobody uses off the list. */
static void drop_idle_units(struct kmem_cache *c)
{
	struct kmem_sheaf **at = &c->barn.empty;

	while (*at) {
		if (kmem_page(c, *at)->inuse) {
			at = &(*at)->next;
			continue;
		}
		*at = (*at)->next;
		c->barn.nr_empty--;
	}
}

uint64_t barn_shrink(struct kmem_cache *c)
{
	struct kmem_barn *b = &c->barn;
	struct page *page, *next;
	uint64_t nr = 0;

	barn_lock(c);
	drop_idle_units(c);
	list_for_each_entry_safe (page, next, &b->pages, node) {
		if (page->inuse)
			continue;
		list_del(&page->node);
		page_free(c->frames, page);
		nr++;
	}
	b->nr_pages -= nr;
	pthread_mutex_unlock(&b->lock);
	return nr;
}

uint64_t barn_objects(struct kmem_cache *c)
{
	uint64_t nr = 0;

	barn_lock(c);
	for (const struct kmem_sheaf *s = c->barn.full; s; s = s->next)
		nr += sheaf_avail(s);
	pthread_mutex_unlock(&c->barn.lock);
	return nr;
}
