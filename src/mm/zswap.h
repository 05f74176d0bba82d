/* SPDX-License-Identifier: MIT */
/*
 * zswap.h - a tier in memory in front of swap devices: pages that go are compressed, and written only when there are too many of them.
 *
 *	swap_out --> all words equal --> the slot remembers the word
 *	         --> becomes small   --> frames of its account (zpool.h) --- the oldest ---> device
 *	         --> others ---------------------------------------------------------------> device
 *
 *	             stored           writing back              landed
 *	slot.flags   COMPRESSED       COMPRESSED|MOVING         -
 *	slot.value   handle           handle                    -
 *	device       -                being written             the page
 *
 *   C1  a slot with SLOT_COMPRESSED has exactly one object, which says the slot, in the pool of the account that has the slot; no other
 *	 object exists
 *   C2  what a slot holds does not change while it is in use (S3 of swap.h), so a page may be read from the pool while it is written back
 *   C3  a slot with SLOT_MOVING is not freed: who writes it back looks afterwards whether anybody still uses it
 *   C4  frames of all pools are max_frames at most; each is charged to the account whose pages it holds
 *
 * The limit of an account keeps a little for who gives memory back (memcg_keep_reserve): from that come frames, where there is no more.
 * Where no frame can be had pages go to the device; nothing waits and nothing fails for that. A device in memory is nothing but slots:
 * what does not become small stays where it is.
 *
 * Locking: as zpool.h; workers and writers have leaves of their own. Nothing is held but the page's lock where pages are stored.
 * Not here: how to compress, and the checksum of what was stored (zswap_ops).
 */
#ifndef LODGE_MM_ZSWAP_H
#define LODGE_MM_ZSWAP_H

#include "swap.h"
#include "zpool.h"

struct memcg;

#define ZSWAP_MOST_BYTES 3072u /* of a page; what stays larger goes to the device */

/* A way to make pages smaller. Each call has a worker to itself, and needs no memory beside it. */
struct zswap_ops {
	const char *name;
	void *(*worker_create)(void); /* NULL: no memory */
	void (*worker_destroy)(void *worker);
	/* A page into at most `room` bytes; how many, or 0: more. `tag` is what its checksum mixes in. */
	unsigned int (*compress)(void *worker, const void *page, void *to, unsigned int room, uint64_t tag);
	/* And back: 0, or -EBADMSG: that is not what was stored. */
	int (*decompress)(void *worker, const void *from, unsigned int bytes, void *page, uint64_t tag);
};

/* From now on, until zswap_off: 0; -EBUSY: it is on; -EINVAL: less than a frame; -ENOMEM. */
int zswap_on(struct mm_host *h, const struct zswap_ops *ops, uint64_t max_frames);

/* Every swap device is off, so nothing is stored. Without zswap_on: nothing. */
void zswap_off(struct mm_host *h);

/* A locked page, cached and dirty, that no entry maps: true, and it is not dirty any more, for the pool has it. */
bool zswap_store(struct mm_host *h, struct page *page);

enum zswap_found { ZSWAP_NONE, ZSWAP_FILLED, ZSWAP_DAMAGED };

/* Fills a locked page, cached for the slot, with what the pool has for it. */
enum zswap_found zswap_load(struct mm_host *h, swp_entry_t entry, struct page *page);

/* The slot, in use and with SLOT_COMPRESSED, has its object no more. map.lock is held. */
void zswap_forget(struct swap_slot *slot);

/* Begins to write back the account's oldest objects; about how many frames will be free, 0: none can go. */
uint64_t zswap_write_back(struct mm_host *h, struct memcg *cg, uint64_t nr_frames);

/* A device of nothing but slots, for hosts without any other: swap_on takes it as it is. Only before it, or after swap_off: free. */
struct swap_device *zswap_device_create(uint64_t nr_slots);

/* For lodge's reports. */
struct zswap_view {
	const char *name; /* NULL: it is off */
	uint64_t frames, max_frames;
	uint64_t pages; /* that are in them */
};

void zswap_view(struct mm_host *h, struct zswap_view *v);

/* C1 for one slot. */
bool zswap_check_slot(const struct swap_slot *slot, swp_entry_t entry);

#endif
