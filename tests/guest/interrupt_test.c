/* SPDX-License-Identifier: MIT */
/* interrupt_test.c - what ends a run from outside: signals, the clock, and what they leave behind. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define PROMPT_S \
	4 /* most that an end from outside may take: less than the 5 s after which lodge leaves a guest behind */

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void nap_ms(long ms)
{
	nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* The signal arrives while the program computes. */
static void expect_signal_ends_spin(int signo)
{
	struct command c = lodge_command(guest_path("end"), "spin", NULL);
	struct running r = command_start(&c);
	struct outcome o;

	command_expect(&r, "ready");
	kill(r.pid, signo);
	o = command_wait(&r, PROMPT_S);
	expect_status(&o, 128 + signo);
	outcome_free(&o);
}

static void sigint_sigterm_and_sighup_end_the_program_with_128_plus_n(void **state)
{
	(void)state;
	expect_signal_ends_spin(SIGINT);
	expect_signal_ends_spin(SIGTERM);
	expect_signal_ends_spin(SIGHUP);
	expect_signal_ends_spin(SIGQUIT);
}

/* ... while it waits in a system call. */
static void a_signal_ends_a_blocked_program(void **state)
{
	struct command reading = lodge_command("/bin/busybox", "cat", NULL);
	struct command sleeping = lodge_command("/bin/busybox", "sleep", "100", NULL);
	struct command watching = lodge_command("/bin/busybox", "sh", "-c", "read -t 100 x", NULL);
	struct command *commands[] = {&reading, &sleeping, &watching};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct running r = command_start(commands[i]);
		struct outcome o;

		nap_ms(300);
		kill(r.pid, SIGINT);
		o = command_wait(&r, PROMPT_S);
		expect_status(&o, 130);
		outcome_free(&o);
	}
}

/* ... while its output has no reader that reads. */
static void a_signal_ends_a_program_that_waits_to_write(void **state)
{
	struct command c = lodge_command("/bin/busybox", "yes", NULL);
	struct running r = command_start(&c);
	struct outcome o;

	(void)state;
	command_expect(&r, "y\n");
	nap_ms(300);
	kill(r.pid, SIGTERM);
	o = command_wait(&r, PROMPT_S);
	expect_status(&o, 143);
	outcome_free(&o);
}

/* Any moment of start-up will do. */
static void a_signal_during_start_ends_it_too(void **state)
{
	(void)state;
	for (long ms = 0; ms < 30; ms += 2) {
		struct command c = lodge_command(guest_path("hostile"), "spin", NULL);
		struct running r = command_start(&c);
		struct outcome o;

		nap_ms(ms);
		kill(r.pid, SIGTERM);
		o = command_wait(&r, PROMPT_S);
		/* Before lodge has taken charge, the signal's own default ends it. */
		if (o.signal != SIGTERM)
			expect_status(&o, 143);
		outcome_free(&o);
	}
}

static void ignore_sigint(void *arg)
{
	(void)arg;
	signal(SIGINT, SIG_IGN);
}

static void a_signal_that_the_caller_ignores_is_ignored(void **state)
{
	struct command c = lodge_command(guest_path("end"), "spin", NULL),
		       reset = lodge_command("/bin/busybox", "sh", "-c",
					     "busybox grep SigIgn /proc/self/status", NULL);
	struct running r;
	struct outcome o;

	(void)state;
	reset.in_child = c.in_child = ignore_sigint;
	o = command_run(&reset);
	expect_status(&o, 0);
	assert_int_equal(strtoull(o.out + strlen("SigIgn:"), NULL, 16) & 1u << (SIGINT - 1),
			 1 << (SIGINT - 1));
	outcome_free(&o);
	r = command_start(&c);
	command_expect(&r, "ready");
	kill(r.pid, SIGINT);
	nap_ms(200);
	kill(r.pid, SIGTERM);
	o = command_wait(&r, PROMPT_S);
	expect_status(&o, 143);
	outcome_free(&o);
}

/* A shell does not trap what is ignored when it starts. */
static void ignore_nothing(void *arg)
{
	(void)arg;
	for (int signo = 1; signo < SIGRTMIN; signo++)
		signal(signo, SIG_DFL);
}

static struct running start_script(const char *grace, const char *script)
{
	struct command c = lodge_command("--grace", grace, "/bin/busybox", "sh", "-c", script, NULL);

	c.in_child = ignore_nothing;
	struct running r = command_start(&c);

	command_expect(&r, "");
	return r;
}

static void expect_end(struct running *r, int status, const char *output)
{
	struct outcome o = command_wait(r, PROMPT_S);

	expect_status(&o, status);
	assert_string_equal(o.out, output);
	outcome_free(&o);
}

/* A loop in which the shell looks for signals soon. */
#define WAIT "echo ready; while :; do busybox sleep 0.05; done"

static void a_program_takes_the_signals_that_it_handles(void **state)
{
	static const struct {
		int signo;
		const char *script;
	} rows[] = {
		{SIGTERM, "trap 'echo taken; exit 7' TERM;" WAIT},
		{SIGINT, "trap 'echo taken; exit 7' INT;" WAIT},
		{SIGQUIT, "trap 'echo taken; exit 7' QUIT;" WAIT},
		{SIGHUP, "trap 'echo taken; exit 7' HUP;" WAIT},
		{SIGUSR1, "trap 'echo taken; exit 7' USR1;" WAIT},
		{SIGUSR2, "trap 'echo taken; exit 7' USR2;" WAIT},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct running r = start_script("never", rows[i].script);

		kill(r.pid, rows[i].signo);
		expect_end(&r, 7, "taken\n");
	}
}

/* What it ignores does nothing natively; who asks for the end gets it. */
static void a_program_that_ignores_a_signal(void **state)
{
	struct running r = start_script("10", "trap '' HUP USR1 TERM;" WAIT);

	(void)state;
	kill(r.pid, SIGHUP);
	kill(r.pid, SIGUSR1);
	nap_ms(300);
	assert_int_equal(kill(r.pid, 0), 0);
	kill(r.pid, SIGUSR2);
	expect_end(&r, 128 + SIGUSR2, "");
	r = start_script("10", "trap '' HUP TERM;" WAIT);
	kill(r.pid, SIGTERM);
	expect_end(&r, 143, "");
}

static void a_program_that_will_not_end_is_ended(void **state)
{
	struct running r = start_script("0.3", "trap 'echo taken' TERM;" WAIT);

	(void)state;
	kill(r.pid, SIGTERM);
	expect_end(&r, 143, "taken\n");
	r = start_script("never", "trap 'echo taken' INT TERM;" WAIT);
	for (int i = 0; i < 3; i++) {
		kill(r.pid, SIGINT);
		nap_ms(100);
	}
	struct outcome o = command_wait(&r, PROMPT_S);
	expect_status(&o, 130);
	outcome_free(&o);
}

static void expect_timeout(const char *seconds, const char *line, const struct command *c)
{
	double before = now_s(), took;
	struct outcome o = command_run(c);

	took = now_s() - before;
	expect_status(&o, 124);
	assert_string_equal(o.err, line);
	assert_true(took >= strtod(seconds, NULL) && took < strtod(seconds, NULL) + PROMPT_S);
	outcome_free(&o);
}

static void timeout_ends_the_program_with_124_and_one_line(void **state)
{
	struct command spin = lodge_command("--timeout", "0.3", guest_path("hostile"), "spin", NULL);
	struct command sleeping = lodge_command("--timeout", "1", "/bin/busybox", "sleep", "100", NULL);

	(void)state;
	expect_timeout("0.3", "lodge: timeout after 0.3 s\n", &spin);
	expect_timeout("1", "lodge: timeout after 1 s\n", &sleeping);
}

static void a_program_that_is_done_in_time_is_left_alone(void **state)
{
	struct outcome o = lodge_run("--timeout", "30", guest_path("end"), "3", NULL);

	(void)state;
	expect_status(&o, 3);
	assert_int_equal(o.err_bytes, 0);
	outcome_free(&o);
}

/* Reports come after an end from outside too. */
static void stats_are_written_after_a_timeout(void **state)
{
	const char *path = scratch_path("stats.json");
	struct outcome o =
		lodge_run("--timeout", "0.2", "--stats-file", path, guest_path("hostile"), "spin", NULL);
	size_t bytes;
	char *json = read_file(path, &bytes);

	(void)state;
	expect_status(&o, 124);
	assert_non_null(json);
	assert_true(json_valid(json));
	free(json);
	outcome_free(&o);
}

static void take_terminal(void *arg)
{
	const char *path = arg;
	int fd;

	setsid();
	fd = open(path, O_RDWR);
	dup2(fd, 0);
}

static struct termios attributes(int fd)
{
	struct termios t;

	assert_int_equal(tcgetattr(fd, &t), 0);
	return t;
}

static void the_terminal_is_as_it_was_after_ctrl_c(void **state)
{
	struct command c = lodge_command(guest_path("rawtty"), NULL);
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct termios before, after;
	struct running r;
	struct outcome o;

	(void)state;
	assert_true(master >= 0);
	assert_int_equal(grantpt(master) | unlockpt(master), 0);
	before = attributes(master);
	assert_true(before.c_lflag & ECHO);
	c.in_child = take_terminal;
	c.arg = ptsname(master);
	r = command_start(&c);
	command_expect(&r, "raw");
	after = attributes(master);
	assert_false(after.c_lflag & (ECHO | ICANON));
	kill(r.pid, SIGINT);
	o = command_wait(&r, PROMPT_S);
	expect_status(&o, 130);
	after = attributes(master);
	assert_int_equal(after.c_lflag, before.c_lflag);
	assert_int_equal(after.c_oflag, before.c_oflag);
	assert_int_equal(after.c_iflag, before.c_iflag);
	close(master);
	outcome_free(&o);
}

int main(void)
{
	struct CMUnitTest tests[] = {
		CASE("interrupt: SIGINT, SIGTERM and SIGHUP end the program with 128+N",
		     sigint_sigterm_and_sighup_end_the_program_with_128_plus_n),
		CASE("interrupt: a program takes the signals that it handles ",
		     a_program_takes_the_signals_that_it_handles),
		CASE("interrupt: what a program ignores ends it where it should",
		     a_program_that_ignores_a_signal),
		CASE("interrupt: a program that handles a signal and goes on is ended in the end",
		     a_program_that_will_not_end_is_ended),
		CASE("interrupt: a signal ends a blocked program", a_signal_ends_a_blocked_program),
		CASE("interrupt: a signal ends a program that waits to write",
		     a_signal_ends_a_program_that_waits_to_write),
		CASE("interrupt: a signal during start ends it too", a_signal_during_start_ends_it_too),
		CASE("interrupt: a signal that the caller ignores is ignored",
		     a_signal_that_the_caller_ignores_is_ignored),
		CASE("interrupt: timeout ends the program with 124 and one line",
		     timeout_ends_the_program_with_124_and_one_line),
		CASE("interrupt: a program that is done in time is left alone",
		     a_program_that_is_done_in_time_is_left_alone),
		CASE("interrupt: stats are written after a timeout", stats_are_written_after_a_timeout),
		CASE("interrupt: the terminal is as it was after Ctrl-C",
		     the_terminal_is_as_it_was_after_ctrl_c),
	};

	return harness_main_kvm("interrupt", tests, sizeof(tests) / sizeof(tests[0]));
}
