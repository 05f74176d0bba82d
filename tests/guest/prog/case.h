/* SPDX-License-Identifier: MIT */
/*
 * case.h - programs made of named cases, each of which prints what happened.
 *
 *   PROGRAM --list     the titles, one a line
 *   PROGRAM --case N   the case of that number, from 0
 *   PROGRAM .          all of them; the output of each begins with a line "== title"
 *
 * The checklist rows that a case shows stand in brackets at the end of its title.
 */
#ifndef TESTS_GUEST_CASE_H
#define TESTS_GUEST_CASE_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NR_CASES(cases) (sizeof(cases) / sizeof((cases)[0]))

struct guest_case {
	const char *title;
	void (*run)(void);
};

/* Says the titles when it is asked for them. */
static inline bool cases_listed(int argc, char **argv, const struct guest_case *cases, size_t nr)
{
	if (argc < 2 || strcmp(argv[1], "--list"))
		return false;
	for (size_t i = 0; i < nr; i++)
		puts(cases[i].title);
	return true;
}

/* Runs the one that is named, or all. `around` runs a case, or NULL. */
static inline void cases_run(int argc, char **argv, const struct guest_case *cases, size_t nr,
			     void (*around)(void (*run)(void)))
{
	size_t one = argc > 2 && !strcmp(argv[1], "--case") ? strtoul(argv[2], NULL, 10) : nr;

	for (size_t i = 0; i < nr; i++) {
		if (one != nr && one != i)
			continue;
		printf("== %s\n", cases[i].title);
		fflush(stdout);
		if (around)
			around(cases[i].run);
		else
			cases[i].run();
		fflush(stdout);
	}
}

/* For cases_run: a case in a process of its own, with which goes what it changes. Says so when that does not end well. */
static inline void case_in_child(void (*run)(void))
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		run();
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (status)
		printf("ended with %#x\n", status);
}

#endif
