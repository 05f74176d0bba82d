/* SPDX-License-Identifier: MIT */
/*
 * same_locks.c - locked memory: what is brought in, what counts, and the limit.
 */
#include "window.h"

#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

/* VmLck of /proc/self/status, in pages. */
static long locked_pages(void)
{
	char line[256];
	FILE *status = fopen("/proc/self/status", "r");
	long kb = -4;

	while (status && fgets(line, sizeof(line), status))
		if (!strncmp(line, "VmLck:", 6))
			kb = strtol(line + 6, NULL, 10);
	if (status)
		fclose(status);
	return kb / 4;
}

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

static void counted(void)
{
	printf("none: %ld\n", locked_pages());
	put(0, 8, RW);
	mlock(AT(0), 4 * PAGE);
	printf("locked: %ld\n", locked_pages());
	mlock(AT(2), 4 * PAGE);
	printf("overlapping: %ld\n", locked_pages());
	munlock(AT(1), PAGE);
	printf("one unlocked: %ld\n", locked_pages());
	munmap(AT(0), 4 * PAGE);
	printf("some unmapped: %ld\n", locked_pages());
	munlock(AT(4), 4 * PAGE);
	printf("none: %ld\n", locked_pages());
}

static void splits(void)
{
	put(0, 4, RW);
	mlock(AT(1), PAGE);
	show_maps("split");
	munlock(AT(1), PAGE);
	show_maps("together");
}

static void holes(void)
{
	put(0, 2, RW);
	put(3, 2, RW);
	TELL(mlock(AT(0), 5 * PAGE));
	printf("up to the hole: %ld\n", locked_pages());
	TELL(munlock(AT(0), 5 * PAGE));
	TELL(munlock(AT(3), 2 * PAGE));
	TELL(mlock(AT(8), PAGE));
	TELL(munlock(AT(8), PAGE));
	munlockall();
}

static void on_fault(void)
{
	put(0, 4, RW);
	TELL(syscall(SYS_mlock2, AT(0), 4 * PAGE, MLOCK_ONFAULT));
	show_resident("nothing yet", 0, 4);
	printf("but counted: %ld\n", locked_pages());
	TELL(syscall(SYS_mlock2, AT(0), 4 * PAGE, 0));
	show_resident("all", 0, 4);
	TELL(syscall(SYS_mlock2, AT(0), PAGE, 2));
	munlock(AT(0), 4 * PAGE);
}

static void all_current(void)
{
	put(0, 4, RW);
	TELL(mlockall(MCL_CURRENT));
	show_resident("there", 0, 4);
	printf("this program: %d\n", locked_pages() > 100);
	put(8, 4, RW);
	show_resident("later ones are not", 8, 4);
	TELL(munlockall());
	printf("none: %ld\n", locked_pages());
}

static void all_future(void)
{
	TELL(mlockall(MCL_FUTURE));
	printf("nothing yet: %ld\n", locked_pages());
	put(0, 4, RW);
	show_resident("there", 0, 4);
	printf("counted: %ld\n", locked_pages());
	put(8, 4, PROT_NONE);
	mprotect(AT(8), 4 * PAGE, RW);
	show_resident("made accessible", 8, 4);
	TELL(munlockall());
	put(16, 4, RW);
	show_resident("no longer", 16, 4);
}

static void all_future_on_fault(void)
{
	TELL(mlockall(MCL_FUTURE | MCL_ONFAULT));
	put(0, 4, RW);
	show_resident("nothing yet", 0, 4);
	printf("counted: %ld\n", locked_pages());
	TELL(munlockall());
}

static void all_arguments(void)
{
	TELL(mlockall(0));
	TELL(mlockall(8));
	TELL(mlockall(MCL_ONFAULT));
	TELL(mlockall(MCL_CURRENT | MCL_ONFAULT));
	TELL(munlockall());
}

static void without_rights(void)
{
	put(0, 2, PROT_NONE);
	TELL(mlock(AT(0), 2 * PAGE));
	printf("counted: %ld\n", locked_pages());
	munlock(AT(0), 2 * PAGE);
	put(4, 2, R);
	TELL(mlock(AT(4), 2 * PAGE));
	show_resident("read-only", 4, 2);
	munlock(AT(4), 2 * PAGE);
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

static void grows_with_it(void)
{
	put(0, 2, RW);
	mlock(AT(0), 2 * PAGE);
	WHERE(mremap(AT(0), 2 * PAGE, 6 * PAGE, 0));
	show_resident("grown", 0, 6);
	printf("counted: %ld\n", locked_pages());
	WHERE(mremap(AT(0), 6 * PAGE, 6 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(16)));
	printf("moved: %ld\n", locked_pages());
	munmap(AT(16), 6 * PAGE);
	printf("gone: %ld\n", locked_pages());
}

static void limited(void)
{
	struct rlimit old = limit_set(RLIMIT_MEMLOCK, 8 * PAGE);

	put(0, 16, RW);
	TELL(mlock(AT(0), 9 * PAGE));
	TELL(mlock(AT(0), 8 * PAGE));
	TELL(mlock(AT(8), PAGE));
	TELL(mlock(AT(4), 4 * PAGE));
	TELL(mlockall(MCL_CURRENT));
	WHERE(mmap(AT(32), 4 * PAGE, RW, PRIVATE | MAP_FIXED | MAP_LOCKED, -1, 0));
	WHERE(mremap(AT(0), 8 * PAGE, 16 * PAGE, MREMAP_MAYMOVE));
	limit_restore(RLIMIT_MEMLOCK, old);
	munlockall();
}

static void limit_of_nothing(void)
{
	struct rlimit old = limit_set(RLIMIT_MEMLOCK, 0);

	put(0, 1, RW);
	TELL(mlock(AT(0), PAGE));
	TELL(mlock(AT(0), 0));
	TELL(mlockall(MCL_CURRENT));
	TELL(mlockall(MCL_FUTURE));
	WHERE(mmap(AT(4), PAGE, RW, PRIVATE | MAP_FIXED | MAP_LOCKED, -1, 0));
	TELL(munlock(AT(0), PAGE));
	TELL(munlockall());
	limit_restore(RLIMIT_MEMLOCK, old);
}

static const struct guest_case cases[] = {
	{"mlock brings pages in, munlock leaves them [J1][J7]", brings_in},
	{"a range is rounded outwards", rounds_outwards},
	{"VmLck counts what is locked, once [H11]", counted},
	{"locked pages are areas of their own [H11][I13]", splits},
	{"a hole is ENOMEM after what lies before it", holes},
	{"MLOCK_ONFAULT brings nothing in [J7]", on_fault},
	{"mlockall: what is there [J1]", all_current},
	{"mlockall: what will be there [J1]", all_future},
	{"mlockall: what will be there, when it is touched", all_future_on_fault},
	{"mlockall: arguments", all_arguments},
	{"memory without rights", without_rights},
	{"file mappings, and behind the end of the file", file_pages},
	{"arguments that wrap around", arguments},
	{"locked memory grows and moves locked [H11]", grows_with_it},
	{"RLIMIT_MEMLOCK [H11]", limited},
	{"RLIMIT_MEMLOCK of nothing", limit_of_nothing},
};

CASES_MAIN(cases)
