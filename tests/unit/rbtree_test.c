/* SPDX-License-Identifier: MIT */
/* The red-black tree against a sorted array, with a maximum kept per subtree. */
#include "../harness.h"
#include "../../src/mm/rbtree.h"
#include "../../src/mm/list.h"
#include "../../src/mm/types.h"

struct item {
	struct rb_node rb;
	uint64_t key, value, subtree_max;
	bool linked;
};

static struct item *item_of(const struct rb_node *n)
{
	return n ? list_entry(n, struct item, rb) : NULL;
}

static uint64_t expected_max(const struct rb_node *n)
{
	uint64_t max = item_of(n)->value;

	if (n->left)
		max = max_u64(max, item_of(n->left)->subtree_max);
	if (n->right)
		max = max_u64(max, item_of(n->right)->subtree_max);
	return max;
}

static bool update_max(struct rb_node *n)
{
	uint64_t max = expected_max(n);
	bool changed = item_of(n)->subtree_max != max;

	item_of(n)->subtree_max = max;
	return changed;
}

static void insert(struct rb_root *root, struct item *item)
{
	struct rb_node **link = &root->node, *parent = NULL;

	while (*link) {
		parent = *link;
		link = item->key < item_of(parent)->key ? &parent->left : &parent->right;
	}
	rb_insert(root, &item->rb, parent, link);
	item->linked = true;
}

static void assert_tree(const struct rb_root *root, uint64_t nr)
{
	struct rb_node *n;
	uint64_t seen = 0, last = 0;

	assert_true(rb_check(root));
	for (n = rb_first(root); n; n = rb_next(n)) {
		assert_true(!seen || item_of(n)->key > last);
		assert_int_equal(item_of(n)->subtree_max, expected_max(n));
		last = item_of(n)->key;
		seen++;
	}
	assert_int_equal(seen, nr);
}

static void random_inserts_and_erases(void **state)
{
	static struct item items[512];
	struct rb_root root = {.update = update_max};
	uint64_t rng = random_seed(3), nr = 0;

	(void)state;
	memset(items, 0, sizeof(items));
	for (unsigned int step = 0; step < 20000; step++) {
		struct item *item = &items[random_below(&rng, ARRAY_SIZE(items))];

		if (item->linked) {
			rb_erase(&root, &item->rb);
			item->linked = false;
			nr--;
		} else {
			item->key = (uint64_t)(item - items);
			item->value = item->subtree_max = random_below(&rng, 1000);
			insert(&root, item);
			nr++;
		}
		if (step % 16 == 0)
			assert_tree(&root, nr);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(items); i++) {
		if (items[i].linked)
			rb_erase(&root, &items[i].rb);
	}
	assert_null(root.node);
}

static unsigned int depth(const struct rb_node *n)
{
	unsigned int l, r;

	if (!n)
		return 0;
	l = depth(n->left);
	r = depth(n->right);
	return 1 + (l > r ? l : r);
}

static void depth_is_logarithmic(void **state)
{
	static struct item items[10000];
	struct rb_root root = {0};

	(void)state;
	memset(items, 0, sizeof(items));
	for (unsigned int i = 0; i < ARRAY_SIZE(items); i++) {
		items[i].key = i;
		insert(&root, &items[i]);
	}
	assert_true(rb_check(&root));
	assert_true(depth(root.node) <= 2 * 14); /* 2 log2(10001) = 26.6 */
	assert_true(depth(root.node) <= 26);
}

static void propagate_reaches_the_root(void **state)
{
	static struct item items[100];
	struct rb_root root = {.update = update_max};

	(void)state;
	memset(items, 0, sizeof(items));
	for (unsigned int i = 0; i < ARRAY_SIZE(items); i++) {
		items[i].key = i;
		items[i].value = items[i].subtree_max = 1;
		insert(&root, &items[i]);
	}
	items[77].value = 500;
	rb_propagate(&root, &items[77].rb);
	assert_int_equal(item_of(root.node)->subtree_max, 500);
	items[77].value = 0;
	rb_propagate(&root, &items[77].rb);
	assert_tree(&root, 100);
	assert_int_equal(item_of(root.node)->subtree_max, 1);
}

static void check_sees_damage(void **state)
{
	static struct item items[20];
	struct rb_root root = {0};
	struct rb_node *n;

	(void)state;
	memset(items, 0, sizeof(items));
	for (unsigned int i = 0; i < ARRAY_SIZE(items); i++) {
		items[i].key = i;
		insert(&root, &items[i]);
	}
	n = root.node->left;
	n->red = !n->red;
	assert_false(rb_check(&root));
	n->red = !n->red;
	assert_true(rb_check(&root));
	n->parent = n;
	assert_false(rb_check(&root));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{"rbtree: 20000 random inserts and erases keep order, colours and subtree values",
		 random_inserts_and_erases, NULL, NULL, NULL},
		{"rbtree: 10000 ascending keys stay within 2 log2(n + 1) levels [H17]", depth_is_logarithmic,
		 NULL, NULL, NULL},
		{"rbtree: a changed value is propagated to the root and back", propagate_reaches_the_root,
		 NULL, NULL, NULL},
		{"rbtree: rb_check sees a wrong colour and a wrong parent", check_sees_damage, NULL, NULL,
		 NULL},
	};

	return cmocka_run_group_tests_name("rbtree", tests, NULL, NULL);
}
