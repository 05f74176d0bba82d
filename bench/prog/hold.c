/* SPDX-License-Identifier: MIT */
/*
 * hold.c - memory that is there.
 *
 *	hold MIB	writes so much, prints "ready", waits for a byte, reads a word of each page, and ends with 0 if all is there
 *	hold MIB on	goes on writing to it instead, page by page
 */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096ul

int main(int argc, char **argv)
{
	uint64_t nr = argc > 1 ? strtoul(argv[1], NULL, 10) << 20 >> 12 : 0, sum = 0;
	volatile uint64_t *word =
		mmap(NULL, nr * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char byte;

	if (word == MAP_FAILED)
		return 2;
	for (uint64_t i = 0; i < nr * PAGE / sizeof(*word); i += 64) /* pages that are all different */
		word[i] = i;
	if (write(1, "ready\n", 6) != 6)
		return 3;
	for (uint64_t i = 0; argc > 2; i++)
		word[i % nr * PAGE / sizeof(*word)]++;
	if (read(0, &byte, 1) != 1)
		return 3;
	for (uint64_t i = 0; i < nr; i++)
		sum += word[i * PAGE / sizeof(*word)];
	return sum != nr * (nr - 1) / 2 * (PAGE / sizeof(*word));
}
