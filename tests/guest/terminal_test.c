/* SPDX-License-Identifier: MIT */
/* terminal_test.c - lodge at a terminal: whose its signals are, and jobs of a shell inside. */
#include "harness.h"

#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_MS   30000
#define TEXT_BYTES 16384

/* A program that leads the session of a terminal of its own, and what it has said since it was last asked. */
struct terminal {
	pid_t pid;
	int master;
	char text[TEXT_BYTES];
	size_t bytes;
};

static struct terminal terminal_start(const struct command *c)
{
	struct winsize size = {.ws_row = 24, .ws_col = 80};
	struct terminal t = {0};

	t.pid = forkpty(&t.master, NULL, NULL, &size);
	assert_true(t.pid >= 0);
	if (t.pid)
		return t;
	setenv("PS1", "prompt> ", 1);
	setenv("TERM", "dumb", 1);
	unsetenv("HISTFILE");
	execvp(c->argv[0], (char *const *)c->argv);
	_exit(127);
}

/* Reads once. False: nothing comes any more. */
static bool terminal_read(struct terminal *t, int limit_ms)
{
	struct pollfd p = {.fd = t->master, .events = POLLIN};
	ssize_t n;

	if (poll(&p, 1, limit_ms) <= 0)
		return false;
	if (t->bytes > TEXT_BYTES / 2)
		t->bytes = 0;
	n = read(t->master, t->text + t->bytes, TEXT_BYTES - 1 - t->bytes);
	if (n <= 0)
		return false;
	t->bytes += (size_t)n;
	t->text[t->bytes] = '\0';
	return true;
}

/* Until it has said that; what it said before is forgotten. */
static void terminal_expect(struct terminal *t, const char *text)
{
	char *at;

	while (!(at = strstr(t->text, text)))
		if (!terminal_read(t, LIMIT_MS)) {
			kill(t->pid, SIGKILL);
			fail_msg("no '%s' in: %s", text, t->text);
		}
	at += strlen(text);
	t->bytes -= (size_t)(at - t->text);
	memmove(t->text, at, t->bytes + 1);
}

static void terminal_type(struct terminal *t, const char *text)
{
	assert_int_equal(write(t->master, text, strlen(text)), (ssize_t)strlen(text));
}

/* Presses a key until it has been heard: who is to hear it may not be in front yet. */
static void terminal_press(struct terminal *t, const char *key, const char *text)
{
	for (int i = 0; i < LIMIT_MS / 500 && !strstr(t->text, text); i++) {
		terminal_type(t, key);
		for (int j = 0; j < 50 && !strstr(t->text, text); j++)
			terminal_read(t, 10);
	}
	terminal_expect(t, text);
}

/* Presses a key, or says a line, until it has ended. */
static void terminal_press_to_end(struct terminal *t, const char *key)
{
	const struct timespec pause = {.tv_nsec = 200000000};
	siginfo_t ended = {0};

	for (int i = 0; i < LIMIT_MS / 200 && !ended.si_pid; i++) {
		terminal_type(t, key);
		terminal_read(t, 1);
		nanosleep(&pause, NULL);
		waitid(P_PID, (id_t)t->pid, &ended, WEXITED | WNOWAIT | WNOHANG);
	}
}

/* Its end: the exit status, or 1000 and the signal. */
static int terminal_end(struct terminal *t)
{
	const struct timespec pause = {.tv_nsec = 10000000};
	int status = 0;

	for (int i = 0; waitpid(t->pid, &status, WNOHANG) != t->pid; i++) {
		if (i == LIMIT_MS / 10) {
			kill(t->pid, SIGKILL);
			waitpid(t->pid, &status, 0);
			fail_msg("it did not end: %s", t->text);
		}
		if (t->master < 0 || !terminal_read(t, 10))
			nanosleep(&pause, NULL);
	}
	while (t->master >= 0 && terminal_read(t, 0)) /* what it said last */
		;
	if (t->master >= 0)
		close(t->master);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* By a key that was pressed until it ended: one more, when the program had ended already, is lodge's own end. */
static void terminal_expect_killed(struct terminal *t, int signo)
{
	int status = terminal_end(t);

	if (status != 128 + signo && status != 1000 + signo)
		fail_msg("ended with %d, not by signal %d", status, signo);
}

/* --- signals --------------------------------------------------------------------------------- */

static void ctrl_c_ends_a_program(void **state)
{
	struct command c = lodge_command("/bin/sh", "-c", "echo ready; exec sleep 1000", NULL);
	struct terminal t = terminal_start(&c);

	(void)state;
	terminal_expect(&t, "ready");
	terminal_type(&t, "\003");
	assert_int_equal(terminal_end(&t), 130);
}

static void ctrl_c_is_the_programs(void **state)
{
	struct command c =
		lodge_command("/bin/sh", "-c",
			      "trap 'caught=5' INT; echo ready; sleep 1000; echo after; exit $caught", NULL);
	struct terminal t = terminal_start(&c);

	(void)state;
	terminal_expect(&t, "ready");
	terminal_press(&t, "\003", "after");
	assert_int_equal(terminal_end(&t), 5);
}

/* Only who is in front hears of it. */
static void the_background_hears_nothing(void **state)
{
	struct command c = lodge_command("/bin/bash", "--norc", "-i", NULL);
	struct terminal t = terminal_start(&c);

	(void)state;
	terminal_expect(&t, "prompt> ");
	terminal_type(&t, "(trap 'echo wrong' INT; while sleep 0.1; do :; done) &\n");
	terminal_expect(&t, "prompt> ");
	terminal_type(&t, "sh -c 'echo be${X}gun; exec sleep 1000'\n");
	terminal_expect(
		&t, "begun"); /* a shell that is interrupted while it starts a job may lose its terminal */
	terminal_press(&t, "\003", "prompt> ");
	assert_null(strstr(t.text, "wrong"));
	terminal_press(&t, "jobs\n", "Running");
	terminal_press_to_end(&t, "kill %1; wait; exit 3\n");
	assert_int_equal(terminal_end(&t), 3);
}

static void the_size_is_told(void **state)
{
	struct command c =
		lodge_command("/bin/bash", "-c",
			      "trap 'stty size' WINCH; echo ready; while sleep 0.05; do :; done", NULL);
	struct winsize size = {.ws_row = 33, .ws_col = 77};
	struct terminal t = terminal_start(&c);

	(void)state;
	terminal_expect(&t, "ready");
	assert_int_equal(ioctl(t.master, TIOCSWINSZ, &size), 0);
	terminal_expect(&t, "33 77");
	terminal_press_to_end(&t, "\003");
	terminal_expect_killed(&t, SIGINT);
}

static void a_line_that_hangs_up_ends_the_program(void **state)
{
	struct command c = lodge_command("/bin/sh", "-c", "echo ready; while sleep 1; do :; done", NULL);
	struct terminal t = terminal_start(&c);

	(void)state;
	terminal_expect(&t, "ready");
	close(t.master);
	t.master = -1;
	assert_int_equal(terminal_end(&t), 129);
}

/* What ignores all that the keyboard has is ended all the same. */
static void insisting_ends_it(void **state)
{
	struct command c =
		lodge_command("/bin/sh", "-c",
			      "trap '' INT QUIT TSTP; echo ready; while :; do read x; echo got $x; done",
			      NULL);
	struct terminal t = terminal_start(&c);

	(void)state;
	terminal_expect(&t, "ready");
	terminal_type(&t, "\003\032\034here\n");
	terminal_expect(&t, "got here");
	terminal_press_to_end(&t, "\034");
	terminal_expect_killed(&t, SIGQUIT);
}

static void a_signal_that_is_sent_ends_it(void **state)
{
	struct command c =
		lodge_command("/bin/sh", "-c", "trap 'echo caught' TERM; echo ready; sleep 1000", NULL);
	struct terminal t = terminal_start(&c);

	(void)state;
	terminal_expect(&t, "ready");
	kill(t.pid, SIGTERM);
	assert_int_equal(terminal_end(&t), 143);
}

/* --- jobs ------------------------------------------------------------------------------------ */

static void a_shell_inside_has_jobs(void **state)
{
	struct command c = lodge_command("/bin/bash", "--norc", "-i", NULL);
	struct terminal t = terminal_start(&c);

	(void)state;
	terminal_expect(&t, "prompt> ");
	assert_null(strstr(t.text, "no job control"));
	terminal_type(&t, "sleep 1000 &\n");
	terminal_expect(&t, "[1] ");
	terminal_type(&t, "fg\n");
	terminal_expect(&t, "sleep 1000");
	terminal_press(&t, "\032", "Stopped");
	terminal_type(&t, "bg\n");
	terminal_expect(&t, "sleep 1000 &");
	terminal_type(&t, "jobs\n");
	terminal_expect(&t, "Running");
	terminal_type(&t, "cat &\n");
	terminal_expect(&t, "prompt> ");
	terminal_press(&t, "\n", "Stopped"); /* it reads, and is not in front */
	terminal_type(&t, "fg %2\n");
	terminal_expect(&t, "cat");
	terminal_press(&t, "through\n", "through\r\nthrough");
	terminal_press(&t, "\004", "prompt> ");
	terminal_press_to_end(&t, "kill %1; wait; exit 7\n");
	assert_int_equal(terminal_end(&t), 7);
}

/* As a job of a shell outside: all of lodge stops and goes on. */
static void lodge_is_a_job(void **state)
{
	const struct command c = {.argv = {"/bin/bash", "--norc", "-i", NULL}};
	struct terminal t = terminal_start(&c);
	char line[512];

	(void)state;
	terminal_expect(&t, "prompt> ");
	snprintf(line, sizeof(line), "%s run -- sh -c 'echo be${X}gun; cat; exit 6'\n", lodge_path());
	terminal_type(&t, line);
	terminal_expect(&t, "begun");
	terminal_type(&t, "one\n");
	terminal_expect(&t, "one\r\none");
	terminal_press(&t, "\032", "Stopped");
	terminal_type(&t, "fg\n");
	terminal_expect(&t, "exit 6");
	terminal_press(&t, "two\n", "two\r\ntwo");
	terminal_press(&t, "\004", "prompt> ");
	terminal_type(&t, "echo status $?\n");
	terminal_expect(&t, "status 6");
	terminal_press_to_end(&t, "exit 2\n");
	assert_int_equal(terminal_end(&t), 2);
}

/* --- terminals made inside ------------------------------------------------------------------- */

static void expect_same_at_terminal(const char *program, const char *argument, const char *text,
				    const char *more)
{
	struct command native = {.argv = {program, argument, text, more, NULL}};
	struct command inside = lodge_command(program, argument, text, more, NULL);
	struct terminal a, b;

	if (access(program, X_OK))
		skip();
	a = terminal_start(&native);
	int status = terminal_end(&a);
	b = terminal_start(&inside);
	assert_int_equal(terminal_end(&b), status);
	assert_string_equal(a.text, b.text);
}

static void script_makes_a_terminal(void **state)
{
	(void)state;
	expect_same_at_terminal("/usr/bin/script", "-qec",
				"test -t 0 && stty size && stty -a | head -n 1; exit 3", "/dev/null");
}

static void python_spawns_at_a_terminal(void **state)
{
	(void)state;
	expect_same_at_terminal("/usr/bin/python3", "-c",
				"import os, pty, sys\n"
				"code = pty.spawn(['sh', '-c', 'test -t 1 && echo terminal; ps -o tpgid= -p "
				"$$ | wc -l; exit 4'])\n"
				"sys.exit(os.waitstatus_to_exitcode(code))\n",
				NULL);
}

int main(void)
{
	struct CMUnitTest tests[] = {
		CASE("terminal: Ctrl-C ends a program", ctrl_c_ends_a_program),
		CASE("terminal: Ctrl-C is the program's to handle", ctrl_c_is_the_programs),
		CASE("terminal: Ctrl-C is for the group in front alone", the_background_hears_nothing),
		CASE("terminal: a change of its size is told", the_size_is_told),
		CASE("terminal: a line that hangs up ends the program",
		     a_line_that_hangs_up_ends_the_program),
		CASE("terminal: Ctrl-\\ three times ends what ignores it", insisting_ends_it),
		CASE("terminal: a signal that somebody sends ends the program",
		     a_signal_that_is_sent_ends_it),
		CASE("terminal: a shell inside has jobs", a_shell_inside_has_jobs),
		CASE("terminal: Ctrl-Z and fg, lodge being a shell's job", lodge_is_a_job),
		CASE("terminal: script makes one inside", script_makes_a_terminal),
		CASE("terminal: python makes one inside", python_spawns_at_a_terminal),
	};

	return harness_main_kvm("terminal", tests, sizeof(tests) / sizeof(tests[0]));
}
