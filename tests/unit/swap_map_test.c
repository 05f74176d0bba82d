/* SPDX-License-Identifier: MIT */
/* Slots of swap devices: clusters, counts, bad ones, devices by priority. No I/O. */
#include "../../src/mm/memcg.h"
#include "../../src/mm/swap_map.h"
#include "../sim/fixture.h"

#define SLOTS (4 * SWAP_CLUSTER_SLOTS)

static struct page some_page;

static void accounts_init(struct memcg *cg, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		memcg_init(&cg[i], 1000, NULL);
}

static void drop_page(struct swap_map *m, uint64_t slot)
{
	pthread_mutex_lock(&m->lock);
	m->nr_cached -= m->slot[slot].page != NULL;
	m->slot[slot].page = NULL;
	swap_map_release(m, slot);
	pthread_mutex_unlock(&m->lock);
}

static void assert_map_sound(struct swap_map *m)
{
	assert_int_equal(swap_map_check(m, complain), 0);
}

static void a_slot_each(void **state)
{
	struct swap_map m;
	struct memcg cg;
	uint8_t seen[SLOTS] = {0};

	(void)state;
	accounts_init(&cg, 1);
	assert_int_equal(swap_map_init(&m, SLOTS, false), 0);
	for (unsigned int i = 1; i < SLOTS; i++) {
		uint64_t slot = swap_map_alloc(&m, &cg, &some_page);
		assert_true(slot > 0 && slot < SLOTS);
		assert_int_equal(seen[slot]++, 0);
	}
	assert_int_equal(swap_map_alloc(&m, &cg, &some_page), 0);
	assert_int_equal(m.nr_used, SLOTS - 1);
	assert_int_equal(cg.swap_pages, SLOTS - 1);
	assert_map_sound(&m);
	for (unsigned int i = 1; i < SLOTS; i++)
		drop_page(&m, i);
	assert_int_equal(m.nr_used, 0);
	assert_int_equal(cg.swap_pages, 0);
	assert_int_equal(cg.refs, 1);
	assert_map_sound(&m);
	swap_map_destroy(&m);
}

/* Two accounts take turns, and each still gets slots that follow one another. */
static void neighbours(void **state)
{
	struct swap_map m;
	struct memcg cg[2] __attribute__((aligned(64)));
	uint64_t last[2] = {0};
	unsigned int jumps = 0;

	(void)state;
	accounts_init(cg, 2);
	assert_int_equal(swap_map_init(&m, 8 * SWAP_CLUSTER_SLOTS, false), 0);
	for (unsigned int i = 0; i < 2 * SWAP_CLUSTER_SLOTS; i++) {
		for (unsigned int a = 0; a < 2; a++) {
			uint64_t slot = swap_map_alloc(&m, &cg[a], &some_page);
			jumps += slot != last[a] + 1;
			last[a] = slot;
		}
	}
	assert_true(jumps <= 6);
	assert_map_sound(&m);
	swap_map_destroy(&m);
}

static void holes(void **state)
{
	struct swap_map m;
	struct memcg cg;

	(void)state;
	accounts_init(&cg, 1);
	assert_int_equal(swap_map_init(&m, SLOTS, false), 0);
	while (swap_map_alloc(&m, &cg, &some_page))
		;
	drop_page(&m, 700);
	drop_page(&m, 1900);
	uint64_t one = swap_map_alloc(&m, &cg, &some_page), two = swap_map_alloc(&m, &cg, &some_page);
	assert_true((one == 700 && two == 1900) || (one == 1900 && two == 700));
	assert_int_equal(swap_map_alloc(&m, &cg, &some_page), 0);
	assert_map_sound(&m);
	swap_map_destroy(&m);
}

static void generations(void **state)
{
	struct swap_map m;
	struct memcg cg;

	(void)state;
	accounts_init(&cg, 1);
	assert_int_equal(swap_map_init(&m, 2, false), 0);
	assert_int_equal(swap_map_alloc(&m, &cg, &some_page), 1);
	uint32_t first = m.slot[1].generation;
	m.slot[1].count = 1;
	drop_page(&m, 1);
	assert_int_equal(m.nr_used, 1);
	assert_int_equal(m.slot[1].generation, first);
	m.slot[1].count = 0;
	drop_page(&m, 1);
	assert_int_equal(m.nr_used, 0);
	assert_int_equal(swap_map_alloc(&m, &cg, &some_page), 1);
	assert_int_not_equal(m.slot[1].generation, first);
	swap_map_destroy(&m);
}

static void failed_slots(void **state)
{
	struct swap_map m;
	struct memcg cg;

	(void)state;
	accounts_init(&cg, 1);
	assert_int_equal(swap_map_init(&m, SWAP_CLUSTER_SLOTS, false), 0);
	uint64_t slot = swap_map_alloc(&m, &cg, &some_page);
	m.slot[slot].flags = SLOT_FAILED;
	drop_page(&m, slot);
	assert_int_equal(m.nr_bad, 1);
	assert_map_sound(&m);
	for (unsigned int i = 2; i < SWAP_CLUSTER_SLOTS; i++)
		assert_int_not_equal(swap_map_alloc(&m, &cg, &some_page), slot);
	assert_int_equal(swap_map_alloc(&m, &cg, &some_page), 0);
	assert_map_sound(&m);
	swap_map_destroy(&m);
}

static void random_use(void **state)
{
	struct swap_map m;
	struct memcg cg[3];
	uint64_t seed = random_seed(20), held[SLOTS], nr = 0;

	(void)state;
	accounts_init(cg, 3);
	assert_int_equal(swap_map_init(&m, SLOTS - 100, true), 0);
	for (unsigned int i = 0; i < 200000; i++) {
		uint64_t stale = random_below(&seed, 50) ? 0 : swap_map_stale(&m);
		if (stale)
			swap_map_told(&m, stale);
		bool more = random_below(&seed, 8000) * 2 + (i / 8000 % 2 ? 4000 : 0) < 10000;
		if (more) {
			uint64_t slot = swap_map_alloc(&m, &cg[random_below(&seed, 3)], &some_page);
			if (slot)
				held[nr++] = slot;
		} else if (nr) {
			uint64_t at = random_below(&seed, nr);
			drop_page(&m, held[at]);
			held[at] = held[--nr];
		}
		if (i % 20000 == 0)
			assert_map_sound(&m);
	}
	assert_int_equal(m.nr_used, nr);
	assert_map_sound(&m);
	swap_map_destroy(&m);
}

/* --- devices ------------------------------------------------------------------------------------------------------- */

struct fake {
	struct swap_device device;
	uint64_t discarded;
	unsigned int released;
};

static void fake_discard(struct swap_device *d, uint64_t slot, uint64_t nr)
{
	assert_int_equal(slot % SWAP_CLUSTER_SLOTS, 0);
	((struct fake *)d)->discarded += nr;
}

static void fake_release(struct swap_device *d)
{
	((struct fake *)d)->released++;
}

static const struct swap_device_ops fake_ops = {.discard = fake_discard, .release = fake_release};

static void fake_init(struct fake *fake, uint64_t slots, int priority)
{
	*fake = (struct fake){
		.device = {.ops = &fake_ops, .path = "/fake", .nr_slots = slots, .priority = priority}};
}

static void free_entry(struct mm_host *h, swp_entry_t e)
{
	drop_page(&swap_device_of(h, e)->map, swp_slot(e));
}

static void priorities(void **state)
{
	struct fixture *x = *state;
	struct mm_host *h = &x->machine->host;
	struct fake low, high;
	struct swap_totals t;
	swp_entry_t e[7];

	fake_init(&low, 5, -2);
	fake_init(&high, 3, 10);
	assert_int_equal(swap_on(h, &low.device), 0);
	assert_int_equal(swap_on(h, &high.device), 0);
	for (unsigned int i = 0; i < 6; i++) {
		assert_true(swap_alloc(h, x->mm->memcg, &some_page, &e[i]));
		assert_ptr_equal(swap_device_of(h, e[i]), i < 2 ? &high.device : &low.device);
	}
	assert_false(swap_alloc(h, x->mm->memcg, &some_page, &e[6]));
	swap_totals(h, &t);
	assert_int_equal(t.total, 6);
	assert_int_equal(t.used, 6);
	for (unsigned int i = 0; i < 6; i++)
		free_entry(h, e[i]);
	assert_int_equal(swap_off(&low.device), 0);
	assert_int_equal(swap_off(&high.device), 0);
	assert_int_equal(low.released + high.released, 2);
	swap_totals(h, &t);
	assert_int_equal(t.total, 0);
}

static void equal_priorities(void **state)
{
	struct fixture *x = *state;
	struct mm_host *h = &x->machine->host;
	struct fake d[2];
	unsigned int on[2] = {0};
	swp_entry_t *e = calloc(2000, sizeof(*e));

	for (unsigned int i = 0; i < 2; i++) {
		fake_init(&d[i], 4 * SWAP_CLUSTER_SLOTS, 0);
		assert_int_equal(swap_on(h, &d[i].device), 0);
	}
	for (unsigned int i = 0; i < 2000; i++) {
		assert_true(swap_alloc(h, x->mm->memcg, &some_page, &e[i]));
		on[swp_device(e[i])]++;
	}
	assert_true(on[0] > 400 && on[1] > 400);
	for (unsigned int i = 0; i < 2000; i++)
		free_entry(h, e[i]);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(swap_off(&d[i].device), 0);
	free(e);
}

/* A cluster that nobody needs is told to the device before its slots are used again. */
static void discards(void **state)
{
	struct fixture *x = *state;
	struct mm_host *h = &x->machine->host;
	struct fake d;
	swp_entry_t e[2 * SWAP_CLUSTER_SLOTS], last;

	fake_init(&d, 2 * SWAP_CLUSTER_SLOTS, 0);
	assert_int_equal(swap_on(h, &d.device), 0);
	for (unsigned int i = 1; i < 2 * SWAP_CLUSTER_SLOTS; i++)
		assert_true(swap_alloc(h, x->mm->memcg, &some_page, &e[i]));
	for (unsigned int i = 1; i < 2 * SWAP_CLUSTER_SLOTS; i++)
		if (swp_slot(e[i]) >= SWAP_CLUSTER_SLOTS)
			free_entry(h, e[i]);
	for (unsigned int i = 0; i < 3 * SWAP_CLUSTER_SLOTS; i++) {
		assert_true(swap_alloc(h, x->mm->memcg, &some_page, &last));
		free_entry(h, last);
	}
	assert_int_equal(d.discarded, 3 * SWAP_CLUSTER_SLOTS);
	assert_int_equal(swap_map_check(&d.device.map, complain), 0);
	for (unsigned int i = 1; i < 2 * SWAP_CLUSTER_SLOTS; i++)
		if (swp_slot(e[i]) < SWAP_CLUSTER_SLOTS)
			free_entry(h, e[i]);
	assert_int_equal(swap_off(&d.device), 0);
}

static void refused(void **state)
{
	struct fixture *x = *state;
	struct mm_host *h = &x->machine->host;
	struct fake d[MAX_SWAP_DEVICES + 1];

	fake_init(&d[0], 1, 0);
	assert_int_equal(swap_on(h, &d[0].device), -EINVAL);
	fake_init(&d[0], SWAP_MAX_SLOTS + 1, 0);
	assert_int_equal(swap_on(h, &d[0].device), -EINVAL);
	for (unsigned int i = 0; i <= MAX_SWAP_DEVICES; i++) {
		fake_init(&d[i], 10, 0);
		assert_int_equal(swap_on(h, &d[i].device), i < MAX_SWAP_DEVICES ? 0 : -EPERM);
	}
	for (unsigned int i = 0; i < MAX_SWAP_DEVICES; i++)
		assert_int_equal(swap_off(&d[i].device), 0);
}

/* Entries that say a slot, more than a byte could count. */
static void counts(void **state)
{
	struct fixture *x = *state;
	struct mm_host *h = &x->machine->host;
	struct fake d;
	swp_entry_t e;

	fake_init(&d, 10, 0);
	assert_int_equal(swap_on(h, &d.device), 0);
	assert_true(swap_alloc(h, x->mm->memcg, &some_page, &e));
	for (unsigned int i = 0; i < 1000; i++)
		swap_dup(h, e);
	assert_int_equal(swap_count(h, e), 1000);
	free_entry(h, e);
	assert_int_equal(d.device.map.nr_used, 1);
	for (unsigned int i = 0; i < 1000; i++)
		swap_put(h, e);
	assert_int_equal(d.device.map.nr_used, 0);
	assert_int_equal(swap_off(&d.device), 0);
}

#define CASE(title, fn)                     \
	{                                   \
		title, fn, NULL, NULL, NULL \
	}
#define WITH_HOST(title, fn)                                     \
	{                                                        \
		title, fn, fixture_setup, fixture_teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE("swap map: one slot per page, each given out once, the header's never [O3]",
		     a_slot_each),
		CASE("swap map: accounts that take turns get slots that follow one another", neighbours),
		CASE("swap map: holes are filled when no cluster is free", holes),
		CASE("swap map: a slot is free when neither entry nor page uses it, and then another "
		     "generation",
		     generations),
		CASE("swap map: a slot whose write failed is not used again", failed_slots),
		CASE("swap map: 200000 random steps, recounted [O3] [Y12]", random_use),
		WITH_HOST("swap_on: the highest priority first, the next when it is full [O2]", priorities),
		WITH_HOST("swap_on: equal priorities take turns by clusters", equal_priorities),
		WITH_HOST("swap map: the device is told of clusters that nobody needs", discards),
		WITH_HOST("swap_on: no slot, too many slots, too many devices", refused),
		WITH_HOST("swap map: a thousand entries of one slot [O3]", counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
