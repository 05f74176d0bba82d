/* SPDX-License-Identifier: MIT */
/*
 * main.c - the lodge command: finds the subcommand.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "../../include/lodge.h"
#include "command.h"
#include "message.h"
#include "options.h"

static int command_help(int argc, char **argv);

static const struct command {
	const char *name, *help;
	int (*run)(int argc, char **argv);
} commands[] = {
	{"run", "run a program", command_run},
	{"restore", "go on from a snapshot", command_restore},
	{"snapshot", "describe a snapshot, or have a run saved into one", command_snapshot},
	{"doctor", "say whether programs can run on this machine, and what is missing", command_doctor},
	{"help", "show this text, or with 'run' the options of lodge run", command_help},
};

#define NR_COMMANDS (sizeof(commands) / sizeof(commands[0]))

void command_prepare_process(void)
{
	struct rlimit files;

	/* A write for the program that passes a limit on file sizes must fail, not end us. */
	signal(SIGXFSZ, SIG_IGN);
	/* Each file of the program is one of ours. */
	if (getrlimit(RLIMIT_NOFILE, &files))
		return;
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
}

int command_finish_output(void)
{
	if (!ferror(stdout) && !fflush(stdout))
		return 0;
	message("cannot write to standard output: %s", strerror(errno));
	return EXIT_LODGE;
}

int command_print_version(void)
{
	printf("lodge %s\n", lodge_version());
	return command_finish_output();
}

static void print_usage(FILE *out)
{
	fputs("usage: lodge COMMAND [...]\n\n"
	      "Runs unmodified Linux programs in KVM address spaces whose memory lodge manages "
	      "itself.\n\n",
	      out);
	for (size_t i = 0; i < NR_COMMANDS; i++)
		fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
	fputs("  --version  show the version\n", out);
}

static int command_help(int argc, char **argv)
{
	if (argc > 2 || (argc == 2 && strcmp(argv[1], "run"))) {
		message("no help on '%s'; see 'lodge help'", argv[argc - 1]);
		return EXIT_LODGE;
	}
	if (argc == 2)
		run_options_help(stdout);
	else
		print_usage(stdout);
	return command_finish_output();
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : NULL;

	if (!name) {
		message("no command given; see 'lodge help'");
		return EXIT_LODGE;
	}
	if (!strcmp(name, "--help"))
		name = "help";
	if (!strcmp(name, "--version"))
		return command_print_version();
	for (size_t i = 0; i < NR_COMMANDS; i++)
		if (!strcmp(name, commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	message("unknown command '%s'; see 'lodge help'", name);
	return EXIT_LODGE;
}
