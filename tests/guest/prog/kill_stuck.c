/* SPDX-License-Identifier: MIT */
/*
 * kill_stuck.c [shared] - a child that waits for a page of a disk which never answers is killed, and its parent goes on.
 *
 * The child has more pages than there is memory, written, and reads them with two threads once it has said so. The parent is locked in
 * memory, gives it time to be stuck, and prints what it ended with.
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE	    4096ul
#define SIZE	    (24ul << 20)
#define PATIENCE_MS 2000

static char *base;

static void *read_all(void *from)
{
	for (;;)
		for (size_t at = 0; at < SIZE; at += PAGE)
			(void)*(volatile char *)(base + (at + (from ? SIZE / 2 : 0)) % SIZE);
	return NULL;
}

static void be_stuck(int told, int flags)
{
	pthread_t thread;

	base = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0);
	if (base == MAP_FAILED)
		_exit(1);
	for (size_t at = 0; at < SIZE; at += PAGE)
		base[at] = (char)(at / PAGE + 1);
	if (write(told, "x", 1) != 1 || pthread_create(&thread, NULL, read_all, &base))
		_exit(1);
	read_all(NULL);
}

int main(int argc, char **argv)
{
	int fds[2], status = 0;

	(void)argv;
	if (pipe(fds) || mlockall(MCL_CURRENT | MCL_FUTURE))
		return 1;
	pid_t child = fork();
	if (child < 0)
		return 1;
	if (!child)
		be_stuck(fds[1], argc > 1 ? MAP_SHARED : MAP_PRIVATE);
	poll(&(struct pollfd){.fd = fds[0], .events = POLLIN}, 1, PATIENCE_MS); /* it may be stuck before */
	usleep(300000);
	kill(child, SIGKILL);
	if (waitpid(child, &status, 0) != child)
		return 1;
	printf("ended by signal %d\n", WTERMSIG(status));
	return 0;
}
