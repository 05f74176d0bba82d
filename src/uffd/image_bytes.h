/* SPDX-License-Identifier: MIT */
/*
 * image_bytes.h - bytes of an image's file: all of them, or an error.
 *
 * What a device gives or takes in part, or not because of a signal, is asked for again.
 * Locking: none; the file's own position is not used.
 */
#ifndef LODGE_UFFD_IMAGE_BYTES_H
#define LODGE_UFFD_IMAGE_BYTES_H

#include <stddef.h>
#include <stdint.h>

/* 0, -EBADMSG where the file ends before, or -errno. */
int image_bytes_read(int fd, void *to, size_t bytes, uint64_t offset);

/* 0 or -errno. */
int image_bytes_write(int fd, const void *from, size_t bytes, uint64_t offset);

#endif
