/* SPDX-License-Identifier: MIT */
/* Memory policies on four virtual nodes, and what is counted of them. */
#include <sched.h>

#include "../../src/mm/memcg.h"
#include "../../src/mm/mempolicy.h"
#include "../../src/mm/page_alloc.h"
#include "../../src/mm/vmstat.h"
#include "../harness.h"
#include "../sim/sim_cpu.h"

#define NODE_PAGES 1024u
#define GFP	   (GFP_TRANSHUGE_LIGHT)

static int setup(void **state)
{
	struct sim_config config = {.normal_pages = 4 * NODE_PAGES, .nodes = 4, .no_pcp = true};
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	sched_setaffinity(0, sizeof(set), &set); /* node 0 */
	*state = sim_frames_new(&config);
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	struct sim_machine *m = *state;
	uint64_t lost = frames_leaked(&m->frames);

	sim_frames_free(m);
	return lost ? -1 : 0;
}

static struct frames *frames_of(void **state)
{
	return &((struct sim_machine *)*state)->frames;
}

static uint64_t count(struct frames *f, unsigned int nid, enum zone_stat what)
{
	return vmstat_zone(f, node_zone(f, nid, ZONE_NORMAL), what);
}

/* Takes nr blocks of order 3 and says how many came from each node. */
static void take(struct frames *f, struct mempolicy *policy, unsigned int nr, unsigned int got[4])
{
	const struct alloc_task task = {.policy = policy};
	struct page **page = calloc(nr, sizeof(*page));

	memset(got, 0, 4 * sizeof(*got));
	for (unsigned int i = 0; i < nr; i++) {
		page[i] = page_alloc_task(f, &task, GFP, 3);
		if (page[i])
			got[page_zone(f, page[i])->node]++;
	}
	for (unsigned int i = 0; i < nr; i++)
		if (page[i])
			page_free_block(f, page[i], 3);
	free(page);
}

static void default_is_local(void **state)
{
	struct frames *f = frames_of(state);
	unsigned int got[4];

	take(f, NULL, 200, got);
	assert_int_equal(got[0], 128);
	assert_int_equal(got[1], 72);
	assert_int_equal(count(f, 0, NUMA_HIT), 128);
	assert_int_equal(count(f, 0, NUMA_LOCAL), 128);
	assert_int_equal(count(f, 0, NUMA_FOREIGN), 72);
	assert_int_equal(count(f, 1, NUMA_MISS), 72);
	assert_int_equal(count(f, 1, NUMA_OTHER), 72);
	assert_int_equal(count(f, 0, ZONE_PGALLOC), 1024);
}

static void interleave(void **state)
{
	struct frames *f = frames_of(state);
	struct mempolicy policy;
	unsigned int got[4];

	assert_int_equal(mempolicy_init(&policy, f, MPOL_INTERLEAVE, 1u << 1 | 1u << 3), 0);
	take(f, &policy, 20, got);
	assert_int_equal(got[1], 10);
	assert_int_equal(got[3], 10);
	assert_int_equal(count(f, 1, NUMA_INTERLEAVE), 10);
	/* More than both have: the rest comes from elsewhere. */
	take(f, &policy, 400, got);
	assert_int_equal(got[1] + got[3], 256);
	assert_int_equal(got[0] + got[2], 144);
}

static void bind(void **state)
{
	struct frames *f = frames_of(state);
	struct mempolicy policy;
	unsigned int got[4];

	assert_int_equal(mempolicy_init(&policy, f, MPOL_BIND, 1u << 2 | 1u << 3), 0);
	take(f, &policy, 400, got);
	assert_int_equal(got[0] + got[1], 0);
	assert_int_equal(got[2], 128);
	assert_int_equal(got[3], 128);
}

static void preferred(void **state)
{
	struct frames *f = frames_of(state);
	struct mempolicy policy;
	unsigned int got[4];

	assert_int_equal(mempolicy_init(&policy, f, MPOL_PREFERRED, 1u << 2), 0);
	take(f, &policy, 130, got);
	assert_int_equal(got[2], 128);
	assert_int_equal(got[0] + got[1] + got[3], 2);
}

static void this_node_and_interrupts(void **state)
{
	struct frames *f = frames_of(state);
	struct mempolicy policy;

	mempolicy_init(&policy, f, MPOL_BIND, 1u << 2);
	const struct alloc_task bound = {.policy = &policy},
				interrupt = {.policy = &policy, .in_interrupt = true};
	struct page *a = page_alloc_task(f, &bound, GFP | __GFP_THISNODE, 0);
	struct page *b = page_alloc_task(f, &interrupt, GFP, 0);

	assert_int_equal(page_zone(f, a)->node, 0);
	assert_int_equal(page_zone(f, b)->node, 0);
	page_free(f, a);
	page_free(f, b);
}

static void cpuset_over_policy(void **state)
{
	struct frames *f = frames_of(state);
	struct mempolicy policy;

	mempolicy_init(&policy, f, MPOL_INTERLEAVE, 0xf);
	const struct alloc_task task = {.policy = &policy, .mems_allowed = 1u << 3};
	for (unsigned int i = 0; i < 8; i++) {
		struct page *page = page_alloc_task(f, &task, GFP, 0);
		assert_int_equal(page_zone(f, page)->node, 3);
		page_free(f, page);
	}
}

static void refused(void **state)
{
	struct frames *f = frames_of(state);
	struct mempolicy policy;

	assert_int_equal(mempolicy_init(&policy, f, MPOL_BIND, 0), -EINVAL);
	assert_int_equal(mempolicy_init(&policy, f, MPOL_INTERLEAVE, 1u << 7), -EINVAL);
	assert_int_equal(mempolicy_init(&policy, f, MPOL_DEFAULT, 1), -EINVAL);
	assert_int_equal(mempolicy_init(&policy, f, (enum mempolicy_mode)9, 1), -EINVAL);
	assert_int_equal(mempolicy_init(&policy, f, MPOL_PREFERRED, 0), 0);
}

static void account(void **state)
{
	struct frames *f = frames_of(state);
	struct memcg cg;

	memcg_init(&cg, 12, NULL);
	const struct alloc_task task = {.memcg = &cg};
	struct page *page = page_alloc_task(f, &task, GFP | __GFP_ACCOUNT, 3);
	assert_non_null(page);
	assert_ptr_equal(page[7].memcg, &cg);
	assert_int_equal(cg.usage_pages, 8);
	assert_null(page_alloc_task(f, &task, GFP | __GFP_ACCOUNT, 3));
	assert_int_equal(cg.usage_pages, 8);
	assert_int_equal(frames_leaked(f), 8);
	for (unsigned int i = 0; i < 8; i++)
		page_put(f, &page[i]);
	assert_int_equal(cg.usage_pages, 0);
}

#define T(name, fn)                             \
	{                                       \
		name, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("mempolicy: by default the local node, then others; hits and misses are counted [C8 C9]",
		  default_is_local),
		T("mempolicy: interleaving takes turns [C8]", interleave),
		T("mempolicy: bound is bound [C8]", bind),
		T("mempolicy: preferred is only preferred [C8]", preferred),
		T("mempolicy: not for requests of this node, nor in interrupts [C8]",
		  this_node_and_interrupts),
		T("mempolicy: the nodes that a task may use limit its policy [C7]", cpuset_over_policy),
		T("mempolicy: what makes no sense is refused", refused),
		T("mempolicy: a request that its account refuses leaves nothing behind [C12]", account),
	};

	return cmocka_run_group_tests_name("mempolicy", tests, NULL, NULL);
}
