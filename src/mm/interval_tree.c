/* SPDX-License-Identifier: MIT */
/* interval_tree.c - see interval_tree.h. */
#include "interval_tree.h"

#include "list.h"
#include "types.h"

static struct interval_node *node_of(struct rb_node *n)
{
	return n ? list_entry(n, struct interval_node, rb) : NULL;
}

static uint64_t highest_last(const struct interval_node *node)
{
	const struct interval_node *left = node_of(node->rb.left), *right = node_of(node->rb.right);
	uint64_t last = node->last;

	if (left)
		last = max_u64(last, left->rb_subtree_last);
	if (right)
		last = max_u64(last, right->rb_subtree_last);
	return last;
}

static bool update_last(struct rb_node *n)
{
	struct interval_node *node = node_of(n);
	uint64_t last = highest_last(node);

	if (node->rb_subtree_last == last)
		return false;
	node->rb_subtree_last = last;
	return true;
}

void interval_tree_init(struct interval_tree *t)
{
	t->root = (struct rb_root){.update = update_last};
}

void interval_tree_insert(struct interval_tree *t, struct interval_node *node, uint64_t start, uint64_t last)
{
	struct rb_node **link = &t->root.node, *parent = NULL;

	node->start = start;
	node->last = last;
	node->rb_subtree_last = last;
	while (*link) {
		parent = *link;
		link = start < node_of(parent)->start ? &parent->left : &parent->right;
	}
	rb_insert(&t->root, &node->rb, parent, link);
}

void interval_tree_remove(struct interval_tree *t, struct interval_node *node)
{
	rb_erase(&t->root, &node->rb);
}

/*
 * The leftmost overlapping node of a subtree whose rb_subtree_last >= start: if the left subtree reaches `start`, either
 * it holds the answer or the interval there that reaches it begins beyond `last`, and then so does all to the right.
 */
static struct interval_node *first_below(struct interval_node *node, uint64_t start, uint64_t last)
{
	for (;;) {
		struct interval_node *left = node_of(node->rb.left), *right = node_of(node->rb.right);
		if (left && left->rb_subtree_last >= start) {
			node = left;
			continue;
		}
		if (node->start > last)
			return NULL;
		if (node->last >= start)
			return node;
		if (!right || right->rb_subtree_last < start)
			return NULL;
		node = right;
	}
}

struct interval_node *interval_tree_first(const struct interval_tree *t, uint64_t start, uint64_t last)
{
	struct interval_node *root = node_of(t->root.node);

	return root && root->rb_subtree_last >= start ? first_below(root, start, last) : NULL;
}

struct interval_node *interval_tree_next(const struct interval_node *node, uint64_t start, uint64_t last)
{
	for (const struct rb_node *n = &node->rb;;) {
		struct interval_node *right = node_of(n->right);
		if (right && right->rb_subtree_last >= start)
			return first_below(right, start, last);
		const struct rb_node *from;
		do { /* up, until we come from the left */
			from = n;
			n = n->parent;
			if (!n)
				return NULL;
		} while (from == n->right);
		struct interval_node *up = list_entry(n, struct interval_node, rb);
		if (up->start > last)
			return NULL;
		if (up->last >= start)
			return up;
	}
}

bool interval_tree_check(const struct interval_tree *t)
{
	const struct interval_node *before = NULL;

	if (!rb_check(&t->root))
		return false;
	for (struct rb_node *n = rb_first(&t->root); n; n = rb_next(n)) {
		const struct interval_node *node = node_of(n);
		if ((before && node->start < before->start) || node->last < node->start ||
		    node->rb_subtree_last != highest_last(node))
			return false;
		before = node;
	}
	return true;
}
