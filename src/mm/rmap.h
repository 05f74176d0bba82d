/* SPDX-License-Identifier: MIT */
/*
 * rmap.h - which entries map a page, and what is done to all of them.
 *
 *	page -- page.mapping, bit 0 set ----> anon_vma -- tree, by page.index --> areas -- address --> entries
 *	     \_ page.mapping ---------------> address_space -- i_mmap, ditto ---> areas -- address --> entries
 *
 * Lock order of a walk, outermost first. Whoever holds one of these takes only those below it:
 *
 *	mmap_lock			not needed by a walk
 *	  PG_LOCKED			of the page: held by the caller where it says so
 *	    mapping->i_mmap_lock	cache pages
 *	    anon_vma->root->lock	anonymous pages; inside i_mmap_lock where both are taken (vma_interval_lock)
 *	      page_table_lock		of one space at a time
 *	        address_space.lock, allocators
 *
 * A table that several spaces share is visited once for each of them, since each has to revoke for itself: the second finds done what
 * was done to the first. That needs no lock of the table, because a slot is changed by atomic operations and whoever copies a table
 * looks again after it took a reference (pgtable_share.c).
 * Not here: the order in which pages go (reclaim), what moves where (migrate.h).
 */
#ifndef LODGE_MM_RMAP_H
#define LODGE_MM_RMAP_H

#include "anon_vma.h"
#include "gather.h"
#include "i_mmap.h"

/* A page that nobody else knows becomes anonymous memory of the area, about to be mapped once. The area has an anon_vma. */
static inline void page_add_new_anon_rmap(struct page *page, const struct vma *vma, gva_t address)
{
	page_set_anon(page, vma_anon_vma(vma), vma_linear_index(vma, address));
	atomic_store_explicit(&page->mapcount, 1, memory_order_relaxed);
}

/*
 * A page that this area alone maps need not be looked for in the areas of its ancestors and their other children any more.
 * page_table_lock is held.
 */
static inline void page_move_anon_rmap(struct page *page, const struct vma *vma)
{
	page_set_anon_vma(page, vma_anon_vma(vma));
}

/* An entry that maps the page, or, with ENTRY_MIGRATION, that waits for it. */
struct rmap_hit {
	struct vma *vma;
	gva_t address;
	pte_t *slot;	    /* page_table_lock of vma->mm is held */
	pte_t pte;	    /* what it held when the walk came by */
	unsigned int level; /* 1: a huge entry, which maps the page among others; address is the page's */
};

struct rmap_walk {
	/* False ends the walk. What it changed is in `g`: processors are told before the space's lock is released. */
	bool (*fn)(void *ctx, const struct rmap_hit *hit, struct gather *g);
	void *ctx;
	/*
	 * Where to look when the page's own mapping does not tell any more, or may not be asked: a reference of the caller's. NULL: the
	 * page is asked.
	 */
	struct anon_vma *anon_vma;
	bool try_locks; /* a lock that is not free ends the walk, instead of being waited for */
};

/*
 * Visits every entry that maps `page`, which the caller holds, a parent's before its child's while that is being forked. False: fn ended
 * it, or a lock was not free.
 */
bool rmap_walk(struct mm_host *h, struct page *page, const struct rmap_walk *w);

/* Entries that map the page, as a walk finds them. */
unsigned int rmap_count(struct mm_host *h, struct page *page);

/* Entries that were used since this was last asked; they count as unused from now on. */
unsigned int page_referenced(struct mm_host *h, struct page *page);

/*
 * Takes PTE_WRITE and PTE_DIRTY from every entry of shared areas that maps the cache page: from now on a write faults first. Returns how
 * many had either.
 */
unsigned int page_mkclean(struct mm_host *h, struct page *page);

/* The same for all pages [first, last] of a mapping, with one revocation per area. */
uint64_t mapping_mkclean(struct address_space *mapping, uint64_t first, uint64_t last);

/*
 * Takes a cache page, locked, out of every space where it may go: not from locked areas, nor from tables that are shared. True when no
 * entry maps it any more.
 */
bool try_to_unmap(struct mm_host *h, struct page *page);

#endif
