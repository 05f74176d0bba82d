/* SPDX-License-Identifier: MIT */
/*
 * same_procfs.c - what /proc says of a process: its sums, its pages and how its files behave, where a native kernel and
 * lodge owe the same answer.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "case.h"

#define PAGE 4096ul

static char text[1 << 20];
static const char *program;

static void tell(const char *what, long ret)
{
	printf("%-50s %s\n", what, ret < 0 ? strerrorname_np(errno) : "ok");
}

#define TELL(call) tell(#call, (long)(call))

/* A whole file; how many bytes. */
static long slurp(const char *path)
{
	int fd = open(path, O_RDONLY);
	long n = 0, got = 0;

	if (fd < 0)
		return -1;
	while (n < (long)sizeof(text) - 1 && (got = read(fd, text + n, sizeof(text) - 1 - (size_t)n)) > 0)
		n += got;
	text[n] = '\0';
	close(fd);
	return got < 0 ? -1 : n;
}

/* The number behind a key of the text, at a line's beginning; -1: no such key. */
static long value_of(const char *from, const char *key)
{
	size_t len = strlen(key);

	for (const char *at = from; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
		if (!strncmp(at, key, len))
			return strtol(at + len, NULL, 10);
	return -1;
}

static long sum_of(const char *key)
{
	size_t len = strlen(key);
	long sum = 0;

	for (const char *at = text; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
		if (!strncmp(at, key, len))
			sum += strtol(at + len, NULL, 10);
	return sum;
}

static char *map(size_t pages, int flags)
{
	return mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
}

/* The smaps block of the area that begins at an address. */
static const char *block_of(const void *address)
{
	char start[32];
	int len = snprintf(start, sizeof(start), "%lx-", (unsigned long)address);

	slurp("/proc/self/smaps");
	for (const char *at = text; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
		if (!strncmp(at, start, (size_t)len))
			return at;
	return "";
}

static void tell_block(const char *what, const void *address)
{
	static const char *const keys[] = {"Size:",	     "Rss:",	       "Pss:",
					   "Pss_Dirty:",     "Shared_Clean:",  "Shared_Dirty:",
					   "Private_Clean:", "Private_Dirty:", "Anonymous:",
					   "Swap:",	     "Locked:"};
	const char *block = block_of(address);

	printf("%s\n", what);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		printf("  %-15s %ld\n", keys[i], value_of(block, keys[i]));
}

static const char *flags_of(const void *address)
{
	static char line[256];
	const char *at = strstr(block_of(address), "VmFlags:");

	snprintf(line, sizeof(line), "%.*s", at ? (int)strcspn(at, "\n") : 0, at ? at : "");
	return line;
}

/* --- the cases ------------------------------------------------------------------------------- */

/* Areas of their own: the neighbours of a mapping are guards. */
static char *fenced(size_t pages, int flags)
{
	char *at = mmap(NULL, (pages + 2) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mmap(at + PAGE, pages * PAGE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS | MAP_FIXED, -1,
		    0);
}

static void smaps_of_anonymous(void)
{
	char *p = fenced(16, MAP_PRIVATE);

	madvise(p, 16 * PAGE, MADV_NOHUGEPAGE);
	tell_block("untouched", p);
	for (int i = 0; i < 16; i++)
		(void)*(volatile char *)(p + (size_t)i * PAGE);
	tell_block("read", p);
	memset(p, 1, 16 * PAGE);
	tell_block("written", p);
	madvise(p, 8 * PAGE, MADV_DONTNEED);
	tell_block("half given back", p);
}

static void smaps_of_shared(void)
{
	char *p = fenced(4, MAP_SHARED);

	memset(p, 1, 4 * PAGE);
	tell_block("shared, written", p);
}

static void smaps_flags(void)
{
	char *p = fenced(4, MAP_PRIVATE);

	mprotect(p, 4 * PAGE, PROT_READ);
	puts(flags_of(p));
	mprotect(p, 4 * PAGE, PROT_NONE);
	puts(flags_of(p));
	puts(flags_of(fenced(4, MAP_SHARED)));
	puts(flags_of(fenced(4, MAP_PRIVATE)));
	puts(flags_of(fenced(4, MAP_PRIVATE | MAP_NORESERVE)));
	p = fenced(4, MAP_PRIVATE);
	madvise(p, 4 * PAGE, MADV_DONTDUMP);
	madvise(p, 4 * PAGE, MADV_DONTFORK);
	madvise(p, 4 * PAGE, MADV_WIPEONFORK);
	madvise(p, 4 * PAGE, MADV_RANDOM);
	puts(flags_of(p));
	p = fenced(4, MAP_PRIVATE);
	mlock(p, 4 * PAGE);
	puts(flags_of(p));
	tell_block("locked", p);
	slurp("/proc/self/status");
	printf("VmLck %ld\n", value_of(text, "VmLck:"));
}

static void sums(void)
{
	long rss, anon;
	char *p = map(64, MAP_PRIVATE);

	memset(p, 1, 64 * PAGE);
	slurp("/proc/self/smaps");
	rss = sum_of("Rss:");
	anon = sum_of("Anonymous:");
	printf("dirty and clean are all: %d\n", rss == sum_of("Shared_Clean:") + sum_of("Shared_Dirty:") +
								sum_of("Private_Clean:") +
								sum_of("Private_Dirty:"));
	slurp("/proc/self/smaps_rollup");
	printf("rollup: %d %d\n", value_of(text, "Rss:") == rss, value_of(text, "Anonymous:") == anon);
	printf("parts of Pss: %d\n", labs(value_of(text, "Pss:") - value_of(text, "Pss_Anon:") -
					  value_of(text, "Pss_File:") - value_of(text, "Pss_Shmem:")) <= 2);
	slurp("/proc/self/status");
	printf("VmRSS: %d\n",
	       value_of(text, "VmRSS:") ==
		       value_of(text, "RssAnon:") + value_of(text, "RssFile:") + value_of(text, "RssShmem:"));
	printf("peaks: %d %d\n", value_of(text, "VmHWM:") >= value_of(text, "VmRSS:"),
	       value_of(text, "VmPeak:") >= value_of(text, "VmSize:"));
	long size = value_of(text, "VmSize:"), data = value_of(text, "VmData:") + value_of(text, "VmStk:");
	long v[7] = {0};
	slurp("/proc/self/statm");
	sscanf(text, "%ld %ld %ld %ld %ld %ld %ld", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6]);
	printf("statm: %d %d %ld %ld\n", v[0] * 4 == size, v[5] * 4 == data, v[4], v[6]);
}

static uint64_t page_entry(const void *address)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry = 1;

	pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)address / PAGE * sizeof(entry)));
	close(fd);
	return entry >> 55; /* without the number of the frame */
}

static void pagemap(void)
{
	char *p = map(4, MAP_PRIVATE), *s = map(1, MAP_SHARED);
	uint64_t v[4];
	int fd = open("/proc/self/pagemap", O_RDONLY);

	madvise(p, 4 * PAGE, MADV_NOHUGEPAGE);
	printf("untouched %03lx\n", (long)page_entry(p));
	(void)*(volatile char *)p;
	printf("read      %03lx\n", (long)page_entry(p));
	p[0] = 1;
	printf("written   %03lx\n", (long)page_entry(p));
	mprotect(p, PAGE, PROT_NONE);
	printf("no access %03lx\n", (long)page_entry(p));
	s[0] = 1;
	printf("shared    %03lx\n", (long)page_entry(s));
	printf("nothing   %03lx\n", (long)page_entry((void *)0x1000));
	TELL(pread(fd, v, 8, 4));
	TELL(pread(fd, v, 7, 0));
	TELL(lseek(fd, 16, SEEK_CUR));
	printf("read %zd\n", read(fd, v, 24));
	printf("at %ld\n", (long)lseek(fd, 0, SEEK_CUR));
	printf("end %zd\n", pread(fd, v, 32, (0x7ffffffff000l >> 12) * 8));
	printf("before the end %zd\n", pread(fd, v, 32, (0x7ffffffff000l >> 12) * 8 - 8));
	TELL(pwrite(fd, v, 8, 0));
	close(fd);
}

static void behaviour(void)
{
	int fd = open("/proc/self/maps", O_RDONLY);
	struct stat st;
	long first, again;
	char *p;

	fstat(fd, &st);
	printf("mode %o size %ld\n", st.st_mode, (long)st.st_size);
	first = read(fd, text, sizeof(text));
	printf("more: %zd\n", read(fd, text, sizeof(text)));
	p = fenced(2, MAP_PRIVATE);
	lseek(fd, 0, SEEK_SET);
	again = read(fd, text, sizeof(text));
	printf("read again it is new: %d\n", again > first);
	munmap(p - PAGE, 4 * PAGE);
	lseek(fd, 0, SEEK_SET);
	for (first = 0; read(fd, text + first, 1) == 1; first++)
		;
	printf("byte by byte: %d\n", first > 100 && text[first - 1] == '\n');
	TELL(write(fd, "x", 1));
	TELL(open("/proc/self/nothing", O_RDONLY));
	TELL(open("/proc/self/maps", O_RDONLY | O_DIRECTORY));
	TELL(open("/proc/self/maps/x", O_RDONLY));
	TELL(open("/proc/999999999", O_RDONLY));
	TELL(open("/proc/self/clear_refs", O_WRONLY));
	close(fd);
}

static void names(void)
{
	char path[64], link[64] = "", want[64];

	snprintf(path, sizeof(path), "/proc/%d/statm", getpid());
	printf("by number: %d\n", slurp(path) > 0);
	snprintf(path, sizeof(path), "/proc/self/task/%d/comm", getpid());
	printf("by thread: %d %s", slurp(path) > 0, text);
	printf("thread-self: %d %s", slurp("/proc/thread-self/comm") > 0, text);
	readlink("/proc/thread-self", link, sizeof(link) - 1);
	snprintf(want, sizeof(want), "%d/task/%d", getpid(), getpid());
	printf("link: %d\n", !strcmp(link, want));
	int dir = open("/proc/self", O_RDONLY | O_DIRECTORY);
	printf("from the directory: %d\n", openat(dir, "status", O_RDONLY) >= 0);
	dir = open("/proc/self", O_PATH);
	printf("from its path: %d\n", openat(dir, "status", O_RDONLY) >= 0);
}

static int listed(const char *dir, const char *name)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int found = 0;

	while (d && (e = readdir(d)))
		found += !strcmp(e->d_name, name);
	if (d)
		closedir(d);
	return found;
}

static void directories(void)
{
	static const char *const names[] = {".",    "..", "maps",    "smaps", "status",
					    "stat", "fd", "pagemap", "exe",   "task"};
	char pid[16], fd[16];
	DIR *d;
	int n = 0, again = 0;

	snprintf(pid, sizeof(pid), "%d", getpid());
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		printf("%s %d\n", names[i], listed("/proc/self", names[i]));
	printf("itself %d, its thread %d\n", listed("/proc", pid), listed("/proc/self/task", pid));
	printf("meminfo %d overcommit_memory %d\n", listed("/proc", "meminfo"),
	       listed("/proc/sys/vm", "overcommit_memory"));
	snprintf(fd, sizeof(fd), "%d", dup(0));
	printf("a descriptor %d, none %d\n", listed("/proc/self/fd", fd), listed("/proc/self/fd", "77"));
	d = opendir("/proc/self");
	while (readdir(d))
		n++;
	rewinddir(d);
	while (readdir(d))
		again++;
	printf("the same again %d\n", n == again && n > 10);
	closedir(d);
}

static void memory_of_the_start(void)
{
	slurp("/proc/self/cmdline");
	printf("cmdline %d\n", !strcmp(text, program));
	slurp("/proc/self/comm");
	printf("comm %s", text);
	int fd = open("/proc/self/comm", O_WRONLY);
	printf("set %zd\n", write(fd, "a new name that is long", 23));
	slurp("/proc/self/comm");
	printf("comm %s", text);
	long n = slurp("/proc/self/auxv");
	uint64_t *aux = (uint64_t *)(void *)text;
	printf("auxv ends with AT_NULL: %d\n", n > 64 && !aux[n / 8 - 2] && !(n % 16));
	n = slurp("/proc/self/environ");
	printf("environ: %d\n", n > 0);
}

static void clear_refs(void)
{
	char *p = fenced(8, MAP_PRIVATE);
	int fd = open("/proc/self/clear_refs", O_WRONLY);

	madvise(p, 8 * PAGE, MADV_NOHUGEPAGE);
	memset(p, 1, 8 * PAGE);
	printf("referenced %ld\n", value_of(block_of(p), "Referenced:"));
	TELL(write(fd, "1", 1));
	printf("referenced %ld\n", value_of(block_of(p), "Referenced:"));
	TELL(write(fd, "3\n", 2));
	TELL(write(fd, "2", 1));
	TELL(write(fd, "4", 1));
	TELL(write(fd, "5", 1));
	TELL(write(fd, "6", 1));
	TELL(write(fd, "0", 1));
	TELL(write(fd, "x", 1));
	TELL(write(fd, "", 0));
	slurp("/proc/self/status");
	printf("the peak begins anew: %d\n", value_of(text, "VmHWM:") - value_of(text, "VmRSS:") <= 64);
}

/*
 * Not a case, for a native kernel does not flush after it cleared accessed bits: each step's sum under lodge, by
 * anonymous memory that is accessed again, by clearing that of files alone, and that of anonymous memory.
 */
static int accessed_bits(void)
{
	char *p = fenced(8, MAP_PRIVATE);
	int fd = open("/proc/self/clear_refs", O_WRONLY);
	long n[4];

	memset(p, 1, 8 * PAGE);
	write(fd, "1", 1);
	n[0] = value_of(block_of(p), "Referenced:");
	p[0] = 2;
	(void)*(volatile char *)(p + 3 * PAGE);
	n[1] = value_of(block_of(p), "Referenced:");
	write(fd, "3", 1);
	n[2] = value_of(block_of(p), "Referenced:");
	write(fd, "2", 1);
	n[3] = value_of(block_of(p), "Referenced:");
	printf("%ld %ld %ld %ld\n", n[0], n[1], n[2], n[3]);
	return 0;
}

static void write_number(int fd, const char *number)
{
	long n = pwrite(fd, number, strlen(number), 0);

	slurp("/proc/sys/vm/max_map_count");
	printf("'%s': %s %ld", number, n < 0 ? strerrorname_np(errno) : "ok", n);
	printf(" -> %ld\n", strtol(text, NULL, 10));
}

/* The machine's own is not for a test to change: what fails is compared, and what is there is written again. */
static void sysctl_numbers(void)
{
	static const char *const wrong[] = {"x",	   " ",	 "-1", "12x",
					    "99999999999", "0x", "",   "123456789012345678901234567890"};
	int fd = open("/proc/sys/vm/max_map_count", O_RDWR);
	char now[32];

	printf("open %d\n", fd >= 0);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		write_number(fd, wrong[i]);
	slurp("/proc/sys/vm/max_map_count");
	snprintf(now, sizeof(now), "  %ld 17", strtol(text, NULL, 10));
	write_number(fd, now);
	snprintf(now, sizeof(now), "0x%lx\n", strtol(text, NULL, 10));
	write_number(fd, now);
	printf("elsewhere %zd\n", pwrite(fd, "77", 2, 2));
	write_number(fd, now);
	TELL(open("/proc/sys/vm/drop_caches", O_RDONLY));
}

static const struct guest_case cases[] = {
	{"smaps of anonymous memory as it is touched, read, written and given back [G16]",
	 smaps_of_anonymous},
	{"smaps of shared memory", smaps_of_shared},
	{"VmFlags follow mprotect and madvise", smaps_flags},
	{"smaps, rollup, status and statm say the same [R7]", sums},
	{"pagemap: entries and offsets", pagemap},
	{"files of /proc: text anew from the beginning, no size", behaviour},
	{"the process by its number, its thread and from its directory", names},
	{"directories of /proc list what there is", directories},
	{"cmdline, comm, auxv, environ", memory_of_the_start},
	{"clear_refs: what it takes and what it clears", clear_refs},
	{"numbers of /proc/sys: what is refused [R15]", sysctl_numbers},
};

int main(int argc, char **argv)
{
	program = argv[0];
	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	if (argc > 1 && !strcmp(argv[1], "--accessed"))
		return accessed_bits();
	cases_run(argc, argv, cases, NR_CASES(cases), NULL);
	return 0;
}
