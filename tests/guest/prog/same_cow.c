/* SPDX-License-Identifier: MIT */
/*
 * same_cow.c - pages that are shared until they are written: zero pages, file pages, and what keeps its own copy.
 */
#include "window.h"

static void zero_pages_apart(void)
{
	put(0, 8, RW);
	for (long i = 0; i < 8; i++)
		touch_read(AT(i));
	AT(3)[0] = 'x';
	show_letters("one written", 0, 8);
	AT(3)[1] = 'y';
	printf("the rest of its page: %x\n", checksum(AT(3) + 2, PAGE - 2));
}

static void two_private_mappings(void)
{
	int fd = letter_file("cow", 2, 0);

	put_file(0, 2, RW, MAP_PRIVATE, fd, 0);
	put_file(4, 2, RW, MAP_PRIVATE, fd, 0);
	show_letters("one", 0, 2);
	show_letters("other", 4, 2);
	AT(0)[0] = 'x';
	AT(5)[0] = 'y';
	show_letters("one", 0, 2);
	show_letters("other", 4, 2);
	printf("the rest of a copied page: %d\n", AT(0)[1] == 'A' && AT(0)[PAGE - 1] == 'A');
	close(fd);
}

static void copy_is_of_the_time_of_writing(void)
{
	int fd = letter_file("cow", 2, 0);

	put_file(0, 2, RW, MAP_PRIVATE, fd, 0);
	touch_read(AT(0));
	pwrite(fd, "1", 1, 10);
	AT(0)[0] = 'x';
	pwrite(fd, "2", 1, 11);
	printf("%c %c %c\n", AT(0)[0], AT(0)[10], AT(0)[11]);
	close(fd);
}

static void write_without_read(void)
{
	int fd = letter_file("cow", 3, 0);

	put_file(0, 3, RW, MAP_PRIVATE, fd, 0);
	for (long i = 0; i < 3; i++)
		AT(i)[5] = 'x';
	show_letters("first bytes", 0, 3);
	printf("%c%c%c%c\n", AT(1)[4], AT(1)[5], AT(1)[6], AT(1)[PAGE - 1]);
	close(fd);
}

static void copies_outlive_the_file(void)
{
	int fd = letter_file("cow", 4, 0);

	put_file(0, 4, RW, MAP_PRIVATE, fd, 0);
	AT(1)[0] = 'x';
	touch_read(AT(2));
	close(fd);
	unlink("cow");
	show_letters("after unlink", 0, 4);
}

static void dropped_copies(void)
{
	int fd = letter_file("cow", 2, 0);

	put_file(0, 2, RW, MAP_PRIVATE, fd, 0);
	AT(0)[0] = 'x';
	pwrite(fd, "1", 1, 0);
	printf("%c\n", AT(0)[0]);
	madvise(AT(0), PAGE, MADV_DONTNEED);
	printf("%c\n", AT(0)[0]);
	close(fd);
}

static void moved_copies(void)
{
	int fd = letter_file("cow", 4, 0);

	put_file(0, 4, RW, MAP_PRIVATE, fd, 0);
	AT(1)[0] = 'x';
	mremap(AT(0), 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(16));
	show_letters("moved", 16, 4);
	AT(18)[0] = 'y';
	show_letters("written", 16, 4);
	mmap(AT(17), PAGE, RW, MAP_PRIVATE | MAP_FIXED, fd, PAGE);
	show_letters("mapped anew", 16, 4);
	show_maps("areas");
	close(fd);
}

static void shared_behind_private(void)
{
	int fd = letter_file("cow", 2, 0);

	put_file(0, 2, RW, MAP_SHARED, fd, 0);
	put_file(4, 2, RW, MAP_PRIVATE, fd, 0);
	AT(0)[0] = '1';
	printf("%c\n", AT(4)[0]);
	AT(4)[1] = '2';
	AT(0)[0] = '3';
	printf("%c%c %c%c\n", AT(4)[0], AT(4)[1], AT(0)[0], AT(0)[1]);
	AT(5)[0] = '4';
	printf("%c %c\n", AT(1)[0], byte_of_file(fd, PAGE));
	close(fd);
}

static void many_writes(void)
{
	int fd = letter_file("cow", 64, 0);
	uint32_t before;

	put_file(0, 64, RW, MAP_PRIVATE, fd, 0);
	put_file(100, 64, R, MAP_SHARED, fd, 0);
	before = checksum(AT(100), 64 * PAGE);
	for (long i = 0; i < 64; i += 2)
		memset(AT(i) + 100, 'z', 2000);
	printf("private %x, shared unchanged %d\n", checksum(AT(0), 64 * PAGE),
	       checksum(AT(100), 64 * PAGE) == before);
	close(fd);
}

static int order[8], nr_ordered;

static bool allow_and_note(siginfo_t *info, ucontext_t *uc)
{
	(void)uc;
	if (nr_ordered < 8)
		order[nr_ordered++] = (int)(((char *)info->si_addr - AT(0)) / PAGE);
	return !mprotect((char *)((uintptr_t)info->si_addr & ~4095ul), PAGE, RW);
}

/* A program that finds out for itself which of its pages were written. */
static void write_tracking(void)
{
	put(0, 8, RW);
	letters(0, 8);
	mprotect(AT(0), 8 * PAGE, R);
	nr_ordered = 0;
	fault_repair = allow_and_note;
	AT(5)[0] = AT(2)[0] = AT(5)[1] = AT(7)[0] = 'x';
	printf("written:");
	for (int i = 0; i < nr_ordered; i++)
		printf(" %d", order[i]);
	printf("\n");
	show_letters("pages", 0, 8);
}

static void shared_zero_pages(void)
{
	put_shared(0, 4, RW);
	for (long i = 0; i < 4; i++)
		touch_read(AT(i));
	WHERE(mremap(AT(0), 0, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(8)));
	AT(9)[0] = 'x';
	show_letters("read before the other wrote", 0, 4);
}

static const struct guest_case cases[] = {
	{"zero pages part when they are written [K13][K14]", zero_pages_apart},
	{"two private mappings of a page part when one is written [J11][K23]", two_private_mappings},
	{"a copy is of the time of its first write [K23]", copy_is_of_the_time_of_writing},
	{"a first access that writes copies at once [K20]", write_without_read},
	{"copies and pages outlive the file's name [J11]", copies_outlive_the_file},
	{"a copy that is dropped shows the file again", dropped_copies},
	{"copies move with their mapping", moved_copies},
	{"shared writes show in private pages not yet copied [J8][K22][K23]", shared_behind_private},
	{"many copies, the file unchanged [J11][K20]", many_writes},
	{"a handler sees which pages are written first [K2][K4]", write_tracking},
	{"shared pages are one from the first read on [J8][H8]", shared_zero_pages},
};

CASES_MAIN(cases)
