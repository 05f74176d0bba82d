/* SPDX-License-Identifier: MIT */
/* swap_option.h - what --swap was given: FILE[:SIZE][:PRIORITY]. */
#ifndef LODGE_CLI_SWAP_OPTION_H
#define LODGE_CLI_SWAP_OPTION_H

#include <stdint.h>

struct swap_option {
	char *path;	/* owned */
	uint64_t bytes; /* 0: not given */
	int priority;	/* -1: not given */
};

/*
 * ":SIZE", "::PRIORITY" or ":SIZE:PRIORITY" at the end are taken off; colons that are not followed by those belong to the path.
 * 0, or -EINVAL (no path) or -ENOMEM and nothing is to be freed.
 */
int swap_option_parse(struct swap_option *s, const char *arg);

#endif
