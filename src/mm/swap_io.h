/* SPDX-License-Identifier: MIT */
/*
 * swap_io.h - transfers between pages and slots: runs of consecutive slots, many under way at a time.
 *
 * The transfers of a host are a fixed number, had once when its first device comes: giving pages up must not need memory. Who finds none
 * left waits for one. Pages of a transfer are locked, and have a reference of it, until it is done.
 * Not here: what a transfer is to a device (swap.h).
 */
#ifndef LODGE_MM_SWAP_IO_H
#define LODGE_MM_SWAP_IO_H

#include <pthread.h>

#include "list.h"
#include "types.h"

#define SWAP_IO_PAGES 64u /* of one transfer */
#define SWAP_NR_IO    32u /* each way */

struct mm_host;
struct page;
struct swap_transfer;

enum swap_way { SWAP_READ, SWAP_WRITE, NR_SWAP_WAYS };

struct swap_transfers {
	pthread_mutex_t lock; /* nothing is taken under it */
	pthread_cond_t done;  /* (lock) a transfer came back */
	struct list_head idle[NR_SWAP_WAYS];
	unsigned int nr_idle[NR_SWAP_WAYS];
	unsigned int nr_others;	   /* (lock) who writes by transfers of his own */
	uint64_t nr_ends;	   /* (lock) whatever wrote, and came back */
	struct swap_transfer *all; /* (lock) NULL: there was no device yet */
};

void swap_transfers_init(struct swap_transfers *t);
/* Nothing is under way any more. */
void swap_transfers_destroy(struct swap_transfers *t);
/* Before the first device: 0 or -ENOMEM. */
int swap_transfers_prepare(struct swap_transfers *t);

/* Pages on their way to their slots, or from them, collected by one thread. */
struct swap_plug {
	struct mm_host *host;
	enum swap_way way;
	bool ahead; /* nobody waits for them */
	unsigned int nr;
	struct swap_transfer *transfer[8];
};

void swap_plug_begin(struct swap_plug *p, struct mm_host *h, enum swap_way way);

/* A cached page, locked; its lock and a reference of the caller's go over to the transfer. Pages in the order of their slots share one. */
void swap_plug_add(struct swap_plug *p, struct page *page);

/* Queues what was collected. */
void swap_plug_end(struct swap_plug *p);

/* Somebody writes to devices by transfers of his own, or is done with them: for swap_wait. */
void swap_io_note_begin(struct mm_host *h);
void swap_io_note_end(struct mm_host *h);

/* Waits until something that writes comes back; false: none is under way. */
bool swap_wait(struct mm_host *h);

#endif
