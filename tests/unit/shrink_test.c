/* SPDX-License-Identifier: MIT */
/* Room: what files give up before a charge fails. */
#include "../../src/mm/filemap_shrink.h"
#include "../../src/mm/shmem.h"
#include "../sim/disk.h"

#define A  0x10000000ull
#define B  0x20000000ull
#define P  PAGE_SIZE
#define RW (PROT_READ | PROT_WRITE)

struct room {
	struct fixture *x;
	struct sim_disk *disk;
};

static int setup(void **state)
{
	struct room *r = calloc(1, sizeof(*r));

	r->x = fixture_new(NULL);
	r->disk = r->x ? sim_disk_new(r->x->machine, 256 * P) : NULL;
	*state = r;
	return r->disk ? 0 : -1;
}

static int teardown(void **state)
{
	struct room *r = *state;
	unsigned int bad = filemap_check(&r->disk->backing.cache);

	mm_munmap(r->x->mm, 0x10000, TASK_SIZE - 0x10000);
	backing_put(&r->disk->backing);
	bad += r->disk->releases != 1;
	bad += fixture_free(r->x) != 0;
	sim_disk_free(r->disk);
	free(r);
	return bad ? -1 : 0;
}

static void limit(struct room *r, uint64_t more)
{
	r->x->mm->memcg->max_pages = r->x->mm->memcg->usage_pages + more;
}

static void walk_a_file_larger_than_the_account(void **state)
{
	struct room *r = *state;

	fixture_map_disk(r->x, r->disk, A, 256, 0, PROT_READ, MAP_SHARED | MAP_FIXED);
	limit(r, 40);
	for (unsigned int turn = 0; turn < 2; turn++)
		for (uint64_t i = 0; i < 256; i++)
			assert_int_equal(fixture_load(r->x, A + i * P) & 0xff, sim_disk_byte(i * P));
	assert_mm_sound(r->x->mm);
}

static void dirty_pages_are_written_first(void **state)
{
	struct room *r = *state;

	fixture_map_disk(r->x, r->disk, A, 256, 0, RW, MAP_SHARED | MAP_FIXED);
	limit(r, 40);
	for (uint64_t i = 0; i < 256; i++)
		fixture_store(r->x, A + i * P + 8, i + 1);
	for (uint64_t i = 0; i < 256; i++)
		assert_int_equal(fixture_load(r->x, A + i * P + 8), i + 1);
	assert_mm_sound(r->x->mm);
}

static void files_give_way_to_anonymous_memory(void **state)
{
	struct room *r = *state;

	fixture_map_disk(r->x, r->disk, A, 256, 0, PROT_READ, MAP_SHARED | MAP_FIXED);
	fixture_map(r->x, B, 256, RW, MAP_FIXED);
	limit(r, 150);
	for (uint64_t i = 0; i < 100; i++)
		fixture_load(r->x, A + i * P);
	for (uint64_t i = 0; i < 130; i++)
		fixture_store(r->x, B + i * P, i);
	for (uint64_t i = 0; i < 130; i++)
		assert_int_equal(fixture_load(r->x, B + i * P), i);
}

static void nothing_left_is_out_of_memory(void **state)
{
	struct room *r = *state;
	uint64_t i = 0, value = 1;

	fixture_map(r->x, B, 256, RW, MAP_FIXED);
	limit(r, 50);
	while (!sim_store(r->x->cpu, B + i * P, &value, 8).signo)
		i++;
	assert_in_range(i, 40, 50);
	assert_int_equal(filemap_shrink(r->x->mm->host, r->x->mm->memcg, 10), 0);
}

static void others_do_not_pay(void **state)
{
	struct room *r = *state;
	struct mm *other = mm_create(&r->x->machine->host, 1000);
	struct page *page;
	bool major;

	assert_int_equal(filemap_get(&r->disk->backing.cache, 3, other->memcg, &page, &major), 0);
	page_put(other->frames, page);
	assert_int_equal(filemap_shrink(r->x->mm->host, r->x->mm->memcg, 10), 0);
	assert_int_equal(filemap_shrink(r->x->mm->host, other->memcg, 10), 1);
	mmput(other);
}

static void a_write_that_fails_keeps_the_page(void **state)
{
	struct room *r = *state;

	fixture_map_disk(r->x, r->disk, A, 4, 0, RW, MAP_SHARED | MAP_FIXED);
	fixture_store(r->x, A, 5);
	r->disk->write_error = -28;
	assert_int_equal(filemap_shrink(r->x->mm->host, r->x->mm->memcg, 10), 0);
	assert_int_equal(fixture_load(r->x, A), 5);
	r->disk->write_error = 0;
	assert_int_equal(filemap_shrink(r->x->mm->host, r->x->mm->memcg, 10), 1);
	assert_int_equal(fixture_load(r->x, A), 5);
}

/* Who locks pages keeps them, however many times the hand comes by; others in the file go. */
static void locked_areas_keep_their_pages(void **state)
{
	struct room *r = *state;

	fixture_map_disk(r->x, r->disk, A, 64, 0, PROT_READ, MAP_SHARED | MAP_FIXED);
	fixture_map_disk(r->x, r->disk, B, 64, 64, PROT_READ, MAP_SHARED | MAP_FIXED);
	assert_int_equal(mm_mlock(r->x->mm, A, 64 * P, 0), 0);
	for (uint64_t i = 0; i < 64; i++)
		fixture_load(r->x, B + i * P);
	assert_int_equal(filemap_shrink(r->x->mm->host, r->x->mm->memcg, 100), 64);
	assert_int_equal(filemap_shrink(r->x->mm->host, r->x->mm->memcg, 100), 0);
	for (uint64_t i = 0; i < 64; i++)
		assert_int_not_equal(fixture_pte(r->x, A + i * P), 0);
}

static void pinned_pages_stay(void **state)
{
	struct room *r = *state;

	fixture_map_disk(r->x, r->disk, A, 64, 0, PROT_READ, MAP_SHARED | MAP_FIXED);
	for (uint64_t i = 0; i < 64; i++)
		fixture_load(r->x, A + i * P);
	struct page *page = filemap_find(&r->disk->backing.cache, 5);
	assert_int_equal(filemap_shrink(r->x->mm->host, r->x->mm->memcg, 100), 63);
	assert_ptr_equal(page->mapping, &r->disk->backing.cache);
	page_put(r->x->mm->frames, page);
}

/* One after the other, from where the last one ended: not the same pages again. */
static void the_hand_moves(void **state)
{
	struct room *r = *state;
	uint64_t revokes;

	fixture_map_disk(r->x, r->disk, A, 128, 0, PROT_READ, MAP_SHARED | MAP_FIXED);
	for (uint64_t i = 0; i < 128; i++)
		fixture_load(r->x, A + i * P);
	revokes = r->x->mm->nr_revokes;
	assert_int_equal(filemap_shrink(r->x->mm->host, r->x->mm->memcg, 50), 50);
	assert_int_equal(r->x->mm->nr_revokes - revokes, 1); /* for all of them */
	assert_int_equal(fixture_pte(r->x, A + 49 * P), 0);
	assert_int_not_equal(fixture_pte(r->x, A + 50 * P), 0);
	fixture_load(r->x, A);
	assert_int_equal(filemap_shrink(r->x->mm->host, r->x->mm->memcg, 50), 50);
	assert_int_not_equal(fixture_pte(r->x, A), 0);
	assert_int_equal(fixture_pte(r->x, A + 99 * P), 0);
	assert_int_not_equal(fixture_pte(r->x, A + 100 * P), 0);
	assert_int_equal(filemap_shrink(r->x->mm->host, r->x->mm->memcg, 29), 29);
	assert_int_equal(fixture_pte(r->x, A), 0);
}

static void shared_memory_gets_room_from_files(void **state)
{
	struct room *r = *state;
	struct backing *object = shmem_create(r->x->mm->host, 0, NULL);
	static char data[100 * P];
	struct iovec iov = {data, sizeof(data)};

	memset(data, 7, sizeof(data));
	fixture_map_disk(r->x, r->disk, A, 128, 0, PROT_READ, MAP_SHARED | MAP_FIXED);
	for (uint64_t i = 0; i < 128; i++)
		fixture_load(r->x, A + i * P);
	limit(r, 0);
	assert_int_equal(shmem_write(object, r->x->mm->memcg, &iov, 1, 0), sizeof(data));
	assert_int_equal(shmem_allocate(object, r->x->mm->memcg, 100 * P, 110 * P), 0);
	assert_int_equal(filemap_nr_pages(&object->cache), 110);
	assert_int_equal(shmem_allocate(object, r->x->mm->memcg, 110 * P, 400 * P), -ENOMEM);
	backing_put(object);
}

static void a_hole_in_a_file(void **state)
{
	struct room *r = *state;

	fixture_map_disk(r->x, r->disk, A, 8, 8, RW, MAP_SHARED | MAP_FIXED);
	fixture_map_disk(r->x, r->disk, B, 8, 8, RW, MAP_PRIVATE | MAP_FIXED);
	for (uint64_t i = 0; i < 8; i++)
		fixture_store(r->x, A + i * P, i + 1);
	fixture_store(r->x, B + 2 * P, 99);
	assert_int_equal(mm_madvise(r->x->mm, B, P, MADV_REMOVE), -EACCES);
	r->disk->punch_error = -ENOSPC;
	assert_int_equal(mm_madvise(r->x->mm, A + P, 3 * P, MADV_REMOVE), -ENOSPC);
	assert_int_equal(fixture_load(r->x, A + P), 2);
	r->disk->punch_error = 0;
	assert_int_equal(mm_madvise(r->x->mm, A + P, 3 * P, MADV_REMOVE), 0);
	for (uint64_t i = 0; i < 8; i++)
		assert_int_equal(fixture_load(r->x, A + i * P), i >= 1 && i < 4 ? 0 : i + 1);
	assert_int_equal(fixture_load(r->x, B + 2 * P), 99);
	assert_int_equal(fixture_load(r->x, B + 3 * P), 0);
	assert_int_equal(r->disk->data[9 * P], 0);
	assert_mm_sound(r->x->mm);
}

#define T(name, fn)                             \
	{                                       \
		name, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("shrink: a file larger than the account can be walked, twice",
		  walk_a_file_larger_than_the_account),
		T("shrink: and written; dirty pages go to the file first [L16] [B14]",
		  dirty_pages_are_written_first),
		T("shrink: files give way to anonymous memory", files_give_way_to_anonymous_memory),
		T("shrink: where files have nothing to give, memory is out [C14]",
		  nothing_left_is_out_of_memory),
		T("shrink: only who pays gets room", others_do_not_pay),
		T("shrink: a page that cannot be written stays", a_write_that_fails_keeps_the_page),
		T("shrink: locked areas keep their pages", locked_areas_keep_their_pages),
		T("shrink: pinned pages stay", pinned_pages_stay),
		T("shrink: a hand moves around the file, with one revocation for a range", the_hand_moves),
		T("shrink: writes to shared memory get room from files [C14]",
		  shared_memory_gets_room_from_files),
		T("madvise: MADV_REMOVE makes a hole in a file; private copies stay [L12] [J11]",
		  a_hole_in_a_file),
	};

	return cmocka_run_group_tests_name("shrink", tests, NULL, NULL);
}
