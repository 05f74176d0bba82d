/* SPDX-License-Identifier: MIT */
/* fork: tables shared and copied, pages written once by each, trees of spaces taken down in any order. */
#include "../../src/mm/block.h"
#include "../../src/mm/gather.h"
#include "../sim/fixture.h"

#define A  0x40000000ull
#define P  PAGE_SIZE
#define RW (PROT_READ | PROT_WRITE)

static struct mm *fork_of(struct mm *mm)
{
	struct mm *child = NULL;

	assert_int_equal(mm_fork(mm, &child), 0);
	assert_non_null(child);
	return child;
}

static struct page *page_in(struct mm *mm, gva_t address)
{
	return pfn_to_page(mm->frames, pte_pfn(fixture_pte_in(mm, address)));
}

static bool table_shared(struct mm *mm, gva_t address)
{
	return pgtable_shared(&mm->pgt, *pgtable_find_pmd(&mm->pgt, address));
}

static void fill(struct fixture *x, unsigned int pages)
{
	assert_int_equal(fixture_map(x, A, pages, RW, MAP_FIXED), A);
	for (unsigned int i = 0; i < pages; i++)
		fixture_store(x, A + i * P, i + 1);
}

static void each_writes_for_itself(void **state)
{
	struct fixture *x = *state;
	uint64_t frames = x->mm->memcg->usage_pages;

	fill(x, 8);
	struct mm *child = fork_of(x->mm);
	assert_true(table_shared(x->mm, A));
	assert_int_equal(pgtable_find(&x->mm->pgt, A), pgtable_find(&child->pgt, A));
	assert_int_equal(mm_counter(child, MM_ANONPAGES), 8);
	assert_int_equal(child->total_vm_pages, x->mm->total_vm_pages);
	/* Same frames; neither may write; one entry, since the table is one. */
	assert_int_equal(pte_pfn(fixture_pte_in(child, A)), pte_pfn(fixture_pte_in(x->mm, A)));
	assert_false(pte_write(fixture_pte_in(child, A)) || pte_write(fixture_pte_in(x->mm, A)));
	assert_int_equal(page_in(child, A)->mapcount, 1);
	assert_mm_sound(x->mm);
	assert_mm_sound(child);
	/* The child writes: its table and its page, nobody else's. */
	struct page *old = page_in(x->mm, A + P);
	fixture_store_in(x, child, A + P, 77);
	assert_int_equal(x->cpu->last_error, 7);
	assert_int_equal(child->faults[FAULT_WP_COPY], 1);
	assert_int_equal(child->faults[FAULT_COW], 0);
	assert_false(table_shared(x->mm, A));
	assert_ptr_equal(page_in(x->mm, A + P), old);
	assert_ptr_not_equal(page_in(child, A + P), old);
	assert_int_equal(page_in(child, A)->mapcount, 2);
	assert_int_equal(fixture_load_in(x, x->mm, A + P), 2);
	assert_int_equal(fixture_load_in(x, child, A + P), 77);
	assert_mm_sound(x->mm);
	assert_mm_sound(child);
	/* The parent was left alone with its page: it makes no copy. */
	fixture_store_in(x, x->mm, A + P, 78);
	assert_ptr_equal(page_in(x->mm, A + P), old);
	assert_int_equal(x->mm->faults[FAULT_WP_COPY], 0);
	assert_int_equal(fixture_load_in(x, child, A + P), 77);
	/* And a page that the child still sees is copied. */
	fixture_store_in(x, x->mm, A + 2 * P, 79);
	assert_int_equal(x->mm->faults[FAULT_WP_COPY], 1);
	assert_int_equal(fixture_load_in(x, child, A + 2 * P), 3);
	assert_mm_sound(x->mm);
	assert_mm_sound(child);
	sim_cpu_load(x->cpu, x->mm);
	mmput(child);
	assert_mm_sound(x->mm);
	mm_munmap(x->mm, A, 8 * P);
	assert_int_equal(x->mm->memcg->usage_pages, frames);
}

/* The child is gone before anybody wrote: the parent takes its tables back, and no page is touched. */
static void child_that_only_ran(void **state)
{
	struct fixture *x = *state;

	fill(x, 8);
	struct mm *child = fork_of(x->mm);
	assert_int_equal(fixture_load_in(x, child, A + 3 * P), 4);
	sim_cpu_load(x->cpu, x->mm);
	mmput(child);
	uint64_t used = x->mm->memcg->usage_pages;
	struct page *page = page_in(x->mm, A);
	fixture_store_in(x, x->mm, A, 5);
	assert_int_equal(x->mm->faults[FAULT_WP_TABLE], 1);
	assert_ptr_equal(page_in(x->mm, A), page);
	for (unsigned int i = 1; i < 8; i++)
		fixture_store_in(x, x->mm, A + i * P, i);
	assert_int_equal(x->mm->faults[FAULT_WP_TABLE] + x->mm->faults[FAULT_WP_COPY] +
				 x->mm->faults[FAULT_WP_REUSE],
			 1);
	assert_int_equal(x->mm->memcg->usage_pages, used);
	assert_mm_sound(x->mm);
}

/* What a processor remembers from before must not let it write what another space sees. */
static void nothing_stale_after_the_copy(void **state)
{
	struct fixture *x = *state;

	fill(x, 8);
	struct mm *child = fork_of(x->mm);
	uint64_t v = 100;
	/* x->cpu still runs in the parent, with warm translations. */
	assert_int_equal(sim_store(x->cpu, A, &v, 8).signo, 0);
	assert_int_equal(fixture_load_in(x, child, A), 1);
	/* The child is alone with the first table now; it takes it back and must still not write the parent's pages. */
	fixture_store_in(x, child, A + 4 * P, 200);
	assert_int_equal(fixture_load_in(x, x->mm, A + 4 * P), 5);
	fixture_store_in(x, child, A + 5 * P, 201);
	assert_int_equal(fixture_load_in(x, x->mm, A + 5 * P), 6);
	assert_mm_sound(x->mm);
	assert_mm_sound(child);
	mmput(child);
}

static void areas_that_are_not_copied(void **state)
{
	struct fixture *x = *state;

	fill(x, 16);
	assert_int_equal(fixture_map(x, A + PMD_SIZE, 4, RW, MAP_FIXED | MAP_SHARED), A + PMD_SIZE);
	fixture_store(x, A + PMD_SIZE, 9);
	assert_int_equal(mm_madvise(x->mm, A + 4 * P, 4 * P, MADV_DONTFORK), 0);
	assert_int_equal(mm_madvise(x->mm, A + 8 * P, 4 * P, MADV_WIPEONFORK), 0);
	pte_t shared = fixture_pte_in(x->mm, A + PMD_SIZE);
	struct mm *child = fork_of(x->mm);
	assert_mm_sound(x->mm);
	assert_mm_sound(child);
	assert_int_equal(mm_counter(child, MM_ANONPAGES), 8);
	assert_int_equal(mm_counter(child, MM_SHMEMPAGES), 0);
	assert_int_equal(child->total_vm_pages, x->mm->total_vm_pages - 4);
	/* The parent keeps its right to write shared memory, and both see the same of it. */
	assert_int_equal(fixture_pte_in(x->mm, A + PMD_SIZE), shared);
	assert_true(pte_write(shared));
	assert_int_equal(fixture_load_in(x, child, A + PMD_SIZE), 9);
	fixture_store_in(x, child, A + PMD_SIZE, 10);
	assert_int_equal(fixture_load_in(x, x->mm, A + PMD_SIZE), 10);
	assert_int_equal(fixture_load_in(x, child, A), 1);
	assert_int_equal(fixture_load_in(x, child, A + 8 * P), 0);
	assert_int_equal(fixture_load_in(x, x->mm, A + 8 * P), 9);
	uint64_t value;
	sim_cpu_load(x->cpu, child);
	assert_int_equal(sim_load(x->cpu, A + 4 * P, &value, 8).signo, SIGSEGV);
	/* Entry by entry: both without write, the same frame, two entries. */
	assert_false(pte_write(fixture_pte_in(x->mm, A)) || pte_write(fixture_pte_in(child, A)));
	assert_ptr_equal(page_in(x->mm, A), page_in(child, A));
	assert_int_equal(page_in(x->mm, A)->mapcount, 2);
	fixture_store_in(x, x->mm, A, 50);
	assert_int_equal(fixture_load_in(x, child, A), 1);
	assert_mm_sound(x->mm);
	assert_mm_sound(child);
	mmput(child);
	sim_cpu_load(x->cpu, x->mm);
	assert_mm_sound(x->mm);
}

static void pinned_pages_stay(void **state)
{
	struct fixture *x = *state;
	struct page *page[2];

	fill(x, 8);
	assert_int_equal(get_user_pages(x->mm, A + 2 * P, 2, GUP_WRITE, page), 2);
	struct mm *child = fork_of(x->mm);
	assert_ptr_equal(page_in(x->mm, A + 2 * P), page[0]);
	assert_ptr_not_equal(page_in(child, A + 2 * P), page[0]);
	assert_ptr_equal(page_in(child, A + P), page_in(x->mm, A + P));
	fixture_store_in(x, x->mm, A + 2 * P, 1000);
	assert_int_equal(*(uint64_t *)page_address(x->mm->frames, page[0]), 1000);
	assert_int_equal(fixture_load_in(x, child, A + 2 * P), 3);
	struct mm *both[] = {x->mm, child};
	assert_int_equal(mm_check_host(&x->machine->host, both, 2, complain), 0);
	put_user_pages(x->mm, 2, page);
	assert_int_equal(x->mm->nr_pins, 0);
	page_get(page[0]);
	assert_int_equal(mm_check_host(&x->machine->host, both, 2, NULL),
			 1); /* a reference that nobody tells of */
	page_put(x->mm->frames, page[0]);
	assert_int_equal(mm_check_host(&x->machine->host, both, 1, NULL) > 0,
			 1); /* a space that is not told of */
	/* A pin for writing comes after a copy, one for reading may find the page that both see. */
	assert_int_equal(get_user_pages(child, A + 5 * P, 1, 0, page), 1);
	assert_ptr_equal(page[0], page_in(x->mm, A + 5 * P));
	put_user_pages(child, 1, page);
	assert_int_equal(get_user_pages(child, A + 5 * P, 1, GUP_WRITE, page), 1);
	assert_ptr_not_equal(page[0], page_in(x->mm, A + 5 * P));
	put_user_pages(child, 1, page);
	assert_mm_sound(x->mm);
	assert_mm_sound(child);
	mmput(child);
}

/* A host call that is under way in the parent writes where the parent reads, and the child does not see it. */
static void pins_of_a_call(void **state)
{
	struct fixture *x = *state;
	struct iovec iov = {(void *)(A + P), 2 * P};
	struct user_pin pin;

	fill(x, 4);
	assert_int_equal(user_pin(x->mm, &iov, 1, 0, true, &pin), 0);
	assert_int_equal(x->mm->nr_pins, 2);
	struct mm *child = fork_of(x->mm);
	*(uint64_t *)page_address(x->mm->frames, pin.pages[0]) = 1000;
	assert_int_equal(fixture_load_in(x, x->mm, A + P), 1000);
	assert_int_equal(fixture_load_in(x, child, A + P), 2);
	user_pin_release(x->mm, &pin);
	assert_int_equal(x->mm->nr_pins, 0);
	mmput(child);
}

/* A fork leaves out what told two areas apart and joins nothing, as Linux. */
static void areas_that_became_alike(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(fixture_map(x, A, 8, RW, MAP_FIXED), A);
	assert_int_equal(mm_mlock(x->mm, A + 2 * P, 2 * P, MLOCK_ONFAULT), 0);
	assert_int_equal(x->mm->vmas.nr, 3);
	struct mm *child = fork_of(x->mm);
	assert_int_equal(child->vmas.nr, 3);
	assert_mm_sound(child);
	mmput(child);
}

static void a_debuggers_write(void **state)
{
	struct fixture *x = *state;
	struct page *page;

	fill(x, 4);
	assert_int_equal(mm_mprotect(x->mm, A, 4 * P, PROT_READ), 0);
	struct mm *child = fork_of(x->mm);
	assert_int_equal(get_user_pages(child, A, 1, GUP_WRITE, &page), -EFAULT);
	assert_int_equal(get_user_pages(child, A, 1, GUP_WRITE | GUP_FORCE, &page), 1);
	*(uint64_t *)page_address(x->mm->frames, page) = 66;
	put_user_pages(child, 1, &page);
	assert_int_equal(fixture_load_in(x, child, A), 66);
	assert_int_equal(fixture_load_in(x, x->mm, A), 1);
	assert_false(pte_write(fixture_pte_in(child, A)));
	assert_mm_sound(child);
	mmput(child);
	sim_cpu_load(x->cpu, x->mm);
	assert_int_equal(fixture_map(x, A + PMD_SIZE, 1, PROT_READ, MAP_FIXED | MAP_SHARED), A + PMD_SIZE);
	assert_int_equal(get_user_pages(x->mm, A + PMD_SIZE, 1, GUP_WRITE | GUP_FORCE, &page), -EFAULT);
}

static void huge_entries_are_shared(void **state)
{
	struct fixture *x = *state;
	gva_t zeroes = A + 2 * PMD_SIZE;

	/* A range of nobody's frames, as a device maps it: the same for both. */
	assert_int_equal(fixture_map(x, zeroes, 512, RW, MAP_FIXED), zeroes);
	pte_set(pgtable_alloc_pmd(&x->mm->pgt, zeroes),
		pte_make(1ull << 28,
			 PTE_PRESENT | PTE_USER | PTE_ACCESSED | PTE_NX | PTE_SPECIAL | PTE_HUGE));
	struct mm *child = fork_of(x->mm);
	assert_int_equal(fixture_pte_in(child, zeroes + 5 * P), fixture_pte_in(x->mm, zeroes + 5 * P));
	assert_int_not_equal(fixture_pte_in(child, zeroes + 5 * P), 0);
	assert_mm_sound(child);
	mmput(child);
}

/* Operations on parts of shared tables, by one space while the others look on. */
static void operations_keep_to_themselves(void **state)
{
	struct fixture *x = *state;

	fill(x, 1024);
	struct mm *child = fork_of(x->mm), *other = fork_of(child);
	assert_int_equal(mm_munmap(child, A + 100 * P, 10 * P), 0);
	assert_int_equal(mm_mprotect(other, A + 90 * P, 5 * P, PROT_READ), 0);
	assert_int_equal(mm_madvise(other, A + 95 * P, 2 * P, MADV_DONTNEED), 0);
	assert_int_equal(mm_mremap(child, A + 512 * P, 512 * P, 512 * P, MREMAP_MAYMOVE | MREMAP_FIXED,
				   A + 0x10000000),
			 A + 0x10000000);
	assert_true(table_shared(child, A + 0x10000000));
	for (unsigned int i = 0; i < 1024; i += 7)
		assert_int_equal(fixture_load_in(x, x->mm, A + i * P), i + 1);
	assert_int_equal(fixture_load_in(x, other, A + 95 * P), 0);
	assert_int_equal(fixture_load_in(x, other, A + 105 * P), 106);
	assert_int_equal(fixture_load_in(x, child, A + 95 * P), 96);
	assert_int_equal(fixture_load_in(x, child, A + 0x10000000 + 3 * P), 516);
	fixture_store_in(x, child, A + 0x10000000, 1);
	assert_int_equal(fixture_load_in(x, other, A + 512 * P), 513);
	assert_int_equal(mm_counter(child, MM_ANONPAGES), 1014);
	assert_int_equal(mm_counter(other, MM_ANONPAGES), 1022);
	assert_mm_sound(x->mm);
	assert_mm_sound(child);
	assert_mm_sound(other);
	/* A range of whole tables goes without a copy of any. */
	uint64_t used = x->mm->memcg->usage_pages;
	assert_int_equal(mm_munmap(other, A + 512 * P, 512 * P), 0);
	assert_true(x->mm->memcg->usage_pages <= used);
	assert_int_equal(fixture_load_in(x, x->mm, A + 512 * P), 513);
	mmput(child);
	assert_mm_sound(other);
	mmput(other);
	sim_cpu_load(x->cpu, x->mm);
	assert_mm_sound(x->mm);
}

/* Every frame has the entries, tables and references that all spaces together say. */
static void assert_host_sound(struct fixture *x, struct mm *const *mm, unsigned int nr)
{
	struct mm *there[16];
	unsigned int n = 0;

	for (unsigned int i = 0; i < nr; i++)
		if (mm[i])
			there[n++] = mm[i];
	assert_int_equal(mm_check_host(&x->machine->host, there, n, complain), 0);
}

/* Forks of forks, writes everywhere, exits in any order: every space reads what it wrote itself or had from its parent. */
static void trees_of_spaces(void **state)
{
	enum { SPACES = 12, PAGES = 600, STEPS = 3000 };
	struct fixture *x = *state;
	struct mm *mm[SPACES] = {x->mm};
	static uint64_t want[SPACES][PAGES];
	uint64_t rng = random_seed(11);

	fill(x, PAGES);
	for (unsigned int i = 0; i < PAGES; i++)
		want[0][i] = i + 1;
	for (unsigned int step = 0; step < STEPS; step++) {
		unsigned int s = (unsigned int)random_below(&rng, SPACES),
			     p = (unsigned int)random_below(&rng, PAGES);
		unsigned int what = (unsigned int)random_below(&rng, 100);

		if (!mm[s]) {
			unsigned int from = (unsigned int)random_below(&rng, SPACES);
			if (!mm[from])
				continue;
			uint64_t ahead = random_below(&rng, 2) * random_below(&rng, 400);
			assert_int_equal(mm_fork_ahead(mm[from], ahead, &mm[s]), 0);
			memcpy(want[s], want[from], sizeof(want[s]));
		} else if (what < 45) {
			want[s][p] = random_next(&rng);
			fixture_store_in(x, mm[s], A + p * P, want[s][p]);
		} else if (what < 90) {
			assert_int_equal(fixture_load_in(x, mm[s], A + p * P), want[s][p]);
		} else if (what < 93) {
			assert_int_equal(mm_madvise(mm[s], A + p * P, P, MADV_DONTNEED), 0);
			want[s][p] = 0;
		} else if (s) { /* the first one is the fixture's */
			sim_cpu_load(x->cpu, x->mm);
			mmput(mm[s]);
			mm[s] = NULL;
		}
		if (step % 100 == 0 && mm[s])
			assert_mm_sound(mm[s]);
		if (step % 250 == 0)
			assert_host_sound(x, mm, SPACES);
	}
	sim_cpu_load(x->cpu, x->mm);
	for (unsigned int s = 1; s < SPACES; s++) {
		if (!mm[s])
			continue;
		assert_mm_sound(mm[s]);
		mmput(mm[s]);
	}
	for (unsigned int p = 0; p < PAGES; p++)
		assert_int_equal(fixture_load(x, A + p * P), want[0][p]);
}

/* --- without memory ------------------------------------------------------------------------------------------------ */

static void any_failure_leaves_the_parent(void **state)
{
	struct fixture *x = *state;
	struct frames *f = &x->machine->frames;
	uint64_t injected = 0;
	struct mm *child;

	fill(x, 600);
	fixture_map(x, A + 8 * PMD_SIZE, 4, RW, MAP_FIXED);
	fixture_store(x, A + 8 * PMD_SIZE, 3);
	fixture_store(x, A + 8 * PMD_SIZE + P, 4);
	assert_int_equal(mm_madvise(x->mm, A + 8 * PMD_SIZE, P, MADV_WIPEONFORK), 0);
	for (long n = 1;; n++) {
		uint64_t before = f->nr_fail, used = x->mm->memcg->usage_pages;
		f->fail_in = n;
		int err = mm_fork(x->mm, &child);
		f->fail_in = 0;
		injected += f->nr_fail - before;
		if (!err) {
			mmput(child);
			if (f->nr_fail == before)
				break;
			continue;
		}
		assert_int_equal(err, -ENOMEM);
		assert_int_equal(x->mm->memcg->usage_pages, used);
		assert_mm_sound(x->mm);
		assert_int_equal(fixture_load_in(x, x->mm, A + 599 * P), 600);
		fixture_store(x, A + 599 * P, 600);
	}
	assert_true(injected > 3);
}

static void any_failure_to_copy_a_table(void **state)
{
	struct fixture *x = *state;
	struct frames *f = &x->machine->frames;
	uint64_t before = f->nr_fail, value = 5;

	fill(x, 16);
	struct mm *child = fork_of(x->mm);
	sim_cpu_load(x->cpu, child);
	for (long n = 1; n < 3; n++) { /* the table, and the page */
		f->fail_in = n;
		assert_int_equal(sim_store(x->cpu, A, &value, 8).signo, SIGKILL);
		f->fail_in = 0;
		assert_mm_sound(child);
		assert_mm_sound(x->mm);
		assert_int_equal(fixture_load_in(x, child, A), 1);
	}
	assert_int_equal(f->nr_fail - before, 2);
	mmput(child);
	child = fork_of(x->mm);
	f->fail_in = 1;
	assert_int_equal(mm_mprotect(child, A + 2 * P, 16 * P, PROT_READ), -ENOMEM);
	f->fail_in = 0;
	assert_mm_sound(child);
	/* What gives memory back does not fail for want of an account that is full: the last frames are kept for it. */
	uint64_t max = child->memcg->max_pages;
	child->memcg->max_pages = child->memcg->usage_pages + 1;
	assert_false(memcg_charge(child->memcg, 1));
	assert_int_equal(mm_madvise(child, A + 2 * P, P, MADV_DONTNEED), 0);
	child->memcg->max_pages = max;
	assert_int_equal(fixture_load_in(x, child, A + 2 * P), 0);
	assert_int_equal(fixture_load_in(x, x->mm, A + 2 * P), 3);
	mmput(child);
}

/* --- names --------------------------------------------------------------------------------------------------------- */

struct heard {
	const char *name[16];
	unsigned int nr;
};

static void hear(void *ctx, const char *function, gva_t address)
{
	struct heard *h = ctx;

	(void)address;
	if (h->nr < ARRAY_SIZE(h->name))
		h->name[h->nr++] = function;
}

static void the_chain_of_calls(void **state)
{
	static const char *const shared[] = {"dup_mm", "dup_mmap", "copy_page_range", "copy_pmd_range"};
	static const char *const copied[] = {"dup_mm", "dup_mmap", "copy_page_range", "copy_pte_range",
					     "copy_present_pte"};
	struct fixture *x = *state;
	struct heard h = {.nr = 0};
	struct page *pin;

	fill(x, 1);
	x->machine->host.fork_trace = hear;
	x->machine->host.fork_trace_ctx = &h;
	mmput(fork_of(x->mm));
	assert_int_equal(h.nr, ARRAY_SIZE(shared));
	for (unsigned int i = 0; i < h.nr; i++)
		assert_string_equal(h.name[i], shared[i]);
	h.nr = 0;
	assert_int_equal(get_user_pages(x->mm, A, 1, 0, &pin), 1);
	mmput(fork_of(x->mm));
	put_user_pages(x->mm, 1, &pin);
	assert_int_equal(h.nr, ARRAY_SIZE(copied));
	for (unsigned int i = 0; i < h.nr; i++)
		assert_string_equal(h.name[i], copied[i]);
	x->machine->host.fork_trace = NULL;
}

static void cow_mappings(void **state)
{
	(void)state;
	assert_true(is_cow_mapping(VM_MAYWRITE));
	assert_false(is_cow_mapping(VM_MAYWRITE | VM_SHARED));
	assert_false(is_cow_mapping(VM_SHARED));
	assert_false(is_cow_mapping(0));
}

#define T(name, fn)                                             \
	{                                                       \
		name, fn, fixture_setup, fixture_teardown, NULL \
	}
#define S(name, fn)                                                    \
	{                                                              \
		name, fn, fixture_setup_shadow, fixture_teardown, NULL \
	}
#define BOTH(name, fn) T(name, fn), S(name " (shadow)", fn)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		BOTH("fork: the same frames until one writes, then each its own [M3][M4][M6][M7]",
		     each_writes_for_itself),
		BOTH("fork: after a child that wrote nothing no page is copied", child_that_only_ran),
		BOTH("fork: no stale translation writes what another space sees",
		     nothing_stale_after_the_copy),
		BOTH("fork: shared, wiped and left areas [M5][M3]", areas_that_are_not_copied),
		BOTH("fork: what a call holds is the parent's, the child has a copy [P5][P6]",
		     pins_of_a_call),
		T("fork: areas that nothing tells apart any more stay areas", areas_that_became_alike),
		BOTH("fork: pinned pages stay with who pinned them [P5][P6]", pinned_pages_stay),
		T("fork: a debugger's write breaks a shared page, and only a private one [P5]",
		  a_debuggers_write),
		T("fork: huge entries are shared as they are", huge_entries_are_shared),
		BOTH("fork: what one space does to its range others do not see",
		     operations_keep_to_themselves),
		BOTH("fork: trees of spaces, taken down in any order", trees_of_spaces),
		T("fork: any single failure leaves the parent unchanged", any_failure_leaves_the_parent),
		T("fork: a table that cannot be copied stays shared", any_failure_to_copy_a_table),
		T("fork: dup_mm to copy_present_pte [M1]", the_chain_of_calls),
		T("fork: which mappings are copied on a write [M2]", cow_mappings),
	};

	return cmocka_run_group_tests_name("fork", tests, NULL, NULL);
}
