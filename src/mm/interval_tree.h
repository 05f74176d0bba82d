/* SPDX-License-Identifier: MIT */
/*
 * interval_tree.h - closed intervals that live inside their owners, and which of them overlap a given one.
 *
 *	                 [10,19] max 40                  a red-black tree in order of `start`; beside its interval
 *	                /              \                 each node keeps the highest `last` of its subtree, so that
 *	       [2,40] max 40        [12,13] max 30       a search leaves out what ends before it begins
 *	                             /        \
 *	                      [10,11] 11    [25,30] 30
 *
 *   I1  nodes are in order of start; of equal ones the earlier inserted comes first
 *   I2  rb_subtree_last is the highest last of the node and all below it
 * A search costs O(log n) and O(1) for each interval found. Algorithm: Cormen et al., chapter 14.3.
 * Locking: the owner's. Not here: what an interval means (anon_vma.h, filemap.h).
 */
#ifndef LODGE_MM_INTERVAL_TREE_H
#define LODGE_MM_INTERVAL_TREE_H

#include <stdint.h>

#include "rbtree.h"

struct interval_node {
	struct rb_node rb;
	uint64_t start, last; /* both belong to the interval; unchanged while it is in a tree */
	uint64_t rb_subtree_last;
};

struct interval_tree {
	struct rb_root root;
};

void interval_tree_init(struct interval_tree *t);

static inline bool interval_tree_empty(const struct interval_tree *t)
{
	return !t->root.node;
}

/* Puts a node in no tree into this one, as [start, last]. */
void interval_tree_insert(struct interval_tree *t, struct interval_node *node, uint64_t start, uint64_t last);
void interval_tree_remove(struct interval_tree *t, struct interval_node *node);

/* The first interval that overlaps [start, last], and the one after `node` that does; NULL: no more. */
struct interval_node *interval_tree_first(const struct interval_tree *t, uint64_t start, uint64_t last);
struct interval_node *interval_tree_next(const struct interval_node *node, uint64_t start, uint64_t last);

/* True when I1, I2 and the rules of the tree hold. */
bool interval_tree_check(const struct interval_tree *t);

#define interval_tree_for_each(node, tree, start, last)                   \
	for (node = interval_tree_first(tree, start, last); node != NULL; \
	     node = interval_tree_next(node, start, last))

#endif
