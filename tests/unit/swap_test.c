/* SPDX-License-Identifier: MIT */
/* Pages that go to a swap device and come back. */
#include <sched.h>
#include <signal.h>
#include <time.h>

#include "../../src/mm/block.h"
#include "../../src/mm/fault.h"
#include "../../src/mm/swap_cache.h"
#include "../../src/mm/usage.h"
#include "../sim/fixture.h"
#include "../sim/sim_swap.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif
#define A     0x10000000ull
#define P     PAGE_SIZE
#define RW    (PROT_READ | PROT_WRITE)
#define SLOTS 4096

static struct sim_swap dev;

static struct mm_host *host(const struct fixture *x)
{
	return &x->machine->host;
}

/* A page at a time, unless a test wants more. */
static int with_device(void **state)
{
	host(*state)->swap.around_pages = 1;
	return sim_swap_on(&dev, host(*state), SLOTS, NULL);
}

static int setup(void **state)
{
	int err = fixture_setup(state);

	return err ? err : with_device(state);
}

static int setup_shadow(void **state)
{
	int err = fixture_setup_shadow(state);

	return err ? err : with_device(state);
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	mm_munmap(x->mm, 0x10000, 1ull << 40);
	assert_int_equal(dev.device.map.nr_used, 0);
	assert_int_equal(dev.nr_wrong, 0);
	assert_int_equal(sim_swap_off(&dev), 0);
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

static bool is_swapped(struct fixture *x, gva_t address)
{
	return entry_type(fixture_pte(x, address)) == ENTRY_SWAP;
}

static struct page *page_at(struct fixture *x, gva_t address)
{
	pte_t pte = fixture_pte(x, address);

	return pte_present(pte) ? pfn_to_page(x->mm->frames, pte_pfn(pte)) : NULL;
}

/* Takes out what is there of nr pages from an address on; how many go. */
static uint64_t out(struct fixture *x, gva_t address, unsigned int nr)
{
	struct page *page[600];
	unsigned int n = 0;

	for (unsigned int i = 0; i < nr; i++) {
		struct page *p = page_at(x, address + i * P);
		if (!p)
			continue;
		page_get(p);
		page[n++] = p;
	}
	return swap_out(host(x), page, n);
}

static void fill(struct fixture *x, gva_t address, unsigned int nr, uint64_t seed)
{
	for (unsigned int i = 0; i < nr; i++) {
		fixture_store(x, address + i * P, seed + i);
		fixture_store(x, address + i * P + P - 8, ~(seed + i));
	}
}

static void assert_filled(struct fixture *x, gva_t address, unsigned int nr, uint64_t seed)
{
	for (unsigned int i = 0; i < nr; i++) {
		assert_int_equal(fixture_load(x, address + i * P), seed + i);
		assert_int_equal(fixture_load(x, address + i * P + P - 8), ~(seed + i));
	}
}

/* --- there and back ------------------------------------------------------------------------------------------------ */

static void there_and_back(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 100, RW, MAP_FIXED);
	fill(x, A, 100, 1);
	uint64_t usage = atomic_load(&x->mm->memcg->usage_pages);
	assert_int_equal(out(x, A, 100), 100);
	assert_int_equal(atomic_load(&x->mm->memcg->usage_pages), usage - 100);
	assert_int_equal(x->mm->memcg->swap_pages, 100);
	assert_int_equal(mm_counter(x->mm, MM_ANONPAGES), 0);
	assert_int_equal(mm_counter(x->mm, MM_SWAPENTS), 100);
	assert_int_equal(dev.nr_writes, 100);
	assert_int_equal(dev.nr_transfers, 2);
	for (unsigned int i = 0; i < 100; i++)
		assert_true(is_swapped(x, A + i * P));
	assert_sound(x, NULL);
	uint64_t major = x->mm->maj_flt;
	assert_filled(x, A, 100, 1);
	assert_int_equal(x->mm->maj_flt, major + 100);
	assert_int_equal(dev.nr_reads, 100);
	assert_int_equal(mm_counter(x->mm, MM_ANONPAGES), 100);
	assert_int_equal(mm_counter(x->mm, MM_SWAPENTS), 0);
	assert_int_equal(x->mm->faults[FAULT_SWAP], 100);
	assert_sound(x, NULL);
}

static void a_write_takes_the_slot_back(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 2, RW, MAP_FIXED);
	fill(x, A, 2, 7);
	assert_int_equal(out(x, A, 2), 2);
	fixture_store(x, A + 16, 5);
	assert_int_equal(dev.device.map.nr_used, 1);
	assert_int_equal(fixture_load(x, A + P), 8);
	assert_int_equal(dev.device.map.nr_used, 1);
	fixture_store(x, A + P, 9);
	assert_int_equal(dev.device.map.nr_used, 0);
	assert_int_equal(fixture_load(x, A), 7);
	assert_int_equal(fixture_load(x, A + 16), 5);
	assert_int_equal(fixture_load(x, A + P), 9);
	assert_sound(x, NULL);
}

/* Only what was written since goes by a transfer. */
static void clean_pages(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 20, RW, MAP_FIXED);
	fill(x, A, 20, 3);
	assert_int_equal(out(x, A, 20), 20);
	assert_filled(x, A, 20, 3);
	assert_int_equal(dev.nr_writes, 20);
	fixture_store(x, A + 5 * P, 100);
	assert_int_equal(out(x, A, 20), 20);
	assert_int_equal(dev.nr_writes, 21);
	fixture_store(x, A + 5 * P, 8);
	assert_filled(x, A, 20, 3);
	assert_sound(x, NULL);
}

static void equal_words(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 3, RW, MAP_FIXED);
	fixture_store(x, A, 0);
	for (unsigned int i = 0; i < P; i += 8)
		fixture_store(x, A + P + i, 0x1234567890abcdef);
	fixture_store(x, A + 2 * P, 0);
	assert_int_equal(out(x, A, 3), 3);
	assert_int_equal(dev.nr_transfers, 0);
	assert_int_equal(x->mm->frames->event[SWPOUT_ZERO], 3);
	assert_sound(x, NULL);
	for (unsigned int i = 0; i < P; i += 8) {
		assert_int_equal(fixture_load(x, A + i), 0);
		assert_int_equal(fixture_load(x, A + P + i), 0x1234567890abcdef);
	}
	assert_int_equal(out(x, A, 3), 2);
	fixture_store(x, A + P + 8, 1);
	assert_int_equal(fixture_load(x, A + P), 0x1234567890abcdef);
	assert_int_equal(x->mm->maj_flt, 0);
	assert_sound(x, NULL);
}

/* --- who has to stay ----------------------------------------------------------------------------------------------- */

static void locked_areas(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 4, RW, MAP_FIXED);
	fill(x, A, 4, 1);
	assert_int_equal(mm_mlock(x->mm, A + P, 2 * P, 0), 0);
	assert_int_equal(out(x, A, 4), 2);
	assert_false(is_swapped(x, A + P));
	assert_false(is_swapped(x, A + 2 * P));
	assert_true(is_swapped(x, A));
	assert_int_equal(dev.device.map.nr_used, 2);
	fill(x, A + P, 2, 20);
	assert_sound(x, NULL);
	/* And what is locked now comes back. */
	assert_int_equal(mm_mlock(x->mm, A, 4 * P, 0), 0);
	assert_int_equal(mm_counter(x->mm, MM_SWAPENTS), 0);
	assert_int_equal(fixture_load(x, A + 3 * P), 4);
	assert_sound(x, NULL);
}

static void pins(void **state)
{
	struct fixture *x = *state;
	struct page *pinned;

	fixture_map(x, A, 2, RW, MAP_FIXED);
	fill(x, A, 2, 1);
	assert_int_equal(get_user_pages(x->mm, A, 1, GUP_WRITE, &pinned), 1);
	assert_int_equal(out(x, A, 2), 1);
	assert_false(is_swapped(x, A));
	assert_true(is_swapped(x, A + P));
	memset(page_address(x->mm->frames, pinned), 0x11, 8);
	assert_sound(x, NULL);
	put_user_pages(x->mm, 1, &pinned);
	assert_int_equal(out(x, A, 2), 1);
	assert_int_equal(fixture_load(x, A), 0x1111111111111111);
	assert_sound(x, NULL);
}

static void full_device(void **state)
{
	struct fixture *x = *state;
	struct sim_swap small;

	assert_int_equal(sim_swap_off(&dev), 0);
	assert_int_equal(sim_swap_on(&small, host(x), 4, NULL), 0);
	fixture_map(x, A, 5, RW, MAP_FIXED);
	fill(x, A, 5, 1);
	assert_int_equal(out(x, A, 5), 3);
	assert_sound(x, NULL);
	assert_filled(x, A, 5, 1);
	fill(x, A, 5, 9);
	assert_int_equal(small.device.map.nr_used, 0);
	assert_int_equal(sim_swap_off(&small), 0);
	assert_int_equal(sim_swap_on(&dev, host(x), SLOTS, NULL), 0);
}

/* --- neighbours ---------------------------------------------------------------------------------------------------- */

static void read_ahead(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 512, RW, MAP_FIXED);
	fill(x, A, 512, 1);
	host(x)->swap.around_pages = SWAP_AROUND_PAGES;
	assert_int_equal(out(x, A, 512), 512);
	uint64_t transfers = dev.nr_transfers, faults = x->mm->faults[FAULT_SWAP];
	assert_filled(x, A, 512, 1);
	assert_true(x->mm->faults[FAULT_SWAP] - faults <= 12);
	assert_true(dev.nr_transfers - transfers <= 16);
	assert_int_equal(dev.nr_reads, 512);
	assert_true(x->mm->frames->event[SWAP_RA_HIT] > 300);
	assert_sound(x, NULL);
	/* And a row of writes takes them from their slots with few faults, too. */
	x->mm->fault_around_pages = 512;
	for (unsigned int i = 0; i < 512; i++)
		fixture_store(x, A + i * P + 8, i);
	assert_true(x->mm->faults[FAULT_WP_REUSE] <= 8);
	assert_int_equal(dev.device.map.nr_used, 0);
	assert_filled(x, A, 512, 1);
	assert_sound(x, NULL);
}

static bool is_on_its_way(struct fixture *x, gva_t address)
{
	return swap_cached(host(x), fixture_pte(x, address));
}

/* How many pages from there on. */
static unsigned int nr_on_their_way(struct fixture *x, gva_t address)
{
	unsigned int n = 0;

	while (is_on_its_way(x, address + n * P))
		n++;
	return n;
}

/*
 * What lies behind is on its way when a fault in a row returns; whoever comes there has it without another transfer, and asks for more than
 * he takes.
 */
static void reads_go_on_behind_the_guest(void **state)
{
	struct fixture *x = *state;
	unsigned int i = 0;

	fixture_map(x, A, 1024, RW, MAP_FIXED);
	fill(x, A, 1024, 1);
	host(x)->swap.around_pages = 32;
	assert_int_equal(out(x, A, 512), 512);
	assert_int_equal(out(x, A + 512 * P, 512), 512);
	dev.held_ahead = true;
	for (; i < 512 && !dev.nr_waiting; i++)
		assert_int_equal(fixture_load(x, A + i * P), i + 1);
	assert_in_range(i, 9, 128);
	assert_in_range(x->mm->memcg->nr_swap_waits, 2, x->mm->memcg->nr_swap_faults);
	for (; !is_on_its_way(x, A + i * P); i++) /* the rest of the window that the last fault mapped */
		assert_int_equal(fixture_load(x, A + i * P), i + 1);
	unsigned int ahead = nr_on_their_way(x, A + i * P);
	assert_in_range(ahead, 32, 64);
	uint64_t reads = dev.nr_reads;
	assert_true(sim_swap_complete(&dev) >= 1);
	assert_int_equal(dev.nr_reads, reads + ahead);
	uint64_t faults = x->mm->memcg->nr_swap_faults, waits = x->mm->memcg->nr_swap_waits;
	for (unsigned int n = 0; n < ahead; n++)
		assert_int_equal(fixture_load(x, A + (i + n) * P), i + n + 1);
	assert_int_equal(dev.nr_reads, reads + ahead);
	assert_true(x->mm->memcg->nr_swap_faults > faults);
	assert_int_equal(x->mm->memcg->nr_swap_waits, waits);
	i += ahead;
	assert_in_range(nr_on_their_way(x, A + i * P), ahead + 1, SWAP_AHEAD_PAGES);
	dev.held_ahead = false;
	sim_swap_complete(&dev);
	/* One that failed on its way is read by who comes. */
	dev.fail_read_every = 2;
	for (unsigned int n = 0; n < 64; n++)
		fixture_load(x, A + (i + n) * P);
	dev.fail_read_every = 0;
	assert_filled(x, A, 1024, 1);
	assert_sound(x, NULL);
}

/* And not where memory is short. */
static void nothing_is_ahead_without_room(void **state)
{
	struct fixture *x = *state;
	uint64_t most = x->mm->memcg->max_pages;

	fixture_map(x, A, 512, RW, MAP_FIXED);
	fill(x, A, 512, 1);
	host(x)->swap.around_pages = 32;
	assert_int_equal(out(x, A, 512), 512);
	x->mm->memcg->max_pages = x->mm->memcg->usage_pages + 200;
	for (unsigned int i = 0; i < 140; i++)
		assert_int_equal(fixture_load(x, A + i * P), i + 1);
	uint64_t reads = dev.nr_reads;
	assert_true(reads <= 200);
	x->mm->memcg->max_pages = most;
	assert_filled(x, A, 512, 1);
	assert_sound(x, NULL);
}

/* Neighbours that nobody uses are not read for long. */
static void scattered(void **state)
{
	struct fixture *x = *state;
	uint64_t rng = random_seed(8);

	fixture_map(x, A, 2048, RW, MAP_FIXED);
	fill(x, A, 2048, 1);
	host(x)->swap.around_pages = SWAP_AROUND_PAGES;
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(out(x, A + i * 512 * P, 512), 512);
	for (unsigned int i = 0; i < 100; i++) {
		uint64_t n = random_below(&rng, 2048);
		assert_int_equal(fixture_load(x, A + n * P), 1 + n);
	}
	assert_true(dev.nr_reads < 140);
	assert_sound(x, NULL);
}

/* Objects of one size at random places come as they are, with few faults and little else. */
static void objects(void **state)
{
	const unsigned int objects = 40, pages = 16;
	struct fixture *x = *state;
	uint64_t rng = random_seed(9);

	fixture_map(x, A, 2048, RW, MAP_FIXED);
	fill(x, A, 2048, 1);
	host(x)->swap.around_pages = SWAP_AROUND_PAGES;
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(out(x, A + i * 512 * P, 512), 512);
	uint64_t faults = x->mm->faults[FAULT_SWAP];
	for (unsigned int i = 0; i < objects; i++) {
		uint64_t first = (i * 2048 / pages / objects + random_below(&rng, 3)) * pages;
		for (uint64_t n = first; n < first + pages; n++)
			assert_int_equal(fixture_load(x, A + n * P), 1 + n);
	}
	assert_in_range(dev.nr_reads, 1, objects * pages * 5 / 4);
	assert_in_range(x->mm->faults[FAULT_SWAP] - faults, 1, objects * 3 / 2);
	assert_sound(x, NULL);
}

/* Those about to be used are marked used, lest a shadow MMU fill them one by one; those that only may be are not. */
static void marked_used_in_a_row(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 512, RW, MAP_FIXED);
	fill(x, A, 512, 1);
	host(x)->swap.around_pages = SWAP_AROUND_PAGES;
	assert_int_equal(out(x, A, 512), 512);
	assert_int_equal(fixture_load(x, A), 1);
	assert_true(pte_present(fixture_pte(x, A + P)));
	assert_false(fixture_pte(x, A + P) & PTE_ACCESSED);
	unsigned int i = 1;
	for (; i < 66; i++)
		assert_int_equal(fixture_load(x, A + i * P), i + 1);
	assert_true(pte_present(fixture_pte(x, A + i * P)));
	assert_true(fixture_pte(x, A + i * P) & PTE_ACCESSED);
	assert_sound(x, NULL);
}

/* A neighbour that cannot be read, or for which there is no room, is not the fault's matter. */
static void neighbours_that_fail(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 8, RW, MAP_FIXED);
	fill(x, A, 8, 1);
	host(x)->swap.around_pages = 8;
	assert_int_equal(out(x, A, 8), 8);
	dev.fail_read_every = 3;
	assert_int_equal(fixture_load(x, A), 1);
	dev.fail_read_every = 0;
	assert_int_equal(mm_counter(x->mm, MM_ANONPAGES), 2);
	assert_sound(x, NULL);
	assert_filled(x, A, 8, 1);
	assert_int_equal(out(x, A, 8), 8);
	uint64_t most = x->mm->memcg->max_pages;
	x->mm->memcg->max_pages = x->mm->memcg->usage_pages + 3;
	assert_int_equal(fixture_load(x, A + 4 * P), 5);
	x->mm->memcg->max_pages = most;
	assert_sound(x, NULL);
	assert_filled(x, A, 8, 1);
}

/* --- several spaces ------------------------------------------------------------------------------------------------ */

/* The processor runs in the other space for one access. */
static uint64_t load_in(struct fixture *x, struct mm *mm, gva_t address)
{
	sim_cpu_load(x->cpu, mm);
	uint64_t value = fixture_load(x, address);
	sim_cpu_load(x->cpu, x->mm);
	return value;
}

static void store_in(struct fixture *x, struct mm *mm, gva_t address, uint64_t value)
{
	sim_cpu_load(x->cpu, mm);
	fixture_store(x, address, value);
	sim_cpu_load(x->cpu, x->mm);
}

static void forked(void **state)
{
	struct fixture *x = *state;
	struct mm *child;

	fixture_map(x, A, 8, RW, MAP_FIXED);
	fill(x, A, 8, 1);
	assert_int_equal(mm_fork(x->mm, &child), 0);
	assert_int_equal(out(x, A, 8), 8);
	assert_int_equal(dev.device.map.nr_used, 8);
	assert_int_equal(mm_counter(x->mm, MM_SWAPENTS), 8);
	assert_int_equal(mm_counter(child, MM_SWAPENTS), 8);
	assert_sound(x, child);
	assert_int_equal(load_in(x, child, A), 1);
	assert_int_equal(fixture_load(x, A), 1);
	assert_int_equal(dev.nr_reads, 1); /* one frame for both */
	fixture_store(x, A, 50);
	assert_int_equal(load_in(x, child, A), 1);
	store_in(x, child, A + P, 60);
	assert_int_equal(fixture_load(x, A + P), 2);
	assert_sound(x, child);
	assert_int_equal(out(x, A, 8), 2);
	assert_int_equal(fixture_load(x, A), 50);
	assert_int_equal(load_in(x, child, A), 1);
	assert_int_equal(load_in(x, child, A + P), 60);
	for (unsigned int i = 2; i < 8; i++)
		assert_int_equal(load_in(x, child, A + i * P), 1 + i);
	assert_sound(x, child);
	mmput(child);
	assert_sound(x, NULL);
	assert_filled(x, A + 2 * P, 6, 3);
}

static void fork_of_swapped(void **state)
{
	struct fixture *x = *state;
	struct mm *child, *grandchild;

	fixture_map(x, A, 8, RW, MAP_FIXED);
	fill(x, A, 8, 1);
	assert_int_equal(out(x, A, 8), 8);
	assert_int_equal(mm_fork(x->mm, &child), 0);
	assert_int_equal(mm_fork(child, &grandchild), 0);
	assert_int_equal(mm_counter(grandchild, MM_SWAPENTS), 8);
	assert_int_equal(load_in(x, grandchild, A), 1);
	store_in(x, grandchild, A + P, 70);
	store_in(x, child, A + P, 80);
	fixture_store(x, A + P, 90);
	assert_int_equal(load_in(x, grandchild, A + P), 70);
	assert_int_equal(load_in(x, child, A + P), 80);
	assert_int_equal(mm_munmap(x->mm, A, 8 * P), 0);
	mmput(grandchild);
	assert_sound(x, child);
	assert_int_equal(load_in(x, child, A + 2 * P), 3);
	mmput(child);
	assert_int_equal(dev.device.map.nr_used, 0);
}

/* A pin of the parent's on a page that is in the cache as well: the child gets its own, as if there were no swap. */
static void fork_of_pinned(void **state)
{
	struct fixture *x = *state;
	struct page *pinned;
	struct mm *child;

	fixture_map(x, A, 2, RW, MAP_FIXED);
	fill(x, A, 2, 1);
	assert_int_equal(out(x, A, 2), 2);
	assert_int_equal(get_user_pages(x->mm, A, 1, GUP_WRITE, &pinned), 1);
	assert_int_equal(mm_fork(x->mm, &child), 0);
	fixture_store(x, A, 5);
	assert_int_equal(*(uint64_t *)page_address(x->mm->frames, pinned), 5);
	assert_int_equal(load_in(x, child, A), 1);
	put_user_pages(x->mm, 1, &pinned);
	assert_sound(x, child);
	mmput(child);
}

static void spaces_on_the_list(void **state)
{
	struct fixture *x = *state;
	struct swap_space *s = &host(x)->swap;
	struct mm *child;

	fixture_map(x, A, 1, RW, MAP_FIXED);
	fill(x, A, 1, 1);
	assert_true(list_empty(&s->mmlist));
	assert_int_equal(out(x, A, 1), 1);
	assert_true(list_is_singular(&s->mmlist));
	assert_ptr_equal(list_entry(s->mmlist.next, struct mm, mmlist), x->mm);
	assert_int_equal(mm_fork(x->mm, &child), 0);
	assert_false(list_is_singular(&s->mmlist));
	mmput(child);
	assert_true(list_is_singular(&s->mmlist));
}

/* --- what is done to ranges ---------------------------------------------------------------------------------------- */

static void ranges(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 8, RW, MAP_FIXED);
	fill(x, A, 8, 1);
	assert_int_equal(out(x, A, 8), 8);
	assert_int_equal(mm_mprotect(x->mm, A + P, P, PROT_READ), 0);
	assert_int_equal(fixture_load(x, A + P), 2);
	assert_signal(x, SIM_STORE, A + P, SIGSEGV, SEGV_ACCERR);
	assert_int_equal(mm_madvise(x->mm, A + 2 * P, P, MADV_DONTNEED), 0);
	assert_int_equal(fixture_load(x, A + 2 * P), 0);
	assert_int_equal(mm_mremap(x->mm, A + 3 * P, 2 * P, 2 * P, MREMAP_MAYMOVE | MREMAP_FIXED,
				   A + 0x100000),
			 A + 0x100000);
	assert_sound(x, NULL);
	assert_int_equal(fixture_load(x, A + 0x100000), 4);
	assert_int_equal(fixture_load(x, A + 0x101000), 5);
	assert_int_equal(mm_munmap(x->mm, A + 5 * P, P), 0);
	assert_int_equal(mm_mprotect(x->mm, A + 6 * P, P, PROT_NONE), 0);
	assert_signal(x, SIM_LOAD, A + 6 * P, SIGSEGV, SEGV_ACCERR);
	assert_int_equal(mm_mprotect(x->mm, A + 6 * P, P, RW), 0);
	assert_int_equal(fixture_load(x, A + 6 * P), 7);
	assert_int_equal(fixture_load(x, A + 7 * P), 8);
	assert_sound(x, NULL);
}

static void willneed(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 100, RW, MAP_FIXED);
	fill(x, A, 100, 1);
	assert_int_equal(out(x, A, 100), 100);
	host(x)->swap.around_pages = SWAP_AROUND_PAGES;
	assert_int_equal(mm_madvise(x->mm, A + 10 * P, 50 * P, MADV_WILLNEED), 0);
	for (unsigned int i = 10; i < 60; i++)
		assert_false(is_swapped(x, A + i * P));
	uint64_t major = x->mm->maj_flt;
	assert_filled(x, A + 10 * P, 50, 11);
	assert_int_equal(x->mm->maj_flt, major);
	/* Not when something else had to go for it. */
	uint64_t there = (uint64_t)mm_counter(x->mm, MM_ANONPAGES);
	assert_int_equal(out(x, A, 100), there);
	uint64_t most = x->mm->memcg->max_pages;
	x->mm->memcg->max_pages = x->mm->memcg->usage_pages + 10;
	assert_int_equal(mm_madvise(x->mm, A, 100 * P, MADV_WILLNEED), 0);
	assert_int_equal(mm_counter(x->mm, MM_ANONPAGES), 0);
	x->mm->memcg->max_pages = most;
	assert_sound(x, NULL);
}

static void collapses(void **state)
{
	struct fixture *x = *state;
	unsigned int level;

	fixture_map(x, A, 512, RW, MAP_FIXED);
	fill(x, A, 512, 1);
	assert_int_equal(out(x, A, 100), 100);
	assert_filled(x, A, 10, 1);
	assert_int_equal(mm_madvise(x->mm, A, 512 * P, MADV_COLLAPSE), 0);
	assert_non_null(pgtable_leaf(&x->mm->pgt, A, &level));
	assert_int_equal(level, 1);
	assert_int_equal(dev.device.map.nr_used, 0);
	assert_sound(x, NULL);
	assert_filled(x, A, 512, 1);
	assert_int_equal(out(x, A, 1), 0); /* no entry of level 0 */
	assert_sound(x, NULL);
	fixture_map(x, A + 512 * P, 512, RW, MAP_FIXED);
	fill(x, A + 512 * P, 512, 1);
	assert_int_equal(out(x, A + 512 * P, 1), 1);
	dev.fail_read_every = 1;
	assert_int_equal(mm_madvise(x->mm, A + 512 * P, 512 * P, MADV_COLLAPSE), -EINVAL);
	dev.fail_read_every = 0;
	assert_filled(x, A + 512 * P, 512, 1);
}

static void blocks(void **state)
{
	struct fixture *x = *state;
	struct mm *child;
	unsigned int level;

	fixture_map(x, A, 1024, RW, MAP_FIXED);
	assert_int_equal(mm_madvise(x->mm, A, 1024 * P, MADV_HUGEPAGE), 0);
	fixture_store(x, A, 1);
	fill(x, A, 512, 1);
	const pte_t *slot = pgtable_leaf(&x->mm->pgt, A, &level);
	assert_int_equal(level, 1);
	struct page *head = pfn_to_page(x->mm->frames, pte_pfn(pte_read(slot))), *page[512];
	assert_int_equal(mm_fork(x->mm, &child), 0);
	for (unsigned int i = 0; i < 512; i++) {
		page[i] = head + i;
		page_get(page[i]);
	}
	assert_int_equal(swap_out(host(x), page, 512), 512);
	assert_int_equal(dev.nr_transfers, 8);
	assert_int_equal(mm_counter(child, MM_SWAPENTS), 512);
	assert_sound(x, child);
	assert_int_equal(load_in(x, child, A + 77 * P), 78);
	mmput(child);
	assert_filled(x, A, 512, 1);
	assert_sound(x, NULL);
}

/* The entries of a block, and its pages, as they would be with reclaim. */
static void block_out(struct fixture *x, gva_t address)
{
	unsigned int level;
	const pte_t *slot = pgtable_leaf(&x->mm->pgt, address, &level);
	struct page *page[512];

	assert_int_equal(level, 1);
	struct page *head = pfn_to_page(x->mm->frames, pte_pfn(pte_read(slot)));
	for (unsigned int i = 0; i < 512; i++) {
		page[i] = head + i;
		page_get(page[i]);
	}
	assert_int_equal(swap_out(host(x), page, 512), 512);
}

static unsigned int level_at(struct fixture *x, gva_t address)
{
	unsigned int level;

	assert_non_null(pgtable_leaf(&x->mm->pgt, address, &level));
	return level;
}

/* In a cluster of its own, and back into a block, with the transfers that this takes and no more. */
static void whole_blocks(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A - P, 1, RW, MAP_FIXED);
	fill(x, A - P, 1, 5);
	assert_int_equal(out(x, A - P, 1), 1); /* the current cluster has begun */
	fixture_map(x, A, 1024, RW, MAP_FIXED);
	assert_int_equal(mm_madvise(x->mm, A, 1024 * P, MADV_HUGEPAGE), 0);
	fixture_store(x, A, 1);
	fill(x, A, 512, 1);
	host(x)->swap.around_pages = SWAP_AROUND_PAGES;
	uint64_t transfers = dev.nr_transfers, tables = x->mm->pgt.nr_tables;
	for (unsigned int turn = 0; turn < 3; turn++) {
		block_out(x, A);
		assert_int_equal(dev.nr_transfers - transfers, 16 * turn + 8);
		assert_int_equal(swp_slot(pte_to_swp_entry(fixture_pte(x, A))) % SWAP_CLUSTER_SLOTS, 0);
		assert_sound(x, NULL);
		if (turn == 1)
			fixture_store(x, A + 100 * P + 8, 99);
		else
			assert_int_equal(fixture_load(x, A + 100 * P), 101);
		assert_int_equal(level_at(x, A), 1);
		assert_int_equal(dev.nr_transfers - transfers, 16 * (turn + 1));
		assert_int_equal(dev.device.map.nr_used, 1);
		assert_int_equal(x->mm->pgt.nr_tables, tables);
		assert_int_equal(mm_counter(x->mm, MM_SWAPENTS), 1);
		assert_sound(x, NULL);
		assert_filled(x, A, 512, 1);
	}
	assert_int_equal(x->mm->frames->event[THP_SWPOUT], 3);
	assert_int_equal(x->mm->frames->event[THP_SWPIN], 3);
	assert_int_equal(fixture_load(x, A + 100 * P + 8), 99);
}

/* Where others say the slots, one cannot be read, there is no room or no block: page by page. */
static void blocks_in_pieces(void **state)
{
	struct fixture *x = *state;
	uint64_t most = x->mm->memcg->max_pages;
	struct mm *child;

	fixture_map(x, A, 512, RW, MAP_FIXED);
	assert_int_equal(mm_madvise(x->mm, A, 512 * P, MADV_HUGEPAGE), 0);
	fixture_store(x, A, 1);
	fill(x, A, 512, 1);
	block_out(x, A);
	assert_int_equal(mm_fork(x->mm, &child), 0);
	assert_int_equal(fixture_load(x, A), 1);
	assert_int_equal(level_at(x, A), 0);
	mmput(child);
	assert_sound(x, NULL);
	assert_int_equal(out(x, A, 1), 1);
	dev.fail_read_every = 100;
	assert_int_equal(fixture_load(x, A + 7 * P), 8);
	dev.fail_read_every = 0;
	assert_int_equal(level_at(x, A), 0);
	assert_sound(x, NULL);
	assert_filled(x, A, 512, 1);
	assert_int_equal(out(x, A, 512), 512);
	x->mm->memcg->max_pages = x->mm->memcg->usage_pages + 1500;
	assert_int_equal(fixture_load(x, A), 1);
	assert_int_equal(level_at(x, A), 0);
	x->mm->memcg->max_pages = most;
	assert_int_equal(out(x, A, 1), 1);
	x->mm->frames->fail_in = 1; /* the block */
	assert_int_equal(fixture_load(x, A), 1);
	assert_int_equal(x->mm->frames->nr_fail, 1);
	assert_int_equal(level_at(x, A), 0);
	assert_filled(x, A, 512, 1);
	assert_sound(x, NULL);
}

/* --- what is told of it -------------------------------------------------------------------------------------------- */

static void usage(void **state)
{
	struct fixture *x = *state;
	struct vma_usage u = {0};
	struct swap_totals t;
	struct mm *child;

	fixture_map(x, A, 10, RW, MAP_FIXED);
	fill(x, A, 10, 1);
	assert_int_equal(out(x, A, 8), 8);
	assert_int_equal(mm_fork(x->mm, &child), 0);
	const struct vma *vma = vma_find(&x->mm->vmas, A);
	vma_usage_add(vma, &u);
	assert_int_equal(u.rss, 2 * P);
	assert_int_equal(u.swap, 8 * P);
	assert_int_equal(u.swap_pss >> USAGE_PSS_SHIFT, 4 * P);
	assert_int_equal(load_in(x, child, A), 1);
	swap_totals(host(x), &t);
	assert_int_equal(t.total, SLOTS - 1);
	assert_int_equal(t.used, 8);
	assert_int_equal(t.cached, 1);
	assert_true(swap_cached(host(x), fixture_pte(x, A)));
	assert_false(swap_cached(host(x), fixture_pte(x, A + P)));
	assert_true(page_view_at(x->mm, A + P).swapped);
	assert_false(page_view_at(x->mm, A + 8 * P).swapped);
	u = (struct vma_usage){0};
	vma_usage_add(vma_find(&child->vmas, A), &u);
	assert_int_equal(u.rss, 3 * P);
	assert_int_equal(u.swap, 7 * P);
	mmput(child);
	assert_sound(x, NULL);
}

/* --- devices that fail --------------------------------------------------------------------------------------------- */

static void failed_writes(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 10, RW, MAP_FIXED);
	fill(x, A, 10, 1);
	dev.fail_write_every = 4;
	out(x, A, 10);
	assert_true(dev.nr_failed);
	assert_sound(x, NULL);
	dev.fail_write_every = 0;
	assert_filled(x, A, 10, 1);
	uint64_t writes = dev.nr_writes;
	assert_int_equal(out(x, A, 10), 10); /* those that failed to other slots */
	assert_true(dev.nr_writes > writes);
	assert_true(dev.device.map.nr_bad > 0);
	assert_sound(x, NULL);
	assert_filled(x, A, 10, 1);
}

static void failed_reads(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 2, RW, MAP_FIXED);
	fill(x, A, 2, 1);
	assert_int_equal(out(x, A, 2), 2);
	dev.fail_read_every = 1;
	assert_signal(x, SIM_LOAD, A, SIGBUS, BUS_ADRERR);
	assert_signal(x, SIM_STORE, A, SIGBUS, BUS_ADRERR);
	assert_sound(x, NULL);
	dev.fail_read_every = 0;
	assert_filled(x, A, 2, 1);
	assert_sound(x, NULL);
}

static void on_signal(int signo)
{
	(void)signo;
}

static bool is_waiting(void)
{
	pthread_mutex_lock(&dev.lock);
	bool waiting = dev.nr_waiting;
	pthread_mutex_unlock(&dev.lock);
	return waiting;
}

struct reader {
	struct fixture *x;
	_Atomic bool done;
	struct fault_signal sig;
	uint64_t value;
};

static void *read_one(void *arg)
{
	struct reader *r = arg;

	r->sig = sim_load(r->x->cpu, A, &r->value, 8);
	atomic_store(&r->done, true);
	return NULL;
}

/* Whoever waits for his page waits until it is there, though signals come. */
static void signals_while_waiting(void **state)
{
	const struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART */
	const struct timespec some_time = {.tv_nsec = 2000000};
	struct reader r = {.x = *state};
	struct sigaction old;
	pthread_t thread;

	fixture_map(r.x, A, 1, RW, MAP_FIXED);
	fill(r.x, A, 1, 7);
	assert_int_equal(out(r.x, A, 1), 1);
	assert_int_equal(sigaction(SIGUSR1, &action, &old), 0);
	dev.held = true;
	assert_int_equal(pthread_create(&thread, NULL, read_one, &r), 0);
	while (!is_waiting())
		sched_yield();
	for (unsigned int i = 0; i < 10; i++) {
		nanosleep(&some_time, NULL);
		assert_int_equal(pthread_kill(thread, SIGUSR1), 0);
	}
	nanosleep(&some_time, NULL);
	assert_false(atomic_load(&r.done));
	dev.held = false;
	sim_swap_complete(&dev);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(sigaction(SIGUSR1, &old, NULL), 0);
	assert_int_equal(r.sig.signo, 0);
	assert_int_equal(r.value, 7);
}

static void torn_writes(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 2, RW, MAP_FIXED);
	fill(x, A, 2, 1);
	dev.torn_every = 2;
	assert_int_equal(out(x, A, 2), 2);
	assert_filled(x, A, 1, 1);
	assert_signal(x, SIM_LOAD, A + P, SIGBUS, BUS_ADRERR);
	assert_sound(x, NULL);
}

/* --- swap_off ------------------------------------------------------------------------------------------------------ */

static void off_and_on(void **state)
{
	struct fixture *x = *state;
	struct mm *child;

	fixture_map(x, A, 600, RW, MAP_FIXED);
	fill(x, A, 600, 1);
	assert_int_equal(mm_fork(x->mm, &child), 0);
	assert_int_equal(out(x, A, 600), 600);
	assert_int_equal(load_in(x, child, A + 3 * P), 4); /* cached, and an entry of the other space's */
	assert_int_equal(mm_mprotect(x->mm, A + 8 * P, P, PROT_NONE), 0);
	assert_int_equal(sim_swap_off(&dev), 0);
	assert_int_equal(mm_counter(x->mm, MM_SWAPENTS), 0);
	assert_int_equal(mm_counter(child, MM_SWAPENTS), 0);
	assert_int_equal(mm_counter(child, MM_ANONPAGES), 600);
	assert_sound(x, child);
	assert_int_equal(mm_mprotect(x->mm, A + 8 * P, P, RW), 0);
	assert_filled(x, A, 600, 1);
	fixture_store(x, A + 5 * P, 1000);
	assert_int_equal(load_in(x, child, A + 5 * P), 6);
	mmput(child);
	assert_int_equal(out(x, A, 10), 0);
	assert_int_equal(sim_swap_on(&dev, host(x), SLOTS, NULL), 0);
	assert_int_equal(out(x, A, 10), 10);
	assert_int_equal(fixture_load(x, A), 1);
	assert_sound(x, NULL);
}

/* The account has no room for all: the device stays, and nothing is lost. */
static void off_without_room(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 40, RW, MAP_FIXED);
	fill(x, A, 40, 1);
	assert_int_equal(out(x, A, 40), 40);
	uint64_t most = x->mm->memcg->max_pages;
	x->mm->memcg->max_pages = x->mm->memcg->usage_pages + 20;
	assert_int_equal(sim_swap_off(&dev), -ENOMEM);
	assert_int_equal(dev.released, 0);
	assert_sound(x, NULL);
	x->mm->memcg->max_pages = most;
	assert_filled(x, A, 40, 1);
	assert_int_equal(out(x, A, 40), 40);
	assert_filled(x, A, 40, 1);
	assert_sound(x, NULL);
}

static void off_with_errors(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 10, RW, MAP_FIXED);
	fill(x, A, 10, 1);
	assert_int_equal(out(x, A, 10), 10);
	dev.fail_read_every = 5;
	assert_int_equal(sim_swap_off(&dev), 0);
	unsigned int lost = 0;
	for (unsigned int i = 0; i < 10; i++) {
		if (entry_type(fixture_pte(x, A + i * P)) == ENTRY_POISON) {
			assert_signal(x, SIM_LOAD, A + i * P, SIGBUS, BUS_ADRERR);
			lost++;
		} else {
			assert_int_equal(fixture_load(x, A + i * P), 1 + i);
		}
	}
	assert_int_equal(lost, 2);
	assert_sound(x, NULL);
	assert_int_equal(sim_swap_on(&dev, host(x), SLOTS, NULL), 0);
}

/* --- the Nth allocation fails ------------------------------------------------------------------------------------ */

struct attempt {
	struct fixture *x;
	struct mm *child;
	bool (*op)(struct attempt *a); /* false: it ran out of memory */
};

static bool store_to_swapped(struct attempt *a)
{
	uint64_t value = 99;

	return !sim_store(a->x->cpu, A + 3 * P + 16, &value, 8).signo;
}

static bool device_off(struct attempt *a)
{
	(void)a;
	return !sim_swap_off(&dev);
}

static bool fork_swapped(struct attempt *a)
{
	struct mm *child;

	if (mm_fork(a->x->mm, &child))
		return false;
	mmput(child);
	return true;
}

static bool out_all(struct attempt *a)
{
	out(a->x, A, 20); /* what was done stays done */
	return mm_counter(a->x->mm, MM_SWAPENTS) == 20;
}

static bool advise_collapse(struct attempt *a)
{
	return !mm_madvise(a->x->mm, A, 512 * P, MADV_COLLAPSE);
}

/* Every second page of a table that is shared is in a slot; the operation fails for each N, and then works. */
static void fail_each(struct fixture *x, bool (*op)(struct attempt *a), bool some_in_memory)
{
	struct attempt a = {.x = x, .op = op};
	struct frames *f = x->mm->frames;
	unsigned int failures = 0;
	bool done = false;

	fixture_map(x, A, 512, RW, MAP_FIXED);
	fill(x, A, 20, 1);
	assert_int_equal(mm_fork(x->mm, &a.child), 0);
	for (unsigned int i = some_in_memory ? 1 : 0; i < 20; i += some_in_memory ? 2 : 1)
		if (op != out_all)
			assert_int_equal(out(x, A + i * P, 1), 1);
	for (long n = 1; !done && n < 200; n++) {
		uint64_t failed = atomic_load(&f->nr_fail);
		atomic_store(&f->fail_in, n);
		done = op(&a);
		atomic_store(&f->fail_in, 0);
		failures += atomic_load(&f->nr_fail) != failed;
		assert_sound(x, a.child);
	}
	assert_true(done);
	assert_true(failures > 0);
	for (unsigned int i = 0; i < 20; i++) {
		assert_int_equal(fixture_load(x, A + i * P), 1 + i);
		assert_int_equal(load_in(x, a.child, A + i * P), 1 + i);
	}
	assert_sound(x, a.child);
	mmput(a.child);
}

static void fail_store(void **state)
{
	fail_each(*state, store_to_swapped, true);
}

static void fail_off(void **state)
{
	fail_each(*state, device_off, true);
	assert_int_equal(sim_swap_on(&dev, host(*state), SLOTS, NULL), 0);
}

static void fail_fork(void **state)
{
	fail_each(*state, fork_swapped, true);
}

static void fail_out(void **state)
{
	fail_each(*state, out_all, true);
}

static void fail_collapse(void **state)
{
	fail_each(*state, advise_collapse, false);
}

/* --- hooks --------------------------------------------------------------------------------------------------------- */

static unsigned int nr_out, nr_in;
static bool refuse;

static bool hook_out(struct vma *vma, gva_t address, struct page *page)
{
	assert_true(vma->start <= address && page_anon(page));
	nr_out++;
	return !refuse;
}

static void hook_in(struct vma *vma, gva_t address, struct page *page)
{
	assert_true(vma->start <= address && page_anon(page));
	nr_in++;
}

static void hooks(void **state)
{
	static struct vm_operations hooked;
	struct fixture *x = *state;
	struct sim_file file;

	sim_file_init(&file, x->machine, 4 * P);
	hooked = filemap_vm_ops;
	hooked.swapout = hook_out;
	hooked.swapin = hook_in;
	fixture_map_file(x, &file, A, 4, 0, RW, MAP_PRIVATE | MAP_FIXED);
	vma_find(&x->mm->vmas, A)->vm_ops = &hooked;
	fill(x, A, 2, 1);
	nr_out = nr_in = 0;
	refuse = true;
	assert_int_equal(out(x, A, 2), 0);
	assert_int_equal(nr_out, 2);
	refuse = false;
	assert_int_equal(out(x, A, 2), 2);
	assert_int_equal(nr_out, 4);
	assert_int_equal(nr_in, 0);
	assert_filled(x, A, 2, 1);
	assert_int_equal(nr_in, 2);
	assert_int_equal(fixture_load(x, A + 2 * P), sim_file_word(2 * P));
	assert_sound(x, NULL);
	assert_int_equal(mm_munmap(x->mm, A, 4 * P), 0);
	backing_put(&file.backing);
}

#define CASE(title, fn)                          \
	{                                        \
		title, fn, setup, teardown, NULL \
	}
#define SHADOW(title, fn)                               \
	{                                               \
		title, fn, setup_shadow, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE("swap: a hundred pages go and come back when they are touched [K24][O1][Y11]",
		     there_and_back),
		SHADOW("swap: the same with a shadow MMU [K24][O1]", there_and_back),
		CASE("swap: a read leaves the slot, a write takes the page from it [Y11]",
		     a_write_takes_the_slot_back),
		CASE("swap: pages that were not written since are not written again [O9]", clean_pages),
		CASE("swap: pages of equal words need no transfer", equal_words),
		CASE("swap: pages of locked areas stay, mlock brings pages back [H11][O8]", locked_areas),
		CASE("swap: pinned pages stay until the pin goes [P6]", pins),
		CASE("swap: a full device takes no more [O3]", full_device),
		CASE("swap: a row of faults reads and maps ever wider windows [Y11]", read_ahead),
		CASE("swap: what lies behind is read while the guest goes on [Y11]",
		     reads_go_on_behind_the_guest),
		CASE("swap: objects at random places are read as they are [Y11]", objects),
		CASE("swap: pages of a row are marked used", marked_used_in_a_row),
		CASE("swap: nothing is read ahead without room for it", nothing_is_ahead_without_room),
		CASE("swap: scattered faults read what they need", scattered),
		CASE("swap: neighbours that cannot be read or have no room stay", neighbours_that_fail),
		CASE("swap: pages that a fork shares go for both and come back once", forked),
		SHADOW("swap: the same with a shadow MMU", forked),
		CASE("swap: spaces forked with swapped pages each have their own", fork_of_swapped),
		CASE("swap: a child gets its own of a page that the parent pinned", fork_of_pinned),
		CASE("swap: a space joins the list of those with swapped pages [G13]", spaces_on_the_list),
		CASE("swap: mprotect, MADV_DONTNEED, mremap and munmap of swapped pages [Y11]", ranges),
		CASE("swap: MADV_WILLNEED brings pages back ahead", willneed),
		CASE("swap: MADV_COLLAPSE brings pages back and takes them from their slots", collapses),
		CASE("swap: blocks go as small pages", blocks),
		CASE("swap: 2 MiB go whole, to a cluster of their own, and come back whole [Y11]",
		     whole_blocks),
		CASE("swap: 2 MiB that cannot come back whole come in pieces", blocks_in_pieces),
		SHADOW("swap: the same with a shadow MMU", blocks),
		CASE("swap: what smaps, meminfo, pagemap and mincore are told", usage),
		CASE("swap: pages whose write failed stay, and go to other slots", failed_writes),
		CASE("swap: a read that failed is SIGBUS, and is tried again", failed_reads),
		CASE("swap: a signal is no failed read [Y11]", signals_while_waiting),
		CASE("swap: what is not what was written is SIGBUS", torn_writes),
		CASE("swap_off: all that it holds comes back, in all spaces [O2]", off_and_on),
		CASE("swap_off: without room the device stays [O2]", off_without_room),
		CASE("swap_off: pages that cannot be read are lost [O2]", off_with_errors),
		CASE("failnth: a store to a swapped page in a shared table", fail_store),
		CASE("failnth: swap_off", fail_off),
		CASE("failnth: fork with swapped pages", fail_fork),
		CASE("failnth: swap_out from shared tables", fail_out),
		CASE("failnth: MADV_COLLAPSE of swapped pages", fail_collapse),
		CASE("swap: swapout and swapin of the area are called, swapout may refuse [H20]", hooks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
