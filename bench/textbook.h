/* SPDX-License-Identifier: MIT */
/*
 * textbook.h - the plain red-black tree of the textbook, as a measure for the tree of areas: ranges keyed by start, nothing
 * kept but the keys; whoever wants room walks the ranges in order. Written after CLRS, chapter 13, with its sentinel;
 * shares no code with src/mm.
 */
#ifndef LODGE_BENCH_TEXTBOOK_H
#define LODGE_BENCH_TEXTBOOK_H

#include <stdbool.h>
#include <stdint.h>

struct text_node {
	struct text_node *left, *right, *parent;
	uint64_t start, end; /* end is the first byte after */
	bool red;
};

struct text_tree {
	struct text_node nil; /* the sentinel: every leaf, and the parent of the root */
	struct text_node *root;
};

void text_init(struct text_tree *t);

/* Links a range that overlaps no other. */
void text_insert(struct text_tree *t, struct text_node *n);
void text_erase(struct text_tree *t, struct text_node *n);

/* The first range with end > address, or NULL. */
struct text_node *text_find(struct text_tree *t, uint64_t address);

/* The highest free range of `length` bytes within [low, high), or -1. */
int64_t text_gap(struct text_tree *t, uint64_t length, uint64_t low, uint64_t high);

#endif
