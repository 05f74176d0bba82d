/* SPDX-License-Identifier: MIT */
/* stall.c - time lost for want of memory. See stall.h. */
#include <string.h>

#include "clock.h"
#include "stall.h"

/* exp(-2/10), exp(-2/60), exp(-2/300): what is left of an average after a period. */
static const double decay[STALL_NR_AVERAGES] = {0.8187307531, 0.9672161005, 0.9933555063};

/* What the calling thread is at. */
static _Thread_local struct {
	struct stall *of; /* whose task it runs; NULL: none */
	bool asleep;
	unsigned int depth; /* of beginnings */
} self;

void stall_init(struct stall *s)
{
	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->lock, NULL);
	s->since_ns = clock_now_ns();
	s->period_end_ns = s->since_ns + STALL_PERIOD_NS;
}

/* --- the books, under the lock -------------------------------------------------------------------------------------- */

static void add_time(struct stall *s, uint64_t until_ns)
{
	for (unsigned int k = 0; k < NR_STALL_KINDS; k++) {
		uint64_t ns = s->was[k] ? until_ns - s->since_ns : 0;
		s->times[k].total_ns += ns;
		s->period_ns[k] += ns;
	}
	s->since_ns = until_ns;
}

static void close_period(struct stall *s)
{
	for (unsigned int k = 0; k < NR_STALL_KINDS; k++) {
		double per_cent = 100.0 * (double)s->period_ns[k] / (double)STALL_PERIOD_NS;
		for (unsigned int i = 0; i < STALL_NR_AVERAGES; i++) {
			double *average = &s->times[k].average[i];
			*average = *average * decay[i] + per_cent * (1 - decay[i]);
		}
		s->period_ns[k] = 0;
	}
	s->period_end_ns += STALL_PERIOD_NS;
}

/* The time since the last change goes to what it was like. */
static void settle(struct stall *s, uint64_t now_ns)
{
	while (now_ns >= s->period_end_ns) {
		add_time(s, s->period_end_ns);
		close_period(s);
	}
	if (now_ns > s->since_ns)
		add_time(s, now_ns);
	s->was[STALL_SOME] = atomic_load(&s->nr_stalled);
	s->was[STALL_FULL] = s->was[STALL_SOME] && !atomic_load(&s->nr_going);
}

static void settle_now(struct stall *s)
{
	pthread_mutex_lock(&s->lock);
	settle(s, clock_now_ns());
	pthread_mutex_unlock(&s->lock);
}

/* --- tasks ---------------------------------------------------------------------------------------------------------- */

/* Whoever begins to wait looks at this count after it said so, and whoever changes this looks for waiters afterwards. */
static void change_going(struct stall *s, int by)
{
	atomic_fetch_add(&s->nr_going, (unsigned int)by);
	if (atomic_load(&s->nr_stalled))
		settle_now(s);
}

static bool counts_as_going(const struct stall *s)
{
	return self.of == s && !self.asleep;
}

void stall_thread_enter(struct stall *s)
{
	self.of = s;
	self.asleep = false;
	change_going(s, 1);
}

void stall_thread_leave(void)
{
	change_going(self.of, -1);
	self.of = NULL;
}

void stall_sleep_begin(void)
{
	if (!self.of || self.asleep || self.depth)
		return;
	change_going(self.of, -1);
	self.asleep = true;
}

void stall_sleep_end(void)
{
	if (!self.of || !self.asleep || self.depth)
		return;
	self.asleep = false;
	change_going(self.of, 1);
}

/* --- waiting -------------------------------------------------------------------------------------------------------- */

static void change_stalled(struct stall *s, int by)
{
	pthread_mutex_lock(&s->lock);
	atomic_fetch_add(&s->nr_stalled, (unsigned int)by);
	if (counts_as_going(s))
		atomic_fetch_sub(&s->nr_going, (unsigned int)by);
	settle(s, clock_now_ns());
	pthread_mutex_unlock(&s->lock);
}

void stall_begin(struct stall *s)
{
	if (!self.depth++)
		change_stalled(s, 1);
}

void stall_end(struct stall *s)
{
	if (!--self.depth)
		change_stalled(s, -1);
}

/* --- reading -------------------------------------------------------------------------------------------------------- */

void stall_read_at(struct stall *s, uint64_t now_ns, struct stall_times times[NR_STALL_KINDS])
{
	pthread_mutex_lock(&s->lock);
	settle(s, now_ns);
	memcpy(times, s->times, sizeof(s->times));
	pthread_mutex_unlock(&s->lock);
}

void stall_read(struct stall *s, struct stall_times times[NR_STALL_KINDS])
{
	stall_read_at(s, clock_now_ns(), times);
}
