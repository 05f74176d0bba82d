/* SPDX-License-Identifier: MIT */
/*
 * filemap.h - the page cache of one file: its pages by offset, in a radix tree of 64-slot nodes.
 *
 * A page in the tree holds one reference of its own. Pages of a shared anonymous mapping live in an address_space too,
 * one without a file behind it (host == NULL), where a page that is not there is zero.
 */
#ifndef LODGE_MM_FILEMAP_H
#define LODGE_MM_FILEMAP_H

#include "page_alloc.h"

#define RADIX_SHIFT	 6
#define RADIX_SLOTS	 (1u << RADIX_SHIFT)

/* Size of a node of the tree, for whoever owns the cache of them. */
#define RADIX_NODE_BYTES ((RADIX_SLOTS + 1) * sizeof(void *))

struct backing;
struct vm_operations;
struct mm_host;
struct radix_node;

struct address_space {
	pthread_mutex_t lock;	 /* rank LOCK_CACHE */
	struct mm_host *mm_host; /* (C) frames and the cache of nodes */
	struct backing *host;	 /* (C) NULL: anonymous shared memory */
	struct radix_node *root;
	unsigned int height; /* levels of nodes; 0: empty */
	uint64_t nr_pages;
	uint64_t size_pages;   /* (C) shared anonymous memory: where it ends */
	_Atomic uint32_t refs; /* (A) shared anonymous memory: areas that hold it */
};

/* What areas over a cache do: of a file, and of shared anonymous memory. fault_file.c */
extern const struct vm_operations filemap_vm_ops, shmem_vm_ops;

void address_space_init(struct address_space *as, struct mm_host *h, struct backing *host);

/* Drops every page. No page may be mapped any more. */
void address_space_destroy(struct address_space *as);

/* The page at `index` with a reference for the caller, or NULL. */
struct page *filemap_find(struct address_space *as, uint64_t index);

/*
 * The page at `index`, read from the file if it is not there; *page gets a reference for the caller. New frames are
 * charged to cg. 0, -ENOMEM (no frame or limit), -ENXIO (beyond the end of the file), or the file's -errno. *major says
 * whether the file was read.
 */
int filemap_get(struct address_space *as, uint64_t index, struct memcg *cg, struct page **page, bool *major);

/*
 * Reads the pages [index, index + nr_pages) that are not there yet, as far as frames, limit and file allow, with few
 * large reads. A hint: it reports nothing.
 */
void filemap_readahead(struct address_space *as, uint64_t index, unsigned int nr_pages, struct memcg *cg);

/*
 * Shared anonymous memory of nr_pages: an address_space of its own, held by every area that maps it. NULL: no memory. shmem_put by
 * the last holder destroys it; its pages must be unmapped by then.
 */
struct address_space *shmem_create(struct mm_host *h, uint64_t nr_pages);
void shmem_get(struct address_space *as);
void shmem_put(struct mm_host *h, struct address_space *as);

/* Drops the pages [first, last] that nobody maps or pins; returns how many went. */
uint64_t filemap_drop(struct address_space *as, uint64_t first, uint64_t last);

#endif
