/* SPDX-License-Identifier: MIT */
/*
 * exec.c - see exec.h.
 *
 * Nothing of the space changes before file, plan and size of the arguments have been found good; what can fail after
 * that is memory, and then the space is emptied again.
 * Not here: what the file's headers mean (elf.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../include/lodge.h"
#include "elf.h"
#include "exec.h"
#include "hostfile.h"
#include "report.h"
#include "task.h"

#define SCRIPT_LINE_BYTES  256 /* BINPRM_BUF_SIZE */
#define DEFAULT_PATH	   "/bin:/usr/bin"

/* Linux's layout for a program of 64 bits; random parts as its kernels have them by default. */
#define STACK_TOP	   TASK_SIZE
#define STACK_EXPAND_BYTES 0x20000ull
#define STACK_RANDOM_PAGES (1ull << 22)
#define MMAP_GAP_MIN_BYTES (128ull << 20)
#define MMAP_RANDOM_PAGES  (1ull << 28)
#define PIE_BASE	   0x555555554000ull
#define BRK_RANDOM_PAGES   (1ull << 13)
#define SP_RANDOM_BYTES	   8192u
#define ARG_BYTES_MAX	   (6ull << 20)

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51 /* Linux 5.14 */
#endif
#define MINSIGSTKSZ_DEFAULT 2048
#define HWCAP2_FSGSBASE	    (1ul << 1)
#define RFLAGS_INITIAL	    0x202 /* IF and the bit that is always 1 */

/* The first line of a script, taken apart. */
struct script {
	char line[SCRIPT_LINE_BYTES + 1];
	char *interpreter;
	char *argument; /* or NULL */
};

struct layout {
	gva_t stack_top, mmap_base, pie_base;
	uint64_t brk_gap;
	uint32_t sp_shift;
};

/* One program being loaded. */
struct exec {
	struct task *t;
	const char *name; /* what the caller asked for: opens every message */
	struct lodge_error *err;
	char filename[PATH_MAX];		    /* what was found: AT_EXECFN */
	int fd;					    /* of the file that is to be looked at */
	struct script script[EXEC_MAX_SCRIPTS + 1]; /* the last only finds out that there are too many */
	unsigned int nr_scripts;
	const char **args; /* argv with what the scripts put before it; the strings are others' */
	const char *const *env;
	size_t nr_args, nr_env;
	struct layout layout;
	struct backing *file;
	struct elf_plan plan;
};

/* --- finding ---------------------------------------------------------------------------------------------------- */

/* Errors of a path as a caller of execve thinks of them: not there, or not allowed. */
static int path_error(int error)
{
	return error == ENOTDIR ? -ENOENT : -error;
}

/* An open file that may be executed, or -errno. A FIFO or a device is not even opened. */
static int open_program(const char *path)
{
	struct stat st;
	int fd;

	if (stat(path, &st))
		return path_error(errno);
	if (!S_ISREG(st.st_mode) || faccessat(AT_FDCWD, path, X_OK, AT_EACCESS))
		return -EACCES;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return path_error(errno);
	if (!fstat(fd, &st) && S_ISREG(st.st_mode))
		return fd;
	close(fd);
	return -EACCES;
}

static const char *search_path(const char *const *env)
{
	for (; env && *env; env++)
		if (!strncmp(*env, "PATH=", 5))
			return *env + 5;
	return DEFAULT_PATH;
}

/* As execvp: every directory is tried, and a file that may not be executed counts only if nothing better follows. */
static int search_program(struct exec *x)
{
	const char *dir = search_path(x->env);
	int best = -ENOENT;

	for (;;) {
		int len = (int)strcspn(dir, ":");
		int n = snprintf(x->filename, sizeof(x->filename), "%.*s%s%s", len, dir, len ? "/" : "",
				 x->name);
		int fd = n < (int)sizeof(x->filename) ? open_program(x->filename) : -ENAMETOOLONG;
		if (fd >= 0)
			return fd;
		if (fd == -EACCES)
			best = fd;
		if (!dir[len])
			return best;
		dir += len + 1;
	}
}

static int find_program(struct exec *x)
{
	struct stat st;

	if (strlen(x->name) >= sizeof(x->filename)) {
		x->fd = -ENAMETOOLONG;
	} else if (*x->name && !strchr(x->name, '/')) {
		x->fd = search_program(x);
	} else {
		strcpy(x->filename, x->name);
		x->fd = open_program(x->name);
	}
	if (x->fd >= 0)
		return 0;
	if (x->fd == -EACCES && strchr(x->name, '/') && !stat(x->filename, &st) && S_ISDIR(st.st_mode))
		return report_error(x->err, -EACCES, "%s: is a directory", x->name);
	return report_error(x->err, x->fd, "%s: %s", x->name, strerror(-x->fd));
}

/* --- scripts ---------------------------------------------------------------------------------------------------- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/*
 * Takes the text behind #! apart, as Linux does: an interpreter, and the rest of the line as one argument. A line that
 * does not end within the buffer loses its tail, unless that could be part of the interpreter's name.
 */
static int parse_script(struct script *s, size_t bytes)
{
	char *at = s->line + 2, *end = s->line + bytes, *newline = memchr(at, '\n', bytes - 2);

	s->line[bytes] = '\0';
	if (newline)
		end = newline;
	while (end > at && is_blank(end[-1]))
		end--;
	*end = '\0';
	at += strspn(at, " \t");
	s->interpreter = at;
	at += strcspn(at, " \t");
	if (at == s->interpreter || (!newline && at == s->line + SCRIPT_LINE_BYTES))
		return -ENOEXEC;
	if (*at)
		*at++ = '\0';
	at += strspn(at, " \t");
	s->argument = *at ? at : NULL;
	return 0;
}

/* 1: the open file is a script, and *s its first line; 0: it is not; or -errno. */
static int read_script(struct exec *x, struct script *s)
{
	ssize_t n = pread(x->fd, s->line, SCRIPT_LINE_BYTES, 0);
	int ret;

	if (n < 0)
		return report_error(x->err, -errno, "%s: cannot be read: %s", x->name, strerror(errno));
	if (n < 2 || memcmp(s->line, "#!", 2))
		return 0;
	ret = parse_script(s, (size_t)n);
	return ret ? report_error(x->err, ret, "%s: the #! line names no interpreter", x->name) : 1;
}

/* Follows #! lines until the open file is not a script. */
static int follow_scripts(struct exec *x)
{
	int ret;

	while ((ret = read_script(x, &x->script[x->nr_scripts])) > 0) {
		const char *interpreter = x->script[x->nr_scripts].interpreter;
		if (x->nr_scripts++ == EXEC_MAX_SCRIPTS)
			return report_error(x->err, -ELOOP, "%s: more than %d #! lines lead to one another",
					    x->name, EXEC_MAX_SCRIPTS);
		close(x->fd);
		x->fd = open_program(interpreter);
		if (x->fd < 0)
			return report_error(x->err, x->fd, "%s: interpreter %s: %s", x->name, interpreter,
					    strerror(-x->fd));
	}
	return ret;
}

/* --- arguments -------------------------------------------------------------------------------------------------- */

static size_t count_strings(const char *const *strings)
{
	size_t n = 0;

	while (strings && strings[n])
		n++;
	return n;
}

/* argv as the program will see it: each script puts its interpreter, argument and own path in place of argv[0]. */
static int collect_args(struct exec *x, const char *const *argv)
{
	size_t nr = count_strings(argv), n = 0;

	x->args = calloc(nr + 2 * EXEC_MAX_SCRIPTS + 2, sizeof(*x->args));
	if (!x->args)
		return report_error(x->err, -ENOMEM, "%s: out of memory", x->name);
	for (unsigned int i = x->nr_scripts; i-- > 0;) {
		x->args[n++] = x->script[i].interpreter;
		if (x->script[i].argument)
			x->args[n++] = x->script[i].argument;
	}
	/* Programs rely on argv[0]: Linux 5.18 puts an empty one where the caller gave none. */
	x->args[n++] = x->nr_scripts ? x->filename : nr ? argv[0] : "";
	for (size_t i = 1; i < nr; i++)
		x->args[n++] = argv[i];
	x->nr_args = n;
	x->nr_env = count_strings(x->env);
	return 0;
}

/* Bytes of the strings with their NULs, or -E2BIG when one is too long. */
static int64_t strings_bytes(const char *const *strings, size_t nr)
{
	int64_t sum = 0;

	for (size_t i = 0; i < nr; i++) {
		size_t bytes = strlen(strings[i]) + 1;
		if (bytes > EXEC_MAX_STRING_BYTES)
			return -E2BIG;
		sum += (int64_t)bytes;
	}
	return sum;
}

/* Strings and pointers to them may take a quarter of the stack. */
static int check_args(struct exec *x, uint64_t *args_bytes, uint64_t *env_bytes)
{
	uint64_t limit = min_u64(x->t->mm->stack_limit_bytes / 4, ARG_BYTES_MAX);
	int64_t args = strings_bytes(x->args, x->nr_args), env = strings_bytes(x->env, x->nr_env);
	uint64_t pointers = (x->nr_args + x->nr_env) * sizeof(uint64_t);

	if (args < 0 || env < 0)
		return report_error(x->err, -E2BIG, "%s: an argument or variable is longer than %d bytes",
				    x->name, EXEC_MAX_STRING_BYTES);
	if ((uint64_t)args + (uint64_t)env + pointers + strlen(x->filename) + 1 > limit)
		return report_error(x->err, -E2BIG, "%s: arguments and environment need more than %llu KiB",
				    x->name, (unsigned long long)limit >> 10);
	*args_bytes = (uint64_t)args;
	*env_bytes = (uint64_t)env;
	return 0;
}

/* --- layout ----------------------------------------------------------------------------------------------------- */

static uint64_t random_below(uint64_t limit)
{
	uint64_t r = 0;

	if (getrandom(&r, sizeof(r), 0) != (ssize_t)sizeof(r))
		return 0;
	return r % limit;
}

static struct layout layout_fixed(void)
{
	return (struct layout){
		.stack_top = STACK_TOP,
		.mmap_base = STACK_TOP - MMAP_GAP_MIN_BYTES,
		.pie_base = PIE_BASE,
	};
}

static struct layout layout_random(uint64_t stack_limit_bytes)
{
	uint64_t gap = max_u64(stack_limit_bytes, MMAP_GAP_MIN_BYTES) + STACK_GUARD_GAP +
		       (STACK_RANDOM_PAGES << PAGE_SHIFT);

	return (struct layout){
		.stack_top = STACK_TOP - (random_below(STACK_RANDOM_PAGES) << PAGE_SHIFT),
		.mmap_base = STACK_TOP - gap - (random_below(MMAP_RANDOM_PAGES) << PAGE_SHIFT),
		.pie_base = PIE_BASE + (random_below(MMAP_RANDOM_PAGES) << PAGE_SHIFT),
		.brk_gap = random_below(BRK_RANDOM_PAGES) << PAGE_SHIFT,
		.sp_shift = (uint32_t)random_below(SP_RANDOM_BYTES),
	};
}

/* --- the first stack -------------------------------------------------------------------------------------------- */

#define PLATFORM     "x86_64"
#define RANDOM_BYTES 16
#define MAX_AUXV     24

/*
 * The stack as the program finds it (psABI 3.4.1), built in host memory and copied at once. Addresses fall from the top:
 *
 *	8 zero bytes | filename | environment strings | argument strings | (shift) | platform | random bytes |
 *	auxv | envp | argv | argc <- sp, 16-byte aligned
 */
struct stack {
	gva_t top, bottom; /* of the area */
	gva_t filename, env, args, platform, random, sp;
	uint64_t args_bytes, env_bytes;
	char *image;	 /* of [sp, top) */
	uint64_t *table; /* where the next word goes */
	Elf64_auxv_t auxv[MAX_AUXV];
	unsigned int nr_auxv;
};

static void aux(struct stack *s, uint64_t type, uint64_t value)
{
	s->auxv[s->nr_auxv++] = (Elf64_auxv_t){.a_type = type, .a_un = {value}};
}

/* In Linux's order. What the processor offers is what the host's kernel says of it: CPUID would be slow to ask. */
static void build_auxv(struct stack *s, const struct elf_plan *plan, unsigned int phnum)
{
	unsigned long minsigstksz = getauxval(AT_MINSIGSTKSZ);

	aux(s, AT_MINSIGSTKSZ, minsigstksz ? minsigstksz : MINSIGSTKSZ_DEFAULT);
	aux(s, AT_HWCAP, getauxval(AT_HWCAP));
	aux(s, AT_PAGESZ, PAGE_SIZE);
	aux(s, AT_CLKTCK, 100);
	aux(s, AT_PHDR, plan->phdr);
	aux(s, AT_PHENT, sizeof(Elf64_Phdr));
	aux(s, AT_PHNUM, phnum);
	aux(s, AT_BASE, 0);
	aux(s, AT_FLAGS, 0);
	aux(s, AT_ENTRY, plan->entry);
	aux(s, AT_UID, getuid());
	aux(s, AT_EUID, geteuid());
	aux(s, AT_GID, getgid());
	aux(s, AT_EGID, getegid());
	aux(s, AT_SECURE, 0);
	aux(s, AT_RANDOM, s->random);
	aux(s, AT_HWCAP2, getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE);
	aux(s, AT_EXECFN, s->filename);
	aux(s, AT_PLATFORM, s->platform);
	aux(s, AT_NULL, 0);
}

/* Decides every address. */
static void place_stack(struct exec *x, struct stack *s)
{
	uint64_t words, strings;

	s->top = x->layout.stack_top;
	s->filename = s->top - sizeof(uint64_t) - (strlen(x->filename) + 1);
	s->env = s->filename - s->env_bytes;
	s->args = s->env - s->args_bytes;
	strings = page_align_down(s->args);
	s->platform = ((s->args - x->layout.sp_shift) & ~15ull) - sizeof(PLATFORM);
	s->random = s->platform - RANDOM_BYTES;
	words = 1 + x->nr_args + 1 + x->nr_env + 1;
	s->sp = (s->random - MAX_AUXV * sizeof(Elf64_auxv_t) - words * sizeof(uint64_t)) & ~15ull;
	s->bottom = min_u64(strings - STACK_EXPAND_BYTES, page_align_down(s->sp));
}

static void *image_at(struct stack *s, gva_t address)
{
	return s->image + (address - s->sp);
}

static void put_word(struct stack *s, uint64_t word)
{
	*s->table++ = word;
}

/* Copies strings to `at` and their addresses, with a NULL behind, into the table. */
static void put_strings(struct stack *s, const char *const *strings, size_t nr, gva_t at)
{
	for (size_t i = 0; i < nr; i++) {
		size_t bytes = strlen(strings[i]) + 1;
		memcpy(image_at(s, at), strings[i], bytes);
		put_word(s, at);
		at += bytes;
	}
	put_word(s, 0);
}

static int fill_stack(struct exec *x, struct stack *s, unsigned int phnum)
{
	s->image = calloc(1, s->top - s->sp);
	if (!s->image)
		return -ENOMEM;
	s->table = (uint64_t *)(void *)s->image;
	put_word(s, x->nr_args);
	put_strings(s, x->args, x->nr_args, s->args);
	put_strings(s, x->env, x->nr_env, s->env);
	build_auxv(s, &x->plan, phnum);
	memcpy(s->table, s->auxv, s->nr_auxv * sizeof(*s->auxv));
	memcpy(image_at(s, s->filename), x->filename, strlen(x->filename) + 1);
	memcpy(image_at(s, s->platform), PLATFORM, sizeof(PLATFORM));
	if (getrandom(image_at(s, s->random), RANDOM_BYTES, 0) != RANDOM_BYTES)
		return -EIO;
	return 0;
}

/* What a program's first calls push, mapped with what it finds there. */
#define STACK_AHEAD_BYTES 0x4000ull

static int map_stack(struct exec *x, const struct stack *s)
{
	struct mm *mm = x->t->mm;
	const struct mmap_request r = {
		.address = s->bottom,
		.length = s->top - s->bottom,
		.prot = PROT_BITS_READ | PROT_BITS_WRITE | (x->plan.stack_executable ? PROT_BITS_EXEC : 0),
		.flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		.extra_flags = VM_GROWSDOWN,
	};
	int64_t ret = mm_mmap(mm, &r);

	if (ret < 0)
		return (int)ret;
	gva_t ahead = max_u64(s->bottom, page_align_down(s->sp) - STACK_AHEAD_BYTES);
	mm_populate(mm, ahead, s->top - ahead);
	if (copy_to_user(mm, s->sp, s->image, s->top - s->sp))
		return -ENOMEM;
	mm->start_stack = s->sp;
	mm->arg_start = s->args;
	mm->arg_end = s->env;
	mm->env_start = s->env;
	mm->env_end = s->filename;
	return 0;
}

/* --- all of it -------------------------------------------------------------------------------------------------- */

/* Opens the file as a backing and decides where it goes. */
static int plan_program(struct exec *x, unsigned int *phnum)
{
	const struct elf_limits limits = {
		.low = x->t->mm->mmap_min_addr,
		.high = x->layout.stack_top - x->t->mm->stack_limit_bytes - STACK_GUARD_GAP,
		.pie_base = x->layout.pie_base,
		.brk_gap = x->layout.brk_gap,
		.memory_bytes = x->t->mm->memcg->max_pages << PAGE_SHIFT,
	};
	struct lodge_error why = {""};
	struct elf_image image;
	int ret = hostfile_get(x->t->hostfiles, x->fd, NULL, &x->file);

	if (ret)
		return report_error(x->err, ret, "%s: %s", x->name, strerror(-ret));
	ret = elf_read(x->file, &image, &why);
	if (!ret) {
		*phnum = image.ehdr.e_phnum;
		ret = elf_plan(&image, &limits, &x->plan, &why);
		elf_image_free(&image);
	}
	return ret ? report_error(x->err, ret, "%s: %s", x->name, why.text) : 0;
}

static void set_names(struct task *t, const char *filename, char *exe_path)
{
	const char *slash = strrchr(filename, '/');

	snprintf(t->comm, sizeof(t->comm), "%.*s", (int)sizeof(t->comm) - 1, slash ? slash + 1 : filename);
	free(t->exe_path);
	t->exe_path = exe_path;
}

/* The last step: changes the space, and takes it all back if memory runs out. */
static int enter_program(struct exec *x, struct stack *s)
{
	struct task *t = x->t;
	char *exe_path = strdup(x->file->path);
	int ret = exe_path ? 0 : -ENOMEM;

	t->mm->mmap_base = x->layout.mmap_base;
	if (!ret)
		ret = elf_map(&x->plan, t->mm, x->file);
	if (!ret)
		ret = map_stack(x, s);
	if (ret) {
		free(exe_path);
		mm_munmap(t->mm, 0, TASK_SIZE);
		t->mm->start_brk = t->mm->brk = 0;
		return report_error(x->err, ret, "%s: cannot be loaded: %s", x->name, strerror(-ret));
	}
	set_names(t, x->filename, exe_path);
	memset(&t->regs, 0, sizeof(t->regs));
	t->regs.rip = x->plan.entry;
	t->regs.rsp = s->sp;
	t->regs.rflags = RFLAGS_INITIAL;
	return 0;
}

static int load_program(struct exec *x, const char *const *argv)
{
	struct stack s = {0};
	unsigned int phnum = 0;
	int ret = find_program(x);

	if (!ret)
		ret = follow_scripts(x);
	if (!ret)
		ret = collect_args(x, argv);
	if (!ret)
		ret = check_args(x, &s.args_bytes, &s.env_bytes);
	if (!ret)
		ret = plan_program(x, &phnum);
	if (ret)
		return ret;
	place_stack(x, &s);
	ret = fill_stack(x, &s, phnum);
	if (ret)
		report_error(x->err, ret, "%s: %s", x->name, strerror(-ret));
	else
		ret = enter_program(x, &s);
	free(s.image);
	return ret;
}

int exec_load(struct task *t, const char *path, const char *const *argv, const char *const *envp,
	      struct lodge_error *err)
{
	struct exec *x = calloc(1, sizeof(*x));
	int ret;

	if (!x)
		return report_error(err, -ENOMEM, "%s: out of memory", path);
	x->t = t;
	x->name = path;
	x->err = err;
	x->env = envp;
	x->fd = -1;
	x->layout = t->aslr ? layout_random(t->mm->stack_limit_bytes) : layout_fixed();
	ret = load_program(x, argv);
	elf_plan_free(&x->plan);
	if (x->file)
		backing_put(x->file);
	if (x->fd >= 0)
		close(x->fd);
	free(x->args);
	free(x);
	return ret;
}
