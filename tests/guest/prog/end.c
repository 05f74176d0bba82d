/* SPDX-License-Identifier: MIT */
/* end.c - ends in the way its argument names: a number is an exit status. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void end_by_bus(void)
{
	int fd = open("/proc/self/exe", O_RDONLY);
	volatile char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 1 << 30);

	/* Far behind the end of the file. */
	_exit(*page);
}

static void end_by_segv(void)
{
	volatile char *volatile nowhere = NULL;

	nowhere[8] = 1;
}

static void spin(void)
{
	puts("ready");
	fflush(stdout);
	for (;;)
		__asm__ volatile("pause");
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "0";

	if (!strcmp(how, "segv"))
		end_by_segv();
	else if (!strcmp(how, "abort"))
		abort();
	else if (!strcmp(how, "fpe"))
		__asm__ volatile("xor %%edx, %%edx; xor %%ecx, %%ecx; mov $1, %%eax; div %%ecx" ::
					 : "eax", "ecx", "edx");
	else if (!strcmp(how, "ill"))
		__asm__ volatile("ud2");
	else if (!strcmp(how, "trap"))
		__asm__ volatile("int3");
	else if (!strcmp(how, "bus"))
		end_by_bus();
	else if (!strcmp(how, "kill"))
		raise(SIGKILL);
	else if (!strcmp(how, "term"))
		raise(SIGTERM);
	else if (!strcmp(how, "spin"))
		spin();
	return atoi(how);
}
