/* SPDX-License-Identifier: MIT */
/*
 * same_stack.c - the stack grows to its limit, and areas with MAP_GROWSDOWN do as well.
 */
#include "window.h"

#include <alloca.h>

/* The bounds of [stack]. */
static bool stack_bounds(uintptr_t *from, uintptr_t *to)
{
	char line[256];
	FILE *maps = fopen("/proc/self/maps", "r");
	bool found = false;

	while (maps && fgets(line, sizeof(line), maps))
		if (strstr(line, "[stack]"))
			found = sscanf(line, "%lx-%lx", from, to) == 2;
	if (maps)
		fclose(maps);
	return found;
}

static void use_stack(void *bytes)
{
	size_t n = (size_t)(uintptr_t)bytes;
	volatile char *p = alloca(n);

	for (size_t i = n; i > 0; i -= i > 1024 ? 1024 : i)
		p[i - 1] = 1;
	p[0] = 1;
}

static void grows_a_megabyte(void)
{
	uintptr_t from, to, now, end;

	stack_bounds(&from, &to);
	printf("1 MiB: %s\n", attempt(use_stack, (void *)(1ul << 20)));
	stack_bounds(&now, &end);
	printf("grew: %d, end stays: %d, below 2 MiB: %d\n", now < from, end == to, end - now < (2ul << 20));
}

static void overflows(void)
{
	printf("7 MiB: %s\n", attempt(use_stack, (void *)(7ul << 20)));
	printf("9 MiB: %.15s\n", attempt(use_stack, (void *)(9ul << 20)));
}

static void limit_lowered(void)
{
	struct rlimit old = limit_set(RLIMIT_STACK, 512 << 10);
	uintptr_t from, to;

	/* Only growth is limited: use what the cases before did not. */
	stack_bounds(&from, &to);
	printf("has more than the limit: %d\n", to - from > (512ul << 10));
	printf("within what is there: %s\n", attempt(use_stack, (void *)(256ul << 10)));
	printf("beyond it: %.15s\n", attempt(use_stack, (void *)(to - from + (64 << 10))));
	limit_restore(RLIMIT_STACK, old);
	printf("with the old limit: %s\n", attempt(use_stack, (void *)(to - from + (64 << 10))));
}

static int depth_wanted;

static __attribute__((noinline)) int recurse(int depth)
{
	volatile char frame[256];

	frame[0] = (char)depth;
	return depth ? recurse(depth - 1) + frame[0] - (char)depth : 0;
}

static void recursion(void *result)
{
	*(int *)result = recurse(depth_wanted);
}

static void deep_recursion(void)
{
	int result = -1;

	depth_wanted = 10000;
	printf("10000 frames: %s, ", attempt(recursion, &result));
	printf("%d\n", result);
	depth_wanted = 100000;
	printf("100000 frames: %.15s\n", attempt(recursion, &result));
}

static void grows_down(long page, long pages)
{
	mmap(AT(page), (size_t)(pages * PAGE), RW, PRIVATE | MAP_FIXED | MAP_GROWSDOWN, -1, 0);
}

static void area_grows(void)
{
	grows_down(1000, 1);
	printf("one below: %s\n", poke(AT(999)));
	show_maps("grown");
	printf("far below: %s\n", poke(AT(900) + 5));
	show_maps("grown");
	printf("read below: %s\n", peek(AT(890)));
	show_maps("grown");
}

static void area_grows_to_the_limit(void)
{
	struct rlimit old = limit_set(RLIMIT_STACK, 64 * PAGE);

	grows_down(1000, 1);
	printf("to the limit: %s\n", poke(AT(1001 - 64)));
	printf("one more: %s\n", poke(AT(1001 - 65)));
	show_maps("area");
	limit_restore(RLIMIT_STACK, old);
	printf("with the old limit: %s\n", poke(AT(1001 - 65)));
}

static void guard_gap(void)
{
	put(0, 1, RW);
	grows_down(1000, 1);
	printf("257 pages away: %s\n", poke(AT(257)));
	printf("256 pages away: %s\n", poke(AT(256)));
	show_maps("areas");
}

static void gap_to_unusable(void)
{
	put(0, 1, PROT_NONE);
	grows_down(1000, 1);
	printf("256 pages away: %s\n", poke(AT(256)));
	printf("right behind it: %s\n", poke(AT(1)));
	show_maps("areas");
}

static void mapping_keeps_away(void)
{
	char *p;

	grows_down(1000, 1);
	put(600, 1, RW);
	p = mmap(AT(999), PAGE, RW, PRIVATE, -1, 0);
	printf("a hint right below is taken: %d\n", p == AT(999));
	p = mmap(AT(990), PAGE, RW, PRIVATE | MAP_FIXED_NOREPLACE, -1, 0);
	printf("a fixed place is: %d\n", p == AT(990));
}

static void no_growth_for_others(void)
{
	put(1000, 1, RW);
	printf("an ordinary area: %s\n", poke(AT(999)));
	grows_down(2000, 1);
	printf("above it: %s\n", poke(AT(2001)));
	grows_down(3000, 1);
	mprotect(AT(3000), PAGE, R);
	printf("read-only: write %s\n", poke(AT(2999)));
	printf("read-only: read %s\n", peek(AT(2999)));
	show_maps("areas");
}

static void grown_by_the_kernel(void)
{
	int fd = letter_file("grow", 1, 0);

	grows_down(1000, 1);
	COUNT(read(fd, AT(990), 100));
	COUNT(pread(fd, AT(500), 200, 0));
	show_maps("area");
	show_letters("pages", 989, 3);
	close(fd);
}

static void splits_of_it(void)
{
	grows_down(1000, 4);
	munmap(AT(1001), PAGE);
	show_maps("two areas");
	printf("the upper grows no further than the gap: %s\n", poke(AT(1001)));
	printf("the lower grows: %s\n", poke(AT(999)));
	show_maps("areas");
}

static void initial_stack(void)
{
	uintptr_t from, to, here = (uintptr_t)&from;

	printf("found: %d\n", stack_bounds(&from, &to));
	printf("holds a local variable: %d, aligned: %d\n", here >= from && here < to, !((from | to) & 4095));
	printf("below the end of user addresses: %d\n", to <= (uintptr_t)USER_END);
}

static void alternate_stack_untouched(void)
{
	stack_t now;

	sigaltstack(NULL, &now);
	printf("flags %d\n", now.ss_flags);
	printf("overflow is reported on the alternate stack: %.15s\n",
	       attempt(use_stack, (void *)(64ul << 20)));
	sigaltstack(NULL, &now);
	printf("flags %d\n", now.ss_flags);
}

static const struct guest_case cases[] = {
	{"[stack] is where the program runs [F13]", initial_stack},
	{"the stack grows with its use [F11]", grows_a_megabyte},
	{"the stack overflows at its limit [F11]", overflows},
	{"a lowered limit stops further growth only [F11]", limit_lowered},
	{"recursion uses the stack up [F11]", deep_recursion},
	{"the handler of an overflow runs on the alternate stack", alternate_stack_untouched},
	{"an area with MAP_GROWSDOWN grows to the page that is touched [H9][F11]", area_grows},
	{"it grows up to the limit of the stack [H9][F11]", area_grows_to_the_limit},
	{"it keeps a gap of 256 pages to what lies below [F12]", guard_gap},
	{"what may not be accessed needs no gap [F12]", gap_to_unusable},
	{"mappings by hint and by place may lie in its gap", mapping_keeps_away},
	{"what does not grow [H9]", no_growth_for_others},
	{"system calls make it grow as well [P4][H9]", grown_by_the_kernel},
	{"a part that was cut off grows on its own [H9]", splits_of_it},
};

CASES_MAIN(cases)
