/* SPDX-License-Identifier: MIT */
/*
 * sys_file.h - what the calls on descriptors share.
 */
#ifndef LODGE_LINUX_SYS_FILE_H
#define LODGE_LINUX_SYS_FILE_H

#include <stdbool.h>
#include <stdint.h>

struct task;

/* A second number, `min` or above, for the same open file: it, or -errno. */
int64_t file_dup_above(struct task *t, int guest_fd, int min, bool cloexec);

/* fsync, or fdatasync: 0 or -errno. An error of writing back is told before one of the host's. */
int64_t file_sync(struct task *t, int guest_fd, bool only_data);

#endif
