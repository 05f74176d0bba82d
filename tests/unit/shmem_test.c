/* SPDX-License-Identifier: MIT */
/* Shared memory without a file, and files that shrink: what the end of an object does to those who map it. */
#include <errno.h>
#include <signal.h>

#include "../../src/mm/shmem.h"
#include "../../src/mm/truncate.h"
#include "../sim/disk.h"

#define A  0x10000000ull
#define B  0x20000000ull
#define P  PAGE_SIZE
#define RW (PROT_READ | PROT_WRITE)

struct shared {
	struct fixture *x;
	struct backing *object;
};

static int setup(void **state)
{
	struct shared *s = calloc(1, sizeof(*s));

	s->x = fixture_new(NULL);
	s->object = s->x ? shmem_create(&s->x->machine->host, 8 * P, "/test (deleted)") : NULL;
	*state = s;
	return s->object ? 0 : -1;
}

static int teardown(void **state)
{
	struct shared *s = *state;
	unsigned int bad = filemap_check(&s->object->cache);

	mm_munmap(s->x->mm, 0x10000, TASK_SIZE - 0x10000);
	backing_put(s->object);
	bad += fixture_free(s->x) != 0;
	free(s);
	return bad ? -1 : 0;
}

static void map(struct shared *s, gva_t at, unsigned int flags)
{
	struct mmap_request r = {
		.address = at, .length = 8 * P, .prot = RW, .flags = flags | MAP_FIXED, .file = s->object};

	assert_int_equal(mm_mmap(s->x->mm, &r), at);
}

static int64_t put(struct shared *s, const char *text, uint64_t offset)
{
	struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};

	return shmem_write(s->object, s->x->mm->memcg, &iov, 1, offset);
}

static int64_t get(struct shared *s, char *text, size_t bytes, uint64_t offset)
{
	struct iovec iov[2] = {{text, 1}, {text + 1, bytes - 1}};

	return shmem_read(s->object, iov, 2, offset);
}

static void one_object(void **state)
{
	struct shared *s = *state;
	char text[8];

	map(s, A, MAP_SHARED);
	map(s, B, MAP_SHARED);
	fixture_store(s->x, A + P, 0x4142434445464748);
	assert_int_equal(fixture_load(s->x, B + P), 0x4142434445464748);
	assert_int_equal(pte_pfn(fixture_pte(s->x, A + P)), pte_pfn(fixture_pte(s->x, B + P)));
	assert_int_equal(get(s, text, 4, P + 2), 4);
	assert_memory_equal(text, "FEDC", 4);
	assert_int_equal(put(s, "xyz", P), 3);
	assert_int_equal(fixture_load(s->x, B + P), 0x41424344457a7978);
	assert_int_equal(mm_counter(s->x->mm, MM_SHMEMPAGES), 2);
	assert_int_equal(mm_counter(s->x->mm, MM_FILEPAGES), 0);
	assert_int_equal(s->x->machine->host.writeback.nr_dirty, 0);
}

static void sizes(void **state)
{
	struct shared *s = *state;
	char text[8];

	map(s, A, MAP_SHARED);
	fixture_store(s->x, A + 2 * P + 8, 7);
	shmem_resize(s->object, 2 * P + 12);
	assert_int_equal(fixture_load(s->x, A + 2 * P + 8), 7);
	shmem_resize(s->object, 2 * P + 8);
	assert_int_equal(fixture_load(s->x, A + 2 * P + 8), 0);
	assert_signal(s->x, SIM_LOAD, A + 3 * P, SIGBUS, BUS_ADRERR);
	assert_int_equal(get(s, text, 8, 2 * P + 4), 4);
	assert_int_equal(put(s, "grown", 5 * P), 5);
	assert_int_equal(fixture_load(s->x, A + 4 * P), 0);
	assert_int_equal(s->object->ops->size(s->object), 5 * P + 5);
	/* Pages behind the end may be there; nobody sees them. */
	assert_int_equal(shmem_allocate(s->object, s->x->mm->memcg, 6 * P, 8 * P), 0);
	assert_signal(s->x, SIM_STORE, A + 7 * P, SIGBUS, BUS_ADRERR);
}

static void holes(void **state)
{
	struct shared *s = *state;

	map(s, A, MAP_SHARED);
	for (unsigned int i = 1; i < 5; i++)
		fixture_store(s->x, A + i * P, i);
	assert_int_equal(shmem_seek(s->object, 0, false), P);
	assert_int_equal(shmem_seek(s->object, 0, true), 0);
	assert_int_equal(shmem_seek(s->object, P + 5, true), 5 * P);
	assert_int_equal(shmem_seek(s->object, 5 * P, false), -ENXIO);
	assert_int_equal(shmem_seek(s->object, 8 * P, true), -ENXIO);
	uint64_t used = s->x->mm->memcg->usage_pages;
	shmem_punch(s->object, P + 4, 4 * P + 4);
	assert_int_equal(s->x->mm->memcg->usage_pages, used - 2);
	assert_int_equal(fixture_load(s->x, A + P) & 0xffffffff, 1);
	assert_int_equal(fixture_load(s->x, A + 2 * P), 0);
	assert_int_equal(fixture_load(s->x, A + 4 * P), 0);
}

static void no_room(void **state)
{
	struct shared *s = *state;
	uint64_t left = s->x->mm->memcg->max_pages;

	s->x->mm->memcg->max_pages = s->x->mm->memcg->usage_pages;
	assert_int_equal(put(s, "no", 0), -ENOMEM);
	assert_int_equal(shmem_allocate(s->object, s->x->mm->memcg, 0, P), -ENOMEM);
	assert_int_equal(filemap_nr_pages(&s->object->cache), 0);
	s->x->mm->memcg->max_pages = left;
}

/* A file that ends earlier takes its pages out of every space, private copies too; what is left of the last one is clear. */
static void a_file_shrinks(void **state)
{
	struct shared *s = *state;
	struct sim_disk *d = sim_disk_new(s->x->machine, 6 * P);
	struct address_space *as = &d->backing.cache;

	fixture_map_disk(s->x, d, A, 6, 0, RW, MAP_SHARED | MAP_FIXED);
	fixture_map_disk(s->x, d, B, 6, 0, RW, MAP_PRIVATE | MAP_FIXED);
	fixture_store(s->x, A + 4 * P, 4);
	fixture_store(s->x, B + 4 * P, 5);
	fixture_store(s->x, B, 6);
	fixture_load(s->x, A + 2 * P);
	d->bytes = 2 * P + 4;
	pthread_rwlock_wrlock(&as->io_lock);
	truncate_pagecache(as, d->bytes);
	pthread_rwlock_unlock(&as->io_lock);
	assert_signal(s->x, SIM_LOAD, A + 4 * P, SIGBUS, BUS_ADRERR);
	assert_signal(s->x, SIM_LOAD, B + 4 * P, SIGBUS, BUS_ADRERR);
	assert_int_equal(fixture_load(s->x, A + 2 * P) >> 32, 0);
	assert_int_equal(fixture_load(s->x, B), 6);
	assert_int_equal(s->x->machine->host.writeback.nr_dirty, 0);
	assert_mm_sound(s->x->mm);
	mm_munmap(s->x->mm, A, 6 * P);
	mm_munmap(s->x->mm, B, 6 * P);
	backing_put(&d->backing);
	assert_int_equal(d->writes, 0);
	sim_disk_free(d);
}

/* A page taken out of the middle is read anew; private copies of it stay. */
static void a_range_goes(void **state)
{
	struct shared *s = *state;
	struct sim_disk *d = sim_disk_new(s->x->machine, 6 * P);
	struct address_space *as = &d->backing.cache;

	fixture_map_disk(s->x, d, A, 6, 0, PROT_READ, MAP_SHARED | MAP_FIXED);
	fixture_map_disk(s->x, d, B, 6, 0, RW, MAP_PRIVATE | MAP_FIXED);
	fixture_load(s->x, A + P);
	fixture_store(s->x, B + P, 9);
	memset(d->data + P, 0, P);
	pthread_rwlock_wrlock(&as->io_lock);
	truncate_range(as, 1, 1);
	pthread_rwlock_unlock(&as->io_lock);
	assert_int_equal(fixture_load(s->x, A + P), 0);
	assert_int_equal(fixture_load(s->x, B + P), 9);
	mm_munmap(s->x->mm, A, 6 * P);
	mm_munmap(s->x->mm, B, 6 * P);
	backing_put(&d->backing);
	sim_disk_free(d);
}

#define T(name, fn)                             \
	{                                       \
		name, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("shmem: areas and calls see one object [J13] [K15]", one_object),
		T("shmem: a smaller size takes pages away, a larger one brings zeroes [J13]", sizes),
		T("shmem: holes are found and made", holes),
		T("shmem: without room nothing is made [C14]", no_room),
		T("truncate: pages behind the new end leave every space [L12]", a_file_shrinks),
		T("truncate: a range is read anew, private copies stay [L12] [J11]", a_range_goes),
	};

	return cmocka_run_group_tests_name("shmem", tests, NULL, NULL);
}
