/* SPDX-License-Identifier: MIT */
/*
 * same_test.c - programs that must print the same and end the same with and without lodge.
 *
 * The programs are those of the guest directory whose name begins with "same_" (prog/case.h). Each is asked for
 * its cases, and runs once natively and once under lodge: every case is a test, which compares what the two runs
 * printed for it, and one test more compares how they ended. A program gets an empty directory, fresh for each
 * of its runs and writable, as its working directory and "." as its only argument.
 *
 * Some programs run once more with system calls that need no exit (--traps=poll), or with call sites that become jumps besides
 * (--patch=auto).
 *
 * Both runs lack the capability to map the first pages, which a program under lodge never has.
 */
#include "harness.h"

#include <errno.h>
#include <glob.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_TESTS 2048
#define LIMIT_S	  600 /* the sweeps make tens of thousands of calls */

/* One program: its two outcomes, once some test has asked for them. */
struct program {
	char *path;
	const char *traps, *patch; /* options, or NULL: the default */
	bool ran;
	struct outcome native, lodge;
};

struct same_case {
	struct program *program;
	char *title; /* as the program says it; NULL: the end of the program */
};

static struct CMUnitTest tests[MAX_TESTS];
static struct same_case cases[MAX_TESTS];
static size_t nr_tests;

/* Programs that run without the right to lock memory beyond the limit, so that there is one. */
static const char *const limited[] = {"same_locks"};

/* Programs that run a second time with --traps=poll. */
static const char *const polled[] = {"same_who", "same_signals", "same_threads", "same_processes",
				     "same_vdso"};

/* Programs that run once more with --patch=auto besides. */
static const char *const patched[] = {"same_sites", "same_who",	 "same_signals",  "same_threads",
				      "same_fork",  "same_vdso", "same_mprotect", "same_process_vm"};

/* Programs that have the loopback network. */
static const char *const networked[] = {"same_inet"};

static void enter(void *dir)
{
	prctl(PR_CAPBSET_DROP, CAP_SYS_RAWIO);
	if (chdir(dir))
		_exit(77);
}

/* Without any right: whoever says who it is inside, the sandbox gives none, so that is what is compared. */
static void enter_plain(void *dir)
{
	for (int capability = 0; prctl(PR_CAPBSET_DROP, capability) == 0; capability++)
		;
	enter(dir);
}

static void enter_limited(void *dir)
{
	prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK);
	enter(dir);
}

/* Programs that run without any right: what lodge reads and writes for them must not need one. */
static const char *const plain[] = {"same_procfs", "same_procpeer", "same_stack", "same_vdso"};

static bool is_one_of(const char *program, const char *const *names, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		if (!strcmp(strrchr(program, '/') + 1, names[i]))
			return true;
	return false;
}

#define IS_ONE_OF(program, names) is_one_of(program, names, sizeof(names) / sizeof((names)[0]))

static void (*entrance(const char *program))(void *)
{
	if (strstr(program, "/same_sweep_") || IS_ONE_OF(program, plain))
		return enter_plain;
	return IS_ONE_OF(program, limited) ? enter_limited : enter;
}

static char *absolute(const char *path)
{
	char *full = realpath(path, NULL);

	if (!full)
		fail_msg("%s: %s", path, strerror(errno));
	return full;
}

static const char *fresh_dir(const char *program, const char *kind, const char *how)
{
	const char *name = strrchr(program, '/') + 1, *dir;
	char path[128];

	snprintf(path, sizeof(path), "%.80s-%s-%s", name, kind, how);
	dir = scratch_path(path);
	assert_int_equal(mkdir(dir, 0755), 0);
	return dir;
}

static void program_run(struct program *p)
{
	char *lodge = absolute(lodge_path());
	const char *how = p->patch ? "patched" : p->traps ? "again" : "once";
	const char *native_dir = fresh_dir(p->path, "native", how),
		   *lodge_dir = fresh_dir(p->path, "lodge", how);
	struct command native = {.argv = {p->path, "."},
				 .in_child = entrance(p->path),
				 .arg = (void *)native_dir,
				 .limit_s = LIMIT_S};
	const char *net = IS_ONE_OF(p->path, networked) ? "--net=local" : "--net=none";
	struct command guest = {.argv = {lodge, "run", net, p->patch ? p->patch : net, "--rw", lodge_dir,
					 p->traps ? p->traps : "--", p->path, "."},
				.in_child = entrance(p->path),
				.arg = (void *)lodge_dir,
				.limit_s = LIMIT_S};

	p->ran = true;
	p->native = command_run(&native);
	p->lodge = command_run(&guest);
	free(lodge);
}

/* The first line that differs, from each. */
static void show_first_difference(const char *native, const char *lodge)
{
	size_t a, b;

	for (;;) {
		a = strcspn(native, "\n");
		b = strcspn(lodge, "\n");
		if (a != b || memcmp(native, lodge, a) || !native[a] || !lodge[b])
			break;
		native += a + 1;
		lodge += b + 1;
	}
	print_error("natively:    %.*s\nunder lodge: %.*s\n", (int)a, native, (int)b, lodge);
}

static void prints_the_same(void **state)
{
	struct same_case *c = *state;
	char *native, *lodge;
	bool same;

	if (!c->program->ran)
		program_run(c->program);
	native = outcome_part(c->program->native.out, c->title);
	lodge = outcome_part(c->program->lodge.out, c->title);
	if (!native)
		fail_msg("natively the program ended before this case");
	if (!lodge)
		fail_msg("under lodge the program ended before this case: %.800s", c->program->lodge.err);
	same = !strcmp(native, lodge);
	if (!same)
		show_first_difference(native, lodge);
	free(native);
	free(lodge);
	if (!same)
		fail_msg("not the same");
}

/* The exit status or signal, and what it wrote on stderr. */
static void ends_the_same(void **state)
{
	struct program *p = ((struct same_case *)*state)->program;
	struct outcome native, lodge;
	char nothing[] = "";

	if (!p->ran)
		program_run(p);
	native = p->native;
	lodge = p->lodge;
	native.out = lodge.out = nothing;
	native.out_bytes = lodge.out_bytes = 0;
	expect_same(&native, &lodge);
}

/* The test is found by `name` in the results. */
static void add_test(struct program *p, const char *name, char *title, CMUnitTestFunction function)
{
	if (nr_tests == MAX_TESTS)
		fail_msg("too many cases");
	cases[nr_tests] = (struct same_case){p, title};
	tests[nr_tests] =
		(struct CMUnitTest){.name = name, .test_func = function, .initial_state = &cases[nr_tests]};
	nr_tests++;
}

static const char *way(const struct program *p)
{
	return p->patch ? " --traps=poll --patch=auto" : p->traps ? " --traps=poll" : "";
}

/* A test for each case of the program, and one for its end. Returns whether the program named any. */
static bool add_program(struct program *p)
{
	const char *program = strrchr(p->path, '/') + 1;
	struct outcome list = native_run(p->path, "--list", NULL);
	size_t before = nr_tests;
	char *name;

	for (char *title = strtok(list.out, "\n"); title; title = strtok(NULL, "\n")) {
		if (asprintf(&name, "%s%s: %s", program, way(p), title) < 0)
			return false;
		add_test(p, name, strdup(title), prints_the_same);
	}
	outcome_free(&list);
	if (nr_tests == before || asprintf(&name, "%s%s: ends the same", program, way(p)) < 0)
		return false;
	add_test(p, name, NULL, ends_the_same);
	return true;
}

int main(void)
{
	struct program *programs;
	glob_t found;

	if (glob(guest_path("same_*"), 0, NULL, &found)) {
		fprintf(stderr, "FAIL same: no programs %s\n", guest_path("same_*"));
		return 1;
	}
	programs = calloc(3 * found.gl_pathc, sizeof(*programs));
	for (size_t i = 0; programs && i < found.gl_pathc; i++) {
		struct program *p = &programs[3 * i];
		p[0].path = p[1].path = p[2].path = absolute(found.gl_pathv[i]);
		p[1].traps = p[2].traps = "--traps=poll";
		p[2].patch = "--patch=auto";
		if (!add_program(p) || (IS_ONE_OF(p->path, polled) && !add_program(p + 1)) ||
		    (IS_ONE_OF(p->path, patched) && !add_program(p + 2))) {
			fprintf(stderr, "FAIL same: %s names no cases\n", found.gl_pathv[i]);
			return 1;
		}
	}
	globfree(&found);
	return harness_main_kvm("same", tests, nr_tests);
}
