/* SPDX-License-Identifier: MIT */
/*
 * swapfile.h - a file or a block device of the host that pages of guests are swapped to.
 *
 *	page 0			page 1 ...
 *	| header: magic, uuid,	| slot 1 | slot 2 | ...	  what they hold is known to the running lodge alone: sums[], tags
 *	| page size, slots	|
 *
 *   F1  one process has it: the file is locked, a block device opened exclusively
 *   F2  nothing is written to a file that held anything but zeroes or a header of this kind
 *   F3  the checksum of what a slot was last given, mixed with its tag, is in sums[]; a page that is read and has another one is
 *	 -EBADMSG and never reaches a guest: torn and lost writes, damage, and other people's writes
 * Transfers avoid the host's page cache (O_DIRECT) where the file can do that, so that a page that leaves a guest leaves the machine's
 * memory. Writes go on in the ring. Of the reads that are submitted together, the first is made by the submitter: it waits for it
 * anyway, and a thread less has to wake up.
 * A file is allocated in full when it is opened: it cannot run out of room later. Its pages are not erased at the end.
 * Locking: lock, a leaf, for the pool of requests. done() of a transfer must not submit another one.
 */
#ifndef LODGE_LINUX_SWAPFILE_H
#define LODGE_LINUX_SWAPFILE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "../mm/swap.h"
#include "inject.h"
#include "uring.h"

#define SWAPFILE_MAX_PAGES   512u /* of one transfer */
#define SWAPFILE_NR_REQUESTS 64u  /* that are under way; who submits more waits */
#define SWAPFILE_DEPTH	     32u  /* of those, what the host has to do at a time */

struct lodge_error;
struct swapfile_request;

struct swapfile {
	struct swap_device device;
	char *path;
	int fd;
	int file;	  /* (C) the ring's number for it */
	bool direct;	  /* (C) */
	uint32_t align;	  /* (C) of offsets and lengths of transfers: up to PAGE_SIZE */
	uint64_t bytes;	  /* (C) */
	uint8_t uuid[16]; /* (C) */
	uint64_t *sums;	  /* of each slot: F3. Written by who writes the slot, read by who reads it */
	struct uring *ring;
	struct inject *inject; /* NULL: nothing fails on purpose */
	struct swapfile_request *requests;
	pthread_mutex_t lock;
	pthread_cond_t idle_wake;
	struct list_head idle;		      /* (lock) struct swapfile_request, by node */
	unsigned int nr_idle;		      /* (lock) */
	_Atomic uint64_t nr_read, nr_written; /* (A) pages */
	_Atomic uint64_t nr_errors,
		nr_sum_errors; /* (A) transfers that failed; pages that were not what was written */
};

struct swapfile_setup {
	const char *path;
	uint64_t
		bytes; /* 0: as large as it is; else a file is made that large, and created where there is none */
	int priority;
	struct inject *inject; /* outlives it; NULL: none */
};

/*
 * Opens, checks and prepares it. 0; -EBUSY (F1), -EEXIST (F2), -EINVAL (not a file or block device, too small or too large), -ENOENT,
 * -ENOSPC, -ENOMEM, -ENOSYS or -EPERM (no io_uring here), or what opening it says. The core may call device.ops from then on.
 */
int swapfile_open(const struct swapfile_setup *setup, struct swapfile **result, struct lodge_error *err);

/* NULL: the device is no swap file. */
struct swapfile *swapfile_of(struct swap_device *d);

/* Whether it is that file, by whatever name. */
bool swapfile_is(const struct swap_device *d, const struct stat *st);

/* Waits for what is under way. Also the device's release. */
void swapfile_close(struct swapfile *f);

/* For swapfile_open and swapfile_close: the part that transfers. 0, or -errno and nothing is left of it. */
int swapfile_init_io(struct swapfile *f);
void swapfile_destroy_io(struct swapfile *f);

#endif
