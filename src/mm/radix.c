/* SPDX-License-Identifier: MIT */
/* radix.c - pages by index. See radix.h. */
#include <errno.h>

#include "kmem.h"
#include "radix.h"

/* 11 * 6 bits are more than an index has. */
#define RADIX_MAX_HEIGHT 11

/* The nodes on the way to an index, by level; NULL where the way was not walked. */
struct radix_path {
	struct radix_node *node[RADIX_MAX_HEIGHT];
};

void radix_init(struct radix_tree *t, struct kmem_cache *nodes)
{
	*t = (struct radix_tree){.nodes = nodes};
}

static unsigned int slot_of(uint64_t index, unsigned int level)
{
	return (index >> (RADIX_SHIFT * level)) & (RADIX_SLOTS - 1);
}

/* True when a tree of `height` levels has a place for `index`. */
static bool covers(unsigned int height, uint64_t index)
{
	return height * RADIX_SHIFT >= 64 || index >> (height * RADIX_SHIFT) == 0;
}

/* --- numbers have bit 0 set ----------------------------------------------------------------------------------------- */

static bool is_number(const void *leaf)
{
	return (uintptr_t)leaf & 1;
}

static struct page *to_page(void *leaf)
{
	return is_number(leaf) ? NULL : leaf;
}

static struct radix_entry to_entry(void *leaf)
{
	return (struct radix_entry){to_page(leaf), is_number(leaf), (uintptr_t)leaf >> 1};
}

/* --- looking for one ------------------------------------------------------------------------------------------------ */

static void *find(const struct radix_tree *t, uint64_t index)
{
	const struct radix_node *n = t->root;

	if (!n || !covers(t->height, index))
		return NULL;
	for (unsigned int level = t->height - 1; level > 0 && n; level--)
		n = n->slot[slot_of(index, level)];
	return n ? n->slot[slot_of(index, 0)] : NULL;
}

struct page *radix_find(const struct radix_tree *t, uint64_t index)
{
	return to_page(find(t, index));
}

bool radix_find_entry(const struct radix_tree *t, uint64_t index, struct radix_entry *e)
{
	void *leaf = find(t, index);

	*e = to_entry(leaf);
	return leaf;
}

bool radix_tagged(const struct radix_tree *t, enum radix_tag tag)
{
	return t->root && t->root->tag[tag];
}

/* A root for an empty tree: high enough at once, since a node below it would be empty. */
static int plant(struct radix_tree *t, uint64_t index)
{
	t->root = kmem_cache_zalloc(t->nodes);
	if (!t->root)
		return -ENOMEM;
	for (t->height = 1; !covers(t->height, index); t->height++)
		;
	return 0;
}

static int grow(struct radix_tree *t, uint64_t index)
{
	if (!t->root)
		return plant(t, index);
	while (!covers(t->height, index)) {
		struct radix_node *n = kmem_cache_zalloc(t->nodes);
		if (!n)
			return -ENOMEM;
		n->slot[0] = t->root;
		n->count = 1;
		for (unsigned int tag = 0; tag < NR_RADIX_TAGS; tag++)
			n->tag[tag] = t->root->tag[tag] != 0;
		t->root = n;
		t->height++;
	}
	return 0;
}

/* Frees the empty nodes at the end of a path, and levels that the tree no longer needs. */
static void trim(struct radix_tree *t, struct radix_path *path, uint64_t index)
{
	for (unsigned int level = 0; level + 1 < t->height; level++) {
		struct radix_node *n = path->node[level], *parent = path->node[level + 1];
		if (!n)
			continue;
		if (n->count)
			break;
		parent->slot[slot_of(index, level + 1)] = NULL;
		parent->count--;
		kmem_cache_free(t->nodes, n);
	}
	while (t->root && (!t->root->count || (t->height > 1 && t->root->count == 1 && t->root->slot[0]))) {
		struct radix_node *old = t->root;
		t->root = old->slot[0]; /* NULL in an empty root */
		t->height = t->root ? t->height - 1 : 0;
		kmem_cache_free(t->nodes, old);
	}
}

/* Others read them without the lock, for a hint. */
static void count(struct radix_tree *t, const void *leaf, int by)
{
	uint64_t *nr = is_number(leaf) ? &t->nr_numbers : &t->nr_pages;

	__atomic_store_n(nr, *nr + (uint64_t)by, __ATOMIC_RELAXED);
}

int radix_insert(struct radix_tree *t, uint64_t index, struct page *page)
{
	struct radix_path path = {0};
	int err = grow(t, index);
	struct radix_node *n = t->root;

	for (unsigned int level = t->height; !err && level-- > 0;) {
		void **slot = &n->slot[slot_of(index, level)];
		path.node[level] = n;
		if (!*slot) {
			*slot = level ? kmem_cache_zalloc(t->nodes) : page;
			if (!*slot)
				err = -ENOMEM;
			else
				n->count++;
		}
		n = *slot;
	}
	if (err)
		trim(t, &path, index);
	else
		count(t, page, 1);
	return err;
}

/* The way to a page that is there. */
static void walk(const struct radix_tree *t, uint64_t index, struct radix_path *path)
{
	struct radix_node *n = t->root;

	for (unsigned int level = t->height; level-- > 0;) {
		path->node[level] = n;
		if (level)
			n = n->slot[slot_of(index, level)];
	}
}

void radix_tag_set(struct radix_tree *t, uint64_t index, enum radix_tag tag)
{
	struct radix_path path;

	walk(t, index, &path);
	for (unsigned int level = 0; level < t->height; level++)
		path.node[level]->tag[tag] |= 1ull << slot_of(index, level);
}

void radix_tag_clear(struct radix_tree *t, uint64_t index, enum radix_tag tag)
{
	struct radix_path path;

	walk(t, index, &path);
	for (unsigned int level = 0; level < t->height; level++) {
		path.node[level]->tag[tag] &= ~(1ull << slot_of(index, level));
		if (path.node[level]->tag[tag])
			return;
	}
}

static void exchange(struct radix_tree *t, uint64_t index, void *leaf)
{
	struct radix_path path;

	walk(t, index, &path);
	void **slot = &path.node[0]->slot[slot_of(index, 0)];
	count(t, *slot, -1);
	count(t, leaf, 1);
	*slot = leaf;
}

void radix_replace(struct radix_tree *t, uint64_t index, struct page *page)
{
	exchange(t, index, page);
}

void radix_set_number(struct radix_tree *t, uint64_t index, uint64_t number)
{
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): it is told apart from a page by bit 0 */
	exchange(t, index, (void *)(uintptr_t)(number << 1 | 1));
}

struct page *radix_remove(struct radix_tree *t, uint64_t index)
{
	struct radix_path path;
	void *leaf = find(t, index);

	if (!leaf)
		return NULL;
	for (unsigned int tag = 0; tag < NR_RADIX_TAGS; tag++)
		radix_tag_clear(t, index, (enum radix_tag)tag);
	walk(t, index, &path);
	path.node[0]->slot[slot_of(index, 0)] = NULL;
	path.node[0]->count--;
	count(t, leaf, -1);
	trim(t, &path, index);
	return to_page(leaf);
}

/* Is there anything to look for below a slot? */
static bool occupied(const struct radix_node *n, unsigned int slot, int tag)
{
	return tag < 0 ? n->slot[slot] != NULL : n->tag[tag] >> slot & 1;
}

/* tag < 0: anything. */
static void *next(const struct radix_tree *t, uint64_t *index, int tag)
{
	for (uint64_t at = *index; t->root && covers(t->height, at);) {
		const struct radix_node *n = t->root;
		unsigned int level = t->height - 1;
		while (level && occupied(n, slot_of(at, level), tag))
			n = n->slot[slot_of(at, level--)];
		if (!level && occupied(n, slot_of(at, 0), tag)) {
			*index = at;
			return n->slot[slot_of(at, 0)];
		}
		/* Nothing below this slot: on to the next one of the node, or, by carry, of those above it. */
		uint64_t span = 1ull << (RADIX_SHIFT * level), after = (at | (span - 1)) + 1;
		if (after <= at)
			break;
		at = after;
	}
	return NULL;
}

struct page *radix_next(const struct radix_tree *t, uint64_t *index)
{
	struct radix_entry e;

	while (radix_next_entry(t, index, &e) && e.is_number)
		if (++*index == 0)
			return NULL;
	return e.page;
}

bool radix_next_entry(const struct radix_tree *t, uint64_t *index, struct radix_entry *e)
{
	void *leaf = next(t, index, -1);

	*e = to_entry(leaf);
	return leaf;
}

struct page *radix_next_tagged(const struct radix_tree *t, uint64_t *index, enum radix_tag tag)
{
	return next(t, index, (int)tag);
}

static unsigned int check_node(const struct radix_node *n, unsigned int level, uint64_t nr[2])
{
	unsigned int bad = 0, count = 0;

	for (unsigned int i = 0; i < RADIX_SLOTS; i++) {
		const struct radix_node *child = n->slot[i];
		count += child != NULL;
		for (unsigned int tag = 0; tag < NR_RADIX_TAGS; tag++) {
			bool set = n->tag[tag] >> i & 1;
			bad += set && !child;
			bad += level && child && set != (child->tag[tag] != 0);
		}
		if (child && level)
			bad += check_node(child, level - 1, nr);
		else if (child)
			nr[is_number(child)]++;
	}
	return bad + !count + (count != n->count);
}

unsigned int radix_check(const struct radix_tree *t)
{
	uint64_t nr[2] = {0}, highest = 0;
	unsigned int bad = t->root ? check_node(t->root, t->height - 1, nr) : t->height;
	struct radix_entry e;

	for (uint64_t at = 0; radix_next_entry(t, &at, &e); at++)
		highest = at;
	return bad + (nr[0] != t->nr_pages) + (nr[1] != t->nr_numbers) +
	       (t->height > 1 && covers(t->height - 1, highest));
}
