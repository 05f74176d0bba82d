/* SPDX-License-Identifier: MIT */
/*
 * evict.h - one turn of an account's hand: pages that are old enough leave their spaces, and memory.
 *
 * The hand goes round the account's spaces, and clones of them on other accounts, through their tables in the order of addresses. What it takes lay together in memory, so
 * it lies together where it goes. A page of a file that one entry maps loses that entry on the spot; all that a piece of the walk took
 * is revoked at once. A page that several map is asked for by the reverse map, every entry of it, and so is any while the areas of the
 * space change. Then dirty pages are written, in runs, and clean ones dropped.
 *
 * Huge entries of files only lose their entry here.
 *
 * Anonymous pages go to swap (swap_out), as one batch. Of those that may vanish (deactivate.h) what was not written since goes, with its
 * entry, at once.
 *
 * Spared: what was used since (E1 of ageing.h), pages of locked areas, pages that somebody holds, those that others pay for.
 * Locking: ageing.lock of the account is held; mmap_lock of a space is only tried for.
 * Not here: how old is old enough, and which kind goes (vmscan.c); pages of files that no space of the account maps (filemap_shrink.h).
 */
#ifndef LODGE_MM_EVICT_H
#define LODGE_MM_EVICT_H

#include "memcg.h"

#define EVICT_BATCH 512 /* most that a turn takes */

struct mm;
struct mm_host;

struct evict {
	struct mm_host *host;
	struct memcg *cg;
	enum reclaim_type type;
	unsigned int min_age;
	unsigned int wanted; /* pages, up to EVICT_BATCH */
	/* A range of a space that is not needed soon, instead of a turn of the hand: whatever its age, and used or not. */
	struct mm *mm; /* NULL: the hand's turn */
	gva_t start, end;
	/* Results. */
	uint64_t nr_scanned, nr_freed; /* freed: or on the way to swap */
	bool dry;		       /* it came round without finding as many */
};

void evict_turn(struct evict *e);

/* Takes pages of e->mm, [e->start, e->end), of which the caller has mmap_lock for reading; e->start is where to go on. */
void evict_range(struct evict *e);

#endif
