/* SPDX-License-Identifier: MIT */
/*
 * same_task.c - what a task points to: its space, descriptors, directory and handlers, its own or those of its maker.
 */
#include "case.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define FD 77

static int word;
static char stack[64 * 1024] __attribute__((aligned(16)));

static void handler(int signo)
{
	(void)signo;
}

/* Changes one thing of each kind. */
static int change_all(void *arg)
{
	struct sigaction action = {.sa_handler = handler};

	(void)arg;
	word = 1;
	if (dup2(1, FD) != FD || chdir("/proc") || sigaction(SIGUSR2, &action, NULL))
		return 1;
	return 0;
}

static void tell_changes(int flags, const char *what)
{
	struct sigaction action = {.sa_handler = SIG_DFL}, now;
	char directory[256] = "";
	int status = -1;

	word = 0;
	close(FD);
	if (chdir("/") || sigaction(SIGUSR2, &action, NULL))
		return;
	pid_t child = clone(change_all, stack + sizeof(stack), flags | SIGCHLD, NULL);
	if (child < 0) {
		printf("%s: refused\n", what);
		return;
	}
	waitpid(child, &status, 0);
	sigaction(SIGUSR2, NULL, &now);
	printf("%s: ended with %d; seen here:%s%s%s%s\n", what, status, word ? " mm" : "",
	       fcntl(FD, F_GETFD) >= 0 ? " files" : "",
	       getcwd(directory, sizeof(directory)) && !strcmp(directory, "/proc") ? " fs" : "",
	       now.sa_handler == handler ? " signal" : "");
}

static void each_alone(void)
{
	tell_changes(0, "none");
	tell_changes(CLONE_VM, "VM");
	tell_changes(CLONE_FILES, "FILES");
	tell_changes(CLONE_FS, "FS");
	tell_changes(CLONE_SIGHAND, "SIGHAND without VM");
}

static void together(void)
{
	tell_changes(CLONE_VM | CLONE_SIGHAND, "VM SIGHAND");
	tell_changes(CLONE_FILES | CLONE_FS, "FILES FS");
	tell_changes(CLONE_VM | CLONE_FILES, "VM FILES");
	tell_changes(CLONE_VM | CLONE_FILES | CLONE_FS | CLONE_SIGHAND, "all");
	tell_changes(0, "none again");
}

static const struct guest_case cases[] = {
	{"task: each of space, descriptors, directory and handlers can be shared alone [G1]", each_alone},
	{"task: and together [G1]", together},
};

int main(int argc, char **argv)
{
	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	cases_run(argc, argv, cases, NR_CASES(cases), NULL);
	return 0;
}
