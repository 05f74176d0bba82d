/* SPDX-License-Identifier: MIT */
/*
 * rbtree.c - red-black trees. See rbtree.h.
 *
 *   R1  the root is black, and so is a missing child
 *   R2  a red node has no red child
 *   R3  every way from a node down to a missing child passes the same number of black nodes
 * A rotation recomputes the subtree values of the two nodes it turns; whoever changes a path calls rb_propagate.
 */
#include "rbtree.h"

static bool is_red(const struct rb_node *n)
{
	return n && n->red;
}

static void update_node(struct rb_root *root, struct rb_node *n)
{
	if (root->update)
		root->update(n);
}

void rb_propagate(struct rb_root *root, struct rb_node *node)
{
	if (!root->update)
		return;
	for (; node; node = node->parent)
		if (!root->update(node))
			break;
}

static void replace_child(struct rb_root *root, struct rb_node *parent, struct rb_node *old,
			  struct rb_node *new)
{
	if (!parent)
		root->node = new;
	else if (parent->left == old)
		parent->left = new;
	else
		parent->right = new;
	if (new)
		new->parent = parent;
}

/* Turns n's right (left) child into its parent. */
static void rotate(struct rb_root *root, struct rb_node *n, bool left)
{
	struct rb_node *up = left ? n->right : n->left;
	struct rb_node *inner = left ? up->left : up->right;

	replace_child(root, n->parent, n, up);
	if (left) {
		n->right = inner;
		up->left = n;
	} else {
		n->left = inner;
		up->right = n;
	}
	if (inner)
		inner->parent = n;
	n->parent = up;
	update_node(root, n);
	update_node(root, up);
}

static void insert_fixup(struct rb_root *root, struct rb_node *n)
{
	while (is_red(n->parent)) {
		struct rb_node *parent = n->parent, *grand = parent->parent;
		bool left = parent == grand->left;
		struct rb_node *uncle = left ? grand->right : grand->left;

		if (is_red(uncle)) {
			parent->red = uncle->red = false;
			grand->red = true;
			n = grand;
			continue;
		}
		if (n == (left ? parent->right : parent->left)) {
			rotate(root, parent, left);
			parent = n;
		}
		parent->red = false;
		grand->red = true;
		rotate(root, grand, !left);
		break;
	}
	root->node->red = false;
}

void rb_insert(struct rb_root *root, struct rb_node *node, struct rb_node *parent, struct rb_node **link)
{
	node->parent = parent;
	node->left = node->right = NULL;
	node->red = true;
	*link = node;
	update_node(root, node);
	rb_propagate(root, parent);
	insert_fixup(root, node);
}

/* n (possibly missing) stands one black short below parent. */
static void erase_fixup(struct rb_root *root, struct rb_node *n, struct rb_node *parent)
{
	while (parent && !is_red(n)) {
		bool left = n == parent->left;
		struct rb_node *sibling = left ? parent->right : parent->left;

		if (sibling->red) {
			sibling->red = false;
			parent->red = true;
			rotate(root, parent, left);
			sibling = left ? parent->right : parent->left;
		}
		struct rb_node *inner = left ? sibling->left : sibling->right;
		struct rb_node *outer = left ? sibling->right : sibling->left;
		if (!is_red(inner) && !is_red(outer)) {
			sibling->red = true;
			n = parent;
			parent = n->parent;
			continue;
		}
		if (!is_red(outer)) {
			inner->red = false;
			sibling->red = true;
			rotate(root, sibling, !left);
			outer = sibling;
			sibling = inner;
		}
		sibling->red = parent->red;
		parent->red = false;
		outer->red = false;
		rotate(root, parent, left);
		return;
	}
	if (n)
		n->red = false;
}

void rb_erase(struct rb_root *root, struct rb_node *node)
{
	struct rb_node *child, *parent;
	bool removed_red;

	if (node->left && node->right) {
		struct rb_node *next = node->right;
		while (next->left)
			next = next->left;
		child = next->right;
		parent = next->parent == node ? next : next->parent;
		removed_red = next->red;
		replace_child(root, next->parent, next, child);
		replace_child(root, node->parent, node, next);
		next->red = node->red;
		next->left = node->left;
		next->left->parent = next;
		next->right = node->right;
		if (next->right)
			next->right->parent = next;
	} else {
		child = node->left ? node->left : node->right;
		parent = node->parent;
		removed_red = node->red;
		replace_child(root, parent, node, child);
	}
	/* Every node from the hole to the root may have lost its largest value: no early stop. */
	for (struct rb_node *n = parent; n; n = n->parent)
		update_node(root, n);
	if (!removed_red)
		erase_fixup(root, child, parent);
}

struct rb_node *rb_first(const struct rb_root *root)
{
	struct rb_node *n = root->node;

	while (n && n->left)
		n = n->left;
	return n;
}

struct rb_node *rb_next(const struct rb_node *node)
{
	struct rb_node *n;

	if (node->right) {
		for (n = node->right; n->left; n = n->left)
			;
		return n;
	}
	for (n = node->parent; n && node == n->right; n = n->parent)
		node = n;
	return n;
}

/* Black height of the subtree, or -1 when a rule is broken. */
static int check_subtree(const struct rb_node *n, const struct rb_node *parent)
{
	if (!n)
		return 0;
	if (n->parent != parent || (n->red && (is_red(n->left) || is_red(n->right))))
		return -1;
	int l = check_subtree(n->left, n), r = check_subtree(n->right, n);
	if (l < 0 || l != r)
		return -1;
	return l + !n->red;
}

bool rb_check(const struct rb_root *root)
{
	return !is_red(root->node) && check_subtree(root->node, NULL) >= 0;
}
