/* SPDX-License-Identifier: MIT */
/*
 * stress_test.c - Debian's stress-ng, which checks what it reads back, and sqlite3 on a mapped database.
 */
#include "harness.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static struct outcome stress(const char *memory, const char *const *words)
{
	struct command c = lodge_command("--memory", memory, "--rw", scratch_dir(), "stress-ng",
					 "--temp-path", scratch_dir(), "-t", "1", "--verify", NULL);

	for (; *words; words++)
		command_add(&c, *words);
	return command_run(&c);
}

/* Stressors count what they do in shared memory with a checksum; a failed one, or a corrupt count, is in the exit status. */
static void expect_success(const char *memory, const char *const *words)
{
	struct outcome o = stress(memory, words);

	expect_status(&o, 0);
	assert_null(strstr(o.err, "lodge: "));
	assert_null(strstr(o.err, "fail:"));
	assert_non_null(strstr(o.err, "successful run completed"));
	outcome_free(&o);
}

#define STRESS(name, ...)                                               \
	static void name(void **state)                                  \
	{                                                               \
		static const char *const words[] = {__VA_ARGS__, NULL}; \
		(void)state;                                            \
		expect_success("512M", words);                          \
	}

STRESS(patterns, "--vm", "1", "--vm-bytes", "32M", "--vm-rw", "1", "--vm-rw-bytes", "4M")
STRESS(mappings, "--mmap", "1", "--mmap-bytes", "16M", "--mremap", "1", "--mremap-bytes", "8M")
STRESS(shared, "--msync", "1", "--msync-bytes", "4M", "--shm-sysv", "1", "--memfd", "1", "--memfd-bytes",
       "16M")
STRESS(locked, "--mlock", "1", "--mprotect", "1")
STRESS(tasks, "--fork", "1", "--pthread", "1", "--vfork", "1")
STRESS(computing, "--cpu", "1")
STRESS(signalling, "--futex", "1", "--pipe", "1", "--signal", "1", "--switch", "1")

/*
 * Two that write 80 MiB each into 96 MiB: what has the memory goes, again and again; stress-ng starts it anew, and those
 * that wait for it, and their counts, stay.
 */
static void largest_goes(void **state)
{
	static const char *const words[] = {"--bigheap", "2", NULL};
	struct outcome o = stress("96M", words);

	(void)state;
	expect_status(&o, 0);
	assert_null(strstr(o.err, "died of"));
	assert_null(strstr(o.err, "corrupted"));
	assert_non_null(strstr(o.err, "successful run completed"));
	outcome_free(&o);
}

/* A child keeps more and more, while another asks for some pages now and then: the one that keeps them goes. */
static void asker_is_spared(void **state)
{
	static const char script[] =
		"(x=0123456789abcdef; for n in 1 2 3 4 5 6 7 8 9 10 11 12; do x=$x$x; done; i=0;"
		" while :; do eval v$i=\\$x; i=$((i+1)); done) & big=$!; "
		"(while :; do y=$y$y.; [ ${#y} -gt 300000 ] && y=; done) & small=$!; "
		"wait $big; echo $?; kill $small; wait $small; echo $?";
	struct outcome o = lodge_run("--memory", "64M", "dash", "-c", script, NULL);

	(void)state;
	expect_status(&o, 0);
	assert_string_equal(o.out, "137\n143\n");
	outcome_free(&o);
}

/* Some MB are written by one program, changed through the mapping by another, compacted by a third, and right for sqlite itself. */
static void mapped_database(void **state)
{
	static const char fill[] =
		"CREATE TABLE t(i INTEGER PRIMARY KEY, s);"
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<20000) "
		"INSERT INTO t SELECT i, printf('%0200d', i) FROM n;"
		"CREATE INDEX x ON t(s); SELECT count(*), sum(length(s)) FROM t;";
	static const char change[] =
		"UPDATE t SET s=s||i WHERE i%3=0; DELETE FROM t WHERE i%5=0; VACUUM;"
		"SELECT count(*), sum(length(s)), max(s) FROM t; PRAGMA integrity_check;";
	static const char check[] = "SELECT count(*), sum(length(s)), max(s) FROM t; PRAGMA integrity_check;";
	const char *const steps[] = {fill, change, check};
	char ours[160], theirs[160], tmpdir[160], text[700];

	(void)state;
	snprintf(ours, sizeof(ours), "%s/ours.db", scratch_dir());
	snprintf(tmpdir, sizeof(tmpdir), "SQLITE_TMPDIR=%s", scratch_dir());
	snprintf(theirs, sizeof(theirs), "%s/theirs.db", scratch_dir());
	for (unsigned int i = 0; i < 3; i++) {
		snprintf(text, sizeof(text), "PRAGMA mmap_size=268435456;%s", steps[i]);
		struct outcome native = native_run("sqlite3", theirs, text, NULL);
		struct outcome o =
			lodge_run("--rw", scratch_dir(), "--env", tmpdir, "sqlite3", ours, text, NULL);
		expect_status(&native, 0);
		expect_same(&native, &o);
		outcome_free(&native);
		outcome_free(&o);
	}
	struct outcome native = native_run("sqlite3", ours, check, NULL);
	expect_status(&native, 0);
	assert_non_null(strstr(native.out, "\nok\n"));
	outcome_free(&native);
}

int main(void)
{
	struct CMUnitTest tests[] = {
		CASE("stress-ng: patterns in memory [J1]", patterns),
		CASE("stress-ng: areas mapped, moved and resized [J10]", mappings),
		CASE("stress-ng: memory that is shared over forks and with files [J2]", shared),
		CASE("stress-ng: locked and protected pages [H11]", locked),
		CASE("stress-ng: processes and threads [J2]", tasks),
		CASE("stress-ng: every method of its processor stressor [J2]", computing),
		CASE("stress-ng: futexes, pipes, signals and switches [J2]", signalling),
		CASE("out of memory: what has the memory goes, and nobody else [J2]", largest_goes),
		CASE("out of memory: a small parent outlives its child [J2]", asker_is_spared),
		CASE("sqlite3: a mapped database [J1]", mapped_database),
	};

	return harness_main_kvm("stress", tests, sizeof(tests) / sizeof(tests[0]));
}
