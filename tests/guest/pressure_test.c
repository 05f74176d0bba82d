/* SPDX-License-Identifier: MIT */
/* Memory that is short, as a user sees it: what goes rather, what is waited for, and what the reports say of it. */
#include <ctype.h>
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
	assert_non_null(strstr(o.err, "\npressure     some "));
	assert_non_null(strstr(o.err, " faults waited for a device: "));
	assert_non_null(strstr(o.err, "\nswapped      "));
	outcome_free(&o);
	free(text);
	free(json);
	free(swap);
}

int main(void)
{
	struct CMUnitTest tests[] = {
		CASE("swappiness: an option, and the program's own sysctl [O5]",
		     swappiness_is_what_was_asked_for),
		CASE("pressure: the file is the kernel's, and of the space", pressure_reads_as_the_kernels),
		CASE("stats: what was scanned, taken, swapped and waited for [O5]",
		     the_report_tells_what_was_short),
	};

	return harness_main_kvm("pressure", tests, sizeof(tests) / sizeof(tests[0]));
}
