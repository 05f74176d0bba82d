/* SPDX-License-Identifier: MIT */
/*
 * filemap.h - the page cache of one file: its pages by offset, which of them are newer than the file, and who reads them in.
 *
 *   C1  a page in the cache has PG_CACHE, its mapping and its index, and holds one reference of its own; a page that was taken
 *	 out has mapping NULL
 *   C2  PG_DIRTY and the tag RADIX_DIRTY of a page of the cache are one fact; so are PG_WRITEBACK and RADIX_WRITEBACK
 *   C3  a page becomes visible only when it is filled: nobody waits for one; of two who read one missing page, the second to
 *	 come back throws its copy away
 *   C4  an entry that lets a shared area write a page of a file belongs to a dirty page: a write to a clean one is noticed
 *   C5  a mapping with dirty pages is on its host's list of those
 * Locking: io_lock, outside mm->page_table_lock: held for reading while pages are filled or written back, for writing while
 * the file changes by other ways than through a mapping. lock, rank LOCK_CACHE: the tree and the flags of C1 and C2.
 *
 * Memory that is shared without a file (shmem.h) lives in an address_space too; there a page that is missing is zero, and none
 * is ever written back: it goes to swap, and the tree says to which slot (shmem_swap.h).
 * Not here: when to write back (writeback.h), how far to read ahead (readahead.h), files that shrink (truncate.h).
 */
#ifndef LODGE_MM_FILEMAP_H
#define LODGE_MM_FILEMAP_H

#include "interval_tree.h"
#include "page_alloc.h"
#include "radix.h"

struct backing;
struct vm_operations;
struct mm_host;

struct address_space {
	pthread_rwlock_t io_lock;
	pthread_mutex_t lock;
	struct mm_host *mm_host;	 /* (C) frames and the cache of nodes */
	struct backing *host;		 /* (C) whose pages these are */
	bool shmem;			 /* (C) the pages are all there is */
	struct radix_tree pages;	 /* (lock) */
	struct list_head dirty_node;	 /* (writeback.lock of the host) C5 */
	struct list_head mapping_node;	 /* (mappings_lock of the host) on the list of its kind */
	uint64_t shrink_pass;		 /* (mappings_lock of the host) the last one that looked here */
	_Atomic uint64_t shrink_next;	 /* (A) hint: where that goes on */
	uint64_t dirtied_ns;		 /* (lock) when the oldest dirty page became so; CLOCK_MONOTONIC */
	pthread_mutex_t wb_lock;	 /* held while pages are written; see writeback.h */
	_Atomic int wb_err;		 /* (A) -errno of a write that failed and was not reported yet */
	pthread_mutex_t i_mmap_lock;	 /* rank LOCK_IMMAP */
	struct interval_tree i_mmap;	 /* (i_mmap_lock) areas that map it, see i_mmap.h */
	uint64_t swap_window_start;	 /* (lock) what was read from swap last, from here on */
	uint32_t swap_window_pages;	 /* (lock) */
	_Atomic bool unevictable;	 /* (A) of shared memory: none of its pages goes to swap */
	_Atomic int32_t i_mmap_writable; /* (A) of them, shared and may be written; negative: none may come */
};

/* What areas over a cache do: of a file, and of shared anonymous memory. fault_file.c */
extern const struct vm_operations filemap_vm_ops, shmem_vm_ops;

void address_space_init(struct address_space *as, struct mm_host *h, struct backing *host, bool shmem);

/* Drops every page. No page may be mapped any more. */
void address_space_destroy(struct address_space *as);

/* The page at `index` with a reference for the caller, or NULL. */
struct page *filemap_find(struct address_space *as, uint64_t index);

/*
 * The page at `index`, read from the file if it is not there; *page gets a reference for the caller. New frames are
 * charged to cg. 0, -ENOMEM (no frame or limit), -ENXIO (beyond the end of the file), or the -errno of the file or swap device. *major
 * says whether that was read.
 */
int filemap_get(struct address_space *as, uint64_t index, struct memcg *cg, struct page **page, bool *major);

/* The same for a page of shared memory, wherever that ends, with io_lock held: 0, -ENOMEM, or -EAGAIN: it is in a slot (shmem_find). */
int filemap_get_locked(struct address_space *as, uint64_t index, struct memcg *cg, struct page **page);

/*
 * Reads the pages [index, index + nr_pages) that are not there yet, as far as frames, limit and file allow, with few
 * large reads. A hint: it reports nothing.
 */
void filemap_readahead(struct address_space *as, uint64_t index, uint64_t nr_pages, struct memcg *cg);

/* A fault on the page at `index`, if it is there, reads more: see readahead.h. */
void filemap_mark_readahead(struct address_space *as, uint64_t index);

/* References to up to `max` pages in [*index, last], in order; *index is where to go on. Returns how many. */
unsigned int filemap_find_batch(struct address_space *as, uint64_t *index, uint64_t last, struct page **page,
				unsigned int max);

/*
 * Makes a hole of the pages [first, last] in the file, and takes what the cache has there out of every space; private copies stay.
 * 0, -EOPNOTSUPP, or the file's -errno.
 */
int filemap_punch(struct address_space *as, uint64_t first, uint64_t last);

/* Drops the clean pages [first, last] that nobody maps or pins; returns how many went. */
uint64_t filemap_drop(struct address_space *as, uint64_t first, uint64_t last);

/* The same for pages that cg pays for and nobody used for min_age epochs (ageing.h). */
uint64_t filemap_drop_charged(struct address_space *as, uint64_t first, uint64_t last, const struct memcg *cg,
			      unsigned int min_age);

/*
 * Takes a page out of its cache, of which the caller has one reference and nobody else but the cache any; it is clean. False: it is
 * not so, or somebody has it locked. The reference stays the caller's.
 */
bool filemap_evict(struct page *page);

/* The cache that a page is in, with a reference to its file; NULL: it has left, or is about to. */
struct address_space *filemap_get_mapping(struct page *page);

/* Moves *index up to the next page of the cache; false: there is none. */
bool filemap_next(struct address_space *as, uint64_t *index);

/* Takes the pages [first, last] out whoever holds them, dirty or not; their entries must be gone. */
void filemap_remove(struct address_space *as, uint64_t first, uint64_t last);

/*
 * Marks a page newer than its file. True when it was clean and is in the cache of a file: the caller sees to the flusher
 * (writeback_note). Any context; a page of something else is left alone.
 */
bool filemap_set_dirty(struct page *page);

/*
 * A shared area may write to the page without anybody being told: it is dirty already. page_table_lock is held, so an entry made
 * now is found by whoever writes the page back.
 */
static inline bool page_written_freely(const struct page *page)
{
	return atomic_load(&page->flags) & PG_DIRTY;
}

/* The bytes [start, end) of the file changed without the cache: its pages take over what the file has. io_lock is held for writing. */
void filemap_refresh(struct address_space *as, uint64_t start, uint64_t end);

/* True when pages are newer than the file, or on their way there. */
bool filemap_is_dirty(struct address_space *as);

/* In memory; and, of shared memory, in slots of swap devices. */
uint64_t filemap_nr_pages(struct address_space *as);
uint64_t filemap_nr_swapped(struct address_space *as);

/* Number of violations of C1, C2 and the tree's rules. */
unsigned int filemap_check(struct address_space *as);

#endif
