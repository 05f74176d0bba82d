/* SPDX-License-Identifier: MIT */
/*
 * sandbox_clone.h - a second sandbox in the state of one that stands still.
 *
 * The clone has processes, tasks, signals and timers of its own with the same numbers, and its memory is the original's until either
 * writes. It does not run: sandbox_start lets it. Until then it costs no processor and no thread, and can be cloned itself.
 *
 *   Q1  what is the sandbox's alone (memory that processes share with each other, open files) is the clone's alone in the clone
 *   Q2  what is the world's (files, the caller's descriptors, directories of memory) both have
 * Not here: stopping the original (pause.h), open files (files_clone.h), memory (mm_clone).
 */
#ifndef LODGE_LINUX_SANDBOX_CLONE_H
#define LODGE_LINUX_SANDBOX_CLONE_H

#include "process.h"

struct shm_ns;

struct sandbox_clone_setup {
	struct sandbox *from;	       /* stands still */
	const int *fds;		       /* in the place of the caller's 0, 1, 2; NULL: the same */
	struct memcg *account;	       /* NULL: a new one like the original's */
	struct shm_ns *from_shm, *shm; /* segments of the original; of the clone, empty */
};

/* 0; -ENOTSUP: there is what cannot be cloned; -ENOMEM, -EMFILE. */
int sandbox_clone(const struct sandbox_clone_setup *setup, struct sandbox **result, struct lodge_error *err);

#endif
