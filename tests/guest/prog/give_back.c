/* SPDX-License-Identifier: MIT */
/* give_back.c - uses MIB, frees them, and takes them again when it is told to: the machine may have had them in between. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define PAGE 4096ul

static char *take(size_t bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		exit(2);
	return p;
}

static void say(const char *word)
{
	puts(word);
	fflush(stdout);
	if (getchar() == EOF)
		exit(3);
}

int main(int argc, char **argv)
{
	size_t bytes = argc > 1 ? strtoul(argv[1], NULL, 10) << 20 : PAGE, wrong = 0;
	char *p = take(bytes);

	for (size_t i = 0; i < bytes; i += PAGE)
		p[i] = 1;
	say("used");
	munmap(p, bytes);
	say("freed");
	p = take(bytes);
	for (size_t i = 0; i < bytes; i += PAGE) {
		wrong += p[i] != 0;
		p[i] = 2;
	}
	puts(wrong ? "wrong" : "zeroes");
	return wrong != 0;
}
