/* SPDX-License-Identifier: MIT */
/* getppid.c - ns per round trip of the cheapest system call. */
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"

#define BATCH	   500
#define MEASURE_NS 50000000u

int main(void)
{
	uint64_t start = clock_now_ns(), spent, calls = 0;
	long parent = syscall(SYS_getppid), same = 0;

	do {
		for (int i = 0; i < BATCH; i++)
			same += syscall(SYS_getppid) == parent;
		calls += BATCH;
		spent = clock_now_ns() - start;
	} while (spent < MEASURE_NS);
	if ((uint64_t)same != calls)
		return 1;
	printf("* %.1f\n", (double)spent / (double)calls);
	return 0;
}
