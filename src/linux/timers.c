/* SPDX-License-Identifier: MIT */
/*
 * timers.c - see timers.h. The thread sleeps on timers_event, which moves whenever a timer did.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "cputime.h"
#include "futex.h"
#include "task.h"

#define NS_PER_S      1000000000ull
#define LOOK_AGAIN_NS NS_PER_S	       /* at most, where a clock can be set */
#define TICK_NS	      (NS_PER_S / 250) /* processor time is not looked at more often */

static const int itimer_signal[NR_ITIMERS] = {
	[ITIMER_REAL] = SIGALRM, [ITIMER_VIRTUAL] = SIGVTALRM, [ITIMER_PROF] = SIGPROF};

/* --- clocks --------------------------------------------------------------------------------- */

static uint64_t host_now(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* What the clock of a timer shows; that of a task that has ended stands at 0. */
static uint64_t clock_now(struct process *p, const struct timer_clock *c)
{
	const struct task *t;

	switch (c->kind) {
	case TIMER_BY_HOST:
		return host_now(c->host);
	case TIMER_BY_PROCESS:
		return cputime_process(p);
	case TIMER_BY_USER:
		return cputime_process_user(p);
	case TIMER_BY_TASK:
		t = task_find(p->sandbox, c->tid);
		return t && t->running ? cputime_task(t) : 0;
	}
	return 0;
}

/* How long to sleep at most when `left` is missing by the clock of a timer. */
static uint64_t sleep_ns(const struct process *p, const struct timer_clock *c, uint64_t left)
{
	if (c->kind == TIMER_BY_HOST)
		return c->host == CLOCK_MONOTONIC ? left : min_u64(left, LOOK_AGAIN_NS);
	if (c->kind != TIMER_BY_TASK && p->nr_threads)
		left /= p->nr_threads;
	return max_u64(left, TICK_NS);
}

/* --- one timer ------------------------------------------------------------------------------ */

/* Moves a timer that repeats beyond `now`: how many times it would have rung since `at`, but for the first. */
static uint32_t timer_forward(struct timer *timer, uint64_t now)
{
	uint64_t missed = now > timer->at ? (now - timer->at) / timer->every : 0;

	timer->at += (missed + 1) * timer->every;
	return (uint32_t)min_u64(missed, INT_MAX);
}

static void timer_read(struct process *p, struct timer timer, struct timer_setting *now)
{
	uint64_t time = clock_now(p, &timer.clock);

	*now = (struct timer_setting){.every = timer.every};
	if (!timer.at)
		return;
	if (timer.at <= time && timer.every)
		timer_forward(&timer, time);
	/* One that is due and not sent yet has a moment left. */
	now->left = timer.at > time ? timer.at - time : 1;
}

static void timer_start(struct process *p, struct timer *timer, const struct timer_setting *new,
			bool absolute)
{
	uint64_t from = absolute ? 0 : clock_now(p, &timer->clock);

	timer->every = new->every;
	if (!new->left)
		timer->at = 0;
	else if (__builtin_add_overflow(from, new->left, &timer->at))
		timer->at = UINT64_MAX;
}

/* --- ringing -------------------------------------------------------------------------------- */

static void ring_interval(struct process *p, int which, uint64_t now)
{
	siginfo_t info = {.si_signo = itimer_signal[which], .si_code = SI_KERNEL};
	struct timer *timer = &p->itimer[which];

	if (timer->every)
		timer_forward(timer, now);
	else
		timer->at = 0;
	signal_send_process(p, itimer_signal[which], &info);
}

/* Nothing is sent to a task that is gone, and nothing that is ignored: the timer goes on by itself then. */
static void ring_posix(struct process *p, struct posix_timer *x, uint64_t now)
{
	siginfo_t info = {.si_signo = x->signo, .si_code = SI_TIMER};
	struct task *to = NULL;

	info.si_timerid = x->id;
	info.si_value = x->value;
	if (x->notify == SIGEV_THREAD_ID)
		to = task_find(p->sandbox, x->tid);
	if (x->notify != SIGEV_NONE && (x->notify != SIGEV_THREAD_ID || (to && to->process == p)))
		x->waits = signal_send_timer(p, to, &info);
	if (x->waits)
		return;
	if (x->timer.every)
		timer_forward(&x->timer, now);
	else
		x->timer.at = 0;
}

/* Rings if it is due; *next is moved to when to look again, on CLOCK_MONOTONIC. */
static void run_timer(struct process *p, struct timer *timer, struct posix_timer *x, uint64_t mono,
		      uint64_t *next)
{
	uint64_t now;

	if (!timer->at || (x && x->waits))
		return;
	now = clock_now(p, &timer->clock);
	if (timer->at <= now) {
		if (x)
			ring_posix(p, x, now);
		else
			ring_interval(p, (int)(timer - p->itimer), now);
	}
	if (!timer->at || (x && x->waits))
		return;
	*next = min_u64(*next, mono + sleep_ns(p, &timer->clock, timer->at - now));
}

/* Beyond the soft limit SIGXCPU comes each second, beyond the hard one SIGKILL. */
static void run_limit(struct process *p, uint64_t mono, uint64_t *next)
{
	const struct timer_clock clock = {.kind = TIMER_BY_PROCESS};
	const struct task_rlimit *r = &p->rlimit[RLIMIT_CPU];
	siginfo_t info = {.si_signo = SIGXCPU, .si_code = SI_KERNEL};
	uint64_t used_s, used;

	if (!r->set || r->value.rlim_cur == RLIM_INFINITY)
		return;
	used = cputime_process(p);
	used_s = used / NS_PER_S;
	if (r->value.rlim_max != RLIM_INFINITY && used_s >= r->value.rlim_max) {
		process_group_exit(p, SIGKILL, NULL);
		return;
	}
	if (p->cpu_warned_s < r->value.rlim_cur)
		p->cpu_warned_s = r->value.rlim_cur;
	if (used_s >= p->cpu_warned_s) {
		p->cpu_warned_s = used_s + 1;
		signal_send_process(p, SIGXCPU, &info);
	}
	*next = min_u64(*next, mono + sleep_ns(p, &clock, p->cpu_warned_s * NS_PER_S - used));
}

/* Sends what is due; the time to look again, or UINT64_MAX. */
static uint64_t run_timers(struct sandbox *s)
{
	uint64_t mono = host_now(CLOCK_MONOTONIC), next = UINT64_MAX;
	struct posix_timer *x;
	struct process *p;

	list_for_each_entry (p, &s->processes, node) {
		if (process_is_zombie(p))
			continue;
		for (int i = 0; i < NR_ITIMERS; i++)
			run_timer(p, &p->itimer[i], NULL, mono, &next);
		list_for_each_entry (x, &p->timers, node)
			run_timer(p, &x->timer, x, mono, &next);
		run_limit(p, mono, &next);
	}
	return next;
}

/* --- the thread ----------------------------------------------------------------------------- */

static void *timers_main(void *arg)
{
	struct sandbox *s = arg;

	for (;;) {
		uint32_t event = atomic_load(&s->timers_event);
		pthread_mutex_lock(&s->lock);
		bool stop = s->timers_stop;
		uint64_t next = stop ? 0 : run_timers(s);
		pthread_mutex_unlock(&s->lock);
		if (stop)
			return NULL;
		uint64_t now = host_now(CLOCK_MONOTONIC), left = next > now ? next - now : 0;
		const struct timespec wait = {(time_t)(left / NS_PER_S), (long)(left % NS_PER_S)};
		if (left)
			futex_host_wait(&s->timers_event, event, next == UINT64_MAX ? NULL : &wait);
	}
}

static void wake_thread(struct sandbox *s)
{
	atomic_fetch_add(&s->timers_event, 1);
	futex_host_wake(&s->timers_event, 1);
}

/* The lock is held. */
static int start_thread(struct sandbox *s)
{
	sigset_t all, old;
	int err;

	if (s->timers_run)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&s->timers_thread, NULL, timers_main, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	s->timers_run = !err;
	return err ? -EAGAIN : 0;
}

void timers_stop(struct sandbox *s)
{
	if (!s->timers_run)
		return;
	pthread_mutex_lock(&s->lock);
	s->timers_stop = true;
	pthread_mutex_unlock(&s->lock);
	wake_thread(s);
	pthread_join(s->timers_thread, NULL);
	s->timers_run = false;
}

/* --- copies ---------------------------------------------------------------------------------- */

static bool has_timers(const struct process *p)
{
	bool on = p->rlimit[RLIMIT_CPU].set || !list_empty(&p->timers);

	for (int i = 0; i < NR_ITIMERS; i++)
		on |= p->itimer[i].at != 0;
	return on;
}

int timers_resume(struct sandbox *s)
{
	struct process *p;
	int err = 0;

	pthread_mutex_lock(&s->lock);
	list_for_each_entry (p, &s->processes, node)
		if (!err && has_timers(p))
			err = start_thread(s);
	pthread_mutex_unlock(&s->lock);
	return err;
}

int timers_copy(struct process *to, const struct process *from)
{
	const struct posix_timer *x;

	memcpy(to->itimer, from->itimer, sizeof(to->itimer));
	to->cpu_warned_s = from->cpu_warned_s;
	list_for_each_entry (x, &from->timers, node) {
		struct posix_timer *copy = malloc(sizeof(*copy));

		if (!copy)
			return -ENOMEM;
		*copy = *x;
		list_add_tail(&copy->node, &to->timers);
	}
	to->next_timer_id = from->next_timer_id;
	return 0;
}

/* --- interval timers ------------------------------------------------------------------------ */

void timers_init(struct process *p)
{
	list_init(&p->timers);
	p->itimer[ITIMER_REAL].clock = (struct timer_clock){.kind = TIMER_BY_HOST, .host = CLOCK_MONOTONIC};
	p->itimer[ITIMER_VIRTUAL].clock = (struct timer_clock){.kind = TIMER_BY_USER};
	p->itimer[ITIMER_PROF].clock = (struct timer_clock){.kind = TIMER_BY_PROCESS};
}

void timers_get_interval(struct process *p, int which, struct timer_setting *now)
{
	pthread_mutex_lock(&p->sandbox->lock);
	timer_read(p, p->itimer[which], now);
	pthread_mutex_unlock(&p->sandbox->lock);
}

int timers_set_interval(struct process *p, int which, const struct timer_setting *new,
			struct timer_setting *old)
{
	struct sandbox *s = p->sandbox;
	int err;

	pthread_mutex_lock(&s->lock);
	err = new->left ? start_thread(s) : 0;
	if (!err) {
		timer_read(p, p->itimer[which], old);
		timer_start(p, &p->itimer[which], new, false);
	}
	pthread_mutex_unlock(&s->lock);
	if (!err && new->left)
		wake_thread(s);
	return err;
}

int timers_limit_changed(struct process *p)
{
	int err = start_thread(p->sandbox);

	p->cpu_warned_s = 0;
	if (!err)
		wake_thread(p->sandbox);
	return err;
}

/* --- timers by number ----------------------------------------------------------------------- */

void timers_add(struct process *p, struct posix_timer *new)
{
	new->id = p->next_timer_id;
	p->next_timer_id = p->next_timer_id == INT_MAX ? 0 : p->next_timer_id + 1;
	list_add_tail(&new->node, &p->timers);
}

struct posix_timer *timers_find(struct process *p, int id)
{
	struct posix_timer *x;

	list_for_each_entry (x, &p->timers, node)
		if (x->id == id)
			return x;
	return NULL;
}

void timers_delete(struct process *p, struct posix_timer *timer)
{
	list_del(&timer->node);
	if (timer->waits)
		signal_forget_timer(p, timer->id);
	free(timer);
}

void timers_delete_all(struct process *p)
{
	struct posix_timer *x, *next;

	list_for_each_entry_safe (x, next, &p->timers, node)
		timers_delete(p, x);
	p->next_timer_id = 0;
}

int timers_set(struct process *p, struct posix_timer *timer, const struct timer_setting *new, bool absolute)
{
	int err = new->left ? start_thread(p->sandbox) : 0;

	if (err)
		return err;
	if (timer->waits)
		signal_forget_timer(p, timer->id);
	timer->waits = false;
	timer->overrun = 0;
	timer_start(p, &timer->timer, new, absolute);
	wake_thread(p->sandbox);
	return 0;
}

void timers_get(struct process *p, const struct posix_timer *timer, struct timer_setting *now)
{
	timer_read(p, timer->timer, now);
	/* What has rung and waits to be taken rings no more by itself. */
	if (timer->waits && !timer->timer.every)
		now->left = 0;
}

/* The next ringing of a timer whose signal is out of the way. */
static uint32_t timer_go_on(struct process *p, struct posix_timer *x)
{
	uint32_t missed = 0;

	x->waits = false;
	if (x->timer.every)
		missed = timer_forward(&x->timer, clock_now(p, &x->timer.clock));
	else
		x->timer.at = 0;
	wake_thread(p->sandbox);
	return missed;
}

void timers_signal_taken(struct process *p, siginfo_t *info)
{
	struct posix_timer *x = timers_find(p, info->si_timerid);

	if (!x || !x->waits)
		return;
	x->overrun = timer_go_on(p, x);
	info->si_overrun = (int)x->overrun;
}

void timers_signal_dropped(struct process *p, const siginfo_t *info)
{
	struct posix_timer *x = timers_find(p, info->si_timerid);

	if (x && x->waits)
		timer_go_on(p, x);
}
