/* SPDX-License-Identifier: MIT */
/*
 * same_copy.c - system calls that meet memory which is not there, not allowed, or not yet there: how far they come.
 *
 * The area of most cases is two pages with nothing behind them, so that a buffer can end anywhere.
 */
#include "window.h"

#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <time.h>

static int numbers_file(void)
{
	int fd = letter_file("copied", 4, 0);

	lseek(fd, 0, SEEK_SET);
	return fd;
}

static void read_into_the_edge(void)
{
	int fd = numbers_file();

	put(0, 2, RW);
	COUNT(read(fd, AT(2) - 100, 200));
	COUNT(lseek(fd, 0, SEEK_CUR));
	printf("the last byte: %c\n", AT(2)[-1]);
	COUNT(read(fd, AT(2) - 1, 2));
	COUNT(lseek(fd, 0, SEEK_CUR));
	COUNT(read(fd, AT(2), 1));
	COUNT(read(fd, AT(0), 3 * PAGE));
	COUNT(lseek(fd, 0, SEEK_CUR));
	close(fd);
}

static void write_from_the_edge(void)
{
	int fd = open("written", O_RDWR | O_CREAT | O_TRUNC, 0600);

	put(0, 2, RW);
	letters(0, 2);
	COUNT(write(fd, AT(2) - 100, 200));
	COUNT(lseek(fd, 0, SEEK_CUR));
	COUNT(write(fd, AT(2), 1));
	COUNT(pwrite(fd, AT(2) - 1, 100, 0));
	COUNT(lseek(fd, 0, SEEK_END));
	close(fd);
}

static void untouched_buffers(void)
{
	int fd = numbers_file();

	put(0, 4, RW);
	COUNT(read(fd, AT(0), 2 * PAGE));
	printf("%c %c\n", AT(0)[0], AT(1)[0]);
	COUNT(pwrite(fd, AT(2), 2 * PAGE, 0));
	printf("zeros in the file: %d %d\n", byte_of_file(fd, 0), byte_of_file(fd, 2 * PAGE - 1));
	close(fd);
}

static void forbidden_buffers(void)
{
	int fd = numbers_file();

	put(0, 1, R);
	COUNT(read(fd, AT(0), 10));
	COUNT(pwrite(fd, AT(0), 10, 0));
	put(2, 1, PROT_NONE);
	COUNT(read(fd, AT(2), 10));
	COUNT(pwrite(fd, AT(2), 10, 0));
	put(4, 1, PROT_WRITE);
	COUNT(pread(fd, AT(4), 10, PAGE));
	COUNT(pwrite(fd, AT(4), 10, 0));
	put(6, 1, RW);
	put(7, 1, R);
	COUNT(pread(fd, AT(7) - 5, 10, PAGE));
	close(fd);
}

static void kernel_buffers(void)
{
	int fd = numbers_file();

	COUNT(read(fd, KERNEL, 10));
	COUNT(write(fd, KERNEL, 10));
	COUNT(read(fd, USER_END, 10));
	COUNT(read(fd, USER_END - 5, 10));
	COUNT(read(fd, (void *)-1l, 1));
	COUNT(syscall(SYS_read, fd, NULL, 1));
	COUNT(read(fd, KERNEL, 0));
	COUNT(write(fd, KERNEL, 0));
	put(0, 1, RW);
	COUNT(syscall(SYS_read, fd, AT(0), 1ul << 63));
	COUNT(lseek(fd, 0, SEEK_CUR));
	close(fd);
}

static void nothing_left_to_read(void)
{
	int fd = numbers_file();

	lseek(fd, 0, SEEK_END);
	COUNT(read(fd, AT(0), 10));
	COUNT(read(fd, KERNEL, 10));
	close(fd);
}

static void memory_file(void)
{
	int fd = memfd_create("copied", 0);

	put(0, 1, RW);
	letters(0, 1);
	COUNT(write(fd, AT(1) - 10, 20));
	COUNT(write(fd, AT(1), 20));
	COUNT(lseek(fd, 0, SEEK_CUR));
	COUNT(read(fd, AT(1), 20));
	COUNT(lseek(fd, 0, SEEK_SET));
	COUNT(read(fd, AT(1), 20));
	COUNT(read(fd, AT(1) - 5, 20));
	COUNT(lseek(fd, 0, SEEK_CUR));
	COUNT(pread(fd, KERNEL, 1, 100));
	COUNT(pread(fd, AT(1), 1, 100));
	close(fd);
}

static void into_copied_pages(void)
{
	int fd = numbers_file(), again = open("copied", O_RDONLY);

	put_file(0, 2, RW, MAP_PRIVATE, fd, 2);
	COUNT(pread(again, AT(0), PAGE, 0));
	show_letters("mine", 0, 2);
	printf("the file's: %c\n", byte_of_file(fd, 2 * PAGE));
	put(4, 1, RW);
	printf("zero page: %s\n", peek(AT(4)));
	COUNT(pread(again, AT(4), 10, 0));
	printf("%c\n", AT(4)[0]);
	close(again);
	close(fd);
}

static void vectors(void)
{
	int fd = numbers_file();
	struct iovec v[3] = {{AT(0), 100}, {AT(1) - 10, 20}, {AT(0), 100}};

	put(0, 1, RW);
	COUNT(readv(fd, v, 3));
	COUNT(lseek(fd, 0, SEEK_CUR));
	v[0].iov_base = AT(1);
	COUNT(readv(fd, v, 3));
	v[0] = (struct iovec){AT(0), 10};
	v[1] = (struct iovec){AT(1), 0};
	COUNT(readv(fd, v, 3));
	v[1] = (struct iovec){KERNEL, 0};
	COUNT(readv(fd, v, 3));
	v[1] = (struct iovec){KERNEL, 1};
	COUNT(readv(fd, v, 3));
	v[1] = (struct iovec){AT(0), 1ul << 63};
	COUNT(readv(fd, v, 3));
	close(fd);
}

static void bad_vectors(void)
{
	int fd = numbers_file();
	struct iovec *at_edge = (struct iovec *)AT(1) - 1;

	put(0, 1, RW);
	*at_edge = (struct iovec){AT(0), 10};
	COUNT(readv(fd, at_edge, 1));
	COUNT(readv(fd, at_edge, 2));
	COUNT(readv(fd, (struct iovec *)AT(4), 1));
	COUNT(readv(fd, (struct iovec *)AT(4), 0));
	COUNT(syscall(SYS_readv, fd, at_edge, -1));
	COUNT(readv(fd, at_edge, 1025));
	COUNT(writev(fd, (struct iovec *)KERNEL, 1));
	close(fd);
}

static void vectors_written(void)
{
	int fd = open("written", O_RDWR | O_CREAT | O_TRUNC, 0600);
	struct iovec v[3] = {{AT(0), 100}, {AT(1) - 10, 20}, {AT(0), 100}};

	put(0, 1, RW);
	letters(0, 1);
	COUNT(writev(fd, v, 3));
	COUNT(lseek(fd, 0, SEEK_END));
	v[0].iov_base = AT(1);
	COUNT(writev(fd, v, 3));
	COUNT(pwritev(fd, v + 2, 1, 5));
	COUNT(lseek(fd, 0, SEEK_END));
	close(fd);
}

static void pipes(void)
{
	int ends[2];

	if (pipe(ends))
		return;
	put(0, 1, RW);
	letters(0, 1);
	COUNT(write(ends[1], AT(1), 20));
	COUNT(write(ends[1], AT(0), 50));
	COUNT(read(ends[0], AT(1), 20));
	COUNT(read(ends[0], AT(0), 20));
	COUNT(read(ends[0], AT(0), 100));
	close(ends[0]);
	close(ends[1]);
}

static void paths(void)
{
	char *name = AT(1) - 7;

	put(0, 1, RW);
	close(letter_file("copied", 1, 0));
	memcpy(name, "copied", 7);
	TELL(access(name, F_OK));
	memcpy(name + 1, "copied", 6);
	TELL(access(name + 1, F_OK));
	TELL(access(AT(1), F_OK));
	TELL(access(KERNEL, F_OK));
	put(4, 1, PROT_NONE);
	TELL(access(AT(4), F_OK));
	memset(AT(0), 'x', PAGE);
	TELL(access(AT(0), F_OK));
	put(1, 1, RW);
	memset(AT(1), 'x', PAGE);
	TELL(access(AT(0), F_OK));
}

static void results(void)
{
	put(0, 1, RW);
	put(2, 1, R);
	TELL(stat(".", (struct stat *)(AT(1) - 8)));
	TELL(stat(".", (struct stat *)AT(2)));
	TELL(stat(".", (struct stat *)AT(0)));
	TELL(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, AT(1) - 16));
	TELL(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, AT(1) - 15));
	TELL(syscall(SYS_uname, AT(1) - (long)sizeof(struct utsname)));
	TELL(syscall(SYS_uname, AT(1) - (long)sizeof(struct utsname) + 1));
	TELL(syscall(SYS_getcwd, AT(1), 100) < 0 ? -1 : 0);
	TELL(syscall(SYS_pipe2, AT(2), 0));
	TELL(syscall(SYS_getrlimit, RLIMIT_STACK, AT(2)));
}

static void signal_masks(void)
{
	put(0, 1, RW);
	put(2, 1, R);
	TELL(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, AT(1) - 8, 8));
	TELL(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, AT(1) - 4, 8));
	TELL(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, AT(2), 8));
	TELL(syscall(SYS_rt_sigprocmask, SIG_BLOCK, AT(2), NULL, 8));
	TELL(syscall(SYS_rt_sigprocmask, SIG_BLOCK, AT(1), NULL, 8));
}

static void behind_a_file(void)
{
	int fd = letter_file("short", 1, 0), other = numbers_file();

	put_file(0, 2, RW, MAP_PRIVATE, fd, 0);
	COUNT(pread(other, AT(1) - 50, 100, 0));
	COUNT(pread(other, AT(1), 100, 0));
	COUNT(pwrite(other, AT(1) - 50, 100, 0));
	COUNT(pwrite(other, AT(1), 100, 0));
	close(fd);
	close(other);
}

static void from_its_own_mapping(void)
{
	int fd = numbers_file();

	put_file(0, 4, RW, MAP_PRIVATE, fd, 0);
	COUNT(pwrite(fd, AT(1), PAGE, 0));
	COUNT(pread(fd, AT(2), PAGE, 3 * PAGE));
	show_letters("the mapping", 0, 4);
	close(fd);
}

static void large_copies(void)
{
	int fd = open("large", O_RDWR | O_CREAT | O_TRUNC, 0600);
	size_t bytes = 5 << 20;

	mmap(AT(0), bytes, RW, PRIVATE | MAP_FIXED, -1, 0);
	for (size_t i = 0; i < bytes; i += 8)
		*(uint64_t *)(AT(0) + i) = i * 2654435761u;
	COUNT(write(fd, AT(0), bytes));
	mmap(AT(4096), bytes + PAGE, RW, PRIVATE | MAP_FIXED, -1, 0);
	COUNT(pread(fd, AT(4096) + 3, bytes, 0));
	printf("same %d\n", checksum(AT(0), bytes) == checksum(AT(4096) + 3, bytes));
	munmap(AT(600), PAGE);
	COUNT(pwrite(fd, AT(0), bytes, 0));
	munmap(AT(4096 + 700), PAGE);
	COUNT(pread(fd, AT(4096), bytes, 0));
	close(fd);
	unlink("large");
}

static void random_bytes(void)
{
	put(0, 1, RW);
	COUNT(syscall(SYS_getrandom, AT(0), 100, 0));
	COUNT(syscall(SYS_getrandom, AT(1) - 10, 100, 0));
	COUNT(syscall(SYS_getrandom, AT(1), 100, 0));
	COUNT(syscall(SYS_getrandom, KERNEL, 100, 0));
}

static void polled(void)
{
	struct pollfd *p = (struct pollfd *)AT(1) - 1;

	put(0, 1, RW);
	*p = (struct pollfd){-1, POLLIN, 0};
	COUNT(poll(p, 1, 0));
	COUNT(poll(p, 2, 0));
	COUNT(poll((struct pollfd *)AT(1), 0, 0));
}

static const struct guest_case cases[] = {
	{"read stops at the byte that is not there [P3]", read_into_the_edge},
	{"write stops at the byte that is not there [P3]", write_from_the_edge},
	{"buffers never touched are brought in [P4]", untouched_buffers},
	{"buffers that may not be written or read are EFAULT [P3][P4]", forbidden_buffers},
	{"buffers outside user addresses are EFAULT [P1][P2]", kernel_buffers},
	{"with nothing to copy a bad buffer is no error", nothing_left_to_read},
	{"a memory file stops at the byte that is not there [P3]", memory_file},
	{"read breaks the sharing of the pages it writes [P4][K23]", into_copied_pages},
	{"readv counts up to the buffer that fails [P3]", vectors},
	{"readv: vectors that cannot be read, and too many [P1]", bad_vectors},
	{"writev counts up to the buffer that fails [P3]", vectors_written},
	{"a pipe neither takes nor gives through a bad buffer [P3]", pipes},
	{"a path may end at the edge, not behind it [P1]", paths},
	{"results that cannot be stored [P1]", results},
	{"signal masks at the edge [P1]", signal_masks},
	{"a page behind the end of its file is EFAULT [P4]", behind_a_file},
	{"a file written from its own mapping and read into it [L1]", from_its_own_mapping},
	{"5 MiB at an odd offset, and up to a hole [P3][L1]", large_copies},
	{"getrandom stops at the byte that is not there [P3]", random_bytes},
	{"poll at the edge [P1]", polled},
};

CASES_MAIN(cases)
