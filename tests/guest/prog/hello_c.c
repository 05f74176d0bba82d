/* SPDX-License-Identifier: MIT */
/* hello_c.c - what every C library does at start and end; argv, environ and the exit status pass through. */
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	const char *name = getenv("HELLO_NAME");

	printf("hello, %s\n", name ? name : "world");
	for (int i = 1; i < argc; i++)
		printf("argument %d: %s\n", i, argv[i]);
	return argc > 1 ? atoi(argv[1]) : 0;
}
