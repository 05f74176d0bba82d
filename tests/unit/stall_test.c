/* SPDX-License-Identifier: MIT */
/* Time lost for want of memory: who waits, who gets on, totals and averages; how long faults take. */
#include <math.h>
#include <semaphore.h>

#include "../../src/mm/latency.h"
#include "../../src/mm/stall.h"
#include "../harness.h"

#define NS_PER_S 1000000000ull

/* Another thread with a task of the account, which does one thing at a time. */
struct other {
	struct stall *stall;
	pthread_t thread;
	sem_t go, done;
	void (*what)(struct stall *s); /* NULL: end */
};

static void *other_main(void *arg)
{
	struct other *o = arg;

	stall_thread_enter(o->stall);
	sem_post(&o->done);
	for (;;) {
		sem_wait(&o->go);
		if (!o->what)
			break;
		o->what(o->stall);
		sem_post(&o->done);
	}
	stall_thread_leave();
	return NULL;
}

static void other_start(struct other *o, struct stall *s)
{
	o->stall = s;
	sem_init(&o->go, 0, 0);
	sem_init(&o->done, 0, 0);
	assert_int_equal(pthread_create(&o->thread, NULL, other_main, o), 0);
	sem_wait(&o->done);
}

static void other_do(struct other *o, void (*what)(struct stall *s))
{
	o->what = what;
	sem_post(&o->go);
	if (what)
		sem_wait(&o->done);
}

static void other_stop(struct other *o)
{
	other_do(o, NULL);
	pthread_join(o->thread, NULL);
	sem_destroy(&o->go);
	sem_destroy(&o->done);
}

static void sleeps(struct stall *s)
{
	(void)s;
	stall_sleep_begin();
}

static void wakes(struct stall *s)
{
	(void)s;
	stall_sleep_end();
}

/* What a second from now on counts as: "", "some" or "full". */
static const char *next_second(struct stall *s)
{
	struct stall_times before[NR_STALL_KINDS], after[NR_STALL_KINDS];
	uint64_t begin, gone[NR_STALL_KINDS];

	stall_read(s, before);
	begin = s->since_ns;
	stall_read_at(s, begin + NS_PER_S, after);
	for (unsigned int k = 0; k < NR_STALL_KINDS; k++) {
		gone[k] = after[k].total_ns - before[k].total_ns;
		assert_true(gone[k] == 0 || gone[k] == NS_PER_S);
	}
	assert_true(gone[STALL_SOME] >= gone[STALL_FULL]);
	return gone[STALL_FULL] ? "full" : gone[STALL_SOME] ? "some" : "";
}

static void full_is_when_nobody_gets_on(void **state)
{
	struct stall s;
	struct other o;

	(void)state;
	stall_init(&s);
	stall_thread_enter(&s);
	other_start(&o, &s);
	assert_string_equal(next_second(&s), "");
	stall_begin(&s);
	assert_string_equal(next_second(&s), "some");
	other_do(&o, stall_begin);
	assert_string_equal(next_second(&s), "full");
	other_do(&o, stall_end);
	assert_string_equal(next_second(&s), "some");
	other_do(&o, sleeps);
	assert_string_equal(next_second(&s), "full");
	stall_end(&s);
	assert_string_equal(next_second(&s), "");
	other_do(&o, stall_begin); /* a sleeper that finds on its way that it needs memory */
	assert_string_equal(next_second(&s), "some");
	other_do(&o, stall_end);
	other_do(&o, wakes);
	stall_begin(&s);
	assert_string_equal(next_second(&s), "some");
	other_stop(&o);
	assert_string_equal(next_second(&s), "full");
	stall_end(&s);
	stall_thread_leave();
	assert_int_equal(s.nr_going, 0);
	assert_int_equal(s.nr_stalled, 0);
}

static void waits_may_nest(void **state)
{
	struct stall s;

	(void)state;
	stall_init(&s);
	stall_thread_enter(&s);
	stall_begin(&s);
	stall_begin(&s);
	assert_int_equal(s.nr_stalled, 1);
	stall_sleep_begin(); /* part of the wait: what it sleeps for is memory */
	stall_sleep_end();
	stall_end(&s);
	assert_string_equal(next_second(&s), "full");
	stall_end(&s);
	assert_string_equal(next_second(&s), "");
	stall_thread_leave();
}

static void without_tasks_some_is_full(void **state)
{
	struct stall s;

	(void)state;
	stall_init(&s);
	stall_sleep_begin(); /* nobody's */
	stall_sleep_end();
	stall_begin(&s);
	assert_string_equal(next_second(&s), "full");
	stall_end(&s);
}

static void assert_near(double value, double wanted)
{
	if (fabs(value - wanted) > 0.5)
		fail_msg("%f is not near %f", value, wanted);
}

/* Up to a period that is not over an average has what the whole ones before it say. */
static void averages_rise_and_fall(void **state)
{
	struct stall_times t[NR_STALL_KINDS];
	struct stall s;

	(void)state;
	stall_init(&s);
	uint64_t end = s.period_end_ns;
	stall_read_at(&s, end, t);
	stall_begin(&s);
	stall_read_at(&s, end + 60 * NS_PER_S, t);
	assert_near(t[STALL_SOME].average[0], 100 * (1 - exp(-6.0)));
	assert_near(t[STALL_SOME].average[1], 100 * (1 - exp(-1.0)));
	assert_near(t[STALL_FULL].average[2], 100 * (1 - exp(-0.2)));
	assert_int_equal(t[STALL_SOME].total_ns, 60 * NS_PER_S);
	stall_end(&s);
	stall_read_at(&s, end + 61 * NS_PER_S, t);
	assert_near(t[STALL_SOME].average[0], 100 * (1 - exp(-6.0)));
	stall_read_at(&s, end + 70 * NS_PER_S, t);
	assert_near(t[STALL_SOME].average[0], 100 * exp(-1.0));
	assert_int_equal(t[STALL_SOME].total_ns, 60 * NS_PER_S);
	stall_read_at(&s, end + 100000 * NS_PER_S, t);
	assert_near(t[STALL_SOME].average[2], 0);
}

static void latencies_are_counted_by_powers_of_two(void **state)
{
	struct latency l = {0};

	(void)state;
	assert_int_equal(latency_bucket(999), 0);
	assert_int_equal(latency_bucket(1000), 1);
	assert_int_equal(latency_bucket(1999), 1);
	assert_int_equal(latency_bucket(2000), 2);
	assert_int_equal(latency_bucket(4096000), 13);
	assert_int_equal(latency_bucket(UINT64_MAX), LATENCY_BUCKETS - 1);
	latency_add(&l, 3000);
	latency_add(&l, 2500);
	assert_int_equal(l.bucket[2], 2);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{"stall: full is when no task gets on, whether it waits for memory or sleeps",
		 full_is_when_nobody_gets_on, NULL, NULL, NULL},
		{"stall: waits may nest, and sleep", waits_may_nest, NULL, NULL, NULL},
		{"stall: where nobody tells of tasks some is full", without_tasks_some_is_full, NULL, NULL,
		 NULL},
		{"stall: averages of 10, 60 and 300 s, and totals", averages_rise_and_fall, NULL, NULL, NULL},
		{"latency: counted by powers of two", latencies_are_counted_by_powers_of_two, NULL, NULL,
		 NULL},
	};

	return cmocka_run_group_tests_name("stall", tests, NULL, NULL);
}
