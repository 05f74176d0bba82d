/* SPDX-License-Identifier: MIT */
/* traps_test.c - what the ways of system calls (docs/traps.md) cost, by counts and by the processor time that lodge used. */
#include "harness.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>

#ifndef HWCAP2_FSGSBASE
#define HWCAP2_FSGSBASE 2 /* asm/hwcap2.h */
#endif

#define BUSYBOX "/bin/busybox"
#define SLEEP_S "2"
#define MAY_USE_MS \
	500 /* of a processor during that sleep: the end of a thread that looks on would show as 2000 */
#define NR_CALLS "3000"

static const char *const ways[] = {"--traps=exit", "--traps=auto", "--traps=poll"};

/* The processor time of all commands that have ended. */
static long used_ms(void)
{
	struct rusage u;

	assert_int_equal(getrusage(RUSAGE_CHILDREN, &u), 0);
	return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000 +
	       (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1000;
}

static long sleep_ms(const char *way, const char *seconds)
{
	long before = used_ms();
	struct outcome o = lodge_run(way, BUSYBOX, "sh", "-c", "sleep $0; :", seconds, NULL);

	expect_status(&o, 0);
	outcome_free(&o);
	return used_ms() - before;
}

static void sleeper_uses_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		long least = sleep_ms(ways[i], "0");
		long most = sleep_ms(ways[i], SLEEP_S);

		if (most - least > MAY_USE_MS)
			fail_msg("%s: %ld ms while it slept", ways[i], most - least);
	}
}

/* A number of the JSON report. */
static uint64_t count_of(const char *json, const char *name)
{
	char key[64];

	snprintf(key, sizeof(key), "\"%s\":", name);
	const char *at = strstr(json, key);
	assert_non_null(at);
	return strtoull(at + strlen(key), NULL, 10);
}

/* The report of a program that makes so many calls, twice; to be freed. */
static char *report_of(const char *way, void (*in_child)(void *))
{
	const char *path = scratch_path("stats.json");
	struct command c = lodge_command(way, "--stats-file", path, BUSYBOX, "dd", "if=/dev/zero",
					 "of=/dev/null", "bs=1", "count=" NR_CALLS, NULL);

	c.in_child = in_child;
	struct outcome o = command_run(&c);
	expect_status(&o, 0);
	outcome_free(&o);
	size_t bytes;
	char *json = read_file(path, &bytes);
	assert_non_null(json);
	return json;
}

static void one_processor(void *arg)
{
	cpu_set_t all, one;

	(void)arg;
	sched_getaffinity(0, sizeof(all), &all);
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE && !CPU_COUNT(&one); cpu++)
		if (CPU_ISSET(cpu, &all))
			CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

/* Every call is counted once, by one way or the other. */
static uint64_t polled_of(const char *json)
{
	uint64_t polled = count_of(json, "polled_syscalls");

	assert_true(polled + count_of(json, "syscalls") >= 2 * strtoull(NR_CALLS, NULL, 10));
	assert_true(!polled || count_of(json, "poll_cpu_ns"));
	return polled;
}

/* A second processor, and gates that can tell the bases of fs and gs. */
static bool may_poll(void)
{
	cpu_set_t set;

	return !sched_getaffinity(0, sizeof(set), &set) && CPU_COUNT(&set) > 1 &&
	       (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE);
}

static void what_is_polled_is_told(void **state)
{
	char *exits = report_of("--traps=exit", NULL), *polls = report_of("--traps=poll", NULL);

	(void)state;
	assert_int_equal(polled_of(exits), 0);
	assert_int_equal(count_of(exits, "gate_answers"), 0);
	polled_of(polls);
	if (may_poll()) /* where all processors are taken nothing else may come of it */
		assert_true(count_of(polls, "poll_cpu_ns") > 0);
	free(exits);
	free(polls);
}

static void one_processor_is_not_shared(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		char *json = report_of(ways[i], one_processor);

		assert_int_equal(polled_of(json), 0);
		free(json);
	}
}

/* What a thread writes into the gates of others is theirs to suffer. */
static void gates_may_be_overwritten(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct outcome o = lodge_run(ways[i], guest_path("gate_hostile"), "20", NULL);

		expect_status(&o, 0);
		assert_string_equal(o.out, "20 children\n");
		outcome_free(&o);
	}
}

int main(void)
{
	struct CMUnitTest tests[] = {
		CASE("traps: a shell that sleeps uses no processor, whichever way", sleeper_uses_nothing),
		CASE("traps: what comes without an exit is counted, and what that cost",
		     what_is_polled_is_told),
		CASE("traps: on one processor every call is an exit", one_processor_is_not_shared),
		CASE("traps: a program that writes into its gates hurts itself alone",
		     gates_may_be_overwritten),
	};

	return harness_main_kvm("traps", tests, sizeof(tests) / sizeof(tests[0]));
}
