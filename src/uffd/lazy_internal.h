/* SPDX-License-Identifier: MIT */
/* lazy_internal.h - what lazy.c and lazy_handler.c share. */
#ifndef LODGE_UFFD_LAZY_INTERNAL_H
#define LODGE_UFFD_LAZY_INTERNAL_H

#include <pthread.h>

#include "lazy.h"
#include "userfault.h"

#define LAZY_BLOCK_BYTES ((uint64_t)LAZY_BLOCK_PAGES * PAGE_SIZE)

struct lazy_block {
	pthread_mutex_t lock;
	struct lazy_source *source;					    /* (C) valid while armed */
	char *at;							    /* (C) */
	uint64_t first;							    /* (C) page of the source */
	bool armed;							    /* (lock) */
	uint64_t there[LAZY_BLOCK_PAGES / 64], gone[LAZY_BLOCK_PAGES / 64]; /* (lock) a bit per page */
	unsigned int nr_missing, nr_faults;				    /* (lock) */
	struct list_head node;						    /* (lazy->lock) source->blocks */
	unsigned int refs; /* (lazy->lock) one of the table's while armed */
};

struct lazy_handler {
	struct lazy *lazy;
	pthread_t thread;
	char *buffer;		    /* of a block, aligned */
	struct lazy_block *serving; /* (O) whose lock it has */
	bool over;		    /* (O) it ends because it is told to */
};

struct lazy {
	struct lazy_setup setup;
	struct userfault door;
	int bell;	   /* rings at the end */
	pthread_key_t key; /* of a handler; its destructor sees the end of the thread, whatever it is */
	pthread_mutex_t lock;
	struct lazy_block **table;			   /* (lock) by address */
	struct list_head sources;			   /* (lock) struct lazy_source */
	uint64_t nr_armed;				   /* (lock) */
	struct lazy_handler handler[LAZY_MAX_HANDLERS];	   /* (lock) */
	unsigned int nr_handlers, nr_idle;		   /* (lock) */
	bool stop, broken;				   /* (lock) */
	_Atomic uint64_t faults, pages, whole, zero_pages; /* (A) */
};

/* lazy.c. A block with a reference, or NULL. */
struct lazy_block *lazy_find(struct lazy *z, const char *address);
void lazy_block_put(struct lazy *z, struct lazy_block *b);
/* Answers a touch of page i; the block's lock is held. */
void lazy_serve(struct lazy *z, struct lazy_block *b, unsigned int i, char *buffer);
void lazy_fail(struct lazy_source *s, const char *cause);
void lazy_disarm_all(struct lazy_source *s);
void lazy_free(struct lazy *z);

/* lazy_handler.c. One more; 0, -ENOMEM or -EAGAIN. */
int lazy_add_handler(struct lazy *z);
/* Destructor of lazy->key. */
void lazy_handler_end(void *handler);
bool lazy_is_broken(struct lazy *z);

#endif
