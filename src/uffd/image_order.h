/* SPDX-License-Identifier: MIT */
/*
 * image_order.h - in which order the pages of an image were brought, kept in a file beside it: FILE.order.
 *
 *	header: magic, version, id of the image, number of pages, checksum | numbers of pages, 4 bytes each, the first that was brought first
 *
 * It is a hint: one that is damaged, or of another image, is as if it were not there.
 *   O1  a number is in it once
 * Locking: none is needed; notes are atomic.
 */
#ifndef LODGE_UFFD_IMAGE_ORDER_H
#define LODGE_UFFD_IMAGE_ORDER_H

#include <stdint.h>

struct image;
struct image_order;

/* Begins to note, with a reference for the caller, who is the only one to ask for that. NULL: no memory. */
struct image_order *image_order_begin(struct image *i);
/* NULL is allowed. */
void image_order_put(struct image_order *o);

/* Pages [first, first + nr) were brought. */
void image_order_note(struct image_order *o, uint64_t first, unsigned int nr);

/* Writes what was noted beside the image of that path. 0 or -errno. */
int image_order_write(const struct image_order *o, const char *path);

/* The pages in order, which are the caller's, and how many; NULL: there is none. */
uint32_t *image_order_read(const struct image *i, const char *path, uint64_t *nr);

#endif
