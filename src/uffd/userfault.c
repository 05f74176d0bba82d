/* SPDX-License-Identifier: MIT */
/* userfault.c - see userfault.h. From the kernel's uapi header and what Linux 6.18 does. */
#include "userfault.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../mm/types.h"

/* Newer than the headers of Linux 6.1: under names of ours, for structures cannot be asked for by #ifndef. */
struct move_request { /* struct uffdio_move */
	uint64_t dst, src, len, mode;
	int64_t move;
};

struct poison_request { /* struct uffdio_poison */
	struct uffdio_range range;
	uint64_t mode;
	int64_t updated;
};

#define DOOR_MOVE   _IOWR(UFFDIO, 0x05, struct move_request)
#define DOOR_POISON _IOWR(UFFDIO, 0x08, struct poison_request)
#define DOOR_NEW    _IO(0xAA, 0x00) /* USERFAULTFD_IOC_NEW of /dev/userfaultfd, Linux 6.1 */

/* --- opening -------------------------------------------------------------------------------------- */

static int open_fd(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK), err = errno;

	if (fd >= 0 || err == ENOSYS)
		return fd >= 0 ? fd : -err;
	int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (device < 0)
		return -err;
	fd = ioctl(device, DOOR_NEW, O_CLOEXEC | O_NONBLOCK);
	close(device);
	return fd >= 0 ? fd : -err;
}

/* *features: in, those wanted; out, those that there are. */
static int agree(int fd, uint64_t *features)
{
	struct uffdio_api api = {.api = UFFD_API, .features = *features};

	if (ioctl(fd, UFFDIO_API, &api))
		return -errno;
	*features = api.features;
	return 0;
}

/* A descriptor agrees once: one is asked what there is, another is used. */
static int features_there(uint64_t *features)
{
	int fd = open_fd();

	if (fd < 0)
		return fd;
	*features = 0;
	int err = agree(fd, features);
	close(fd);
	return err;
}

static const char *reason(int err)
{
	switch (err) {
	case -EPERM:
	case -EACCES:
		return "not allowed: run as root, or sysctl vm.unprivileged_userfaultfd=1";
	case -ENOSYS:
		return "this kernel has none";
	default:
		return "cannot be opened";
	}
}

int userfault_open(struct userfault *u, uint64_t wanted, const char **why)
{
	uint64_t there = 0;
	int err = features_there(&there);

	u->fd = err ? err : open_fd();
	u->features = wanted & there;
	if (!err && u->fd >= 0) {
		uint64_t features = u->features;
		err = agree(u->fd, &features);
		if (err)
			close(u->fd);
	} else if (!err) {
		err = u->fd;
	}
	if (err)
		*why = reason(err);
	return err;
}

void userfault_close(struct userfault *u)
{
	close(u->fd);
}

/* --- ranges --------------------------------------------------------------------------------------- */

static struct uffdio_range range_of(const void *start, uint64_t bytes)
{
	return (struct uffdio_range){.start = (uintptr_t)start, .len = bytes};
}

int userfault_register(struct userfault *u, void *start, uint64_t bytes, uint64_t modes)
{
	struct uffdio_register r = {.range = range_of(start, bytes), .mode = modes};

	return ioctl(u->fd, UFFDIO_REGISTER, &r) ? -errno : 0;
}

int userfault_unregister(struct userfault *u, void *start, uint64_t bytes)
{
	struct uffdio_range r = range_of(start, bytes);

	return ioctl(u->fd, UFFDIO_UNREGISTER, &r) ? -errno : 0;
}

int userfault_wake(struct userfault *u, void *start, uint64_t bytes)
{
	struct uffdio_range r = range_of(start, bytes);

	return ioctl(u->fd, UFFDIO_WAKE, &r) ? -errno : 0;
}

int userfault_protect(struct userfault *u, void *start, uint64_t bytes, bool protect)
{
	struct uffdio_writeprotect w = {.range = range_of(start, bytes),
					.mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0};

	return ioctl(u->fd, UFFDIO_WRITEPROTECT, &w) ? -errno : 0;
}

/* --- events --------------------------------------------------------------------------------------- */

int userfault_read(struct userfault *u, struct uffd_msg *m, unsigned int max)
{
	ssize_t n;

	do
		n = read(u->fd, m, max * sizeof(*m));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (int)((size_t)n / sizeof(*m));
}

uint64_t userfault_page(const struct uffd_msg *m)
{
	return m->arg.pagefault.address & PAGE_MASK;
}

/* --- filling -------------------------------------------------------------------------------------- */

enum fill { FILL_COPY, FILL_MOVE, FILL_ZERO, FILL_CONTINUE, FILL_POISON };

/* One call. Bytes that it has done, above 0, or -errno. */
static int64_t fill_once(struct userfault *u, enum fill how, char *to, const char *from, uint64_t bytes)
{
	struct uffdio_copy copy = {.dst = (uintptr_t)to, .src = (uintptr_t)from, .len = bytes};
	struct move_request move = {.dst = (uintptr_t)to, .src = (uintptr_t)from, .len = bytes};
	struct uffdio_zeropage zero = {.range = range_of(to, bytes)};
	struct uffdio_continue go_on = {.range = range_of(to, bytes)};
	struct poison_request poison = {.range = range_of(to, bytes)};
	int64_t *done = NULL;
	int ret = 0;

	switch (how) {
	case FILL_COPY:
		done = (int64_t *)&copy.copy;
		ret = ioctl(u->fd, UFFDIO_COPY, &copy);
		break;
	case FILL_MOVE:
		done = &move.move;
		ret = ioctl(u->fd, DOOR_MOVE, &move);
		break;
	case FILL_ZERO:
		done = (int64_t *)&zero.zeropage;
		ret = ioctl(u->fd, UFFDIO_ZEROPAGE, &zero);
		break;
	case FILL_CONTINUE:
		done = (int64_t *)&go_on.mapped;
		ret = ioctl(u->fd, UFFDIO_CONTINUE, &go_on);
		break;
	case FILL_POISON:
		done = &poison.updated;
		ret = ioctl(u->fd, DOOR_POISON, &poison);
		break;
	}
	if (!ret)
		return (int64_t)bytes;
	return *done > 0 ? *done : -errno; /* a part of it is -EAGAIN with a count */
}

/* Page by page around those that are there already. */
static int fill(struct userfault *u, enum fill how, char *to, const char *from, uint64_t bytes,
		uint64_t *done)
{
	*done = 0;
	while (*done < bytes) {
		int64_t n = fill_once(u, how, to + *done, from ? from + *done : NULL, bytes - *done);
		if (n == -EEXIST) {
			userfault_wake(u, to + *done, PAGE_SIZE);
			n = (int64_t)PAGE_SIZE;
		}
		if (n < 0)
			return (int)n;
		*done += (uint64_t)n;
	}
	return 0;
}

int userfault_copy(struct userfault *u, void *to, const void *from, uint64_t bytes, uint64_t *done)
{
	return fill(u, FILL_COPY, to, from, bytes, done);
}

int userfault_move(struct userfault *u, void *to, void *from, uint64_t bytes, uint64_t *done)
{
	return fill(u, FILL_MOVE, to, from, bytes, done);
}

int userfault_zeropage(struct userfault *u, void *to, uint64_t bytes, uint64_t *done)
{
	return fill(u, FILL_ZERO, to, NULL, bytes, done);
}

int userfault_continue(struct userfault *u, void *to, uint64_t bytes, uint64_t *done)
{
	return fill(u, FILL_CONTINUE, to, NULL, bytes, done);
}

int userfault_poison(struct userfault *u, void *to, uint64_t bytes, uint64_t *done)
{
	return fill(u, FILL_POISON, to, NULL, bytes, done);
}
