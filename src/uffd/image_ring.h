/* SPDX-License-Identifier: MIT */
/*
 * image_ring.h - several rows of pages of an image read at a time, through io_uring.
 *
 * One row is not worth it: whoever needs it reads it. The ring is had when it is first needed, and one thread has it at a time: who finds it busy
 * reads without, so that a fault never stands behind what is read ahead. Where there is no io_uring everybody reads without.
 * Locking: the ring's own, a leaf.
 */
#ifndef LODGE_UFFD_IMAGE_RING_H
#define LODGE_UFFD_IMAGE_RING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define IMAGE_RING_ROWS 64u

struct image_chunks;
struct image_ring;

/* Pages that lie one behind the other in the file. */
struct image_row {
	struct iovec *iov; /* nr pages */
	unsigned int nr;
	int fd;
	uint64_t where; /* the first one in the file, in pages; IMAGE_WORD: there is nothing to read */
	struct image_chunks *chunks; /* what has the pages; NULL: the file has them as they are */
	int err;		     /* 0: all of it was read */
	unsigned int nr_read;	     /* if not: pages from the first on that were */
};

/* NULL: no memory. */
struct image_ring *image_ring_create(void);
/* NULL is allowed. */
void image_ring_destroy(struct image_ring *r);

/* Reads those of nr <= IMAGE_RING_ROWS rows that the file has as they are, and waits. False: the ring is not to be had, and nothing was read. */
bool image_ring_read(struct image_ring *r, struct image_row *row, unsigned int nr);

#endif
