/* SPDX-License-Identifier: MIT */
/*
 * futex_internal.h - waiters and their buckets, which the kinds of futex calls share.
 *
 * Each kind is a file: futex.c (wait, wake, requeue), futex_pi.c (locks that are handed over), futex_waitv.c (many words at once).
 */
#ifndef LODGE_LINUX_FUTEX_INTERNAL_H
#define LODGE_LINUX_FUTEX_INTERNAL_H

#include "../mm/mm.h"
#include "futex.h"
#include "sleep.h"
#include "task.h"

#define FUTEX_NR_BUCKETS 256

struct futex_key {
	const void *object; /* struct address_space or struct mm */
	uint64_t offset;
};

struct futex_bucket {
	pthread_mutex_t lock;
	struct list_head waiters;
};

struct futex_waiter {
	struct list_head node;
	struct futex_key key;		       /* (bucket) */
	_Atomic(struct futex_bucket *) bucket; /* (bucket) changes from bucket to bucket under both locks */
	uint32_t bitset;
	bool lock;    /* (bucket) waits for a lock that is handed over: futex_pi.c */
	bool to_lock; /* (C) waits to be moved to the lock `goal` */
	struct futex_key goal;
	struct task *task;
	_Atomic bool woken; /* (bucket) off the list */
};

/* One call's arguments. */
struct futex {
	struct task *t;
	gva_t word, word2;
	uint32_t value, value2, value3;
	bool private;
	clockid_t clock;
	const struct timespec *deadline;
};

/* A word of the guest that is held where it is. */
struct futex_word {
	struct user_pin pin;
	_Atomic uint32_t *at;
};

/* 0, -EINVAL (not aligned), -EFAULT. */
int futex_key_of(struct task *t, gva_t word, bool private, struct futex_key *k);
bool futex_key_equal(const struct futex_key *a, const struct futex_key *b);
struct futex_bucket *futex_key_bucket(const struct futex_key *k);
struct futex_bucket *futex_nth_bucket(unsigned int n);
void futex_lock_two(struct futex_bucket *a, struct futex_bucket *b);
void futex_unlock_two(struct futex_bucket *a, struct futex_bucket *b);

/* Brings a word in, without locks: the comparison under them begins anew. 0 or -EFAULT. */
int futex_bring_in(struct task *t, gva_t word);

/* Not under locks, since it may have to wait for memory. 0 or -EFAULT. */
int futex_word_pin(struct task *t, gva_t word, struct futex_word *p);
void futex_word_unpin(struct task *t, struct futex_word *p);

/* Puts the waiter into its bucket if the word still has the value. 0, -EAGAIN, -EFAULT. */
int futex_waiter_enter(struct futex_waiter *w, gva_t word, uint32_t expected);
/* For struct sleep. */
bool futex_is_woken(void *waiter);
/* Off its bucket, wherever it is by now. True when it had been woken. */
bool futex_waiter_leave(struct futex_waiter *w);

/* The bucket is locked. */
void futex_wake_one(struct futex_waiter *w);
/* How many; -EINVAL: somebody waits there for a lock. */
int futex_wake_matching(struct futex_bucket *b, const struct futex_key *k, uint32_t bitset, int nr);

/* --- futex_pi.c ------------------------------------------------------------------------------ */

int64_t futex_lock_pi(const struct futex *f, bool try);
int64_t futex_unlock_pi(const struct futex *f);
int64_t futex_wait_requeue_pi(const struct futex *f);
int64_t futex_requeue_pi(const struct futex *f);
/* A lock whose owner has died goes to whoever waits for it. True: somebody did. The word says that its owner died. */
bool futex_inherit_lock(struct task *t, gva_t word);
/* Hands over what a task that ends has not released. */
void futex_exit_locks(struct task *t);

#endif
