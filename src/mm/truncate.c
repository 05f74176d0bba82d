/* SPDX-License-Identifier: MIT */
/* truncate.c - files whose end or contents change. See truncate.h. */
#include <string.h>

#include "i_mmap.h"
#include "mm.h"
#include "truncate.h"

static void take_out(struct address_space *as, uint64_t first, uint64_t last, enum unmap_what what)
{
	unmap_mapping_range(as, first, last, what);
	filemap_remove(as, first, last);
	unmap_mapping_range(as, first, last, what);
}

void truncate_range(struct address_space *as, uint64_t first, uint64_t last)
{
	take_out(as, first, last, UNMAP_CACHE_PAGES);
}

/* What a file had behind its end must not show when it grows again. */
static void zero_tail(struct address_space *as, uint64_t bytes)
{
	uint64_t in_page = bytes & ~PAGE_MASK;
	struct page *page = in_page ? filemap_find(as, bytes >> PAGE_SHIFT) : NULL;

	if (!page)
		return;
	memset((char *)page_address(as->mm_host->frames, page) + in_page, 0, PAGE_SIZE - in_page);
	page_put(as->mm_host->frames, page);
}

void truncate_pagecache(struct address_space *as, uint64_t bytes)
{
	take_out(as, BYTES_TO_PAGES(bytes), ~0ull, UNMAP_EVEN_COWS);
	zero_tail(as, bytes);
}
