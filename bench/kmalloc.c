/* SPDX-License-Identifier: MIT */
/*
 * kmalloc.c - one loop over many allocators.
 *
 *	kmalloc NAME time|peak
 *
 * NAME is lodge (kmalloc on SLUB), slab, slob, magazine (kmalloc on these), cache (a kmem_cache where the size is fixed),
 * glibc, jemalloc, mimalloc or tcmalloc. A peer's library is preloaded into a second execution of this program, so that it
 * is what malloc is, as its users have it. Each variant runs in a child of its own; it prints "VARIANT NUMBER": ns per
 * object (time), or KiB that the process had at most beyond what it began with (peak).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../src/mm/kmalloc.h"
#include "prog/clock.h"

#define RUN_NS 12000000u /* what a variant takes at least */
#define BATCH  1000
#define LARSON 1000
#define RING   1024
#define LIVE   120000

struct allocator {
	void *(*take)(size_t bytes);
	void (*give)(void *p);
	void *(*resize)(void *p, size_t bytes);
};

static struct allocator a;
static struct frames frames;
static struct kmalloc heap;
static struct kmem_cache fixed;

/* --- lodge ----------------------------------------------------------------------------------------------------------- */

static int add_bank(void *ctx, enum zone_type zone, pfn_t start, uint64_t *nr_pages)
{
	(void)ctx;
	(void)zone;
	(void)start;
	(void)nr_pages;
	return 0; /* the whole range is mapped already */
}

static void *heap_take(size_t bytes)
{
	return kmalloc(&heap, bytes);
}

static void heap_give(void *p)
{
	kfree(&heap, p);
}

static void *heap_resize(void *p, size_t bytes)
{
	return krealloc(&heap, p, bytes);
}

static void *fixed_take(size_t bytes)
{
	(void)bytes;
	return kmem_cache_alloc(&fixed);
}

static void fixed_give(void *p)
{
	kmem_cache_free(&fixed, p);
}

static const struct allocator heap_allocator = {heap_take, heap_give, heap_resize};
static const struct allocator fixed_allocator = {fixed_take, fixed_give, heap_resize};
static const struct allocator malloc_allocator = {malloc, free, realloc};

static int lodge_init(enum kmem_backend backend)
{
	static const struct bank_ops ops = {.add_bank = add_bank};
	uint64_t bytes = NORMAL_START_PFN << PAGE_SHIFT;
	char *map = mmap(NULL, bytes + PMD_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (map == MAP_FAILED)
		return -ENOMEM;
	map = (char *)(((uintptr_t)map + PMD_SIZE - 1) & PMD_MASK);
	int err = frames_init(&frames, map, NORMAL_START_PFN, &ops, NULL);
	return err ? err : kmalloc_init(&heap, &frames, backend, 0);
}

static void use_cache(size_t bytes)
{
	struct kmem_args args = {.frames = &frames, .name = "bench", .object_bytes = bytes};

	if (!kmem_cache_init(&fixed, &args))
		a = fixed_allocator;
}

/* --- loops: each returns ns per object ------------------------------------------------------------------------------- */

static void touch(void *p)
{
	*(volatile char *)p = 1;
}

static double pair(size_t bytes)
{
	uint64_t start = clock_now_ns(), now, nr = 0;

	do {
		for (unsigned int i = 0; i < 20000; i++) {
			void *p = a.take(bytes);
			touch(p);
			a.give(p);
		}
		nr += 20000;
		now = clock_now_ns();
	} while (now - start < RUN_NS);
	return (double)(now - start) / (double)nr;
}

static double batch(size_t bytes, bool fifo)
{
	static void *p[BATCH];
	uint64_t start = clock_now_ns(), now, nr = 0;

	do {
		for (unsigned int round = 0; round < 10; round++) {
			for (unsigned int i = 0; i < BATCH; i++)
				touch(p[i] = a.take(bytes));
			for (unsigned int i = 0; i < BATCH; i++)
				a.give(p[fifo ? i : BATCH - 1 - i]);
		}
		nr += 10 * BATCH;
		now = clock_now_ns();
	} while (now - start < RUN_NS);
	return (double)(now - start) / (double)nr;
}

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static size_t random_bytes(uint64_t *x)
{
	return 8 + next_random(x) % 1017;
}

/* 1000 objects, of which a random one is replaced. */
static void churn(void **p, unsigned int nr, uint64_t *x)
{
	for (unsigned int i = 0; i < nr; i++) {
		unsigned int j = (unsigned int)(next_random(x) % LARSON);
		if (p[j])
			a.give(p[j]);
		touch(p[j] = a.take(random_bytes(x)));
	}
}

static double random_sizes(size_t bytes)
{
	static void *p[LARSON];
	uint64_t start = clock_now_ns(), now, nr = 0, x = 88172645463325252ull;

	(void)bytes;
	do {
		churn(p, 10000, &x);
		nr += 10000;
		now = clock_now_ns();
	} while (now - start < 2 * RUN_NS);
	return (double)(now - start) / (double)nr;
}

/* A buffer that grows by half from 16 bytes to 64 KiB. */
static double growth(size_t bytes)
{
	uint64_t start = clock_now_ns(), now, nr = 0;

	(void)bytes;
	do {
		char *p = NULL;
		for (size_t n = 16; n < 65536; n += n / 2) {
			p = a.resize(p, n);
			touch(p + n - 1);
			nr++;
		}
		a.give(p);
		now = clock_now_ns();
	} while (now - start < RUN_NS);
	return (double)(now - start) / (double)nr;
}

static struct {
	void *_Atomic slot[RING];
} ring;

#define CROSS 400000

static void *consume(void *arg)
{
	for (unsigned int i = 0; i < CROSS; i++) {
		void *p;
		while (!(p = atomic_load_explicit(&ring.slot[i % RING], memory_order_acquire)))
			;
		atomic_store_explicit(&ring.slot[i % RING], NULL, memory_order_release);
		a.give(p);
	}
	return arg;
}

static double cross_thread(size_t bytes)
{
	pthread_t thread;
	uint64_t start = clock_now_ns();

	if (pthread_create(&thread, NULL, consume, NULL))
		return -1;
	for (unsigned int i = 0; i < CROSS; i++) {
		void *p = a.take(bytes);
		touch(p);
		while (atomic_load_explicit(&ring.slot[i % RING], memory_order_acquire))
			;
		atomic_store_explicit(&ring.slot[i % RING], p, memory_order_release);
	}
	pthread_join(thread, NULL);
	return (double)(clock_now_ns() - start) / CROSS;
}

/* After Larson and Krishnan: threads hand their objects to a successor and end. */
struct larson {
	void *p[LARSON];
	uint64_t x;
};

static void *larson_thread(void *arg)
{
	struct larson *l = arg;

	churn(l->p, 10000, &l->x);
	return NULL;
}

static double larson(size_t bytes)
{
	static struct larson l[2] = {{.x = 1234567}, {.x = 7654321}};
	uint64_t start = clock_now_ns();
	const unsigned int rounds = 20;

	(void)bytes;
	for (unsigned int round = 0; round < rounds; round++) {
		pthread_t thread[2];
		for (unsigned int i = 0; i < 2; i++)
			if (pthread_create(&thread[i], NULL, larson_thread, &l[(i + round) % 2]))
				return -1;
		for (unsigned int i = 0; i < 2; i++)
			pthread_join(thread[i], NULL);
	}
	return (double)(clock_now_ns() - start) / (2 * 10000 * rounds);
}

/* Grows to LIVE objects of 8..1024 bytes, all touched, while every third one is freed again. */
static double live_set(size_t bytes)
{
	static void *p[LIVE];
	uint64_t x = 424242;

	(void)bytes;
	for (unsigned int i = 0; i < LIVE; i++) {
		size_t n = random_bytes(&x);
		memset(p[i] = a.take(n), 1, n);
		if (i % 3 == 2) {
			unsigned int j = (unsigned int)(next_random(&x) % i);
			a.give(p[j]);
			n = random_bytes(&x);
			memset(p[j] = a.take(n), 1, n);
		}
	}
	return 1;
}

static double lifo(size_t bytes)
{
	return batch(bytes, false);
}

static double fifo(size_t bytes)
{
	return batch(bytes, true);
}

static const struct variant {
	const char *name;
	double (*run)(size_t bytes);
	size_t bytes; /* 0: not fixed */
	bool peak;    /* prints memory, not time */
} variants[] = {
	{"pair-16", pair, 16},
	{"pair-64", pair, 64},
	{"pair-256", pair, 256},
	{"pair-1024", pair, 1024},
	{"lifo-16", lifo, 16},
	{"lifo-64", lifo, 64},
	{"lifo-256", lifo, 256},
	{"lifo-1024", lifo, 1024},
	{"fifo-16", fifo, 16},
	{"fifo-64", fifo, 64},
	{"fifo-256", fifo, 256},
	{"fifo-1024", fifo, 1024},
	{"random", random_sizes},
	{"realloc", growth},
	{"cross-64", cross_thread, 64},
	{"larson", larson},
	{"larson-peak", larson, 0, true},
	{"live-peak", live_set, 0, true},
};

static long resident_kib(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return r.ru_maxrss;
}

static int run_variant(const struct variant *v, bool cache)
{
	long before = resident_kib();

	if (cache && v->bytes)
		use_cache(v->bytes);
	double ns = v->run(v->bytes);
	if (ns < 0)
		return 1;
	printf("%s %.3f\n", v->name, v->peak ? (double)(resident_kib() - before + 1) : ns);
	return fflush(stdout) ? 1 : 0;
}

static int run_all(bool cache, bool peak)
{
	for (size_t i = 0; i < ARRAY_SIZE(variants); i++) {
		int status = 1;
		if (variants[i].peak != peak)
			continue;
		pid_t pid = fork();
		if (!pid)
			_exit(run_variant(&variants[i], cache));
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
			return 1;
	}
	return 0;
}

static const struct {
	const char *name, *library;
} peers[] = {
	{"glibc", NULL},
	{"jemalloc", "libjemalloc.so.2"},
	{"mimalloc", "libmimalloc.so.2"},
	{"tcmalloc", "libtcmalloc_minimal.so.4"},
};

static const struct {
	const char *name;
	enum kmem_backend backend;
} ours[] = {
	{"lodge", KMEM_SLUB}, {"cache", KMEM_SLUB},	   {"slab", KMEM_SLAB},
	{"slob", KMEM_SLOB},  {"magazine", KMEM_MAGAZINE},
};

int main(int argc, char **argv)
{
	const char *name = argc == 3 ? argv[1] : "";
	bool peak = argc == 3 && !strcmp(argv[2], "peak");

	for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
		if (strcmp(name, ours[i].name) != 0)
			continue;
		a = heap_allocator;
		return lodge_init(ours[i].backend) ? 1 : run_all(!strcmp(name, "cache"), peak);
	}
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		if (strcmp(name, peers[i].name) != 0)
			continue;
		if (peers[i].library && !getenv("LD_PRELOAD")) {
			setenv("LD_PRELOAD", peers[i].library, 1);
			execv("/proc/self/exe", argv);
			return 1;
		}
		a = malloc_allocator;
		return run_all(false, peak);
	}
	fputs("usage: kmalloc lodge|cache|slab|slob|magazine|glibc|jemalloc|mimalloc|tcmalloc time|peak\n",
	      stderr);
	return 2;
}
