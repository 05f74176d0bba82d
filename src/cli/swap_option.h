/* SPDX-License-Identifier: MIT */
/* swap_option.h - what --swap and --swap-compress were given: FILE[:SIZE][:PRIORITY], ALGORITHM[:SIZE]. */
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

struct compress_option {
	char algorithm[8]; /* "": not given */
	uint64_t bytes;	   /* 0: not given */
};

/* 0, or -EINVAL and nothing is changed. Whether there is such an algorithm the library says. */
int compress_option_parse(struct compress_option *c, const char *arg);

#endif
