/* SPDX-License-Identifier: MIT */
/*
 * same_exec.c - what a program is told when it begins, and how long its arguments may be.
 *
 * Run with "." it tells; other first arguments are what the cases below start it with.
 */
#include "case.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRUE "/bin/true"

static char self[4096];

static char *nothing[] = {NULL};

/* The exit status of a program with these arguments, or errno of the exec; 128 and more: a signal. */
static int run(const char *program, char **argv, char **envp)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		execve(program, argv, envp);
		_exit(errno);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* --- limits -------------------------------------------------------------------------------------- */

static char *string_of(size_t bytes)
{
	char *s = malloc(bytes);

	memset(s, 'x', bytes - 1);
	s[bytes - 1] = '\0';
	return s;
}

/* nr strings of so many bytes, as arguments or as environment: 0 or errno. */
static int run_with(size_t bytes, size_t nr, bool environment)
{
	char **many = calloc(nr + 2, sizeof(*many)), *one[] = {(char *)(uintptr_t) "true", NULL};
	char *string = string_of(bytes);

	many[0] = environment ? string : one[0];
	for (size_t i = 1; i <= nr; i++)
		many[i] = string;
	if (environment)
		many[nr] = NULL;
	int ret = environment ? run(TRUE, one, many) : run(TRUE, many, nothing);
	free(many);
	free(string);
	return ret;
}

static size_t most_accepted(size_t bytes)
{
	size_t low = 0, high = (8ul << 20) / bytes;

	while (low < high) {
		size_t middle = (low + high + 1) / 2;
		if (run_with(bytes, middle, false) == E2BIG)
			high = middle - 1;
		else
			low = middle;
	}
	return low;
}

static void one_string(void)
{
	for (size_t bytes = 131071; bytes <= 131073; bytes++)
		printf("%zu bytes: %d as an argument, %d as environment\n", bytes, run_with(bytes, 1, false),
		       run_with(bytes, 1, true));
}

static void limit_stack(rlim_t bytes)
{
	struct rlimit limit;

	getrlimit(RLIMIT_STACK, &limit);
	limit.rlim_cur = bytes;
	printf("stack of %llu: %d", (unsigned long long)bytes, setrlimit(RLIMIT_STACK, &limit));
}

static void all_strings(void)
{
	static const rlim_t stacks[] = {8 << 20, 1 << 20, 300000, 64 << 20};

	for (size_t i = 0; i < NR_CASES(stacks); i++) {
		limit_stack(stacks[i]);
		printf(", %zu strings of 100000 bytes", most_accepted(100000));
		printf(", %zu of 4000\n", most_accepted(4000));
	}
}

/* --- what it is told -------------------------------------------------------------------------------- */

static const char *name_of(uint64_t type)
{
	static const char *const names[64] = {
		[AT_PHDR] = "PHDR",
		[AT_PHENT] = "PHENT",
		[AT_PHNUM] = "PHNUM",
		[AT_PAGESZ] = "PAGESZ",
		[AT_BASE] = "BASE",
		[AT_FLAGS] = "FLAGS",
		[AT_ENTRY] = "ENTRY",
		[AT_UID] = "UID",
		[AT_EUID] = "EUID",
		[AT_GID] = "GID",
		[AT_EGID] = "EGID",
		[AT_PLATFORM] = "PLATFORM",
		[AT_HWCAP] = "HWCAP",
		[AT_CLKTCK] = "CLKTCK",
		[AT_SECURE] = "SECURE",
		[AT_RANDOM] = "RANDOM",
		[AT_HWCAP2] = "HWCAP2",
		[AT_EXECFN] = "EXECFN",
		[AT_SYSINFO_EHDR] = "SYSINFO_EHDR",
		[51] = "MINSIGSTKSZ",
	};

	return type < 64 && names[type] ? names[type] : NULL;
}

static bool is_address(uint64_t type)
{
	return type == AT_PHDR || type == AT_BASE || type == AT_ENTRY || type == AT_RANDOM ||
	       type == AT_EXECFN || type == AT_PLATFORM || type == AT_SYSINFO_EHDR;
}

/* In their order. What tells of rseq is left out: lodge has none. */
static void auxiliary_vector(void)
{
	Elf64_auxv_t v[64];
	int fd = open("/proc/self/auxv", O_RDONLY);
	ssize_t n = read(fd, v, sizeof(v));

	close(fd);
	for (size_t i = 0; (ssize_t)(i * sizeof(v[0])) < n && v[i].a_type != AT_NULL; i++) {
		if (!name_of(v[i].a_type))
			continue;
		if (is_address(v[i].a_type))
			printf("%s %s\n", name_of(v[i].a_type), v[i].a_un.a_val ? "somewhere" : "0");
		else
			printf("%s %#lx\n", name_of(v[i].a_type), v[i].a_un.a_val);
	}
	printf("platform %s\n", (const char *)getauxval(AT_PLATFORM));
	const uint64_t *random = (const uint64_t *)getauxval(AT_RANDOM);
	printf("random %d\n", random[0] != random[1] && random[0]);
}

static int tell_begin(void)
{
	char comm[16] = "", text[4096] = "";

	prctl(PR_GET_NAME, comm);
	printf("comm %s, execfn is the path %d\n", comm, !strcmp((const char *)getauxval(AT_EXECFN), self));
	FILE *f = fopen("/proc/self/cmdline", "r");
	size_t n = f ? fread(text, 1, sizeof(text), f) : 0;
	if (f)
		fclose(f);
	printf("cmdline %zu bytes, %s\n", n, text);
	printf("descriptors %d %d\n", fcntl(3, F_GETFD), fcntl(4, F_GETFD) >= 0);
	printf("personality %#x\n", (unsigned int)personality(0xffffffff));
	return 0;
}

static void begins(void)
{
	char *argv[] = {(char *)(uintptr_t) "another name", (char *)(uintptr_t) "tell", NULL};
	int closed = open("/dev/null", O_RDONLY | O_CLOEXEC), kept = open("/dev/null", O_RDONLY);

	prctl(PR_SET_NAME, "old");
	dup2(kept, 4);
	dup3(closed, 3, O_CLOEXEC);
	fflush(stdout);
	printf("ended %d\n", run(self, argv, nothing));
}

/* --- personality ------------------------------------------------------------------------------------- */

static void personalities(void)
{
	char *argv[] = {self, (char *)(uintptr_t) "tell", NULL};

	printf("%#x", (unsigned int)personality(0xffffffff));
	printf(" %#x", (unsigned int)personality(ADDR_NO_RANDOMIZE | READ_IMPLIES_EXEC));
	printf(" %#x\n", (unsigned int)personality(0xffffffff));
	char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char line[512], want[32];
	FILE *f = fopen("/proc/self/maps", "r");
	snprintf(want, sizeof(want), "%lx-", (unsigned long)page);
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, want, strlen(want)))
			printf("a page to be read is %.4s\n", strchr(line, ' ') + 1);
	if (f)
		fclose(f);
	fflush(stdout);
	printf("ended %d\n", run(self, argv, nothing));
}

/* Where mappings begin: as the limit of the stack and the personality of the parent have it. */
static int tell_layout(void)
{
	printf("vdso %#lx\n", getauxval(AT_SYSINFO_EHDR) >> 28);
	printf("stack %#lx\n", (unsigned long)__builtin_frame_address(0) >> 28);
	return 0;
}

static void layouts(void)
{
	static const rlim_t stacks[] = {8 << 20, 1 << 30, RLIM_INFINITY};
	char *argv[] = {self, (char *)(uintptr_t) "layout", NULL};
	struct rlimit old;

	getrlimit(RLIMIT_STACK, &old);
	personality(ADDR_NO_RANDOMIZE);
	for (size_t i = 0; i < NR_CASES(stacks); i++) {
		if (stacks[i] > old.rlim_max)
			continue;
		limit_stack(stacks[i]);
		puts("");
		fflush(stdout);
		printf("ended %d\n", run(self, argv, nothing));
	}
	limit_stack(old.rlim_cur);
	puts("");
	personality(ADDR_NO_RANDOMIZE | ADDR_COMPAT_LAYOUT);
	fflush(stdout);
	printf("from below: ended %d\n", run(self, argv, nothing));
}

/* --- all of it ---------------------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
	static const struct guest_case cases[] = {
		{"exec: one string may have 128 KiB", one_string},
		{"exec: all strings a quarter of the stack, within bounds", all_strings},
		{"exec: the auxiliary vector, in its order [F15]", auxiliary_vector},
		{"exec: name, arguments and descriptors of a program that begins", begins},
		{"personality: kept by exec, and what it implies [F7]", personalities},
		{"personality: where mappings and the stack begin [F6][F7]", layouts},
	};

	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return 1;
	if (argc > 1 && !strcmp(argv[1], "tell"))
		return tell_begin();
	if (argc > 1 && !strcmp(argv[1], "layout"))
		return tell_layout();
	cases_run(argc, argv, cases, NR_CASES(cases), case_in_child);
	return 0;
}
