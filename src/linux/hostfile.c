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
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hostfile.h"
#include "path.h"

struct hostfile {
	struct backing backing;
	struct list_head node; /* (table->lock) */
	struct hostfile_table *table;
	int fd;
	char *path;
	/* The file as it was when the last mapping of it was made. */
	struct timespec mtime; /* (table->lock) */
	off_t bytes;	       /* (table->lock) */
};

static struct hostfile *to_hostfile(struct backing *b)
{
	return container_of(b, struct hostfile, backing);
}

static ssize_t hostfile_read(struct backing *b, void *buffer, size_t bytes, uint64_t offset)
{
	size_t done = 0;

	if (offset > INT64_MAX - bytes)
		return 0;
	while (done < bytes) {
		ssize_t n = pread(to_hostfile(b)->fd, (char *)buffer + done, bytes - done,
				  (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return done ? (ssize_t)done : -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static int64_t hostfile_size(struct backing *b)
{
	struct stat st;

	return fstat(to_hostfile(b)->fd, &st) ? -errno : st.st_size;
}

static void hostfile_free(struct hostfile *file)
{
	close(file->fd);
	free(file->path);
	free(file);
}

static void hostfile_release(struct backing *b)
{
	struct hostfile *file = to_hostfile(b);

	pthread_mutex_lock(&file->table->lock);
	list_del(&file->node);
	pthread_mutex_unlock(&file->table->lock);
	hostfile_free(file);
}

static const struct backing_ops hostfile_ops = {
	.read = hostfile_read,
	.size = hostfile_size,
	.release = hostfile_release,
};

void hostfile_table_init(struct hostfile_table *table, struct mm_host *mm_host)
{
	pthread_mutex_init(&table->lock, NULL);
	list_init(&table->live);
	table->mm_host = mm_host;
}

void hostfile_table_destroy(struct hostfile_table *table)
{
	pthread_mutex_destroy(&table->lock);
}

static bool get_unless_dead(struct backing *b)
{
	uint32_t refs = atomic_load(&b->refs);

	while (refs && !atomic_compare_exchange_weak(&b->refs, &refs, refs + 1))
		;
	return refs;
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

static struct hostfile *find_live(struct hostfile_table *table, const struct stat *st)
{
	struct hostfile *file;

	list_for_each_entry (file, &table->live, node) {
		if (file->backing.dev == st->st_dev && file->backing.ino == st->st_ino &&
		    get_unless_dead(&file->backing))
			return file;
	}
	return NULL;
}

/* What maps will show: the caller's word for it, or the kernel's; NULL: no memory. */
static char *shown_path(int fd, const char *path)
{
	char kernels[PATH_MAX];

	if (path)
		return strdup(path);
	return strdup(path_of_fd(fd, kernels) < 0 ? "" : kernels);
}

/* A new hostfile, on no list, with one reference; errno says why not. */
static struct hostfile *hostfile_new(struct hostfile_table *table, int host_fd, const char *path,
				     const struct stat *st)
{
	struct hostfile *file = calloc(1, sizeof(*file));

	if (!file)
		return NULL;
	file->path = shown_path(host_fd, path);
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
	list_init(&file->node);
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

int hostfile_get(struct hostfile_table *table, int host_fd, const char *path, struct backing **backing)
{
	struct hostfile *file;
	struct stat st;
	bool changed = false;
	int ret = check_mappable(host_fd, &st);

	if (ret < 0)
		return ret;
	pthread_mutex_lock(&table->lock);
	file = find_live(table, &st);
	if (file) {
		changed = hostfile_changed(file, &st);
	} else {
		file = hostfile_new(table, host_fd, path, &st);
		if (file)
			list_add(&file->node, &table->live);
		else
			ret = -errno;
	}
	pthread_mutex_unlock(&table->lock);
	if (ret < 0)
		return ret;
	if (changed)
		filemap_drop(&file->backing.cache, 0, ~0ull);
	*backing = &file->backing;
	return 0;
}
