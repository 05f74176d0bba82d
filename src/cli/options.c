/* SPDX-License-Identifier: MIT */
/* options.c - see options.h; what each option sets: option_table.c. */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../include/lodge.h"
#include "message.h"
#include "option_table.h"
#include "watch.h"

#define DEFAULT_MEMORY_BYTES (256ull << 20)
#define DEFAULT_SWAPPINESS   60
#define FIRST_CODE	     256 /* of long options for getopt: above every character */

static void fill_getopt_table(struct option table[RUN_OPTION_SPECS_MAX])
{
	const struct option_spec *specs = run_option_specs;

	memset(table, 0, RUN_OPTION_SPECS_MAX * sizeof(*table));
	for (int i = 0; specs[i].name; i++)
		table[i] = (struct option){
			.name = specs[i].name,
			.has_arg = !specs[i].arg	    ? no_argument
				   : specs[i].arg[0] == '[' ? optional_argument
							    : required_argument,
			.val = FIRST_CODE + i,
		};
}

/* What getopt_long did not like: ':' a missing argument, '?' the rest. */
static int complain(int code, char **argv)
{
	const char *last = argv[optind - 1];

	if (code == ':')
		message("option --%s needs an argument; see 'lodge run --help'",
			run_option_specs[optopt - FIRST_CODE].name);
	else if (optopt >= FIRST_CODE)
		message("option --%s takes no argument; see 'lodge run --help'",
			run_option_specs[optopt - FIRST_CODE].name);
	else if (optopt)
		message("unknown option '-%c'; see 'lodge run --help'", optopt);
	else
		message("unknown option '%s'; see 'lodge run --help'", last);
	return -EINVAL;
}

static int parse_options(struct run_options *o, int argc, char **argv)
{
	struct option table[RUN_OPTION_SPECS_MAX];
	int code, err;

	fill_getopt_table(table);
	opterr = 0;
	/* '+': the first word that is no option is the program, and the rest is its own. */
	while ((code = getopt_long(argc, argv, "+:", table, NULL)) != -1) {
		if (code < FIRST_CODE)
			return complain(code, argv);
		err = run_option_specs[code - FIRST_CODE].set(o, optarg);
		if (err)
			return err;
	}
	o->program = argv + optind;
	return 0;
}

int run_options_parse(struct run_options *o, int argc, char **argv)
{
	int err;

	*o = (struct run_options){.memory_bytes = DEFAULT_MEMORY_BYTES,
				  .swappiness = DEFAULT_SWAPPINESS,
				  .grace_ns = WATCH_GRACE_NS,
				  .traps = LODGE_TRAPS_AUTO};
	/* No list can have more entries than there are words. */
	o->env = calloc((size_t)argc + 1, sizeof(*o->env));
	o->inject = calloc((size_t)argc + 1, sizeof(*o->inject));
	o->swaps = calloc((size_t)argc + 1, sizeof(*o->swaps));
	if (!o->env || !o->inject || !o->swaps) {
		message("out of memory");
		return -ENOMEM;
	}
	const char *traps = getenv("LODGE_TRAPS");
	if (traps && run_option_set_traps(o, traps))
		return -EINVAL;
	const char *patch = getenv("LODGE_PATCH");
	if (patch && run_option_set_patch(o, patch))
		return -EINVAL;
	err = parse_options(o, argc, argv);
	if (err || o->help || o->version)
		return err;
	if (!*o->program) {
		message("no program given; see 'lodge run --help'");
		return -EINVAL;
	}
	if ((o->saver.base || o->saver.compress) && !o->saver.file && !o->saver.control) {
		message("--snapshot-%s without --snapshot or --control", o->saver.base ? "base" : "compress");
		return -EINVAL;
	}
	if (!o->saver.file == !(o->saver.after_ns || o->saver.signo || o->saver.call[0]))
		return 0;
	message("--snapshot and --snapshot-at go together");
	return -EINVAL;
}

void run_options_drop_swaps(struct run_options *o)
{
	while (o->nr_swaps)
		free(o->swaps[--o->nr_swaps].path);
}

void run_options_destroy(struct run_options *o)
{
	mounts_free(&o->mounts);
	run_options_drop_swaps(o);
	free(o->swaps);
	free(o->inject);
	free(o->env);
}

void run_options_help(FILE *out)
{
	fputs("usage: lodge run [OPTIONS] [--] PROGRAM [ARGUMENTS...]\n\n"
	      "Runs an x86-64 Linux program, or a script whose interpreter is one, in an address space "
	      "of its own.\n"
	      "It sees the system's directories, its own and the working directory, and writes nothing but "
	      "its "
	      "output and its own /tmp,\nunless --ro and --rw say so.\n\n",
	      out);
	for (const struct option_spec *spec = run_option_specs; spec->name; spec++) {
		char left[40];

		snprintf(left, sizeof(left), "--%s%s%s", spec->name,
			 spec->arg && spec->arg[0] != '[' ? " " : "", spec->arg ? spec->arg : "");
		if (strlen(left) > 22)
			fprintf(out, "  %s\n%24s %s\n", left, "", spec->help);
		else
			fprintf(out, "  %-22s %s\n", left, spec->help);
	}
	fputs("\nSIZE is a number with K, M, G or T behind it (powers of 1024), or plain bytes.\n\n"
	      "Exit status: the program's own; 128+N if signal N ended it; 124 after a timeout; 125 if lodge "
	      "failed;\n"
	      "126 if the program cannot be executed here; 127 if it was not found.\n",
	      out);
}

/* True when "NAME=..." is named by one of --env. */
static bool overridden(const struct run_options *o, const char *variable)
{
	size_t length = strcspn(variable, "=") + 1;

	for (const char **e = o->env; *e; e++)
		if (!strncmp(*e, variable, length))
			return true;
	return false;
}

/* The last of several --env for one name wins. */
static bool overridden_later(const char *const *env)
{
	struct run_options rest = {.env = (const char **)env + 1};

	return overridden(&rest, *env);
}

const char **run_options_environment(const struct run_options *o)
{
	size_t n = 1;
	const char **result, **next;

	for (char **e = environ; e && *e; e++)
		n++;
	for (const char **e = o->env; *e; e++)
		n++;
	next = result = calloc(n, sizeof(*result));
	if (!result)
		return NULL;
	for (char **e = environ; e && *e; e++)
		if (!overridden(o, *e))
			*next++ = *e;
	for (const char **e = o->env; *e; e++)
		if (!overridden_later(e))
			*next++ = *e;
	return result;
}
