/* SPDX-License-Identifier: MIT */
/*
 * calls.c - ns per call of one kind.
 *
 *	calls read	1 byte of /dev/zero
 *	calls pread	4 KiB of this program's own file, which is cached
 *	calls pwrite	4 KiB into a file in memory
 *	calls lseek	where the same file is at
 *	calls clock	clock_gettime(CLOCK_MONOTONIC), as the C library makes it
 *	calls clockcall	the same as a system call
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"

#define BATCH	   500
#define MEASURE_NS 50000000u

static int fd;
static const char MEMORY[] = "a file in memory";
static char buffer[4096];

static int read_one(void)
{
	return read(fd, buffer, 1) != 1;
}

static int read_page(void)
{
	return pread(fd, buffer, sizeof(buffer), 0) != sizeof(buffer);
}

static int write_page(void)
{
	return pwrite(fd, buffer, sizeof(buffer), 0) != sizeof(buffer);
}

static int seek(void)
{
	return lseek(fd, 0, SEEK_CUR) != 0;
}

static int call_clock(void)
{
	struct timespec ts;

	return syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &ts) != 0;
}

static int read_clock(void)
{
	struct timespec ts;

	return clock_gettime(CLOCK_MONOTONIC, &ts);
}

static const struct {
	const char *name, *path;
	int (*call)(void);
} kinds[] = {{"read", "/dev/zero", read_one}, {"pread", NULL, read_page},
	     {"pwrite", MEMORY, write_page},  {"lseek", MEMORY, seek},
	     {"clock", MEMORY, read_clock},   {"clockcall", MEMORY, call_clock}};

/* The path, the program's own when there is none. */
static int open_file(const char *path, const char *program)
{
	if (path == MEMORY)
		return memfd_create("calls", MFD_CLOEXEC);
	return open(path ? path : program, O_RDONLY);
}

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
		fd = open_file(kinds[i].path, argv[0]);
		return fd < 0 || measure(kinds[i].call);
	}
	return 2;
}
