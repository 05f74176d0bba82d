/* SPDX-License-Identifier: MIT */
/*
 * same_links.c - names below the links that procfs alone can follow, and the list of descriptors while they are closed.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "case.h"

static void make_file(const char *path, const char *byte)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	printf("%s written %zd, flags %x\n", path, write(fd, byte, 1), fcntl(fd, F_GETFL));
	close(fd);
}

static void told(const char *what, int fd)
{
	char byte = '-';

	if (fd < 0) {
		printf("%s: %s\n", what, strerrorname_np(errno));
	} else {
		ssize_t n = read(fd, &byte, 1);
		printf("%s: ok %zd %c\n", what, n, byte);
		close(fd);
	}
}

/* What opening the path says that a format makes of a number. */
static void open_by(const char *before, int number, const char *after)
{
	char path[128];

	snprintf(path, sizeof(path), "%s%d%s", before, number, after);
	int fd = open(path, O_RDONLY);
	snprintf(path, sizeof(path), "%s*%s", before, after);
	told(path, fd);
}

static void below_links(void)
{
	char from[64];

	mkdir("below", 0755);
	make_file("below/file", "x");
	make_file("beside", "y");
	int dir = open("below", O_RDONLY | O_DIRECTORY), file = open("beside", O_RDONLY), gone = dup(0);
	close(gone);
	open_by("/proc/self/fd/", dir, "/file");
	open_by("/proc/self/fd/", dir, "//file");
	open_by("/proc/thread-self/fd/", dir, "/file");
	open_by("/dev/fd/", dir, "/file");
	open_by("/dev/fd/", dir, "/../beside");
	open_by("/dev/fd/", dir, "/none");
	open_by("/dev/fd/", dir, "/file/more");
	open_by("/dev/fd/", dir, "x/file");
	open_by("/dev/fd/", file, "/file");
	open_by("/dev/fd/", gone, "/file");
	told("cwd", open("/proc/self/cwd/below/file", O_RDONLY));
	told("root", open("/proc/self/root/proc/self/cwd/beside", O_RDONLY));
	make_file("/proc/self/cwd/below/new", "z");
	snprintf(from, sizeof(from), "/dev/fd/%d/new", dir);
	printf("renamed %d, ", rename(from, "/proc/self/cwd/newer"));
	printf("removed %d\n", unlink("newer"));
	close(dir);
	close(file);
	unlink("below/file");
	unlink("beside");
	rmdir("below");
}

/* One record at a time, as those do who may not allocate: none is left out when the ones before it go. */
static void closed_as_listed(void)
{
	enum { ONE_RECORD = 40 }; /* no room for two */
	struct dirent64 entry;
	unsigned int nr_closed = 0;
	int made[12];

	for (unsigned int i = 0; i < 12; i++)
		made[i] = dup(0);
	int dir = open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
	while (syscall(SYS_getdents64, dir, &entry, ONE_RECORD) > 0) {
		int fd = isdigit((unsigned char)entry.d_name[0]) ? atoi(entry.d_name) : -1;
		if (fd > 2 && fd != dir)
			nr_closed += !close(fd);
	}
	printf("closed at least these: %d, left:", nr_closed >= 12);
	for (unsigned int i = 0; i < 12; i++)
		if (fcntl(made[i], F_GETFD) >= 0)
			printf(" %d", made[i]);
	puts("");
	close(dir);
}

static void closed_apart(void)
{
	case_in_child(closed_as_listed);
}

static void scoped(const char *what, int dir, const char *path, uint64_t resolve)
{
	const struct open_how how = {.flags = O_RDONLY, .resolve = resolve};

	told(what, (int)syscall(SYS_openat2, dir, path, &how, sizeof(how)));
}

static void scoped_opens(void)
{
	char link[64];

	mkdir("root", 0755);
	make_file("root/file", "x");
	int dir = open("root", O_RDONLY | O_DIRECTORY);
	snprintf(link, sizeof(link), "/proc/self/fd/%d/file", dir);
	scoped("a root of its own", dir, "/file", RESOLVE_IN_ROOT);
	scoped("and what is not in it", dir, "/etc/passwd", RESOLVE_IN_ROOT);
	scoped("absolute, below", dir, "/file", RESOLVE_BENEATH);
	scoped("absolute, from nowhere", -1, "/file", RESOLVE_BENEATH);
	scoped("its own root is nowhere", -1, "/file", RESOLVE_IN_ROOT);
	scoped("by a link of procfs", AT_FDCWD, link, 0);
	scoped("that may not be followed", AT_FDCWD, link, RESOLVE_NO_MAGICLINKS);
	close(dir);
	unlink("root/file");
	rmdir("root");
}

static const struct guest_case cases[] = {
	{"links: names below a descriptor, the working directory and the root [L5][L6]", below_links},
	{"links: descriptors are listed while they are closed [L6]", closed_apart},
	{"links: openat2 begins where it is told, and stops at links of procfs [L5]", scoped_opens},
};

int main(int argc, char **argv)
{
	if (!cases_listed(argc, argv, cases, NR_CASES(cases)))
		cases_run(argc, argv, cases, NR_CASES(cases), NULL);
	return 0;
}
