/* SPDX-License-Identifier: MIT */
/*
 * Programs whose result does not depend on how their system calls travel, while that is changed at random, on a machine that has more to do
 * than processors to do it. What they print is what they print when every call is an exit.
 */
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>

#include "../../include/lodge.h"
#include "spaces.h"

#ifndef HWCAP2_FSGSBASE
#define HWCAP2_FSGSBASE 2 /* asm/hwcap2.h */
#endif
#define NR_LOADS    2u
#define MOST_US	    3000u
#define LEAST_TURNS 10u

/* Threads that take processors away, by turns: the machine has one to spare now and then. */
struct load {
	pthread_t thread[NR_LOADS];
	_Atomic bool stop;
};

static void *burn(void *arg)
{
	struct load *l = arg;

	for (unsigned int n = 0; !atomic_load(&l->stop); n++) {
		if (n % 4 == 0)
			usleep(5000);
		for (volatile unsigned int i = 0; i < 300000; i++)
			;
	}
	return NULL;
}

static void load_begin(struct load *l)
{
	atomic_store(&l->stop, false);
	for (unsigned int i = 0; i < NR_LOADS; i++)
		assert_int_equal(pthread_create(&l->thread[i], NULL, burn, l), 0);
}

static void load_end(struct load *l)
{
	atomic_store(&l->stop, true);
	for (unsigned int i = 0; i < NR_LOADS; i++)
		pthread_join(l->thread[i], NULL);
}

/* Until the first line of the program's output is there. */
static bool is_silent(const struct run *r)
{
	struct pollfd p = {.fd = r->out, .events = POLLIN};

	return poll(&p, 1, 0) == 0;
}

static void switch_at_random(struct run *r, uint64_t *rng)
{
	unsigned int turns = 0;

	while (is_silent(r) || turns < LEAST_TURNS) {
		assert_int_equal(lodge_space_set_traps(r->space, (enum lodge_traps)random_below(rng, 3)), 0);
		usleep((useconds_t)random_below(rng, MOST_US));
		turns++;
	}
}

static void read_line(struct run *r, char line[LINE_BYTES])
{
	ssize_t n = read(r->out, line, LINE_BYTES - 1);

	assert_true(n > 0);
	line[n] = '\0';
}

/* What it prints, with every call an exit. */
static void expected_of(const char *const *words, char line[LINE_BYTES])
{
	struct run r = {0};

	create(&r, words);
	assert_int_equal(lodge_space_set_traps(r.space, LODGE_TRAPS_EXIT), 0);
	start(&r);
	join(&r);
	read_line(&r, line);
	destroy(&r);
}

static struct lodge_stats switched(const char *const *words, const char *expected, uint64_t *rng)
{
	struct run r = {0};
	struct lodge_stats stats;

	create(&r, words);
	start(&r);
	switch_at_random(&r, rng);
	join(&r);
	hear(&r, expected);
	lodge_space_stats(r.space, &stats);
	destroy(&r);
	return stats;
}

/* A second processor, and gates that can tell the bases of fs and gs. */
static bool may_poll(void)
{
	cpu_set_t set;

	return !sched_getaffinity(0, sizeof(set), &set) && CPU_COUNT(&set) > 1 &&
	       (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE);
}

static void expect_the_same(const char *const *words)
{
	char expected[LINE_BYTES];
	struct load load;
	uint64_t rng = random_seed(81);

	if (!host)
		skip();
	expected_of(words, expected);
	load_begin(&load);
	struct lodge_stats stats = switched(words, expected, &rng);
	load_end(&load);
	assert_true(stats.syscalls > 0);
	if (may_poll())
		assert_true(stats.poll_cpu_ns >
			    0); /* it was looked on; where all processors are taken nothing may come of it */
}

static void calls(void **state)
{
	const char *const words[] = {"calls", "2500", NULL};

	(void)state;
	expect_the_same(words);
}

static void processes(void **state)
{
	const char *const words[] = {"tree", "3", "800", NULL};

	(void)state;
	expect_the_same(words);
}

/* False: it has ended, which it does soon on a fast machine. */
static bool copied(struct run *copy, struct run *r)
{
	struct lodge_error err = {""};

	open_pipes(copy);
	int ret = lodge_space_clone(r->space, copy->fds, &copy->space, &err);

	if (ret && ret != -EINVAL)
		fail_msg("clone: %d %s", ret, err.text);
	return !ret;
}

/* Copies are made of processes that may be in the middle of calls without an exit, and go on by other ways. */
static void copies(void **state)
{
	enum { COPIES = 4 };
	const char *const words[] = {"tree", "3", "800", NULL};
	struct run r = {0}, copy[COPIES] = {{0}};
	char expected[LINE_BYTES];
	uint64_t rng = random_seed(82);
	unsigned int nr = 0;

	(void)state;
	if (!host)
		skip();
	expected_of(words, expected);
	create(&r, words);
	assert_int_equal(lodge_space_set_traps(r.space, LODGE_TRAPS_POLL), 0);
	start(&r);
	do
		usleep((useconds_t)random_below(&rng, 5000));
	while (copied(&copy[nr], &r) && ++nr < COPIES);
	assert_true(nr > 0);
	for (unsigned int i = 0; i < nr; i++) {
		start(&copy[i]);
		switch_at_random(&copy[i], &rng);
		join(&copy[i]);
		hear(&copy[i], expected);
		destroy(&copy[i]);
	}
	join(&r);
	hear(&r, expected);
	destroy(&r);
}

/* The command's way, whatever it is; no other number is one. */
static void no_other_way(void **state)
{
	const char *const words[] = {"end", "0", NULL};
	struct run r = {0};

	(void)state;
	create(&r, words);
	assert_int_equal(lodge_space_set_traps(r.space, (enum lodge_traps)(LODGE_TRAPS_POLL + 1)), -EINVAL);
	start(&r);
	join(&r);
	destroy(&r);
}

#define CASE(title, fn)                                                                        \
	{                                                                                      \
		.name = title, .test_func = fn, .setup_func = setup, .teardown_func = teardown \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE("traps: calls, signals, faults, forks and execs while the way of calls changes", calls),
		CASE("traps: processes that talk while the way of calls changes", processes),
		CASE("traps: copies of processes in the middle of their calls", copies),
		CASE("traps: no other way than the three", no_other_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
