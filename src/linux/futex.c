/* SPDX-License-Identifier: MIT */
/*
 * futex.c - see futex.h.
 *
 * A waiter lives on its task's stack. It leaves its bucket, or has been taken out of it, only under the bucket's lock, and a
 * waker wakes under that lock: so the waiter is there as long as anyone looks at it.
 */
#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../mm/lock.h"
#include "futex_internal.h"

static struct futex_bucket buckets[FUTEX_NR_BUCKETS];

static pthread_once_t buckets_once = PTHREAD_ONCE_INIT;

static void buckets_init(void)
{
	for (unsigned int i = 0; i < FUTEX_NR_BUCKETS; i++) {
		pthread_mutex_init(&buckets[i].lock, NULL);
		list_init(&buckets[i].waiters);
	}
}

struct futex_bucket *futex_nth_bucket(unsigned int n)
{
	pthread_once(&buckets_once, buckets_init);
	return &buckets[n];
}

void futex_host_wait(_Atomic uint32_t *word, uint32_t value, const struct timespec *timeout)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, timeout, NULL, 0);
}

void futex_host_wake(_Atomic uint32_t *word, int nr)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, nr, NULL, NULL, 0);
}

/* --- keys ----------------------------------------------------------------------------------- */

bool futex_key_equal(const struct futex_key *a, const struct futex_key *b)
{
	return a->object == b->object && a->offset == b->offset;
}

struct futex_bucket *futex_key_bucket(const struct futex_key *k)
{
	uint64_t h = ((uint64_t)(uintptr_t)k->object ^ k->offset) * 0x9e3779b97f4a7c15ull;

	pthread_once(&buckets_once, buckets_init);
	return &buckets[h >> 56];
}

/* 0, -EINVAL (not aligned), -EFAULT. */
int futex_key_of(struct task *t, gva_t word, bool private, struct futex_key *k)
{
	const struct vma *vma;

	*k = (struct futex_key){t->mm, word};
	if (word % sizeof(uint32_t))
		return -EINVAL;
	if (!access_ok(word, sizeof(uint32_t)))
		return -EFAULT;
	if (private)
		return 0;
	mm_read_lock(t->mm);
	vma = vma_find_intersection(&t->mm->vmas, word, word + 1);
	if (vma && vma->mapping && (vma->flags & VM_MAYSHARE))
		*k = (struct futex_key){vma->mapping,
					(vma_linear_index(vma, word) << PAGE_SHIFT) + (word & ~PAGE_MASK)};
	mm_read_unlock(t->mm);
	return vma ? 0 : -EFAULT;
}

void futex_lock_two(struct futex_bucket *a, struct futex_bucket *b)
{
	pthread_mutex_lock(a < b ? &a->lock : &b->lock);
	if (a != b)
		pthread_mutex_lock(a < b ? &b->lock : &a->lock);
}

void futex_unlock_two(struct futex_bucket *a, struct futex_bucket *b)
{
	pthread_mutex_unlock(&a->lock);
	if (a != b)
		pthread_mutex_unlock(&b->lock);
}

/* --- waiting -------------------------------------------------------------------------------- */

bool futex_is_woken(void *ctx)
{
	return atomic_load(&((struct futex_waiter *)ctx)->woken);
}

/* Off its bucket, wherever it is by now. True when it had been woken. */
bool futex_waiter_leave(struct futex_waiter *w)
{
	struct futex_bucket *b = atomic_load(&w->bucket);
	bool woken;

	pthread_mutex_lock(&b->lock);
	while (b != atomic_load(&w->bucket)) {
		pthread_mutex_unlock(&b->lock);
		b = atomic_load(&w->bucket);
		pthread_mutex_lock(&b->lock);
	}
	woken = atomic_load(&w->woken);
	list_del(&w->node);
	pthread_mutex_unlock(&b->lock);
	return woken;
}

int futex_bring_in(struct task *t, gva_t word)
{
	uint32_t value;

	return copy_from_user(t->mm, &value, word, sizeof(value)) ? -EFAULT : 0;
}

/* Puts the waiter into its bucket if the word still has the value. 0, -EAGAIN, -EFAULT. */
int futex_waiter_enter(struct futex_waiter *w, gva_t word, uint32_t expected)
{
	struct futex_bucket *b = futex_key_bucket(&w->key);
	uint32_t value;
	int err = 0;

	atomic_store(&w->bucket, b);
	do {
		pthread_mutex_lock(&b->lock);
		bool there = copy_from_user_inatomic(w->task->mm, &value, word, sizeof(value));
		if (there && value == expected)
			list_add_tail(&w->node, &b->waiters);
		pthread_mutex_unlock(&b->lock);
		if (there)
			return value == expected ? 0 : -EAGAIN;
		err = futex_bring_in(w->task, word);
	} while (!err);
	return err;
}

/* An interrupted wait goes on with the deadline that it had: word, value, bitset and kind. */
static int64_t wait_again_later(const struct futex *f, uint32_t bitset)
{
	return task_restart_with(f->t,
				 &(struct restart_block){.fn = futex_wait_again,
							 .deadline = *f->deadline,
							 .clock = f->clock,
							 .arg = {f->word, f->value, bitset, f->private}});
}

static int64_t futex_wait(const struct futex *f, uint32_t bitset)
{
	struct futex_waiter w = {.task = f->t, .bitset = bitset};
	const struct sleep s = {.done = futex_is_woken,
				.ctx = &w,
				.clock = f->clock,
				.deadline = f->deadline};
	int ret = futex_key_of(f->t, f->word, f->private, &w.key);

	if (!bitset)
		return -EINVAL;
	list_init(&w.node);
	if (!ret)
		ret = futex_waiter_enter(&w, f->word, f->value);
	if (ret)
		return ret;
	ret = sleep_for(f->t, &s);
	if (futex_waiter_leave(&w))
		return 0;
	if (ret == -EINTR && f->deadline)
		return wait_again_later(f, bitset);
	f->t->restart = RESTART_CALL;
	return ret;
}

/* See wait_again_later. */
int64_t futex_wait_again(struct task *t, const struct restart_block *b)
{
	const struct futex f = {.t = t,
				.word = b->arg[0],
				.value = (uint32_t)b->arg[1],
				.private = b->arg[3],
				.clock = b->clock,
				.deadline = &b->deadline};

	return futex_wait(&f, (uint32_t)b->arg[2]);
}

/* --- waking (the bucket is locked) ---------------------------------------------------------- */

void futex_wake_one(struct futex_waiter *w)
{
	list_del(&w->node);
	atomic_store(&w->woken, true);
	task_wake(w->task);
}

int futex_wake_matching(struct futex_bucket *b, const struct futex_key *k, uint32_t bitset, int nr)
{
	struct futex_waiter *w, *next;
	int woken = 0;

	list_for_each_entry_safe (w, next, &b->waiters, node) {
		if (woken >= nr)
			break;
		if (!futex_key_equal(&w->key, k))
			continue;
		if (w->lock || w->to_lock)
			return woken ? woken : -EINVAL;
		if (!(w->bitset & bitset))
			continue;
		futex_wake_one(w);
		woken++;
	}
	return woken;
}

static int64_t futex_wake(const struct futex *f, uint32_t bitset)
{
	struct futex_key k;
	int nr = (int)f->value, ret = futex_key_of(f->t, f->word, f->private, &k);
	struct futex_bucket *b;

	if (!bitset)
		return -EINVAL;
	if (ret)
		return ret;
	b = futex_key_bucket(&k);
	pthread_mutex_lock(&b->lock);
	ret = futex_wake_matching(b, &k, bitset, nr < 1 ? 1 : nr);
	pthread_mutex_unlock(&b->lock);
	return ret;
}

/* Moves up to nr waiters from key to key; both buckets are locked. */
static int move_matching(struct futex_bucket *from, const struct futex_key *k, struct futex_bucket *to,
			 const struct futex_key *k2, int nr)
{
	struct futex_waiter *w, *next;
	int moved = 0;

	list_for_each_entry_safe (w, next, &from->waiters, node) {
		if (moved >= nr)
			break;
		if (!futex_key_equal(&w->key, k) || w->lock || w->to_lock)
			continue;
		list_del(&w->node);
		w->key = *k2;
		atomic_store(&w->bucket, to);
		list_add_tail(&w->node, &to->waiters);
		moved++;
	}
	return moved;
}

static int64_t futex_requeue(const struct futex *f, bool compare)
{
	struct futex_key k, k2;
	struct futex_bucket *b, *b2;
	uint32_t value = 0;
	int ret;

	if ((int)f->value < 0 || (int)f->value2 < 0)
		return -EINVAL;
	ret = futex_key_of(f->t, f->word, f->private, &k);
	if (!ret)
		ret = futex_key_of(f->t, f->word2, f->private, &k2);
	if (ret)
		return ret;
	b = futex_key_bucket(&k);
	b2 = futex_key_bucket(&k2);
	futex_lock_two(b, b2);
	while (compare && !copy_from_user_inatomic(f->t->mm, &value, f->word, sizeof(value))) {
		futex_unlock_two(b, b2);
		ret = futex_bring_in(f->t, f->word);
		if (ret)
			return ret;
		futex_lock_two(b, b2);
	}
	if (compare && value != f->value3)
		ret = -EAGAIN;
	if (!ret) {
		ret = futex_wake_matching(b, &k, FUTEX_BITSET_MATCH_ANY, (int)f->value);
		if (ret >= 0 && !futex_key_equal(&k, &k2))
			ret += move_matching(b, &k, b2, &k2, (int)f->value2);
	}
	futex_unlock_two(b, b2);
	return ret;
}

/* --- words of the guest --------------------------------------------------------------------- */

int futex_word_pin(struct task *t, gva_t word, struct futex_word *p)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)word, .iov_len = sizeof(uint32_t)};
	int ret = user_pin(t->mm, &iov, 1, 0, true, &p->pin);

	if (!ret)
		p->at = p->pin.iov[0].iov_base;
	return ret;
}

void futex_word_unpin(struct task *t, struct futex_word *p)
{
	user_pin_release(t->mm, &p->pin);
}

static uint32_t wake_op_result(uint32_t old, unsigned int op, uint32_t arg)
{
	switch (op) {
	case FUTEX_OP_SET:
		return arg;
	case FUTEX_OP_ADD:
		return old + arg;
	case FUTEX_OP_OR:
		return old | arg;
	case FUTEX_OP_ANDN:
		return old & ~arg;
	default:
		return old ^ arg;
	}
}

static bool wake_op_compare(uint32_t old, unsigned int cmp, int32_t arg)
{
	int32_t v = (int32_t)old;

	switch (cmp) {
	case FUTEX_OP_CMP_EQ:
		return v == arg;
	case FUTEX_OP_CMP_NE:
		return v != arg;
	case FUTEX_OP_CMP_LT:
		return v < arg;
	case FUTEX_OP_CMP_GE:
		return v >= arg;
	case FUTEX_OP_CMP_LE:
		return v <= arg;
	default:
		return v > arg;
	}
}

static int32_t sign_extend12(uint32_t v)
{
	return (int32_t)(v << 20) >> 20;
}

static uint32_t word_change(struct futex_word *p, unsigned int op, uint32_t arg)
{
	uint32_t old = atomic_load(p->at);

	while (!atomic_compare_exchange_weak(p->at, &old, wake_op_result(old, op, arg)))
		;
	return old;
}

static int64_t futex_wake_op(const struct futex *f)
{
	uint32_t code = f->value3;
	unsigned int op = code >> 28 & 7, cmp = code >> 24 & 15;
	uint32_t arg = (uint32_t)sign_extend12(code >> 12 & 0xfff), old;
	int32_t cmp_arg = sign_extend12(code & 0xfff);
	struct futex_key k, k2;
	struct futex_bucket *b, *b2;
	struct futex_word pin;
	int ret = futex_key_of(f->t, f->word, f->private, &k);

	if (!ret)
		ret = futex_key_of(f->t, f->word2, f->private, &k2);
	if (ret)
		return ret;
	if (op > FUTEX_OP_XOR || cmp > FUTEX_OP_CMP_GT)
		return -ENOSYS;
	if (code >> 28 & FUTEX_OP_OPARG_SHIFT)
		arg = 1u << (arg & 31);
	b = futex_key_bucket(&k);
	b2 = futex_key_bucket(&k2);
	futex_lock_two(b, b2);
	ret = futex_word_pin(f->t, f->word2, &pin);
	if (!ret) {
		old = word_change(&pin, op, arg);
		futex_word_unpin(f->t, &pin);
		ret = futex_wake_matching(b, &k, FUTEX_BITSET_MATCH_ANY, (int)f->value);
		if (ret >= 0 && wake_op_compare(old, cmp, cmp_arg))
			ret += futex_wake_matching(b2, &k2, FUTEX_BITSET_MATCH_ANY, (int)f->value2);
	}
	futex_unlock_two(b, b2);
	return ret;
}

/* --- the call ------------------------------------------------------------------------------- */

static bool takes_timeout(int cmd)
{
	return cmd == FUTEX_WAIT || cmd == FUTEX_WAIT_BITSET || cmd == FUTEX_LOCK_PI ||
	       cmd == FUTEX_LOCK_PI2 || cmd == FUTEX_WAIT_REQUEUE_PI;
}

static bool takes_realtime(int cmd)
{
	return cmd == FUTEX_WAIT_BITSET || cmd == FUTEX_LOCK_PI2 || cmd == FUTEX_WAIT_REQUEUE_PI;
}

/* A deadline by the clock that the operation counts on: relative for FUTEX_WAIT, absolute for all others. */
static int futex_deadline(struct task *t, int cmd, gva_t from, clockid_t clock, struct timespec *deadline)
{
	int err = sleep_get_timespec(t, from, deadline);

	if (!err && cmd == FUTEX_WAIT)
		*deadline = sleep_deadline(clock, deadline);
	return err;
}

static int64_t futex_do(const struct futex *f, int cmd)
{
	switch (cmd) {
	case FUTEX_WAIT:
		return futex_wait(f, FUTEX_BITSET_MATCH_ANY);
	case FUTEX_WAIT_BITSET:
		return futex_wait(f, f->value3);
	case FUTEX_WAKE:
		return futex_wake(f, FUTEX_BITSET_MATCH_ANY);
	case FUTEX_WAKE_BITSET:
		return futex_wake(f, f->value3);
	case FUTEX_REQUEUE:
		return futex_requeue(f, false);
	case FUTEX_CMP_REQUEUE:
		return futex_requeue(f, true);
	case FUTEX_WAKE_OP:
		return futex_wake_op(f);
	case FUTEX_LOCK_PI:
	case FUTEX_LOCK_PI2:
		return futex_lock_pi(f, false);
	case FUTEX_TRYLOCK_PI:
		return futex_lock_pi(f, true);
	case FUTEX_UNLOCK_PI:
		return futex_unlock_pi(f);
	case FUTEX_WAIT_REQUEUE_PI:
		return futex_wait_requeue_pi(f);
	case FUTEX_CMP_REQUEUE_PI:
		return futex_requeue_pi(f);
	default:
		return -ENOSYS;
	}
}

int64_t futex_call(struct task *t, const uint64_t a[6])
{
	int cmd = (int)a[1] & FUTEX_CMD_MASK;
	bool realtime = (int)a[1] & FUTEX_CLOCK_REALTIME;
	struct timespec deadline;
	struct futex f = {.t = t,
			  .word = a[0],
			  .word2 = a[4],
			  .value = (uint32_t)a[2],
			  .value2 = (uint32_t)a[3],
			  .value3 = (uint32_t)a[5],
			  .private = (int)a[1] & FUTEX_PRIVATE_FLAG,
			  .clock = realtime || cmd == FUTEX_LOCK_PI ? CLOCK_REALTIME : CLOCK_MONOTONIC};
	int err = 0;

	if (takes_timeout(cmd) && a[3]) {
		err = futex_deadline(t, cmd, a[3], f.clock, &deadline);
		f.deadline = &deadline;
	}
	if (err)
		return err;
	if (realtime && !takes_realtime(cmd))
		return -ENOSYS;
	return futex_do(&f, cmd);
}

/* --- the end of a task ---------------------------------------------------------------------- */

#define ROBUST_LIST_LIMIT 2048

static void wake_word(struct task *t, gva_t word)
{
	const struct futex f = {.t = t, .word = word, .value = 1};

	futex_wake(&f, FUTEX_BITSET_MATCH_ANY);
}

/* A lock that its dead owner held says so, and one waiter is told. */
static void robust_death(struct task *t, gva_t word, bool pending, bool is_lock)
{
	struct futex_word pin;
	uint32_t old, new;

	if (word % sizeof(uint32_t) || futex_word_pin(t, word, &pin))
		return;
	old = atomic_load(pin.at);
	if (pending && !old)
		goto wake;
	do {
		if ((old & FUTEX_TID_MASK) != (uint32_t)t->tid) {
			futex_word_unpin(t, &pin);
			return;
		}
		new = (old & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
	} while (!atomic_compare_exchange_weak(pin.at, &old, new));
	if (!(old & FUTEX_WAITERS)) {
		futex_word_unpin(t, &pin);
		return;
	}
wake:
	futex_word_unpin(t, &pin);
	if (!is_lock || !futex_inherit_lock(t, word))
		wake_word(t, word);
}

static void robust_exit(struct task *t)
{
	struct {
		uint64_t next;
		uint64_t offset; /* of either sign: it wraps */
		uint64_t pending;
	} head;
	uint64_t entry;

	if (copy_from_user(t->mm, &head, t->robust_list, sizeof(head)))
		return;
	entry = head.next;
	for (int i = 0; i < ROBUST_LIST_LIMIT && (entry & ~1ull) != t->robust_list; i++) {
		uint64_t next;
		bool readable = !copy_from_user(t->mm, &next, entry & ~1ull, sizeof(next));
		if (entry != head.pending)
			robust_death(t, (entry & ~1ull) + head.offset, false, entry & 1);
		if (!readable)
			break;
		entry = next;
	}
	if (head.pending)
		robust_death(t, (head.pending & ~1ull) + head.offset, true, head.pending & 1);
}

void futex_exit(struct task *t)
{
	const uint32_t zero = 0;

	if (t->robust_list)
		robust_exit(t);
	t->robust_list = 0;
	futex_exit_locks(t);
	if (t->clear_child_tid && atomic_load(&t->mm->mm_users) > 1 &&
	    !copy_to_user(t->mm, t->clear_child_tid, &zero, sizeof(zero)))
		wake_word(t, t->clear_child_tid);
	t->clear_child_tid = 0;
}
