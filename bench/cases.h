/* SPDX-License-Identifier: MIT */
/* cases.h - what is measured: the table of benchmarks. docs/benchmarks.md says what each one means. */
#ifndef LODGE_BENCH_CASES_H
#define LODGE_BENCH_CASES_H

#include <stdbool.h>
#include <stddef.h>

#define MAX_SIDES    9
#define MAX_VARIANTS 18
#define MAX_WORDS    8

/* One program, run with or without lodge. */
struct side {
	const char *name; /* NULL: no more sides */
	bool under_lodge;
	const char *options[MAX_WORDS]; /* of `lodge run`; NULL-terminated */
	const char *program
		[MAX_WORDS]; /* a file in the directory of programs, or with its path, and its arguments; NULL-terminated */
	unsigned int
		group_mib; /* not 0: in a memory cgroup of so much; where there is none, the side is left out */
	const char *group_kind; /* of ingroup */
	const char *output;	/* what it must print when its wall time is the measure; NULL: anything */
};

/*
 * Sides that are run in turn and compared. A program that measures itself prints lines "VARIANT NUMBER"; the
 * variant * stands for all variants of the group, and those that the group does not have are ignored.
 */
struct group {
	const char *case_name;
	const char *variants[MAX_VARIANTS + 1]; /* NULL-terminated */
	const char *unit;
	bool wall; /* the measure is the wall time of the process, in us; one variant */
	bool cpu; /* the measure is what it uses of a processor from its first output to its end; one variant */
	bool needs_kvm;
	bool optional;	      /* a program that was not built is no failure */
	unsigned int samples; /* per side, after one that is not counted */
	bool counts;	      /* what is counted may be nothing: 0 is a value */
	size_t warm_bytes;    /* memory that is touched before each run, so that the machine has it at hand */
	const char *warm_file;		  /* read before each run: in the directory of programs */
	const char *cold_file;		  /* dropped from the machine's cache before each run */
	struct side sides[MAX_SIDES + 1]; /* the first one is lodge */
};

extern const struct group groups[];
extern const size_t nr_groups;

#endif
