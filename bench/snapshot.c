/* SPDX-License-Identifier: MIT */
/*
 * snapshot.c - what a copy of a running space takes as a whole, and what going on from a file takes.
 *
 *	snapshot call MIB	prints "call-SIZE us": lodge_space_clone of a program that has written so much memory and sleeps in a read,
 *				by the clock: the program stands still for less than that
 *	snapshot pause MIB	prints "MIBMiB us": how long a program that goes on writing to so much memory stands still while it is saved
 *	snapshot stopped MIB	how long one would that stood still until all is written
 *	snapshot auto|lazy|eager|prefetch MIB
 *				prints "CACHE-first us" and "CACHE-end us", CACHE being warm or cold: from the beginning of lodge_snapshot_load in that way
 *				to the first call of the program, which it begins with, and to its end, when it has read a word of each page; prefetch:
 *				of what a recorded run touched, which is all
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../include/lodge.h"
#include "prog/clock.h"
#include "prog/median.h"

#define ROUNDS 15
#define LOADS  1
#define SAVES  5

struct bench {
	struct lodge_host *host;
	struct lodge_space *space;
	int in[2], out[2];
	pthread_t thread;
	const char *directory;
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
static int start(struct bench *b, const char *mib, const char *then)
{
	const char *const envp[] = {NULL};
	struct lodge_space_options o;
	char path[512], line[6];

	snprintf(path, sizeof(path), "%s/hold", b->directory);
	const char *const argv[] = {path, mib, then, NULL};
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

/* --- while it is saved ---------------------------------------------------------------------------- */

/* us that the program stands still; negative: failed. */
static double save_live(struct bench *b, const char *path)
{
	struct lodge_stats stats;

	if (lodge_snapshot_save(b->space, path, NULL))
		return -1;
	lodge_space_stats(b->space, &stats);
	return (double)stats.pause_ns / 1000;
}

/* It sleeps in its read: the whole call, which is how long it would stand still if it did until all is written. */
static double save_whole(struct bench *b, const char *path)
{
	uint64_t begin = clock_now_ns();

	return lodge_snapshot_save(b->space, path, NULL) ? -1 : since_us(begin);
}

static int measure_saves(struct bench *b, const char *mib, double (*save)(struct bench *b, const char *path))
{
	char path[] = "/var/tmp/lodge-bench.XXXXXX";
	int fd = mkstemp(path), err = fd < 0;
	double us[SAVES];

	for (int i = 0; i < SAVES && !err; i++) {
		usleep(200000); /* it writes */
		us[i] = save(b, path);
		err = us[i] < 0;
	}
	if (!err)
		printf("%sMiB %.1f\n", mib, median(us, SAVES));
	unlink(path);
	close(fd);
	return err;
}

/* --- going on from a file ------------------------------------------------------------------------ */

struct load {
	struct bench *b;
	const char *path;
	enum lodge_pages pages;
	bool cold;
	uint64_t begin, first; /* ns */
};

static void note_first(void *ctx)
{
	((struct load *)ctx)->first = clock_now_ns();
}

/* What the machine has of the file goes. */
static void drop_cache(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
}

/* One round; the program ends with 0 if its memory is what it was. */
static int load_once(struct load *l, double *first, double *end)
{
	struct lodge_space_options o;
	struct lodge_space *space;
	struct lodge_exit ended;

	options_of(l->b, &o);
	o.pages = l->pages;
	o.at_call = "read";
	o.on_call = note_first;
	o.on_call_ctx = l;
	if (l->cold)
		drop_cache(l->path);
	if (write(l->b->in[1], "x", 1) != 1)
		return -1;
	l->begin = clock_now_ns();
	if (lodge_snapshot_load(l->b->host, l->path, &o, &space, NULL))
		return -1;
	int ret = lodge_space_run(space, &ended, NULL);
	*end = since_us(l->begin);
	*first = (double)(l->first - l->begin) / 1000;
	if (!ret && l->pages == LODGE_PAGES_RECORD)
		ret = lodge_snapshot_save_order(space, NULL);
	lodge_space_destroy(space);
	return ret || ended.signal || ended.status ? -1 : 0;
}

static int measure_way(struct load *l)
{
	double first[LOADS], end[LOADS];
	const char *cache = l->cold ? "cold" : "warm";

	for (int i = 0; i < LOADS; i++)
		if (load_once(l, &first[i], &end[i]))
			return -1;
	printf("%s-first %.1f\n%s-end %.1f\n", cache, median(first, LOADS), cache, median(end, LOADS));
	return 0;
}

static int record(struct bench *b, const char *path)
{
	struct load l = {.b = b, .path = path, .pages = LODGE_PAGES_RECORD};
	double first, end;

	return load_once(&l, &first, &end);
}

static int measure_file(struct bench *b, const char *path, enum lodge_pages pages)
{
	struct load warm = {.b = b, .path = path, .pages = pages}, cold = warm;

	cold.cold = true;
	if (pages == LODGE_PAGES_PREFETCH && record(b, path))
		return -1;
	return measure_way(&warm) || measure_way(&cold) ? -1 : 0;
}

static int measure_loads(struct bench *b, enum lodge_pages pages)
{
	char path[] = "/var/tmp/lodge-bench.XXXXXX", order[sizeof(path) + 8];
	int fd = mkstemp(path), err = fd < 0;

	if (!err)
		err = lodge_snapshot_save(b->space, path, NULL);
	lodge_space_kill(b->space, SIGKILL); /* it would read what the others are given */
	if (!err)
		err = measure_file(b, path, pages);
	snprintf(order, sizeof(order), "%s.order", path);
	unlink(order);
	unlink(path);
	close(fd);
	return err;
}

static enum lodge_pages pages_of(const char *way)
{
	return !strcmp(way, "lazy")	  ? LODGE_PAGES_LAZY
	       : !strcmp(way, "eager")	  ? LODGE_PAGES_EAGER
	       : !strcmp(way, "prefetch") ? LODGE_PAGES_PREFETCH
					  : LODGE_PAGES_AUTO;
}

int main(int argc, char **argv)
{
	static struct bench b;
	char self[512] = "";

	if (argc != 3 || readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return 2;
	*strrchr(self, '/') = '\0';
	b.directory = self;
	bool live = !strcmp(argv[1], "pause"), stopped = !strcmp(argv[1], "stopped");
	int err = start(&b, argv[2], live ? "on" : NULL);
	if (!err && !strcmp(argv[1], "call"))
		err = measure_calls(&b, argv[2]);
	else if (!err && (live || stopped))
		err = measure_saves(&b, argv[2], live ? save_live : save_whole);
	else if (!err)
		err = measure_loads(&b, pages_of(argv[1]));
	if (err)
		fputs("snapshot: failed, or memory that changed\n", stderr);
	finish(&b);
	return err ? 1 : 0;
}
