/* SPDX-License-Identifier: MIT */
/*
 * result.h - the samples of one variant: a table for people and a line of JSON for programs.
 *
 * The file of results holds one object per line and variant: case, variant, unit, samples (per side), and under
 * the name of each side its median. All numbers are costs: lower is better.
 */
#ifndef LODGE_BENCH_RESULT_H
#define LODGE_BENCH_RESULT_H

#include "cases.h"

#define MAX_SAMPLES 64

struct series {
	double value[MAX_SAMPLES];
	unsigned int nr; /* 0: the machine does not offer this side */
};

struct result {
	const struct group *group;
	const char *variant;
	struct series series[MAX_SIDES];
};

/* Sorts the samples. */
void result_print(struct result *r);

/* Appends a line; the samples are sorted. 0 or -1. */
int result_append(const struct result *r, const char *file);

/* Empties the file, or takes out the lines of one case (NULL: all). 0 or -1. */
int result_clear(const char *file, const char *case_name);

#endif
