/* SPDX-License-Identifier: MIT */
/* zap.h - taking pages and tables out of an address space. Callers hold mmap_lock for writing unless told otherwise. */
#ifndef LODGE_MM_ZAP_H
#define LODGE_MM_ZAP_H

#include "gather.h"

/* Clears every entry in [start, end) and drops the pages; takes page_table_lock. mmap_lock for reading is enough. */
void zap_range(struct gather *g, gva_t start, gva_t end);

/* The same for pages of a mapping alone: private copies stay. */
void zap_cache_range(struct gather *g, gva_t start, gva_t end);

/* Unlinks the tables that only served [start, end), which lies between the areas prev and next (either may be NULL). */
void zap_tables(struct gather *g, gva_t start, gva_t end, const struct vma *prev, const struct vma *next);

/* Drops every area, page and table, the root included, of a space that nobody runs in. */
void zap_all(struct mm *mm);

/* Releases what an area holds that neither a lookup nor a walk can find any more, and frees it. */
void vma_free(struct mm *mm, struct vma *vma);

/* The counter that a mapped page belongs to. */
enum mm_counter page_counter(const struct page *page);

/* Calls fn for every non-empty entry in [start, end); page_table_lock is held. */
void pte_walk(struct mm *mm, gva_t start, gva_t end, void (*fn)(void *ctx, pte_t *slot, gva_t address),
	      void *ctx);

#endif
