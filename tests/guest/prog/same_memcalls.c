/* SPDX-License-Identifier: MIT */
/*
 * same_memcalls.c - what the memory calls answer, argument by argument, and what memory looks like
 * afterwards.
 *
 * Addresses are printed relative to one mapping, never as they are.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "case.h"

#define PAGE 4096ul

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#ifndef MAP_SHARED_VALIDATE
#define MAP_SHARED_VALIDATE 3
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

static int file, read_only, write_only, directory, path_only;
static char *base; /* 16 pages of anonymous memory with free space around them */

static const char *outcome(long ret)
{
	return ret == -1 ? strerrorname_np(errno) : "ok";
}

static void tell(const char *what, long ret)
{
	printf("%-52s %s\n", what, outcome(ret));
}

#define TELL(call) tell(#call, (long)(call))

static long map(void *at, size_t bytes, int prot, int flags, int fd, off_t offset)
{
	long ret = syscall(SYS_mmap, at, bytes, prot, flags, fd, offset);

	if (ret != -1 && !(flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)))
		munmap((void *)ret, bytes);
	return ret == -1 ? -1 : 0;
}

#define RW	 (PROT_READ | PROT_WRITE)
#define PRIVATE	 (MAP_PRIVATE | MAP_ANONYMOUS)
#define SHARED	 (MAP_SHARED | MAP_ANONYMOUS)
#define VALIDATE MAP_SHARED_VALIDATE

static void mmap_arguments(void)
{
	TELL(map(0, 0, RW, PRIVATE, -1, 0));
	TELL(map(0, 1, RW, PRIVATE, -1, 0));
	TELL(map(0, PAGE, RW, PRIVATE, -1, 1));
	TELL(map(0, PAGE, RW, PRIVATE, -1, 4096));
	TELL(map(0, PAGE, RW, PRIVATE, 99, 0));
	TELL(map(0, -1ul, RW, PRIVATE, -1, 0));
	TELL(map(0, -4096ul, RW, PRIVATE, -1, 0));
	TELL(map(0, 1ul << 47, RW, PRIVATE | MAP_NORESERVE, -1, 0));
	TELL(map(0, PAGE, RW, MAP_ANONYMOUS, -1, 0));
	TELL(map(0, PAGE, RW, VALIDATE | MAP_ANONYMOUS, -1, 0));
	TELL(map(0, PAGE, RW, SHARED, -1, 0));
	TELL(map(0, PAGE, RW, SHARED | MAP_GROWSDOWN, -1, 0));
	TELL(map(0, PAGE, RW, PRIVATE | MAP_GROWSDOWN | MAP_STACK, -1, 0));
	TELL(map(0, PAGE, RW, PRIVATE | MAP_HUGETLB | (5 << 26), -1, 0));
	TELL(map(0, PAGE, RW, PRIVATE | MAP_POPULATE | MAP_NORESERVE, -1, 0));
	TELL(map(0, PAGE, RW, PRIVATE | MAP_LOCKED, -1, 0));
	TELL(map(0, PAGE, 0x100 | RW, PRIVATE, -1, 0));
	TELL(map(0, PAGE, RW, PRIVATE | 0x80000000, -1, 0));
	TELL(map((void *)(PAGE + 1), PAGE, RW, PRIVATE | MAP_FIXED, -1, 0));
	TELL(map(base + 1, PAGE, RW, PRIVATE | MAP_FIXED, -1, 0));
	TELL(map((void *)0x7ffffffff000, PAGE, RW, PRIVATE | MAP_FIXED, -1, 0));
	TELL(map((void *)0xffff800000000000, PAGE, RW, PRIVATE | MAP_FIXED, -1, 0));
	TELL(map(base, PAGE, RW, PRIVATE | MAP_FIXED_NOREPLACE, -1, 0));
	TELL(map(base + 20 * PAGE, PAGE, RW, PRIVATE | MAP_FIXED_NOREPLACE, -1, 0));
	TELL(munmap(base + 20 * PAGE, PAGE));
	TELL(map((void *)0x7ffffffff000, PAGE, RW, PRIVATE, -1, 0));
	TELL(map((void *)1, PAGE, RW, PRIVATE, -1, 0));
}

static void mmap_files(void)
{
	TELL(map(0, PAGE, PROT_READ, MAP_PRIVATE, file, 0));
	TELL(map(0, PAGE, PROT_READ, MAP_PRIVATE, file, 1));
	TELL(map(0, PAGE, PROT_READ, MAP_PRIVATE, file, 1l << 40));
	TELL(map(0, PAGE, RW, MAP_PRIVATE, read_only, 0));
	TELL(map(0, PAGE, PROT_READ, MAP_SHARED, read_only, 0));
	TELL(map(0, PAGE, RW, MAP_SHARED, read_only, 0));
	TELL(map(0, PAGE, PROT_READ, MAP_PRIVATE, write_only, 0));
	TELL(map(0, PAGE, PROT_WRITE, MAP_SHARED, write_only, 0));
	TELL(map(0, PAGE, PROT_READ, MAP_PRIVATE, directory, 0));
	TELL(map(0, PAGE, PROT_READ, MAP_PRIVATE, path_only, 0));
	TELL(map(0, PAGE, PROT_READ, MAP_PRIVATE, -1, 0));
	TELL(map(0, PAGE, PROT_READ, MAP_PRIVATE, 999, 0));
	TELL(map(0, PAGE, PROT_READ, 0, file, 0));
	TELL(map(0, PAGE, PROT_READ, VALIDATE, file, 0));
	TELL(map(0, PAGE, PROT_READ, VALIDATE | MAP_POPULATE, file, 0));
	TELL(map(0, PAGE, PROT_READ, VALIDATE | 0x80000, file, 0));
	TELL(map(0, PAGE, PROT_READ, VALIDATE | 0x8000000, file, 0));
	TELL(map(0, PAGE, PROT_READ, MAP_SHARED | 0x8000000, file, 0));
	TELL(map(0, PAGE, PROT_READ, MAP_PRIVATE | MAP_GROWSDOWN, file, 0));
	TELL(map(0, PAGE, PROT_READ, MAP_PRIVATE | MAP_HUGETLB, file, 0));
	TELL(map(0, 0, PROT_READ, MAP_PRIVATE, file, 0));
	TELL(map(0, 8 * PAGE, PROT_READ, MAP_PRIVATE, file, -4096l));
}

/*
 * A private mapping of a file keeps its writes to itself; a shared one cannot become writable without the
 * right.
 */
static void file_contents(void)
{
	char *p = mmap(NULL, 2 * PAGE, RW, MAP_PRIVATE, file, 0);
	char *s = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, read_only, 0);
	char back[4] = "";

	printf("file: %.4s, rest of page %d\n", p, p[100]);
	memcpy(p, "mine", 4);
	if (pread(file, back, 4, 0) != 4)
		exit(1);
	printf("after a private write: %.4s here, %.4s in the file, %.4s shared\n", p, back, s);
	TELL(mprotect(s, PAGE, RW));
	TELL(mprotect(s, PAGE, PROT_READ | PROT_EXEC));
	close(open("file", O_RDONLY));
	munmap(p, 2 * PAGE);
	munmap(s, PAGE);
}

static void zero_device(void)
{
	int fd = open("/dev/zero", O_RDWR);
	char *p = mmap(NULL, PAGE, RW, MAP_PRIVATE, fd, 0);

	TELL(p == MAP_FAILED ? -1 : 0);
	p[5] = 1;
	printf("zero page: %d %d\n", p[4], p[5]);
	munmap(p, PAGE);
	close(fd);
}

static void unmapping(void)
{
	char *p = mmap(NULL, 8 * PAGE, RW, PRIVATE, -1, 0);

	TELL(munmap(p + 1, PAGE));
	TELL(munmap(p, 0));
	TELL(munmap(p, -4096ul));
	TELL(munmap((void *)0x7ffffffff000, PAGE));
	TELL(munmap((void *)0xffff800000000000, PAGE));
	TELL(munmap(p + 2 * PAGE, PAGE));
	TELL(munmap(p + 2 * PAGE, PAGE));
	TELL(munmap(p, 8 * PAGE));
}

static void protecting(void)
{
	char *p = mmap(NULL, 8 * PAGE, RW, PRIVATE, -1, 0);

	munmap(p + 4 * PAGE, PAGE);
	TELL(mprotect(p, 0, RW));
	TELL(mprotect(p + 1, PAGE, RW));
	TELL(mprotect(p, -1ul, RW));
	TELL(mprotect(p, -4096ul, RW));
	TELL(mprotect(p, 1, PROT_READ));
	TELL(mprotect(p, 8 * PAGE, PROT_READ));
	TELL(mprotect(p + 4 * PAGE, PAGE, PROT_READ));
	TELL(mprotect(p, PAGE, 0x10));
	TELL(mprotect(p, PAGE, RW | 0x8));
	TELL(mprotect(p, PAGE, RW | PROT_GROWSDOWN));
	TELL(mprotect(p, PAGE, RW | PROT_GROWSUP));
	TELL(mprotect(p, PAGE, RW | PROT_GROWSUP | PROT_GROWSDOWN));
	TELL(mprotect(p + 4 * PAGE, PAGE, RW | PROT_GROWSDOWN));
	TELL(mprotect((void *)((uintptr_t)&p & -PAGE), PAGE, RW | PROT_GROWSDOWN));
	TELL(mprotect((void *)0xffff800000000000, PAGE, RW));
	TELL(mprotect((void *)0x7ffffffff000, PAGE, RW));
	munmap(p, 8 * PAGE);
}

static void show_mincore(const char *what, void *p, size_t bytes)
{
	unsigned char vec[64] = {0};
	int ret;

	memset(vec, 9, sizeof(vec));
	ret = mincore(p, bytes, vec);
	printf("mincore %s: %s ", what, outcome(ret));
	for (size_t i = 0; !ret && i < (bytes + PAGE - 1) / PAGE; i++)
		putchar('0' + vec[i]);
	putchar('\n');
}

static void residency(void)
{
	char *p = mmap(NULL, 8 * PAGE, RW, PRIVATE, -1, 0), *s;
	unsigned char vec[8];

	madvise(p, 8 * PAGE, MADV_NOHUGEPAGE);
	show_mincore("nothing touched", p, 8 * PAGE);
	memset(p, 1, 8 * PAGE);
	show_mincore("all touched", p, 8 * PAGE);
	madvise(p + 2 * PAGE, PAGE, MADV_DONTNEED);
	show_mincore("one dropped", p, 8 * PAGE);
	show_mincore("odd length", p, 2 * PAGE + 1);
	show_mincore("no length", p, 0);
	munmap(p + 4 * PAGE, PAGE);
	show_mincore("hole", p, 8 * PAGE);
	show_mincore("unaligned", p + 1, PAGE);
	show_mincore("kernel", (void *)0xffff800000000000, PAGE);
	TELL(mincore(p, PAGE, NULL));
	TELL(mincore(p, -1ul, vec));
	munmap(p, 8 * PAGE);
	s = mmap(NULL, 2 * PAGE, RW, SHARED, -1, 0);
	show_mincore("shared, untouched", s, 2 * PAGE);
	s[PAGE] = 1;
	madvise(s, 2 * PAGE, MADV_DONTNEED);
	show_mincore("shared, unmapped from here", s, 2 * PAGE);
	munmap(s, 2 * PAGE);
}

static void syncing_and_locking(void)
{
	char *p = mmap(NULL, 8 * PAGE, RW, PRIVATE, -1, 0);

	munmap(p + 4 * PAGE, PAGE);
	TELL(msync(p, PAGE, MS_SYNC));
	TELL(msync(p, 0, MS_ASYNC));
	TELL(msync(p + 1, PAGE, MS_SYNC));
	TELL(msync(p, PAGE, MS_SYNC | MS_ASYNC));
	TELL(msync(p, PAGE, 0));
	TELL(msync(p, PAGE, 0x10));
	TELL(msync(p, 8 * PAGE, MS_SYNC));
	TELL(msync(p, -1ul, MS_SYNC));
	TELL(msync((void *)0xffff800000000000, PAGE, MS_SYNC));
	TELL(mlock(p, PAGE));
	TELL(mlock(p + 1, PAGE));
	TELL(mlock(p, 0));
	TELL(mlock(p, 8 * PAGE));
	TELL(mlock(p, -1ul));
	TELL(mlock(p + PAGE, -PAGE));
	TELL(mlock((void *)0xffff800000000000, PAGE));
	TELL(syscall(SYS_mlock2, p, PAGE, 0));
	TELL(syscall(SYS_mlock2, p, PAGE, 1));
	TELL(syscall(SYS_mlock2, p, PAGE, 2));
	TELL(munlock(p, PAGE));
	TELL(munlock(p, 8 * PAGE));
	TELL(munlock(p + 1, 0));
	TELL(mprotect(p, PAGE, PROT_NONE));
	TELL(mlock(p, PAGE));
	TELL(munlock(p, PAGE));
	TELL(mlockall(0));
	TELL(mlockall(8));
	TELL(mlockall(4));
	TELL(munlockall());
	TELL(mlock(p + 6 * PAGE, PAGE));
	show_mincore("locked", p + 6 * PAGE, PAGE);
	TELL(munlockall());
	munmap(p, 8 * PAGE);
}

static void advising(void)
{
	char *p = mmap(NULL, 8 * PAGE, RW, PRIVATE, -1, 0);

	memset(p, 7, 8 * PAGE);
	TELL(madvise(p + 1, PAGE, MADV_DONTNEED));
	TELL(madvise(p, 0, MADV_DONTNEED));
	TELL(madvise(p, PAGE, 12345));
	TELL(madvise(p, -1ul, MADV_DONTNEED));
	TELL(madvise(p, PAGE, MADV_DONTNEED));
	printf("dropped %d, kept %d\n", p[0], p[PAGE]);
	munmap(p + 4 * PAGE, PAGE);
	TELL(madvise(p + 3 * PAGE, 3 * PAGE, MADV_DONTNEED));
	printf("around the hole: %d %d\n", p[3 * PAGE], p[5 * PAGE]);
	TELL(madvise(p, PAGE, MADV_WILLNEED));
	TELL(madvise(p, PAGE, MADV_SEQUENTIAL));
	TELL(madvise(p, PAGE, MADV_DONTFORK));
	TELL(madvise(p, PAGE, MADV_REMOVE));
	TELL(madvise((void *)0xffff800000000000, PAGE, MADV_DONTNEED));
	munmap(p, 8 * PAGE);
}

static void remapping(void)
{
	char *p = mmap(NULL, 16 * PAGE, RW, PRIVATE, -1, 0), *q;

	for (int i = 0; i < 16; i++)
		p[i * PAGE] = (char)('a' + i);
	munmap(p + 8 * PAGE, 8 * PAGE);
	TELL((long)mremap(p + 1, PAGE, PAGE, 0));
	TELL((long)mremap(p, PAGE, 0, 0));
	TELL((long)mremap(p, PAGE, PAGE, 8));
	TELL((long)mremap(p, PAGE, PAGE, MREMAP_FIXED, p));
	TELL((long)mremap(p + 9 * PAGE, PAGE, PAGE, 0));
	TELL((long)mremap(p, 9 * PAGE, 10 * PAGE, MREMAP_MAYMOVE));
	TELL((long)mremap(p, 4 * PAGE, 5 * PAGE, 0));
	TELL((long)mremap(p, 0, PAGE, MREMAP_MAYMOVE));
	TELL((long)mremap(p, PAGE, -1ul, MREMAP_MAYMOVE));
	TELL((long)mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + PAGE));
	TELL((long)mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + PAGE + 1));
	TELL((long)mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)0x7ffffffff000));
	TELL((long)mremap(p, PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP));
	q = mremap(p, 8 * PAGE, 12 * PAGE, 0);
	printf("grown in place: %d, %c %d\n", q == p, q[7 * PAGE], q[8 * PAGE]);
	q = mremap(p, 12 * PAGE, 6 * PAGE, 0);
	printf("shrunk: %d, %c\n", q == p, q[5 * PAGE]);
	q = mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, base);
	printf("moved: %d, %c %c\n", q == base, q[0], q[PAGE]);
	show_mincore("moved away", p, PAGE);
	q = mremap(p + 2 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
	printf("doubled: %c, left behind %d\n", q[0], p[2 * PAGE]);
	munmap(q, PAGE);
	munmap(p, 16 * PAGE);
}

static void heap(void)
{
	char *start = sbrk(0), *now = (char *)syscall(SYS_brk, 0);

	printf("brk 0 is the break: %d\n", start == now);
	now = (char *)syscall(SYS_brk, start + 3 * PAGE + 5);
	printf("brk grew by %ld\n", (long)(now - start));
	memset(start, 3, 3 * PAGE + 5);
	now = (char *)syscall(SYS_brk, start - 1000 * PAGE);
	printf("brk below its start stays at %ld\n", (long)(now - start));
	now = (char *)syscall(SYS_brk, 0x7fffffffffffful);
	printf("brk too far stays at %ld\n", (long)(now - start));
	now = (char *)syscall(SYS_brk, start + PAGE);
	now = (char *)syscall(SYS_brk, start + 2 * PAGE);
	printf("brk came back with %d and %d\n", start[0], start[PAGE + 100]);
	now = (char *)syscall(SYS_brk, start);
	printf("brk back at the start: %d\n", now == start);
}

static void prepare(void)
{
	file = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (file < 0 || write(file, "text", 4) != 4)
		exit(1);
	read_only = open("file", O_RDONLY);
	write_only = open("file", O_WRONLY);
	directory = open(".", O_RDONLY | O_DIRECTORY);
	path_only = open("file", O_PATH);
	base = mmap(NULL, 64 * PAGE, RW, PRIVATE, -1, 0);
	munmap(base + 16 * PAGE, 48 * PAGE);
}

static const struct guest_case cases[] = {
	{"the break grows, stays and comes back zeroed [J1]", heap},
	{"mmap: arguments of anonymous mappings [J1][J10]", mmap_arguments},
	{"mmap: arguments of file mappings [J1]", mmap_files},
	{"what private and shared mappings of a file show [J11]", file_contents},
	{"/dev/zero is anonymous memory [J9]", zero_device},
	{"munmap: arguments and pieces [J1]", unmapping},
	{"mprotect: arguments and pieces [J1]", protecting},
	{"mincore: what is resident", residency},
	{"msync, mlock and their kin: arguments [J1]", syncing_and_locking},
	{"madvise: arguments", advising},
	{"mremap: arguments and contents", remapping},
};

int main(int argc, char **argv)
{
	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	prepare();
	cases_run(argc, argv, cases, NR_CASES(cases), NULL);
	return 0;
}
