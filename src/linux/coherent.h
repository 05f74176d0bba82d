/* SPDX-License-Identifier: MIT */
/*
 * coherent.h - calls on files that guests map as well: what one of them changes, the others see.
 *
 * What is dirty in the cache is newer than the host's file, everything else is the same in both. So a read takes the host's bytes
 * and lays dirty pages over them; whatever changes the file does so on the host, and cached pages take that over. The cache's
 * io_lock keeps faults and writing back out of the middle.
 *
 * A memfd of a guest has its data in the cache alone (memfd.h); the same calls reach it there.
 *
 * A file that nobody maps costs one look at an empty table. Other processes of the host see stores when they are written back, and
 * what they write shows in pages that are read after that.
 */
#ifndef LODGE_LINUX_COHERENT_H
#define LODGE_LINUX_COHERENT_H

#include "../mm/backing.h"

struct task;

/* The cache of the regular file or memfd behind any host descriptor, with a reference for the caller, or NULL. */
struct backing *coherent_find(struct task *t, int host_fd);
/* The same for an open file of the guest, which costs no call of the host. */
struct guest_file;
struct backing *coherent_find_open(struct task *t, const struct guest_file *file);

/*
 * One preadv2 or pwritev2 without flags on a file with a cache: bytes or -errno. offset -1: at the descriptor's position. What a
 * memfd grows by is charged to the task's account.
 */
int64_t coherent_read(struct backing *b, int host_fd, const struct iovec *iov, unsigned int nr,
		      int64_t offset);
int64_t coherent_write(struct task *t, struct backing *b, int host_fd, const struct iovec *iov,
		       unsigned int nr, int64_t offset);

/* sendfile and copy_file_range where one side is a memfd: *handled is false when neither is. A NULL offset is the position. */
int64_t coherent_copy(struct task *t, int in, off_t *in_offset, int out, off_t *out_offset, size_t bytes,
		      bool *handled);

/* What is dirty goes to the host's file, for a call that reads there. 0 or -errno. */
int coherent_flush(struct task *t, int host_fd);

/* A change of the file by one call of the host, between begin and end. */
struct coherent_change {
	struct backing *b; /* NULL: nobody has the file in a cache, nothing is done */
	int host_fd;
	uint64_t old_size;
};

void coherent_begin(struct coherent_change *c, struct task *t, int host_fd);

/* The bytes [start, end) may be different now, and the size; start >= end: the size alone. */
void coherent_end(struct coherent_change *c, uint64_t start, uint64_t end);

/* Where n bytes were written that a call put at `offset` (-1: at the position) of a descriptor. */
uint64_t coherent_written_at(int host_fd, int64_t offset, uint64_t n);

#endif
