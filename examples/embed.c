/* SPDX-License-Identifier: MIT */
/*
 * embed.c - runs a program in a space of 64 MiB and tells how much of it was used.
 *
 *	cc embed.c -llodge -luring -lxxhash -lzstd -llz4 -pthread -o embed && ./embed /bin/busybox echo hello
 */
#include <lodge.h>
#include <stdio.h>

extern char **environ;

static int run(struct lodge_space *space, char **argv, struct lodge_error *err)
{
	struct lodge_exit end;
	struct lodge_stats stats;

	if (lodge_space_load(space, argv[0], (const char *const *)argv, (const char *const *)environ, err))
		return -1;
	if (lodge_space_run(space, &end, err))
		return -1;
	lodge_space_stats(space, &stats);
	fprintf(stderr, "%s %d; at most %llu KiB, %llu system calls\n", end.signal ? "signal" : "status",
		end.signal ? end.signal : end.status, (unsigned long long)stats.peak_usage_pages * 4,
		(unsigned long long)stats.syscalls);
	return 0;
}

int main(int argc, char **argv)
{
	struct lodge_space_options options;
	struct lodge_host *host;
	struct lodge_space *space;
	struct lodge_error err;

	if (argc < 2) {
		fprintf(stderr, "usage: embed PROGRAM [ARGS]\n");
		return 2;
	}
	if (lodge_host_open(NULL, &host, &err)) {
		fprintf(stderr, "embed: %s\n", err.text);
		return 1;
	}
	lodge_space_options_init(&options);
	options.memory_bytes = 64ull << 20;
	int failed = lodge_space_create(host, &options, &space, &err);
	if (!failed) {
		failed = run(space, argv + 1, &err);
		lodge_space_destroy(space);
	}
	if (failed)
		fprintf(stderr, "embed: %s\n", err.text);
	lodge_host_close(host);
	return failed ? 1 : 0;
}
