/* SPDX-License-Identifier: MIT */
/*
 * image.h - the file of a snapshot: pages that are read when they are touched, an index of them, and a state that others make and read.
 *
 *	0	header: magic, version, machine, where the sections are and their checksums, its own
 *	4096	pages, in the order in which they were added, each content once; or those in compressed chunks (image_chunks.h)
 *	...	section INDEX: runs of pages of a space that lie one behind the other; for each page where it is and its checksum
 *	...	section STATE: bytes
 *	...	section CHUNKS: where they are, if pages are in chunks
 *
 *   G1  a file of that name is a whole image or what was there before: it is written beside it, synced, and renamed
 *   G2  nothing is taken from an image before the header, both sections and every number in the index have been checked
 *   G3  a page whose contents are not what the index says is -EBADMSG to the core, and never reaches a guest
 *   G4  an image with a base has of it what was the same, by page; the base is known by its id, and may have one itself
 * All numbers are little endian. An image that is open is a device of the core from which pages are brought (swap.h).
 * Locking: constant after image_open, but for what has a letter. Not here: what the state says (src/linux/snapshot_state.c).
 */
#ifndef LODGE_UFFD_IMAGE_H
#define LODGE_UFFD_IMAGE_H

#include "../mm/restore.h"

struct image;
struct image_chunk;
struct image_chunks;
struct image_order;
struct image_ring;

#define IMAGE_VERSION	 3u
#define IMAGE_MAX_SPACES 65536u
#define IMAGE_MAX_STATE	 (256ull << 20)

/* What a machine must have for the state to go on there. */
struct image_machine {
	uint64_t xcr0;
	uint64_t vdso_sum;    /* of the code that programs have of us */
	uint32_t xsave_bytes; /* of a vector state */
	uint32_t cpu[5];      /* CPUID: 1.ecx, 1.edx, 7.ebx, 7.ecx, 7.edx; what was there must be there */
};

void image_machine_cpu(struct image_machine *m);

/* --- making one ------------------------------------------------------------------------------- */

struct image_writer;

enum image_packing { IMAGE_PLAIN, IMAGE_PACKED };

/*
 * base: what is there at the same address is not written again; it stays open until the writer is gone, and its file (base_path) has to be there for
 * whoever uses this one. NULL: none. 0 or -errno.
 */
int image_create(const char *path, const struct image *base, const char *base_path,
		 enum image_packing packing, struct image_writer **result);

/* A page of a space; addresses of one space ascend. 0, or -errno of the write. */
int image_add_page(struct image_writer *w, uint32_t space, uint64_t address, const void *page);

/* Makes it durable under its name. The writer is gone in either case. 0 or -errno. */
int image_finish(struct image_writer *w, const struct image_machine *m, const void *state, size_t bytes);
void image_abort(struct image_writer *w);

/* --- using one -------------------------------------------------------------------------------- */

struct image_run {
	uint64_t address;
	uint64_t first; /* number of its first page; its slot is one more */
	uint32_t space, nr;
};

struct image {
	struct swap_device device;
	_Atomic uint32_t refs; /* (A) */
	int fd;
	uint64_t file_bytes, id; /* id: of what is in it */
	struct image_machine machine;
	struct image_run *run;
	uint64_t nr_runs;
	struct image_entry *entry; /* of each page */
	uint64_t nr_pages, nr_words;
	char *state;
	size_t state_bytes;
	struct image_chunk *chunk; /* the table */
	uint64_t nr_packed;	   /* pages in chunks; 0: they are stored as they are */
	struct image_chunks *chunks;
	_Atomic uint64_t nr_read, nr_bad; /* (A) pages brought; pages that were not what they should be */
	struct image *base;		  /* or NULL */
	unsigned int nr_layers;
	struct image_ring *ring;
	_Atomic(struct image_order *)
		order; /* (A) set once: what notes pages as they are brought, with a reference; or NULL */
};

/*
 * Opens and checks. 0, or -errno and *why says in words what is wrong: -EINVAL (no image), -ENOTSUP (another version), -EBADMSG (damaged),
 * or what opening and reading it gave.
 */
int image_open(const char *path, struct image **result, const char **why);

/* The same for one that is in memory from its first byte to its last, as far as it can be checked; for tests. */
int image_check(const void *bytes, size_t nr, const char **why);

/* One more who closes it. */
void image_get(struct image *i);
/* With the last reference it goes; the core's, that of the device, is given back by its release. */
void image_close(struct image *i);

/* The number of the page at an address; false: there is none. */
bool image_find(const struct image *i, uint32_t space, uint64_t address, uint64_t *page);
/* Whether a page, which is no word, is in the file as it is in memory. */
bool image_page_is(const struct image *i, uint64_t page, const void *bytes);

/* The space and address of a page. */
void image_where(const struct image *i, uint64_t page, uint32_t *space, uint64_t *address);

/* Of the file, that its chunks take. */
uint64_t image_packed_bytes(const struct image *i);

/* Pages [first, first + nr) as the core wants to know of them. */
void image_describe(const struct image *i, uint64_t first, uint64_t nr, struct image_page *page);

#endif
