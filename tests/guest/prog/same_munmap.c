/* SPDX-License-Identifier: MIT */
/*
 * same_munmap.c - what munmap takes away, and what stays.
 */
#include "window.h"

static void middle(void)
{
	put(0, 8, RW);
	letters(0, 8);
	TELL(munmap(AT(3), 2 * PAGE));
	show_letters("left", 0, 8);
	show_maps("two areas");
}

static void ends(void)
{
	put(0, 8, RW);
	letters(0, 8);
	TELL(munmap(AT(0), PAGE));
	TELL(munmap(AT(7), PAGE));
	show_letters("left", 0, 8);
	show_maps("one area");
}

static void every_other_page(void)
{
	put(0, 16, RW);
	letters(0, 16);
	for (long i = 1; i < 16; i += 2)
		munmap(AT(i), PAGE);
	show_letters("left", 0, 16);
	show_maps("eight areas");
	TELL(munmap(AT(0), 16 * PAGE));
	show_maps("none");
}

static void nothing_there(void)
{
	TELL(munmap(AT(0), PAGE));
	TELL(munmap(AT(0), 1ul << 30));
	put(2, 1, RW);
	TELL(munmap(AT(0), 8 * PAGE));
	show_maps("none");
}

static void across_areas(void)
{
	put(0, 3, RW);
	put(4, 3, R);
	put_shared(8, 3, RW);
	letters(0, 3);
	memset(AT(8), 'z', 3 * PAGE);
	TELL(munmap(AT(2), 7 * PAGE));
	show_letters("left", 0, 12);
	show_maps("areas");
}

static void rounding(void)
{
	put(0, 4, RW);
	letters(0, 4);
	TELL(munmap(AT(0), 1));
	TELL(munmap(AT(2), PAGE + 1));
	show_letters("left", 0, 4);
}

static void refusals(void)
{
	put(0, 2, RW);
	letters(0, 2);
	TELL(munmap(BASE + 1, PAGE));
	TELL(munmap(BASE, 0));
	TELL(munmap(BASE, -1ul));
	TELL(munmap(BASE, 1ul << 47));
	TELL(munmap(KERNEL, PAGE));
	TELL(munmap(USER_END, PAGE));
	TELL(munmap(USER_END - PAGE, 2 * PAGE));
	show_letters("kept", 0, 2);
}

static void gone_at_once(void)
{
	put(0, 2, RW);
	letters(0, 2);
	printf("before: %s\n", peek(AT(1)));
	munmap(AT(1), PAGE);
	printf("read: %s\n", peek(AT(1)));
	printf("write: %s\n", poke(AT(1)));
	put(1, 1, RW);
	printf("mapped again: %s\n", peek(AT(1)));
}

static void fresh_after_remap(void)
{
	for (int i = 0; i < 50; i++) {
		char *p = put(0, 16, RW);
		int dirty = 0;

		for (long b = 0; b < 16 * PAGE; b += 512)
			dirty |= p[b];
		if (dirty)
			printf("round %d found %d\n", i, dirty);
		memset(p, i + 1, 16 * PAGE);
		munmap(p, 16 * PAGE);
	}
	printf("always zeros\n");
}

static void shared_survives_partly(void)
{
	char *again;

	put_shared(0, 8, RW);
	letters(0, 8);
	munmap(AT(2), 4 * PAGE);
	show_letters("left", 0, 8);
	again = mremap(AT(0), 0, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(16));
	printf("a second mapping of the same memory: %s\n", where(again));
	show_letters("all of it is still there", 16, 8);
}

static void between_tables(void)
{
	long edge = (2 << 20) / PAGE;

	put(edge - 4, 8, RW);
	letters(edge - 4, 8);
	TELL(munmap(AT(edge - 1), 2 * PAGE));
	show_letters("around 2 MiB", edge - 5, 10);
	put(512 * 512 - 2, 4, RW);
	letters(512 * 512 - 2, 4);
	TELL(munmap(AT(512 * 512 - 1), 2 * PAGE));
	show_letters("around 1 GiB", 512 * 512 - 3, 6);
}

static void large_range(void)
{
	put(0, 4096, RW);
	for (long i = 0; i < 4096; i += 64)
		AT(i)[0] = 'x';
	TELL(munmap(AT(64), 3968 * PAGE));
	printf("%s %s %s %s\n", peek(AT(0)), peek(AT(64)), peek(AT(4031)), peek(AT(4032)));
	show_maps("two areas");
}

static const struct guest_case cases[] = {
	{"a hole in the middle makes two areas [J1]", middle},
	{"pages off both ends [J1]", ends},
	{"every other page", every_other_page},
	{"a range with nothing in it is fine", nothing_there},
	{"a range across areas and holes [J1]", across_areas},
	{"a length is rounded up", rounding},
	{"odd address, no length, beyond user addresses [F8]", refusals},
	{"the next access faults, and a new mapping is fresh", gone_at_once},
	{"memory mapped again and again is always zeros [J10]", fresh_after_remap},
	{"what is unmapped of shared memory is not lost", shared_survives_partly},
	{"across the reach of a page table", between_tables},
	{"a large range, sparsely used", large_range},
};

CASES_MAIN(cases)
