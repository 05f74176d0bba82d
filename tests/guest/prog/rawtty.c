/* SPDX-License-Identifier: MIT */
/* rawtty.c - makes its terminal raw and never comes back. */
#include <stdio.h>
#include <termios.h>

int main(void)
{
	struct termios t;

	if (tcgetattr(0, &t))
		return 1;
	cfmakeraw(&t);
	if (tcsetattr(0, TCSANOW, &t))
		return 2;
	puts("raw");
	fflush(stdout);
	for (;;)
		__asm__ volatile("pause");
}
