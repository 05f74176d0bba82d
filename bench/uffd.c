/* SPDX-License-Identifier: MIT */
/*
 * uffd.c - what it takes until a page is there that comes when it is touched, by windows of so much at once.
 *
 *	uffd uffd|lazy SET MIB	a restored program reads a word of each page: the image fills its frames by userfaultfd, or its own faults
 *				bring them; the image is in the machine's cache. Prints "WINDOW-THREADS ns", for a page
 *	uffd host SET MIB	the same touches by threads of the host, from a source that copies memory
 *
 * SET: narrow, windows of 4K, which is what one fault takes, 64K and 512K; wide, 2M and what comes by itself (lazy.h), which only
 * userfaultfd has; random, pages in no order, in the way that each has by itself.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../src/linux/space.h"
#include "../src/uffd/lazy.h"
#include "../src/vmm/vm.h"
#include "prog/clock.h"

struct window {
	const char *name;
	unsigned int pages; /* 0: what comes by itself */
};

static const struct set {
	const char *name, *order;
	int max_threads;
	struct window window[4]; /* up to one without a name */
} sets[] = {
	{"narrow", "rows", 2, {{"4K", 1}, {"64K", 16}, {"512K", 128}}},
	{"wide", "rows", 2, {{"2M", 512}, {"auto", 0}}},
	{"random", "random", 1, {{"random", 0}}},
};

static const char *mib;

/* --- guests ------------------------------------------------------------------------------------------ */

struct bench {
	struct lodge_host *host;
	struct lodge_space *space;
	int in[2], out[2];
	pthread_t thread;
	char image[32];
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
	o->memory_bytes = 1ull << 30;
	o->fds[0] = b->in[0];
	o->fds[1] = b->out[1];
}

/* One line of the program's. */
static int hear(struct bench *b, char *line, size_t bytes)
{
	size_t n = 0;

	while (n < bytes - 1 && (!n || line[n - 1] != '\n'))
		if (read(b->out[0], &line[n++], 1) != 1)
			return -1;
	line[n] = '\0';
	return 0;
}

/* Saves a program that is ready to read its memory. */
static int prepare(struct bench *b, const char *directory, const char *threads, const char *order)
{
	const char *const envp[] = {NULL};
	struct lodge_space_options o;
	char path[512], line[32];

	snprintf(path, sizeof(path), "%s/wake", directory);
	snprintf(b->image, sizeof(b->image), "/var/tmp/lodge-bench.XXXXXX");
	const char *const argv[] = {path, mib, threads, order, NULL};
	int fd = mkstemp(b->image);
	if (fd < 0 || close(fd) || pipe(b->in) || pipe(b->out) || lodge_host_open(NULL, &b->host, NULL))
		return -1;
	options_of(b, &o);
	if (lodge_space_create(b->host, &o, &b->space, NULL) ||
	    lodge_space_load(b->space, path, argv, envp, NULL) ||
	    pthread_create(&b->thread, NULL, run_main, b) || hear(b, line, sizeof(line)))
		return -1;
	int err = lodge_snapshot_save(b->space, b->image, NULL);
	lodge_space_kill(b->space, SIGKILL);
	pthread_join(b->thread, NULL);
	lodge_space_destroy(b->space);
	lodge_host_close(b->host);
	b->host = NULL;
	return err;
}

static int set_window(struct bench *b, enum lodge_pages way, unsigned int pages)
{
	struct arena *a = &b->host->arena;
	const struct lazy_setup setup = {.base = a->base, .bytes = a->reserved_bytes, .window_pages = pages};
	const char *why = "";
	struct lazy *lazy;

	if (way == LODGE_PAGES_LAZY) {
		if (pages)
			atomic_store(&vm_mm_host(b->host->vm)->swap.around_pages, pages);
		return 0;
	}
	if (lazy_create(&setup, &lazy, &why)) {
		fprintf(stderr, "uffd: %s\n", why);
		return -1;
	}
	atomic_store(&a->lazy, lazy);
	return 0;
}

static int restore_once(struct bench *b, enum lodge_pages way, unsigned int pages, double *ns)
{
	struct lodge_space_options o;
	struct lodge_exit ended = {0};
	char line[32];

	if (lodge_host_open(NULL, &b->host, NULL) || set_window(b, way, pages))
		return -1;
	options_of(b, &o);
	o.pages = way;
	if (write(b->in[1], "x", 1) != 1 || lodge_snapshot_load(b->host, b->image, &o, &b->space, NULL) ||
	    lodge_space_run(b->space, &ended, NULL) || ended.status || hear(b, line, sizeof(line)))
		return -1;
	*ns = strtod(line, NULL);
	lodge_space_destroy(b->space);
	lodge_host_close(b->host);
	return 0;
}

static void close_pipes(struct bench *b)
{
	unlink(b->image);
	close(b->in[0]);
	close(b->in[1]);
	close(b->out[0]);
	close(b->out[1]);
}

static int guest_windows(const char *directory, enum lodge_pages way, const struct set *set,
			 const char *threads)
{
	struct bench b = {0};
	int err = prepare(&b, directory, threads, set->order);
	double ns;

	for (const struct window *w = set->window; w->name && !err; w++) {
		err = restore_once(&b, way, w->pages, &ns);
		if (!err)
			printf("%s-%s %.1f\n", w->name, threads, ns);
	}
	close_pipes(&b);
	return err;
}

static int guest(const char *directory, enum lodge_pages way, const struct set *set)
{
	int err = guest_windows(directory, way, set, "1");

	return err || set->max_threads == 1 ? err : guest_windows(directory, way, set, "2");
}

/* --- the host --------------------------------------------------------------------------------------- */

static char *contents, *base;
static uint64_t nr_pages;

static int copy_pages(struct lazy_source *s, uint64_t first, unsigned int nr, char *to, unsigned int *right)
{
	(void)s;
	memcpy(to, contents + first * PAGE_SIZE, (size_t)nr * PAGE_SIZE);
	*right = nr;
	return 0;
}

static void nothing(struct lazy_source *s)
{
	(void)s;
}

static const struct lazy_source_ops ops = {.read = copy_pages, .failed = nothing, .release = nothing};

struct share {
	uint64_t first, end;
};

static void *touch(void *arg)
{
	const struct share *s = arg;

	for (uint64_t i = s->first; i < s->end; i++)
		(void)*(volatile char *)(base + i * PAGE_SIZE);
	return NULL;
}

static double touch_all(unsigned int threads)
{
	struct share share[2];
	pthread_t thread;
	uint64_t begin = clock_now_ns();

	for (unsigned int i = 0; i < threads; i++)
		share[i] = (struct share){nr_pages * i / threads, nr_pages * (i + 1) / threads};
	bool both = threads == 2 && !pthread_create(&thread, NULL, touch, &share[1]);
	touch(&share[0]);
	if (both)
		pthread_join(thread, NULL);
	return (double)(clock_now_ns() - begin) / (double)nr_pages;
}

static int host_once(unsigned int pages, unsigned int threads, double *ns)
{
	const struct lazy_setup setup = {.base = base, .bytes = nr_pages * PAGE_SIZE, .window_pages = pages};
	struct lazy_source source;
	const char *why = "";
	struct lazy *lazy;
	int err = 0;

	if (lazy_create(&setup, &lazy, &why)) {
		fprintf(stderr, "uffd: %s\n", why);
		return -1;
	}
	lazy_source_init(lazy, &source, &ops);
	for (uint64_t i = 0; i < nr_pages && !err; i += LAZY_BLOCK_PAGES)
		err = lazy_arm(&source, base + i * PAGE_SIZE, i);
	*ns = err ? 0 : touch_all(threads);
	supply_put(&source.supply);
	lazy_destroy(lazy);
	return err;
}

static char *map_block(uint64_t bytes)
{
	char *at = mmap(NULL, bytes + PMD_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return at == MAP_FAILED ? NULL : (char *)(((uintptr_t)at + PMD_SIZE - 1) & PMD_MASK);
}

static int host(const struct set *set)
{
	double ns;

	nr_pages = strtoul(mib, NULL, 10) << 20 >> PAGE_SHIFT;
	contents = map_block(nr_pages * PAGE_SIZE);
	base = map_block(nr_pages * PAGE_SIZE);
	if (!contents || !base)
		return -1;
	memset(contents, 1, nr_pages * PAGE_SIZE);
	for (unsigned int threads = 1; threads <= 2; threads++)
		for (const struct window *w = set->window; w->name; w++) {
			if (host_once(w->pages, threads, &ns))
				return -1;
			printf("%s-%u %.1f\n", w->name, threads, ns);
		}
	return 0;
}

static const struct set *set_of(const char *name)
{
	for (unsigned int i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
		if (!strcmp(sets[i].name, name))
			return &sets[i];
	return NULL;
}

int main(int argc, char **argv)
{
	const struct set *set = argc == 4 ? set_of(argv[2]) : NULL;
	char self[512] = "";
	int err;

	if (!set || readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return 2;
	*strrchr(self, '/') = '\0';
	mib = argv[3];
	if (!strcmp(argv[1], "host"))
		err = host(set);
	else
		err = guest(self, strcmp(argv[1], "uffd") ? LODGE_PAGES_LAZY : LODGE_PAGES_UFFD, set);
	if (err)
		fputs("uffd: failed, or memory that changed\n", stderr);
	return err ? 1 : 0;
}
