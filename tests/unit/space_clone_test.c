/* SPDX-License-Identifier: MIT */
/* Spaces that run, copied while they run; copies that go on by themselves; spaces that go back to a copy. */
#include "../../include/lodge.h"
#include "spaces.h"

/* --- cases ------------------------------------------------------------------------------------------- */

static void each_writes_for_itself(void **state)
{
	struct run r = {0}, c = {0};

	(void)state;
	talk(&r, "4");
	clone_of(&c, &r);
	start(&c);
	say(&c, "w 2\n");
	hear(&c, "done\n");
	say(&r, "w 3\n");
	hear(&r, "done\n");
	say(&c, "s\n");
	hear(&c, "2524800\n");
	say(&r, "s\n");
	hear(&r, "3524800\n");
	quit(&r);
	say(&c, "s\n");
	hear(&c, "2524800\n");
	quit(&c);
}

#define CLONES 12

static void snapshot_serves_many(void **state)
{
	struct run r = {0}, snapshot = {0}, c[CLONES] = {{0}};
	char line[LINE_BYTES];

	(void)state;
	talk(&r, "16");
	clone_of(&snapshot, &r);
	say(&r, "w 1000\n"); /* which no clone of the snapshot sees */
	hear(&r, "done\n");
	quit(&r);
	for (unsigned int i = 0; i < CLONES; i++) {
		clone_of(&c[i], &snapshot);
		start(&c[i]);
		snprintf(line, sizeof(line), "w %u\n", i);
		say(&c[i], line);
	}
	for (unsigned int i = 0; i < CLONES; i++) {
		hear(&c[i], "done\n");
		say(&c[i], "s\n");
		snprintf(line, sizeof(line), "%u\n", 8390656 + i * 1000000);
		hear(&c[i], line);
	}
	for (unsigned int i = 0; i < CLONES; i++)
		quit(&c[i]);
	destroy(&snapshot);
}

static void goes_back(void **state)
{
	struct lodge_error err = {""};
	struct run r = {0}, snapshot = {0};
	struct lodge_stats stats;

	(void)state;
	talk(&r, "4");
	say(&r, "v 5\n");
	hear(&r, "5 5, attached 2, mode 640\n");
	clone_of(&snapshot, &r);
	for (int i = 0; i < 20; i++) {
		say(&r, "w 1000\nv 7\n");
		hear(&r, "done\n");
		hear(&r, "12 12, attached 2, mode 640\n");
		if (!i)
			assert_int_equal(lodge_space_reset(r.space, snapshot.space, &err), -EBUSY);
		say(&r, "s\nq\n");
		hear(&r, "1000524800\n");
		join(&r);
		assert_int_equal(lodge_space_reset(r.space, snapshot.space, &err), 0);
		lodge_space_stats(r.space, &stats);
		assert_int_equal(stats.limit_pages, MEMORY / 4096);
		start(&r);
		say(&r, "s\n");
		hear(&r, "524800\n");
	}
	quit(&r);
	destroy(&snapshot);
}

static void what_was_written(void **state)
{
	struct lodge_dirty d[64];
	struct run r = {0}, snapshot = {0}, other = {0};
	unsigned int found = 0;

	(void)state;
	talk(&r, "8");
	clone_of(&snapshot, &r);
	clone_of(&other, &snapshot); /* never ran, and is what it is a clone of */
	assert_int_equal(lodge_space_dirty(other.space, snapshot.space, d, 64, NULL), 0);
	say(&r, "w 700\n");
	hear(&r, "done\n");
	int64_t nr = lodge_space_dirty(r.space, snapshot.space, d, 64, NULL);
	assert_in_range(nr, 1, 64);
	for (int64_t i = 0; i < nr; i++) {
		assert_true(i == 0 || d[i].address > d[i - 1].address);
		assert_int_equal(d[i].pid, getpid());
		assert_in_range(d[i].pages, 1, 700);
		found += d[i].pages ==
			 700; /* all else is what a read and a line need: the heap, the stack, libc's data */
	}
	assert_int_equal(found, 1);
	assert_in_range(nr, 1, 8);
	assert_in_range(lodge_space_dirty(r.space, snapshot.space, NULL, 0, NULL), 1, 8);
	assert_int_equal(lodge_space_dirty(r.space, r.space, d, 64, NULL), -EINVAL);
	quit(&r);
	destroy(&other);
	destroy(&snapshot);
}

/* Copies a program at `cuts` points of its run; it and all of its copies print the same. */
static void cut(const char *const *words, const char *line, unsigned int cuts, uint64_t seed)
{
	struct run r = {0}, c[4] = {{0}};
	uint64_t rng = random_seed(seed);
	unsigned int made = 0;

	create(&r, words);
	start(&r);
	for (unsigned int i = 0; i < cuts; i++) {
		const struct timespec pause = {.tv_nsec = (long)random_below(&rng, 40000000)};
		struct lodge_error err = {""};
		nanosleep(&pause, NULL);
		open_pipes(&c[made]);
		int ret = lodge_space_clone(r.space, c[made].fds, &c[made].space, &err);
		if (ret)
			assert_string_equal(err.text, "the program has ended");
		if (ret)
			destroy(&c[made]);
		else
			start(&c[made++]);
	}
	hear(&r, line);
	for (unsigned int i = 0; i < made; i++) {
		hear(&c[i], line);
		join(&c[i]);
		destroy(&c[i]);
	}
	join(&r);
	destroy(&r);
}

static void threads_go_on(void **state)
{
	static const char *const one[] = {"sum", "1", "4", "40", NULL}, *const three[] = {"sum", "3", "9",
											  "20", NULL};

	(void)state;
	for (uint64_t seed = 0; seed < 3; seed++) {
		cut(one, "sum 5971ad39d3b0a664 of 40 turns\n", 2, seed);
		cut(three, "sum c475ab095464a3c8 of 60 turns\n", 3, seed);
	}
}

static void trees_go_on(void **state)
{
	static const char *const words[] = {"tree", "3", "400", NULL};

	(void)state;
	for (uint64_t seed = 0; seed < 3; seed++)
		cut(words, "number 7921f09c04254222, 3 children, signals heard\n", 3, seed);
}

static void sharers_go_on(void **state)
{
	static const char *const words[] = {"share", "3", "1500", NULL};

	(void)state;
	for (uint64_t seed = 0; seed < 3; seed++)
		cut(words, SHARE_LINE, 3, seed);
}

/* What was shared within the program is not shared with its clone. */
static void shared_is_its_own(void **state)
{
	struct run r = {0}, snapshot = {0}, c = {0};

	(void)state;
	talk(&r, "1");
	say(&r, "m 5\n");
	hear(&r, "5 5\n");
	clone_of(&snapshot, &r);
	say(&r, "m 100\n");
	hear(&r, "105 105\n");
	clone_of(&c, &snapshot);
	start(&c);
	say(&c, "m 1\n");
	hear(&c, "6 6\n");
	say(&r, "m 1000\n");
	hear(&r, "1105 1105\n");
	say(&r, "q\n");
	join(&r);
	assert_int_equal(lodge_space_reset(r.space, snapshot.space, NULL), 0);
	start(&r);
	say(&r, "m 2\n");
	hear(&r, "7 7\n");
	quit(&r);
	quit(&c);
	destroy(&snapshot);
}

static void what_cannot(void **state)
{
	static const char *const words[] = {"talk", "4", NULL};
	struct lodge_error err = {""};
	struct lodge_space_options o;
	struct lodge_space *clone = NULL;
	struct run r = {0};

	(void)state;
	if (!host)
		skip();
	lodge_space_options_init(&o);
	o.traps = traps_wanted();
	assert_int_equal(lodge_space_create(host, &o, &r.space, NULL), 0);
	assert_int_equal(lodge_space_clone(r.space, NULL, &clone, &err), -EINVAL);
	assert_string_equal(err.text, "no program is loaded");
	lodge_space_destroy(r.space);
	create(&r, words);
	start(&r);
	hear(&r, "ready\n");
	say(&r, "k\n");
	hear(&r, "done\n");
	assert_int_equal(lodge_space_clone(r.space, NULL, &clone, &err), -ENOTSUP);
	assert_non_null(strstr(err.text, "descriptor 3 (socket:["));
	say(&r, "c\n");
	hear(&r, "done\n");
	assert_int_equal(lodge_space_clone(r.space, NULL, &clone, &err), 0);
	lodge_space_destroy(clone);
	say(&r, "s\nq\n");
	hear(&r, "524800\n");
	join(&r);
	assert_int_equal(lodge_space_clone(r.space, NULL, &clone, &err), -EINVAL);
	assert_string_equal(err.text, "the program has ended");
	destroy(&r);
}

#define CASE(title, fn)                                                                        \
	{                                                                                      \
		.name = title, .test_func = fn, .setup_func = setup, .teardown_func = teardown \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE("clone: a program that runs goes on as two, each with memory of its own [M4]",
		     each_writes_for_itself),
		CASE("clone: one that does not run is a snapshot, and serves many [M1][M4]",
		     snapshot_serves_many),
		CASE("reset: a space goes back, twenty times [M1]", goes_back),
		CASE("dirty: the pages that were written, and no more than those that a few calls need [M4]",
		     what_was_written),
		CASE("clone: threads cut at random points give the same sum, all of them [M1]",
		     threads_go_on),
		CASE("clone: so do processes with pipes and signals between them [M1]", trees_go_on),
		CASE("clone: processes that share memory and a memfd, cut at random points, end alike [M1]",
		     sharers_go_on),
		CASE("clone: shared memory is shared within a copy, and not with it [M1][J13]",
		     shared_is_its_own),
		CASE("clone: what cannot be cloned is named, and nothing has happened [M1]", what_cannot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
