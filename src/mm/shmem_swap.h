/* SPDX-License-Identifier: MIT */
/*
 * shmem_swap.h - pages of shared memory that are in slots of swap devices.
 *
 *	index of the object     page                                slot
 *	page                    locked, PG_CACHE                    -
 *	page                    locked, nobody maps it              given, counts nothing
 *	number of the slot      locked, PG_SWAPCACHE, being written counts 1
 *	number of the slot      free                                counts 1
 *	number of the slot      PG_SWAPCACHE, was read              counts 1
 *	page                    PG_CACHE                            free
 *
 * The index is the only entry that says the slot, however many areas show the object: their entries are empty, and a fault asks the
 * index. So a page is its object's or cached for a slot, never both, and comes back without its slot.
 *
 * The number is found and exchanged under mapping->lock, with the page locked; a page that moves one way or the other has no other
 * user. Locking: mapping->lock, then the device's map.lock.
 * Not here: which pages go (evict.h, shmem_shrink.h), how they leave the spaces that map them (swap_out.c).
 */
#ifndef LODGE_MM_SHMEM_SWAP_H
#define LODGE_MM_SHMEM_SWAP_H

#include "filemap.h"
#include "swap.h"

/* In the place of a slot whose contents nobody can read any more. */
#define SHMEM_POISON (1ull << 62)

/*
 * The page at `index`, with a reference, brought back if it is in a slot; NULL: there is a hole. Frames are charged to cg; where that is
 * NULL nothing is brought. 0; -ENOMEM (no frame or limit); -EIO: it cannot be read. Reads ahead where there is room. *major says whether anything was waited for. No lock but
 * mmap_lock is held.
 */
int shmem_find(struct address_space *as, uint64_t index, struct memcg *cg, struct page **page, bool *major);

/* Who pays for the slot that the page at `index` is in, with a reference; NULL: it is in none, or cannot be read any more. */
struct memcg *shmem_get_memcg(struct address_space *as, uint64_t index);

/* True: the page at `index` is in a slot. Else *page is it, with a reference, or NULL for a hole. */
bool shmem_look(struct address_space *as, uint64_t index, struct page **page);

/* Whether the page at `index` is in a slot; and whether it is in memory as well. */
bool shmem_is_away(struct address_space *as, uint64_t index);
bool shmem_is_cached(struct address_space *as, uint64_t index);

/*
 * The page, locked, that nobody maps any more and that was given a slot (swap_cache_reserve), leaves its object for it. False: somebody
 * else has it, and the slot is given up again.
 */
bool shmem_exchange(struct mm_host *h, struct page *page);

/* The object needs what a number stands for no more. mapping->lock is held. */
void shmem_forget(struct address_space *as, uint64_t number);

/* Brings back what is in slots of [first, last], while the account has room for more than least_room pages. A hint. */
void shmem_bring(struct address_space *as, uint64_t first, uint64_t last, struct memcg *cg,
		 uint64_t least_room);

/*
 * Brings back everything that objects have on the device; what cannot be read is lost. 0, or -ENOMEM. More may have gone there meanwhile,
 * and it may miss objects that others look at just now.
 */
int shmem_unuse(struct swap_device *d);

/* Objects of a host, each once per pass (a number of h->shrink_pass): the next with a reference, or NULL. */
struct address_space *shmem_next_object(struct mm_host *h, uint64_t pass);

#endif
