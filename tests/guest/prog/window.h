/* SPDX-License-Identifier: MIT */
/*
 * window.h - cases about memory: a window of addresses of their own, and words for what they find there.
 *
 * The window lies around BASE, where nothing else is: empty before each case and emptied after it. Addresses in
 * it are printed as page numbers relative to BASE ("+2", "-1", "+2.010" with the offset into the page in
 * hexadecimal). A signal that no case expects ends that case, not the program.
 * stdout has a buffer of its own, so that the heap is what a case makes of it. Not here: fork.
 */
#ifndef TESTS_GUEST_WINDOW_H
#define TESTS_GUEST_WINDOW_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "case.h"

#define PAGE	     4096l
#define BASE	     ((char *)0x100000000000)
#define WINDOW_BELOW (1l << 32)
#define WINDOW_ABOVE (1l << 40)
#define AT(page)     (BASE + (page)*PAGE)
#define KERNEL	     ((char *)0xffff800000000000ul)
#define USER_END     ((char *)0x7ffffffff000ul)
#define R	     PROT_READ
#define RW	     (PROT_READ | PROT_WRITE)
#define RWX	     (PROT_READ | PROT_WRITE | PROT_EXEC)
#define PRIVATE	     (MAP_PRIVATE | MAP_ANONYMOUS)
#define SHARED	     (MAP_SHARED | MAP_ANONYMOUS)

/* --- words ----------------------------------------------------------------------------------- */

static inline const char *errno_name(long ret)
{
	return ret == -1 ? strerrorname_np(errno) : "ok";
}

static inline void tell(const char *what, long ret)
{
	printf("%-56s %s\n", what, errno_name(ret));
}

#define TELL(call) tell(#call, (long)(call))

/* A call that returns a number: that, or the error's name. */
static inline void tell_count(const char *what, long ret)
{
	if (ret == -1)
		tell(what, ret);
	else
		printf("%-56s %ld\n", what, ret);
}

#define COUNT(call) tell_count(#call, (long)(call))

/* One of a few static buffers, used in turn. */
static inline char *scratch_text(void)
{
	static char texts[8][96];
	static unsigned int turn;

	return texts[turn++ % 8];
}

/* An address as the head of this file says; one outside the window in full when it is the same everywhere. */
static inline const char *where(const volatile void *p)
{
	long offset = (long)((uintptr_t)p - (uintptr_t)BASE);
	char *text = scratch_text();

	if (p == MAP_FAILED)
		return strerrorname_np(errno);
	if (offset < -WINDOW_BELOW || offset >= WINDOW_ABOVE)
		snprintf(text, 96, (uintptr_t)p < 65536 || (uintptr_t)p >> 46 > 1 ? "%#lx" : "elsewhere",
			 (long)p);
	else if (offset & (PAGE - 1))
		snprintf(text, 96, "%+ld.%03lx", offset >> 12, offset & (PAGE - 1));
	else
		snprintf(text, 96, "%+ld", offset >> 12);
	return text;
}

#define WHERE(call) printf("%-56s %s\n", #call, where(call))

/* --- faults ---------------------------------------------------------------------------------- */

static sigjmp_buf fault_escape;
static volatile bool fault_expected;
static sigjmp_buf case_escape;
static siginfo_t fault_info;
static unsigned long fault_error, fault_trap;
/* Repairs what caused the signal and returns true, or leaves it to whoever expects it. */
static bool (*fault_repair)(siginfo_t *info, ucontext_t *uc);

static inline const char *fault_code(int signo, int code)
{
	if (code == SI_KERNEL)
		return "KERNEL";
	if (signo == SIGSEGV)
		return code == SEGV_MAPERR ? "MAPERR" : code == SEGV_ACCERR ? "ACCERR" : "?";
	if (signo == SIGBUS)
		return code == BUS_ADRERR ? "ADRERR" : code == BUS_ADRALN ? "ADRALN" : "?";
	return "other";
}

static inline const char *fault_text(void)
{
	char *text = scratch_text();
	int n = snprintf(text, 96, "SIG%s %s %s", sigabbrev_np(fault_info.si_signo),
			 fault_code(fault_info.si_signo, fault_info.si_code), where(fault_info.si_addr));

	if (fault_trap == 14)
		snprintf(text + n, 96 - (size_t)n, " error %lx", fault_error);
	else
		snprintf(text + n, 96 - (size_t)n, " trap %lu", fault_trap);
	return text;
}

static inline void fault_handler(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	if (fault_repair && fault_repair(info, uc))
		return;
	fault_info = *info;
	fault_info.si_signo = signo;
	fault_error = (unsigned long)uc->uc_mcontext.gregs[REG_ERR];
	fault_trap = (unsigned long)uc->uc_mcontext.gregs[REG_TRAPNO];
	if (fault_expected)
		siglongjmp(fault_escape, 1);
	siglongjmp(case_escape, 1);
}

static inline void fault_handlers_install(void)
{
	static char stack[65536];
	stack_t alternative = {.ss_sp = stack, .ss_size = sizeof(stack)};
	struct sigaction sa = {.sa_sigaction = fault_handler,
			       .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
	static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE};

	sigaltstack(&alternative, NULL);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &sa, NULL);
}

/* What comes of fn(arg): "ok" or the signal that ended it. */
static inline const char *attempt(void (*fn)(void *), void *arg)
{
	if (sigsetjmp(fault_escape, 0)) {
		fault_expected = false;
		return fault_text();
	}
	fault_expected = true;
	fn(arg);
	fault_expected = false;
	return "ok";
}

static volatile unsigned char fault_read;

static inline void touch_read(void *at)
{
	fault_read = *(volatile unsigned char *)at;
}

static inline void touch_write(void *at)
{
	*(volatile unsigned char *)at = 0x77;
}

/* The page must begin with a return instruction, or not be executable. */
static inline void touch_run(void *at)
{
	void (*code)(void);

	memcpy(&code, &at, sizeof(code));
	code();
}

#define RETURN_BYTE 0xc3

/* What reading a byte finds: its value, or the signal. */
static inline const char *peek(const volatile void *at)
{
	const char *end = attempt(touch_read, (void *)(uintptr_t)at);
	char *text = scratch_text();

	if (strcmp(end, "ok"))
		return end;
	snprintf(text, 96, "%d", fault_read);
	return text;
}

static inline const char *poke(volatile void *at)
{
	return attempt(touch_write, (void *)(uintptr_t)at);
}

static inline const char *jump(void *at)
{
	return attempt(touch_run, at);
}

/* --- memory and files ------------------------------------------------------------------------ */

/* Private anonymous memory at a page of the window. */
static inline char *put(long page, long pages, int prot)
{
	return mmap(AT(page), (size_t)(pages * PAGE), prot, PRIVATE | MAP_FIXED_NOREPLACE, -1, 0);
}

static inline char *put_shared(long page, long pages, int prot)
{
	return mmap(AT(page), (size_t)(pages * PAGE), prot, SHARED | MAP_FIXED_NOREPLACE, -1, 0);
}

static inline char *put_file(long page, long pages, int prot, int type, int fd, long file_page)
{
	return mmap(AT(page), (size_t)(pages * PAGE), prot, type | MAP_FIXED_NOREPLACE, fd, file_page * PAGE);
}

/* Page i of the range holds the letter of its number, 'a' first. */
static inline void letters(long page, long pages)
{
	for (long i = 0; i < pages; i++)
		memset(AT(page + i), (int)('a' + i % 26), PAGE);
}

/* The first byte of each page: a letter, '0' for 0, '.' where it cannot be read, '?' for anything else. */
static inline void show_letters(const char *what, long page, long pages)
{
	printf("%s: ", what);
	for (long i = 0; i < pages; i++) {
		bool readable = !strcmp(attempt(touch_read, AT(page + i)), "ok");

		putchar(!readable			      ? '.'
			: !fault_read			      ? '0'
			: fault_read > 32 && fault_read < 127 ? fault_read
							      : '?');
	}
	putchar('\n');
}

/* mincore, one digit a page; an unmapped page is '-'. */
static inline void show_resident(const char *what, long page, long pages)
{
	printf("%s: ", what);
	for (long i = 0; i < pages; i++) {
		unsigned char in = 0;

		if (mincore(AT(page + i), PAGE, &in))
			putchar(errno == ENOMEM ? '-' : '!');
		else
			putchar('0' + (in & 1));
	}
	putchar('\n');
}

/* FNV-1a */
static inline uint32_t checksum(const void *from, size_t bytes)
{
	const unsigned char *p = from;
	uint32_t sum = 2166136261u;

	while (bytes--)
		sum = (sum ^ *p++) * 16777619u;
	return sum;
}

/* A fresh file of so many pages of letters, 'A' first, and `more` bytes of '+'; open for reading and writing. */
static inline int letter_file(const char *name, long pages, size_t more)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	char page[PAGE];

	if (fd < 0)
		printf("cannot make %s: %s\n", name, strerrorname_np(errno));
	for (long i = 0; i < pages; i++) {
		memset(page, (int)('A' + i % 26), PAGE);
		if (write(fd, page, PAGE) != PAGE)
			printf("short write\n");
	}
	memset(page, '+', PAGE);
	if (more && write(fd, page, more) != (ssize_t)more)
		printf("short write\n");
	return fd;
}

static inline char byte_of_file(int fd, long offset)
{
	char byte = '!';

	return pread(fd, &byte, 1, offset) == 1 ? byte : '!';
}

/* The lines of /proc/self/maps that lie in the window: bounds, rights, offset, and the name's last part. */
static inline void show_maps(const char *what)
{
	static char text[1 << 16];
	size_t used = 0;
	int fd = open("/proc/self/maps", O_RDONLY);
	ssize_t n;

	printf("%s:\n", what);
	while ((n = read(fd, text + used, sizeof(text) - 1 - used)) > 0)
		used += (size_t)n;
	close(fd);
	text[used] = 0;
	for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
		unsigned long from, to, offset;
		char rights[8], name[128] = "";

		*end = 0;
		if (sscanf(line, "%lx-%lx %7s %lx %*s %*s %127s", &from, &to, rights, &offset, name) < 4)
			printf("cannot parse %s\n", line);
		if ((long)from < (long)BASE - WINDOW_BELOW || (long)from >= (long)BASE + WINDOW_ABOVE)
			continue;
		printf("  %s %s %s %lx %s\n", where((void *)from), where((void *)to), rights, offset,
		       strrchr(name, '/') ? strrchr(name, '/') + 1 : name);
	}
}

/* The soft limit alone; the hard one stays. */
static inline struct rlimit limit_set(int which, rlim_t value)
{
	struct rlimit old, new;

	getrlimit((__rlimit_resource_t)which, &old);
	new = (struct rlimit){value, old.rlim_max};
	if (setrlimit((__rlimit_resource_t)which, &new))
		printf("setrlimit: %s\n", strerrorname_np(errno));
	return old;
}

static inline void limit_restore(int which, struct rlimit old)
{
	setrlimit((__rlimit_resource_t)which, &old);
}

/* --- running --------------------------------------------------------------------------------- */

static inline void window_empty(void)
{
	munmap(BASE - WINDOW_BELOW, WINDOW_BELOW + WINDOW_ABOVE);
}

static inline void window_run(void (*run)(void))
{
	if (sigsetjmp(case_escape, 0))
		printf("ended by %s\n", fault_text());
	else
		run();
	fault_expected = false;
	fault_repair = NULL;
	window_empty();
}

static inline int window_main(int argc, char **argv, const struct guest_case *cases, size_t nr)
{
	static char buffer[1 << 16];

	setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
	if (cases_listed(argc, argv, cases, nr))
		return 0;
	fault_handlers_install();
	cases_run(argc, argv, cases, nr, window_run);
	return 0;
}

#define CASES_MAIN(cases)                                               \
	int main(int argc, char **argv)                                 \
	{                                                               \
		return window_main(argc, argv, cases, NR_CASES(cases)); \
	}

#endif
