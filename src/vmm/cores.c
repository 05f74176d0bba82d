/* SPDX-License-Identifier: MIT */
/*
 * cores.c - is there a processor of the host's for a session's second thread, and does it get one?
 *
 * Before a session: how many threads want to run, on the whole machine. That is a look at one moment, and cheap. During one: how long its
 * two threads stood in run queues, which the scheduler counts for each (/proc/PID/task/TID/schedstat); two threads that have a processor
 * each stand in none. Where the scheduler does not count, nobody has ever waited.
 *
 * Locking: all of it is the owner's; the runner opens its own file, once.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvm.h"

/* A file of a few numbers, of which one is wanted. 0: it cannot be read. */
static uint64_t number_in(int fd, unsigned int column)
{
	char text[96], *at = text;
	ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return 0;
	text[n] = 0;
	for (unsigned int i = 0; i < column && at; i++) {
		at = strchr(at, ' ');
		at += at != NULL;
	}
	return at ? strtoul(at, NULL, 10) : 0;
}

#define LOADAVG_RUNNABLE 3
#define SCHEDSTAT_WAITED 1

bool cores_are_free(const struct vm *vm, unsigned int nr_cpus)
{
	/* The caller is one of those that run. */
	return number_in(vm->load_fd, LOADAVG_RUNNABLE) + 1 <= nr_cpus;
}

int cores_watch_me(const struct vm *vm)
{
	char name[48];

	snprintf(name, sizeof(name), "%d/schedstat", gettid());
	return vm->tasks_fd < 0 ? -1 : openat(vm->tasks_fd, name, O_RDONLY | O_CLOEXEC);
}

uint64_t cores_waited_ns(const struct runner *r)
{
	return number_in(r->owner_fd, SCHEDSTAT_WAITED) +
	       number_in(atomic_load(&r->runner_fd), SCHEDSTAT_WAITED);
}
