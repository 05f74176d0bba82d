/* SPDX-License-Identifier: MIT */
/* Object caches and kmalloc under several threads: what one allocates another frees, threads end, readers read. */
#include "../harness.h"
#include "../sim/sim_cpu.h"

#include "../../src/mm/kmalloc.h"

#define THREADS 4
#define MAILBOX 256

#ifdef __SANITIZE_THREAD__
#define ROUNDS 20000
#else
#define ROUNDS 100000
#endif

struct shared {
	struct sim_machine *machine;
	struct kmem_cache cache;
	struct kmalloc kmalloc;
	uint64_t *_Atomic mailbox[MAILBOX]; /* objects on their way to whoever comes by */
	_Atomic uint64_t bad, moved;
	enum kmem_backend backend;
};

static int setup(void **state)
{
	struct sim_config config = {.object_pages = 4096, .normal_pages = 512};
	struct shared *s = aligned_alloc(64, (sizeof(*s) + 63) & ~63ul);

	memset(s, 0, sizeof(*s));
	s->backend = (enum kmem_backend)(uintptr_t)*state;
	s->machine = sim_frames_new(&config);
	*state = s;
	return s->machine ? 0 : -1;
}

static int teardown(void **state)
{
	struct shared *s = *state;
	unsigned int bad = zone_check(&s->machine->frames, ZONE_OBJECT, complain);

	sim_frames_free(s->machine);
	free(s);
	return bad ? -1 : 0;
}

static void run_threads(struct shared *s, void *(*body)(void *))
{
	pthread_t thread[THREADS];

	for (unsigned int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, body, s), 0);
	for (unsigned int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
}

/* An object's words are its address: a second owner would show. */
static void write_mark(uint64_t *p, unsigned int words)
{
	for (unsigned int i = 0; i < words; i++)
		p[i] = (uint64_t)(uintptr_t)p + i;
}

static bool has_mark(const uint64_t *p, unsigned int words)
{
	for (unsigned int i = 0; i < words; i++)
		if (p[i] != (uint64_t)(uintptr_t)p + i)
			return false;
	return true;
}

static void *exchange(void *arg)
{
	struct shared *s = arg;
	uint64_t random = random_seed((uint64_t)(uintptr_t)&random);

	for (unsigned int i = 0; i < ROUNDS; i++) {
		uint64_t *p = kmem_cache_alloc(&s->cache);
		if (p)
			write_mark(p, 12);
		p = atomic_exchange(&s->mailbox[random_below(&random, MAILBOX)], p);
		if (!p)
			continue;
		if (!has_mark(p, 12))
			atomic_fetch_add(&s->bad, 1);
		atomic_fetch_add(&s->moved, 1);
		if (random_below(&random, 50))
			kmem_cache_free(&s->cache, p);
		else
			kmem_cache_free_deferred(&s->cache, p);
		if (random_below(&random, 3000) == 0)
			kmem_cache_shrink(&s->cache);
		if (random_below(&random, 3000) == 0)
			kmem_cache_reap(&s->cache);
	}
	return NULL;
}

static void make(struct shared *s, uint32_t flags, unsigned int nodes)
{
	struct kmem_args args = {.frames = &s->machine->frames,
				 .name = "stress",
				 .object_bytes = 96,
				 .flags = flags,
				 .backend = s->backend,
				 .nodes = nodes};

	assert_int_equal(kmem_cache_init(&s->cache, &args), 0);
}

static void finish(struct shared *s)
{
	uint64_t *p;

	for (unsigned int i = 0; i < MAILBOX; i++)
		if ((p = atomic_exchange(&s->mailbox[i], NULL)))
			kmem_cache_free(&s->cache, p);
	assert_int_equal(kmem_cache_check(&s->cache, complain), 0);
	assert_int_equal(kmem_cache_destroy(&s->cache), 0);
	assert_int_equal(s->bad, 0);
	assert_true(s->moved > ROUNDS);
}

static void objects_change_hands(void **state)
{
	make(*state, 0, 0);
	run_threads(*state, exchange);
	finish(*state);
}

static void debug_caches(void **state)
{
	uint64_t before = kmem_report_count(KMEM_DOUBLE_FREE) + kmem_report_count(KMEM_POISON_HIT) +
			  kmem_report_count(KMEM_RED_ZONE_HIT) + kmem_report_count(KMEM_BAD_POINTER);

	make(*state, KMEM_CONSISTENCY | KMEM_RED_ZONE | KMEM_POISON, 0);
	run_threads(*state, exchange);
	finish(*state);
	assert_int_equal(kmem_report_count(KMEM_DOUBLE_FREE) + kmem_report_count(KMEM_POISON_HIT) +
				 kmem_report_count(KMEM_RED_ZONE_HIT) + kmem_report_count(KMEM_BAD_POINTER),
			 before);
}

static void *exchange_on_a_node(void *arg)
{
	static _Atomic unsigned int next;

	kmem_thread_set_node(atomic_fetch_add(&next, 1) % 2);
	return exchange(arg);
}

static void two_nodes(void **state)
{
	struct shared *s = *state;

	make(s, 0, 2);
	run_threads(s, exchange_on_a_node);
	assert_true(s->backend != KMEM_SLAB || s->cache.stat.alien_frees > 0);
	finish(s);
}

/* Threads that live for a few objects: their sheaves are given back each time. */
static void *short_life(void *arg)
{
	struct shared *s = arg;
	void *p[40];

	for (unsigned int i = 0; i < 40; i++)
		p[i] = kmalloc(&s->kmalloc, 8 + i * 40);
	for (unsigned int i = 0; i < 40; i++) {
		void *other = atomic_exchange(&s->mailbox[i], p[i]);
		kfree(&s->kmalloc, other);
	}
	return NULL;
}

static void threads_come_and_go(void **state)
{
	struct shared *s = *state;

	assert_int_equal(kmalloc_init(&s->kmalloc, &s->machine->frames, s->backend, 0), 0);
	for (unsigned int i = 0; i < 200; i++)
		run_threads(s, short_life);
	for (unsigned int i = 0; i < MAILBOX; i++)
		kfree(&s->kmalloc, atomic_exchange(&s->mailbox[i], NULL));
	assert_int_equal(kmalloc_destroy(&s->kmalloc), 0);
}

/* One replaces an object that the others read without a lock. */
static _Atomic unsigned int role;

static void *read_or_replace(void *arg)
{
	struct shared *s = arg;
	bool writer = atomic_fetch_add(&role, 1) % THREADS == 0;

	for (unsigned int i = 0; i < ROUNDS / 4; i++) {
		if (writer) {
			uint64_t *p = kmem_cache_alloc(&s->cache);
			if (!p)
				continue;
			write_mark(p, 12);
			p = atomic_exchange(&s->mailbox[0], p);
			if (p)
				kmem_cache_free_deferred(&s->cache, p);
			atomic_fetch_add(&s->moved, 1);
			continue;
		}
		kmem_read_lock();
		const uint64_t *p = atomic_load(&s->mailbox[0]);
		if (p && !has_mark(p, 12))
			atomic_fetch_add(&s->bad, 1);
		kmem_read_unlock();
		atomic_fetch_add(&s->moved, 1);
	}
	return NULL;
}

static void lockless_readers(void **state)
{
	make(*state, KMEM_POISON, 0);
	atomic_store(&role, 0);
	run_threads(*state, read_or_replace);
	((struct shared *)*state)->moved += ROUNDS;
	finish(*state);
}

#define ON(backend, name, fn)                                                \
	{                                                                    \
		name, fn, setup, teardown, (void *)(uintptr_t)KMEM_##backend \
	}
#define EACH(name, fn)                                                                      \
	ON(SLUB, "kmem stress: slub: " name, fn), ON(SLAB, "kmem stress: slab: " name, fn), \
		ON(SLOB, "kmem stress: slob: " name, fn), ON(MAGAZINE, "kmem stress: magazine: " name, fn)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		EACH("objects change hands between threads", objects_change_hands),
		EACH("debugging caches raise no false alarm", debug_caches),
		EACH("threads come and go", threads_come_and_go),
		EACH("lockless readers see whole objects", lockless_readers),
		ON(SLAB, "kmem stress: slab: threads on two nodes [E8]", two_nodes),
	};

	/* As in kmem_test.c. */
	setenv("CMOCKA_TEST_ABORT", "1", 1);
	return cmocka_run_group_tests_name("kmem_stress", tests, NULL, NULL);
}
