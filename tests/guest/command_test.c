/* SPDX-License-Identifier: MIT */
/* command_test.c - what the lodge command says and returns where no guest is needed. */
#include "harness.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static struct outcome lodge_words(const char *first, const char *second)
{
	struct command c = {.argv = {lodge_path(), first, second}};

	return command_run(&c);
}

static void expect_output(struct outcome o, const char *text)
{
	expect_status(&o, 0);
	assert_non_null(strstr(o.out, text));
	assert_int_equal(o.err_bytes, 0);
	outcome_free(&o);
}

static void help_and_version_go_to_stdout(void **state)
{
	(void)state;
	expect_output(lodge_words("--help", NULL), "usage: lodge COMMAND");
	expect_output(lodge_words("help", NULL), "doctor");
	expect_output(lodge_words("help", "run"), "--memory SIZE");
	expect_output(lodge_words("run", "--help"), "--stats-file FILE");
	expect_output(lodge_words("--version", NULL), "lodge 0.");
	expect_output(lodge_words("run", "--version"), "lodge 0.");
}

static void help_says_when_its_output_is_lost(void **state)
{
	struct command c = {.argv = {"/bin/sh", "-c", "\"$1\" --help > /dev/full", "sh", lodge_path()}};
	struct outcome o = command_run(&c);

	(void)state;
	expect_refused(&o, 125);
	outcome_free(&o);
}

static void unknown_words_are_refused(void **state)
{
	static const char *const words[][2] = {
		{NULL, NULL},	     {"walk", NULL},   {"", NULL},
		{"--verbose", NULL}, {"help", "walk"}, {"doctor", "now"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		struct outcome o = lodge_words(words[i][0], words[i][1]);

		expect_refused(&o, 125);
		outcome_free(&o);
	}
}

/* Each with the program that must then not run. */
static void bad_options_are_refused_by_one_line(void **state)
{
	static const char *const options[] = {
		"--memory=",
		"--memory=0",
		"--memory=x",
		"--memory=64MB",
		"--memory=64 M",
		"--memory= 64M",
		"--memory=-64M",
		"--memory=+64M",
		"--memory=0x1000000",
		"--memory=1.5G",
		"--memory=M",
		"--memory=60K",
		"--memory=65537",
		"--memory=18446744073709551616",
		"--memory=99999999999999999999999",
		"--memory=16777216T",
		"--memory=18446744073709551615K",
		"--fault-around=0",
		"--fault-around=3K",
		"--fault-around=12K",
		"--fault-around=4M",
		"--fault-around=x",
		"--nodes=0",
		"--pids=0",
		"--pids=1001",
		"--pids=x",
		"--nodes=9",
		"--nodes=12",
		"--kmem=",
		"--kmem=slug",
		"--thp=sometimes",
		"--traps=",
		"--traps=never",
		"--patch=",
		"--patch=on",
		"--oom=",
		"--oom=panic",
		"--timeout=0",
		"--timeout=",
		"--timeout=.",
		"--timeout=-1",
		"--timeout=1s",
		"--timeout=1e3",
		"--timeout=nan",
		"--timeout=99999999999999999999",
		"--timeout=0.0000000001",
		"--env=PATH",
		"--env==x",
		"--env=",
		"--trace=",
		"--trace=all",
		"--trace=fault,",
		"--trace=faults",
		"--trace=fault;exit",
		"--trace",
		"--dump=",
		"--dump=mm,",
		"--dump=table",
		"--memory",
		"--stats=yes",
		"--maps=1",
		"--no-such-option",
		"--no-such\noption",
		"-x",
		"--stats-file=/no/such/directory/file",
		"--rw=/no/such/directory",
		"--rw=/dev/null/none",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		bool lone = !strcmp(options[i], "--trace") || !strcmp(options[i], "--memory");
		struct outcome o = lodge_run(options[i], lone ? NULL : "/bin/busybox", "true", NULL);

		expect_refused(&o, 125);
		outcome_free(&o);
	}
}

static void a_program_must_be_named(void **state)
{
	struct outcome o = lodge_run("--stats", NULL);

	(void)state;
	expect_refused(&o, 125);
	outcome_free(&o);
	o = lodge_run("--", NULL);
	expect_refused(&o, 125);
	outcome_free(&o);
}

static void lose_kvm(void *arg)
{
	(void)arg;
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("/dev/null", "/dev/kvm", NULL, MS_BIND, NULL))
		_exit(77);
}

static void be_nobody(void *arg)
{
	(void)arg;
	if (setgid(65534) || setuid(65534) || !access("/dev/kvm", R_OK | W_OK))
		_exit(77);
}

/* Without KVM: run refuses, doctor says what is missing. */
static void expect_no_kvm(void (*in_child)(void *arg))
{
	struct command run = lodge_command("/bin/busybox", "true", NULL);
	struct command doctor = {.argv = {lodge_path(), "doctor"}, .in_child = in_child};
	struct outcome o;

	run.in_child = in_child;
	o = command_run(&run);
	if (o.status == 77)
		skip();
	expect_refused(&o, 125);
	outcome_free(&o);
	o = command_run(&doctor);
	expect_status(&o, 125);
	assert_non_null(strstr(o.out, "kvm"));
	assert_non_null(strstr(o.out, "remedy: "));
	assert_non_null(strstr(o.out, "cannot run"));
	outcome_free(&o);
}

static void without_kvm_125_and_a_remedy(void **state)
{
	(void)state;
	expect_no_kvm(lose_kvm);
}

static void without_the_right_to_kvm_125_and_a_remedy(void **state)
{
	(void)state;
	expect_no_kvm(be_nobody);
}

static void doctor_agrees_with_its_exit_status(void **state)
{
	struct outcome o = lodge_words("doctor", NULL);

	(void)state;
	assert_int_equal(o.status, access("/dev/kvm", R_OK | W_OK) ? 125 : 0);
	assert_non_null(strstr(o.out, o.status ? "cannot run" : "can run"));
	assert_non_null(strstr(o.out, "kvm"));
	assert_int_equal(o.err_bytes, 0);
	outcome_free(&o);
}

int main(void)
{
	struct CMUnitTest tests[] = {
		CASE("command: help and version go to stdout", help_and_version_go_to_stdout),
		CASE("command: help says when its output is lost", help_says_when_its_output_is_lost),
		CASE("command: unknown words are refused", unknown_words_are_refused),
		CASE("command: bad options are refused by one line", bad_options_are_refused_by_one_line),
		CASE("command: a program must be named", a_program_must_be_named),
		CASE("command: without KVM: 125 and a remedy", without_kvm_125_and_a_remedy),
		CASE("command: without the right to KVM: 125 and a remedy",
		     without_the_right_to_kvm_125_and_a_remedy),
		CASE("command: doctor agrees with its exit status", doctor_agrees_with_its_exit_status),
	};

	return harness_main("command", tests, sizeof(tests) / sizeof(tests[0]));
}
