/* SPDX-License-Identifier: MIT */
/* image_ring.c - see image_ring.h. */
#include "image_ring.h"

#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <stdlib.h>

#include "image_format.h"

struct image_ring {
	pthread_mutex_t lock;
	enum { RING_UNTRIED, RING_THERE, RING_NOT_TO_BE_HAD } state; /* (lock) */
	struct io_uring ring;					     /* (lock) */
};

struct image_ring *image_ring_create(void)
{
	struct image_ring *r = calloc(1, sizeof(*r));

	if (r)
		pthread_mutex_init(&r->lock, NULL);
	return r;
}

void image_ring_destroy(struct image_ring *r)
{
	if (!r)
		return;
	if (r->state == RING_THERE)
		io_uring_queue_exit(&r->ring);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static bool is_there(struct image_ring *r)
{
	if (r->state == RING_UNTRIED)
		r->state =
			io_uring_queue_init(IMAGE_RING_ROWS, &r->ring, 0) ? RING_NOT_TO_BE_HAD : RING_THERE;
	return r->state == RING_THERE;
}

static unsigned int queue_rows(struct image_ring *r, struct image_row *row, unsigned int nr)
{
	unsigned int queued = 0;

	for (unsigned int i = 0; i < nr; i++) {
		row[i].err = -EAGAIN;
		bool plain = row[i].where != IMAGE_WORD && !row[i].chunks;
		struct io_uring_sqe *sqe = plain ? io_uring_get_sqe(&r->ring) : NULL;
		if (!sqe)
			continue;
		io_uring_prep_readv(sqe, row[i].fd, row[i].iov, row[i].nr, row[i].where * PAGE_SIZE);
		io_uring_sqe_set_data(sqe, &row[i]);
		queued++;
	}
	return queued;
}

/* Takes back what is under way: the kernel writes to the pages until then. */
static void reap(struct image_ring *r, unsigned int nr)
{
	struct io_uring_cqe *cqe;

	while (nr) {
		int err = io_uring_submit_and_wait(&r->ring, 1);
		if (err < 0 && err != -EINTR && err != -EAGAIN && err != -EBUSY)
			return;
		while (nr && !io_uring_peek_cqe(&r->ring, &cqe)) {
			struct image_row *row = io_uring_cqe_get_data(cqe);
			row->err = cqe->res == (int)(row->nr * PAGE_SIZE) ? 0 : -EAGAIN;
			io_uring_cqe_seen(&r->ring, cqe);
			nr--;
		}
	}
}

bool image_ring_read(struct image_ring *r, struct image_row *row, unsigned int nr)
{
	if (pthread_mutex_trylock(&r->lock))
		return false;
	bool there = is_there(r);
	if (there)
		reap(r, queue_rows(r, row, nr));
	pthread_mutex_unlock(&r->lock);
	return there;
}
