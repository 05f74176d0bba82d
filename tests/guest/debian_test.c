/* SPDX-License-Identifier: MIT */
/*
 * debian_test.c - Debian's own programs, dynamically linked and many processes at a time, print under lodge what they print
 * natively.
 */
#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DASH(text)    "dash", "-c", text, NULL
#define BASH(text)    "bash", "--norc", "-c", text, NULL
#define BUSYBOX(text) "busybox", "sh", "-c", text, NULL

/* Runs the words with and without lodge, in a directory that both may write. */
#define SAME(...)                                                     \
	do {                                                          \
		const char *const words[] = {__VA_ARGS__};            \
		assert_same(words, sizeof(words) / sizeof(words[0])); \
	} while (0)

static void enter(void *arg)
{
	if (chdir(arg))
		_exit(77);
}

static struct outcome run_in(const char *dir, bool lodge, const char *const *words, size_t nr)
{
	struct command c = {.in_child = enter, .arg = (void *)dir};
	char *path = realpath(lodge_path(), NULL);
	const char *const first[] = {path, "run", "--rw", dir, "--memory", "512M", "--"};
	size_t n = 0;

	for (size_t i = 0; lodge && i < sizeof(first) / sizeof(first[0]); i++)
		c.argv[n++] = first[i];
	for (size_t i = 0; i < nr; i++)
		c.argv[n++] = words[i];
	struct outcome o = command_run(&c);
	free(path);
	return o;
}

static void assert_same(const char *const *words, size_t nr)
{
	char *dir = strdup(scratch_dir());
	struct outcome native = run_in(dir, false, words, nr);
	struct outcome lodge = run_in(dir, true, words, nr);

	expect_same(&native, &lodge);
	outcome_free(&native);
	outcome_free(&lodge);
	free(dir);
}

static void dash_pipelines(void **state)
{
	(void)state;
	SAME(DASH("ls /usr | wc -l; (exit 3); echo $?; echo abc | tr a-c x-z | cat"));
	SAME(DASH("for i in 3 1 2; do echo $i; done | sort | while read x; do echo got $x; done; echo $(echo "
		  "sub)"));
	SAME(DASH("sleep 0.05 & wait $!; echo $?; (exit 4) & wait $!; echo $?; false || echo or; ! true; "
		  "echo $?"));
	SAME(DASH("trap 'echo caught' USR1; kill -USR1 $$; sh -c 'kill -9 $$'; echo $?; exit 5"));
	SAME(DASH("/no/such/program; echo $?; . /dev/null; cd /usr && pwd; set -- a b; echo $# $2"));
}

static void bash_features(void **state)
{
	(void)state;
	SAME(BASH("a=(1 2 3); echo ${#a[@]}; cat <(echo one) <(echo two); echo $((6*7)) | { read x; echo $x; "
		  "}"));
	SAME(BASH("set -o pipefail; false | true; echo $?; coproc cat; echo hi >&${COPROC[1]}; read -u "
		  "${COPROC[0]} x; echo $x"));
	SAME(BASH(
		"trap 'echo bye' EXIT; (trap 'echo sub' EXIT; exit 2); echo $?; wait; kill -TERM $BASHPID"));
}

static void busybox_shell(void **state)
{
	(void)state;
	SAME(BUSYBOX(
		"seq 1 50 | awk '{s+=$1} END {print s}'; echo b a | xargs -n1 echo | sort; ls / | grep usr"));
	SAME(BUSYBOX(
		"mkdir -p d; echo x > d/f; tar c d | tar t; rm -r d; find /usr/lib/os-release; echo $?"));
}

static void text_tools(void **state)
{
	(void)state;
	SAME(DASH("seq 1 2000 | sort -rn | head -5; seq 1 100 | sed -n '10,12p;$p' | paste -sd,"));
	SAME(DASH("grep -c root /etc/passwd; awk -F: '{print $1}' /etc/passwd | head -3; cut -d: -f1 "
		  "/etc/group | tail -2"));
	SAME(DASH("find /usr/share/doc/bash -type f | sort | head -4; find /etc -maxdepth 1 -name 'pass*' "
		  "-exec echo {} +"));
	SAME(DASH("mkdir t; echo one > t/a; echo two > t/b; tar czf t.tgz t; rm -r t; tar xzf t.tgz; cat t/a "
		  "t/b; md5sum t/a; "
		  "rm -r t t.tgz"));
	SAME(DASH("echo hello | gzip -c | gzip -dc; printf 'b\\na\\n' | tee f | sort -o g; cat f g; diff f "
		  "g; rm f g"));
	SAME(DASH("dd if=/dev/zero bs=4096 count=64 2>/dev/null | cksum; xargs -P2 -n1 echo < /etc/hostname "
		  "| wc -l"));
}

static void perl_runs(void **state)
{
	(void)state;
	SAME("perl", "-e",
	     "my %h; $h{$_ % 7}++ for 1..1000; print join(',', map {\"$_=$h{$_}\"} sort keys %h), \"\\n\"");
	SAME("perl", "-e",
	     "$| = 1; my $p = fork; if (!$p) { print \"child\\n\"; exit 3 } waitpid $p, 0; print $? >> 8, "
	     "\"\\n\"; print `echo sub`;");
	SAME("perl", "-e",
	     "open(my $f, '-|', 'sort', '/etc/shells') or die; print while <$f>; close $f; print $?, "
	     "qq(\\n)");
}

static void python_runs(void **state)
{
	(void)state;
	SAME("/usr/bin/python3", "-c",
	     "import json,sys; print(json.dumps({'a':[1,2,3]}), sum(range(100000)), sys.version_info[0])");
	SAME("/usr/bin/python3", "-c",
	     "import subprocess as s; print(s.run(['sort'], input=b'b\\na\\n', capture_output=True).stdout, "
	     "s.call(['false']))");
	SAME("/usr/bin/python3", "-c",
	     "import threading as t, queue\nq = queue.Queue()\n"
	     "ts = [t.Thread(target=lambda i=i: q.put(i*i)) for i in range(8)]\n"
	     "[x.start() for x in ts]; [x.join() for x in ts]\nprint(sorted(q.get() for _ in ts))");
	SAME("/usr/bin/python3", "-c",
	     "import os,signal\np = os.fork()\nif p == 0:\n  signal.pause()\nos.kill(p, "
	     "15)\nprint(os.waitpid(p, 0)[1])\n"
	     "from concurrent.futures import ThreadPoolExecutor as E\nprint(list(E(4).map(len, "
	     "['a','bb','ccc'])))");
}

static void sqlite_runs(void **state)
{
	(void)state;
	SAME("sqlite3", ":memory:",
	     "create table t(a,b); insert into t values(1,'x'),(2,'y'); select sum(a), group_concat(b) from "
	     "t;");
	SAME(DASH("rm -f db; sqlite3 db 'create table t(a); insert into t values(7);'; sqlite3 db 'select * "
		  "from t; pragma integrity_check;'; "
		  "rm -f db"));
}

/* A program that leaves processes behind: lodge ends them with itself, and waits for none. */
static void what_is_left_is_killed(void **state)
{
	struct outcome o = lodge_run(
		DASH("sleep 1000 & sleep 1000 & (trap '' TERM HUP; sleep 1000) & echo out; exit 6"));

	(void)state;
	expect_status(&o, 6);
	assert_string_equal(o.out, "out\n");
	outcome_free(&o);
}

/* The shell, the one between $( ), and three of its four children: five. */
static void processes_are_limited(void **state)
{
	const char *text = "sleep 0.01 & sleep 0.01 & wait; echo two; "
			   "said=$(exec 2>&1; sleep 1 & sleep 1 & sleep 1 & sleep 1 & wait); "
			   "case $said in *[Ff]ork*) echo refused ;; esac; echo end";
	struct outcome o = lodge_run("--pids", "5", DASH(text)), plain = lodge_run(DASH(text));

	(void)state;
	assert_string_equal(plain.out, "two\nend\n");
	assert_string_equal(o.out, "two\nrefused\nend\n");
	outcome_free(&plain);
	outcome_free(&o);
}

/* The end of lodge is the end of all. */
static void a_signal_ends_all(void **state)
{
	struct command c = lodge_command(DASH("sleep 1000 | sleep 1000 & echo up; while :; do :; done"));
	struct running r = command_start(&c);
	struct outcome o;

	(void)state;
	command_expect(&r, "up\n");
	kill(r.pid, SIGTERM);
	o = command_wait(&r, DEFAULT_LIMIT_S);
	assert_true(o.status == 128 + SIGTERM || o.signal == SIGTERM);
	outcome_free(&o);
}

int main(void)
{
	struct CMUnitTest tests[] = {
		CASE("debian: dash: pipelines, subshells, jobs and traps [J2]", dash_pipelines),
		CASE("debian: bash: process substitution, coprocesses, traps [J2]", bash_features),
		CASE("debian: busybox as a shell [J2]", busybox_shell),
		CASE("debian: sort, sed, grep, awk, find, tar, gzip, xargs [J2]", text_tools),
		CASE("debian: perl, with fork and pipes [J2]", perl_runs),
		CASE("debian: python3, with threads, processes and signals [J2]", python_runs),
		CASE("debian: sqlite3, in memory and on disk [J2]", sqlite_runs),
		CASE("processes that the first one leaves are killed [J2]", what_is_left_is_killed),
		CASE("a fork beyond --pids fails with EAGAIN [J2]", processes_are_limited),
		CASE("a signal to lodge ends all processes [J2]", a_signal_ends_all),
	};

	return harness_main_kvm("debian", tests, sizeof(tests) / sizeof(tests[0]));
}
