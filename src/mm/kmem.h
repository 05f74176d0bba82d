/* SPDX-License-Identifier: MIT */
/*
 * kmem.h - caches of equal objects, on pages of ZONE_OBJECT.
 *
 *	kmem_cache_alloc / _free     a thread's own sheaf of free objects: a pop or a push, no lock and no atomic operation
 *	        | empty, full
 *	kmem_alloc_slow / free_slow  checks of debugging caches, induced failures, then the back-end's ops
 *	        |
 *	enum kmem_backend            SLUB, SLAB, SLOB or magazines: where sheaves are filled from and emptied to
 *	        |
 *	page_alloc                   slabs: blocks of frames, each of which names its cache in page.slab_cache
 *
 * The CPU of the literature is a thread here (docs/kmem.md has the figures). A thread that ends gives back what it holds.
 *
 *   K1  an object is in exactly one place: with a user, in one sheaf, or free in its slab
 *   K2  a sheaf is reached by one thread (main, spare) or is in a barn; kmem_empty is shared, has no room, is never written
 *   K3  objects in use = objects of all slabs - free in slabs - in sheaves
 *
 * Locking: rank LOCK_KMEM. registry lock -> node list_lock, barn lock -> zone->lock; list_lock and barn lock do not nest.
 * Not here: sizes that vary (kmalloc.h), what debugging checks (kmem_debug.h), zeroing unless asked for.
 */
#ifndef LODGE_MM_KMEM_H
#define LODGE_MM_KMEM_H

#include <string.h>

#include "page.h"

enum kmem_backend {
	KMEM_SLUB,
	KMEM_SLAB,
	KMEM_SLOB,
	KMEM_MAGAZINE,
	NR_KMEM_BACKENDS,
};

/* Flags of a cache. */
#define KMEM_CONSISTENCY   0x01u /* every free is checked: double frees, foreign and inner pointers */
#define KMEM_RED_ZONE	   0x02u /* bytes around an object that must stay: 0xbb when free, 0xcc when in use */
#define KMEM_POISON	   0x04u /* free objects are 0x6b, the last byte 0xa5; not with a constructor */
#define KMEM_STORE_USER	   0x08u /* thread and stack of the last allocation and free */
#define KMEM_HWCACHE_ALIGN 0x10u /* objects start on a cache line unless several fit one */
#define KMEM_DEBUG	   (KMEM_CONSISTENCY | KMEM_RED_ZONE | KMEM_POISON | KMEM_STORE_USER)

#define KMEM_SLOTS	   512 /* caches with sheaves, per process; those beyond go to their slabs for each object */
#define KMEM_MAX_NODES	   4
#define KMEM_NAME_MAX	   32

struct kmem_cache;
struct kmem_local;
struct kmem_ops;

/* A stack of free objects: a sheaf, an array_cache or a magazine. */
struct kmem_sheaf {
	struct kmem_sheaf *next; /* in a barn, or waiting for readers */
	_Atomic uint32_t avail;	 /* entry[0..avail) are objects; written by the owner, read by statistics */
	uint32_t limit;
	_Atomic uint32_t pops; /* allocations since the owner last looked */
	uint32_t batchcount;   /* (SLAB) how many move at once */
	uint64_t epoch;	       /* while it waits for readers: when it was sealed */
	void *entry[];
};

struct kmem_thread {
	struct kmem_sheaf *main[KMEM_SLOTS];  /* kmem_empty where the thread has none */
	struct kmem_local *local[KMEM_SLOTS]; /* NULL where the thread has none */
	struct list_head node;		      /* (registry) */
	_Atomic uint64_t reader;	      /* epoch in which it reads, 0: outside */
	unsigned int nest;		      /* of kmem_read_lock */
	unsigned int node_id;		      /* of virtual NUMA */
};

/* One per node of a cache. Which lists and arrays are in use is the back-end's choice. */
struct kmem_node {
	pthread_mutex_t list_lock;
	struct list_head
		partial; /* (list_lock) slabs with a free object; magazines: all slabs, full ones first */
	struct list_head full, free;
	struct list_head *freep; /* (magazines) the first slab with room; the list's head: none */
	uint64_t nr_partial, nr_slabs, nr_free_slabs;
	uint64_t total_objects, free_objects; /* free_objects: in slabs, not in sheaves */
	struct kmem_sheaf *shared;	      /* (SLAB) objects for all threads of the node */
	uint64_t free_limit;		      /* (SLAB) free objects that are kept */
	uint32_t colour_next;		      /* (SLAB) colour of the next slab, in steps of colour_off */
	bool free_touched;		      /* (SLAB) the free list was used since the last reap */
};

/* Full sheaves and room for sheaves. Sheaves are cut from pages of the cache's own: no allocation below an allocation. */
struct kmem_barn {
	pthread_mutex_t lock;
	struct kmem_sheaf *full, *empty; /* (lock) */
	uint32_t nr_full, nr_empty;
	uint32_t max_full; /* (C) */
	uint32_t min_full; /* (lock) fewest since the last reap: what nobody needed */
	uint32_t contended;
	struct list_head pages;
	uint64_t nr_pages;
};

struct kmem_stat {
	_Atomic uint64_t alloc_fast, alloc_slow, free_slow, refills, flushes, fails;
	_Atomic uint64_t shared_hits, alien_frees, slabs_created, slabs_freed, deferred;
};

struct kmem_cache {
	_Atomic uint32_t
		fast;  /* index into kmem_thread.main on the fast path; 0: there is none, each call is slow */
	uint32_t slot; /* (C) index into kmem_thread.local; 0: no sheaves at all */
	char *direct_map;     /* (C) of frames: object to frame is arithmetic */
	struct page *mem_map; /* (C) */
	const struct kmem_ops *ops;
	struct frames *frames;
	uint32_t object_bytes; /* (C) what the user asked for */
	uint32_t size;	       /* (C) distance of objects in a slab */
	uint32_t align;
	uint32_t red_left;    /* (C) bytes of a slot before its object */
	uint32_t fp_offset;   /* (C) of the free pointer in an object */
	uint32_t meta_offset; /* (C) of struct kmem_meta from the object; 0: none */
	uint32_t red_right;   /* (C) end of the right red zone, from the object; 0: none */
	uint32_t flags;
	uint32_t order, min_order; /* (C) of a slab: wished, and what one object needs */
	uint32_t per_slab;	   /* (C) objects in a slab of `order` */
	uint32_t min_partial;
	uint32_t nr_nodes;
	uint32_t colours, colour_off; /* (C) (SLAB) how many offsets there are, and their distance */
	uint32_t sheaf_limit, sheaf_bytes;
	uint32_t magazine_limit; /* (barn) grows with contention up to sheaf_limit */
	uint64_t random;	 /* (C) hides free pointers */
	void (*ctor)(void *object);
	struct slob *slob; /* (SLOB) heap that all caches of these frames share */
	_Atomic uint64_t slob_objects;
	_Atomic uint32_t fail_every,
		fail_count; /* induced failures: each fail_every-th allocation, 0: none */
	_Atomic uint32_t reap_round;
	struct kmem_sheaf *waiting; /* (defer lock) sealed sheaves of deferred frees, oldest first */
	pfn_t low_pfn, high_pfn;    /* (list_lock of node 0) where its slabs have been */
	struct kmem_barn barn;
	struct list_head locals; /* (registry) of all threads */
	struct list_head caches; /* (registry) all caches */
	struct kmem_stat stat;
	struct kmem_node node[KMEM_MAX_NODES];
	char name[KMEM_NAME_MAX];
};

struct kmem_args {
	struct frames *frames;
	const char *name; /* copied; cut after KMEM_NAME_MAX - 1 bytes */
	size_t object_bytes;
	size_t align; /* a power of two up to 4096; 0: 16, or 8 for objects of less than 16 */
	uint32_t flags;
	enum kmem_backend backend;
	unsigned int nodes; /* of virtual NUMA, up to KMEM_MAX_NODES; 0: 1. SLAB alone tells them apart */
	/* Called once per object when its slab is made (SLOB: at each allocation); objects are freed as it left them. */
	void (*ctor)(void *object);
};

extern __thread struct kmem_thread *kmem_self __attribute__((tls_model("initial-exec")));

void *kmem_alloc_slow(struct kmem_cache *c);
void kmem_free_slow(struct kmem_cache *c, void *object);

/* Sets up a cache in place. 0, -EINVAL for sizes that no block holds and bad alignments, -ENOMEM. */
int kmem_cache_init(struct kmem_cache *c, const struct kmem_args *args);

/*
 * Returns all pages, those of objects that were never freed too: their number is the result, and each is reported as
 * KMEM_LEAK where the back-end can tell. Nobody uses the cache any more; other threads may still hold sheaves of it.
 */
uint64_t kmem_cache_destroy(struct kmem_cache *c);

/* The newest object of a sheaf, NULL when it is empty. */
static inline void *kmem_sheaf_pop(struct kmem_sheaf *s)
{
	uint32_t n = atomic_load_explicit(&s->avail, memory_order_relaxed);

	if (__builtin_expect(!n, 0))
		return NULL;
	atomic_store_explicit(&s->avail, n - 1, memory_order_relaxed);
	atomic_store_explicit(&s->pops, atomic_load_explicit(&s->pops, memory_order_relaxed) + 1,
			      memory_order_relaxed);
	return s->entry[n - 1];
}

/* An object with undefined contents (a constructed one with a constructor), or NULL when memory is out. */
static inline void *kmem_cache_alloc(struct kmem_cache *c)
{
	uint32_t fast = atomic_load_explicit(&c->fast, memory_order_relaxed);
	void *object = kmem_sheaf_pop(kmem_self->main[fast]);

	return __builtin_expect(object != NULL, 1) ? object : kmem_alloc_slow(c);
}

static inline struct page *kmem_page(const struct kmem_cache *c, const void *object)
{
	return c->mem_map + ((uint64_t)((const char *)object - c->direct_map) >> PAGE_SHIFT);
}

/* Takes back an object of this cache; one of another cache is reported and not freed. */
static inline void kmem_cache_free(struct kmem_cache *c, void *object)
{
	uint32_t fast = atomic_load_explicit(&c->fast, memory_order_relaxed);
	struct kmem_sheaf *s = kmem_self->main[fast];
	uint32_t n = atomic_load_explicit(&s->avail, memory_order_relaxed);

	if (__builtin_expect(n >= s->limit || kmem_page(c, object)->slab_cache != c, 0)) {
		kmem_free_slow(c, object);
		return;
	}
	s->entry[n] = object;
	atomic_store_explicit(&s->avail, n + 1, memory_order_relaxed);
}

static inline void *kmem_cache_zalloc(struct kmem_cache *c)
{
	void *object = kmem_cache_alloc(c);

	return object ? memset(object, 0, c->object_bytes) : NULL;
}

/* All or nothing: nr objects into p and nr, or 0. */
size_t kmem_cache_alloc_bulk(struct kmem_cache *c, size_t nr, void **p);
void kmem_cache_free_bulk(struct kmem_cache *c, size_t nr, void **p);

/*
 * Frees an object once no thread is in a read section that began before this call. Read sections nest, do not block
 * one another and cost a store and a fence. Objects wait in the caller's sheaf until it is full, kmem_cache_shrink, or
 * the thread's end. Not inside a read section: without memory for a sheaf the caller waits for the readers itself.
 */
void kmem_cache_free_deferred(struct kmem_cache *c, void *object);
void kmem_read_lock(void);
void kmem_read_unlock(void);

/* Gives back what the caller's sheaves, the barn and empty slabs hold. Returns the number of frames. */
uint64_t kmem_cache_shrink(struct kmem_cache *c);

/* What a timer calls every few seconds: idle entries go back to slabs, idle slabs to the zone. Returns frames. */
uint64_t kmem_cache_reap(struct kmem_cache *c);

/* Each n-th allocation fails from now on; 0: none. */
void kmem_cache_fail_every(struct kmem_cache *c, uint32_t n);

/* The calling thread's virtual node, 0 at first. */
void kmem_thread_set_node(unsigned int node);

struct kmem_info {
	uint64_t active_objects, total_objects, slabs, active_slabs, frames, sheaf_frames;
	uint64_t in_sheaves;
	uint64_t alloc_fast, alloc_slow, free_slow;
	uint32_t object_size, objects_per_slab, pages_per_slab, limit, batchcount, shared;
};

/* A consistent picture only while nobody else uses the cache. */
void kmem_cache_info(struct kmem_cache *c, struct kmem_info *info);

/* /proc/slabinfo, version 2.1, of the caches over `f`. Returns the length without the final 0, as snprintf does. */
size_t kmem_slabinfo(struct frames *f, char *buffer, size_t bytes);

/* Verifies the back-end's lists; nobody else uses the cache. Returns violations, each told to `complain` (may be NULL). */
unsigned int kmem_cache_check(struct kmem_cache *c, void (*complain)(const char *what, uint64_t where));

enum kmem_problem {
	KMEM_DOUBLE_FREE,
	KMEM_WRONG_CACHE,
	KMEM_BAD_POINTER,
	KMEM_RED_ZONE_HIT,
	KMEM_POISON_HIT,
	KMEM_BAD_FREELIST,
	KMEM_LEAK,
	NR_KMEM_PROBLEMS,
};

#define KMEM_STACK 16

/* Who did the last allocation or free of an object. */
struct kmem_track {
	uint64_t thread; /* pthread_self */
	uint32_t depth;
	void *stack[KMEM_STACK];
};

struct kmem_report {
	enum kmem_problem problem;
	struct kmem_cache *cache;
	const void *object;
	const struct kmem_track *alloc, *free; /* NULL without KMEM_STORE_USER */
};

/* Who hears of problems; NULL: only counted. Called with locks of the cache held: it must not allocate from it. */
void kmem_report_to(void (*hook)(const struct kmem_report *));
/* Problems of a kind since the process began. */
uint64_t kmem_report_count(enum kmem_problem problem);

#endif
