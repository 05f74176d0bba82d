/* SPDX-License-Identifier: MIT */
/*
 * inject.h - disks that fail, on purpose and the same way each time.
 *
 *	POINT=FAULT[@WHEN[,WHEN]...]
 *
 *	POINT	swap.read  swap.write	transfers of a swap device
 *		file.read  file.write	transfers between the page cache and its files
 *		image.read		pages of a snapshot that are read because memory was touched (uffd)
 *		uffd.fault		answers to such touches
 *	FAULT	eio  enospc  enomem	that error, and nothing is transferred
 *		delay:TIME		the transfer begins later: 5ms, 200us, 1s
 *		stuck			it never begins, until inject_abort
 *		short			its first attempt moves a part only
 *		torn			writes: the end of it is not written, and no error told; reads: the end of it is damaged
 *		drop  kill		answers alone, and beside delay and stuck all that they know: it is lost, and who waits asks again; the
 *					handler ends in the middle of it
 *	WHEN	n=N			the Nth transfer at this point, counted from 1
 *		every=N			each Nth
 *		from=N			the Nth and all after it
 *		p=P			each with this probability, from 0 to 1
 *		seed=N			for p: which ones (1)
 *	Without WHEN: each. With several, all of them must agree.
 *
 * The transfers of a point are numbered as they come; whether number n fails depends on nothing else. Of several rules the first
 * that fits counts.
 * Transfers are counted from the first rule on. Locking: rules are added by one thread at a time and never change; lock, a leaf, for
 * what is held back.
 */
#ifndef LODGE_LINUX_INJECT_H
#define LODGE_LINUX_INJECT_H

#include <stdbool.h>
#include <stdint.h>

#include "../mm/list.h"

enum inject_point {
	INJECT_SWAP_READ,
	INJECT_SWAP_WRITE,
	INJECT_FILE_READ,
	INJECT_FILE_WRITE,
	INJECT_IMAGE_READ,
	INJECT_UFFD_FAULT,
	NR_INJECT_POINTS,
};

enum inject_kind {
	INJECT_NOTHING,
	INJECT_ERROR,
	INJECT_DELAY,
	INJECT_STUCK,
	INJECT_SHORT,
	INJECT_TORN,
	INJECT_DROP,
	INJECT_KILL,
};

/* What happens to one transfer. */
struct inject_fault {
	enum inject_kind kind;
	int error;	   /* INJECT_ERROR: -errno */
	uint64_t delay_ns; /* INJECT_DELAY */
};

/* A transfer that is held back; whoever does embeds it. */
struct inject_held {
	/* Called once, on a thread of its own; aborted: it is to fail with -EIO instead of beginning. */
	void (*release)(struct inject_held *held, bool aborted);
	struct list_head node; /* (lock) */
	uint64_t due_ns;       /* CLOCK_MONOTONIC; ~0: never */
};

struct inject;

/* No rules. NULL: no memory. */
struct inject *inject_create(void);

/* Releases what is held back first, as aborted. NULL is allowed. */
void inject_destroy(struct inject *inject);

/* Adds a rule: 0, -ENOMEM, or -EINVAL and *why says what is wrong with it (static storage). */
int inject_add(struct inject *inject, const char *spec, const char **why);

/* Counts a transfer at this point and says what happens to it. inject NULL: nothing ever. */
struct inject_fault inject_next(struct inject *inject, enum inject_point point);

/* Holds a transfer back, as INJECT_DELAY or INJECT_STUCK says. */
void inject_hold(struct inject *inject, struct inject_held *held, struct inject_fault fault);

/* The same for a thread that does its transfer itself: returns 0 when it may begin, or -EIO. */
int inject_wait(struct inject *inject, struct inject_fault fault);

/* From now on what is stuck fails with -EIO, what is so already included: nobody waits for a disk at the end. NULL is allowed. */
void inject_abort(struct inject *inject);

/* Transfers that something happened to. NULL: 0. */
uint64_t inject_nr_injected(const struct inject *inject, enum inject_point point);

#endif
