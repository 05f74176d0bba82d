/* SPDX-License-Identifier: MIT */
/*
 * same_mmap.c - where mmap puts memory, what is in it, and when it refuses.
 */
#include "window.h"

#ifndef MAP_SHARED_VALIDATE
#define MAP_SHARED_VALIDATE 3
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

static char *map_at(void *at, size_t bytes, int flags)
{
	return mmap(at, bytes, RW, PRIVATE | flags, -1, 0);
}

/* --- contents and lengths -------------------------------------------------------------------- */

static void zeroed(void)
{
	static const char zeros[4 * PAGE];
	char *p = put(0, 4, RW);

	printf("private differs %d\n", memcmp(p, zeros, 4 * PAGE));
	p = put_shared(8, 4, RW);
	printf("shared differs %d\n", memcmp(p, zeros, 4 * PAGE));
}

static void rounded_up(void)
{
	static const size_t lengths[] = {1, 4, 16, 4095, 4096, 4097, 3 * PAGE - 1};

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		map_at(BASE, lengths[i], MAP_FIXED_NOREPLACE);
		printf("%zu bytes\n", lengths[i]);
		show_maps("mapped");
		munmap(BASE, lengths[i]);
		show_maps("unmapped");
	}
}

static void last_byte_usable(void)
{
	map_at(BASE, 16, MAP_FIXED_NOREPLACE);
	printf("byte 4095: %s, byte 4096: %s\n", poke(BASE + 4095), poke(BASE + 4096));
}

static void zero_length(void)
{
	WHERE(map_at(BASE, 0, 0));
	WHERE(map_at(BASE, 0, MAP_FIXED));
	WHERE(map_at((void *)1, 0, MAP_FIXED));
	WHERE(mmap(NULL, 0, RW, 0, -1, 0));
}

static void huge_length(void)
{
	WHERE(map_at(NULL, 1ul << 47, MAP_NORESERVE));
	WHERE(map_at(NULL, 0x7ffffffff000, MAP_NORESERVE));
	WHERE(map_at(NULL, 1ul << 48, MAP_NORESERVE));
	WHERE(map_at(NULL, 1ul << 63, MAP_NORESERVE));
	WHERE(map_at(NULL, -1ul, 0));
	WHERE(map_at(NULL, -4095ul, 0));
	WHERE(map_at(NULL, -4096ul, 0));
	WHERE(map_at(BASE, -4096ul, MAP_FIXED));
}

/* How many pages of a large range are there. */
static long resident_pages(long page, long pages)
{
	static unsigned char in[1 << 16];
	long there = 0;

	for (long at = 0; at < pages; at += (long)sizeof(in)) {
		if (mincore(AT(page + at), sizeof(in) * PAGE, in))
			return -1;
		for (size_t i = 0; i < sizeof(in); i++)
			there += in[i] & 1;
	}
	return there;
}

static void gigabyte_touched_in_three_places(void)
{
	char *p = map_at(BASE, 1ul << 30, MAP_FIXED_NOREPLACE | MAP_NORESERVE);

	p[0] = 1;
	p[1ul << 29] = 2;
	p[(1ul << 30) - 1] = 3;
	printf("%d %d %d %d\n", p[0], p[1ul << 29], p[(1ul << 30) - 1], p[1ul << 28]);
	printf("few are there: %d\n", resident_pages(0, 1l << 18) <= 64);
}

/* --- places ---------------------------------------------------------------------------------- */

static void hint_taken(void)
{
	WHERE(map_at(AT(5), PAGE, 0));
	WHERE(map_at(AT(9) + 123, PAGE, 0));
}

static void hint_occupied(void)
{
	put(0, 4, RW);
	WHERE(map_at(AT(2), PAGE, 0));
	WHERE(map_at(AT(3), 2 * PAGE, 0));
	WHERE(map_at(AT(-1), 2 * PAGE, 0));
	WHERE(map_at(AT(-1), PAGE, 0));
	WHERE(map_at(AT(4), PAGE, 0));
}

static void hint_out_of_reach(void)
{
	char *p = map_at(USER_END, PAGE, 0), *q = map_at(KERNEL, PAGE, 0), *r = map_at((void *)1, PAGE, 0);

	printf("below the end of user addresses: %d %d %d\n", p < USER_END, q < USER_END, r < USER_END);
	printf("far from 0: %d\n", (uintptr_t)r >= 65536);
	munmap(p, PAGE);
	munmap(q, PAGE);
	munmap(r, PAGE);
}

/* Without a hint, one area below the other. */
static void top_down(void)
{
	char *p = map_at(NULL, 64 * PAGE, 0), *q = map_at(NULL, 16 * PAGE, 0), *r;

	printf("the second lies %ld pages below the first\n", (p - q) / PAGE);
	munmap(p + 8 * PAGE, 4 * PAGE);
	r = map_at(NULL, 4 * PAGE, 0);
	printf("a hole of the right size is used: %ld\n", (r - p) / PAGE);
	munmap(p + 20 * PAGE, 2 * PAGE);
	munmap(p + 40 * PAGE, 2 * PAGE);
	r = map_at(NULL, 2 * PAGE, 0);
	printf("the highest of two holes: %ld\n", (r - p) / PAGE);
	r = map_at(NULL, PAGE, 0);
	printf("the upper end of a hole: %ld\n", (r - p) / PAGE);
	munmap(q, 80 * PAGE);
}

static void low_addresses(void)
{
	char *p = map_at(NULL, PAGE, MAP_32BIT), *q = map_at(NULL, PAGE, MAP_32BIT);

	printf("in the second gigabyte: %d %d\n", (uintptr_t)p >> 30 == 1, (uintptr_t)q >> 30 == 1);
	*p = *q = 1;
	munmap(p, PAGE);
	munmap(q, PAGE);
	WHERE(map_at(NULL, 1ul << 31, MAP_32BIT | MAP_NORESERVE));
	WHERE(map_at(AT(3), PAGE, MAP_32BIT | MAP_FIXED));
}

static void fixed_over_part(void)
{
	put(0, 8, RW);
	letters(0, 8);
	WHERE(map_at(AT(3), 2 * PAGE, MAP_FIXED));
	show_letters("middle replaced", 0, 8);
	mmap(AT(6), 4 * PAGE, R, PRIVATE | MAP_FIXED, -1, 0);
	show_letters("end replaced", 0, 10);
	mmap(AT(-2), 3 * PAGE, R, PRIVATE | MAP_FIXED, -1, 0);
	show_letters("start replaced", -2, 12);
	show_maps("areas");
}

static void fixed_over_several(void)
{
	put(0, 2, RW);
	put(2, 2, R);
	put(5, 2, RW);
	letters(0, 2);
	letters(5, 2);
	mmap(AT(1), 5 * PAGE, RW, PRIVATE | MAP_FIXED, -1, 0);
	show_letters("pages", 0, 8);
	show_maps("areas");
}

static void fixed_unaligned(void)
{
	WHERE(map_at(BASE + 1, PAGE, MAP_FIXED));
	WHERE(map_at(BASE + 2048, PAGE, MAP_FIXED));
	WHERE(map_at(BASE + 1, PAGE, MAP_FIXED_NOREPLACE));
}

static void fixed_out_of_reach(void)
{
	WHERE(map_at(USER_END, PAGE, MAP_FIXED));
	WHERE(map_at(USER_END - PAGE, 2 * PAGE, MAP_FIXED));
	WHERE(map_at(KERNEL, PAGE, MAP_FIXED));
	WHERE(map_at((void *)-4096l, PAGE, MAP_FIXED));
	WHERE(map_at(USER_END - PAGE, 2 * PAGE, MAP_FIXED_NOREPLACE));
}

static void lowest_address(void)
{
	WHERE(map_at(NULL, PAGE, MAP_FIXED));
	WHERE(map_at(NULL, 32 * PAGE, MAP_FIXED));
}

static void noreplace(void)
{
	put(2, 2, RW);
	letters(2, 2);
	WHERE(map_at(AT(2), PAGE, MAP_FIXED_NOREPLACE));
	WHERE(map_at(AT(0), 3 * PAGE, MAP_FIXED_NOREPLACE));
	WHERE(map_at(AT(3), 3 * PAGE, MAP_FIXED_NOREPLACE));
	WHERE(map_at(AT(2), PAGE, MAP_FIXED_NOREPLACE | MAP_FIXED));
	WHERE(map_at(AT(0), 2 * PAGE, MAP_FIXED_NOREPLACE));
	WHERE(map_at(AT(4), 2 * PAGE, MAP_FIXED_NOREPLACE));
	show_letters("kept", 0, 6);
}

/* --- flags ----------------------------------------------------------------------------------- */

static void types(void)
{
	WHERE(mmap(AT(0), PAGE, RW, MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	WHERE(mmap(AT(0), PAGE, RW, MAP_ANONYMOUS | MAP_FIXED | MAP_SHARED_VALIDATE, -1, 0));
	WHERE(mmap(AT(0), PAGE, RW, MAP_ANONYMOUS | MAP_FIXED | 4, -1, 0));
	WHERE(mmap(AT(0), PAGE, RW, MAP_ANONYMOUS | MAP_FIXED | 0xf, -1, 0));
	WHERE(mmap(AT(0), PAGE, RW, SHARED | MAP_FIXED, -1, 0));
	WHERE(mmap(AT(0), PAGE, RW, PRIVATE | MAP_FIXED, -1, 0));
}

static void descriptor_ignored(void)
{
	WHERE(mmap(AT(0), PAGE, RW, PRIVATE | MAP_FIXED, 12345, 0));
	WHERE(mmap(AT(1), PAGE, RW, SHARED | MAP_FIXED, 12345, 0));
	WHERE(mmap(AT(2), PAGE, RW, PRIVATE | MAP_FIXED, 0, 8 * PAGE));
	WHERE((void *)syscall(SYS_mmap, AT(3), PAGE, RW, PRIVATE | MAP_FIXED, -1, 1));
	WHERE((void *)syscall(SYS_mmap, AT(3), PAGE, RW, PRIVATE | MAP_FIXED, -1, PAGE - 1));
	WHERE((void *)syscall(SYS_mmap, AT(3), PAGE, RW, SHARED | MAP_FIXED, -1, -PAGE));
}

static void populated(void)
{
	mmap(AT(0), 8 * PAGE, RW, PRIVATE | MAP_FIXED | MAP_POPULATE, -1, 0);
	show_resident("private", 0, 8);
	mmap(AT(8), 8 * PAGE, RW, SHARED | MAP_FIXED | MAP_POPULATE, -1, 0);
	show_resident("shared", 8, 8);
	mmap(AT(16), 8 * PAGE, R, PRIVATE | MAP_FIXED | MAP_POPULATE, -1, 0);
	show_resident("read-only", 16, 8);
	mmap(AT(24), 8 * PAGE, PROT_NONE, PRIVATE | MAP_FIXED | MAP_POPULATE, -1, 0);
	show_resident("no access", 24, 8);
	mmap(AT(32), 8 * PAGE, RW, PRIVATE | MAP_FIXED | MAP_POPULATE | MAP_NONBLOCK, -1, 0);
	show_resident("nonblock", 32, 8);
}

static void untouched(void)
{
	put(0, 8, RW);
	show_resident("fresh", 0, 8);
	show_maps("area");
}

static void locked_flag(void)
{
	mmap(AT(0), 4 * PAGE, RW, PRIVATE | MAP_FIXED | MAP_LOCKED, -1, 0);
	show_resident("locked", 0, 4);
	munlock(AT(0), 4 * PAGE);
}

static void harmless_flags(void)
{
	WHERE(map_at(AT(0), PAGE, MAP_FIXED | MAP_NORESERVE));
	WHERE(map_at(AT(1), PAGE, MAP_FIXED | MAP_STACK));
	WHERE(map_at(AT(2), PAGE, MAP_FIXED | MAP_DENYWRITE));
	WHERE(map_at(AT(3), PAGE, MAP_FIXED | MAP_EXECUTABLE));
	WHERE(map_at(AT(4), PAGE, MAP_FIXED | 0x4000000));
	WHERE(map_at(AT(5), PAGE, MAP_FIXED | MAP_SYNC));
	WHERE(map_at(AT(6), PAGE, MAP_FIXED | 0x200000));
	WHERE(map_at(AT(7), PAGE, MAP_FIXED | (int)0x80000000));
}

static void protection_bits(void)
{
	WHERE(mmap(AT(0), PAGE, 0x100 | RW, PRIVATE | MAP_FIXED, -1, 0));
	WHERE(mmap(AT(1), PAGE, 8 | RW, PRIVATE | MAP_FIXED, -1, 0));
	WHERE(mmap(AT(2), PAGE, PROT_GROWSDOWN | RW, PRIVATE | MAP_FIXED, -1, 0));
	WHERE(mmap(AT(3), PAGE, -1, PRIVATE | MAP_FIXED, -1, 0));
	show_maps("areas");
}

static void grows_down_flag(void)
{
	WHERE(mmap(AT(0), PAGE, RW, SHARED | MAP_FIXED | MAP_GROWSDOWN, -1, 0));
	WHERE(mmap(AT(0), PAGE, RW, PRIVATE | MAP_FIXED | MAP_GROWSDOWN, -1, 0));
	show_maps("area");
}

static void all_protections(void)
{
	for (int prot = 0; prot < 8; prot++)
		put(2 * prot, 1, prot);
	show_maps("areas");
}

/* --- merging --------------------------------------------------------------------------------- */

static void merges_with_neighbours(void)
{
	put(0, 2, RW);
	put(2, 2, RW);
	show_maps("with the one before");
	put(6, 2, RW);
	show_maps("apart");
	put(4, 2, RW);
	show_maps("gap filled");
	put(-2, 2, RW);
	show_maps("with the one behind");
}

static void does_not_merge(void)
{
	int fd = letter_file("merge", 4, 0);

	put(0, 1, RW);
	put(1, 1, R);
	put_shared(2, 1, R);
	put_file(3, 1, R, MAP_PRIVATE, fd, 0);
	put_file(4, 1, R, MAP_SHARED, fd, 1);
	put_file(5, 1, R, MAP_SHARED, fd, 0);
	mmap(AT(6), PAGE, RW, PRIVATE | MAP_FIXED | MAP_GROWSDOWN, -1, 0);
	put(7, 1, RW);
	show_maps("areas");
	close(fd);
}

static void file_areas_merge(void)
{
	int fd = letter_file("merge", 4, 0);

	put_file(0, 1, R, MAP_PRIVATE, fd, 0);
	put_file(1, 1, R, MAP_PRIVATE, fd, 1);
	put_file(2, 1, R, MAP_PRIVATE, fd, 3);
	show_maps("consecutive offsets only");
	put_file(8, 1, R, MAP_SHARED, fd, 0);
	put_file(10, 1, R, MAP_SHARED, fd, 2);
	put_file(9, 1, R, MAP_SHARED, fd, 1);
	show_maps("shared");
	close(fd);
}

static void next_map_extends(void)
{
	char *p = map_at(NULL, PAGE, 0), *q = map_at(NULL, PAGE, 0), *r = map_at(NULL, PAGE, 0);

	printf("each right below the last: %d %d\n", q + PAGE == p, r + PAGE == q);
	munmap(r, 3 * PAGE);
}

static void malloc_and_its_calls(void)
{
	char *top = sbrk(0), *small = malloc(1000), *large = malloc(1 << 20), *grown = sbrk(0);

	printf("small within the heap: %d\n", small >= top - (1 << 20) && small < grown);
	printf("large outside of it: %d, offset in its page %ld\n", large > grown,
	       (long)((uintptr_t)large % 4096));
	memset(large, 1, 1 << 20);
	free(large);
	free(small);
	small = calloc(1000, 1000);
	printf("calloc sums to %u\n", checksum(small, 1000000));
	free(small);
}

static const struct guest_case cases[] = {
	{"anonymous memory holds zeros [J10]", zeroed},
	{"a length is rounded up to pages [J17]", rounded_up},
	{"16 bytes give a whole page and no more [J17]", last_byte_usable},
	{"no length is EINVAL", zero_length},
	{"a length beyond user addresses is ENOMEM [F8]", huge_length},
	{"a gigabyte touched in three places holds few pages [K27]", gigabyte_touched_in_three_places},
	{"a free hint is taken, rounded down", hint_taken},
	{"an occupied hint moves the mapping elsewhere", hint_occupied},
	{"a hint out of reach is only a hint [F8]", hint_out_of_reach},
	{"without a hint, top down and first fit from above [I8]", top_down},
	{"MAP_32BIT stays below 2 GiB", low_addresses},
	{"MAP_FIXED over part of an area splits it [I16]", fixed_over_part},
	{"MAP_FIXED over several areas and holes [I16]", fixed_over_several},
	{"MAP_FIXED at an odd address is EINVAL", fixed_unaligned},
	{"MAP_FIXED across the end of user addresses is ENOMEM [F8]", fixed_out_of_reach},
	{"MAP_FIXED below the lowest address is EPERM [F10]", lowest_address},
	{"MAP_FIXED_NOREPLACE is EEXIST over anything mapped", noreplace},
	{"exactly one of the types must be given", types},
	{"an anonymous mapping ignores its descriptor and offset [J10]", descriptor_ignored},
	{"MAP_POPULATE brings every page in [J7]", populated},
	{"without it no page is there [K27]", untouched},
	{"MAP_LOCKED brings every page in [J7]", locked_flag},
	{"flags that change nothing that is seen", harmless_flags},
	{"bits of the protection that mean nothing", protection_bits},
	{"MAP_GROWSDOWN is for private memory [H9]", grows_down_flag},
	{"the eight protections in the listing [H7]", all_protections},
	{"a mapping merges with the one before, the one behind, and both [I13]", merges_with_neighbours},
	{"areas that differ do not merge [I13][H8]", does_not_merge},
	{"file areas merge when their offsets follow [I13]", file_areas_merge},
	{"pages mapped one after the other form one area [I8][I13]", next_map_extends},
	{"malloc takes small from the heap and large from mmap [Q1][Q3]", malloc_and_its_calls},
};

CASES_MAIN(cases)
