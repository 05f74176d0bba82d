/* SPDX-License-Identifier: MIT */
/* image_format.h - the file of a snapshot, byte by byte. Only the two halves of image.h include it. */
#ifndef LODGE_UFFD_IMAGE_FORMAT_H
#define LODGE_UFFD_IMAGE_FORMAT_H

#include <endian.h>

#include "image.h"

#define IMAGE_MAGIC	 "LODGESNP"
#define IMAGE_FIRST_PAGE 1ull /* in the file, in pages; the header is before it */
#define IMAGE_WORD	 (1ull << 63)

enum image_section_kind { SECTION_INDEX, SECTION_STATE, NR_SECTIONS };

struct image_section {
	uint64_t offset, bytes, sum;
};

struct image_header {
	char magic[8];
	uint32_t version, page_bytes;
	uint64_t file_bytes;
	uint64_t nr_runs, nr_pages; /* in the index */
	struct image_section section[NR_SECTIONS];
	struct image_machine machine;
	uint64_t sum; /* of all before it */
};

/* A page in the index: where it is in the file, in pages, and its checksum; or IMAGE_WORD, and the word. */
struct image_entry {
	uint64_t where, sum;
};

_Static_assert(__BYTE_ORDER == __LITTLE_ENDIAN, "numbers are stored as they are");
_Static_assert(sizeof(struct image_header) <= PAGE_SIZE, "the header has a page");

#endif
