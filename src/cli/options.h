/* SPDX-License-Identifier: MIT */
/*
 * options.h - what `lodge run` was asked to do.
 *
 * One table (option_table.h) holds every option with its help text, so that `lodge run --help` shows what is accepted and
 * nothing else.
 */
#ifndef LODGE_CLI_OPTIONS_H
#define LODGE_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "mounts.h"
#include "saver.h"
#include "swap_option.h"

struct run_options {
	uint64_t memory_bytes;
	uint64_t memory_high_bytes; /* 0: not given */
	uint32_t swappiness;
	uint32_t fault_around_pages; /* 0: the library's default */
	uint64_t timeout_ns;	     /* 0: none */
	uint64_t grace_ns;	     /* after a SIGTERM that the program takes; 0: no end */
	const char *timeout_text;    /* as it was given */
	unsigned int trace;	     /* enum lodge_trace */
	unsigned int max_pids;	     /* 0: the library's default */
	uint64_t hugepages;	     /* of 2 MiB */
	unsigned int nodes;	     /* 0: the library's default */
	int give_back_ms;	     /* as lodge_host_options has it */
	int kmem;		     /* enum lodge_kmem */
	unsigned int dump;	     /* enum lodge_dump bits */
	int thp;		     /* enum lodge_thp */
	int traps;		     /* enum lodge_traps */
	int patch;		     /* enum lodge_patch */
	int net;		     /* enum lodge_net */
	int oom;		     /* enum lodge_oom */
	bool has_user;
	uint32_t user[2]; /* and group */
	bool stats, maps, aslr, zero_ahead, collapse, help, version;
	const char *stats_file;
	struct saver_request saver;
	struct mounts mounts;	   /* that were asked for */
	const char *root, *cwd;	   /* NULL: not given */
	const char **inject;	   /* NULL-terminated; owned, the strings are argv's: rules */
	struct swap_option *swaps; /* owned */
	unsigned int nr_swaps;
	struct compress_option compress;
	const char **env; /* likewise: K=V each */
	char **program;	  /* NULL-terminated: the program and its arguments, in argv */
};

/* argv[0] is "run". 0; on failure -EINVAL or -ENOMEM, and the user has been told. Destroy in either case. */
int run_options_parse(struct run_options *o, int argc, char **argv);
void run_options_destroy(struct run_options *o);

/* Forgets the swap files that were named so far. */
void run_options_drop_swaps(struct run_options *o);

/* Usage, one line per option, exit statuses. */
void run_options_help(FILE *out);

/*
 * environ with the K=V of --env put over it: an array to be freed, its strings are shared. NULL: no memory.
 */
const char **run_options_environment(const struct run_options *o);

#endif
