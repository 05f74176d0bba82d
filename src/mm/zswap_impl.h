/* SPDX-License-Identifier: MIT */
/* zswap_impl.h - what the files of zswap share. See zswap.h. */
#ifndef LODGE_MM_ZSWAP_IMPL_H
#define LODGE_MM_ZSWAP_IMPL_H

#include "zswap.h"

#define ZSWAP_WORKERS 8u
#define ZSWAP_WRITERS 4u

/* Who compresses or decompresses one page. */
struct zswap_worker {
	pthread_mutex_t lock; /* of all the rest; zpool.lock and map.lock are taken under it */
	void *state;	      /* the ops' */
	char buffer[PAGE_SIZE];
};

struct zswap {
	const struct zswap_ops *ops; /* (C) */
	uint64_t max_frames;	     /* (C) */
	struct zpool_home home;	     /* of all accounts */
	_Atomic uint64_t nr_leaving; /* (A) frames whose objects are being written back */
	_Atomic unsigned int turn;   /* (A) which worker is next */
	struct zswap_worker worker[ZSWAP_WORKERS];
	struct zswap_writers *writers; /* (C) */
};

/* Waits only where all work. */
struct zswap_worker *zswap_get_worker(struct zswap *z);
void zswap_put_worker(struct zswap_worker *w);

/* What the pool has for a slot whose device is held, into a page. */
enum zswap_found zswap_unpack(struct zswap *z, struct swap_device *d, uint64_t at, void *to);

/* zswap_writer.c: 0 or -ENOMEM; waits for what is under way. */
int zswap_writers_create(struct zswap *z);
void zswap_writers_destroy(struct zswap *z);

#endif
