/* SPDX-License-Identifier: MIT */
/* spaces.h - spaces that run a guest program on threads of their own, for tests of what is copied from them. */
#ifndef LODGE_TESTS_SPACES_H
#define LODGE_TESTS_SPACES_H

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "../../include/lodge.h"
#include "../harness.h"

#define MEMORY	    (256ull << 20)
#define LINE_BYTES  256
#define SHARE_LINE  "value 6a87bd2246b6c418 after 4500 turns, 3 children\n" /* of snap_work share 3 1500 */
/* Processes that wait for each other, by --traps=poll, on a machine whose cores are taken: minutes. */
#define PATIENCE_MS 300000

/* The thread that runs a space, and how that ended. A test that fails leaves its own variables behind, but not this. */
struct course {
	struct course *next;
	struct lodge_space *space;
	pthread_t thread;
	struct lodge_exit ended;
	int ret;
	_Atomic bool over;
};

/* A space, and the other ends of its input and output. */
struct run {
	struct lodge_space *space;
	struct course *course; /* NULL: it does not run */
	int fds[3], in, out;
};

static struct lodge_host *host;
static struct course *courses; /* that nobody has joined */

static inline int setup(void **state)
{
	(void)state;
	if (!access("/dev/kvm", R_OK | W_OK))
		assert_int_equal(lodge_host_open(NULL, &host, NULL), 0);
	return 0;
}

/* --- threads of spaces ----------------------------------------------------------------------------- */

static inline void *course_main(void *arg)
{
	struct course *c = arg;

	c->ret = lodge_space_run(c->space, &c->ended, NULL);
	atomic_store(&c->over, true);
	return NULL;
}

static inline struct course *course_start(struct lodge_space *space)
{
	struct course *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	c->space = space;
	assert_int_equal(pthread_create(&c->thread, NULL, course_main, c), 0);
	c->next = courses;
	courses = c;
	return c;
}

static inline void course_join(struct course *c)
{
	struct course **at = &courses;

	assert_int_equal(pthread_join(c->thread, NULL), 0);
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
}

/* A machine must not go while somebody runs on it; where one does, his test has failed. */
static inline int teardown(void **state)
{
	(void)state;
	while (courses) {
		struct course *c = courses;
		print_error("# a space still runs, and is ended\n");
		lodge_space_kill(c->space, SIGKILL);
		course_join(c);
		lodge_space_destroy(c->space);
		free(c);
	}
	if (host)
		assert_int_equal(lodge_host_close(host), 0);
	host = NULL;
	return 0;
}

/* --- spaces that run ------------------------------------------------------------------------------- */

static inline void open_pipes(struct run *r)
{
	int in[2], out[2];

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	r->fds[0] = in[0];
	r->in = in[1];
	r->out = out[0];
	r->fds[1] = r->fds[2] = out[1];
}

/* As the command has it: $LODGE_TRAPS. */
static inline enum lodge_traps traps_wanted(void)
{
	const char *how = getenv("LODGE_TRAPS");

	if (how && !strcmp(how, "poll"))
		return LODGE_TRAPS_POLL;
	return how && !strcmp(how, "exit") ? LODGE_TRAPS_EXIT : LODGE_TRAPS_AUTO;
}

static inline void create(struct run *r, const char *const *words)
{
	const char *guests = getenv("LODGE_GUESTS"), *argv[8] = {NULL}, *const envp[] = {NULL};
	struct lodge_space_options o;
	char path[512];

	if (!host)
		skip();
	snprintf(path, sizeof(path), "%s/snap_work", guests ? guests : "build/guest");
	argv[0] = path;
	for (int i = 0; words[i]; i++)
		argv[i + 1] = words[i];
	open_pipes(r);
	lodge_space_options_init(&o);
	o.traps = traps_wanted();
	o.memory_bytes = MEMORY;
	memcpy(o.fds, r->fds, sizeof(o.fds));
	assert_int_equal(lodge_space_create(host, &o, &r->space, NULL), 0);
	assert_int_equal(lodge_space_load(r->space, path, argv, envp, NULL), 0);
}

static inline void start(struct run *r)
{
	r->course = course_start(r->space);
}

/* How it ends. */
static inline struct lodge_exit end_of(struct run *r)
{
	course_join(r->course);
	struct course c = *r->course;
	free(r->course);
	r->course = NULL;
	assert_int_equal(c.ret, 0);
	return c.ended;
}

static inline void join(struct run *r)
{
	struct lodge_exit ended = end_of(r);

	assert_int_equal(ended.signal, 0);
	assert_int_equal(ended.status, 0);
}

static inline void destroy(struct run *r)
{
	if (r->course)
		join(r);
	lodge_space_destroy(r->space);
	close(r->fds[0]);
	close(r->fds[1]);
	close(r->in);
	close(r->out);
}

static inline void say(struct run *r, const char *line)
{
	assert_int_equal(write(r->in, line, strlen(line)), strlen(line));
}

static inline void hear(struct run *r, const char *expected)
{
	struct pollfd p = {.fd = r->out, .events = POLLIN};
	char line[LINE_BYTES] = "";
	size_t n = 0;

	while (n < sizeof(line) - 1 && (!n || line[n - 1] != '\n')) {
		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		assert_int_equal(read(r->out, line + n++, 1), 1);
	}
	assert_string_equal(line, expected);
}

static inline void clone_of(struct run *clone, struct run *r)
{
	struct lodge_error err = {""};

	open_pipes(clone);
	int ret = lodge_space_clone(r->space, clone->fds, &clone->space, &err);
	if (ret)
		print_error("# clone: %d %s\n", ret, err.text);
	assert_int_equal(ret, 0);
}

static inline void talk(struct run *r, const char *mib)
{
	const char *const words[] = {"talk", mib, NULL};

	create(r, words);
	start(r);
	hear(r, "ready\n");
}

static inline void quit(struct run *r)
{
	say(r, "q\n");
	join(r);
	destroy(r);
}

#endif
