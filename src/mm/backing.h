/* SPDX-License-Identifier: MIT */
/*
 * backing.h - what the core asks of a file behind a mapping.
 *
 * The owner embeds struct backing in its own object. Mappings hold references; whoever drops the last one writes back what is
 * dirty and calls release, once, possibly with a space's mmap lock held, so neither may call into the core.
 */
#ifndef LODGE_MM_BACKING_H
#define LODGE_MM_BACKING_H

#include <sys/types.h>
#include <sys/uio.h>

#include "filemap.h"

struct backing;
struct mm;
struct unmapped_request;
struct vma;

struct backing_ops {
	/* Reads up to `bytes` at `offset`, as pread: bytes read, 0 at the end of the file, or -errno. Any thread. */
	ssize_t (*read)(struct backing *b, void *buffer, size_t bytes, uint64_t offset);
	/*
	 * Writes all of the buffers at `offset`: 0, or -errno when any part of it could not be; it may then take a reference
	 * to keep what is dirty. NULL: never written to.
	 */
	int (*write)(struct backing *b, const struct iovec *iov, unsigned int nr, uint64_t offset);
	/* Makes what was written durable: 0 or -errno. NULL: nothing to do. */
	int (*sync)(struct backing *b);
	/* Makes a hole: the bytes read as zero from now on, the size stays. 0 or -errno. NULL: not supported. */
	int (*punch)(struct backing *b, uint64_t offset, uint64_t bytes);
	/* The file's size in bytes now, or -errno. */
	int64_t (*size)(struct backing *b);
	void (*release)(struct backing *b);
	/*
	 * Makes `vma`, a new area that nobody knows yet, show the object its own way: sets vm_ops, private_data, mapping
	 * (NULL: pages of no cache), flags; or file, whose reference it takes over. 0, or -errno and mmap fails with it. NULL: an area over the cache.
	 */
	int (*mmap)(struct backing *b, struct vma *vma);
	/*
	 * Called for the new area once it lies in its space, mmap_lock held for writing: maps what is to be there from the
	 * beginning. 0, or -errno: the area goes again and mmap fails with it. NULL: pages come by faults.
	 */
	int (*mapped)(struct backing *b, struct vma *vma);
	/* Where a mapping of it goes, or -errno; NULL: where anything goes. See unmapped_area.h. */
	int64_t (*get_unmapped_area)(struct backing *b, struct mm *mm, const struct unmapped_request *r);
} __randomize_layout;

struct backing {
	const struct backing_ops *ops;
	_Atomic uint32_t refs; /* (A) */
	uint64_t dev, ino;     /* (C) shown in maps */
	const char *path;      /* (C) shown in maps; owned by the embedder */
	struct address_space cache;
};

static inline struct backing *backing_get(struct backing *b)
{
	atomic_fetch_add(&b->refs, 1);
	return b;
}

/* Takes a reference where there is one left; false: it is on its way out. */
bool backing_get_live(struct backing *b);

/* Drops a reference; the last one writes back and empties the cache and calls release. */
void backing_put(struct backing *b);

/* ops, numbers and path are the caller's; the caller holds the first reference. */
void backing_init(struct backing *b, struct mm_host *h, const struct backing_ops *ops);

#endif
