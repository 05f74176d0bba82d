/* SPDX-License-Identifier: MIT */
/*
 * futex.c - see futex.h.
 */
#include <errno.h>
#include <linux/futex.h>

#include "futex.h"
#include "sleep.h"
#include "task.h"

/*
 * A deadline by the clock that the operation counts on: relative for FUTEX_WAIT, absolute for
 * FUTEX_WAIT_BITSET.
 */
static int futex_deadline(struct task *t, int cmd, gva_t from, clockid_t clock, struct timespec *deadline)
{
	int err = sleep_get_timespec(t, from, deadline);

	if (!err && cmd == FUTEX_WAIT)
		*deadline = sleep_deadline(clock, deadline);
	return err;
}

/* Nobody else can wake the task: it sleeps until the deadline or a signal. */
static int64_t futex_wait(struct task *t, gva_t word, uint32_t expected, clockid_t clock,
			  const struct timespec *deadline)
{
	uint32_t value;
	int err;

	if (word % sizeof(value))
		return -EINVAL;
	if (copy_from_user(t->mm, &value, word, sizeof(value)))
		return -EFAULT;
	if (value != expected)
		return -EAGAIN;
	err = sleep_until(t, clock, deadline);
	/* A wait with a timeout is never run again: it would wait anew. */
	t->restart_syscall = err == -EINTR && !deadline;
	return err ? err : -ETIMEDOUT;
}

static int64_t futex_wake(gva_t word)
{
	if (word % sizeof(uint32_t))
		return -EINVAL;
	return access_ok(word, sizeof(uint32_t)) ? 0 : -EFAULT;
}

int64_t futex_call(struct task *t, const uint64_t a[6])
{
	int cmd = (int)a[1] & FUTEX_CMD_MASK;
	bool wait = cmd == FUTEX_WAIT || cmd == FUTEX_WAIT_BITSET;
	bool realtime = (int)a[1] & FUTEX_CLOCK_REALTIME;
	clockid_t clock = realtime ? CLOCK_REALTIME : CLOCK_MONOTONIC;
	struct timespec deadline;
	int err = 0;

	if (!wait && cmd != FUTEX_WAKE && cmd != FUTEX_WAKE_BITSET)
		return -ENOSYS;
	if (wait && a[3])
		err = futex_deadline(t, cmd, a[3], clock, &deadline);
	if (err)
		return err;
	if (realtime && cmd != FUTEX_WAIT_BITSET)
		return -ENOSYS;
	if ((cmd == FUTEX_WAIT_BITSET || cmd == FUTEX_WAKE_BITSET) && !(uint32_t)a[5])
		return -EINVAL;
	return wait ? futex_wait(t, a[0], (uint32_t)a[2], clock, a[3] ? &deadline : NULL) : futex_wake(a[0]);
}
