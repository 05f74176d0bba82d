/* SPDX-License-Identifier: MIT */
/*
 * writeback.h - bringing dirty pages of the cache to their files.
 *
 * Who writes: msync and fsync what they are asked for; a thread per host what has been dirty for a while, or all when there
 * is much of it; whoever drops the last reference to a file, the rest. So nothing that a guest stored through a shared mapping is
 * lost when lodge ends in an orderly way.
 *
 *   W1  PG_DIRTY is taken off before the entries that map a page become read-only, and both before it is written: a store after that
 *	 makes it dirty again, one before that is in what is written
 *   W2  no page is written by two at once (wb_lock), so an older state never overtakes a newer one
 *   W3  a write that fails leaves the page dirty, and its error in wb_err until somebody is told
 * Locking: io_lock (reading), then wb_lock, then what the reverse map takes; writeback.lock is a leaf.
 */
#ifndef LODGE_MM_WRITEBACK_H
#define LODGE_MM_WRITEBACK_H

#include <pthread.h>

#include "list.h"
#include "types.h"

struct address_space;
struct mm_host;

/* A part of struct mm_host. */
struct writeback {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct list_head dirty;	  /* (lock) mappings with dirty pages, by dirty_node, oldest first */
	_Atomic int64_t nr_dirty; /* (A) pages */
	pthread_t thread;
	bool running;	      /* (lock) */
	bool stop, kicked;    /* (lock) */
	_Atomic bool started; /* (A) hint for running */
	/* Knobs, named as in /proc/sys/vm. */
	unsigned int dirty_writeback_ms; /* (C) how often the thread looks */
	unsigned int dirty_expire_ms;	 /* (C) how old a dirty page becomes before it is written */
	uint64_t dirty_background_pages; /* (C) with more than that the thread writes all */
	uint64_t dirty_pages; /* (C) with more than that whoever makes more waits for them to be written */
	_Atomic uint64_t nr_written; /* (A) pages, ever */
	_Atomic uint64_t nr_errors;  /* (A) writes that failed */
};

void writeback_init(struct mm_host *h);

/* Ends the thread; it comes back with the next dirty page. */
void writeback_stop(struct mm_host *h);
void writeback_destroy(struct mm_host *h);

/* Writes the dirty pages [first, last] of a file and waits for those that others are writing. 0, or the first -errno. */
int writeback_range(struct address_space *as, uint64_t first, uint64_t last);

/* The same, and then makes it durable; tells an error of an earlier write that nobody was told. fsync. */
int writeback_sync(struct address_space *as, uint64_t first, uint64_t last);

/* Writes everything that is dirty on this host. */
void writeback_all(struct mm_host *h);

/* Wakes the thread to do that. */
void writeback_kick(struct mm_host *h);

/* After pages of `as` became dirty, with no lock held but mmap_lock: sees to the thread, and waits where there is too much. */
void writeback_balance(struct address_space *as);

/* For filemap.c. nr: 1 or -1. */
void writeback_account(struct mm_host *h, int nr);
void writeback_enlist(struct address_space *as);
void writeback_forget(struct address_space *as);

#endif
