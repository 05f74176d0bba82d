/* SPDX-License-Identifier: MIT */
/*
 * spawn.c - us per process: made, run to its end, and waited for.
 *
 *	spawn fork		a fork whose child ends at once
 *	spawn exec PROGRAM	a vfork whose child executes PROGRAM, which is to do nothing; without one, this program
 */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "median.h"

#define ROUNDS 60

static int spawn(const char *program)
{
	char *const words[] = {(char *)(uintptr_t)program, NULL}, *const none[] = {NULL};
	int status;
	pid_t pid = program ? vfork() : fork();

	if (!pid) {
		if (program)
			execve(program, words, none);
		_exit(program != NULL);
	}
	return pid < 0 || waitpid(pid, &status, 0) != pid || status;
}

int main(int argc, char **argv)
{
	const char *program = NULL;
	double us[ROUNDS];

	if (argc == 1)
		return 0;
	if (!strcmp(argv[1], "exec"))
		program = argc > 2 ? argv[2] : argv[0];
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t begin = clock_now_ns();
		if (spawn(program))
			return 1;
		us[i] = (double)(clock_now_ns() - begin) / 1e3;
	}
	printf("* %.1f\n", median(us, ROUNDS));
	return 0;
}
