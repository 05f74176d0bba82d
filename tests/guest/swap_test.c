/* SPDX-License-Identifier: MIT */
/* Swap as a user asks for it: which files, which failures, and programs that need more than their memory. */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"

#define SET_MIB "20" /* four times the memory */

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
	char *first = strdup(swap_option("colon:name", ":1M:7")), *second = strdup(swap_option("a", ":2M"));
	struct outcome o;
	struct stat st;

	(void)state;
	command_add(&c, "--swap");
	command_add(&c, first);
	command_add(&c, "--swap");
	command_add(&c, second);
	command_add(&c, guest_path("hello_glibc"));
	o = command_run(&c);
	free(first);
	free(second);
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

/* The set of pages, of a memfd's if `shared`, on swap of its own, with up to two more words for lodge. */
static struct outcome run_pages(const char *shared, const char *seconds, const char *lossy,
				const char *option, const char *value)
{
	char *swap = strdup(swap_option("swap", ":64M"));
	struct command c = lodge_command("--memory", "5M", "--swap", swap, "--stats", NULL);
	struct outcome o;

	if (option) {
		command_add(&c, option);
		command_add(&c, value);
	}
	if (!strcmp(seconds, "30")) {
		command_add(&c, "--timeout");
		command_add(&c, "2");
	}
	command_add(&c, guest_path("working_set"));
	command_add(&c, SET_MIB);
	command_add(&c, seconds);
	command_add(&c, "1");
	if (lossy)
		command_add(&c, lossy);
	if (shared)
		command_add(&c, shared);
	o = command_run(&c);
	free(swap);
	return o;
}

static struct outcome run_set(const char *seconds, const char *lossy, const char *option, const char *value)
{
	return run_pages(NULL, seconds, lossy, option, value);
}

static void expect_ok(struct outcome *o)
{
	expect_status(o, 0);
	assert_memory_equal(o->out, "ok ", 3);
	outcome_free(o);
}

static void four_times_the_memory(void **state)
{
	struct outcome o = run_set("0", NULL, NULL, NULL);

	(void)state;
	assert_null(strstr(o.err, "; 0 pages written"));
	expect_ok(&o);
}

static void shared_memory(void **state)
{
	struct outcome o = run_pages("shared", "0", NULL, NULL, NULL);

	(void)state;
	assert_null(strstr(o.err, "; 0 pages written"));
	expect_ok(&o);
	o = run_pages("shared", "0", NULL, "--inject", "swap.write=enospc@p=0.02");
	assert_null(strstr(o.err, "; 0 transfers failed"));
	expect_ok(&o);
	o = run_pages("shared", "0", "lossy", "--inject", "swap.read=eio@every=200");
	assert_null(strstr(o.out, " 0 lost"));
	expect_ok(&o);
}

static void huge_pages_too(void **state)
{
	struct outcome o = run_set("0", NULL, "--thp", "always");

	(void)state;
	expect_ok(&o);
}

static void on_one_processor(void *arg)
{
	cpu_set_t set;

	(void)arg;
	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* On as many processors as there are, and on one. */
static void ranges(void **state)
{
	const char *swap = swap_option("swap", ":64M");
	struct command c = lodge_command("--memory", "6M", "--swap", swap, "--stats",
					 guest_path("swapped_ranges"), NULL);

	(void)state;
	command_add(&c, SET_MIB);
	for (unsigned int i = 0; i < 2; i++) {
		struct outcome o = command_run(&c);
		assert_null(strstr(o.err, "; 0 pages written"));
		expect_status(&o, 0);
		assert_string_equal(o.out, "ok\n");
		outcome_free(&o);
		c.in_child = on_one_processor;
	}
}

static void failed_writes_lose_nothing(void **state)
{
	struct outcome o = run_set("0", NULL, "--inject", "swap.write=enospc@p=0.02");

	(void)state;
	assert_null(strstr(o.err, "; 0 transfers failed"));
	expect_ok(&o);
}

static void short_transfers_lose_nothing(void **state)
{
	struct outcome o = run_set("0", NULL, "--inject", "swap.write=short@every=2");

	(void)state;
	expect_ok(&o);
}

static void damage_is_the_touchers(void **state)
{
	static const char *const rules[] = {"swap.read=eio@every=200", "swap.write=torn@every=50",
					    "swap.read=torn@every=200"};

	(void)state;
	for (unsigned int i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		struct outcome o = run_set("0", "lossy", "--inject", rules[i]);
		assert_null(strstr(o.out, " 0 lost"));
		expect_ok(&o);
	}
}

static void stuck_disks_do_not_hold_us(void **state)
{
	static const char *const rules[] = {"swap.read=stuck@from=50", "swap.write=stuck@from=50"};

	(void)state;
	for (unsigned int i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		struct outcome o = run_set("30", NULL, "--inject", rules[i]);
		expect_status(&o, 124);
		outcome_free(&o);
	}
}

/* Who is killed meanwhile is gone, and his parent goes on. */
static void the_killed_do_not_wait(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		struct outcome o =
			lodge_run("--memory", "8M", "--swap", swap_option("swap", ":64M"), "--thp",
				  i == 2 ? "always" : "never", "--inject", "swap.read=stuck@from=30",
				  guest_path("kill_stuck"), i == 1 ? "shared" : NULL, NULL);
		expect_status(&o, 0);
		assert_string_equal(o.out, "ended by signal 9\n");
		assert_string_equal(o.err, "");
		outcome_free(&o);
	}
}

/* A small pool, so that most of it goes on to the file; private pages and shared ones. */
static void compressed_first(void **state)
{
	static const char *const pools[] = {"zstd:256K", "lz4:1M"};

	(void)state;
	for (unsigned int i = 0; i < sizeof(pools) / sizeof(pools[0]); i++) {
		struct outcome o = run_pages(i ? "shared" : NULL, "0", NULL, "--swap-compress", pools[i]);
		assert_null(strstr(o.err, "; 0 pages written"));
		assert_null(strstr(o.err, " 0 went on to files"));
		assert_non_null(strstr(o.err, "\ncompressed   "));
		expect_ok(&o);
	}
	struct outcome o = lodge_run("--memory", "5M", "--swap", swap_option("swap", ":64M"),
				     "--swap-compress", "lz4", "--inject", "swap.write=eio@p=0.02", "--stats",
				     guest_path("working_set"), SET_MIB, "0", "1", NULL);
	expect_ok(&o);
}

static void compressed_without_files(void **state)
{
	static const char *const names[] = {"zstd", "lz4"};

	(void)state;
	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct outcome o =
			lodge_run("--memory", "8M", "--swap", "none", "--swap-compress", names[i], "--stats",
				  guest_path("working_set"), SET_MIB, "0", "1", i ? "shared" : NULL, NULL);
		assert_non_null(strstr(o.err, " 0 went on to files"));
		assert_non_null(strstr(o.err, "zram: "));
		expect_ok(&o);
	}
	refused("--swap-compress", "zip", "neither zstd nor lz4");
	refused("--swap-compress", "zstd:0", "must be zstd or lz4");
	refused("--swap-compress", "zstd:much", "must be zstd or lz4");
	refused("--swap-compress", "zstd:4000", "Invalid");
}

static void high_memory_slows_down(void **state)
{
	struct outcome o =
		lodge_run("--memory", "64M", "--memory-high", "8M", "--swap", swap_option("swap", ":64M"),
			  "--stats", guest_path("working_set"), SET_MIB, "0", "1", NULL);

	(void)state;
	assert_null(strstr(o.err, "; 0 pages written"));
	expect_ok(&o);
	refused("--memory-high", "1000", "multiple of 4K");
	refused("--memory-high", "0", "multiple of 4K");
}

static void without_swap_it_is_killed(void **state)
{
	struct outcome o = lodge_run("--memory", "5M", guest_path("working_set"), SET_MIB, "0", "1", NULL);

	(void)state;
	expect_status(&o, 137);
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
		CASE("swap: four times the memory, every page as it was [O1][K24]", four_times_the_memory),
		CASE("swap: four times the memory of shared pages, and devices that fail [O1][K24]",
		     shared_memory),
		CASE("swap: huge pages are taken apart and go too [O1]", huge_pages_too),
		CASE("swap: locked islands, moved and protected ranges, ends in the middle of it [O1][O8]",
		     ranges),
		CASE("swap: a page whose write fails stays [O1]", failed_writes_lose_nothing),
		CASE("swap: short transfers are finished [O1]", short_transfers_lose_nothing),
		CASE("swap: a page that cannot be had again is SIGBUS to who touches it",
		     damage_is_the_touchers),
		CASE("swap: who is killed does not wait for a stuck disk [K24]", the_killed_do_not_wait),
		CASE("swap: --timeout ends a program that waits for a stuck disk",
		     stuck_disks_do_not_hold_us),
		CASE("swap-compress: most of it goes on to the file, every page as it was [O1]",
		     compressed_first),
		CASE("swap-compress: twice the memory without a file [O1]", compressed_without_files),
		CASE("memory-high: with more than that its pages go", high_memory_slows_down),
		CASE("swap: without it more memory than there is is the end", without_swap_it_is_killed),
	};

	return harness_main_kvm("swap", tests, sizeof(tests) / sizeof(tests[0]));
}
