/* SPDX-License-Identifier: MIT */
/* swap_option.h - what --swap and --swap-compress were given: FILE[:SIZE][:PRIORITY], ALGORITHM[:SIZE]. */
#ifndef LODGE_CLI_SWAP_OPTION_H
#define LODGE_CLI_SWAP_OPTION_H

#include <stdint.h>

struct lodge_error;
struct lodge_host;

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

/*
 * "none" takes back what was given. 0, or -EINVAL, nothing is changed and the user has been told. Whether there is such an algorithm the
 * library says.
 */
int compress_option_parse(struct compress_option *c, const char *arg);

/*
 * Has the host do it, if it was given; memory_bytes: of which a part is taken where no size was. Errors as lodge_host_swap_compress; -EINVAL
 * also: neither a size nor memory_bytes.
 */
int compress_option_apply(const struct compress_option *c, struct lodge_host *host, uint64_t memory_bytes,
			  unsigned int nr_files, struct lodge_error *err);

#endif
