/* SPDX-License-Identifier: MIT */
/*
 * filemap.c - ns per page for reading a large file, mapped and by pread. The file is filemap.data beside the program.
 *
 *	filemap cold	prints "mapped-cold ns": one byte of each page, in order, of a fresh mapping
 *	filemap warm	prints "mapped-first ns", the same under another name; "mapped-again ns", of a second mapping after
 *			the first is gone; "pread-again ns", 4 KiB at a time all over the file, which is in the cache by then
 *
 * Who drops or fills the host's cache before is the driver.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"

#define PAGE   4096ul
#define PREADS 4000ul

static int fd;
static size_t bytes;

static int open_file(const char *program)
{
	char path[4096];
	struct stat st;
	const char *slash = strrchr(program, '/');
	int directory = slash ? (int)(slash - program) : 0;

	snprintf(path, sizeof(path), "%.*s/filemap.data", directory, program);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return -1;
	bytes = (size_t)st.st_size & ~(PAGE - 1);
	return 0;
}

/* Each page of the file begins with its number. */
static int read_mapped(const char *name)
{
	uint64_t wrong = 0;
	char *p = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -1;
	uint64_t start = clock_now_ns();
	for (size_t at = 0; at < bytes; at += PAGE)
		wrong += *(volatile uint64_t *)(void *)(p + at) != at / PAGE;
	printf("%s %.1f\n", name, (double)(clock_now_ns() - start) / (double)(bytes / PAGE));
	munmap(p, bytes);
	return wrong ? -1 : 0;
}

static int read_calls(const char *name)
{
	uint64_t page[PAGE / sizeof(uint64_t)], at = 0, wrong = 0, start = clock_now_ns();

	for (unsigned long i = 0; i < PREADS; i++) {
		at = (at + 7919) % (bytes / PAGE);
		wrong += pread(fd, page, PAGE, (off_t)(at * PAGE)) != (ssize_t)PAGE || page[0] != at;
	}
	printf("%s %.1f\n", name, (double)(clock_now_ns() - start) / (double)PREADS);
	return wrong ? -1 : 0;
}

int main(int argc, char **argv)
{
	int cold = argc == 2 && !strcmp(argv[1], "cold");

	if (!cold && (argc != 2 || strcmp(argv[1], "warm") != 0))
		return 2;
	int err = open_file(argv[0]);
	if (!err)
		err = read_mapped(cold ? "mapped-cold" : "mapped-first");
	if (!err && !cold)
		err = read_mapped("mapped-again") || read_calls("pread-again");
	if (err)
		perror("filemap");
	return err ? 1 : 0;
}
