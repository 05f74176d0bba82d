/* SPDX-License-Identifier: MIT */
/* Object caches. */
#include "../harness.h"
#include "../sim/sim_cpu.h"

static int setup(void **state)
{
	struct sim_config config = {.object_pages = 512, .normal_pages = 512};

	*state = sim_frames_new(&config);
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	sim_frames_free(*state);
	return 0;
}

static struct frames *frames_of(void **state)
{
	return &((struct sim_machine *)*state)->frames;
}

static uint64_t slab_frames(struct frames *f)
{
	return f->zone[ZONE_OBJECT].present_pages - f->zone[ZONE_OBJECT].nr_free_pages -
	       (f->zone[ZONE_OBJECT].bank_end_pfn - f->zone[ZONE_OBJECT].fresh_pfn);
}

static void objects_do_not_overlap(void **state)
{
	static const size_t sizes[] = {1, 15, 16, 17, 48, 100, 192, 1000, 1366, 2048};
	struct frames *f = frames_of(state);

	for (unsigned int s = 0; s < ARRAY_SIZE(sizes); s++) {
		struct kmem_cache c;
		char *object[300];

		kmem_cache_init(&c, f, "test", sizes[s]);
		for (unsigned int i = 0; i < ARRAY_SIZE(object); i++) {
			object[i] = kmem_cache_alloc(&c);
			assert_non_null(object[i]);
			assert_int_equal((uintptr_t)object[i] % 16, 0);
			for (size_t b = 0; b < sizes[s]; b++)
				assert_int_equal(object[i][b], 0);
			memset(object[i], (int)(i % 100) + 1, sizes[s]);
		}
		assert_int_equal(c.nr_objects, ARRAY_SIZE(object));
		for (unsigned int i = 0; i < ARRAY_SIZE(object); i++) {
			for (size_t b = 0; b < sizes[s]; b++)
				assert_int_equal(object[i][b], i % 100 + 1);
			kmem_cache_free(&c, object[i]);
		}
		assert_int_equal(kmem_cache_destroy(&c), 0);
		assert_int_equal(slab_frames(f), 0);
	}
}

static void slabs_come_from_the_object_zone(void **state)
{
	struct frames *f = frames_of(state);
	struct kmem_cache c;
	char *object;

	kmem_cache_init(&c, f, "test", 2048);
	object = kmem_cache_alloc(&c);
	assert_int_equal(slab_frames(f), 1);
	assert_in_range((uint64_t)(object - f->direct_map), TABLE_END_PFN << PAGE_SHIFT,
			(NORMAL_START_PFN << PAGE_SHIFT) - 1);
	assert_true(pfn_to_page(f, (pfn_t)(object - f->direct_map) >> PAGE_SHIFT)->flags & PG_SLAB);
	kmem_cache_free(&c, object);
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

static void reuse_is_zeroed(void **state)
{
	struct kmem_cache c;
	char *object;

	kmem_cache_init(&c, frames_of(state), "test", 64);
	for (unsigned int i = 0; i < 200; i++) {
		object = kmem_cache_alloc(&c);
		for (unsigned int b = 0; b < 64; b++)
			assert_int_equal(object[b], 0);
		memset(object, 0xff, 64);
		kmem_cache_free(&c, object);
	}
	assert_int_equal(c.nr_slabs, 1);
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

static void partial_full_partial(void **state)
{
	struct kmem_cache c;
	void *object[8];

	kmem_cache_init(&c, frames_of(state), "test", 1024);
	assert_int_equal(c.objects_per_slab, 4);
	for (unsigned int i = 0; i < 3; i++)
		object[i] = kmem_cache_alloc(&c);
	assert_true(list_empty(&c.full));
	assert_false(list_empty(&c.partial));
	object[3] = kmem_cache_alloc(&c);
	assert_false(list_empty(&c.full));
	assert_true(list_empty(&c.partial));
	kmem_cache_free(&c, object[1]);
	assert_true(list_empty(&c.full));
	object[1] = kmem_cache_alloc(&c);
	for (unsigned int i = 4; i < 8; i++)
		object[i] = kmem_cache_alloc(&c);
	assert_int_equal(c.nr_slabs, 2);
	for (unsigned int i = 0; i < 8; i++)
		kmem_cache_free(&c, object[i]);
	assert_true(c.nr_slabs <= 1);
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

static void destroy_counts_leaks(void **state)
{
	struct kmem_cache c;

	kmem_cache_init(&c, frames_of(state), "test", 32);
	for (unsigned int i = 0; i < 3; i++)
		assert_non_null(kmem_cache_alloc(&c));
	assert_int_equal(kmem_cache_destroy(&c), 3);
	assert_int_equal(slab_frames(frames_of(state)), 0);
}

static void exhaustion_gives_null(void **state)
{
	struct frames *f = frames_of(state);
	struct kmem_cache c;
	void *object[1025];
	unsigned int n = 0;

	kmem_cache_init(&c, f, "test", 2048);
	while (n < ARRAY_SIZE(object) && (object[n] = kmem_cache_alloc(&c)))
		n++;
	assert_int_equal(n, 1024);
	kmem_cache_free(&c, object[--n]);
	object[n] = kmem_cache_alloc(&c);
	assert_non_null(object[n]);
	n++;
	while (n-- > 0)
		kmem_cache_free(&c, object[n]);
	assert_int_equal(kmem_cache_destroy(&c), 0);
	assert_int_equal(zone_check(f, ZONE_OBJECT, complain), 0);
}

static void induced_failure(void **state)
{
	struct frames *f = frames_of(state);
	struct kmem_cache c;

	kmem_cache_init(&c, f, "test", 32);
	f->fail_in = 1;
	assert_null(kmem_cache_alloc(&c));
	assert_int_equal(f->nr_fail, 1);
	assert_int_equal(c.nr_objects, 0);
	assert_int_equal(kmem_cache_destroy(&c), 0);
}

#define T(name, fn)                             \
	{                                       \
		name, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("kmem: objects of all sizes are zero, aligned and apart", objects_do_not_overlap),
		T("kmem: every slab is a frame of the buddy allocator's object zone [E2]",
		  slabs_come_from_the_object_zone),
		T("kmem: a recycled object is zero again", reuse_is_zeroed),
		T("kmem: a slab moves from partial to full and back, and empty ones go [E5]",
		  partial_full_partial),
		T("kmem: destroy counts what was never freed", destroy_counts_leaks),
		T("kmem: NULL when the zone is out, and usable after a free", exhaustion_gives_null),
		T("kmem: a failed slab leaves the cache empty", induced_failure),
	};

	return cmocka_run_group_tests_name("kmem", tests, NULL, NULL);
}
