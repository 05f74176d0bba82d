/* SPDX-License-Identifier: MIT */
/*
 * image_chunks.h - pages of an image that are stored compressed, by Debian's libzstd.
 *
 *	stored pages	| 0 ... 15 | 16 ... 31 | 32 ... 38 |	in the order in which they were added, each content once
 *			      |          |           |
 *	table		  chunk 0    chunk 1     chunk 2	where in the file, how many bytes, their sum
 *
 *   C1  nothing is unpacked whose bytes do not have the sum that the table says
 *   C2  a chunk of as many bytes as its pages have is them as they are
 * The table is what the index of the image relies on, and checked with it (image_chunks_good). Nothing is allocated for a read but by the first
 * of several threads; with no memory for that, a read waits for another one to end.
 * Locking: its own, a leaf.
 */
#ifndef LODGE_UFFD_IMAGE_CHUNKS_H
#define LODGE_UFFD_IMAGE_CHUNKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define IMAGE_CHUNK_PAGES 16u

struct image_chunk {
	uint64_t offset, bytes, sum;
};

static inline uint64_t image_nr_chunks(uint64_t nr_pages)
{
	return (nr_pages + IMAGE_CHUNK_PAGES - 1) / IMAGE_CHUNK_PAGES;
}

/* --- making them ------------------------------------------------------------------------------ */

struct image_packer;

/* NULL: no memory. */
struct image_packer *image_packer_create(void);
void image_packer_destroy(struct image_packer *p);

/* Fills in bytes and sum of a chunk with so many pages: what to write there, until the next call. */
const void *image_pack(struct image_packer *p, const void *pages, unsigned int nr, struct image_chunk *chunk);

/* --- reading them ----------------------------------------------------------------------------- */

/* Whether all of a table for so many pages lies in [first_byte, end) of the file. */
bool image_chunks_good(const struct image_chunk *table, uint64_t nr_pages, uint64_t first_byte, uint64_t end);

struct image_chunks;

/* Of the file fd; both stay the caller's, and there. NULL: no memory. */
struct image_chunks *image_chunks_create(int fd, const struct image_chunk *table, uint64_t nr_pages);
/* NULL is allowed. */
void image_chunks_destroy(struct image_chunks *c);

/* Stored pages from `page` on, nr of them: how many came; if those are not all, *err says what became of the next: -EBADMSG, or of the read. */
unsigned int image_chunks_read(struct image_chunks *c, uint64_t page, const struct iovec *iov,
			       unsigned int nr, int *err);

#endif
