/* SPDX-License-Identifier: MIT */
/*
 * sys_time.c - the system calls about time.
 *
 * The guest reads the host's clocks and sets none. Its processor time is that of the thread that runs it,
 * whichever of the process and thread clocks is asked.
 */
#include <errno.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "sleep.h"
#include "syscall.h"
#include "vdso.h"

#define NS_PER_SEC	   1000000000l
#define CLOCK_SGI_CYCLE_NR 10 /* gone from Linux; the number is not reused */

/*
 * A negative id names the clock of a process or thread: ~pid in the upper bits, below it the kind (3: a
 * file's).
 */
static int cpu_clock(struct task *t, int id, clockid_t *clock)
{
	int pid = ~(id >> 3);

	if ((id & 3) == 3 || (pid != 0 && pid != t->pid))
		return -EINVAL;
	*clock = CLOCK_THREAD_CPUTIME_ID;
	return 0;
}

/* The host's clock behind a guest's id. 0 or -EINVAL. */
static int host_clock(struct task *t, uint64_t arg, clockid_t *clock)
{
	int id = (int)arg;

	if (id < 0)
		return cpu_clock(t, id, clock);
	if (id > CLOCK_TAI || id == CLOCK_SGI_CYCLE_NR)
		return -EINVAL;
	*clock = id == CLOCK_PROCESS_CPUTIME_ID ? CLOCK_THREAD_CPUTIME_ID : id;
	return 0;
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
		ts->tv_nsec += NS_PER_SEC;
		ts->tv_sec--;
	}
	return err;
}

static int guest_gettime(clockid_t clock, struct timespec *ts)
{
	bool coarse = clock == CLOCK_REALTIME_COARSE || clock == CLOCK_MONOTONIC_COARSE;

	return coarse ? coarse_gettime(clock, ts) : clock_gettime(clock, ts);
}

static int64_t sys_clock_gettime(struct task *t, const uint64_t a[6])
{
	struct timespec ts;
	clockid_t clock;

	refresh_vdso(t);
	if (host_clock(t, a[0], &clock) || guest_gettime(clock, &ts))
		return -EINVAL;
	return put_timespec(t, a[1], &ts);
}

static int64_t sys_clock_getres(struct task *t, const uint64_t a[6])
{
	struct timespec ts;
	clockid_t clock;

	if (host_clock(t, a[0], &clock) || clock_getres(clock, &ts))
		return -EINVAL;
	return a[1] ? put_timespec(t, a[1], &ts) : 0;
}

static int64_t sys_clock_settime(struct task *t, const uint64_t a[6])
{
	struct timespec ts;

	if ((int)a[0] != CLOCK_REALTIME)
		return -EINVAL;
	if (copy_from_user(t->mm, &ts, a[1], sizeof(ts)))
		return -EFAULT;
	return -EPERM;
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
	struct timeval now;

	if (a[0] && copy_from_user(t->mm, &now, a[0], sizeof(now)))
		return -EFAULT;
	return -EPERM;
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
static int sleep_clock(struct task *t, uint64_t arg, clockid_t *clock)
{
	if (host_clock(t, arg, clock))
		return -EINVAL;
	switch ((int)arg) {
	case CLOCK_REALTIME:
	case CLOCK_MONOTONIC:
	case CLOCK_BOOTTIME:
	case CLOCK_TAI:
	case CLOCK_PROCESS_CPUTIME_ID:
		return 0;
	default:
		return (int)arg < 0 ? -EINVAL : -EOPNOTSUPP;
	}
}

static int64_t sleep_span(struct task *t, const struct timespec *span, gva_t remaining)
{
	struct timespec deadline = sleep_deadline(CLOCK_MONOTONIC, span);
	int err = sleep_until(t, CLOCK_MONOTONIC, &deadline);
	struct timespec left;

	if (!err || !remaining)
		return err;
	left = sleep_left(CLOCK_MONOTONIC, &deadline);
	return put_timespec(t, remaining, &left) ? -EFAULT : err;
}

/* The processor time of a task that sleeps stands still: unless nothing is left, only a signal ends this. */
static int64_t sleep_cpu_time(struct task *t, struct timespec left)
{
	return left.tv_sec || left.tv_nsec ? sleep_until(t, CLOCK_MONOTONIC, NULL) : 0;
}

static int64_t sys_nanosleep(struct task *t, const uint64_t a[6])
{
	struct timespec span;
	int err = sleep_get_timespec(t, a[0], &span);

	return err ? err : sleep_span(t, &span, a[1]);
}

static int64_t sys_clock_nanosleep(struct task *t, const uint64_t a[6])
{
	struct timespec ts;
	clockid_t clock;
	int err = sleep_clock(t, a[0], &clock);

	if (err)
		return err;
	err = sleep_get_timespec(t, a[2], &ts);
	if (err)
		return err;
	if (clock == CLOCK_THREAD_CPUTIME_ID)
		return sleep_cpu_time(t, (int)a[1] & TIMER_ABSTIME ? sleep_left(clock, &ts) : ts);
	/* A span does not stretch when the clock is set. */
	return (int)a[1] & TIMER_ABSTIME ? sleep_until(t, clock, &ts) : sleep_span(t, &ts, a[3]);
}

const struct syscall_entry sys_time_calls[] = {
	SYSCALL_ENTRY(clock_gettime), SYSCALL_ENTRY(clock_getres),    SYSCALL_ENTRY(clock_settime),
	SYSCALL_ENTRY(gettimeofday),  SYSCALL_ENTRY(settimeofday),    SYSCALL_ENTRY(time),
	SYSCALL_ENTRY(nanosleep),     SYSCALL_ENTRY(clock_nanosleep), {0},
};
