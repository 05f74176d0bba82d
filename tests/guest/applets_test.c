/* SPDX-License-Identifier: MIT */
/*
 * applets_test.c - the applets of an unmodified busybox on real files: output and end must be those of a
 * native run.
 *
 * Files: "numbers" and "words" are made here, busybox itself is the large binary one. The working directory
 * of both runs is the scratch directory.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BUSYBOX "/bin/busybox"

/* The applet and its words; `input` goes to stdin. */
struct applet {
	const char *argv[12];
	const char *input;
};

static const struct applet applets[] = {
	{{"md5sum", BUSYBOX}},
	{{"sha1sum", BUSYBOX}},
	{{"sha256sum", BUSYBOX, "numbers", "words"}},
	{{"sha512sum", BUSYBOX}},
	{{"sha3sum", BUSYBOX}},
	{{"crc32", "numbers"}},
	{{"md5sum", "-c", "sums"}},
	{{"sort", "words"}},
	{{"sort", "-n", "-r", "-u", "numbers"}},
	{{"sort", "-k", "2", "words"}},
	{{"uniq", "-c", "words"}},
	{{"awk",
	  "{ n[$1] += NF; s += length($0) } END { for (k in n) print k, n[k]; print s, sqrt(2), exp(1) }",
	  "words"}},
	{{"awk", "-f", "script.awk", "numbers"}},
	{{"sed", "s/\\([a-z]*\\) \\(.*\\)/\\2:\\1/;$!N;P;D", "words"}},
	{{"grep", "-n", "-i", "THE", "words"}},
	{{"grep", "-c", "no such line", "words"}},
	{{"egrep", "^[0-9]*7$", "numbers"}},
	{{"cut", "-d", " ", "-f", "2-", "words"}},
	{{"tr", "a-z", "A-Z"}, "the quick brown fox\n"},
	{{"wc", "words", "numbers", BUSYBOX}},
	{{"head", "-n", "3", "words"}},
	{{"tail", "-n", "5", "numbers"}},
	{{"tail", "-c", "100", BUSYBOX}},
	{{"od", "-A", "x", "-t", "x1", "words"}},
	{{"hexdump", "-C", "-n", "4096", BUSYBOX}},
	{{"xxd", "-l", "512", BUSYBOX}},
	{{"gzip", "-c", "numbers"}},
	{{"gzip", "-9", "-c", BUSYBOX}},
	{{"bzip2", "-c", "numbers"}},
	{{"gunzip", "-c", "numbers.gz"}},
	{{"bzcat", "numbers.bz2"}},
	{{"gunzip", "-t", "words"}},
	{{"tar", "-cf", "-", "tree"}},
	{{"tar", "-tvf", "tree.tar"}},
	{{"cpio", "-t"}, "not an archive"},
	{{"find", "tree", "-name", "*.txt", "-size", "-2"}},
	{{"find", "/usr/include/linux", "-type", "f"}},
	{{"ls", "-l", "-a", "tree"}},
	{{"ls", "-R", "-i", "tree"}},
	{{"stat", "words"}},
	{{"stat", "-c", "%a %s %u %g %F %N", "tree/link"}},
	{{"du", "-a", "tree"}},
	{{"diff", "words", "numbers"}},
	{{"diff", "words", "words"}},
	{{"cmp", "words", "numbers"}},
	{{"expr", "6", "*", "7"}},
	{{"expr", "1", "/", "0"}},
	{{"seq", "1", "3", "100"}},
	{{"factor", "1234567890", "18446744073709551557"}},
	{{"base64", BUSYBOX}},
	{{"base64", "-d"}, "bG9kZ2UK\n"},
	{{"uuencode", "-m", "words", "name"}},
	{{"nl", "words"}},
	{{"tac", "words"}},
	{{"rev", "words"}},
	{{"fold", "-w", "17", "words"}},
	{{"expand", "words"}},
	{{"unexpand", "-a", "words"}},
	{{"shuf", "-n", "0", "words"}},
	{{"dd", "if=" BUSYBOX, "bs=1000", "skip=3", "count=20", "status=none"}},
	{{"cat", "words", "-"}, "from stdin\n"},
	{{"cat", "no such file"}},
	{{"strings", "-n", "12", BUSYBOX}},
	{{"date", "-u", "-d", "@0"}},
	{{"date", "-u", "-d", "2026-11-21 12:00:00", "+%s %A %j"}},
	{{"cal", "2", "2024"}},
	{{"printf", "%s %d %x %8.3f %q\\n", "text", "42", "255", "3.14159"}},
	{{"printf", "%b\\n", "a\\tb\\x41"}},
	{{"test", "-d", "tree"}},
	{{"test", "1", "-gt", "2"}},
	{{"true"}},
	{{"false"}},
	{{"sh", "-c",
	  "i=0; while [ $i -lt 1000 ]; do i=$((i+1)); done; echo $i; case abc in a*) echo match;; esac; exit "
	  "9"}},
	{{"sh", "-c",
	  "while read a b; do echo \"$b-$a\"; done < words; trap 'echo bye' EXIT; set -- x y; echo $# "
	  "${2%y}z"}},
	{{"ash", "-c", "echo ${HOME:+set}; cd tree; pwd; umask; type echo; ulimit -s"}},
	{{"sh", "-c", "kill -TERM $$; echo not reached"}},
	{{"sh", "-c", "syntax error ("}},
	{{"env"}},
	{{"dirname", "/a/b/c"}},
	{{"basename", "/a/b/c.txt", ".txt"}},
	{{"realpath", "tree/link", "."}},
	{{"readlink", "-f", "tree/link"}},
	{{"readlink", "tree/link"}},
	{{"pwd"}},
	{{"id", "-u"}},
	{{"whoami"}},
	{{"ipcalc", "-b", "10.0.0.1/8"}},
	{{"bc"}, "scale=40; 4*a(1); 2^200\n"},
	{{"dc"}, "10k 2 v p\n"},
	{{"ed", "-s", "words"}, "1,3p\nq\n"},
	{{"patch", "--dry-run", "-p0"}, "no patch\n"},
	{{"dos2unix"}, "a\r\nb\r\n"},
	{{"xargs", "-n"}, ""},
	{{"getopt", "ab:", "-a", "-b", "x", "y"}},
	{{"tee"}, "through\n"},
	{{"yes", "--help"}},
	{{"usleep", "1000"}},
	{{"sleep", "0.01"}},
	{{"which", "busybox"}},
	{{"cksum", "numbers"}},
	{{"ls", "no such directory"}},
	{{"no-such-applet"}},
};

#define NR_APPLETS (sizeof(applets) / sizeof(applets[0]))

static const char *absolute_lodge(void)
{
	static char *path;

	if (!path)
		path = realpath(lodge_path(), NULL);
	return path ? path : lodge_path();
}

/* The same few variables everywhere; what the caller has is nobody's business in a log. */
static void small_environment(void)
{
	clearenv();
	setenv("PATH", "/usr/bin:/bin", 1);
	setenv("HOME", "/root", 1);
	setenv("LANG", "C", 1);
}

static void go_to_scratch(void *arg)
{
	(void)arg;
	small_environment();
	if (chdir(scratch_dir()))
		_exit(77);
}

static struct outcome run_applet(const struct applet *a, const char *const *prefix)
{
	struct command c = {.input = a->input, .in_child = go_to_scratch};

	for (; *prefix; prefix++)
		command_add(&c, *prefix);
	command_add(&c, BUSYBOX);
	for (size_t i = 0; a->argv[i]; i++)
		command_add(&c, a->argv[i]);
	return command_run(&c);
}

static void is_as_natively(void **state)
{
	const struct applet *a = *state;
	const char *const native[] = {NULL}, *const lodge[] = {absolute_lodge(), "run", "--", NULL};
	struct outcome n = run_applet(a, native), l = run_applet(a, lodge);

	expect_same(&n, &l);
	outcome_free(&n);
	outcome_free(&l);
}

/*
 * --- programs that write, below --rw
 * ----------------------------------------------------------------------------
 */

/* One after the other, in "native" and in "lodge": two directories that must stay alike. */
static const struct applet writers[] = {
	{{"tar", "-xf", "../tree.tar"}},
	{{"cp", "-a", "tree", "copy"}},
	{{"gzip", "copy/a.txt"}},
	{{"tar", "-cf", "copy.tar", "copy/a.txt.gz", "copy/link", "copy/sub"}},
	{{"tar", "-tf", "copy.tar"}},
	{{"rm", "copy.tar"}}, /* it holds times */
	{{"gunzip", "copy/a.txt.gz"}},
	{{"bzip2", "copy/a.txt"}},
	{{"bunzip2", "copy/a.txt.bz2"}},
	{{"cmp", "tree/a.txt", "copy/a.txt"}},
	{{"sed", "-i", "s/1/one/g", "tree/a.txt"}},
	{{"sort", "-o", "sorted", "../words"}},
	{{"dd", "if=" BUSYBOX, "of=big", "bs=4096", "status=none"}},
	{{"dd", "if=../words", "of=big", "bs=1", "seek=70000", "count=9", "conv=notrunc", "status=none"}},
	{{"truncate", "-s", "5000", "sparse"}},
	{{"mkdir", "-p", "d/e/f"}},
	{{"mv", "copy", "moved"}},
	{{"ln", "-s", "moved", "symbolic"}},
	{{"ln", "sorted", "hard"}},
	{{"chmod", "600", "hard"}},
	{{"touch", "-d", "@1000000000", "sorted"}},
	{{"stat", "-c", "%y %a %h", "sorted"}},
	{{"tee", "a", "b"}, "to both\n"},
	{{"uudecode", "-o", "decoded"}, "begin-base64 644 name\nbG9kZ2UK\n====\n"},
	{{"unlink", "a"}},
	{{"rmdir", "d/e/f"}},
	{{"rmdir", "d"}},
	{{"rm", "-r", "d"}},
	{{"install", "-m", "755", "b", "installed"}},
	{{"mkfifo", "fifo"}},
	{{"find", "."}},
};

static void enter(void *arg)
{
	small_environment();
	if (chdir(scratch_dir()) || chdir(arg))
		_exit(77);
}

static struct outcome run_writer(const struct applet *a, const char *dir, const char *const *prefix)
{
	struct command c = {.input = a->input, .in_child = enter, .arg = (void *)dir};

	for (; *prefix; prefix++)
		command_add(&c, *prefix);
	command_add(&c, BUSYBOX);
	for (size_t i = 0; a->argv[i]; i++)
		command_add(&c, a->argv[i]);
	return command_run(&c);
}

/* Names, kinds, modes, link counts, sizes and contents of all that is there. */
static struct outcome inventory(const char *dir)
{
	static const char script[] = "busybox find . ! -type d -exec busybox stat -c '%n %a %h %s %F' {} ';';"
				     "busybox find . -type f -exec busybox md5sum {} ';'";
	struct command c = {.argv = {BUSYBOX, "sh", "-c", script}, .in_child = enter, .arg = (void *)dir};

	return command_run(&c);
}

static void files_written_are_those_of_a_native_run(void **state)
{
	const char *const native[] = {NULL}, *const lodge[] = {absolute_lodge(), "run", "--ro", "..",
							       "--rw",		 ".",	"--",	NULL};
	struct outcome a, b;

	(void)state;
	assert_int_equal(mkdir(scratch_path("native"), 0755) | mkdir(scratch_path("lodge"), 0755), 0);
	for (size_t i = 0; i < sizeof(writers) / sizeof(writers[0]); i++) {
		a = run_writer(&writers[i], "native", native);
		b = run_writer(&writers[i], "lodge", lodge);
		print_message("# %s %s\n", writers[i].argv[0], writers[i].argv[1]);
		expect_same(&a, &b);
		outcome_free(&a);
		outcome_free(&b);
	}
	a = inventory("native");
	b = inventory("lodge");
	assert_true(a.out_bytes > 500);
	assert_string_equal(a.out, b.out);
	outcome_free(&a);
	outcome_free(&b);
}

/*
 * --- the files of all tests
 * -------------------------------------------------------------------------------------
 */

static void native_in_scratch(const char *script)
{
	struct command c = {.argv = {BUSYBOX, "sh", "-c", script}, .in_child = go_to_scratch};
	struct outcome o = command_run(&c);

	if (o.status) {
		fprintf(stderr, "cannot make the files: %s\n", o.err);
		exit(1);
	}
	outcome_free(&o);
}

static void make_files(void)
{
	native_in_scratch("busybox seq 1 7 20000 > numbers;"
			  "busybox awk 'BEGIN { for (i = 0; i < 400; i++) print \"the quick\", i % 7, "
			  "\"brown fox\", i % 13 }' > words;"
			  "echo '{ s += $1 } END { print s, NR }' > script.awk;"
			  "busybox md5sum numbers words > sums;"
			  "busybox gzip -c numbers > numbers.gz; busybox bzip2 -c numbers > numbers.bz2;"
			  "mkdir -p tree/sub/deep; cp numbers tree/a.txt; cp words tree/sub/b.txt; : > "
			  "tree/sub/deep/empty;"
			  "ln -s sub/b.txt tree/link; tar -cf tree.tar tree");
}

int main(void)
{
	static struct CMUnitTest tests[NR_APPLETS + 1];
	static char titles[NR_APPLETS][100];

	make_files();
	for (size_t i = 0; i < NR_APPLETS; i++) {
		const char *const *w = applets[i].argv;

		snprintf(titles[i], sizeof(titles[i]), "applets: %s %.20s %.20s as natively", w[0],
			 w[1] ? w[1] : "", w[1] && w[2] ? w[2] : "");
		tests[i] = (struct CMUnitTest)CASE(titles[i], is_as_natively);
		tests[i].initial_state = (void *)&applets[i];
	}
	tests[NR_APPLETS] = (struct CMUnitTest)CASE("applets: files written are those of a native run",
						    files_written_are_those_of_a_native_run);
	return harness_main_kvm("applets", tests, NR_APPLETS + 1);
}
