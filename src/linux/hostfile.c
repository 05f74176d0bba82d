/* SPDX-License-Identifier: MIT */
/*
 * hostfile.c - see hostfile.h.
 *
 * A backing whose last reference is gone may still be on the list for a moment, until its release takes the lock: a
 * search takes a reference only where there is one left.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../mm/unmapped_area.h"
#include "hostfile.h"
#include "inject.h"
#include "path.h"
#include "uring.h"

#define WINDOW_BYTES (512ul << 10) /* reads as large are windows of a sequence */

struct hostfile {
	struct backing backing;
	struct list_head node;	    /* (table->lock) */
	struct list_head kept_node; /* (table->lock) H5: the table holds a reference */
	struct hostfile_table *table;
	int fd;
	_Atomic int write_fd; /* (A) -1: nobody may write yet */
	_Atomic bool failed;  /* (A) H4: the table holds a reference */
	bool own_file;	      /* (C) fd shares no locks with anybody, nor its offset */
	bool sparse;	      /* (C) own_file, and it had holes */
	char *path;
	/* The file as it was when the last mapping of it was made. */
	struct timespec mtime; /* (table->lock) */
	off_t bytes;	       /* (table->lock) */
};

static struct hostfile *to_hostfile(struct backing *b)
{
	return container_of(b, struct hostfile, backing);
}

/*
 * How much of [offset, offset + bytes) is a hole from its beginning on. Reading one would have the host find, clear and keep a page for
 * each of it.
 */
static size_t hole_bytes(const struct hostfile *file, size_t bytes, uint64_t offset)
{
	struct stat st;

	if (!file->sparse)
		return 0;
	off_t data = lseek(file->fd, (off_t)offset, SEEK_DATA);
	if (data < 0 && errno == ENXIO && !fstat(file->fd, &st))
		data = st.st_size; /* or it ends before that */
	return data > (off_t)offset ? min_u64((uint64_t)data - offset, bytes) : 0;
}

/* What stands in the way of a transfer; delays are over when this returns. 0, or the error that it ends with. */
static int interfere(struct hostfile *file, bool write, enum inject_kind *kind)
{
	struct inject *inject = file->table->inject;
	struct inject_fault fault = inject_next(inject, write ? INJECT_FILE_WRITE : INJECT_FILE_READ);

	*kind = fault.kind;
	if (fault.kind == INJECT_DELAY || fault.kind == INJECT_STUCK)
		return inject_wait(inject, fault);
	return fault.error;
}

static void no_more(struct uring_op *op)
{
	(void)op; /* it was made here and now */
}

/* Reads or writes all that there is; short: the first attempt moves a part only. Bytes, or -errno when there were none. */
static int64_t transfer(int fd, bool write, struct iovec *iov, unsigned int nr, uint64_t offset,
			bool is_short)
{
	struct uring_op op = {.fd = fd,
			      .file = -1,
			      .write = write,
			      .iov = iov,
			      .nr_iov = nr,
			      .offset = offset,
			      .first_bytes = is_short ? iov->iov_len / 2 : 0,
			      .done = no_more};

	uring_op_run(&op);
	return op.error && (write || !op.bytes) ? op.error : (int64_t)op.bytes;
}

static ssize_t hostfile_read(struct backing *b, void *buffer, size_t bytes, uint64_t offset)
{
	struct hostfile *file = to_hostfile(b);
	enum inject_kind kind;
	int err = interfere(file, false, &kind);

	if (err)
		return err;
	if (offset > INT64_MAX - 2 * bytes)
		return 0;
	if (bytes >= WINDOW_BYTES) /* the disk goes on with the next one while this one is copied and used */
		posix_fadvise(file->fd, (off_t)(offset + bytes), (off_t)bytes, POSIX_FADV_WILLNEED);
	size_t hole = hole_bytes(file, bytes, offset);
	memset(buffer, 0, hole);
	if (hole == bytes)
		return (ssize_t)bytes;
	struct iovec iov = {(char *)buffer + hole, bytes - hole};
	int64_t n = transfer(file->fd, false, &iov, 1, offset + hole, kind == INJECT_SHORT);
	if (kind == INJECT_TORN && n > 0)
		memset((char *)buffer + hole + n / 2, 0xdb, (size_t)(n - n / 2));
	return n < 0 && hole ? (ssize_t)hole : n < 0 ? n : (ssize_t)hole + n;
}

static int hostfile_punch(struct backing *b, uint64_t offset, uint64_t bytes)
{
	int fd = atomic_load(&to_hostfile(b)->write_fd);

	if (fd < 0)
		return -EBADF;
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)bytes) ? -errno
												      : 0;
}

static int64_t hostfile_size(struct backing *b)
{
	struct stat st;

	return fstat(to_hostfile(b)->fd, &st) ? -errno : st.st_size;
}

/* H4, unless the table is on its way out. */
static void keep_failed(struct hostfile *file)
{
	pthread_mutex_lock(&file->table->lock);
	if (!file->table->closing && backing_get_live(&file->backing) && atomic_exchange(&file->failed, true))
		atomic_fetch_sub(&file->backing.refs, 1); /* once is enough; the caller has one too */
	pthread_mutex_unlock(&file->table->lock);
}

/* kind TORN: the last buffer stays as it was on the disk, and nobody is told. */
static int write_all(int fd, const struct iovec *iov, unsigned int nr, uint64_t offset, enum inject_kind kind)
{
	struct iovec left[IOV_MAX];

	if (kind == INJECT_TORN && --nr == 0)
		return 0;
	memcpy(left, iov, nr * sizeof(*iov));
	int64_t n = transfer(fd, true, left, nr, offset, kind == INJECT_SHORT);
	return n < 0 ? (int)n : 0;
}

static int hostfile_write(struct backing *b, const struct iovec *iov, unsigned int nr, uint64_t offset)
{
	struct hostfile *file = to_hostfile(b);
	int fd = atomic_load(&file->write_fd);
	enum inject_kind kind = INJECT_NOTHING;
	int err = fd < 0 ? -EBADF : interfere(file, true, &kind);

	if (!err)
		err = write_all(fd, iov, nr, offset, kind);
	if (err)
		keep_failed(file);
	return err;
}

static int hostfile_sync(struct backing *b)
{
	int fd = atomic_load(&to_hostfile(b)->write_fd);

	return fd >= 0 && fdatasync(fd) ? -errno : 0;
}

static void hostfile_free(struct hostfile *file)
{
	if (file->write_fd >= 0)
		close(file->write_fd);
	close(file->fd);
	free(file->path);
	free(file);
}

static void hostfile_release(struct backing *b)
{
	struct hostfile *file = to_hostfile(b);

	pthread_mutex_lock(&file->table->lock);
	list_del(&file->node);
	atomic_fetch_sub(&file->table->nr_live, 1);
	pthread_mutex_unlock(&file->table->lock);
	hostfile_free(file);
}

/* As ext4, xfs and btrfs place theirs: where pages of the file can be huge. */
static int64_t hostfile_unmapped_area(struct backing *b, struct mm *mm, const struct unmapped_request *r)
{
	(void)b;
	return thp_get_unmapped_area(mm, r);
}

static const struct backing_ops hostfile_ops = {
	.read = hostfile_read,
	.write = hostfile_write,
	.sync = hostfile_sync,
	.punch = hostfile_punch,
	.size = hostfile_size,
	.release = hostfile_release,
	.get_unmapped_area = hostfile_unmapped_area,
};

void hostfile_table_init(struct hostfile_table *table, struct mm_host *mm_host, struct inject *inject)
{
	pthread_mutex_init(&table->lock, NULL);
	for (unsigned int i = 0; i < HOSTFILE_BUCKETS; i++)
		list_init(&table->live[i]);
	list_init(&table->kept);
	table->nr_kept = 0;
	atomic_store(&table->nr_live, 0);
	table->closing = false;
	table->mm_host = mm_host;
	table->inject = inject;
}

/* Takes a file off the list of H5: the reference is the caller's. The lock is held, or nobody else is there. */
static struct hostfile *forget(struct hostfile_table *table, struct hostfile *file)
{
	list_del(&file->kept_node);
	list_init(&file->kept_node);
	table->nr_kept--;
	return file;
}

/*
 * H5, for a file that is being mapped. Returns one whose reference is to be dropped: the one that was not mapped for longest, or this one
 * when it is kept no longer. NULL: none. The lock is held.
 */
static struct hostfile *keep(struct hostfile_table *table, struct hostfile *file, const struct stat *st)
{
	bool was_kept = !list_empty(&file->kept_node);
	bool may = file->own_file && atomic_load(&file->write_fd) < 0 && st->st_nlink;

	if (was_kept)
		forget(table, file);
	if (!may)
		return was_kept ? file : NULL;
	if (!was_kept)
		backing_get(&file->backing);
	list_add(&file->kept_node, &table->kept);
	if (++table->nr_kept <= HOSTFILE_MAX_KEPT)
		return NULL;
	return forget(table, list_entry(table->kept.prev, struct hostfile, kept_node));
}

/* A file that is kept for its error alone; NULL: none is left. */
static struct hostfile *take_failed(struct hostfile_table *table)
{
	struct hostfile *file;

	for (unsigned int i = 0; i < HOSTFILE_BUCKETS; i++)
		list_for_each_entry (file, &table->live[i], node)
			if (atomic_exchange(&file->failed, false))
				return file;
	return NULL;
}

void hostfile_table_destroy(struct hostfile_table *table)
{
	struct hostfile *file;

	table->closing = true;
	while (table->nr_kept)
		backing_put(
			&forget(table, list_entry(table->kept.prev, struct hostfile, kept_node))->backing);
	while ((file = take_failed(table)))
		backing_put(&file->backing);
	pthread_mutex_destroy(&table->lock);
}

/* Remembers the file as it is now; true when it was different. */
static bool hostfile_changed(struct hostfile *file, const struct stat *st)
{
	bool changed = file->bytes != st->st_size || file->mtime.tv_sec != st->st_mtim.tv_sec ||
		       file->mtime.tv_nsec != st->st_mtim.tv_nsec;

	file->bytes = st->st_size;
	file->mtime = st->st_mtim;
	return changed;
}

static struct list_head *bucket_of(struct hostfile_table *table, uint64_t ino)
{
	return &table->live[(ino * 0x9e3779b97f4a7c15ull) >> 58];
}

/* With a reference for the caller; table->lock is held. */
static struct hostfile *find_live(struct hostfile_table *table, uint64_t dev, uint64_t ino)
{
	struct hostfile *file;

	list_for_each_entry (file, bucket_of(table, ino), node) {
		if (file->backing.dev == dev && file->backing.ino == ino && backing_get_live(&file->backing))
			return file;
	}
	return NULL;
}

struct backing *hostfile_find(struct hostfile_table *table, uint64_t dev, uint64_t ino)
{
	struct hostfile *file;

	if (!table || !atomic_load_explicit(&table->nr_live, memory_order_relaxed))
		return NULL;
	pthread_mutex_lock(&table->lock);
	file = find_live(table, dev, ino);
	pthread_mutex_unlock(&table->lock);
	return file ? &file->backing : NULL;
}

/* What maps will show: the caller's word for it, or the kernel's; NULL: no memory. */
static char *shown_path(int fd, const char *path)
{
	char kernels[PATH_MAX];

	if (path)
		return strdup(path);
	return strdup(path_of_fd(fd, kernels) < 0 ? "" : kernels);
}

/* -1: it may be used, but not opened again. */
static int open_anew(int host_fd)
{
	char name[32];

	snprintf(name, sizeof(name), "/proc/self/fd/%d", host_fd);
	return open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

/* A new hostfile, on no list, with one reference; errno says why not. */
static struct hostfile *hostfile_new(struct hostfile_table *table, int host_fd, const char *path,
				     const struct stat *st)
{
	struct hostfile *file = calloc(1, sizeof(*file));

	if (!file)
		return NULL;
	file->path = shown_path(host_fd, path);
	file->write_fd = -1;
	file->fd = open_anew(host_fd);
	file->own_file = file->fd >= 0;
	if (file->fd < 0)
		file->fd = fcntl(host_fd, F_DUPFD_CLOEXEC, 0);
	if (file->fd < 0 || !file->path) {
		int err = file->fd < 0 ? errno : ENOMEM;
		if (file->fd >= 0)
			close(file->fd);
		free(file->path);
		free(file);
		errno = err;
		return NULL;
	}
	file->sparse = file->own_file && st->st_blocks < st->st_size / 512;
	list_init(&file->node);
	list_init(&file->kept_node);
	file->table = table;
	backing_init(&file->backing, table->mm_host, &hostfile_ops);
	file->backing.dev = st->st_dev;
	file->backing.ino = st->st_ino;
	file->backing.path = file->path;
	hostfile_changed(file, st);
	return file;
}

/* 0 when host_fd is something whose pages can be read. */
static int check_mappable(int host_fd, struct stat *st)
{
	int flags = fcntl(host_fd, F_GETFL);

	if (flags < 0 || fstat(host_fd, st))
		return -errno;
	if (flags & O_PATH)
		return -EBADF;
	if ((flags & O_ACCMODE) == O_WRONLY)
		return -EACCES;
	return S_ISREG(st->st_mode) ? 0 : -ENODEV;
}

/* H3, before the first area that may write comes. 0 or -errno; table->lock is held. */
static int make_writable(struct hostfile *file, int host_fd)
{
	int copy;

	if ((fcntl(host_fd, F_GETFL) & O_ACCMODE) != O_RDWR || atomic_load(&file->write_fd) >= 0)
		return 0;
	copy = fcntl(host_fd, F_DUPFD_CLOEXEC, 0);
	if (copy < 0)
		return -errno;
	atomic_store(&file->write_fd, copy);
	return 0;
}

int hostfile_get(struct hostfile_table *table, int host_fd, const char *path, struct backing **backing)
{
	struct hostfile *file, *unkept = NULL;
	struct stat st;
	bool changed = false;
	int ret = check_mappable(host_fd, &st);

	if (ret < 0)
		return ret;
	pthread_mutex_lock(&table->lock);
	file = find_live(table, st.st_dev, st.st_ino);
	if (file) {
		changed = hostfile_changed(file, &st);
	} else {
		file = hostfile_new(table, host_fd, path, &st);
		if (file) {
			list_add(&file->node, bucket_of(table, st.st_ino));
			atomic_fetch_add(&table->nr_live, 1);
		} else {
			ret = -errno;
		}
	}
	if (file)
		ret = make_writable(file, host_fd);
	if (file)
		unkept = keep(table, file, &st);
	pthread_mutex_unlock(&table->lock);
	if (unkept)
		backing_put(&unkept->backing);
	if (ret < 0 && file)
		backing_put(&file->backing);
	if (ret < 0)
		return ret;
	if (changed)
		filemap_drop(&file->backing.cache, 0, ~0ull);
	*backing = &file->backing;
	return 0;
}

/* References to what is live, at most max of them: how many. */
static unsigned int get_all(struct hostfile_table *table, struct backing **all, unsigned int max)
{
	struct hostfile *file;
	unsigned int nr = 0;

	pthread_mutex_lock(&table->lock);
	for (unsigned int i = 0; i < HOSTFILE_BUCKETS; i++)
		list_for_each_entry (file, &table->live[i], node)
			if (nr < max && backing_get_live(&file->backing))
				all[nr++] = &file->backing;
	pthread_mutex_unlock(&table->lock);
	return nr;
}

void hostfile_drop_caches(struct hostfile_table *table)
{
	unsigned int max = atomic_load(&table->nr_live), nr;
	struct backing **all = calloc(max ? max : 1, sizeof(struct backing *));

	if (!all)
		return;
	nr = get_all(table, all, max);
	for (unsigned int i = 0; i < nr; i++) {
		filemap_drop(&all[i]->cache, 0, ~0ull);
		backing_put(all[i]);
	}
	free(all);
}
