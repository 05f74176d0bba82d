/* SPDX-License-Identifier: MIT */
/*
 * restore.h - memory of a space whose contents an image has: entries that say slots of it, so that pages come when they are touched.
 *
 * What comes then, how it is shared by the spaces that are forked or cloned from this one, and how it goes again, is swap.h: an image is a
 * device that is only read.
 */
#ifndef LODGE_MM_RESTORE_H
#define LODGE_MM_RESTORE_H

#include "mm.h"

struct image_page {
	bool is_word; /* every word of the page is `word`; the device has nothing */
	uint64_t word;
};

/*
 * Pages from `start` on are those of consecutive slots of an image, page[i] telling of each. The range lies in private areas, and nothing
 * is mapped there. 0; -EINVAL: it is not so; -ENOMEM.
 */
int mm_restore_pages(struct mm *mm, gva_t start, swp_entry_t first, const struct image_page *page,
		     uint64_t nr);

struct supplied_block {
	struct supply *supply;
	/* The 2 MiB at `memory` get their contents from the supply from now on: 0 or -errno. With page_table_lock. */
	int (*arm)(void *ctx, void *memory);
	void *ctx;
};

/*
 * The aligned 2 MiB from `start` on, where nothing is mapped, are a block of frames that the supply fills when they are touched (supply.h);
 * the space, which does not run yet, has that supply from here on. 0; -ENOMEM; -EINVAL: no place for a block, or the account has too
 * little room, or there is another supply; what arm gave.
 */
int mm_restore_block(struct mm *mm, gva_t start, const struct supplied_block *b);

#endif
