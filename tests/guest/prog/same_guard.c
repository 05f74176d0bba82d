/* SPDX-License-Identifier: MIT */
/*
 * same_guard.c - pages that nobody may touch: where guards may be, what passes over them, what takes them away.
 */
#include "window.h"

#include <sys/uio.h>
#include <sys/wait.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE  103
#endif

#define BLOCK 512l /* pages of a huge one */

static void guard_pages(void)
{
	put(0, 4, RW);
	letters(0, 4);
	TELL(madvise(AT(1), 2 * PAGE, MADV_GUARD_INSTALL));
	printf("read %s\n", peek(AT(1)));
	printf("write %s\n", poke(AT(2)));
	printf("run %s\n", jump(AT(2)));
	show_letters("pages", 0, 4);
	show_maps("one area still");
	TELL(madvise(AT(1), 2 * PAGE, MADV_GUARD_INSTALL));
	TELL(madvise(AT(1), 2 * PAGE, MADV_GUARD_REMOVE));
	show_letters("zeros", 0, 4);
	TELL(madvise(AT(0), 4 * PAGE, MADV_GUARD_REMOVE));
	show_letters("no guards, nothing changes", 0, 4);
}

static void guard_survives(void)
{
	put(0, 4, RW);
	letters(0, 4);
	madvise(AT(1), PAGE, MADV_GUARD_INSTALL);
	TELL(madvise(AT(0), 4 * PAGE, MADV_DONTNEED));
	show_letters("MADV_DONTNEED", 0, 4);
	TELL(madvise(AT(0), 4 * PAGE, MADV_FREE));
	show_letters("MADV_FREE", 0, 4);
	TELL(mprotect(AT(0), 4 * PAGE, R));
	TELL(mprotect(AT(0), 4 * PAGE, RW));
	show_letters("mprotect", 0, 4);
	TELL(mprotect(AT(0), 4 * PAGE, PROT_NONE));
	TELL(mprotect(AT(0), 4 * PAGE, RW));
	show_letters("PROT_NONE", 0, 4);
	TELL(madvise(AT(0), 4 * PAGE, MADV_POPULATE_WRITE));
	TELL(madvise(AT(0), 4 * PAGE, MADV_POPULATE_READ));
	mremap(AT(0), 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(16));
	show_letters("mremap", 16, 4);
	munmap(AT(16), 4 * PAGE);
	put(16, 4, RW);
	show_letters("but not munmap", 16, 4);
}

static void guard_refused(void)
{
	put_shared(0, 1, RW);
	TELL(madvise(AT(0), PAGE, MADV_GUARD_INSTALL));
	TELL(madvise(AT(0), PAGE, MADV_GUARD_REMOVE));
	put(2, 1, R);
	TELL(madvise(AT(2), PAGE, MADV_GUARD_INSTALL));
	put(4, 1, RW);
	TELL(madvise(AT(4), 2 * PAGE, MADV_GUARD_INSTALL));
	printf("before the hole: %s\n", peek(AT(4)));
	put(8, 1, RW);
	mlock(AT(8), PAGE);
	TELL(madvise(AT(8), PAGE, MADV_GUARD_INSTALL));
	TELL(madvise(AT(8), PAGE, MADV_GUARD_REMOVE));
	munlock(AT(8), PAGE);
	TELL(madvise(AT(0) + 1, PAGE, MADV_GUARD_INSTALL));
	TELL(madvise(AT(0), 0, MADV_GUARD_INSTALL));
	TELL(madvise(AT(20), PAGE, MADV_GUARD_REMOVE));
}

static void beyond_a_hole(void)
{
	put(0, 1, RW);
	put(2, 1, RW);
	put(3, 1, R);
	TELL(madvise(AT(0), 4 * PAGE, MADV_GUARD_INSTALL));
	show_letters("all but the hole", 0, 4);
	TELL(madvise(AT(0), 4 * PAGE, MADV_GUARD_REMOVE));
	show_letters("none", 0, 4);
}

static void without_rights(void)
{
	put(0, 1, PROT_NONE);
	put(1, 1, R);
	madvise(AT(0), 2 * PAGE, MADV_GUARD_INSTALL);
	printf("read, no rights %s\n", peek(AT(0)));
	printf("write, no right to %s\n", poke(AT(1)));
	printf("read %s\n", peek(AT(1)));
}

static void of_files(int type)
{
	int fd = letter_file("guarded", 4, 0);

	put_file(0, 4, RW, type, fd, 0);
	show_letters("the file", 0, 4);
	*AT(1) = 'x';
	TELL(madvise(AT(1), 2 * PAGE, MADV_GUARD_INSTALL));
	printf("read %s\n", peek(AT(1)));
	show_letters("guards", 0, 4);
	show_resident("there", 0, 4);
	TELL(madvise(AT(0), 4 * PAGE, MADV_DONTNEED));
	show_letters("MADV_DONTNEED", 0, 4);
	show_maps("one area still");
	TELL(madvise(AT(1), PAGE, MADV_GUARD_REMOVE));
	show_letters("the first removed", 0, 4);
	TELL(ftruncate(fd, PAGE));
	TELL(ftruncate(fd, 4 * PAGE));
	show_letters("cut short and grown", 0, 4);
	close(fd);
}

static void private_file(void)
{
	of_files(MAP_PRIVATE);
}

static void shared_file(void)
{
	of_files(MAP_SHARED);
}

static void shared_memory(void)
{
	put_shared(0, 4, RW);
	letters(0, 4);
	TELL(madvise(AT(1), 2 * PAGE, MADV_GUARD_INSTALL));
	show_letters("guards", 0, 4);
	TELL(madvise(AT(2), PAGE, MADV_GUARD_REMOVE));
	show_letters("what was there comes back", 0, 4);
}

static void calls(void)
{
	char text[8] = "abc";
	struct iovec mine = {text, 3}, guarded = {AT(1), 3};
	int ends[2];

	put(0, 2, RW);
	madvise(AT(1), PAGE, MADV_GUARD_INSTALL);
	if (pipe(ends))
		return;
	COUNT(write(ends[1], AT(1), 3));
	COUNT(write(ends[1], "abcdef", 6));
	COUNT(read(ends[0], AT(1), 3));
	COUNT(read(ends[0], AT(1) - 2, 2));
	COUNT(process_vm_readv(getpid(), &mine, 1, &guarded, 1, 0));
	COUNT(process_vm_writev(getpid(), &mine, 1, &guarded, 1, 0));
	COUNT(open(AT(1), O_RDONLY));
	close(ends[0]);
	close(ends[1]);
}

static uint64_t pagemap(long page)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	if (pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)AT(page) / PAGE * 8)) != sizeof(entry))
		printf("pagemap: %s\n", errno_name(-1));
	close(fd);
	return entry >> 55;
}

static void seen(void)
{
	put(0, 4, RW);
	letters(0, 3);
	madvise(AT(1), PAGE, MADV_GUARD_INSTALL);
	madvise(AT(3), PAGE, MADV_GUARD_INSTALL);
	show_resident("there", 0, 4);
	for (long i = 1; i < 4; i += 2)
		printf("pagemap %d: %lx\n", (int)i, (unsigned long)(pagemap(i) & ~1ul));
	TELL(mlock(AT(0), 4 * PAGE));
	TELL(madvise(AT(0), 4 * PAGE, MADV_GUARD_REMOVE));
	show_letters("removed where it is locked", 0, 4);
	TELL(munlock(AT(0), 4 * PAGE));
}

/* The first byte of each page that can be read, in a child: a bit for each that cannot. */
static int refused_in_child(long page, long pages)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		int refused = 0;
		for (long i = 0; i < pages; i++)
			refused |= strcmp(attempt(touch_read, AT(page + i)), "ok") ? 1 << i : 0;
		_exit(refused);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WEXITSTATUS(status);
}

static void inherited(void)
{
	int fd = letter_file("guarded", 4, 0);

	put(0, 4, RW);
	letters(0, 4);
	madvise(AT(1), PAGE, MADV_GUARD_INSTALL);
	printf("private %x\n", refused_in_child(0, 4));
	put_file(8, 4, RW, MAP_PRIVATE, fd, 0);
	madvise(AT(9), 2 * PAGE, MADV_GUARD_INSTALL);
	printf("private file %x\n", refused_in_child(8, 4));
	put_file(16, 4, RW, MAP_SHARED, fd, 0);
	madvise(AT(17), 2 * PAGE, MADV_GUARD_INSTALL);
	printf("shared file %x\n", refused_in_child(16, 4));
	put_shared(24, 4, RW);
	letters(24, 4);
	madvise(AT(27), PAGE, MADV_GUARD_INSTALL);
	printf("shared %x\n", refused_in_child(24, 4));
	put(32, 4, RW);
	madvise(AT(33), PAGE, MADV_GUARD_INSTALL);
	madvise(AT(32), 4 * PAGE, MADV_WIPEONFORK);
	printf("wiped %x\n", refused_in_child(32, 4));
	close(fd);
}

/* A table that a child shares is copied before guards go into it, or out of it. */
static void behind_a_fork(void)
{
	int status, ends[2];
	char byte = 0;
	pid_t pid;

	put(0, 4, RW);
	letters(0, 4);
	madvise(AT(1), PAGE, MADV_GUARD_INSTALL);
	fflush(stdout);
	if (pipe(ends))
		return;
	pid = fork();
	if (!pid) {
		if (read(ends[0], &byte, 1) != 1)
			_exit(99);
		_exit((strcmp(attempt(touch_read, AT(0)), "ok") ? 1 : 0) |
		      (strcmp(attempt(touch_read, AT(1)), "ok") ? 2 : 0) |
		      (strcmp(attempt(touch_read, AT(2)), "ok") ? 4 : 0));
	}
	TELL(madvise(AT(1), PAGE, MADV_GUARD_REMOVE));
	TELL(madvise(AT(2), PAGE, MADV_GUARD_INSTALL));
	show_letters("the parent", 0, 4);
	COUNT(write(ends[1], "x", 1));
	waitpid(pid, &status, 0);
	printf("the child %d\n", WEXITSTATUS(status));
	close(ends[0]);
	close(ends[1]);
}

static void in_huge_pages(void)
{
	put(0, 2 * BLOCK, RW);
	madvise(AT(0), 2 * BLOCK * PAGE, MADV_HUGEPAGE);
	memset(AT(0), 'h', 2 * BLOCK * PAGE);
	TELL(madvise(AT(BLOCK - 1), 2 * PAGE, MADV_GUARD_INSTALL));
	show_letters("the guards' place", BLOCK - 2, 4);
	memset(AT(0), 'i', (BLOCK - 1) * PAGE);
	memset(AT(BLOCK + 1), 'i', (BLOCK - 1) * PAGE);
	TELL(madvise(AT(BLOCK - 1), 2 * PAGE, MADV_GUARD_REMOVE));
	show_letters("removed", BLOCK - 2, 4);
	TELL(madvise(AT(0), 2 * BLOCK * PAGE, MADV_GUARD_INSTALL));
	printf("all: %s, %s\n", peek(AT(0)), poke(AT(2 * BLOCK - 1)));
	TELL(madvise(AT(BLOCK), PAGE, MADV_GUARD_REMOVE));
	*AT(BLOCK) = 'z';
	show_letters("one is open", BLOCK - 1, 3);
}

static void around_faults(void)
{
	put(0, 64, RW);
	for (long i = 0; i < 64; i += 4)
		madvise(AT(i), PAGE, MADV_GUARD_INSTALL);
	for (long i = 1; i < 64; i += 4)
		memset(AT(i), 'w', 3 * PAGE);
	show_letters("writes between guards", 0, 64);
	put(128, 64, RW);
	madvise(AT(130), PAGE, MADV_GUARD_INSTALL);
	show_letters("reads of untouched memory", 128, 4);
}

static long advise_by(int fd, const struct iovec *ranges, long nr, int advice, unsigned int flags)
{
	return syscall(440, fd, ranges, nr, advice, flags);
}

static void by_process_madvise(void)
{
	int self = (int)syscall(434, getpid(), 0);
	struct iovec ranges[3] = {{AT(0), PAGE}, {AT(2), PAGE}, {AT(9), PAGE}};

	put(0, 4, RW);
	letters(0, 4);
	COUNT(advise_by(self, ranges, 2, MADV_GUARD_INSTALL, 0));
	show_letters("guards", 0, 4);
	COUNT(advise_by(self, ranges, 3, MADV_GUARD_REMOVE, 0));
	show_letters("none", 0, 4);
	COUNT(advise_by(self, ranges + 2, 1, MADV_DONTNEED, 0));
	COUNT(advise_by(self, ranges, 3, MADV_DONTNEED, 0));
	COUNT(advise_by(self, ranges, 2, 999, 0));
	COUNT(advise_by(self, ranges, 0, 999, 0));
	COUNT(advise_by(self, ranges, 2, MADV_COLD, 1));
	COUNT(advise_by(-1, ranges, 2, MADV_COLD, 0));
	COUNT(advise_by(0, ranges, 2, MADV_COLD, 0));
	COUNT(advise_by(self, ranges, 1025, MADV_COLD, 0));
	COUNT(advise_by(self, (struct iovec *)AT(20), 1, MADV_COLD, 0));
	COUNT(advise_by(self, ranges, 2, MADV_COLD, 0));
	close(self);
}

static void of_sealed_areas(void)
{
	put(0, 2, R);
	TELL(syscall(462, AT(0), 2 * PAGE, 0));
	TELL(madvise(AT(0), PAGE, MADV_GUARD_INSTALL));
	TELL(madvise(AT(0), PAGE, MADV_GUARD_REMOVE));
}

static void moved(void)
{
	put(0, 4, RW);
	letters(0, 4);
	madvise(AT(1), PAGE, MADV_GUARD_INSTALL);
	WHERE(mremap(AT(0), 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | 4, AT(16)));
	show_letters("old", 0, 4);
	show_letters("new", 16, 4);
	WHERE(mremap(AT(16), 4 * PAGE, 2 * PAGE, 0));
	WHERE(mremap(AT(16), 2 * PAGE, 4 * PAGE, 0));
	show_letters("cut and grown", 16, 4);
}

static const struct guest_case cases[] = {
	{"MADV_GUARD_INSTALL: accesses fault, MADV_GUARD_REMOVE gives zeros [J12]", guard_pages},
	{"MADV_GUARD_INSTALL: guards outlive all but munmap [J12]", guard_survives},
	{"MADV_GUARD_INSTALL: where it is refused [J12]", guard_refused},
	{"guards on both sides of a hole [J12]", beyond_a_hole},
	{"guards where there are no rights [J12]", without_rights},
	{"guards over a private file [J12]", private_file},
	{"guards over a shared file [J12]", shared_file},
	{"guards over shared memory [J12]", shared_memory},
	{"guards: calls that touch them fail [J12]", calls},
	{"guards: mincore, pagemap, mlock [J12]", seen},
	{"guards are inherited [J12]", inherited},
	{"guards of a parent and of its child are each its own [J12]", behind_a_fork},
	{"guards in huge pages [J12][B19]", in_huge_pages},
	{"guards among pages that come with others [J12]", around_faults},
	{"guards move along [J12]", moved},
	{"process_madvise: several ranges, one's own [J12]", by_process_madvise},
	{"guards in sealed areas, which stay to the end [J12]", of_sealed_areas},
};

CASES_MAIN(cases)
