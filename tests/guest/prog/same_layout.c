/* SPDX-License-Identifier: MIT */
/*
 * same_layout.c - the segments of a process: what /proc/self/maps and smaps say of the area that an object lies in.
 */
#include "case.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096ul

static const char constant[] = "never written";
static char initialised[2 * PAGE] = "written";
static char zeroed[64 * PAGE];

struct area {
	unsigned long start, end, inode;
	char rights[5], name[256], flags[256];
};

/* The area of an address, with the flags that smaps has for it. */
static bool area_of(const void *object, struct area *a)
{
	unsigned long at = (unsigned long)(uintptr_t)object, start, end;
	FILE *f = fopen("/proc/self/smaps", "r");
	char line[1024];
	bool found = false;

	memset(a, 0, sizeof(*a));
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2 && strchr(line, '-')) {
			if (found)
				break;
			found = at >= start && at < end;
			if (found)
				sscanf(line, "%lx-%lx %4s %*x %*x:%*x %lu %255[^\n]", &a->start, &a->end,
				       a->rights, &a->inode, a->name);
		} else if (found && !strncmp(line, "VmFlags: ", 9)) {
			snprintf(a->flags, sizeof(a->flags), "%.255s", line + 9);
		}
	}
	if (f)
		fclose(f);
	return found;
}

/* Its rights, what is behind it, and whether it grows down. A program's own path is not the same everywhere. */
static void tell(const char *what, const void *object)
{
	char self[256] = "";
	struct area a;

	if (!area_of(object, &a)) {
		printf("%s: in no area\n", what);
		return;
	}
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		self[0] = '\0';
	printf("%s: %s %s %s%s\n", what, a.rights, a.inode ? "file" : "anonymous",
	       !strcmp(a.name, self) ? "(the program)" : a.name, strstr(a.flags, "gd") ? " grows down" : "");
}

static void tell_rights(const char *what, const void *object)
{
	struct area a;

	if (area_of(object, &a))
		printf("%s: %s %s\n", what, a.rights, a.inode ? "file" : "anonymous");
}

static void tell_all(void)
{
	char *heap = sbrk(PAGE),
	     *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int local = 0;

	zeroed[32 * PAGE] = 1;
	initialised[PAGE] = 1;
	tell("text", (const void *)(uintptr_t)tell_all);
	tell("constants", constant);
	tell("data", initialised + PAGE);
	tell_rights("bss", zeroed + 32 * PAGE); /* which may be one area with the heap */
	tell("heap", heap);
	tell("mmap", page);
	tell("stack", &local);
	tell("nothing", (const void *)8);
	munmap(page, PAGE);
}

static void map_and_tell(const char *what, const char *path, int open_flags, int map_flags)
{
	int fd = path ? open(path, open_flags) : -1;
	int prot = PROT_READ | ((open_flags & O_ACCMODE) == O_RDWR ? PROT_WRITE : 0);
	void *at = mmap(NULL, PAGE, prot, map_flags, fd, 0);

	if (at == MAP_FAILED)
		printf("%s: not mapped\n", what);
	else
		tell(what, at);
	if (fd >= 0)
		close(fd);
}

static void tell_named(void)
{
	map_and_tell("a file", "/proc/self/exe", O_RDONLY, MAP_PRIVATE);
	map_and_tell("a file, shared", "/proc/self/exe", O_RDONLY, MAP_SHARED);
	map_and_tell("a device, shared", "/dev/zero", O_RDWR, MAP_SHARED);
	map_and_tell("anonymous, shared", NULL, O_RDWR, MAP_SHARED | MAP_ANONYMOUS);
}

static const struct guest_case cases[] = {
	{"layout: text, data, bss, heap, mappings and stack are areas with their rights [F5]", tell_all},
	{"layout: a file, a device and shared memory are areas with their names [F5]", tell_named},
};

int main(int argc, char **argv)
{
	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	cases_run(argc, argv, cases, NR_CASES(cases), NULL);
	return 0;
}
