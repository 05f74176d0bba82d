/* SPDX-License-Identifier: MIT */
/*
 * swap_map.h - the slots of one swap device: which are in use, by how many, and where the next one is.
 *
 *	slot  0        512       1024      1536
 *	      |H.......|#########|###..#...|.........|      H header  # in use  . free
 *	       account A  full     account B  free
 *
 * Slots are given out in clusters of 512. A cluster belongs to one account until it is used up, so that pages that an account gives up
 * one after the other lie one after the other; when no cluster is free, those with holes are filled.
 *
 *   W1  a slot is free when count, page and flags are all 0; else it is in use, or SLOT_BAD
 *   W2  a cluster is: current for accounts that hash to it, on `free` with nothing in use, on `stale` likewise but the device has not
 *	 been told yet, on `partial` with holes, or full
 *   W3  nr_used, nr_bad and nr_cached are the sums of the clusters
 *
 * The table of slots is reserved address space that becomes real where it is used, like the frame table: giving out a slot never
 * allocates. Locking: lock; a pool's (zpool.h) is taken under it.
 * Not here: pages and entries (swap.c, swap_cache.h), who transfers (swap_io.h).
 */
#ifndef LODGE_MM_SWAP_MAP_H
#define LODGE_MM_SWAP_MAP_H

#include <pthread.h>
#include <stdatomic.h>

#include "list.h"
#include "types.h"

struct memcg;
struct page;

#define SWAP_CLUSTER_SLOTS 512u
#define SWAP_CURRENT	   16u /* clusters that accounts, by hash, fill at a time */
#define SWAP_MAX_SLOTS	   (1ull << 32)

/* Bits of swap_slot.flags. */
#define SLOT_SAME	   0x1u	 /* every word of the page is `value`; the device holds nothing */
#define SLOT_FAILED	   0x2u	 /* a write to it failed: once it is free it is bad */
#define SLOT_BAD	   0x4u	 /* not to be used */
#define SLOT_COMPRESSED	   0x8u	 /* a pool in memory has what it holds: zswap.h */
#define SLOT_MOVING	   0x10u /* and that is being written: it is freed afterwards */

struct swap_slot {
	struct page *_Atomic page; /* cached for it, or NULL; without the lock it is a hint */
	struct memcg *memcg;	   /* who has it; one reference */
	uint64_t value;		   /* SLOT_SAME; of SLOT_COMPRESSED its zhandle_t */
	uint32_t count;		   /* entries that say it */
	uint32_t generation;	   /* counts its uses */
	uint32_t flags;
};

static inline void swap_slot_set_page(struct swap_slot *slot, struct page *page)
{
	atomic_store_explicit(&slot->page, page, memory_order_relaxed);
}

struct swap_cluster {
	struct list_head node;
	uint32_t nr_used; /* in use, bad, or not there at all */
	uint32_t next;	  /* while it is current: where to look */
	bool current;
};

struct swap_map {
	pthread_mutex_t lock;
	uint64_t nr_slots;		       /* (C) */
	struct swap_slot *slot;		       /* (lock) */
	struct swap_cluster *cluster;	       /* (lock) */
	uint64_t nr_clusters;		       /* (C) */
	struct list_head free, stale, partial; /* (lock) */
	struct swap_cluster *current[SWAP_CURRENT];
	uint64_t nr_used, nr_bad; /* (lock) */
	uint64_t nr_cached;	  /* (lock) slots with a page */
	bool tells_stale;	  /* (C) clusters become free by way of `stale` */
	bool closed;		  /* (lock) no slot is given out any more */
};

/* Slots 1..nr_slots-1 are free. 0, -EINVAL: none or too many; -ENOMEM. */
int swap_map_init(struct swap_map *m, uint64_t nr_slots, bool tells_stale);
void swap_map_destroy(struct swap_map *m);

/* A free slot, in use for `page` of account cg from now on; 0: there is none. */
uint64_t swap_map_alloc(struct swap_map *m, struct memcg *cg, struct page *page);

/* The account's next slot begins a cluster, if one is free. */
void swap_map_begin_cluster(struct swap_map *m, const struct memcg *cg);

/*
 * A slot that the caller chooses, in use for one entry of account cg from now on; `word`, which may be NULL: what all of it holds. False: it
 * is not free, or not there. lock is held.
 */
bool swap_map_claim(struct swap_map *m, uint64_t slot, struct memcg *cg, const uint64_t *word);

/* Frees the slot, and what a pool has for it, if nothing uses it any more. lock is held. */
void swap_map_release(struct swap_map *m, uint64_t slot);

/* Takes a cluster that the device is to be told of; its first slot, or 0. It is free after swap_map_told. */
uint64_t swap_map_stale(struct swap_map *m);
void swap_map_told(struct swap_map *m, uint64_t first);

/* Number of violations of W1-W3, each told to `complain` (may be NULL). */
unsigned int swap_map_check(struct swap_map *m, void (*complain)(const char *what, uint64_t where));

#endif
