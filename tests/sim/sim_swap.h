/* SPDX-License-Identifier: MIT */
/*
 * sim_swap.h - a swap device in memory, that remembers what was written where and by which tag, and fails when it is told to.
 *
 * Transfers are done at once, or when somebody says so (held), or in random order by a thread of its own (threaded).
 */
#ifndef LODGE_TESTS_SIM_SWAP_H
#define LODGE_TESTS_SIM_SWAP_H

#include "../../src/mm/mm.h"

#define SIM_SWAP_WAITING 256

struct sim_swap {
	struct swap_device device; /* first */
	char *data;
	uint64_t *tag;					   /* by slot: of what was written last; 0: nothing */
	_Atomic uint64_t nr_reads, nr_writes, nr_discards; /* pages */
	_Atomic uint64_t nr_transfers;
	_Atomic uint64_t nr_wrong;  /* reads of a slot that holds something else */
	_Atomic uint64_t nr_failed; /* pages that an injected error kept */
	/* Errors: every n-th page of its kind fails, 0: none; those before it in the transfer are right. */
	_Atomic unsigned int fail_read_every, fail_write_every;
	_Atomic unsigned int
		torn_every; /* every n-th page written is stored in part, and says so when it is read */
	_Atomic uint64_t turn;
	bool holds_pages; /* it is an image (swap.h): whoever sets this fills data */
	bool held;	  /* transfers wait for sim_swap_complete */
	bool held_ahead;  /* those that nobody waits for do */
	bool threaded;	  /* or for the thread */
	pthread_mutex_t lock;
	pthread_cond_t wake;	/* (lock) */
	pthread_cond_t settled; /* (lock) */
	struct swap_io *waiting[SIM_SWAP_WAITING];
	unsigned int nr_waiting; /* (lock) */
	bool busy;		 /* (lock) the thread has one that it has taken off `waiting` */
	bool stop;		 /* (lock) */
	pthread_t thread;
	unsigned int released;
};

/* A device of `slots` with the header's, in use from now on. `configure` (may be NULL) sets what is not the default. */
int sim_swap_on(struct sim_swap *s, struct mm_host *h, uint64_t slots, void (*configure)(struct sim_swap *s));

/* swap_off, and everything is freed if that was done. */
int sim_swap_off(struct sim_swap *s);

/* Of one with a thread: until that has nothing to do, nor holds a page. Who waited for a transfer goes on before it lets the page go. */
void sim_swap_settle(struct sim_swap *s);

/* Does what waits; how many transfers that were. */
unsigned int sim_swap_complete(struct sim_swap *s);

#endif
