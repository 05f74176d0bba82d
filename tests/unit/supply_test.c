/* SPDX-License-Identifier: MIT */
/* Frames that spaces map before they hold what they should: faults, forks, swap, moves and exits of such memory; who is refused it. */
#include <sys/mman.h>

#include "../../src/mm/block.h"
#include "../../src/mm/fault.h"
#include "../../src/mm/migrate.h"
#include "../../src/mm/restore.h"
#include "../../src/uffd/lazy.h"
#include "../sim/failnth.h"
#include "../sim/sim_swap.h"

#define A  (1ull << 30)
#define P  PAGE_SIZE
#define M2 PMD_SIZE
#define RW (PROT_READ | PROT_WRITE)

static uint64_t word_of(uint64_t page)
{
	return (page + 1) * 0x9e3779b97f4a7c15ull;
}

static struct lazy_source source;
static struct lazy *lazy;
static unsigned int nr_released;
static uint64_t bad;

static int read_pages(struct lazy_source *s, uint64_t first, unsigned int nr, char *to, unsigned int *right)
{
	(void)s;
	for (*right = 0; *right < nr; ++*right) {
		if (first + *right == bad)
			return -EBADMSG;
		uint64_t word = word_of(first + *right);
		for (unsigned int n = 0; n < P / sizeof(word); n++)
			memcpy(to + *right * P + n * sizeof(word), &word, sizeof(word));
	}
	return 0;
}

static void failed(struct lazy_source *s)
{
	(void)s;
}

static void released(struct lazy_source *s)
{
	(void)s;
	nr_released++;
}

static const struct lazy_source_ops source_ops = {.read = read_pages, .failed = failed, .release = released};

struct place {
	char *memory; /* that was armed last */
	uint64_t first;
	int err; /* what arming says instead */
};

static int arm(void *ctx, void *memory)
{
	struct place *p = ctx;

	p->memory = memory;
	return p->err ? p->err : lazy_arm(&source, memory, p->first);
}

static int setup(void **state)
{
	const char *why = "";
	int err = fixture_setup(state);
	struct fixture *x = *state;

	if (err)
		return err;
	const struct frames *f = x->mm->frames;
	const struct lazy_setup s = {.base = f->direct_map, .bytes = f->max_pfn << PAGE_SHIFT};
	nr_released = 0;
	bad = ~0ull;
	lazy = NULL;
	if (!lazy_create(&s, &lazy, &why))
		lazy_source_init(lazy, &source, &source_ops);
	else
		print_message("# no userfaultfd: %s\n", why);
	return 0;
}

/* The space is gone first: nobody has the supply then. */
static int teardown(void **state)
{
	struct fixture *x = *state;

	if (lazy)
		supply_put(&source.supply);
	if (lazy && x->mm->supply)
		assert_int_equal(nr_released, 0);
	mm_munmap(x->mm, 0x10000, 1ull << 40);
	int err = fixture_teardown(state);
	if (lazy)
		assert_int_equal(nr_released, 1);
	lazy_destroy(lazy);
	return err;
}

static int restore_at(struct fixture *x, gva_t at, uint64_t first, int err)
{
	struct place p = {.first = first, .err = err};
	const struct supplied_block b = {.supply = &source.supply, .arm = arm, .ctx = &p};

	return mm_restore_block(x->mm, at, &b);
}

/* nr blocks of memory that is to come. */
static void restored(struct fixture *x, unsigned int nr)
{
	if (!lazy)
		skip();
	assert_int_equal(fixture_map(x, A, nr * BLOCK_PAGES, RW, MAP_PRIVATE), A);
	for (unsigned int i = 0; i < nr; i++)
		assert_int_equal(restore_at(x, A + i * M2, i * BLOCK_PAGES, 0), 0);
	assert_int_equal(mm_counter(x->mm, MM_ANONPAGES), nr * BLOCK_PAGES);
	assert_mm_sound(x->mm);
}

static uint64_t pages_brought(void)
{
	struct lazy_stats s;

	lazy_stats(lazy, &s);
	return s.pages;
}

static void assert_right(struct fixture *x, uint64_t first, uint64_t end)
{
	for (uint64_t i = first; i < end; i++) {
		assert_int_equal(fixture_load(x, A + i * P), word_of(i));
		assert_int_equal(fixture_load(x, A + i * P + P - 8), word_of(i));
	}
}

/* --- cases --------------------------------------------------------------------------------------------- */

static void comes_when_touched(void **state)
{
	struct fixture *x = *state;
	uint64_t word;

	restored(x, 2);
	assert_int_equal(x->cpu->nr_faults, 0);
	assert_int_equal(pages_brought(), 0);
	assert_right(x, 100, 101);
	fixture_store(x, A + 101 * P, 5);
	assert_int_equal(fixture_load(x, A + 101 * P + 8), word_of(101));
	assert_int_equal(copy_from_user(x->mm, &word, A + 700 * P, 8), 0);
	assert_int_equal(word, word_of(700));
	assert_int_equal(x->cpu->nr_faults, 0); /* its entries were there */
	assert_true(pages_brought() < BLOCK_PAGES);
	assert_right(x, 102, 1024);
}

static void fork_shares_what_is_to_come(void **state)
{
	struct fixture *x = *state;
	struct mm *child, *parent = x->mm;

	restored(x, 2);
	assert_int_equal(mm_fork(parent, &child), 0);
	assert_ptr_equal(child->supply, parent->supply);
	uint64_t word = 1;
	assert_int_equal(copy_to_user(child, A + 3 * P, &word, 8), 0); /* a copy of what comes for it */
	assert_int_equal(copy_from_user(child, &word, A + 3 * P + 8, 8), 0);
	assert_int_equal(word, word_of(3));
	assert_int_equal(copy_from_user(child, &word, A + 600 * P, 8), 0);
	assert_int_equal(word, word_of(600));
	assert_mm_sound(child);
	mmput(child);
	assert_right(x, 0, 1024);
	assert_mm_sound(parent);
}

static struct page *page_at(struct fixture *x, gva_t address)
{
	unsigned int level;
	const pte_t *slot = pgtable_leaf(&x->mm->pgt, address, &level);
	struct page *page = pfn_to_page(x->mm->frames, pte_pfn(pte_read(slot)));

	return level ? page + ((address - A) >> PAGE_SHIFT) % BLOCK_PAGES : page;
}

static void goes_to_swap(void **state)
{
	struct fixture *x = *state;
	struct mm *space[] = {x->mm};
	struct page *page[64];
	static struct sim_swap dev;

	restored(x, 1);
	assert_int_equal(sim_swap_on(&dev, x->mm->host, 1024, NULL), 0);
	for (unsigned int i = 0; i < 64; i++) {
		page[i] = page_at(x, A + (i + 32) * P);
		page_get(page[i]);
	}
	assert_int_equal(swap_out(x->mm->host, page, 64), 64); /* what it writes comes first */
	assert_int_equal(mm_check_host(x->mm->host, space, 1, complain), 0);
	assert_right(x, 0, 512);
	assert_int_equal(dev.nr_wrong, 0);
	assert_int_equal(mm_munmap(x->mm, A, M2), 0);
	assert_int_equal(sim_swap_off(&dev), 0);
}

static void moves(void **state)
{
	struct fixture *x = *state;
	struct frames *f = x->mm->frames;

	restored(x, 1);
	assert_int_equal(mm_munmap(x->mm, A + 9 * P, P), 0); /* the huge entry is split */
	struct page *from = page_at(x, A + 40 * P), *to = page_alloc(f, GFP_HIGHUSER_MOVABLE, 0);
	page_get(from);
	assert_int_equal(page_migrate(x->mm->host, from, to), 0);
	page_put(f, from);
	assert_ptr_equal(page_at(x, A + 40 * P), to);
	assert_right(x, 10, 512);
	assert_mm_sound(x->mm);
}

/* Its frames are used again, as they are, by who knows nothing of it. */
static void frames_are_free_again(void **state)
{
	struct fixture *x = *state;

	restored(x, 4);
	assert_right(x, 512, 513);
	assert_int_equal(mm_munmap(x->mm, A, 4 * M2), 0);
	assert_int_equal(fixture_map(x, A + 16 * M2, 4 * BLOCK_PAGES, RW, MAP_PRIVATE), A + 16 * M2);
	for (uint64_t i = 0; i < 4 * BLOCK_PAGES; i++)
		assert_int_equal(fixture_load(x, A + 16 * M2 + i * P), 0);
	for (uint64_t i = 0; i < 4 * BLOCK_PAGES; i++) {
		fixture_store(x, A + 16 * M2 + i * P, i);
		assert_int_equal(fixture_load(x, A + 16 * M2 + i * P + 8), 0);
	}
	assert_mm_sound(x->mm);
}

static void failed_supply_is_not_read(void **state)
{
	struct fixture *x = *state;
	const struct iovec iov = {(void *)(uintptr_t)(A + 900 * P), 64};
	struct user_pin pin;
	uint64_t word;

	restored(x, 2);
	bad = 700;
	assert_int_equal(copy_from_user(x->mm, &word, A + 699 * P, 8), 0);
	assert_int_equal(user_pin(x->mm, &iov, 1, 0, false, &pin), 0);
	user_pin_release(x->mm, &pin);
	assert_int_equal(copy_from_user(x->mm, &word, A + 700 * P, 8), 8);
	assert_non_null(supply_cause(x->mm->supply));
	assert_int_equal(copy_from_user(x->mm, &word, A, 8), 8); /* nothing of it is trusted any more */
	assert_int_equal(user_pin(x->mm, &iov, 1, 0, false, &pin), -EFAULT);
	assert_mm_sound(x->mm);
}

static void pin_finds_out(void **state)
{
	struct fixture *x = *state;
	const struct iovec iov = {(void *)(uintptr_t)(A + 700 * P), 64};
	struct user_pin pin;

	restored(x, 2);
	bad = 700;
	assert_int_equal(user_pin(x->mm, &iov, 1, 0, false, &pin), -EFAULT);
	assert_non_null(supply_cause(x->mm->supply));
}

static void no_place_for_a_block(void **state)
{
	struct fixture *x = *state;

	if (!lazy)
		skip();
	assert_int_equal(fixture_map(x, A, 2 * BLOCK_PAGES - 1, RW, MAP_PRIVATE), A);
	assert_int_equal(restore_at(x, A + P, 0, 0), -EINVAL);
	assert_int_equal(restore_at(x, A + M2, 0, 0), -EINVAL);	    /* it ends too early */
	assert_int_equal(restore_at(x, A + 8 * M2, 0, 0), -EINVAL); /* no area */
	assert_int_equal(restore_at(x, A, 0, -EIO), -EIO);
	assert_null(x->mm->supply);
	assert_int_equal(mm_counter(x->mm, MM_ANONPAGES), 0);
	atomic_store(&x->mm->memcg->thp, THP_NEVER);
	assert_int_equal(restore_at(x, A, 0, 0), -EINVAL);
	atomic_store(&x->mm->memcg->thp, THP_MADVISE);
	uint64_t limit = atomic_exchange(&x->mm->memcg->max_pages, BLOCK_PAGES + 100);
	assert_int_equal(restore_at(x, A, 0, 0), -EINVAL);
	atomic_store(&x->mm->memcg->max_pages, limit);
	fixture_store(x, A, 1);
	assert_int_equal(restore_at(x, A, 0, 0), -EINVAL); /* something is mapped */
	assert_mm_sound(x->mm);
}

/* --- allocations that fail --------------------------------------------------------------------------------- */

static struct supply nobody = {.refs = 1};

static int arm_nothing(void *ctx, void *memory)
{
	(void)ctx;
	memset(memory, 0, M2);
	return 0;
}

static void map_room(struct scene *s)
{
	assert_int_equal(fixture_map(s->x, A, BLOCK_PAGES, RW, MAP_PRIVATE), A);
}

static int op_restore_block(struct scene *s)
{
	const struct supplied_block b = {.supply = &nobody, .arm = arm_nothing};

	return mm_restore_block(s->x->mm, A, &b);
}

FAIL_AFTER(restore_block, map_room, true)

#define CASE(title, function)                          \
	{                                              \
		title, function, setup, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE("supply: what is mapped comes when it is touched, without a fault of the guest "
		     "[K24][K27]",
		     comes_when_touched),
		CASE("supply: a fork shares what is to come, and copies it for who writes [K23]",
		     fork_shares_what_is_to_come),
		CASE("supply: what goes to swap comes first [O3]", goes_to_swap),
		CASE("supply: a page that is to come moves to another frame [K25]", moves),
		CASE("supply: frames that were given back are like any others [K12]", frames_are_free_again),
		CASE("supply: of one that has failed nothing is read [K3]", failed_supply_is_not_read),
		CASE("supply: a page that is pinned for reading is there, or refused [K3]", pin_finds_out),
		CASE("supply: where no block can be the space is as it was [K4]", no_place_for_a_block),
		{"supply: any single ENOMEM leaves the space unchanged [K9]", fail_restore_block, NULL, NULL,
		 NULL},
	};

	return cmocka_run_group_tests_name("supply", tests, NULL, NULL);
}
