/* SPDX-License-Identifier: MIT */
/* swapfile_open.c - finding out whether a file may be swapped to, and making it ready. See swapfile.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../include/lodge.h"
#include "report.h"
#include "swapfile.h"

#define MAGIC	  "lodge swap"
#define VERSION	  1
#define LOOKED_AT (1u << 20) /* bytes that must be zero, or begin with a header, before anything is written */
#define MIN_SLOTS 2
#define MIN_ALIGN 512

/* In page 0; the rest of that is zero. */
struct header {
	char magic[16];
	uint32_t version;
	uint32_t page_size;
	uint64_t nr_slots;
	uint8_t uuid[16];
};

/* What opening finds out, step by step. */
struct opening {
	const struct swapfile_setup *setup;
	struct swapfile *file;
	struct lodge_error *err;
	uint64_t old_bytes; /* the size that it had */
	bool created, has_header;
};

static int failed(const struct opening *o, int error, const char *what)
{
	return report_error(o->err, error, "swap %s: %s", o->setup->path, what);
}

static int failed_call(const struct opening *o, const char *what)
{
	int error = -errno;

	return report_error(o->err, error, "swap %s: %s: %s", o->setup->path, what, strerror(-error));
}

/* F1 for a block device: opened anew, exclusively. */
static int claim_device(struct opening *o)
{
	struct swapfile *f = o->file;

	close(f->fd);
	f->fd = open(o->setup->path, O_RDWR | O_CLOEXEC | O_EXCL);
	if (f->fd < 0)
		return errno == EBUSY ? failed(o, -EBUSY, "the device is in use")
				      : failed_call(o, "cannot open");
	if (ioctl(f->fd, BLKGETSIZE64, &o->old_bytes))
		return failed_call(o, "cannot learn its size");
	return 0;
}

static int open_file(struct opening *o)
{
	struct swapfile *f = o->file;
	const char *path = o->setup->path;
	struct stat st;

	f->fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (f->fd < 0 && errno == ENOENT && !o->setup->bytes)
		return failed(o, -ENOENT, "no such file; with a size it is created");
	if (f->fd < 0 && errno == ENOENT) {
		f->fd = open(path, O_RDWR | O_CLOEXEC | O_CREAT | O_EXCL, 0600);
		o->created = f->fd >= 0;
	}
	if (f->fd < 0 || fstat(f->fd, &st))
		return failed_call(o, "cannot open");
	f->device.is_file = S_ISREG(st.st_mode);
	o->old_bytes = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode))
		return claim_device(o);
	if (!S_ISREG(st.st_mode))
		return failed(o, -EINVAL, "neither a file nor a block device");
	if (flock(f->fd, LOCK_EX | LOCK_NB))
		return errno == EWOULDBLOCK ? failed(o, -EBUSY, "another process swaps to it")
					    : failed_call(o, "cannot lock");
	return 0;
}

static bool is_zero(const char *bytes, size_t nr)
{
	return !nr || (!bytes[0] && !memcmp(bytes, bytes + 1, nr - 1));
}

static int check_header(struct opening *o, const struct header *h)
{
	if (h->version != VERSION || h->page_size != PAGE_SIZE)
		return failed(o, -EEXIST,
			      "it was made by another version of lodge; remove it to have it made anew");
	memcpy(o->file->uuid, h->uuid, sizeof(h->uuid));
	o->has_header = true;
	return 0;
}

/* F2 */
static int check_contents(struct opening *o)
{
	char *bytes = malloc(LOOKED_AT);
	struct header h;
	int ret;

	if (!bytes)
		return failed(o, -ENOMEM, "out of memory");
	ssize_t n = pread(o->file->fd, bytes, LOOKED_AT, 0);
	if (n >= (ssize_t)sizeof(h))
		memcpy(&h, bytes, sizeof(h));
	if (n < 0)
		ret = failed_call(o, "cannot read");
	else if (is_zero(bytes, (size_t)n))
		ret = 0;
	else if (n >= (ssize_t)PAGE_SIZE && !memcmp(h.magic, MAGIC, sizeof(MAGIC)))
		ret = check_header(o, &h);
	else
		ret = failed(o, -EEXIST, "it holds something else; it was not touched");
	free(bytes);
	return ret;
}

static int choose_size(struct opening *o)
{
	struct swap_device *d = &o->file->device;
	uint64_t bytes = o->setup->bytes ? o->setup->bytes : o->old_bytes;

	if (!d->is_file && bytes > o->old_bytes)
		return report_error(o->err, -EINVAL, "swap %s: the device has %llu bytes only",
				    o->setup->path, (unsigned long long)o->old_bytes);
	d->nr_slots = bytes / PAGE_SIZE;
	o->file->bytes = d->nr_slots * PAGE_SIZE;
	if (d->nr_slots < MIN_SLOTS)
		return failed(o, -EINVAL, "too small: it needs 8K at least");
	if (d->nr_slots > SWAP_MAX_SLOTS)
		return failed(o, -EINVAL, "too large: 16T at most");
	return 0;
}

/* A file gets its room on disk now. */
static int allocate(struct opening *o)
{
	struct swapfile *f = o->file;

	if (!f->device.is_file || !fallocate(f->fd, 0, 0, (off_t)f->bytes))
		return 0;
	if (errno != EOPNOTSUPP)
		return failed_call(o, "no room for it");
	return o->old_bytes >= f->bytes || !ftruncate(f->fd, (off_t)f->bytes)
		       ? 0
		       : failed_call(o, "cannot make it so large");
}

static int write_header(struct opening *o)
{
	struct swapfile *f = o->file;
	char page[PAGE_SIZE] = {0};
	struct header h = {.magic = MAGIC, .version = VERSION, .page_size = PAGE_SIZE};

	if (!o->has_header && getrandom(f->uuid, sizeof(f->uuid), 0) != (ssize_t)sizeof(f->uuid))
		return failed_call(o, "no random numbers");
	h.nr_slots = f->device.nr_slots;
	memcpy(h.uuid, f->uuid, sizeof(h.uuid));
	memcpy(page, &h, sizeof(h));
	if (pwrite(f->fd, page, sizeof(page), 0) != (ssize_t)sizeof(page))
		return failed_call(o, "cannot write its header");
	return 0;
}

/* Around the host's page cache, where offsets and memory of a page are aligned enough for that. */
static void make_direct(struct swapfile *f)
{
	int flags = fcntl(f->fd, F_GETFL);
	struct statx st = {0};

	f->align = MIN_ALIGN;
#ifdef STATX_DIOALIGN
	if (!statx(f->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &st) && (st.stx_mask & STATX_DIOALIGN)) {
		if (!st.stx_dio_offset_align || st.stx_dio_offset_align > PAGE_SIZE ||
		    st.stx_dio_mem_align > PAGE_SIZE)
			return;
		f->align = (uint32_t)max_u64(st.stx_dio_offset_align, MIN_ALIGN);
	}
#endif
	f->direct = flags >= 0 && !fcntl(f->fd, F_SETFL, (flags & ~O_NONBLOCK) | O_DIRECT);
}

static int init_io(struct opening *o)
{
	int err = swapfile_init_io(o->file);

	return err ? report_error(o->err, err, "swap %s: io_uring: %s", o->setup->path, strerror(-err)) : 0;
}

static int prepare(struct opening *o)
{
	int ret = open_file(o);

	if (!ret)
		ret = check_contents(o);
	if (!ret)
		ret = choose_size(o);
	if (!ret)
		ret = allocate(o);
	if (!ret)
		ret = write_header(o);
	if (!ret)
		make_direct(o->file);
	if (!ret)
		ret = init_io(o);
	if (ret && o->created)
		unlink(o->setup->path);
	return ret;
}

int swapfile_open(const struct swapfile_setup *setup, struct swapfile **result, struct lodge_error *err)
{
	struct swapfile *f = calloc(1, sizeof(*f));
	struct opening o = {.setup = setup, .file = f, .err = err};

	if (f)
		f->path = strdup(setup->path);
	if (!f || !f->path) {
		free(f);
		return failed(&o, -ENOMEM, "out of memory");
	}
	f->fd = -1;
	f->file = -1;
	f->device.path = f->path;
	f->device.priority = setup->priority;
	f->inject = setup->inject;
	int ret = prepare(&o);
	if (ret)
		swapfile_close(f);
	else
		*result = f;
	return ret;
}

void swapfile_close(struct swapfile *f)
{
	swapfile_destroy_io(f);
	if (f->fd >= 0)
		close(f->fd);
	free(f->path);
	free(f);
}
