/* SPDX-License-Identifier: MIT */
/* Dirty pages: who makes them, who writes them back and when, what happens when that fails, and what msync says. */
#include <errno.h>

#include "../sim/disk.h"

#define A  0x10000000ull
#define B  0x20000000ull
#define P  PAGE_SIZE
#define RW (PROT_READ | PROT_WRITE)

struct cache {
	struct fixture *x;
	struct sim_disk *disk;
};

static int setup(void **state)
{
	static const struct sim_config config = {.cpus = 2};
	struct cache *c = calloc(1, sizeof(*c));

	c->x = fixture_new(&config);
	c->disk = c->x ? sim_disk_new(c->x->machine, 64 * P) : NULL;
	*state = c;
	return c->disk ? 0 : -1;
}

static int teardown(void **state)
{
	struct cache *c = *state;
	unsigned int bad = filemap_check(&c->disk->backing.cache);

	mm_munmap(c->x->mm, 0x10000, TASK_SIZE - 0x10000);
	backing_put(&c->disk->backing);
	bad += c->disk->releases != 1;
	bad += c->x->machine->host.writeback.nr_dirty != 0;
	bad += fixture_free(c->x) != 0;
	sim_disk_free(c->disk);
	free(c);
	return bad ? -1 : 0;
}

static void map(struct cache *c, gva_t at)
{
	assert_int_equal(fixture_map_disk(c->x, c->disk, at, 64, 0, RW, MAP_SHARED | MAP_FIXED), at);
}

static uint64_t on_disk(struct cache *c, uint64_t offset)
{
	uint64_t word;

	memcpy(&word, c->disk->data + offset, sizeof(word));
	return word;
}

static int64_t nr_dirty(struct cache *c)
{
	return c->x->machine->host.writeback.nr_dirty;
}

static void first_write_is_noticed(void **state)
{
	struct cache *c = *state;
	struct fixture *x = c->x;

	map(c, A);
	fixture_load(x, A);
	assert_false(pte_write(fixture_pte(x, A)));
	assert_int_equal(nr_dirty(c), 0);
	pfn_t pfn = pte_pfn(fixture_pte(x, A));
	fixture_store(x, A, 11);
	assert_int_equal(x->cpu->last_error, PF_PROT | PF_WRITE | PF_USER);
	assert_true(pte_write(fixture_pte(x, A)));
	assert_int_equal(pte_pfn(fixture_pte(x, A)), pfn);
	assert_int_equal(x->mm->faults[FAULT_WP_SHARED], 1);
	assert_int_equal(nr_dirty(c), 1);
	fixture_store(x, A + 8, 12);
	assert_int_equal(x->mm->faults[FAULT_WP_SHARED], 1);
	assert_int_equal(nr_dirty(c), 1);
	uint32_t flags = pfn_to_page(x->mm->frames, pfn)->flags;
	assert_int_equal(flags & (PG_DIRTY | PG_UPTODATE | PG_MAPPEDTODISK),
			 PG_DIRTY | PG_UPTODATE | PG_MAPPEDTODISK);
	assert_int_not_equal(on_disk(c, 0), 11);
	assert_int_equal(writeback_range(&c->disk->backing.cache, 0, 0), 0);
	assert_int_equal(on_disk(c, 0), 11);
	assert_int_equal(on_disk(c, 8), 12);
}

static void write_to_a_missing_page(void **state)
{
	struct cache *c = *state;
	struct fixture *x = c->x;

	map(c, A);
	fixture_store(x, A + 3 * P, 33);
	assert_int_equal(x->mm->faults[FAULT_SHARED], 1);
	assert_int_equal(x->mm->faults[FAULT_WP_SHARED], 0);
	assert_int_equal(nr_dirty(c), 1);
	assert_int_equal(mm_munmap(x->mm, A, 64 * P), 0);
	assert_int_equal(nr_dirty(c), 1);
	assert_int_equal(mm_counter(x->mm, MM_FILEPAGES), 0);
	assert_int_equal(writeback_range(&c->disk->backing.cache, 0, ~0ull), 0);
	assert_int_equal(nr_dirty(c), 0);
	assert_int_equal(on_disk(c, 3 * P), 33);
	assert_int_equal(c->disk->written_bytes, P);
	assert_int_equal(on_disk(c, 3 * P + 8) & 0xff, sim_disk_byte(3 * P + 8));
}

static void private_writes_stay_private(void **state)
{
	struct cache *c = *state;
	struct fixture *x = c->x;

	fixture_map_disk(x, c->disk, A, 64, 0, RW, MAP_PRIVATE | MAP_FIXED);
	fixture_store(x, A, 1);
	fixture_load(x, A + P);
	fixture_store(x, A + P, 2);
	assert_int_equal(nr_dirty(c), 0);
	assert_int_equal(mm_msync(x->mm, A, 64 * P, MS_SYNC), 0);
	assert_int_equal(c->disk->writes, 0);
}

static void last_reference_writes(void **state)
{
	struct cache *c = *state;
	struct fixture *x = c->x;
	struct sim_disk *other = sim_disk_new(x->machine, 10 * P + 100);

	fixture_map_disk(x, other, B, 16, 0, RW, MAP_SHARED | MAP_FIXED);
	backing_put(&other->backing);
	fixture_store(x, B + 2 * P, 7);
	fixture_store(x, B + 3 * P, 8);
	fixture_store(x, B + 10 * P + 92, 9);
	fixture_store(x, B + 10 * P + 104, 10); /* behind the end of the file */
	assert_int_equal(other->writes, 0);
	mm_munmap(x->mm, B, 16 * P);
	assert_int_equal(other->releases, 1);
	assert_int_equal(other->writes, 2); /* neighbours go together */
	assert_int_equal(other->bytes, 10 * P + 100);
	assert_int_equal(other->data[2 * P], 7);
	assert_int_equal(other->data[3 * P], 8);
	assert_int_equal(other->data[10 * P + 92], 9);
	sim_disk_free(other);
}

static void errors_are_told_once(void **state)
{
	struct cache *c = *state;
	struct fixture *x = c->x;

	map(c, A);
	fixture_store(x, A, 1);
	c->disk->write_error = -ENOSPC;
	assert_int_equal(mm_msync(x->mm, A, P, MS_ASYNC), 0);
	assert_int_equal(writeback_range(&c->disk->backing.cache, 0, ~0ull), -ENOSPC);
	assert_int_equal(nr_dirty(c), 1);
	c->disk->write_error = 0;
	assert_int_equal(mm_msync(x->mm, A, P, MS_SYNC), -ENOSPC);
	assert_int_equal(on_disk(c, 0), 1);
	assert_int_equal(mm_msync(x->mm, A, P, MS_SYNC), 0);
	fixture_store(x, A, 2);
	c->disk->write_error = -EIO;
	assert_int_equal(mm_msync(x->mm, A, P, MS_SYNC), -EIO);
	c->disk->write_error = 0;
	assert_int_equal(mm_msync(x->mm, A, P, MS_SYNC), 0);
	assert_int_equal(on_disk(c, 0), 2);
	c->disk->sync_error = -EIO;
	assert_int_equal(mm_msync(x->mm, A, P, MS_SYNC), -EIO);
	assert_true(c->disk->syncs > 0);
}

static void msync_arguments(void **state)
{
	struct cache *c = *state;
	struct mm *mm = c->x->mm;

	map(c, A);
	map(c, A + 128 * P);
	assert_int_equal(mm_msync(mm, A + 1, P, MS_SYNC), -EINVAL);
	assert_int_equal(mm_msync(mm, A, P, MS_SYNC | MS_ASYNC), -EINVAL);
	assert_int_equal(mm_msync(mm, A, P, 8), -EINVAL);
	assert_int_equal(mm_msync(mm, A, 0, MS_SYNC), 0);
	assert_int_equal(mm_msync(mm, A, ~0ull - P, MS_SYNC), -ENOMEM);
	fixture_store(c->x, A + 128 * P + 5 * P, 55);
	assert_int_equal(mm_msync(mm, A, 200 * P, MS_ASYNC), -ENOMEM);
	assert_int_not_equal(on_disk(c, 5 * P), 55);
	assert_int_equal(mm_msync(mm, A, 192 * P, MS_SYNC), -ENOMEM);
	assert_int_equal(on_disk(c, 5 * P), 55);
	assert_int_equal(mm_msync(mm, A, 64 * P, 0), 0);
	assert_int_equal(mm_msync(mm, A, 64 * P, MS_INVALIDATE), 0);
}

/* What a program stores is in the file when its space is gone, whatever way it went. */
static void nothing_is_lost_with_the_space(void **state)
{
	struct cache *c = *state;
	struct sim_machine *m = c->x->machine;
	struct mm *mm = mm_create(&m->host, 1000);
	struct sim_disk *other = sim_disk_new(m, 8 * P);
	struct fixture y = {.machine = m, .mm = mm, .cpu = &m->cpu[1]};

	sim_cpu_load(y.cpu, mm);
	fixture_map_disk(&y, other, A, 8, 0, RW, MAP_SHARED | MAP_FIXED);
	backing_put(&other->backing);
	for (unsigned int i = 0; i < 8; i++)
		fixture_store(&y, A + i * P + 16, i + 100);
	sim_cpu_load(y.cpu, c->x->mm);
	mmput(mm);
	assert_int_equal(other->releases, 1);
	for (unsigned int i = 0; i < 8; i++)
		assert_int_equal(other->data[i * P + 16], i + 100);
	sim_disk_free(other);
}

static void the_thread_writes(void **state)
{
	struct cache *c = *state;
	struct writeback *wb = &c->x->machine->host.writeback;

	map(c, A);
	wb->dirty_writeback_ms = 1;
	wb->dirty_expire_ms = 0;
	fixture_store(c->x, A + P, 77);
	for (unsigned int i = 0; i < 2000 && !atomic_load(&wb->nr_written); i++)
		usleep(1000);
	writeback_stop(&c->x->machine->host);
	assert_int_equal(on_disk(c, P), 77);
}

static void too_much_is_written_by_who_makes_it(void **state)
{
	struct cache *c = *state;
	struct writeback *wb = &c->x->machine->host.writeback;

	map(c, A);
	wb->dirty_pages = 4;
	for (unsigned int i = 0; i < 5; i++) {
		assert_int_equal(c->disk->writes, 0);
		fixture_store(c->x, A + i * P, i);
	}
	assert_int_not_equal(c->disk->writes, 0);
	assert_int_equal(on_disk(c, 3 * P), 3); /* the store that waited comes after */
}

/* The host may put data into a pinned page after it was written out. */
static void pinned_pages_are_written_again(void **state)
{
	struct cache *c = *state;
	struct mm *mm = c->x->mm;
	struct iovec iov = {(void *)(A + 2 * P), 8};
	struct user_pin pin;

	map(c, A);
	assert_int_equal(user_pin(mm, &iov, 1, 0, true, &pin), 0);
	mm_munmap(mm, A, 64 * P);
	assert_int_equal(writeback_range(&c->disk->backing.cache, 0, ~0ull), 0);
	assert_int_equal(nr_dirty(c), 0);
	memset(pin.iov[0].iov_base, 0x5a, 8);
	user_pin_release(mm, &pin);
	assert_int_equal(nr_dirty(c), 1);
	assert_int_equal(writeback_range(&c->disk->backing.cache, 0, ~0ull), 0);
	assert_int_equal(on_disk(c, 2 * P), 0x5a5a5a5a5a5a5a5a);
}

/* A file changed by a call: pages take over those bytes and no others. */
static void refresh_takes_over_a_range(void **state)
{
	struct cache *c = *state;
	struct address_space *as = &c->disk->backing.cache;

	map(c, A);
	fixture_store(c->x, A, 1);
	fixture_store(c->x, A + 16, 2);
	memset(c->disk->data, 0x33, 16);
	pthread_rwlock_wrlock(&as->io_lock);
	filemap_refresh(as, 4, 12);
	pthread_rwlock_unlock(&as->io_lock);
	assert_int_equal(fixture_load(c->x, A), 0x3333333300000001);
	assert_int_equal(fixture_load(c->x, A + 16), 2);
	assert_int_equal(nr_dirty(c), 1);
}

#define T(name, fn)                             \
	{                                       \
		name, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("writeback: the first write to a clean page faults, and only that [K22] [H22] [L15]",
		  first_write_is_noticed),
		T("writeback: a write to a missing page maps it writable and dirty [K21] [L15]",
		  write_to_a_missing_page),
		T("writeback: writes to a private mapping never reach the file [J11] [K20]",
		  private_writes_stay_private),
		T("writeback: the last reference writes, up to the end of the file [L16] [J12]",
		  last_reference_writes),
		T("writeback: an error is told once, and the page can be written again [L16]",
		  errors_are_told_once),
		T("msync: arguments, holes and what is written [L16]", msync_arguments),
		T("writeback: nothing is lost with a space [L16]", nothing_is_lost_with_the_space),
		T("writeback: a thread writes what is old [L16]", the_thread_writes),
		T("writeback: above the limit the writer waits [L16]", too_much_is_written_by_who_makes_it),
		T("writeback: a page that was pinned for writing is dirty again [L16]",
		  pinned_pages_are_written_again),
		T("filemap: a change by a call shows in the mapped pages, byte by byte [L1]",
		  refresh_takes_over_a_range),
	};

	return cmocka_run_group_tests_name("writeback", tests, NULL, NULL);
}
