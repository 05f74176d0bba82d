/* SPDX-License-Identifier: MIT */
/*
 * truncate.h - files whose end or contents change by other ways than a mapping.
 *
 * The order is that of Linux: the file changes first, then every entry of what went is taken out, then the pages, and then the
 * entries that a fault made in between; a fault maps a page only while it is in the cache, under page_table_lock.
 */
#ifndef LODGE_MM_TRUNCATE_H
#define LODGE_MM_TRUNCATE_H

#include "filemap.h"

/*
 * The file ends at `bytes` now, before where it did: pages behind that go, private copies of them too, and the rest of the last
 * page becomes zero. io_lock is held for writing.
 */
void truncate_pagecache(struct address_space *as, uint64_t bytes);

/* Takes the pages [first, last] out of the cache and of every space, private copies apart. io_lock is held for writing. */
void truncate_range(struct address_space *as, uint64_t first, uint64_t last);

#endif
