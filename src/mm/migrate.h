/* SPDX-License-Identifier: MIT */
/*
 * migrate.h - moving a page that is in use to another frame, under its users' feet.
 *
 *	1  the page is locked
 *	2  every entry that maps it becomes ENTRY_MIGRATION, and is revoked: nobody reads or writes it any more. Faults on it wait for the lock
 *	3  if nobody else holds a reference, its references are frozen at 0, and its content and its place in the cache go to the new one
 *	4  the entries become entries of the new page, or of the old one if it did not work
 *	5  it is unlocked
 *
 * A child that is forked, an area that is split, a table that is copied meanwhile gets copies of the entries of step 2; step 4 finds
 * them, because the areas that could have them are linked before they have them, and behind those from which they get them.
 *
 * Who may have what, once step 2 is over:
 *	an entry of the page	nobody: who copied one while the walk went on had it counted, and step 3 fails
 *	ENTRY_MIGRATION		the tables of linked areas. It holds nothing, may be copied, moved and dropped, and ends before step 5
 *	a translation		no processor: each space was told before its page_table_lock was released, and a space that leaves a table
 *				behind in which others have the entry was told before it left (pgtable.h: T4)
 *	a reference		the caller, the cache, and who has to make step 3 fail
 * Locking: see rmap.h. The caller has none of those locks, nor any that is taken inside them: every space is waited for.
 * Not here: which pages move and where to (compaction.h).
 */
#ifndef LODGE_MM_MIGRATE_H
#define LODGE_MM_MIGRATE_H

#include "mm.h"

/*
 * Moves `from`, which the caller holds one reference of besides those of its users, to `to`, which the caller alone holds. 0: `to` has
 * content, account and users of `from`, and the caller's reference is theirs; `from` has one reference, the caller's, and nothing
 * else. -EAGAIN: somebody was in the way; -EBUSY: somebody holds it who does not let go soon (a pin, writeback). Then all is as it was.
 */
int page_migrate(struct mm_host *h, struct page *from, struct page *to);

/* The same with a reference that it takes itself: reclaim_ops.migrate. ctx is the struct mm_host. */
int page_migrate_held(void *ctx, struct page *from, struct page *to);

#endif
