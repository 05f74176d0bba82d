/* SPDX-License-Identifier: MIT */
/*
 * i_mmap.h - from a page of a file or shared object back to the areas that map it.
 *
 * Every area with a mapping lies in mapping->i_mmap by the page indices that it shows; vma->shared is its node. A private
 * area is there too: it may map pages of the cache, and its copies of them stand where the cache's pages would.
 *
 *   file, MAP_SHARED       i_mmap
 *   file, MAP_PRIVATE      i_mmap; and anon_vmas from the first copy on
 *   anonymous, MAP_SHARED  i_mmap of its shared object
 *   anonymous, stack, brk  anon_vmas alone
 *
 * i_mmap_writable counts the areas that are shared and may be written; when it is negative, none may come.
 * Locking: mapping->i_mmap_lock, rank LOCK_IMMAP: inside LOCK_MMAP and LOCK_PAGE, outside LOCK_ANON_VMA and LOCK_PTL.
 */
#ifndef LODGE_MM_I_MMAP_H
#define LODGE_MM_I_MMAP_H

#include "filemap.h"
#include "vma.h"

/* Makes an area that no walk could find known to walks, and unknown: to those from its file and from anonymous pages. */
void vma_interval_insert(struct vma *vma);
void vma_interval_remove(struct vma *vma);

/* Keeps walks out of an area while its bounds change or its entries move. */
void vma_interval_lock(struct vma *vma);
void vma_interval_unlock(struct vma *vma);

/* The same as insert and remove under that lock. */
void vma_interval_insert_locked(struct vma *vma);
void vma_interval_remove_locked(struct vma *vma);

/* Where the area shows the pages [first, last] of its object, of which it shows some. */
void vma_index_range(const struct vma *vma, uint64_t first, uint64_t last, gva_t *start, gva_t *end);

/* That walks find the whole area; returns what is wrong, or NULL. */
const char *vma_interval_check(struct vma *vma);

enum unmap_what {
	UNMAP_CACHE_PAGES, /* private copies stay: what the cache has changes places, not contents */
	UNMAP_EVEN_COWS,   /* private copies go too: the file ends before them */
	UNMAP_UNLOCKED,	   /* pages of the cache, but not from areas that are locked: for room */
};

/*
 * Takes the pages [first, last] of a mapping out of every space. When it returns no processor can reach them by an entry
 * that was there before; a fault may map them again at once, so the caller has to keep new ones from being found.
 */
void unmap_mapping_range(struct address_space *mapping, uint64_t first, uint64_t last, enum unmap_what what);

static inline bool vma_is_shared_maywrite(uint64_t flags)
{
	return (flags & (VM_SHARED | VM_MAYWRITE)) == (VM_SHARED | VM_MAYWRITE);
}

/* Whoever is about to link a shared area that may be written asks first: 0, or -EPERM when that was denied. */
int mapping_map_writable(struct address_space *mapping);
void mapping_unmap_writable(struct address_space *mapping);

/* 0, and from now on mapping_map_writable fails; -EBUSY: there are such areas. */
int mapping_deny_writable(struct address_space *mapping);
void mapping_allow_writable(struct address_space *mapping);

static inline bool mapping_writably_mapped(struct address_space *mapping)
{
	return atomic_load_explicit(&mapping->i_mmap_writable, memory_order_acquire) > 0;
}

#endif
