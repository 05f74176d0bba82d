/* SPDX-License-Identifier: MIT */
/*
 * sys_time.c - the system calls about time.
 *
 * The guest reads the host's clocks and sets none; those of processor time are cpuclock.h's.
 */
#include <errno.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>

#include "cpuclock.h"
#include "sleep.h"
#include "syscall.h"
#include "vdso.h"

#define NS_PER_S 1000000000
#define US_PER_S 1000000

/* Is the number one of the host's clocks, which all show the same to everybody? */
static bool is_host_clock(int id)
{
	return id >= 0 && id <= CLOCK_TAI && id != CLOCK_SGI_CYCLE_NR && !cpuclock_is(id);
}

static int64_t put_timespec(struct task *t, gva_t to, const struct timespec *ts)
{
	return copy_to_user(t->mm, to, ts, sizeof(*ts)) ? -EFAULT : 0;
}

/* What the vDSO would say: it asks us when it cannot, and until now. */
static void refresh_vdso(struct task *t)
{
	if (t->vdso)
		vvar_refresh(&t->vdso->vvar);
}

/*
 * A coarse clock is one tick behind. The host's own jumps from tick to tick; the vDSO, which knows nothing of ticks, could not follow it,
 * and whoever reads by the one and by the other must not see time go back.
 */
static int coarse_gettime(clockid_t clock, struct timespec *ts)
{
	long tick_ns = (long)vvar_tick_ns();
	int err = clock_gettime(clock == CLOCK_REALTIME_COARSE ? CLOCK_REALTIME : CLOCK_MONOTONIC, ts);

	ts->tv_nsec -= tick_ns;
	if (ts->tv_nsec < 0) {
		ts->tv_nsec += NS_PER_S;
		ts->tv_sec--;
	}
	return err;
}

static int guest_gettime(clockid_t clock, struct timespec *ts)
{
	bool coarse = clock == CLOCK_REALTIME_COARSE || clock == CLOCK_MONOTONIC_COARSE;

	return coarse ? coarse_gettime(clock, ts) : clock_gettime(clock, ts);
}

static int read_cpuclock(struct task *t, int id, struct timespec *ts)
{
	struct cpuclock clock;
	int64_t ns = cpuclock_parse(t, id, &clock);

	if (!ns)
		ns = cpuclock_read(t, &clock);
	if (ns < 0)
		return (int)ns;
	*ts = (struct timespec){ns / NS_PER_S, ns % NS_PER_S};
	return 0;
}

static int64_t sys_clock_gettime(struct task *t, const uint64_t a[6])
{
	int id = (int)a[0], err = 0;
	struct timespec ts;

	refresh_vdso(t);
	if (cpuclock_is(id))
		err = read_cpuclock(t, id, &ts);
	else if (!is_host_clock(id) || guest_gettime(id, &ts))
		err = -EINVAL;
	return err ? err : put_timespec(t, a[1], &ts);
}

static int64_t sys_clock_getres(struct task *t, const uint64_t a[6])
{
	int id = (int)a[0], err = 0;
	struct timespec ts = {.tv_nsec = 1};
	struct cpuclock clock;

	if (cpuclock_is(id))
		err = cpuclock_parse(t, id, &clock);
	else if (!is_host_clock(id) || clock_getres(id, &ts))
		err = -EINVAL;
	if (err)
		return err;
	return a[1] ? put_timespec(t, a[1], &ts) : 0;
}

/* Clocks of processor time that somebody has are no more to be set than the one of the day. */
static int64_t sys_clock_settime(struct task *t, const uint64_t a[6])
{
	int id = (int)a[0], err = 0;
	struct cpuclock clock;
	struct timespec ts;

	if (id != CLOCK_REALTIME && !cpuclock_is(id))
		return -EINVAL;
	if (copy_from_user(t->mm, &ts, a[1], sizeof(ts)))
		return -EFAULT;
	if (id == CLOCK_REALTIME)
		err = ts.tv_sec < 0 || ts.tv_nsec < 0 || ts.tv_nsec >= NS_PER_S ? -EINVAL : 0;
	else if (id > 0)
		err = -EINVAL;
	else
		err = cpuclock_parse(t, id, &clock);
	return err ? err : -EPERM;
}

/* What it shows is everyone's to ask; adjtimex() is the same of the clock of the day. */
static int64_t sys_clock_adjtime(struct task *t, const uint64_t a[6])
{
	int id = (int)a[0], ret;
	struct timex tx;

	if (copy_from_user(t->mm, &tx, a[1], sizeof(tx)))
		return -EFAULT;
	if (id != CLOCK_REALTIME)
		return is_host_clock(id) || cpuclock_is(id) || cpuclock_has_form(id) ? -EOPNOTSUPP : -EINVAL;
	if (tx.modes)
		return -EPERM;
	ret = adjtimex(&tx);
	if (ret < 0)
		return -errno;
	return copy_to_user(t->mm, a[1], &tx, sizeof(tx)) ? -EFAULT : ret;
}

static int64_t sys_adjtimex(struct task *t, const uint64_t a[6])
{
	return sys_clock_adjtime(t, (const uint64_t[6]){CLOCK_REALTIME, a[0]});
}

static int64_t sys_gettimeofday(struct task *t, const uint64_t a[6])
{
	struct timezone zone = {0};
	struct timeval now;

	refresh_vdso(t);
	gettimeofday(&now, NULL);
	if (a[0] && copy_to_user(t->mm, a[0], &now, sizeof(now)))
		return -EFAULT;
	return a[1] && copy_to_user(t->mm, a[1], &zone, sizeof(zone)) ? -EFAULT : 0;
}

static int64_t sys_settimeofday(struct task *t, const uint64_t a[6])
{
	struct timezone zone;
	struct timeval now;

	if (a[0] && copy_from_user(t->mm, &now, a[0], sizeof(now)))
		return -EFAULT;
	if (a[0] && (now.tv_usec < 0 || now.tv_usec >= US_PER_S))
		return -EINVAL;
	if (a[1] && copy_from_user(t->mm, &zone, a[1], sizeof(zone)))
		return -EFAULT;
	return a[0] && now.tv_sec < 0 ? -EINVAL : -EPERM;
}

static int64_t sys_time(struct task *t, const uint64_t a[6])
{
	struct timespec now;

	refresh_vdso(t);
	coarse_gettime(CLOCK_REALTIME_COARSE, &now);
	return a[0] && copy_to_user(t->mm, a[0], &now.tv_sec, sizeof(now.tv_sec)) ? -EFAULT : now.tv_sec;
}

/* --- sleeping -------------------------------------------------------------------------------- */

/* 0, or why one cannot sleep by this clock. */
static int sleep_clock(struct task *t, int id)
{
	struct cpuclock clock;

	switch (id) {
	case CLOCK_REALTIME:
	case CLOCK_MONOTONIC:
	case CLOCK_BOOTTIME:
	case CLOCK_TAI:
		return 0;
	case CLOCK_THREAD_CPUTIME_ID:
		return -EOPNOTSUPP;
	default:
		if (cpuclock_is(id)) {
			int err = cpuclock_parse(t, id, &clock);
			/* It stands still while its thread sleeps. */
			return !err && clock.of_task && clock.id == t->tid ? -EINVAL : err;
		}
		return is_host_clock(id) ? -EOPNOTSUPP : -EINVAL;
	}
}

/* b->arg[0]: where to store what was left, or 0. */
int64_t sleep_again(struct task *t, const struct restart_block *b)
{
	int err = sleep_until(t, b->clock, &b->deadline);
	struct timespec left;

	if (!err)
		return 0;
	left = sleep_left(b->clock, &b->deadline);
	if (b->arg[0] && put_timespec(t, b->arg[0], &left))
		return -EFAULT;
	return task_restart_with(t, b);
}

static int64_t sleep_span(struct task *t, const struct timespec *span, gva_t remaining)
{
	const struct restart_block b = {.fn = sleep_again,
					.deadline = sleep_deadline(CLOCK_MONOTONIC, span),
					.clock = CLOCK_MONOTONIC,
					.arg = {remaining}};

	return sleep_again(t, &b);
}

/* Until a point in time; what is interrupted without a handler begins anew, which is the same. */
static int64_t sleep_to(struct task *t, clockid_t clock, const struct timespec *deadline)
{
	t->restart = RESTART_NO_HANDLER;
	return sleep_until(t, clock, deadline);
}

/*
 * Until a clock of processor time shows *until, or (`span`) so much more than now: others may make it go on. Looked at as often as
 * Linux ticks.
 */
static int64_t sleep_cpu_time(struct task *t, int id, struct timespec until, bool span)
{
	const struct timespec tick = {.tv_nsec = NS_PER_S / 250};
	struct timespec now = {0};
	int err = read_cpuclock(t, id, &now);

	if (!err && span) {
		until.tv_sec += now.tv_sec + (until.tv_nsec + now.tv_nsec) / NS_PER_S;
		until.tv_nsec = (until.tv_nsec + now.tv_nsec) % NS_PER_S;
	}
	while (!err &&
	       (now.tv_sec < until.tv_sec || (now.tv_sec == until.tv_sec && now.tv_nsec < until.tv_nsec))) {
		struct timespec deadline = sleep_deadline(CLOCK_MONOTONIC, &tick);
		err = sleep_until(t, CLOCK_MONOTONIC, &deadline);
		if (!err)
			err = read_cpuclock(t, id, &now);
	}
	if (err == -EINTR)
		t->restart = RESTART_NO_HANDLER;
	return err;
}

static int64_t sys_nanosleep(struct task *t, const uint64_t a[6])
{
	struct timespec span;
	int err = sleep_get_timespec(t, a[0], &span);

	return err ? err : sleep_span(t, &span, a[1]);
}

static int64_t sys_clock_nanosleep(struct task *t, const uint64_t a[6])
{
	bool absolute = (int)a[1] & TIMER_ABSTIME;
	int id = (int)a[0], err = sleep_clock(t, id);
	struct timespec ts;

	if (err)
		return err;
	err = sleep_get_timespec(t, a[2], &ts);
	if (err)
		return err;
	if (cpuclock_is(id))
		return sleep_cpu_time(t, id, ts, !absolute);
	/* A span does not stretch when the clock is set. */
	return absolute ? sleep_to(t, id, &ts) : sleep_span(t, &ts, a[3]);
}

const struct syscall_entry sys_time_calls[] = {
	SYSCALL_ENTRY(clock_gettime),
	SYSCALL_ENTRY(clock_getres),
	SYSCALL_ENTRY(clock_settime),
	SYSCALL_ENTRY(gettimeofday),
	SYSCALL_ENTRY(settimeofday),
	SYSCALL_ENTRY(time),
	SYSCALL_ENTRY(nanosleep),
	SYSCALL_ENTRY(clock_nanosleep),
	SYSCALL_ENTRY(clock_adjtime),
	SYSCALL_ENTRY(adjtimex),
	{0},
};
