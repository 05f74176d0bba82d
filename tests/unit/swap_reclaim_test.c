/* SPDX-License-Identifier: MIT */
/* More memory than the account may have: it goes to swap and comes back, and nobody notices. */
#include <errno.h>
#include <unistd.h>

#include "../../src/mm/shmem.h"
#include "../../src/mm/swap_cache.h"
#include "../../src/mm/vmscan.h"
#include "../sim/fixture.h"
#include "../sim/sim_swap.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#endif
#define A     0x10000000ull
#define B     0x700000000000ull
#define P     PAGE_SIZE
#define RW    (PROT_READ | PROT_WRITE)
#define SLOTS 8192

static struct sim_swap dev;

static struct mm_host *host(const struct fixture *x)
{
	return &x->machine->host;
}

static void threaded(struct sim_swap *s)
{
	s->threaded = true;
}

static int setup(void **state)
{
	int err = fixture_setup(state);

	return err ? err : sim_swap_on(&dev, host(*state), SLOTS, NULL);
}

static int setup_threaded(void **state)
{
	int err = fixture_setup_shadow(state);

	return err ? err : sim_swap_on(&dev, host(*state), SLOTS, threaded);
}

static int teardown(void **state)
{
	struct fixture *x = *state;
	struct mm *space[] = {x->mm};

	while (swap_wait(host(x)))
		;
	assert_int_equal(mm_check_host(host(x), space, 1, complain), 0);
	mm_munmap(x->mm, 0x10000, 1ull << 40);
	assert_int_equal(dev.device.map.nr_used, 0);
	assert_int_equal(dev.nr_wrong, 0);
	assert_int_equal(sim_swap_off(&dev), 0);
	return fixture_teardown(state);
}

static void limit(struct fixture *x, uint64_t pages)
{
	x->mm->memcg->max_pages = x->mm->memcg->usage_pages + pages;
	x->mm->memcg->peak_pages = 0;
}

static void store_all(struct fixture *x, uint64_t nr, uint64_t seed)
{
	for (uint64_t i = 0; i < nr; i++)
		fixture_store(x, A + i * P, seed + i);
}

static void load_all(struct fixture *x, uint64_t nr, uint64_t seed)
{
	for (uint64_t i = 0; i < nr; i++)
		assert_int_equal(fixture_load(x, A + i * P), seed + i);
}

/* Four times as much as fits. */
static void sweeps(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 4000, RW, MAP_FIXED);
	limit(x, 1000);
	store_all(x, 4000, 1);
	load_all(x, 4000, 1);
	store_all(x, 4000, 7);
	load_all(x, 4000, 7);
	assert_true(dev.nr_writes > 5000);
	assert_true(x->mm->memcg->peak_pages <= x->mm->memcg->max_pages);
	assert_mm_sound(x->mm);
}

static void wide_faults(void **state)
{
	struct fixture *x = *state;

	x->mm->fault_around_pages = 512;
	sweeps(state);
}

static void random_accesses(void **state)
{
	struct fixture *x = *state;
	uint64_t rng = random_seed(3), word[3000] = {0};

	fixture_map(x, A, 3000, RW, MAP_FIXED);
	limit(x, 1000);
	for (unsigned int i = 0; i < 30000; i++) {
		uint64_t n = random_below(&rng, random_below(&rng, 3) ? 600 : 3000);
		assert_int_equal(fixture_load(x, A + n * P + 8), word[n]);
		if (random_below(&rng, 2)) {
			word[n] = random_next(&rng);
			fixture_store(x, A + n * P + 8, word[n]);
		}
	}
	assert_mm_sound(x->mm);
}

static void blocks(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 4096, RW, MAP_FIXED);
	assert_int_equal(mm_madvise(x->mm, A, 4096 * P, MADV_HUGEPAGE), 0);
	limit(x, 1600);
	store_all(x, 4096, 1);
	load_all(x, 4096, 1);
	assert_mm_sound(x->mm);
}

static void forked(void **state)
{
	struct fixture *x = *state;
	struct mm *child;

	fixture_map(x, A, 2000, RW, MAP_FIXED);
	store_all(x, 2000, 1);
	assert_int_equal(mm_fork(x->mm, &child), 0);
	limit(x, 300);
	store_all(x, 2000, 9);
	sim_cpu_load(x->cpu, child);
	load_all(x, 2000, 1);
	sim_cpu_load(x->cpu, x->mm);
	load_all(x, 2000, 9);
	mmput(child);
	load_all(x, 2000, 9);
	assert_mm_sound(x->mm);
}

/* What children mapped and left is still cached for the slots that the parent has: it goes, too. */
static void left_by_children(void **state)
{
	struct fixture *x = *state;
	struct mm *child;

	fixture_map(x, A, 3000, RW, MAP_FIXED);
	limit(x, 1000);
	store_all(x, 3000, 1);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(mm_fork(x->mm, &child), 0);
		sim_cpu_load(x->cpu, child);
		load_all(x, 3000, 1);
		sim_cpu_load(x->cpu, x->mm);
		mmput(child);
	}
	fixture_map(x, A + 3000 * P, 900, RW, MAP_FIXED);
	for (unsigned int i = 0; i < 900; i++)
		fixture_store(x, A + (3000 + i) * P, i);
	load_all(x, 3000, 1);
	assert_mm_sound(x->mm);
}

static void shared(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 2000, RW, MAP_FIXED | MAP_SHARED);
	limit(x, 500);
	store_all(x, 2000, 1);
	load_all(x, 2000, 1);
	store_all(x, 2000, 7);
	load_all(x, 2000, 7);
	assert_true(x->mm->memcg->peak_pages <= x->mm->memcg->max_pages);
	assert_mm_sound(x->mm);
}

/* Objects that nobody maps, and calls alone. */
static void by_calls(void **state)
{
	struct fixture *x = *state;
	struct backing *b = shmem_create(host(x), 2000 * P, NULL);
	struct iovec iov;
	uint64_t word;

	limit(x, 500);
	for (uint64_t i = 0; i < 2000; i++) {
		word = i * 3;
		iov = (struct iovec){&word, 8};
		assert_int_equal(shmem_write(b, x->mm->memcg, &iov, 1, i * P + 8 * (i % 512)), 8);
	}
	for (uint64_t i = 0; i < 2000; i++) {
		iov = (struct iovec){&word, 8};
		assert_int_equal(shmem_read(b, &iov, 1, i * P + 8 * (i % 512)), 8);
		assert_int_equal(word, i * 3);
	}
	assert_true(x->mm->memcg->peak_pages <= x->mm->memcg->max_pages);
	assert_int_equal(filemap_check(&b->cache), 0);
	backing_put(b);
}

/* No frame is left but those that the account keeps to give pages back with. */
static void fill_up(struct fixture *x)
{
	struct memcg *cg = x->mm->memcg;

	limit(x, 0);
	while (!memcg_charge(cg, 1))
		cg->max_pages++;
	memcg_uncharge(cg, 1);
	cg->max_pages--;
	cg->peak_pages = 0;
}

/* Tables are memory too. Each call finds the account full to the last page, and pages that could go. */
static void tables(void **state)
{
	struct fixture *x = *state;
	struct mm *child, *other;

	fixture_map(x, A, 2000, RW, MAP_FIXED);
	store_all(x, 2000, 1);
	fill_up(x);
	assert_int_equal(mm_fork(x->mm, &child), 0);
	fill_up(x);
	other = mm_create_in(host(x), x->mm->memcg);
	assert_non_null(other);
	mmput(other);
	fill_up(x);
	assert_int_equal(mm_mprotect(x->mm, A + P, P, PROT_READ), 0);
	fill_up(x);
	assert_int_equal(mm_munmap(x->mm, A + 600 * P, P), 0);
	fill_up(x);
	assert_int_equal(mm_mremap(x->mm, A + 1200 * P, 4 * P, 4 * P, MREMAP_MAYMOVE | MREMAP_FIXED,
				   A + (1ull << 32)),
			 A + (1ull << 32));
	fill_up(x);
	assert_int_equal(mm_madvise(x->mm, A + 1990 * P, P, MADV_GUARD_INSTALL), 0);
	fill_up(x);
	sim_cpu_load(x->cpu, child);
	load_all(x, 2000, 1);
	sim_cpu_load(x->cpu, x->mm);
	mmput(child);
	assert_int_equal(fixture_load(x, A + (1ull << 32) + P), 1202);
	assert_mm_sound(x->mm);
	/* A hole is a hole at once. */
	uint64_t scanned = x->mm->frames->event[PGSCAN_DIRECT];
	fill_up(x);
	assert_int_equal(mm_mprotect(x->mm, B, P, PROT_READ), -ENOMEM);
	assert_int_equal(x->mm->frames->event[PGSCAN_DIRECT], scanned);
}

/* The same of a break that goes back into a table that a child has, too, and of a space that is cloned. */
static void breaks_and_clones(void **state)
{
	const gva_t heap = A + (1ull << 30);
	struct fixture *x = *state;
	struct mm *child, *clone[2];
	uint64_t kept = 0;

	fixture_map(x, A, 1000, RW, MAP_FIXED);
	store_all(x, 1000, 1);
	x->mm->start_brk = x->mm->brk = heap;
	assert_int_equal(mm_brk(x->mm, heap + 600 * P), heap + 600 * P);
	for (uint64_t i = 0; i < 600; i++)
		fixture_store(x, heap + i * P, i);
	assert_int_equal(mm_fork(x->mm, &child), 0);
	fixture_map(x, B, 200, RW, MAP_FIXED); /* what can go without a table */
	for (uint64_t i = 0; i < 200; i++)
		fixture_store(x, B + i * P, i + 1);
	fill_up(x);
	while (memcg_charge_reserve(x->mm->memcg, 1))
		kept++;
	assert_int_equal(mm_brk(x->mm, heap + 100 * P), heap + 100 * P);
	memcg_uncharge(x->mm->memcg, kept);
	fill_up(x);
	assert_int_equal(mm_clone(x->mm, x->mm->memcg, &clone[0]), 0);
	fill_up(x);
	assert_int_equal(mm_clone(x->mm, NULL, &clone[1]), 0);
	assert_true(x->mm->memcg->peak_pages <= x->mm->memcg->max_pages);
	for (unsigned int i = 0; i < 2; i++) {
		sim_cpu_load(x->cpu, clone[i]);
		load_all(x, 1000, 1);
		sim_cpu_load(x->cpu, x->mm);
		mmput(clone[i]);
	}
	mmput(child);
	assert_int_equal(mm_munmap(x->mm, B, 200 * P), 0);
}

static void paged_out(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 100, RW, MAP_FIXED);
	store_all(x, 100, 1);
	assert_int_equal(mm_madvise(x->mm, A + 10 * P, 50 * P, MADV_PAGEOUT), 0);
	while (swap_wait(host(x)))
		;
	assert_int_equal(mm_counter(x->mm, MM_SWAPENTS), 50);
	load_all(x, 100, 1);
}

/* All that could go is on its way, on a device that takes its time: whoever needs a frame waits for that, and is not refused. */
static void *complete_later(void *arg)
{
	struct sim_swap *s = arg;

	for (unsigned int ms = 0; ms < 50 && !sim_swap_complete(s); ms++)
		usleep(10000);
	s->held = false;
	sim_swap_complete(s);
	return NULL;
}

static void waits_for_what_is_on_its_way(void **state)
{
	struct fixture *x = *state;
	struct memcg *cg = x->mm->memcg;
	pthread_t thread;

	fixture_map(x, A, 600, RW, MAP_FIXED);
	store_all(x, 200, 1);
	cg->max_pages = cg->usage_pages;
	dev.held = true;
	assert_int_equal(mm_madvise(x->mm, A, 200 * P, MADV_PAGEOUT), 0);
	assert_int_equal(cg->nr_swap_writes, 200);
	assert_int_equal(memcg_room(cg), 0);
	assert_int_equal(pthread_create(&thread, NULL, complete_later, &dev), 0);
	fixture_store(x, A + 300 * P, 7);
	pthread_join(thread, NULL);
	assert_int_equal(cg->nr_swap_writes, 0);
	cg->max_pages += 1000;
	load_all(x, 200, 1);
}

/* --- several accounts under the host's limit -------------------------------------------------------------------------- */

#define HOST_PAGES 1024

static struct mm *other_with(struct fixture *x, uint64_t nr)
{
	struct mm *other = mm_create(host(x), 100000);
	const struct mmap_request r = {.address = A,
				       .length = nr * P,
				       .prot = RW,
				       .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED};

	assert_non_null(other);
	assert_int_equal(mm_mmap(other, &r), A);
	for (uint64_t i = 0; i < nr; i++)
		assert_int_equal(copy_to_user(other, A + i * P, &i, sizeof(i)), 0);
	return other;
}

/* The host has too few frames for both, and neither its own limit: whoever has more gives more. */
static void all_who_share_the_host_give(void **state)
{
	const struct sim_config config = {.normal_pages = HOST_PAGES};
	struct fixture *x = fixture_new(&config);
	struct sim_swap swap;
	uint64_t word;

	(void)state;
	assert_int_equal(sim_swap_on(&swap, host(x), SLOTS, NULL), 0);
	struct mm *other = other_with(x, 700);
	fixture_map(x, A, 600, RW, MAP_FIXED);
	store_all(x, 600, 1);
	assert_true(mm_counter(other, MM_SWAPENTS) > 0);
	assert_true(mm_counter(other, MM_SWAPENTS) >= mm_counter(x->mm, MM_SWAPENTS));
	load_all(x, 600, 1);
	for (uint64_t i = 0; i < 700; i++) {
		assert_int_equal(copy_from_user(other, &word, A + i * P, sizeof(word)), 0);
		assert_int_equal(word, i);
	}
	assert_int_equal(x->mm->memcg->nr_failures + other->memcg->nr_failures, 0);
	mmput(other);
	load_all(x, 600, 1);
	mm_munmap(x->mm, 0x10000, 1ull << 40);
	assert_int_equal(sim_swap_off(&swap), 0);
	assert_int_equal(fixture_free(x), 0);
}

/* With room on the host an account that is full gives by itself, and nobody else. */
static void who_is_full_gives_alone(void **state)
{
	struct fixture *x = *state;
	struct mm *other = other_with(x, 500);

	fixture_map(x, A, 1000, RW, MAP_FIXED);
	limit(x, 300);
	store_all(x, 1000, 1);
	assert_true(mm_counter(x->mm, MM_SWAPENTS) >= 700);
	assert_int_equal(mm_counter(other, MM_SWAPENTS), 0);
	assert_int_equal(mm_counter(other, MM_ANONPAGES), 500);
	mmput(other);
}

/* A fork of who is full makes room for its tables. */
static void forks_when_full(void **state)
{
	struct fixture *x = *state;
	struct mm *child;

	fixture_map(x, A, 8000, RW, MAP_FIXED);
	limit(x, 700);
	store_all(x, 8000, 1);
	uint64_t rest = memcg_room(x->mm->memcg);
	assert_true(memcg_charge(x->mm->memcg, rest));
	assert_int_equal(mm_fork(x->mm, &child), 0);
	assert_true(x->mm->memcg->peak_pages <= x->mm->memcg->max_pages);
	mmput(child);
	memcg_uncharge(x->mm->memcg, rest);
}

/* Without room on the device it is as without one. */
static void full(void **state)
{
	struct fixture *x = *state;
	uint64_t value = 1;
	unsigned int n = 0;

	fixture_map(x, A, 20000, RW, MAP_FIXED);
	limit(x, 500);
	for (; n < 20000 && !sim_store(x->cpu, A + n * P, &value, 8).signo; n++)
		value++;
	assert_in_range(n, SLOTS, SLOTS + 600);
	assert_int_equal(mm_munmap(x->mm, A, 300 * P), 0);
	for (unsigned int i = 300; i < n; i++)
		assert_int_equal(fixture_load(x, A + i * P), 1 + i);
	assert_mm_sound(x->mm);
}

/* One device after the other goes, with four times what may be in memory: all of it has room on the other one. */
static void off_to_another(struct fixture *x, unsigned int flags)
{
	static struct sim_swap second;

	fixture_map(x, A, 2000, RW, MAP_FIXED | flags);
	limit(x, 500);
	store_all(x, 2000, 1);
	load_all(x, 2000, 1);
	assert_int_equal(sim_swap_on(&second, host(x), SLOTS, NULL), 0);
	assert_int_equal(sim_swap_off(&dev), 0);
	load_all(x, 2000, 1);
	assert_int_equal(sim_swap_on(&dev, host(x), SLOTS, NULL), 0);
	assert_int_equal(second.nr_wrong, 0);
	assert_int_equal(sim_swap_off(&second), 0);
	load_all(x, 2000, 1);
	assert_true(x->mm->memcg->peak_pages <= x->mm->memcg->max_pages);
	assert_mm_sound(x->mm);
}

static void off_private(void **state)
{
	off_to_another(*state, 0);
}

static void off_shared(void **state)
{
	off_to_another(*state, MAP_SHARED);
}

/* Pages that spaces share come back to one after the other: in between they need room, too. */
static void off_forked(void **state)
{
	static struct sim_swap second;
	struct fixture *x = *state;
	struct mm *child;

	fixture_map(x, A, 2000, RW, MAP_FIXED);
	limit(x, 500);
	store_all(x, 2000, 1);
	assert_int_equal(mm_fork(x->mm, &child), 0);
	assert_int_equal(mm_madvise(x->mm, A, 2000 * P, MADV_PAGEOUT), 0);
	assert_int_equal(sim_swap_on(&second, host(x), SLOTS, NULL), 0);
	assert_int_equal(sim_swap_off(&dev), 0);
	load_all(x, 2000, 1);
	sim_cpu_load(x->cpu, child);
	store_all(x, 1000, 7);
	sim_cpu_load(x->cpu, x->mm);
	load_all(x, 2000, 1);
	sim_cpu_load(x->cpu, child);
	load_all(x, 1000, 7);
	sim_cpu_load(x->cpu, x->mm);
	assert_mm_sound(child);
	mmput(child);
	assert_int_equal(sim_swap_on(&dev, host(x), SLOTS, NULL), 0);
	assert_int_equal(second.nr_wrong, 0);
	assert_int_equal(sim_swap_off(&second), 0);
	load_all(x, 2000, 1);
}

static void set_image(bool is_image)
{
	dev.device.is_image = dev.device.map.closed = is_image;
}

/* Pages of an image that are only read go back where they came from, and nothing is written. */
static void back_to_an_image(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 2000, RW, MAP_FIXED);
	store_all(x, 2000, 1);
	assert_int_equal(mm_madvise(x->mm, A, 2000 * P, MADV_PAGEOUT), 0);
	set_image(true);
	limit(x, 500);
	uint64_t written = dev.nr_writes;
	load_all(x, 2000, 1);
	load_all(x, 2000, 1);
	assert_int_equal(dev.nr_writes, written);
	set_image(false);
}

#define CASE(title, fn)                          \
	{                                        \
		title, fn, setup, teardown, NULL \
	}
#define THREADED(title, fn)                               \
	{                                                 \
		title, fn, setup_threaded, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE("reclaim: four times the account's limit, swept by stores and loads [O1][O5]", sweeps),
		THREADED("reclaim: the same with a slow device and a shadow MMU [O1]", sweeps),
		CASE("reclaim: the same with wide faults [O1]", wide_faults),
		CASE("reclaim: three times the limit, at random [O1]", random_accesses),
		THREADED("reclaim: the same with a slow device and a shadow MMU [O1]", random_accesses),
		CASE("reclaim: blocks go, too", blocks),
		CASE("reclaim: spaces forked from one another", forked),
		THREADED("reclaim: the same with a slow device and a shadow MMU", forked),
		CASE("reclaim: what children had mapped and left", left_by_children),
		CASE("reclaim: four times the limit of shared memory [O1]", shared),
		THREADED("reclaim: the same with a slow device and a shadow MMU", shared),
		CASE("reclaim: four times the limit of shared memory that nobody maps [O1]", by_calls),
		CASE("reclaim: forks and changes of areas that find the account full [O5]", tables),
		CASE("reclaim: a break that goes back and clones that find the account full [O5]",
		     breaks_and_clones),
		CASE("reclaim: MADV_PAGEOUT pages out", paged_out),
		CASE("reclaim: who needs a frame waits for what is on its way [O5]",
		     waits_for_what_is_on_its_way),
		CASE("reclaim: who shares the host's limit gives in proportion, contents stay [Y1]",
		     all_who_share_the_host_give),
		CASE("reclaim: who is full gives alone [C12]", who_is_full_gives_alone),
		CASE("reclaim: a fork finds room for its tables in a full account [C12]", forks_when_full),
		CASE("reclaim: a full device, and the account's limit holds", full),
		CASE("swap_off: what comes back in a full account goes to another device [O2]", off_private),
		CASE("swap_off: the same with shared memory [O2]", off_shared),
		CASE("swap_off: the same with pages that spaces share [O2]", off_forked),
		CASE("reclaim: pages of an image go back to it", back_to_an_image),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
