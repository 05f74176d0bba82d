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
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../include/lodge.h"
#include "../mm/shmem.h"
#include "../mm/unmapped_area.h"
#include "argstack.h"
#include "exec.h"
#include "hostfile.h"
#include "memfd.h"
#include "report.h"
#include "task.h"
#include "vdso.h"

#define SCRIPT_LINE_BYTES  256 /* BINPRM_BUF_SIZE */
#define DEFAULT_PATH	   "/bin:/usr/bin"

/* Linux's layout for a program of 64 bits; random parts as its kernels have them by default. */
#define STACK_TOP	   TASK_SIZE
#define STACK_RANDOM_PAGES (1ull << 22)
#define MMAP_GAP_MIN_BYTES (128ull << 20)
#define MMAP_GAP_MAX_BYTES (TASK_SIZE / 6 * 5)
#define MMAP_RANDOM_PAGES  (1ull << 28)
#define PIE_BASE	   0x555555554000ull
#define BRK_RANDOM_PAGES   (1ull << 13)
#define SP_RANDOM_BYTES	   8192u
#define RFLAGS_INITIAL	   0x202 /* IF and the bit that is always 1 */

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
	struct mm *mm; /* to be filled */
	struct hostfile_table *hostfiles;
	const struct vdso *vdso;
	struct task *guest; /* whose paths these are; NULL: the host's */
	const struct cred *cred;
	const char *name; /* what the caller asked for: opens every message */
	struct lodge_error *err;
	char filename[PATH_MAX];		    /* what was found: AT_EXECFN */
	int fd;					    /* of the file that is to be looked at */
	struct script script[EXEC_MAX_SCRIPTS + 1]; /* the last only finds out that there are too many */
	unsigned int nr_scripts;
	const char **args; /* argv with what the scripts put before it; the strings are others' */
	struct argstack_strings strings;
	struct layout layout;
	struct backing *file;
	struct elf_plan plan;
	unsigned int phnum;
	struct backing *interpreter; /* the dynamic linker, or NULL */
	struct elf_image interpreter_image;
	struct elf_plan interpreter_plan;
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

static int open_named(struct exec *x, const char *path)
{
	return x->guest ? exec_open(x->guest, path) : open_program(path);
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
	const char *dir = search_path(x->strings.env);
	int best = -ENOENT;

	for (;;) {
		int len = (int)strcspn(dir, ":");
		int n = snprintf(x->filename, sizeof(x->filename), "%.*s%s%s", len, dir, len ? "/" : "",
				 x->name);
		int fd = n < (int)sizeof(x->filename) ? open_named(x, x->filename) : -ENAMETOOLONG;
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
		x->fd = open_named(x, x->name);
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

static ssize_t read_head(int fd, void *to, size_t bytes)
{
	struct backing *b = memfd_find(fd);
	const struct iovec iov = {to, bytes};
	ssize_t n = b ? (ssize_t)shmem_read(b, &iov, 1, 0) : pread(fd, to, bytes, 0);

	if (b)
		backing_put(b);
	return n;
}

/* 1: the open file is a script, and *s its first line; 0: it is not; or -errno. */
static int read_script(struct exec *x, struct script *s)
{
	ssize_t n = read_head(x->fd, s->line, SCRIPT_LINE_BYTES);
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
		x->fd = open_named(x, interpreter);
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
	x->strings.filename = x->filename;
	x->strings.args = x->args;
	x->strings.nr_args = n;
	x->strings.nr_env = count_strings(x->strings.env);
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

/* What is kept free above all mappings: the stack's limit and what else it may take, within bounds. */
static uint64_t mmap_gap(uint64_t stack_limit_bytes, uint64_t stack_random_bytes)
{
	uint64_t pad = STACK_GUARD_GAP + stack_random_bytes;
	uint64_t gap = stack_limit_bytes > ~pad ? stack_limit_bytes : stack_limit_bytes + pad;

	return min_u64(max_u64(gap, MMAP_GAP_MIN_BYTES), MMAP_GAP_MAX_BYTES);
}

static struct layout layout_fixed(uint64_t stack_limit_bytes)
{
	return (struct layout){
		.stack_top = STACK_TOP,
		.mmap_base = page_align_up(STACK_TOP - mmap_gap(stack_limit_bytes, 0)),
		.pie_base = PIE_BASE,
	};
}

static struct layout layout_random(uint64_t stack_limit_bytes)
{
	uint64_t gap = mmap_gap(stack_limit_bytes, STACK_RANDOM_PAGES << PAGE_SHIFT);

	return (struct layout){
		.stack_top = STACK_TOP - (random_below(STACK_RANDOM_PAGES) << PAGE_SHIFT),
		.mmap_base = page_align_up(STACK_TOP - gap) - (random_below(MMAP_RANDOM_PAGES) << PAGE_SHIFT),
		.pie_base = PIE_BASE + (random_below(MMAP_RANDOM_PAGES) << PAGE_SHIFT),
		.brk_gap = random_below(BRK_RANDOM_PAGES) << PAGE_SHIFT,
		.sp_shift = (uint32_t)random_below(SP_RANDOM_BYTES),
	};
}

/* ADDR_COMPAT_LAYOUT: mappings from a third of the space up. */
static void use_bottom_up(struct exec *x)
{
	x->mm->get_unmapped_area = arch_get_unmapped_area;
	x->layout.mmap_base = page_align_up(TASK_SIZE / 3);
}

/* --- the program and its interpreter ---------------------------------------------------------------------------- */

static struct elf_limits program_limits(const struct exec *x)
{
	return (struct elf_limits){
		.low = x->mm->mmap_min_addr,
		.high = x->layout.stack_top - mmap_gap(x->mm->stack_limit_bytes, 0),
		.pie_base = x->layout.pie_base,
		.brk_gap = x->layout.brk_gap,
		.memory_bytes = x->mm->memcg->max_pages << PAGE_SHIFT,
	};
}

/* A file of the host, or one in memory. */
static int file_get(struct exec *x, int fd, struct backing **file)
{
	*file = memfd_find(fd);
	return *file ? 0 : hostfile_get(x->hostfiles, fd, NULL, file);
}

/* The interpreter's headers. What is wrong with it is wrong with the program: -ELIBBAD. */
static int read_interpreter(struct exec *x, const char *path)
{
	struct lodge_error why = {""};
	int ret, fd = open_named(x, path);

	if (fd < 0)
		return report_error(x->err, fd, "%s: interpreter %s: %s", x->name, path, strerror(-fd));
	ret = file_get(x, fd, &x->interpreter);
	close(fd);
	if (ret)
		return report_error(x->err, ret, "%s: interpreter %s: %s", x->name, path, strerror(-ret));
	ret = elf_read(x->interpreter, &x->interpreter_image, &why);
	if (!ret && x->interpreter_image.ehdr.e_type == ET_DYN && !elf_span_bytes(&x->interpreter_image)) {
		ret = -EINVAL;
		strcpy(why.text, "malformed segments");
	}
	if (ret)
		return report_error(x->err, ret == -ENOMEM ? ret : -ELIBBAD, "%s: interpreter %s: %s",
				    x->name, path, why.text);
	return 0;
}

/* Opens the file as a backing and decides where it goes. */
static int plan_program(struct exec *x)
{
	const struct elf_limits limits = program_limits(x);
	struct lodge_error why = {""};
	struct elf_image image;
	int ret = file_get(x, x->fd, &x->file);

	if (ret)
		return report_error(x->err, ret, "%s: %s", x->name, strerror(-ret));
	ret = elf_read(x->file, &image, &why);
	if (ret)
		return report_error(x->err, ret, "%s: %s", x->name, why.text);
	x->phnum = image.ehdr.e_phnum;
	ret = elf_plan(&image, &limits, &x->plan, &why);
	if (ret)
		report_error(x->err, ret, "%s: %s", x->name, why.text);
	else if (image.interpreter)
		ret = read_interpreter(x, image.interpreter);
	elf_image_free(&image);
	return ret;
}

/* Where the kernel would put a mapping of the interpreter's size now that the program is there. */
static int64_t interpreter_room(struct exec *x)
{
	const struct mmap_request r = {
		.length = elf_span_bytes(&x->interpreter_image),
		.flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
	};
	int64_t at = mm_mmap(x->mm, &r);

	if (at >= 0)
		mm_munmap(x->mm, (gva_t)at, r.length);
	return at;
}

static int map_interpreter(struct exec *x)
{
	struct elf_limits limits = program_limits(x);
	int64_t at = 0;
	int ret;

	if (!x->interpreter)
		return 0;
	if (x->interpreter_image.ehdr.e_type == ET_DYN)
		at = interpreter_room(x);
	if (at < 0)
		return (int)at;
	limits.high = x->layout.stack_top;
	/* The plan aligns downwards, within the room. */
	limits.pie_base = (gva_t)at + elf_room_shift(&x->interpreter_image);
	ret = elf_plan(&x->interpreter_image, &limits, &x->interpreter_plan, NULL);
	return ret ? ret : elf_map_interpreter(&x->interpreter_plan, x->mm, x->interpreter);
}

static int map_vdso(struct exec *x, gva_t *address)
{
	int64_t at = x->vdso ? vdso_map(x->vdso, x->mm) : 0;

	*address = at < 0 ? 0 : (gva_t)at;
	return at < 0 ? (int)at : 0;
}

/* --- all of it -------------------------------------------------------------------------------------------------- */

static int map_all(struct exec *x, struct argstack *s)
{
	struct argstack_program program = {.plan = &x->plan, .phnum = x->phnum, .cred = x->cred};
	int ret;

	x->mm->mmap_base = x->layout.mmap_base;
	ret = elf_map(&x->plan, x->mm, x->file);
	if (!ret)
		ret = map_interpreter(x);
	if (!ret)
		ret = map_vdso(x, &program.vdso);
	if (ret)
		return ret;
	program.interpreter_base = x->interpreter_plan.bias;
	ret = argstack_fill(s, &x->strings, &program);
	return ret ? ret : argstack_map(s, x->mm, x->plan.stack_executable);
}

/* The last step: changes the space, and takes it all back if memory runs out. */
static int enter_program(struct exec *x, struct argstack *s, struct exec_result *result)
{
	char *exe_path = strdup(x->file->path);
	int ret = exe_path ? map_all(x, s) : -ENOMEM;

	if (ret) {
		free(exe_path);
		mm_munmap(x->mm, 0, TASK_SIZE);
		x->mm->start_brk = x->mm->brk = 0;
		return report_error(x->err, ret, "%s: cannot be loaded: %s", x->name, strerror(-ret));
	}
	const char *slash = strrchr(x->filename, '/');
	snprintf(result->comm, sizeof(result->comm), "%.*s", (int)sizeof(result->comm) - 1,
		 slash ? slash + 1 : x->filename);
	result->exe_path = exe_path;
	memset(&result->regs, 0, sizeof(result->regs));
	result->regs.rip = x->interpreter ? x->interpreter_plan.entry : x->plan.entry;
	result->regs.rsp = s->sp;
	result->regs.rflags = RFLAGS_INITIAL;
	return 0;
}

static int measure(struct exec *x, struct argstack *s)
{
	int ret = argstack_measure(s, &x->strings, x->mm->stack_limit_bytes);

	return ret ? report_error(
			     x->err, ret,
			     "%s: arguments and environment are too long: more than %llu KiB, or one of more "
			     "than %d bytes",
			     x->name, (unsigned long long)x->mm->stack_limit_bytes >> 12, ARGSTACK_MAX_STRING)
		   : 0;
}

static int load_program(struct exec *x, const char *const *argv, struct exec_result *result)
{
	struct argstack s = {0};
	int ret = x->fd < 0 ? find_program(x) : 0;

	if (!ret)
		ret = follow_scripts(x);
	if (!ret)
		ret = collect_args(x, argv);
	if (!ret)
		ret = measure(x, &s);
	if (!ret)
		ret = plan_program(x);
	if (ret)
		return ret;
	argstack_place(&s, &x->strings, x->layout.stack_top, x->layout.sp_shift);
	ret = enter_program(x, &s, result);
	argstack_free(&s);
	return ret;
}

static void exec_free(struct exec *x)
{
	elf_plan_free(&x->plan);
	elf_plan_free(&x->interpreter_plan);
	elf_image_free(&x->interpreter_image);
	if (x->file)
		backing_put(x->file);
	if (x->interpreter)
		backing_put(x->interpreter);
	if (x->fd >= 0)
		close(x->fd);
	free(x->args);
	free(x);
}

/* A guest may lock what a program in our place might, and starts with our limit. */
static void inherit_lock_rights(struct mm *mm)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2] = {0};
	struct rlimit limit;

	mm->privileged = !syscall(SYS_capget, &header, caps) && (caps[0].effective & (1u << CAP_IPC_LOCK));
	if (!getrlimit(RLIMIT_MEMLOCK, &limit))
		mm->memlock_limit_bytes = limit.rlim_cur;
}

int exec_load(const struct exec_request *r, struct exec_result *result, struct lodge_error *err)
{
	struct exec *x = calloc(1, sizeof(*x));
	int ret;

	if (!x)
		return report_error(err, -ENOMEM, "%s: out of memory", r->path);
	x->mm = r->mm;
	x->hostfiles = r->hostfiles;
	x->vdso = r->vdso;
	x->guest = r->guest;
	x->cred = r->cred;
	x->name = r->path;
	x->err = err;
	x->strings.env = r->envp;
	x->fd = r->fd;
	if (r->fd >= 0)
		snprintf(x->filename, sizeof(x->filename), "%s", r->path);
	inherit_lock_rights(r->mm);
	x->layout =
		r->aslr ? layout_random(r->mm->stack_limit_bytes) : layout_fixed(r->mm->stack_limit_bytes);
	if (r->bottom_up)
		use_bottom_up(x);
	ret = load_program(x, r->argv, result);
	exec_free(x);
	return ret;
}
