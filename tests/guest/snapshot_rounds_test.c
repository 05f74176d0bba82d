/* SPDX-License-Identifier: MIT */
/*
 * Real programs saved at random points of their run and gone on with by another lodge, round after round: the output is that of a run that nobody
 * has saved. ROUNDS (1) says how many of each; with many it is a soak test (make soak-snapshots), and they go on in less memory than they use as
 * well. SEED: where the points are.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "saving.h"

#define AWK_LINES 150000
#define MAX_ARGS  8

/* A program, and in which memory it runs: NULL: enough of it. */
struct work {
	const char *words[MAX_ARGS];
	const char *memory;
};

static uint64_t rng;
static unsigned int rounds = 1;

static uint64_t random_number(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng;
}

/* Of one of the harness's buffers, for good. */
static const char *keep(const char *text)
{
	static char kept[8][300];
	static unsigned int next;

	return strcpy(kept[next++ % 8], text);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void sleep_ms(uint64_t ms)
{
	const struct timespec ts = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};

	nanosleep(&ts, NULL);
}

static void add_memory(struct command *c, const char *memory)
{
	static char swap[300];

	if (!memory)
		return;
	snprintf(swap, sizeof(swap), "%s:64M", scratch_path("swap"));
	command_add(c, "--memory");
	command_add(c, memory);
	command_add(c, "--swap");
	command_add(c, swap);
}

static struct command running_of(const struct work *w)
{
	struct command c = saving_run();

	add_memory(&c, w->memory);
	command_add(&c, "--");
	for (const char *const *word = w->words; *word; word++)
		command_add(&c, *word);
	return c;
}

/* It has ended, or its output is not that of a run without snapshots. */
static void expect_like(struct outcome *o, const struct outcome *native, const char *what, unsigned int round)
{
	if (o->status || strcmp(o->out, native->out) != 0)
		print_error("# %s, round %u: status %d\n%s", what, round, o->status, o->err);
	expect_status(o, 0);
	assert_string_equal(o->out, native->out);
	outcome_free(o);
}

/* How long a run takes here and now. */
static uint64_t measure(const struct work *w, const struct outcome *native)
{
	struct command c = running_of(w);
	uint64_t begin = now_ms();
	struct outcome o = command_run(&c);

	expect_like(&o, native, "not saved", 0);
	return now_ms() - begin;
}

/* Whether there was anything to go on with. */
static bool one_round(const struct work *w, const struct outcome *native, uint64_t most_ms,
		      unsigned int round)
{
	static const char *const ways[] = {"lazy", "eager", "record", "prefetch"};
	struct command run = running_of(w),
		       c = {.argv = {lodge_path(), "restore", "--load", ways[round % 4]}};

	unlink(scratch_path("control"));
	unlink(scratch_path("snap"));
	struct running r = command_start(&run);
	while (access(scratch_path("control"), F_OK) && !kill(r.pid, 0))
		sleep_ms(1);
	sleep_ms(random_number() % most_ms);
	bool saved = saving_save();
	struct outcome o = command_wait(&r, DEFAULT_LIMIT_S);
	expect_like(&o, native, "saved", round);
	if (!saved)
		return false;
	add_memory(&c, w->memory);
	command_add(&c, scratch_path("snap"));
	o = command_run(&c);
	expect_like(&o, native, "gone on", round);
	return true;
}

static void all_rounds(const struct work *w)
{
	struct command alone = {.argv = {NULL}};
	unsigned int nr = 0, tries;

	for (const char *const *word = w->words; *word; word++)
		command_add(&alone, *word);
	struct outcome native = command_run(&alone);
	expect_status(&native, 0);
	assert_true(native.out_bytes > 0);
	uint64_t most_ms = measure(w, &native);
	for (tries = 0; nr < rounds && tries < 8 * rounds; tries++) {
		if (one_round(w, &native, most_ms + 1, tries))
			nr++;
		else /* the machine has become faster */
			most_ms -= most_ms / 4;
	}
	print_message("# %u runs, %u saved and gone on with\n", tries, nr);
	assert_int_equal(nr, rounds);
	outcome_free(&native);
}

/* --- programs --------------------------------------------------------------------------------------------- */

static void write_numbers(const char *path)
{
	char *text = malloc(AWK_LINES * 8);
	size_t n = 0;

	for (int i = 0; i < AWK_LINES; i++)
		n += (size_t)sprintf(text + n, "%d\n", i);
	write_file(path, text, n, 0600);
	free(text);
}

static void awk_in(const char *memory)
{
	const struct work w = {{"/usr/bin/busybox", "awk",
				"{a[$1 % 20000] += $1; s = (s * 31 + $1) % 1000003} "
				"END {for (i in a) t += a[i]; print s, t}",
				keep(scratch_path("numbers")), NULL},
			       memory};

	if (access("/usr/bin/busybox", X_OK))
		skip();
	write_numbers(scratch_path("numbers"));
	all_rounds(&w);
}

static void sqlite_in(const char *memory)
{
	static const char script[] =
		"create table t(a integer primary key, b text, c blob); begin;\n"
		"with recursive n(i) as (select 1 union all select i + 1 from n where i < 30000)\n"
		"insert into t select i, hex(i * 7919), zeroblob(i % 500) from n;\n"
		"create index x on t(b); update t set b = b || 'x' where a % 3 = 0; delete from t where a % "
		"7 = 0;\n"
		"savepoint s; delete from t where a % 2; rollback to s; commit;\n"
		"select count(*), sum(length(b)), sum(length(c)), max(b) from t; pragma integrity_check;\n";
	char command[300];
	const struct work w = {{"/usr/bin/sqlite3", ":memory:", command, NULL}, memory};

	if (access("/usr/bin/sqlite3", X_OK))
		skip();
	write_file(scratch_path("script"), script, strlen(script), 0600);
	snprintf(command, sizeof(command), ".read %s", scratch_path("script"));
	all_rounds(&w);
}

static void sums_in(const char *memory)
{
	const struct work w = {{keep(guest_path("snap_work")), "sum", "3", "12", "40", NULL}, memory};

	all_rounds(&w);
}

static void awk(void **state)
{
	(void)state;
	awk_in(NULL);
}

static void sqlite(void **state)
{
	(void)state;
	sqlite_in(NULL);
}

static void sums(void **state)
{
	(void)state;
	sums_in(NULL);
}

static void awk_on_swap(void **state)
{
	(void)state;
	awk_in("3M");
}

static void sqlite_on_swap(void **state)
{
	(void)state;
	sqlite_in("12M");
}

static void sums_on_swap(void **state)
{
	(void)state;
	sums_in("16M");
}

int main(void)
{
	struct CMUnitTest tests[] = {
		CASE("snapshot rounds: awk over a large input [O1]", awk),
		CASE("snapshot rounds: sqlite in a transaction [O1]", sqlite),
		CASE("snapshot rounds: threads that share a sum [O1]", sums),
		CASE("snapshot rounds: awk, most of it on swap [O1]", awk_on_swap),
		CASE("snapshot rounds: sqlite, most of it on swap [O1]", sqlite_on_swap),
		CASE("snapshot rounds: threads, some of their memory on swap [O1]", sums_on_swap),
	};
	const char *many = getenv("ROUNDS"), *seed = getenv("SEED");

	rounds = many && atoi(many) > 0 ? (unsigned int)atoi(many) : rounds;
	uint64_t number = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
	rng = number * 0x9e3779b97f4a7c15ull | 1;
	print_message("# SEED=%lu ROUNDS=%u\n", number, rounds);
	return harness_main_kvm("snapshot_rounds", tests, rounds > 1 ? sizeof(tests) / sizeof(tests[0]) : 3);
}
