/* SPDX-License-Identifier: MIT */
/* Pages that are compressed in memory on their way to a swap device. */
#include "../../src/mm/census.h"
#include "../../src/mm/shmem.h"
#include "../../src/mm/swap_cache.h"
#include "../../src/mm/vmscan.h"
#include "../sim/fixture.h"
#include "../sim/sim_compress.h"
#include "../sim/sim_swap.h"

#define A     0x10000000ull
#define P     PAGE_SIZE
#define RW    (PROT_READ | PROT_WRITE)
#define SLOTS 4096
#define POOL  64 /* frames */

static struct sim_swap dev;

static struct mm_host *host(const struct fixture *x)
{
	return &x->machine->host;
}

static uint64_t event(const struct fixture *x, enum vm_event what)
{
	return atomic_load(&x->mm->frames->event[what]);
}

static uint64_t nr_stored(const struct fixture *x)
{
	return atomic_load(&x->mm->memcg->zpool.nr_objects);
}

static uint64_t nr_frames(const struct fixture *x)
{
	return atomic_load(&x->mm->memcg->zpool.nr_frames);
}

static int setup_with(struct fixture *x, uint64_t pool)
{
	host(x)->swap.around_pages = 1;
	return zswap_on(host(x), &sim_compress_ops, pool);
}

static int setup(void **state)
{
	int err = fixture_setup(state);

	err = err ? err : setup_with(*state, POOL);
	return err ? err : sim_swap_on(&dev, host(*state), SLOTS, NULL);
}

static int setup_shadow(void **state)
{
	int err = fixture_setup_shadow(state);

	err = err ? err : setup_with(*state, POOL);
	return err ? err : sim_swap_on(&dev, host(*state), SLOTS, NULL);
}

static struct swap_device *ram;

/* No device but memory. */
static int setup_alone(void **state)
{
	int err = fixture_setup(state);

	err = err ? err : setup_with(*state, POOL);
	ram = zswap_device_create(8 * POOL);
	return err ? err : !ram ? -1 : swap_on(host(*state), ram);
}

static void empty_space(struct fixture *x)
{
	mm_munmap(x->mm, 0x10000, 1ull << 40);
	assert_int_equal(nr_stored(x), 0);
	assert_int_equal(nr_frames(x), 0);
}

static int teardown(void **state)
{
	empty_space(*state);
	assert_int_equal(dev.device.map.nr_used, 0);
	assert_int_equal(dev.nr_wrong, 0);
	assert_int_equal(sim_swap_off(&dev), 0);
	return fixture_teardown(state);
}

static int teardown_alone(void **state)
{
	empty_space(*state);
	assert_int_equal(swap_nr_used(ram), 0);
	assert_int_equal(swap_off(ram), 0);
	return fixture_teardown(state);
}

static void assert_sound(const struct fixture *x, struct mm *other)
{
	struct mm *space[] = {x->mm, other};

	assert_mm_sound(x->mm);
	if (other)
		assert_mm_sound(other);
	assert_int_equal(mm_check_host(host(x), space, other ? 2 : 1, complain), 0);
}

/* What is there, or cached for a slot, of nr pages; how many go. */
static uint64_t out(struct fixture *x, gva_t address, unsigned int nr)
{
	struct page *page[600];
	unsigned int n = 0;

	for (unsigned int i = 0; i < nr; i++) {
		pte_t pte = fixture_pte(x, address + i * P);
		struct page *p = pte_present(pte) ? pfn_to_page(x->mm->frames, pte_pfn(pte)) : NULL;
		if (p)
			page_get(p);
		else if (entry_type(pte) == ENTRY_SWAP)
			p = swap_cache_find(host(x), pte_to_swp_entry(pte));
		if (p)
			page[n++] = p;
	}
	return swap_out(host(x), page, n);
}

/* Some words: the page becomes small. */
static void fill(struct fixture *x, gva_t address, unsigned int nr, uint64_t seed)
{
	for (unsigned int i = 0; i < nr; i++)
		for (unsigned int at = 0; at < P; at += 32)
			fixture_store(x, address + i * P + at, seed + i + at);
}

static void assert_filled(struct fixture *x, gva_t address, unsigned int nr, uint64_t seed)
{
	for (unsigned int i = 0; i < nr; i++)
		for (unsigned int at = 0; at < P; at += 32)
			assert_int_equal(fixture_load(x, address + i * P + at), seed + i + at);
}

/* All of them: it does not. */
static void fill_all(struct fixture *x, gva_t address, unsigned int nr, uint64_t seed)
{
	for (unsigned int i = 0; i < nr; i++)
		for (unsigned int at = 0; at < P; at += 8)
			fixture_store(x, address + i * P + at, (seed + i + at) * 3 + 1);
}

static void assert_filled_all(struct fixture *x, gva_t address, unsigned int nr, uint64_t seed)
{
	for (unsigned int i = 0; i < nr; i++)
		for (unsigned int at = 0; at < P; at += 8)
			assert_int_equal(fixture_load(x, address + i * P + at), (seed + i + at) * 3 + 1);
}

/* --- there and back ------------------------------------------------------------------------------------------------ */

static void there_and_back(void **state)
{
	struct fixture *x = *state;
	struct census c;

	fixture_map(x, A, 100, RW, MAP_FIXED);
	fill(x, A, 100, 1);
	uint64_t usage = x->mm->memcg->usage_pages;
	assert_int_equal(out(x, A, 100), 100);
	assert_int_equal(dev.nr_writes, 0);
	assert_int_equal(nr_stored(x), 100);
	assert_in_range(nr_frames(x), 25, 40);
	assert_int_equal(x->mm->memcg->usage_pages, usage - 100 + nr_frames(x));
	census_take(x->mm->frames, &c);
	assert_int_equal(c.compressed, nr_frames(x));
	assert_int_equal(census_sum(&c), c.present);
	assert_sound(x, NULL);
	uint64_t major = x->mm->maj_flt;
	assert_filled(x, A, 100, 1);
	assert_int_equal(x->mm->maj_flt, major + 100);
	assert_int_equal(dev.nr_reads, 0);
	assert_int_equal(event(x, ZSWPOUT), 100);
	assert_int_equal(event(x, ZSWPIN), 100);
	assert_int_equal(nr_stored(x), 100); /* pages that were only read keep their slots */
	assert_int_equal(out(x, A, 50), 50);
	assert_int_equal(event(x, ZSWPOUT), 100);
	fill(x, A, 100, 2);
	assert_int_equal(nr_stored(x), 0);
	assert_int_equal(x->mm->memcg->usage_pages, usage);
	assert_sound(x, NULL);
}

static void others_go_to_the_device(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 64, RW, MAP_FIXED);
	fill_all(x, A, 32, 1);
	fill(x, A + 32 * P, 30, 5);
	for (unsigned int at = 0; at < P; at += 8) {
		fixture_store(x, A + 62 * P + at, 0x1234567812345678); /* all words equal: no object */
		fixture_store(x, A + 63 * P + at, 0);
	}
	assert_int_equal(out(x, A, 64), 64);
	assert_int_equal(dev.nr_writes, 32);
	assert_int_equal(nr_stored(x), 30);
	assert_int_equal(event(x, SWPOUT_ZERO), 2);
	assert_int_equal(event(x, ZSWPOUT_REJECT), 32);
	assert_sound(x, NULL);
	assert_filled_all(x, A, 32, 1);
	assert_filled(x, A + 32 * P, 30, 5);
	assert_int_equal(fixture_load(x, A + 62 * P + 800), 0x1234567812345678);
	assert_int_equal(dev.nr_reads, 32);
}

static void forked(void **state)
{
	struct fixture *x = *state;
	struct mm *child;

	fixture_map(x, A, 20, RW, MAP_FIXED);
	fill(x, A, 20, 1);
	out(x, A, 10);
	assert_int_equal(mm_fork(x->mm, &child), 0);
	out(x, A + 10 * P, 10);
	assert_int_equal(nr_stored(x), 20);
	assert_sound(x, child);
	fill(x, A, 20, 7);
	assert_int_equal(nr_stored(x), 20); /* the child's still */
	assert_sound(x, child);
	mmput(child);
	assert_int_equal(nr_stored(x), 0);
	assert_filled(x, A, 20, 7);
	assert_sound(x, NULL);
}

static void shared_memory(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 40, RW, MAP_FIXED | MAP_SHARED);
	fill(x, A, 40, 3);
	assert_int_equal(out(x, A, 40), 40);
	assert_int_equal(nr_stored(x), 40);
	assert_int_equal(dev.nr_writes, 0);
	assert_sound(x, NULL);
	assert_filled(x, A, 20, 3);
	fill(x, A, 10, 4);
	assert_sound(x, NULL);
	assert_filled(x, A + 20 * P, 20, 23);
	assert_filled(x, A, 10, 4);
}

static void device_off(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 60, RW, MAP_FIXED);
	fill(x, A, 40, 1);
	fill_all(x, A + 40 * P, 20, 1);
	assert_int_equal(out(x, A, 60), 60);
	assert_int_equal(sim_swap_off(&dev), 0);
	assert_int_equal(nr_stored(x), 0);
	assert_int_equal(nr_frames(x), 0);
	assert_filled(x, A, 40, 1);
	assert_filled_all(x, A + 40 * P, 20, 1);
	assert_sound(x, NULL);
	assert_int_equal(sim_swap_on(&dev, host(x), SLOTS, NULL), 0);
}

/* --- writing back -------------------------------------------------------------------------------------------------- */

static void the_oldest_go_on(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 600, RW, MAP_FIXED);
	fill(x, A, 600, 1);
	assert_int_equal(out(x, A, 600), 600);
	assert_true(nr_frames(x) <= POOL);
	assert_true(event(x, ZSWPWB) > 300);
	assert_int_equal(event(x, ZSWPWB), dev.nr_writes);
	assert_int_equal(nr_stored(x), 600 - dev.nr_writes);
	assert_true(dev.nr_transfers < dev.nr_writes / 8); /* neighbours go together */
	assert_sound(x, NULL);
	assert_filled(x, A + 560 * P, 40, 561);
	assert_int_equal(dev.nr_reads, 0); /* what went last is in memory */
	assert_filled(x, A, 600, 1);
	assert_sound(x, NULL);
}

static void writes_that_fail(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 100, RW, MAP_FIXED);
	fill(x, A, 100, 1);
	assert_int_equal(out(x, A, 100), 100);
	dev.fail_write_every = 2;
	uint64_t stored = nr_stored(x), going = zswap_write_back(host(x), x->mm->memcg, 8);
	assert_true(going >= 8);
	assert_true(dev.nr_failed > 0 && dev.nr_writes > 0);
	assert_int_equal(nr_stored(x), stored - dev.nr_writes);
	dev.fail_write_every = 0;
	assert_sound(x, NULL);
	assert_filled(x, A, 100, 1);
}

/* While the device keeps them waiting. */
static void used_meanwhile(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 60, RW, MAP_FIXED);
	fill(x, A, 60, 1);
	assert_int_equal(out(x, A, 60), 60);
	dev.held = true;
	assert_true(zswap_write_back(host(x), x->mm->memcg, 1) > 0);
	assert_int_equal(x->mm->memcg->nr_swap_writes, 1);
	assert_filled(x, A, 20, 1);	      /* read, */
	fill(x, A + 20 * P, 20, 100);	      /* taken from their slots, */
	mm_munmap(x->mm, A + 40 * P, 20 * P); /* and gone */
	assert_sound(x, NULL);
	assert_int_equal(dev.device.map.nr_used, 60); /* no slot is somebody else's before */
	assert_true(sim_swap_complete(&dev) > 0);
	dev.held = false;
	assert_int_equal(dev.device.map.nr_used, 20);
	assert_int_equal(nr_stored(x), 0);
	assert_int_equal(x->mm->memcg->nr_swap_writes, 0);
	assert_sound(x, NULL);
	assert_int_equal(out(x, A, 20), 20); /* unchanged, and on the device */
	assert_int_equal(nr_stored(x), 0);
	assert_filled(x, A, 20, 1);
	assert_int_equal(dev.nr_reads, 20);
	assert_filled(x, A + 20 * P, 20, 100);
}

/* A byte of what is stored is another one. */
static void damage(void **state)
{
	struct fixture *x = *state;
	uint64_t value;

	fixture_map(x, A, 3, RW, MAP_FIXED);
	fill(x, A, 3, 1);
	assert_int_equal(out(x, A, 3), 3);
	uint64_t at = swp_slot(pte_to_swp_entry(fixture_pte(x, A + P)));
	uint64_t handle = dev.device.map.slot[at].value;
	char *frame = pfn_address(x->mm->frames, handle >> 8);
	uint64_t *word = (uint64_t *)(void *)frame;
	for (unsigned int i = P / 8 - 1; i; i--)
		if (word[i] == 1 + 1 + 128) { /* of the second page */
			word[i] ^= 1ull << 40;
			break;
		}
	assert_int_equal(sim_load(x->cpu, A + P, &value, 8).signo, SIGBUS);
	assert_int_equal(sim_load(x->cpu, A + P, &value, 8).signo, SIGBUS);
	assert_filled(x, A, 1, 1);
	assert_filled(x, A + 2 * P, 1, 3);
	zswap_write_back(host(x), x->mm->memcg, 1);
	assert_int_equal(sim_load(x->cpu, A + P, &value, 8).signo,
			 SIGBUS); /* and does not become good by that */
	assert_sound(x, NULL);
}

/* --- limits -------------------------------------------------------------------------------------------------------- */

/* More than the account may have, which is 200; frames of the pool are in it. */
static void use_more(struct fixture *x, unsigned int nr)
{
	struct memcg *cg = x->mm->memcg;

	fixture_map(x, A, nr, RW, MAP_FIXED);
	cg->max_pages = cg->usage_pages + 200;
	atomic_store(&cg->peak_pages, 0);
	for (unsigned int round = 0; round < 3; round++) {
		fill(x, A, nr, round + 1);
		assert_filled(x, A, nr, round + 1);
		assert_sound(x, NULL);
	}
	assert_true(cg->peak_pages <= cg->max_pages);
	assert_true(event(x, ZSWPOUT) > nr && event(x, ZSWPIN) > nr);
	cg->max_pages = 1u << 20;
}

static void within_the_limit(void **state)
{
	use_more(*state, 400);
}

/* When there is nothing else: reclaim finds no page that is not in the pool. */
static void short_of_memory(void **state)
{
	struct fixture *x = *state;
	struct memcg *cg = x->mm->memcg;

	fixture_map(x, A, 100, RW, MAP_FIXED);
	fill(x, A, 100, 1);
	assert_int_equal(out(x, A, 100), 100);
	uint64_t before = nr_frames(x);
	assert_true(memcg_reclaim(host(x), cg, 10, 0) > 0);
	assert_true(nr_frames(x) <= before - 10);
	assert_sound(x, NULL);
	assert_filled(x, A, 100, 1);
}

/* --- without a device ---------------------------------------------------------------------------------------------- */

static void alone(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 300, RW, MAP_FIXED);
	fill(x, A, 180, 1);
	fill_all(x, A + 200 * P, 10, 1);
	out(x, A, 210);
	assert_in_range(nr_frames(x), 60, POOL);
	assert_int_equal(nr_stored(x), 180);
	assert_int_equal(mm_counter(x->mm, MM_ANONPAGES), 0);
	assert_int_equal(ram->map.nr_cached, 10); /* what did not become small is there */
	assert_sound(x, NULL);
	assert_filled_all(x, A + 200 * P, 10, 1);
	fill_all(x, A + 200 * P, 10, 2);
	assert_filled(x, A, 180, 1);
	fill(x, A, 300, 3);
	out(x, A, 300);
	assert_true(nr_frames(x) <= POOL); /* and what had no room */
	assert_true(nr_stored(x) < 300);
	assert_int_equal(zswap_write_back(host(x), x->mm->memcg, 1), 0);
	assert_sound(x, NULL);
	assert_filled(x, A, 300, 3);
	assert_int_equal(ram->map.nr_bad, 0);
}

static void alone_off(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 100, RW, MAP_FIXED);
	fill(x, A, 100, 1);
	out(x, A, 100);
	assert_int_equal(swap_off(ram), 0);
	assert_filled(x, A, 100, 1);
	assert_int_equal(nr_frames(x), 0);
	ram = zswap_device_create(8 * POOL);
	assert_int_equal(swap_on(host(x), ram), 0);
}

static void alone_within_the_limit(void **state)
{
	use_more(*state, 300);
}

static void on_twice(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(zswap_on(host(x), &sim_compress_ops, 1), -EBUSY);
	zswap_off(host(x));
	assert_int_equal(zswap_on(host(x), &sim_compress_ops, 0), -EINVAL);
	fixture_map(x, A, 4, RW, MAP_FIXED);
	fill(x, A, 4, 1);
	out(x, A, 4);
	assert_int_equal(dev.nr_writes, 4);
	assert_filled(x, A, 4, 1);
}

/* --- the Nth allocation fails -------------------------------------------------------------------------------------- */

static void fail_each(void **state)
{
	struct fixture *x = *state;
	struct frames *f = x->mm->frames;
	unsigned int failures = 0;

	fixture_map(x, A, 60, RW, MAP_FIXED);
	for (long n = 1; n < 40; n++) {
		uint64_t failed = atomic_load(&f->nr_fail);
		fill(x, A, 60, (uint64_t)n);
		atomic_store(&f->fail_in, n);
		assert_int_equal(out(x, A, 60), 60); /* by the device, where no frame can be had */
		atomic_store(&f->fail_in, 0);
		failures += atomic_load(&f->nr_fail) != failed;
		assert_sound(x, NULL);
		assert_filled(x, A, 60, (uint64_t)n);
		assert_sound(x, NULL);
	}
	assert_in_range(failures, 10, 38);
}

static void fail_each_touch(void **state)
{
	struct fixture *x = *state;
	struct frames *f = x->mm->frames;
	unsigned int failures = 0;

	fixture_map(x, A, 60, RW, MAP_FIXED);
	fill(x, A, 60, 1);
	for (long n = 1; n < 20; n++) {
		uint64_t failed = atomic_load(&f->nr_fail), value;
		out(x, A, 60);
		atomic_store(&f->fail_in, n);
		for (unsigned int i = 0; i < 60; i++)
			sim_load(x->cpu, A + i * P, &value, 8);
		atomic_store(&f->fail_in, 0);
		failures += atomic_load(&f->nr_fail) != failed;
		assert_sound(x, NULL);
		assert_filled(x, A, 60, 1);
	}
	assert_true(failures > 10);
}

#define CASE(title, fn)                          \
	{                                        \
		title, fn, setup, teardown, NULL \
	}
#define SHADOW(title, fn)                               \
	{                                               \
		title, fn, setup_shadow, teardown, NULL \
	}
#define ALONE(title, fn)                                     \
	{                                                    \
		title, fn, setup_alone, teardown_alone, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE("zswap: pages become small and come back, on the account all the time [O1][K24]",
		     there_and_back),
		SHADOW("zswap: the same with a shadow MMU", there_and_back),
		CASE("zswap: what does not become small goes to the device, equal words nowhere",
		     others_go_to_the_device),
		CASE("zswap: pages that a fork shares are stored once", forked),
		CASE("zswap: shared memory", shared_memory),
		CASE("zswap: swap_off brings back what is compressed [O2]", device_off),
		CASE("zswap: when there are many the oldest go to the device", the_oldest_go_on),
		CASE("zswap: what the device does not take stays compressed", writes_that_fail),
		CASE("zswap: pages are read, written and unmapped while they are written back",
		     used_meanwhile),
		SHADOW("zswap: the same with a shadow MMU", used_meanwhile),
		CASE("zswap: damage is SIGBUS for who touches the page", damage),
		CASE("zswap: the limit holds with the pool in it", within_the_limit),
		CASE("zswap: short of memory, compressed pages go to the device", short_of_memory),
		ALONE("zswap: without a device, what does not become small stays [O1]", alone),
		ALONE("zswap: swap_off of memory", alone_off),
		ALONE("zswap: more than the limit without a device", alone_within_the_limit),
		CASE("zswap: on once, and off", on_twice),
		CASE("failnth: zswap_store", fail_each),
		CASE("failnth: reading compressed pages", fail_each_touch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
