/* SPDX-License-Identifier: MIT */
/*
 * sites_hostile.c - what a program can do with a call site that was rewritten, and with the way from there to its gate: jump into the
 * middle of each, with registers that lead elsewhere. Prints how many children it had; each ends as it may.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE  4096ul
#define GATES 0xffff808000000000ul
#define SITES 0xffff8080001fe000ul
#define SLOTS 0xd30ul

__asm__(".pushsection .text\n.balign 4096\nhot: mov $110, %eax\n syscall\n ret\n.balign 4096\n.popsection\n");
extern char hot[];

static char *page;

static void make_hot(void)
{
	for (unsigned int i = 0; i < 1000; i++)
		((long (*)(void))(uintptr_t)page)();
}

static _Noreturn void jump(uint64_t to, uint64_t rax)
{
	alarm(1);
	make_hot();
	__asm__ volatile("mov %[rax], %%rcx\n mov %[rax], %%r11\n jmp *%[to]"
			 :
			 : [to] "r"(to), [rax] "a"(rax)
			 : "rcx", "r11", "memory");
	__builtin_unreachable();
}

static unsigned int children;

static void try_jump(uint64_t to, uint64_t rax)
{
	pid_t pid = fork();

	if (!pid)
		jump(to, rax);
	children += waitpid(pid, NULL, 0) == pid;
}

int main(void)
{
	uint64_t vdso = getauxval(AT_SYSINFO_EHDR);
	int file = open("hot", O_RDWR | O_CREAT | O_TRUNC, 0600);

	if (file < 0 || write(file, hot, PAGE) != (ssize_t)PAGE)
		return 1;
	page = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0);
	if (page == MAP_FAILED)
		return 1;
	for (unsigned int i = 0; i <= 8; i++)
		try_jump((uint64_t)page + i, (uint64_t)&vdso);
	for (unsigned int i = 0; i < 20; i++)
		try_jump(vdso + SLOTS + i, SITES + PAGE);
	for (unsigned int i = 1; i < 45; i += 11)
		try_jump(vdso + SLOTS + 16 * i, 0);
	for (unsigned int i = 0; i < 16; i++)
		try_jump(SITES + SLOTS + i, SITES + PAGE + 16);
	/* The gates themselves, which are the sandbox's first processors', at each byte of a part of them. */
	for (unsigned int i = 0; i < 1024; i += 13) {
		try_jump(GATES + i, SITES + PAGE + 16);
		try_jump(GATES + 0x2000 + i, (uint64_t)&vdso);
	}
	try_jump(SITES + PAGE, 0);
	printf("%u children\n", children);
	return 0;
}
