/* SPDX-License-Identifier: MIT */
/* textbook.c - see textbook.h. Procedures have the names of the book. */
#include "textbook.h"

#include <stddef.h>

void text_init(struct text_tree *t)
{
	t->nil = (struct text_node){.left = &t->nil, .right = &t->nil, .parent = &t->nil};
	t->root = &t->nil;
}

/* Puts v where u hangs. */
static void transplant(struct text_tree *t, struct text_node *u, struct text_node *v)
{
	if (u->parent == &t->nil)
		t->root = v;
	else if (u == u->parent->left)
		u->parent->left = v;
	else
		u->parent->right = v;
	v->parent = u->parent;
}

static void left_rotate(struct text_tree *t, struct text_node *x)
{
	struct text_node *y = x->right;

	x->right = y->left;
	if (y->left != &t->nil)
		y->left->parent = x;
	transplant(t, x, y);
	y->left = x;
	x->parent = y;
}

static void right_rotate(struct text_tree *t, struct text_node *x)
{
	struct text_node *y = x->left;

	x->left = y->right;
	if (y->right != &t->nil)
		y->right->parent = x;
	transplant(t, x, y);
	y->right = x;
	x->parent = y;
}

/* Lifts x above its parent. */
static void rotate_up(struct text_tree *t, struct text_node *x)
{
	if (x == x->parent->left)
		right_rotate(t, x->parent);
	else
		left_rotate(t, x->parent);
}

static struct text_node *sibling(const struct text_node *x)
{
	return x == x->parent->left ? x->parent->right : x->parent->left;
}

static void insert_fixup(struct text_tree *t, struct text_node *z)
{
	while (z->parent->red) {
		struct text_node *parent = z->parent, *grandparent = parent->parent, *uncle = sibling(parent);
		if (uncle->red) {
			parent->red = uncle->red = false;
			grandparent->red = true;
			z = grandparent;
			continue;
		}
		if ((z == parent->left) != (parent == grandparent->left)) {
			rotate_up(t, z);
			parent = z;
		}
		parent->red = false;
		grandparent->red = true;
		rotate_up(t, parent);
		break;
	}
	t->root->red = false;
}

void text_insert(struct text_tree *t, struct text_node *n)
{
	struct text_node **link = &t->root, *parent = &t->nil;

	while (*link != &t->nil) {
		parent = *link;
		link = n->start < parent->start ? &parent->left : &parent->right;
	}
	n->parent = parent;
	n->left = n->right = &t->nil;
	n->red = true;
	*link = n;
	insert_fixup(t, n);
}

/* x carries one black too many. */
static void erase_fixup(struct text_tree *t, struct text_node *x)
{
	while (x != t->root && !x->red) {
		bool left = x == x->parent->left;
		struct text_node *w = sibling(x);
		if (w->red) {
			w->red = false;
			x->parent->red = true;
			rotate_up(t, w);
			w = sibling(x);
		}
		struct text_node *near = left ? w->left : w->right, *far = left ? w->right : w->left;
		if (!near->red && !far->red) {
			w->red = true;
			x = x->parent;
			continue;
		}
		if (!far->red) {
			near->red = false;
			w->red = true;
			rotate_up(t, near);
			far = w;
			w = near;
		}
		w->red = x->parent->red;
		x->parent->red = far->red = false;
		rotate_up(t, w);
		x = t->root;
	}
	x->red = false;
}

static struct text_node *minimum(struct text_tree *t, struct text_node *n)
{
	while (n->left != &t->nil)
		n = n->left;
	return n;
}

void text_erase(struct text_tree *t, struct text_node *z)
{
	struct text_node *x;
	bool was_red = z->red;

	if (z->left == &t->nil || z->right == &t->nil) {
		x = z->left == &t->nil ? z->right : z->left;
		transplant(t, z, x);
	} else {
		struct text_node *y = minimum(t, z->right);
		was_red = y->red;
		x = y->right;
		if (y->parent == z) {
			x->parent = y;
		} else {
			transplant(t, y, x);
			y->right = z->right;
			y->right->parent = y;
		}
		transplant(t, z, y);
		y->left = z->left;
		y->left->parent = y;
		y->red = z->red;
	}
	if (!was_red)
		erase_fixup(t, x);
}

struct text_node *text_find(struct text_tree *t, uint64_t address)
{
	struct text_node *found = NULL;

	for (struct text_node *n = t->root; n != &t->nil;) {
		if (n->end <= address) {
			n = n->right;
			continue;
		}
		found = n;
		n = n->left;
	}
	return found;
}

static struct text_node *maximum(struct text_tree *t, struct text_node *n)
{
	while (n != &t->nil && n->right != &t->nil)
		n = n->right;
	return n;
}

static struct text_node *predecessor(struct text_tree *t, struct text_node *n)
{
	if (n->left != &t->nil)
		return maximum(t, n->left);
	while (n->parent != &t->nil && n == n->parent->left)
		n = n->parent;
	return n->parent;
}

int64_t text_gap(struct text_tree *t, uint64_t length, uint64_t low, uint64_t high)
{
	uint64_t top = high; /* the free range in hand ends here */

	for (struct text_node *n = maximum(t, t->root); n != &t->nil && top > low; n = predecessor(t, n)) {
		uint64_t from = n->end > low ? n->end : low;
		if (top > from && top - from >= length)
			return (int64_t)(top - length);
		if (n->start < top)
			top = n->start;
	}
	return top > low && top - low >= length ? (int64_t)(top - length) : -1;
}
