/* SPDX-License-Identifier: MIT */
/*
 * restore.h - what an image has to have of a space, and memory of a space whose contents an image has: entries that say slots of it, so that
 * pages come when they are touched.
 *
 *	saved: for each area a struct saved_area, and the pages that it has of its own     --> mm_restore_area, then mm_restore_pages or _block
 *
 * What comes then, how it is shared by the spaces that are forked or cloned from this one, and how it goes again, is swap.h: an image is a
 * device that is only read.
 */
#ifndef LODGE_MM_RESTORE_H
#define LODGE_MM_RESTORE_H

#include "mm.h"

/* An area as it is in its space. */
struct saved_area {
	gva_t start, end;
	uint64_t flags;			    /* of the area */
	struct backing *file;		    /* or NULL; of memory that spaces share, its object */
	uint64_t pgoff;			    /* with a file */
	const struct vm_operations *vm_ops; /* what it does, in the place of what its file says; or NULL */
	void *private_data;		    /* of vm_ops */
};

/* Called in the order of addresses, with page_table_lock. */
struct own_page_ops {
	void (*page)(void *ctx, gva_t address);	 /* it is in memory or on a device, and not its file's */
	void (*guard)(void *ctx, gva_t address); /* nobody may touch it: a guard, or a frame that was lost */
};

/* Visits what an area has of its own; the rest of it is zeroes, or what its file has. Nobody changes areas of the space. */
void mm_each_own_page(struct mm *mm, const struct vma *vma, const struct own_page_ops *ops, void *ctx);

/*
 * The area, empty also where it is locked (mm_populate_locked), in place of what lies there, sealed or not; it merges with its neighbours.
 * Policies it has none. 0, or what mm_mmap gives.
 */
int mm_restore_area(struct mm *mm, const struct saved_area *a);

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
