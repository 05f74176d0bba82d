/* SPDX-License-Identifier: MIT */
/* reuse.c - maps memory, dirties it, gives it back, and rests: the next round gets frames that were used before. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BYTES (8u << 20)

int main(void)
{
	for (int round = 0; round < 10; round++) {
		unsigned char *p =
			mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			return 1;
		for (unsigned int i = 0; i < BYTES; i += 64)
			if (p[i]) {
				printf("round %d: byte %u is %u\n", round, i, p[i]);
				return 2;
			}
		memset(p, 0xa5, BYTES);
		munmap(p, BYTES);
		usleep(30000);
	}
	puts("always zero");
	return 0;
}
