/* SPDX-License-Identifier: MIT */
/*
 * snapshot.c - `lodge snapshot`: describes a snapshot, or asks a run for one; `lodge restore`: goes on from one.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../include/lodge.h"
#include "command.h"
#include "message.h"
#include "quantity.h"
#include "saver.h"
#include "swap_option.h"

#define MAX_CLONES 10000
#define MAX_LISTED 64

/* --- lodge snapshot ----------------------------------------------------------------------------------- */

static int info(const char *path)
{
	struct lodge_error err = {""};
	int ret = lodge_snapshot_info(path, stdout, &err);

	if (!ret)
		return command_finish_output();
	message("%s", err.text[0] ? err.text : strerror(-ret));
	return EXIT_LODGE;
}

/* An absolute path for who has another working directory. 0 or -errno. */
static int absolute(const char *path, char *out, size_t bytes)
{
	char here[SAVER_PACKET_BYTES / 2] = "";

	if (*path != '/' && !getcwd(here, sizeof(here)))
		return -errno;
	int n = snprintf(out, bytes, "%s%s%s", here, *path == '/' ? "" : "/", path);
	return n < 0 || (size_t)n >= bytes ? -ENAMETOOLONG : 0;
}

static int ask(int fd, const char *path, char *answer, size_t bytes)
{
	char text[SAVER_PACKET_BYTES];
	int err = absolute(path, text, sizeof(text));

	if (err)
		return err;
	if (send(fd, text, strlen(text) + 1, MSG_NOSIGNAL) < 0)
		return -errno;
	ssize_t n = recv(fd, answer, bytes - 1, 0);
	if (n < 0)
		return -errno;
	answer[n] = '\0';
	return n ? 0 : -ECONNRESET;
}

static int request(const char *control, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char answer[512] = "";
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), err = -ENAMETOOLONG;

	if (strlen(control) < sizeof(address.sun_path)) {
		strcpy(address.sun_path, control);
		err = connect(fd, (struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
	}
	if (!err)
		err = ask(fd, path, answer, sizeof(answer));
	close(fd);
	if (err)
		message("%s: %s", control, strerror(-err));
	else if (answer[0])
		message("%s", answer);
	return err || answer[0] ? EXIT_LODGE : 0;
}

int command_snapshot(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "info"))
		return info(argv[2]);
	if (argc == 3)
		return request(argv[1], argv[2]);
	message("usage: lodge snapshot info FILE, or lodge snapshot SOCKET FILE");
	return EXIT_LODGE;
}

/* --- lodge restore ------------------------------------------------------------------------------------- */

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
	int pages; /* enum lodge_pages; -1: not said */
	struct lodge_host *host;
	struct lodge_space *space;
};

/* One clone and the thread that runs it. */
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
		"[--swap-compress NAME[:SIZE]] [--inject RULE] [--stats] FILE");
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
		{"clones", required_argument, NULL, 'c'},
		{"inject", required_argument, NULL, 'i'},
		{"load", required_argument, NULL, 'l'},
		{"memory", required_argument, NULL, 'm'},
		{"rw", required_argument, NULL, 'r'},
		{"swap", required_argument, NULL, 's'},
		{"stats", no_argument, NULL, 'S'},
		{"swap-compress", required_argument, NULL, 'z'},
		{NULL, 0, NULL, 0},
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
	return lodge_snapshot_load(r->host, r->file, &o, &r->space, err);
}

static int status_of(const struct lodge_exit *e)
{
	return e->signal ? 128 + e->signal : e->status;
}

static void *run_clone(void *arg)
{
	struct clone *c = arg;

	c->ret = lodge_space_run(c->space, &c->ended, &c->err);
	return NULL;
}

/* The first status that is not 0. */
static int finish_clones(struct clone *c, unsigned int nr)
{
	int status = 0;

	for (unsigned int i = 0; i < nr; i++) {
		pthread_join(c[i].thread, NULL);
		if (c[i].ret)
			message("%s", c[i].err.text);
		if (!status)
			status = c[i].ret ? EXIT_LODGE : status_of(&c[i].ended);
		lodge_space_destroy(c[i].space);
	}
	return status;
}

static int run_clones(struct restore *r)
{
	struct clone *c = calloc(r->clones, sizeof(*c));
	struct lodge_error err = {"out of memory"};
	unsigned int nr = 0;
	int ret = c ? 0 : -ENOMEM;

	while (!ret && nr < r->clones) {
		ret = lodge_space_clone(r->space, NULL, &c[nr].space, &err);
		if (!ret && pthread_create(&c[nr].thread, NULL, run_clone, &c[nr])) {
			lodge_space_destroy(c[nr].space);
			snprintf(err.text, sizeof(err.text), "no thread for a clone");
			ret = -EAGAIN;
		}
		nr += !ret;
	}
	if (ret)
		message("%s", err.text);
	int status = finish_clones(c, nr);
	free(c);
	return ret ? EXIT_LODGE : status;
}

static int run_itself(struct restore *r)
{
	struct lodge_exit ended = {0};
	struct lodge_error err = {""};
	int ret = lodge_space_run(r->space, &ended, &err);

	if (ret)
		message("%s", err.text[0] ? err.text : strerror(-ret));
	if (r->stats && (lodge_space_report(r->space, stderr) || lodge_host_report(r->host, stderr)))
		ret = -EIO;
	return ret ? EXIT_LODGE : status_of(&ended);
}

int command_restore(int argc, char **argv)
{
	struct restore r = {.pages = -1};
	struct lodge_error err = {""};
	int status = EXIT_LODGE;

	if (parse(&r, argc, argv))
		return EXIT_LODGE;
	signal(SIGXFSZ, SIG_IGN);
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
