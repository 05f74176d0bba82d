/* SPDX-License-Identifier: MIT */
/*
 * disk.h - a file that remembers what was written to it, and fails when told to.
 *
 * Not here: files made of arithmetic, which nobody writes to (fixture.h).
 */
#ifndef LODGE_TESTS_DISK_H
#define LODGE_TESTS_DISK_H

#include "fixture.h"

#define SIM_DISK_BYTES (1ull << 20) /* most that a file can have */

struct sim_disk {
	struct backing backing; /* first: the casts rely on it */
	pthread_mutex_t lock;
	uint8_t data[SIM_DISK_BYTES];
	uint64_t bytes;
	unsigned int reads, writes, syncs, releases;
	uint64_t read_bytes, written_bytes;
	int read_error, write_error, sync_error, punch_error; /* what the call returns instead, when not 0 */
	uint64_t read_most; /* a read gives no more than that; 0: no limit */
};

/* A file of `bytes`, each its offset's low bits and page mixed, with one reference. */
struct sim_disk *sim_disk_new(struct sim_machine *m, uint64_t bytes);

/* What a new file has at an offset. */
uint8_t sim_disk_byte(uint64_t offset);

/* Frees one that was released. */
void sim_disk_free(struct sim_disk *d);

/* Maps it shared and writable, or as told. */
int64_t fixture_map_disk(struct fixture *x, struct sim_disk *d, gva_t at, uint64_t pages, uint64_t pgoff,
			 unsigned int prot, unsigned int flags);

#endif
