/* SPDX-License-Identifier: MIT */
/* rmap.h - which entries map a page. */
#ifndef LODGE_MM_RMAP_H
#define LODGE_MM_RMAP_H

#include "anon_vma.h"
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
	page_set_anon(page, vma_anon_vma(vma), page->index);
}

#endif
