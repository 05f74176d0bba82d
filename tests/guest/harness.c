/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NR_BUFFERS 8
#define MAX_OUTPUT (64u << 20)

/*
 * --- paths
 * ------------------------------------------------------------------------------------------------------
 */

const char *lodge_path(void)
{
	const char *path = getenv("LODGE");

	return path ? path : "build/lodge";
}

static char *next_buffer(void)
{
	static char buffers[NR_BUFFERS][512];
	static unsigned int turn;

	return buffers[turn++ % NR_BUFFERS];
}

const char *guest_path(const char *name)
{
	const char *dir = getenv("LODGE_GUESTS");
	char *path = next_buffer();

	snprintf(path, 512, "%s/%s", dir ? dir : "build/guest", name);
	return path;
}

static char scratch[64];

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void remove_scratch(void)
{
	nftw(scratch, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *scratch_dir(void)
{
	if (!scratch[0]) {
		strcpy(scratch, "/var/tmp/lodge-test-XXXXXX");
		if (!mkdtemp(scratch))
			fail_msg("mkdtemp: %s", strerror(errno));
		chmod(scratch, 0755);
		atexit(remove_scratch);
	}
	return scratch;
}

const char *scratch_path(const char *name)
{
	char *path = next_buffer();

	snprintf(path, 512, "%s/%s", scratch_dir(), name);
	return path;
}

void write_file(const char *path, const void *bytes, size_t n, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, bytes, n) != (ssize_t)n || fchmod(fd, mode))
		fail_msg("cannot write %s: %s", path, strerror(errno));
	close(fd);
}

/*
 * --- captured output
 * --------------------------------------------------------------------------------------------
 */

/*
 * Everything from fd up to its end; MAX_OUTPUT bytes are kept, since a guest can make its stdout as long as
 * it likes.
 */
static char *slurp(int fd, size_t *bytes)
{
	size_t room = 1 << 16, used = 0;
	char *text = malloc(room + 1);
	ssize_t n;

	while (text && (n = read(fd, text + used, room - used)) != 0) {
		if (n < 0 && errno != EINTR)
			break;
		used += n > 0 ? (size_t)n : 0;
		if (used > MAX_OUTPUT)
			break;
		if (used == room)
			text = realloc(text, (room *= 2) + 1);
	}
	if (!text)
		fail_msg("out of memory");
	text[used] = 0;
	*bytes = used;
	return text;
}

char *read_file(const char *path, size_t *bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text;

	if (fd < 0)
		return NULL;
	text = slurp(fd, bytes);
	close(fd);
	return text;
}

static char *slurp_memfd(int fd, size_t *bytes)
{
	char *text;

	lseek(fd, 0, SEEK_SET);
	text = slurp(fd, bytes);
	close(fd);
	return text;
}

void outcome_free(struct outcome *o)
{
	free(o->out);
	free(o->err);
	o->out = o->err = NULL;
}

/*
 * --- commands
 * ---------------------------------------------------------------------------------------------------
 */

static int open_input(const struct command *c)
{
	size_t bytes = c->input_bytes ? c->input_bytes : c->input ? strlen(c->input) : 0;
	int fd;

	if (!c->input)
		return open("/dev/null", O_RDONLY | O_CLOEXEC);
	fd = memfd_create("input", MFD_CLOEXEC);
	if (fd < 0 || write(fd, c->input, bytes) != (ssize_t)bytes)
		fail_msg("cannot make the input: %s", strerror(errno));
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static pid_t spawn(const struct command *c, int in, int out, int err)
{
	pid_t pid;

	/* Made by the parent, or each child that asks would make its own. */
	scratch_dir();
	pid = fork();
	if (pid < 0)
		fail_msg("fork: %s", strerror(errno));
	if (pid)
		return pid;
	signal(SIGPIPE, SIG_DFL);
	dup2(in, 0);
	dup2(out, 1);
	dup2(err, 2);
	if (c->in_child)
		c->in_child(c->arg);
	execvp(c->argv[0], (char *const *)c->argv);
	dprintf(2, "cannot execute %s: %s\n", c->argv[0], strerror(errno));
	_exit(126);
}

/* Waits at most limit_s, then kills: an outcome with signal SIGKILL fails every expectation of the tests. */
static void reap(pid_t pid, int limit_s, struct outcome *o)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), status;
	struct pollfd p = {pidfd, POLLIN, 0};

	if (poll(&p, 1, (limit_s ? limit_s : DEFAULT_LIMIT_S) * 1000) == 0) {
		print_error("killed after %d s: it hangs\n", limit_s ? limit_s : DEFAULT_LIMIT_S);
		kill(pid, SIGKILL);
	}
	close(pidfd);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	o->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	o->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

struct outcome command_run(const struct command *c)
{
	int in = open_input(c), out = memfd_create("out", MFD_CLOEXEC),
	    err = memfd_create("err", MFD_CLOEXEC);
	struct outcome o;

	reap(spawn(c, in, out, err), c->limit_s, &o);
	o.out = slurp_memfd(out, &o.out_bytes);
	o.err = slurp_memfd(err, &o.err_bytes);
	close(in);
	return o;
}

struct running command_start(const struct command *c)
{
	int in[2], out[2], err[2];
	struct running r;

	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		fail_msg("pipe: %s", strerror(errno));
	r = (struct running){spawn(c, in[0], out[1], err[1]), in[1], out[0], err[0]};
	close(in[0]);
	close(out[1]);
	close(err[1]);
	return r;
}

struct outcome command_wait(struct running *r, int limit_s)
{
	struct outcome o;

	reap(r->pid, limit_s, &o);
	o.out = slurp(r->out, &o.out_bytes);
	o.err = slurp(r->err, &o.err_bytes);
	close(r->in);
	close(r->out);
	close(r->err);
	return o;
}

void command_expect(struct running *r, const char *text)
{
	struct pollfd p = {r->out, POLLIN, 0};
	char seen[4096];
	size_t used = 0;
	ssize_t n;

	while (used < sizeof(seen) - 1) {
		if (poll(&p, 1, DEFAULT_LIMIT_S * 1000) <= 0)
			break;
		n = read(r->out, seen + used, sizeof(seen) - 1 - used);
		if (n <= 0)
			break;
		used += (size_t)n;
		seen[used] = 0;
		if (strstr(seen, text))
			return;
	}
	kill(r->pid, SIGKILL);
	fail_msg("never said '%s'", text);
}

void command_add(struct command *c, const char *word)
{
	size_t n = 0;

	while (c->argv[n])
		n++;
	if (n == MAX_WORDS - 1)
		fail_msg("too many words");
	c->argv[n] = word;
}

static void add_all(struct command *c, const char *word, va_list ap)
{
	for (; word; word = va_arg(ap, const char *))
		command_add(c, word);
}

struct command lodge_command(const char *word, ...)
{
	struct command c = {.argv = {lodge_path(), "run"}};
	va_list ap;

	va_start(ap, word);
	add_all(&c, word, ap);
	va_end(ap);
	return c;
}

struct outcome lodge_run(const char *word, ...)
{
	struct command c = {.argv = {lodge_path(), "run"}};
	va_list ap;

	va_start(ap, word);
	add_all(&c, word, ap);
	va_end(ap);
	return command_run(&c);
}

struct outcome native_run(const char *word, ...)
{
	struct command c = {0};
	va_list ap;

	va_start(ap, word);
	add_all(&c, word, ap);
	va_end(ap);
	return command_run(&c);
}

char *outcome_part(const char *text, const char *title)
{
	char line[512];
	const char *from, *to;

	snprintf(line, sizeof(line), "== %s\n", title);
	from = !strncmp(text, line, strlen(line)) ? text : NULL;
	for (const char *at = text; !from && (at = strstr(at, "\n== ")); at++)
		if (!strncmp(at + 1, line, strlen(line)))
			from = at + 1;
	if (!from)
		return NULL;
	from += strlen(line);
	to = !strncmp(from, "== ", 3) ? from : strstr(from, "\n== ");
	return to ? strndup(from, (size_t)(to - from)) : strdup(from);
}

/*
 * --- expectations
 * -----------------------------------------------------------------------------------------------
 */

static void show(const struct outcome *o)
{
	print_error("status %d signal %d\nstdout: %.800s\nstderr: %.1600s\n", o->status, o->signal, o->out,
		    o->err);
}

void expect_status(const struct outcome *o, int status)
{
	if (o->status == status)
		return;
	show(o);
	fail_msg("exit status %d, expected %d", o->status, status);
}

void expect_refused(const struct outcome *o, int status)
{
	const char *newline = strchr(o->err, '\n');

	expect_status(o, status);
	if (o->out_bytes || strncmp(o->err, "lodge: ", 7) || !newline || newline[1]) {
		show(o);
		fail_msg("not refused by a single line");
	}
}

/* Removes lodge's own lines. */
static void strip_lodge_lines(char *text)
{
	char *to = text;

	while (*text) {
		char *newline = strchr(text, '\n');
		size_t bytes = newline ? (size_t)(newline - text) + 1 : strlen(text);

		if (strncmp(text, "lodge: ", 7)) {
			memmove(to, text, bytes);
			to += bytes;
		}
		text += bytes;
	}
	*to = 0;
}

/* Where the outputs part, a little of each. */
static void show_difference(const struct outcome *native, const struct outcome *lodge)
{
	size_t at = 0;

	while (at < native->out_bytes && at < lodge->out_bytes && native->out[at] == lodge->out[at])
		at++;
	print_error("natively: status %d signal %d, %zu bytes\nunder lodge: status %d signal %d, %zu bytes\n",
		    native->status, native->signal, native->out_bytes, lodge->status, lodge->signal,
		    lodge->out_bytes);
	print_error("at byte %zu natively: %.100s\nat byte %zu under lodge: %.100s\n", at, native->out + at,
		    at, lodge->out + at);
	print_error("stderr natively: %.800s\nstderr under lodge: %.1600s\n", native->err, lodge->err);
}

void expect_same(const struct outcome *native, const struct outcome *lodge)
{
	char *err = strdup(lodge->err);
	bool same;

	strip_lodge_lines(err);
	same = native->out_bytes == lodge->out_bytes && !memcmp(native->out, lodge->out, native->out_bytes) &&
	       !strcmp(native->err, err) &&
	       lodge->status == (native->signal ? 128 + native->signal : native->status);
	free(err);
	if (same)
		return;
	show_difference(native, lodge);
	fail_msg("not the same");
}

/*
 * --- JSON (RFC 8259), recognised, not kept
 * ----------------------------------------------------------------------
 */

static bool json_value(const char **p);

static void json_blank(const char **p)
{
	*p += strspn(*p, " \t\r\n");
}

static bool json_char(const char **p, char c)
{
	json_blank(p);
	if (**p != c)
		return false;
	(*p)++;
	return true;
}

static bool json_string(const char **p)
{
	if (!json_char(p, '"'))
		return false;
	for (; **p != '"'; (*p)++) {
		if ((unsigned char)**p < ' ')
			return false;
		if (**p == '\\' && !strchr("\"\\/bfnrtu", *++*p))
			return false;
	}
	(*p)++;
	return true;
}

static bool json_number(const char **p)
{
	char *end;
	bool ok = **p == '-' ? isdigit((unsigned char)(*p)[1]) : isdigit((unsigned char)**p);

	strtod(*p, &end);
	*p = end;
	return ok;
}

/* After the opening bracket: members up to the closing one. */
static bool json_members(const char **p, char close, bool named)
{
	if (json_char(p, close))
		return true;
	do {
		if (named && (!json_string(p) || !json_char(p, ':')))
			return false;
		if (!json_value(p))
			return false;
	} while (json_char(p, ','));
	return json_char(p, close);
}

static bool json_value(const char **p)
{
	static const char *const words[] = {"true", "false", "null"};

	json_blank(p);
	if (json_char(p, '{'))
		return json_members(p, '}', true);
	if (json_char(p, '['))
		return json_members(p, ']', false);
	if (**p == '"')
		return json_string(p);
	for (size_t i = 0; i < 3; i++)
		if (!strncmp(*p, words[i], strlen(words[i]))) {
			*p += strlen(words[i]);
			return true;
		}
	return json_number(p);
}

bool json_valid(const char *text)
{
	if (!json_value(&text))
		return false;
	json_blank(&text);
	return !*text;
}

/*
 * --- main
 * -------------------------------------------------------------------------------------------------------
 */

static void skip_test(void **state)
{
	(void)state;
	skip();
}

/* Children of a test may be in other directories. */
static void make_absolute(const char *variable, const char *otherwise)
{
	const char *path = getenv(variable);
	char *absolute = realpath(path ? path : otherwise, NULL);

	if (absolute)
		setenv(variable, absolute, 1);
	free(absolute);
}

int harness_main(const char *name, struct CMUnitTest *tests, size_t nr)
{
	signal(SIGPIPE, SIG_IGN);
	make_absolute("LODGE", "build/lodge");
	make_absolute("LODGE_GUESTS", "build/guest");
	return _cmocka_run_group_tests(name, tests, nr, NULL, NULL);
}

int harness_main_kvm(const char *name, struct CMUnitTest *tests, size_t nr)
{
	const char *require = getenv("LODGE_REQUIRE_KVM");

	if (!access("/dev/kvm", R_OK | W_OK))
		return harness_main(name, tests, nr);
	if (require && !strcmp(require, "1")) {
		fprintf(stderr, "FAIL %s: /dev/kvm: %s\n", name, strerror(errno));
		return 1;
	}
	fprintf(stderr, "SKIP %s: /dev/kvm: %s\n", name, strerror(errno));
	for (size_t i = 0; i < nr; i++)
		tests[i].test_func = skip_test;
	return harness_main(name, tests, nr);
}
