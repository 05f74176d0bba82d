/* SPDX-License-Identifier: MIT */
/* Memory that is short, as a user sees it: what goes rather, what is waited for, and what the reports say of it. */
#include <ctype.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"

#define BUSYBOX	 "/bin/busybox"
#define PRESSURE "/proc/pressure/memory"

static void expect_said(const char *option, const char *value, const char *script, const char *said)
{
	struct outcome o = lodge_run(option, value, BUSYBOX, "sh", "-c", script, NULL);

	expect_status(&o, 0);
	assert_string_equal(o.out, said);
	outcome_free(&o);
}

static void swappiness_is_what_was_asked_for(void **state)
{
	static const char *const bad[] = {"201", "-1", "", "x", "10x"};

	(void)state;
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct outcome o = lodge_run("--swappiness", bad[i], guest_path("hello_glibc"), NULL);
		expect_refused(&o, 125);
		assert_non_null(strstr(o.err, "from 0 to 200"));
		outcome_free(&o);
	}
	expect_said("--memory", "64M", "cat /proc/sys/vm/swappiness", "60\n");
	expect_said("--swappiness", "0", "cat /proc/sys/vm/swappiness", "0\n");
	expect_said("--swappiness", "200", "cat /proc/sys/vm/swappiness", "200\n");
	if (geteuid()) /* the file is root's */
		return;
	expect_said("--swappiness", "10",
		    "cd /proc/sys/vm; echo 150 > swappiness; echo 201 2>&- > swappiness || cat swappiness",
		    "150\n");
}

/* The text with a 0 for each row of digits. */
static void without_numbers(char *text)
{
	char *to = text;
	bool digits = false;

	for (; *text; text++) {
		bool digit = isdigit((unsigned char)*text);
		if (!digit || !digits)
			*to++ = digit ? '0' : *text;
		digits = digit;
	}
	*to = '\0';
}

static void pressure_reads_as_the_kernels(void **state)
{
	struct outcome native, o;

	(void)state;
	if (access(PRESSURE, R_OK))
		skip();
	native = native_run(BUSYBOX, "cat", PRESSURE, NULL);
	o = lodge_run(BUSYBOX, "cat", PRESSURE, NULL);
	if (native.status) { /* the file is there, and the kernel keeps no such books */
		outcome_free(&native);
		outcome_free(&o);
		skip();
	}
	expect_status(&o, 0);
	assert_string_equal(o.out, "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
				   "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
	without_numbers(native.out);
	without_numbers(o.out);
	assert_string_equal(native.out, o.out);
	outcome_free(&native);
	outcome_free(&o);
}

/* The number, or the sum of the array, that JSON of one object has under a name. */
static uint64_t number_of(const char *json, const char *name)
{
	char key[64];
	uint64_t sum = 0;

	snprintf(key, sizeof(key), "\"%s\":", name);
	const char *at = strstr(json, key);
	if (!at)
		fail_msg("no %s in %s", name, json);
	at += strlen(key);
	do
		sum += strtoull(at + !isdigit((unsigned char)*at), (char **)&at, 10);
	while (*at == ',' && isdigit((unsigned char)at[1]));
	return sum;
}

static void the_report_tells_what_was_short(void **state)
{
	char *swap = strdup(scratch_path("swap:64M")), *json = strdup(scratch_path("stats"));
	struct outcome o = lodge_run("--memory", "5M", "--swap", swap, "--stats", "--stats-file", json,
				     guest_path("working_set"), "20", "0", "1", NULL);
	size_t bytes;
	char *text = read_file(json, &bytes);

	(void)state;
	expect_status(&o, 0);
	assert_true(json_valid(text));
	assert_in_range(number_of(text, "stall_some_ns"), 1, number_of(text, "wall_ns"));
	assert_in_range(number_of(text, "stall_full_ns"), 0, number_of(text, "stall_some_ns"));
	assert_true(number_of(text, "scanned_pages") >= number_of(text, "reclaimed_pages"));
	assert_true(number_of(text, "refaulted_pages") > 0);
	assert_true(number_of(text, "swap_in_pages") > 0 && number_of(text, "swap_out_pages") > 0);
	assert_in_range(number_of(text, "major_fault_us"), 1, number_of(text, "swap_in_pages"));
	assert_int_equal(number_of(text, "throttled_faults"), 0);
	assert_in_range(number_of(text, "swap_wait_faults"), 1, number_of(text, "swap_faults"));
	assert_in_range(number_of(text, "peak_usage_pages"), 1, number_of(text, "limit_pages"));
	assert_non_null(strstr(o.err, "\npressure     some "));
	assert_non_null(strstr(o.err, " faults waited for a device: "));
	assert_non_null(strstr(o.err, "\nswapped      "));
	outcome_free(&o);
	free(text);
	free(json);
	free(swap);
}

/* In MiB. */
static long resident(pid_t pid)
{
	char path[64];
	size_t bytes;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	char *text = read_file(path, &bytes);
	const char *row = text ? strstr(text, "VmRSS:") : NULL;
	long mib = row ? strtol(row + strlen("VmRSS:"), NULL, 10) / 1024 : -1;
	free(text);
	return mib;
}

static void next_step(struct running *r)
{
	assert_int_equal(write(r->in, "\n", 1), 1);
}

/* What the program used and freed is the machine's again, and full of zeroes when it is taken anew. */
static void free_memory_goes_back(void **state)
{
	struct command c = lodge_command("--memory", "512M", "--give-back", "0.05", "--stats",
					 guest_path("give_back"), "256", NULL);
	struct running r = command_start(&c);
	struct outcome o;

	(void)state;
	command_expect(&r, "used");
	long used = resident(r.pid), left = used;
	next_step(&r);
	command_expect(&r, "freed");
	for (int i = 0; i < 2000 && left > used - 200; i++) {
		usleep(10000);
		left = resident(r.pid);
	}
	assert_in_range(left, 1, used - 200);
	next_step(&r);
	o = command_wait(&r, DEFAULT_LIMIT_S);
	expect_status(&o, 0);
	assert_non_null(strstr(o.out, "zeroes"));
	assert_null(strstr(o.err, "unused       0 given back"));
	outcome_free(&o);
}

static void or_never(void **state)
{
	static const char *const bad[] = {"0", "-1", "", "always", "0.0001"};
	struct command c = lodge_command("--memory", "512M", "--give-back", "never", "--stats",
					 guest_path("give_back"), "64", NULL);
	struct outcome o;

	(void)state;
	c.input = "\n\n";
	o = command_run(&c);
	expect_status(&o, 0);
	assert_non_null(strstr(o.err, "unused       0 given back"));
	outcome_free(&o);
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		o = lodge_run("--give-back", bad[i], guest_path("hello_glibc"), NULL);
		expect_refused(&o, 125);
		outcome_free(&o);
	}
}

static void take_stderr(void *arg)
{
	const char *path = arg;
	int fd = open(path, O_RDWR | O_NOCTTY);

	dup2(fd, 2);
}

/* Reads until `text` was seen, which must be before the end or a minute. */
static void expect_on(int fd, const char *text)
{
	char seen[4096] = "";
	size_t have = 0;

	while (!strstr(seen, text)) {
		struct pollfd p = {fd, POLLIN, 0};
		assert_int_equal(poll(&p, 1, DEFAULT_LIMIT_S * 1000), 1);
		if (have > sizeof(seen) / 2) {
			memmove(seen, seen + have / 2, have - have / 2);
			have -= have / 2;
		}
		ssize_t n = read(fd, seen + have, sizeof(seen) - 1 - have);
		assert_true(n > 0);
		have += (size_t)n;
		seen[have] = '\0';
	}
}

static void terminals_see_what_takes_long(void **state)
{
	struct command c = lodge_command("--memory", "5M", "--swap", NULL);
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	char *swap = strdup(scratch_path("swap:64M"));

	(void)state;
	assert_true(master >= 0);
	assert_int_equal(grantpt(master) | unlockpt(master), 0);
	command_add(&c, swap);
	command_add(&c, guest_path("working_set"));
	command_add(&c, "20");
	command_add(&c, "120");
	command_add(&c, "1");
	c.in_child = take_stderr;
	c.arg = ptsname(master);
	struct running r = command_start(&c);
	expect_on(master, "lodge: to swap: ");
	kill(r.pid, SIGTERM);
	expect_on(master, "\r\033[K");
	struct outcome o = command_wait(&r, DEFAULT_LIMIT_S);
	expect_status(&o, 143);
	outcome_free(&o);
	close(master);
	free(swap);
}

static void triggers_tell_of_lost_time(void **state)
{
	char *swap = strdup(scratch_path("swap:64M"));
	struct outcome o;

	(void)state;
	int fd = open(PRESSURE, O_RDWR | O_CLOEXEC); /* not where the kernel keeps no such books */
	if (fd < 0)
		skip();
	close(fd);
	o = lodge_run("--memory", "5M", "--swap", swap, guest_path("pressure_trigger"), "20", NULL);
	expect_status(&o, 0);
	assert_string_equal(o.out, "ok\n");
	outcome_free(&o);
	free(swap);
}

int main(void)
{
	struct CMUnitTest tests[] = {
		CASE("swappiness: an option, and the program's own sysctl [O5]",
		     swappiness_is_what_was_asked_for),
		CASE("pressure: the file is the kernel's, and of the space", pressure_reads_as_the_kernels),
		CASE("pressure: triggers are as the kernel takes them, and poll tells of lost time",
		     triggers_tell_of_lost_time),
		CASE("give-back: memory that is free for a while is the machine's again",
		     free_memory_goes_back),
		CASE("give-back: never, and what is no time", or_never),
		CASE("progress: a terminal sees that pages go to swap", terminals_see_what_takes_long),
		CASE("stats: what was scanned, taken, swapped and waited for [O5]",
		     the_report_tells_what_was_short),
	};

	return harness_main_kvm("pressure", tests, sizeof(tests) / sizeof(tests[0]));
}
