/* SPDX-License-Identifier: MIT */
/*
 * mapped_ahead.c - how many faults a program has where lodge maps ahead of the first touch: a library as the dynamic linker maps it, and a
 * heap that goes on from where it is in use.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define PAGE  4096
#define PAGES 16

static long faults(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_minflt + u.ru_majflt;
}

static long faults_of_reading(const volatile char *at, size_t pages)
{
	long before = faults();

	for (size_t i = 0; i < pages; i++)
		(void)at[i * PAGE];
	return faults() - before;
}

static long faults_of_writing(volatile char *at, size_t pages)
{
	long before = faults();

	for (size_t i = 0; i < pages; i++)
		at[i * PAGE] = 1;
	return faults() - before;
}

int main(void)
{
	const int library = MAP_PRIVATE | MAP_DENYWRITE;
	int fd = open("/proc/self/exe", O_RDONLY);
	char *all = mmap(NULL, PAGES * PAGE, PROT_READ, library, fd, 0), *text, *data, *heap;

	faults(); /* its own page is there by now */
	printf("headers %ld\n", faults_of_reading(all, 1));
	text = mmap(all + 4 * PAGE, 4 * PAGE, PROT_READ | PROT_EXEC, library | MAP_FIXED, fd, 4 * PAGE);
	printf("text %ld\n", faults_of_reading(text, 4));
	data = mmap(all + 8 * PAGE, 4 * PAGE, PROT_READ | PROT_WRITE, library | MAP_FIXED, fd, 8 * PAGE);
	printf("data %ld\n", faults_of_writing(data, 4));
	heap = sbrk(8 * PAGE);
	faults_of_writing(heap, 8);
	heap = sbrk(33 * PAGE);
	printf("heap %ld\n", faults_of_writing(heap, 33));
	return 0;
}
