/* SPDX-License-Identifier: MIT */
/*
 * gate_hostile.c - a thread that writes into the gates' pages whatever it likes while others make calls through them: requests that nobody
 * made, of calls and registers that nobody has, answers, bounds of waiting. Where gates are not the program's to write it ends at once.
 *
 *	gate_hostile CHILDREN	prints how many children it had; each ends as it may
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE	 4096ul
#define GATES	 0xffff808000000000ul
#define NR_GATES 32
#define STATE	 0 /* words of a gate's page: docs/traps.md */
#define RAX	 1
#define RDI	 2
#define WORDS	 128 /* behind these are the answers at hand, 4 bytes each */

static uint64_t seed;

static uint64_t any(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static volatile uint64_t *gate(unsigned int n)
{
	return (volatile uint64_t *)(GATES + (2 * n + 1) * PAGE);
}

/* Calls that nobody is hurt by, with whatever arguments. */
static uint64_t a_call(void)
{
	static const uint64_t nr[] = {SYS_lseek, SYS_getppid, SYS_read,	    SYS_write, SYS_mmap,
				      SYS_dup,	 SYS_uname,   SYS_mprotect, SYS_futex, SYS_rt_sigreturn,
				      SYS_vfork, SYS_execve,  SYS_exit,	    9999};

	return nr[any() % (sizeof(nr) / sizeof(nr[0]))];
}

static void write_something(volatile uint64_t *g)
{
	uint64_t word = any() % WORDS;

	if (any() % 3 == 0)
		*(volatile uint32_t *)&g[STATE] = (uint32_t)(any() % 8);
	else if (any() % 2)
		g[RAX] = a_call();
	else if (word != RAX && word != STATE)
		g[word] = any() % 4 ? any() % 64 : any();
}

static sigjmp_buf back;

static void go_back(int signo)
{
	siglongjmp(back, signo);
}

static void scribble(void)
{
	static volatile unsigned int there[NR_GATES], nr;

	signal(SIGSEGV, go_back);
	for (volatile unsigned int n = 0; n < NR_GATES; n++)
		if (!sigsetjmp(back, 1)) {
			gate(n)[WORDS - 1] = 0;
			there[nr++] = n;
		}
	signal(SIGSEGV, SIG_DFL);
	while (nr)
		write_something(gate(there[any() % nr]));
}

static void *call(void *arg)
{
	int zero = open("/dev/zero", O_RDWR);
	char text[64];

	for (;;) {
		lseek(zero, 0, SEEK_SET);
		read(zero, text, sizeof(text));
		syscall(SYS_getppid);
		write(zero, text, 1);
		void *at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		munmap(at, PAGE);
	}
	return arg;
}

static _Noreturn void child(uint64_t number)
{
	pthread_t thread;

	seed = number * 0x9e3779b97f4a7c15ul + 1;
	close(0); /* what is made up may read and write these */
	close(1);
	alarm(1);
	for (int i = 0; i < 2; i++)
		pthread_create(&thread, NULL, call, NULL);
	for (volatile int i = 0; i < 1000; i++)
		syscall(SYS_getppid); /* until it has a gate */
	scribble();
	_exit(0);
}

int main(int argc, char **argv)
{
	int nr = argc > 1 ? atoi(argv[1]) : 1, ended = 0, status;

	for (int i = 0; i < nr; i++) {
		pid_t pid = fork();

		if (!pid)
			child((uint64_t)i);
		ended += waitpid(pid, &status, 0) == pid;
	}
	printf("%d children\n", ended);
	return 0;
}
