/* SPDX-License-Identifier: MIT */
/*
 * same_policy.c - memory policies on a machine of one node, seals of areas, and calls of the past.
 */
#include "window.h"

#ifndef SYS_mseal
#define SYS_mseal 462
#endif
#ifndef SYS_set_mempolicy_home_node
#define SYS_set_mempolicy_home_node 450
#endif

enum { POLICY_DEFAULT, POLICY_PREFERRED, POLICY_BIND, POLICY_INTERLEAVE, POLICY_LOCAL };
#define STRICT	 1
#define MOVE	 2
#define MOVE_ALL 4
#define OF_NODE	 1
#define OF_ADDR	 2
#define ALLOWED	 4
#define STATIC	 0x8000
#define RELATIVE 0x4000

static void sealed(void)
{
	put(0, 4, RW);
	letters(0, 4);
	TELL(syscall(SYS_mseal, AT(1), PAGE, 0));
	TELL(munmap(AT(1), PAGE));
	TELL(munmap(AT(0), 4 * PAGE));
	TELL(mprotect(AT(1), PAGE, R));
	TELL(mprotect(AT(0), 2 * PAGE, R));
	WHERE(mremap(AT(1), PAGE, 2 * PAGE, MREMAP_MAYMOVE));
	WHERE(mremap(AT(1), PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(8)));
	WHERE(mmap(AT(1), PAGE, RW, PRIVATE | MAP_FIXED, -1, 0));
	TELL(madvise(AT(1), PAGE, MADV_DONTNEED));
	printf("still written: %s\n", poke(AT(1)));
	show_letters("kept", 0, 4);
	show_maps("areas");
}

static void seal_arguments(void)
{
	put(16, 2, RW);
	TELL(syscall(SYS_mseal, AT(16), PAGE, 1));
	TELL(syscall(SYS_mseal, AT(16) + 1, PAGE, 0));
	TELL(syscall(SYS_mseal, AT(16), 0, 0));
	TELL(syscall(SYS_mseal, AT(16), -1ul, 0));
	TELL(syscall(SYS_mseal, AT(17), 2 * PAGE, 0));
	TELL(syscall(SYS_mseal, AT(24), PAGE, 0));
	TELL(munmap(AT(16), 2 * PAGE));
}

static void sealed_read_only(void)
{
	put(32, 2, RW);
	letters(32, 2);
	mprotect(AT(32), PAGE, R);
	TELL(syscall(SYS_mseal, AT(32), 2 * PAGE, 0));
	TELL(syscall(SYS_mseal, AT(32), 2 * PAGE, 0));
	TELL(madvise(AT(32), PAGE, MADV_DONTNEED));
	TELL(madvise(AT(32), PAGE, MADV_WILLNEED));
	TELL(madvise(AT(33), PAGE, MADV_DONTNEED));
	show_letters("the read-only one is kept", 32, 2);
}

static void remapped_file_pages(void)
{
	int fd = letter_file("mapped", 4, 0);

	put_file(64, 4, RW, MAP_SHARED, fd, 0);
	TELL(syscall(SYS_remap_file_pages, AT(64), PAGE, 0, 3, 0));
	show_letters("pages", 64, 4);
	TELL(syscall(SYS_remap_file_pages, AT(65), 2 * PAGE, 0, 0, 0));
	show_letters("pages", 64, 4);
	TELL(syscall(SYS_remap_file_pages, AT(64), PAGE, PROT_READ, 0, 0));
	TELL(syscall(SYS_remap_file_pages, AT(80), PAGE, 0, 0, 0));
	TELL(syscall(SYS_remap_file_pages, AT(64), 0, 0, 0, 0));
	put(96, 1, RW);
	TELL(syscall(SYS_remap_file_pages, AT(96), PAGE, 0, 0, 0));
	close(fd);
}

static void remapped_shared_pages(void)
{
	put_shared(64, 4, RW);
	letters(64, 4);
	TELL(syscall(SYS_remap_file_pages, AT(64), PAGE, 0, 3, 0));
	TELL(syscall(SYS_remap_file_pages, AT(67), PAGE, 0, 0, 0));
	show_letters("pages", 64, 4);
	AT(64)[0] = 'x';
	show_letters("the same memory", 64, 4);
}

static void barriers(void)
{
	printf("knows the private one: %d\n", !!(syscall(SYS_membarrier, 0, 0, 0) & 8));
	TELL(syscall(SYS_membarrier, 1 << 30, 0, 0));
	TELL(syscall(SYS_membarrier, 0, 1, 0));
	TELL(syscall(SYS_membarrier, 8, 0, 0));
	TELL(syscall(SYS_membarrier, 16, 0, 0));
	TELL(syscall(SYS_membarrier, 8, 0, 0));
	TELL(syscall(SYS_membarrier, 1, 0, 0));
}

static const struct guest_case cases[] = {
	{"remap_file_pages: pages of a file in another order", remapped_file_pages},
	{"remap_file_pages: pages of shared memory", remapped_shared_pages},
	{"membarrier: what it knows", barriers},
	{"mseal: arguments", seal_arguments},
	{"mseal: a sealed area stays as it is", sealed},
	{"mseal: what is sealed read-only keeps its contents", sealed_read_only},
};

CASES_MAIN(cases)
