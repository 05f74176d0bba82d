/* SPDX-License-Identifier: MIT */
#include "side.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "prog/clock.h"

#define LIMIT_NS 60000000000u /* no run takes this long */

extern char **environ;

struct command {
	char path[512], group[512], mib[16];
	const char *argv[2 * MAX_WORDS + 7];
};

static void program_path(const struct places *places, const struct side *side, char path[512])
{
	if (side->program[0][0] == '/')
		snprintf(path, 512, "%s", side->program[0]);
	else
		snprintf(path, 512, "%s/%s", places->programs, side->program[0]);
}

bool side_is_built(const struct places *places, const struct side *side)
{
	char path[512];

	program_path(places, side, path);
	return !access(path, X_OK);
}

static void command_build(struct command *c, const struct places *places, const struct side *side)
{
	const char **word = c->argv;

	program_path(places, side, c->path);
	if (side->group_mib) {
		snprintf(c->group, sizeof(c->group), "%s/ingroup", places->programs);
		snprintf(c->mib, sizeof(c->mib), "%u", side->group_mib);
		*word++ = c->group;
		*word++ = c->mib;
		*word++ = side->group_kind;
	}
	if (side->under_lodge) {
		*word++ = places->lodge;
		*word++ = "run";
		for (int i = 0; side->options[i]; i++)
			*word++ = side->options[i];
		*word++ = "--";
	}
	*word++ = c->path;
	for (int i = 1; i < MAX_WORDS && side->program[i]; i++)
		*word++ = side->program[i];
	*word = NULL;
}

/* With its standard output going into fds[1]. */
static int start(const struct command *c, const int fds[2], pid_t *pid)
{
	posix_spawn_file_actions_t actions;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
	posix_spawn_file_actions_addclose(&actions, fds[0]);
	posix_spawn_file_actions_addclose(&actions, fds[1]);
	int err = posix_spawn(pid, c->argv[0], &actions, NULL, (char *const *)c->argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (err)
		fprintf(stderr, "bench: %s: %s\n", c->argv[0], strerror(err));
	return err ? -1 : 0;
}

/* Waits for output, or the end of it, and says when it came. -1: it took too long. */
static int await_output(int fd, uint64_t deadline_ns, uint64_t *came_ns)
{
	struct pollfd p = {fd, POLLIN, 0};
	uint64_t now = clock_now_ns();

	if (now >= deadline_ns || poll(&p, 1, (int)((deadline_ns - now) / 1000000) + 1) == 0)
		return -1;
	*came_ns = clock_now_ns();
	return 0;
}

/* Reads until the other end is closed. -1: it took too long. */
static int read_output(int fd, uint64_t deadline_ns, char *to, size_t bytes)
{
	char rest[512];
	size_t used = 0;
	uint64_t came_ns;

	for (;;) {
		if (await_output(fd, deadline_ns, &came_ns))
			return -1;
		bool full = used + 1 == bytes;
		ssize_t n = full ? read(fd, rest, sizeof(rest)) : read(fd, to + used, bytes - 1 - used);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		used += full ? 0 : (size_t)n;
	}
	to[used] = 0;
	return 0;
}

static int ended_well(const struct command *c, int status, bool late)
{
	if (!late && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (!late && WIFEXITED(status) && WEXITSTATUS(status) == SIDE_NOT_OFFERED)
		return SIDE_NOT_OFFERED;
	fprintf(stderr, "bench:");
	for (const char *const *word = c->argv; *word; word++)
		fprintf(stderr, " %s", *word);
	if (late)
		fprintf(stderr, ": still running after %u s\n", (unsigned int)(LIMIT_NS / 1000000000u));
	else if (WIFEXITED(status))
		fprintf(stderr, ": status %d\n", WEXITSTATUS(status));
	else
		fprintf(stderr, ": signal %d\n", WTERMSIG(status));
	return -1;
}

/* What a process has used of processors; 0 when it is gone. */
static uint64_t process_cpu_ns(pid_t pid)
{
	struct timespec ts;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &ts))
		return 0;
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t timeval_ns(struct timeval tv)
{
	return ((uint64_t)tv.tv_sec * 1000000u + (uint64_t)tv.tv_usec) * 1000u;
}

/* Waits for its end; since then it had used so much. */
static int wait_for_end(pid_t pid, uint64_t since_ns, uint64_t used_ns, struct reading *reading)
{
	struct rusage u = {0};
	int status = 0;

	while (wait4(pid, &status, 0, &u) < 0 && errno == EINTR)
		;
	double more_ns = (double)(timeval_ns(u.ru_utime) + timeval_ns(u.ru_stime)) - (double)used_ns;
	reading->cpu_ms = more_ns * 1e3 / (double)(clock_now_ns() - since_ns);
	return status;
}

int side_run(const struct places *places, const struct side *side, struct reading *reading)
{
	struct command c;
	int fds[2];
	uint64_t first_ns;
	pid_t pid;

	command_build(&c, places, side);
	if (pipe(fds)) {
		perror("bench: pipe");
		return -1;
	}
	uint64_t begin = clock_now_ns();
	int err = start(&c, fds, &pid);
	close(fds[1]);
	if (err) {
		close(fds[0]);
		return -1;
	}
	bool late = await_output(fds[0], begin + LIMIT_NS, &first_ns);
	uint64_t used_ns = process_cpu_ns(pid);
	late = late || read_output(fds[0], begin + LIMIT_NS, reading->output, sizeof(reading->output));
	if (late)
		kill(pid, SIGKILL);
	int status = wait_for_end(pid, late ? begin : first_ns, used_ns, reading);
	reading->wall_us = (double)(clock_now_ns() - begin) / 1e3;
	close(fds[0]);
	return ended_well(&c, status, late);
}
