/* SPDX-License-Identifier: MIT */
/*
 * oom_test.c - a space that is full: what calls, handlers and faults get, and --oom.
 */
#include "harness.h"

#include <stdio.h>
#include <string.h>

static struct outcome run(const char *policy, const char *call, const char *how)
{
	return lodge_run("--memory", "32M", policy, guest_path("oom_calls"), call, how, NULL);
}

static const char *const calls[] = {"read",   "readv",	   "fstat", "uname", "getrandom", "process_vm_writev",
				    "pwrite", "fallocate", "futex", "signal"};

static unsigned int lines(const char *text, const char *with)
{
	unsigned int n = 0;

	for (; (text = strstr(text, with)); text++)
		n++;
	return n;
}

/* The child that has the most goes, once; the call that asked for more does not notice. */
static void calls_are_served(void **state)
{
	char expected[128];

	(void)state;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		struct outcome o = run("--oom=kill", calls[i], NULL);
		snprintf(expected, sizeof(expected), "%s: all of it, and the child got 9\n", calls[i]);
		assert_string_equal(o.out, expected);
		expect_status(&o, 0);
		assert_int_equal(lines(o.err, "lodge: "), 1);
		assert_non_null(strstr(o.err, "pages ends\n"));
		outcome_free(&o);
	}
}

static void calls_are_refused(void **state)
{
	static const char *const refused[] = {"fstat", "uname", "getrandom", "process_vm_writev"};
	char expected[128];

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct outcome o = run("--oom=enomem", refused[i], "refused");
		snprintf(expected, sizeof(expected), "%s: ENOMEM\n", refused[i]);
		assert_string_equal(o.out, expected);
		assert_string_equal(o.err, "");
		expect_status(&o, 0);
		outcome_free(&o);
	}
}

static void promises_are_refused(void **state)
{
	struct outcome o = run("--oom=enomem", "promises", NULL);

	(void)state;
	assert_string_equal(o.out, "mmap of some: done\nmmap of more: ENOMEM\nmmap without rights: done\n"
				   "brk: ENOMEM\nfork: ENOMEM\nmunmap: done\nbrk: done\n");
	assert_string_equal(o.err, "");
	expect_status(&o, 0);
	outcome_free(&o);
}

/* A frame is no call: nobody could be told. */
static void frames_kill(void **state)
{
	struct outcome o = run("--oom=enomem", "signal", "refused");

	(void)state;
	expect_status(&o, 128 + 9);
	assert_int_equal(lines(o.err, "lodge: "), 1);
	assert_non_null(strstr(o.err, "lodge: out of memory: the space owns "));
	outcome_free(&o);
}

static void space_stops(void **state)
{
	static const char *const by[] = {"read", "pwrite", "signal"};

	(void)state;
	for (size_t i = 0; i < sizeof(by) / sizeof(by[0]); i++) {
		struct outcome o = run("--oom=stop", by[i], NULL);
		assert_string_equal(o.out, "");
		assert_int_equal(lines(o.err, "lodge: "), 1);
		assert_non_null(strstr(o.err, "lodge: out of memory: the space owns "));
		expect_status(&o, 125);
		outcome_free(&o);
	}
	struct outcome o =
		lodge_run("--memory", "32M", "--oom=stop", "--stats", guest_path("oom_calls"), "read", NULL);
	expect_status(&o, 125);
	assert_non_null(strstr(o.err, "limit 8192"));
	outcome_free(&o);
}

static void memory_is_back(void **state)
{
	struct outcome o = run("--oom=stop", "ends", NULL);

	(void)state;
	assert_string_equal(o.out, "ends: all came back\n");
	expect_status(&o, 0);
	outcome_free(&o);
}

int main(void)
{
	struct CMUnitTest tests[] = {
		CASE("oom: a call or a handler that finds no memory is served after a death [J16]",
		     calls_are_served),
		CASE("oom: enomem makes it the call's error", calls_are_refused),
		CASE("oom: enomem promises no more than there is", promises_are_refused),
		CASE("oom: enomem kills where nobody can be told", frames_kill),
		CASE("oom: stop ends the run with its report", space_stops),
		CASE("oom: the memory of a child is back when its end is seen", memory_is_back),
	};

	return harness_main_kvm("oom", tests, sizeof(tests) / sizeof(tests[0]));
}
