/* SPDX-License-Identifier: MIT */
/*
 * rbtree.h - a red-black tree of nodes that live inside their owners, with room for one value kept per subtree.
 *
 * The caller walks down to the place, links the node, then lets the tree rebalance. `update` recomputes the caller's
 * per-subtree value of one node from its children and returns whether it changed; NULL when there is none.
 * Algorithm: Guibas and Sedgewick 1978; insertion and deletion as in CLRS, chapter 13.
 */
#ifndef LODGE_MM_RBTREE_H
#define LODGE_MM_RBTREE_H

#include <stdbool.h>
#include <stddef.h>

struct rb_node {
	struct rb_node *parent, *left, *right;
	bool red;
};

typedef bool (*rb_update_fn)(struct rb_node *node);

struct rb_root {
	struct rb_node *node;
	rb_update_fn update;
};

/* Puts `node` at *link, the empty child slot of `parent` (NULL: the root), and restores the tree's rules. */
void rb_insert(struct rb_root *root, struct rb_node *node, struct rb_node *parent, struct rb_node **link);
void rb_erase(struct rb_root *root, struct rb_node *node);

/* Recomputes the per-subtree values from `node` up to the root, stopping where one does not change. */
void rb_propagate(struct rb_root *root, struct rb_node *node);

struct rb_node *rb_first(const struct rb_root *root);
struct rb_node *rb_next(const struct rb_node *node);

/* True when the colours, the black heights and the parent links are right. */
bool rb_check(const struct rb_root *root);

#endif
