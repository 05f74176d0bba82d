/* SPDX-License-Identifier: MIT */
/* image_format.h - the file of a snapshot, byte by byte. Only the two halves of image.h include it. */
#ifndef LODGE_UFFD_IMAGE_FORMAT_H
#define LODGE_UFFD_IMAGE_FORMAT_H

#include <endian.h>

#include "image.h"

#define IMAGE_MAGIC	 "LODGESNP"
#define IMAGE_FIRST_PAGE 1ull /* in the file, in pages; the header is before it */
#define IMAGE_WORD	 (1ull << 63)
#define IMAGE_BASE	 (1ull << 62) /* with the number of a page of the base */
#define IMAGE_PATH	 1024

enum image_section_kind { SECTION_INDEX, SECTION_STATE, SECTION_CHUNKS, NR_SECTIONS };

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
	uint64_t nr_packed;    /* pages that are stored in chunks; 0: pages are stored as they are */
	uint64_t base_id;      /* 0: there is none */
	char base[IMAGE_PATH]; /* its absolute path */
	uint64_t sum;	       /* of all before it */
};

/*
 * A page in the index: where it is in the file, in pages (of an image in chunks: as if these were unpacked), and its checksum; or IMAGE_WORD, and the word; or IMAGE_BASE with the number of a
 * page of the base, which is no word, and its checksum. Of an image that is open the last has become where it is in the file of its layer.
 */
struct image_entry {
	uint64_t where, sum;
};

/* Of an image that is open: which file, counted from its own on, and where there. */
#define IMAGE_LAYER_SHIFT 48
#define IMAGE_MAX_LAYERS  16u

static inline uint64_t entry_layer(uint64_t where)
{
	return where >> IMAGE_LAYER_SHIFT;
}

static inline uint64_t entry_page(uint64_t where)
{
	return where & ((1ull << IMAGE_LAYER_SHIFT) - 1);
}

_Static_assert(__BYTE_ORDER == __LITTLE_ENDIAN, "numbers are stored as they are");
_Static_assert(sizeof(struct image_header) <= PAGE_SIZE, "the header has a page");

#endif
