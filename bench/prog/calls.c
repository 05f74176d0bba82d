/* SPDX-License-Identifier: MIT */
/*
 * calls.c - ns per call of one kind.
 *
 *	calls read	1 byte of /dev/zero
 *	calls pread	4 KiB of this program's own file, which is cached
 *	calls clock	clock_gettime(CLOCK_MONOTONIC), as the C library makes it
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

#define BATCH	   1000
#define MEASURE_NS 200000000u

static int fd;
static char buffer[4096];

static int read_one(void)
{
	return read(fd, buffer, 1) != 1;
}

static int read_page(void)
{
	return pread(fd, buffer, sizeof(buffer), 0) != sizeof(buffer);
}

static int read_clock(void)
{
	struct timespec ts;

	return clock_gettime(CLOCK_MONOTONIC, &ts);
}

static const struct {
	const char *name, *path;
	int (*call)(void);
} kinds[] = {{"read", "/dev/zero", read_one}, {"pread", NULL, read_page}, {"clock", "/dev/null", read_clock}};

static int measure(int (*call)(void))
{
	uint64_t start = clock_now_ns(), spent, calls = 0;
	int failed = 0;

	do {
		for (int i = 0; i < BATCH; i++)
			failed |= call();
		calls += BATCH;
		spent = clock_now_ns() - start;
	} while (spent < MEASURE_NS);
	printf("* %.1f\n", (double)spent / (double)calls);
	return failed;
}

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(argv[1], kinds[i].name) != 0)
			continue;
		fd = open(kinds[i].path ? kinds[i].path : argv[0], O_RDONLY);
		return fd < 0 || measure(kinds[i].call);
	}
	return 2;
}
