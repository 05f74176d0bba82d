/* SPDX-License-Identifier: MIT */
/*
 * hugetlb_pool.h - blocks of 512 frames that an account keeps for MAP_HUGETLB, and for nothing else.
 *
 *   L1  every block of the pool has PG_HUGETLB on its frames, and is charged to the account whether it is in use or free
 *   L2  nr_free >= nr_reserved: whoever has a reservation gets a block
 *   L3  of nr_blocks, nr_surplus are there beyond what was asked for: the next blocks to be free go back to their zone
 * A block that nobody maps any more but somebody has pinned is on `pinned`, and free when the pins are gone.
 *
 * Locking: pool->lock, inside page_table_lock, outside the allocators'.
 * Not here: whose reservation it is, and who maps what (hugetlb.h).
 */
#ifndef LODGE_MM_HUGETLB_POOL_H
#define LODGE_MM_HUGETLB_POOL_H

#include <pthread.h>

#include "list.h"
#include "types.h"

struct frames;
struct memcg;
struct page;

/* Numbers of blocks; all under the lock. */
struct hugetlb_pool {
	pthread_mutex_t lock;
	struct list_head free, pinned; /* struct page, the first of a block, by node */
	uint64_t nr_blocks, nr_free, nr_reserved, nr_surplus, nr_overcommit;
	uint64_t nr_spaces; /* that may use the pool: with the last of them it goes */
};

void hugetlb_pool_init(struct hugetlb_pool *p);

/* A space came to the account, or left it. */
void hugetlb_pool_join(struct memcg *cg);
void hugetlb_pool_leave(struct frames *f, struct memcg *cg);

/* nr_hugepages: as near to `nr` as memory, and what is in use, allow. */
void hugetlb_pool_resize(struct frames *f, struct memcg *cg, uint64_t nr);
void hugetlb_pool_set_overcommit(struct memcg *cg, uint64_t nr);

/* 0, or -ENOMEM: there are not that many, nor may there be. */
int hugetlb_pool_reserve(struct frames *f, struct memcg *cg, uint64_t nr);
void hugetlb_pool_unreserve(struct frames *f, struct memcg *cg, uint64_t nr);

/* A block, not cleared, for a reservation that ends with it, or without one. NULL: there is none to be had. */
struct page *hugetlb_pool_take(struct frames *f, struct memcg *cg, bool reserved);

/* A block that nobody maps any more. */
void hugetlb_pool_put(struct frames *f, struct page *head);

/* The numbers, after a look at what was pinned. */
struct hugetlb_pool_counts {
	uint64_t total, free, reserved, surplus, overcommit;
} hugetlb_pool_counts(struct frames *f, struct memcg *cg);

/* Violations of L1-L3. */
unsigned int hugetlb_pool_check(struct memcg *cg);

#endif
