/* SPDX-License-Identifier: MIT */
/*
 * sys_timer.c - the system calls about timers that end in a signal: setitimer, alarm, timer_create. See timers.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "cpuclock.h"
#include "syscall.h"

#define NS_PER_S  1000000000ull
#define NS_PER_US 1000ull

/* Times beyond what can be counted are cut: centuries. */
static uint64_t to_ns(time_t s, uint64_t ns)
{
	return min_u64((uint64_t)s, UINT32_MAX * 2ull) * NS_PER_S + ns;
}

/* --- interval timers ------------------------------------------------------------------------ */

static bool timeval_valid(const struct timeval *tv)
{
	return tv->tv_sec >= 0 && tv->tv_usec >= 0 && tv->tv_usec < 1000000;
}

/* What is left is rounded up to what can be said: a timer that is on never shows 0. */
static struct timeval ns_timeval(uint64_t ns)
{
	ns += NS_PER_US - 1;
	return (struct timeval){.tv_sec = (time_t)(ns / NS_PER_S),
				.tv_usec = (suseconds_t)(ns % NS_PER_S / NS_PER_US)};
}

static int put_itimerval(struct task *t, gva_t to, const struct timer_setting *s)
{
	const struct itimerval v = {.it_value = ns_timeval(s->left), .it_interval = ns_timeval(s->every)};

	return copy_to_user(t->mm, to, &v, sizeof(v)) ? -EFAULT : 0;
}

static int64_t sys_setitimer(struct task *t, const uint64_t a[6])
{
	struct timer_setting new, old;
	struct itimerval v = {0};
	int err;

	if (a[1] && copy_from_user(t->mm, &v, a[1], sizeof(v)))
		return -EFAULT;
	if (!timeval_valid(&v.it_value) || !timeval_valid(&v.it_interval) || a[0] >= NR_ITIMERS)
		return -EINVAL;
	new.left = to_ns(v.it_value.tv_sec, (uint64_t)v.it_value.tv_usec * NS_PER_US);
	new.every = to_ns(v.it_interval.tv_sec, (uint64_t)v.it_interval.tv_usec * NS_PER_US);
	err = timers_set_interval(t->process, (int)a[0], &new, &old);
	if (err)
		return err;
	return a[2] ? put_itimerval(t, a[2], &old) : 0;
}

static int64_t sys_getitimer(struct task *t, const uint64_t a[6])
{
	struct timer_setting now;

	if (a[0] >= NR_ITIMERS)
		return -EINVAL;
	timers_get_interval(t->process, (int)a[0], &now);
	return put_itimerval(t, a[1], &now);
}

/* Rounds what was left to seconds, but never to none. */
static int64_t sys_alarm(struct task *t, const uint64_t a[6])
{
	const struct timer_setting new = {.left = (uint32_t)a[0] * NS_PER_S};
	struct timer_setting old;

	if (timers_set_interval(t->process, ITIMER_REAL, &new, &old) || !old.left)
		return 0;
	return (int64_t)max_u64((old.left + NS_PER_S / 2) / NS_PER_S, 1);
}

/* --- timers by number ----------------------------------------------------------------------- */

/* 0, -EINVAL (there is no such clock), -EOPNOTSUPP (it has no timers). */
static int timer_clock(struct task *t, int id, struct timer_clock *clock)
{
	struct cpuclock cpu;
	int err;

	switch (id) {
	case CLOCK_REALTIME:
	case CLOCK_MONOTONIC:
	case CLOCK_BOOTTIME:
	case CLOCK_TAI:
		*clock = (struct timer_clock){.kind = TIMER_BY_HOST, .host = id};
		return 0;
	default:
		if (!cpuclock_is(id))
			return id >= 0 && id <= CLOCK_TAI && id != CLOCK_SGI_CYCLE_NR ? -EOPNOTSUPP : -EINVAL;
	}
	err = cpuclock_parse(t, id, &cpu);
	if (err)
		return err;
	*clock = (struct timer_clock){.kind = cpu.of_task ? TIMER_BY_TASK : TIMER_BY_PROCESS, .tid = cpu.id};
	/* What another process uses is seen by its clock, but no timer of ours counts it. */
	return !cpu.of_task && cpu.id != t->pid ? -EINVAL : 0;
}

static int check_event(struct task *t, const struct sigevent *e)
{
	bool found;

	switch (e->sigev_notify) {
	case SIGEV_NONE:
		return 0;
	case SIGEV_SIGNAL:
	case SIGEV_THREAD:
		break;
	case SIGEV_SIGNAL | SIGEV_THREAD_ID:
		pthread_mutex_lock(&t->sandbox->lock);
		const struct task *to = task_find(t->sandbox, e->_sigev_un._tid);
		found = to && to->process == t->process;
		pthread_mutex_unlock(&t->sandbox->lock);
		if (!found)
			return -EINVAL;
		break;
	default:
		return -EINVAL;
	}
	return e->sigev_signo <= 0 || e->sigev_signo > NR_SIGNALS ? -EINVAL : 0;
}

/* Puts the number where the guest wants it, or there is no timer. */
static int64_t add_timer(struct task *t, const struct posix_timer *like, bool value_is_id, gva_t id_to)
{
	struct posix_timer *x = malloc(sizeof(*x));
	int id;

	if (!x)
		return -EAGAIN;
	*x = *like;
	pthread_mutex_lock(&t->sandbox->lock);
	timers_add(t->process, x);
	id = x->id;
	if (value_is_id)
		x->value.sival_int = id;
	pthread_mutex_unlock(&t->sandbox->lock);
	if (!copy_to_user(t->mm, id_to, &id, sizeof(id)))
		return 0;
	pthread_mutex_lock(&t->sandbox->lock);
	x = timers_find(t->process, id);
	if (x)
		timers_delete(t->process, x);
	pthread_mutex_unlock(&t->sandbox->lock);
	return -EFAULT;
}

static int64_t sys_timer_create(struct task *t, const uint64_t a[6])
{
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
	struct posix_timer x = {0};
	int err, no_timer = -1;

	if (a[1] && copy_from_user(t->mm, &event, a[1], sizeof(event)))
		return -EFAULT;
	err = timer_clock(t, (int)a[0], &x.timer.clock);
	/* Whose clock of processor time it is, is asked after the number has been told. */
	if (err && cpuclock_has_form((int)a[0]) && !check_event(t, &event) &&
	    copy_to_user(t->mm, a[2], &no_timer, sizeof(no_timer)))
		return -EFAULT;
	if (!err)
		err = check_event(t, &event);
	if (err)
		return err;
	x.notify =
		event.sigev_notify == (SIGEV_SIGNAL | SIGEV_THREAD_ID) ? SIGEV_THREAD_ID : event.sigev_notify;
	x.signo = event.sigev_signo;
	x.tid = event._sigev_un._tid;
	x.value = event.sigev_value;
	return add_timer(t, &x, !a[1], a[2]);
}

static struct itimerspec setting_spec(const struct timer_setting *s)
{
	return (struct itimerspec){
		.it_value = {(time_t)(s->left / NS_PER_S), (long)(s->left % NS_PER_S)},
		.it_interval = {(time_t)(s->every / NS_PER_S), (long)(s->every % NS_PER_S)},
	};
}

static bool timespec_valid(const struct timespec *ts)
{
	return ts->tv_sec >= 0 && ts->tv_nsec >= 0 && (uint64_t)ts->tv_nsec < NS_PER_S;
}

static int64_t sys_timer_settime(struct task *t, const uint64_t a[6])
{
	struct timer_setting new, old;
	struct posix_timer *x;
	struct itimerspec v;
	int err = -EINVAL;

	if (!a[2])
		return -EINVAL;
	if (copy_from_user(t->mm, &v, a[2], sizeof(v)))
		return -EFAULT;
	if (!timespec_valid(&v.it_value) || !timespec_valid(&v.it_interval))
		return -EINVAL;
	new.left = to_ns(v.it_value.tv_sec, (uint64_t)v.it_value.tv_nsec);
	new.every = to_ns(v.it_interval.tv_sec, (uint64_t)v.it_interval.tv_nsec);
	pthread_mutex_lock(&t->sandbox->lock);
	x = timers_find(t->process, (int)a[0]);
	if (x) {
		timers_get(t->process, x, &old);
		err = timers_set(t->process, x, &new, (int)a[1] & TIMER_ABSTIME);
	}
	pthread_mutex_unlock(&t->sandbox->lock);
	if (err || !a[3])
		return err;
	v = setting_spec(&old);
	return copy_to_user(t->mm, a[3], &v, sizeof(v)) ? -EFAULT : 0;
}

static int64_t sys_timer_gettime(struct task *t, const uint64_t a[6])
{
	struct timer_setting now;
	struct posix_timer *x;
	struct itimerspec v;

	pthread_mutex_lock(&t->sandbox->lock);
	x = timers_find(t->process, (int)a[0]);
	if (x)
		timers_get(t->process, x, &now);
	pthread_mutex_unlock(&t->sandbox->lock);
	if (!x)
		return -EINVAL;
	v = setting_spec(&now);
	return copy_to_user(t->mm, a[1], &v, sizeof(v)) ? -EFAULT : 0;
}

static int64_t sys_timer_getoverrun(struct task *t, const uint64_t a[6])
{
	struct posix_timer *x;
	int64_t ret;

	pthread_mutex_lock(&t->sandbox->lock);
	x = timers_find(t->process, (int)a[0]);
	ret = x ? (int64_t)x->overrun : -EINVAL;
	pthread_mutex_unlock(&t->sandbox->lock);
	return ret;
}

static int64_t sys_timer_delete(struct task *t, const uint64_t a[6])
{
	struct posix_timer *x;

	pthread_mutex_lock(&t->sandbox->lock);
	x = timers_find(t->process, (int)a[0]);
	if (x)
		timers_delete(t->process, x);
	pthread_mutex_unlock(&t->sandbox->lock);
	return x ? 0 : -EINVAL;
}

const struct syscall_entry sys_timer_calls[] = {
	SYSCALL_ENTRY(setitimer),	 SYSCALL_ENTRY(getitimer),     SYSCALL_ENTRY(alarm),
	SYSCALL_ENTRY(timer_create),	 SYSCALL_ENTRY(timer_settime), SYSCALL_ENTRY(timer_gettime),
	SYSCALL_ENTRY(timer_getoverrun), SYSCALL_ENTRY(timer_delete),  {0},
};
