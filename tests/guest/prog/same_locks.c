/* SPDX-License-Identifier: MIT */
/*
 * same_locks.c - locked memory: what is brought in, what counts, and the limit.
 */
#include "window.h"

#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

static void brings_in(void)
{
	put(0, 8, RW);
	TELL(mlock(AT(2), 4 * PAGE));
	show_resident("locked", 2, 4);
	TELL(munlock(AT(2), 4 * PAGE));
	show_resident("still there", 2, 4);
}

static void rounds_outwards(void)
{
	put(0, 4, RW);
	TELL(mlock(AT(1) + 100, 1));
	show_resident("one page", 1, 1);
	TELL(mlock(AT(2) - 1, 2));
	show_resident("two", 1, 2);
	TELL(mlock(AT(0), 0));
	TELL(munlock(AT(0) + 5, 0));
	TELL(munlock(AT(0), 4 * PAGE));
}

static void all_arguments(void)
{
	TELL(mlockall(0));
	TELL(mlockall(8));
	TELL(mlockall(MCL_ONFAULT));
	TELL(mlockall(MCL_CURRENT | MCL_ONFAULT));
	TELL(munlockall());
}

static void file_pages(void)
{
	int fd = letter_file("locked", 2, 0);

	put_file(0, 4, R, MAP_PRIVATE, fd, 0);
	TELL(mlock(AT(0), 2 * PAGE));
	TELL(mlock(AT(0), 4 * PAGE));
	munlock(AT(0), 4 * PAGE);
	close(fd);
}

static void arguments(void)
{
	put(0, 1, RW);
	TELL(mlock(AT(0), -1ul));
	TELL(mlock(AT(0) + PAGE - 1, -1ul));
	TELL(munlock(AT(0), -1ul));
	TELL(munlock(AT(1), -PAGE));
	TELL(mlock(KERNEL, PAGE));
	TELL(munlock(KERNEL, PAGE));
	munlockall();
}

static const struct guest_case cases[] = {
	{"mlock brings pages in, munlock leaves them [J1][J7]", brings_in},
	{"a range is rounded outwards", rounds_outwards},
	{"mlockall: arguments", all_arguments},
	{"file mappings, and behind the end of the file", file_pages},
	{"arguments that wrap around", arguments},
};

CASES_MAIN(cases)
