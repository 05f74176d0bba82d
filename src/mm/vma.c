/* SPDX-License-Identifier: MIT */
/*
 * vma.c - the tree and list of areas, and the search for a free range. See vma.h for the invariants.
 *
 * The tree keeps in every node the largest gap in front of any area below it, so that a search for room goes straight to
 * a place that fits (the augmented tree of Linux 3.8 to 6.0).
 * Not here: what the bytes of an area are, merging rules (mmap.c).
 */
#include <errno.h>

#include "vma.h"

static struct vma *vma_of(struct rb_node *n)
{
	return n ? list_entry(n, struct vma, rb) : NULL;
}

gva_t vma_start_gap(const struct vma *vma)
{
	if (!(vma->flags & VM_GROWSDOWN))
		return vma->start;
	return vma->start > STACK_GUARD_GAP ? vma->start - STACK_GUARD_GAP : 0;
}

/* The free bytes in front of an area. */
static uint64_t gap_before(const struct vma *vma)
{
	gva_t from = vma->prev ? vma->prev->end : 0, to = vma_start_gap(vma);

	return to > from ? to - from : 0;
}

static bool update_gap(struct rb_node *n)
{
	struct vma *vma = vma_of(n), *left = vma_of(n->left), *right = vma_of(n->right);
	uint64_t gap = gap_before(vma);

	if (left)
		gap = max_u64(gap, left->subtree_gap);
	if (right)
		gap = max_u64(gap, right->subtree_gap);
	if (vma->subtree_gap == gap)
		return false;
	vma->subtree_gap = gap;
	return true;
}

void vma_tree_init(struct vma_tree *t)
{
	*t = (struct vma_tree){.root = {.update = update_gap}};
}

struct vma *vma_find(const struct vma_tree *t, gva_t address)
{
	struct rb_node *n = t->root.node;
	struct vma *found = NULL;

	while (n) {
		struct vma *vma = vma_of(n);
		if (vma->end <= address) {
			n = n->right;
			continue;
		}
		found = vma;
		if (vma->start <= address)
			break;
		n = n->left;
	}
	return found;
}

struct vma *vma_find_intersection(const struct vma_tree *t, gva_t start, gva_t end)
{
	struct vma *vma = vma_find(t, start);

	return vma && vma->start < end ? vma : NULL;
}

struct vma *vma_last(const struct vma_tree *t)
{
	struct rb_node *n = t->root.node;

	while (n && n->right)
		n = n->right;
	return vma_of(n);
}

void vma_link(struct vma_tree *t, struct vma *vma)
{
	struct rb_node **link = &t->root.node, *parent = NULL;
	struct vma *prev = NULL;

	while (*link) {
		struct vma *at = vma_of(*link);
		parent = *link;
		if (vma->start < at->start) {
			link = &parent->left;
		} else {
			prev = at;
			link = &parent->right;
		}
	}
	vma->prev = prev;
	vma->next = prev ? prev->next : t->first;
	if (prev)
		prev->next = vma;
	else
		t->first = vma;
	if (vma->next)
		vma->next->prev = vma;
	else
		t->highest_end = vma->end;
	t->nr++;
	vma->subtree_gap = 0;
	/* The neighbour's gap first: a rotation that came upon it unpropagated would hide the change from its ancestors. */
	if (vma->next)
		rb_propagate(&t->root, &vma->next->rb);
	rb_insert(&t->root, &vma->rb, parent, link);
}

void vma_unlink(struct vma_tree *t, struct vma *vma)
{
	if (vma->prev)
		vma->prev->next = vma->next;
	else
		t->first = vma->next;
	if (vma->next)
		vma->next->prev = vma->prev;
	else
		t->highest_end = vma->prev ? vma->prev->end : 0;
	t->nr--;
	if (vma->next) /* first, as in vma_link */
		rb_propagate(&t->root, &vma->next->rb);
	rb_erase(&t->root, &vma->rb);
}

void vma_resize(struct vma_tree *t, struct vma *vma, gva_t start, gva_t end)
{
	vma->start = start;
	vma->end = end;
	if (!vma->next)
		t->highest_end = end;
	rb_propagate(&t->root, &vma->rb);
	if (vma->next)
		rb_propagate(&t->root, &vma->next->rb);
}

/* Part of the gap in front of vma that lies within the limits: its length is *end - *start, or the function is false. */
static bool gap_in_limits(const struct vma *vma, const struct vma_gap *g, gva_t *start, gva_t *end)
{
	*start = max_u64(vma->prev ? vma->prev->end : 0, g->low_limit);
	*end = min_u64(vma_start_gap(vma), g->high_limit);
	return *end > *start && *end - *start >= g->length;
}

/* Every gap right of n starts at or above its end; every gap left of n ends at or below its start. */
static int64_t search_down(const struct rb_node *n, const struct vma_gap *g)
{
	struct vma *vma = n ? list_entry(n, struct vma, rb) : NULL;
	gva_t start, end;

	if (!vma || vma->subtree_gap < g->length)
		return -ENOMEM;
	if (vma->end <= g->high_limit - g->length) {
		int64_t found = search_down(n->right, g);
		if (found >= 0)
			return found;
	}
	if (gap_in_limits(vma, g, &start, &end))
		return (int64_t)(end - g->length);
	return vma->start >= g->low_limit ? search_down(n->left, g) : -ENOMEM;
}

static int64_t search_up(const struct rb_node *n, const struct vma_gap *g)
{
	struct vma *vma = n ? list_entry(n, struct vma, rb) : NULL;
	gva_t start, end;

	if (!vma || vma->subtree_gap < g->length)
		return -ENOMEM;
	if (vma->start >= g->low_limit) {
		int64_t found = search_up(n->left, g);
		if (found >= 0)
			return found;
	}
	if (gap_in_limits(vma, g, &start, &end))
		return (int64_t)start;
	return vma->end <= g->high_limit ? search_up(n->right, g) : -ENOMEM;
}

static bool limits_fit(const struct vma_gap *g)
{
	return g->high_limit > g->low_limit && g->high_limit - g->low_limit >= g->length;
}

int64_t vma_gap_topdown(const struct vma_tree *t, const struct vma_gap *g)
{
	if (!limits_fit(g))
		return -ENOMEM;
	if (max_u64(t->highest_end, g->low_limit) <= g->high_limit - g->length)
		return (int64_t)(g->high_limit - g->length);
	return search_down(t->root.node, g);
}

int64_t vma_gap_bottomup(const struct vma_tree *t, const struct vma_gap *g)
{
	if (!limits_fit(g))
		return -ENOMEM;
	int64_t found = search_up(t->root.node, g);
	if (found >= 0)
		return found;
	gva_t start = max_u64(t->highest_end, g->low_limit);
	return start <= g->high_limit - g->length ? (int64_t)start : -ENOMEM;
}

static const char *check_one(const struct vma *vma, const struct vma *prev)
{
	struct rb_node *l = vma->rb.left, *r = vma->rb.right;
	uint64_t gap = gap_before(vma);

	if ((vma->start | vma->end) & ~PAGE_MASK || vma->start >= vma->end)
		return "area empty or not page aligned";
	if (vma->prev != prev || (prev && prev->end > vma->start))
		return "areas overlap or the list is broken";
	if (l)
		gap = max_u64(gap, vma_of(l)->subtree_gap);
	if (r)
		gap = max_u64(gap, vma_of(r)->subtree_gap);
	return gap == vma->subtree_gap ? NULL : "subtree gap is wrong";
}

unsigned int vma_tree_check(const struct vma_tree *t, void (*complain)(const char *what, uint64_t where))
{
	unsigned int bad = 0;
	uint64_t nr = 0;
	struct rb_node *n = rb_first(&t->root);
	struct vma *vma, *prev = NULL;

	vma_for_each (vma, t) {
		const char *what = n != &vma->rb ? "tree and list differ" : check_one(vma, prev);
		if (what) {
			bad++;
			if (complain)
				complain(what, vma->start);
		}
		if (n)
			n = rb_next(n);
		prev = vma;
		nr++;
	}
	if (n || nr != t->nr || t->highest_end != (prev ? prev->end : 0) || !rb_check(&t->root)) {
		bad++;
		if (complain)
			complain("tree shape, count or highest end is wrong", nr);
	}
	return bad;
}
