/* SPDX-License-Identifier: MIT */
/* Swap as a user asks for it: which files, which failures. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"

static const char *swap_option(const char *name, const char *rest)
{
	static char text[512];

	snprintf(text, sizeof(text), "%s%s", scratch_path(name), rest);
	return text;
}

static void refused(const char *option, const char *value, const char *word)
{
	struct outcome o = lodge_run(option, value, guest_path("hello_glibc"), NULL);

	expect_refused(&o, 125);
	if (!strstr(o.err, word))
		fail_msg("%s %s: '%s' does not say '%s'", option, value, o.err, word);
	outcome_free(&o);
}

static void files_that_cannot_be(void **state)
{
	struct stat st;

	(void)state;
	write_file(scratch_path("precious"), "precious", 8, 0600);
	refused("--swap", swap_option("precious", ":1M"), "something else");
	assert_int_equal(stat(scratch_path("precious"), &st), 0);
	assert_int_equal(st.st_size, 8);
	refused("--swap", swap_option("missing", ""), "no such file");
	refused("--swap", swap_option("missing", ":4096"), "too small");
	assert_int_equal(access(scratch_path("missing"), F_OK), -1);
	refused("--swap", scratch_dir(), "directory");
	refused("--swap", "/dev/null", "neither");
	refused("--swap", "", "must be FILE");
	refused("--swap", ":4M", "must be FILE");
	refused("--swap", swap_option("no/such/directory", ":4M"), "No such file");
}

static void rules_that_are_none(void **state)
{
	(void)state;
	refused("--inject", "swap.read", "'='");
	refused("--inject", "tape.read=eio", "must begin");
	refused("--inject", "swap.read=eio@n=0", "above 0");
}

static void files_that_fail(void **state)
{
	struct outcome native = native_run(guest_path("hello_glibc"), NULL), o;

	(void)state;
	o = lodge_run("--inject", "file.read=short", "--inject", "file.read=delay:1ms",
		      guest_path("hello_glibc"), NULL);
	expect_same(&native, &o);
	outcome_free(&o);
	o = lodge_run("--inject", "file.read=eio@from=2", guest_path("hello_glibc"), NULL);
	assert_true(o.status == 126 || o.status == 135); /* before or after it has begun */
	outcome_free(&o);
	o = lodge_run("--timeout", "0.5", "--inject", "file.read=stuck@from=2", guest_path("hello_glibc"),
		      NULL);
	assert_true(o.status == 124 || o.status == 126);
	outcome_free(&o);
	outcome_free(&native);
}

static void sizes_and_priorities(void **state)
{
	struct command c = lodge_command("--stats", NULL);
	struct outcome o;
	struct stat st;

	(void)state;
	command_add(&c, "--swap");
	command_add(&c, strdup(swap_option("colon:name", ":1M:7")));
	command_add(&c, "--swap");
	command_add(&c, strdup(swap_option("a", ":2M")));
	command_add(&c, guest_path("hello_glibc"));
	o = command_run(&c);
	expect_status(&o, 0);
	assert_int_equal(stat(scratch_path("colon:name"), &st), 0);
	assert_int_equal(st.st_size, 1 << 20);
	assert_int_equal(stat(scratch_path("a"), &st), 0);
	assert_int_equal(st.st_size, 2 << 20);
	assert_non_null(strstr(o.err, "colon:name: 256 slots, 0 in use, 0 bad, priority 7;"));
	assert_non_null(strstr(o.err, "/a: 512 slots, 0 in use, 0 bad, priority -1;"));
	outcome_free(&o);
	/* They are lodge's own now, and used again without a size. */
	o = lodge_run("--stats", "--swap", swap_option("a", "::3"), guest_path("hello_glibc"), NULL);
	expect_status(&o, 0);
	assert_non_null(strstr(o.err, "/a: 512 slots, 0 in use, 0 bad, priority 3;"));
	outcome_free(&o);
	o = lodge_run("--stats", "--swap", swap_option("a", ""), "--swap", "none", guest_path("hello_glibc"),
		      NULL);
	expect_status(&o, 0);
	assert_null(strstr(o.err, " slots"));
	outcome_free(&o);
}

int main(void)
{
	struct CMUnitTest tests[] = {
		CASE("swap: what is not for swap is refused, in a line, and not touched [O2]",
		     files_that_cannot_be),
		CASE("inject: rules that are none are refused, in a line", rules_that_are_none),
		CASE("inject: files that are slow, short, broken or stuck", files_that_fail),
		CASE("swap: files get their size, devices their order [O2]", sizes_and_priorities),
	};

	return harness_main_kvm("swap", tests, sizeof(tests) / sizeof(tests[0]));
}
