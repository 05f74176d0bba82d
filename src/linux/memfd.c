/* SPDX-License-Identifier: MIT */
/* memfd.c - descriptors for shared memory. See memfd.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../mm/hugetlb_object.h"
#include "../mm/i_mmap.h"
#include "../mm/mm.h"
#include "../mm/shmem.h"
#include "memfd.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010 /* Linux 5.1 */
#endif

#define NAME_BYTES 300
#define NR_ROWS	   1024u /* a build has thousands of files in a directory of memory */

struct memfd {
	struct memfd *next; /* (table_lock) in its row */
	struct backing *object;
	uint64_t dev, ino; /* (C) of the host's memfd */
	unsigned int refs; /* (table_lock) guest descriptors, memfd_new's caller, and the file's names */
	const void *owner; /* (table_lock) whose file it is that has a name, or NULL */
};

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static struct memfd *table[NR_ROWS]; /* (table_lock) */
static _Atomic unsigned int nr_memfds;

/* table_lock is held, in all of these four. */

static struct memfd **row_of(uint64_t ino)
{
	return &table[ino % NR_ROWS];
}

static struct memfd *find(dev_t dev, ino_t ino)
{
	struct memfd *m = *row_of(ino);

	while (m && (m->dev != dev || m->ino != ino))
		m = m->next;
	return m;
}

static void enter(struct memfd *m)
{
	struct memfd **row = row_of(m->ino);

	m->next = *row;
	*row = m;
	atomic_fetch_add(&nr_memfds, 1);
}

static void leave(struct memfd *m)
{
	struct memfd **at = row_of(m->ino);

	while (*at != m)
		at = &(*at)->next;
	*at = m->next;
	atomic_fetch_sub(&nr_memfds, 1);
}

struct memfd *memfd_adopt_object(dev_t dev, ino_t ino)
{
	struct memfd *m;

	if (!atomic_load(&nr_memfds))
		return NULL;
	pthread_mutex_lock(&table_lock);
	m = find(dev, ino);
	if (m)
		m->refs++;
	pthread_mutex_unlock(&table_lock);
	return m;
}

struct memfd *memfd_adopt(int host_fd)
{
	struct stat st;

	return atomic_load(&nr_memfds) && !fstat(host_fd, &st) ? memfd_adopt_object(st.st_dev, st.st_ino)
							       : NULL;
}

void memfd_drop(struct memfd *m)
{
	bool last;

	if (!m)
		return;
	pthread_mutex_lock(&table_lock);
	last = !--m->refs;
	if (last) {
		leave(m);
	}
	pthread_mutex_unlock(&table_lock);
	if (!last)
		return;
	backing_put(m->object);
	free(m);
}

struct backing *memfd_find(int host_fd)
{
	struct stat st;

	return atomic_load(&nr_memfds) && !fstat(host_fd, &st) ? memfd_find_object(st.st_dev, st.st_ino)
							       : NULL;
}

struct backing *memfd_find_object(dev_t dev, ino_t ino)
{
	struct backing *b = NULL;

	if (!atomic_load(&nr_memfds))
		return NULL;
	pthread_mutex_lock(&table_lock);
	struct memfd *m = find(dev, ino);
	if (m)
		b = backing_get(m->object);
	pthread_mutex_unlock(&table_lock);
	return b;
}

struct backing *memfd_object(const struct memfd *m)
{
	return backing_get(m->object);
}

bool memfd_is(int host_fd)
{
	struct memfd *m = memfd_adopt(host_fd);

	memfd_drop(m);
	return m;
}

bool backing_is_memory(const struct backing *b)
{
	return b->cache.shmem || hugetlb_object_of((struct backing *)(uintptr_t)b);
}

static struct backing *make_object(struct mm_host *h, struct memcg *cg, const char *path, unsigned int flags)
{
	struct hugetlb_object *huge;

	if (!(flags & MFD_HUGETLB))
		return shmem_create(h, 0, path);
	huge = hugetlb_object_create(h, cg, 0, path);
	return huge ? &huge->backing : NULL;
}

/*
 * A memfd of the host, or file of an owner, and its object (NULL: no memory), which is taken over, in the table with one reference. NULL: no
 * memory. Whoever comes second to a file finds what the first has made.
 */
static struct memfd *memfd_register(struct backing *object, int host_fd, const void *owner)
{
	struct memfd *m = calloc(1, sizeof(*m)), *found;
	struct stat st;

	if (!m || fstat(host_fd, &st) || !object) {
		if (object)
			backing_put(object);
		free(m);
		return NULL;
	}
	m->object = object;
	m->dev = m->object->dev = st.st_dev;
	m->ino = m->object->ino = st.st_ino;
	m->refs = 1;
	m->owner = owner;
	pthread_mutex_lock(&table_lock);
	found = owner ? find(st.st_dev, st.st_ino) : NULL;
	if (!found)
		enter(m);
	pthread_mutex_unlock(&table_lock);
	if (!found)
		return m;
	backing_put(m->object);
	free(m);
	return found;
}

#define HUGE_SIZE_SHIFT 26
#ifndef MFD_EXEC /* Linux 6.3 */
#define MFD_NOEXEC_SEAL 8u
#define MFD_EXEC	16u
#endif
#define HUGE_SIZE_MASK 0x3fu
#define HUGE_2M	       21u

/* Pages of which there is a pool. */
static bool is_served(unsigned int flags)
{
	unsigned int size = flags >> HUGE_SIZE_SHIFT & HUGE_SIZE_MASK;

	return !(flags & MFD_HUGETLB) || !size || size == HUGE_2M;
}

bool memfd_flags_valid(unsigned int flags)
{
	unsigned int known = MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC | MFD_HUGETLB;

	if (flags & MFD_HUGETLB)
		known |= HUGE_SIZE_MASK << HUGE_SIZE_SHIFT;
	return !(flags & ~known) && (flags & (MFD_EXEC | MFD_NOEXEC_SEAL)) != (MFD_EXEC | MFD_NOEXEC_SEAL);
}

int memfd_new(struct mm_host *h, struct memcg *cg, const char *name, unsigned int flags, struct memfd **m)
{
	int host_fd = memfd_create(name, flags | MFD_CLOEXEC);
	char path[NAME_BYTES];

	*m = NULL;
	if (host_fd < 0)
		return -errno;
	if (!is_served(flags))
		return host_fd; /* there is nothing to map it with: mmap says so */
	snprintf(path, sizeof(path), "/memfd:%s (deleted)", name);
	*m = memfd_register(make_object(h, cg, path, flags), host_fd, NULL);
	if (*m)
		return host_fd;
	close(host_fd);
	return -ENOMEM;
}

/* --- making one anew ------------------------------------------------------------------------------------------------ */

#define PATH_BEGIN "/memfd:"
#define PATH_END   " (deleted)"
#define ALL_SEALS  (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE | 0x20u)

bool memfd_has_path(const char *path)
{
	return !strncmp(path, PATH_BEGIN, strlen(PATH_BEGIN));
}

int memfd_describe(int host_fd, struct memfd_shape *s)
{
	struct backing *b = memfd_find(host_fd);
	struct stat st;
	int err = 0;

	memset(s, 0, sizeof(*s));
	if (!b || !b->cache.shmem || !memfd_has_path(b->path))
		err = -ENOTSUP;
	else if (fstat(host_fd, &st))
		err = -errno;
	if (!err) {
		size_t bytes = strlen(b->path) - strlen(PATH_BEGIN) - strlen(PATH_END);
		memcpy(s->name, b->path + strlen(PATH_BEGIN), min_u64(bytes, sizeof(s->name) - 1));
		s->bytes = (uint64_t)st.st_size;
		s->mode = st.st_mode & 07777;
		s->seals = (uint32_t)fcntl(host_fd, F_GET_SEALS);
	}
	if (b)
		backing_put(b);
	return err;
}

int memfd_build(struct mm_host *h, const struct memfd_shape *s, struct memfd **m)
{
	if ((s->seals & ~ALL_SEALS) || s->bytes > INT64_MAX || (s->mode & ~07777u) ||
	    !memchr(s->name, 0, sizeof(s->name)))
		return -EINVAL;
	int fd = memfd_new(h, NULL, s->name, MFD_ALLOW_SEALING, m);
	if (fd < 0)
		return fd;
	shmem_resize((*m)->object, s->bytes);
	if (!ftruncate(fd, (off_t)s->bytes) && !fchmod(fd, s->mode) && !fcntl(fd, F_ADD_SEALS, s->seals))
		return fd;
	memfd_drop(*m);
	close(fd);
	return -EINVAL;
}

int memfd_attach(struct mm_host *h, int host_fd, const char *name, const void *owner)
{
	struct stat st;
	uint64_t bytes = fstat(host_fd, &st) ? 0 : (uint64_t)st.st_size;

	return memfd_register(shmem_create(h, bytes, name), host_fd, owner) ? 0 : -ENOMEM;
}

void memfd_unlinked(int host_fd)
{
	struct memfd *m = memfd_adopt(host_fd);
	bool last = false;
	struct stat st;

	if (!m)
		return;
	pthread_mutex_lock(&table_lock);
	if (m->owner && !fstat(host_fd, &st) && !st.st_nlink) {
		m->owner = NULL;
		last = true;
	}
	pthread_mutex_unlock(&table_lock);
	if (last)
		memfd_drop(m);
	memfd_drop(m);
}

/* One file of an owner in a row, whose names do not count any more; NULL: there is none. table_lock is held. */
static struct memfd *take_owned(struct memfd *row, const void *owner)
{
	struct memfd *m = row;

	while (m && m->owner != owner)
		m = m->next;
	if (m)
		m->owner = NULL;
	return m;
}

void memfd_forget(const void *owner)
{
	for (unsigned int i = 0; i < NR_ROWS; i++) {
		struct memfd *m;
		do {
			pthread_mutex_lock(&table_lock);
			m = take_owned(table[i], owner);
			pthread_mutex_unlock(&table_lock);
			memfd_drop(m);
		} while (m);
	}
}

/* --- calls --------------------------------------------------------------------------------------------------------- */

static int seals_of(int host_fd)
{
	int seals = fcntl(host_fd, F_GET_SEALS);

	return seals < 0 ? 0 : seals;
}

static size_t total(const struct iovec *iov, unsigned int nr)
{
	size_t sum = 0;

	while (nr)
		sum += iov[--nr].iov_len;
	return sum;
}

int64_t memfd_read(struct backing *b, int host_fd, const struct iovec *iov, unsigned int nr, int64_t offset)
{
	int mode = fcntl(host_fd, F_GETFL) & O_ACCMODE;
	int64_t at = offset < 0 ? lseek(host_fd, 0, SEEK_CUR) : offset, n;

	if (mode == O_WRONLY)
		return -EBADF;
	struct hugetlb_object *huge = hugetlb_object_of(b);
	n = huge ? hugetlb_object_read(huge, iov, nr, (uint64_t)at) : shmem_read(b, iov, nr, (uint64_t)at);
	if (n > 0 && offset < 0)
		lseek(host_fd, at + n, SEEK_SET);
	return n;
}

/* How much of a write of [at, at + bytes) is allowed, or -errno. Pages that would grow a sealed object are refused as a whole. */
static int64_t check_write(struct backing *b, int host_fd, int64_t at, size_t bytes)
{
	int seals = seals_of(host_fd);
	int64_t size = b->ops->size(b), whole = (int64_t)page_align_down((uint64_t)size);

	if (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
		return -EPERM;
	if (at > INT64_MAX - (int64_t)bytes)
		return -EFBIG;
	if (!(seals & F_SEAL_GROW) || at + (int64_t)bytes <= size)
		return (int64_t)bytes;
	return at < whole ? whole - at : -EPERM;
}

/* The first `bytes` of the buffers: how many were written, or -ENOMEM when none. */
static int64_t write_some(struct backing *b, struct memcg *cg, const struct iovec *iov, int64_t bytes,
			  int64_t at)
{
	int64_t done = 0, n = 0;

	for (; done < bytes; iov++) {
		struct iovec part = {iov->iov_base, min_u64(iov->iov_len, (uint64_t)(bytes - done))};
		if (!part.iov_len)
			continue;
		n = shmem_write(b, cg, &part, 1, (uint64_t)(at + done));
		if (n <= 0)
			break;
		done += n;
		if ((size_t)n < part.iov_len)
			break;
	}
	return done ? done : n;
}

int64_t memfd_write(struct backing *b, struct memcg *cg, int host_fd, const struct iovec *iov,
		    unsigned int nr, int64_t offset)
{
	int flags = fcntl(host_fd, F_GETFL);
	int64_t at = offset < 0 ? lseek(host_fd, 0, SEEK_CUR) : offset, allowed, n;

	if ((flags & O_ACCMODE) == O_RDONLY)
		return -EBADF;
	if (hugetlb_object_of(b)) /* it is mapped, and never written */
		return -EINVAL;
	if (!total(iov, nr))
		return 0;
	if (flags & O_APPEND)
		at = b->ops->size(b);
	allowed = check_write(b, host_fd, at, total(iov, nr));
	if (allowed < 0)
		return allowed;
	n = write_some(b, cg, iov, allowed, at);
	if (n <= 0)
		return n;
	struct stat st;
	if (!fstat(host_fd, &st) && st.st_size < at + n)
		ftruncate(host_fd, at + n); /* D1; the seals were looked at */
	if (offset < 0)
		lseek(host_fd, at + n, SEEK_SET);
	return n;
}

static int64_t punch(struct backing *b, int host_fd, int64_t offset, int64_t bytes)
{
	if (seals_of(host_fd) & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
		return -EPERM;
	if (hugetlb_object_of(b))
		hugetlb_object_punch(hugetlb_object_of(b), (uint64_t)offset, (uint64_t)(offset + bytes));
	else
		shmem_punch(b, (uint64_t)offset, (uint64_t)(offset + bytes));
	return 0;
}

void memfd_resize(struct backing *b, uint64_t bytes)
{
	if (hugetlb_object_of(b))
		hugetlb_object_resize(hugetlb_object_of(b), bytes);
	else
		shmem_resize(b, bytes);
}

/* The pages of [0, end) of a file of 2 MiB pages; its size is a multiple of them. */
static int64_t allocate_huge(struct hugetlb_object *huge, int host_fd, int mode, int64_t offset, int64_t end)
{
	int64_t err = hugetlb_object_allocate(huge, (uint64_t)offset, (uint64_t)end,
					      mode & FALLOC_FL_KEEP_SIZE ? HUGETLB_KEEP_SIZE : HUGETLB_GROW);

	if (!err && !(mode & FALLOC_FL_KEEP_SIZE))
		memfd_extend(&huge->backing, host_fd);
	return err;
}

void memfd_extend(struct backing *b, int host_fd)
{
	struct stat st;

	if (!fstat(host_fd, &st) && st.st_size < b->ops->size(b))
		ftruncate(host_fd, b->ops->size(b)); /* D1 */
}

int64_t memfd_fallocate(struct backing *b, struct memcg *cg, int host_fd, int mode, int64_t offset,
			int64_t bytes)
{
	int64_t end, size;
	int err;

	if (offset < 0 || bytes <= 0)
		return -EINVAL;
	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE))
		return -EOPNOTSUPP;
	if (mode == FALLOC_FL_PUNCH_HOLE)
		return -EOPNOTSUPP;
	if ((fcntl(host_fd, F_GETFL) & O_ACCMODE) == O_RDONLY)
		return -EBADF;
	if (offset > INT64_MAX - bytes)
		return -EFBIG;
	end = offset + bytes;
	if (mode & FALLOC_FL_PUNCH_HOLE)
		return punch(b, host_fd, offset, bytes);
	size = b->ops->size(b);
	if ((seals_of(host_fd) & F_SEAL_GROW) && end > size)
		return -EPERM;
	if (hugetlb_object_of(b))
		return allocate_huge(hugetlb_object_of(b), host_fd, mode, offset, end);
	err = shmem_allocate(b, cg, (uint64_t)offset, (uint64_t)end);
	if (err || (mode & FALLOC_FL_KEEP_SIZE) || end <= size)
		return err == -ENOMEM ? -ENOSPC : err;
	if (ftruncate(host_fd, end))
		return -errno;
	shmem_resize(b, (uint64_t)end);
	return 0;
}

int64_t memfd_seek(struct backing *b, int host_fd, int64_t offset, int whence)
{
	int64_t at;

	if ((whence == SEEK_DATA || whence == SEEK_HOLE) && !hugetlb_object_of(b)) {
		if (offset < 0)
			return -ENXIO;
		at = shmem_seek(b, (uint64_t)offset, whence == SEEK_HOLE);
		if (at < 0)
			return at;
		offset = at;
		whence = SEEK_SET;
	}
	at = lseek(host_fd, offset, whence);
	return at < 0 ? -errno : at;
}

/* The host would look for writable mappings of its memfd, which has none: ours are looked for here. */
int64_t memfd_add_seals(struct backing *b, int host_fd, unsigned int seals)
{
	int now = fcntl(host_fd, F_GET_SEALS), err = 0;

	if (now >= 0 && !(now & F_SEAL_SEAL) && (seals & F_SEAL_WRITE) && !(now & F_SEAL_WRITE) &&
	    (fcntl(host_fd, F_GETFL) & O_ACCMODE) != O_RDONLY)
		err = mapping_deny_writable(&b->cache);
	if (err)
		return err;
	if (!fcntl(host_fd, F_ADD_SEALS, seals))
		return 0;
	return -errno;
}

int memfd_check_map(int host_fd, unsigned int prot, bool shared, bool *may_not_write)
{
	int seals = seals_of(host_fd);

	if (!shared || !(seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)))
		return 0;
	if (prot & PROT_BITS_WRITE)
		return -EPERM;
	*may_not_write = true;
	return 0;
}
