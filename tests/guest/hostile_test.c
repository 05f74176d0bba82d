/* SPDX-License-Identifier: MIT */
/*
 * hostile_test.c - programs that try what they must not: each dies of the signal Linux would send, and lodge
 * lives.
 */
#include "harness.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define NR_CALLS 451

/* On an emulated processor each run costs a second: one call number in fifteen has to do. */
static int call_step(void)
{
	return getenv("LODGE_EMULATED") ? 15 : 1;
}

/* Some emulators lack an exception that processors have: then this is how it ends on Linux there. */
static bool ends_so_natively(const char *mode, const struct outcome *lodge)
{
	struct outcome o = native_run(guest_path("hostile"), mode, NULL);
	bool same = lodge->status == (o.signal ? 128 + o.signal : o.status);

	outcome_free(&o);
	return same;
}

/*
 * [A5 A6 B10 B11 B12 B17 B29 F9 F10 F11 K3 K4 H7] The modes and their ends are hostile.c's own list. A mode
 * that may end in several ways ("-") must only leave lodge standing.
 */
static void every_attempt_ends_as_on_linux(void **state)
{
	struct outcome list = native_run(guest_path("hostile"), "list", NULL);
	unsigned int tried = 0, failed = 0;
	char name[64], end[8];
	int used;

	(void)state;
	for (const char *p = list.out; sscanf(p, "%63s %7s\n%n", name, end, &used) == 2; p += used) {
		struct outcome o =
			lodge_run("--timeout", "20", "--memory", "64M", guest_path("hostile"), name, NULL);
		int signo = atoi(end), wanted = signo ? 128 + signo : 0;
		bool either = end[0] == '-' && !o.signal && o.status != 125 && o.status != 124;

		tried++;
		if (!either && o.status != wanted && !ends_so_natively(name, &o)) {
			print_error("%s: status %d signal %d, expected %d\n%s", name, o.status, o.signal,
				    wanted, o.err);
			failed++;
		}
		outcome_free(&o);
	}
	outcome_free(&list);
	assert_true(tried > 70);
	assert_int_equal(failed, 0);
}

/* [B12 F9] No page of the first MiB of the kernel's text window lets a user in. */
static void no_page_of_the_kernels_text_can_be_entered(void **state)
{
	(void)state;
	for (unsigned int page = 0; page < 256; page += page < 16 ? 1 : 16) {
		char window[32];
		struct outcome o;

		snprintf(window, sizeof(window), "WINDOW=%u", page);
		o = lodge_run("--timeout", "20", "--env", window, guest_path("hostile"), "jump_kernel_pages",
			      NULL);
		expect_status(&o, 139);
		outcome_free(&o);
	}
}

/* The program owns its stdout, which is host memory here: it must not fill the machine. */
static void limit_file_size(void *arg)
{
	const struct rlimit limit = {64 << 20, 64 << 20};

	(void)arg;
	setrlimit(RLIMIT_FSIZE, &limit);
}

/* [P2 P3] Every call number with arguments that no program would give: lodge neither falls nor hangs. */
static void wild_arguments_to_every_call_do_not_harm_lodge(void **state)
{
	const char *seed = getenv("LODGE_SEED");
	unsigned int failed = 0;

	(void)state;
	seed = seed ? seed : "1";
	print_message("# LODGE_SEED=%s\n", seed);
	for (int nr = 0; nr < NR_CALLS; nr += call_step()) {
		char number[16];
		struct command c;
		struct outcome o;

		snprintf(number, sizeof(number), "%d", nr);
		c = lodge_command("--timeout", "0.5", "--memory", "32M", guest_path("hostile"), "wild",
				  number, seed, "64", NULL);
		c.in_child = limit_file_size;
		o = command_run(&c);
		if (o.signal || o.status == 125 || o.status == 126 || strstr(o.err, "did not end")) {
			print_error("call %d: status %d signal %d\n%s", nr, o.status, o.signal, o.err);
			failed++;
		}
		outcome_free(&o);
	}
	assert_int_equal(failed, 0);
}

static void memory_filled_with_areas_ends_by_error_or_kill(void **state)
{
	struct outcome o =
		lodge_run("--timeout", "100", "--memory", "256M", guest_path("hostile"), "fill_areas", NULL);

	(void)state;
	/* ENOMEM at the limit on areas: the program gets its answer and lives. */
	expect_status(&o, 0);
	assert_string_equal(o.out, "survived\n");
	outcome_free(&o);
}

int main(void)
{
	struct CMUnitTest tests[] = {
		CASE("hostile: every attempt ends as on Linux [A5 A6 B11 B12 B17 B29 F9 F10 F11 K3 K4]",
		     every_attempt_ends_as_on_linux),
		CASE("hostile: no page of the kernel text can be entered [B12 F9]",
		     no_page_of_the_kernels_text_can_be_entered),
		CASE("hostile: wild arguments to every call do not harm lodge [P2 P3]",
		     wild_arguments_to_every_call_do_not_harm_lodge),
		CASE("hostile: memory filled with areas ends by error or kill",
		     memory_filled_with_areas_ends_by_error_or_kill),
	};

	return harness_main_kvm("hostile", tests, sizeof(tests) / sizeof(tests[0]));
}
