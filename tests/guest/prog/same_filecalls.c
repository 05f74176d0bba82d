/* SPDX-License-Identifier: MIT */
/*
 * same_filecalls.c - calls on files that few programs make and many tools do: splice and kin, inotify, extended attributes, old ways to set
 * times.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

#include "case.h"

/* The compiler must not see that it is none. */
static void *volatile nowhere = (void *)16;

static void told(const char *what, long ret)
{
	if (ret < 0)
		printf("%-56s %s\n", what, strerrorname_np(errno));
	else
		printf("%-56s %ld\n", what, ret);
}

#define TELL(call) told(#call, (long)(call))

static int file_with(const char *text)
{
	int fd = open("file", O_CREAT | O_TRUNC | O_RDWR, 0644);

	write(fd, text, strlen(text));
	return fd;
}

static void splices(void)
{
	int fd = file_with("some text in a file"), a[2], b[2];
	char buffer[32] = "";
	loff_t at = 5;

	pipe(a);
	pipe(b);
	TELL(splice(fd, &at, a[1], NULL, 4, 0));
	printf("at %ld\n", (long)at);
	TELL(tee(a[0], b[1], 100, SPLICE_F_NONBLOCK));
	TELL(splice(a[0], NULL, b[1], NULL, 100, SPLICE_F_NONBLOCK));
	TELL(splice(a[0], NULL, b[1], NULL, 100, SPLICE_F_NONBLOCK));
	TELL(read(b[0], buffer, sizeof(buffer)));
	puts(buffer);
	write(a[1], "TEXT", 4);
	at = 0;
	TELL(splice(a[0], NULL, fd, &at, 4, 0));
	TELL(pread(fd, buffer, 10, 0));
	puts(buffer);
	TELL(splice(fd, NULL, fd, NULL, 1, 0));
	TELL(splice(a[0], NULL, a[1], NULL, 1, 0));
	TELL(splice(fd, nowhere, a[1], NULL, 1, 0));
	TELL(splice(a[0], &at, b[1], NULL, 1, 0));
	TELL(splice(99, NULL, a[1], NULL, 1, 0));
	TELL(splice(fd, NULL, a[1], NULL, 0, 0));
	TELL(splice(fd, NULL, a[1], NULL, 1, 0x100));
	TELL(tee(a[0], fd, 1, 0));
	signal(SIGPIPE, SIG_IGN);
	close(b[0]);
	write(a[1], "x", 1);
	TELL(splice(a[0], NULL, b[1], NULL, 1, 0));
	signal(SIGPIPE, SIG_DFL);
	close(a[0]);
	close(a[1]);
	close(b[1]);
	close(fd);
	unlink("file");
}

/* What is mapped and what is spliced is the same file. */
static void splices_of_what_is_mapped(void)
{
	int fd = file_with("0123456789"), ends[2];
	char buffer[16] = "";
	loff_t at = 2;
	char *mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	pipe(ends);
	mapped[0] = 'A';
	TELL(splice(fd, &(loff_t){0}, ends[1], NULL, 3, 0));
	TELL(read(ends[0], buffer, 3));
	puts(buffer);
	write(ends[1], "xyz", 3);
	TELL(splice(ends[0], NULL, fd, &at, 3, 0));
	printf("%.10s\n", mapped);
	munmap(mapped, 4096);
	close(fd);
	unlink("file");
}

static void vmsplices(void)
{
	struct iovec v[2] = {{(char *)"one", 3}, {(char *)"two", 3}};
	char buffer[8] = "";
	int ends[2];

	pipe(ends);
	TELL(vmsplice(ends[1], v, 2, 0));
	TELL(read(ends[0], buffer, 4));
	puts(buffer);
	v[0] = (struct iovec){buffer, 2};
	TELL(vmsplice(ends[0], v, 1, 0));
	puts(buffer);
	TELL(vmsplice(1000, v, 1, 0));
	TELL(vmsplice(ends[1], nowhere, 1, 0));
	TELL(vmsplice(ends[1], v, 1, 0x100));
	close(ends[0]);
	close(ends[1]);
}

static void say_event(int fd)
{
	char buffer[512] __attribute__((aligned(8)));
	ssize_t n = read(fd, buffer, sizeof(buffer));

	for (ssize_t at = 0; at < n;) {
		struct inotify_event *e = (void *)(buffer + at);
		printf("%d: %x %s\n", e->wd, e->mask, e->len ? e->name : "-");
		at += (ssize_t)sizeof(*e) + e->len;
	}
}

/* A read fills one buffer, wherever a page ends in it. */
static void events_across_pages(void)
{
	int fd = inotify_init1(IN_NONBLOCK);
	char *two =
		mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	madvise(two, 8192, MADV_NOHUGEPAGE);
	mremap(two + 4096, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, two); /* no neighbours in memory */
	mmap(two + 4096, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	mkdir("d", 0755);
	inotify_add_watch(fd, "d", IN_CREATE);
	for (int before = 0; before <= 96; before += 8) {
		close(open("d/f", O_CREAT | O_WRONLY, 0644));
		close(open("d/g", O_CREAT | O_WRONLY, 0644));
		ssize_t n = read(fd, two + 4096 - before, 512);
		const struct inotify_event *e = (void *)(two + 4096 - before);
		printf("%d before: %zd, %s\n", before, n, n > 0 ? e->name : "-");
		unlink("d/f");
		unlink("d/g");
	}
	close(fd);
	rmdir("d");
	munmap(two, 8192);
}

static void watches(void)
{
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), file;
	struct pollfd p = {.fd = fd, .events = POLLIN};

	printf("flags %x\n", fcntl(fd, F_GETFD));
	mkdir("d", 0755);
	TELL(inotify_add_watch(fd, "d", IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_CLOSE_WRITE));
	TELL(read(fd, &file, 4));
	file = open("d/f", O_CREAT | O_WRONLY, 0644);
	write(file, "x", 1);
	close(file);
	rename("d/f", "g");
	TELL(poll(&p, 1, 1000));
	say_event(fd);
	TELL(inotify_add_watch(fd, "g", IN_ONLYDIR | IN_MODIFY));
	TELL(inotify_add_watch(fd, "none", IN_MODIFY));
	TELL(inotify_add_watch(fd, "g", 0));
	TELL(inotify_add_watch(0, "g", IN_MODIFY));
	TELL(inotify_add_watch(fd, nowhere, IN_MODIFY));
	TELL(inotify_rm_watch(fd, 1));
	TELL(inotify_rm_watch(fd, 1));
	say_event(fd);
	close(fd);
	unlink("g");
	rmdir("d");
}

static void attributes(void)
{
	int fd = file_with("x");
	char value[64];

	symlink("file", "link");
	TELL(getxattr("file", "user.none", value, sizeof(value)));
	TELL(getxattr("none", "user.none", value, sizeof(value)));
	TELL(lgetxattr("link", "user.none", value, sizeof(value)));
	TELL(fgetxattr(fd, "user.none", value, sizeof(value)));
	TELL(fgetxattr(99, "user.none", value, sizeof(value)));
	TELL(getxattr("file", "", value, sizeof(value)));
	TELL(getxattr("file", nowhere, value, sizeof(value)));
	TELL(getxattr("file", "nonsense", value, sizeof(value)));
	TELL(listxattr("file", value, sizeof(value)));
	TELL(listxattr("file", NULL, 0));
	TELL(llistxattr("link", value, sizeof(value)));
	TELL(flistxattr(fd, value, sizeof(value)));
	close(fd);
	unlink("file");
	unlink("link");
}

static void say_times(void)
{
	struct stat st;

	stat("file", &st);
	printf("%ld.%06ld %ld.%06ld\n", st.st_atim.tv_sec, st.st_atim.tv_nsec / 1000, st.st_mtim.tv_sec,
	       st.st_mtim.tv_nsec / 1000);
}

static void times(void)
{
	struct timeval tv[2] = {{100, 5}, {200, 999999}};
	int fd = file_with("x");

	TELL(syscall(SYS_utimes, "file", tv));
	say_times();
	TELL(syscall(SYS_utime, "file", &(struct utimbuf){7, 8}));
	say_times();
	TELL(syscall(SYS_futimesat, AT_FDCWD, "file", tv));
	say_times();
	tv[0].tv_sec = 3;
	TELL(syscall(SYS_futimesat, fd, NULL, tv));
	say_times();
	tv[1].tv_usec = 1000000;
	TELL(syscall(SYS_utimes, "file", tv));
	TELL(syscall(SYS_utimes, "none", NULL));
	TELL(syscall(SYS_utimes, "file", nowhere));
	TELL(syscall(SYS_utime, nowhere, NULL));
	close(fd);
	unlink("file");
}

static void files_without_names(void)
{
	int fd = open(".", O_TMPFILE | O_RDWR, 0600);
	char link[64];
	struct stat st;

	TELL(write(fd, "later", 5));
	fstat(fd, &st);
	printf("%lu names\n", (unsigned long)st.st_nlink);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	TELL(linkat(AT_FDCWD, link, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
	TELL(access("named", R_OK));
	close(fd);
	unlink("named");
}

static void *unshare_and_close(void *fd)
{
	TELL(syscall(SYS_close_range, *(unsigned int *)fd, ~0u, 2 /* CLOSE_RANGE_UNSHARE */));
	TELL(fcntl(*(int *)fd, F_GETFD));
	return NULL;
}

/* A thread closes what is its own alone afterwards. */
static void ranges(void)
{
	int fd = dup(1);
	pthread_t thread;

	pthread_create(&thread, NULL, unshare_and_close, &fd);
	pthread_join(thread, NULL);
	TELL(fcntl(fd, F_GETFD));
	TELL(syscall(SYS_close_range, fd, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */));
	TELL(fcntl(fd, F_GETFD));
	TELL(syscall(SYS_close_range, fd, ~0u, 0));
	TELL(fcntl(fd, F_GETFD));
}

static const struct guest_case cases[] = {
	{"files: splice and tee [J2]", splices},
	{"files: splice and mappings [J2][L1]", splices_of_what_is_mapped},
	{"files: vmsplice [J2][P2]", vmsplices},
	{"files: inotify [J2]", watches},
	{"files: inotify, events across pages [J2]", events_across_pages},
	{"files: extended attributes [J2]", attributes},
	{"files: utime, utimes, futimesat [J2]", times},
	{"files: close_range, of a table of one's own as well [J2]", ranges},
	{"files: O_TMPFILE, and a name for it [J2]", files_without_names},
};

int main(int argc, char **argv)
{
	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	alarm(50);
	cases_run(argc, argv, cases, NR_CASES(cases), NULL);
	return 0;
}
