/* SPDX-License-Identifier: MIT */
/*
 * radix.h - pages by index: a radix tree of 64-slot nodes, as high as the highest index needs, with tags.
 *
 *   X1  a node on the way to a page has at least one slot in use
 *   X2  the height is the least that reaches the highest index in the tree
 *   X3  a node has a tag on a slot exactly when a page below that slot has it
 *
 * An index may hold a number in the place of a page: what became of it. Whoever asks for pages does not see it. Exchanging one for the
 * other allocates nothing.
 *
 * The owner locks; nothing here sleeps. Not here: what a page is, and who holds it (filemap.h).
 */
#ifndef LODGE_MM_RADIX_H
#define LODGE_MM_RADIX_H

#include "types.h"

#define RADIX_SHIFT 6
#define RADIX_SLOTS (1u << RADIX_SHIFT)

struct kmem_cache;
struct page;

enum radix_tag { RADIX_DIRTY, RADIX_WRITEBACK, NR_RADIX_TAGS };

struct radix_node {
	void *slot[RADIX_SLOTS];     /* nodes, or pages and numbers in the lowest level */
	uint64_t tag[NR_RADIX_TAGS]; /* a bit for each slot */
	unsigned int count;	     /* slots in use */
};

struct radix_tree {
	struct kmem_cache *nodes; /* (C) of struct radix_node */
	struct radix_node *root;
	unsigned int height; /* levels of nodes; 0: empty */
	uint64_t nr_pages, nr_numbers;
};

/* What an index holds: a page, a number below 2^63, or nothing. */
struct radix_entry {
	struct page *page;
	bool is_number;
	uint64_t number;
};

void radix_init(struct radix_tree *t, struct kmem_cache *nodes);

/* The page at `index`, or NULL. */
struct page *radix_find(const struct radix_tree *t, uint64_t index);

/* The first page at or after *index, which it is stored to; NULL: none. Goes by nodes, not by indices. */
struct page *radix_next(const struct radix_tree *t, uint64_t *index);
struct page *radix_next_tagged(const struct radix_tree *t, uint64_t *index, enum radix_tag tag);

/* The same of whatever is there; false: nothing. */
bool radix_find_entry(const struct radix_tree *t, uint64_t index, struct radix_entry *e);
bool radix_next_entry(const struct radix_tree *t, uint64_t *index, struct radix_entry *e);

/* Puts a page where nothing is. 0, or -ENOMEM with the tree as it was. */
int radix_insert(struct radix_tree *t, uint64_t index, struct page *page);

/* Puts another page where one is, or a number; tags stay. */
void radix_replace(struct radix_tree *t, uint64_t index, struct page *page);

/* Puts a number where a page without tags is, or another number. */
void radix_set_number(struct radix_tree *t, uint64_t index, uint64_t number);

/* Takes what is at `index` out, with its tags; NULL: it was no page. */
struct page *radix_remove(struct radix_tree *t, uint64_t index);

/* Of a page that is there. */
void radix_tag_set(struct radix_tree *t, uint64_t index, enum radix_tag tag);
void radix_tag_clear(struct radix_tree *t, uint64_t index, enum radix_tag tag);

/* True when any page has the tag. */
bool radix_tagged(const struct radix_tree *t, enum radix_tag tag);

/* Number of violations of X1-X3. */
unsigned int radix_check(const struct radix_tree *t);

#endif
