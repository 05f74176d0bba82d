/* SPDX-License-Identifier: MIT */
/*
 * page_reporting.h - memory that nobody needed for a while goes back to the machine, so that it has what guests do not use.
 *
 *	free blocks of a pageblock or more
 *	  head --> | hot | hot | ... | cold | cold | reported | reported |  <-- tail
 *	             kept, 16 MiB      go            are nobody's memory: read as zeroes, become real when they are touched
 *
 * How much is not needed is the least that was free at any of the samples of a delay, so a program that frees memory and takes it again
 * keeps it. Requests take the head of a list, so what goes is what would be taken last. A reported block is PG_FRESH: whoever needs zeroes has them,
 * and the machine's clearing takes the place of ours.
 *
 * Nothing is done while memory is taken or freed but a comparison when a gather is flushed; blocks that are on their way are on no list,
 * at most REPORT_BLOCKS of them.
 * Locking: zone->lock for the lists; lock, a leaf, for the thread. bank_ops.discard is called without a lock.
 * Not here: small blocks, what is at hand for processors, zones of tables and objects.
 */
#ifndef LODGE_MM_PAGE_REPORTING_H
#define LODGE_MM_PAGE_REPORTING_H

#include "page.h"

#define REPORT_KEEP_PAGES ((16ull << 20) >> PAGE_SHIFT) /* of a zone, however long it is free */
#define REPORT_BLOCKS	  16u

struct page_reporting;

/* Begins to watch; free memory goes after delay_ms. The thread begins when there is something to do. 0 or -ENOMEM. */
int page_reporting_start(struct frames *f, uint32_t delay_ms, struct page_reporting **r);
void page_reporting_stop(struct page_reporting *r);

/* Frames were freed. Any lock may be held. */
void page_reporting_notify(struct frames *f);

/* In blocks that could go, and did not yet. */
uint64_t page_unreported_pages(struct zone *z);

/* Gives back up to nr_pages of the zone, those that would be taken next excepted: REPORT_KEEP_PAGES. Returns how many. */
uint64_t page_report_zone(struct frames *f, struct zone *z, uint64_t nr_pages);

#endif
