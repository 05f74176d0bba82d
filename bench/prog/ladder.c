/* SPDX-License-Identifier: MIT */
/*
 * ladder.c - ns per minor fault of the kernel, by kind. Prints "KIND ns", and the same under the names that the memory
 * manager's own program has for its leaves with clearing or copying: the kernel's faults always have that in them.
 *
 * Each kind is one fault per page: the count that the system keeps must agree. A read of a file would map sixteen pages at
 * once, so the file there has data in every sixteenth page only, and the tables are there from a pass before.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "median.h"

#define PAGE	    4096l
#define PAGES	    8192l
#define SPARSE	    16l
#define PARTS	    32l
#define STACK_PAGES 1984l /* a multiple of PARTS */
#define STACK_TOP   0x200000000000l

enum access { READ, WRITE };

static long minor_faults(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_SELF, &usage) ? -1 : usage.ru_minflt;
}

static void touch(char *at, enum access access)
{
	if (access == WRITE)
		*(volatile char *)at = 1;
	else
		(void)*(volatile char *)at;
}

/*
 * ns per fault at nr pages from `start`, `step` bytes apart: the median of PARTS parts, so that what else the machine does
 * hits few of them. -1: there were more or fewer faults.
 */
static double faults_ns(char *start, long step, long nr, enum access access)
{
	long before = minor_faults(), each = nr / PARTS;
	double ns[PARTS];

	for (long part = 0; part < PARTS; part++) {
		uint64_t begin = clock_now_ns();
		for (long i = part * each; i < (part + 1) * each; i++)
			touch(start + i * step, access);
		ns[part] = (double)(clock_now_ns() - begin) / (double)each;
	}
	long faults = minor_faults() - before;
	return faults < nr || faults > nr + nr / 50 ? -1 : median(ns, PARTS);
}

static int report(const char *name, const char *other, double ns)
{
	if (ns < 0) {
		fprintf(stderr, "ladder: %s: not one fault per page\n", name);
		return -1;
	}
	printf("%s %.1f\n", name, ns);
	if (other)
		printf("%s%s %.1f\n", name, other, ns);
	return 0;
}

static char *map(long pages, int flags, int fd)
{
	char *p = mmap(NULL, (size_t)(pages * PAGE), PROT_READ | PROT_WRITE,
		       flags | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p, (size_t)(pages * PAGE), MADV_NOHUGEPAGE);
	return p;
}

static void unmap(char *p, long pages)
{
	munmap(p, (size_t)(pages * PAGE));
}

/* A file of nr * SPARSE pages in memory, with data in every sixteenth; -1: failed. */
static int make_file(long step)
{
	static const char page[PAGE] = {1};
	int fd = memfd_create("ladder", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, PAGES * step * PAGE))
		return -1;
	for (long i = 0; i < PAGES; i++)
		if (pwrite(fd, page, PAGE, i * step * PAGE) != PAGE)
			return -1;
	return fd;
}

static int anonymous_kinds(void)
{
	char *written = map(PAGES, MAP_PRIVATE, -1), *read = map(PAGES, MAP_PRIVATE, -1),
	     *shared = map(PAGES, MAP_SHARED, -1);

	if (!written || !read || !shared)
		return -1;
	if (report("anon-write", "-zeroing", faults_ns(written, PAGE, PAGES, WRITE)) ||
	    report("zero-page", NULL, faults_ns(read, PAGE, PAGES, READ)) ||
	    report("wp-zero-page", "-zeroing", faults_ns(read, PAGE, PAGES, WRITE)) ||
	    report("shared", "-zeroing", faults_ns(shared, PAGE, PAGES, WRITE)))
		return -1;
	unmap(written, PAGES);
	unmap(read, PAGES);
	unmap(shared, PAGES);
	return 0;
}

/* The write finds pages that are mapped read-only and belong to the cache. */
static int file_copies(void)
{
	int fd = make_file(1);
	char *cow = fd < 0 ? NULL : map(PAGES, MAP_PRIVATE, fd);
	char *wp = fd < 0 ? NULL : map(PAGES, MAP_PRIVATE, fd);

	if (!cow || !wp)
		return -1;
	for (long i = 0; i < PAGES; i++)
		touch(wp + i * PAGE, READ);
	if (report("cow", "-copying", faults_ns(cow, PAGE, PAGES, WRITE)) ||
	    report("wp-copy", "-copying", faults_ns(wp, PAGE, PAGES, WRITE)))
		return -1;
	unmap(cow, PAGES);
	unmap(wp, PAGES);
	return close(fd);
}

static int file_read(void)
{
	int fd = make_file(SPARSE);
	char *p = fd < 0 ? NULL : map(PAGES * SPARSE, MAP_SHARED, fd);

	if (!p)
		return -1;
	faults_ns(p, SPARSE * PAGE, PAGES, READ);
	madvise(p, (size_t)(PAGES * SPARSE * PAGE), MADV_DONTNEED); /* leaves the tables */
	if (report("read", NULL, faults_ns(p, SPARSE * PAGE, PAGES, READ)))
		return -1;
	unmap(p, PAGES * SPARSE);
	return close(fd);
}

/* Pages of a file on a disk, all in the cache and clean: a first write is announced to the file system. */
static int file_first_write(void)
{
	static const char page[PAGE] = {1};
	int fd = open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	for (long i = 0; fd >= 0 && i < PAGES; i++)
		if (write(fd, page, PAGE) != PAGE)
			return -1;
	char *p = fd < 0 || fsync(fd) ? NULL : map(PAGES, MAP_SHARED, fd);
	if (!p)
		return -1;
	for (long i = 0; i < PAGES; i++)
		touch(p + i * PAGE, READ);
	if (report("wp-shared-file", NULL, faults_ns(p, PAGE, PAGES, WRITE)))
		return -1;
	unmap(p, PAGES);
	return close(fd);
}

/* A fork takes away the right to write; when the child has ended, the pages have one owner again. */
static int reuse(void)
{
	char *p = map(PAGES, MAP_PRIVATE, -1);

	if (!p)
		return -1;
	for (long i = 0; i < PAGES; i++)
		touch(p + i * PAGE, WRITE);
	pid_t child = fork();
	if (!child)
		_exit(0);
	if (child < 0 || waitpid(child, NULL, 0) != child)
		return -1;
	int err = report("wp-reuse", NULL, faults_ns(p, PAGE, PAGES, WRITE));
	unmap(p, PAGES);
	return err;
}

static int stack_growth(void)
{
	char *top = mmap((void *)(STACK_TOP - PAGE), (size_t)PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0);

	if (top == MAP_FAILED)
		return -1;
	return report("stack-growth", "-zeroing", faults_ns(top - PAGE, -PAGE, STACK_PAGES, WRITE));
}

int main(void)
{
	if (anonymous_kinds() || file_copies() || file_read() || file_first_write() || reuse() ||
	    stack_growth()) {
		perror("ladder");
		return 1;
	}
	return 0;
}
