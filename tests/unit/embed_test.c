/* SPDX-License-Identifier: MIT */
/* What a program that links the library sees: spaces that are short of memory, and what hosts have left when they close. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../include/lodge.h"
#include "../harness.h"

#define MEMORY (32ull << 20)

struct embedder {
	struct lodge_host *host;
	struct lodge_space *space;
	enum lodge_oom_answer answer; /* when it is asked */
	uint64_t give;		      /* this limit first, or 0 */
	unsigned int asked, lines;
	char last[256];
	int null, out[2]; /* the guest's output */
	const char *program;
	uint32_t max_pids;
	uint64_t memory;
};

static void keep_line(void *ctx, const char *line)
{
	struct embedder *e = ctx;

	__atomic_add_fetch(&e->lines, 1, __ATOMIC_RELAXED);
	strncpy(e->last, line, sizeof(e->last) - 1);
}

static enum lodge_oom_answer on_oom(void *ctx)
{
	struct embedder *e = ctx;
	struct lodge_stats stats;

	e->asked++;
	lodge_space_stats(e->space, &stats);
	assert_true(stats.usage_pages > stats.limit_pages / 2);
	if (e->give)
		assert_int_equal(lodge_space_set_memory(e->space, e->give), 0);
	return e->answer;
}

static int setup(void **state)
{
	struct embedder *e = calloc(1, sizeof(*e));

	*state = e;
	e->program = "oom_calls";
	e->memory = MEMORY;
	if (access("/dev/kvm", R_OK | W_OK))
		return 0;
	e->null = open("/dev/null", O_RDWR);
	assert_int_equal(pipe(e->out), 0);
	assert_int_equal(lodge_host_open(NULL, &e->host, NULL), 0);
	return 0;
}

static int teardown(void **state)
{
	struct embedder *e = *state;

	if (e->host) {
		close(e->null);
		close(e->out[0]);
		close(e->out[1]);
		lodge_space_destroy(e->space);
		assert_int_equal(lodge_host_close(e->host), 0);
	}
	free(e);
	return 0;
}

/* A space with a guest program that has one argument, or two. */
static void load(struct embedder *e, enum lodge_oom oom, const char *argument, const char *more)
{
	const char *guests = getenv("LODGE_GUESTS");
	struct lodge_space_options o;
	char path[512];

	if (!e->host)
		skip();
	snprintf(path, sizeof(path), "%s/%s", guests ? guests : "build/guest", e->program);
	lodge_space_options_init(&o);
	o.memory_bytes = e->memory;
	o.max_pids = e->max_pids;
	o.oom = oom;
	o.on_oom = on_oom;
	o.on_oom_ctx = e;
	o.fds[0] = o.fds[2] = e->null;
	o.fds[1] = e->out[1];
	o.log = keep_line;
	o.log_ctx = e;
	const char *const argv[] = {path, argument, more, NULL}, *const envp[] = {NULL};
	assert_int_equal(lodge_space_create(e->host, &o, &e->space, NULL), 0);
	assert_int_equal(lodge_space_load(e->space, path, argv, envp, NULL), 0);
}

/* What lodge_space_run returned. */
static int run(struct embedder *e, enum lodge_oom oom, const char *argument, struct lodge_exit *ended)
{
	load(e, oom, argument, NULL);
	return lodge_space_run(e->space, ended, NULL);
}

static void expect_output(struct embedder *e, const char *text)
{
	char buffer[256] = "";

	assert_int_equal(fcntl(e->out[0], F_SETFL, O_NONBLOCK), 0);
	ssize_t n = read(e->out[0], buffer, sizeof(buffer) - 1);
	assert_string_equal(n < 0 ? "" : buffer, text);
}

static void more_is_given(void **state)
{
	struct embedder *e = *state;
	struct lodge_exit ended;

	e->answer = LODGE_OOM_RETRY;
	e->give = 2 * MEMORY;
	assert_int_equal(run(e, LODGE_OOM_STOP, "read", &ended), 0);
	assert_int_equal(ended.signal, 0);
	assert_int_equal(ended.status, 0);
	assert_int_equal(e->asked, 1);
	assert_int_equal(e->lines, 0);
	expect_output(e, "read: all of it, and the child got 15\n"); /* SIGTERM, by its parent */
}

static void largest_is_killed(void **state)
{
	struct embedder *e = *state;
	struct lodge_exit ended;

	e->answer = LODGE_OOM_KILL_LARGEST;
	assert_int_equal(run(e, LODGE_OOM_STOP, "signal", &ended), 0);
	assert_int_equal(ended.status, 0);
	assert_int_equal(e->asked, 1);
	assert_int_equal(e->lines, 1);
	assert_non_null(strstr(e->last, "pages ends"));
	expect_output(e, "signal: all of it, and the child got 9\n");
}

static void all_end(void **state)
{
	struct embedder *e = *state;
	struct lodge_exit ended;

	e->answer = LODGE_OOM_END;
	assert_int_equal(run(e, LODGE_OOM_STOP, "futex", &ended), -ENOMEM);
	assert_int_equal(ended.signal, 9);
	assert_int_equal(e->asked, 1);
	expect_output(e, "");
}

static void others_do_not_ask(void **state)
{
	struct embedder *e = *state;
	struct lodge_exit ended;

	assert_int_equal(run(e, LODGE_OOM_KILL, "read", &ended), 0);
	assert_int_equal(e->asked, 0);
	assert_int_equal(e->lines, 1);
	assert_int_equal(lodge_space_set_memory(e->space, 4097), -EINVAL);
	assert_int_equal(lodge_space_set_memory(e->space, 4096), -EINVAL);
}

static void policies_are_checked(void **state)
{
	struct embedder *e = *state;
	struct lodge_space_options o;

	if (!e->host)
		skip();
	lodge_space_options_init(&o);
	o.oom = (enum lodge_oom)3;
	assert_int_equal(lodge_space_create(e->host, &o, &e->space, NULL), -EINVAL);
}

/* --- what is left ------------------------------------------------------------------------------------------------ */

static long entries(const char *directory)
{
	DIR *d = opendir(directory);
	long n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* A thread that was joined may be listed for a moment. */
static void assert_entries(const char *directory, long before)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	for (int i = 0; i < 2000 && entries(directory) != before; i++)
		nanosleep(&pause, NULL);
	assert_int_equal(entries(directory), before);
}

/* Kills the space as soon as it has said something. */
static void *kill_it(void *arg)
{
	struct embedder *e = arg;
	char text[256];

	if (read(e->out[0], text, sizeof(text) - 1) > 0)
		lodge_space_kill(e->space, SIGKILL);
	return NULL;
}

/* One bomb in a space of a host of its own: it is refused with this, killed or ends, and everything is as it was before. */
static void explode(struct embedder *e, const char *bomb, const char *more, const char *refused)
{
	long fds = entries("/proc/self/fd"), threads = entries("/proc/self/task");
	struct lodge_host *host = e->host;
	struct lodge_exit ended;
	pthread_t killer;

	if (!host)
		skip();
	e->program = "bombs";
	assert_int_equal(lodge_host_open(NULL, &e->host, NULL), 0);
	load(e, LODGE_OOM_KILL, bomb, more);
	if (!more)
		assert_int_equal(pthread_create(&killer, NULL, kill_it, e), 0);
	assert_int_equal(lodge_space_run(e->space, &ended, NULL), 0);
	if (!more)
		pthread_join(killer, NULL);
	else
		expect_output(e, refused);
	assert_int_equal(ended.signal, more ? 0 : SIGKILL);
	lodge_space_destroy(e->space);
	e->space = NULL;
	assert_int_equal(lodge_host_close(e->host), 0); /* frames with an owner */
	e->host = host;
	assert_entries("/proc/self/fd", fds);
	assert_entries("/proc/self/task", threads);
}

/* A host of before may have left what belongs to the process: a sanitizer's thread, for one. */
static void warm_up(struct embedder *e)
{
	struct lodge_exit ended;

	if (!e->host)
		skip();
	e->program = "bombs";
	e->max_pids = 8;
	load(e, LODGE_OOM_KILL, "forks", "end");
	assert_int_equal(lodge_space_run(e->space, &ended, NULL), 0);
	lodge_space_destroy(e->space);
	e->space = NULL;
	expect_output(e, "EAGAIN\n");
	assert_int_equal(fcntl(e->out[0], F_SETFL, 0), 0);
}

static void bombs_leave_nothing(void **state)
{
	static const struct {
		const char *bomb, *refused;
	} bombs[] = {{"forks", "EAGAIN\n"}, {"threads", "EAGAIN\n"}, {"tree", "told\n"}};
	struct embedder *e = *state;

	warm_up(e);
	e->max_pids = 24;
	e->memory = 64ull << 20;
	for (size_t i = 0; i < sizeof(bombs) / sizeof(bombs[0]); i++) {
		assert_int_equal(fcntl(e->out[0], F_SETFL, 0), 0);
		explode(e, bombs[i].bomb, NULL, NULL);
		explode(e, bombs[i].bomb, "end", bombs[i].refused);
	}
}

/* Whoever asks for more than there is goes one after the other: nothing of them stays. */
static void the_short_of_memory_leave_nothing(void **state)
{
	struct embedder *e = *state;

	warm_up(e);
	e->max_pids = 200;
	e->memory = 16ull << 20;
	explode(e, "files", "end", "95 EMFILE\n");
	assert_int_equal(fcntl(e->out[0], F_SETFL, 0), 0);
	e->max_pids = 0;
	e->program = "oom_calls";
	e->memory = MEMORY;
	long fds = entries("/proc/self/fd"), threads = entries("/proc/self/task");
	struct lodge_host *host = e->host;
	struct lodge_exit ended;
	assert_int_equal(lodge_host_open(NULL, &e->host, NULL), 0);
	assert_int_equal(run(e, LODGE_OOM_KILL, "read", &ended), 0);
	lodge_space_destroy(e->space);
	e->space = NULL;
	assert_int_equal(lodge_host_close(e->host), 0);
	e->host = host;
	assert_entries("/proc/self/fd", fds);
	assert_entries("/proc/self/task", threads);
}

#define T(title, fn)                        \
	{                                   \
		title, fn, setup, teardown, \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T("embed: a space that is out of memory goes on with more", more_is_given),
		T("embed: the largest process is killed when the embedder says so", largest_is_killed),
		T("embed: a space that is out of memory ends, and says so", all_end),
		T("embed: nobody is asked about a space that kills", others_do_not_ask),
		T("embed: an unknown policy is refused", policies_are_checked),
		T("embed: bombs are refused with EAGAIN, and leave no thread, descriptor or frame",
		  bombs_leave_nothing),
		T("embed: nor do those who ran out of memory or descriptors",
		  the_short_of_memory_leave_nothing),
	};

	return cmocka_run_group_tests_name("embed", tests, NULL, NULL);
}
