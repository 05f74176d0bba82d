/* SPDX-License-Identifier: MIT */
/*
 * restore.c - `lodge restore`: goes on from a snapshot, as the one program that it was or as many copies side by side.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../include/lodge.h"
#include "command.h"
#include "message.h"
#include "quantity.h"
#include "swap_option.h"
#include "terminal.h"
#include "watch.h"

#define MAX_CLONES 10000
#define MAX_LISTED 64

struct restore {
	const char *file;
	unsigned int clones; /* 0: the snapshot itself goes on */
	uint64_t memory_bytes;
	const char *rw[MAX_LISTED + 1];
	struct swap_option swap[MAX_LISTED];
	struct compress_option compress;
	const char *inject[MAX_LISTED];
	unsigned int nr_rw, nr_swaps, nr_inject;
	int stats;
	int pages;	     /* enum lodge_pages; -1: not said */
	uint64_t timeout_ns; /* 0: none */
	const char *timeout_text;
	struct lodge_host *host;
	struct lodge_space *space;
	struct terminal terminal;
	struct watch watch;
};

/* The thread that runs a clone. */
struct clone {
	struct lodge_space *space;
	pthread_t thread;
	struct lodge_exit ended;
	struct lodge_error err;
	int ret;
};

static int set_number(const char *arg, unsigned int *number)
{
	char *end;
	unsigned long n = strtoul(arg, &end, 10);

	if (*end || end == arg || !n || n > MAX_CLONES) {
		message("--clones '%s': not a number from 1 to %d", arg, MAX_CLONES);
		return -EINVAL;
	}
	*number = (unsigned int)n;
	return 0;
}

static int set_pages(const char *arg, int *pages)
{
	static const char *const names[] = {
		[LODGE_PAGES_AUTO] = "auto",	     [LODGE_PAGES_UFFD] = "uffd",
		[LODGE_PAGES_PREFETCH] = "prefetch", [LODGE_PAGES_LAZY] = "lazy",
		[LODGE_PAGES_EAGER] = "eager",	     [LODGE_PAGES_RECORD] = "record"};

	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(arg, names[i])) {
			*pages = (int)i;
			return 0;
		}
	message("--load '%s': must be auto, uffd, prefetch, lazy, eager or record", arg);
	return -EINVAL;
}

static int usage(void)
{
	message("usage: lodge restore [--clones N] [--load HOW] [--memory SIZE] [--rw DIR] [--swap FILE] "
		"[--swap-compress NAME[:SIZE]] [--timeout SECONDS] [--inject RULE] [--stats] FILE");
	return -EINVAL;
}

static int set_option(struct restore *r, int option, const char *arg)
{
	switch (option) {
	case 'c':
		return set_number(arg, &r->clones);
	case 'i':
		if (r->nr_inject == MAX_LISTED)
			return usage();
		r->inject[r->nr_inject++] = arg;
		return 0;
	case 'l':
		return set_pages(arg, &r->pages);
	case 'm':
		if (!quantity_bytes(arg, &r->memory_bytes))
			return 0;
		message("--memory '%s': not a size such as 512K, 64M or 2G", arg);
		return -EINVAL;
	case 'r':
		if (r->nr_rw == MAX_LISTED)
			return usage();
		r->rw[r->nr_rw++] = arg;
		return 0;
	case 's':
		if (r->nr_swaps < MAX_LISTED && !swap_option_parse(&r->swap[r->nr_swaps], arg)) {
			r->nr_swaps++;
			return 0;
		}
		message("--swap '%s': must be FILE, FILE:SIZE, FILE::PRIORITY or FILE:SIZE:PRIORITY", arg);
		return -EINVAL;
	case 't':
		r->timeout_text = arg;
		return watch_parse_timeout(arg, &r->timeout_ns);
	case 'z':
		return compress_option_parse(&r->compress, arg);
	case 'S':
		r->stats = 1;
		return 0;
	default:
		return usage();
	}
}

static int parse(struct restore *r, int argc, char **argv)
{
	static const struct option options[] = {
		{"clones", required_argument, NULL, 'c'},  {"inject", required_argument, NULL, 'i'},
		{"load", required_argument, NULL, 'l'},	   {"memory", required_argument, NULL, 'm'},
		{"rw", required_argument, NULL, 'r'},	   {"swap", required_argument, NULL, 's'},
		{"stats", no_argument, NULL, 'S'},	   {"swap-compress", required_argument, NULL, 'z'},
		{"timeout", required_argument, NULL, 't'}, {NULL, 0, NULL, 0},
	};
	int option, err = 0;

	opterr = 0;
	while (!err && (option = getopt_long(argc, argv, "", options, NULL)) != -1)
		err = set_option(r, option, optarg);
	if (!err && optind != argc - 1)
		err = usage();
	if (!err)
		r->file = argv[optind];
	return err;
}

static void log_line(void *ctx, const char *line)
{
	(void)ctx;
	message("%s", line);
}

static int open_all(struct restore *r, struct lodge_error *err)
{
	struct lodge_space_options o;
	int ret = lodge_host_open(NULL, &r->host, err);

	for (unsigned int i = 0; i < r->nr_swaps && !ret; i++)
		ret = lodge_host_swapon(r->host, r->swap[i].path, r->swap[i].bytes, r->swap[i].priority, err);
	for (unsigned int i = 0; i < r->nr_inject && !ret; i++)
		ret = lodge_host_inject(r->host, r->inject[i], err);
	if (!ret)
		ret = compress_option_apply(&r->compress, r->host, r->memory_bytes, r->nr_swaps, err);
	if (ret)
		return ret;
	lodge_space_options_init(&o);
	o.memory_bytes = r->memory_bytes;
	o.rw_dirs = r->rw;
	/* What is there before clones are made they share, with the tables that lead to it. */
	o.pages = r->pages >= 0 ? (enum lodge_pages)r->pages
		  : r->clones	? LODGE_PAGES_EAGER
				: LODGE_PAGES_AUTO;
	o.net = LODGE_NET_NONE;
	o.log = log_line;
	if (r->terminal.fd >= 0 && !r->timeout_ns) {
		o.on_stop = watch_stop_lodge;
		o.on_stop_ctx = &r->watch;
	}
	return lodge_snapshot_load(r->host, r->file, &o, &r->space, err);
}

static int status_of(const struct restore *r, const struct lodge_exit *e)
{
	bool timed_out = r->watch.cause == WATCH_TIMEOUT && e->signal == SIGKILL;

	if (timed_out)
		return WATCH_TIMEOUT_STATUS;
	return e->signal ? 128 + e->signal : e->status;
}

/* 0 or an exit status, having said why. */
static int start_watch(struct restore *r, struct lodge_space *const *spaces, unsigned int nr)
{
	int err = watch_start(&r->watch, spaces, nr, r->timeout_ns, WATCH_GRACE_NS, &r->terminal);

	if (err)
		message("cannot start the watch thread: %s", strerror(-err));
	return err ? EXIT_LODGE : 0;
}

static void stop_watch(struct restore *r)
{
	watch_stop(&r->watch);
	terminal_restore(&r->terminal);
	if (r->watch.cause == WATCH_TIMEOUT)
		message("timeout after %s s", r->timeout_text);
}

static void *run_clone(void *arg)
{
	struct clone *c = arg;

	c->ret = lodge_space_run(c->space, &c->ended, &c->err);
	return NULL;
}

/* Runs them side by side to their ends: how many have a thread. */
static unsigned int run_side_by_side(struct clone *c, unsigned int nr)
{
	unsigned int running = 0;

	while (running < nr && !pthread_create(&c[running].thread, NULL, run_clone, &c[running]))
		running++;
	for (unsigned int i = 0; i < running; i++)
		pthread_join(c[i].thread, NULL);
	return running;
}

/* The first status that is not 0. */
static int status_of_clones(const struct restore *r, const struct clone *c, unsigned int nr)
{
	int status = 0;

	for (unsigned int i = 0; i < nr; i++) {
		if (c[i].ret)
			message("%s", c[i].err.text);
		if (!status)
			status = c[i].ret ? EXIT_LODGE : status_of(r, &c[i].ended);
	}
	return status;
}

static int run_clones(struct restore *r)
{
	struct clone *c = calloc(r->clones, sizeof(*c));
	struct lodge_space **spaces = calloc(r->clones, sizeof(struct lodge_space *));
	struct lodge_error err = {"out of memory"};
	unsigned int nr = 0;
	int status = c && spaces ? 0 : EXIT_LODGE;

	for (; !status && nr < r->clones; nr += !status) {
		if (lodge_space_clone(r->space, NULL, &spaces[nr], &err))
			status = EXIT_LODGE;
		else
			c[nr].space = spaces[nr];
	}
	if (status)
		message("%s", err.text);
	else
		status = start_watch(r, spaces, nr);
	if (!status) {
		unsigned int ran = run_side_by_side(c, nr);
		stop_watch(r);
		status = status_of_clones(r, c, ran);
		if (ran < nr) {
			message("no thread for a clone");
			status = EXIT_LODGE;
		}
	}
	for (unsigned int i = 0; i < nr; i++)
		lodge_space_destroy(spaces[i]);
	free(spaces);
	free(c);
	return status;
}

static int run_itself(struct restore *r)
{
	struct lodge_exit ended = {0};
	struct lodge_error err = {""};

	if (start_watch(r, &r->space, 1))
		return EXIT_LODGE;
	int ret = lodge_space_run(r->space, &ended, &err);
	stop_watch(r);
	if (ret)
		message("%s", err.text[0] ? err.text : strerror(-ret));
	if (r->stats && (lodge_space_report(r->space, stderr) || lodge_host_report(r->host, stderr)))
		ret = -EIO;
	return ret ? EXIT_LODGE : status_of(r, &ended);
}

int command_restore(int argc, char **argv)
{
	struct restore r = {.pages = -1};
	struct lodge_error err = {""};
	int status = EXIT_LODGE;

	if (parse(&r, argc, argv))
		return EXIT_LODGE;
	terminal_save(&r.terminal);
	watch_block(&r.watch, 0);
	command_prepare_process();
	int ret = open_all(&r, &err);
	if (ret)
		message("%s", err.text[0] ? err.text : strerror(-ret));
	else
		status = r.clones ? run_clones(&r) : run_itself(&r);
	if (!ret && r.pages == LODGE_PAGES_RECORD && lodge_snapshot_save_order(r.space, &err)) {
		message("%s", err.text);
		status = EXIT_LODGE;
	}
	lodge_space_destroy(r.space);
	lodge_host_close(r.host);
	for (unsigned int i = 0; i < r.nr_swaps; i++)
		free(r.swap[i].path);
	return status;
}
