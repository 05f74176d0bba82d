/* SPDX-License-Identifier: MIT */
/*
 * memcg.h - who pays: the account of the frames that a space and those forked from it own, and their limit.
 *
 * Every frame of guest memory, page cache and page tables is charged to one account when it is allocated and uncharged
 * when it is freed; page.memcg remembers whose it is, so the sum over all frames equals the account at any instant.
 */
#ifndef LODGE_MM_MEMCG_H
#define LODGE_MM_MEMCG_H

#include <stdatomic.h>

#include "hugetlb_pool.h"
#include "latency.h"
#include "list.h"
#include "stall.h"
#include "types.h"
#include "zpool.h"

/* At first. */
#define OVERCOMMIT_RATIO     50 /* per cent */
#define ADMIN_RESERVE_KBYTES 8192
#define USER_RESERVE_KBYTES  131072

struct mm;

/* Kinds of pages have hands of their own, for they cost different things to get back. */
enum reclaim_type { RECLAIM_FILE, RECLAIM_ANON, RECLAIM_LAZYFREE, NR_RECLAIM_TYPES };

/* Where eviction goes on. The space is known by its address alone: it may be gone. */
struct reclaim_hand {
	const struct mm *mm;
	uint64_t address;
	unsigned int age; /* pages of this age and older go */
};

/* Pages that went, and came back: workingset.h. */
#define WORKINGSET_TYPES 2 /* RECLAIM_FILE, RECLAIM_ANON */

struct workingset_table {
	uint64_t mask;
	_Atomic uint64_t slot[]; /* (A) */
};

struct workingset {
	struct workingset_table *_Atomic table;	 /* (A) NULL: nothing was evicted yet */
	_Atomic uint64_t clock;			 /* (A) pages evicted, ever */
	_Atomic uint64_t cost[WORKINGSET_TYPES]; /* (A) */
};

#define SWAPPINESS     60 /* at first */
#define SWAPPINESS_MAX 200

/* When the account's pages were seen in use, and who looks: ageing.h, vmscan.h. */
struct ageing {
	_Atomic uint64_t youngest; /* (A) number of the epoch under way; frames have it modulo 256 */
	pthread_mutex_t lock;	   /* held by who reclaims for the account */
	struct reclaim_hand hand[NR_RECLAIM_TYPES]; /* (lock) */
	_Atomic bool uses_do_not_count; /* (A) for a pass that finds nothing otherwise: ageing.h */
	uint64_t nr_evicted;		/* (lock) pages, since the last epoch ended */
	_Atomic uint64_t nr_lazyfree;	/* (A) pages that may go at once: as many as were marked, or fewer */
};

struct memcg {
	_Atomic uint64_t usage_pages;	 /* (A) */
	_Atomic uint64_t peak_pages;	 /* (A) highest usage so far */
	_Atomic uint64_t max_pages;	 /* (A) the embedder may change it */
	_Atomic uint64_t nr_failures;	 /* (A) charges refused */
	_Atomic bool keeps_reserve;	 /* (A) to give memory back may take a table: memcg_keep_reserve */
	_Atomic uint64_t swap_pages;	 /* (A) slots of swap devices that its pages are in */
	_Atomic int64_t committed_pages; /* (A) promised to its spaces: account.h */
	/* vm.overcommit_ of its spaces, see account.h. (A) */
	_Atomic uint32_t overcommit_memory, overcommit_ratio;
	_Atomic uint64_t overcommit_kbytes;			    /* 0: the ratio holds */
	_Atomic uint64_t admin_reserve_kbytes, user_reserve_kbytes; /* never promised in mode 2 */
	_Atomic uint32_t thp; /* (A) enum thp_mode of its spaces (mm.h) */
	struct hugetlb_pool hugetlb;
	struct zpool zpool;	 /* its compressed pages */
	_Atomic bool cloned;	 /* (A) spaces of other accounts may have frames of it: mm_clone */
	struct list_head spaces; /* (host->spaces_lock) struct mm, by memcg_node: those with users */
	struct ageing ageing;
	struct workingset workingset;
	_Atomic uint32_t
		swappiness; /* (A) 0: anonymous pages stay; 100: as files; 200: they go instead of files */
	struct stall stall;
	struct latency major_latency;	 /* of faults that waited for a device */
	_Atomic uint64_t nr_swap_writes; /* (A) of its pages under way to a device */
	_Atomic uint64_t nr_made_room;	 /* (A) faults that found no memory and reclaimed some themselves */
	_Atomic uint64_t nr_swap_faults; /* (A) that found their page in a slot or on its way, and got it */
	_Atomic uint64_t nr_swap_waits;	 /* (A) of those, that waited for a device */
	_Atomic uint64_t nr_throttled;	 /* (A) faults that memory.high made wait */
	struct kswapd *_Atomic kswapd;	 /* (A) who is woken when there is little room; NULL: nobody */
	_Atomic bool kswapd_woken;	 /* (A) and will look */
	_Atomic uint64_t kswapd_credit_pages; /* (A) that it may take although they are young */
	uint64_t kswapd_round;		      /* (its thread) the last one that came by */
	uint64_t host_round;		      /* (host->reclaim_lock) the last one that came by: vmscan.c */
	_Atomic uint64_t
		high_pages; /* (A) memory.high: with more than that its faults reclaim, and wait; ~0: none */
	/* Page cache may outlive the space that paid for it: `release` runs when owners and charges are all gone. */
	_Atomic uint64_t refs; /* (A) one per charged page, one per owner */
	void (*release)(struct memcg *cg);
};

/* With less room than that kswapd is woken; it goes on until there is twice as much. */
static inline uint64_t memcg_low_mark(const struct memcg *cg)
{
	const uint64_t most = (64ull << 20) >> PAGE_SHIFT;

	return cg->max_pages / 32 < most ? cg->max_pages / 32 : most;
}

/* An account with one owner, who calls memcg_put. release may be NULL. */
void memcg_init(struct memcg *cg, uint64_t max_pages, void (*release)(struct memcg *cg));
/* Limits and policies of another account; not what is on it. */
void memcg_copy_settings(struct memcg *to, const struct memcg *from);
void memcg_get(struct memcg *cg);
void memcg_put(struct memcg *cg);

/*
 * From now on some of the account's last frames are only for what is needed to give memory back. Once it has tables that spaces share, or
 * huge entries, a page may not be able to go before a table was made.
 */
void memcg_keep_reserve(struct memcg *cg);

/* Adds nr_pages to the account. False, and nothing changed, when the limit, or what is kept of it, would be passed. */
bool memcg_charge(struct memcg *cg, uint64_t nr_pages);
/* The same for who gives memory back, up to the limit itself; beyond one that was lowered to less than there is, for it has to go down. */
bool memcg_charge_reserve(struct memcg *cg, uint64_t nr_pages);
void memcg_uncharge(struct memcg *cg, uint64_t nr_pages);

/* Pages that memcg_charge would still add; a hint, since others may charge meanwhile. */
uint64_t memcg_room(const struct memcg *cg);

#endif
