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
	const char *const first[] = {path, "run", "--net=local", "--rw", dir, "--memory", "512M", "--"};
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

/* Commands until one answers, at most half a minute. */
#define UNTIL(command) "for i in $(seq 300); do " command " && break; sleep 0.1; done; "

static void redis_serves(void **state)
{
	(void)state;
	SAME(DASH("redis-server --port 0 --unixsocket $PWD/s --save '' --dir $PWD >/dev/null 2>&1 & " UNTIL(
		"redis-cli -s s ping 2>/dev/null") "redis-cli -s s set a 41; redis-cli -s s incr a; "
						   "redis-cli -s s rpush l x y z; redis-cli -s s lrange l 0 "
						   "-1; "
						   "redis-benchmark -s s -n 300 -c 5 -q -t "
						   "set,get,incr,lpush >/dev/null; echo $?; redis-cli -s s "
						   "save; "
						   "redis-cli -s s shutdown nosave; wait $!; echo $?; test "
						   "-s dump.rdb; echo $?; rm -f dump.rdb"));
	SAME(DASH(
		"p=$((20000 + $$ % 20000)); redis-server --port $p --bind 127.0.0.1 --save '' --dir $PWD "
		">/dev/null 2>&1 & "
		"p=$((20000 + $$ % 20000)); " UNTIL(
			"redis-cli -p $p ping 2>/dev/null") "seq 1 200 | sed 's/.*/SET k& &/' | redis-cli -p "
							    "$p --pipe | tail -1; redis-cli -p $p dbsize; "
							    "redis-benchmark -p $p -n 300 -c 5 -q -t set,get "
							    ">/dev/null; echo $?; redis-cli -p $p shutdown "
							    "nosave; wait; echo up"));
}

static void git_keeps(void **state)
{
	(void)state;
	SAME(DASH("export HOME=$PWD GIT_AUTHOR_DATE=2020-01-01T00:00:00Z "
		  "GIT_COMMITTER_DATE=2020-01-01T00:00:00Z; rm -rf r c; "
		  "git init -q -b main r; cd r; git config user.name n; git config user.email e; seq 100 > "
		  "f; git add f; "
		  "git commit -qm one; git mv f g; echo x >> g; git commit -qam two; echo y >> g; git status "
		  "--porcelain; "
		  "git log --oneline; git diff | tail -1; git stash -q; git branch b HEAD~1; git checkout -q "
		  "b; ls; git gc -q; "
		  "git fsck 2>/dev/null | grep -v dangling; git clone -q . ../c; git -C ../c rev-parse HEAD; "
		  "cd ..; rm -rf r c"));
}

static void openssl_computes(void **state)
{
	(void)state;
	SAME(DASH("openssl dgst -sha256 /etc/passwd; openssl enc -aes-256-cbc -k x -pbkdf2 -in /etc/services "
		  "| openssl enc -d "
		  "-aes-256-cbc -k x -pbkdf2 | cmp - /etc/services; echo $?; openssl speed -seconds 1 -bytes "
		  "1024 sha256 "
		  ">/dev/null 2>&1; echo $?; ssh-keygen -q -t ed25519 -N '' -f k; ssh-keygen -l -f k | cut "
		  "-d' ' -f1,4; rm -f k k.pub"));
}

static void gcc_and_make_build(void **state)
{
	(void)state;
	SAME(DASH(
		"printf '#include <stdio.h>\nint main(void) { puts(\"built\"); return 3; }\n' > h.c; "
		"printf 'all: h t\nh: h.c\n\t@gcc -O2 -o $@ $<\nt: h\n\t@./h > t || echo $$?\n' > Makefile; "
		"make -j2; cat t; make; rm -f h t h.c Makefile"));
}

/* What not every machine has. */
static void need(const char *program)
{
	if (access(program, X_OK))
		skip();
}

/* Compiled in memory, four threads that allocate, a collection by threads of its own. */
static void java_runs(void **state)
{
	(void)state;
	need("/usr/bin/javac");
	SAME(DASH(
		"cat > H.java <<'EOF'\n"
		"import java.util.*; import java.util.concurrent.*;\n"
		"public class H { public static void main(String[] a) throws Exception {\n"
		"ExecutorService e = Executors.newFixedThreadPool(4); List<Future<Long>> f = new "
		"ArrayList<>();\n"
		"for (int i = 0; i < 8; i++) { final int k = i; f.add(e.submit(() -> { long s = 0;\n"
		"for (int j = 0; j < 50000; j++) s += new byte[200 + (j + k) % 50].length; return s; })); }\n"
		"long t = 0; for (Future<Long> x : f) t += x.get(); e.shutdown(); System.gc();\n"
		"System.out.println(\"sum \" + t); } }\n"
		"EOF\n"
		"java -Xmx128m -XX:+UseG1GC H.java; echo $?; rm H.java"));
}

static void node_runs(void **state)
{
	(void)state;
	need("/usr/bin/node");
	SAME("node", "-e",
	     "const { Worker } = require('worker_threads'), fs = require('fs'), cp = "
	     "require('child_process');\n"
	     "const text = 'let s = 0; for (let i = 0; i < 1e5; i++) s += i % 7; '\n"
	     "  + 'require(\"worker_threads\").parentPort.postMessage(s)';\n"
	     "let n = 0, sum = 0;\n"
	     "for (let i = 0; i < 3; i++) { const w = new Worker(text, { eval: true });\n"
	     "  w.on('message', m => { sum += m; }); w.on('exit', () => { if (++n == 3) rest(); }); }\n"
	     "async function rest() { console.log(sum); fs.writeFileSync('a', 'hello');\n"
	     "  await fs.promises.appendFile('a', ' world'); console.log(fs.readFileSync('a', 'utf8'));\n"
	     "  fs.unlinkSync('a'); console.log(cp.execSync('echo child').toString());\n"
	     "  const s = require('http').createServer((q, r) => r.end('answer')).listen(0, '127.0.0.1', () "
	     "=>\n"
	     "    require('http').get({ port: s.address().port, agent: false }, r => {\n"
	     "      r.on('data', d => console.log(String(d))); r.on('end', () => s.close()); })); }");
}

static void go_builds(void **state)
{
	(void)state;
	need("/usr/bin/go");
	SAME(DASH("printf 'package main\nfunc main() {\nc := make(chan int)\nfor i := 0; i < 100; i++ {\n"
		  "go func(n int) { c <- n * n }(i)\n}\ns := 0\nfor i := 0; i < 100; i++ {\ns += <-c\n}\n"
		  "println(s)\n}\n' > g.go; GOCACHE=$PWD/cache GOPATH=$PWD/path go build -o g g.go; ./g; "
		  "echo $?; "
		  "rm -rf g g.go cache path"));
}

static void large_data(void **state)
{
	(void)state;
	SAME(DASH("seq 100000 | awk '{print ($1 * 7919) % 100003}' > s; sort -n -S 512K --parallel=4 -T . s "
		  "| md5sum; rm s"));
	SAME(DASH("tar cJf d.txz -C /usr/share/doc bash; xz -dc -T2 d.txz | tar t | sort | tail -1; tar czf "
		  "d.tgz -C /usr/share/doc "
		  "bash; mkdir x; tar xzf d.tgz -C x; diff -r x/bash /usr/share/doc/bash && echo same; rm -r "
		  "x d.*"));
	SAME(DASH("find /usr/share/doc -name copyright | sort | md5sum; grep -rl GPL /usr/share/doc/bash | "
		  "sort; "
		  "find /usr/share/doc/b* -type f | sort | xargs cat | sed -n 's/the/THE/gp' | awk '{n += "
		  "NF} END {print n}'"));
	SAME("lua5.4", "-e",
	     "local t = {} for i = 1, 9 do t[#t + 1] = i * i end print(table.concat(t, ',')) for l in "
	     "io.popen('echo sub'):lines() "
	     "do print(l) end");
	SAME(DASH("rm -f w*; sqlite3 w 'pragma journal_mode=wal; pragma mmap_size=1000000; create table "
		  "t(a); insert into t "
		  "values(1),(2);'; sqlite3 w 'pragma mmap_size=1000000; select sum(a) from t; pragma "
		  "integrity_check;'; rm -f w*"));
}

static void python_shares(void **state)
{
	(void)state;
	SAME("/usr/bin/python3", "-c",
	     "import multiprocessing as m, os\n"
	     "def add(l, v):\n for _ in range(50):\n  with l: v.value += 1\n"
	     "with m.Pool(3) as p: print(p.map(abs, range(-5, 5)))\n"
	     "l, v = m.Lock(), m.Value('i', 0)\nps = [m.Process(target=add, args=(l, v)) for _ in range(3)]\n"
	     "[p.start() for p in ps]; [p.join() for p in ps]; print(v.value)\n"
	     "q = m.Queue(); p = m.Process(target=q.put, args=('said',)); p.start(); print(q.get()); "
	     "p.join()\n"
	     "from multiprocessing import shared_memory as s\n"
	     "a = s.SharedMemory(create=True, size=100); b = s.SharedMemory(a.name); a.buf[0] = 7; "
	     "print(b.buf[0])\n"
	     "b.close(); a.close(); a.unlink()\n");
	SAME("/usr/bin/python3", "-c",
	     "import asyncio, os, subprocess, mmap, tempfile\n"
	     "async def main():\n"
	     " async def serve(r, w):\n  w.write((await r.read(99)).upper()); await w.drain(); w.close()\n"
	     " s = await asyncio.start_unix_server(serve, 'a.sock')\n"
	     " r, w = await asyncio.open_unix_connection('a.sock')\n"
	     " w.write(b'hello'); print(await r.read(99)); w.close(); s.close()\n"
	     " s = await asyncio.start_server(serve, '127.0.0.1', 0)\n"
	     " r, w = await asyncio.open_connection(*s.sockets[0].getsockname())\n"
	     " w.write(b'there'); print(await r.read(99)); w.close(); s.close()\n"
	     " p = await asyncio.create_subprocess_exec('echo', 'sub', stdout=subprocess.PIPE); print(await "
	     "p.communicate())\n"
	     "asyncio.run(main()); os.unlink('a.sock')\n"
	     "with tempfile.NamedTemporaryFile() as f:\n"
	     " f.write(b'x' * 10000); f.flush(); m = mmap.mmap(f.fileno(), 0); m[:3] = b'abc'; f.seek(0); "
	     "print(f.read(5), len(m))\n");
}

static void curl_fetches(void **state)
{
	(void)state;
	SAME(DASH("echo page > index.html; /usr/bin/python3 -u -m http.server -b 127.0.0.1 0 > log 2>&1 "
		  "& " UNTIL("grep -q port log 2>/dev/null") "p=$(sed 's/.*port \\([0-9]*\\).*/\\1/;q' log); "
							     "curl -s http://127.0.0.1:$p/index.html; curl "
							     "-s -o /dev/null -w '%{http_code}\n' "
							     "http://localhost:$p/none; "
							     "kill $!; rm -f log index.html; curl -s -m 5 "
							     "http://10.255.255.1/; echo $((0))"));
}

/* A program that leaves processes behind: lodge ends them with itself, and waits for none. */
/* All that the dynamic linker touches came with the program or with the call that mapped it. */
static void a_small_program_is_linked_without_a_fault(void **state)
{
	struct outcome o = lodge_run("--trace=fault", "--", "/bin/true", NULL);

	(void)state;
	expect_status(&o, 0);
	assert_string_equal(o.err, "");
	outcome_free(&o);
}

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
		CASE("debian: redis, over a socket file and TCP [J2]", redis_serves),
		CASE("debian: git [J2]", git_keeps),
		CASE("debian: openssl, ssh-keygen [J2]", openssl_computes),
		CASE("debian: gcc under make [J2]", gcc_and_make_build),
		CASE("debian: java, with threads and a parallel collector [J2]", java_runs),
		CASE("debian: node, with workers, children and a server [J2]", node_runs),
		CASE("debian: go builds a program of many goroutines [J2]", go_builds),
		CASE("debian: sort, xz, tar, find, lua5.4 and sqlite3 on more data [J2]", large_data),
		CASE("debian: python3, multiprocessing and asyncio [J2]", python_shares),
		CASE("debian: curl from a server inside [J2]", curl_fetches),
		CASE("debian: a small program is linked without a fault [K11]",
		     a_small_program_is_linked_without_a_fault),
		CASE("processes that the first one leaves are killed [J2]", what_is_left_is_killed),
		CASE("a fork beyond --pids fails with EAGAIN [J2]", processes_are_limited),
		CASE("a signal to lodge ends all processes [J2]", a_signal_ends_all),
	};

	return harness_main_kvm("debian", tests, sizeof(tests) / sizeof(tests[0]));
}
