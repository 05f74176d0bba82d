/* SPDX-License-Identifier: MIT */
/*
 * open.h - opening by path, within the guest's view.
 */
#ifndef LODGE_LINUX_OPEN_H
#define LODGE_LINUX_OPEN_H

#include <sys/types.h>

#include "path.h"

/*
 * Opens the path as openat(2) would; flags and mode are the guest's. Waits where opening a FIFO does. The lowest free number of the
 * guest's, or -errno.
 */
int64_t open_install(struct task *t, const struct path *p, int flags, mode_t mode);

/*
 * After something was made with `mode` under `name` in a verified directory: gives it the bits that our own umask took away
 * and the guest's would not have.
 */
int open_fix_mode(struct task *t, int parent_fd, const char *name, mode_t mode);

#endif
