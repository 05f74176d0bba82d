/* SPDX-License-Identifier: MIT */
/*
 * futex.h - futex(2), and what a task that ends owes to those who wait on its memory.
 *
 * Waiters of one word meet by a key: the object and the offset for shared mappings, else the space and the address. A word is
 * compared under the lock of its key's bucket, which every waker takes too.
 * Priorities are not inherited, since tasks of a guest all have the same.
 */
#ifndef LODGE_LINUX_FUTEX_H
#define LODGE_LINUX_FUTEX_H

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

struct task;

/* The system call, with its argument registers. */
int64_t futex_call(struct task *t, const uint64_t a[6]);

/* futex_waitv(2), likewise. */
int64_t futex_waitv_call(struct task *t, const uint64_t a[6]);

/* exit and exec: marks the robust locks that the task holds, clears the word of set_tid_address, wakes who waits for them. */
void futex_exit(struct task *t);

/* The host's own futex on a word of ours. Returns for any reason; `timeout` is relative, NULL: none. */
void futex_host_wait(_Atomic uint32_t *word, uint32_t value, const struct timespec *timeout);
void futex_host_wake(_Atomic uint32_t *word, int nr);

/* The restart block of a wait. */
struct restart_block;
int64_t futex_wait_again(struct task *t, const struct restart_block *b);

#endif
