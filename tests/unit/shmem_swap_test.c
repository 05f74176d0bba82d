/* SPDX-License-Identifier: MIT */
/* Pages of shared memory that go to a swap device and come back. */
#include <errno.h>
#include <signal.h>

#include "../../src/mm/shmem.h"
#include "../../src/mm/shmem_shrink.h"
#include "../../src/mm/shmem_swap.h"
#include "../../src/mm/swap_cache.h"
#include "../../src/mm/usage.h"
#include "../sim/fixture.h"
#include "../sim/sim_swap.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21 /* Linux 5.4 */
#endif
#define A     0x10000000ull
#define B     0x20000000ull
#define C     0x30000000ull
#define P     PAGE_SIZE
#define RW    (PROT_READ | PROT_WRITE)
#define PAGES 200u
#define SLOTS 4096

static struct sim_swap dev;

struct shared {
	struct fixture *x;
	struct backing *object;
};

static struct mm_host *host(const struct shared *s)
{
	return &s->x->machine->host;
}

/* A page at a time, unless a test wants more. */
static int begin(void **state, const struct sim_config *config)
{
	struct shared *s = calloc(1, sizeof(*s));

	s->x = fixture_new(config);
	s->object = s->x ? shmem_create(host(s), PAGES * P, "/test (deleted)") : NULL;
	*state = s;
	if (!s->object || sim_swap_on(&dev, host(s), SLOTS, NULL))
		return -1;
	host(s)->swap.around_pages = 1;
	return 0;
}

static int setup(void **state)
{
	return begin(state, NULL);
}

static int setup_shadow(void **state)
{
	struct sim_config config = {.kind = SIM_SHADOW};

	return begin(state, &config);
}

static int teardown(void **state)
{
	struct shared *s = *state;
	unsigned int bad = s->object ? filemap_check(&s->object->cache) : 0;

	mm_munmap(s->x->mm, 0x10000, 1ull << 40);
	if (s->object)
		backing_put(s->object);
	assert_int_equal(dev.device.map.nr_used, 0);
	assert_int_equal(dev.nr_wrong, 0);
	assert_int_equal(sim_swap_off(&dev), 0);
	bad += fixture_free(s->x) != 0;
	free(s);
	return bad ? -1 : 0;
}

static void assert_sound(const struct shared *s, struct mm *other)
{
	struct mm *space[] = {s->x->mm, other};

	assert_mm_sound(s->x->mm);
	if (other)
		assert_mm_sound(other);
	assert_int_equal(mm_check_host(host(s), space, other ? 2 : 1, complain), 0);
	assert_int_equal(filemap_check(&s->object->cache), 0);
}

static void map(struct shared *s, gva_t at, unsigned int flags, unsigned int prot)
{
	struct mmap_request r = {.address = at,
				 .length = PAGES * P,
				 .prot = prot,
				 .flags = flags | MAP_FIXED,
				 .file = s->object};

	assert_int_equal(mm_mmap(s->x->mm, &r), at);
}

/* Takes out what is in memory of nr pages of the object; how many go. */
static uint64_t out(struct shared *s, uint64_t first, unsigned int nr)
{
	struct page *page[PAGES];
	unsigned int n = 0;

	for (uint64_t i = first; i < first + nr; i++)
		n += (page[n] = filemap_find(&s->object->cache, i)) != NULL;
	return swap_out(host(s), page, n);
}

static void fill(struct shared *s, gva_t address, unsigned int nr, uint64_t seed)
{
	for (unsigned int i = 0; i < nr; i++) {
		fixture_store(s->x, address + i * P, seed + i);
		fixture_store(s->x, address + i * P + P - 8, ~(seed + i));
	}
}

static void assert_filled(struct shared *s, gva_t address, unsigned int nr, uint64_t seed)
{
	for (unsigned int i = 0; i < nr; i++) {
		assert_int_equal(fixture_load(s->x, address + i * P), seed + i);
		assert_int_equal(fixture_load(s->x, address + i * P + P - 8), ~(seed + i));
	}
}

static int64_t get(struct shared *s, uint64_t *word, uint64_t offset)
{
	struct iovec iov = {word, sizeof(*word)};

	return shmem_read(s->object, &iov, 1, offset);
}

static int64_t put(struct shared *s, uint64_t word, uint64_t offset)
{
	struct iovec iov = {&word, sizeof(word)};

	return shmem_write(s->object, s->x->mm->memcg, &iov, 1, offset);
}

static bool is_away(struct shared *s, uint64_t index)
{
	return shmem_is_away(&s->object->cache, index);
}

/* The processor runs in the other space for one access. */
static uint64_t load_in(struct shared *s, struct mm *mm, gva_t address)
{
	sim_cpu_load(s->x->cpu, mm);
	uint64_t value = fixture_load(s->x, address);
	sim_cpu_load(s->x->cpu, s->x->mm);
	return value;
}

/* --- there and back ------------------------------------------------------------------------------------------------ */

static void there_and_back(void **state)
{
	struct shared *s = *state;
	struct mm *mm = s->x->mm;

	map(s, A, MAP_SHARED, RW);
	fill(s, A, 100, 1);
	uint64_t usage = atomic_load(&mm->memcg->usage_pages);
	assert_int_equal(out(s, 0, 100), 100);
	assert_int_equal(atomic_load(&mm->memcg->usage_pages), usage - 100);
	assert_int_equal(mm->memcg->swap_pages, 100);
	assert_int_equal(dev.device.map.nr_used, 100);
	assert_int_equal(dev.nr_transfers, 2);
	assert_int_equal(mm_counter(mm, MM_SHMEMPAGES), 0);
	assert_int_equal(mm_counter(mm, MM_SWAPENTS), 0); /* as on Linux */
	assert_int_equal(filemap_nr_pages(&s->object->cache), 0);
	assert_int_equal(filemap_nr_swapped(&s->object->cache), 100);
	assert_sound(s, NULL);
	uint64_t major = mm->maj_flt;
	assert_filled(s, A, 100, 1);
	assert_int_equal(mm->maj_flt, major + 100);
	assert_int_equal(mm_counter(mm, MM_SHMEMPAGES), 100);
	assert_int_equal(dev.device.map.nr_used, 0);
	assert_sound(s, NULL);
	/* What is all one word costs no transfer. */
	uint64_t writes = dev.nr_writes;
	for (unsigned int i = 0; i < P; i += 8)
		fixture_store(s->x, A + i, 77);
	assert_int_equal(out(s, 0, 1), 1);
	assert_int_equal(dev.nr_writes, writes);
	assert_int_equal(fixture_load(s->x, A + 800), 77);
	assert_sound(s, NULL);
}

/* However many show it. */
static void one_slot(void **state)
{
	struct shared *s = *state;
	struct mm *child;

	map(s, A, MAP_SHARED, RW);
	map(s, B, MAP_SHARED, PROT_READ);
	map(s, C, MAP_PRIVATE, RW);
	fill(s, A, 20, 1);
	fixture_store(s->x, C, 99); /* a copy, which is anonymous memory */
	assert_filled(s, B, 20, 1);
	assert_filled(s, C + P, 19, 2);
	assert_int_equal(mm_fork(s->x->mm, &child), 0);
	assert_int_equal(load_in(s, child, B + 3 * P), 4);
	assert_int_equal(out(s, 0, 20), 20);
	assert_int_equal(dev.device.map.nr_used, 20);
	assert_sound(s, child);
	assert_int_equal(load_in(s, child, A + 3 * P), 4);
	assert_int_equal(dev.nr_reads, 1);
	assert_int_equal(fixture_load(s->x, B + 3 * P), 4);
	assert_int_equal(dev.nr_reads, 1);
	fixture_store(s->x, A + 3 * P, 44);
	assert_int_equal(load_in(s, child, B + 3 * P), 44);
	assert_int_equal(load_in(s, child, C + 3 * P), 44);
	assert_int_equal(fixture_load(s->x, C), 99);
	mmput(child);
	assert_int_equal(fixture_load(s->x, C + 5 * P), 6);
	assert_sound(s, NULL);
}

static void calls(void **state)
{
	struct shared *s = *state;
	uint64_t word = 0;

	map(s, A, MAP_SHARED, RW);
	fill(s, A, 10, 1);
	assert_int_equal(out(s, 0, 10), 10);
	assert_int_equal(get(s, &word, 4 * P), 8);
	assert_int_equal(word, 5);
	assert_int_equal(put(s, 500, 5 * P), 8);
	assert_int_equal(fixture_load(s->x, A + 5 * P), 500);
	assert_int_equal(fixture_load(s->x, A + 6 * P - 8), ~6ull);
	assert_int_equal(dev.device.map.nr_used, 8);
	/* A page in a slot is data; one is made where there is none. */
	assert_int_equal(shmem_seek(s->object, 0, false), 0);
	assert_int_equal(shmem_seek(s->object, 0, true), 10 * P);
	assert_int_equal(shmem_allocate(s->object, s->x->mm->memcg, 8 * P, 12 * P), 0);
	assert_int_equal(dev.device.map.nr_used, 8);
	assert_int_equal(filemap_nr_pages(&s->object->cache), 4);
	assert_filled(s, A + 6 * P, 4, 7);
	assert_sound(s, NULL);
}

static void sizes_and_holes(void **state)
{
	struct shared *s = *state;
	uint64_t word = 1;

	map(s, A, MAP_SHARED, RW);
	fill(s, A, 40, 1);
	assert_int_equal(out(s, 0, 40), 40);
	shmem_resize(s->object, 30 * P + 8);
	assert_int_equal(dev.device.map.nr_used,
			 30); /* the last page was brought, to clear what is behind the end */
	shmem_resize(s->object, PAGES * P);
	assert_int_equal(fixture_load(s->x, A + 30 * P), 31);
	assert_int_equal(fixture_load(s->x, A + 31 * P - 8), 0);
	assert_int_equal(fixture_load(s->x, A + 35 * P), 0);
	shmem_punch(s->object, 10 * P + 8, 20 * P + 8);
	assert_int_equal(dev.device.map.nr_used, 19);
	assert_int_equal(fixture_load(s->x, A + 10 * P), 11);
	assert_int_equal(fixture_load(s->x, A + 11 * P - 8), 0);
	assert_int_equal(fixture_load(s->x, A + 15 * P), 0);
	assert_int_equal(fixture_load(s->x, A + 20 * P), 0);
	assert_int_equal(fixture_load(s->x, A + 21 * P - 8), ~21ull);
	assert_int_equal(mm_madvise(s->x->mm, A, 5 * P, MADV_REMOVE), 0);
	assert_int_equal(dev.device.map.nr_used, 14);
	shmem_punch(s->object, 6 * P + 16, 6 * P + 24);
	assert_int_equal(fixture_load(s->x, A + 6 * P), 7);
	assert_sound(s, NULL);
	shmem_resize(s->object, 0);
	assert_int_equal(dev.device.map.nr_used, 0);
	assert_int_equal(get(s, &word, 0), 0);
}

static void the_object_goes(void **state)
{
	struct shared *s = *state;

	map(s, A, MAP_SHARED, RW);
	fill(s, A, 40, 1);
	assert_int_equal(out(s, 0, 40), 40);
	backing_put(s->object);
	s->object = NULL;
	assert_int_equal(dev.device.map.nr_used, 40);
	assert_int_equal(mm_munmap(s->x->mm, A, PAGES * P), 0);
	assert_int_equal(dev.device.map.nr_used, 0);
	assert_int_equal(s->x->mm->memcg->swap_pages, 0);
}

static void ranges(void **state)
{
	struct shared *s = *state;

	map(s, A, MAP_SHARED, RW);
	fill(s, A, 40, 1);
	assert_int_equal(out(s, 0, 40), 40);
	assert_int_equal(mm_mprotect(s->x->mm, A, P, PROT_READ), 0);
	assert_int_equal(fixture_load(s->x, A), 1);
	assert_signal(s->x, SIM_STORE, A, SIGSEGV, SEGV_ACCERR);
	assert_int_equal(mm_mremap(s->x->mm, A + 8 * P, 8 * P, 8 * P, MREMAP_MAYMOVE | MREMAP_FIXED, B), B);
	assert_filled(s, B, 8, 9);
	assert_int_equal(mm_madvise(s->x->mm, A + 20 * P, 4 * P, MADV_DONTNEED), 0);
	assert_filled(s, A + 20 * P, 4, 21); /* the object has it still */
	assert_int_equal(mm_munmap(s->x->mm, A + 24 * P, 4 * P), 0);
	assert_int_equal(mm_madvise(s->x->mm, A + 30 * P, 4 * P, MADV_PAGEOUT), 0);
	assert_filled(s, A + 30 * P, 4, 31);
	assert_int_equal(mm_madvise(s->x->mm, A + 30 * P, 4 * P, MADV_PAGEOUT), 0);
	assert_true(is_away(s, 31));
	host(s)->swap.around_pages = SWAP_AROUND_PAGES;
	assert_int_equal(mm_madvise(s->x->mm, A + 30 * P, 4 * P, MADV_WILLNEED), 0);
	assert_false(is_away(s, 31));
	assert_sound(s, NULL);
}

/* --- who has to stay ------------------------------------------------------------------------------------------------ */

static void locked(void **state)
{
	struct shared *s = *state;
	struct page *pinned;

	map(s, A, MAP_SHARED, RW);
	map(s, B, MAP_SHARED, RW);
	fill(s, A, 8, 1);
	assert_filled(s, B, 8, 1);
	assert_int_equal(mm_mlock(s->x->mm, B + P, 2 * P, 0), 0);
	assert_int_equal(get_user_pages(s->x->mm, A + 4 * P, 1, GUP_WRITE, &pinned), 1);
	assert_int_equal(out(s, 0, 8), 5);
	assert_false(is_away(s, 1));
	assert_false(is_away(s, 4));
	assert_int_equal(dev.device.map.nr_used, 5);
	assert_sound(s, NULL);
	put_user_pages(s->x->mm, 1, &pinned);
	assert_filled(s, B, 8, 1);
	atomic_store(&s->object->cache.unevictable, true);
	assert_int_equal(out(s, 0, 8), 0);
	assert_int_equal(shmem_shrink(host(s), s->x->mm->memcg, 8, 0, SHMEM_SHRINK_ALL), 0);
	atomic_store(&s->object->cache.unevictable, false);
	/* And what is locked now comes back. */
	assert_int_equal(out(s, 0, 8), 6);
	assert_int_equal(mm_mlock(s->x->mm, A, 8 * P, 0), 0);
	assert_int_equal(dev.device.map.nr_used, 0);
	assert_sound(s, NULL);
}

static void full_device(void **state)
{
	struct shared *s = *state;
	struct sim_swap small;

	assert_int_equal(sim_swap_off(&dev), 0);
	assert_int_equal(sim_swap_on(&small, host(s), 4, NULL), 0);
	map(s, A, MAP_SHARED, RW);
	fill(s, A, 5, 1);
	assert_int_equal(out(s, 0, 5), 3);
	assert_sound(s, NULL);
	assert_filled(s, A, 5, 1);
	assert_int_equal(small.device.map.nr_used, 0);
	assert_int_equal(sim_swap_off(&small), 0);
	assert_int_equal(sim_swap_on(&dev, host(s), SLOTS, NULL), 0);
}

/* --- neighbours ---------------------------------------------------------------------------------------------------- */

static void read_ahead(void **state)
{
	struct shared *s = *state;

	map(s, A, MAP_SHARED, RW);
	fill(s, A, PAGES, 1);
	host(s)->swap.around_pages = 16;
	assert_int_equal(out(s, 0, PAGES), PAGES);
	uint64_t transfers = dev.nr_transfers;
	assert_filled(s, A, PAGES, 1);
	assert_true(dev.nr_transfers - transfers <= 20);
	assert_int_equal(dev.nr_reads, PAGES);
	assert_int_equal(dev.device.map.nr_used, 0);
	assert_sound(s, NULL);
}

/* Those that nobody asked for are given up again without a transfer, and are found without a table. */
static void neighbours_go_first(void **state)
{
	struct shared *s = *state;
	struct memcg *cg = s->x->mm->memcg;

	map(s, A, MAP_SHARED, RW);
	fill(s, A, PAGES, 1);
	assert_int_equal(out(s, 0, PAGES), PAGES);
	host(s)->swap.around_pages = 8;
	assert_int_equal(fixture_load(s->x, A + 16 * P), 17);
	assert_int_equal(dev.device.map.nr_cached, 7);
	assert_true(shmem_is_cached(&s->object->cache, 17));
	assert_false(shmem_is_cached(&s->object->cache, 100));
	assert_sound(s, NULL);
	uint64_t writes = dev.nr_writes;
	assert_int_equal(shmem_shrink(host(s), cg, 100, 0, SHMEM_SHRINK_ALL), 7);
	assert_int_equal(dev.nr_writes, writes);
	assert_int_equal(dev.device.map.nr_cached, 0);
	assert_filled(s, A, PAGES, 1);
	/* Nobody maps it: found all the same, oldest first, and what another account pays for is not asked. */
	assert_int_equal(mm_munmap(s->x->mm, A, PAGES * P), 0);
	assert_int_equal(shmem_shrink(host(s), cg, 10, 1, SHMEM_SHRINK_ALL), 0);
	assert_int_equal(shmem_shrink(host(s), cg, 10, 0, SHMEM_SHRINK_ALL), 10);
	assert_int_equal(filemap_nr_swapped(&s->object->cache), 10);
	assert_int_equal(shmem_shrink(host(s), cg, 100, 0, 20), 20);
	assert_int_equal(shmem_shrink(host(s), cg, PAGES, 0, SHMEM_SHRINK_ALL), PAGES - 30);
	map(s, A, MAP_SHARED, RW);
	assert_filled(s, A, PAGES, 1);
	assert_sound(s, NULL);
}

/* --- what is told of it -------------------------------------------------------------------------------------------- */

static void usage(void **state)
{
	struct shared *s = *state;
	struct vma_usage u = {0};

	map(s, A, MAP_SHARED, RW);
	map(s, C, MAP_PRIVATE, RW);
	fill(s, A, 10, 1);
	fixture_store(s->x, C + P, 5);
	assert_int_equal(out(s, 0, 8), 8);
	vma_usage_add(vma_find(&s->x->mm->vmas, A), &u);
	assert_int_equal(u.swap, 8 * P);
	assert_int_equal(u.swap_pss, 0); /* as on Linux: not of shared memory */
	assert_int_equal(u.rss, 2 * P);
	u = (struct vma_usage){0};
	vma_usage_add(vma_find(&s->x->mm->vmas, C), &u);
	assert_int_equal(u.swap, 7 * P); /* it has a page of its own instead of one */
	assert_false(page_view_at(s->x->mm, A).swapped);
}

/* --- devices that fail --------------------------------------------------------------------------------------------- */

static void failed_reads(void **state)
{
	struct shared *s = *state;
	uint64_t word = 0;

	map(s, A, MAP_SHARED, RW);
	fill(s, A, 2, 1);
	assert_int_equal(out(s, 0, 2), 2);
	dev.fail_read_every = 1;
	assert_signal(s->x, SIM_LOAD, A, SIGBUS, BUS_ADRERR);
	assert_signal(s->x, SIM_STORE, A, SIGBUS, BUS_ADRERR);
	assert_int_equal(get(s, &word, 0), -EIO);
	assert_int_equal(put(s, 1, P), -EIO);
	shmem_resize(s->object, P + 8);
	assert_sound(s, NULL);
	dev.fail_read_every = 0;
	assert_filled(s, A, 2, 1);
	assert_sound(s, NULL);
}

static void failed_writes(void **state)
{
	struct shared *s = *state;

	map(s, A, MAP_SHARED, RW);
	fill(s, A, 20, 1);
	dev.fail_write_every = 4;
	out(s, 0, 20);
	assert_true(dev.nr_failed);
	assert_sound(s, NULL);
	dev.fail_write_every = 0;
	assert_filled(s, A, 5, 1);
	/* What nobody touches goes back to its object, and then to another slot. */
	shmem_shrink(host(s), s->x->mm->memcg, 100, 0, SHMEM_SHRINK_ALL);
	assert_true(dev.device.map.nr_bad > 0);
	assert_sound(s, NULL);
	out(s, 0, 20);
	assert_int_equal(filemap_nr_swapped(&s->object->cache), 20);
	assert_int_equal(dev.device.map.nr_cached, 0);
	assert_filled(s, A, 20, 1);
	assert_sound(s, NULL);
}

/* --- swap_off ------------------------------------------------------------------------------------------------------ */

static void off(void **state)
{
	struct shared *s = *state;
	uint64_t word = 0;

	map(s, A, MAP_SHARED, RW);
	fill(s, A, PAGES, 1);
	assert_int_equal(out(s, 0, PAGES), PAGES);
	uint64_t most = s->x->mm->memcg->max_pages;
	s->x->mm->memcg->max_pages = s->x->mm->memcg->usage_pages + 20;
	assert_int_equal(sim_swap_off(&dev), -ENOMEM);
	assert_sound(s, NULL);
	s->x->mm->memcg->max_pages = most;
	assert_int_equal(sim_swap_off(&dev), 0);
	assert_int_equal(filemap_nr_swapped(&s->object->cache), 0);
	assert_filled(s, A, PAGES, 1);
	/* What cannot be read is lost, and the device goes all the same. */
	assert_int_equal(sim_swap_on(&dev, host(s), SLOTS, NULL), 0);
	assert_int_equal(out(s, 0, 10), 10);
	dev.fail_read_every = 5;
	assert_int_equal(sim_swap_off(&dev), 0);
	assert_int_equal(filemap_nr_swapped(&s->object->cache), 2);
	unsigned int lost = 0;
	for (unsigned int i = 0; i < 10; i++) {
		if (!is_away(s, i))
			continue;
		lost++;
		assert_signal(s->x, SIM_LOAD, A + i * P, SIGBUS, BUS_ADRERR);
		assert_int_equal(get(s, &word, i * P), -EIO);
		assert_int_equal(put(s, 1, i * P), -EIO);
		shmem_punch(s->object, i * P, (i + 1) * P);
		assert_int_equal(fixture_load(s->x, A + i * P), 0);
	}
	assert_int_equal(lost, 2);
	assert_int_equal(sim_swap_on(&dev, host(s), SLOTS, NULL), 0);
	assert_sound(s, NULL);
}

/* --- the Nth allocation fails ---------------------------------------------------------------------------------------- */

/* False: it ran out of memory. */
typedef bool attempt_fn(struct shared *s);

static bool store(struct shared *s)
{
	uint64_t value = 1;

	return !sim_store(s->x->cpu, A, &value, 8).signo;
}

static bool read_call(struct shared *s)
{
	uint64_t word;

	return get(s, &word, 2 * P) == 8;
}

static bool write_call(struct shared *s)
{
	return put(s, 4, 3 * P) == 8;
}

static bool shorter(struct shared *s)
{
	uint64_t word = 1;

	shmem_resize(s->object, 40 * P - 8);
	bool there = get(s, &word, 39 * P) ==
		     8; /* to clear its end it has to be brought; else it says that it is not */
	shmem_resize(s->object, 40 * P);
	return there && get(s, &word, 40 * P - 8) == 8 && !word;
}

static bool device_off(struct shared *s)
{
	(void)s;
	return !sim_swap_off(&dev);
}

static bool all_out(struct shared *s)
{
	out(s, 0, PAGES); /* what was done stays done */
	return !filemap_nr_pages(&s->object->cache);
}

/* A child shares the tables; every second page is in a slot. */
static void fail_each(struct shared *s, attempt_fn *op, bool allocates)
{
	struct frames *f = s->x->mm->frames;
	unsigned int failures = 0;
	struct mm *child;
	bool done = false;

	map(s, A, MAP_SHARED, RW);
	fill(s, A, 40, 1);
	assert_int_equal(mm_fork(s->x->mm, &child), 0);
	for (unsigned int i = 0; i < 40; i += op == all_out ? 40 : 2)
		assert_int_equal(out(s, i, op == all_out ? 0 : 2) > 0, op != all_out);
	for (long n = 1; !done && n < 200; n++) {
		uint64_t failed = atomic_load(&f->nr_fail);
		atomic_store(&f->fail_in, n);
		done = op(s);
		atomic_store(&f->fail_in, 0);
		failures += atomic_load(&f->nr_fail) != failed;
		assert_sound(s, child);
	}
	assert_true(done);
	assert_int_equal(failures > 0, allocates);
	for (unsigned int i = 4; i < 39; i++) {
		assert_int_equal(fixture_load(s->x, A + i * P), 1 + i);
		assert_int_equal(load_in(s, child, A + i * P), 1 + i);
	}
	assert_sound(s, child);
	mmput(child);
}

static void fail_store(void **state)
{
	fail_each(*state, store, true);
}

static void fail_calls(void **state)
{
	fail_each(*state, read_call, true);
	fail_each(*state, write_call, true);
}

static void fail_shorter(void **state)
{
	struct shared *s = *state;

	map(s, B, MAP_SHARED, RW);
	shmem_resize(s->object, 40 * P);
	fill(s, B, 40, 1);
	assert_int_equal(out(s, 39, 1), 1);
	s->x->mm->frames->fail_in = 1;
	shmem_resize(s->object, 40 * P - 8);
	s->x->mm->frames->fail_in = 0;
	assert_sound(s, NULL);
	assert_true(shorter(s));
	assert_sound(s, NULL);
}

static void fail_off(void **state)
{
	struct shared *s = *state;

	fail_each(s, device_off, true);
	assert_int_equal(sim_swap_on(&dev, host(s), SLOTS, NULL), 0);
}

static void takes_no_memory(void **state)
{
	fail_each(*state, all_out, false);
}

#define T(name, fn)                                                \
	{name, fn, setup, teardown, NULL},                         \
	{                                                          \
		name " (shadow)", fn, setup_shadow, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("shmem_swap: pages go to their slots and come back [K24][O1][Y11]", there_and_back),
		T("shmem_swap: one slot for all areas and spaces that show a page [O3][Y11]", one_slot),
		T("shmem_swap: read, write, seek and allocate [Y11]", calls),
		T("shmem_swap: truncation and holes free slots, and clear what is left of a page [O3]",
		  sizes_and_holes),
		T("shmem_swap: the last one who has the object frees its slots [O3]", the_object_goes),
		T("shmem_swap: protection, moves, advice [Y11]", ranges),
		T("shmem_swap: what is locked or pinned stays [O8]", locked),
		T("shmem_swap: a full device takes no more [O3]", full_device),
		T("shmem_swap: neighbours come along [Y11]", read_ahead),
		T("shmem_swap: memory that nobody maps goes, and first what was read in vain [O1]",
		  neighbours_go_first),
		T("shmem_swap: what smaps tells", usage),
		T("shmem_swap: a page that cannot be read is SIGBUS or EIO, and tried again [Y11]",
		  failed_reads),
		T("shmem_swap: a page that a slot does not take goes to another [O2]", failed_writes),
		T("failnth: a store to a page of shared memory in a slot", fail_store),
		T("failnth: read and write of pages in slots", fail_calls),
		T("failnth: a shorter size that cuts a page in a slot", fail_shorter),
		T("failnth: swap_off of shared memory", fail_off),
		T("shmem_swap: giving up shared memory takes none [O1]", takes_no_memory),
		T("shmem_swap: swap_off brings everything back, or says what is lost [O2]", off),
	};

	return cmocka_run_group_tests_name("shmem_swap", tests, NULL, NULL);
}
