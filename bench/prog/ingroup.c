/* SPDX-License-Identifier: MIT */
/*
 * ingroup.c - a program in a memory cgroup of its own: `ingroup MIB file|anon PROGRAM [WORD...]`.
 *
 * The group has MIB of memory, of its version 2 or 1, and goes when the program has ended; the status is the program's. With `anon` the
 * program's memory is to go to swap, so the machine must have some. Where the machine does not offer what is asked for: 77, and a
 * line says what is missing.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOT_OFFERED 77

static char group[256];

static void leave_group(void)
{
	if (*group)
		rmdir(group);
}

__attribute__((noreturn, format(printf, 1, 2))) static void not_offered(const char *format, ...)
{
	va_list ap;

	leave_group();
	va_start(ap, format);
	fputs("ingroup: ", stderr);
	vfprintf(stderr, format, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(NOT_OFFERED);
}

static int write_to(const char *name, const char *text)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", group, name);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t n = write(fd, text, strlen(text));
	close(fd);
	return n < 0 ? -1 : 0;
}

static int has_swap(void)
{
	char line[256];
	int lines = 0;
	FILE *f = fopen("/proc/swaps", "r");

	while (f && fgets(line, sizeof(line), f))
		lines++;
	if (f)
		fclose(f);
	return lines > 1;
}

/* Where version 1 or version 2 is, if it can be had. */
static void make_group(unsigned long mib)
{
	static const char *const roots[] = {"/sys/fs/cgroup/memory", "/sys/fs/cgroup"};
	static const char *const limits[] = {"memory.limit_in_bytes", "memory.max"};
	char text[32];
	int err = ENOENT;

	snprintf(text, sizeof(text), "%lu", mib << 20);
	for (int i = 0; i < 2; i++) {
		snprintf(group, sizeof(group), "%s/lodge-bench-%d", roots[i], (int)getpid());
		if (!mkdir(group, 0755)) {
			if (!write_to(limits[i], text))
				return;
			err = errno;
			rmdir(group);
		}
	}
	*group = 0;
	not_offered("no memory cgroup: %s", strerror(err));
}

int main(int argc, char **argv)
{
	int status;

	if (argc < 4)
		return 2;
	if (!strcmp(argv[2], "anon") && !has_swap())
		not_offered("the machine has no swap, so memory in a cgroup has nowhere to go");
	make_group(strtoul(argv[1], NULL, 10));
	pid_t pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (write_to("cgroup.procs", "0"))
			_exit(NOT_OFFERED);
		execv(argv[3], argv + 3);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		not_offered("%s", strerror(errno));
	leave_group();
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
