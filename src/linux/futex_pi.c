/* SPDX-License-Identifier: MIT */
/*
 * futex_pi.c - locks that are handed over: FUTEX_LOCK_PI and kin.
 *
 * The word holds the number of the owner's task, or 0; FUTEX_WAITERS makes its owner call for the release, FUTEX_OWNER_DIED says what it
 * says. Who waits is not woken to try again but is given the lock: the word has its number before it wakes. Nobody's priority is
 * raised: all tasks of a guest have the same.
 *
 *   L1  the word of a lock that has waiters has FUTEX_WAITERS and an owner
 *   L2  it is given, and waiters come and go, under the lock of its bucket
 */
#include <errno.h>
#include <linux/futex.h>

#include "futex_internal.h"

/* Waiters there are in all, so that who ends without any need not look. */
static _Atomic uint32_t nr_waiters;

/* --- under the bucket's lock ----------------------------------------------------------------- */

static struct futex_waiter *first_waiter(struct futex_bucket *b, const struct futex_key *k)
{
	struct futex_waiter *w;

	list_for_each_entry (w, &b->waiters, node)
		if (w->lock && futex_key_equal(&w->key, k))
			return w;
	return NULL;
}

static bool task_exists(struct task *t, uint32_t tid)
{
	bool found;

	pthread_mutex_lock(&t->sandbox->lock);
	found = task_find(t->sandbox, (int)tid);
	pthread_mutex_unlock(&t->sandbox->lock);
	return found;
}

/*
 * Takes the lock for task `tid`, or marks it as waited for (`wait`). 0: taken; -EAGAIN: it is not free; -EDEADLK: it is tid's; -ESRCH:
 * its owner is nobody.
 */
static int acquire(struct task *t, struct futex_word *word, uint32_t tid, bool wait)
{
	uint32_t old = atomic_load(word->at), owner;

	do {
		owner = old & FUTEX_TID_MASK;
		if (owner == tid)
			return -EDEADLK;
		if (!owner)
			continue;
		if (!wait)
			return -EAGAIN;
		if (!task_exists(t, owner))
			return -ESRCH;
	} while (!atomic_compare_exchange_weak(word->at, &old,
					       owner ? old | FUTEX_WAITERS : (old & ~FUTEX_TID_MASK) | tid));
	return owner ? -EAGAIN : 0;
}

/* Gives the lock to whoever has waited longest, with these bits beside its number; false: nobody waits. */
static bool hand_over(struct futex_bucket *b, const struct futex_key *k, struct futex_word *word,
		      uint32_t bits)
{
	struct futex_waiter *w = first_waiter(b, k);

	if (!w)
		return false;
	atomic_store(word->at, (uint32_t)w->task->tid | FUTEX_WAITERS | bits);
	futex_wake_one(w);
	return true;
}

/* --- locking --------------------------------------------------------------------------------- */

/* In the bucket of its key, after the word said that the lock is not free. 0: the caller has it at once. */
static int enter(const struct futex *f, struct futex_waiter *w, bool try)
{
	struct futex_bucket *b = futex_key_bucket(&w->key);
	struct futex_word word;
	int ret = futex_word_pin(f->t, f->word, &word);

	if (ret)
		return ret;
	atomic_store(&w->bucket, b);
	pthread_mutex_lock(&b->lock);
	ret = acquire(f->t, &word, (uint32_t)f->t->tid, !try);
	if (ret == -EAGAIN && !try)
		list_add_tail(&w->node, &b->waiters);
	pthread_mutex_unlock(&b->lock);
	futex_word_unpin(f->t, &word);
	return ret;
}

/* Until the lock is given to the waiter: 0, -ETIMEDOUT, -EINTR. */
static int wait_for_lock(const struct futex *f, struct futex_waiter *w)
{
	const struct sleep s = {.done = futex_is_woken, .ctx = w, .clock = f->clock, .deadline = f->deadline};
	int ret = sleep_for(f->t, &s);

	return futex_waiter_leave(w) ? 0 : ret;
}

int64_t futex_lock_pi(const struct futex *f, bool try)
{
	struct futex_waiter w = {.task = f->t, .lock = true};
	int ret = futex_key_of(f->t, f->word, f->private, &w.key);

	list_init(&w.node);
	atomic_fetch_add(&nr_waiters, 1);
	if (!ret)
		ret = enter(f, &w, try);
	if (ret == -EAGAIN && !try)
		ret = wait_for_lock(f, &w);
	atomic_fetch_sub(&nr_waiters, 1);
	if (ret == -EINTR)
		f->t->restart = RESTART_ALWAYS;
	return ret;
}

int64_t futex_unlock_pi(const struct futex *f)
{
	struct futex_key k;
	struct futex_bucket *b;
	struct futex_word word;
	int ret = futex_key_of(f->t, f->word, f->private, &k);

	if (!ret)
		ret = futex_word_pin(f->t, f->word, &word);
	if (ret)
		return ret;
	b = futex_key_bucket(&k);
	pthread_mutex_lock(&b->lock);
	if ((atomic_load(word.at) & FUTEX_TID_MASK) != (uint32_t)f->t->tid)
		ret = -EPERM;
	else if (!hand_over(b, &k, &word, 0))
		atomic_store(word.at, 0);
	pthread_mutex_unlock(&b->lock);
	futex_word_unpin(f->t, &word);
	return ret;
}

/* --- from a condition to its lock ------------------------------------------------------------ */

int64_t futex_wait_requeue_pi(const struct futex *f)
{
	struct futex_waiter w = {.task = f->t, .bitset = f->value3, .to_lock = true};
	const struct sleep s = {.done = futex_is_woken,
				.ctx = &w,
				.clock = f->clock,
				.deadline = f->deadline};
	int ret = futex_key_of(f->t, f->word, f->private, &w.key);

	if (!f->value3 || f->word == f->word2)
		return -EINVAL;
	if (!ret)
		ret = futex_key_of(f->t, f->word2, f->private, &w.goal);
	list_init(&w.node);
	atomic_fetch_add(&nr_waiters, 1);
	if (!ret)
		ret = futex_waiter_enter(&w, f->word, f->value);
	if (!ret) {
		ret = sleep_for(f->t, &s);
		/* Woken is who has the lock. Whoever was moved but not given it tries again from the condition. */
		if (futex_waiter_leave(&w))
			ret = 0;
		else if (ret == -EINTR)
			ret = -EAGAIN;
	}
	atomic_fetch_sub(&nr_waiters, 1);
	return ret;
}

/* The first of those who wait for the condition gets the lock if it is free; `value2` more are made to wait for it. */
static int move_to_lock(const struct futex *f, struct futex_bucket *b, const struct futex_key *k,
			struct futex_bucket *b2, const struct futex_key *k2, struct futex_word *word)
{
	struct futex_waiter *w, *next;
	int done = 0, left = (int)f->value2, ret = 0;

	list_for_each_entry_safe (w, next, &b->waiters, node) {
		if (!futex_key_equal(&w->key, k))
			continue;
		ret = !w->to_lock || !futex_key_equal(&w->goal, k2) ? -EINVAL : 0;
		if (ret || (done && left-- <= 0))
			break;
		ret = acquire(f->t, word, (uint32_t)w->task->tid, true);
		if (ret && ret != -EAGAIN)
			break;
		done++;
		if (!ret) {
			futex_wake_one(w);
			continue;
		}
		ret = 0;
		list_del(&w->node);
		w->key = *k2;
		w->lock = true;
		atomic_store(&w->bucket, b2);
		list_add_tail(&w->node, &b2->waiters);
	}
	return done ? done : ret;
}

int64_t futex_requeue_pi(const struct futex *f)
{
	struct futex_key k, k2;
	struct futex_bucket *b, *b2;
	struct futex_word word;
	uint32_t value = 0;
	int ret;

	if ((int)f->value != 1 || (int)f->value2 < 0 || f->word == f->word2)
		return -EINVAL;
	ret = futex_key_of(f->t, f->word, f->private, &k);
	if (!ret)
		ret = futex_key_of(f->t, f->word2, f->private, &k2);
	if (!ret)
		ret = futex_word_pin(f->t, f->word2, &word);
	if (ret)
		return ret;
	b = futex_key_bucket(&k);
	b2 = futex_key_bucket(&k2);
	futex_lock_two(b, b2);
	while (!ret && !copy_from_user_inatomic(f->t->mm, &value, f->word, sizeof(value))) {
		futex_unlock_two(b, b2);
		ret = futex_bring_in(f->t, f->word);
		futex_lock_two(b, b2);
	}
	if (!ret && value != f->value3)
		ret = -EAGAIN;
	if (!ret)
		ret = move_to_lock(f, b, &k, b2, &k2, &word);
	futex_unlock_two(b, b2);
	futex_word_unpin(f->t, &word);
	return ret;
}

/* --- the end of an owner --------------------------------------------------------------------- */

bool futex_inherit_lock(struct task *t, gva_t word)
{
	struct futex_key k;
	struct futex_bucket *b;
	struct futex_word pinned;
	bool found;

	if (futex_key_of(t, word, false, &k) || futex_word_pin(t, word, &pinned))
		return false;
	b = futex_key_bucket(&k);
	pthread_mutex_lock(&b->lock);
	found = hand_over(b, &k, &pinned, FUTEX_OWNER_DIED);
	pthread_mutex_unlock(&b->lock);
	futex_word_unpin(t, &pinned);
	return found;
}

/* The word of a waiter whose lock this task owns, in its own space; 0: there is none. */
static gva_t owned_word(struct task *t, struct futex_bucket *b)
{
	struct futex_waiter *w;
	gva_t found = 0;
	uint32_t value;

	pthread_mutex_lock(&b->lock);
	list_for_each_entry (w, &b->waiters, node) {
		if (!w->lock || w->key.object != t->mm)
			continue;
		if (!copy_from_user_inatomic(t->mm, &value, w->key.offset, sizeof(value)) ||
		    (value & FUTEX_TID_MASK) != (uint32_t)t->tid)
			continue;
		found = w->key.offset;
		break;
	}
	pthread_mutex_unlock(&b->lock);
	return found;
}

void futex_exit_locks(struct task *t)
{
	gva_t word;

	if (!atomic_load(&nr_waiters))
		return;
	for (unsigned int i = 0; i < FUTEX_NR_BUCKETS; i++)
		while ((word = owned_word(t, futex_nth_bucket(i))))
			if (!futex_inherit_lock(t, word))
				break;
}
