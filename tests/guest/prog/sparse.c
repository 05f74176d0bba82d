/* SPDX-License-Identifier: MIT */
/* sparse.c - walks the pages of a file, forwards and by a stride, and sums their first bytes. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE   4096ul
#define STRIDE 1021ul /* pages; a prime */

int main(int argc, char **argv)
{
	unsigned long sum = 0, moved = 0;
	struct stat st;
	int fd = argc > 1 ? open(argv[1], O_RDONLY) : -1;

	if (fd < 0 || fstat(fd, &st))
		return 1;
	unsigned long pages = (unsigned long)st.st_size / PAGE;
	const unsigned char *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return 2;
	for (unsigned long i = 0; i < pages; i++)
		sum = sum * 31 + p[i * PAGE];
	for (unsigned long i = 0; i < pages; i += 64)
		moved = moved * 31 + p[i * STRIDE % pages * PAGE + i % PAGE];
	printf("%lu pages: %lx %lx, offset %ld\n", pages, sum, moved, (long)lseek(fd, 0, SEEK_CUR));
	return 0;
}
