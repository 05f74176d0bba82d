/* SPDX-License-Identifier: MIT */
/* kmem_impl.h - what the parts of the object allocator share with one another and with nobody else. */
#ifndef LODGE_MM_KMEM_IMPL_H
#define LODGE_MM_KMEM_IMPL_H

#include "kmem.h"
#include "page_alloc.h"

/* One thread's part of one cache; a unit of the cache's barn. */
struct kmem_local {
	struct list_head node; /* (registry) cache->locals */
	struct kmem_thread *thread;
	struct kmem_cache *cache;
	struct kmem_sheaf *spare;		  /* SLUB: second sheaf; magazines: previous; NULL: none */
	struct kmem_sheaf *deferred;		  /* filling up with deferred frees; NULL: none */
	struct kmem_sheaf *alien[KMEM_MAX_NODES]; /* (SLAB) objects of other nodes on their way home */
	uint32_t reap_round;
	bool touched; /* allocated from since the last reap */
};

/*
 * A back-end. `local` is the calling thread's, NULL when there was no memory or no slot for it; its main sheaf has been
 * found empty (alloc) or full (free), unless the cache's objects all go through ops.
 */
struct kmem_ops {
	const char *name;
	int (*init)(struct kmem_cache *c);
	void (*destroy)(struct kmem_cache *c); /* after the last drain; frees all pages */
	void *(*alloc)(struct kmem_cache *c, struct kmem_local *local);
	void (*free)(struct kmem_cache *c, struct kmem_local *local, void *object);
	void (*drain)(struct kmem_cache *c, struct kmem_local *local); /* all objects of a thread go back */
	uint64_t (*shrink)(struct kmem_cache *c);		       /* frames; the caller was drained */
	uint64_t (*reap)(struct kmem_cache *c, struct kmem_local *local);
	unsigned int (*check)(struct kmem_cache *c, void (*complain)(const char *, uint64_t));
	bool (*owns)(const struct kmem_cache *c, const struct page *page);
};

extern const struct kmem_ops slub_ops, slab_array_ops, slob_ops, magazine_ops;

extern struct kmem_sheaf kmem_empty;
extern pthread_mutex_t kmem_registry_lock;

#define KMEM_COUNT(c, what) atomic_fetch_add_explicit(&(c)->stat.what, 1, memory_order_relaxed)

static inline uint32_t sheaf_avail(const struct kmem_sheaf *s)
{
	return atomic_load_explicit(&s->avail, memory_order_relaxed);
}

static inline void sheaf_set(struct kmem_sheaf *s, uint32_t avail)
{
	atomic_store_explicit(&s->avail, avail, memory_order_relaxed);
}

static inline void sheaf_push(struct kmem_sheaf *s, void *object)
{
	uint32_t n = sheaf_avail(s);

	s->entry[n] = object;
	sheaf_set(s, n + 1);
}

static inline void *sheaf_pop(struct kmem_sheaf *s)
{
	uint32_t n = sheaf_avail(s) - 1;

	sheaf_set(s, n);
	return s->entry[n];
}

static inline struct kmem_sheaf *local_main(const struct kmem_local *l)
{
	return l->thread->main[l->cache->slot];
}

static inline void local_set_main(struct kmem_local *l, struct kmem_sheaf *s)
{
	l->thread->main[l->cache->slot] = s;
}

static inline void local_swap(struct kmem_local *l)
{
	struct kmem_sheaf *s = local_main(l);

	local_set_main(l, l->spare);
	l->spare = s;
}

/* Where kfree may push without looking at the cache; 0: nowhere. */
static inline uint32_t kmem_free_slot(const struct kmem_cache *c)
{
	return c->ops == &slob_ops || (c->flags & KMEM_DEBUG) || c->nr_nodes > 1 ? 0 : c->slot;
}

/* kmem_thread.c: the registry of threads and caches. */
void kmem_register(struct kmem_cache *c);
void kmem_unregister(struct kmem_cache *c); /* drains every thread's part */
struct kmem_local *kmem_local_get(struct kmem_cache *c);
struct kmem_thread *kmem_thread_get(void);
unsigned int kmem_thread_node(void);
uint64_t kmem_oldest_reader(uint64_t now);
void kmem_caches_visit(struct frames *f, void (*visit)(struct kmem_cache *c, void *arg), void *arg);

/* kmem_defer.c */
void defer_seal(struct kmem_cache *c, struct kmem_local *l); /* the sheaf under way begins to wait */
bool defer_poll(struct kmem_cache *c); /* frees what no reader can see any more; true: some */
void defer_wait(struct kmem_cache *c); /* frees all; waits for readers */

/* kmem_debug.c. `object` is a user's pointer throughout. */
bool kmem_debug_object(struct kmem_cache *c, void *object); /* a new, free object; false: never */
void kmem_debug_alloc(struct kmem_cache *c, void *object);
bool kmem_debug_free(struct kmem_cache *c, void *object); /* false: reported, not to be freed */
void kmem_debug_leaks(struct kmem_cache *c, struct page *slab);
void kmem_report(struct kmem_cache *c, enum kmem_problem problem, const void *object);
uint32_t kmem_debug_layout(struct kmem_cache *c);

#endif
