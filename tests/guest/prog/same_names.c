/* SPDX-License-Identifier: MIT */
/*
 * same_names.c - what names mean from an open directory on: links, dots and slashes, and directories that go or move meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "case.h"

static const char *const names[] = {
	"file",	       "dir",	   "link",   "dirlink",	    "nowhere",
	"loop",	       "fifo",	   "none",   "file/",	    "dir/",
	"link/",       "dirlink/", "none/",  "dir//below",  "dirlink/below",
	"dir/../file", "./file",   "dir/.",  "dirlink/.",   "file/.",
	".",	       "..",	   "",	     "file/below",  "dir/none",
	"nowhere/x",   "loop/x",   "dir/up", "dir/up/file", "./dir/./below",
};

static int make_all(void)
{
	int dir;

	mkdir("at", 0755);
	dir = open("at", O_RDONLY | O_DIRECTORY);
	close(openat(dir, "file", O_CREAT | O_WRONLY, 0640));
	mkdirat(dir, "dir", 0750);
	close(openat(dir, "dir/below", O_CREAT | O_WRONLY, 0604));
	symlinkat("file", dir, "link");
	symlinkat("dir", dir, "dirlink");
	symlinkat("not/there", dir, "nowhere");
	symlinkat("loop", dir, "loop");
	symlinkat("../file", dir, "dir/up");
	mkfifoat(dir, "fifo", 0600);
	return dir;
}

static void remove_all(int dir)
{
	static const char *const files[] = {"file",    "dir/below", "link",   "dirlink",
					    "nowhere", "loop",	    "dir/up", "fifo"};

	for (size_t i = 0; i < NR_CASES(files); i++)
		unlinkat(dir, files[i], 0);
	unlinkat(dir, "dir", AT_REMOVEDIR);
	close(dir);
	rmdir("at");
}

static void tell_status(int dir, const char *name, int flags)
{
	struct stat st;

	if (fstatat(dir, name, &st, flags))
		printf(" %s", strerrorname_np(errno));
	else
		printf(" %o", st.st_mode);
}

static void status_of_all(int dir)
{
	for (size_t i = 0; i < NR_CASES(names); i++) {
		struct statx stx;
		printf("%-16s", names[i]);
		tell_status(dir, names[i], 0);
		tell_status(dir, names[i], AT_SYMLINK_NOFOLLOW);
		tell_status(dir, names[i], AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH);
		printf(" %s\n",
		       statx(dir, names[i], 0, STATX_MODE, &stx) ? strerrorname_np(errno) : "has statx");
	}
}

static void status(void)
{
	int dir = make_all();

	status_of_all(dir);
	fchdir(dir);
	status_of_all(AT_FDCWD);
	chdir("..");
	remove_all(dir);
}

static void tell_open(int dir, const char *name, int flags)
{
	int fd = openat(dir, name, flags | O_NONBLOCK);
	char entries[512];

	if (fd < 0) {
		printf(" %s", strerrorname_np(errno));
		return;
	}
	printf(" %x", fcntl(fd, F_GETFL) & ~O_NOFOLLOW);
	if (flags & O_DIRECTORY && !(flags & O_PATH))
		printf(" %s",
		       syscall(SYS_getdents64, fd, entries, sizeof(entries)) > 0 ? "lists" : "does not list");
	close(fd);
}

static void opened(void)
{
	int dir = make_all();

	for (size_t i = 0; i < NR_CASES(names); i++) {
		printf("%-16s", names[i]);
		tell_open(dir, names[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
		tell_open(dir, names[i], O_RDONLY | O_DIRECTORY);
		tell_open(dir, names[i], O_RDWR | O_DIRECTORY | O_NOFOLLOW);
		tell_open(dir, names[i], O_PATH | O_DIRECTORY | O_NOFOLLOW);
		tell_open(dir, names[i], O_RDONLY | O_NOFOLLOW);
		tell_open(dir, names[i], O_RDONLY);
		puts("");
	}
	remove_all(dir);
}

/* What is open stays what it is, wherever it is. */
static void moved(void)
{
	int dir = make_all(), below = openat(dir, "dir", O_RDONLY | O_DIRECTORY);
	struct stat a, b;

	renameat(dir, "dir", dir, "else");
	mkdirat(dir, "dir", 0700);
	tell_status(below, "below", 0);
	tell_status(dir, "dir/below", 0);
	tell_status(dir, "else/below", 0);
	tell_open(below, ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	fstatat(below, "below", &a, 0);
	fstatat(dir, "else/below", &b, 0);
	printf(" %d\n", a.st_ino == b.st_ino && a.st_dev == b.st_dev);
	unlinkat(dir, "dir", AT_REMOVEDIR);
	renameat(dir, "else", dir, "dir");
	close(below);
	remove_all(dir);
}

static void removed(void)
{
	int at;

	mkdir("gone", 0755);
	at = open("gone", O_RDONLY | O_DIRECTORY);
	rmdir("gone");
	tell_status(at, "x", AT_SYMLINK_NOFOLLOW);
	tell_status(at, ".", 0);
	tell_open(at, "x", O_RDONLY);
	tell_open(at, "x", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	tell_open(at, "x", O_RDWR | O_CREAT);
	printf(" %s\n", mkdirat(at, "x", 0755) ? strerrorname_np(errno) : "made");
	close(at);
}

/* Ways up, links that a root begins with, and slashes and dots where one would not look for them. */
static const char *const ways[] = {
	"/",
	"//",
	"/.",
	"/..",
	"/../../usr/bin",
	"/bin",
	"/bin/",
	"/bin/.",
	"/bin/..",
	"/bin/../usr/bin/env",
	"//bin//env",
	"/./bin/./env",
	"/bin/none",
	"/bin/env/",
	"/bin/env/.",
	"/bin/env/..",
	"/bin/env/none",
	"/lib64/../usr/bin",
	"/usr/bin/../../bin/env",
	"/usr/none/../bin/env",
	"/usr/bin/env/../env",
	"/usr/lib/../bin/../bin/./env",
	"/usr/bin/../../../../usr/bin/env",
	"/none",
	"/none/..",
	"/7",
	"/usr/7",
	"/usr/bin/7/",
	"/proc/7777777",
	"/proc/self/fd/999",
	"/proc/self/fd/999/",
	"/proc/self/fd/999/none",
	"/proc/self/fd/none",
	"/proc/self/fd/../fd/999",
	"at/dir/../dir/../file",
	"at/dirlink/../file",
	"at/dirlink/up",
	"at/dir/up/../x",
	"at/loop/../file",
	"at/nowhere/..",
	"at/dir/../../at/link",
	"at/shut/..",
	"at/shut/../file",
	"at/shut/none",
};

static void ways_around(void)
{
	char text[64];
	int dir = make_all();

	mkdirat(dir, "shut", 0600);
	for (size_t i = 0; i < NR_CASES(ways); i++) {
		printf("%-36s", ways[i]);
		tell_status(AT_FDCWD, ways[i], 0);
		tell_status(AT_FDCWD, ways[i], AT_SYMLINK_NOFOLLOW);
		printf(" %s", access(ways[i], R_OK) ? strerrorname_np(errno) : "may be read");
		tell_open(AT_FDCWD, ways[i], O_RDONLY | O_DIRECTORY);
		tell_open(AT_FDCWD, ways[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
		ssize_t n = readlink(ways[i], text, sizeof(text));
		printf(" %.*s\n", n < 0 ? 32 : (int)n, n < 0 ? strerrorname_np(errno) : text);
	}
	unlinkat(dir, "shut", AT_REMOVEDIR);
	remove_all(dir);
}

static void tell_link(int dir, const char *name)
{
	char text[64];
	ssize_t n = readlinkat(dir, name, text, sizeof(text));

	printf(" %.*s", n < 0 ? 32 : (int)n, n < 0 ? strerrorname_np(errno) : text);
}

static void link_texts(void)
{
	int dir = make_all(), self = open("/proc/self", O_RDONLY | O_DIRECTORY);

	for (size_t i = 0; i < NR_CASES(names); i++) {
		printf("%-16s", names[i]);
		tell_link(dir, names[i]);
		puts("");
	}
	tell_link(self, "fd");
	tell_link(self, "none");
	puts("");
	close(self);
	remove_all(dir);
}

/* Where nothing but lodge knows what there is. */
static void in_proc(void)
{
	int proc = open("/proc", O_RDONLY | O_DIRECTORY), self = open("/proc/self", O_RDONLY | O_DIRECTORY);

	tell_status(proc, "self", 0);
	tell_status(proc, "meminfo", 0);
	tell_status(proc, "none", 0);
	tell_status(self, "maps", 0);
	tell_status(self, "fd", 0);
	tell_status(self, "exe", AT_SYMLINK_NOFOLLOW);
	tell_open(self, "fd", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	tell_open(self, "maps", O_RDONLY | O_NOFOLLOW);
	tell_open(proc, "self", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	puts("");
	close(proc);
	close(self);
}

static const struct guest_case cases[] = {
	{"names: the status of what stands there [L6]", status},
	{"names: opened in every way [L5][L6]", opened},
	{"names: a directory that moves is the same directory [L6]", moved},
	{"names: in a directory that is gone there is nothing [L6]", removed},
	{"names: ways up, and links that a root begins with [L6]", ways_around},
	{"names: what links say [L6]", link_texts},
	{"names: in procfs [L6]", in_proc},
};

int main(int argc, char **argv)
{
	if (!cases_listed(argc, argv, cases, NR_CASES(cases)))
		cases_run(argc, argv, cases, NR_CASES(cases), NULL);
	return 0;
}
