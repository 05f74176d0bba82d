/* SPDX-License-Identifier: MIT */
/* disk.c - see disk.h. */
#include "disk.h"

uint8_t sim_disk_byte(uint64_t offset)
{
	return (uint8_t)(offset * 7 + (offset >> PAGE_SHIFT) * 31 + 1);
}

static ssize_t disk_read(struct backing *b, void *buffer, size_t bytes, uint64_t offset)
{
	struct sim_disk *d = (struct sim_disk *)b;
	ssize_t n = 0;

	pthread_mutex_lock(&d->lock);
	d->reads++;
	if (d->read_error) {
		n = d->read_error;
	} else if (offset < d->bytes) {
		bytes = min_u64(bytes, d->bytes - offset);
		if (d->read_most)
			bytes = min_u64(bytes, d->read_most);
		memcpy(buffer, d->data + offset, bytes);
		d->read_bytes += bytes;
		n = (ssize_t)bytes;
	}
	pthread_mutex_unlock(&d->lock);
	return n;
}

static int disk_write(struct backing *b, const struct iovec *iov, unsigned int nr, uint64_t offset)
{
	struct sim_disk *d = (struct sim_disk *)b;

	pthread_mutex_lock(&d->lock);
	d->writes++;
	for (unsigned int i = 0; i < nr && !d->write_error; i++) {
		memcpy(d->data + offset, iov[i].iov_base, iov[i].iov_len);
		offset += iov[i].iov_len;
		d->written_bytes += iov[i].iov_len;
		if (offset > d->bytes)
			d->bytes = offset;
	}
	int err = d->write_error;
	pthread_mutex_unlock(&d->lock);
	return err;
}

static int disk_sync(struct backing *b)
{
	struct sim_disk *d = (struct sim_disk *)b;

	d->syncs++;
	return d->sync_error;
}

static int disk_punch(struct backing *b, uint64_t offset, uint64_t bytes)
{
	struct sim_disk *d = (struct sim_disk *)b;

	pthread_mutex_lock(&d->lock);
	if (!d->punch_error && offset < d->bytes)
		memset(d->data + offset, 0, min_u64(bytes, d->bytes - offset));
	pthread_mutex_unlock(&d->lock);
	return d->punch_error;
}

static int64_t disk_size(struct backing *b)
{
	return (int64_t)((struct sim_disk *)b)->bytes;
}

static void disk_release(struct backing *b)
{
	((struct sim_disk *)b)->releases++;
}

static const struct backing_ops disk_ops = {
	.read = disk_read,
	.write = disk_write,
	.sync = disk_sync,
	.punch = disk_punch,
	.size = disk_size,
	.release = disk_release,
};

struct sim_disk *sim_disk_new(struct sim_machine *m, uint64_t bytes)
{
	struct sim_disk *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	pthread_mutex_init(&d->lock, NULL);
	d->bytes = bytes;
	for (uint64_t i = 0; i < bytes; i++)
		d->data[i] = sim_disk_byte(i);
	backing_init(&d->backing, &m->host, &disk_ops);
	d->backing.dev = 0xfe01;
	d->backing.ino = 115;
	d->backing.path = "/sim/disk";
	return d;
}

void sim_disk_free(struct sim_disk *d)
{
	pthread_mutex_destroy(&d->lock);
	free(d);
}

int64_t fixture_map_disk(struct fixture *x, struct sim_disk *d, gva_t at, uint64_t pages, uint64_t pgoff,
			 unsigned int prot, unsigned int flags)
{
	struct mmap_request r = {
		.address = at,
		.length = pages << PAGE_SHIFT,
		.prot = prot,
		.flags = flags,
		.file = &d->backing,
		.pgoff = pgoff,
	};

	return mm_mmap(x->mm, &r);
}
