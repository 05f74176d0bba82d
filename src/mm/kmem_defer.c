/* SPDX-License-Identifier: MIT */
/*
 * kmem_defer.c - frees that wait for lockless readers.
 *
 * A reader announces the epoch in which it began. A thread's deferred frees gather in a sheaf; when it is sealed, the
 * epoch advances and the sheaf is stamped with the new one. A reader that announces this epoch or a later one began after
 * the sealing and cannot have found the objects; when no older reader is left they are freed.
 * Source: Fraser, "Practical lock-freedom" (2004), epoch-based reclamation, with batches in place of three limbo lists.
 *   D1  a reader that announced epoch e sees every unlinking that came before the epoch became e
 * Locking: defer_lock (before the registry's) guards the waiting lists. Without memory for a sheaf the caller waits for readers
 * itself; it must not be one.
 */
#include <sched.h>

#include "barn.h"

static _Atomic uint64_t epoch = 1;
static pthread_mutex_t defer_lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

void kmem_read_lock(void)
{
	struct kmem_thread *t = kmem_thread_get();

	/* A thread without a block, for want of memory, keeps every epoch from ending instead. */
	if (!t) {
		pthread_mutex_lock(&defer_lock);
		return;
	}
	if (t->nest++)
		return;
	uint64_t e;
	do {
		e = atomic_load(&epoch);
		atomic_store(&t->reader, e); /* a full fence: nothing is read before it can be seen */
	} while (e != atomic_load(&epoch));
}

void kmem_read_unlock(void)
{
	struct kmem_thread *t = kmem_self;

	if (!t->nest)
		pthread_mutex_unlock(&defer_lock);
	else if (!--t->nest)
		atomic_store_explicit(&t->reader, 0, memory_order_release);
}

static void free_sheaf(struct kmem_cache *c, struct kmem_sheaf *s)
{
	kmem_cache_free_bulk(c, sheaf_avail(s), s->entry);
	barn_put_empty(c, s);
}

void defer_seal(struct kmem_cache *c, struct kmem_local *l)
{
	struct kmem_sheaf *s = l->deferred, **end;

	if (!s)
		return;
	l->deferred = NULL;
	s->next = NULL;
	s->epoch = atomic_fetch_add(&epoch, 1) + 1;
	pthread_mutex_lock(&c->barn.lock);
	for (end = &c->waiting; *end; end = &(*end)->next)
		;
	*end = s;
	pthread_mutex_unlock(&c->barn.lock);
}

static struct kmem_sheaf *take_ready(struct kmem_cache *c, uint64_t oldest)
{
	pthread_mutex_lock(&c->barn.lock);
	struct kmem_sheaf *s = c->waiting;
	if (s && s->epoch <= oldest)
		c->waiting = s->next;
	else
		s = NULL;
	pthread_mutex_unlock(&c->barn.lock);
	return s;
}

static uint64_t oldest_reader(void)
{
	pthread_mutex_lock(&defer_lock);
	uint64_t oldest = kmem_oldest_reader(atomic_load(&epoch));
	pthread_mutex_unlock(&defer_lock);
	return oldest;
}

static bool is_waiting(struct kmem_cache *c)
{
	pthread_mutex_lock(&c->barn.lock);
	bool waiting = c->waiting;
	pthread_mutex_unlock(&c->barn.lock);
	return waiting;
}

bool defer_poll(struct kmem_cache *c)
{
	uint64_t oldest = is_waiting(c) ? oldest_reader() : 0;
	struct kmem_sheaf *s;
	bool some = false;

	while ((s = take_ready(c, oldest))) {
		free_sheaf(c, s);
		some = true;
	}
	return some;
}

static void wait_for_readers(void)
{
	uint64_t now = atomic_fetch_add(&epoch, 1) + 1;

	while (oldest_reader() < now)
		sched_yield();
}

void defer_wait(struct kmem_cache *c)
{
	if (!is_waiting(c))
		return;
	wait_for_readers();
	defer_poll(c);
}

/* The sheaf that gathers this thread's deferred frees, with room; NULL: no memory. */
static struct kmem_sheaf *gathering(struct kmem_cache *c, struct kmem_local *l)
{
	if (l->deferred && sheaf_avail(l->deferred) == l->deferred->limit)
		defer_seal(c, l);
	if (!l->deferred) {
		defer_poll(c);
		l->deferred = barn_get_empty(c, c->sheaf_limit);
	}
	return l->deferred;
}

void kmem_cache_free_deferred(struct kmem_cache *c, void *object)
{
	struct kmem_local *l = kmem_local_get(c);
	struct kmem_sheaf *s = l ? gathering(c, l) : NULL;

	KMEM_COUNT(c, deferred);
	if (s) {
		sheaf_push(s, object);
		return;
	}
	wait_for_readers();
	kmem_cache_free(c, object);
}
