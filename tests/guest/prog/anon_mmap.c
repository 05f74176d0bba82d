/* SPDX-License-Identifier: MIT */
/*
 * anon_mmap.c - maps one anonymous page and ends: its areas at the end are compared with a listing of Linux.
 */
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int shared = argc > 1 && argv[1][0] == 's';
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			  (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return 1;
	page[0] = 10;
	_exit(0);
}
