/* SPDX-License-Identifier: MIT */
/*
 * uio.h - data between a guest's memory and a host descriptor, without a copy of ours in between.
 *
 * The guest's pages are pinned a window at a time and the host reads or writes them where they are. Windows start small and
 * grow, so that a short transfer into a large buffer does not touch all of the buffer.
 */
#ifndef LODGE_LINUX_UIO_H
#define LODGE_LINUX_UIO_H

#include <sys/uio.h>

#include "../mm/types.h"

struct task;
struct user_pin;

#define UIO_FAST_IOV	8
#define UIO_MAX_BYTES	0x7ffff000ull /* MAX_RW_COUNT: a longer transfer is cut to this */
#define UIO_AT_POSITION (-1ll)	      /* where the descriptor stands; moves it */

/* The guest memory of one transfer. */
struct uio {
	struct iovec fast[UIO_FAST_IOV];
	struct iovec *iov; /* guest addresses: fast, or allocated */
	unsigned int nr;
	unsigned int index; /* of the range that comes next; what lies before is done */
	size_t bytes;	    /* of all; <= UIO_MAX_BYTES */
	size_t done;
	bool single; /* of read() and write(), which ask the file even about nothing */
};

/* One range. 0 or -EFAULT. */
int uio_single(struct uio *u, gva_t address, uint64_t bytes);

/* An array of struct iovec in the guest. 0, -EINVAL, -EFAULT, -ENOMEM. */
int uio_import(struct task *t, struct uio *u, gva_t array, uint64_t nr);
void uio_destroy(struct uio *u);

/* Pins up to `window` bytes of what comes next, at least one; see user_pin. */
int uio_pin(struct task *t, struct uio *u, size_t window, bool write, struct user_pin *pin);
/*
 * The same for a call of the host that takes the memory as it finds it: where the guest's ends, an address of nobody stands for the rest
 * of the window, so that the host meets the fault where Linux would. 0 or -ENOMEM.
 */
int uio_pin_with_faults(struct task *t, struct uio *u, size_t window, bool write, struct user_pin *pin);
/* `bytes` of it are done. */
void uio_advance(struct uio *u, size_t bytes);

struct uio_transfer {
	int guest_fd;
	bool to_file;	/* write: from guest memory into the file */
	int64_t offset; /* in the file, or UIO_AT_POSITION */
	int flags;	/* RWF_ */
	bool by_page;	/* what lies before a bad address goes, though the host would not send it so */
};

/*
 * Moves as much as read() or write() would: bytes, or -errno when there were none. Waits where the descriptor does; an
 * interrupted transfer that moved nothing is -EINTR.
 */
int64_t uio_run(struct task *t, struct uio *u, const struct uio_transfer *x);

#endif
