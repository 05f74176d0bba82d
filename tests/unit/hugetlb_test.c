/* SPDX-License-Identifier: MIT */
/* MAP_HUGETLB: the pool, reservations, faults, forks, and what the calls on areas refuse. */
#include "../../src/mm/block.h"
#include "../../src/mm/hugetlb.h"
#include "../../src/mm/hugetlb_object.h"
#include "../../src/mm/usage.h"
#include "../sim/fixture.h"

#define A  0x40000000ull
#define P  PAGE_SIZE
#define M2 PMD_SIZE
#define RW (PROT_READ | PROT_WRITE)

static struct hugetlb_pool_counts counts(struct fixture *x)
{
	assert_int_equal(hugetlb_pool_check(x->mm->memcg), 0);
	return hugetlb_pool_counts(x->mm->frames, x->mm->memcg);
}

static void expect(struct fixture *x, uint64_t total, uint64_t free, uint64_t reserved, uint64_t surplus)
{
	struct hugetlb_pool_counts c = counts(x);

	assert_int_equal(c.total, total);
	assert_int_equal(c.free, free);
	assert_int_equal(c.reserved, reserved);
	assert_int_equal(c.surplus, surplus);
}

static void pool(struct fixture *x, uint64_t nr)
{
	hugetlb_pool_resize(x->mm->frames, x->mm->memcg, nr);
}

static int64_t map(struct fixture *x, gva_t at, uint64_t bytes, unsigned int flags)
{
	const struct mmap_request r = {.address = at,
				       .length = bytes,
				       .prot = RW,
				       .flags = MAP_ANONYMOUS | MAP_HUGETLB | flags};

	return hugetlb_mmap(x->mm, &r);
}

static void sound(struct fixture *x, struct mm *child)
{
	struct mm *const all[] = {x->mm, child};

	assert_mm_sound(x->mm);
	if (child)
		assert_mm_sound(child);
	assert_int_equal(mm_check_host(x->mm->host, all, child ? 2 : 1, NULL), 0);
	assert_int_equal(hugetlb_pool_check(x->mm->memcg), 0);
}

static uint64_t read_word(struct mm *mm, gva_t at)
{
	uint64_t word = ~0ull;

	assert_int_equal(copy_from_user(mm, &word, at, sizeof(word)), 0);
	return word;
}

static void pool_of_none(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(map(x, A, M2, MAP_PRIVATE | MAP_FIXED), -ENOMEM);
	assert_int_equal(map(x, A + P, M2, MAP_PRIVATE | MAP_FIXED), -EINVAL);
	assert_int_equal(map(x, A, 0, MAP_PRIVATE | MAP_FIXED), -EINVAL);
	assert_int_equal(map(x, A, 1, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE), A);
	assert_int_equal(vma_find(&x->mm->vmas, A)->end, A + M2);
	assert_signal(x, SIM_STORE, A, SIGBUS, BUS_ADRERR);
	assert_signal(x, SIM_LOAD, A + 5 * P, SIGBUS, BUS_ADRERR);
	sound(x, NULL);
}

static void pool_grows_and_shrinks(void **state)
{
	struct fixture *x = *state;
	uint64_t used = x->mm->memcg->usage_pages;

	pool(x, 4);
	expect(x, 4, 4, 0, 0);
	assert_int_equal(x->mm->memcg->usage_pages, used + 4 * BLOCK_PAGES);
	assert_int_equal(map(x, A, 2 * M2, MAP_PRIVATE | MAP_FIXED), A);
	expect(x, 4, 4, 2, 0);
	fixture_store(x, A, 1);
	expect(x, 4, 3, 1, 0);
	pool(x, 0); /* one in use and one promised stay, as surplus */
	expect(x, 2, 1, 1, 2);
	assert_int_equal(map(x, A + 4 * M2, M2, MAP_PRIVATE | MAP_FIXED), -ENOMEM);
	fixture_store(x, A + M2, 1);
	expect(x, 2, 0, 0, 2);
	assert_int_equal(mm_munmap(x->mm, A, M2), 0);
	expect(x, 1, 0, 0, 1);
	assert_int_equal(mm_munmap(x->mm, A + M2, M2), 0);
	expect(x, 0, 0, 0, 0);
	assert_int_equal(x->mm->memcg->usage_pages, used);
	x->mm->memcg->max_pages = used + 3 * BLOCK_PAGES + 5;
	pool(x, 10); /* as many as the account has room for */
	expect(x, 3, 3, 0, 0);
}

static void overcommit_is_surplus(void **state)
{
	struct fixture *x = *state;

	hugetlb_pool_set_overcommit(x->mm->memcg, 2);
	assert_int_equal(map(x, A, 3 * M2, MAP_PRIVATE | MAP_FIXED), -ENOMEM);
	expect(x, 0, 0, 0, 0);
	assert_int_equal(map(x, A, 2 * M2, MAP_PRIVATE | MAP_FIXED), A);
	expect(x, 2, 2, 2, 2);
	fixture_store(x, A, 1);
	assert_int_equal(mm_munmap(x->mm, A, 2 * M2), 0);
	expect(x, 0, 0, 0, 0);
}

static void one_fault_one_block(void **state)
{
	struct fixture *x = *state;
	struct vma_usage u = {0};
	unsigned int level;

	pool(x, 2);
	assert_int_equal(map(x, A, 2 * M2, MAP_PRIVATE | MAP_FIXED), A);
	fixture_store(x, A + 5 * P, 7);
	assert_int_equal(fixture_load(x, A + M2 - 8), 0);
	assert_int_equal(x->cpu->nr_faults, 1);
	assert_non_null(pgtable_leaf(&x->mm->pgt, A, &level));
	assert_int_equal(level, 1);
	assert_int_equal(mm_rss_pages(x->mm), 0);
	assert_int_equal(mm_counter(x->mm, MM_HUGETLBPAGES), BLOCK_PAGES);
	vma_usage_add(vma_find(&x->mm->vmas, A), &u);
	assert_int_equal(u.rss, 0);
	assert_int_equal(u.private_hugetlb, M2);
	sound(x, NULL);
	assert_int_equal(mm_madvise(x->mm, A, M2 + P, MADV_DONTNEED), 0); /* what is not whole stays */
	expect(x, 2, 2, 2, 0);						  /* and promised again */
	assert_int_equal(fixture_load(x, A + 5 * P), 0);
	fixture_store(x, A, 3); /* after a read */
	assert_int_equal(fixture_load(x, A), 3);
	sound(x, NULL);
}

static void whole_blocks_only(void **state)
{
	struct fixture *x = *state;

	pool(x, 4);
	assert_int_equal(map(x, A, 4 * M2, MAP_PRIVATE | MAP_FIXED), A);
	for (unsigned int i = 0; i < 4; i++)
		fixture_store(x, A + i * M2, i + 1);
	assert_int_equal(mm_munmap(x->mm, A, P), -EINVAL);
	assert_int_equal(mm_munmap(x->mm, A + P, M2), -EINVAL);
	assert_int_equal(mm_mprotect(x->mm, A, P, PROT_READ), -EINVAL);
	assert_int_equal(mm_madvise(x->mm, A, P, MADV_DONTNEED), 0);
	assert_int_equal(mm_madvise(x->mm, A + P, P, MADV_DONTNEED), -EINVAL);
	assert_int_equal(mm_madvise(x->mm, A, M2, MADV_FREE), -EINVAL);
	assert_int_equal(mm_madvise(x->mm, A, P, MADV_DONTFORK), -EINVAL);
	assert_int_equal(mm_mremap(x->mm, A, M2, 8 * M2, MREMAP_MAYMOVE, 0), -EINVAL);
	assert_int_equal(mm_mremap(x->mm, A + P, M2, M2, MREMAP_MAYMOVE | MREMAP_FIXED, A + 16 * M2),
			 -EINVAL);
	assert_int_equal(mm_mremap(x->mm, A, M2, M2, MREMAP_MAYMOVE | MREMAP_FIXED, A + 16 * M2 + P),
			 -EINVAL);
	assert_int_equal(mm_mremap(x->mm, A, M2, P, 0, 0), A);
	assert_int_equal(fixture_map(x, A + P, 1, RW, MAP_FIXED), -EINVAL);
	assert_int_equal(mm_mseal(x->mm, A, P, 0), -EINVAL);
	assert_int_equal(mm_mbind(x->mm, A, P, (struct mempolicy_setting){.mode = MPOL_LOCAL}), -EINVAL);
	assert_int_equal(mm_mprotect(x->mm, A, M2, PROT_READ), 0);
	assert_signal(x, SIM_STORE, A, SIGSEGV, SEGV_ACCERR);
	assert_int_equal(mm_mprotect(x->mm, A, M2, RW), 0);
	fixture_store(x, A + 8, 9);
	assert_int_equal(mm_mremap(x->mm, A + M2, M2, M2, MREMAP_MAYMOVE | MREMAP_FIXED, A + 16 * M2),
			 A + 16 * M2);
	assert_int_equal(fixture_load(x, A + 16 * M2), 2);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(fixture_load(x, i == 1 ? A + 16 * M2 : A + i * M2), i + 1);
	sound(x, NULL);
	assert_int_equal(mm_munmap(x->mm, A, 32 * M2), 0);
	expect(x, 4, 4, 0, 0);
}

static void moving_keeps_reservations(void **state)
{
	struct fixture *x = *state;

	pool(x, 3);
	assert_int_equal(map(x, A, 3 * M2, MAP_PRIVATE | MAP_FIXED), A);
	fixture_store(x, A, 1);
	assert_int_equal(mm_mremap(x->mm, A, 3 * M2, 3 * M2, MREMAP_MAYMOVE | MREMAP_FIXED, A + 16 * M2),
			 A + 16 * M2);
	expect(x, 3, 2, 2, 0);
	assert_int_equal(mm_mremap(x->mm, A + 16 * M2, 3 * M2, M2, 0, 0), A + 16 * M2);
	expect(x, 3, 2, 0, 0);
}

static void children_copy_blocks(void **state)
{
	struct fixture *x = *state;
	struct mm *child;

	pool(x, 3);
	assert_int_equal(map(x, A, 2 * M2, MAP_PRIVATE | MAP_FIXED), A);
	fixture_store(x, A + 8, 5);
	assert_int_equal(mm_fork(x->mm, &child), 0);
	expect(x, 3, 2, 1, 0);
	sound(x, child);
	fixture_store(x, A, 6); /* copied from what nobody has reserved */
	expect(x, 3, 1, 1, 0);
	assert_int_equal(read_word(child, A), 0);
	assert_int_equal(read_word(child, A + 8), 5);
	assert_int_equal(fixture_load(x, A + 8), 5);
	uint64_t word = 0;
	assert_int_equal(copy_from_user(child, &word, A + M2, 8), 8); /* the promise is the parent's */
	fixture_store(x, A + M2, 7);
	expect(x, 3, 0, 0, 0);
	sound(x, child);
	mmput(child);
	expect(x, 3, 1, 0, 0);
	sound(x, NULL);
}

static void pinned_blocks_stay_with_the_parent(void **state)
{
	struct fixture *x = *state;
	struct page *page;
	struct mm *child;

	pool(x, 2);
	assert_int_equal(map(x, A, M2, MAP_PRIVATE | MAP_FIXED), A);
	fixture_store(x, A, 5);
	assert_int_equal(get_user_pages(x->mm, A, 1, GUP_WRITE, &page), 1);
	assert_int_equal(mm_fork(x->mm, &child), 0);
	fixture_store(x, A, 6);
	assert_int_equal(*(uint64_t *)page_address(x->mm->frames, page), 6);
	assert_int_equal(read_word(child, A), 5);
	mmput(child);
	assert_int_equal(mm_munmap(x->mm, A, M2), 0);
	expect(x, 2, 1, 0, 0); /* not free before the pin is gone */
	put_user_pages(x->mm, 1, &page);
	expect(x, 2, 2, 0, 0);
}

static void shared_with_children(void **state)
{
	struct fixture *x = *state;
	struct mm *child;
	uint64_t word = 9;

	pool(x, 2);
	assert_int_equal(map(x, A, 2 * M2, MAP_SHARED | MAP_FIXED), A);
	fixture_store(x, A, 1);
	assert_int_equal(mm_fork(x->mm, &child), 0);
	assert_int_equal(copy_to_user(child, A + M2, &word, 8), 0); /* the promise is the object's */
	assert_int_equal(copy_to_user(child, A + 8, &word, 8), 0);
	assert_int_equal(fixture_load(x, A + M2), 9);
	assert_int_equal(fixture_load(x, A + 8), 9);
	fixture_store(x, A, 2);
	assert_int_equal(read_word(child, A), 2);
	expect(x, 2, 0, 0, 0);
	sound(x, child);
	assert_int_equal(mm_munmap(x->mm, A, 2 * M2), 0);
	expect(x, 2, 0, 0, 0);
	mmput(child);
	expect(x, 2, 2, 0, 0);
}

static void placed_even(void **state)
{
	struct fixture *x = *state;

	pool(x, 3);
	int64_t at = map(x, 0, M2, MAP_PRIVATE);
	assert_true(at > 0);
	assert_int_equal((gva_t)at & ~PMD_MASK, 0);
	assert_int_equal(map(x, 0, M2, MAP_PRIVATE), at - (int64_t)M2);
	assert_int_equal(map(x, A + P, M2, MAP_PRIVATE), A + M2);
	expect(x, 3, 3, 3, 0);
}

/* --- files ------------------------------------------------------------------------------------ */

static int64_t map_file(struct fixture *x, struct hugetlb_object *file, gva_t at, uint64_t pages,
			unsigned int flags)
{
	const struct mmap_request r = {.address = at,
				       .length = pages * M2,
				       .prot = RW,
				       .flags = MAP_FIXED | flags,
				       .file = &file->backing};

	return hugetlb_mmap(x->mm, &r);
}

static struct hugetlb_object *file_of(struct fixture *x, uint64_t pages)
{
	struct hugetlb_object *file =
		hugetlb_object_create(x->mm->host, x->mm->memcg, pages * M2, "/memfd:x (deleted)");

	assert_non_null(file);
	return file;
}

static void a_file_is_cut(void **state)
{
	struct fixture *x = *state;
	struct hugetlb_object *file = file_of(x, 3);

	pool(x, 8);
	assert_int_equal(map_file(x, file, A, 3, MAP_SHARED), A);
	assert_int_equal(map_file(x, file, A + 4 * M2, 3, MAP_PRIVATE), A + 4 * M2);
	expect(x, 8, 8, 6, 0);
	for (unsigned int i = 0; i < 2; i++) {
		fixture_store(x, A + i * M2, 10 + i);
		assert_int_equal(fixture_load(x, A + (4 + i) * M2), 10 + i);
		fixture_store(x, A + (4 + i) * M2, 20 + i);
	}
	expect(x, 8, 4, 2, 0);
	assert_int_equal(fixture_load(x, A + M2), 11);
	hugetlb_object_resize(file, M2);
	assert_signal(x, SIM_LOAD, A + M2, SIGBUS, BUS_ADRERR);
	assert_signal(x, SIM_STORE, A + 5 * M2, SIGBUS, BUS_ADRERR);
	assert_int_equal(fixture_load(x, A + 4 * M2), 20);
	expect(x, 8, 6, 2, 0); /* the private area's promises, of which one was used */
	sound(x, NULL);
	hugetlb_object_resize(file, 2 * M2);
	assert_int_equal(fixture_load(x, A + M2), 0);
	hugetlb_object_punch(file, 8, M2 + 8);
	assert_int_equal(fixture_load(x, A), 10);
	assert_int_equal(fixture_load(x, A + 8), 0);
	assert_int_equal(mm_munmap(x->mm, A, 8 * M2), 0);
	expect(x, 8, 6, 0, 0);
	backing_put(&file->backing);
	expect(x, 8, 8, 0, 0);
	sound(x, NULL);
}

static void a_file_is_filled(void **state)
{
	struct fixture *x = *state;
	struct hugetlb_object *file = file_of(x, 0);
	uint64_t words[2] = {1, 1};
	struct iovec iov = {words, sizeof(words)};

	pool(x, 3);
	assert_int_equal(hugetlb_object_allocate(file, 0, 4 * M2, HUGETLB_GROW), -ENOSPC);
	assert_int_equal(atomic_load(&file->size_bytes), 0);
	assert_int_equal(hugetlb_object_allocate(file, 0, 2 * M2, HUGETLB_GROW), 0);
	assert_int_equal(atomic_load(&file->size_bytes), 2 * M2);
	hugetlb_object_punch(file, 2 * M2, 4 * M2); /* what the one without room left behind the end */
	assert_int_equal(hugetlb_object_pages(file), 2);
	assert_int_equal(map_file(x, file, A, 3, MAP_SHARED), A); /* makes it longer */
	assert_int_equal(atomic_load(&file->size_bytes), 3 * M2);
	expect(x, 3, 1, 1, 0);
	fixture_store(x, A + M2 - 8, 5);
	assert_int_equal(hugetlb_object_read(file, &iov, 1, M2 - 8), 16);
	assert_int_equal(words[0], 5);
	assert_int_equal(words[1], 0);
	assert_int_equal(hugetlb_object_read(file, &iov, 1, 3 * M2 - 8), 8);
	assert_int_equal(hugetlb_object_read(file, &iov, 1, 3 * M2), 0);
	backing_put(&file->backing); /* the area keeps it */
	fixture_store(x, A + 2 * M2, 1);
	expect(x, 3, 0, 0, 0);
	sound(x, NULL);
	assert_int_equal(mm_munmap(x->mm, A, 3 * M2), 0);
	expect(x, 3, 3, 0, 0);
}

/* Promises are all made or none, whichever allocation fails. */
static void promises_need_memory(void **state)
{
	struct fixture *x = *state;
	unsigned int failures = 0;

	pool(x, 8);
	for (unsigned int nth = 1;; nth++) {
		struct hugetlb_object *file = file_of(x, 200);
		kmem_cache_fail_every(&x->mm->host->node_cache, nth);
		int err = hugetlb_object_reserve(file, 60, 8);
		kmem_cache_fail_every(&x->mm->host->node_cache, 0);
		expect(x, 8, 8, err ? 0 : 8, 0);
		backing_put(&file->backing);
		expect(x, 8, 8, 0, 0);
		if (!err)
			break;
		assert_int_equal(err, -ENOMEM);
		failures++;
	}
	assert_true(failures > 1);
}

#define T(name, fn)                                             \
	{                                                       \
		name, fn, fixture_setup, fixture_teardown, NULL \
	}
#define S(name, fn)                                                    \
	{                                                              \
		name, fn, fixture_setup_shadow, fixture_teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("hugetlb: a pool of none refuses promises, and touches without one [B19]", pool_of_none),
		T("hugetlb: the pool grows within the account and shrinks to what is in use",
		  pool_grows_and_shrinks),
		T("hugetlb: overcommitted blocks are surplus", overcommit_is_surplus),
		T("hugetlb: one fault maps one block; DONTNEED gives it back [B19][K8]", one_fault_one_block),
		T("hugetlb: calls on areas take whole blocks only [B19]", whole_blocks_only),
		S("hugetlb: the same on a shadow MMU [B19]", whole_blocks_only),
		T("hugetlb: reservations move with the area", moving_keeps_reservations),
		T("hugetlb: a child shares blocks until one side writes [M4]", children_copy_blocks),
		S("hugetlb: the same on a shadow MMU [M4]", children_copy_blocks),
		T("hugetlb: a pinned block stays with the parent, and in use",
		  pinned_blocks_stay_with_the_parent),
		T("hugetlb: shared blocks are found by index [M5]", shared_with_children),
		T("hugetlb: placed at multiples of 2 MiB", placed_even),
		T("hugetlb: what lies behind the end of a file is gone, private copies too [B19]",
		  a_file_is_cut),
		S("hugetlb: the same on a shadow MMU [B19]", a_file_is_cut),
		T("hugetlb: a file is filled, read, and made longer by a mapping [B19]", a_file_is_filled),
		T("hugetlb: promises are all made or none", promises_need_memory),
	};

	return cmocka_run_group_tests_name("hugetlb", tests, NULL, NULL);
}
