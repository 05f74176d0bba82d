/* SPDX-License-Identifier: MIT */
/*
 * sys_handle.c - what is asked of a file beside its name: handles, and what of it is cached.
 *
 * A handle can be had of what the guest reaches by a path, to compare it; opening one takes a right that nobody has here.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../mm/filemap.h"
#include "memfd.h"
#include "path.h"
#include "syscall.h"

#define HANDLE_FLAGS  (AT_SYMLINK_FOLLOW | AT_EMPTY_PATH | 0x200 /* AT_HANDLE_FID */)
#define HANDLE_HEAD   sizeof(struct file_handle)
#define HANDLE_BYTES  128 /* MAX_HANDLE_SZ */
#define SYS_CACHESTAT 451 /* Linux 6.5 */

static int64_t host_handle(struct task *t, int host_fd, gva_t handle, gva_t mount_id, int flags)
{
	union {
		struct file_handle head;
		char bytes[HANDLE_HEAD + HANDLE_BYTES];
	} h;
	int id, err = 0;

	if (copy_from_user(t->mm, &h.head, handle, HANDLE_HEAD))
		return -EFAULT;
	if (h.head.handle_bytes > HANDLE_BYTES)
		return -EINVAL;
	if (name_to_handle_at(host_fd, "", &h.head, &id, AT_EMPTY_PATH | (flags & 0x200)))
		err = -errno;
	if (err && err != -EOVERFLOW)
		return err;
	if (copy_to_user(t->mm, mount_id, &id, sizeof(id)) ||
	    copy_to_user(t->mm, handle, &h, HANDLE_HEAD + (err ? 0 : h.head.handle_bytes)))
		return -EFAULT;
	return err;
}

static int64_t sys_name_to_handle_at(struct task *t, const uint64_t a[6])
{
	int flags = (int)a[4];
	struct path_target target;
	struct path p;
	int64_t ret;

	if (flags & ~HANDLE_FLAGS)
		return -EINVAL;
	ret = path_get(t, (int)a[0], a[1], &p);
	if (!ret)
		ret = path_target(t, &p,
				  (flags & AT_SYMLINK_FOLLOW ? 0 : PATH_NOFOLLOW) |
					  (flags & AT_EMPTY_PATH ? PATH_EMPTY : 0),
				  &target);
	if (ret)
		return ret;
	ret = host_handle(t, target.fd, a[2], a[3], flags);
	close(target.fd);
	return ret;
}

static int64_t sys_open_by_handle_at(struct task *t, const uint64_t a[6])
{
	struct file_handle head;

	if (copy_from_user(t->mm, &head, a[1], HANDLE_HEAD))
		return -EFAULT;
	if (!head.handle_bytes || head.handle_bytes > HANDLE_BYTES)
		return -EINVAL;
	return (int)a[0] != AT_FDCWD && !files_get(t->files, (int)a[0]) ? -EBADF : -EPERM;
}

/* --- what is cached -------------------------------------------------------------------------- */

struct cache_range {
	uint64_t offset, bytes;
};

struct cache_counts {
	uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

/* Memory has no file behind it: all that is there is cached. */
static void count_memory(struct mm *mm, struct backing *b, const struct cache_range *r,
			 struct cache_counts *c)
{
	uint64_t index = r->offset >> PAGE_SHIFT, nr = filemap_nr_pages(&b->cache);
	uint64_t last = r->bytes ? (r->offset + r->bytes - 1) >> PAGE_SHIFT : UINT64_MAX;

	uint64_t end = BYTES_TO_PAGES((uint64_t)b->ops->size(b));

	for (uint64_t seen = 0; seen < nr && index <= last && index < end; index++) {
		struct page *page = filemap_find(&b->cache, index);
		if (!page)
			continue;
		page_put(mm->frames, page);
		c->cached++;
		seen++;
	}
}

static int64_t sys_cachestat(struct task *t, const uint64_t a[6])
{
	int host_fd = files_host_fd(t->files, (int)a[0]);
	struct cache_counts counts = {0};
	struct cache_range range;
	struct backing *b;
	int64_t err = 0;

	if (host_fd < 0)
		return -EBADF;
	if (copy_from_user(t->mm, &range, a[1], sizeof(range)))
		return -EFAULT;
	b = memfd_find(host_fd);
	if (b && !(unsigned int)a[3])
		count_memory(t->mm, b, &range, &counts);
	else if (syscall(SYS_CACHESTAT, host_fd, &range, &counts, (unsigned int)a[3]))
		err = -errno;
	if (b)
		backing_put(b);
	if (err)
		return err;
	return copy_to_user(t->mm, a[2], &counts, sizeof(counts)) ? -EFAULT : 0;
}

const struct syscall_entry sys_handle_calls[] = {
	SYSCALL_ENTRY(name_to_handle_at),
	SYSCALL_ENTRY(open_by_handle_at),
	{SYS_CACHESTAT, sys_cachestat, "cachestat"},
	{0},
};
