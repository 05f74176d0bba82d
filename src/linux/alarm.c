/* SPDX-License-Identifier: MIT */
/*
 * alarm.c - see alarm.h. The times of the processes are read and written under sandbox->lock; the thread sleeps on
 * alarm_event, which moves whenever one of them did.
 */
#include <errno.h>
#include <signal.h>
#include <time.h>

#include "alarm.h"
#include "futex.h"
#include "task.h"

#define NS_PER_S  1000000000ull
#define NS_PER_US 1000ull

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static struct timeval ns_timeval(uint64_t ns)
{
	return (struct timeval){.tv_sec = (time_t)(ns / NS_PER_S),
				.tv_usec = (suseconds_t)(ns % NS_PER_S / NS_PER_US)};
}

/* Times beyond what can be counted are cut: centuries. */
static uint64_t timeval_ns(const struct timeval *tv)
{
	uint64_t s = min_u64((uint64_t)tv->tv_sec, UINT32_MAX * 2ull);

	return s * NS_PER_S + (uint64_t)tv->tv_usec * NS_PER_US;
}

/* --- the thread (the lock is held) ---------------------------------------------------------- */

/* Sends what is due; the time of the next one, or 0. */
static uint64_t run_timers(struct sandbox *s)
{
	siginfo_t info = {.si_signo = SIGALRM, .si_code = SI_KERNEL};
	uint64_t next = 0, now = now_ns();
	struct process *p;

	list_for_each_entry (p, &s->processes, node) {
		if (p->alarm_at_ns && p->alarm_at_ns <= now) {
			uint64_t late = now - p->alarm_at_ns, every = p->alarm_every_ns;
			p->alarm_at_ns = every ? now + every - late % every : 0;
			signal_send_process(p, SIGALRM, &info);
		}
		if (p->alarm_at_ns && !process_is_zombie(p) && (!next || p->alarm_at_ns < next))
			next = p->alarm_at_ns;
	}
	return next;
}

static void *alarm_main(void *arg)
{
	struct sandbox *s = arg;

	for (;;) {
		uint32_t event = atomic_load(&s->alarm_event);
		pthread_mutex_lock(&s->lock);
		bool stop = s->alarm_stop;
		uint64_t next = stop ? 0 : run_timers(s);
		pthread_mutex_unlock(&s->lock);
		if (stop)
			return NULL;
		uint64_t now = now_ns(), left = next > now ? next - now : 0;
		const struct timespec wait = {(time_t)(left / NS_PER_S), (long)(left % NS_PER_S)};
		if (!next || left)
			futex_host_wait(&s->alarm_event, event, next ? &wait : NULL);
	}
}

static void wake_thread(struct sandbox *s)
{
	atomic_fetch_add(&s->alarm_event, 1);
	futex_host_wake(&s->alarm_event, 1);
}

static int start_thread(struct sandbox *s)
{
	sigset_t all, old;
	int err;

	if (s->alarm_runs)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&s->alarm_thread, NULL, alarm_main, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	s->alarm_runs = !err;
	return err ? -EAGAIN : 0;
}

void alarm_stop(struct sandbox *s)
{
	if (!s->alarm_runs)
		return;
	pthread_mutex_lock(&s->lock);
	s->alarm_stop = true;
	pthread_mutex_unlock(&s->lock);
	wake_thread(s);
	pthread_join(s->alarm_thread, NULL);
	s->alarm_runs = false;
}

/* --- the timers ----------------------------------------------------------------------------- */

static void read_timer(const struct process *p, struct itimerval *now)
{
	uint64_t t = now_ns(), left = p->alarm_at_ns > t ? p->alarm_at_ns - t : 0;

	/* One that is due and not sent yet has a moment left. */
	if (p->alarm_at_ns && left < NS_PER_US)
		left = NS_PER_US;
	now->it_value = ns_timeval(left);
	now->it_interval = ns_timeval(p->alarm_every_ns);
}

void alarm_get(struct process *p, struct itimerval *now)
{
	pthread_mutex_lock(&p->sandbox->lock);
	read_timer(p, now);
	pthread_mutex_unlock(&p->sandbox->lock);
}

int alarm_set(struct process *p, const struct itimerval *new, struct itimerval *old)
{
	struct sandbox *s = p->sandbox;
	uint64_t span = timeval_ns(&new->it_value);
	int err;

	pthread_mutex_lock(&s->lock);
	err = span ? start_thread(s) : 0;
	if (!err) {
		read_timer(p, old);
		p->alarm_at_ns = span ? now_ns() + span : 0;
		p->alarm_every_ns = span ? timeval_ns(&new->it_interval) : 0;
	}
	pthread_mutex_unlock(&s->lock);
	if (!err && span)
		wake_thread(s);
	return err;
}
