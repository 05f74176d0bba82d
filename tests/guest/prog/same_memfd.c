/* SPDX-License-Identifier: MIT */
/*
 * same_memfd.c - files that are memory: sizes, mappings, seals.
 */
#include "window.h"

#include <sys/stat.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8
#define MFD_EXEC	16
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 16
#endif

static int memory_file(long pages, unsigned int flags)
{
	int fd = memfd_create("case", flags);

	if (fd < 0 || ftruncate(fd, pages * PAGE))
		printf("cannot make it: %s\n", errno_name(-1));
	return fd;
}

static void create_arguments(void)
{
	char name[300];

	memset(name, 'n', sizeof(name));
	name[249] = 0;
	TELL(close(memfd_create(name, 0)));
	name[249] = 'n';
	name[250] = 0;
	TELL(memfd_create(name, 0));
	TELL(close(memfd_create("", 0)));
	TELL(memfd_create("x", 0x1000));
	TELL(syscall(SYS_memfd_create, NULL, 0));
	TELL(syscall(SYS_memfd_create, KERNEL, 0));
	TELL(close(memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING)));
	TELL(close(memfd_create("x", MFD_EXEC)));
	TELL(close(memfd_create("x", MFD_NOEXEC_SEAL)));
	TELL(memfd_create("x", MFD_EXEC | MFD_NOEXEC_SEAL));
}

static void close_on_exec(void)
{
	int a = memfd_create("x", 0), b = memfd_create("x", MFD_CLOEXEC);

	printf("%d %d\n", fcntl(a, F_GETFD), fcntl(b, F_GETFD));
	close(a);
	close(b);
}

static void empty_at_first(void)
{
	int fd = memfd_create("x", 0);
	struct stat st;

	fstat(fd, &st);
	printf("size %ld regular %d links %ld\n", (long)st.st_size, S_ISREG(st.st_mode), (long)st.st_nlink);
	put_file(0, 1, RW, MAP_SHARED, fd, 0);
	printf("mapped: %s\n", peek(AT(0)));
	close(fd);
}

static void write_and_map(void)
{
	int fd = memfd_create("x", 0);
	char text[8] = "";

	COUNT(write(fd, "hello", 5));
	put_file(0, 1, RW, MAP_SHARED, fd, 0);
	printf("%.5s %d\n", AT(0), AT(0)[5]);
	memcpy(AT(0), "HELLO", 5);
	COUNT(pread(fd, text, 8, 0));
	printf("%.5s\n", text);
	COUNT(lseek(fd, 0, SEEK_END));
	close(fd);
}

static void two_mappings(void)
{
	int fd = memory_file(4, 0);

	put_file(0, 4, RW, MAP_SHARED, fd, 0);
	put_file(8, 4, RW, MAP_SHARED, fd, 0);
	put_file(16, 4, RW, MAP_PRIVATE, fd, 0);
	letters(0, 4);
	show_letters("the other", 8, 4);
	show_letters("private", 16, 4);
	AT(16)[0] = 'p';
	AT(9)[0] = 's';
	show_letters("one", 0, 4);
	show_letters("private", 16, 4);
	close(fd);
	show_letters("closed", 0, 4);
}

static void names(void)
{
	int fd = memory_file(2, 0);
	char text[64] = "", path[32];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, text, sizeof(text) - 1);
	printf("%zd %s\n", n, text);
	put_file(0, 2, RW, MAP_SHARED, fd, 0);
	show_maps("area");
	close(fd);
}

static void truncated(void)
{
	int fd = memory_file(4, 0);

	put_file(0, 4, RW, MAP_SHARED, fd, 0);
	letters(0, 4);
	TELL(ftruncate(fd, PAGE + 10));
	show_letters("cut", 0, 2);
	printf("%s, %s\n", peek(AT(1) + 10), peek(AT(2)));
	TELL(ftruncate(fd, 4 * PAGE));
	show_letters("grown", 0, 4);
	TELL(ftruncate(fd, -1));
	TELL(ftruncate(fd, 0));
	printf("%s\n", peek(AT(0)));
	close(fd);
}

/* Opened anew, it is the same object. */
static void cut_by_open(void)
{
	int fd = memory_file(4, 0), sealed = memory_file(2, MFD_ALLOW_SEALING), again;
	char path[32];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	put_file(0, 4, RW, MAP_SHARED, fd, 0);
	letters(0, 4);
	again = open(path, O_RDWR | O_TRUNC);
	fstat(again, &st);
	printf("%d, %lld bytes, %lld blocks, %s\n", again >= 0, (long long)st.st_size,
	       (long long)st.st_blocks, peek(AT(0)));
	COUNT(pwrite(again, "new", 3, PAGE));
	fstat(fd, &st);
	printf("%lld bytes, %s, %s\n", (long long)st.st_size, peek(AT(1)), peek(AT(2)));
	close(again);
	again = open(path, O_RDONLY | O_TRUNC);
	fstat(fd, &st);
	printf("%d, %lld bytes\n", again >= 0, (long long)st.st_size);
	TELL(write(again, "x", 1));
	close(again);
	fcntl(sealed, F_ADD_SEALS, F_SEAL_SHRINK);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", sealed);
	TELL(open(path, O_RDWR | O_TRUNC));
	fstat(sealed, &st);
	printf("%lld bytes\n", (long long)st.st_size);
	close(sealed);
	close(fd);
}

static void allocated(void)
{
	int fd = memory_file(8, 0);
	struct stat st;

	fstat(fd, &st);
	printf("blocks %ld\n", (long)st.st_blocks);
	put_file(0, 8, RW, MAP_SHARED, fd, 0);
	letters(2, 2);
	fstat(fd, &st);
	printf("blocks %ld\n", (long)st.st_blocks);
	TELL(fallocate(fd, 0, 0, 8 * PAGE));
	fstat(fd, &st);
	printf("blocks %ld\n", (long)st.st_blocks);
	TELL(fallocate(fd, 3, 0, 4 * PAGE));
	fstat(fd, &st);
	printf("blocks %ld size %ld\n", (long)st.st_blocks, (long)st.st_size);
	show_letters("a hole", 0, 8);
	close(fd);
}

static void holes(void)
{
	int fd = memory_file(8, 0);

	COUNT(pwrite(fd, "x", 1, 2 * PAGE));
	COUNT(pwrite(fd, "x", 1, 5 * PAGE));
	COUNT(lseek(fd, 0, SEEK_DATA));
	COUNT(lseek(fd, 2 * PAGE, SEEK_HOLE));
	COUNT(lseek(fd, 3 * PAGE, SEEK_DATA));
	COUNT(lseek(fd, 6 * PAGE, SEEK_DATA));
	COUNT(lseek(fd, 8 * PAGE, SEEK_HOLE));
	close(fd);
}

static void no_sealing(void)
{
	int fd = memory_file(1, 0);

	COUNT(fcntl(fd, F_GET_SEALS));
	TELL(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	close(fd);
}

static void seal_arguments(void)
{
	int fd = memory_file(1, MFD_ALLOW_SEALING), file = letter_file("ordinary", 1, 0), reader;
	char path[32];

	COUNT(fcntl(fd, F_GET_SEALS));
	TELL(fcntl(fd, F_ADD_SEALS, 0x1000));
	TELL(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
	TELL(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
	COUNT(fcntl(fd, F_GET_SEALS));
	COUNT(fcntl(file, F_GET_SEALS));
	TELL(fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	reader = open(path, O_RDONLY);
	TELL(fcntl(reader, F_ADD_SEALS, F_SEAL_WRITE));
	COUNT(fcntl(reader, F_GET_SEALS));
	close(reader);
	close(file);
	close(fd);
}

static void sealed_size(void)
{
	int fd = memory_file(2, MFD_ALLOW_SEALING);

	fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK);
	TELL(ftruncate(fd, PAGE));
	TELL(ftruncate(fd, 3 * PAGE));
	fcntl(fd, F_ADD_SEALS, F_SEAL_GROW);
	TELL(ftruncate(fd, 4 * PAGE));
	TELL(ftruncate(fd, 3 * PAGE));
	COUNT(pwrite(fd, "x", 1, 4 * PAGE));
	COUNT(pwrite(fd, "abcdef", 6, 3 * PAGE - 3));
	COUNT(pwrite(fd, "x", 1, 0));
	TELL(fallocate(fd, 0, 0, 4 * PAGE));
	close(fd);
}

static void sealed_writing(void)
{
	int fd = memory_file(2, MFD_ALLOW_SEALING);

	put_file(0, 1, RW, MAP_SHARED, fd, 0);
	TELL(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	munmap(AT(0), PAGE);
	put_file(0, 1, R, MAP_SHARED, fd, 0);
	TELL(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	munmap(AT(0), PAGE);
	TELL(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	COUNT(pwrite(fd, "x", 1, 0));
	TELL(fallocate(fd, 3, 0, PAGE));
	WHERE(put_file(0, 1, RW, MAP_SHARED, fd, 0));
	WHERE(put_file(0, 1, R, MAP_SHARED, fd, 0));
	TELL(mprotect(AT(0), PAGE, RW));
	WHERE(put_file(4, 1, RW, MAP_PRIVATE, fd, 0));
	printf("a private page: %s\n", poke(AT(4)));
	close(fd);
}

static void sealed_future_writing(void)
{
	int fd = memory_file(2, MFD_ALLOW_SEALING);

	put_file(0, 1, RW, MAP_SHARED, fd, 0);
	TELL(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
	printf("the old mapping: %s\n", poke(AT(0)));
	WHERE(put_file(4, 1, RW, MAP_SHARED, fd, 0));
	WHERE(put_file(4, 1, R, MAP_SHARED, fd, 0));
	TELL(mprotect(AT(4), PAGE, RW));
	COUNT(pwrite(fd, "x", 1, 0));
	printf("holds %d\n", AT(4)[0]);
	close(fd);
}

static void sealed_for_good(void)
{
	int fd = memory_file(1, MFD_ALLOW_SEALING);

	TELL(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_GROW));
	TELL(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
	COUNT(fcntl(fd, F_GET_SEALS));
	close(fd);
}

static void not_executable(void)
{
	int fd = memory_file(1, MFD_NOEXEC_SEAL), other = memory_file(1, 0);
	struct stat st;

	fstat(fd, &st);
	printf("mode %o\n", st.st_mode & 07777);
	COUNT(fcntl(fd, F_GET_SEALS));
	TELL(fchmod(fd, 0777));
	fstat(other, &st);
	printf("mode %o\n", st.st_mode & 07777);
	close(other);
	close(fd);
}

static const struct guest_case cases[] = {
	{"memfd_create: arguments", create_arguments},
	{"close on exec", close_on_exec},
	{"empty at first [K18]", empty_at_first},
	{"written, mapped, read [L1][L3]", write_and_map},
	{"shared and private mappings of one [J8][H8]", two_mappings},
	{"its name in the listing", names},
	{"cut and grown under its mapping", truncated},
	{"cut by O_TRUNC through its name in /proc", cut_by_open},
	{"blocks are counted as they are touched", allocated},
	{"SEEK_DATA and SEEK_HOLE", holes},
	{"without MFD_ALLOW_SEALING there is one seal", no_sealing},
	{"seals: arguments", seal_arguments},
	{"F_SEAL_SHRINK and F_SEAL_GROW", sealed_size},
	{"F_SEAL_WRITE is refused while a mapping may write, and then holds", sealed_writing},
	{"F_SEAL_FUTURE_WRITE leaves old mappings", sealed_future_writing},
	{"F_SEAL_SEAL", sealed_for_good},
	{"MFD_NOEXEC_SEAL", not_executable},
};

CASES_MAIN(cases)
