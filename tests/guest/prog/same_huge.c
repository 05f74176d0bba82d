/* SPDX-License-Identifier: MIT */
/*
 * same_huge.c - memory on which huge pages are asked for: it is the same memory.
 */
#include "window.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define BLOCK 512l /* pages of a huge page */

static void put_words(long page, long pages)
{
	for (long i = 0; i < pages; i++)
		*(long *)AT(page + i) = page + i + 1;
}

/* How many pages of the range do not hold what put_words left there. */
static long wrong_words(long page, long pages)
{
	long wrong = 0;

	for (long i = 0; i < pages; i++)
		wrong += *(long *)AT(page + i) != page + i + 1;
	return wrong;
}

static void advised(long page, long pages)
{
	put(page, pages, RW);
	madvise(AT(page), (size_t)(pages * PAGE), MADV_HUGEPAGE);
}

static void written_and_read(void)
{
	advised(0, 2 * BLOCK);
	printf("zeros: %x\n", checksum(AT(0), 2 * BLOCK * PAGE));
	put_words(0, 2 * BLOCK);
	printf("wrong: %ld\n", wrong_words(0, 2 * BLOCK));
}

static void read_then_written(void)
{
	advised(0, BLOCK);
	printf("%s %s\n", peek(AT(0)), peek(AT(BLOCK - 1)));
	AT(7)[0] = 'x';
	printf("%s %s %s\n", peek(AT(6)), peek(AT(7)), peek(AT(8)));
	printf("rest: %x\n", checksum(AT(8), (BLOCK - 8) * PAGE));
}

static void part_unmapped(void)
{
	advised(0, 2 * BLOCK);
	put_words(0, 2 * BLOCK);
	TELL(munmap(AT(100), 10 * PAGE));
	printf("hole: %s %s %s\n", poke(AT(99) + 100), peek(AT(100)), peek(AT(109)));
	printf("wrong: %ld %ld\n", wrong_words(0, 100), wrong_words(110, 2 * BLOCK - 110));
	TELL(munmap(AT(BLOCK - 1), 2 * PAGE));
	printf("wrong: %ld %ld\n", wrong_words(110, BLOCK - 111), wrong_words(BLOCK + 1, BLOCK - 1));
}

static void part_dropped(void)
{
	advised(0, BLOCK);
	put_words(0, BLOCK);
	TELL(madvise(AT(10), 20 * PAGE, MADV_DONTNEED));
	printf("dropped: %ld %ld\n", *(long *)AT(10), *(long *)AT(29));
	printf("wrong: %ld %ld\n", wrong_words(0, 10), wrong_words(30, BLOCK - 30));
	TELL(madvise(AT(0), BLOCK * PAGE, MADV_DONTNEED));
	printf("all: %x\n", checksum(AT(0), BLOCK * PAGE));
}

static void part_protected(void)
{
	advised(0, BLOCK);
	put_words(0, BLOCK);
	TELL(mprotect(AT(64), 64 * PAGE, R));
	printf("before %s, in it %s, behind %s\n", poke(AT(63) + 8), poke(AT(64) + 8), poke(AT(128) + 8));
	TELL(mprotect(AT(0), BLOCK * PAGE, R));
	printf("all: %s\n", poke(AT(0) + 8));
	TELL(mprotect(AT(0), BLOCK * PAGE, RW));
	printf("wrong: %ld\n", wrong_words(0, BLOCK));
}

static void moved_whole(void)
{
	advised(0, BLOCK);
	put_words(0, BLOCK);
	WHERE(mremap(AT(0), BLOCK * PAGE, BLOCK * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(4 * BLOCK)));
	printf("%ld %ld\n", *(long *)AT(4 * BLOCK), *(long *)AT(5 * BLOCK - 1));
	WHERE(mremap(AT(4 * BLOCK), BLOCK * PAGE, BLOCK * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		     AT(8 * BLOCK + 1)));
	printf("%ld %ld\n", *(long *)AT(8 * BLOCK + 1), *(long *)AT(9 * BLOCK));
	show_maps("area");
}

static void moved_part(void)
{
	advised(0, BLOCK);
	put_words(0, BLOCK);
	WHERE(mremap(AT(100), 10 * PAGE, 10 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(4 * BLOCK)));
	printf("%ld %ld\n", *(long *)AT(4 * BLOCK), *(long *)AT(4 * BLOCK + 9));
	printf("wrong: %ld %ld\n", wrong_words(0, 100), wrong_words(110, BLOCK - 110));
}

static void collapsed(void)
{
	put(0, BLOCK, RW);
	for (long i = 0; i < BLOCK; i += 3)
		*(long *)AT(i) = i + 1;
	TELL(madvise(AT(0), BLOCK * PAGE, MADV_COLLAPSE));
	for (long i = 0; i < BLOCK; i += 3)
		if (*(long *)AT(i) != i + 1)
			printf("page %ld is lost\n", i);
	printf("%ld %ld\n", *(long *)AT(0), *(long *)AT(1));
	show_resident("all there", 0, 4);
}

static void collapse_answers(void)
{
	put(0, 4 * BLOCK, RW);
	TELL(madvise(AT(0), BLOCK * PAGE, MADV_COLLAPSE)); /* nothing there */
	AT(0)[0] = 1;
	TELL(madvise(AT(0), 4 * BLOCK * PAGE, MADV_COLLAPSE)); /* part of it never touched */
	TELL(madvise(AT(0), BLOCK * PAGE, MADV_COLLAPSE));
	TELL(madvise(AT(1), PAGE, MADV_COLLAPSE));
	TELL(madvise(AT(1), BLOCK * PAGE, MADV_COLLAPSE));
	TELL(madvise(AT(0), 0, MADV_COLLAPSE));
	AT(BLOCK)[0] = 2;
	TELL(mprotect(AT(BLOCK), BLOCK * PAGE, PROT_NONE));
	TELL(madvise(AT(BLOCK), BLOCK * PAGE, MADV_COLLAPSE));
	TELL(mprotect(AT(BLOCK), BLOCK * PAGE, R));
	printf("%s %s\n", peek(AT(BLOCK)), poke(AT(BLOCK)));
}

static void collapse_refused(void)
{
	put(0, BLOCK, RW);
	TELL(madvise(AT(0) + 1, BLOCK * PAGE, MADV_COLLAPSE));
	TELL(madvise(AT(0), 2 * BLOCK * PAGE, MADV_COLLAPSE));
	TELL(madvise(AT(0), PAGE, MADV_COLLAPSE));
	madvise(AT(0), BLOCK * PAGE, MADV_NOHUGEPAGE);
	AT(0)[0] = 1;
	TELL(madvise(AT(0), BLOCK * PAGE, MADV_COLLAPSE));
}

static void system_calls(void)
{
	int fd = open("huge", O_RDWR | O_CREAT | O_TRUNC, 0600);

	advised(0, 2 * BLOCK);
	put_words(0, 2 * BLOCK);
	COUNT(write(fd, AT(0), 2 * BLOCK * PAGE));
	advised(4 * BLOCK, 2 * BLOCK);
	COUNT(pread(fd, AT(4 * BLOCK) + 5, 2 * BLOCK * PAGE - 5, 5));
	printf("same %d\n", !memcmp(AT(0) + 5, AT(4 * BLOCK) + 5, 2 * BLOCK * PAGE - 5 - PAGE));
	munmap(AT(BLOCK + 5), PAGE);
	COUNT(pwrite(fd, AT(0), 2 * BLOCK * PAGE, 0));
	close(fd);
	unlink("huge");
}

static void unadvised(void)
{
	put(0, 2 * BLOCK, RW);
	TELL(madvise(AT(0), 2 * BLOCK * PAGE, MADV_NOHUGEPAGE));
	put_words(0, 2 * BLOCK);
	TELL(munmap(AT(1), PAGE));
	printf("wrong: %ld\n", wrong_words(2, 2 * BLOCK - 2));
}

static void locked(void)
{
	advised(0, BLOCK);
	TELL(mlock(AT(3), 2 * PAGE));
	put_words(0, BLOCK);
	TELL(munlock(AT(3), 2 * PAGE));
	printf("wrong: %ld\n", wrong_words(0, BLOCK));
}

static void shared(void)
{
	put_shared(0, 2 * BLOCK, RW);
	TELL(madvise(AT(0), 2 * BLOCK * PAGE, MADV_HUGEPAGE));
	put_words(0, 2 * BLOCK);
	WHERE(mremap(AT(0), 0, 2 * BLOCK * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(4 * BLOCK)));
	printf("%ld %ld\n", *(long *)AT(4 * BLOCK), *(long *)AT(6 * BLOCK - 1));
	munmap(AT(BLOCK / 2), BLOCK * PAGE);
	printf("%ld\n", *(long *)AT(5 * BLOCK));
}

static void pool_arguments(void)
{
	WHERE(mmap(AT(0), 2 << 20, RW, PRIVATE | MAP_FIXED | MAP_HUGETLB, -1, 0));
	WHERE(mmap(AT(0), 2 << 20, RW, PRIVATE | MAP_FIXED | MAP_HUGETLB | (21 << 26), -1, 0));
	WHERE(mmap(AT(0), 2 << 20, RW, PRIVATE | MAP_FIXED | MAP_HUGETLB | (20 << 26), -1, 0));
	WHERE(mmap(AT(1), 2 << 20, RW, PRIVATE | MAP_FIXED | MAP_HUGETLB, -1, 0));
	WHERE(mmap(AT(0), 0, RW, PRIVATE | MAP_FIXED | MAP_HUGETLB, -1, 0));
	WHERE(mmap(AT(0), 1, RW, PRIVATE | MAP_FIXED | MAP_HUGETLB, -1, 0));
	WHERE(mmap(AT(0), 2 << 20, RW, SHARED | MAP_FIXED | MAP_HUGETLB, -1, 0));
	WHERE(mmap(AT(0), 2 << 20, RW, PRIVATE | MAP_FIXED | MAP_HUGETLB | MAP_NORESERVE, -1, 0));
}

/* An area of 2 MiB pages, though there are none. */
static void pool_areas(void)
{
	WHERE(mmap(AT(0), 4 << 20, RW, PRIVATE | MAP_FIXED | MAP_HUGETLB | MAP_NORESERVE, -1, 0));
	TELL(munmap(AT(0), PAGE));
	TELL(munmap(AT(1), PAGE));
	TELL(mprotect(AT(0), PAGE, R));
	TELL(madvise(AT(0), PAGE, MADV_DONTNEED));
	TELL(madvise(AT(1), PAGE, MADV_DONTNEED));
	TELL(madvise(AT(0), BLOCK * PAGE, MADV_DONTNEED));
	TELL(madvise(AT(0), BLOCK * PAGE, MADV_FREE));
	TELL(madvise(AT(0), BLOCK * PAGE, MADV_REMOVE));
	TELL(madvise(AT(0), BLOCK * PAGE, MADV_WILLNEED));
	TELL(madvise(AT(0), BLOCK * PAGE, MADV_COLLAPSE));
	TELL(madvise(AT(0), PAGE, MADV_DONTFORK));
	TELL(madvise(AT(0), BLOCK * PAGE, MADV_DONTFORK));
	TELL(madvise(AT(0), BLOCK * PAGE, MADV_WIPEONFORK));
	TELL(mlock(AT(0), PAGE));
	TELL(munlock(AT(0), PAGE));
	WHERE(mremap(AT(0), BLOCK * PAGE, 2 * BLOCK * PAGE, MREMAP_MAYMOVE));
	WHERE(mremap(AT(1), BLOCK * PAGE, BLOCK * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(4 * BLOCK)));
	WHERE(mremap(AT(0), BLOCK * PAGE, BLOCK * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(4 * BLOCK + 1)));
	WHERE(mremap(AT(0), PAGE, BLOCK * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(4 * BLOCK)));
	printf("%s %s\n", peek(AT(BLOCK)), poke(AT(4 * BLOCK + 5)));
	TELL(munmap(AT(4 * BLOCK), BLOCK * PAGE));
}

static const struct guest_case cases[] = {
	{"4 MiB written and read [B19]", written_and_read},
	{"read first, then one page written [B19][K14]", read_then_written},
	{"a part unmapped [B19]", part_unmapped},
	{"a part dropped [B19]", part_dropped},
	{"a part protected [B19]", part_protected},
	{"moved, to a place as even and to an odd one [B19]", moved_whole},
	{"a part moved away [B19]", moved_part},
	{"in system calls [B19][P4]", system_calls},
	{"locked in part [B19]", locked},
	{"never, if so advised", unadvised},
	{"shared memory", shared},
	{"MAP_HUGETLB: arguments, and a pool of none [B19]", pool_arguments},
	{"MAP_HUGETLB: calls on its areas [B19]", pool_areas},
	{"MADV_COLLAPSE keeps what is there [B19]", collapsed},
	{"MADV_COLLAPSE: what it answers", collapse_answers},
	{"MADV_COLLAPSE: where it is refused", collapse_refused},
};

CASES_MAIN(cases)
