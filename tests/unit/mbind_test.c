/* SPDX-License-Identifier: MIT */
/* Policies of areas and spaces on four virtual nodes: where pages come from, and how areas are cut by them. */
#include <sched.h>

#include "../../src/mm/account.h"
#include "../../src/mm/move_pages.h"
#include "../sim/fixture.h"

#define A  0x10000000ull
#define P  PAGE_SIZE
#define RW (PROT_READ | PROT_WRITE)

static int setup(void **state)
{
	struct sim_config config = {.normal_pages = 4 * 4096, .nodes = 4};
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	sched_setaffinity(0, sizeof(set), &set); /* node 0 */
	*state = fixture_new(&config);
	return *state ? 0 : -1;
}

static struct mempolicy_setting setting(struct fixture *x, enum mempolicy_mode mode, nodemask_t nodes)
{
	struct mempolicy_setting s;

	assert_int_equal(mempolicy_setting_init(&s, x->mm->frames, mode, 0, nodes), 0);
	return s;
}

static void areas_bind(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 12, RW, MAP_FIXED);
	assert_int_equal(mm_mbind(x->mm, A + 4 * P, 4 * P, setting(x, MPOL_BIND, 1u << 2)), 0);
	assert_int_equal(x->mm->vmas.nr, 3);
	for (unsigned int i = 0; i < 12; i++) {
		fixture_store(x, A + i * P, i + 1);
		assert_int_equal(mm_node_of(x->mm, A + i * P), i / 4 == 1 ? 2 : 0);
	}
	assert_mm_sound(x->mm);
	/* The part is one with its neighbours again, and the range ends inside what they have become. */
	assert_int_equal(mm_mbind(x->mm, A + 4 * P, 4 * P, (struct mempolicy_setting){0}), 0);
	assert_int_equal(x->mm->vmas.nr, 1);
	for (unsigned int i = 0; i < 12; i++)
		assert_int_equal(fixture_load(x, A + i * P), i + 1);
	assert_int_equal(mm_mbind(x->mm, A + 8 * P, 8 * P, setting(x, MPOL_BIND, 1)),
			 -EFAULT); /* a hole: nothing */
	assert_int_equal(x->mm->vmas.nr, 1);
	assert_mm_sound(x->mm);
}

static void pages_move(void **state)
{
	struct fixture *x = *state;
	struct page *pinned;
	struct mm *child;

	fixture_map(x, A, 64, RW, MAP_FIXED);
	fixture_load(x, A + 63 * P);
	for (unsigned int i = 0; i < 8; i++)
		fixture_store(x, A + i * P, i + 1);
	assert_int_equal(mm_page_node(x->mm, A), 0);
	assert_int_equal(mm_page_node(x->mm, A + 40 * P), -ENOENT);
	assert_int_equal(mm_page_node(x->mm, A + 63 * P), -EFAULT); /* the zero page */
	assert_int_equal(mm_page_node(x->mm, A + 64 * P), -EFAULT);
	assert_int_equal(mm_move_page(x->mm, A, 0, MOVE_OWN), 0);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(mm_move_page(x->mm, A + i * P, i, MOVE_OWN), i);
	assert_int_equal(get_user_pages(x->mm, A + 4 * P, 1, GUP_WRITE, &pinned), 1);
	assert_int_equal(mm_move_page(x->mm, A + 4 * P, 3, MOVE_OWN), -EBUSY);
	put_user_pages(x->mm, 1, &pinned);
	/* The nodes 0 and 1 to 2 and 3, each to its own. */
	assert_int_equal(mm_move_nodes(x->mm, A, A + 3 * P, 3, 12, MOVE_OWN), 0);
	assert_int_equal(mm_page_node(x->mm, A), 2);
	assert_int_equal(mm_page_node(x->mm, A + P), 3);
	assert_int_equal(mm_page_node(x->mm, A + 2 * P), 2);
	assert_int_equal(mm_page_node(x->mm, A + 5 * P), 0); /* behind the range */
	assert_int_equal(mm_fork(x->mm, &child), 0);
	assert_int_equal(mm_move_page(x->mm, A + 5 * P, 1, MOVE_OWN), -EACCES);
	assert_int_equal(mm_move_page(x->mm, A + 5 * P, 1, MOVE_ALL), 1);
	assert_int_equal(mm_page_node(child, A + 5 * P), 1);
	assert_mm_sound(child);
	mmput(child);
	for (unsigned int i = 0; i < 8; i++)
		assert_int_equal(fixture_load(x, A + i * P), i + 1);
	assert_mm_sound(x->mm);
}

static void areas_interleave(void **state)
{
	struct fixture *x = *state;
	unsigned int got[4] = {0};

	x->mm->fault_around_pages = 16;
	fixture_map(x, A, 16, RW, MAP_FIXED);
	assert_int_equal(mm_mbind(x->mm, A, 16 * P, setting(x, MPOL_INTERLEAVE, 1u << 1 | 1u << 3)), 0);
	for (unsigned int i = 0; i < 16; i++) {
		fixture_store(x, A + i * P, 1);
		assert_int_equal(mm_node_of(x->mm, A + i * P), (A / P + i) % 2 ? 3 : 1);
		got[mm_node_of(x->mm, A + i * P)]++;
	}
	assert_int_equal(got[1], 8);
	assert_int_equal(got[3], 8);
}

static void space_prefers(void **state)
{
	struct fixture *x = *state;
	struct mempolicy_setting s = {0};

	fixture_map(x, A, 4, RW, MAP_FIXED);
	mm_set_mempolicy(x->mm, setting(x, MPOL_PREFERRED, 1u << 3));
	fixture_store(x, A, 1);
	assert_int_equal(mm_node_of(x->mm, A), 3);
	mm_mbind(x->mm, A + P, P, setting(x, MPOL_LOCAL, 0)); /* the area's own goes first */
	fixture_store(x, A + P, 1);
	assert_int_equal(mm_node_of(x->mm, A + P), 0);
	assert_int_equal(mm_vma_mempolicy(x->mm, A + P, &s), 0);
	assert_int_equal(s.mode, MPOL_LOCAL);
	assert_int_equal(mm_vma_mempolicy(x->mm, A + 64 * P, &s), -EFAULT);
	mm_set_mempolicy(x->mm, (struct mempolicy_setting){0});
	fixture_store(x, A + 2 * P, 1);
	assert_int_equal(mm_node_of(x->mm, A + 2 * P), 0);
}

static void settings(void **state)
{
	struct fixture *x = *state;
	struct mempolicy_setting s;
	static const struct {
		int mode;
		nodemask_t nodes;
		int error;
	} row[] = {
		{MPOL_DEFAULT, 0, 0},
		{MPOL_DEFAULT, 1, -EINVAL},
		{MPOL_PREFERRED, 0, 0},
		{MPOL_BIND, 0, -EINVAL},
		{MPOL_BIND, 16, -EINVAL},
		{MPOL_BIND, 17, 0},
		{MPOL_LOCAL, 0, 0},
		{MPOL_LOCAL, 1, -EINVAL},
		{MPOL_PREFERRED_MANY, 0, -EINVAL},
		{MPOL_PREFERRED_MANY, 6, 0},
		{MPOL_WEIGHTED_INTERLEAVE, 6, 0},
		{NR_MPOL_MODES, 1, -EINVAL},
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(row); i++)
		assert_int_equal(mempolicy_setting_init(&s, x->mm->frames, (enum mempolicy_mode)row[i].mode,
							0, row[i].nodes),
				 row[i].error);
	assert_int_equal(setting(x, MPOL_PREFERRED, 0).mode, MPOL_LOCAL);
	assert_int_equal(setting(x, MPOL_BIND, 17).nodes, 1);
}

#define T(name, fn)                                     \
	{                                               \
		name, fn, setup, fixture_teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("mbind: an area bound to a node has its pages from there; areas are cut and joined [H3]",
		  areas_bind),
		{"mbind: pages that are there move to other nodes", pages_move, setup, fixture_teardown,
		 NULL},
		T("mbind: an area interleaves by the numbers of its pages", areas_interleave),
		T("set_mempolicy: pages of areas without a policy follow the space's", space_prefers),
		T("mempolicy: settings that make no sense are refused", settings),
	};

	return cmocka_run_group_tests_name("mbind", tests, NULL, NULL);
}
