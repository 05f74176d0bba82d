/* SPDX-License-Identifier: MIT */
/*
 * same_brk.c - the break: raw calls, so that nothing of the C library stands between.
 */
#include "window.h"

static char *start; /* the break when the program began its cases */

static char *brk_raw(char *to)
{
	return (char *)syscall(SYS_brk, to);
}

static void show_break(const char *what, char *now)
{
	printf("%-24s %+ld\n", what, (long)(now - start));
}

/* [heap] in pages, and its rights. */
static void show_heap(const char *what)
{
	char line[256], rights[8];
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long from, to;
	int seen = 0;

	while (maps && fgets(line, sizeof(line), maps))
		if (strstr(line, "[heap]") && sscanf(line, "%lx-%lx %7s", &from, &to, rights) == 3) {
			printf("%s: [heap] %s, ends at the page of the break: %d\n", what, rights,
			       to == (((unsigned long)brk_raw(NULL) + 4095) & ~4095ul));
			seen++;
		}
	if (maps)
		fclose(maps);
	if (!seen)
		printf("%s: no [heap]\n", what);
}

static void begin(void)
{
	start = brk_raw(NULL);
}

static void end(void)
{
	brk_raw(start);
}

static void asks(void)
{
	begin();
	show_break("0", brk_raw(NULL));
	show_break("1", brk_raw((char *)1));
	show_break("kernel", brk_raw(KERNEL));
	show_break("end of user addresses", brk_raw(USER_END));
	show_break("-1", brk_raw((char *)-1l));
	end();
}

static void grows(void)
{
	int dirty = 0;

	begin();
	show_break("up 5 pages", brk_raw(start + 5 * PAGE));
	for (long i = 0; i < 5 * PAGE; i++)
		dirty |= start[i];
	printf("zeros: %d\n", !dirty);
	show_heap("grown");
	memset(start, 'h', 5 * PAGE);
	show_break("down 3 pages", brk_raw(start + 2 * PAGE));
	printf("below the break: %s\n", peek(start + 2 * PAGE - 1));
	end();
}

static void to_the_byte(void)
{
	begin();
	show_break("up 1 byte", brk_raw(start + 1));
	show_break("up 4097 bytes", brk_raw(start + 4097));
	printf("the rest of the page is there: %s\n", poke(start + 4098));
	show_break("down to 1 byte", brk_raw(start + 1));
	end();
}

static void comes_back_zeroed(void)
{
	begin();
	brk_raw(start + 4 * PAGE);
	memset(start, 'h', 4 * PAGE);
	brk_raw(start);
	brk_raw(start + 4 * PAGE);
	printf("%d %d\n", start[PAGE], start[3 * PAGE]);
	end();
}

static void blocked(void)
{
	char *page = (char *)(((uintptr_t)brk_raw(NULL) + 4095) & ~4095ul);

	begin();
	mmap(page + 4 * PAGE, PAGE, RW, PRIVATE | MAP_FIXED_NOREPLACE, -1, 0);
	printf("beyond a mapping: %d\n", brk_raw(page + 8 * PAGE) == page + 8 * PAGE);
	printf("right up to it: %d\n", brk_raw(page + 4 * PAGE) == page + 4 * PAGE);
	end();
	munmap(page + 4 * PAGE, PAGE);
}

static void limited(void)
{
	struct rlimit old;
	char *now;

	begin();
	old = limit_set(RLIMIT_DATA, 64 << 20);
	now = brk_raw(start + (256l << 20));
	show_break("beyond the limit", now);
	now = brk_raw(start + (16l << 20));
	show_break("within it", now);
	limit_restore(RLIMIT_DATA, old);
	now = brk_raw(start + (256l << 20));
	show_break("with the old limit", now);
	end();
}

static void too_much(void)
{
	begin();
	show_break("64 TiB", brk_raw(start + (64l << 40)));
	show_break("1 TiB", brk_raw(start + (1l << 40)));
	end();
}

static void protected_heap(void)
{
	char *page;

	begin();
	page = (char *)(((uintptr_t)start + 4095) & ~4095ul);
	brk_raw(page + 4 * PAGE);
	memset(page, 'h', 4 * PAGE);
	TELL(mprotect(page + PAGE, PAGE, PROT_READ));
	printf("read %s, write %.15s\n", peek(page + PAGE), poke(page + PAGE));
	TELL(munmap(page + 2 * PAGE, PAGE));
	printf("a hole in the heap: %.15s, behind it %s\n", peek(page + 2 * PAGE), peek(page + 3 * PAGE));
	show_break("still", (char *)((uintptr_t)brk_raw(NULL) - (uintptr_t)page + (uintptr_t)start));
	end();
	printf("and away: %.15s\n", peek(page + 3 * PAGE));
}

static void library_calls(void)
{
	char *was = sbrk(0), *p;

	printf("sbrk(0) is the break: %d\n", was == brk_raw(NULL));
	p = sbrk(10000);
	printf("sbrk gives the old one: %d\n", p == was);
	p[9999] = 1;
	printf("and moves it: %ld\n", (long)((char *)sbrk(0) - was));
	TELL(brk(was + 5));
	printf("%ld\n", (long)((char *)sbrk(0) - was));
	TELL(brk((void *)-1l));
	TELL(brk(was));
	printf("%d\n", sbrk(1l << 46) == (void *)-1);
}

static void malloc_grows_the_heap(void)
{
	char *blocks[64], *before = sbrk(0);
	unsigned int sum = 0;

	for (int i = 0; i < 64; i++) {
		blocks[i] = malloc(10000);
		memset(blocks[i], i, 10000);
	}
	for (int i = 0; i < 64; i++)
		sum += (unsigned char)blocks[i][9999];
	printf("sum %u, the break moved: %d\n", sum, (char *)sbrk(0) > before);
	show_heap("in use");
	for (int i = 0; i < 64; i++)
		free(blocks[i]);
}

static const struct guest_case cases[] = {
	{"questions and refusals answer with the break as it is [J1]", asks},
	{"grows with zeros, shrinks at once [J1][Q2]", grows},
	{"stands at any byte", to_the_byte},
	{"what was given back comes back zeroed", comes_back_zeroed},
	{"stops before a mapping", blocked},
	{"RLIMIT_DATA limits it", limited},
	{"more than there is", too_much},
	{"the heap can be protected and cut [Q2]", protected_heap},
	{"brk and sbrk of the library [Q2]", library_calls},
	{"malloc moves the break [Q1][Q2]", malloc_grows_the_heap},
};

CASES_MAIN(cases)
