/* SPDX-License-Identifier: MIT */
/*
 * same_mremap.c - mappings that grow, shrink and move, and what goes with them.
 */
#include "window.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define MOVE   MREMAP_MAYMOVE
#define FIXED  (MREMAP_MAYMOVE | MREMAP_FIXED)
#define LEAVES (MREMAP_MAYMOVE | MREMAP_DONTUNMAP)

static void grows_in_place(void)
{
	put(0, 2, RW);
	letters(0, 2);
	WHERE(mremap(AT(0), 2 * PAGE, 5 * PAGE, 0));
	show_letters("pages", 0, 6);
	WHERE(mremap(AT(0), 5 * PAGE, 6 * PAGE, MOVE));
	show_maps("area");
}

static void cannot_grow(void)
{
	put(0, 2, RW);
	put(3, 1, R);
	letters(0, 2);
	WHERE(mremap(AT(0), 2 * PAGE, 3 * PAGE, 0));
	WHERE(mremap(AT(0), 3 * PAGE, 5 * PAGE, 0));
	show_maps("areas");
}

static void grows_by_moving(void)
{
	char *p;

	put(0, 2, RW);
	put(2, 1, R);
	letters(0, 2);
	p = mremap(AT(0), 2 * PAGE, 4 * PAGE, MOVE);
	printf("moved %d: %c %c %d %d\n", p != AT(0), p[0], p[PAGE], p[2 * PAGE], p[3 * PAGE]);
	show_letters("left behind", 0, 3);
	munmap(p, 4 * PAGE);
}

static void shrinks(void)
{
	put(0, 6, RW);
	letters(0, 6);
	WHERE(mremap(AT(0), 6 * PAGE, 4 * PAGE, 0));
	WHERE(mremap(AT(1), 3 * PAGE, PAGE, 0));
	show_letters("pages", 0, 6);
	show_maps("area");
}

/* An old size is any number: what would go with a shrinking range ends with the address space, or nothing goes. */
static void old_sizes(void)
{
	const unsigned long start = (unsigned long)AT(0);
	const unsigned long size[] = {-1ul,
				      -(unsigned long)PAGE,
				      1ul << 63,
				      -start,
				      (unsigned long)USER_END,
				      (unsigned long)KERNEL - start,
				      -start + PAGE,
				      (unsigned long)USER_END - start + PAGE};

	for (size_t i = 0; i < sizeof(size) / sizeof(size[0]); i++) {
		put(0, 2, RW);
		letters(0, 2);
		WHERE(mremap(AT(0), size[i], PAGE, 0));
		WHERE(mremap(AT(0), size[i], PAGE, MOVE));
		WHERE(mremap(AT(0), size[i], PAGE, FIXED, AT(8)));
		show_letters("pages", 0, 2);
		munmap(AT(0), 9 * PAGE);
	}
}

static void same_size(void)
{
	put(0, 2, RW);
	letters(0, 2);
	WHERE(mremap(AT(0), 2 * PAGE, 2 * PAGE, 0));
	WHERE(mremap(AT(0), 1, PAGE, 0));
	WHERE(mremap(AT(0), PAGE + 1, 2 * PAGE, MOVE));
	show_maps("area");
}

static void moves_to_a_place(void)
{
	put(0, 4, RW);
	letters(0, 4);
	WHERE(mremap(AT(0), 4 * PAGE, 4 * PAGE, FIXED, AT(16)));
	show_letters("from", 0, 4);
	show_letters("to", 16, 4);
	WHERE(mremap(AT(16), 4 * PAGE, 2 * PAGE, FIXED, AT(32)));
	show_letters("shrunk on the way", 32, 4);
	WHERE(mremap(AT(32), 2 * PAGE, 4 * PAGE, FIXED, AT(48)));
	show_letters("grown on the way", 48, 5);
	show_maps("areas");
}

static void moves_over_others(void)
{
	put(0, 2, RW);
	letters(0, 2);
	put(8, 6, RW);
	memset(AT(8), 'z', 6 * PAGE);
	WHERE(mremap(AT(0), 2 * PAGE, 2 * PAGE, FIXED, AT(10)));
	show_letters("pages", 8, 6);
	show_letters("from", 0, 2);
}

static void moves_a_part(void)
{
	put(0, 6, RW);
	letters(0, 6);
	WHERE(mremap(AT(2), 2 * PAGE, 2 * PAGE, FIXED, AT(16)));
	show_letters("from", 0, 6);
	show_letters("to", 16, 2);
	show_maps("areas");
}

static void move_back_merges(void)
{
	put(0, 4, RW);
	letters(0, 4);
	mremap(AT(1), 2 * PAGE, 2 * PAGE, FIXED, AT(16));
	show_maps("apart");
	mremap(AT(16), 2 * PAGE, 2 * PAGE, FIXED, AT(1));
	show_letters("pages", 0, 4);
	show_maps("together");
}

static void bad_places(void)
{
	put(0, 4, RW);
	WHERE(mremap(AT(0), 2 * PAGE, 2 * PAGE, MREMAP_FIXED, AT(8)));
	WHERE(mremap(AT(0), 2 * PAGE, 2 * PAGE, FIXED, AT(8) + 1));
	WHERE(mremap(AT(0), 2 * PAGE, 2 * PAGE, FIXED, AT(1)));
	WHERE(mremap(AT(1), 2 * PAGE, 2 * PAGE, FIXED, AT(0)));
	WHERE(mremap(AT(0), 2 * PAGE, 2 * PAGE, FIXED, AT(0)));
	WHERE(mremap(AT(0), PAGE, PAGE, FIXED, USER_END));
	WHERE(mremap(AT(0), PAGE, 2 * PAGE, FIXED, USER_END - PAGE));
	WHERE(mremap(AT(0), PAGE, PAGE, FIXED, KERNEL));
	WHERE(mremap(AT(0), PAGE, PAGE, FIXED, NULL));
	show_maps("as it was");
}

static void bad_arguments(void)
{
	put(0, 4, RW);
	WHERE(mremap(BASE + 1, PAGE, PAGE, 0));
	WHERE(mremap(AT(0), PAGE, 0, 0));
	WHERE(mremap(AT(0), PAGE, 0, MOVE));
	WHERE(mremap(AT(0), PAGE, PAGE, 8));
	WHERE(mremap(AT(0), PAGE, PAGE, -1));
	WHERE(mremap(AT(0), -1ul, PAGE, MOVE));
	WHERE(mremap(AT(0), PAGE, -1ul, MOVE));
	WHERE(mremap(AT(0), PAGE, 1ul << 47, MOVE));
	WHERE(mremap(AT(0), 0, PAGE, MOVE));
	WHERE(mremap(AT(0), 0, 0, MOVE));
	WHERE(mremap(KERNEL, PAGE, PAGE, 0));
	show_maps("as it was");
}

static void nothing_there(void)
{
	put(0, 2, RW);
	put(3, 2, RW);
	WHERE(mremap(AT(8), PAGE, PAGE, 0));
	WHERE(mremap(AT(8), PAGE, 2 * PAGE, MOVE));
	WHERE(mremap(AT(1), 2 * PAGE, 3 * PAGE, MOVE));
	WHERE(mremap(AT(2), PAGE, PAGE, 0));
	WHERE(mremap(AT(1), 2 * PAGE, PAGE, 0));
	show_maps("areas");
}

static void across_areas(void)
{
	put(0, 2, RW);
	put(2, 2, R);
	letters(0, 2);
	WHERE(mremap(AT(1), 2 * PAGE, 4 * PAGE, MOVE));
	WHERE(mremap(AT(1), 2 * PAGE, PAGE, 0));
	show_maps("areas");
}

/* What is in the holes of the new place stays. */
static void several_to_a_place(void)
{
	put(0, 2, RW);
	put(2, 2, R);
	put(5, 2, RW);
	letters(0, 2);
	letters(5, 2);
	put(20, 1, RW);
	letters(20, 1);
	WHERE(mremap(AT(1), 5 * PAGE, 5 * PAGE, FIXED, AT(17)));
	show_maps("areas");
	show_letters("the first", 17, 1);
	show_letters("in the hole", 20, 1);
	show_letters("behind it", 21, 1);
	WHERE(mremap(AT(3), 5 * PAGE, 5 * PAGE, FIXED, AT(40)));
	WHERE(mremap(AT(17), 5 * PAGE, 4 * PAGE, FIXED, AT(40)));
	WHERE(mremap(AT(17), 5 * PAGE, 6 * PAGE, FIXED, AT(40)));
	WHERE(mremap(AT(17), 5 * PAGE, 5 * PAGE, LEAVES | MREMAP_FIXED, AT(40)));
	show_maps("left behind and moved");
}

static void several_of_a_file(void)
{
	int fd = letter_file("remap", 4, 0);

	put_file(0, 2, RW, MAP_PRIVATE, fd, 1);
	put_file(2, 2, R, MAP_SHARED, fd, 0);
	put(4, 600, RW);
	letters(4, 600);
	AT(1)[0] = 'x';
	WHERE(mremap(AT(0), 604 * PAGE, 604 * PAGE, FIXED, AT(2000)));
	show_letters("moved", 2000, 8);
	show_maps("areas");
	close(fd);
}

static void leaves_an_empty_area(void)
{
	char *p;

	put(0, 2, RW);
	letters(0, 2);
	p = mremap(AT(0), 2 * PAGE, 2 * PAGE, LEAVES, NULL);
	printf("moved %d: %c %c\n", p != AT(0), p[0], p[PAGE]);
	show_letters("left behind, empty", 0, 2);
	printf("writable: %s\n", poke(AT(0)));
	WHERE(mremap(p, 2 * PAGE, 2 * PAGE, LEAVES | MREMAP_FIXED, AT(8)));
	show_letters("at a place", 8, 2);
	munmap(p, 2 * PAGE);
}

static void leaves_refusals(void)
{
	put(0, 4, RW);
	WHERE(mremap(AT(0), 2 * PAGE, 4 * PAGE, LEAVES, NULL));
	WHERE(mremap(AT(0), 2 * PAGE, PAGE, LEAVES, NULL));
	WHERE(mremap(AT(0), 2 * PAGE, 2 * PAGE, MREMAP_DONTUNMAP, NULL));
	WHERE(mremap(AT(0), 2 * PAGE, 2 * PAGE, LEAVES, BASE + 1));
	WHERE(mremap(AT(0), 2 * PAGE, 2 * PAGE, LEAVES, AT(1)));
	WHERE(mremap(AT(0), 2 * PAGE, 2 * PAGE, LEAVES, USER_END));
	WHERE(mremap(AT(0), 2 * PAGE, 2 * PAGE, LEAVES, AT(8)));
	WHERE(mremap(AT(0), 2 * PAGE, 2 * PAGE, LEAVES | MREMAP_FIXED, AT(1)));
}

static void leaves_shared(void)
{
	put_shared(0, 2, RW);
	letters(0, 2);
	WHERE(mremap(AT(0), 2 * PAGE, 2 * PAGE, LEAVES | MREMAP_FIXED, AT(8)));
	show_letters("here", 8, 2);
	show_letters("and there", 0, 2);
	AT(0)[0] = 'x';
	show_letters("the same memory", 8, 2);
}

static void duplicates_shared(void)
{
	put_shared(0, 4, RW);
	letters(0, 4);
	WHERE(mremap(AT(1), 0, 2 * PAGE, FIXED, AT(16)));
	show_letters("the second", 16, 2);
	AT(16)[0] = 'x';
	show_letters("the first", 0, 4);
	show_maps("areas");
}

static void protection_moves_along(void)
{
	put(0, 3, RW);
	letters(0, 3);
	mprotect(AT(0), PAGE, R);
	mprotect(AT(1), PAGE, PROT_NONE);
	mremap(AT(0), PAGE, PAGE, FIXED, AT(16));
	mremap(AT(1), PAGE, PAGE, FIXED, AT(17));
	mremap(AT(2), PAGE, PAGE, FIXED, AT(18));
	for (long i = 16; i < 19; i++)
		printf("%ld: read %s, write %s\n", i, peek(AT(i)), poke(AT(i)));
	show_maps("areas");
}

static void file_mappings(void)
{
	int fd = letter_file("remap", 4, 0);

	put_file(0, 2, RW, MAP_PRIVATE, fd, 1);
	AT(1)[0] = 'x';
	WHERE(mremap(AT(0), 2 * PAGE, 3 * PAGE, 0));
	show_letters("grown over more of the file", 0, 3);
	WHERE(mremap(AT(0), 3 * PAGE, 3 * PAGE, FIXED, AT(16)));
	show_letters("moved", 16, 3);
	WHERE(mremap(AT(17), 2 * PAGE, PAGE, FIXED, AT(32)));
	show_maps("areas");
	close(fd);
}

static void beyond_the_file(void)
{
	int fd = letter_file("remap", 2, 0);

	put_file(0, 1, R, MAP_SHARED, fd, 0);
	WHERE(mremap(AT(0), PAGE, 4 * PAGE, 0));
	show_letters("pages", 0, 4);
	printf("behind the end: %s\n", peek(AT(2)));
	close(fd);
}

static void untouched_pages(void)
{
	put(0, 8, RW);
	AT(3)[0] = 'd';
	WHERE(mremap(AT(0), 8 * PAGE, 8 * PAGE, FIXED, AT(32)));
	show_letters("pages", 32, 8);
}

static void across_tables(void)
{
	long edge = (2 << 20) / PAGE;

	put(edge - 3, 6, RW);
	letters(edge - 3, 6);
	WHERE(mremap(AT(edge - 3), 6 * PAGE, 6 * PAGE, FIXED, AT(4 * edge - 1)));
	show_letters("from", edge - 3, 6);
	show_letters("to", 4 * edge - 1, 6);
}

static void many_pages(void)
{
	long pages = 2000;
	uint32_t before, after;

	put(0, pages, RW);
	for (long i = 0; i < pages; i++)
		memcpy(AT(i), &i, sizeof(i));
	before = checksum(AT(0), (size_t)(pages * PAGE));
	mremap(AT(0), (size_t)(pages * PAGE), (size_t)(pages * PAGE), FIXED, AT(4096 + 7));
	after = checksum(AT(4096 + 7), (size_t)(pages * PAGE));
	printf("%x %d\n", before, before == after);
}

static const struct guest_case cases[] = {
	{"grows in place when there is room [J1]", grows_in_place},
	{"no room to grow in place is ENOMEM", cannot_grow},
	{"grows by moving with MREMAP_MAYMOVE", grows_by_moving},
	{"shrinks in place", shrinks},
	{"an old size beyond the end is refused", old_sizes},
	{"the same size, rounded up, is nothing to do", same_size},
	{"MREMAP_FIXED moves, grows and shrinks on the way", moves_to_a_place},
	{"MREMAP_FIXED replaces what is there [I16]", moves_over_others},
	{"a part of an area is moved out of it", moves_a_part},
	{"what moves back merges again [I13]", move_back_merges},
	{"places that are refused [F8]", bad_places},
	{"arguments that are refused", bad_arguments},
	{"nothing there is EFAULT", nothing_there},
	{"a range across areas", across_areas},
	{"MREMAP_FIXED of the same size moves all areas of the range [J1]", several_to_a_place},
	{"areas of files move with what is between them [J1]", several_of_a_file},
	{"MREMAP_DONTUNMAP leaves an empty area", leaves_an_empty_area},
	{"MREMAP_DONTUNMAP: sizes and hints that are refused", leaves_refusals},
	{"MREMAP_DONTUNMAP of shared memory leaves both", leaves_shared},
	{"an old size of 0 maps shared memory a second time [H8]", duplicates_shared},
	{"protections move along [H7]", protection_moves_along},
	{"a private file mapping grows and moves with its own pages [J8]", file_mappings},
	{"a file mapping grows beyond its file", beyond_the_file},
	{"pages never touched stay so", untouched_pages},
	{"across the reach of page tables", across_tables},
	{"2000 pages to an odd place", many_pages},
};

CASES_MAIN(cases)
