/* SPDX-License-Identifier: MIT */
/* What a program that links the library sees: spaces that are short of memory, and what hosts have left when they close. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
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

/* Runs a guest program of that name with one argument. What lodge_space_run returned. */
static int run(struct embedder *e, enum lodge_oom oom, const char *argument, struct lodge_exit *ended)
{
	const char *guests = getenv("LODGE_GUESTS");
	struct lodge_space_options o;
	char path[512];

	if (!e->host)
		skip();
	snprintf(path, sizeof(path), "%s/oom_calls", guests ? guests : "build/guest");
	lodge_space_options_init(&o);
	o.memory_bytes = MEMORY;
	o.oom = oom;
	o.on_oom = on_oom;
	o.on_oom_ctx = e;
	o.fds[0] = o.fds[2] = e->null;
	o.fds[1] = e->out[1];
	o.log = keep_line;
	o.log_ctx = e;
	const char *const argv[] = {path, argument, NULL}, *const envp[] = {NULL};
	assert_int_equal(lodge_space_create(e->host, &o, &e->space, NULL), 0);
	assert_int_equal(lodge_space_load(e->space, path, argv, envp, NULL), 0);
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
	};

	return cmocka_run_group_tests_name("embed", tests, NULL, NULL);
}
