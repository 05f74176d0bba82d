/* SPDX-License-Identifier: MIT */
/* hello.c - the smallest program that uses its C library. */
#include <stdio.h>

int main(void)
{
	return puts("hello") < 0;
}
