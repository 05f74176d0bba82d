/* SPDX-License-Identifier: MIT */
/* zap.h - taking pages and tables out of an address space. Callers hold mmap_lock for writing unless told otherwise. */
#ifndef LODGE_MM_ZAP_H
#define LODGE_MM_ZAP_H

#include "gather.h"

/*
 * Clears every entry in [start, end) but guards and poison, and drops the pages; takes page_table_lock. mmap_lock for reading is
 * enough. A huge entry or a shared table astride the ends is cut, at the expense of the reserve and even of a full account. 0, or
 * -ENOMEM with nothing changed when that is not enough.
 */
int zap_range(struct gather *g, gva_t start, gva_t end);

/* Empties one entry of level 0, which is the space's own (pgtable_own). page_table_lock is held. */
void zap_slot(struct gather *g, pte_t *slot, gva_t address);

/* The same as zap_range for pages of a mapping alone: private copies stay. It cannot fail: tables it needs it takes from the reserve. */
void zap_cache_range(struct gather *g, gva_t start, gva_t end);

/* What is unmapped for good, and where the areas around it end and begin; ceiling 0: there is none above. */
struct zap_areas {
	gva_t start, end;
	gva_t floor, ceiling;
};

/* Sees to it that zap_areas cannot fail: 0 or -ENOMEM. */
int zap_prepare(struct mm *mm, const struct zap_areas *z);
void zap_areas(struct gather *g, const struct zap_areas *z);

/* Drops every area, page and table, the root included, of a space that nobody runs in. */
void zap_all(struct mm *mm);

/* Releases what an area holds that neither a lookup nor a walk can find any more, and frees it. */
void vma_free(struct mm *mm, struct vma *vma);

/* Takes a huge entry away if it maps pages of a file. page_table_lock is held. */
void zap_cache_huge(struct gather *g, pte_t *slot, gva_t address, unsigned int level);

/* The counter that a mapped page belongs to. */
enum mm_counter page_counter(const struct page *page);

/* The same for the page of an entry, present or moving: while it moves its frame may not be asked. */
enum mm_counter entry_counter(const struct mm *mm, pte_t pte);

/* Whether the space has a counter for it at all: a page that is there, moves, or is in a swap slot. */
bool entry_is_counted(pte_t pte);

#endif
