/* SPDX-License-Identifier: MIT */
/*
 * snapshot.c - what a copy of a running space takes as a whole, and what going on from a file takes.
 *
 *	snapshot call MIB	prints "call-SIZE us": lodge_space_clone of a program that has written so much memory and sleeps in a read,
 *				by the clock: the program stands still for less than that
 *	snapshot auto|lazy|eager MIB
 *				prints "load-SIZE us" and "end-SIZE us": lodge_snapshot_load in that way, and from its beginning to the end of
 *				the program, which reads all of it; the file is in the machine's cache
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../include/lodge.h"
#include "prog/clock.h"
#include "prog/median.h"

#define ROUNDS 15
#define LOADS  3

struct bench {
	struct lodge_host *host;
	struct lodge_space *space;
	int in[2], out[2];
	pthread_t thread;
	const char *directory;
	enum lodge_pages pages;
};

static void *run_main(void *arg)
{
	struct bench *b = arg;
	struct lodge_exit ended;

	lodge_space_run(b->space, &ended, NULL);
	return NULL;
}

static void options_of(const struct bench *b, struct lodge_space_options *o)
{
	lodge_space_options_init(o);
	o->memory_bytes = 3ull << 30;
	o->fds[0] = b->in[0];
	o->fds[1] = b->out[1];
}

/* The program, once it is ready. 0 or -1. */
static int start(struct bench *b, const char *mib)
{
	const char *const envp[] = {NULL};
	struct lodge_space_options o;
	char path[512], line[6];

	snprintf(path, sizeof(path), "%s/hold", b->directory);
	const char *const argv[] = {path, mib, NULL};
	if (pipe(b->in) || pipe(b->out) || lodge_host_open(NULL, &b->host, NULL))
		return -1;
	options_of(b, &o);
	if (lodge_space_create(b->host, &o, &b->space, NULL) ||
	    lodge_space_load(b->space, path, argv, envp, NULL) ||
	    pthread_create(&b->thread, NULL, run_main, b))
		return -1;
	return read(b->out[0], line, sizeof(line)) == sizeof(line) ? 0 : -1;
}

static void finish(struct bench *b)
{
	lodge_space_kill(b->space, SIGKILL);
	pthread_join(b->thread, NULL);
	lodge_space_destroy(b->space);
	lodge_host_close(b->host);
}

static double since_us(uint64_t begin)
{
	return (double)(clock_now_ns() - begin) / 1000;
}

static int measure_calls(struct bench *b, const char *mib)
{
	double us[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		struct lodge_space *clone;
		uint64_t begin = clock_now_ns();
		if (lodge_space_clone(b->space, NULL, &clone, NULL))
			return -1;
		us[i] = since_us(begin);
		lodge_space_destroy(clone);
		usleep(2000); /* back in its read */
	}
	printf("call-%sMiB %.1f\n", mib, median(us, ROUNDS));
	return 0;
}

/* One round; the program ends with 0 if its memory is what it was. */
static int load_once(struct bench *b, const char *path, double *load, double *end)
{
	struct lodge_space_options o;
	struct lodge_space *space;
	struct lodge_exit ended;

	options_of(b, &o);
	o.pages = b->pages;
	if (write(b->in[1], "x", 1) != 1)
		return -1;
	uint64_t begin = clock_now_ns();
	if (lodge_snapshot_load(b->host, path, &o, &space, NULL))
		return -1;
	*load = since_us(begin);
	int ret = lodge_space_run(space, &ended, NULL);
	*end = since_us(begin);
	lodge_space_destroy(space);
	return ret || ended.signal || ended.status ? -1 : 0;
}

static int measure_loads(struct bench *b, const char *mib)
{
	double load[LOADS], end[LOADS];
	char path[] = "/var/tmp/lodge-bench.XXXXXX";
	int fd = mkstemp(path), err = fd < 0;

	if (!err)
		err = lodge_snapshot_save(b->space, path, NULL);
	lodge_space_kill(b->space, SIGKILL); /* it would read what the others are given */
	for (int i = 0; i < LOADS && !err; i++)
		err = load_once(b, path, &load[i], &end[i]);
	unlink(path);
	close(fd);
	if (err)
		return -1;
	printf("load-%sMiB %.1f\nend-%sMiB %.1f\n", mib, median(load, LOADS), mib, median(end, LOADS));
	return 0;
}

int main(int argc, char **argv)
{
	static struct bench b;
	char self[512] = "";

	if (argc != 3 || readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return 2;
	*strrchr(self, '/') = '\0';
	b.directory = self;
	b.pages = !strcmp(argv[1], "lazy")    ? LODGE_PAGES_LAZY
		  : !strcmp(argv[1], "eager") ? LODGE_PAGES_EAGER
					      : LODGE_PAGES_AUTO;
	int err = start(&b, argv[2]);
	if (!err)
		err = (strcmp(argv[1], "call") ? measure_loads : measure_calls)(&b, argv[2]);
	if (err)
		fputs("snapshot: failed, or memory that changed\n", stderr);
	finish(&b);
	return err ? 1 : 0;
}
