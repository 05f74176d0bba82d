/* SPDX-License-Identifier: MIT */
/*
 * open.h - opening by path, within the guest's view.
 */
#ifndef LODGE_LINUX_OPEN_H
#define LODGE_LINUX_OPEN_H

#include <sys/types.h>

#include "path.h"

/*
 * Opens the path as openat(2) would; flags and mode are the guest's. A host descriptor with O_CLOEXEC, or -errno. Waits
 * where opening a FIFO does. *proc: what lodge makes of what was opened, for struct guest_file.
 */
int open_path(struct task *t, const struct path *p, int flags, mode_t mode, struct proc_entry *proc);

/* The same, and gives it the lowest free number of the guest's: that, or -errno. */
int64_t open_install(struct task *t, const struct path *p, int flags, mode_t mode);

/*
 * After something was made with `mode` under `name` in a verified directory: gives it the bits that our own umask took away
 * and the guest's would not have.
 */
int open_fix_mode(struct task *t, int parent_fd, const char *name, mode_t mode);

#endif
