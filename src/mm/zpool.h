/* SPDX-License-Identifier: MIT */
/*
 * zpool.h - frames of an account that hold pages of it in compressed form, several to a frame.
 *
 *	frame   +--------+-----+-----+-----+----------------------+--------+-----+----------+
 *	        | header | o 0 | (1) | o 2 |         room         |  of 2  |of 0 |          |
 *	        +--------+-----+-----+-----+----------------------+--------+-----+----------+
 *	                  directory -->                  <-- contents, without gaps
 *
 * An object is found by its frame and its place in the directory, which does not change; its contents move within the frame when another
 * goes, so that what is free is in one piece. A new object goes where it leaves the least room, by classes of 128 bytes; a frame more is
 * begun only for one that leaves room for another like it, for else nothing would be won.
 *
 *   Z1  header.top is the lowest byte of contents; they add up to what lies between it and the end of the frame
 *   Z2  a frame in the pool has an object at least, PG_PRIVATE, and one reference; the account that it is charged to is the pool's
 *   Z3  it is on the list of its class of room, and on the list of all, in the order in which they were begun
 *
 * Any sizes share a frame, which fixed classes do not allow: docs/swap.md has what that is worth. Objects do not go beyond a frame: each
 * frame can be had, and given back, alone.
 * Locking: lock; nothing is taken under it. It, and then those of free frames, are taken under map.lock (swap_map.h).
 * Not here: who compresses, whose object it is (zswap.h).
 */
#ifndef LODGE_MM_ZPOOL_H
#define LODGE_MM_ZPOOL_H

#include <pthread.h>
#include <stdatomic.h>

#include "list.h"
#include "types.h"

struct frames;
struct memcg;
struct page;

#define ZPOOL_CLASS_BYTES  128u
#define ZPOOL_NR_CLASSES   ((unsigned int)PAGE_SIZE / ZPOOL_CLASS_BYTES)

#define ZPOOL_MOST_OBJECTS 64u /* of a frame */

/* Frame and place of an object. */
typedef struct {
	uint64_t val;
} zhandle_t;

/* What the pools of all accounts have in common. */
struct zpool_home {
	struct frames *frames;	     /* (C) */
	_Atomic uint64_t nr_frames;  /* (A) that somebody has or is about to get, on whatever account */
	_Atomic uint64_t nr_objects; /* (A) */
};

struct zpool_object {
	zhandle_t handle;
	uint64_t owner; /* what its owner knows it by */
};

struct zpool {
	pthread_mutex_t lock;
	struct zpool_home *home;		    /* (lock) set once; NULL: it never had a frame */
	struct list_head by_room[ZPOOL_NR_CLASSES]; /* (lock) headers */
	struct list_head oldest;		    /* (lock) struct page, by node */
	_Atomic uint64_t nr_frames, nr_objects;	    /* (A) changed under lock */
};

void zpool_init(struct zpool *p);

/* Whether a frame may be begun for an object of this size. */
bool zpool_is_worth_a_frame(unsigned int bytes);

/*
 * Keeps a copy of the bytes. False: no frame has room for it. `fresh`, which may be NULL: a frame charged to the account, counted in
 * home, and nobody else's, that the pool takes over and uses at once.
 */
bool zpool_add(struct zpool *p, struct zpool_home *home, struct page *fresh, const void *from,
	       unsigned int bytes, struct zpool_object *object);

/* Copies an object out, at most a page; its bytes. */
unsigned int zpool_read(struct zpool *p, zhandle_t handle, void *to);

/* Forgets an object; a frame that has no other is freed. */
void zpool_remove(struct zpool *p, zhandle_t handle);

/*
 * The objects of the oldest frames, ZPOOL_MOST_OBJECTS of them at most, into object[]; those frames count as the youngest now. *nr_frames: how many they are.
 */
unsigned int zpool_take_oldest(struct zpool *p, struct zpool_object *object, unsigned int *nr_frames);

/* Whether there is such an object, and the owner's. For checks. */
bool zpool_has(struct zpool *p, zhandle_t handle, uint64_t owner);

/* Number of violations of Z1-Z3, each told to `complain` (may be NULL). */
unsigned int zpool_check(struct zpool *p, const struct memcg *cg,
			 void (*complain)(const char *what, uint64_t where));

#endif
