/* SPDX-License-Identifier: MIT */
/*
 * kmem_thread.c - which threads and caches there are, and each thread's part of each cache.
 *
 * A thread gets its block at its first slow call; until then, and after it has ended, kmem_self is kmem_nobody, in whose
 * tables every sheaf is kmem_empty: the fast path needs no test for it. Blocks are kept and used again.
 * Locking: kmem_registry_lock guards slots, threads, caches->locals. A thread alone changes its own tables, except when a
 * cache is destroyed, which nobody uses then.
 */
#include <sys/mman.h>

#include "barn.h"

struct kmem_sheaf kmem_empty;
static struct kmem_thread kmem_nobody = {.main = {[0 ... KMEM_SLOTS - 1] = &kmem_empty}};
__thread struct kmem_thread *kmem_self __attribute__((tls_model("initial-exec"))) = &kmem_nobody;

pthread_mutex_t kmem_registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list_head threads = {&threads, &threads};
static struct list_head caches = {&caches, &caches};
static struct list_head spare_blocks = {&spare_blocks, &spare_blocks};
static uint64_t slot_used[KMEM_SLOTS / 64] = {1}; /* slot 0 stands for none */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool key_made;

/* (registry) */
static void local_release(struct kmem_local *l)
{
	struct kmem_cache *c = l->cache;

	defer_seal(c, l);
	c->ops->drain(c, l);
	l->thread->local[c->slot] = NULL;
	list_del(&l->node);
	barn_put_empty(c, (struct kmem_sheaf *)(void *)l);
}

static void thread_exit(void *arg)
{
	struct kmem_thread *t = arg;

	kmem_self = &kmem_nobody;
	pthread_mutex_lock(&kmem_registry_lock);
	for (unsigned int i = 0; i < KMEM_SLOTS; i++)
		if (t->local[i])
			local_release(t->local[i]);
	list_del(&t->node);
	list_add(&t->node, &spare_blocks);
	pthread_mutex_unlock(&kmem_registry_lock);
}

static void make_key(void)
{
	key_made = !pthread_key_create(&key, thread_exit);
}

/* (registry) */
static struct kmem_thread *block_get(void)
{
	if (!list_empty(&spare_blocks)) {
		struct kmem_thread *t = list_entry(spare_blocks.next, struct kmem_thread, node);
		list_del(&t->node);
		t->node_id = 0;
		return t;
	}
	struct kmem_thread *t =
		mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (t == MAP_FAILED)
		return NULL;
	for (unsigned int i = 0; i < KMEM_SLOTS; i++)
		t->main[i] = &kmem_empty;
	return t;
}

struct kmem_thread *kmem_thread_get(void)
{
	if (kmem_self != &kmem_nobody)
		return kmem_self;
	pthread_once(&once, make_key);
	if (!key_made)
		return NULL;
	pthread_mutex_lock(&kmem_registry_lock);
	struct kmem_thread *t = block_get();
	if (t)
		list_add(&t->node, &threads);
	pthread_mutex_unlock(&kmem_registry_lock);
	if (!t)
		return NULL;
	if (pthread_setspecific(key, t)) {
		pthread_mutex_lock(&kmem_registry_lock);
		list_del(&t->node);
		list_add(&t->node, &spare_blocks);
		pthread_mutex_unlock(&kmem_registry_lock);
		return NULL;
	}
	kmem_self = t;
	return t;
}

unsigned int kmem_thread_node(void)
{
	return kmem_self->node_id;
}

void kmem_thread_set_node(unsigned int node)
{
	struct kmem_thread *t = kmem_thread_get();

	if (t)
		t->node_id = node;
}

struct kmem_local *kmem_local_get(struct kmem_cache *c)
{
	struct kmem_thread *t = c->slot ? kmem_thread_get() : NULL;

	if (!t || t->local[c->slot])
		return t ? t->local[c->slot] : NULL;
	struct kmem_local *l = (void *)barn_get_empty(c, 0);
	if (!l)
		return NULL;
	memset(l, 0, sizeof(*l));
	l->thread = t;
	l->cache = c;
	l->reap_round = atomic_load_explicit(&c->reap_round, memory_order_relaxed);
	t->local[c->slot] = l;
	pthread_mutex_lock(&kmem_registry_lock);
	list_add(&l->node, &c->locals);
	pthread_mutex_unlock(&kmem_registry_lock);
	return l;
}

/* (registry) 0: all are taken. */
static uint32_t slot_get(void)
{
	for (uint32_t i = 0; i < KMEM_SLOTS / 64; i++) {
		if (!~slot_used[i])
			continue;
		uint32_t bit = (uint32_t)__builtin_ctzll(~slot_used[i]);
		slot_used[i] |= 1ull << bit;
		return i * 64 + bit;
	}
	return 0;
}

void kmem_register(struct kmem_cache *c)
{
	pthread_mutex_lock(&kmem_registry_lock);
	c->slot = slot_get();
	list_init(&c->locals);
	list_add_tail(&c->caches, &caches);
	pthread_mutex_unlock(&kmem_registry_lock);
}

void kmem_unregister(struct kmem_cache *c)
{
	struct kmem_local *l, *next;

	pthread_mutex_lock(&kmem_registry_lock);
	list_for_each_entry_safe (l, next, &c->locals, node)
		local_release(l);
	list_del(&c->caches);
	pthread_mutex_unlock(&kmem_registry_lock);
	defer_wait(c);
	pthread_mutex_lock(&kmem_registry_lock);
	/* What was deferred may have gone through a new part of this thread's. */
	list_for_each_entry_safe (l, next, &c->locals, node)
		local_release(l);
	if (c->slot)
		slot_used[c->slot / 64] &= ~(1ull << c->slot % 64);
	pthread_mutex_unlock(&kmem_registry_lock);
}

/* The epoch of the reader that is longest inside, `now` when there is none. */
uint64_t kmem_oldest_reader(uint64_t now)
{
	struct kmem_thread *t;

	pthread_mutex_lock(&kmem_registry_lock);
	list_for_each_entry (t, &threads, node) {
		uint64_t epoch = atomic_load(&t->reader);
		if (epoch && epoch < now)
			now = epoch;
	}
	pthread_mutex_unlock(&kmem_registry_lock);
	return now;
}

void kmem_caches_visit(struct frames *f, void (*visit)(struct kmem_cache *c, void *arg), void *arg)
{
	struct kmem_cache *c;

	pthread_mutex_lock(&kmem_registry_lock);
	list_for_each_entry (c, &caches, caches)
		if (c->frames == f)
			visit(c, arg);
	pthread_mutex_unlock(&kmem_registry_lock);
}
