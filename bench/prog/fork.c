/* SPDX-License-Identifier: MIT */
/*
 * fork.c - what a fork costs by the size of the process, and the first writes after it.
 *
 *	fork time MIB small|huge	prints "PAGES-SIZE ns" of the call in the parent, the child ending at once
 *	fork storm MIB small|huge	prints "PAGES-SIZE ns" per 4 KiB page: the child writes one byte to each page
 *
 * where PAGES-SIZE is 4K-256MiB, say. Every page has been written before each of them; the median of several forks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "median.h"

#define PAGE  4096ul
#define HUGE  (2ul << 20)
#define FORKS 7

static char *start;
static size_t bytes;
static volatile uint64_t *told; /* by a child to its parent */

static int setup(const char *mib, const char *pages)
{
	bytes = strtoul(mib, NULL, 10) << 20;
	start = mmap(NULL, bytes + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	told = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (start == MAP_FAILED || told == MAP_FAILED)
		return -1;
	start += -(uintptr_t)start & (HUGE - 1);
	madvise(start, bytes, !strcmp(pages, "huge") ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	for (size_t at = 0; at < bytes; at += PAGE)
		*(volatile char *)(start + at) = 1;
	*told = 0;
	return 0;
}

static void child(int storm)
{
	uint64_t begin = clock_now_ns();

	for (size_t at = 0; storm && at < bytes; at += PAGE)
		*(volatile char *)(start + at) = 2;
	if (storm)
		*told = (clock_now_ns() - begin) / (bytes / PAGE);
	_exit(0);
}

/* ns, or 0 when something failed. */
static uint64_t fork_once(int storm)
{
	int status;
	uint64_t begin = clock_now_ns();
	pid_t pid = fork();

	if (!pid)
		child(storm);
	uint64_t spent = clock_now_ns() - begin;
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		return 0;
	for (size_t at = 0; at < bytes; at += PAGE) {
		if (start[at] != 1) /* the child's writes are its own */
			return 0;
		*(volatile char *)(start + at) = 1;
	}
	return storm ? *told : spent;
}

int main(int argc, char **argv)
{
	double ns[FORKS];
	int storm = argc == 4 && !strcmp(argv[1], "storm");

	if (argc != 4 || (!storm && strcmp(argv[1], "time") != 0))
		return 2;
	if (setup(argv[2], argv[3])) {
		perror("fork");
		return 1;
	}
	for (int i = 0; i < FORKS; i++) {
		ns[i] = (double)fork_once(storm);
		if (ns[i] <= 0) {
			fprintf(stderr, "fork: it failed, or the parent's memory changed\n");
			return 1;
		}
	}
	printf("%s-%luMiB %.1f\n", !strcmp(argv[3], "huge") ? "2M" : "4K", bytes >> 20, median(ns, FORKS));
	return 0;
}
