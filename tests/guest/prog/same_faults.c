/* SPDX-License-Identifier: MIT */
/*
 * same_faults.c - the signal that each bad access raises: its code, its address to the byte, and the error code.
 */
#include "window.h"

static void unmapped(void)
{
	printf("read %s\n", peek(AT(0)));
	printf("write %s\n", poke(AT(0) + 0x123));
	printf("run %s\n", jump(AT(1) + 0xfff));
	printf("null: read %s, write %s, run %s\n", peek(NULL), poke((char *)8), jump(NULL));
}

static void first_page(void)
{
	printf("last byte of page 0: %s\n", peek((char *)0xfff));
	printf("small offsets: %s\n", poke((char *)0x10000 - 1));
}

static void not_canonical(void)
{
	static const uintptr_t at[] = {0x0000800000000000, 0x8000000000000000, 0x7fffffffffffffff,
				       0xffff7fffffffffff};

	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		printf("%#lx: read %s\n", (unsigned long)at[i], peek((char *)at[i]));
		printf("%#lx: write %s\n", (unsigned long)at[i], poke((char *)at[i]));
	}
}

static void kernel_addresses(void)
{
	static const uintptr_t at[] = {0xffff800000000000, 0xffffffff81000000, 0xfffffffffffff000,
				       0xffffffffffffffff, 0xffffffffff5ff000};

	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		printf("%#lx: read %s\n", (unsigned long)at[i], peek((char *)at[i]));
		printf("%#lx: write %s\n", (unsigned long)at[i], poke((char *)at[i]));
		printf("%#lx: run %s\n", (unsigned long)at[i], jump((char *)at[i]));
	}
}

static void end_of_user_addresses(void)
{
	printf("at the end: read %s, write %s\n", peek(USER_END), poke(USER_END));
	printf("last canonical byte: %s\n", peek((char *)0x7fffffffffff));
	printf("run at the end: %s\n", jump(USER_END));
}

static void read_only(void)
{
	put(0, 2, R);
	printf("untouched: write %s\n", poke(AT(0) + 7));
	printf("read %s\n", peek(AT(1)));
	printf("the zero page: write %s\n", poke(AT(1) + 9));
	put(4, 1, RW);
	AT(4)[0] = 1;
	mprotect(AT(4), PAGE, R);
	printf("written before: write %s\n", poke(AT(4) + 11));
}

static void no_access(void)
{
	put(0, 1, PROT_NONE);
	printf("untouched: read %s, write %s, run %s\n", peek(AT(0)), poke(AT(0)), jump(AT(0)));
	put(2, 1, RW);
	AT(2)[0] = 1;
	mprotect(AT(2), PAGE, PROT_NONE);
	printf("written before: read %s, write %s, run %s\n", peek(AT(2)), poke(AT(2)), jump(AT(2)));
}

static void touch_wide(void *at)
{
	*(volatile uint64_t *)at = 0x1122334455667788;
}

static void touch_wide_read(void *at)
{
	(void)*(volatile uint64_t *)at;
}

static void across_the_edge(void)
{
	put(0, 1, RW);
	printf("write of 8 bytes, 4 of them outside: %s\n", attempt(touch_wide, AT(1) - 4));
	printf("nothing was written: %d\n", AT(1)[-4]);
	printf("read: %s\n", attempt(touch_wide_read, AT(1) - 1));
	printf("below: write %s\n", attempt(touch_wide, AT(0) - 3));
	put(1, 1, R);
	printf("into a read-only page: write %s\n", attempt(touch_wide, AT(1) - 4));
	printf("read %s\n", attempt(touch_wide_read, AT(1) - 4));
}

static void copy_up(void *at)
{
	__asm__ volatile("rep movsb" : : "S"(AT(8)), "D"(at), "c"(3 * PAGE) : "memory");
}

static void fill_up(void *at)
{
	void *to = at;
	long n = 2 * PAGE;

	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"('s') : "memory");
}

static void string_instructions(void)
{
	put(0, 1, RW);
	put(8, 3, RW);
	letters(8, 3);
	printf("stosb %s\n", attempt(fill_up, AT(0) + 100));
	printf("up to the edge: %c %c\n", AT(0)[100], AT(0)[4095]);
	printf("movsb %s\n", attempt(copy_up, AT(0) + 5));
	printf("up to the edge: %c %c\n", AT(0)[5], AT(0)[4095]);
}

static void atomic_add(void *at)
{
	__atomic_fetch_add((volatile long *)at, 1, __ATOMIC_SEQ_CST);
}

static void compare_exchange(void *at)
{
	long expected = 5;

	__atomic_compare_exchange_n((volatile long *)at, &expected, 6, false, __ATOMIC_SEQ_CST,
				    __ATOMIC_SEQ_CST);
}

static void atomics_write(void)
{
	put(0, 1, R);
	printf("add: %s\n", attempt(atomic_add, AT(0) + 16));
	printf("compare and exchange that fails: %s\n", attempt(compare_exchange, AT(0) + 32));
	put(1, 1, RW);
	printf("add, writable: %s, %ld\n", attempt(atomic_add, AT(1)), *(long *)AT(1));
}

static void push_below(void *at)
{
	__asm__ volatile("mov %%rsp, %%rbx; mov %0, %%rsp; push %%rax; mov %%rbx, %%rsp"
			 :
			 : "r"(at)
			 : "rbx", "memory");
}

static void through_the_stack_pointer(void)
{
	put(0, 1, R);
	printf("push into a read-only page: %s\n", attempt(push_below, AT(1)));
	printf("push into nothing: %s\n", attempt(push_below, AT(8)));
	printf("push to an address that is not canonical: %s\n",
	       attempt(push_below, (char *)0x0000900000000000));
}

static void behind_the_file(void)
{
	int fd = letter_file("short", 1, 100);

	put_file(0, 4, RW, MAP_PRIVATE, fd, 0);
	printf("last byte of the file: %s\n", peek(AT(1) + 99));
	printf("rest of its last page: %s\n", peek(AT(1) + 100));
	printf("next page: read %s\n", peek(AT(2) + 5));
	printf("next page: write %s\n", poke(AT(3) + 7));
	close(fd);
}

static void behind_the_file_shared(void)
{
	int fd = letter_file("short", 1, 100);

	put_file(0, 4, R, MAP_SHARED, fd, 0);
	printf("rest of its last page: %s\n", peek(AT(1) + 100));
	printf("next page: read %s\n", peek(AT(2) + 5));
	printf("next page: write %s\n", poke(AT(2) + 5));
	close(fd);
}

static void run_behind_the_file(void)
{
	int fd = letter_file("short", 1, 0);

	put_file(0, 2, R, MAP_PRIVATE, fd, 0);
	printf("run without the right, behind the file: %s\n", jump(AT(1)));
	printf("within it: %s\n", jump(AT(0)));
	close(fd);
}

/* --- repairing ------------------------------------------------------------------------------- */

static int repairs;

static bool map_the_page(siginfo_t *info, ucontext_t *uc)
{
	char *page = (char *)((uintptr_t)info->si_addr & ~4095ul);

	(void)uc;
	repairs++;
	return mmap(page, PAGE, RW, PRIVATE | MAP_FIXED, -1, 0) == page;
}

static void repaired_by_mapping(void)
{
	repairs = 0;
	fault_repair = map_the_page;
	for (long i = 0; i < 5; i++)
		AT(3 * i)[8] = (char)('a' + i);
	printf("read %d, ", AT(20)[0]);
	printf("wide %s\n", attempt(touch_wide, AT(31) - 4));
	printf("repairs %d\n", repairs);
	show_maps("areas");
	printf("%c %c\n", AT(0)[8], AT(12)[8]);
}

static bool allow_the_page(siginfo_t *info, ucontext_t *uc)
{
	char *page = (char *)((uintptr_t)info->si_addr & ~4095ul);

	(void)uc;
	repairs++;
	return info->si_code == SEGV_ACCERR && !mprotect(page, PAGE, RW);
}

static void repaired_by_mprotect(void)
{
	repairs = 0;
	put(0, 8, RW);
	letters(0, 8);
	mprotect(AT(0), 8 * PAGE, R);
	fault_repair = allow_the_page;
	for (long i = 0; i < 8; i += 2)
		AT(i)[1] = 'x';
	for (long i = 0; i < 8; i += 2)
		AT(i)[2] = 'y';
	printf("repairs %d, %c%c%c\n", repairs, AT(2)[0], AT(2)[1], AT(2)[2]);
	show_maps("areas");
}

static bool skip_the_load(siginfo_t *info, ucontext_t *uc)
{
	(void)info;
	repairs++;
	uc->uc_mcontext.gregs[REG_RAX] = 1234;
	uc->uc_mcontext.gregs[REG_RIP] += 3;
	return true;
}

static void repaired_by_skipping(void)
{
	long value;

	repairs = 0;
	fault_repair = skip_the_load;
	/* mov (%rcx), %rax: three bytes */
	__asm__ volatile(".byte 0x48, 0x8b, 0x01" : "=a"(value) : "c"(AT(0)));
	printf("value %ld, repairs %d\n", value, repairs);
}

static bool extend_the_file(siginfo_t *info, ucontext_t *uc)
{
	(void)uc;
	repairs++;
	return info->si_code == BUS_ADRERR && info->si_signo == SIGBUS && !truncate("grows", 3 * PAGE);
}

static void repaired_by_extending(void)
{
	int fd = letter_file("grows", 1, 0);

	repairs = 0;
	put_file(0, 4, R, MAP_SHARED, fd, 0);
	fault_repair = extend_the_file;
	printf("behind the old end: %d\n", AT(2)[0]);
	fault_repair = NULL;
	printf("repairs %d, behind the new end: %s\n", repairs, peek(AT(3)));
	close(fd);
}

static const struct guest_case cases[] = {
	{"nothing mapped: MAPERR and the byte [K3][R13][B10]", unmapped},
	{"the first pages are never there [F10]", first_page},
	{"an address that is not canonical has no address [B29]", not_canonical},
	{"addresses of the kernel look like protection faults [B12]", kernel_addresses},
	{"the end of user addresses [F8][B12]", end_of_user_addresses},
	{"a write to a read-only page is ACCERR [K4][B11]", read_only},
	{"any access to a page without rights is ACCERR [K4][R13]", no_access},
	{"an access across the edge names the byte that fails [R13]", across_the_edge},
	{"string instructions stop at the edge, all before it done", string_instructions},
	{"atomic operations count as writes, even one that changes nothing [K4]", atomics_write},
	{"faults of push [R13]", through_the_stack_pointer},
	{"behind the end of a private file mapping is SIGBUS [K18]", behind_the_file},
	{"behind the end of a shared file mapping is SIGBUS [K18]", behind_the_file_shared},
	{"running what may not run, within and behind the file [B17]", run_behind_the_file},
	{"a handler maps what was missing [K3][R13]", repaired_by_mapping},
	{"a handler allows what was refused [K4][R13]", repaired_by_mprotect},
	{"a handler steps over the access", repaired_by_skipping},
	{"a handler extends the file", repaired_by_extending},
};

CASES_MAIN(cases)
