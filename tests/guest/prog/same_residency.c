/* SPDX-License-Identifier: MIT */
/*
 * same_residency.c - mincore and msync: what is there, what is written back.
 */
#include "window.h"

static unsigned char seen[64];

static void page_by_page(void)
{
	put(0, 64, RW);
	for (long i = 0; i < 64; i += 32)
		AT(i)[0] = 1;
	printf("touched: ");
	show_resident("", 0, 1);
	show_resident("touched", 32, 1);
	madvise(AT(0), 64 * PAGE, MADV_DONTNEED);
	show_resident("dropped", 0, 64);
	mmap(AT(0), 8 * PAGE, RW, PRIVATE | MAP_FIXED | MAP_POPULATE, -1, 0);
	show_resident("populated", 0, 8);
}

static void read_brings_zero_page(void)
{
	put(0, 1, RW);
	show_resident("before", 0, 1);
	printf("read %s\n", peek(AT(0)));
	show_resident("after", 0, 1);
}

static void protections_do_not_matter(void)
{
	put(0, 2, RW);
	letters(0, 2);
	mprotect(AT(0), 2 * PAGE, PROT_NONE);
	show_resident("no access", 0, 2);
	put(4, 2, PROT_NONE);
	show_resident("never touched", 4, 2);
}

static void of_files(void)
{
	int fd = letter_file("resident", 4, 0);

	put_file(0, 4, R, MAP_SHARED, fd, 0);
	put_file(8, 4, RW, MAP_PRIVATE, fd, 0);
	AT(8)[0] = 'x';
	peek(AT(1));
	show_resident("touched", 1, 1);
	show_resident("written", 8, 1);
	close(fd);
}

static void of_shared_memory(void)
{
	put_shared(0, 8, RW);
	AT(0)[0] = AT(4)[0] = 1;
	show_resident("touched", 0, 1);
	madvise(AT(0), 8 * PAGE, MADV_DONTNEED);
	show_resident("dropped here, kept there", 4, 1);
}

static void mincore_arguments(void)
{
	put(0, 8, RW);
	TELL(mincore(AT(0), 0, seen));
	TELL(mincore(AT(0) + 1, PAGE, seen));
	TELL(mincore(AT(0), 9 * PAGE, seen));
	TELL(mincore(AT(-1), 2 * PAGE, seen));
	TELL(mincore(AT(0), 8 * PAGE, NULL));
	TELL(mincore(AT(0), 8 * PAGE, (unsigned char *)KERNEL));
	TELL(mincore(AT(0), PAGE, (unsigned char *)AT(9)));
	TELL(mincore(AT(0), -1ul, seen));
	TELL(mincore(KERNEL, PAGE, seen));
	TELL(mincore(USER_END, PAGE, seen));
	TELL(mincore(AT(0), 1, seen));
	TELL(mincore(AT(0), 7 * PAGE + 1, (unsigned char *)AT(8) - 8));
	TELL(mincore(AT(0), 8 * PAGE + 1, seen));
}

static void only_bit_zero(void)
{
	memset(seen, 0xff, sizeof(seen));
	put(0, 4, RW);
	AT(0)[0] = 1;
	mincore(AT(0), 4 * PAGE, seen);
	printf("%d, the next untouched: %d\n", seen[0], seen[4]);
}

static void sync_arguments(void)
{
	put(0, 2, RW);
	put(3, 1, RW);
	TELL(msync(AT(0), 2 * PAGE, MS_SYNC));
	TELL(msync(AT(0), 2 * PAGE, MS_ASYNC));
	TELL(msync(AT(0), 2 * PAGE, MS_INVALIDATE));
	TELL(msync(AT(0), 2 * PAGE, 0));
	TELL(msync(AT(0), 2 * PAGE, MS_SYNC | MS_ASYNC));
	TELL(msync(AT(0), 2 * PAGE, 0x10));
	TELL(msync(AT(0) + 1, PAGE, MS_SYNC));
	TELL(msync(AT(0), 0, MS_SYNC));
	TELL(msync(AT(0), 1, MS_SYNC));
	TELL(msync(AT(0), 4 * PAGE, MS_SYNC));
	TELL(msync(AT(0), 4 * PAGE, MS_ASYNC));
	TELL(msync(AT(8), PAGE, MS_SYNC));
	TELL(msync(AT(8), 0, MS_SYNC));
	TELL(msync(AT(0), -1ul, MS_SYNC));
	TELL(msync(AT(0), -PAGE, MS_SYNC));
	TELL(msync(KERNEL, PAGE, MS_SYNC));
}

static void sync_invalidate_locked(void)
{
	put(0, 2, RW);
	mlock(AT(0), PAGE);
	TELL(msync(AT(0), 2 * PAGE, MS_INVALIDATE));
	TELL(msync(AT(0), 2 * PAGE, MS_SYNC));
	TELL(msync(AT(1), PAGE, MS_INVALIDATE));
	munlock(AT(0), PAGE);
}

static void sync_private_file(void)
{
	int fd = letter_file("synced", 2, 0);

	put_file(0, 2, RW, MAP_PRIVATE, fd, 0);
	AT(0)[0] = 'x';
	TELL(msync(AT(0), 2 * PAGE, MS_SYNC));
	printf("the file's: %c\n", byte_of_file(fd, 0));
	close(fd);
}

static void sync_no_access(void)
{
	put(0, 2, PROT_NONE);
	TELL(msync(AT(0), 2 * PAGE, MS_SYNC));
}

static const struct guest_case cases[] = {
	{"mincore: touched, dropped, populated [K27]", page_by_page},
	{"mincore: a page that was read is there [K13]", read_brings_zero_page},
	{"mincore: protections do not matter", protections_do_not_matter},
	{"mincore: file mappings", of_files},
	{"mincore: shared memory dropped here is there", of_shared_memory},
	{"mincore: arguments", mincore_arguments},
	{"mincore: only the lowest bit, only as many bytes as pages", only_bit_zero},
	{"msync: arguments", sync_arguments},
	{"msync: MS_INVALIDATE of locked memory is EBUSY [H11]", sync_invalidate_locked},
	{"msync: a private file mapping changes nothing [J11][L16]", sync_private_file},
	{"msync: without rights", sync_no_access},
};

CASES_MAIN(cases)
