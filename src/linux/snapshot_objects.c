/* SPDX-License-Identifier: MIT */
/* snapshot_objects.c - memory that processes of a snapshot share: see snapshot.h and object_twins.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../mm/shmem.h"
#include "../vmm/vm.h"
#include "memfd.h"
#include "object_twins.h"
#include "shm.h"
#include "snapshot.h"
#include "task.h"

#define MAX_OBJECTS 65536u
#define PART_BYTES  65536u
#define NO_PART	    UINT64_MAX /* in the place of an offset: the end */

/* A descriptor that makes the memfd of an object; fd -1: it is none. */
struct snapshot_memfd {
	int fd;
	struct memfd *m; /* a reference, or NULL */
};

struct segment_record {
	struct shmid_ds ds;
	int64_t id;
	uint64_t object; /* its number */
};

struct object_record {
	struct memfd_shape shape; /* of anonymous memory only `bytes` counts */
	uint64_t is_memfd;
};

/* --- which there are ---------------------------------------------------------------------------------- */

static bool note_areas(struct snapshot *n, struct mm *mm)
{
	const struct vma *v;

	vma_for_each (v, &mm->vmas) {
		struct backing *b = object_of_area(v);
		if (b && numbered_note(&n->object, b) == UINT32_MAX)
			return false;
	}
	return true;
}

/* The object of the file, which has it while it is open; or NULL. */
static struct backing *object_of_file(const struct guest_file *f)
{
	struct backing *b = f->memfd ? memfd_find(f->host_fd) : NULL;

	if (b)
		backing_put(b);
	return b && object_has_twins(b) ? b : NULL;
}

static int note_segments(struct snapshot *n)
{
	int err = shm_ns_list(n->shm, &n->segment, &n->nr_segments);

	for (unsigned int i = 0; i < n->nr_segments && !err; i++)
		if (numbered_note(&n->object, n->segment[i].object) == UINT32_MAX)
			err = -ENOMEM;
	return err;
}

int snapshot_note_objects(struct snapshot *n)
{
	int err = note_segments(n);

	if (err)
		return err;
	for (uint32_t i = 0; i < n->mm.nr; i++)
		if (!note_areas(n, n->mm.at[i]))
			return -ENOMEM;
	for (uint32_t i = 0; i < n->file.nr; i++) {
		struct backing *b = object_of_file(n->file.at[i]);
		if (b && numbered_note(&n->object, b) == UINT32_MAX)
			return -ENOMEM;
	}
	return 0;
}

/* --- what they are -------------------------------------------------------------------------------------- */

static void describe(const struct snapshot *n, struct backing *b, struct object_record *r)
{
	memset(r, 0, sizeof(*r));
	for (uint32_t i = 0; i < n->file.nr && !r->is_memfd; i++) {
		const struct guest_file *f = n->file.at[i];
		if (object_of_file(f) == b)
			r->is_memfd = !memfd_describe(f->host_fd, &r->shape);
	}
	r->shape.bytes = (uint64_t)b->ops->size(b);
}

static int make_memfd(struct snapshot *n, const struct object_record *r, struct snapshot_memfd *m)
{
	m->fd = memfd_build(vm_mm_host(n->vm), &r->shape, &m->m);
	if (m->fd < 0)
		return m->fd == -EINVAL ? -EBADMSG : m->fd;
	return numbered_add(&n->object, memfd_find(m->fd)) ? 0 : -ENOMEM;
}

static int make_object(struct snapshot *n, const struct object_record *r, char *path,
		       struct snapshot_memfd *m)
{
	if (n->c.bad || !path || r->shape.bytes > INT64_MAX)
		return -EBADMSG;
	if (r->is_memfd)
		return make_memfd(n, r, m);
	struct backing *b = shmem_create(vm_mm_host(n->vm), r->shape.bytes, path[0] ? path : NULL);
	if (b && numbered_add(&n->object, b))
		return 0;
	if (b)
		backing_put(b);
	return -ENOMEM;
}

static int read_objects(struct snapshot *n)
{
	uint32_t nr = codec_count(&n->c, 0, MAX_OBJECTS);
	struct object_record r;
	int err = 0;

	n->memfd = calloc(nr + 1ul, sizeof(*n->memfd));
	if (!n->memfd)
		return -ENOMEM;
	n->nr_memfds = nr;
	for (uint32_t i = 0; i < nr; i++)
		n->memfd[i].fd = -1;
	for (uint32_t i = 0; i < nr && !err; i++) {
		char *path;
		CODE(&n->c, r);
		codec_string(&n->c, &path);
		err = make_object(n, &r, path, &n->memfd[i]);
		free(path);
	}
	return err;
}

/* What is read names an object that is there. */
static int read_segment(struct snapshot *n, struct shm_segment *g)
{
	struct segment_record r;

	CODE(&n->c, r);
	if (n->c.bad || r.object >= n->object.nr || r.id < 0 || r.id > INT32_MAX)
		return -EBADMSG;
	*g = (struct shm_segment){r.ds, (int)r.id, n->object.at[r.object]};
	int err = shm_ns_add(n->shm, g);
	return err == -EINVAL ? -EBADMSG : err;
}

static int read_segments(struct snapshot *n)
{
	uint32_t nr = codec_count(&n->c, 0, SHM_MAX_SEGMENTS);
	int err = 0;

	n->segment = calloc(nr + 1ul, sizeof(*n->segment));
	if (!n->segment)
		return -ENOMEM;
	for (uint32_t i = 0; i < nr && !err; i++)
		err = read_segment(n, &n->segment[n->nr_segments++]);
	return err;
}

static void write_segments(struct snapshot *n)
{
	codec_count(&n->c, n->nr_segments, SHM_MAX_SEGMENTS);
	for (unsigned int i = 0; i < n->nr_segments; i++) {
		const struct shm_segment *g = &n->segment[i];
		struct segment_record r = {g->ds, g->id, numbered_note(&n->object, g->object)};
		CODE(&n->c, r);
	}
}

int snapshot_code_objects(struct snapshot *n)
{
	struct object_record r;

	if (!n->c.writing) {
		int err = read_objects(n);
		return err ? err : read_segments(n);
	}
	codec_count(&n->c, n->object.nr, MAX_OBJECTS);
	for (uint32_t i = 0; i < n->object.nr; i++) {
		struct backing *b = n->object.at[i];
		char none[1] = "",
		     *path = strcmp(b->path, SHMEM_ANON_PATH) ? (char *)(uintptr_t)b->path : none;
		describe(n, b, &r);
		CODE(&n->c, r);
		codec_string(&n->c, &path);
	}
	write_segments(n);
	return 0;
}

/* --- what is in them -------------------------------------------------------------------------------------- */

static int write_parts(struct codec *c, struct backing *b, uint64_t at, uint64_t end, char *buffer)
{
	while (at < end) {
		struct iovec iov = {buffer, min_u64(end - at, PART_BYTES)};
		int64_t n = shmem_read(b, &iov, 1, at);
		if (n <= 0)
			return n ? (int)n : -EIO;
		void *block = buffer;
		size_t bytes = (size_t)n;
		CODE(c, at);
		codec_block(c, &block, &bytes, PART_BYTES);
		at += bytes;
	}
	return 0;
}

static int write_contents(struct codec *c, struct backing *b)
{
	char *buffer = malloc(PART_BYTES);
	uint64_t none = NO_PART;
	int64_t at = 0;
	int err = buffer ? 0 : -ENOMEM;

	while (!err && (at = shmem_seek(b, (uint64_t)at, false)) >= 0) {
		int64_t end = shmem_seek(b, (uint64_t)at, true);
		err = end < 0 ? -EIO : write_parts(c, b, (uint64_t)at, (uint64_t)end, buffer);
		at = end;
	}
	CODE(c, none);
	free(buffer);
	return err;
}

static int read_part(struct snapshot *n, struct backing *b, uint64_t at)
{
	uint64_t size = (uint64_t)b->ops->size(b);
	struct iovec iov;
	int err = 0;

	codec_block(&n->c, &iov.iov_base, &iov.iov_len, PART_BYTES);
	if (n->c.bad || at > size || iov.iov_len > size - at)
		err = -EBADMSG;
	else if (iov.iov_len && shmem_write(b, n->account, &iov, 1, at) != (int64_t)iov.iov_len)
		err = -ENOMEM;
	free(iov.iov_base);
	return err;
}

static int read_contents(struct snapshot *n, struct backing *b)
{
	uint64_t at;
	int err = 0;

	for (CODE(&n->c, at); !err && !n->c.bad && at != NO_PART; CODE(&n->c, at))
		err = read_part(n, b, at);
	return n->c.bad && !err ? -EBADMSG : err;
}

int snapshot_code_contents(struct snapshot *n)
{
	int err = 0;

	for (uint32_t i = 0; i < n->object.nr && !err; i++)
		err = n->c.writing ? write_contents(&n->c, n->object.at[i])
				   : read_contents(n, n->object.at[i]);
	if (!n->c.writing)
		shm_ns_settle(n->shm, n->segment, n->nr_segments);
	if (!err && n->c.writing && n->c.nr > IMAGE_MAX_STATE)
		return snapshot_refuse(n, -EFBIG, "more than %llu MiB of shared memory cannot be saved",
				       IMAGE_MAX_STATE >> 20);
	return err;
}

/* --- using them ---------------------------------------------------------------------------------------------- */

int snapshot_open_object(const struct snapshot *n, uint32_t nr, int flags)
{
	char path[40];

	if (nr >= n->object.nr || n->memfd[nr].fd < 0)
		return -EBADMSG;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", n->memfd[nr].fd);
	int fd = open(path, (flags & (O_ACCMODE | O_APPEND | O_NONBLOCK | O_NOATIME | O_PATH)) | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

void snapshot_destroy_objects(struct snapshot *n)
{
	if (!n->c.writing) {
		for (uint32_t i = 0; i < n->object.nr; i++)
			backing_put(n->object.at[i]);
		for (uint32_t i = 0; n->memfd && i < n->nr_memfds; i++) {
			memfd_drop(n->memfd[i].m);
			if (n->memfd[i].fd >= 0)
				close(n->memfd[i].fd);
		}
	}
	free(n->segment);
	free(n->memfd);
	free(n->object.at);
}
