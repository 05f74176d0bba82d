/* SPDX-License-Identifier: MIT */
/* futex_waitv.c - futex_waitv(2): waiting for the first of many words. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "futex_internal.h"

#define MAX_WORDS    128
#define SIZE_U32     2u
#define FLAG_PRIVATE 128u

/* The kernel's struct futex_waitv. */
struct wait_word {
	uint64_t value, address;
	uint32_t flags, reserved;
};

struct waitv {
	struct task *t;
	unsigned int nr, nr_entered;
	struct wait_word words[MAX_WORDS];
	struct futex_waiter waiters[MAX_WORDS];
};

static bool any_woken(void *ctx)
{
	struct waitv *v = ctx;

	for (unsigned int i = 0; i < v->nr_entered; i++)
		if (atomic_load(&v->waiters[i].woken))
			return true;
	return false;
}

/* All that have entered leave; the last that was woken, or -1. */
static int leave_all(struct waitv *v)
{
	int woken = -1;

	for (unsigned int i = 0; i < v->nr_entered; i++)
		if (futex_waiter_leave(&v->waiters[i]))
			woken = (int)i;
	return woken;
}

static int prepare(struct waitv *v)
{
	for (unsigned int i = 0; i < v->nr; i++) {
		const struct wait_word *word = &v->words[i];
		struct futex_waiter *w = &v->waiters[i];

		if ((word->flags & ~FLAG_PRIVATE) != SIZE_U32 || word->reserved || word->value > UINT32_MAX)
			return -EINVAL;
		int err = futex_key_of(v->t, word->address, word->flags & FLAG_PRIVATE, &w->key);
		if (err)
			return err;
		w->task = v->t;
		w->bitset = ~0u;
		list_init(&w->node);
	}
	return 0;
}

static int64_t wait_for_first(struct waitv *v, const struct sleep *s)
{
	int woken, ret = 0;

	for (; v->nr_entered < v->nr && !ret; v->nr_entered += !ret)
		ret = futex_waiter_enter(&v->waiters[v->nr_entered], v->words[v->nr_entered].address,
					 (uint32_t)v->words[v->nr_entered].value);
	if (!ret)
		ret = sleep_for(v->t, s);
	woken = leave_all(v);
	if (woken >= 0)
		return woken;
	if (ret == -EINTR)
		v->t->restart = RESTART_CALL;
	return ret;
}

int64_t futex_waitv_call(struct task *t, const uint64_t a[6])
{
	struct timespec deadline;
	clockid_t clock = (clockid_t)a[4];
	struct waitv *v;
	int64_t ret;

	if ((uint32_t)a[2] || !a[1] || a[1] > MAX_WORDS || !a[0])
		return -EINVAL;
	if (a[3] && clock != CLOCK_MONOTONIC && clock != CLOCK_REALTIME)
		return -EINVAL;
	ret = a[3] ? sleep_get_timespec(t, a[3], &deadline) : 0;
	if (ret)
		return ret;
	v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->t = t;
	v->nr = (unsigned int)a[1];
	ret = copy_from_user(t->mm, v->words, a[0], v->nr * sizeof(v->words[0])) ? -EFAULT : prepare(v);
	if (!ret)
		ret = wait_for_first(v, &(struct sleep){.done = any_woken,
							.ctx = v,
							.clock = clock,
							.deadline = a[3] ? &deadline : NULL});
	free(v);
	return ret;
}
