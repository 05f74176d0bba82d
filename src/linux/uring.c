/* SPDX-License-Identifier: MIT */
/*
 * uring.c - see uring.h.
 *
 * The owner sleeps in the ring, for completions and for an eventfd that is always being read there: who submits while `asleep` is set
 * writes to it. The ring is made disabled, so that files can be added before its owner, who then is the only one allowed to, enters it.
 */
#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "uring.h"

#define MAX_FILES 64

struct uring {
	struct io_uring ring; /* the owner's */
	unsigned int depth;   /* (C) */
	unsigned int nr_busy; /* the owner's: operations in the host */
	pthread_t owner;
	bool running; /* the creator's */
	int event_fd;
	uint64_t event; /* what the owner's read of event_fd returns */
	int file[MAX_FILES];
	unsigned int nr_files;
	pthread_mutex_t lock;
	struct list_head waiting; /* (lock) struct uring_op, by node */
	bool asleep, stop;	  /* (lock) */
	_Atomic uint32_t
		nr_wakers; /* (A) who were told to wake the owner and have not done so: their operation may be over already */
	_Atomic uint64_t nr_done; /* (A) */
};

/* --- one operation ------------------------------------------------------------------------------------------------ */

/* Drops the first n bytes of the vectors. */
static void op_advance(struct uring_op *op, uint64_t n)
{
	op->bytes += n;
	op->offset += n;
	while (op->nr_iov && n >= op->iov->iov_len) {
		n -= op->iov->iov_len;
		op->iov++;
		op->nr_iov--;
	}
	if (n) {
		op->iov->iov_base = (char *)op->iov->iov_base + n;
		op->iov->iov_len -= n;
	}
}

/* What the next attempt moves: all that is left, or the short beginning that was asked for. */
static struct iovec *op_vectors(struct uring_op *op, unsigned int *nr)
{
	uint64_t most = op->first_bytes;

	*nr = op->nr_iov;
	if (!most || (op->nr_iov == 1 && op->iov->iov_len <= most))
		return op->iov;
	op->first_bytes = 0;
	op->first = (struct iovec){op->iov->iov_base, op->iov->iov_len < most ? op->iov->iov_len : most};
	*nr = 1;
	return &op->first;
}

/* Takes the result of an attempt; true: it is over. */
static bool op_result(struct uring_op *op, int64_t result)
{
	if (result == -EINTR || result == -EAGAIN)
		return false;
	if (result < 0 || (result == 0 && op->write)) {
		op->error = result ? (int)result : -EIO;
		return true;
	}
	op_advance(op, (uint64_t)result);
	return result == 0 || op->nr_iov == 0;
}

static void op_begin(struct uring_op *op)
{
	op->bytes = 0;
	op->error = 0;
}

void uring_op_run(struct uring_op *op)
{
	ssize_t n;

	op_begin(op);
	do {
		unsigned int nr;
		const struct iovec *iov = op_vectors(op, &nr);

		n = op->write ? pwritev(op->fd, iov, (int)nr, (off_t)op->offset)
			      : preadv(op->fd, iov, (int)nr, (off_t)op->offset);
	} while (!op_result(op, n < 0 ? -errno : n));
	op->done(op);
}

/* --- the owner ---------------------------------------------------------------------------------------------------- */

/* There is room: `depth` operations and the eventfd's read fit. */
static void prepare(struct uring *r, struct uring_op *op)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->ring);
	int fd = op->file >= 0 ? op->file : op->fd;
	unsigned int nr;
	const struct iovec *iov = op_vectors(op, &nr);

	if (op->write)
		io_uring_prep_writev(sqe, fd, iov, nr, op->offset);
	else
		io_uring_prep_readv(sqe, fd, iov, nr, op->offset);
	if (op->file >= 0)
		sqe->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data(sqe, op);
}

static void prepare_event(struct uring *r)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->ring);

	io_uring_prep_read(sqe, r->event_fd, &r->event, sizeof(r->event), 0);
	io_uring_sqe_set_data(sqe, NULL);
}

/* Takes over what waits, as far as there is room; false: nothing is under way, and nothing will be. */
static bool take_waiting(struct uring *r)
{
	pthread_mutex_lock(&r->lock);
	while (r->nr_busy < r->depth && !list_empty(&r->waiting)) {
		struct uring_op *op = list_entry(r->waiting.next, struct uring_op, node);
		list_del(&op->node);
		r->nr_busy++;
		prepare(r, op);
	}
	bool more = !r->stop || r->nr_busy || !list_empty(&r->waiting);
	r->asleep = r->nr_busy < r->depth;
	pthread_mutex_unlock(&r->lock);
	return more;
}

static void completed(struct uring *r, const struct io_uring_cqe *cqe)
{
	struct uring_op *op = io_uring_cqe_get_data(cqe);

	if (!op) {
		prepare_event(r);
	} else if (op_result(op, cqe->res)) {
		r->nr_busy--;
		atomic_fetch_add_explicit(&r->nr_done, 1, memory_order_relaxed);
		op->done(op);
	} else {
		prepare(r, op);
	}
}

/* Debian's shared library has no io_uring_enable_rings. */
static void enable(struct uring *r)
{
	syscall(SYS_io_uring_register, r->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

static void *owner(void *arg)
{
	struct uring *r = arg;
	struct io_uring_cqe *cqe;

	enable(r);
	prepare_event(r);
	while (take_waiting(r)) {
		io_uring_submit_and_wait(&r->ring, 1);
		while (!io_uring_peek_cqe(&r->ring, &cqe)) {
			const struct io_uring_cqe copy = *cqe;
			io_uring_cqe_seen(&r->ring, cqe);
			completed(r, &copy);
		}
	}
	if (r->nr_files) /* the kernel takes its time over a ring: its files are to be closed when it is destroyed */
		io_uring_unregister_files(&r->ring);
	return NULL;
}

/* --- everybody else ----------------------------------------------------------------------------------------------- */

static int init_ring(struct io_uring *ring, unsigned int depth)
{
	/* Linux 6.1; before that completions interrupt their submitter, which here has nothing else to do. */
	int err = io_uring_queue_init(depth, ring,
				      IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER |
					      IORING_SETUP_DEFER_TASKRUN);

	return err == -EINVAL ? io_uring_queue_init(depth, ring, IORING_SETUP_R_DISABLED) : err;
}

int uring_create(unsigned int depth, struct uring **result)
{
	struct uring *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	r->depth = depth;
	r->event_fd = eventfd(0, EFD_CLOEXEC);
	err = r->event_fd < 0 ? -errno : init_ring(&r->ring, depth + 1);
	if (err) {
		if (r->event_fd >= 0)
			close(r->event_fd);
		free(r);
		return err;
	}
	pthread_mutex_init(&r->lock, NULL);
	list_init(&r->waiting);
	*result = r;
	return 0;
}

int uring_add_file(struct uring *r, int fd)
{
	if (r->nr_files == MAX_FILES)
		return -ENFILE;
	r->file[r->nr_files] = fd;
	return (int)r->nr_files++;
}

int uring_start(struct uring *r)
{
	int err = r->nr_files ? io_uring_register_files(&r->ring, r->file, r->nr_files) : 0;
	sigset_t all, before;

	if (err)
		return err;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = -pthread_create(&r->owner, NULL, owner, r);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	r->running = !err;
	return err;
}

/* The ring may be gone when this returns. */
static void wake(struct uring *r)
{
	const uint64_t one = 1;
	ssize_t n = write(r->event_fd, &one, sizeof(one));

	(void)n; /* it cannot be full: each owner that sleeps is woken once */
	atomic_fetch_sub(&r->nr_wakers, 1);
}

void uring_submit(struct uring *r, struct uring_op *const *op, unsigned int nr)
{
	pthread_mutex_lock(&r->lock);
	for (unsigned int i = 0; i < nr; i++) {
		op_begin(op[i]);
		list_add_tail(&op[i]->node, &r->waiting);
	}
	bool asleep = nr && r->asleep;
	r->asleep &= !asleep;
	atomic_fetch_add(&r->nr_wakers, asleep);
	pthread_mutex_unlock(&r->lock);
	if (asleep)
		wake(r);
}

void uring_destroy(struct uring *r)
{
	if (!r)
		return;
	if (r->running) {
		pthread_mutex_lock(&r->lock);
		r->stop = true;
		atomic_fetch_add(&r->nr_wakers, 1);
		pthread_mutex_unlock(&r->lock);
		wake(r);
		pthread_join(r->owner, NULL);
		while (atomic_load(&r->nr_wakers))
			sched_yield();
	}
	io_uring_queue_exit(&r->ring);
	close(r->event_fd);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

uint64_t uring_nr_done(const struct uring *r)
{
	return atomic_load_explicit(&r->nr_done, memory_order_relaxed);
}
