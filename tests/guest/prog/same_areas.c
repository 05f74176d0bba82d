/* SPDX-License-Identifier: MIT */
/*
 * same_areas.c - what cuts areas and what joins them again, as /proc/self/maps has it; seals; limits that areas count against.
 */
#include "window.h"

#ifndef SYS_mseal
#define SYS_mseal 462
#endif
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x8
#endif

static void advice_splits(int set, int clear)
{
	put(0, 6, RW);
	TELL(madvise(AT(2), 2 * PAGE, set));
	show_maps("cut");
	TELL(madvise(AT(1), 4 * PAGE, set));
	show_maps("wider");
	TELL(madvise(AT(0), 6 * PAGE, clear));
	show_maps("one again");
}

static void random_advice(void)
{
	advice_splits(MADV_RANDOM, MADV_NORMAL);
}

static void sequential_advice(void)
{
	advice_splits(MADV_SEQUENTIAL, MADV_RANDOM);
	TELL(madvise(AT(0), 3 * PAGE, MADV_NORMAL));
	show_maps("half of it");
}

static void fork_advice(void)
{
	advice_splits(MADV_DONTFORK, MADV_DOFORK);
	advice_splits(MADV_WIPEONFORK, MADV_KEEPONFORK);
	put_shared(8, 2, RW);
	TELL(madvise(AT(8), PAGE, MADV_WIPEONFORK));
	TELL(madvise(AT(8), PAGE, MADV_KEEPONFORK));
	TELL(madvise(AT(8), PAGE, MADV_DONTFORK));
	show_maps("shared");
}

static void dump_advice(void)
{
	advice_splits(MADV_DONTDUMP, MADV_DODUMP);
}

static void merge_advice(void)
{
	advice_splits(MADV_MERGEABLE, MADV_UNMERGEABLE);
	put_shared(8, 2, RW);
	TELL(madvise(AT(8), PAGE, MADV_MERGEABLE));
	show_maps("shared");
}

static void advice_over_a_hole(void)
{
	put(0, 2, RW);
	put(3, 2, RW);
	TELL(madvise(AT(1), 3 * PAGE, MADV_DONTDUMP));
	show_maps("both sides");
}

static void locks_split(void)
{
	put(0, 6, RW);
	TELL(mlock(AT(2), 2 * PAGE));
	show_maps("cut");
	TELL(mlock2(AT(2), 2 * PAGE, MLOCK_ONFAULT));
	TELL(mlock2(AT(4), 2 * PAGE, MLOCK_ONFAULT));
	show_maps("on fault");
	TELL(madvise(AT(0), 6 * PAGE, MADV_DONTNEED));
	TELL(madvise(AT(2), PAGE, MADV_FREE));
	TELL(madvise(AT(2), PAGE, MADV_COLD));
	TELL(madvise(AT(2), PAGE, 24));
	TELL(munlock(AT(0), 6 * PAGE));
	show_maps("one again");
	TELL(munlock(AT(0), 7 * PAGE));
}

static void future_locks(void)
{
	TELL(mlockall(MCL_FUTURE | MCL_ONFAULT));
	put(0, 2, RW);
	show_resident("on fault", 0, 2);
	TELL(mlockall(MCL_FUTURE));
	put(4, 2, RW);
	show_resident("at once", 4, 2);
	TELL(munlockall());
	put(6, 2, RW);
	show_resident("no more", 6, 2);
	show_maps("locks are gone");
}

static void lock_limit(void)
{
	struct rlimit limit = {4 * PAGE, 4 * PAGE};

	TELL(setrlimit(RLIMIT_MEMLOCK, &limit));
	put(0, 8, RW);
	TELL(mlock(AT(0), 8 * PAGE)); /* whoever may, may */
	WHERE(mmap(AT(16), 8 * PAGE, RW, PRIVATE | MAP_LOCKED | MAP_FIXED, -1, 0));
}

static void moves_and_locks(void)
{
	put(0, 2, RW);
	TELL(mlock(AT(0), 2 * PAGE));
	WHERE(mremap(AT(0), 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(16)));
	show_resident("the new part too", 16, 4);
	WHERE(mremap(AT(16), 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | 4, AT(32)));
	TELL(madvise(AT(16), PAGE, MADV_DONTNEED));
	TELL(madvise(AT(32), PAGE, MADV_DONTNEED));
	show_maps("left and moved");
}

static void sealed(void)
{
	put(0, 6, RW);
	letters(0, 6);
	TELL(syscall(SYS_mseal, AT(2), 2 * PAGE, 0));
	TELL(munmap(AT(2), 2 * PAGE));
	TELL(munmap(AT(0), 6 * PAGE));
	TELL(mprotect(AT(2), PAGE, R));
	WHERE(mremap(AT(2), PAGE, 2 * PAGE, MREMAP_MAYMOVE));
	WHERE(mremap(AT(0), PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(3)));
	WHERE(mmap(AT(3), PAGE, RW, PRIVATE | MAP_FIXED, -1, 0));
	TELL(madvise(AT(2), PAGE, MADV_RANDOM));
	TELL(madvise(AT(2), PAGE, MADV_DONTFORK));
	TELL(madvise(AT(3), PAGE, MADV_DONTNEED)); /* it could be written as well */
	show_letters("kept", 0, 6);
	show_maps("areas");
	TELL(syscall(SYS_mseal, AT(4), 4 * PAGE, 0));
	TELL(syscall(SYS_mseal, AT(4), PAGE, 1));
	TELL(syscall(SYS_mseal, AT(4) + 1, PAGE, 0));
	TELL(syscall(SYS_mseal, AT(4), -1ul, 0));
	TELL(syscall(SYS_mseal, AT(4), 0, 0));
	TELL(munmap(AT(4), 2 * PAGE));
}

static void sealed_read_only(void)
{
	put(0, 2, RW);
	letters(0, 2);
	TELL(mprotect(AT(0), 2 * PAGE, R));
	TELL(syscall(SYS_mseal, AT(0), 2 * PAGE, 0));
	TELL(madvise(AT(0), PAGE, MADV_DONTNEED));
	TELL(madvise(AT(0), PAGE, MADV_FREE));
	TELL(madvise(AT(0), PAGE, MADV_WIPEONFORK));
	TELL(madvise(AT(0), PAGE, MADV_DONTDUMP));
	show_letters("kept", 0, 2);
}

static void remap_pages(void)
{
	put_shared(0, 4, RW);
	letters(0, 4);
	TELL(syscall(SYS_remap_file_pages, AT(0), PAGE, 0, 3, 0));
	TELL(syscall(SYS_remap_file_pages, AT(3) + 5, PAGE, 0, 0, 0));
	show_letters("swapped", 0, 4);
	TELL(syscall(SYS_remap_file_pages, AT(0), PAGE, 1, 3, 0));
	TELL(syscall(SYS_remap_file_pages, AT(0), 0, 0, 3, 0));
	TELL(syscall(SYS_remap_file_pages, AT(8), PAGE, 0, 3, 0));
	put(8, 1, RW);
	TELL(syscall(SYS_remap_file_pages, AT(8), PAGE, 0, 3, 0));
}

static void heads_and_tails_move(void)
{
	put(0, 6, RW);
	letters(0, 6);
	TELL(mprotect(AT(3), 3 * PAGE, R));
	TELL(mprotect(AT(3), PAGE, RW)); /* the area before takes the head */
	show_maps("longer");
	TELL(mprotect(AT(2), 2 * PAGE, R)); /* the area behind takes the tail */
	show_maps("shorter");
	TELL(mprotect(AT(2), 4 * PAGE, RW));
	show_maps("one");
	show_letters("kept", 0, 6);
}

static void stack_flag_keeps_apart(void)
{
	WHERE(mmap(AT(0), 2 * PAGE, RW, PRIVATE | MAP_FIXED | MAP_STACK, -1, 0));
	put(2, 2, RW);
	show_maps("two areas");
	WHERE(mmap(AT(4), 2 * PAGE, RW, PRIVATE | MAP_FIXED | MAP_NORESERVE, -1, 0));
	show_maps("three");
}

static void droppable(void)
{
	WHERE(mmap(AT(0), 2 * PAGE, RW, MAP_DROPPABLE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	WHERE(mmap(AT(4), 2 * PAGE, RW, MAP_DROPPABLE | MAP_ANONYMOUS | MAP_FIXED | MAP_LOCKED, -1, 0));
	TELL(mlock(AT(0), PAGE));
	TELL(madvise(AT(0), PAGE, MADV_KEEPONFORK));
	TELL(madvise(AT(0), PAGE, MADV_DODUMP));
	show_maps("one area");
}

static void aligned_for_huge_pages(void)
{
	char *a = mmap(NULL, 2l << 20, RW, PRIVATE, -1, 0), *b = mmap(NULL, 6l << 20, RW, PRIVATE, -1, 0);
	char *c = mmap(NULL, (2l << 20) + PAGE, RW, PRIVATE, -1, 0);

	printf("2 MiB at %#lx, 6 MiB at %#lx of 2 MiB; b right below a: %d\n", (long)a & 0x1fffff,
	       (long)b & 0x1fffff, b + (6l << 20) == a);
	munmap(a, 2l << 20);
	munmap(b, 6l << 20);
	munmap(c, (2l << 20) + PAGE);
}

static void low_addresses(void)
{
	char *a = mmap(NULL, PAGE, RW, PRIVATE | MAP_32BIT, -1, 0);
	char *b = mmap(AT(0), PAGE, RW, PRIVATE | MAP_32BIT, -1, 0);

	printf("below 2 GiB: %d, also with a hint above: %d\n", (long)a < 1l << 31, (long)b < 1l << 31);
	munmap(a, PAGE);
	munmap(b, PAGE);
	WHERE(mmap(NULL, 2l << 30, PROT_NONE, PRIVATE | MAP_32BIT | MAP_NORESERVE, -1, 0));
}

static const struct guest_case cases[] = {
	{"MADV_RANDOM cuts an area, MADV_NORMAL joins it [Y7]", random_advice},
	{"MADV_SEQUENTIAL and MADV_RANDOM exclude each other", sequential_advice},
	{"MADV_DONTFORK and MADV_WIPEONFORK cut areas", fork_advice},
	{"MADV_DONTDUMP cuts areas", dump_advice},
	{"MADV_MERGEABLE marks private memory alone", merge_advice},
	{"advice over a hole: both sides, then ENOMEM", advice_over_a_hole},
	{"locks cut areas, and keep DONTNEED away [H11][Y15]", locks_split},
	{"MCL_FUTURE locks what comes", future_locks},
	{"RLIMIT_MEMLOCK does not bind the privileged", lock_limit},
	{"a locked area moves and grows locked; what DONTUNMAP leaves is not", moves_and_locks},
	{"mseal: nothing unmaps, moves, protects or replaces", sealed},
	{"mseal: contents that cannot be written cannot be discarded", sealed_read_only},
	{"remap_file_pages: an area of its own for each part", remap_pages},
	{"mprotect: neighbours take heads and tails of areas [I13]", heads_and_tails_move},
	{"MAP_STACK and MAP_NORESERVE keep areas apart [I14]", stack_flag_keeps_apart},
	{"MAP_DROPPABLE memory is neither locked nor kept", droppable},
	{"what could be huge is placed on a 2 MiB boundary [J4]", aligned_for_huge_pages},
	{"MAP_32BIT", low_addresses},
};

CASES_MAIN(cases)
