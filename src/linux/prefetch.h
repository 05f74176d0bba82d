/* SPDX-License-Identifier: MIT */
/*
 * prefetch.h - pages of a snapshot that are brought before anybody touches them: those that a run before this one touched, in their order, or all.
 *
 * A thread goes through them while the program runs. Faults go first: a page that is missing is read by who needs it, at once. It ends
 * with the list, when memory is not plentiful any more, or when it is told to.
 * Locking: the space's own fields; the thread has references of the address spaces, and brings pages only where somebody runs in them.
 */
#ifndef LODGE_LINUX_PREFETCH_H
#define LODGE_LINUX_PREFETCH_H

#include "../../include/lodge.h"

struct image_order;
struct lodge_space;
struct snapshot;

/* What has been asked of a space that was loaded. */
struct prefetch;

/*
 * The space has been filled from n->image, the file of that path. With LODGE_PAGES_EAGER all is there afterwards, as far as there is
 * room. 0 or -ENOMEM.
 */
int prefetch_begin(struct snapshot *n, const char *path, enum lodge_pages how, struct prefetch **result);

/* The thread ends, what was recorded stays. NULL is allowed, in both. */
void prefetch_stop(struct prefetch *p);
void prefetch_destroy(struct prefetch *p);

/* 0; -EINVAL: nothing was recorded; what writing gave. */
int prefetch_write_order(const struct prefetch *p);

#endif
