/* SPDX-License-Identifier: MIT */
/*
 * block.h - 512 aligned frames that one huge entry maps, and who counts them: of anonymous memory, or of one file's page cache.
 *
 *   K1  every frame of a block has PG_BLOCK; block_mapcount of the first one, its head, is the number of huge entries, in all tables,
 *       that map the block: at least 1; the object of shared hugetlb memory counts as one more
 *   K2  however many they are, the block holds one reference on each of its frames
 *   K3  a frame may be mapped by entries of level 0 as well, after another space split its huge entry: those count in the frame's
 *       own mapcount and refs, as always
 *   K4  frames of a page cache keep the cache's reference besides; they are a block as long as huge entries map them, and were none
 *       before and will be none afterwards. No huge entry lets anybody write to them
 * When the last huge entry goes the block is no more: its references are put, or become those of 512 entries.
 *
 * Locking: the counts are atomic. Whoever maps a block holds its own page_table_lock; a count of 1 that it reads for an anonymous block
 * that it maps itself stays 1, for nobody else could raise it. For blocks of a page cache somebody could: frames->block_lock, a leaf,
 * is held while such a block begins, ends or is split.
 * Not here: when memory is mapped by blocks (the fault ladder's choice), entries (huge.h).
 */
#ifndef LODGE_MM_BLOCK_H
#define LODGE_MM_BLOCK_H

#include "page_alloc.h"

#define BLOCK_ORDER (PMD_SHIFT - PAGE_SHIFT)
#define BLOCK_PAGES (1u << BLOCK_ORDER)

static inline bool page_in_block(const struct page *page)
{
	return atomic_load_explicit(&page->flags, memory_order_acquire) & PG_BLOCK;
}

static inline struct page *block_head(const struct frames *f, struct page *page)
{
	return pfn_to_page(f, page_to_pfn(f, page) & ~(pfn_t)(BLOCK_PAGES - 1));
}

/* Entries of any level that map a frame; at least as many as there are while others change theirs. */
uint32_t page_total_mapcount(const struct frames *f, struct page *page);

/*
 * One entry alone maps the anonymous page, and no swap slot is its own: whoever holds that entry's page_table_lock may write it. In this
 * order, for a page that another entry leaves for its slot has the flag by then (S4 of swap.h).
 */
static inline bool page_is_exclusive(const struct frames *f, struct page *page)
{
	return page_total_mapcount(f, page) == 1 &&
	       !(atomic_load_explicit(&page->flags, memory_order_acquire) & PG_SWAPCACHE);
}

/* Makes a block of 512 aligned frames that hold one reference each and nobody maps; the caller's huge entry is the first. */
void block_make(struct page *head);

/*
 * One more huge entry maps 512 aligned frames of a page cache; the first one makes them a block. None of them leaves the cache
 * meanwhile.
 */
void block_map_cached(struct frames *f, struct page *head);

/* One more huge entry maps the block. */
void block_get(struct page *head);

/* A huge entry is gone, and no processor uses it any more. */
void block_put(struct frames *f, struct page *head);

/* A huge entry becomes 512 entries of level 0, which from here on count as such. */
void block_split(struct frames *f, struct page *head);

#endif
