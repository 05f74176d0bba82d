/* SPDX-License-Identifier: MIT */
/*
 * avl.h - areas in an AVL tree, as Linux kept them until 2.4: what the production tree of areas is compared with.
 *
 * Nothing is shared with src/mm: no links between neighbours, no gaps per subtree, no parents. A gap is found by looking at all areas
 * in order.
 *   L1  the heights of a node's two subtrees differ by at most 1
 *   L2  everything left of a node ends at or before its start, everything right of it starts at or behind its end
 * Algorithm: Adelson-Velsky and Landis 1962; Knuth, The Art of Computer Programming, vol. 3, 6.2.3.
 */
#ifndef LODGE_TESTS_AVL_H
#define LODGE_TESTS_AVL_H

#include <stdbool.h>
#include <stdint.h>

struct avl_area {
	uint64_t start, end;
	uint64_t guard; /* bytes in front of it that are not free */
	struct avl_area *left, *right;
	int height; /* 1: a leaf */
};

struct avl_tree {
	struct avl_area *root;
	uint64_t nr;
};

/* An area that overlaps no other. */
void avl_insert(struct avl_tree *t, struct avl_area *area);
/* The area that starts at `start`, which is there; it is the caller's again. */
struct avl_area *avl_erase(struct avl_tree *t, uint64_t start);

/* The first area with end > address, or NULL. */
struct avl_area *avl_find(const struct avl_tree *t, uint64_t address);

/* The highest and the lowest place for `length` bytes within [low, high), or -ENOMEM. */
struct avl_gap {
	int64_t highest, lowest;
};

struct avl_gap avl_gap(const struct avl_tree *t, uint64_t length, uint64_t low, uint64_t high);

/* False when L1, L2, a height or the count is wrong. */
bool avl_check(const struct avl_tree *t);

#endif
