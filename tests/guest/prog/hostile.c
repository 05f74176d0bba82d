/* SPDX-License-Identifier: MIT */
/*
 * hostile.c - one attempt, named by its argument, at what a guest must not be able to do.
 *
 * A mode that comes back prints "survived" and exits with 0; whether it may is the test's to say. `hostile
 * list` prints the modes, each with the signal it must die of (0: it must survive, -: either), which is what
 * hostile_test runs.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KERNEL_DATA 0xffff800000000000
#define KERNEL_TEXT 0xffff800040000000
#define HOLE	    0x0000800000000000
#define USER_END    0x7ffffffff000

static void read_at(uint64_t address)
{
	uint8_t value;

	__asm__ volatile("movb (%1), %0" : "=q"(value) : "r"(address) : "memory");
}

static void write_at(uint64_t address)
{
	__asm__ volatile("movb $0x5a, (%0)" : : "r"(address) : "memory");
}

static void jump_to(uint64_t address)
{
	__asm__ volatile("call *%0" : : "r"(address) : "memory", "rax", "rcx", "r11");
}

#define ACCESS(name, how, address) \
	static void name(void)     \
	{                          \
		how(address);      \
	}

ACCESS(read_null, read_at, 0)
ACCESS(write_null, write_at, 8)
ACCESS(jump_null, jump_to, 0)
ACCESS(read_kernel_data, read_at, KERNEL_DATA)
ACCESS(write_kernel_data, write_at, KERNEL_DATA)
ACCESS(jump_kernel_data, jump_to, KERNEL_DATA)
ACCESS(read_kernel_text, read_at, KERNEL_TEXT)
ACCESS(write_kernel_text, write_at, KERNEL_TEXT)
ACCESS(jump_kernel_text, jump_to, KERNEL_TEXT)
ACCESS(read_kernel_top, read_at, 0xfffffffffffff000)
ACCESS(jump_kernel_top, jump_to, 0xffffffffffffffff)
ACCESS(read_hole, read_at, HOLE)
ACCESS(write_hole, write_at, 0x7fffffffffffffff)
ACCESS(jump_hole, jump_to, HOLE)
ACCESS(read_user_end, read_at, USER_END)
ACCESS(write_user_end, write_at, USER_END)
ACCESS(jump_user_end, jump_to, USER_END)

/* Every page of the first 2 MiB of both windows of the kernel half, in case one of them was forgotten. */
static void jump_kernel_pages(void)
{
	uint64_t window = (uint64_t)strtoull(getenv("WINDOW") ? getenv("WINDOW") : "0", NULL, 0);

	jump_to(KERNEL_TEXT + window * 4096);
}

static void write_text(void)
{
	write_at((uint64_t)write_text);
}

static void execute_data(void)
{
	static uint8_t ret[64] = {0xc3};

	jump_to((uint64_t)ret);
}

static void execute_stack(void)
{
	volatile uint8_t ret[64] = {0xc3};

	jump_to((uint64_t)ret);
}

static void execute_heap(void)
{
	uint8_t *ret = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ret[0] = 0xc3;
	jump_to((uint64_t)ret);
}

static void read_none(void)
{
	read_at((uint64_t)mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

static void write_readonly(void)
{
	uint64_t page = (uint64_t)mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	read_at(page);
	write_at(page);
}

static void touch_unmapped(void)
{
	uint64_t page =
		(uint64_t)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	write_at(page);
	munmap((void *)page, 4096);
	read_at(page);
}

/* The right to write goes away while the processor may still remember it. */
static void write_after_mprotect(void)
{
	uint64_t page =
		(uint64_t)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	write_at(page);
	mprotect((void *)page, 4096, PROT_READ);
	read_at(page);
	write_at(page);
}

#define INSTRUCTION(name, ...)                 \
	static void name(void)                 \
	{                                      \
		__asm__ volatile(__VA_ARGS__); \
	}

INSTRUCTION(hlt, "hlt")
INSTRUCTION(cli, "cli")
INSTRUCTION(sti, "sti")
INSTRUCTION(read_cr0, "mov %%cr0, %%rax" ::: "rax")
INSTRUCTION(read_cr3, "mov %%cr3, %%rax" ::: "rax")
INSTRUCTION(write_cr3, "xor %%eax, %%eax; mov %%rax, %%cr3" ::: "rax")
INSTRUCTION(write_cr4, "xor %%eax, %%eax; mov %%rax, %%cr4" ::: "rax")
INSTRUCTION(read_dr7, "mov %%dr7, %%rax" ::: "rax")
INSTRUCTION(rdmsr, "mov $0xc0000082, %%ecx; rdmsr" ::: "rax", "rcx", "rdx")
INSTRUCTION(wrmsr, "mov $0xc0000082, %%ecx; xor %%eax, %%eax; xor %%edx, %%edx; wrmsr" ::
		    : "rax", "rcx", "rdx")
INSTRUCTION(lgdt, "lgdt (%%rsp)" ::: "memory")
INSTRUCTION(lidt, "lidt (%%rsp)" ::: "memory")
INSTRUCTION(ltr, "xor %%eax, %%eax; ltr %%ax" ::: "rax")
INSTRUCTION(invlpg, "invlpg (%%rsp)" ::: "memory")
INSTRUCTION(invd, "invd" ::: "memory")
INSTRUCTION(wbinvd, "wbinvd" ::: "memory")
INSTRUCTION(clts, "clts")
INSTRUCTION(swapgs, "swapgs")
INSTRUCTION(sysret, "mov $0x1000, %%ecx; mov $0x202, %%r11d; sysretq" ::: "rcx", "r11")
INSTRUCTION(in_port, "in $0x60, %%al" ::: "rax")
INSTRUCTION(out_port, "out %%al, $0x60" ::: "rax")
/* The ports that the entry code itself uses. */
INSTRUCTION(out_vector, "mov $14, %%edx; out %%al, %%dx" ::: "rax", "rdx")
INSTRUCTION(out_call, "mov $39, %%eax; out %%eax, $0x80" ::: "rax")
INSTRUCTION(out_done, "out %%eax, $0x81" ::: "rax")
INSTRUCTION(outs, "mov $0x80, %%edx; mov %%rsp, %%rsi; outsl" ::: "rdx", "rsi", "memory")
INSTRUCTION(load_kernel_ss, "mov $0x18, %%eax; mov %%eax, %%ss" ::: "rax")
INSTRUCTION(load_bad_ds, "mov $0x123, %%eax; mov %%eax, %%ds" ::: "rax")
INSTRUCTION(far_jump_kernel, "push $0x10; lea 1f(%%rip), %%rax; push %%rax; lretq; 1: add $16, %%rsp" ::
		    : "rax", "memory")
INSTRUCTION(iret_kernel,
	    "mov %%rsp, %%rcx; push $0x18; push %%rcx; pushfq; push $0x10; lea 1f(%%rip), %%rax; push %%rax;"
	    "iretq; 1:" ::
		    : "rax", "rcx", "memory")
INSTRUCTION(int_page_fault, "int $14")
INSTRUCTION(int_double_fault, "int $8")
INSTRUCTION(int_nmi, "int $2")
INSTRUCTION(int_21, "int $0x21")
INSTRUCTION(int_80, "mov $20, %%eax; int $0x80" ::: "rax")
INSTRUCTION(int_ff, "int $0xff")
INSTRUCTION(int3, "int3")
INSTRUCTION(int_3, ".byte 0xcd, 3")
INSTRUCTION(icebp, ".byte 0xf1")
INSTRUCTION(ud2, "ud2")
INSTRUCTION(sysenter, "mov %%rsp, %%rcx; lea 1f(%%rip), %%rdx; sysenter; 1:" ::
		    : "rax", "rcx", "rdx", "memory")
INSTRUCTION(vmcall, "mov $5, %%eax; vmcall" ::: "rax", "rcx", "rdx")
INSTRUCTION(vmmcall, "mov $5, %%eax; vmmcall" ::: "rax", "rcx", "rdx")
INSTRUCTION(divide, "xor %%edx, %%edx; xor %%ecx, %%ecx; mov $1, %%eax; div %%ecx" ::: "rax", "rcx", "rdx")
INSTRUCTION(misaligned, "lea -127(%%rsp), %%rax; movaps (%%rax), %%xmm0" ::: "rax", "xmm0", "memory")
INSTRUCTION(simd_error, "stmxcsr -8(%%rsp); andl $~0x200, -8(%%rsp); ldmxcsr -8(%%rsp); mov $1, %%eax;"
			"cvtsi2sd %%eax, %%xmm0; xorpd %%xmm1, %%xmm1; divsd %%xmm1, %%xmm0" ::
		    : "rax", "xmm0", "xmm1", "memory")
INSTRUCTION(x87_error, "movw $0x37b, -8(%%rsp); fldcw -8(%%rsp); fld1; fldz; fdivrp; fwait" ::: "memory")
INSTRUCTION(stack_off, "mov %%rsp, %%rbx; xor %%esp, %%esp; push %%rax; mov %%rbx, %%rsp" ::: "rbx", "memory")
INSTRUCTION(stack_hole,
	    "mov %%rsp, %%rbx; mov $0x8001, %%esp; shl $32, %%rsp; push %%rax; mov %%rbx, %%rsp" ::
		    : "rbx", "memory")

/* Flags a user may set. */
INSTRUCTION(flag_trap, "pushfq; orl $0x100, (%%rsp); popfq; nop; nop" ::: "memory", "cc")
INSTRUCTION(flag_align, "pushfq; orl $0x40000, (%%rsp); popfq; mov -127(%%rsp), %%eax" ::
		    : "rax", "memory", "cc")
INSTRUCTION(flag_nested, "pushfq; orl $0x4000, (%%rsp); popfq; mov $39, %%eax; syscall" ::
		    : "rax", "rcx", "r11", "memory", "cc")
INSTRUCTION(flag_iopl, "pushfq; orl $0x3000, (%%rsp); popfq; cli" ::: "memory", "cc")
INSTRUCTION(flag_direction, "std; mov $39, %%eax; syscall; cld" ::: "rax", "rcx", "r11", "memory", "cc")
INSTRUCTION(syscall_no_stack,
	    "mov %%rsp, %%rbx; xor %%esp, %%esp; mov $39, %%eax; syscall; mov %%rbx, %%rsp" ::
		    : "rax", "rbx", "rcx", "r11", "memory")
/* Trap flag set as the system call is made. */
INSTRUCTION(flag_trap_syscall, "mov $39, %%eax; pushfq; orl $0x100, (%%rsp); popfq; syscall; nop" ::
		    : "rax", "rcx", "r11", "memory", "cc")

/* A system call as the last instruction of the user half: it would return to an address that no user has. */
static void syscall_at_end(void)
{
	uint8_t *page = mmap((void *)(USER_END - 4096), 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	if (page == MAP_FAILED)
		exit(77);
	page[4094] = 0x0f;
	page[4095] = 0x05;
	__asm__ volatile("mov $39, %%eax; jmp *%0" : : "r"(page + 4094) : "rax", "rcx", "r11", "memory");
}

static void fill_memory(void)
{
	for (;;) {
		char *chunk = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (chunk == MAP_FAILED)
			return;
		for (size_t i = 0; i < 1 << 20; i += 4096)
			chunk[i] = 1;
	}
}

/* Page tables are memory too: one page in each 2 MiB. */
static void fill_tables(void)
{
	char *area = mmap(NULL, 1ull << 40, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (area == MAP_FAILED)
		return;
	for (uint64_t i = 0; i < 1ull << 40; i += 2 << 20)
		read_at((uint64_t)area + i);
}

/* As many areas as there may be. */
static void fill_areas(void)
{
	for (unsigned int i = 0; i < 1u << 20; i++)
		if (mmap(NULL, 4096, i & 1 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
		    MAP_FAILED)
			return;
}

static uint64_t recurse(uint64_t depth)
{
	volatile char frame[4000];

	frame[0] = (char)depth;
	return depth ? recurse(depth - 1) + (uint64_t)frame[0] : 0;
}

static void deep_stack(void)
{
	recurse(7000000 / 4096);
}

static void overflow_stack(void)
{
	recurse(~0ull);
}

/* Far below what the stack has grown to, yet within its limit. */
static void leap_stack(void)
{
	write_at(((uint64_t)__builtin_frame_address(0) & ~4095ull) - (4 << 20));
}

static void spin(void)
{
	for (;;)
		__asm__ volatile("pause");
}

static uint64_t random_state;

static uint64_t random_next(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * 0x2545f4914f6cdd1dull;
}

/* What pointers of wild calls lead to: strings, and structures full of wild words. */
static char buffer[8192] __attribute__((aligned(16)));

static uint64_t odd_number(uint64_t r)
{
	static const uint64_t odd[] = {
		0,
		1,
		2,
		3,
		7,
		255,
		4095,
		4096,
		65536,
		0x7fffffff,
		0x80000000,
		0xffffffff,
		0x100000000,
		-1ull,
		-2ull,
		-100ull,
		-4096ull,
		KERNEL_DATA,
		KERNEL_TEXT,
		HOLE,
		HOLE - 1,
		USER_END,
		USER_END - 1,
		USER_END - 4096,
		0x7fffffffffffffff,
		0x8000000000000000,
		0xffffffff81000000,
		0x400000,
	};

	return odd[(r & 0xffff) % (sizeof(odd) / sizeof(odd[0]))];
}

static uint64_t wild_argument(void)
{
	uint64_t r = random_next();

	switch (r >> 61) {
	case 0:
	case 1:
		return (uint64_t)buffer + (r & (r & 1 << 20 ? 4088 : 4095));
	case 2:
		return r & 0xff;
	case 3:
		return r & 7;
	case 4:
		return r;
	case 5:
		/* The last bytes before a hole. */
		return (uint64_t)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
				      0) +
		       4096 - (r & 15);
	default:
		return odd_number(r);
	}
}

static void fill_buffer(void)
{
	static const char *const paths[] = {
		"/", ".", "..", "/proc/self/mem", "/proc/self/fd/3", "/dev/null", "/etc/passwd", ""};
	uint64_t *words = (uint64_t *)(void *)buffer;

	for (size_t i = 0; i < sizeof(buffer) / 8; i++) {
		uint64_t r = random_next();

		words[i] = r & 1 << 20 ? odd_number(r) : (uint64_t)buffer + (r & 4088);
	}
	for (size_t at = 0; at < sizeof(buffer); at += 512)
		strcpy(buffer + at, paths[random_next() % 8]);
}

/* Descriptors 3 to 7, so that small numbers lead somewhere. */
static void open_descriptors(void)
{
	int fds[2];

	if (open("/", O_RDONLY | O_DIRECTORY) < 0 || open("/proc/self/exe", O_RDONLY) < 0 || pipe(fds) ||
	    open("/dev/null", O_RDWR) < 0)
		exit(3);
}

/* hostile wild NUMBER SEED COUNT: one system call with arguments no program would give. */
static int wild(char **argv)
{
	long number = atol(argv[2]), count = atol(argv[4]);

	random_state = strtoull(argv[3], NULL, 0) * 2654435761u + (uint64_t)number + 1;
	open_descriptors();
	for (long i = 0; i < count; i++) {
		uint64_t a[6];

		if (i % 8 == 0)
			fill_buffer();
		for (int k = 0; k < 6; k++)
			a[k] = wild_argument();
		syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	}
	syscall(SYS_exit_group, 0);
	return 0;
}

static const struct mode {
	const char *name;
	void (*run)(void);
	const char *end; /* the signal it dies of; 0: none; -: either SIGSEGV, SIGILL or none */
} modes[] = {
	{"read_null", read_null, "11"},
	{"write_null", write_null, "11"},
	{"jump_null", jump_null, "11"},
	{"read_kernel_data", read_kernel_data, "11"},
	{"write_kernel_data", write_kernel_data, "11"},
	{"jump_kernel_data", jump_kernel_data, "11"},
	{"read_kernel_text", read_kernel_text, "11"},
	{"write_kernel_text", write_kernel_text, "11"},
	{"jump_kernel_text", jump_kernel_text, "11"},
	{"jump_kernel_pages", jump_kernel_pages, "11"},
	{"read_kernel_top", read_kernel_top, "11"},
	{"jump_kernel_top", jump_kernel_top, "11"},
	{"read_hole", read_hole, "11"},
	{"write_hole", write_hole, "11"},
	{"jump_hole", jump_hole, "11"},
	{"read_user_end", read_user_end, "11"},
	{"write_user_end", write_user_end, "11"},
	{"jump_user_end", jump_user_end, "11"},
	{"write_text", write_text, "11"},
	{"execute_data", execute_data, "11"},
	{"execute_stack", execute_stack, "11"},
	{"execute_heap", execute_heap, "11"},
	{"read_none", read_none, "11"},
	{"write_readonly", write_readonly, "11"},
	{"touch_unmapped", touch_unmapped, "11"},
	{"write_after_mprotect", write_after_mprotect, "11"},
	{"hlt", hlt, "11"},
	{"cli", cli, "11"},
	{"sti", sti, "11"},
	{"read_cr0", read_cr0, "11"},
	{"read_cr3", read_cr3, "11"},
	{"write_cr3", write_cr3, "11"},
	{"write_cr4", write_cr4, "11"},
	{"read_dr7", read_dr7, "11"},
	{"rdmsr", rdmsr, "11"},
	{"wrmsr", wrmsr, "11"},
	{"lgdt", lgdt, "11"},
	{"lidt", lidt, "11"},
	{"ltr", ltr, "11"},
	{"invlpg", invlpg, "11"},
	{"invd", invd, "11"},
	{"wbinvd", wbinvd, "11"},
	{"clts", clts, "11"},
	{"swapgs", swapgs, "11"},
	{"sysret", sysret, "11"},
	{"in_port", in_port, "11"},
	{"out_port", out_port, "11"},
	{"out_vector", out_vector, "11"},
	{"out_call", out_call, "11"},
	{"out_done", out_done, "11"},
	{"outs", outs, "11"},
	{"load_kernel_ss", load_kernel_ss, "11"},
	{"load_bad_ds", load_bad_ds, "11"},
	{"far_jump_kernel", far_jump_kernel, "11"},
	{"iret_kernel", iret_kernel, "11"},
	{"int_page_fault", int_page_fault, "11"},
	{"int_double_fault", int_double_fault, "11"},
	{"int_nmi", int_nmi, "11"},
	{"int_21", int_21, "11"},
	{"int_80", int_80, "-"},
	{"int_ff", int_ff, "11"},
	{"int3", int3, "5"},
	{"int_3", int_3, "5"},
	{"icebp", icebp, "5"},
	{"ud2", ud2, "4"},
	{"sysenter", sysenter, "-"},
	{"vmcall", vmcall, "-"},
	{"vmmcall", vmmcall, "-"},
	{"divide", divide, "8"},
	{"misaligned", misaligned, "11"},
	{"simd_error", simd_error, "8"},
	{"x87_error", x87_error, "8"},
	{"stack_off", stack_off, "11"},
	{"stack_hole", stack_hole, "7"},
	{"flag_trap", flag_trap, "5"},
	{"flag_align", flag_align, "7"},
	{"flag_nested", flag_nested, "0"},
	{"flag_iopl", flag_iopl, "11"},
	{"flag_direction", flag_direction, "0"},
	{"flag_trap_syscall", flag_trap_syscall, "5"},
	{"syscall_no_stack", syscall_no_stack, "0"},
	{"syscall_at_end", syscall_at_end, "11"},
	{"deep_stack", deep_stack, "0"},
	{"overflow_stack", overflow_stack, "11"},
	{"leap_stack", leap_stack, "0"},
	/* Not for the list: they need a limit. */
	{"fill_memory", fill_memory, NULL},
	{"fill_tables", fill_tables, NULL},
	{"fill_areas", fill_areas, NULL},
	{"spin", spin, NULL},
};

static int list(void)
{
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (modes[i].end)
			printf("%s %s\n", modes[i].name, modes[i].end);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "list"))
		return list();
	if (argc == 5 && !strcmp(argv[1], "wild"))
		return wild(argv);
	for (size_t i = 0; argc == 2 && i < sizeof(modes) / sizeof(modes[0]); i++)
		if (!strcmp(argv[1], modes[i].name)) {
			modes[i].run();
			puts("survived");
			return 0;
		}
	return 2;
}
