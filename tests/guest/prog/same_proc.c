/* SPDX-License-Identifier: MIT */
/*
 * same_proc.c - what /proc/self says of memory that the case made itself.
 */
#include "window.h"

/* The value of a field of the smaps block of the area at a page of the window, in kB; -1: no such line. */
static long smaps_kb(long page, const char *field)
{
	char line[512];
	FILE *smaps = fopen("/proc/self/smaps", "r");
	bool inside = false;
	long kb = -1;

	while (smaps && fgets(line, sizeof(line), smaps)) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2 && strchr(line, '-') < line + 20)
			inside = from <= (unsigned long)AT(page) && (unsigned long)AT(page) < to;
		else if (inside && !strncmp(line, field, strlen(field)) && line[strlen(field)] == ':')
			kb = strtol(line + strlen(field) + 1, NULL, 10);
	}
	if (smaps)
		fclose(smaps);
	return kb;
}

/* The flags of the area, two letters each. */
static void show_flags(const char *what, long page)
{
	char line[512];
	FILE *smaps = fopen("/proc/self/smaps", "r");
	bool inside = false;

	while (smaps && fgets(line, sizeof(line), smaps)) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2 && strchr(line, '-') < line + 20)
			inside = from <= (unsigned long)AT(page) && (unsigned long)AT(page) < to;
		else if (inside && !strncmp(line, "VmFlags:", 8))
			printf("%s%s", what, line + 8);
	}
	if (smaps)
		fclose(smaps);
}

static void sizes(void)
{
	put(0, 8, RW);
	mmap(AT(16), 8 * PAGE, RW, PRIVATE | MAP_FIXED | MAP_POPULATE, -1, 0);
	printf("Size %ld, Rss %ld\n", smaps_kb(0, "Size"), smaps_kb(0, "Rss"));
	printf("populated: Rss %ld, Anonymous %ld, Private_Dirty %ld\n", smaps_kb(16, "Rss"),
	       smaps_kb(16, "Anonymous"), smaps_kb(16, "Private_Dirty"));
	printf("pages of %ld and %ld\n", smaps_kb(0, "KernelPageSize"), smaps_kb(0, "MMUPageSize"));
}

static void zero_pages(void)
{
	put(0, 8, RW);
	touch_read(AT(0));
	printf("read only: Rss %ld, Anonymous %ld\n", smaps_kb(0, "Rss"), smaps_kb(0, "Anonymous"));
}

static void locked(void)
{
	put(0, 4, RW);
	mlock(AT(0), 4 * PAGE);
	printf("Locked %ld\n", smaps_kb(0, "Locked"));
	munlock(AT(0), 4 * PAGE);
	printf("Locked %ld\n", smaps_kb(0, "Locked"));
}

static void flags(void)
{
	int fd = letter_file("flags", 1, 0), reader = open("flags", O_RDONLY);

	put(0, 1, RW);
	show_flags("private", 0);
	put(2, 1, R);
	show_flags("read-only", 2);
	put(4, 1, PROT_NONE);
	show_flags("none", 4);
	put_shared(6, 1, RW);
	show_flags("shared", 6);
	put_file(8, 1, R, MAP_PRIVATE, fd, 0);
	show_flags("file", 8);
	put_file(10, 1, R, MAP_SHARED, reader, 0);
	show_flags("reader's", 10);
	mmap(AT(12), PAGE, RW, PRIVATE | MAP_FIXED | MAP_GROWSDOWN, -1, 0);
	show_flags("grows down", 12);
	mmap(AT(14), PAGE, RW, PRIVATE | MAP_FIXED | MAP_NORESERVE, -1, 0);
	show_flags("not reserved", 14);
	close(reader);
	close(fd);
}

static void advised_flags(void)
{
	static const struct {
		int advice;
		const char *name;
	} advices[] = {{MADV_RANDOM, "random"},		{MADV_SEQUENTIAL, "sequential"},
		       {MADV_DONTFORK, "dontfork"},	{MADV_DONTDUMP, "dontdump"},
		       {MADV_WIPEONFORK, "wipeonfork"}, {MADV_NOHUGEPAGE, "nohugepage"}};

	for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++) {
		put(2 * (long)i, 1, RW);
		madvise(AT(2 * (long)i), PAGE, advices[i].advice);
		show_flags(advices[i].name, 2 * (long)i);
	}
}

static uint64_t pagemap(long page)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	if (pread(fd, &entry, 8, (off_t)((uintptr_t)AT(page) / PAGE * 8)) != 8)
		printf("cannot read it\n");
	close(fd);
	return entry;
}

static void page_map(void)
{
	int fd = letter_file("paged", 1, 0);

	put(0, 1, RW);
	AT(0)[0] = 1;
	printf("written: present %d, file %d\n", (int)(pagemap(0) >> 63), (int)(pagemap(0) >> 61 & 1));
	put(64, 1, RW);
	printf("untouched: present %d\n", (int)(pagemap(64) >> 63));
	printf("nothing there: %d\n", (int)(pagemap(200) >> 63));
	put_file(128, 1, R, MAP_SHARED, fd, 0);
	touch_read(AT(128));
	printf("file page: present %d, file %d\n", (int)(pagemap(128) >> 63), (int)(pagemap(128) >> 61 & 1));
	close(fd);
}

static void memory_file(void)
{
	int fd = open("/proc/self/mem", O_RDWR);
	char text[8] = "";

	put(0, 2, RW);
	letters(0, 2);
	COUNT(pread(fd, text, 3, (off_t)(uintptr_t)(AT(1) - 1)));
	printf("%s\n", text);
	COUNT(pwrite(fd, "xyz", 3, (off_t)(uintptr_t)AT(1)));
	printf("%.4s\n", AT(1));
	COUNT(pread(fd, text, 1, (off_t)(uintptr_t)AT(8)));
	COUNT(pread(fd, text, 8, (off_t)(uintptr_t)(AT(2) - 3)));
	mprotect(AT(0), PAGE, PROT_NONE);
	COUNT(pread(fd, text, 3, (off_t)(uintptr_t)AT(0)));
	mprotect(AT(0), PAGE, R);
	COUNT(pwrite(fd, "xyz", 3, (off_t)(uintptr_t)AT(0)));
	printf("%.4s\n", AT(0));
	put(4, 2, PROT_NONE);
	COUNT(pread(fd, text, 3, (off_t)(uintptr_t)AT(4)));
	COUNT(pwrite(fd, "pqr", 3, (off_t)(uintptr_t)AT(5)));
	COUNT(pread(fd, text, 3, (off_t)(uintptr_t)AT(5)));
	printf("%.3s %s\n", text, peek(AT(5)));
	put_shared(4, 1, R);
	COUNT(pread(fd, text, 3, (off_t)(uintptr_t)AT(4)));
	COUNT(pwrite(fd, "pqr", 3, (off_t)(uintptr_t)AT(4)));
	COUNT(pread(fd, (char *)KERNEL, 3, (off_t)(uintptr_t)AT(4)));
	COUNT(pread(fd, text, 3, (off_t)0x7ffffffff000));
	COUNT(pread(fd, text, 0, 0));
	close(fd);
}

static void counts_of_status(void)
{
	char line[256];
	FILE *status = fopen("/proc/self/status", "r");
	static const char *const wanted[] = {"VmPeak:", "VmSize:",  "VmLck:",	"VmPin:",    "VmHWM:",
					     "VmRSS:",	"RssAnon:", "RssFile:", "RssShmem:", "VmData:",
					     "VmStk:",	"VmExe:",   "VmLib:",	"VmPTE:",    "VmSwap:"};

	while (status && fgets(line, sizeof(line), status))
		for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
			if (!strncmp(line, wanted[i], strlen(wanted[i])))
				printf("%s %s", wanted[i], strstr(line, "kB") ? "in kB\n" : "?\n");
	if (status)
		fclose(status);
}

static void parts_of_maps(void)
{
	char line[512], name[256];
	FILE *maps = fopen("/proc/self/maps", "r");
	int heap = 0, stack = 0, sorted = 1;
	unsigned long from, to, last = 0;

	brk((char *)sbrk(0) + PAGE);
	while (maps && fgets(line, sizeof(line), maps)) {
		name[0] = 0;
		if (sscanf(line, "%lx-%lx %*s %*s %*s %*s %255s", &from, &to, name) < 2)
			printf("cannot parse %s", line);
		sorted &= from >= last && to > from;
		last = to;
		heap += !strcmp(name, "[heap]");
		stack += !strcmp(name, "[stack]");
	}
	if (maps)
		fclose(maps);
	printf("heap %d stack %d, in order %d\n", heap, stack, sorted);
}

static const struct guest_case cases[] = {
	{"smaps: sizes of an area [K27]", sizes},
	{"smaps: a zero page is nobody's", zero_pages},
	{"smaps: Locked [H11]", locked},
	{"smaps: VmFlags [H7][H8][H9]", flags},
	{"smaps: VmFlags after advice", advised_flags},
	{"pagemap: what is present and whose", page_map},
	{"mem: reads and writes, whatever the protection [P5]", memory_file},
	{"status: the lines about memory", counts_of_status},
	{"maps: heap, stack, in order [Q2][F13]", parts_of_maps},
};

CASES_MAIN(cases)
