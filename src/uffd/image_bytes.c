/* SPDX-License-Identifier: MIT */
/* image_bytes.c - see image_bytes.h. */
#include "image_bytes.h"

#include <errno.h>
#include <unistd.h>

int image_bytes_read(int fd, void *to, size_t bytes, uint64_t offset)
{
	char *at = to;

	while (bytes) {
		ssize_t n = pread(fd, at, bytes, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EBADMSG;
		at += n;
		bytes -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

int image_bytes_write(int fd, const void *from, size_t bytes, uint64_t offset)
{
	const char *at = from;

	while (bytes) {
		ssize_t n = pwrite(fd, at, bytes, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		at += n;
		bytes -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}
