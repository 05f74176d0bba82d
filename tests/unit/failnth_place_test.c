/* SPDX-License-Identifier: MIT */
/*
 * Fail the Nth allocation of what is about where memory is rather than what it holds: huge entries and blocks of the pool, policies,
 * locks, moves, and what leaves a file. See failnth.h.
 */
#include "../../src/mm/hugetlb.h"
#include "../../src/mm/truncate.h"
#include "../sim/failnth.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4 /* Linux 5.7 */
#endif

#define A   FAILNTH_AT
#define B   0x40000000ull /* two aligned blocks */
#define FAR 0x7f0000000000ull
#define P   PAGE_SIZE
#define RW  (PROT_READ | PROT_WRITE)

/* 0, or whether it failed for want of memory. */
static int store(struct scene *s, gva_t at)
{
	uint64_t value = 7;
	struct fault_signal sig = sim_store(s->x->cpu, at, &value, sizeof(value));

	assert_true(sig.signo == 0 || sig.signo == SIGKILL || sig.signo == SIGBUS);
	return sig.signo;
}

/* --- small pages that could be a block ---------------------------------------------------------------------------------- */

static void prepare_small(struct scene *s)
{
	atomic_store(&s->x->mm->memcg->thp, THP_NEVER);
	fixture_map(s->x, B, 1024, RW, MAP_FIXED);
	for (unsigned int i = 0; i < 4; i++)
		fixture_store(s->x, B + i * P, i + 1);
}

static void prepare_small_and_fork(struct scene *s)
{
	prepare_small(s);
	failnth_fork(s);
}

static int op_collapse(struct scene *s)
{
	return mm_madvise(s->x->mm, B, PMD_SIZE, MADV_COLLAPSE);
}

static int op_move_tables(struct scene *s)
{
	return mm_mremap(s->x->mm, B, 2 * PMD_SIZE, 2 * PMD_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, FAR) < 0;
}

static int op_move_and_stay(struct scene *s)
{
	return mm_mremap(s->x->mm, B, 2 * PMD_SIZE, 2 * PMD_SIZE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0) < 0;
}

static int op_move_askew(struct scene *s)
{
	return mm_mremap(s->x->mm, B, 2 * PMD_SIZE, 2 * PMD_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
			 FAR + 3 * P) < 0;
}

static int op_shrink_and_move(struct scene *s)
{
	return mm_mremap(s->x->mm, B, PMD_SIZE, 2 * P, MREMAP_MAYMOVE | MREMAP_FIXED, FAR) < 0;
}

/* --- huge entries -------------------------------------------------------------------------------------------------------- */

static void prepare_huge(struct scene *s)
{
	atomic_store(&s->x->mm->memcg->thp, THP_ALWAYS);
	fixture_map(s->x, B, 1024, RW, MAP_FIXED);
	fixture_store(s->x, B, 1);
	fixture_store(s->x, B + PMD_SIZE, 2);
	assert_int_equal(mm_counter(s->x->mm, MM_ANONPAGES) >= 1024, true);
	atomic_store(&s->x->mm->memcg->thp, THP_NEVER);
}

static void prepare_huge_and_fork(struct scene *s)
{
	prepare_huge(s);
	failnth_fork(s);
}

static int op_mprotect_part(struct scene *s)
{
	return mm_mprotect(s->x->mm, B + 3 * P, 4 * P, PROT_READ);
}

static int op_mlock_part(struct scene *s)
{
	return mm_mlock(s->x->mm, B + 3 * P, 4 * P, 0);
}

static int op_move_part(struct scene *s)
{
	return mm_mremap(s->x->mm, B + 3 * P, 4 * P, 4 * P, MREMAP_MAYMOVE | MREMAP_FIXED, FAR) < 0;
}

static int op_unmap_part(struct scene *s)
{
	return mm_munmap(s->x->mm, B + 3 * P, PMD_SIZE);
}

static int op_drop_part(struct scene *s)
{
	return mm_madvise(s->x->mm, B + 3 * P, PMD_SIZE, MADV_DONTNEED);
}

static int op_write_huge(struct scene *s)
{
	return store(s, B + 5 * P);
}

static int op_fork(struct scene *s)
{
	struct mm *child = NULL;
	int err = mm_fork(s->x->mm, &child);

	mmput(child);
	return err;
}

/* --- blocks of the pool -------------------------------------------------------------------------------------------------- */

static int map_hugetlb(struct scene *s, unsigned int flags)
{
	const struct mmap_request r = {.address = B,
				       .length = 2 * PMD_SIZE,
				       .prot = RW,
				       .flags = MAP_ANONYMOUS | MAP_HUGETLB | MAP_FIXED | flags};

	return hugetlb_mmap(s->x->mm, &r) < 0;
}

static void prepare_pool(struct scene *s)
{
	hugetlb_pool_set_overcommit(s->x->mm->memcg, 8);
}

static void prepare_hugetlb(struct scene *s)
{
	prepare_pool(s);
	assert_int_equal(map_hugetlb(s, MAP_PRIVATE), 0);
}

static void prepare_hugetlb_later(struct scene *s)
{
	prepare_pool(s);
	assert_int_equal(map_hugetlb(s, MAP_PRIVATE | MAP_NORESERVE), 0);
}

static void prepare_hugetlb_shared(struct scene *s)
{
	prepare_pool(s);
	assert_int_equal(map_hugetlb(s, MAP_SHARED), 0);
}

static void prepare_hugetlb_and_fork(struct scene *s)
{
	prepare_hugetlb(s);
	assert_int_equal(store(s, B), 0);
	failnth_fork(s);
}

static int op_pool(struct scene *s)
{
	struct mm *mm = s->x->mm;

	hugetlb_pool_resize(mm->frames, mm->memcg, 3);
	assert_int_equal(hugetlb_pool_check(mm->memcg), 0);
	return hugetlb_pool_counts(mm->frames, mm->memcg).total != 3;
}

static int op_hugetlb(struct scene *s)
{
	return map_hugetlb(s, MAP_PRIVATE);
}

static int op_hugetlb_shared(struct scene *s)
{
	return map_hugetlb(s, MAP_SHARED);
}

static int op_hugetlb_fault(struct scene *s)
{
	int err = store(s, B + PMD_SIZE);

	assert_int_equal(hugetlb_pool_check(s->x->mm->memcg), 0);
	return err;
}

static int op_hugetlb_copy(struct scene *s)
{
	return store(s, B);
}

static void prepare_hugetlb_to_pin(struct scene *s)
{
	prepare_hugetlb(s);
	assert_int_equal(store(s, B), 0);
}

/* Pinned blocks are copied for the child. */
static int op_hugetlb_fork(struct scene *s)
{
	struct frames *f = &s->x->machine->frames;
	struct page *page;
	long fail_in = f->fail_in;

	f->fail_in = 0;
	assert_int_equal(get_user_pages(s->x->mm, B, 1, GUP_WRITE, &page), 1);
	f->fail_in = fail_in;
	int err = op_fork(s);
	put_user_pages(s->x->mm, 1, &page);
	return err;
}

/* --- policies and locks -------------------------------------------------------------------------------------------------- */

static int op_mbind(struct scene *s)
{
	struct mempolicy_setting bind;

	assert_int_equal(mempolicy_setting_init(&bind, s->x->mm->frames, MPOL_BIND, 0, 1), 0);
	return mm_mbind(s->x->mm, A + 3 * P, 4 * P, bind);
}

static int op_mbind_part(struct scene *s)
{
	struct mempolicy_setting bind;

	assert_int_equal(mempolicy_setting_init(&bind, s->x->mm->frames, MPOL_BIND, 0, 1), 0);
	return mm_mbind(s->x->mm, B + 3 * P, 4 * P, bind);
}

static int op_mlock_new(struct scene *s)
{
	return mm_mlock(s->x->mm, A + 8 * P, 10 * P, 0);
}

static int op_mlock_on_fault(struct scene *s)
{
	return mm_mlock(s->x->mm, A + 3 * P, 4 * P, MLOCK_ONFAULT);
}

static void prepare_locked(struct scene *s)
{
	assert_int_equal(mm_mlock(s->x->mm, A, 20 * P, 0), 0);
}

static int op_munlock(struct scene *s)
{
	return mm_munlock(s->x->mm, A + 3 * P, 4 * P);
}

/* It locks what is there, and brings in what it can: only the first may fail. */
static int op_mlockall(struct scene *s)
{
	return mm_mlockall(s->x->mm, MCL_CURRENT | MCL_FUTURE);
}

static int op_map_locked(struct scene *s)
{
	return fixture_map(s->x, FAR, 4, RW, MAP_FIXED) < 0 || store(s, FAR);
}

static void prepare_future(struct scene *s)
{
	assert_int_equal(mm_mlockall(s->x->mm, MCL_FUTURE), 0);
}

/* --- what leaves a file -------------------------------------------------------------------------------------------------- */

static int op_truncate(struct scene *s)
{
	truncate_pagecache(&s->file.backing.cache, P);
	return 0;
}

FAIL_AFTER(collapse, prepare_small, true)
FAIL_AFTER(move_tables, prepare_small, true)
FAIL_AFTER(move_and_stay, prepare_small, true)
FAIL_AFTER(move_askew, prepare_small, true)
FAIL_AFTER(shrink_and_move, prepare_small, false) /* what it cuts off first stays cut off, as in Linux */
FAIL_AFTER(mprotect_part, prepare_huge, true)
FAIL_AFTER(mlock_part, prepare_huge, true)
FAIL_AFTER(move_part, prepare_huge, true)
FAIL_AFTER(unmap_part, prepare_huge, true)
FAIL_AFTER(drop_part, prepare_huge, true)
FAIL_AFTER(mbind_part, prepare_huge, true)
FAIL_AFTER(write_huge, prepare_huge_and_fork, true)
FAIL_AFTER(fork, prepare_huge, true)
FAIL_AFTER(pool, prepare_pool, true)
FAIL_AFTER(hugetlb, prepare_pool, true)
FAIL_AFTER(hugetlb_shared, prepare_pool, true)
FAIL_AFTER(hugetlb_copy, prepare_hugetlb_and_fork, true)
FAIL_AFTER(hugetlb_fork, prepare_hugetlb_to_pin, true)
FAIL(mbind, true)
FAIL(mlock_new, false)
FAIL(mlock_on_fault, true)
FAIL(mlockall, false)
FAIL_AFTER(munlock, prepare_locked, true)
FAIL_AFTER(map_locked, prepare_future, false)

#define AFTER(test, prepare, op, clean)          \
	static void test(void **state)           \
	{                                        \
		(void)state;                     \
		failnth_run(prepare, op, clean); \
	}
AFTER(collapse_forked, prepare_small_and_fork, op_collapse, true)
AFTER(move_tables_forked, prepare_small_and_fork, op_move_tables, true)
AFTER(move_and_stay_forked, prepare_small_and_fork, op_move_and_stay, true)
AFTER(move_askew_forked, prepare_small_and_fork, op_move_askew, true)
AFTER(mprotect_part_forked, prepare_huge_and_fork, op_mprotect_part, true)
AFTER(move_part_forked, prepare_huge_and_fork, op_move_part, true)
AFTER(unmap_part_forked, prepare_huge_and_fork, op_unmap_part, true)
AFTER(drop_part_forked, prepare_huge_and_fork, op_drop_part, true)
AFTER(mbind_forked, failnth_fork, op_mbind, true)
AFTER(mlock_forked, failnth_fork, op_mlock_new, false)
AFTER(hugetlb_fault_reserved, prepare_hugetlb, op_hugetlb_fault, true)
AFTER(hugetlb_fault_later, prepare_hugetlb_later, op_hugetlb_fault, true)
AFTER(hugetlb_fault_shared, prepare_hugetlb_shared, op_hugetlb_fault, true)

static void truncate_forked(void **state)
{
	(void)state;
	failnth_must_succeed(failnth_fork, op_truncate);
}

/* Not a single table is to be had, and two processors in two spaces know pages from one that both share. */
static void hole_without_tables(void **state)
{
	struct sim_config config = {.cpus = 2, .table_pages = 512};
	struct fixture *x = fixture_new(&config);
	struct sim_cpu *other = &x->machine->cpu[1];
	struct page *taken[512], *page;
	struct mm *child;
	uint64_t word = 0;
	unsigned int nr = 0;
	char words[200];

	(void)state;
	fixture_map(x, A, 4, RW, MAP_FIXED); /* so that the table is shared */
	fixture_map(x, A + 0x100000, 4, RW, MAP_FIXED | MAP_SHARED);
	fixture_store(x, A, 1);
	fixture_store(x, A + 0x100000, 2);
	assert_int_equal(mm_fork(x->mm, &child), 0);
	sim_cpu_load(other, child);
	assert_int_equal(sim_load(other, A + 0x100000, &word, 8).signo, 0);
	assert_int_equal(word, 2);
	assert_int_equal(fixture_load(x, A + 0x100000), 2);
	page_alloc_begin_reserve();
	while (nr < ARRAY_SIZE(taken) && (page = page_alloc(x->mm->frames, GFP_TABLE, 0)))
		taken[nr++] = page;
	page_alloc_end_reserve();
	assert_true(nr > 0 && nr < ARRAY_SIZE(taken));
	assert_int_equal(mm_madvise(x->mm, A + 0x100000, P, MADV_REMOVE), 0);
	assert_int_equal(sim_audit(x->machine, words, sizeof(words)), 0);
	while (nr)
		page_free(x->mm->frames, taken[--nr]);
	assert_int_equal(sim_load(other, A + 0x100000, &word, 8).signo, 0);
	assert_int_equal(word, 0);
	assert_int_equal(fixture_load(x, A + 0x100000), 0);
	sim_cpu_load(other, NULL);
	mmput(child);
	assert_int_equal(fixture_free(x), 0);
}

#define CASE(name, fn)                                 \
	{                                              \
		"failnth: " name, fn, NULL, NULL, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CASE("MADV_COLLAPSE", fail_collapse),
		CASE("MADV_COLLAPSE of a shared table", collapse_forked),
		CASE("mremap of whole tables", fail_move_tables),
		CASE("mremap of whole shared tables", move_tables_forked),
		CASE("mremap that leaves the area", fail_move_and_stay),
		CASE("mremap that leaves the area, in shared tables", move_and_stay_forked),
		CASE("mremap to where tables do not fit", fail_move_askew),
		CASE("mremap of shared tables to where they do not fit", move_askew_forked),
		CASE("mremap that shrinks and moves", fail_shrink_and_move),
		CASE("mprotect of a part of a huge entry", fail_mprotect_part),
		CASE("mprotect of a part of a block that two have", mprotect_part_forked),
		CASE("mlock of a part of a huge entry", fail_mlock_part),
		CASE("mremap of a part of a huge entry", fail_move_part),
		CASE("mremap of a part of a block that two have", move_part_forked),
		CASE("munmap of parts of huge entries", fail_unmap_part),
		CASE("munmap of parts of blocks that two have", unmap_part_forked),
		CASE("MADV_DONTNEED of parts of huge entries", fail_drop_part),
		CASE("MADV_DONTNEED of parts of blocks that two have", drop_part_forked),
		CASE("mbind of a part of a huge entry", fail_mbind_part),
		CASE("a write to a block that two have", fail_write_huge),
		CASE("fork of huge entries", fail_fork),
		CASE("nr_hugepages", fail_pool),
		CASE("MAP_HUGETLB", fail_hugetlb),
		CASE("MAP_HUGETLB, shared", fail_hugetlb_shared),
		CASE("fault, MAP_HUGETLB", hugetlb_fault_reserved),
		CASE("fault, MAP_HUGETLB without a reservation", hugetlb_fault_later),
		CASE("fault, shared MAP_HUGETLB", hugetlb_fault_shared),
		CASE("a write to a block of the pool that two have", fail_hugetlb_copy),
		CASE("fork with a pinned block of the pool", fail_hugetlb_fork),
		CASE("mbind of the middle of an area", fail_mbind),
		CASE("mbind where the table is shared", mbind_forked),
		CASE("mlock that brings pages in", fail_mlock_new),
		CASE("mlock where the table is shared", mlock_forked),
		CASE("mlock2 MLOCK_ONFAULT", fail_mlock_on_fault),
		CASE("munlock of the middle of an area", fail_munlock),
		CASE("mlockall", fail_mlockall),
		CASE("mmap after mlockall MCL_FUTURE", fail_map_locked),
		CASE("a file becomes shorter whatever fails, where tables are shared", truncate_forked),
		CASE("a hole in shared memory that two spaces see, without a table to be had",
		     hole_without_tables),
	};

	return cmocka_run_group_tests_name("failnth_place", tests, NULL, NULL);
}
