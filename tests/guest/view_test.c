/* SPDX-License-Identifier: MIT */
/*
 * view_test.c - what a program sees of the file system: its own /tmp and /dev/shm, and what --ro, --rw, --bind, --root and --tmpfs show.
 */
#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHELL "/bin/busybox", "sh", "-c"

static void expect_output(struct outcome o, const char *text)
{
	if (strcmp(o.out, text))
		fail_msg("expected:\n%s\nsaid:\n%s%s", text, o.out, o.err);
	outcome_free(&o);
}

/* One of a few texts, used in turn. */
static const char *arg(const char *format, const char *a, const char *b)
{
	static char *texts[32];
	static unsigned int turn;
	char text[512];

	snprintf(text, sizeof(text), format, a, b);
	free(texts[++turn % 32]);
	return texts[turn % 32] = strdup(text);
}

/* A directory of the scratch directory with a file that says its name. */
static const char *dir_with_file(const char *name)
{
	const char *dir = arg("%s/%s", scratch_dir(), name), *file = arg("%s/%s", dir, "file");

	mkdir(dir, 0755);
	write_file(file, name, strlen(name), 0644);
	return dir;
}

static unsigned int leftovers(void)
{
	struct dirent *e;
	unsigned int nr = 0;
	DIR *tmp = opendir(scratch_dir());

	assert_non_null(tmp);
	while ((e = readdir(tmp)))
		nr += !strncmp(e->d_name, "lodge-scratch.", 14);
	closedir(tmp);
	return nr;
}

static void tmp_is_private(void **state)
{
	char name[64];

	(void)state;
	snprintf(name, sizeof(name), "/tmp/lodge-secret-%d", getpid());
	write_file(name, "secret", 6, 0644);
	setenv("TMPDIR", scratch_dir(), 1);
	expect_output(
		lodge_run(SHELL,
			  "cat $0 2>/dev/null || echo hidden; ls /tmp /dev/shm; echo mine > $0; cat $0; "
			  "cd /tmp && pwd && ls .. | grep -c '^usr$'; mkdir -p a/b && cd a/b && cd ../.. && "
			  "pwd",
			  name, NULL),
		"hidden\n/dev/shm:\n\n/tmp:\nmine\n/tmp\n1\n/tmp\n");
	expect_output(native_run("/bin/cat", name, NULL), "secret");
	assert_int_equal(leftovers(), 0);
	unsetenv("TMPDIR");
	unlink(name);
}

static struct running begin_sleeper(void)
{
	struct command c =
		lodge_command(SHELL, "echo > /tmp/f; mkdir -m 0 /tmp/d; echo ready; sleep 60", NULL);
	struct running r = command_start(&c);

	command_expect(&r, "ready");
	return r;
}

static void end_sleeper(struct running *r)
{
	struct outcome o;

	kill(r->pid, SIGKILL);
	o = command_wait(r, 30);
	assert_int_equal(o.signal, SIGKILL);
	outcome_free(&o);
}

/* A lodge that is killed cannot clear up: the next one does, and touches nothing of those that live. */
static void dead_ones_leave_nothing(void **state)
{
	struct running dead, alive;

	(void)state;
	setenv("TMPDIR", scratch_dir(), 1);
	dead = begin_sleeper();
	alive = begin_sleeper();
	assert_int_equal(leftovers(), 2);
	end_sleeper(&dead);
	assert_int_equal(leftovers(), 2);
	expect_output(lodge_run(SHELL, "ls -A /tmp; echo here", NULL), "here\n");
	assert_int_equal(leftovers(), 1);
	end_sleeper(&alive);
	expect_output(lodge_run(SHELL, "ls -A /tmp; echo here", NULL), "here\n");
	assert_int_equal(leftovers(), 0);
	unsetenv("TMPDIR");
}

/* Names, links, data in memory that mappings see, programs. */
static void tmp_is_a_file_system(void **state)
{
	(void)state;
	expect_output(
		lodge_run(
			SHELL,
			"cd /tmp; echo one > f; ln f g; ln -s f h; rm f; cat g h 2>/dev/null; mv g f; cat h; "
			"echo two >> f; wc -c < f; stat -c %s,%b,%h f; printf '#!/bin/sh\necho run\n' > s; "
			"chmod +x s; ./s; mkdir d; cp /bin/busybox d; d/busybox echo copied; rm -r /tmp/* && "
			"ls /tmp; "
			"mkfifo p; (echo through > p) & cat p",
			NULL),
		"one\none\n8\n8,8,1\nrun\ncopied\nthrough\n");
	expect_output(lodge_run("/usr/bin/python3", "-c",
				"import mmap,os\nf = open('/dev/shm/m', 'w+b'); f.truncate(8192)\n"
				"m = mmap.mmap(f.fileno(), 8192); m[4096:4101] = b'hello'\nf.seek(4096); "
				"print(f.read(5))\n"
				"os.unlink('/dev/shm/m'); f.seek(4096); f.write(b'J'); f.flush(); "
				"print(m[4096:4101])\n"
				"print(os.path.exists('/dev/shm/m'))",
				NULL),
		      "b'hello'\nb'Jello'\nFalse\n");
	/* A file that was made and given a size before anybody opened it. */
	expect_output(lodge_run("/usr/bin/python3", "-c",
				"import os\nos.mknod('/tmp/f'); os.truncate('/tmp/f', 3); "
				"print(open('/tmp/f').read() == "
				"chr(0) * 3)\nos.truncate('/tmp/f', 2); print(len(open('/tmp/f').read()))",
				NULL),
		      "True\n2\n");
}

static void tmp_is_memory_of_the_program(void **state)
{
	struct outcome o =
		lodge_run("--memory", "16M", SHELL, "head -c 40000000 /dev/zero > /tmp/f; echo $?", NULL);

	(void)state;
	assert_string_not_equal(o.out, "0\n");
	outcome_free(&o);
	expect_output(lodge_run("--memory", "16M", SHELL,
				"for i in 1 2 3 4 5 6; do head -c 6000000 /dev/zero > /tmp/f || exit; rm "
				"/tmp/f; done; "
				"echo fits",
				NULL),
		      "fits\n");
}

static void programs_in_tmp_run(void **state)
{
	static const char script[] =
		"#!/bin/sh\necho $0 | grep -c script; ls $(dirname $0); echo x > $0 || echo refused\n";
	char dir[] = "/tmp/lodge-view-XXXXXX", text[128];

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(text, sizeof(text), "%s/script", dir);
	write_file(text, script, strlen(script), 0755);
	expect_output(lodge_run(text, NULL), "1\nscript\nrefused\n");
	unlink(text);
	rmdir(dir);
}

/* The libraries beside bin, and not where a link would lead to; nothing else of what is there. */
static void programs_in_bin_have_libraries(void **state)
{
	static const char script[] =
		"#!/bin/sh\ncd $(dirname $0)/..; ls; cat lib/file; echo x > lib/file || echo refused\n";
	const char *tree = dir_with_file("tree"), *program = arg("%s/bin/script", tree, "");

	(void)state;
	dir_with_file("tree/lib");
	dir_with_file("tree/share");
	dir_with_file("tree/bin");
	write_file(arg("%s/pyvenv.cfg", tree, ""), "x\n", 2, 0644);
	write_file(program, script, strlen(script), 0755);
	assert_int_equal(symlink("/", arg("%s/lib64", tree, "")), 0);
	expect_output(lodge_run(program, NULL), "bin\nlib\npyvenv.cfg\ntree/librefused\n");
}

/* A mount is found by its name from the directory that it is in, listed (find) or looked at, and by no other. */
static void names_lead_into_mounts(void **state)
{
	const char *a = dir_with_file("a"), *b = dir_with_file("b"), *inner = dir_with_file("a/inner");

	(void)state;
	dir_with_file("b/deep");
	dir_with_file("a/inner/deep");
	dir_with_file("a/other");
	write_file(arg("%s/only", b, ""), "only", 4, 0644);
	expect_output(lodge_run("--ro", a, "--bind", arg("%s:%s:ro", b, inner), SHELL,
				"cd $0; cat inner/file other/file inner/deep/file inner/../inner/file; find "
				"inner other -name only; "
				"find . -name only; [ inner -ef $0/inner ] && [ inner/only -ef $0/inner/only "
				"] && echo same; cd inner; "
				"cat only ../other/file; [ . -ef ../inner ] && echo same",
				a, NULL),
		      "ba/otherb/deepbinner/only\n./inner/only\nsame\nonlya/othersame\n");
}

static void take_as_stdin(void *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY);

	dup2(fd, STDIN_FILENO);
	close(fd);
}

/* Names in a directory that the caller gave count from the mounts on: what these do not show, the directory does not either. */
static void a_given_directory_is_a_stranger(void **state)
{
	const char *shown = dir_with_file("a"), *given = dir_with_file("given");
	struct command c = lodge_command("--ro", shown, SHELL,
					 "cd $0 && cat file && cd /proc/self/fd/0; "
					 "cat file 2>/dev/null || [ -e file ] || echo refused",
					 shown, NULL);

	(void)state;
	c.in_child = take_as_stdin;
	c.arg = (void *)given;
	expect_output(command_run(&c), "arefused\n");
	c.arg = (void *)shown;
	expect_output(command_run(&c), "aa");
}

static void mounts_show_and_protect(void **state)
{
	const char *a = dir_with_file("a"), *b = dir_with_file("b"), *inner = dir_with_file("a/inner");

	(void)state;
	expect_output(lodge_run("--rw", a, "--ro", inner, SHELL,
				"cd $0; echo x > new && cat new; rm new; echo y > inner/file || echo "
				"refused; cat inner/file",
				a, NULL),
		      "x\nrefused\na/inner");
	expect_output(
		lodge_run("--bind", arg("%s:/mnt:ro", b, ""), SHELL,
			  "cat /mnt/file; cd /mnt; pwd; cat ../mnt/file; echo x > file || echo refused; "
			  "cat /mnt/../mnt/./file; readlink /proc/self/cwd; grep -c ' /mnt ' /proc/mounts",
			  NULL),
		"b/mnt\nbrefused\nb/mnt\n1\n");
	expect_output(lodge_run("--bind", arg("%s:/mnt/", b, ""), SHELL,
				"echo new > /mnt/out; ln -s /mnt/out /mnt/link; cat /mnt/link; rm /mnt/link",
				NULL),
		      "new\n");
	expect_output(native_run("/bin/cat", arg("%s/out", b, ""), NULL), "new\n");
	expect_output(lodge_run("--bind", arg("%s/file:/etc/hostname", b, ""), SHELL,
				"cat /etc/hostname; cat /etc/hostname/x 2>/dev/null || echo no", NULL),
		      "bno\n");
	expect_output(lodge_run("--tmpfs", "/srv", "--cwd", "/srv", SHELL, "pwd; echo x > f; ls", NULL),
		      "/srv\nf\n");
}

/* A mount that may not be written keeps what it shows, by whatever name: so does one of which another shows the whole. */
static void a_part_is_protected(void **state)
{
	const char *a = dir_with_file("a"), *inner = dir_with_file("a/inner");
	const char *script =
		"cd $0; echo x > new && mv new inner/new || echo kept; rm new; echo y > inner/file || "
		"echo refused; echo y > inner/../inner/file || echo refused; echo y > $0/inner/new || "
		"echo refused; mkdir inner/d || echo refused; mv inner/file . || echo kept; "
		"echo x > inner/../new && cat new; rm new; cat inner/file";
	const char *said = "kept\nrefused\nrefused\nrefused\nrefused\nkept\nx\na/inner";

	(void)state;
	expect_output(lodge_run("--rw", a, "--ro", inner, SHELL, script, a, NULL), said);
	expect_output(lodge_run("--bind", arg("%s:/all", a, ""), "--ro", inner, SHELL, script, "/all", NULL),
		      said);
}

/* The links that the root begins with are known beforehand, unless something else stands there. */
static void mounts_hide_links(void **state)
{
	const char *a = dir_with_file("a");

	(void)state;
	expect_output(
		lodge_run(
			"--bind", arg("%s:/sbin", a, ""), "/usr/bin/busybox", "sh", "-c",
			"cat /sbin/file /sbin/../sbin/./file; cd /sbin; pwd; readlink /bin; cd /bin; pwd -P; "
			"readlink /sbin || echo none",
			NULL),
		"aa/sbin\nusr/bin\n/usr/bin\nnone\n");
}

static void a_root_is_all_there_is(void **state)
{
	const char *root = dir_with_file("root"), *out = dir_with_file("b");
	struct command copy = {.argv = {"/bin/cp", "/bin/busybox", root}};
	struct outcome o = command_run(&copy);

	(void)state;
	outcome_free(&o);
	symlink("/../../etc", arg("%s/up", root, ""));
	symlink("/file", arg("%s/link", root, ""));
	expect_output(
		lodge_run("--root", root, "--bind", arg("%s:/data", out, ""), "/busybox", "sh", "-c",
			  "pwd; /busybox cat /link /data/file; /busybox ls /; cd /data/..; pwd; "
			  "/busybox cat /up/passwd /etc/passwd /../../etc/passwd 2>/dev/null || echo none; "
			  "echo x > /tmp/f && /busybox cat /tmp/f; echo y > "
			  "/file || "
			  "echo refused",
			  NULL),
		"/\nrootbbusybox\nfile\nlink\nup\n/\nnone\nx\nrefused\n");
}

/* Whatever the way, none leads out of a mount but by its name. */
static void no_way_around(void **state)
{
	const char *a = dir_with_file("a"), *secret;

	(void)state;
	secret = arg("/tmp/lodge-way-%s", strrchr(scratch_dir(), '-') + 1, "");
	write_file(secret, "secret", 6, 0644);
	symlink(secret, arg("%s/there", a, ""));
	symlink("/tmp", arg("%s/tmp", a, ""));
	expect_output(lodge_run("--rw", a, SHELL,
				"cd $1; n=${0##*/}; for p in $0 there tmp/$n tmp/../tmp/$n /proc/self/root$0 "
				"/proc/self/cwd/tmp/$n ../../../../../../tmp/$n /usr/../tmp/$n; do cat $p "
				"2>/dev/null && "
				"echo $p; done; cd /; cat tmp/$n ./tmp/$n 2>/dev/null; cd /usr; cat "
				"../tmp/$n 2>/dev/null; "
				"cd $1; echo mine > there; mv $0 . 2>/dev/null; cat $n; ln /tmp/$n x "
				"2>/dev/null || echo no",
				secret, a, NULL),
		      "mine\nno\n");
	expect_output(native_run("/bin/cat", secret, NULL), "secret");
	unlink(secret);
}

static void what_is_not_there_is_refused(void **state)
{
	static const char *const bad[][2] = {{"--ro", "/none"},		 {"--bind", "/none:/mnt"},
					     {"--bind", "/usr"},	 {"--bind", "/usr:mnt"},
					     {"--bind", "/usr:/a/../b"}, {"--tmpfs", "x"},
					     {"--root", "/etc/passwd"},	 {"--root", "/none"},
					     {"--cwd", "/none"},	 {"--cwd", "x"}};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct outcome o = lodge_run(bad[i][0], bad[i][1], "/bin/true", NULL);
		expect_refused(&o, 125);
		outcome_free(&o);
	}
}

static void stand_there(void *dir)
{
	if (chdir(dir))
		_exit(99);
}

/* Without a word: the system's directories, the program's own and the caller's. */
static void the_default_shows_little(void **state)
{
	const char *own = dir_with_file("own"), *other = dir_with_file("other"),
		   *here = dir_with_file("here");
	const char *program = arg("%s/%s", own, "busybox");
	struct command c;

	(void)state;
	expect_output(native_run("/bin/cp", "/bin/busybox", program, NULL), "");
	c = lodge_command(program, "sh", "-c",
			  "cat file; echo; cat $0/file; echo; test -e $1 || echo not the other; "
			  "test -e /usr/bin/env -a -e /etc/passwd -a -e /proc/self/stat -a -c /dev/null && "
			  "echo system; "
			  "test -e /root -o -e /srv -o -e /boot || echo nothing else; "
			  "(echo x > /new) 2>/dev/null || echo read only; cd .. && pwd && ls",
			  own, other, NULL);
	c.in_child = stand_there;
	c.arg = (void *)here;
	expect_output(command_run(&c),
		      arg("here\nown\nnot the other\nsystem\nnothing else\nread only\n%s\nhere\nown\n%s",
			  scratch_dir(), ""));
	struct outcome o = lodge_run("--stats", "/bin/busybox", "cat", arg("%s/%s", other, "file"), NULL);
	expect_status(&o, 1);
	assert_non_null(strstr(o.err, arg("not shown, the last %s/%s (--ro PATH shows one)", other, "file")));
	outcome_free(&o);
	expect_output(lodge_run("--ro", other, "/bin/busybox", "cat", arg("%s/%s", other, "file"), NULL),
		      "other");
}

/* A directory that is everybody's is not the program's. */
static void a_program_in_tmp_shows_itself(void **state)
{
	char program[64], neighbour[64];
	const char *here = dir_with_file("elsewhere");
	struct command c;

	(void)state;
	snprintf(program, sizeof(program), "/tmp/busybox-%d", getpid());
	snprintf(neighbour, sizeof(neighbour), "/tmp/lodge-beside-%d", getpid());
	write_file(neighbour, "secret", 6, 0644);
	expect_output(native_run("/bin/cp", "/bin/busybox", program, NULL), "");
	c = lodge_command(program, "sh", "-c", "test -x $0 && echo itself; test -e $1 || echo alone", program,
			  neighbour, NULL);
	c.in_child = stand_there;
	c.arg = (void *)here;
	expect_output(command_run(&c), "itself\nalone\n");
	unlink(program);
	unlink(neighbour);
}

int main(void)
{
	struct CMUnitTest tests[] = {
		CASE("view: without options little of the host is there", the_default_shows_little),
		CASE("view: a program in /tmp shows itself alone", a_program_in_tmp_shows_itself),
		CASE("view: /tmp and /dev/shm are the program's own, and gone with it [J2]", tmp_is_private),
		CASE("view: what a killed lodge leaves goes with the next one [J2]", dead_ones_leave_nothing),
		CASE("view: names, links, mappings and programs in memory [J2][L16]", tmp_is_a_file_system),
		CASE("view: a private /tmp counts as the program's memory [J2]",
		     tmp_is_memory_of_the_program),
		CASE("view: a program in /tmp sees its own directory [J2]", programs_in_tmp_run),
		CASE("view: a program in bin sees the libraries beside it [J2]",
		     programs_in_bin_have_libraries),
		CASE("view: names in an open directory lead into mounts [J2][L6]", names_lead_into_mounts),
		CASE("view: a directory of the caller's shows what the view shows [J2]",
		     a_given_directory_is_a_stranger),
		CASE("view: --ro, --rw, --bind, --tmpfs, --cwd [J2]", mounts_show_and_protect),
		CASE("view: a part that may not be written stays so [J2]", a_part_is_protected),
		CASE("view: a mount hides a link of the root [J2]", mounts_hide_links),
		CASE("view: --root is all there is [J2]", a_root_is_all_there_is),
		CASE("view: no link, dot or directory leads around a mount [J2]", no_way_around),
		CASE("view: what is not there is refused by one line [J2]", what_is_not_there_is_refused),
	};

	return harness_main_kvm("view", tests, sizeof(tests) / sizeof(tests[0]));
}
