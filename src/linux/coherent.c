/* SPDX-License-Identifier: MIT */
/* coherent.c - calls on files that guests map as well. See coherent.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../mm/shmem.h"
#include "../mm/truncate.h"
#include "../mm/writeback.h"
#include "coherent.h"
#include "hostfile.h"
#include "memfd.h"
#include "task.h"

static uint64_t file_size(struct backing *b)
{
	int64_t size = b->ops->size(b);

	return size > 0 ? (uint64_t)size : 0;
}

struct backing *coherent_find(struct task *t, int host_fd)
{
	struct backing *b = memfd_find(host_fd);
	struct stat st;

	if (b)
		return b;
	if (!t->hostfiles || !atomic_load_explicit(&t->hostfiles->nr_live, memory_order_relaxed) ||
	    fstat(host_fd, &st) || !S_ISREG(st.st_mode))
		return NULL;
	return hostfile_find(t->hostfiles, st.st_dev, st.st_ino);
}

struct backing *coherent_find_open(struct task *t, const struct guest_file *file)
{
	struct backing *b = file->memfd	  ? memfd_object(file->memfd)
			    : file->owned ? NULL
					  : memfd_find(file->host_fd);

	if (b || !file->regular || !t->hostfiles ||
	    !atomic_load_explicit(&t->hostfiles->nr_live, memory_order_relaxed))
		return b;
	return hostfile_find(t->hostfiles, file->dev, file->ino);
}

uint64_t coherent_written_at(int host_fd, int64_t offset, uint64_t n)
{
	struct stat st;

	if (offset < 0)
		return (uint64_t)lseek(host_fd, 0, SEEK_CUR) - n;
	if ((fcntl(host_fd, F_GETFL) & O_APPEND) && !fstat(host_fd, &st))
		return (uint64_t)st.st_size - n; /* pwrite appends too */
	return (uint64_t)offset;
}

/* Copies bytes to where `skip` bytes into the buffers are. */
static void copy_into(const struct iovec *iov, unsigned int nr, uint64_t skip, const char *from,
		      uint64_t bytes)
{
	for (; nr && bytes; iov++, nr--) {
		uint64_t part = skip < iov->iov_len ? min_u64(iov->iov_len - skip, bytes) : 0;
		if (part)
			memmove((char *)iov->iov_base + skip, from, part);
		from += part;
		bytes -= part;
		skip -= min_u64(skip, iov->iov_len);
	}
}

/* Lays the cached pages of [start, start + bytes) over what was read from there. */
static void overlay(struct address_space *as, const struct iovec *iov, unsigned int nr, uint64_t start,
		    uint64_t bytes)
{
	struct frames *f = as->mm_host->frames;
	uint64_t end = start + bytes;

	for (uint64_t at = start; at < end; at = page_align_down(at) + PAGE_SIZE) {
		uint64_t part = min_u64(PAGE_SIZE - (at & ~PAGE_MASK), end - at);
		struct page *page = filemap_find(as, at >> PAGE_SHIFT);
		if (!page)
			continue;
		copy_into(iov, nr, at - start, (char *)page_address(f, page) + (at & ~PAGE_MASK), part);
		page_put(f, page);
	}
}

int64_t coherent_read(struct backing *b, int host_fd, const struct iovec *iov, unsigned int nr,
		      int64_t offset)
{
	struct address_space *as = &b->cache;
	ssize_t n;

	if (backing_is_memory(b))
		return memfd_read(b, host_fd, iov, nr, offset);
	if (!filemap_is_dirty(as)) {
		n = preadv2(host_fd, iov, (int)nr, offset, 0);
		return n < 0 ? -errno : n;
	}
	pthread_rwlock_wrlock(&as->io_lock);
	n = preadv2(host_fd, iov, (int)nr, offset, 0);
	if (n > 0)
		overlay(as, iov, nr,
			offset < 0 ? (uint64_t)(lseek(host_fd, 0, SEEK_CUR) - n) : (uint64_t)offset,
			(uint64_t)n);
	else if (n < 0)
		n = -errno;
	pthread_rwlock_unlock(&as->io_lock);
	return n;
}

static void change_begin(struct coherent_change *c, struct backing *b, int host_fd)
{
	c->b = b;
	c->host_fd = host_fd;
	if (!b || backing_is_memory(b))
		return;
	pthread_rwlock_wrlock(&b->cache.io_lock);
	c->old_size = file_size(b);
}

static void change_end(struct coherent_change *c, uint64_t start, uint64_t end)
{
	struct address_space *as = &c->b->cache;
	uint64_t size = file_size(c->b), old = c->old_size;

	if (size < old)
		truncate_pagecache(as, size);
	filemap_refresh(as, start, end);
	if (size > old) /* what was stored behind the old end is gone */
		filemap_refresh(as, old, min_u64(size, page_align_up(old)));
	pthread_rwlock_unlock(&as->io_lock);
}

void coherent_begin(struct coherent_change *c, struct task *t, int host_fd)
{
	change_begin(c, coherent_find(t, host_fd), host_fd);
}

void coherent_end(struct coherent_change *c, uint64_t start, uint64_t end)
{
	struct stat st;

	if (!c->b)
		return;
	if (!backing_is_memory(c->b))
		change_end(c, start, end);
	else if (!fstat(c->host_fd, &st))
		memfd_resize(c->b, (uint64_t)st.st_size);
	backing_put(c->b);
}

int64_t coherent_write(struct task *t, struct backing *b, int host_fd, const struct iovec *iov,
		       unsigned int nr, int64_t offset)
{
	struct coherent_change c;
	uint64_t start = 0;
	int64_t n;

	if (backing_is_memory(b))
		return memfd_write(b, t->mm->memcg, host_fd, iov, nr, offset);
	change_begin(&c, b, host_fd);
	n = pwritev2(host_fd, iov, (int)nr, offset, 0);
	if (n < 0)
		n = -errno;
	else
		start = coherent_written_at(host_fd, offset, (uint64_t)n);
	change_end(&c, start, n > 0 ? start + (uint64_t)n : start);
	return n;
}

int coherent_flush(struct task *t, int host_fd)
{
	struct backing *b = coherent_find(t, host_fd);
	int err = 0;

	if (!b)
		return 0;
	err = writeback_range(&b->cache, 0, ~0ull);
	backing_put(b);
	return err;
}

/* --- copies that the host cannot make ------------------------------------------------------------------------------ */

#define COPY_BYTES (64ul << 10)

static int64_t read_from(struct task *t, int fd, const struct iovec *iov, int64_t offset)
{
	struct backing *b = coherent_find(t, fd);
	int64_t n = b ? coherent_read(b, fd, iov, 1, offset) : preadv2(fd, iov, 1, offset, 0);

	if (!b && n < 0)
		n = -errno;
	if (b)
		backing_put(b);
	return n;
}

static int64_t write_to(struct task *t, int fd, const struct iovec *iov, int64_t offset)
{
	struct backing *b = coherent_find(t, fd);
	int64_t n = b ? coherent_write(t, b, fd, iov, 1, offset) : pwritev2(fd, iov, 1, offset, 0);

	if (!b && n < 0)
		n = -errno;
	if (b)
		backing_put(b);
	return n;
}

/* What was read and could not be written is not read. */
static void step(int fd, off_t *offset, int64_t read, int64_t written)
{
	if (offset)
		*offset += written > 0 ? written : 0;
	else if (read > 0 && written < read)
		lseek(fd, (written > 0 ? written : 0) - read, SEEK_CUR);
}

static int64_t copy_piece(struct task *t, int in, off_t *in_offset, int out, off_t *out_offset, char *buffer,
			  size_t bytes)
{
	struct iovec iov = {buffer, bytes};
	int64_t n = read_from(t, in, &iov, in_offset ? *in_offset : -1), written;

	if (n <= 0)
		return n;
	iov.iov_len = (size_t)n;
	written = write_to(t, out, &iov, out_offset ? *out_offset : -1);
	step(in, in_offset, n, written);
	if (out_offset && written > 0)
		*out_offset += written;
	return written;
}

int64_t coherent_copy(struct task *t, int in, off_t *in_offset, int out, off_t *out_offset, size_t bytes,
		      bool *handled)
{
	size_t done = 0;
	int64_t n = 0;
	char *buffer;

	*handled = memfd_is(in) || memfd_is(out);
	if (!*handled)
		return 0;
	buffer = malloc(COPY_BYTES);
	if (!buffer)
		return -ENOMEM;
	while (done < bytes) {
		n = copy_piece(t, in, in_offset, out, out_offset, buffer, min_u64(bytes - done, COPY_BYTES));
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	free(buffer);
	return done ? (int64_t)done : n;
}
