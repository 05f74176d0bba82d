/* SPDX-License-Identifier: MIT */
/*
 * bombs.c forks|threads|tree|files [end] - takes as many tasks or descriptors as it gets, and says what the next one was refused with.
 *
 * Without "end" all of them then wait for somebody who kills them; else the first process ends and leaves the others.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define MEMORY (256ul << 10)

static void hold_memory(void)
{
	char *at = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at != MAP_FAILED)
		memset(at, 1, MEMORY);
}

static void *wait_for_ever(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static const char *forks(void)
{
	for (;;) {
		pid_t child = fork();
		if (child < 0)
			return strerrorname_np(errno);
		if (!child) {
			hold_memory();
			wait_for_ever(NULL);
		}
	}
}

static const char *threads(void)
{
	pthread_t thread;
	int err;

	do
		err = pthread_create(&thread, NULL, wait_for_ever, NULL);
	while (!err);
	return strerrorname_np(err);
}

/* Each is the parent of the next, with a thread beside it; the last one tells. */
static const char *tree(int told)
{
	pthread_t thread;
	char byte = 1;

	for (;;) {
		pid_t child = fork();
		if (child < 0 || pthread_create(&thread, NULL, wait_for_ever, NULL))
			break;
		if (child)
			return NULL;
		hold_memory();
	}
	if (write(told, &byte, 1) != 1)
		_exit(1);
	return NULL;
}

static const char *files(void)
{
	const struct rlimit limit = {100, 100};
	int n = 0;

	setrlimit(RLIMIT_NOFILE, &limit);
	while (open("/dev/null", O_RDONLY) >= 0)
		n++;
	printf("%d ", n);
	return strerrorname_np(errno);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "", *error = "told";
	pid_t first = getpid();
	int told[2];
	char byte;

	if (pipe(told))
		return 2;
	if (!strcmp(what, "forks"))
		error = forks();
	else if (!strcmp(what, "threads"))
		error = threads();
	else if (!strcmp(what, "files"))
		error = files();
	else if (!strcmp(what, "tree"))
		tree(told[1]);
	if (getpid() != first)
		wait_for_ever(NULL);
	if (!strcmp(what, "tree") && read(told[0], &byte, 1) != 1)
		return 2;
	printf("%s\n", error);
	fflush(stdout);
	if (argc > 2)
		_exit(0);
	wait_for_ever(NULL);
}
