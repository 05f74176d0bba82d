/* SPDX-License-Identifier: MIT */
/* swapfile.c - transfers of a swap file: requests, checksums, failures on purpose. See swapfile.h; how one is opened: swapfile_open.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <xxhash.h>

#include "swapfile.h"

struct swapfile_request {
	struct uring_op op;
	struct inject_held held;
	struct list_head node; /* (file->lock) idle */
	struct swapfile *file;
	struct swap_io *io;
	uint64_t want_bytes; /* less than the pages have where the end is torn off */
	bool torn;
	struct iovec iov[SWAPFILE_MAX_PAGES];
};

static struct swapfile *to_swapfile(struct swap_device *d)
{
	return container_of(d, struct swapfile, device);
}

/* --- checksums ---------------------------------------------------------------------------------------------------- */

static uint64_t page_sum(const struct swap_io *io, unsigned int i)
{
	return XXH3_64bits_withSeed(io->iov[i].iov_base, PAGE_SIZE, io->tags[i]);
}

static void note_sums(struct swapfile *f, const struct swap_io *io)
{
	for (unsigned int i = 0; i < io->nr; i++)
		f->sums[io->slot + i] = page_sum(io, i);
}

/* How many of the first nr pages of a read are what was written, up to the first that is not. */
static unsigned int count_right(struct swapfile *f, const struct swap_io *io, unsigned int nr)
{
	unsigned int i = 0;

	while (i < nr && f->sums[io->slot + i] == page_sum(io, i))
		i++;
	if (i < nr)
		atomic_fetch_add(&f->nr_sum_errors, 1);
	return i;
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

static struct swapfile_request *get_request(struct swapfile *f)
{
	pthread_mutex_lock(&f->lock);
	while (list_empty(&f->idle))
		pthread_cond_wait(&f->idle_wake, &f->lock);
	struct swapfile_request *r = list_entry(f->idle.next, struct swapfile_request, node);
	list_del(&r->node);
	f->nr_idle--;
	pthread_mutex_unlock(&f->lock);
	return r;
}

static void put_request(struct swapfile_request *r)
{
	struct swapfile *f = r->file;

	pthread_mutex_lock(&f->lock);
	list_add(&r->node, &f->idle);
	f->nr_idle++;
	pthread_cond_broadcast(&f->idle_wake);
	pthread_mutex_unlock(&f->lock);
}

/* Tells the core: `error`, or as many bytes as were moved. */
static void finish(struct swapfile_request *r, uint64_t bytes, int error)
{
	struct swapfile *f = r->file;
	struct swap_io *io = r->io;
	unsigned int nr = (unsigned int)(bytes / PAGE_SIZE);

	if (!error && bytes < r->want_bytes)
		error = -EIO; /* it has become shorter */
	if (!error && r->torn && io->write)
		nr = io->nr;
	unsigned int right = io->write ? nr : count_right(f, io, nr);
	if (!error && right < io->nr)
		error = -EBADMSG;
	if (error)
		atomic_fetch_add(&f->nr_errors, 1);
	atomic_fetch_add(io->write ? &f->nr_written : &f->nr_read, right);
	io->result = error;
	io->nr_done = right;
	io->done(io);
	put_request(r); /* last: who closes the device waits for it */
}

static void transferred(struct uring_op *op)
{
	struct swapfile_request *r = container_of(op, struct swapfile_request, op);

	if (r->torn && !r->io->write)
		memset((char *)r->io->iov[r->io->nr - 1].iov_base + PAGE_SIZE / 2, 0xdb, PAGE_SIZE / 2);
	finish(r, op->bytes, op->error);
}

/* The vectors of a transfer, with neighbours joined. */
static void fill_vectors(struct swapfile_request *r)
{
	const struct swap_io *io = r->io;
	struct iovec *last = r->iov;

	*last = io->iov[0];
	for (unsigned int i = 1; i < io->nr; i++) {
		if ((char *)last->iov_base + last->iov_len == io->iov[i].iov_base)
			last->iov_len += PAGE_SIZE;
		else
			*++last = io->iov[i];
	}
	r->op.iov = r->iov;
	r->op.nr_iov = (unsigned int)(last - r->iov) + 1;
}

/* Leaves the end of a write out: half a page, or a page where only whole ones can be written. */
static void tear(struct swapfile_request *r)
{
	uint64_t bytes = r->file->align <= PAGE_SIZE / 2 ? PAGE_SIZE / 2 : PAGE_SIZE;
	struct iovec *last = &r->iov[r->op.nr_iov - 1];

	r->want_bytes -= bytes;
	last->iov_len -= bytes;
	if (!last->iov_len)
		r->op.nr_iov--;
}

static struct swapfile_request *make_request(struct swapfile *f, struct swap_io *io)
{
	struct swapfile_request *r = get_request(f);

	r->io = io;
	r->torn = false;
	r->want_bytes = (uint64_t)io->nr * PAGE_SIZE;
	r->op = (struct uring_op){.fd = f->fd,
				  .file = f->file,
				  .write = io->write,
				  .offset = io->slot * PAGE_SIZE,
				  .done = transferred};
	fill_vectors(r);
	return r;
}

static void released(struct inject_held *held, bool aborted)
{
	struct swapfile_request *r = container_of(held, struct swapfile_request, held);
	struct uring_op *op = &r->op;

	if (aborted)
		finish(r, 0, -EIO);
	else
		uring_submit(r->file->ring, &op, 1);
}

/* Puts a failure in the way of the transfer; true: it goes on by itself, or is over. */
static bool interfere(struct swapfile_request *r)
{
	struct swapfile *f = r->file;
	struct inject_fault fault =
		inject_next(f->inject, r->io->write ? INJECT_SWAP_WRITE : INJECT_SWAP_READ);

	switch (fault.kind) {
	case INJECT_NOTHING:
	case INJECT_DROP: /* not of transfers */
	case INJECT_KILL:
		return false;
	case INJECT_ERROR:
		finish(r, 0, fault.error);
		return true;
	case INJECT_DELAY:
	case INJECT_STUCK:
		r->held.release = released;
		inject_hold(f->inject, &r->held, fault);
		return true;
	case INJECT_SHORT:
		r->op.first_bytes = max_u64(r->want_bytes / 2 & ~(uint64_t)(f->align - 1), f->align);
		return false;
	case INJECT_TORN:
		r->torn = true;
		if (r->io->write)
			tear(r);
		if (r->op.nr_iov)
			return false;
		finish(r, 0, 0);
		return true;
	}
	return false;
}

/* here: the caller's thread makes the transfer, if nothing is in its way. */
static void begin(struct swapfile *f, struct swap_io *io, bool here)
{
	if (!io->nr || io->nr > SWAPFILE_MAX_PAGES || io->slot + io->nr > f->device.nr_slots) {
		io->result = -EINVAL;
		io->nr_done = 0;
		io->done(io);
		return;
	}
	if (io->write)
		note_sums(f, io);
	struct swapfile_request *r = make_request(f, io);
	struct uring_op *op = &r->op;
	if (interfere(r))
		return;
	if (here)
		uring_op_run(op);
	else
		uring_submit(f->ring, &op, 1);
}

static void swapfile_submit(struct swap_device *d, struct swap_io **io, unsigned int nr)
{
	struct swapfile *f = to_swapfile(d);
	bool here = nr && !io[0]->write && !io[0]->ahead;

	for (unsigned int i = here; i < nr; i++)
		begin(f, io[i], false);
	if (here)
		begin(f, io[0], true);
}

static void swapfile_release(struct swap_device *d)
{
	swapfile_close(to_swapfile(d));
}

static const struct swap_device_ops swapfile_ops = {
	.submit = swapfile_submit,
	.release = swapfile_release,
};

struct swapfile *swapfile_of(struct swap_device *d)
{
	return d->ops == &swapfile_ops ? to_swapfile(d) : NULL;
}

bool swapfile_is(const struct swap_device *d, const struct stat *st)
{
	struct stat own;

	if (d->ops != &swapfile_ops)
		return false;
	const struct swapfile *f = container_of(d, const struct swapfile, device);
	return !fstat(f->fd, &own) && own.st_dev == st->st_dev && own.st_ino == st->st_ino;
}

/* A ring that knows the file. */
static int make_ring(struct swapfile *f)
{
	int err = uring_create(SWAPFILE_DEPTH, &f->ring);

	if (err)
		return err;
	f->file = uring_add_file(f->ring, f->fd);
	err = f->file < 0 ? f->file : uring_start(f->ring);
	if (err) {
		uring_destroy(f->ring);
		f->ring = NULL;
	}
	return err;
}

static size_t sums_bytes(const struct swapfile *f)
{
	return f->device.nr_slots * sizeof(*f->sums);
}

static int make_requests(struct swapfile *f)
{
	f->sums = mmap(NULL, sums_bytes(f), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (f->sums == MAP_FAILED)
		return -ENOMEM;
	f->requests = calloc(SWAPFILE_NR_REQUESTS, sizeof(*f->requests));
	if (!f->requests) {
		munmap(f->sums, sums_bytes(f));
		return -ENOMEM;
	}
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->idle_wake, NULL);
	list_init(&f->idle);
	for (unsigned int i = 0; i < SWAPFILE_NR_REQUESTS; i++) {
		f->requests[i].file = f;
		list_add(&f->requests[i].node, &f->idle);
	}
	f->nr_idle = SWAPFILE_NR_REQUESTS;
	return 0;
}

int swapfile_init_io(struct swapfile *f)
{
	int err = make_ring(f);

	if (err)
		return err;
	err = make_requests(f);
	if (err) {
		uring_destroy(f->ring);
		f->ring = NULL;
	}
	f->device.ops = &swapfile_ops;
	return err;
}

void swapfile_destroy_io(struct swapfile *f)
{
	if (!f->ring)
		return;
	pthread_mutex_lock(&f->lock);
	while (f->nr_idle < SWAPFILE_NR_REQUESTS)
		pthread_cond_wait(&f->idle_wake, &f->lock);
	pthread_mutex_unlock(&f->lock);
	uring_destroy(f->ring);
	munmap(f->sums, sums_bytes(f));
	free(f->requests);
	pthread_mutex_destroy(&f->lock);
	pthread_cond_destroy(&f->idle_wake);
}
