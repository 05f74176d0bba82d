/* SPDX-License-Identifier: MIT */
/*
 * fault.c - ns per minor fault: writes to every page of fresh anonymous memory, divided by the faults that the
 * system counted. Fails unless there was one for each page.
 */
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "clock.h"

#define PAGE  4096u
#define BYTES (32ul << 20)

static long minor_faults(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_SELF, &usage) ? -1 : usage.ru_minflt;
}

int main(void)
{
	char *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long faults, pages = BYTES / PAGE;

	if (p == MAP_FAILED)
		return 1;
	madvise(p, BYTES, MADV_NOHUGEPAGE);
	faults = minor_faults();
	uint64_t start = clock_now_ns();
	for (size_t at = 0; at < BYTES; at += PAGE)
		*(volatile char *)(p + at) = 1;
	uint64_t spent = clock_now_ns() - start;
	faults = minor_faults() - faults;
	if (faults < pages || faults > pages + pages / 100) {
		fprintf(stderr, "fault: %ld faults for %ld pages\n", faults, pages);
		return 1;
	}
	printf("* %.1f\n", (double)spent / (double)faults);
	return 0;
}
