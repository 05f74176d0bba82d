/* SPDX-License-Identifier: MIT */
/*
 * same_madvise.c - what each advice does to what is there, and what each refuses.
 */
#include "window.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE  103
#endif

static void dontneed(void)
{
	put(0, 4, RW);
	letters(0, 4);
	TELL(madvise(AT(1), 2 * PAGE, MADV_DONTNEED));
	show_resident("there", 0, 4);
	show_letters("zeros", 0, 4);
}

static void dontneed_shared(void)
{
	put_shared(0, 4, RW);
	letters(0, 4);
	TELL(madvise(AT(1), 2 * PAGE, MADV_DONTNEED));
	show_letters("kept", 0, 4);
}

static void dontneed_private_file(void)
{
	int fd = letter_file("advised", 3, 0);

	put_file(0, 3, RW, MAP_PRIVATE, fd, 0);
	AT(1)[0] = 'x';
	show_letters("mine", 0, 3);
	TELL(madvise(AT(0), 3 * PAGE, MADV_DONTNEED));
	show_letters("the file's", 0, 3);
	close(fd);
}

static void dontneed_hole(void)
{
	put(0, 2, RW);
	put(3, 2, RW);
	letters(0, 2);
	letters(3, 2);
	TELL(madvise(AT(0), 5 * PAGE, MADV_DONTNEED));
	show_letters("both sides are dropped", 0, 5);
	TELL(madvise(AT(2), PAGE, MADV_DONTNEED));
	TELL(madvise(AT(8), PAGE, MADV_DONTNEED));
}

static void dontneed_read_only(void)
{
	put(0, 2, RW);
	letters(0, 2);
	mprotect(AT(0), 2 * PAGE, R);
	TELL(madvise(AT(0), PAGE, MADV_DONTNEED));
	mprotect(AT(0), 2 * PAGE, PROT_NONE);
	TELL(madvise(AT(1), PAGE, MADV_DONTNEED));
	mprotect(AT(0), 2 * PAGE, R);
	show_letters("zeros", 0, 2);
}

static void dontneed_locked(void)
{
	put(0, 2, RW);
	letters(0, 2);
	TELL(mlock(AT(0), PAGE));
	TELL(madvise(AT(0), 2 * PAGE, MADV_DONTNEED));
	show_letters("kept", 0, 2);
	TELL(madvise(AT(0), 2 * PAGE, MADV_DONTNEED_LOCKED));
	show_letters("dropped", 0, 2);
	munlock(AT(0), PAGE);
}

static void free_advice(void)
{
	put(0, 2, RW);
	letters(0, 2);
	TELL(madvise(AT(0), PAGE, MADV_FREE));
	AT(0)[0] = 'x';
	show_letters("written after", 0, 2);
	put_shared(4, 1, RW);
	TELL(madvise(AT(4), PAGE, MADV_FREE));
}

static void free_file(void)
{
	int fd = letter_file("advised", 1, 0);

	put_file(0, 1, RW, MAP_PRIVATE, fd, 0);
	TELL(madvise(AT(0), PAGE, MADV_FREE));
	close(fd);
}

static void remove_shared(void)
{
	put_shared(0, 4, RW);
	letters(0, 4);
	TELL(madvise(AT(1), 2 * PAGE, MADV_REMOVE));
	show_letters("a hole in it", 0, 4);
}

static void remove_refused(void)
{
	int fd = letter_file("advised", 2, 0), reader = open("advised", O_RDONLY);

	put(0, 1, RW);
	TELL(madvise(AT(0), PAGE, MADV_REMOVE));
	put_file(2, 1, RW, MAP_PRIVATE, fd, 0);
	TELL(madvise(AT(2), PAGE, MADV_REMOVE));
	put_file(4, 1, R, MAP_SHARED, reader, 0);
	TELL(madvise(AT(4), PAGE, MADV_REMOVE));
	TELL(madvise(AT(8), PAGE, MADV_REMOVE));
	close(fd);
	close(reader);
}

static void populate_read(void)
{
	put(0, 4, RW);
	TELL(madvise(AT(1), 2 * PAGE, MADV_POPULATE_READ));
	show_resident("there", 1, 2);
	put(8, 2, PROT_WRITE);
	TELL(madvise(AT(8), 2 * PAGE, MADV_POPULATE_READ));
	put(12, 2, PROT_NONE);
	TELL(madvise(AT(12), 2 * PAGE, MADV_POPULATE_READ));
}

static void populate_write(void)
{
	put(0, 4, RW);
	TELL(madvise(AT(1), 2 * PAGE, MADV_POPULATE_WRITE));
	show_resident("there", 1, 2);
	put(8, 2, R);
	TELL(madvise(AT(8), 2 * PAGE, MADV_POPULATE_WRITE));
	put_shared(12, 2, RW);
	TELL(madvise(AT(12), 2 * PAGE, MADV_POPULATE_WRITE));
	show_resident("shared", 12, 2);
}

static void populate_hole(void)
{
	put(0, 2, RW);
	put(3, 2, RW);
	TELL(madvise(AT(0), 5 * PAGE, MADV_POPULATE_READ));
	TELL(madvise(AT(0), 5 * PAGE, MADV_POPULATE_WRITE));
	show_resident("up to the hole", 0, 5);
}

static void populate_beyond_file(void)
{
	int fd = letter_file("advised", 1, 0);

	put_file(0, 3, RW, MAP_PRIVATE, fd, 0);
	TELL(madvise(AT(0), 3 * PAGE, MADV_POPULATE_READ));
	TELL(madvise(AT(0), PAGE, MADV_POPULATE_WRITE));
	AT(0)[0] = 'x';
	show_letters("private", 0, 1);
	close(fd);
}

static void patterns(void)
{
	put(0, 4, RW);
	letters(0, 4);
	TELL(madvise(AT(0), 4 * PAGE, MADV_NORMAL));
	TELL(madvise(AT(1), PAGE, MADV_RANDOM));
	show_maps("split by advice");
	TELL(madvise(AT(1), PAGE, MADV_SEQUENTIAL));
	TELL(madvise(AT(1), PAGE, MADV_NORMAL));
	show_maps("together again");
	show_letters("kept", 0, 4);
}

static void for_the_child(void)
{
	put(0, 4, RW);
	letters(0, 4);
	TELL(madvise(AT(1), PAGE, MADV_DONTFORK));
	show_maps("split");
	TELL(madvise(AT(1), PAGE, MADV_DOFORK));
	show_maps("together");
	TELL(madvise(AT(2), PAGE, MADV_WIPEONFORK));
	show_maps("split");
	TELL(madvise(AT(2), PAGE, MADV_KEEPONFORK));
	show_maps("together");
	put_shared(8, 1, RW);
	TELL(madvise(AT(8), PAGE, MADV_WIPEONFORK));
	TELL(madvise(AT(8), PAGE, MADV_DONTFORK));
	show_letters("kept", 0, 4);
}

static void for_the_dump(void)
{
	put(0, 3, RW);
	TELL(madvise(AT(1), PAGE, MADV_DONTDUMP));
	show_maps("split");
	TELL(madvise(AT(1), PAGE, MADV_DODUMP));
	show_maps("together");
}

static void huge_pages(void)
{
	put(0, 4, RW);
	TELL(madvise(AT(1), PAGE, MADV_HUGEPAGE));
	show_maps("split");
	TELL(madvise(AT(0), 4 * PAGE, MADV_NOHUGEPAGE));
	show_maps("together");
}

static void cold_and_pageout(void)
{
	int fd = letter_file("advised", 1, 0);

	put(0, 2, RW);
	letters(0, 2);
	TELL(madvise(AT(0), PAGE, MADV_COLD));
	TELL(madvise(AT(1), PAGE, MADV_PAGEOUT));
	show_letters("kept", 0, 2);
	put_file(4, 1, R, MAP_SHARED, fd, 0);
	TELL(madvise(AT(4), PAGE, MADV_COLD));
	TELL(madvise(AT(4), PAGE, MADV_PAGEOUT));
	show_letters("file", 4, 1);
	close(fd);
}

static void willneed(void)
{
	int fd = letter_file("advised", 2, 0);

	put(0, 2, RW);
	TELL(madvise(AT(0), 2 * PAGE, MADV_WILLNEED));
	put_file(4, 2, R, MAP_PRIVATE, fd, 0);
	TELL(madvise(AT(4), 2 * PAGE, MADV_WILLNEED));
	TELL(madvise(AT(8), PAGE, MADV_WILLNEED));
	show_letters("file", 4, 2);
	close(fd);
}

static void refusals(void)
{
	put(0, 2, RW);
	letters(0, 2);
	TELL(madvise(BASE + 1, PAGE, MADV_DONTNEED));
	TELL(madvise(BASE, 0, MADV_DONTNEED));
	TELL(madvise(BASE + 1, 0, MADV_DONTNEED));
	TELL(madvise(BASE, PAGE, 5));
	TELL(madvise(BASE, PAGE, -1));
	TELL(madvise(BASE, PAGE, 12345));
	TELL(madvise(BASE, 0, 12345));
	TELL(madvise(BASE, -1ul, MADV_DONTNEED));
	TELL(madvise(BASE, -4096ul, MADV_DONTNEED));
	TELL(madvise(KERNEL, PAGE, MADV_DONTNEED));
	TELL(madvise(USER_END - PAGE, 2 * PAGE, MADV_NORMAL));
	show_letters("kept", 0, 2);
}

static void rounding(void)
{
	put(0, 4, RW);
	letters(0, 4);
	TELL(madvise(AT(0), 1, MADV_DONTNEED));
	TELL(madvise(AT(2), PAGE + 1, MADV_DONTNEED));
	show_letters("dropped", 0, 4);
}

static const struct guest_case cases[] = {
	{"MADV_DONTNEED: private pages are gone and come back zeroed [J10]", dontneed},
	{"MADV_DONTNEED: shared memory keeps what it holds [H8]", dontneed_shared},
	{"MADV_DONTNEED: a private file page becomes the file's again [J11]", dontneed_private_file},
	{"MADV_DONTNEED: a hole is ENOMEM after both sides are done", dontneed_hole},
	{"MADV_DONTNEED: protections do not matter", dontneed_read_only},
	{"MADV_DONTNEED: locked pages are EINVAL, MADV_DONTNEED_LOCKED takes them [H11]", dontneed_locked},
	{"MADV_FREE: what is written after stays; shared memory is EINVAL", free_advice},
	{"MADV_FREE: a file mapping is EINVAL", free_file},
	{"MADV_REMOVE: a hole in shared memory", remove_shared},
	{"MADV_REMOVE: private memory and read-only mappings are refused", remove_refused},
	{"MADV_POPULATE_READ: pages are there; without the right EINVAL [J7]", populate_read},
	{"MADV_POPULATE_WRITE: pages are there; without the right EINVAL [J7]", populate_write},
	{"MADV_POPULATE: a hole is ENOMEM, what lies before it is there", populate_hole},
	{"MADV_POPULATE: behind the end of a file is EFAULT", populate_beyond_file},
	{"MADV_RANDOM and MADV_SEQUENTIAL split areas, MADV_NORMAL joins them [I13]", patterns},
	{"MADV_DONTFORK and MADV_WIPEONFORK split areas, and are taken back [I13]", for_the_child},
	{"MADV_DONTDUMP splits areas, MADV_DODUMP joins them [I13]", for_the_dump},
	{"MADV_HUGEPAGE splits areas, MADV_NOHUGEPAGE joins them [I13]", huge_pages},
	{"MADV_COLD and MADV_PAGEOUT lose nothing", cold_and_pageout},
	{"MADV_WILLNEED: arguments", willneed},
	{"arguments that are refused [F8]", refusals},
	{"a length is rounded up", rounding},
};

CASES_MAIN(cases)
