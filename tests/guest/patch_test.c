/* SPDX-License-Identifier: MIT */
/*
 * patch_test.c - Debian's programs with their hot call sites rewritten (--patch=auto, docs/traps.md) do what they do without: the same
 * output, the same end. What each of them reads does not change meanwhile; what it writes is in a directory of its own.
 */
#include "harness.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DOC	"/usr/share/doc"
#define INCLUDE "/usr/include/linux"
#define DASH(text)                 \
	{                          \
		"dash", "-c", text \
	}
#define BASH(text)                           \
	{                                    \
		"bash", "--norc", "-c", text \
	}
#define PERL(text)                 \
	{                          \
		"perl", "-e", text \
	}
#define PYTHON(text)                           \
	{                                      \
		"/usr/bin/python3", "-c", text \
	}
#define MAX_ARGS 9

/* Many calls from few places, by one task: what is rewritten. Then what has to take it back: forks, threads, exec, mprotect. */
static const char *const programs[][MAX_ARGS] = {
	{"find", DOC, "-name", "c*", "-size", "+1"},
	{"find", "/etc", "-maxdepth", "2", "-type", "f", "-newer", "/etc/passwd"},
	{"ls", "-lRn", INCLUDE},
	{"du", "-ab", INCLUDE},
	{"grep", "-rc", "GPL", DOC "/bash"},
	{"grep", "-rlE", "define +[A-Z_]*MAX", INCLUDE},
	{"diff", "-rq", INCLUDE, "/usr/include/asm-generic"},
	{"dd", "if=/etc/services", "bs=1", "count=3000", "status=none"},
	{"stat", "-c", "%n %s", "/etc/services", "/etc/passwd", "/etc/group"},
	{"od", "-c", "/etc/services"},
	{"sort", "-r", "/etc/services"},
	{"tar", "cf", "-", "--sort=name", "-C", "/usr/include", "linux/netfilter"},
	{"awk", "{ n[$1]++ } END { for (w in n) c++; print c, NR }", "/etc/services"},
	{"awk", "BEGIN { while ((getline l < \"/etc/services\") > 0) n += length(l); print n }"},
	{"sqlite3", ":memory:",
	 "with recursive n(i) as (select 1 union all select i + 1 from n where i < 3000) select i * i from "
	 "n;"},
	{"lua5.4", "-e", "for i = 1, 500 do io.write(i * i, '\\n') io.flush() end"},
	{"find", DOC, "-maxdepth", "2", "-printf", "%p %s %m %y\\n"},
	{"tar", "cf", "/dev/null", "-v", "-C", "/usr/include", "linux"},
	DASH("i=0; while [ $i -lt 300 ]; do i=$((i + 1)); echo $i; done"),
	DASH("i=0; while [ $i -lt 200 ]; do i=$((i + 1)); read l; echo $l; done < /etc/services"),
	DASH("for i in 1 2 3; do seq 200 | sort -n | tail -1; done"),
	DASH("cp -r " INCLUDE "/netfilter d; find d -type f -size -9 | sort | xargs cat | md5sum; rm -r d"),
	DASH("tar czf d.tgz -C " INCLUDE
	     " netfilter; mkdir d; tar xzf d.tgz -C d; diff -r d/netfilter " INCLUDE
	     "/netfilter; tar tzf d.tgz | sort; rm -r d d.tgz"),
	DASH("dd if=/dev/zero bs=64 count=2000 status=none | gzip -c | gzip -dc | cksum"),
	DASH("for f in " INCLUDE "/b*.h; do test -r $f && wc -l < $f; done"),
	BASH("for ((i = 0; i < 200; i++)); do printf '%d\\n' $i; done; while read -r x; do ((s += ${#x})); "
	     "done < "
	     "/etc/services; echo $s"),
	BASH("trap 'n=$((n + 1))' USR1; for ((i = 0; i < 100; i++)); do kill -USR1 $BASHPID; done; echo $n; "
	     "exit 3"),
	BASH("ulimit -n 100; exec 9<>f; for i in {1..150}; do echo $i >&9; done; exec 9>&-; cat f; rm f; "
	     "kill -9 $$"),
	PERL("$| = 1; for (1 .. 300) { print getppid() == getppid() ? 1 : 0; print \"\\n\" }"),
	PERL("for (1 .. 200) { open(my $f, '<', '/etc/passwd') or die; my @l = <$f>; close $f; $n += @l } "
	     "print $n, \"\\n\"; exit 9"),
	PERL("$| = 1; for (1 .. 150) { my $t = select(undef, undef, undef, 0); $n += $t } print $n; print "
	     "`echo "
	     "sub`; for (1 .. 150) { "
	     "-e '/etc' and $m++ } print $m, \"\\n\"; kill 'TERM', $$"),
	PERL("pipe(my $r, my $w); for (1 .. 300) { syswrite($w, chr(65 + $_ % 26)); sysread($r, my $c, 1); "
	     "print $c } if (!(my "
	     "$p = fork)) { syswrite($w, 'x') for 1 .. 99; exit 5 } wait; print $? >> 8; sysread($r, my $c, "
	     "500); print length $c"),
	PYTHON("import os\nr, w = os.pipe()\nfor i in range(400):\n os.write(w, b'%d' % (i % 10)); "
	       "print(os.read(r, 1))\n"
	       "p = os.fork()\nif not p:\n [os.getppid() for _ in range(300)]; "
	       "os._exit(4)\nprint(os.waitpid(p, 0)[1])\n"),
	PYTHON("import os, threading\nfor i in range(300): os.stat('/etc/passwd'); os.lseek(0, 0, 1) if "
	       "os.isatty(0) else 0\n"
	       "n = []\nt = [threading.Thread(target=lambda: n.extend(os.path.exists('/etc') for _ in "
	       "range(200))) for _ in "
	       "range(3)]\n[x.start() for x in t]; [x.join() for x in t]; print(len(n), all(n))\n"),
	PYTHON("import os, signal\nc = [0]\nsignal.signal(signal.SIGALRM, lambda *a: c.__setitem__(0, 1))\n"
	       "signal.setitimer(signal.ITIMER_REAL, .05)\nwhile not c[0]:\n [os.getuid() for _ in "
	       "range(100)]\n"
	       "print([os.geteuid() for _ in range(200)] == [os.geteuid()] * 200)\nos.execv('/bin/echo', "
	       "['echo', 'other'])\n"),
	PYTHON("import mmap\nfor i in range(200):\n m = mmap.mmap(-1, 8192); m[0] = i % 256; "
	       "m.close()\nprint(i)\n"
	       "import ctypes\nl = ctypes.CDLL(None)\nfor i in range(300): l.getppid()\na = "
	       "ctypes.cast(l.getppid, "
	       "ctypes.c_void_p).value & -4096\nprint(l.mprotect(ctypes.c_void_p(a), 4096, 5))\nfor i in "
	       "range(300): l.getppid()\n"
	       "print(l.getppid() == __import__('os').getppid())\n"),
};

#define NR_PROGRAMS (sizeof(programs) / sizeof(programs[0]))

static void enter(void *arg)
{
	if (chdir(arg))
		_exit(77);
}

/* In a directory that it may write, with and without; `json` gets the report. */
static struct outcome run(const char *dir, const char *const *words, bool patched, const char *json)
{
	const char *const how[] = {"run",
				   patched ? "--traps=poll" : "--traps=exit",
				   patched ? "--patch=auto" : "--patch=off",
				   "--rw",
				   dir,
				   "--stats-file",
				   json,
				   "--"};
	struct command c = {.in_child = enter, .arg = (void *)dir, .limit_s = 240};
	char *path = realpath(lodge_path(), NULL);
	size_t n = 0;

	c.argv[n++] = path;
	for (size_t i = 0; i < sizeof(how) / sizeof(how[0]); i++)
		c.argv[n++] = how[i];
	for (size_t i = 0; i < MAX_ARGS && words[i]; i++)
		c.argv[n++] = words[i];
	struct outcome o = command_run(&c);
	free(path);
	return o;
}

/* A number of the report. */
static uint64_t count_of(const char *path, const char *name)
{
	char key[64], *json = read_file(path, &(size_t){0});

	assert_non_null(json);
	snprintf(key, sizeof(key), "\"%s\":", name);
	const char *at = strstr(json, key);
	assert_non_null(at);
	uint64_t n = strtoull(at + strlen(key), NULL, 10);
	free(json);
	return n;
}

/* How many sites were rewritten. */
static uint64_t does_the_same(const char *const *words)
{
	char *dir = strdup(scratch_dir()), *json = strdup(scratch_path("report.json"));
	struct outcome plain = run(dir, words, false, json);
	assert_int_not_equal(plain.status, 127);
	assert_int_equal(count_of(json, "rewritten_sites"), 0);
	struct outcome patched = run(dir, words, true, json);
	uint64_t nr = count_of(json, "rewritten_sites");

	expect_same(&plain, &patched);
	outcome_free(&plain);
	outcome_free(&patched);
	free(dir);
	free(json);
	return nr;
}

/* Sites are rewritten where SYSCALL stays at CPL3, and where there is a second processor to answer calls. */
static bool rewrites(void)
{
	struct outcome o = command_run(&(struct command){.argv = {lodge_path(), "doctor"}});
	bool cpl3 = strstr(o.out, "stays in ring 3") != NULL;
	cpu_set_t set;

	outcome_free(&o);
	return cpl3 && !sched_getaffinity(0, sizeof(set), &set) && CPU_COUNT(&set) > 1;
}

static void all_do_the_same(void **state)
{
	uint64_t nr = 0;

	(void)state;
	for (size_t i = 0; i < NR_PROGRAMS; i++)
		nr += does_the_same(programs[i]);
	print_message("# %u sites rewritten\n", (unsigned int)nr);
	if (rewrites())
		assert_true(nr > 0);
}

int main(void)
{
	struct CMUnitTest tests[] = {
		CASE("patch: Debian's programs do the same with call sites rewritten [J2]", all_do_the_same),
	};

	return harness_main_kvm("patch", tests, sizeof(tests) / sizeof(tests[0]));
}
