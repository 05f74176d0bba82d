/* SPDX-License-Identifier: MIT */
/*
 * Object caches and kmalloc: one conformance test and one model test over all back-ends, then what each back-end promises
 * by itself, looked at from the inside.
 */
#include "../harness.h"
#include "../sim/sim_cpu.h"

#include "../../src/mm/barn.h"
#include "../../src/mm/kmalloc.h"
#include "../../src/mm/slab.h"
#include "../../src/mm/slob.h"

#define OBJECT_PAGES 1024

struct scene {
	struct sim_machine *machine;
	struct frames *frames;
	enum kmem_backend backend;
	uint64_t reports[NR_KMEM_PROBLEMS];
};

static const char *const backend_names[] = {"slub", "slab", "slob", "magazine"};

static int setup(void **state)
{
	struct sim_config config = {.object_pages = OBJECT_PAGES, .normal_pages = 512};
	struct scene *s = calloc(1, sizeof(*s));

	s->backend = (enum kmem_backend)(uintptr_t)*state;
	s->machine = sim_frames_new(&config);
	s->frames = &s->machine->frames;
	*state = s;
	return s->machine ? 0 : -1;
}

/* Frames of the object zone that somebody has: none, when every cache is gone. */
static uint64_t used_frames(struct frames *f)
{
	struct zone *z = &f->zone[ZONE_OBJECT];
	uint64_t nr = 0;

	for (pfn_t pfn = z->start_pfn; pfn < z->fresh_pfn; pfn++)
		nr += pfn_to_page(f, pfn)->refs != 0;
	return nr;
}

static int teardown(void **state)
{
	struct scene *s = *state;
	uint64_t used = used_frames(s->frames) + zone_check(s->frames, ZONE_OBJECT, complain);

	if (used)
		print_error("# %s: %llu frames were not given back\n", backend_names[s->backend],
			    (unsigned long long)used);
	kmem_report_to(NULL);
	sim_frames_free(s->machine);
	free(s);
	return used ? -1 : 0;
}

static void make(struct scene *s, struct kmem_cache *c, size_t bytes, uint32_t flags)
{
	struct kmem_args args = {.frames = s->frames,
				 .name = "test",
				 .object_bytes = bytes,
				 .flags = flags,
				 .backend = s->backend};

	assert_int_equal(kmem_cache_init(c, &args), 0);
}

static uint64_t active(struct kmem_cache *c)
{
	struct kmem_info info;

	kmem_cache_info(c, &info);
	return info.active_objects;
}

static void assert_sound(struct kmem_cache *c)
{
	assert_int_equal(kmem_cache_check(c, complain), 0);
}

/* Every object goes to its slab and comes from there: for looking at slabs. */
static uint32_t without_sheaves(struct kmem_cache *c)
{
	uint32_t slot = c->slot;

	atomic_store(&c->fast, 0);
	c->slot = 0;
	return slot;
}

static void destroy_without_sheaves(struct kmem_cache *c, uint32_t slot)
{
	c->slot = slot;
	assert_int_equal(kmem_cache_destroy(c), 0);
}

/* --- conformance --------------------------------------------------------------------------------------------------- */

static void objects_are_apart(void **state)
{
	static const size_t sizes[] = {1, 8, 17, 64, 96, 200, 256, 1000, 1024, 3000, 4096, 8192, 20000};
	struct scene *s = *state;
	struct kmem_cache c;
	char *object[150];

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t bytes = sizes[i];
		unsigned int nr = bytes > 4000 ? 20 : ARRAY_SIZE(object);
		make(s, &c, bytes, 0);
		for (unsigned int j = 0; j < nr; j++) {
			object[j] = kmem_cache_alloc(&c);
			assert_non_null(object[j]);
			assert_int_equal((uintptr_t)object[j] % (bytes < 16 ? 8 : 16), 0);
			memset(object[j], (int)j + 1, bytes);
		}
		assert_int_equal(active(&c), nr);
		for (unsigned int j = 0; j < nr; j++)
			for (size_t b = 0; b < bytes; b++)
				assert_int_equal((uint8_t)object[j][b], (uint8_t)(j + 1));
		assert_sound(&c);
		for (unsigned int j = 0; j < nr; j++)
			kmem_cache_free(&c, object[j * 7 % nr == j ? j : j]);
		assert_int_equal(active(&c), 0);
		assert_sound(&c);
		assert_int_equal(kmem_cache_destroy(&c), 0);
		assert_int_equal(used_frames(s->frames), 0);
	}
}

static void alignment(void **state)
{
	struct scene *s = *state;

	for (size_t align = 8; align <= 4096; align *= 2) {
		struct kmem_args args = {.frames = s->frames,
					 .name = "test",
					 .object_bytes = 40,
					 .align = align,
					 .backend = s->backend};
		struct kmem_cache c;
		void *p[10];

		assert_int_equal(kmem_cache_init(&c, &args), 0);
		for (unsigned int i = 0; i < ARRAY_SIZE(p); i++) {
			p[i] = kmem_cache_alloc(&c);
			assert_int_equal((uintptr_t)p[i] % align, 0);
		}
		kmem_cache_free_bulk(&c, ARRAY_SIZE(p), p);
		assert_int_equal(kmem_cache_destroy(&c), 0);
	}
}

static void bad_arguments(void **state)
{
	struct scene *s = *state;
	struct kmem_args args = {.frames = s->frames,
				 .name = "test",
				 .object_bytes = 64,
				 .backend = s->backend};
	struct kmem_args bad;
	struct kmem_cache c;

	bad = args, bad.object_bytes = 0;
	assert_int_equal(kmem_cache_init(&c, &bad), -EINVAL);
	bad = args, bad.object_bytes = KMALLOC_MAX + 1;
	assert_int_equal(kmem_cache_init(&c, &bad), -EINVAL);
	bad = args, bad.align = 24;
	assert_int_equal(kmem_cache_init(&c, &bad), -EINVAL);
	bad = args, bad.nodes = KMEM_MAX_NODES + 1;
	assert_int_equal(kmem_cache_init(&c, &bad), -EINVAL);
	assert_int_equal(kmem_cache_init(&c, &args), 0);
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

static unsigned int constructed;

static void construct(void *object)
{
	memset(object, 0x3c, 48);
	constructed++;
}

static void constructor(void **state)
{
	struct scene *s = *state;
	struct kmem_args args = {.frames = s->frames,
				 .name = "test",
				 .object_bytes = 48,
				 .ctor = construct,
				 .backend = s->backend};
	struct kmem_cache c;
	uint8_t *p[300];

	constructed = 0;
	assert_int_equal(kmem_cache_init(&c, &args), 0);
	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(p); i++) {
			p[i] = kmem_cache_alloc(&c);
			for (unsigned int b = 0; b < 48; b++)
				assert_int_equal(p[i][b], 0x3c);
		}
		for (unsigned int i = 0; i < ARRAY_SIZE(p); i++)
			kmem_cache_free(&c, p[i]);
	}
	if (s->backend == KMEM_SLOB)
		assert_int_equal(constructed, 900);
	else
		assert_in_range(constructed, 300,
				600); /* not again for an object that was freed as it should be */
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

static void zeroed(void **state)
{
	struct kmem_cache c;
	uint8_t *p;

	make(*state, &c, 100, 0);
	for (unsigned int i = 0; i < 300; i++) {
		p = kmem_cache_zalloc(&c);
		for (unsigned int b = 0; b < 100; b++)
			assert_int_equal(p[b], 0);
		memset(p, 0xff, 100);
		kmem_cache_free(&c, p);
	}
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

static unsigned int fill(struct kmem_cache *c, void **p, unsigned int most)
{
	unsigned int n = 0;

	while (n < most && (p[n] = kmem_cache_alloc(c)))
		n++;
	return n;
}

static void exhaustion(void **state)
{
	static void *p[OBJECT_PAGES * 8], *more[8];
	static const size_t sizes[] = {600, 2048, 8192, 30000};
	struct scene *s = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct kmem_cache c;
		make(s, &c, sizes[i], 0);
		unsigned int n = fill(&c, p, ARRAY_SIZE(p));
		assert_in_range(n, OBJECT_PAGES / 16, ARRAY_SIZE(p) - 1);
		uint64_t frames = used_frames(s->frames), objects = active(&c);
		assert_int_equal(objects, n);
		assert_null(kmem_cache_alloc(&c));
		assert_int_equal(kmem_cache_alloc_bulk(&c, ARRAY_SIZE(more), more), 0);
		assert_int_equal(active(&c), objects);
		assert_int_equal(used_frames(s->frames), frames);
		assert_sound(&c);
		kmem_cache_free(&c, p[--n]);
		p[n] = kmem_cache_alloc(&c);
		assert_non_null(p[n++]);
		kmem_cache_free_bulk(&c, n, p);
		assert_int_equal(active(&c), 0);
		assert_int_equal(kmem_cache_destroy(&c), 0);
	}
}

static void bulk(void **state)
{
	struct kmem_cache c;
	void *p[1000];

	make(*state, &c, 64, 0);
	assert_int_equal(kmem_cache_alloc_bulk(&c, 0, p), 0);
	for (unsigned int n = 1; n <= ARRAY_SIZE(p); n = n * 3 + 1) {
		assert_int_equal(kmem_cache_alloc_bulk(&c, n, p), n);
		assert_int_equal(active(&c), n);
		for (unsigned int i = 0; i < n; i++)
			memset(p[i], (int)i, 64);
		for (unsigned int i = 0; i < n; i++)
			assert_int_equal(((uint8_t *)p[i])[63], (uint8_t)i);
		kmem_cache_free_bulk(&c, n, p);
		assert_int_equal(active(&c), 0);
	}
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

/* The n-th block of frames fails, for each n: the calls that fail change nothing. */
static void fail_the_nth(void **state)
{
	struct scene *s = *state;
	unsigned int injected = 0;

	for (long n = 1; n < 40; n++) {
		struct kmem_cache c;
		void *p[200];
		unsigned int have = 0, failed = 0;

		make(s, &c, 500, 0);
		uint64_t before = s->frames->nr_fail;
		s->frames->fail_in = n;
		for (unsigned int i = 0; i < ARRAY_SIZE(p); i++) {
			p[have] = kmem_cache_alloc(&c);
			failed += !p[have];
			have += p[have] != NULL;
			assert_int_equal(active(&c), have);
		}
		s->frames->fail_in = 0;
		assert_sound(&c);
		injected += s->frames->nr_fail != before;
		assert_true(failed <= 1);
		kmem_cache_free_bulk(&c, have, p);
		assert_int_equal(kmem_cache_destroy(&c), 0);
		assert_int_equal(used_frames(s->frames), 0);
	}
	assert_in_range(injected, 10, 40);
}

static void shrink_gives_back(void **state)
{
	struct scene *s = *state;
	struct kmem_cache c;
	void *p[500];

	make(s, &c, 256, 0);
	assert_int_equal(kmem_cache_alloc_bulk(&c, ARRAY_SIZE(p), p), ARRAY_SIZE(p));
	uint64_t most = used_frames(s->frames);
	assert_in_range(most, 500 / 16, 60);
	kmem_cache_free_bulk(&c, ARRAY_SIZE(p), p);
	kmem_cache_shrink(&c);
	/* The thread's part, and what the node shares. */
	assert_in_range(used_frames(s->frames), 0, 2);
	assert_sound(&c);
	p[0] = kmem_cache_alloc(&c);
	assert_non_null(p[0]);
	kmem_cache_free(&c, p[0]);
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

static void destroy_counts_leaks(void **state)
{
	struct scene *s = *state;
	struct kmem_cache c;

	for (unsigned int n = 1; n < 300; n += 37) {
		make(s, &c, 64, 0);
		for (unsigned int i = 0; i < n; i++)
			assert_non_null(kmem_cache_alloc(&c));
		uint64_t leaks = kmem_report_count(KMEM_LEAK);
		assert_int_equal(kmem_cache_destroy(&c), n);
		assert_true(kmem_report_count(KMEM_LEAK) > leaks);
		assert_int_equal(used_frames(s->frames), 0);
	}
}

static void induced_failures(void **state)
{
	struct kmem_cache c;
	void *p;

	make(*state, &c, 64, 0);
	kmem_cache_fail_every(&c, 3);
	for (unsigned int i = 1; i <= 30; i++) {
		p = kmem_cache_alloc(&c);
		assert_int_equal(p == NULL, i % 3 == 0);
		if (p)
			kmem_cache_free(&c, p);
	}
	assert_int_equal(c.stat.fails, 10);
	kmem_cache_fail_every(&c, 0);
	for (unsigned int i = 0; i < 30; i++) {
		p = kmem_cache_alloc(&c);
		assert_non_null(p);
		kmem_cache_free(&c, p);
	}
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

/* --- the model: a set of objects, each filled with a number of its own ---------------------------------------------- */

#define MODEL_OBJECTS 2000

struct model {
	struct kmem_cache *cache;
	uint64_t random;
	size_t bytes;
	unsigned int nr;
	struct {
		uint64_t *p, mark;
	} object[MODEL_OBJECTS];
};

static void model_add(struct model *m, void *p)
{
	uint64_t mark = random_next(&m->random);

	m->object[m->nr].p = p;
	m->object[m->nr++].mark = mark;
	for (size_t i = 0; i < m->bytes / 8; i++)
		((uint64_t *)p)[i] = mark;
}

static void *model_remove(struct model *m, unsigned int i)
{
	uint64_t *p = m->object[i].p;

	for (size_t b = 0; b < m->bytes / 8; b++)
		assert_int_equal(p[b], m->object[i].mark);
	m->object[i] = m->object[--m->nr];
	return p;
}

static void model_bulk(struct model *m)
{
	unsigned int n = (unsigned int)random_below(&m->random, 200);
	void *p[200];

	if (m->nr + n > MODEL_OBJECTS) {
		for (unsigned int i = 0; i < n; i++)
			p[i] = model_remove(m, (unsigned int)random_below(&m->random, m->nr));
		kmem_cache_free_bulk(m->cache, n, p);
	} else if (kmem_cache_alloc_bulk(m->cache, n, p)) {
		for (unsigned int i = 0; i < n; i++)
			model_add(m, p[i]);
	}
}

static void model_step(struct model *m)
{
	uint64_t what = random_below(&m->random, 1000);

	if (what < 3) {
		kmem_cache_shrink(m->cache);
	} else if (what < 6) {
		kmem_cache_reap(m->cache);
	} else if (what < 30) {
		model_bulk(m);
	} else if (what < 60 && m->nr) {
		kmem_cache_free_deferred(m->cache,
					 model_remove(m, (unsigned int)random_below(&m->random, m->nr)));
	} else if (random_below(&m->random, MODEL_OBJECTS) < m->nr) {
		kmem_cache_free(m->cache, model_remove(m, (unsigned int)random_below(&m->random, m->nr)));
	} else {
		void *p = kmem_cache_alloc(m->cache);
		if (p)
			model_add(m, p);
	}
}

static void model_run(struct scene *s, uint64_t seed, uint32_t flags, unsigned int steps)
{
	static const size_t sizes[] = {8, 16, 24, 64, 128, 320, 1024, 1700};
	struct kmem_cache c;
	struct model *m = calloc(1, sizeof(*m));

	m->random = random_seed(seed);
	m->cache = &c;
	m->bytes = sizes[random_below(&m->random, ARRAY_SIZE(sizes))];
	make(s, &c, m->bytes, flags);
	for (unsigned int i = 0; i < steps; i++) {
		if (i % 512 == 0) {
			s->frames->fail_in = (long)random_below(&m->random, 50);
			if (kmem_cache_check(&c, complain))
				fail_msg("%s: seed %llu, step %u", backend_names[s->backend],
					 (unsigned long long)seed, i);
		}
		model_step(m);
	}
	s->frames->fail_in = 0;
	while (m->nr)
		kmem_cache_free(&c, model_remove(m, m->nr - 1));
	assert_sound(&c);
	assert_int_equal(kmem_cache_destroy(&c), 0);
	free(m);
}

static void model(void **state)
{
	struct scene *s = *state;
	uint64_t fails = s->frames->nr_fail;

	for (uint64_t seed = 1; seed <= 16; seed++)
		model_run(s, seed, 0, 20000);
	assert_true(s->frames->nr_fail > fails);
}

static void model_debug(void **state)
{
	struct scene *s = *state;
	uint64_t before[NR_KMEM_PROBLEMS];

	for (unsigned int i = 0; i < NR_KMEM_PROBLEMS; i++)
		before[i] = kmem_report_count(i);
	for (uint64_t seed = 100; seed < 104; seed++)
		model_run(s, seed, KMEM_DEBUG & ~KMEM_STORE_USER, 5000);
	for (unsigned int i = 0; i < NR_KMEM_PROBLEMS; i++)
		assert_int_equal(kmem_report_count(i), before[i]);
}

/* --- debugging ------------------------------------------------------------------------------------------------------ */

static struct kmem_report last_report;
static struct kmem_track last_alloc, last_free;

static void remember(const struct kmem_report *r)
{
	last_report = *r;
	if (r->alloc)
		last_alloc = *r->alloc;
	if (r->free)
		last_free = *r->free;
}

static void expect_report(enum kmem_problem problem, uint64_t before, const void *object)
{
	assert_int_equal(kmem_report_count(problem), before + 1);
	assert_int_equal(last_report.problem, problem);
	assert_ptr_equal(last_report.object, object);
}

static void red_zones(void **state)
{
	struct kmem_cache c;
	uint8_t *p;

	kmem_report_to(remember);
	make(*state, &c, 60, KMEM_DEBUG);
	for (int where = -1; where <= 60; where += 61) {
		p = kmem_cache_alloc(&c);
		assert_int_equal(p[-1], 0xcc);
		assert_int_equal(p[60], 0xcc);
		uint64_t before = kmem_report_count(KMEM_RED_ZONE_HIT);
		p[where] = 1;
		kmem_cache_free(&c, p);
		expect_report(KMEM_RED_ZONE_HIT, before, p);
		if (((struct scene *)*state)->backend != KMEM_SLOB)
			assert_int_equal(p[-1], 0xbb);
	}
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

static void poison(void **state)
{
	struct kmem_cache c;
	uint8_t *p, *again;

	kmem_report_to(remember);
	make(*state, &c, 64, KMEM_POISON);
	p = kmem_cache_alloc(&c);
	memset(p, 1, 64);
	kmem_cache_free(&c, p);
	assert_int_equal(p[8], 0x6b);
	assert_int_equal(p[62], 0x6b);
	assert_int_equal(p[63], 0xa5);
	uint64_t before = kmem_report_count(KMEM_POISON_HIT);
	p[20] = 7; /* use after free */
	again = kmem_cache_alloc(&c);
	assert_ptr_equal(again, p);
	expect_report(KMEM_POISON_HIT, before, p);
	kmem_cache_free(&c, again);
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

static void double_free(void **state)
{
	struct kmem_cache c;
	void *p, *q;

	kmem_report_to(remember);
	make(*state, &c, 64, KMEM_CONSISTENCY);
	p = kmem_cache_alloc(&c);
	q = kmem_cache_alloc(&c);
	kmem_cache_free(&c, p);
	uint64_t before = kmem_report_count(KMEM_DOUBLE_FREE);
	kmem_cache_free(&c, p);
	expect_report(KMEM_DOUBLE_FREE, before, p);
	assert_int_equal(active(&c), 1);
	kmem_cache_free(&c, q);
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

static void plain_double_free(void **state)
{
	struct kmem_cache c;
	void *p, *q;
	uint32_t slot;

	kmem_report_to(remember);
	make(*state, &c, 64, 0);
	slot = without_sheaves(&c);
	p = kmem_cache_alloc(&c);
	q = kmem_cache_alloc(&c);
	kmem_cache_free(&c, p);
	uint64_t before = kmem_report_count(KMEM_DOUBLE_FREE);
	kmem_cache_free(&c, p);
	expect_report(KMEM_DOUBLE_FREE, before, p);
	kmem_cache_free(&c, q);
	assert_sound(&c);
	destroy_without_sheaves(&c, slot);
}

static void wrong_cache(void **state)
{
	struct scene *s = *state;
	/* SLOB's caches share frames: without debugging it cannot know. */
	uint32_t flags = s->backend == KMEM_SLOB ? KMEM_CONSISTENCY : 0;
	enum kmem_problem problem = s->backend == KMEM_SLOB ? KMEM_BAD_POINTER : KMEM_WRONG_CACHE;
	struct kmem_cache a, b;
	void *p;

	kmem_report_to(remember);
	make(s, &a, 64, flags);
	make(s, &b, 64, flags);
	p = kmem_cache_alloc(&a);
	kmem_cache_free(&b, kmem_cache_alloc(&b));
	uint64_t before = kmem_report_count(problem);
	kmem_cache_free(&b, p);
	expect_report(problem, before, p);
	assert_int_equal(active(&a), 1);
	assert_int_equal(active(&b), 0);
	kmem_cache_free(&a, p);
	assert_int_equal(kmem_cache_destroy(&a) + kmem_cache_destroy(&b), 0);
}

static void bad_pointers(void **state)
{
	struct scene *s = *state;
	struct kmem_cache c;
	char *p;

	kmem_report_to(remember);
	make(s, &c, 64, KMEM_CONSISTENCY);
	p = kmem_cache_alloc(&c);
	uint64_t before = kmem_report_count(KMEM_BAD_POINTER);
	kmem_cache_free(&c, p + 8);
	expect_report(KMEM_BAD_POINTER, before, p + 8);
	struct page *page = page_alloc(s->frames, GFP_OBJECT, 0);
	kmem_cache_free(&c, page_address(s->frames, page));
	expect_report(KMEM_BAD_POINTER, before + 1, page_address(s->frames, page));
	page_free(s->frames, page);
	kmem_cache_free(&c, &before);
	expect_report(KMEM_BAD_POINTER, before + 2, &before);
	kmem_cache_free(&c, p);
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

static void tracks(void **state)
{
	struct kmem_cache c;
	void *p, *q;

	kmem_report_to(remember);
	memset(&last_alloc, 0, sizeof(last_alloc));
	memset(&last_free, 0, sizeof(last_free));
	make(*state, &c, 64, KMEM_STORE_USER);
	p = kmem_cache_alloc(&c);
	q = kmem_cache_alloc(&c);
	kmem_cache_free(&c, p);
	kmem_cache_free(&c, p);
	kmem_cache_free(&c, q);
	assert_int_equal(last_report.problem, KMEM_DOUBLE_FREE);
	assert_int_equal(last_alloc.thread, pthread_self());
	assert_int_equal(last_free.thread, pthread_self());
	assert_in_range(last_alloc.depth, 2, KMEM_STACK);
	assert_in_range(last_free.depth, 2, KMEM_STACK);
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

static void leaks_are_reported(void **state)
{
	struct kmem_cache c;
	void *p[3];

	kmem_report_to(remember);
	make(*state, &c, 64, KMEM_STORE_USER);
	for (unsigned int i = 0; i < 3; i++)
		p[i] = kmem_cache_alloc(&c);
	kmem_cache_free(&c, p[0]);
	kmem_cache_free(&c, p[2]);
	uint64_t before = kmem_report_count(KMEM_LEAK);
	assert_int_equal(kmem_cache_destroy(&c), 1);
	expect_report(KMEM_LEAK, before, p[1]);
	assert_in_range(last_alloc.depth, 2, KMEM_STACK);
}

/* An overflow into a free object's hidden pointer leads nowhere outside the slab. */
static void hardened_pointers(void **state)
{
	struct kmem_cache c;
	uint64_t *p, *q, *next;
	uint32_t slot;

	kmem_report_to(remember);
	make(*state, &c, 64, 0);
	slot = without_sheaves(&c);
	p = kmem_cache_alloc(&c);
	q = kmem_cache_alloc(&c);
	kmem_cache_free(&c, p);
	kmem_cache_free(&c, q);
	assert_ptr_equal(slab_next_free(&c, q), p);
	assert_int_not_equal(*(uint64_t *)(void *)((char *)q + c.fp_offset), (uintptr_t)p);
	*(uint64_t *)(void *)((char *)q + c.fp_offset) = (uintptr_t)&slot;
	uint64_t before = kmem_report_count(KMEM_BAD_FREELIST);
	assert_ptr_equal(kmem_cache_alloc(&c), q);
	expect_report(KMEM_BAD_FREELIST, before, q);
	next = kmem_cache_alloc(&c);
	assert_non_null(next);
	assert_int_not_equal((uintptr_t)next >> PAGE_SHIFT, (uintptr_t)&slot >> PAGE_SHIFT);
	assert_int_not_equal((uintptr_t)next >> PAGE_SHIFT, (uintptr_t)q >> PAGE_SHIFT);
	c.slot = slot;
	assert_true(kmem_cache_destroy(&c) > 0); /* what the damaged slab had is lost, and counted */
}

/* --- threads -------------------------------------------------------------------------------------------------------- */

static void *allocate_and_end(void *arg)
{
	struct kmem_cache *c = arg;
	void *p[300];

	for (unsigned int i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = kmem_cache_alloc(c);
	for (unsigned int i = 0; i < ARRAY_SIZE(p); i++)
		kmem_cache_free(c, p[i]);
	kmem_cache_free_deferred(c, kmem_cache_alloc(c));
	return NULL;
}

static void thread_exit_returns(void **state)
{
	struct scene *s = *state;
	struct kmem_cache c;
	struct kmem_info info;
	pthread_t thread;
	uint64_t frames = 0;

	make(s, &c, 128, 0);
	for (unsigned int i = 0; i < 50; i++) {
		pthread_create(&thread, NULL, allocate_and_end, &c);
		pthread_join(thread, NULL);
		assert_true(list_empty(&c.locals));
		if (i == 5)
			frames = used_frames(s->frames);
	}
	assert_in_range(used_frames(s->frames), 0, frames + 4);
	kmem_cache_shrink(&c);
	kmem_cache_info(&c, &info);
	assert_int_equal(info.active_objects, 0);
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

/* Another thread frees all: the objects come back through whole sheaves. */
static void *free_them(void *arg)
{
	void **p = arg;

	kmem_cache_free_bulk(p[0], 999, p + 1);
	return NULL;
}

static void remote_free(void **state)
{
	struct scene *s = *state;
	struct kmem_cache c;
	void *p[1000];
	pthread_t thread;
	uint64_t frames = 0;

	make(s, &c, 64, 0);
	p[0] = &c;
	for (unsigned int i = 0; i < 20; i++) {
		assert_int_equal(kmem_cache_alloc_bulk(&c, 999, p + 1), 999);
		pthread_create(&thread, NULL, free_them, p);
		pthread_join(thread, NULL);
		if (i == 2)
			frames = used_frames(s->frames);
	}
	assert_in_range(used_frames(s->frames), 0, frames + 8);
	assert_int_equal(active(&c), 0);
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

static void *hold_reader(void *arg)
{
	pthread_barrier_t *barrier = arg;

	kmem_read_lock();
	kmem_read_lock();
	kmem_read_unlock();
	pthread_barrier_wait(barrier);
	pthread_barrier_wait(barrier);
	kmem_read_unlock();
	pthread_barrier_wait(barrier);
	pthread_barrier_wait(barrier);
	return NULL;
}

static void deferred_free(void **state)
{
	struct scene *s = *state;
	struct kmem_cache c;
	pthread_barrier_t barrier;
	pthread_t thread;
	uint32_t *p, *q;

	make(s, &c, 64, KMEM_CONSISTENCY | KMEM_POISON);
	pthread_barrier_init(&barrier, NULL, 2);
	pthread_create(&thread, NULL, hold_reader, &barrier);
	pthread_barrier_wait(&barrier);
	p = kmem_cache_alloc(&c);
	p[3] = 1234;
	kmem_cache_free_deferred(&c, p);
	kmem_cache_shrink(&c);
	assert_int_equal(p[3], 1234); /* the reader may still look at it */
	for (unsigned int i = 0; i < 100; i++) {
		q = kmem_cache_alloc(&c);
		assert_ptr_not_equal(p, q);
		kmem_cache_free(&c, q);
	}
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	assert_non_null(c.waiting);
	kmem_cache_shrink(&c);
	assert_null(c.waiting);
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&barrier);
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

static void more_caches_than_slots(void **state)
{
	static struct kmem_cache c[KMEM_SLOTS + 20];
	struct scene *s = *state;
	void *p;

	for (unsigned int i = 0; i < ARRAY_SIZE(c); i++)
		make(s, &c[i], 64, 0);
	assert_int_equal(c[ARRAY_SIZE(c) - 1].slot, 0);
	p = kmem_cache_alloc(&c[ARRAY_SIZE(c) - 1]);
	assert_non_null(p);
	kmem_cache_free(&c[ARRAY_SIZE(c) - 1], p);
	for (unsigned int i = 0; i < ARRAY_SIZE(c); i++)
		assert_int_equal(kmem_cache_destroy(&c[i]), 0);
}

/* --- SLUB ----------------------------------------------------------------------------------------------------------- */

static void slabs_come_from_the_buddy(void **state)
{
	struct scene *s = *state;
	struct kmem_cache c;
	char *p;

	make(s, &c, 2048, 0);
	uint64_t before = used_frames(s->frames);
	p = kmem_cache_alloc(&c);
	assert_true(used_frames(s->frames) > before);
	assert_in_range((uint64_t)(p - s->frames->direct_map), TABLE_END_PFN << PAGE_SHIFT,
			(NORMAL_START_PFN << PAGE_SHIFT) - 1);
	assert_true(atomic_load(&kmem_page(&c, p)->flags) & PG_SLAB);
	kmem_cache_free(&c, p);
	assert_int_equal(kmem_cache_destroy(&c), 0);
	assert_int_equal(used_frames(s->frames), 0);
}

static void slub_fields(void **state)
{
	struct scene *s = *state;
	struct kmem_cache c;

	make(s, &c, 40, 0);
	assert_int_equal(c.object_bytes, 40);
	assert_int_equal(c.size, 48);
	assert_int_equal(c.fp_offset, 16);
	assert_int_equal(c.per_slab, PAGE_SIZE / 48);
	assert_int_equal(kmem_cache_destroy(&c), 0);
	make(s, &c, 40, KMEM_DEBUG);
	assert_int_equal(c.object_bytes, 40);
	assert_true(c.fp_offset >= 48); /* behind the red zone */
	assert_true(c.size > 48);
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

static void fast_and_slow(void **state)
{
	struct kmem_cache c;
	struct kmem_info info;
	void *p, *more[500];

	make(*state, &c, 64, 0);
	kmem_cache_free(&c, kmem_cache_alloc(&c)); /* the first is slow */
	for (unsigned int i = 0; i < 1000; i++) {
		p = kmem_cache_alloc(&c);
		kmem_cache_free(&c, p);
	}
	kmem_cache_info(&c, &info);
	assert_int_equal(info.alloc_slow, 1);
	assert_int_equal(info.alloc_fast, 1000);
	assert_int_equal(info.free_slow, 0);
	kmem_cache_alloc_bulk(&c, ARRAY_SIZE(more), more);
	kmem_cache_info(&c, &info);
	assert_in_range(info.alloc_slow, 3, 20);
	assert_int_equal(info.alloc_fast + info.alloc_slow, 1001 + ARRAY_SIZE(more));
	kmem_cache_free_bulk(&c, ARRAY_SIZE(more), more);
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

static void slub_chain(void **state)
{
	struct kmem_cache c;
	struct page *slab;
	void *p[5];
	uint32_t slot, nr;

	make(*state, &c, 64, 0);
	slot = without_sheaves(&c);
	for (unsigned int n = 0; n < 5; n++) {
		p[n] = kmem_cache_alloc(&c);
		slab = slab_of(&c, p[n]);
		nr = 0;
		for (void *o = slab->freelist; o; o = slab_next_free(&c, o)) {
			assert_ptr_equal(slab_of(&c, o), slab);
			assert_int_equal(((char *)o - (char *)slab->s_mem) % 64, 0);
			nr++;
		}
		assert_int_equal(slab->inuse, n + 1);
		assert_int_equal(slab->inuse + nr, slab->objects);
		assert_int_equal(slab->objects, 64);
	}
	kmem_cache_free(&c, p[2]);
	assert_ptr_equal(slab->freelist, p[2]);
	assert_int_equal(slab->inuse, 4);
	p[2] = kmem_cache_alloc(&c);
	kmem_cache_free_bulk(&c, 5, p);
	destroy_without_sheaves(&c, slot);
}

static void slub_full_on_no_list(void **state)
{
	struct kmem_cache c;
	struct kmem_node *n = &c.node[0];
	void *p[8];
	uint32_t slot;

	make(*state, &c, 512, 0);
	slot = without_sheaves(&c);
	assert_int_equal(c.per_slab, 8);
	for (unsigned int i = 0; i < 7; i++)
		p[i] = kmem_cache_alloc(&c);
	struct page *slab = slab_of(&c, p[0]);
	assert_ptr_equal(n->partial.next, &slab->node);
	p[7] = kmem_cache_alloc(&c);
	assert_true(list_empty(&n->partial));
	assert_true(list_empty(&slab->node));
	assert_int_equal(n->nr_partial, 0);
	assert_int_equal(n->nr_slabs, 1);
	kmem_cache_free(&c, p[3]);
	assert_ptr_equal(n->partial.next, &slab->node);
	assert_int_equal(n->nr_partial, 1);
	p[3] = kmem_cache_alloc(&c);
	kmem_cache_free_bulk(&c, 8, p);
	destroy_without_sheaves(&c, slot);
}

/* Empty slabs stay up to min_partial; the rest goes. */
static void slub_min_partial(void **state)
{
	struct kmem_cache c;
	void *p[30 * 8];
	uint32_t slot;

	make(*state, &c, 512, 0);
	slot = without_sheaves(&c);
	for (unsigned int i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = kmem_cache_alloc(&c);
	assert_int_equal(c.node[0].nr_slabs, 30);
	kmem_cache_free_bulk(&c, ARRAY_SIZE(p), p);
	assert_int_equal(c.min_partial, 5);
	assert_int_equal(c.node[0].nr_slabs, 5);
	assert_int_equal(c.node[0].nr_partial, 5);
	assert_int_equal(kmem_cache_shrink(&c), 5);
	assert_int_equal(c.node[0].nr_slabs, 0);
	destroy_without_sheaves(&c, slot);
}

static void slub_orders(void **state)
{
	(void)state;
	assert_int_equal(slab_order(8), 0);
	assert_int_equal(slab_order(64), 0);
	assert_int_equal(slab_order(512), 0);
	assert_int_equal(slab_order(1024), 1); /* 8 objects */
	assert_int_equal(slab_order(2048), 2);
	assert_int_equal(slab_order(4096), 3);
	assert_int_equal(slab_order(8192), 3);
	assert_int_equal(slab_order(20000), 3); /* one, wasting a third: no order does better */
	assert_int_equal(slab_order(40000), 4);
	for (size_t size = 8; size <= 4096; size += 8) {
		size_t bytes = PAGE_SIZE << slab_order(size);
		assert_true(bytes % size <= bytes / 8);
	}
	assert_int_equal(slab_order(320), 1); /* 256 bytes of a frame would be lost, 192 of two are */
	assert_int_equal(slab_order(960), 2);
}

static void slub_lower_order(void **state)
{
	struct scene *s = *state;
	struct kmem_cache c;
	void *p;

	make(s, &c, 2048, 0);
	kmem_cache_free(&c, kmem_cache_alloc(&c));
	kmem_cache_shrink(&c);
	uint32_t slot = without_sheaves(&c);
	s->frames->fail_in = 1; /* the block of order 2, not the frame after it */
	p = kmem_cache_alloc(&c);
	assert_non_null(p);
	assert_int_equal(slab_of(&c, p)->slab_order, 0);
	assert_int_equal(slab_of(&c, p)->objects, 2);
	kmem_cache_free(&c, p);
	destroy_without_sheaves(&c, slot);
}

static void slub_sheaves(void **state)
{
	struct kmem_cache c;
	struct kmem_local *l;
	void *p[1000];

	make(*state, &c, 64, 0);
	assert_int_equal(c.sheaf_limit, 124);
	kmem_cache_alloc_bulk(&c, ARRAY_SIZE(p), p);
	kmem_cache_free_bulk(&c, ARRAY_SIZE(p), p);
	l = kmem_local_get(&c);
	assert_int_equal(sheaf_avail(l->spare), 124);
	assert_in_range(c.barn.nr_full, 5, c.barn.max_full);
	uint64_t slow = c.stat.alloc_slow, refills = c.stat.refills;
	kmem_cache_alloc_bulk(&c, ARRAY_SIZE(p), p);
	assert_in_range(c.stat.alloc_slow - slow, 7, 10); /* one exchange per sheaf */
	assert_in_range(c.stat.refills - refills, 0, 2);
	kmem_cache_free_bulk(&c, ARRAY_SIZE(p), p);
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

/* --- SLAB ----------------------------------------------------------------------------------------------------------- */

static void slab_fields(void **state)
{
	struct kmem_cache c;

	make(*state, &c, 100, 0);
	assert_int_equal(c.size, 112);
	assert_int_equal(c.object_bytes, 100);
	assert_int_equal(c.sheaf_limit, 120);
	assert_non_null(c.node[0].shared);
	assert_int_equal(c.node[0].shared->limit, 480); /* 8 batches */
	assert_int_equal(c.colour_off, 64);
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

static void slab_array_cache(void **state)
{
	struct kmem_cache c;
	struct kmem_local *l;
	struct kmem_sheaf *ac;
	void *p[400];

	make(*state, &c, 64, 0);
	p[0] = kmem_cache_alloc(&c);
	l = kmem_local_get(&c);
	ac = local_main(l);
	assert_int_equal(ac->limit, 120);
	assert_int_equal(ac->batchcount, 60);
	assert_int_equal(sheaf_avail(ac), 15); /* the first refill of an untouched array is small */
	assert_true(l->touched);
	for (unsigned int i = 1; i < 16; i++)
		p[i] = kmem_cache_alloc(&c);
	assert_int_equal(sheaf_avail(ac), 0);
	p[16] = kmem_cache_alloc(&c); /* the rest of the slab: 48, then batchcount at a time */
	assert_int_equal(sheaf_avail(ac), 47);
	for (unsigned int i = 17; i < 64; i++)
		p[i] = kmem_cache_alloc(&c);
	p[64] = kmem_cache_alloc(&c);
	assert_int_equal(sheaf_avail(ac), 59);
	for (unsigned int i = 65; i < 400; i++)
		p[i] = kmem_cache_alloc(&c);
	sheaf_set(ac, sheaf_avail(ac));
	unsigned int n = 400;
	while (sheaf_avail(ac) < ac->limit)
		kmem_cache_free(&c, p[--n]);
	void *oldest = ac->entry[0], *newest = ac->entry[119];
	kmem_cache_free(&c, p[--n]); /* one more: batchcount of the oldest leave, for the shared array */
	assert_int_equal(sheaf_avail(ac), 61);
	assert_ptr_equal(ac->entry[60], p[n]);
	assert_ptr_equal(ac->entry[59], newest);
	assert_int_equal(sheaf_avail(c.node[0].shared), 60);
	assert_ptr_equal(c.node[0].shared->entry[0], oldest);
	assert_ptr_equal(kmem_cache_alloc(&c), p[n]); /* last in, first out */
	kmem_cache_free_bulk(&c, n + 1, p);
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

static bool on_list(const struct list_head *head, const struct page *slab)
{
	const struct page *p;

	list_for_each_entry (p, head, node)
		if (p == slab)
			return true;
	return false;
}

static void slab_lists(void **state)
{
	struct kmem_cache c;
	struct kmem_node *n = &c.node[0];
	void *p[4];
	uint32_t slot;

	make(*state, &c, 1000, 0);
	slot = without_sheaves(&c);
	assert_int_equal(c.per_slab, 4);
	p[0] = kmem_cache_alloc(&c);
	struct page *slab = slab_of(&c, p[0]);
	assert_true(on_list(&n->partial, slab));
	for (unsigned int i = 1; i < 4; i++)
		p[i] = kmem_cache_alloc(&c);
	assert_true(on_list(&n->full, slab));
	assert_false(on_list(&n->partial, slab));
	kmem_cache_free(&c, p[2]);
	assert_true(on_list(&n->partial, slab));
	kmem_cache_free(&c, p[0]);
	kmem_cache_free(&c, p[1]);
	kmem_cache_free(&c, p[3]);
	assert_true(on_list(&n->free, slab));
	assert_int_equal(n->nr_free_slabs, 1);
	assert_int_equal(kmem_cache_shrink(&c), 1);
	assert_int_equal(n->nr_slabs, 0);
	destroy_without_sheaves(&c, slot);
}

static void slab_page_fields(void **state)
{
	struct scene *s = *state;
	struct kmem_cache c;
	void *p[3];
	uint32_t slot;

	make(s, &c, 24, 0);
	slot = without_sheaves(&c);
	for (unsigned int i = 0; i < 3; i++) {
		p[i] = kmem_cache_alloc(&c);
		struct page *slab = slab_of(&c, p[i]);
		assert_int_equal(slab->inuse, i + 1);
		assert_ptr_equal(slab->slab_cache, &c);
		assert_ptr_equal(p[i], (char *)slab->s_mem + (size_t)i * c.size);
		assert_ptr_equal(kmem_page(&c, slab->freelist), slab); /* the indices, in the slab itself */
	}
	kmem_cache_free_bulk(&c, 3, p);
	destroy_without_sheaves(&c, slot);
}

static void slab_colours(void **state)
{
	struct scene *s = *state;
	struct kmem_cache c;
	void *p[9];
	uint32_t slot;

	make(s, &c, 1280, KMEM_HWCACHE_ALIGN); /* 3 in a frame, 256 bytes over: 5 colours of a line each */
	slot = without_sheaves(&c);
	assert_int_equal(c.per_slab, 3);
	assert_int_equal(c.colours, 5);
	for (unsigned int i = 0; i < ARRAY_SIZE(p); i++) {
		void *q[2];
		p[i] = kmem_cache_alloc(&c);
		q[0] = kmem_cache_alloc(&c);
		q[1] = kmem_cache_alloc(&c);
		assert_ptr_equal(slab_of(&c, q[1]), slab_of(&c, p[i]));
		assert_int_equal((uintptr_t)slab_of(&c, p[i])->s_mem % PAGE_SIZE, i % 5 * 64);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(p); i++)
		for (unsigned int j = 0; j < 3; j++)
			kmem_cache_free(&c, (char *)p[i] + (size_t)j * c.size);
	destroy_without_sheaves(&c, slot);
}

static void slab_aliens(void **state)
{
	struct scene *s = *state;
	struct kmem_args args = {
		.frames = s->frames, .name = "test", .object_bytes = 64, .backend = KMEM_SLAB, .nodes = 2};
	struct kmem_cache c;
	void *p[40];

	assert_int_equal(kmem_cache_init(&c, &args), 0);
	kmem_thread_set_node(1);
	for (unsigned int i = 0; i < ARRAY_SIZE(p); i++) {
		p[i] = kmem_cache_alloc(&c);
		assert_int_equal(slab_of(&c, p[i])->slab_node, 1);
	}
	kmem_thread_set_node(0);
	struct kmem_local *l = kmem_local_get(&c);
	uint32_t own = sheaf_avail(local_main(l));
	uint64_t there = c.node[1].free_objects;
	for (unsigned int i = 0; i < 12; i++)
		kmem_cache_free(&c, p[i]);
	assert_int_equal(sheaf_avail(l->alien[1]), 12);
	assert_int_equal(sheaf_avail(local_main(l)), own);
	assert_int_equal(c.node[1].free_objects, there);
	kmem_cache_free(&c, p[12]); /* full: all go home */
	assert_int_equal(sheaf_avail(l->alien[1]), 1);
	assert_int_equal(c.node[1].free_objects, there + 12);
	kmem_cache_free_bulk(&c, ARRAY_SIZE(p) - 13, p + 13);
	assert_sound(&c);
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

static void slab_reap_idle(void **state)
{
	struct kmem_cache c;
	struct kmem_local *l;
	void *p[120];

	make(*state, &c, 64, 0);
	kmem_cache_alloc_bulk(&c, ARRAY_SIZE(p), p);
	kmem_cache_free_bulk(&c, ARRAY_SIZE(p), p);
	l = kmem_local_get(&c);
	uint32_t avail = sheaf_avail(local_main(l));
	assert_in_range(avail, 60, 120);
	kmem_cache_reap(&c);
	assert_int_equal(sheaf_avail(local_main(l)), avail); /* it was touched */
	assert_false(l->touched);
	kmem_cache_reap(&c);
	assert_int_equal(sheaf_avail(local_main(l)), avail - 24); /* a fifth of the limit */
	for (unsigned int i = 0; i < 30; i++)
		kmem_cache_reap(&c);
	assert_int_equal(sheaf_avail(local_main(l)), 0);
	assert_int_equal(c.node[0].nr_slabs, 0);
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

/* --- magazines and the classic slab list ------------------------------------------------------------------------------ */

static void freep_is_first_with_room(void **state)
{
	struct kmem_cache c;
	struct kmem_node *n = &c.node[0];
	void *p[24];
	uint32_t slot;

	make(*state, &c, 512, 0);
	slot = without_sheaves(&c);
	assert_ptr_equal(n->freep, &n->partial); /* nothing has room */
	for (unsigned int i = 0; i < 24; i++) {
		p[i] = kmem_cache_alloc(&c);
		/* A full slab moves the pointer on: to none here, as slabs are made when they are needed. */
		if (i % 8 == 7)
			assert_ptr_equal(n->freep, &n->partial);
		else
			assert_ptr_equal(n->freep, &slab_of(&c, p[i])->node);
		assert_sound(&c);
	}
	struct page *slab[3] = {slab_of(&c, p[0]), slab_of(&c, p[8]), slab_of(&c, p[16])};
	assert_ptr_equal(n->partial.next, &slab[0]->node);
	assert_ptr_equal(slab[0]->node.next, &slab[1]->node);
	/* A free into a full slab: it is the next source, behind the full ones. */
	kmem_cache_free(&c, p[3]);
	assert_ptr_equal(n->freep, &slab[0]->node);
	assert_ptr_equal(n->partial.prev, &slab[0]->node);
	kmem_cache_free(&c, p[9]);
	assert_ptr_equal(n->freep, &slab[1]->node);
	assert_ptr_equal(kmem_cache_alloc(&c), p[9]);
	assert_ptr_equal(n->freep, &slab[0]->node); /* slab 1 is full again */
	assert_ptr_equal(kmem_cache_alloc(&c), p[3]);
	/* An empty slab goes behind the partial ones. */
	kmem_cache_free(&c, p[0]);
	for (unsigned int i = 16; i < 24; i++)
		kmem_cache_free(&c, p[i]);
	assert_ptr_equal(n->partial.prev, &slab[2]->node);
	assert_ptr_equal(n->freep, &slab[0]->node);
	assert_sound(&c);
	for (unsigned int i = 1; i < 16; i++)
		kmem_cache_free(&c, p[i]);
	assert_sound(&c);
	destroy_without_sheaves(&c, slot);
}

static void magazine_rounds(void **state)
{
	struct kmem_cache c;
	struct kmem_local *l;
	void *p[45];

	make(*state, &c, 64, 0);
	assert_int_equal(c.magazine_limit, 15);
	for (unsigned int i = 0; i < 45; i++)
		p[i] = kmem_cache_alloc(&c);
	for (unsigned int i = 0; i < 45; i++)
		kmem_cache_free(&c, p[i]); /* three magazines of 15: loaded, previous, one in the depot */
	l = kmem_local_get(&c);
	assert_int_equal(sheaf_avail(local_main(l)), 15);
	assert_int_equal(sheaf_avail(l->spare), 15);
	assert_int_equal(c.barn.nr_full, 1);
	/* While the slab layer's lock is held: two magazines and the depot's. */
	struct kmem_sheaf *loaded = local_main(l), *previous = l->spare;
	pthread_mutex_lock(&c.node[0].list_lock);
	for (unsigned int i = 0; i < 15; i++)
		p[i] = kmem_cache_alloc(&c);
	assert_ptr_equal(local_main(l), loaded);
	p[15] = kmem_cache_alloc(&c);
	assert_ptr_equal(local_main(l), previous); /* swapped */
	assert_ptr_equal(l->spare, loaded);
	for (unsigned int i = 16; i < 31; i++)
		p[i] = kmem_cache_alloc(&c);
	assert_int_equal(c.barn.nr_full, 0); /* the depot's, for an empty one */
	assert_ptr_equal(l->spare, previous);
	for (unsigned int i = 31; i < 45; i++)
		p[i] = kmem_cache_alloc(&c);
	pthread_mutex_unlock(&c.node[0].list_lock);
	assert_int_equal(sheaf_avail(local_main(l)), 0);
	kmem_cache_free_bulk(&c, 45, p);
	assert_sound(&c);
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

static void magazine_resize(void **state)
{
	struct kmem_cache c;
	void *p[200];

	make(*state, &c, 64, 0);
	kmem_cache_alloc_bulk(&c, ARRAY_SIZE(p), p);
	c.barn.contended = 17;
	kmem_cache_free_bulk(&c, ARRAY_SIZE(p), p);
	assert_int_equal(c.magazine_limit, 31);
	assert_int_equal(local_main(kmem_local_get(&c))->limit, 31);
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

static void depot_working_set(void **state)
{
	struct kmem_cache c;
	void *p[300];

	make(*state, &c, 64, 0);
	kmem_cache_alloc_bulk(&c, ARRAY_SIZE(p), p);
	kmem_cache_free_bulk(&c, ARRAY_SIZE(p), p);
	uint32_t full = c.barn.nr_full;
	assert_in_range(full, 10, 30);
	kmem_cache_reap(&c); /* opens the interval */
	kmem_cache_alloc_bulk(&c, 100, p);
	kmem_cache_free_bulk(&c, 100, p);
	kmem_cache_reap(&c); /* what was not needed in it goes */
	assert_in_range(c.barn.nr_full, 1, 8);
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

/* --- SLOB ----------------------------------------------------------------------------------------------------------- */

static void slob_lists(void **state)
{
	struct scene *s = *state;
	static const struct {
		size_t bytes;
		unsigned int list;
	} requests[] = {{1, 0}, {255, 0}, {256, 1}, {1023, 1}, {1024, 2}, {3000, 2}};
	struct slob *h = slob_get(s->frames);
	void *p[ARRAY_SIZE(requests)];

	for (unsigned int i = 0; i < ARRAY_SIZE(requests); i++) {
		p[i] = slob_take(h, requests[i].bytes, 2);
		struct page *page = kmem_page(&h->owner, p[i]);
		assert_true(on_list(&h->list[requests[i].list], page));
		assert_int_equal(page->slab_cache == &h->owner, 1);
	}
	assert_int_equal(kmem_page(&h->owner, p[0])->inuse,
			 2048 - 1 - 128); /* units left after 1 and 255 bytes */
	assert_int_equal(kmem_page(&h->owner, p[0]) == kmem_page(&h->owner, p[1]), 1);
	assert_int_equal(slob_check(h, complain), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(requests); i++)
		assert_true(slob_give(h, p[i], requests[i].bytes));
	assert_int_equal(h->nr_pages, 0);
	slob_put(h);
}

static unsigned int free_blocks(struct slob *h, const struct page *page)
{
	const int16_t *u = page_address(h->frames, page), *first = page->freelist;
	unsigned int n = 0;

	for (int at = first ? (int)(first - u) : 2048; at<2048; at = u[at]> 0 ? u[at + 1] : -u[at])
		n++;
	return n;
}

static void slob_units(void **state)
{
	struct scene *s = *state;
	struct slob *h = slob_get(s->frames);
	char *a = slob_take(h, 100, 2), *b = slob_take(h, 2, 2), *d = slob_take(h, 60, 2),
	     *e = slob_take(h, 30, 2);
	struct page *page = kmem_page(&h->owner, a);

	assert_ptr_equal(b, a + 100);
	assert_ptr_equal(d, b + 2);
	assert_int_equal(free_blocks(h, page), 1);
	assert_true(slob_give(h, a, 100));
	assert_true(slob_give(h, d, 60));
	assert_int_equal(free_blocks(h, page), 3); /* a, d, the rest */
	assert_int_equal(slob_check(h, complain), 0);
	assert_ptr_equal(slob_take(h, 50, 2), a); /* first fit, and a split */
	assert_int_equal(free_blocks(h, page), 3);
	assert_ptr_equal(slob_take(h, 52, 2), d);
	assert_true(slob_give(h, b, 2)); /* between the rest of a and d: joins the one in front */
	assert_int_equal(free_blocks(h, page), 3);
	assert_true(slob_give(h, d, 52)); /* and now all of it is one */
	assert_int_equal(free_blocks(h, page), 2);
	assert_false(slob_give(h, d, 52));
	assert_true(slob_give(h, e, 30));
	assert_int_equal(free_blocks(h, page), 1);
	assert_int_equal(page->inuse, 2048 - 25);
	assert_true(slob_give(h, a, 50));
	assert_int_equal(h->nr_pages, 0);
	a = slob_take(h, 2, 2);
	b = slob_take(h, 64, 64); /* the gap before an aligned block stays free */
	assert_int_equal((uintptr_t)b % 64, 0);
	assert_int_equal(free_blocks(h, kmem_page(&h->owner, a)), 2);
	assert_true(slob_give(h, b, 64));
	assert_int_equal(free_blocks(h, kmem_page(&h->owner, a)), 1);
	assert_true(slob_give(h, a, 2));
	slob_put(h);
}

/* --- kmalloc --------------------------------------------------------------------------------------------------------- */

static void size_classes(void **state)
{
	(void)state;
	for (size_t n = 0; n <= KMALLOC_MAX_CACHED; n++) {
		unsigned int k = kmalloc_class(n);
		assert_true(kmalloc_sizes[k] >= n);
		assert_true(!k || kmalloc_sizes[k - 1] < n);
	}
}

static void kmalloc_sizes_and_large(void **state)
{
	static const size_t sizes[] = {1, 8, 9, 96, 97, 192, 1000, 4096, 8192, 8193, 100000, 1u << 20};
	struct scene *s = *state;
	struct kmalloc k;

	assert_int_equal(kmalloc_init(&k, s->frames, s->backend, 0), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		char *p = kmalloc(&k, sizes[i]), *q = kzalloc(&k, sizes[i]);
		assert_true(p && q && ksize(&k, p) >= sizes[i]);
		memset(p, 1, ksize(&k, p));
		for (size_t b = 0; b < sizes[i]; b++)
			assert_int_equal(q[b], 0);
		if (s->backend != KMEM_SLOB && sizes[i] <= 8192)
			assert_int_equal(ksize(&k, p), kmalloc_sizes[kmalloc_class(sizes[i])]);
		if (sizes[i] > 8192) { /* a block of frames, as the buddy allocator has them */
			assert_int_equal(ksize(&k, p) & (ksize(&k, p) - 1), 0);
			assert_int_equal((uint64_t)(p - s->frames->direct_map) % ksize(&k, p), 0);
		}
		kfree(&k, p);
		kfree(&k, q);
	}
	kfree(&k, NULL);
	assert_int_equal(ksize(&k, NULL), 0);
	assert_null(kmalloc(&k, KMALLOC_MAX + 1));
	uint64_t before = kmem_report_count(KMEM_BAD_POINTER);
	char *p = kmalloc(&k, 20000);
	kfree(&k, p + 4096);
	assert_int_equal(kmem_report_count(KMEM_BAD_POINTER), before + 1);
	kfree(&k, p);
	assert_int_equal(kmalloc_destroy(&k), 0);
}

/* Nothing is an object too: it is in a frame of its own allocator, wherever the free space of that ends. */
static void kmalloc_of_nothing(void **state)
{
	static void *p[4096];
	struct scene *s = *state;
	struct kmalloc k;
	uint64_t before = kmem_report_count(KMEM_BAD_POINTER);

	assert_int_equal(kmalloc_init(&k, s->frames, s->backend, 0), 0);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
		p[i] = kmalloc(&k, 0);
		assert_non_null(p[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		kfree(&k, p[i]);
	assert_int_equal(kmem_report_count(KMEM_BAD_POINTER), before);
	assert_int_equal(kmalloc_destroy(&k), 0);
}

static void kmalloc_reallocation(void **state)
{
	struct scene *s = *state;
	struct kmalloc k;
	uint64_t random = random_seed(7);
	uint8_t *p = NULL;
	size_t have = 0;

	assert_int_equal(kmalloc_init(&k, s->frames, s->backend, 0), 0);
	for (unsigned int i = 0; i < 2000; i++) {
		size_t bytes = 1 + random_below(&random, i % 10 ? 3000 : 60000);
		if (i % 7 == 0)
			s->frames->fail_in = 1;
		uint8_t *q = krealloc(&k, p, bytes);
		s->frames->fail_in = 0;
		if (!q) {
			assert_true(bytes > ksize(&k, p)); /* what is there is enough for less */
			continue;			   /* p is as it was */
		}
		for (size_t b = 0; b < have && b < bytes; b++)
			assert_int_equal(q[b], (uint8_t)(b * 7));
		p = q;
		have = bytes;
		for (size_t b = 0; b < have; b++)
			p[b] = (uint8_t)(b * 7);
	}
	kfree(&k, p);
	assert_int_equal(kmalloc_destroy(&k), 0);
}

static void kmalloc_model(void **state)
{
	struct scene *s = *state;
	struct kmalloc *k = aligned_alloc(64, (sizeof(*k) + 63) & ~63ul);
	struct {
		uint8_t *p, mark;
		size_t bytes;
	} object[400] = {{0}};
	uint64_t random = random_seed(11);

	assert_int_equal(kmalloc_init(k, s->frames, s->backend, 0), 0);
	for (unsigned int i = 0; i < 40000; i++) {
		unsigned int j = (unsigned int)random_below(&random, ARRAY_SIZE(object));
		if (i % 1000 == 0)
			s->frames->fail_in = 20;
		if (object[j].p) {
			for (size_t b = 0; b < object[j].bytes; b += 7)
				assert_int_equal(object[j].p[b], object[j].mark);
			kfree(k, object[j].p);
			object[j].p = NULL;
			continue;
		}
		object[j].bytes = random_below(&random, 1ull << (3 + random_below(&random, 13)));
		object[j].mark = (uint8_t)random_next(&random);
		object[j].p = kmalloc(k, object[j].bytes);
		if (object[j].p)
			memset(object[j].p, object[j].mark, object[j].bytes);
	}
	s->frames->fail_in = 0;
	for (unsigned int j = 0; j < ARRAY_SIZE(object); j++)
		kfree(k, object[j].p);
	assert_int_equal(kmalloc_destroy(k), 0);
	free(k);
}

static void kmalloc_failures(void **state)
{
	struct scene *s = *state;
	struct kmalloc k;

	assert_int_equal(kmalloc_init(&k, s->frames, s->backend, 0), 0);
	kfree(&k, kmalloc(&k, 100));
	kmalloc_fail_every(&k, 2);
	for (unsigned int i = 1; i <= 10; i++) {
		void *p = kmalloc(&k, 100);
		assert_int_equal(p == NULL, i % 2 == 0);
		kfree(&k, p);
	}
	kmalloc_fail_every(&k, 0);
	void *p = kmalloc(&k, 100);
	assert_non_null(p);
	kfree(&k, p);
	assert_int_equal(kmalloc_destroy(&k), 0);
}

static void kmalloc_leaks(void **state)
{
	struct scene *s = *state;
	struct kmalloc k;

	assert_int_equal(kmalloc_init(&k, s->frames, s->backend, 0), 0);
	assert_non_null(kmalloc(&k, 10));
	assert_non_null(kmalloc(&k, 500));
	void *p = kmalloc(&k, 50000);
	assert_int_equal(kmalloc_destroy(&k), 3);
	page_free_block(s->frames, kmem_page(&k.large, p), 4);
}

/* --- the whole -------------------------------------------------------------------------------------------------------- */

static void mm_lives_on_caches(void **state)
{
	struct sim_machine *m = sim_machine_new(NULL);
	char text[4096];

	(void)state;
	struct mm *mm = mm_create(&m->host, 100);
	assert_int_equal(active(&m->host.mm_cache), 1);
	assert_true(kmem_slabinfo(&m->frames, text, sizeof(text)) < sizeof(text));
	assert_non_null(strstr(text, "\nvma "));
	assert_non_null(strstr(text, "\nradix_node "));
	mmput(mm);
	assert_int_equal(sim_machine_free(m), 0);
}

static void slabinfo_format(void **state)
{
	struct scene *s = *state;
	struct kmem_cache c;
	char text[4096], name[32];
	unsigned int v[11];
	void *p[3];

	make(s, &c, 64, 0);
	for (unsigned int i = 0; i < 3; i++)
		p[i] = kmem_cache_alloc(&c);
	size_t length = kmem_slabinfo(s->frames, text, sizeof(text));
	assert_int_equal(length, strlen(text));
	assert_int_equal(kmem_slabinfo(s->frames, NULL, 0), length);
	assert_memory_equal(text,
			    "slabinfo - version: 2.1\n# name            <active_objs> <num_objs> <objsize>",
			    70);
	char *line = strchr(strchr(text, '\n') + 1, '\n') + 1;
	assert_int_equal(sscanf(line, "%31s %u %u %u %u %u : tunables %u %u %u : slabdata %u %u %u", name,
				&v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7], &v[8], &v[9], &v[10]),
			 12);
	assert_string_equal(name, "test");
	assert_int_equal(v[0], 3);
	assert_int_equal(v[2], 64);
	kmem_cache_free_bulk(&c, 3, p);
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

static void frames_add_up(void **state)
{
	struct scene *s = *state;
	struct kmem_cache c;
	struct kmem_info info;
	void *p[700];

	make(s, &c, 300, 0);
	for (unsigned int n = 1; n <= 700; n += 233) {
		kmem_cache_alloc_bulk(&c, n, p);
		kmem_cache_info(&c, &info);
		assert_int_equal(info.active_objects, n);
		if (s->backend != KMEM_SLOB)
			assert_int_equal(info.frames, used_frames(s->frames));
		kmem_cache_free_bulk(&c, n, p);
	}
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

#define ON(backend, name, fn)                                                \
	{                                                                    \
		name, fn, setup, teardown, (void *)(uintptr_t)KMEM_##backend \
	}
#define EACH(name, fn, rows)                                                            \
	ON(SLUB, "kmem: slub: " name rows, fn), ON(SLAB, "kmem: slab: " name rows, fn), \
		ON(SLOB, "kmem: slob: " name rows, fn), ON(MAGAZINE, "kmem: magazine: " name rows, fn)
#define SHEAVES(name, fn, rows)                                                         \
	ON(SLUB, "kmem: slub: " name rows, fn), ON(SLAB, "kmem: slab: " name rows, fn), \
		ON(MAGAZINE, "kmem: magazine: " name rows, fn)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		EACH("objects of all sizes are aligned and apart", objects_are_apart, ""),
		EACH("alignments up to a page", alignment, ""),
		EACH("sizes, alignments and nodes that cannot be are refused", bad_arguments, ""),
		EACH("objects come constructed", constructor, ""),
		EACH("zalloc zeroes what was used before", zeroed, ""),
		EACH("NULL when the zone is out, nothing changed, usable after a free", exhaustion, ""),
		EACH("bulk is all or nothing", bulk, ""),
		EACH("any failed block of frames fails one call and changes nothing", fail_the_nth, ""),
		EACH("shrink gives back what nobody uses", shrink_gives_back, ""),
		EACH("destroy counts what was never freed, and frees it", destroy_counts_leaks, ""),
		EACH("a cache fails each n-th allocation when told to", induced_failures, ""),
		EACH("random histories agree with a set of objects", model, ""),
		EACH("random histories raise no false alarm", model_debug, ""),
		EACH("every slab is frames of the buddy allocator's object zone", slabs_come_from_the_buddy,
		     " [E2]"),
		EACH("red zones are 0xbb and 0xcc, and a hit is reported", red_zones, " [Y5]"),
		EACH("a double free is reported by a debugging cache", double_free, ""),
		EACH("a double free into its slab is reported by any", plain_double_free, ""),
		EACH("a free into the wrong cache is reported", wrong_cache, ""),
		EACH("pointers that are no object are reported", bad_pointers, ""),
		EACH("the last allocation and free have thread and stack", tracks, ""),
		EACH("a thread's end returns what it held", thread_exit_returns, ""),
		EACH("objects that another thread frees are used again", remote_free, ""),
		EACH("a deferred free waits for readers", deferred_free, ""),
		EACH("more caches than slots", more_caches_than_slots, ""),
		EACH("kmalloc: classes up to 8192, blocks of frames beyond", kmalloc_sizes_and_large,
		     " [E19]"),
		EACH("kmalloc: nothing is an object too", kmalloc_of_nothing, ""),
		EACH("kmalloc: realloc keeps contents, also when it fails", kmalloc_reallocation, ""),
		EACH("kmalloc: random histories agree with an array", kmalloc_model, ""),
		SHEAVES("kmalloc: each n-th allocation fails when told to", kmalloc_failures, ""),
		EACH("kmalloc: destroy counts leaks of all sizes", kmalloc_leaks, ""),
		EACH("slabinfo as /proc has it", slabinfo_format, ""),
		EACH("the frames of a cache are the frames it took", frames_add_up, ""),
		SHEAVES("poison is 0x6b and 0xa5, and a use after free is reported", poison, " [Y5]"),
		SHEAVES("each leaked object is reported at destroy", leaks_are_reported, ""),
		ON(SLUB, "kmem: mm's own objects live in caches [E1]", mm_lives_on_caches),
		ON(SLUB, "kmem: slub: flags, offset, size and object size of a cache [E12]", slub_fields),
		ON(SLUB, "kmem: slub: a thread's pops are counted apart from slow calls [E13]",
		   fast_and_slow),
		ON(SLUB, "kmem: slub: a slab's chain ends NULL, in use + free = objects [E14]", slub_chain),
		ON(SLUB, "kmem: slub: a full slab is on no list, a free puts it on partial [E15]",
		   slub_full_on_no_list),
		ON(SLUB, "kmem: slub: empty slabs stay up to min_partial [Y5]", slub_min_partial),
		ON(SLUB, "kmem: slub: the order of a slab follows its waste [Y5]", slub_orders),
		ON(SLUB, "kmem: slub: a slab of a lower order when there is no other", slub_lower_order),
		ON(SLUB, "kmem: slub: sheaves go through the barn whole", slub_sheaves),
		ON(SLUB, "kmem: slub: free pointers are hidden, and a forged one leads nowhere",
		   hardened_pointers),
		ON(MAGAZINE, "kmem: magazine: a forged free pointer leads nowhere", hardened_pointers),
		ON(SLAB, "kmem: slab: size, object size, arrays and colours of a cache [E3]", slab_fields),
		ON(SLAB, "kmem: slab: refill and flush by batchcount, newest first [E4 Y6]",
		   slab_array_cache),
		ON(SLAB, "kmem: slab: partial, full, partial, empty [E5]", slab_lists),
		ON(SLAB, "kmem: slab: s_mem, active, cache and freelist of a slab [E6]", slab_page_fields),
		ON(SLAB, "kmem: slab: slabs begin at 0, c, 2c.. and wrap [E7 Y6]", slab_colours),
		ON(SLAB, "kmem: slab: objects of another node go home by alien arrays [E8]", slab_aliens),
		ON(SLAB, "kmem: slab: reap frees what was not touched [E8]", slab_reap_idle),
		ON(MAGAZINE, "kmem: magazine: freep is the first slab with room [E9 E10 E11 Y6]",
		   freep_is_first_with_room),
		ON(MAGAZINE, "kmem: magazine: M rounds without the slab lock, loaded and previous swap [E18]",
		   magazine_rounds),
		ON(MAGAZINE, "kmem: magazine: magazines grow when the depot is contended", magazine_resize),
		ON(MAGAZINE, "kmem: magazine: reap frees what the depot did not need [E18]",
		   depot_working_set),
		ON(SLOB, "kmem: slob: sizes choose the list, and units are counted [E16]", slob_lists),
		ON(SLOB, "kmem: slob: first fit, split and merge of units [E17]", slob_units),
		ON(SLUB, "kmem: kmalloc: every size has the smallest class that holds it [E19]",
		   size_classes),
	};

	/* A test that fails leaves caches on its stack in the registry: nothing after it could be believed. */
	setenv("CMOCKA_TEST_ABORT", "1", 1);
	return cmocka_run_group_tests_name("kmem", tests, NULL, NULL);
}
