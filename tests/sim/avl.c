/* SPDX-License-Identifier: MIT */
/* avl.c - see avl.h. */
#include <errno.h>
#include <stddef.h>

#include "avl.h"

static int height(const struct avl_area *n)
{
	return n ? n->height : 0;
}

static void measure(struct avl_area *n)
{
	int l = height(n->left), r = height(n->right);

	n->height = 1 + (l > r ? l : r);
}

static struct avl_area *rotate_right(struct avl_area *n)
{
	struct avl_area *up = n->left;

	n->left = up->right;
	up->right = n;
	measure(n);
	measure(up);
	return up;
}

static struct avl_area *rotate_left(struct avl_area *n)
{
	struct avl_area *up = n->right;

	n->right = up->left;
	up->left = n;
	measure(n);
	measure(up);
	return up;
}

/* The root of a subtree whose two halves are right and differ by at most 2. */
static struct avl_area *balance(struct avl_area *n)
{
	int lean = height(n->left) - height(n->right);

	if (lean > 1) {
		if (height(n->left->left) < height(n->left->right))
			n->left = rotate_left(n->left);
		return rotate_right(n);
	}
	if (lean < -1) {
		if (height(n->right->right) < height(n->right->left))
			n->right = rotate_right(n->right);
		return rotate_left(n);
	}
	measure(n);
	return n;
}

static struct avl_area *insert_below(struct avl_area *n, struct avl_area *area)
{
	if (!n)
		return area;
	if (area->start < n->start)
		n->left = insert_below(n->left, area);
	else
		n->right = insert_below(n->right, area);
	return balance(n);
}

void avl_insert(struct avl_tree *t, struct avl_area *area)
{
	area->left = area->right = NULL;
	area->height = 1;
	t->root = insert_below(t->root, area);
	t->nr++;
}

/* Takes the first area of a subtree out of it. */
static struct avl_area *take_first(struct avl_area *n, struct avl_area **first)
{
	if (!n->left) {
		*first = n;
		return n->right;
	}
	n->left = take_first(n->left, first);
	return balance(n);
}

static struct avl_area *erase_below(struct avl_area *n, uint64_t start, struct avl_area **taken)
{
	struct avl_area *next = NULL;

	if (start < n->start) {
		n->left = erase_below(n->left, start, taken);
		return balance(n);
	}
	if (start > n->start) {
		n->right = erase_below(n->right, start, taken);
		return balance(n);
	}
	*taken = n;
	if (!n->right)
		return n->left;
	struct avl_area *right = take_first(n->right, &next);
	next->left = n->left;
	next->right = right;
	return balance(next);
}

struct avl_area *avl_erase(struct avl_tree *t, uint64_t start)
{
	struct avl_area *taken = NULL;

	t->root = erase_below(t->root, start, &taken);
	t->nr--;
	return taken;
}

struct avl_area *avl_find(const struct avl_tree *t, uint64_t address)
{
	struct avl_area *found = NULL;

	for (struct avl_area *n = t->root; n;) {
		if (n->end > address) {
			found = n;
			n = n->left;
		} else {
			n = n->right;
		}
	}
	return found;
}

/* A walk from the lowest area up. */
struct gaps {
	struct avl_gap found;
	uint64_t length, low, high, free_from;
};

static void consider(struct gaps *g, uint64_t start, uint64_t end)
{
	start = start > g->low ? start : g->low;
	end = end < g->high ? end : g->high;
	if (end <= start || end - start < g->length)
		return;
	if (g->found.lowest < 0)
		g->found.lowest = (int64_t)start;
	g->found.highest = (int64_t)(end - g->length);
}

static void walk(struct gaps *g, const struct avl_area *n)
{
	if (!n)
		return;
	walk(g, n->left);
	consider(g, g->free_from, n->start > n->guard ? n->start - n->guard : 0);
	g->free_from = n->end;
	walk(g, n->right);
}

struct avl_gap avl_gap(const struct avl_tree *t, uint64_t length, uint64_t low, uint64_t high)
{
	struct gaps g = {{-ENOMEM, -ENOMEM}, length, low, high, 0};

	walk(&g, t->root);
	consider(&g, g.free_from, UINT64_MAX);
	return g.found;
}

/* Its number of areas, or -1; all of them lie within [low, high]. */
static int64_t check_below(const struct avl_area *n, uint64_t low, uint64_t high)
{
	if (!n)
		return 0;
	if (n->start < low || n->end > high || n->start >= n->end)
		return -1;
	int64_t left = check_below(n->left, low, n->start), right = check_below(n->right, n->end, high);
	int l = height(n->left), r = height(n->right);
	if (left < 0 || right < 0 || l - r > 1 || r - l > 1 || n->height != 1 + (l > r ? l : r))
		return -1;
	return left + right + 1;
}

bool avl_check(const struct avl_tree *t)
{
	return check_below(t->root, 0, UINT64_MAX) == (int64_t)t->nr;
}
