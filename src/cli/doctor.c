/* SPDX-License-Identifier: MIT */
/*
 * doctor.c - `lodge doctor`: whether guests can run on this machine.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "../../include/lodge.h"
#include "command.h"
#include "message.h"

#define MAX_ROWS 64

static const char *state(const struct lodge_feature *row)
{
	return row->ok ? "ok" : "missing";
}

static void print_row(const struct lodge_feature *row)
{
	printf("%-14s %-8s %-9s %s\n", row->name, state(row), row->required ? "required" : "optional",
	       row->purpose);
	if (row->found[0])
		printf("%-14s found: %s\n", "", row->found);
	if (!row->ok && row->remedy[0])
		printf("%-14s remedy: %s\n", "", row->remedy);
}

int command_doctor(int argc, char **argv)
{
	struct lodge_feature rows[MAX_ROWS];
	int nr = lodge_probe(rows, MAX_ROWS), status, nr_missing = 0;

	if (argc > 1) {
		message("doctor takes no argument: '%s'", argv[1]);
		return EXIT_LODGE;
	}
	if (nr > MAX_ROWS)
		nr = MAX_ROWS;
	printf("%-14s %-8s %-9s %s\n", "FEATURE", "STATE", "NEED", "PURPOSE");
	for (int i = 0; i < nr; i++) {
		print_row(&rows[i]);
		nr_missing += rows[i].required && !rows[i].ok;
	}
	printf("\n%s\n",
	       nr_missing ? "Programs cannot run on this machine." : "Programs can run on this machine.");
	status = command_finish_output();
	return nr_missing ? EXIT_LODGE : status;
}
