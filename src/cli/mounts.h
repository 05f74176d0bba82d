/* SPDX-License-Identifier: MIT */
/*
 * mounts.h - what `lodge run` shows a program of the file system: what it was asked for, and what there is without a word.
 */
#ifndef LODGE_CLI_MOUNTS_H
#define LODGE_CLI_MOUNTS_H

#include <stdbool.h>

#include "../../include/lodge.h"

struct mounts {
	struct lodge_mount *at; /* nr; strings and list owned */
	size_t nr;
};

/* Strings are copied. 0 or -ENOMEM. */
int mounts_add(struct mounts *m, const char *host, const char *guest, bool writable);
/* "HOST:GUEST" or "HOST:GUEST:ro". 0, -EINVAL, -ENOMEM. */
int mounts_add_bind(struct mounts *m, const char *arg);
void mounts_free(struct mounts *m);

/*
 * All mounts of a run: the root (NULL: the host's system directories, the directory that the program is in, and the working directory;
 * all read only), a private /tmp and /dev/shm; then what was asked for, which counts before all of these. 0 or -ENOMEM; free in
 * either case.
 */
int mounts_complete(const struct mounts *asked, const char *root, const char *program, struct mounts *all);

#endif
