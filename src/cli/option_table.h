/* SPDX-License-Identifier: MIT */
/*
 * option_table.h - the options of `lodge run`: a row each with its name, its help text and what it sets.
 */
#ifndef LODGE_CLI_OPTION_TABLE_H
#define LODGE_CLI_OPTION_TABLE_H

#include "options.h"

/* arg is NULL for an option without an argument, and begins with '[' where it may be left out. set: 0, or -EINVAL when the user has been told. */
struct option_spec {
	const char *name, *arg, *help;
	int (*set)(struct run_options *o, const char *arg);
};

#define RUN_OPTION_SPECS_MAX 64

/* In the order in which help shows them; the last one's name is NULL. */
extern const struct option_spec run_option_specs[];

/* What a variable of the environment may choose as well. */
int run_option_set_traps(struct run_options *o, const char *arg);
int run_option_set_patch(struct run_options *o, const char *arg);

#endif
