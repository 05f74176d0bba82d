/* SPDX-License-Identifier: MIT */
/* Snapshots as a user asks for them: real programs saved while they run, and gone on with by another lodge. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "saving.h"

#define AWK_LINES 60000

/* `lodge run --control ...` */
static struct running start_run(struct command *c)
{
	unlink(scratch_path("control"));
	return command_start(c);
}

static struct command restoring(void)
{
	return (struct command){.argv = {lodge_path(), "restore"}};
}

static void expect_output(struct outcome *o, const char *text)
{
	expect_status(o, 0);
	assert_string_equal(o->out, text);
	outcome_free(o);
}

/* --- programs ------------------------------------------------------------------------------------------- */

static void write_numbers(const char *path)
{
	char *text = malloc(AWK_LINES * 8);
	size_t n = 0;

	for (int i = 0; i < AWK_LINES; i++)
		n += (size_t)sprintf(text + n, "%d\n", i);
	write_file(path, text, n, 0600);
	free(text);
}

static void awk_goes_on(void **state)
{
	static const char program[] =
		"NR == 100 {print \"begun\"; fflush()} {s = (s * 31 + $1) % 1000003} END {print s}";

	(void)state;
	if (access("/usr/bin/busybox", X_OK))
		skip();
	write_numbers(scratch_path("numbers"));
	struct outcome native = native_run("/usr/bin/busybox", "awk", program, scratch_path("numbers"), NULL);
	expect_status(&native, 0);
	struct command run = saving_run();
	command_add(&run, "/usr/bin/busybox");
	command_add(&run, "awk");
	command_add(&run, program);
	command_add(&run, scratch_path("numbers"));
	struct running r = start_run(&run);
	command_expect(&r, "begun\n");
	bool saved = saving_save();
	struct outcome o = command_wait(&r, DEFAULT_LIMIT_S);
	expect_output(&o, strstr(native.out, "\n") + 1);
	if (saved) {
		struct command c = restoring();
		command_add(&c, scratch_path("snap"));
		o = command_run(&c);
		expect_output(&o, strstr(native.out, "\n") + 1);
	}
	outcome_free(&native);
}

static void sqlite_goes_on(void **state)
{
	static const char first[] =
		"create table t(a integer primary key, b text); begin; "
		"with recursive n(i) as (select 1 union all select i + 1 from n where i < 2000) "
		"insert into t select i, hex(i * 7919) from n; select 'within';\n";
	static const char rest[] =
		"insert into t values (0, 'x'); commit; select count(*), sum(length(b)) from t;\n";
	struct command run, c = restoring();

	(void)state;
	if (access("/usr/bin/sqlite3", X_OK))
		skip();
	run = lodge_command("--control", scratch_path("control"), "--rw", scratch_dir(), NULL);
	command_add(&run, "/usr/bin/sqlite3");
	command_add(&run, scratch_path("db"));
	struct running r = start_run(&run);
	assert_int_equal(write(r.in, first, strlen(first)), strlen(first));
	command_expect(&r, "within\n");
	assert_true(saving_save());
	kill(r.pid, SIGKILL); /* the transaction is the snapshot's from here on */
	struct outcome o = command_wait(&r, DEFAULT_LIMIT_S);
	outcome_free(&o);
	command_add(&c, "--rw");
	command_add(&c, scratch_dir());
	command_add(&c, scratch_path("snap"));
	c.input = rest;
	o = command_run(&c);
	expect_output(&o, "2001|29199\n");
	o = native_run("/usr/bin/sqlite3", scratch_path("db"),
		       "pragma integrity_check; select count(*) from t", NULL);
	expect_output(&o, "ok\n2001\n");
}

static void add_words(struct command *c, const char *const *word)
{
	for (; *word; word++)
		command_add(c, *word);
}

/* Saved at some point or other with memory enough; it goes on with these options. */
static void sums_go_on(const char *const *options, unsigned int rounds)
{
	struct outcome native = native_run(guest_path("snap_work"), "sum", "3", "12", "12", NULL);
	struct outcome o;

	expect_status(&native, 0);
	for (unsigned int i = 0; i < rounds; i++) {
		const struct timespec pause = {.tv_nsec = (long)(20 + 60 * i) * 1000000};
		struct command run = saving_run(), c = restoring();
		command_add(&run, guest_path("snap_work"));
		add_words(&run, (const char *const[]){"sum", "3", "12", "12", NULL});
		struct running r = start_run(&run);
		while (access(scratch_path("control"), F_OK) && !kill(r.pid, 0))
			nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
		nanosleep(&pause, NULL);
		bool saved = saving_save();
		o = command_wait(&r, DEFAULT_LIMIT_S);
		expect_output(&o, native.out);
		if (!saved)
			continue;
		add_words(&c, options);
		command_add(&c, scratch_path("snap"));
		o = command_run(&c);
		expect_output(&o, native.out);
	}
	outcome_free(&native);
}

static void with_memory(void **state)
{
	(void)state;
	sums_go_on((const char *const[]){"--memory", "256M", NULL}, 4);
}

static void without_memory(void **state)
{
	char *swap = strdup(scratch_path("swap:64M")); /* its place is used again */

	(void)state;
	sums_go_on((const char *const[]){"--memory", "8M", "--swap", swap, NULL}, 4);
	free(swap);
}

static void compressed(void **state)
{
	char *swap = strdup(scratch_path("swap:64M"));
	struct command c = restoring();

	(void)state;
	sums_go_on((const char *const[]){"--memory", "64M", "--swap-compress", "lz4", NULL}, 1);
	sums_go_on((const char *const[]){"--swap-compress", "zstd:1M", "--memory", "8M", "--swap", swap,
					 NULL},
		   2);
	free(swap);
	add_words(&c, (const char *const[]){"--swap-compress", "lz4", scratch_path("snap"), NULL});
	struct outcome o = command_run(&c);
	expect_status(&o, 125);
	assert_string_equal(o.err, "lodge: --swap-compress lz4: without --memory it needs a size\n");
	outcome_free(&o);
}

/* Recorded, and gone on with in each way; the order is described with the snapshot. */
static void in_each_way(void **state)
{
	struct outcome native = native_run(guest_path("snap_work"), "sum", "2", "8", "4", NULL), o;

	(void)state;
	expect_status(&native, 0);
	o = lodge_run("--snapshot", scratch_path("snap"), "--snapshot-at", "SYSCALL:futex",
		      guest_path("snap_work"), "sum", "2", "8", "4", NULL);
	expect_output(&o, native.out);
	for (const char **how = (const char *[]){"lazy", "eager", "prefetch", "record", "prefetch", NULL};
	     *how; how++) {
		struct command c = restoring();
		command_add(&c, "--load");
		command_add(&c, *how);
		command_add(&c, scratch_path("snap"));
		o = command_run(&c);
		expect_output(&o, native.out);
	}
	struct command info = {.argv = {lodge_path(), "snapshot", "info", scratch_path("snap")}};
	o = command_run(&info);
	expect_status(&o, 0);
	assert_non_null(strstr(o.out, "pages in the order of their use "));
	outcome_free(&o);
	outcome_free(&native);
}

/* A run of a program is saved with what another run of it does not have. */
static void on_a_base(void **state)
{
	struct command c = restoring();
	struct stat base, delta;
	struct outcome o;

	(void)state;
	o = lodge_run("--snapshot", scratch_path("base"), "--snapshot-at", "SYSCALL:write",
		      guest_path("snap_work"), "sum", "1", "4", "2", NULL);
	expect_status(&o, 0);
	struct outcome second = lodge_run("--snapshot", scratch_path("snap"), "--snapshot-base",
					  scratch_path("base"), "--snapshot-at", "SYSCALL:write",
					  guest_path("snap_work"), "sum", "1", "4", "2", NULL);
	expect_output(&second, o.out);
	assert_int_equal(stat(scratch_path("base"), &base), 0);
	assert_int_equal(stat(scratch_path("snap"), &delta), 0);
	assert_true(delta.st_size < base.st_size);
	command_add(&c, scratch_path("snap"));
	second = command_run(&c);
	expect_output(&second, o.out);
	unlink(scratch_path("base"));
	second = command_run(&c);
	expect_refused(&second, 125);
	assert_non_null(strstr(second.err, "based on is missing"));
	outcome_free(&second);
	outcome_free(&o);
	o = lodge_run("--snapshot-base", scratch_path("x"), guest_path("hello_glibc"), NULL);
	expect_refused(&o, 125);
	outcome_free(&o);
}

#define CLONES 8

static void clones_go_on(void **state)
{
	struct command run = lodge_command("--snapshot", scratch_path("snap"), "--snapshot-at", "SIGNAL:USR1",
					   NULL),
		       c = restoring();
	char number[16];
	struct stat st;

	(void)state;
	command_add(&run, guest_path("snap_work"));
	command_add(&run, "talk");
	command_add(&run, "8");
	struct running r = command_start(&run);
	command_expect(&r, "ready\n");
	unlink(scratch_path("snap"));
	kill(r.pid, SIGUSR1);
	for (int i = 0; i < 3000 && stat(scratch_path("snap"), &st); i++)
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	assert_int_equal(write(r.in, "q\n", 2), 2);
	struct outcome o = command_wait(&r, DEFAULT_LIMIT_S);
	expect_status(&o, 0);
	outcome_free(&o);
	/* All read one input; each line is somebody's. */
	c.input = "s\ns\ns\ns\ns\ns\ns\ns\n";
	snprintf(number, sizeof(number), "%d", CLONES);
	command_add(&c, "--clones");
	command_add(&c, number);
	command_add(&c, scratch_path("snap"));
	o = command_run(&c);
	expect_status(&o, 0);
	for (const char *line = o.out; *line; line = strchr(line, '\n') + 1)
		assert_memory_equal(line, "2098176\n", 8);
	outcome_free(&o);
}

/* Saves a shell that traps signals and waits. */
static void save_waiting(const char *trap)
{
	char script[200];

	snprintf(script, sizeof(script), "trap '%s' TERM; echo; while :; do busybox sleep 0.05; done", trap);
	struct outcome o = lodge_run("--timeout", "1", "--snapshot", scratch_path("snap"), "--snapshot-at",
				     "SYSCALL:write@n=1", "/usr/bin/busybox", "sh", "-c", script, NULL);
	expect_status(&o, 124);
	outcome_free(&o);
}

static void signals_reach_whom_they_should(void **state)
{
	struct command two = restoring(), timed = restoring();

	(void)state;
	if (access("/usr/bin/busybox", X_OK))
		skip();
	save_waiting("echo taken; exit 7");
	command_add(&two, "--clones");
	command_add(&two, "2");
	command_add(&two, scratch_path("snap"));
	struct running r = command_start(&two);
	command_expect(&r, "\n\n");
	kill(r.pid, SIGTERM);
	struct outcome o = command_wait(&r, DEFAULT_LIMIT_S);
	expect_status(&o, 7);
	assert_string_equal(o.out, "taken\ntaken\n");
	outcome_free(&o);
	command_add(&timed, "--timeout");
	command_add(&timed, "0.5");
	command_add(&timed, scratch_path("snap"));
	o = command_run(&timed);
	expect_status(&o, 124);
	assert_string_equal(o.err, "lodge: timeout after 0.5 s\n");
	outcome_free(&o);
}

/* They own what the original owned, by the names that it knew them by. */
static void clones_stay_whom_they_were_shown_as(void **state)
{
	struct command c = restoring();
	struct outcome o;

	(void)state;
	if (access("/usr/bin/busybox", X_OK))
		skip();
	o = lodge_run("--user", "1234:567", "--snapshot", scratch_path("snap"), "--snapshot-at",
		      "SYSCALL:write@n=1", "/usr/bin/busybox", "sh", "-c",
		      "echo; busybox stat -c '%u %g' /tmp", NULL);
	expect_output(&o, "\n1234 567\n");
	command_add(&c, "--clones");
	command_add(&c, "2");
	command_add(&c, scratch_path("snap"));
	/* Through a pipe, where each write of either stays whole. */
	struct running r = command_start(&c);
	o = command_wait(&r, DEFAULT_LIMIT_S);
	expect_status(&o, 0);
	unsigned int told = 0;
	for (const char *at = o.out; (at = strpbrk(at, "0123456789")); at += strcspn(at, "\n"), told++)
		assert_memory_equal(at, "1234 567\n", 9);
	assert_int_equal(told, 2);
	outcome_free(&o);
}

/* The call that it was saved before is the first that the other one makes. */
static void before_a_call(void **state)
{
	struct command c = restoring();
	struct outcome o;

	(void)state;
	if (access("/usr/bin/busybox", X_OK))
		skip();
	o = lodge_run("--snapshot", scratch_path("snap"), "--snapshot-at", "SYSCALL:write@n=3",
		      "/usr/bin/busybox", "sh", "-c", "echo a; echo b; echo c; echo d", NULL);
	expect_output(&o, "a\nb\nc\nd\n");
	command_add(&c, scratch_path("snap"));
	o = command_run(&c);
	expect_output(&o, "c\nd\n");
	o = lodge_run("--snapshot", scratch_path("snap"), "--snapshot-at", "SYSCALL:write@n=20",
		      guest_path("snap_work"), "tree", "3", "40", NULL);
	expect_status(&o, 0);
	struct outcome again = command_run(&c);
	expect_output(&again, o.out);
	outcome_free(&o);
	/* One that is answered without leaving the guest, where nobody waits for it. */
	unlink(scratch_path("snap"));
	o = lodge_run("--snapshot", scratch_path("snap"), "--snapshot-at", "SYSCALL:getppid",
		      "/usr/bin/busybox", "sh", "-c", "echo a", NULL);
	expect_output(&o, "a\n");
	o = command_run(&c);
	expect_output(&o, "a\n");
}

/* --- what is none ------------------------------------------------------------------------------------------ */

static void refused(const char *a, const char *b, const char *word)
{
	struct command c = {.argv = {lodge_path(), a, b}};
	struct outcome o = command_run(&c);

	expect_refused(&o, 125);
	assert_non_null(strstr(o.err, word));
	outcome_free(&o);
}

static void what_is_none(void **state)
{
	struct outcome o = lodge_run("--snapshot", scratch_path("x"), guest_path("hello_glibc"), NULL);

	(void)state;
	expect_refused(&o, 125);
	outcome_free(&o);
	o = lodge_run("--snapshot", scratch_path("x"), "--snapshot-at", "NEVER", guest_path("hello_glibc"),
		      NULL);
	expect_refused(&o, 125);
	outcome_free(&o);
	for (const char **at = (const char *[]){"SYSCALL:", "SYSCALL:none", "SYSCALL:write@n=",
						"SYSCALL:write@n=0", "SYSCALL:write@3", NULL};
	     *at; at++) {
		o = lodge_run("--snapshot", scratch_path("x"), "--snapshot-at", *at,
			      guest_path("hello_glibc"), NULL);
		expect_refused(&o, 125);
		outcome_free(&o);
	}
	write_file(scratch_path("text"), "a text\n", 7, 0600);
	refused("restore", scratch_path("text"), "not a snapshot");
	refused("restore", scratch_path("nothing"), "No such file");
	refused("restore", "--clones", "usage");
	refused("restore", "--load=soon", "--load");
	refused("snapshot", "info", "usage");
}

int main(void)
{
	struct CMUnitTest tests[] = {
		CASE("restore: awk in the middle of its input [O1]", awk_goes_on),
		CASE("restore: sqlite in a transaction [O1]", sqlite_goes_on),
		CASE("restore: threads that share a sum [O1]", with_memory),
		CASE("restore: the same, gone on with in less memory than they use, on swap [O1]",
		     without_memory),
		CASE("restore: the same, with pages compressed in memory, and then on swap [O1]", compressed),
		CASE("restore: saved before the call that was asked for [O1]", before_a_call),
		CASE("restore: pages that come when they are touched, before, or in a recorded order [O1]",
		     in_each_way),
		CASE("restore: a snapshot that is based on another [O1][O3]", on_a_base),
		CASE("restore: clones, all from one file, saved at a signal [O1][M4]", clones_go_on),
		CASE("restore: clones of a run for a named user see files as its own [O1]",
		     clones_stay_whom_they_were_shown_as),
		CASE("restore: signals and the clock reach all clones [O1]", signals_reach_whom_they_should),
		CASE("restore: what is no snapshot, or not asked for as one, is refused in one line [O3]",
		     what_is_none),
	};

	return harness_main_kvm("restore", tests, sizeof(tests) / sizeof(tests[0]));
}
