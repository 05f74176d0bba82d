/* SPDX-License-Identifier: MIT */
/*
 * command.h - the subcommands of lodge. Each takes its own words, argv[0] being its name, and returns an exit
 * status.
 */
#ifndef LODGE_CLI_COMMAND_H
#define LODGE_CLI_COMMAND_H

/* As env(1) and timeout(1) use them. */
enum {
	EXIT_LODGE = 125,	   /* lodge itself failed */
	EXIT_CANNOT_EXECUTE = 126, /* the program is there and cannot be run */
	EXIT_NOT_FOUND = 127,
};

int command_run(int argc, char **argv);
int command_doctor(int argc, char **argv);
int command_snapshot(int argc, char **argv);
int command_restore(int argc, char **argv);

/* Makes this process one that programs can run in: its own limits must not be theirs. */
void command_prepare_process(void);

/* The exit status of a command that wrote to stdout: 0, or EXIT_LODGE if not all of it arrived. */
int command_finish_output(void);

/* "lodge VERSION" on stdout; an exit status. */
int command_print_version(void);

#endif
