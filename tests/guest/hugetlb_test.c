/* SPDX-License-Identifier: MIT */
/*
 * hugetlb_test.c - pages of 2 MiB from a pool: what hugefiles prints under lodge against what it printed natively.
 *
 * The native output is kept (hugefiles_native.h), because a test cannot have the machine's pool for itself.
 */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hugefiles_native.h"

#define MAX_CASES 64

static struct CMUnitTest tests[MAX_CASES];
static size_t nr_tests;
static struct outcome guest; /* of the one run */
static bool ran;

static void enter(void *dir)
{
	if (chdir(dir))
		_exit(77);
}

static void run(void)
{
	const char *dir = scratch_path("hugefiles");
	struct command c = lodge_command("--hugepages", "8", "--rw", dir, guest_path("hugefiles"), ".", NULL);

	assert_int_equal(mkdir(dir, 0755), 0);
	c.in_child = enter;
	c.arg = (void *)(uintptr_t)dir;
	guest = command_run(&c);
	ran = true;
}

/* A kernel without such files has none for us to stand on either. */
static bool host_has_huge_files(void)
{
	int fd = memfd_create("probe", MFD_HUGETLB);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void prints_as_natively(void **state)
{
	const char *title = *state;

	if (!host_has_huge_files())
		skip();
	if (!ran)
		run();
	char *native = outcome_part(hugefiles_native, title), *lodge = outcome_part(guest.out, title);
	assert_non_null(native);
	if (!lodge)
		fail_msg("the program ended before this case: %.800s", guest.err);
	assert_string_equal(lodge, native);
	free(native);
	free(lodge);
}

/* More than the memory has room for. */
static void too_many(void **state)
{
	struct command c =
		lodge_command("--memory", "64M", "--hugepages", "40", guest_path("end"), "0", NULL);
	struct outcome o = command_run(&c);

	(void)state;
	expect_status(&o, 125);
	assert_non_null(strstr(o.err, "40 pages of 2 MiB: the space's memory has room for"));
	outcome_free(&o);
}

static void no_number(void **state)
{
	struct command c = lodge_command("--hugepages", "4x", guest_path("end"), "0", NULL);
	struct outcome o = command_run(&c);

	(void)state;
	expect_status(&o, 125);
	assert_non_null(strstr(o.err, "--hugepages '4x'"));
	outcome_free(&o);
}

static void add(const char *title)
{
	char *name;

	if (nr_tests < MAX_CASES && asprintf(&name, "hugetlb: %s", title) > 0)
		tests[nr_tests++] = (struct CMUnitTest){.name = name,
							.test_func = prints_as_natively,
							.initial_state = (void *)(uintptr_t)title};
}

int main(void)
{
	struct outcome list = native_run(guest_path("hugefiles"), "--list", NULL);
	int failed;

	for (char *title = strtok(list.out, "\n"); title; title = strtok(NULL, "\n"))
		add(title);
	tests[nr_tests++] =
		(struct CMUnitTest)CASE("hugetlb: --hugepages of more than there is room for", too_many);
	tests[nr_tests++] = (struct CMUnitTest)CASE("hugetlb: --hugepages wants a number", no_number);
	failed = harness_main_kvm("hugetlb", tests, nr_tests);
	outcome_free(&list);
	if (ran)
		outcome_free(&guest);
	return failed;
}
