/* SPDX-License-Identifier: MIT */
/*
 * run.c - `lodge run`: one program, from options to exit status.
 *
 * Standard output belongs to the program alone; all that lodge says goes to stderr or to the file of --stats-
 * file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../include/lodge.h"
#include "command.h"
#include "message.h"
#include "options.h"
#include "progress.h"
#include "saver.h"
#include "terminal.h"
#include "watch.h"

/* One run, filled in step by step; everything is released by finish(). */
struct run {
	struct run_options options;
	struct mounts mounts;
	int fds[3]; /* for the program: 0, 1, 2, or -1 where the caller has it closed */
	const char **env;
	FILE *stats_file;
	struct terminal terminal;
	struct watch watch;
	struct saver saver;
	struct progress progress;
	struct lodge_host *host;
	struct lodge_space *space;
	int ran; /* nonzero: there is something to report on */
};

/*
 * A descriptor that the caller closed is closed for the program too. Its number must not fall to a file of
 * ours, or the program's output would go there: /dev/null holds the place.
 */
static int reserve_standard_fds(int fds[3])
{
	for (int fd = 0; fd < 3; fd++) {
		fds[fd] = fd;
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		fds[fd] = -1;
		if (open("/dev/null", O_RDWR | O_CLOEXEC) != fd)
			return -EBADF;
	}
	return 0;
}

static void log_line(void *ctx, const char *line)
{
	(void)ctx;
	message("%s", line);
}

static int open_stats_file(struct run *r)
{
	if (!r->options.stats_file)
		return 0;
	r->stats_file = fopen(r->options.stats_file, "we");
	if (r->stats_file)
		return 0;
	message("--stats-file %s: %s", r->options.stats_file, strerror(errno));
	return EXIT_LODGE;
}

/* What the host is to have besides memory. 0, or an exit status and the user has been told. */
static int add_disks(struct run *r)
{
	struct lodge_error err = {""};
	int ret = 0;

	for (const char **rule = r->options.inject; *rule && !ret; rule++)
		ret = lodge_host_inject(r->host, *rule, &err);
	for (unsigned int i = 0; i < r->options.nr_swaps && !ret; i++) {
		const struct swap_option *s = &r->options.swaps[i];
		ret = lodge_host_swapon(r->host, s->path, s->bytes, s->priority, &err);
	}
	if (!ret)
		ret = compress_option_apply(&r->options.compress, r->host, r->options.memory_bytes,
					    r->options.nr_swaps, &err);
	if (ret)
		message("%s", err.text);
	return ret ? EXIT_LODGE : 0;
}

static int create_space(struct run *r)
{
	const struct lodge_host_options host = {.size = sizeof(host),
						.nodes = r->options.nodes,
						.kmem = (enum lodge_kmem)r->options.kmem,
						.zero_ahead = r->options.zero_ahead,
						.collapse = r->options.collapse,
						.give_back_ms = r->options.give_back_ms};
	struct lodge_space_options opt;
	struct lodge_error err = {""};
	int ret = lodge_host_open(&host, &r->host, &err);

	if (ret < 0) {
		message("%s; see 'lodge doctor'", err.text[0] ? err.text : strerror(-ret));
		return EXIT_LODGE;
	}
	if (add_disks(r))
		return EXIT_LODGE;
	if (mounts_complete(&r->options.mounts, r->options.root, r->options.program[0], &r->mounts)) {
		message("out of memory");
		return EXIT_LODGE;
	}
	lodge_space_options_init(&opt);
	opt.memory_bytes = r->options.memory_bytes;
	opt.ignored_signals = watch_ignored(&r->watch);
	opt.memory_high_bytes = r->options.memory_high_bytes;
	opt.swappiness = r->options.swappiness;
	opt.fault_around_pages = r->options.fault_around_pages;
	opt.net = (enum lodge_net)r->options.net;
	opt.oom = (enum lodge_oom)r->options.oom;
	opt.thp = (enum lodge_thp)r->options.thp;
	opt.traps = (enum lodge_traps)r->options.traps;
	opt.patch = (enum lodge_patch)r->options.patch;
	opt.aslr = r->options.aslr;
	opt.max_pids = r->options.max_pids;
	opt.mounts = r->mounts.at;
	opt.nr_mounts = r->mounts.nr;
	opt.user = r->options.has_user ? r->options.user : NULL;
	opt.cwd = r->options.cwd;
	opt.hugepages = r->options.hugepages;
	opt.trace = r->options.trace;
	opt.log = log_line;
	/* Who has a terminal can continue it; who has set a time does not want it to stand still. */
	if (r->terminal.fd >= 0 && !r->options.timeout_ns) {
		opt.on_stop = watch_stop_lodge;
		opt.on_stop_ctx = &r->watch;
	}
	if (r->saver.request.call[0]) {
		opt.at_call = r->saver.request.call;
		opt.at_call_nth = r->saver.request.nth;
		opt.on_call = saver_at_call;
		opt.on_call_ctx = &r->saver;
	}
	memcpy(opt.fds, r->fds, sizeof(opt.fds));
	ret = lodge_space_create(r->host, &opt, &r->space, &err);
	if (ret < 0) {
		message("%s", err.text[0] ? err.text : strerror(-ret));
		return EXIT_LODGE;
	}
	return 0;
}

static int load_program(struct run *r)
{
	const char *const *argv = (const char *const *)r->options.program;
	struct lodge_error err = {""};
	int ret = lodge_space_load(r->space, argv[0], argv, r->env, &err);

	if (ret >= 0)
		return 0;
	message("%s", err.text[0] ? err.text : strerror(-ret));
	return ret == -ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_EXECUTE;
}

/* The exit status of a program that ran. */
static int status_of(const struct run *r, const struct lodge_exit *e)
{
	if (!e->signal)
		return e->status;
	if (r->watch.cause == WATCH_TIMEOUT && e->signal == SIGKILL) {
		message("timeout after %s s", r->options.timeout_text);
		return WATCH_TIMEOUT_STATUS;
	}
	return 128 + e->signal;
}

/* Loads and runs under the watch, so that neither can hang for ever. */
static int run_program(struct run *r)
{
	struct lodge_exit ended = {0};
	struct lodge_error err = {""};
	int status, ret;

	command_prepare_process();
	ret = watch_start(&r->watch, &r->space, 1, r->options.timeout_ns, r->options.grace_ns, &r->terminal);
	if (ret < 0) {
		message("cannot start the watch thread: %s", strerror(-ret));
		return EXIT_LODGE;
	}
	status = load_program(r);
	if (!status && saver_start(&r->saver, r->space))
		status = EXIT_LODGE;
	progress_start(&r->progress, r->space);
	ret = status ? 0 : lodge_space_run(r->space, &ended, &err);
	progress_end_of_run(&r->progress);
	saver_stop(&r->saver);
	watch_stop(&r->watch);
	terminal_restore(&r->terminal);
	if (status)
		return status;
	r->ran = ret >= 0 || ret == -ENOMEM;
	if (ret >= 0)
		return status_of(r, &ended);
	message("%s", err.text[0] ? err.text : strerror(-ret));
	return EXIT_LODGE;
}

/* An asked-for report that is not there is a failure of lodge, whatever the program returned. */
static int report(struct run *r, int status)
{
	int failed = 0;

	if (r->options.maps && lodge_space_maps(r->space, stderr) < 0)
		failed = 1;
	if (r->options.dump && lodge_space_dump(r->space, r->options.dump, stderr) < 0)
		failed = 1;
	if (r->options.stats &&
	    (lodge_space_report(r->space, stderr) < 0 || lodge_host_report(r->host, stderr) < 0))
		failed = 1;
	if (r->stats_file) {
		failed |= lodge_space_report_json(r->space, r->stats_file) < 0;
		failed |= fclose(r->stats_file) != 0;
		r->stats_file = NULL;
	}
	if (!failed)
		return status;
	message("cannot write the report: %s", strerror(errno));
	return EXIT_LODGE;
}

static void finish(struct run *r)
{
	if (r->stats_file)
		fclose(r->stats_file);
	lodge_space_destroy(r->space);
	lodge_host_close(r->host);
	progress_stop(&r->progress);
	free(r->env);
	mounts_free(&r->mounts);
	run_options_destroy(&r->options);
}

static int execute(struct run *r)
{
	int status = open_stats_file(r);

	if (status)
		return status;
	r->env = run_options_environment(&r->options);
	if (!r->env) {
		message("out of memory");
		return EXIT_LODGE;
	}
	terminal_save(&r->terminal);
	watch_block(&r->watch, r->options.saver.signo);
	r->saver.request = r->options.saver;
	saver_block(&r->saver);
	status = create_space(r);
	if (!status)
		status = run_program(r);
	/* From here on a signal ends lodge as it would any command, even if nobody reads the report. */
	watch_unblock(&r->watch);
	return r->ran ? report(r, status) : status;
}

int command_run(int argc, char **argv)
{
	struct run r = {0};
	int status;

	if (reserve_standard_fds(r.fds) < 0)
		return EXIT_LODGE;
	if (run_options_parse(&r.options, argc, argv) < 0) {
		status = EXIT_LODGE;
	} else if (r.options.help) {
		run_options_help(stdout);
		status = command_finish_output();
	} else if (r.options.version) {
		status = command_print_version();
	} else {
		status = execute(&r);
	}
	finish(&r);
	return status;
}
