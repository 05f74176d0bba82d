/* SPDX-License-Identifier: MIT */
/*
 * uring.h - reads and writes of host files that go on while their submitter does something else.
 *
 * One thread owns the ring: it submits what others hand it, waits, and tells each operation's done(). Nobody else enters the ring, so
 * no processor of a guest is interrupted by a completion, and an operation outlives the thread that asked for it.
 *
 *   U1  an operation belongs to the ring from uring_submit until done() is called, once, on the ring's thread
 *   U2  a transfer that the host cut short goes on where it was cut: done() sees all bytes, the end of the file, or an error
 *   U3  at most `depth` operations are under way in the host; more of them wait here, in order
 * Locking: lock, a leaf. done() is called without it and may submit again; it must not wait for another operation.
 * Not here: checksums (swapfile.c), failures on purpose (inject.h), buffers registered with the kernel: that pins them, and the
 * frames of a guest are to stay the host's to take.
 */
#ifndef LODGE_LINUX_URING_H
#define LODGE_LINUX_URING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "../mm/list.h"

struct uring;

struct uring_op {
	/* The submitter's, before. The vectors are used up on the way. */
	int fd;
	int file; /* of uring_add_file, or -1: fd is used */
	bool write;
	struct iovec *iov;
	unsigned int nr_iov;
	uint64_t offset;
	uint64_t first_bytes; /* most that the first attempt moves; 0: all. See inject.h */
	void (*done)(struct uring_op *op);
	/* For done(): bytes moved, and 0 or the -errno that ended it. Less bytes than asked for and 0: the file ends there. */
	uint64_t bytes;
	int error;
	/* The ring's. */
	struct list_head node; /* (lock) waiting to be submitted */
	struct iovec first;
};

/* A ring without a thread. 0, -ENOMEM, -ENOSYS, -EPERM (forbidden here), or what the kernel says. */
int uring_create(unsigned int depth, struct uring **result);

/* Before uring_start: a file that the kernel looks up only once. Its number for uring_op.file, or -errno. */
int uring_add_file(struct uring *r, int fd);

/* 0 or -errno. */
int uring_start(struct uring *r);

/* Waits for everything that was submitted. NULL is allowed. */
void uring_destroy(struct uring *r);

void uring_submit(struct uring *r, struct uring_op *const *op, unsigned int nr);

/* Does the operation here and now, without a ring, and calls done(): for who would wait for it anyway. */
void uring_op_run(struct uring_op *op);

/* Operations that the host did, ever. */
uint64_t uring_nr_done(const struct uring *r);

#endif
