/* SPDX-License-Identifier: MIT */
/* The thread that collapses, beside guests that use, fork and leave what it works on. */
#include <sched.h>

#include "../../src/mm/khugepaged.h"
#include "../sim/fixture.h"

#define A	  0x40000000ull
#define P	  PAGE_SIZE
#define M2	  PMD_SIZE
#define RW	  (PROT_READ | PROT_WRITE)

#define NR_TABLES 4u
#define NR_ROUNDS 40u

static struct khugepaged *start(struct fixture *x)
{
	struct khugepaged *k = NULL;

	atomic_store(&x->mm->memcg->thp, THP_ALWAYS);
	assert_int_equal(khugepaged_start(x->mm->host, &k), 0);
	atomic_store(&k->pause_ms, 0);
	return k;
}

/* Two rounds from now every table that was there has been looked at. */
static void wait_for_rounds(struct khugepaged *k)
{
	uint64_t until = atomic_load(&k->full_scans) + 2;

	while (atomic_load(&k->full_scans) < until)
		sched_yield();
}

/* Memory that was filled while the policy was another. */
static void fill(struct fixture *x, struct sim_cpu *cpu, gva_t at, uint64_t bytes)
{
	(void)x;
	for (gva_t end = at + bytes; at < end; at += P)
		assert_int_equal(sim_store(cpu, at, &at, sizeof(at)).signo, 0);
}

static void what_is_full_is_collapsed(void **state)
{
	struct fixture *x = *state;
	unsigned int level = 9;

	atomic_store(&x->mm->memcg->thp, THP_NEVER);
	assert_int_equal(fixture_map(x, A, NR_TABLES * 512, RW, MAP_FIXED), A);
	fill(x, x->cpu, A, NR_TABLES * M2);
	struct khugepaged *k = start(x);
	wait_for_rounds(k);
	khugepaged_stop(k);
	for (unsigned int i = 0; i < NR_TABLES; i++) {
		assert_non_null(pgtable_leaf(&x->mm->pgt, A + i * M2, &level));
		assert_int_equal(level, 1);
	}
	for (gva_t at = A; at < A + NR_TABLES * M2; at += P)
		assert_int_equal(fixture_load(x, at), at);
}

/* Cuts what was collapsed and fills it again, so that there is always something to do. */
static void guests_go_on_meanwhile(void **state)
{
	struct fixture *x = *state;
	struct khugepaged *k = start(x);
	struct mm *child;

	assert_int_equal(fixture_map(x, A, NR_TABLES * 512, RW, MAP_FIXED), A);
	for (unsigned int round = 0; round < NR_ROUNDS || !atomic_load(&k->nr_collapsed); round++) {
		gva_t at = A + round % NR_TABLES * M2;
		fill(x, x->cpu, at, M2);
		assert_int_equal(mm_madvise(x->mm, at + 7 * P, P, MADV_DONTNEED), 0);
		assert_int_equal(fixture_load(x, at + 7 * P), 0);
		assert_int_equal(fixture_load(x, at + 8 * P), at + 8 * P);
		if (round % 4 == 3) {
			uint64_t word = 0;
			assert_int_equal(mm_fork(x->mm, &child), 0);
			fixture_store(x, at + P, 1);
			assert_int_equal(copy_from_user(child, &word, at + P, sizeof(word)), 0);
			assert_int_equal(word, at + P);
			mmput(child);
		}
		assert_int_equal(mm_munmap(x->mm, at, M2), 0);
		assert_int_equal(fixture_map(x, at, 512, RW, MAP_FIXED), at);
	}
	khugepaged_stop(k);
}

/* A space that nobody else uses any more is emptied, if by the thread. */
static void spaces_come_and_go(void **state)
{
	struct fixture *x = *state;
	struct khugepaged *k = start(x);

	for (unsigned int i = 0; i < NR_ROUNDS; i++) {
		struct mm *mm = mm_create(x->mm->host, 1 << 16);
		assert_non_null(mm);
		const struct mmap_request r = {.address = A,
					       .length = M2,
					       .prot = RW,
					       .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED};
		assert_int_equal(mm_mmap(mm, &r), A);
		assert_int_equal(copy_to_user(mm, A, &i, sizeof(i)), 0);
		if (i % 4 == 0)
			wait_for_rounds(k);
		mmput(mm);
	}
	khugepaged_stop(k);
	assert_int_equal(x->mm->host->spaces.next == &x->mm->host_node, 1);
	assert_int_equal(x->mm->host_node.next == &x->mm->host->spaces, 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{"khugepaged: full tables become huge entries", what_is_full_is_collapsed, fixture_setup,
		 fixture_teardown, NULL},
		{"khugepaged: beside faults, drops, forks and unmapping", guests_go_on_meanwhile,
		 fixture_setup, fixture_teardown, NULL},
		{"khugepaged: spaces come and go", spaces_come_and_go, fixture_setup, fixture_teardown, NULL},
	};

	return cmocka_run_group_tests_name("khugepaged", tests, NULL, NULL);
}
