/* SPDX-License-Identifier: MIT */
/* The interval tree against a look at every interval. */
#include "../harness.h"
#include "../../src/mm/interval_tree.h"
#include "../../src/mm/list.h"

#define NR_ITEMS 400

struct item {
	struct interval_node node; /* first: a node is an item */
	bool linked;
	unsigned long age; /* when it was inserted */
};

static struct item items[NR_ITEMS];

static bool overlaps(const struct item *i, uint64_t start, uint64_t last)
{
	return i->linked && i->node.start <= last && i->node.last >= start;
}

/* Everything the tree finds overlaps, in order, and nothing that does is missing. */
static unsigned int assert_query(const struct interval_tree *t, uint64_t start, uint64_t last)
{
	const struct item *before = NULL;
	struct interval_node *node;
	unsigned int found = 0, expected = 0;

	interval_tree_for_each(node, t, start, last)
	{
		const struct item *item = (const struct item *)node;

		assert_true(overlaps(item, start, last));
		if (before) {
			assert_true(before->node.start <= node->start);
			if (before->node.start == node->start)
				assert_true(before->age < item->age);
		}
		before = item;
		found++;
	}
	for (unsigned int i = 0; i < NR_ITEMS; i++)
		expected += overlaps(&items[i], start, last);
	assert_int_equal(found, expected);
	return found;
}

static void random_intervals(void **state)
{
	uint64_t rng = random_seed(41);
	unsigned long found = 0, age = 0;
	struct interval_tree t;

	(void)state;
	memset(items, 0, sizeof(items));
	interval_tree_init(&t);
	for (unsigned int step = 0; step < 20000; step++) {
		struct item *item = &items[random_below(&rng, NR_ITEMS)];
		uint64_t start = random_below(&rng, 1000);

		if (item->linked) {
			interval_tree_remove(&t, &item->node);
		} else {
			uint64_t length = random_below(&rng, random_below(&rng, 8) ? 20 : 500);

			interval_tree_insert(&t, &item->node, start, start + length);
			item->age = ++age;
		}
		item->linked = !item->linked;
		if (step % 8 == 0)
			assert_true(interval_tree_check(&t));
		start = random_below(&rng, 1100);
		found += assert_query(&t, start, start + random_below(&rng, 50));
	}
	assert_true(found > 20000);
	for (unsigned int i = 0; i < NR_ITEMS; i++) {
		if (items[i].linked)
			interval_tree_remove(&t, &items[i].node);
	}
	assert_true(interval_tree_empty(&t));
}

static void edges(void **state)
{
	struct interval_tree t;

	(void)state;
	memset(items, 0, sizeof(items));
	interval_tree_init(&t);
	assert_query(&t, 0, ~0ull);
	interval_tree_insert(&t, &items[0].node, 0, ~0ull);
	interval_tree_insert(&t, &items[1].node, ~0ull, ~0ull);
	interval_tree_insert(&t, &items[2].node, 5, 5);
	for (unsigned int i = 0; i < 3; i++) {
		items[i].linked = true;
		items[i].age = i;
	}
	assert_int_equal(assert_query(&t, 5, 5), 2);
	assert_int_equal(assert_query(&t, 6, 6), 1);
	assert_int_equal(assert_query(&t, ~0ull, ~0ull), 2);
	assert_int_equal(assert_query(&t, 0, ~0ull), 3);
}

/* Every node's rb_subtree_last is the largest end below it, and a tree that forgot one is found out. */
static void augment(void **state)
{
	struct interval_tree t;
	struct interval_node *root;

	(void)state;
	memset(items, 0, sizeof(items));
	interval_tree_init(&t);
	for (unsigned int i = 0; i < 64; i++)
		interval_tree_insert(&t, &items[i].node, i, i == 9 ? 1000 : i + 1);
	root = list_entry(t.root.node, struct interval_node, rb);
	assert_int_equal(root->rb_subtree_last, 1000);
	assert_true(interval_tree_check(&t));
	root->rb_subtree_last--;
	assert_false(interval_tree_check(&t));
	root->rb_subtree_last++;
	interval_tree_remove(&t, &items[9].node);
	root = list_entry(t.root.node, struct interval_node, rb);
	assert_int_equal(root->rb_subtree_last, 64);
	assert_true(interval_tree_check(&t));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{"interval tree: 20000 random changes and queries agree with a look at every interval [N1] "
		 "[N4]",
		 random_intervals, NULL, NULL, NULL},
		{"interval tree: intervals of one index, of all, and at the last one [N1]", edges, NULL, NULL,
		 NULL},
		{"interval tree: each node knows the highest end below it [N4]", augment, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests_name("interval_tree", tests, NULL, NULL);
}
