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
	{"membarrier: what it knows", barriers},
};

CASES_MAIN(cases)
