/* SPDX-License-Identifier: MIT */
/*
 * harness.h - runs commands as a user would and keeps what they said.
 *
 * The command under test is $LODGE (build/lodge), the guest programs are in $LODGE_GUESTS (build/guest).
 * Without /dev/kvm the tests of a harness_main_kvm are skipped, or fail when LODGE_REQUIRE_KVM=1. A command
 * that outlives its time limit is killed and its test fails.
 */
#ifndef TESTS_GUEST_HARNESS_H
#define TESTS_GUEST_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

#define MAX_WORDS	64
#define DEFAULT_LIMIT_S 60

struct command {
	const char *argv[MAX_WORDS]; /* NULL-terminated */
	const char *input;	     /* what stdin gives; NULL: /dev/null */
	size_t input_bytes;	     /* 0: strlen(input) */
	void (*in_child)(void *arg); /* before exec, or NULL */
	void *arg;
	int limit_s; /* 0: DEFAULT_LIMIT_S */
};

/* What a command left behind. out and err have a NUL behind their last byte. */
struct outcome {
	int status; /* exit status; -1: a signal ended it */
	int signal;
	char *out, *err;
	size_t out_bytes, err_bytes;
};

struct outcome command_run(const struct command *c);
void outcome_free(struct outcome *o);

/* A command that is still running; out and err are read ends of pipes, in is the write end of its stdin. */
struct running {
	pid_t pid;
	int in, out, err;
};

struct running command_start(const struct command *c);
/* Waits for its end, at most limit_s; the outcome holds what was left in the pipes. Closes them. */
struct outcome command_wait(struct running *r, int limit_s);
/* Reads from `out` until `text` was seen; fails the test at end of file or after the default limit. */
void command_expect(struct running *r, const char *text);

/* `lodge run WORDS...` and `WORDS...` natively; the list ends with NULL. */
struct outcome lodge_run(const char *word, ...) __attribute__((sentinel));
struct outcome native_run(const char *word, ...) __attribute__((sentinel));

/* What a program of cases (prog/case.h) printed for one of them; to be freed. NULL: it never came to it. */
char *outcome_part(const char *text, const char *title);
/* A command that begins with `lodge run`, for more words. */
struct command lodge_command(const char *word, ...) __attribute__((sentinel));
void command_add(struct command *c, const char *word);

const char *lodge_path(void);
/* The path of a guest program; one of a few static buffers, used in turn. */
const char *guest_path(const char *name);
/* A fresh directory below /var/tmp, removed with all in it at the end; static storage. */
const char *scratch_dir(void);
/* A path in scratch_dir; one of a few static buffers, used in turn. */
const char *scratch_path(const char *name);
void write_file(const char *path, const void *bytes, size_t n, mode_t mode);
/* The whole file with a NUL behind it, to be freed; NULL: cannot be read. */
char *read_file(const char *path, size_t *bytes);

/* Fail the test, showing what the command said. */
void expect_status(const struct outcome *o, int status);
/* One line on stderr that begins with "lodge: ", nothing on stdout. */
void expect_refused(const struct outcome *o, int status);
/* Same stdout, same end; and the same stderr apart from lodge's own lines. */
void expect_same(const struct outcome *native, const struct outcome *lodge);

bool json_valid(const char *text);

/* A test with its title; the checklist rows that it shows stand in brackets at the end. */
#define CASE(title, function)                        \
	{                                            \
		.name = title, .test_func = function \
	}

/* In the place of cmocka_run_group_tests_name. */
int harness_main(const char *name, struct CMUnitTest *tests, size_t nr);
int harness_main_kvm(const char *name, struct CMUnitTest *tests, size_t nr);

#endif
