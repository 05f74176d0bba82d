/* SPDX-License-Identifier: MIT */
/*
 * same_process_vm.c - process_vm_readv, process_vm_writev and membarrier on the process itself.
 */
#include <errno.h>
#include <limits.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "case.h"

#define PAGE   4096ul
#define NOBODY 0x3fffffff
#define MANY   1025

static char *here, *there; /* sixteen pages each, filled with 1 and 2 */
static struct iovec local[MANY], remote[MANY];

/* Far from the end of the address space, that lengths may be large. */
static char *map(unsigned long pages, int prot)
{
	static unsigned long at = 0x200000000;

	at += 64 * PAGE;
	return mmap((void *)at, pages * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void around(void (*run)(void))
{
	here = map(16, PROT_READ | PROT_WRITE);
	there = map(16, PROT_READ | PROT_WRITE);
	memset(here, 1, 16 * PAGE);
	memset(there, 2, 16 * PAGE);
	local[0] = (struct iovec){here, PAGE};
	remote[0] = (struct iovec){there, PAGE};
	run();
}

static void tell(const char *what, long ret)
{
	printf("%-44s %ld %s\n", what, ret, ret < 0 ? strerrorname_np(errno) : "");
}

static long vm(int nr, long pid, unsigned long nr_local, unsigned long nr_remote, unsigned long flags)
{
	return syscall(nr, pid, local, nr_local, remote, nr_remote, flags);
}

#define READV(what, pid, l, r, flags)  tell(what, vm(SYS_process_vm_readv, pid, l, r, flags))
#define WRITEV(what, pid, l, r, flags) tell(what, vm(SYS_process_vm_writev, pid, l, r, flags))
#define ME			       getpid()

static void set(struct iovec *iov, void *at, unsigned long bytes)
{
	*iov = (struct iovec){at, bytes};
}

static void arguments(void)
{
	READV("a page", ME, 1, 1, 0);
	printf("it came: %d\n", here[0] == 2 && here[PAGE - 1] == 2 && here[PAGE] == 1);
	WRITEV("a page back", ME, 1, 1, 0);
	READV("flags", ME, 1, 1, 1);
	READV("nobody, flags", NOBODY, 1, 1, 5);
	READV("process 0", 0, 1, 1, 0);
	READV("process -1", -1, 1, 1, 0);
	READV("nobody", NOBODY, 1, 1, 0);
	READV("nobody, no local range", NOBODY, 0, 1, 0);
	READV("nobody, no remote range", NOBODY, 1, 0, 0);
	READV("too many local ranges", NOBODY, MANY, 1, 0);
	READV("too many remote ranges", NOBODY, 1, MANY, 0);
	tell("bad local array", syscall(SYS_process_vm_readv, NOBODY, 8, 1, remote, 1, 0));
	tell("bad remote array", syscall(SYS_process_vm_readv, NOBODY, local, 1, 8, 1, 0));
	tell("bad remote array, nothing local", syscall(SYS_process_vm_readv, ME, 8, 0, 8, 1, 0));
	tell("bad array of no ranges", syscall(SYS_process_vm_readv, ME, local, 1, 8, 0, 0));
}

static void lengths(void)
{
	set(&remote[0], there, (unsigned long)-1);
	READV("remote length negative", ME, 1, 1, 0);
	READV("and nobody", NOBODY, 1, 1, 0);
	set(&remote[0], there, 0);
	READV("remote length 0", ME, 1, 1, 0);
	READV("and nobody", NOBODY, 1, 1, 0);
	set(&remote[0], there, 50);
	set(&local[0], here, 0);
	READV("local length 0", ME, 1, 1, 0);
	READV("and nobody", NOBODY, 1, 1, 0);
	set(&local[0], here, (unsigned long)-1);
	READV("local length negative", ME, 1, 1, 0);
	set(&local[0], here, LONG_MAX);
	READV("local length as long as can be", ME, 1, 1, 0);
	set(&local[1], here, 50);
	READV("one of two", ME, 2, 1, 0);
	set(&local[0], here, 30);
	set(&local[1], here + 100, 30);
	set(&remote[0], there, 10);
	set(&remote[1], there, 0);
	set(&remote[2], there + 3 * PAGE, 45);
	READV("ranges of different lengths", ME, 2, 3, 0);
	printf("where they belong: %d %d %d %d\n", here[29], here[30], here[124], here[125]);
}

static void remote_faults(void)
{
	mprotect(there + 2 * PAGE, PAGE, PROT_NONE);
	set(&local[0], here, 2 * PAGE);
	set(&remote[0], there + PAGE, 2 * PAGE);
	READV("into what may not be read", ME, 1, 1, 0);
	set(&remote[0], there + 2 * PAGE, 2 * PAGE);
	READV("what may not be read", ME, 1, 1, 0);
	mprotect(there + 2 * PAGE, PAGE, PROT_READ);
	set(&remote[0], there + PAGE, 2 * PAGE);
	WRITEV("into what may not be written", ME, 1, 1, 0);
	READV("which may be read", ME, 1, 1, 0);
	munmap(there + 2 * PAGE, PAGE);
	WRITEV("into a hole", ME, 1, 1, 0);
	set(&remote[0], there, 100);
	set(&remote[1], there + 2 * PAGE, 100);
	set(&remote[2], there, 100);
	READV("the second of three is a hole", ME, 1, 3, 0);
	set(&remote[0], (void *)0x8000000000000000, 50);
	READV("no address of a program", ME, 1, 1, 0);
	set(&remote[0], (void *)-50l, 100);
	READV("around the end", ME, 1, 1, 0);
}

static void local_faults(void)
{
	char *closed = map(2, PROT_READ);

	set(&local[0], here, 50);
	set(&local[1], (void *)PAGE, 50);
	set(&local[2], here, 50);
	set(&remote[0], there, 1000);
	READV("the second of three is a hole", ME, 3, 1, 0);
	set(&local[0], (void *)PAGE, 50);
	READV("a hole", ME, 1, 1, 0);
	set(&local[0], (void *)0x8000000000000000, 50);
	READV("no address of a program", ME, 1, 1, 0);
	set(&local[0], closed, 30);
	READV("into what may not be written", ME, 1, 1, 0);
	WRITEV("from there", ME, 1, 1, 0);
	set(&remote[0], closed, 30);
	set(&local[0], here, 30);
	WRITEV("the other's may not be written", ME, 1, 1, 0);
	mprotect(here + PAGE, PAGE, PROT_NONE);
	set(&local[0], here + PAGE - 96, 300);
	set(&remote[0], there, 300);
	READV("as far as the page goes", ME, 1, 1, 0);
}

static void untouched(void)
{
	char *new = map(4, PROT_READ | PROT_WRITE);

	set(&local[0], here, 4 * PAGE);
	set(&remote[0], new, 4 * PAGE);
	READV("untouched memory", ME, 1, 1, 0);
	printf("is zero: %d\n", !here[0] && !here[4 * PAGE - 1] && here[4 * PAGE] == 1);
	memset(here, 7, 4 * PAGE);
	WRITEV("is written", ME, 1, 1, 0);
	printf("with this: %d %d\n", new[0], new[4 * PAGE - 1]);
	set(&local[0], here, 16 * PAGE);
	set(&remote[0], there + 3, 13 * PAGE);
	READV("many pages, not aligned", ME, 1, 1, 0);
	set(&remote[0], here + 100, 4 * PAGE);
	READV("the same memory on both sides", ME, 1, 1, 0);
}

static long barrier(int cmd, unsigned int flags)
{
	return syscall(SYS_membarrier, cmd, flags, 0);
}

#define BARRIER(cmd, flags) tell(#cmd ", " #flags, barrier(cmd, flags))

static void membarriers(void)
{
	const long all = MEMBARRIER_CMD_GLOBAL | MEMBARRIER_CMD_GLOBAL_EXPEDITED |
			 MEMBARRIER_CMD_PRIVATE_EXPEDITED | MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE;

	printf("there are: %d\n", (barrier(MEMBARRIER_CMD_QUERY, 0) & all) == all);
	BARRIER(MEMBARRIER_CMD_QUERY, 1);
	BARRIER(MEMBARRIER_CMD_GLOBAL, 0);
	BARRIER(MEMBARRIER_CMD_GLOBAL, 1);
	BARRIER(MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0);
	BARRIER(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0);
	BARRIER(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0);
	BARRIER(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0);
	BARRIER(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 1);
	BARRIER(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0);
	BARRIER(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0);
	BARRIER(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0);
	BARRIER(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0);
	BARRIER(3, 0);
	BARRIER(-1, 0);
	BARRIER(1024, 0);
}

static const struct guest_case cases[] = {
	{"process_vm_readv: arguments, in the order they are looked at", arguments},
	{"process_vm_readv: lengths", lengths},
	{"process_vm_readv, process_vm_writev: the other's memory cannot be had", remote_faults},
	{"process_vm_readv, process_vm_writev: one's own cannot", local_faults},
	{"process_vm_readv, process_vm_writev: memory that nobody touched, and much of it", untouched},
	{"membarrier: commands and registrations", membarriers},
};

int main(int argc, char **argv)
{
	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	cases_run(argc, argv, cases, NR_CASES(cases), around);
	return 0;
}
