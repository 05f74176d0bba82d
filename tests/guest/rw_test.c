/* SPDX-License-Identifier: MIT */
/*
 * rw_test.c - what a program may write: below --rw, and nowhere else, however it spells the path.
 *
 * "in" is the directory given to --rw, "out" lies beside it and holds a file that must never change.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET "must stay\n"

static char in[128], out[128], victim[160];

static void make_dirs(void)
{
	snprintf(in, sizeof(in), "%s/in", scratch_dir());
	snprintf(out, sizeof(out), "%s/out", scratch_dir());
	snprintf(victim, sizeof(victim), "%s/victim", out);
	mkdir(in, 0755);
	mkdir(out, 0755);
	write_file(victim, SECRET, strlen(SECRET), 0644);
}

/* A script of shell built-ins, with $in, $out and $victim. */
static struct outcome run_script(const char *script)
{
	char vars[3][200];
	struct command c;

	snprintf(vars[0], sizeof(vars[0]), "in=%s", in);
	snprintf(vars[1], sizeof(vars[1]), "out=%s", out);
	snprintf(vars[2], sizeof(vars[2]), "victim=%s", victim);
	c = lodge_command("--ro", scratch_dir(), "--rw", in, "--env", vars[0], "--env", vars[1], "--env",
			  vars[2], "/bin/busybox", "sh", "-c", script, NULL);
	return command_run(&c);
}

static void expect_victim_unharmed(void)
{
	struct stat st;
	size_t bytes;
	char *text = read_file(victim, &bytes);

	assert_non_null(text);
	assert_string_equal(text, SECRET);
	free(text);
	assert_int_equal(stat(victim, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(st.st_nlink, 1);
}

static unsigned int entries_of_out(void)
{
	struct command c = {.argv = {"/bin/busybox", "find", out}};
	struct outcome o = command_run(&c);
	unsigned int n = 0;

	for (char *p = o.out; *p; p++)
		n += *p == '\n';
	outcome_free(&o);
	return n;
}

static void below_rw_files_are_made_changed_and_removed(void **state)
{
	struct outcome o =
		run_script("echo one > $in/file && echo two >> $in/file && read a < $in/file && echo $a");
	char path[200];
	size_t bytes;
	char *text;

	(void)state;
	expect_status(&o, 0);
	assert_string_equal(o.out, "one\n");
	outcome_free(&o);
	snprintf(path, sizeof(path), "%s/file", in);
	text = read_file(path, &bytes);
	assert_string_equal(text, "one\ntwo\n");
	free(text);
	o = lodge_run("--ro", scratch_dir(), "--rw", in, "/bin/busybox", "mkdir", "-p", path, NULL);
	assert_int_not_equal(o.status, 0);
	outcome_free(&o);
	o = lodge_run("--ro", scratch_dir(), "--rw", in, "/bin/busybox", "rm", path, NULL);
	expect_status(&o, 0);
	outcome_free(&o);
	assert_int_equal(access(path, F_OK), -1);
}

static void expect_refused_writes(const char *const *scripts)
{
	for (; *scripts; scripts++) {
		struct outcome o = run_script(*scripts);

		if (o.status == 0)
			fail_msg("allowed: %s\n%s%s", *scripts, o.out, o.err);
		outcome_free(&o);
		expect_victim_unharmed();
		assert_int_equal(entries_of_out(), 2);
	}
}

static void outside_rw_nothing_is_written_by_any_spelling(void **state)
{
	static const char *const scripts[] = {
		"echo x > $victim",
		"echo x >> $victim",
		": > $victim",
		"echo x > $out/new",
		"echo x > $in/../out/victim",
		"echo x > $in/../out/new",
		"echo x > $in/./../out//victim",
		"cd $in && echo x > ../out/victim",
		"cd $out && echo x > victim",
		"cd $out && echo x > new",
		"echo x > /proc/self/cwd/../../../../../../../..$victim",
		"echo x > /proc/self/root$victim",
		"echo x > /dev/fd/../..$victim",
		NULL,
	};

	(void)state;
	expect_refused_writes(scripts);
}

static void expect_applets_refused(const char *const (*applets)[5])
{
	for (; (*applets)[0]; applets++) {
		struct command c = lodge_command("--ro", scratch_dir(), "--rw", in, "/bin/busybox", NULL);
		struct outcome o;

		for (size_t i = 0; i < 5 && (*applets)[i]; i++)
			command_add(&c, (*applets)[i]);
		o = command_run(&c);
		if (o.status == 0)
			fail_msg("allowed: %s %s %s", (*applets)[0], (*applets)[1], (*applets)[2]);
		outcome_free(&o);
		expect_victim_unharmed();
		assert_int_equal(entries_of_out(), 2);
	}
}

/* Links, moves and attributes reach files too. */
static void files_outside_cannot_be_linked_moved_or_changed(void **state)
{
	static char inside[160], new_outside[160];
	const char *const applets[][5] = {
		{"ln", victim, inside},
		{"mv", victim, inside},
		{"mv", inside, new_outside},
		{"rm", "-f", victim},
		{"rmdir", out},
		{"chmod", "777", victim},
		{"chown", "1:1", victim},
		{"touch", new_outside},
		{"mkdir", new_outside},
		{"mkfifo", new_outside},
		{"ln", "-s", "x", new_outside},
		{"truncate", "-s", "0", victim},
		{"truncate", "-s", "0", "/proc/self/exe"},
		{"touch", "-d", "@0", victim},
		{NULL},
	};

	(void)state;
	snprintf(inside, sizeof(inside), "%s/link", in);
	snprintf(new_outside, sizeof(new_outside), "%s/new", out);
	expect_applets_refused(applets);
}

static void links_that_lead_out_are_not_followed_for_writing(void **state)
{
	static const char *const scripts[] = {
		"echo x > $in/to-file",
		"echo x >> $in/to-file",
		"echo x > $in/to-dir/victim",
		"echo x > $in/to-dir/new",
		"cd $in/to-dir && echo x > victim",
		"echo x > $in/to-new",
		"echo x > $in/to-dir/../out/victim",
		"echo x > $in/relative/victim",
		NULL,
	};
	char path[200], new_outside[200];

	(void)state;
	snprintf(path, sizeof(path), "%s/to-file", in);
	assert_int_equal(symlink(victim, path), 0);
	snprintf(path, sizeof(path), "%s/to-dir", in);
	assert_int_equal(symlink(out, path), 0);
	snprintf(path, sizeof(path), "%s/relative", in);
	assert_int_equal(symlink("../out", path), 0);
	snprintf(path, sizeof(path), "%s/to-new", in);
	snprintf(new_outside, sizeof(new_outside), "%s/new", out);
	assert_int_equal(symlink(new_outside, path), 0);
	expect_refused_writes(scripts);
}

static void without_rw_everything_is_read_only_and_says_so(void **state)
{
	char script[256];
	struct outcome o;

	(void)state;
	snprintf(script, sizeof(script), "echo x > %s/file", in);
	o = lodge_run("--ro", scratch_dir(), "/bin/busybox", "sh", "-c", script, NULL);
	assert_int_not_equal(o.status, 0);
	assert_non_null(strstr(o.err, "Read-only file system"));
	outcome_free(&o);
	o = lodge_run("/bin/busybox", "sh", "-c", "echo x > /dev/null && echo fine", NULL);
	expect_status(&o, 0);
	outcome_free(&o);
	o = lodge_run("--ro", scratch_dir(), "/bin/busybox", "cat", victim, NULL);
	expect_status(&o, 0);
	assert_string_equal(o.out, SECRET);
	outcome_free(&o);
}

static void two_rw_directories_are_both_writable(void **state)
{
	char script[400], other[160];
	struct outcome o;

	(void)state;
	snprintf(other, sizeof(other), "%s/other", scratch_dir());
	assert_int_equal(mkdir(other, 0755), 0);
	snprintf(script, sizeof(script), "echo x > %s/a && echo x > %s/b", in, other);
	o = lodge_run("--ro", scratch_dir(), "--rw", in, "--rw", other, "/bin/busybox", "sh", "-c", script,
		      NULL);
	expect_status(&o, 0);
	outcome_free(&o);
}

/* [F9] Memory of lodge itself, and of any process, is out of reach. */
static void memory_of_processes_is_out_of_reach(void **state)
{
	char parent[64];
	const char *const paths[] = {
		"/proc/self/mem",
		"/proc/1/mem",
		"/proc/thread-self/mem",
		"/proc/self/task/1/mem",
		"/proc/self/../1/mem",
		"/proc/1/environ",
		"/proc/1/root/etc/hostname",
		"/dev/kvm",
		"/dev/mem",
		"/dev/kmem",
		"/proc/kcore",
		parent,
		NULL,
	};

	(void)state;
	snprintf(parent, sizeof(parent), "/proc/%d/environ", getpid());
	for (size_t i = 0; paths[i]; i++) {
		struct outcome o = lodge_run("/bin/busybox", "head", "-c", "64", paths[i], NULL);

		if (o.status == 0 || o.out_bytes)
			fail_msg("readable: %s", paths[i]);
		assert_int_equal(o.signal, 0);
		outcome_free(&o);
	}
}

static struct outcome as_user(const char *user, const char *script)
{
	struct command c = lodge_command("--user", user, "--rw", in, "--cwd", in, "/bin/busybox", "sh", "-c",
					 script, NULL);

	return command_run(&c);
}

static void expect_says(struct outcome o, const char *text)
{
	expect_status(&o, 0);
	assert_string_equal(o.out, text);
	outcome_free(&o);
}

/* The rights of who runs lodge, and his files, by another name. */
static void a_user_that_is_named_owns_the_callers_files(void **state)
{
	char path[200];
	struct stat st;

	(void)state;
	expect_says(as_user("1234:567", "busybox id -u; busybox id -g; busybox id -G; : > mine;"
					"busybox stat -c '%u %g' mine /proc/self"),
		    "1234\n567\n567\n1234 567\n1234 567\n");
	snprintf(path, sizeof(path), "%s/mine", in);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, getuid());
	assert_int_equal(st.st_gid, getgid());
	expect_says(as_user("1234", "busybox id -g; busybox chown 1234:1234 mine && echo kept;"
				    "busybox chown 0 mine 2>/dev/null || echo not given"),
		    "1234\nkept\nnot given\n");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, getuid());
	assert_int_equal(unlink(path), 0);
}

static void a_user_that_is_no_number_is_refused(void **state)
{
	static const char *const users[] = {"",	  "root",  "-1",	 "1x",	 "1:",
					    ":1", "1:2:3", "4294967295", "1:-1", "99999999999999999999"};

	(void)state;
	for (unsigned int i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
		struct outcome o = as_user(users[i], "exit 0");
		expect_status(&o, 125);
		assert_non_null(strstr(o.err, "--user"));
		outcome_free(&o);
	}
}

/* Only 0, 1, 2 and what the program opens itself exist for it. */
static void descriptors_of_lodge_are_not_the_programs(void **state)
{
	struct outcome o = lodge_run(
		"/bin/busybox", "sh", "-c",
		"for n in 3 4 5 6 7 8 9; do if { echo x >&$n; } 2>/dev/null; then echo open $n; fi; done;"
		"for n in 3 4 5 6 7 8 9 10 11 12; do [ -e /proc/self/fd/$n ] && echo seen $n; done; exit 0",
		NULL);

	(void)state;
	expect_status(&o, 0);
	assert_string_equal(o.out, "");
	outcome_free(&o);
}

int main(void)
{
	struct CMUnitTest tests[] = {
		CASE("rw: below --rw files are made, changed and removed",
		     below_rw_files_are_made_changed_and_removed),
		CASE("rw: outside nothing is written, by any spelling",
		     outside_rw_nothing_is_written_by_any_spelling),
		CASE("rw: files outside cannot be linked, moved or changed",
		     files_outside_cannot_be_linked_moved_or_changed),
		CASE("rw: links that lead out are not followed for writing",
		     links_that_lead_out_are_not_followed_for_writing),
		CASE("rw: without --rw everything is read-only and says so",
		     without_rw_everything_is_read_only_and_says_so),
		CASE("rw: two directories are both writable", two_rw_directories_are_both_writable),
		CASE("rw: the memory of processes is out of reach [F9]", memory_of_processes_is_out_of_reach),
		CASE("rw: a user that is named owns the caller's files",
		     a_user_that_is_named_owns_the_callers_files),
		CASE("rw: a user that is no number is refused", a_user_that_is_no_number_is_refused),
		CASE("rw: descriptors of lodge are not the program's",
		     descriptors_of_lodge_are_not_the_programs),
	};

	make_dirs();
	return harness_main_kvm("rw", tests, sizeof(tests) / sizeof(tests[0]));
}
