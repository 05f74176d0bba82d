/* SPDX-License-Identifier: MIT */
/*
 * guest_fuzz.c SECONDS [SEED] - a guest that makes random calls (tests/guest/prog/fuzz_syscalls.c) in one space after the other.
 *
 * After each: nothing that the guest may not change has changed, and the host process has the threads, descriptors and frames that it
 * had before. A run that does not end when it is told to is a failure too.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../include/lodge.h"

#define MAX_ROUND_MS 2500
#define LATE_S	     60
#define SECRET	     "nobody may change this\n"

static uint64_t state;

static uint64_t below(uint64_t bound)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (state * 0x2545f4914f6cdd1dull >> 16) % bound;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void fail(const char *what, long a, long b)
{
	fprintf(stderr, "guest_fuzz: %s (%ld, %ld)\n", what, a, b);
	exit(1);
}

/* --- what must not change --------------------------------------------------------------------------------------- */

static char base[64], rw[96], outside[96], secret[128], closed[128];

static void make_world(void)
{
	strcpy(base, "/tmp/lodge-fuzz-XXXXXX");
	if (!mkdtemp(base))
		fail("no directory", errno, 0);
	snprintf(rw, sizeof(rw), "%s/rw", base);
	snprintf(outside, sizeof(outside), "%s/secret", base);
	snprintf(secret, sizeof(secret), "%s/file", outside);
	snprintf(closed, sizeof(closed), "%s/dir", outside);
	if (mkdir(rw, 0777) || mkdir(outside, 0755) || mkdir(closed, 0755))
		fail("no directories", errno, 0);
	int fd = open(secret, O_WRONLY | O_CREAT | O_EXCL, 0644);
	if (fd < 0 || write(fd, SECRET, sizeof(SECRET) - 1) != (ssize_t)sizeof(SECRET) - 1)
		fail("no secret", errno, 0);
	close(fd);
	char link[128];
	snprintf(link, sizeof(link), "%s/link", rw);
	if (symlink(outside, link))
		fail("no link", errno, 0);
}

static struct stat stat_of(const char *path)
{
	struct stat st;

	if (lstat(path, &st))
		fail(path, errno, 0);
	return st;
}

static void expect_same(const char *path, const struct stat *before)
{
	struct stat now = stat_of(path);

	if (now.st_mode != before->st_mode || now.st_uid != before->st_uid || now.st_gid != before->st_gid ||
	    now.st_size != before->st_size || now.st_nlink != before->st_nlink ||
	    now.st_ino != before->st_ino)
		fail(path, (long)now.st_size, (long)now.st_mode);
	if (now.st_mtim.tv_sec != before->st_mtim.tv_sec || now.st_mtim.tv_nsec != before->st_mtim.tv_nsec ||
	    now.st_ctim.tv_sec != before->st_ctim.tv_sec || now.st_ctim.tv_nsec != before->st_ctim.tv_nsec)
		fail(path, now.st_ctim.tv_sec, before->st_ctim.tv_sec);
}

static void expect_secret(void)
{
	char text[64] = "";
	int fd = open(secret, O_RDONLY);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0 || strcmp(text, SECRET))
		fail("the secret was changed", fd, 0);
	close(fd);
}

/* Entries of a directory of ours in /proc. */
static long count(const char *directory)
{
	DIR *d = opendir(directory);
	long n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

/* A thread that was joined may be listed for a moment. */
static void expect_count(const char *directory, long before)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	for (int i = 0; i < 2000 && count(directory) != before; i++)
		nanosleep(&pause, NULL);
	if (count(directory) != before)
		fail(directory, before, count(directory));
}

/* --- one space -------------------------------------------------------------------------------------------------- */

struct round {
	struct lodge_space *space;
	uint64_t seed, ms;
	pthread_mutex_t lock;
	pthread_cond_t done;
	int ended;
};

/* Kills a space whose time is over, and gives up when that does not help. */
static void *watch(void *arg)
{
	struct round *r = arg;
	struct timespec at;
	int late = 0;

	clock_gettime(CLOCK_REALTIME, &at);
	at.tv_sec += (time_t)(r->ms / 1000 + LATE_S / 2);
	pthread_mutex_lock(&r->lock);
	while (!r->ended) {
		if (pthread_cond_timedwait(&r->done, &r->lock, &at) != ETIMEDOUT)
			continue;
		if (late++) {
			fprintf(stderr, "guest_fuzz: seed %llu does not end\n", (unsigned long long)r->seed);
			abort();
		}
		pthread_mutex_unlock(&r->lock);
		lodge_space_kill(r->space, 9);
		pthread_mutex_lock(&r->lock);
		at.tv_sec += LATE_S;
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

/* A guest may die of anything, but not of what its machine cannot do. */
static void look_at(void *ctx, const char *line)
{
	const struct round *r = ctx;

	if (!strstr(line, "the processor cannot go on"))
		return;
	fprintf(stderr, "guest_fuzz: seed %llu: %s\n", (unsigned long long)r->seed, line);
	abort();
}

static enum lodge_oom_answer on_oom(void *ctx)
{
	(void)ctx;
	return below(4) ? LODGE_OOM_KILL_LARGEST : LODGE_OOM_END;
}

static void choose_options(struct lodge_space_options *o, int null, const char *const *rw_dirs)
{
	lodge_space_options_init(o);
	o->memory_bytes = (16ull << 20) << below(4);
	o->fault_around_pages = 1u << below(10);
	o->aslr = (int)below(2);
	o->rw_dirs = rw_dirs;
	o->max_pids = 8 + (uint32_t)below(60);
	o->thp = (enum lodge_thp)below(3);
	o->oom = (enum lodge_oom)below(3);
	o->on_oom = on_oom;
	o->fds[0] = o->fds[1] = o->fds[2] = null;
}

static void run_space(struct lodge_host *host, struct round *r, int null, const char *program)
{
	const char *const rw_dirs[] = {rw, NULL}, *const envp[] = {NULL};
	char seed[32], ms[32];
	const char *const argv[] = {program, seed, ms, rw, outside, secret, closed, NULL};
	struct lodge_space_options o;
	struct lodge_error err = {""};
	struct lodge_exit how;
	pthread_t thread;

	snprintf(seed, sizeof(seed), "%llu", (unsigned long long)r->seed);
	snprintf(ms, sizeof(ms), "%llu", (unsigned long long)r->ms);
	choose_options(&o, null, rw_dirs);
	o.log = look_at;
	o.log_ctx = r;
	if (lodge_space_create(host, &o, &r->space, &err) ||
	    lodge_space_load(r->space, program, argv, envp, &err))
		fail(err.text, 0, 0);
	pthread_create(&thread, NULL, watch, r);
	lodge_space_run(r->space, &how, &err);
	pthread_mutex_lock(&r->lock);
	r->ended = 1;
	pthread_cond_signal(&r->done);
	pthread_mutex_unlock(&r->lock);
	pthread_join(thread, NULL);
	lodge_space_destroy(r->space);
}

/* One machine, some spaces in it after one another. */
static void run_host(uint64_t end, int null, const char *program)
{
	const struct lodge_host_options options = {.size = sizeof(options),
						   .memory_bytes = 512ull << 20,
						   .nodes = 1 + (unsigned int)below(2),
						   .kmem = (enum lodge_kmem)below(4),
						   .zero_ahead = (int)below(2),
						   .collapse = (int)below(2)};
	struct lodge_host *host;
	struct lodge_error err;

	if (lodge_host_open(&options, &host, &err))
		fail(err.text, 0, 0);
	for (int i = 0; i < 4 && now_ms() < end; i++) {
		struct round r = {.seed = state,
				  .ms = 200 + below(MAX_ROUND_MS),
				  .lock = PTHREAD_MUTEX_INITIALIZER,
				  .done = PTHREAD_COND_INITIALIZER};
		printf("seed %llu, %llu ms\n", (unsigned long long)r.seed, (unsigned long long)r.ms);
		fflush(stdout);
		run_space(host, &r, null, program);
		expect_secret();
	}
	uint64_t leaked = lodge_host_close(host);
	if (leaked)
		fail("frames leaked", (long)leaked, 0);
}

int main(int argc, char **argv)
{
	const char *guests = getenv("LODGE_GUESTS");
	uint64_t end = now_ms() + 1000 * (argc > 1 ? strtoull(argv[1], NULL, 0) : 10);
	char program[512];

	if (access("/dev/kvm", R_OK | W_OK)) {
		puts("no /dev/kvm: nothing was tried");
		return 0;
	}
	state = (argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL)) | 1;
	snprintf(program, sizeof(program), "%s/fuzz_syscalls", guests ? guests : "build/guest");
	make_world();
	const struct stat before[] = {stat_of(outside), stat_of(secret), stat_of(closed)};
	int null = open("/dev/null", O_RDWR);
	/* The first one may leave what belongs to the process: a sanitizer's thread, for one. */
	run_host(end, null, program);
	long fds = count("/proc/self/fd"), threads = count("/proc/self/task");
	while (now_ms() < end) {
		run_host(end, null, program);
		expect_count("/proc/self/fd", fds);
		expect_count("/proc/self/task", threads);
		expect_same(outside, &before[0]);
		expect_same(secret, &before[1]);
		expect_same(closed, &before[2]);
	}
	char remove[128];
	snprintf(remove, sizeof(remove), "rm -rf %s", base);
	return system(remove) ? 1 : 0;
}
