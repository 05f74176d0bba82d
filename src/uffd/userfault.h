/* SPDX-License-Identifier: MIT */
/*
 * userfault.h - the kernel's door through which faults on host memory come to us: userfaultfd(2), features and errors included.
 *
 * What is asked for beyond the first version may be missing; the caller finds in `features` what it got:
 *
 *	feature			Linux	without it
 *	(none)			4.11	MISSING of private memory, COPY, ZEROPAGE, WAKE: always there
 *	MISSING_SHMEM		4.11	MISSING of memfds is refused when they are registered (-EINVAL)
 *	EVENT_REMOVE, _UNMAP	4.11	whoever throws memory away says so himself (lazy_forget)
 *	SIGBUS			4.14	not used: a processor in KVM_RUN gets EFAULT and no address
 *	THREAD_ID		4.14	who faulted is not known
 *	PAGEFAULT_FLAG_WP	5.7	write-protection is refused when registered (-EINVAL)
 *	MINOR_SHMEM		5.14	likewise, and CONTINUE
 *	EXACT_ADDRESS		5.18	addresses of faults are those of their pages: userfault_page rounds either
 *	WP_UNPOPULATED		6.4	what is not there yet is not protected; fill it first
 *	POISON			6.6	-ENOTTY: the range keeps waiting, or is filled by what else is at hand
 *	WP_ASYNC		6.7	writes are told one by one
 *	MOVE			6.8	COPY
 *
 * Every function answers 0 or -errno, and does what it can before that:
 *	-EAGAIN	events wait to be read (a REMOVE among them): read them, and go on behind *done
 *	-ENOENT	nothing is registered there, any more
 *	-ESRCH	the process is ending
 *	A page that is there already is not an error: who waits for it is woken, and the rest is done.
 * Locking: none; any thread, as the kernel allows. Not here: what is filled with what (lazy.h).
 */
#ifndef LODGE_UFFD_USERFAULT_H
#define LODGE_UFFD_USERFAULT_H

#include <linux/userfaultfd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Newer than the headers of Linux 6.1. */
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13) /* 6.4 */
#endif
#ifndef UFFD_FEATURE_POISON
#define UFFD_FEATURE_POISON (1 << 14) /* 6.6 */
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15) /* 6.7 */
#endif
#ifndef UFFD_FEATURE_MOVE
#define UFFD_FEATURE_MOVE (1 << 16) /* 6.8 */
#endif

struct userfault {
	int fd;
	uint64_t features; /* UFFD_FEATURE_ bits that the kernel has granted */
};

/*
 * Opens the door for faults of the kernel too, with those of the wanted features that there are. 0, or -errno and *why in one line: -EPERM
 * (not allowed here), -ENOSYS (a kernel without it), -EMFILE, -ENOMEM.
 */
int userfault_open(struct userfault *u, uint64_t wanted, const char **why);

/* Whoever waits for a page finds what is there: zeroes, mostly. */
void userfault_close(struct userfault *u);

/* `modes`: UFFDIO_REGISTER_MODE_. Multiples of a page. Besides: -EINVAL: memory of another kind, -EBUSY: somebody else's, -ENOMEM. */
int userfault_register(struct userfault *u, void *start, uint64_t bytes, uint64_t modes);
/* And wakes who waits there. */
int userfault_unregister(struct userfault *u, void *start, uint64_t bytes);

/* Up to `max` messages into m: how many, or -EAGAIN: there is none. */
int userfault_read(struct userfault *u, struct uffd_msg *m, unsigned int max);
/* The page of a fault. */
uint64_t userfault_page(const struct uffd_msg *m);

/*
 * Filling. *done: bytes that are there when it returns, from the first one on. COPY copies; MOVE takes the pages themselves out of private
 * memory at src, a huge one as it is. CONTINUE maps what the object has; POISON makes each touch a SIGBUS, EHWPOISON for the kernel.
 */
int userfault_copy(struct userfault *u, void *to, const void *from, uint64_t bytes, uint64_t *done);
int userfault_move(struct userfault *u, void *to, void *from, uint64_t bytes, uint64_t *done);
int userfault_zeropage(struct userfault *u, void *to, uint64_t bytes, uint64_t *done);
int userfault_continue(struct userfault *u, void *to, uint64_t bytes, uint64_t *done);
int userfault_poison(struct userfault *u, void *to, uint64_t bytes, uint64_t *done);

/* Whoever waits in the range tries again. */
int userfault_wake(struct userfault *u, void *start, uint64_t bytes);

/* Forbids writing, or allows it again and wakes. */
int userfault_protect(struct userfault *u, void *start, uint64_t bytes, bool protect);

#endif
