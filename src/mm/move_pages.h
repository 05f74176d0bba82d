/* SPDX-License-Identifier: MIT */
/* move_pages.h - on which node the pages of a space lie, and moving them. No lock is held. */
#ifndef LODGE_MM_MOVE_PAGES_H
#define LODGE_MM_MOVE_PAGES_H

#include "mempolicy.h"
#include "mm.h"

enum move_whose {
	MOVE_OWN, /* pages that nobody else maps */
	MOVE_ALL,
};

/* The node of the page that is mapped there: -ENOENT: none, -EFAULT: no area, or the zero page. */
int mm_page_node(struct mm *mm, gva_t address);

/* Moves it: the node where it is then, or -ENOENT, -EFAULT, -EACCES (others map it), -EBUSY, -ENOMEM. */
int mm_move_page(struct mm *mm, gva_t address, unsigned int node, enum move_whose whose);

/* Pages of [first, last) that lie on nodes of `from` and not of `to` go there: how many could not. `to` is not empty. */
uint64_t mm_move_nodes(struct mm *mm, gva_t first, gva_t last, nodemask_t from, nodemask_t to,
		       enum move_whose whose);

#endif
