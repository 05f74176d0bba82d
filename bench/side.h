/* SPDX-License-Identifier: MIT */
/* side.h - runs one side of a comparison once, in a process of its own. */
#ifndef LODGE_BENCH_SIDE_H
#define LODGE_BENCH_SIDE_H

#include "cases.h"

/* Where things are. */
struct places {
	const char *lodge;    /* the command */
	const char *programs; /* the directory of what it runs */
	const char *results;  /* the file of results */
};

struct reading {
	double wall_us; /* from before the process was made until it had been waited for */
	double cpu_ms; /* of the processor, per second from its first output until then; its children's too */
	char output[2048]; /* its standard output, cut */
};

#define SIDE_NOT_OFFERED 77 /* what such a program ends with */

/* 0; SIDE_NOT_OFFERED: the machine has not what it takes, and the user was told; -1 when it did not end by itself with status 0, likewise. */
int side_run(const struct places *places, const struct side *side, struct reading *reading);

/* True when its program is there. */
bool side_is_built(const struct places *places, const struct side *side);

#endif
