/* SPDX-License-Identifier: MIT */
/*
 * swap.h - pages that live on a device instead of in a frame.
 *
 *	   entry of a page table            slot of a device                 page, while it is in memory as well
 *	  +----------------------+         +------------------+             +---------------------+
 *	  | ENTRY_SWAP dev, slot |--- n -->| count n          |   cache     | PG_SWAPCACHE        |
 *	  +----------------------+         | page          o--+------------>| swap_entry       o--+--> (back to the slot)
 *	                                   | generation, who  |             | mapping, index: as  |
 *	                                   +------------------+             |   anonymous memory  |
 *	                                                                    +---------------------+
 *
 *   S1  a slot is in use while entries say it (count) or a page is cached for it (page); then it has an account
 *   S2  a cached page has PG_SWAPCACHE, its slot in swap_entry, and holds one reference of its own
 *   S3  an entry that lets write never maps a cached page: who writes takes the page out of the cache first. So a cached page without
 *	 PG_DIRTY is what the slot holds, and may go without a transfer
 *   S4  PG_SWAPCACHE is set and cleared under the page's lock; it is cleared only when nobody but one space has the page, or when its
 *	 frame goes. So whoever maps a page, finds its mapcount 1 and then no PG_SWAPCACHE, has it alone
 *   S5  transfers hold the page's lock from when they are queued until they are done
 *   S6  a page of shared memory is its object's, or cached, never both; the object's index is the one entry that says its slot:
 *	 shmem_swap.h
 *
 * Locking: LOCK_PAGE for the page; the device's map.lock, rank LOCK_CACHE, for its slots. An entry in a table whose page_table_lock is
 * held keeps its slot and its device; without the lock the device is held (swap_hold).
 * Not here: which pages go (reclaim), files and disks (the owner of a device).
 */
#ifndef LODGE_MM_SWAP_H
#define LODGE_MM_SWAP_H

#include <sys/uio.h>

#include "list.h"
#include "pgtable.h"
#include "swap_io.h"
#include "swap_map.h"

#define SWAP_AROUND_PAGES 128u	/* 512 KiB */
#define SWAP_AHEAD_PAGES  1024u /* 4 MiB */
#define MAX_SWAP_DEVICES \
	32 /* what 40 bits of an entry leave beside 32 bits of slot, and no more than Linux has */

struct mm;
struct mm_host;
struct swap_device;
struct zswap;

/* A slot of a device, as an ENTRY_SWAP has it for its offset: device << 32 | slot. */
typedef struct {
	uint64_t val;
} swp_entry_t;

static inline swp_entry_t swp_entry(unsigned int device, uint64_t slot)
{
	return (swp_entry_t){(uint64_t)device << 32 | slot};
}

static inline unsigned int swp_device(swp_entry_t entry)
{
	return (unsigned int)(entry.val >> 32);
}

static inline uint64_t swp_slot(swp_entry_t entry)
{
	return (uint32_t)entry.val;
}

static inline swp_entry_t pte_to_swp_entry(pte_t pte)
{
	return (swp_entry_t){entry_offset(pte)};
}

static inline pte_t swp_entry_to_pte(swp_entry_t entry)
{
	return entry_make(ENTRY_SWAP, entry.val);
}

/* One transfer of nr consecutive slots; the submitter's until done is called. */
struct swap_io {
	struct swap_device *device;
	uint64_t slot;
	unsigned int nr;
	bool write;
	bool ahead;	   /* nobody waits for it: the submitter has other things to do */
	struct iovec *iov; /* nr pages, each PAGE_SIZE; the device may join what is adjacent */
	/* For each slot what a checksum of its contents mixes in: another use of the same slot has another. */
	uint64_t *tags;
	int result; /* 0 or -errno: -EIO, -ENOSPC, -EBADMSG for contents that are not what was written */
	unsigned int
		nr_done; /* when there was an error: slots, from the first on, that are right all the same */
	void *context;	 /* the submitter's */
	void (*done)(struct swap_io *io); /* any thread, which holds no lock of the core */
};

struct swap_device_ops {
	/* Queues all of them; errors come by done, which may be called before submit returns. */
	void (*submit)(struct swap_device *d, struct swap_io **io, unsigned int nr);
	/* Nobody needs what these slots hold; NULL: it need not be told. */
	void (*discard)(struct swap_device *d, uint64_t slot, uint64_t nr);
	/* After swapoff: the core does not know the device any more. */
	void (*release)(struct swap_device *d);
} __randomize_layout;

/* Embedded by its owner, who fills in what is marked so; the rest is 0. */
struct swap_device {
	const struct swap_device_ops *ops; /* (owner) */
	const char *path;		   /* (owner) what /proc/swaps shows */
	bool is_file;			   /* (owner) "file", else "partition" */
	int priority;			   /* (owner) the highest goes first; equal ones take turns */
	uint64_t nr_slots;	  /* (owner) of a page each; slot 0 is the device's header and never used */
	struct mm_host *host;	  /* (C) from swapon on */
	unsigned int index;	  /* (C) in host->swap.device */
	bool is_image;		  /* (C) it is not on swap.devices */
	bool in_memory;		  /* (owner) nothing can be written to it: zswap.h */
	bool one_by_one;	  /* (owner) a fault reads its page alone */
	_Atomic uint32_t holders; /* (A) who may come to its slots without an entry that says one */
	struct list_head node;	  /* (swap.lock) by priority */
	struct swap_map map;
};

/* What a host knows of swap. */
struct swap_space {
	pthread_mutex_t lock;	  /* rank LOCK_CACHE, outside map.lock */
	struct list_head devices; /* (lock) the next to be used first */
	/* (lock) changes; read where an entry keeps the device */
	struct swap_device *device[MAX_SWAP_DEVICES];
	struct swap_transfers transfers;
	struct zswap *zswap;	     /* (C) while spaces run; NULL: pages are not compressed */
	pthread_mutex_t mmlist_lock; /* nothing is taken under it */
	struct list_head mmlist; /* (mmlist_lock) struct mm, by mmlist: those that may have swapped pages */
	_Atomic uint32_t
		around_pages; /* (A) the most that a fault reads at once: a power of two, 1..SWAP_AROUND_PAGES */
	_Atomic uint64_t nr_missed; /* (A) see swap_cache.c */
};

void swap_init(struct mm_host *h);
void swap_destroy(struct mm_host *h);

/* Makes the device one that pages may go to. 0, -EINVAL: no slot but the header, or too many; -EPERM: too many devices; -ENOMEM. */
int swap_on(struct mm_host *h, struct swap_device *d);

/*
 * The same for a device whose slots hold pages already, and never others: an image. No page goes to it, and nobody is told of it as of a swap
 * device; swap_off is as ever.
 */
int swap_on_image(struct mm_host *h, struct swap_device *d);

/*
 * One entry of the account's will say this free slot of an image. `word`: every word of the page is *word; NULL: the device has it. False:
 * there is no such slot, or it is in use.
 */
bool swap_claim(struct mm_host *h, swp_entry_t entry, struct memcg *cg, const uint64_t *word);

/* Slots of the device that are in use. */
uint64_t swap_nr_used(struct swap_device *d);

/*
 * Brings back what the device holds and calls release. 0; -ENOMEM, and it stays on: not everything had room. Nobody else may be
 * doing the same with it. As on Linux, those that came after it without a priority of their own (below 0) move up by one.
 */
int swap_off(struct swap_device *d);

/* The first that `is` says yes to, of those that pages go to; NULL: none. It stays as long as nobody calls swap_off. */
struct swap_device *swap_find_device(struct mm_host *h,
				     bool (*is)(const struct swap_device *d, const void *ctx),
				     const void *ctx);

/* An image of which no slot is in use; NULL: none. */
struct swap_device *swap_find_idle_image(struct mm_host *h);

/* A slot for a page of the account, from the device whose turn it is; the page is its cached one. False: all are full. */
bool swap_alloc(struct mm_host *h, struct memcg *cg, struct page *page, swp_entry_t *entry);

/* Pages of the account that go now lie in a cluster of their own, where the device whose turn it is has one. */
void swap_begin_cluster(struct mm_host *h, const struct memcg *cg);

struct swap_device *swap_device_of(struct mm_host *h, swp_entry_t entry);

/* One more entry says the slot, or one less; whoever calls has one, under its lock. The last one frees the slot. */
void swap_dup(struct mm_host *h, swp_entry_t entry);
void swap_put(struct mm_host *h, swp_entry_t entry);

/* What a checksum of the slot's contents mixes in, as long as the slot is in use. */
uint64_t swap_slot_tag(struct swap_device *d, uint64_t slot);

/* Entries that say the slot. */
uint32_t swap_count(struct mm_host *h, swp_entry_t entry);

/* Who has the slot of an entry that the caller has under its lock, with a reference. */
struct memcg *swap_get_memcg(struct mm_host *h, swp_entry_t entry);

/* Keeps the device of an entry, whose page_table_lock (mapping->lock) is held, until swap_unhold. */
struct swap_device *swap_hold(struct mm_host *h, swp_entry_t entry);
void swap_unhold(struct swap_device *d);

/*
 * A page of the space goes to swap: from now on swapoff looks for pages there. Also: the space got the parent's entries, and lost all
 * of its own.
 */
void swap_note_space(struct mm *mm);
void swap_fork(struct mm *child, struct mm *parent);
void swap_forget_space(struct mm *mm);

/*
 * swap_out.c: takes nr pages, anonymous ones or of shared memory, out of every space that maps them, writes what their slots do not hold
 * yet, and frees them. Takes over the caller's reference on each. A page stays where it is when it is locked, pinned, in a locked area or
 * object or of the pool of hugetlb,
 * when a space with it cannot be entered just now, or when no device has room. A block loses its huge entries first.
 * Returns how many frames are free or will be when their transfers are done (swap_wait); a page that somebody touches meanwhile is not.
 * mmap_lock and locks of areas may be held, and nothing that comes after them.
 */
uint64_t swap_out(struct mm_host *h, struct page **page, unsigned int nr);

/* Whether an entry says a slot whose page is in memory all the same. page_table_lock is held. */
bool swap_cached(struct mm_host *h, pte_t pte);

/* In pages, all devices together; cached: those that are in memory as well. */
struct swap_totals {
	uint64_t total, used, bad, cached;
};

void swap_totals(struct mm_host *h, struct swap_totals *t);

/* The same of each device, in the order of their use. */
struct swap_device_view {
	const char *path;
	bool is_file;
	int priority;
	uint64_t pages, used;
};

void swap_each_device(struct mm_host *h, void (*fn)(const struct swap_device_view *v, void *ctx), void *ctx);

#endif
