/* SPDX-License-Identifier: MIT */
/*
 * same_test.c - programs that must print the same and end the same with and without lodge.
 *
 * One test per program of the guest directory whose name begins with "same_". A program gets an empty
 * directory, fresh for each of its two runs and writable in both, as its working directory and only argument
 * ".".
 */
#include "harness.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void enter(void *arg)
{
	if (chdir(arg))
		_exit(77);
}

static char *absolute(const char *path)
{
	char *full = realpath(path, NULL);

	if (!full)
		fail_msg("%s: %s", path, strerror(errno));
	return full;
}

static const char *fresh_dir(const char *program, const char *kind)
{
	const char *name = strrchr(program, '/') + 1, *dir;
	char path[128];

	snprintf(path, sizeof(path), "%.80s-%s", name, kind);
	dir = scratch_path(path);
	assert_int_equal(mkdir(dir, 0755), 0);
	return dir;
}

static void prints_and_ends_the_same(void **state)
{
	char *program = absolute(*state), *lodge = absolute(lodge_path());
	const char *native_dir = fresh_dir(program, "native"), *lodge_dir = fresh_dir(program, "lodge");
	struct command native = {.argv = {program, "."}, .in_child = enter, .arg = (void *)native_dir};
	struct command guest = {.argv = {lodge, "run", "--rw", lodge_dir, program, "."},
				.in_child = enter,
				.arg = (void *)lodge_dir};
	struct outcome n = command_run(&native), l = command_run(&guest);

	expect_same(&n, &l);
	outcome_free(&n);
	outcome_free(&l);
	free(program);
	free(lodge);
}

int main(void)
{
	struct CMUnitTest *tests;
	glob_t found;
	int failed;

	if (glob(guest_path("same_*"), 0, NULL, &found)) {
		fprintf(stderr, "FAIL same: no programs %s\n", guest_path("same_*"));
		return 1;
	}
	tests = calloc(found.gl_pathc, sizeof(*tests));
	for (size_t i = 0; i < found.gl_pathc; i++)
		tests[i] = (struct CMUnitTest){.name = strrchr(found.gl_pathv[i], '/') + 1,
					       .test_func = prints_and_ends_the_same,
					       .initial_state = found.gl_pathv[i]};
	failed = harness_main_kvm("same", tests, found.gl_pathc);
	free(tests);
	globfree(&found);
	return failed;
}
