/* SPDX-License-Identifier: MIT */
/*
 * arena.h - the frame arena: the host memory under the frame table, made real bank by bank.
 *
 * One range of host address space is reserved for all frames; a bank is a 2 MiB-aligned piece of it that a zone asked
 * for. Banks of ZONE_NORMAL get transparent huge pages; those of ZONE_TABLE and ZONE_NORMAL become memory slots of the
 * machine through the slot hook. Banks live as long as the arena.
 * Locking: add_bank runs under the zone's lock; different zones do not share state here.
 */
#ifndef LODGE_UFFD_ARENA_H
#define LODGE_UFFD_ARENA_H

#include "../mm/page.h"

struct lazy;

struct arena {
	char *base;
	uint64_t reserved_bytes;
	struct frames frames;
	_Atomic uint64_t bank_bytes;
	_Atomic uint32_t nr_banks;
	/* Tells the machine of guest-physical memory; 0 or -errno. NULL: nobody wants to know. */
	int (*add_slot)(void *ctx, gpa_t gpa, void *hva, uint64_t bytes);
	void *slot_ctx;
	struct lazy *_Atomic lazy;  /* (A) that knows blocks of it (lazy.h); NULL: nobody does */
	pthread_mutex_t touch_lock; /* held while memory is touched ahead, and while lazy comes: never both */
};

struct arena_setup {
	uint64_t max_bytes;    /* of guest memory; rounded up to 1 GiB */
	unsigned int nr_nodes; /* that share it; 0: 1 */
};

/* Reserves room for guest memory beside that for tables and objects. 0, -ENOMEM, or -EINVAL (too little for the nodes). */
int arena_init(struct arena *a, const struct arena_setup *setup);
void arena_destroy(struct arena *a);

/*
 * Touches what the first program of a host begins with, so that the host clears it now, beside what else is done: the first 2 MiB of
 * the first zone for guests. What is in them stays as it is. Nothing once a->lazy is there: it has blocks whose pages must stay away.
 */
void arena_touch_first(struct arena *a);

/* From now on a->lazy is there. One thread at a time. 0, or as lazy_create. */
int arena_open_lazy(struct arena *a, const char **why);

#endif
