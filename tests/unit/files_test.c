/* SPDX-License-Identifier: MIT */
/*
 * Descriptors and paths as a guest sees them. The handlers of the system calls run here on a space without a machine, in a
 * directory with "in", which is an rw directory, and "out", which is not and must never change.
 */
#include "../sim/fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../src/linux/procfs.h"
#include "../../src/linux/syscall.h"
#include "../../src/linux/uio.h"

#define ARENA	    0x10000000ull /* of the guest: strings and small structures */
#define ARENA_PAGES 64
#define BUFFER	    0x20000000ull
#define NOWHERE	    0x30000000ull

struct guest {
	struct fixture *x;
	struct sandbox *sandbox;
	struct task *t;
	char dir[PATH_MAX];
	gva_t next; /* free in the arena */
	int fds[3];
};

/* --- calls as a guest makes them ------------------------------------------------------------- */

static syscall_fn handler(int nr)
{
	static const struct syscall_entry *const tables[] = {sys_file_calls,  sys_io_calls,
							     sys_poll_calls,  sys_path_calls,
							     sys_stat_calls,  sys_socket_calls,
							     sys_ioctl_calls, sys_fcntl_calls};

	for (unsigned int i = 0; i < ARRAY_SIZE(tables); i++)
		for (const struct syscall_entry *e = tables[i]; e->fn; e++)
			if (e->nr == nr)
				return e->fn;
	fail_msg("no handler for call %d", nr);
	return NULL;
}

#define CALL(g, name, ...) handler(SYS_##name)((g)->t, (const uint64_t[6]){__VA_ARGS__})
#define CWD		   ((uint64_t)AT_FDCWD)

static gva_t put(struct guest *g, const void *data, size_t bytes)
{
	gva_t at = g->next;

	g->next += (bytes + 15) & ~15ull;
	if (g->next > ARENA + ARENA_PAGES * PAGE_SIZE)
		fail_msg("the arena is full");
	assert_int_equal(copy_to_user(g->x->mm, at, data, bytes), 0);
	return at;
}

static void get(struct guest *g, gva_t at, void *data, size_t bytes)
{
	assert_int_equal(copy_from_user(g->x->mm, data, at, bytes), 0);
}

/* A path of the guest; "%" stands for the test's directory. */
static gva_t path(struct guest *g, const char *text)
{
	char full[2 * PATH_MAX] = "";

	if (text[0] == '%')
		strcpy(full, g->dir);
	strcat(full, text + (text[0] == '%'));
	g->next = g->next > ARENA + (ARENA_PAGES - 8) * PAGE_SIZE ? ARENA : g->next;
	return put(g, full, strlen(full) + 1);
}

static int64_t guest_open(struct guest *g, const char *name, int flags)
{
	return CALL(g, openat, CWD, path(g, name), (uint64_t)flags, 0644);
}

/* The same on the host. */
static const char *host_path(struct guest *g, const char *name)
{
	static char full[2 * PATH_MAX];

	snprintf(full, sizeof(full), "%s%s", g->dir, name + 1);
	return full;
}

static void host_write(struct guest *g, const char *name, const char *text)
{
	FILE *f = fopen(host_path(g, name), "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static bool host_has(struct guest *g, const char *name)
{
	struct stat st;

	return !lstat(host_path(g, name), &st);
}

static void assert_out_unharmed(struct guest *g)
{
	char text[16] = "";
	struct stat st;
	FILE *f = fopen(host_path(g, "%/out/victim"), "r");

	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	assert_string_equal(text, "secret\n");
	assert_int_equal(stat(host_path(g, "%/out/victim"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(st.st_nlink, 1);
	assert_false(host_has(g, "%/out/new"));
}

/* --- set up ---------------------------------------------------------------------------------- */

static void nothing(int signo)
{
	(void)signo;
}

static void make_files(struct guest *g)
{
	static const char *const dirs[] = {"%/in", "%/in/dir", "%/out", "%/out/dir"};

	strcpy(g->dir, "/tmp/lodge-files-XXXXXX");
	assert_non_null(mkdtemp(g->dir));
	for (unsigned int i = 0; i < ARRAY_SIZE(dirs); i++)
		assert_int_equal(mkdir(host_path(g, dirs[i]), 0755), 0);
	host_write(g, "%/out/victim", "secret\n");
	host_write(g, "%/in/file", "0123456789");
}

static int setup(void **state)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct sigaction kick = {.sa_handler = nothing};
	const char *bad;
	sigset_t pipe_signal;

	sigaction(KICK_SIGNAL, &kick, NULL);
	sigemptyset(&pipe_signal);
	sigaddset(&pipe_signal, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_signal, NULL);
	if (fixture_setup((void **)&g->x))
		return -1;
	make_files(g);
	const char *const rw[] = {strdup(host_path(g, "%/in")), NULL};
	for (int i = 0; i < 3; i++)
		g->fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
	const struct sandbox_setup in = {.mm = g->x->mm,
					 .fds = g->fds,
					 .view.rw_dirs = rw,
					 .first_pid = getpid()};
	mmget(g->x->mm);
	if (sandbox_create(&in, &g->sandbox, &bad))
		return -1;
	g->t = g->sandbox->first_task;
	g->t->process->exe_path = strdup("/bin/sh");
	free((void *)rw[0]);
	g->next = ARENA;
	fixture_map(g->x, ARENA, ARENA_PAGES, PROT_READ | PROT_WRITE, MAP_FIXED);
	*state = g;
	return 0;
}

static int teardown(void **state)
{
	struct guest *g = *state;
	char command[PATH_MAX + 16];

	sandbox_destroy(g->sandbox);
	for (int i = 0; i < 3; i++)
		if (close(g->fds[i]))
			return -1; /* it was the caller's, and is gone */
	snprintf(command, sizeof(command), "rm -rf %s", g->dir);
	if (system(command))
		return -1;
	int ret = fixture_teardown((void **)&g->x);
	free(g);
	return ret;
}

/* --- what may be opened ---------------------------------------------------------------------- */

struct attempt {
	const char *name;
	int flags;
	int64_t expect; /* 0: a descriptor */
};

static void try_opens(struct guest *g, const struct attempt *a, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		int64_t ret = guest_open(g, a[i].name, a[i].flags);

		if ((ret < 0 || a[i].expect) && ret != a[i].expect)
			fail_msg("open(%s, %#o) = %lld, not %lld", a[i].name, (unsigned int)a[i].flags,
				 (long long)ret, (long long)a[i].expect);
		if (ret >= 0)
			assert_int_equal(CALL(g, close, (uint64_t)ret), 0);
	}
}

static void opens_outside(void **state)
{
	static const struct attempt attempts[] = {
		{"%/out/victim", O_RDONLY, 0},
		{"%/out", O_RDONLY | O_DIRECTORY, 0},
		{"%/out/victim", O_WRONLY, -EROFS},
		{"%/out/victim", O_RDWR, -EROFS},
		{"%/out/victim", O_RDONLY | O_TRUNC, -EROFS},
		{"%/out/victim", 3, -EROFS},
		{"%/out/victim", O_RDONLY | O_CREAT, 0},
		{"%/out/victim", O_WRONLY | O_CREAT | O_EXCL, -EEXIST},
		{"%/out/victim", O_RDONLY | O_DIRECTORY, -ENOTDIR},
		{"%/out/victim/x", O_RDONLY, -ENOTDIR},
		{"%/out/victim/", O_RDONLY, -ENOTDIR},
		{"%/out/new", O_RDONLY, -ENOENT},
		{"%/out/new", O_WRONLY, -ENOENT},
		{"%/out/new", O_WRONLY | O_CREAT, -EROFS},
		{"%/out/new", O_RDONLY | O_CREAT | O_EXCL, -EROFS},
		{"%/out/no/new", O_WRONLY | O_CREAT, -ENOENT},
		{"%/out", O_WRONLY, -EISDIR},
		{"%/out", O_RDONLY | O_CREAT, -EISDIR},
		{"%/out", O_RDWR | O_TMPFILE, -EROFS},
		{"%/out", O_RDONLY | O_TMPFILE, -EINVAL},
		{"", O_RDONLY, -ENOENT},
		{"/", O_RDONLY, 0},
		{"/", O_RDONLY | O_CREAT, -EISDIR},
	};

	try_opens(*state, attempts, ARRAY_SIZE(attempts));
	assert_out_unharmed(*state);
}

static void opens_inside(void **state)
{
	static const struct attempt attempts[] = {
		{"%/in/file", O_RDWR, 0},
		{"%/in/new", O_WRONLY, -ENOENT},
		{"%/in/new", O_WRONLY | O_CREAT | O_EXCL, 0},
		{"%/in/new", O_WRONLY | O_CREAT | O_EXCL, -EEXIST},
		{"%/in/new", O_RDWR | O_CREAT | O_TRUNC, 0},
		{"%/in/new/", O_RDWR, -ENOTDIR},
		{"%/in/new/", O_RDWR | O_CREAT, -EISDIR},
		{"%/in/none/", O_RDWR | O_CREAT, -EISDIR},
		{"%/in/dir", O_RDWR | O_CREAT, -EISDIR},
		{"%/in/dir", O_RDONLY | O_CREAT | O_DIRECTORY, -EINVAL},
		{"%/in/no/new", O_RDWR | O_CREAT, -ENOENT},
		{"%/in/file/new", O_RDWR | O_CREAT, -ENOTDIR},
		{"%/in", O_RDWR | O_TMPFILE, 0},
		{"%/in/file", O_RDWR | O_TMPFILE, -ENOTDIR},
		{"%/in/dir/../dir2/../new2", O_RDWR | O_CREAT, -ENOENT},
		{"%/in/dir/../new2", O_RDWR | O_CREAT, 0},
		{"%/in/./new2", O_RDWR | O_CREAT, 0},
	};
	char name[300] = "%/in/";
	struct guest *g = *state;

	try_opens(g, attempts, ARRAY_SIZE(attempts));
	memset(name + 5, 'n', 256);
	assert_int_equal(guest_open(g, name, O_RDONLY), -ENAMETOOLONG);
	assert_int_equal(guest_open(g, name, O_WRONLY | O_CREAT), -ENAMETOOLONG);
	assert_int_equal(CALL(g, openat, CWD, NOWHERE, O_RDONLY), -EFAULT);
	assert_int_equal(CALL(g, openat, 77, path(g, "x"), O_RDONLY), -EBADF);
}

static void links(void **state)
{
	static const struct attempt attempts[] = {
		{"%/in/to-file", O_RDONLY, 0},
		{"%/in/to-file", O_WRONLY, -EROFS},
		{"%/in/to-file", O_WRONLY | O_CREAT | O_TRUNC, -EROFS},
		{"%/in/to-new", O_RDONLY, -ENOENT},
		{"%/in/to-new", O_WRONLY | O_CREAT, -EROFS},
		{"%/in/to-new", O_WRONLY | O_CREAT | O_EXCL, -EEXIST},
		{"%/in/to-new", O_WRONLY | O_CREAT | O_NOFOLLOW, -ELOOP},
		{"%/in/to-dir/victim", O_WRONLY, -EROFS},
		{"%/in/to-dir/new", O_WRONLY | O_CREAT, -EROFS},
		{"%/in/to-dir/../in/made-1", O_WRONLY | O_CREAT, 0},
		{"%/in/dir/../../out/new", O_WRONLY | O_CREAT, -EROFS},
		{"%/in/dir/../../out/victim", O_WRONLY, -EROFS},
		{"%/in/to-inside", O_WRONLY | O_CREAT, 0},
		{"%/out/back/made-2", O_WRONLY | O_CREAT, 0},
		{"%/in/to-dir", O_RDONLY | O_NOFOLLOW, -ELOOP},
		{"%/in/to-dir", O_RDONLY | O_NOFOLLOW | O_DIRECTORY, -ENOTDIR},
		{"%/in/to-dir/", O_RDONLY | O_NOFOLLOW, 0},
		{"%/in/loop", O_RDONLY, -ELOOP},
		{"%/in/loop", O_WRONLY | O_CREAT, -ELOOP},
		{"%/in/loop/x", O_RDONLY, -ELOOP},
		{"%/in/loop/x", O_WRONLY | O_CREAT, -ELOOP},
	};
	struct guest *g = *state;

	assert_int_equal(symlink("../out/victim", host_path(g, "%/in/to-file")), 0);
	assert_int_equal(symlink("../out/new", host_path(g, "%/in/to-new")), 0);
	assert_int_equal(symlink("../out", host_path(g, "%/in/to-dir")), 0);
	assert_int_equal(symlink("dir/made-0", host_path(g, "%/in/to-inside")), 0);
	assert_int_equal(symlink("../in", host_path(g, "%/out/back")), 0);
	assert_int_equal(symlink("loop", host_path(g, "%/in/loop")), 0);
	try_opens(g, attempts, ARRAY_SIZE(attempts));
	assert_true(host_has(g, "%/in/dir/made-0"));
	assert_true(host_has(g, "%/in/made-1"));
	assert_true(host_has(g, "%/in/made-2"));
	assert_out_unharmed(g);
}

/* A directory that looks like one inside, by name or by beginning, is not. */
static void lookalikes(void **state)
{
	struct guest *g = *state;

	assert_int_equal(mkdir(host_path(g, "%/inside"), 0755), 0);
	assert_int_equal(guest_open(g, "%/inside/new", O_WRONLY | O_CREAT), -EROFS);
	assert_int_equal(rename(host_path(g, "%/in"), strcat(strcpy((char[PATH_MAX]){0}, g->dir), "/old")),
			 0);
	assert_int_equal(mkdir(host_path(g, "%/in"), 0755), 0);
	/* The rw directory is the object that was given, not what has its name now. */
	assert_int_equal(guest_open(g, "%/in/new", O_WRONLY | O_CREAT), 3);
	assert_false(host_has(g, "%/in/new"));
	assert_true(host_has(g, "%/old/new"));
}

static void devices(void **state)
{
	static const struct attempt attempts[] = {
		{"/dev/null", O_RDWR | O_CREAT | O_TRUNC, 0},
		{"/dev/zero", O_RDWR, 0},
		{"/dev/full", O_WRONLY, 0},
		{"/dev/urandom", O_RDONLY, 0},
		{"/dev/mem", O_RDONLY, -EACCES},
		{"/dev/kmsg", O_RDONLY, -EACCES},
		{"/dev/kvm", O_RDWR, -EACCES},
		{"/dev/ptmx", O_RDWR, 0},
		{"/dev/newdevice", O_RDWR | O_CREAT, -EROFS},
	};
	struct guest *g = *state;

	for (size_t i = 0; i < ARRAY_SIZE(attempts); i++) {
		struct stat st;

		if (!stat(attempts[i].name, &st) || errno != ENOENT || (attempts[i].flags & O_CREAT))
			try_opens(g, &attempts[i], 1);
	}
	assert_int_equal(CALL(g, mknod, path(g, "%/in/device"), S_IFCHR | 0666, 0x103), -EPERM);
	assert_int_equal(CALL(g, mknod, path(g, "%/in/fifo"), S_IFIFO | 0600, 0), 0);
	assert_int_equal(CALL(g, mknod, path(g, "%/out/new"), S_IFIFO | 0600, 0), -EROFS);
	assert_false(host_has(g, "%/in/device"));
	assert_true(host_has(g, "%/in/fifo"));
}

/* --- names ----------------------------------------------------------------------------------- */

static void names_outside(void **state)
{
	struct guest *g = *state;
	gva_t victim = path(g, "%/out/victim"), new = path(g, "%/out/new"), file = path(g, "%/in/file");
	gva_t other = path(g, "%/in/other"), dir = path(g, "%/out/dir");

	assert_int_equal(CALL(g, mkdir, new, 0777), -EROFS);
	assert_int_equal(CALL(g, mkdir, dir, 0777), -EEXIST);
	assert_int_equal(CALL(g, mkdir, path(g, "/"), 0777), -EEXIST);
	assert_int_equal(CALL(g, mkdir, path(g, "%/no/new"), 0777), -ENOENT);
	assert_int_equal(CALL(g, mkdir, path(g, "%/out/victim/new"), 0777), -ENOTDIR);
	assert_int_equal(CALL(g, unlink, victim), -EROFS);
	assert_int_equal(CALL(g, unlink, new), -EROFS);
	assert_int_equal(CALL(g, rmdir, dir), -EROFS);
	assert_int_equal(CALL(g, rmdir, path(g, "%/in")), -EROFS);
	assert_int_equal(CALL(g, symlink, file, new), -EROFS);
	assert_int_equal(CALL(g, symlink, file, victim), -EEXIST);
	assert_int_equal(CALL(g, link, victim, other), -EXDEV);
	assert_int_equal(CALL(g, link, file, new), -EROFS);
	assert_int_equal(CALL(g, rename, victim, new), -EROFS);
	assert_int_equal(CALL(g, rename, victim, other), -EXDEV);
	assert_int_equal(CALL(g, rename, file, new), -EXDEV);
	assert_int_equal(CALL(g, renameat2, CWD, file, CWD, victim, RENAME_EXCHANGE), -EXDEV);
	assert_out_unharmed(g);
	assert_true(host_has(g, "%/in/file"));
}

static void names_inside(void **state)
{
	struct guest *g = *state;
	gva_t file = path(g, "%/in/file"), a = path(g, "%/in/a"), b = path(g, "%/in/b");

	assert_int_equal(CALL(g, mkdir, a, 0777), 0);
	assert_int_equal(CALL(g, mkdir, a, 0777), -EEXIST);
	assert_int_equal(CALL(g, mkdir, path(g, "%/in/slashes///"), 0777), 0);
	assert_int_equal(CALL(g, rename, a, b), 0);
	assert_int_equal(CALL(g, renameat2, CWD, file, CWD, b, RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(CALL(g, renameat2, CWD, file, CWD, a, 8 /* no flag */), -EINVAL);
	assert_int_equal(CALL(g, unlink, b), -EISDIR);
	assert_int_equal(CALL(g, rmdir, file), -ENOTDIR);
	assert_int_equal(CALL(g, rmdir, path(g, "%/in/.")), -EINVAL);
	assert_int_equal(CALL(g, rmdir, path(g, "%/in/b/..")), -ENOTEMPTY);
	assert_int_equal(CALL(g, rmdir, b), 0);
	assert_int_equal(CALL(g, unlinkat, CWD, b, 0), -ENOENT);
	assert_int_equal(CALL(g, unlinkat, CWD, b, 1), -EINVAL);
	assert_int_equal(CALL(g, link, file, a), 0);
	assert_int_equal(CALL(g, link, file, a), -EEXIST);
	assert_int_equal(CALL(g, symlink, path(g, ""), b), -ENOENT);
	assert_int_equal(CALL(g, symlink, path(g, "file"), b), 0);
	assert_int_equal(CALL(g, readlink, b, BUFFER, 0), -EINVAL);
	assert_int_equal(CALL(g, readlink, b, NOWHERE, 10), -EFAULT);
	assert_int_equal(CALL(g, readlink, file, ARENA, 10), -EINVAL);
	assert_int_equal(CALL(g, readlink, path(g, ""), ARENA, 10), -ENOENT);
	assert_int_equal(CALL(g, readlink, b, put(g, "xxxx", 4), 2), 2);
	/* A link is removed itself. */
	assert_int_equal(CALL(g, unlink, b), 0);
	assert_true(host_has(g, "%/in/file"));
}

/* An unnamed file can be given a name inside; a descriptor of a file outside gives it none. */
static void link_by_descriptor(void **state)
{
	struct guest *g = *state;
	char fd_path[64];
	int64_t fd = guest_open(g, "%/in", O_TMPFILE | O_RDWR);

	assert_int_equal(fd, 3);
	snprintf(fd_path, sizeof(fd_path), "/proc/self/fd/%d", (int)fd);
	assert_int_equal(CALL(g, linkat, CWD, path(g, fd_path), CWD, path(g, "%/in/named"),
			      AT_SYMLINK_FOLLOW),
			 0);
	assert_true(host_has(g, "%/in/named"));
	fd = guest_open(g, "%/out/victim", O_RDONLY);
	snprintf(fd_path, sizeof(fd_path), "/proc/self/fd/%d", (int)fd);
	assert_int_equal(CALL(g, linkat, CWD, path(g, fd_path), CWD, path(g, "%/in/stolen"),
			      AT_SYMLINK_FOLLOW),
			 -EXDEV);
	assert_int_equal(CALL(g, linkat, (uint64_t)fd, path(g, ""), CWD, path(g, "%/in/stolen"),
			      AT_EMPTY_PATH),
			 -EXDEV);
	assert_out_unharmed(g);
}

static void attributes(void **state)
{
	struct guest *g = *state;
	gva_t victim = path(g, "%/out/victim"), file = path(g, "%/in/file");
	uint64_t fd = (uint64_t)guest_open(g, "%/out/victim", O_RDONLY);
	struct stat st;

	assert_int_equal(CALL(g, chmod, victim, 0777), -EROFS);
	assert_int_equal(CALL(g, fchmod, fd, 0777), -EROFS);
	assert_int_equal(CALL(g, fchown, fd, 1, 1), -EROFS);
	assert_int_equal(CALL(g, chown, victim, 1, 1), -EROFS);
	assert_int_equal(CALL(g, utimensat, CWD, victim, 0, 0), -EROFS);
	assert_int_equal(CALL(g, utimensat, fd, 0, 0, 0), -EROFS);
	assert_int_equal(CALL(g, truncate, victim, 0), -EROFS);
	assert_int_equal(CALL(g, ftruncate, fd, 0), -EINVAL);
	assert_int_equal(CALL(g, access, victim, R_OK), 0);
	assert_int_equal(CALL(g, access, victim, W_OK), -EROFS);
	assert_int_equal(CALL(g, access, victim, 8), -EINVAL);
	assert_out_unharmed(g);
	assert_int_equal(CALL(g, access, file, W_OK), 0);
	assert_int_equal(CALL(g, access, path(g, "/dev/null"), W_OK), 0);
	assert_int_equal(CALL(g, chmod, file, 0600), 0);
	assert_int_equal(CALL(g, truncate, file, 3), 0);
	assert_int_equal(CALL(g, truncate, path(g, "%/in/dir"), 3), -EISDIR);
	assert_int_equal(CALL(g, utimensat, CWD, file, put(g, (struct timespec[2]){{1, 2}, {3, 4}}, 32), 0),
			 0);
	assert_int_equal(stat(host_path(g, "%/in/file"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, 3);
	assert_int_equal(st.st_mtim.tv_sec, 3);
}

static void set_id(void **state)
{
	struct guest *g = *state;
	struct stat st;
	int64_t fd;

	assert_int_equal(CALL(g, chmod, path(g, "%/in/file"), 04755), -EPERM);
	assert_int_equal(CALL(g, chmod, path(g, "%/in/file"), 02755), -EPERM);
	assert_int_equal(CALL(g, chmod, path(g, "%/in/dir"), 02755), 0);
	fd = CALL(g, open, path(g, "%/in/new"), O_CREAT | O_WRONLY, 06755);
	assert_int_equal(fd, 3);
	assert_int_equal(CALL(g, fchmod, (uint64_t)fd, 04755), -EPERM);
	assert_int_equal(stat(host_path(g, "%/in/new"), &st), 0);
	assert_int_equal(st.st_mode & 06000, 0);
}

static void umasks(void **state)
{
	struct guest *g = *state;
	struct stat st;
	mode_t old = umask(0);

	umask(old);
	assert_int_equal(CALL(g, umask, 0), old);
	assert_int_equal(CALL(g, umask, 0), 0);
	assert_int_equal(CALL(g, open, path(g, "%/in/all"), O_CREAT | O_WRONLY, 0666), 3);
	assert_int_equal(CALL(g, mkdir, path(g, "%/in/all-dir/"), 0777), 0);
	assert_int_equal(CALL(g, umask, 0077), 0);
	assert_int_equal(CALL(g, open, path(g, "%/in/own"), O_CREAT | O_WRONLY, 0666), 4);
	assert_int_equal(stat(host_path(g, "%/in/all"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0666);
	assert_int_equal(stat(host_path(g, "%/in/all-dir"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0777);
	assert_int_equal(stat(host_path(g, "%/in/own"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

/* --- /proc ----------------------------------------------------------------------------------- */

static void proc_refused(void **state)
{
	static const char *const paths[] = {
		"/proc/self/syscall",
		"/proc/1/environ",
		"/proc/1/exe",
		"/proc/1/root/etc/passwd",
		"/proc/self/fdinfo",
		"/proc/self/../1/maps",
		"/proc/self/ns/mnt",
		"/proc/sys/../1/environ",
		"%/in/link/stack",
		"%/in/exe-of-1",
		"/proc/self/root/proc/self/stack",
	};
	struct guest *g = *state;
	char own[64];

	assert_int_equal(symlink("/proc/self", host_path(g, "%/in/link")), 0);
	assert_int_equal(symlink("/proc/1/exe", host_path(g, "%/in/exe-of-1")), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(paths); i++)
		if (guest_open(g, paths[i], O_RDONLY) != -EACCES)
			fail_msg("%s can be opened", paths[i]);
	assert_int_equal(procfs_entry(g->t, "/proc/kcore").kind,
			 PROC_REFUSED); /* not every machine has one */
	snprintf(own, sizeof(own), "/proc/%d/map_files", getpid());
	assert_int_equal(guest_open(g, own, O_RDONLY), -EACCES);
	assert_int_equal(CALL(g, stat, path(g, "/proc/1/mem"), ARENA), -EACCES);
	int64_t proc = guest_open(g, "/proc", O_PATH);
	assert_int_equal(CALL(g, openat, (uint64_t)proc, path(g, "self/stack"), O_RDONLY), -EACCES);
	assert_int_equal(guest_open(g, "/proc/self/stack", O_PATH), -EACCES);
	assert_int_equal(guest_open(g, "/proc/self/exe", O_PATH | O_NOFOLLOW), -EACCES);
}

static void proc_public(void **state)
{
	static const struct attempt attempts[] = {
		{"/proc/cpuinfo", O_RDONLY, 0},
		{"/proc/meminfo", O_RDONLY, 0},
		{"/proc", O_RDONLY, 0},
		{"/proc/self", O_RDONLY, 0},
		{"/proc/self/fd", O_RDONLY, 0},
		{"/dev/fd", O_RDONLY, 0},
		{"/proc/thread-self/maps", O_RDONLY, 0},
		{"/proc/sys/vm/overcommit_memory", O_RDONLY, 0},
		{"/proc/cpuinfo", O_WRONLY, -EACCES},
		{"/proc/version", O_WRONLY, -EROFS},
		{"/proc/sys/vm/page-cluster", O_RDWR, -EROFS},
		{"/proc/nothing", O_RDONLY, -ENOENT},
	};

	try_opens(*state, attempts, ARRAY_SIZE(attempts));
}

/* Even when all of the file system is an rw directory. */
static void proc_never_written(void **state)
{
	static const struct attempt attempts[] = {
		{"/proc/sys/vm/page-cluster", O_RDWR, -EROFS},
		{"/proc/1/mem", O_RDWR, -EACCES},
		{"/proc/self/maps", O_RDWR, -EACCES},
		{"/dev/kvm", O_RDWR, -EACCES},
	};
	static const char *const rw[] = {"/", NULL};
	struct guest *g = *state;
	struct view *view;
	const char *bad;

	files_release(g->t->files);
	assert_int_equal(view_create(&(struct view_setup){.rw_dirs = rw}, &view, &bad), 0);
	assert_int_equal(files_create(g->fds, view, NULL, &g->t->files), 0);
	view_release(view);
	try_opens(g, attempts, ARRAY_SIZE(attempts));
	assert_int_equal(CALL(g, access, path(g, "%/out/victim"), W_OK), 0);
}

static void assert_link(struct guest *g, const char *name, const char *expect)
{
	char text[PATH_MAX] = "";
	gva_t to = put(g, text, 512);
	int64_t n = CALL(g, readlinkat, CWD, path(g, name), to, 512);

	assert_in_range(n, 1, 511);
	get(g, to, text, (size_t)n);
	assert_string_equal(text, expect);
}

static void proc_made(void **state)
{
	struct guest *g = *state;
	char text[64], number[16];
	gva_t to = put(g, (char[4096]){0}, 4096);
	struct stat st, exe;
	int64_t fd;

	snprintf(number, sizeof(number), "%d", getpid());
	assert_link(g, "/proc/self", number);
	assert_link(g, "/proc/self/exe", "/bin/sh");
	assert_int_equal(CALL(g, readlink, path(g, "/proc/self/cwd/"), to, 99), -EINVAL);
	assert_link(g, "/proc/self/cwd", getcwd(text, sizeof(text)) ? text : "");
	assert_int_equal(CALL(g, stat, path(g, "/proc/self/exe"), to), 0);
	get(g, to, &st, sizeof(st));
	assert_int_equal(stat("/bin/sh", &exe), 0);
	assert_int_equal(st.st_ino, exe.st_ino);
	assert_int_equal(CALL(g, lstat, path(g, "/proc/self/exe"), to), 0);
	get(g, to, &st, sizeof(st));
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(guest_open(g, "/proc/self/exe", O_RDONLY), 3);
	assert_int_equal(guest_open(g, "/proc/self/exe", O_RDWR), -EROFS);
	fd = guest_open(g, "/proc/self/maps", O_RDONLY);
	assert_int_equal(fd, 4);
	assert_in_range(CALL(g, read, (uint64_t)fd, to, 4096), 20, 4096);
	get(g, to, text, sizeof(text));
	assert_memory_equal(text, "10000000-10040000 rw-p", 22);
	assert_int_equal(CALL(g, write, (uint64_t)fd, to, 1), -EBADF);
}

static void proc_descriptors(void **state)
{
	struct guest *g = *state;
	gva_t to = put(g, "xxxxxxxx", 8);
	char name[64];
	int64_t fd = guest_open(g, "%/in/file", O_RDONLY);

	assert_int_equal(fd, 3);
	assert_link(g, "/proc/self/fd/3", host_path(g, "%/in/file"));
	assert_int_equal(CALL(g, read, (uint64_t)fd, to, 2), 2);
	assert_int_equal(guest_open(g, "/dev/fd/3", O_RDONLY), 4);
	assert_int_equal(CALL(g, read, 4, to, 1), 1);
	get(g, to, name, 1);
	assert_int_equal(name[0], '2');
	assert_int_equal(guest_open(g, "/dev/fd/3", O_RDWR), -EACCES);
	assert_int_equal(guest_open(g, "/dev/stdout", O_WRONLY | O_CREAT | O_TRUNC), 5);
	/* Descriptors that only we have: the rw directory's, for one. */
	for (int host = 6; host < 64; host++) {
		snprintf(name, sizeof(name), "/proc/self/fd/%d", host);
		assert_int_equal(guest_open(g, name, O_RDONLY), -ENOENT);
		assert_int_equal(CALL(g, lstat, path(g, name), ARENA), -ENOENT);
		assert_int_equal(CALL(g, readlink, path(g, name), to, 8), -ENOENT);
	}
	/* O_PATH is the one descriptor of which Linux's new opening differs from a dup. */
	assert_int_equal(guest_open(g, "%/out/victim", O_PATH), 6);
	assert_int_equal(CALL(g, read, 6, to, 1), -EBADF);
	assert_int_equal(guest_open(g, "/proc/self/fd/6", O_RDONLY), 7);
	assert_int_equal(CALL(g, read, 7, to, 1), 1);
	assert_int_equal(guest_open(g, "/proc/self/fd/6", O_RDWR), -EROFS);
}

/* --- descriptors ----------------------------------------------------------------------------- */

static void numbers(void **state)
{
	struct guest *g = *state;

	assert_int_equal(guest_open(g, "%/in/file", O_RDONLY | O_CLOEXEC), 3);
	assert_int_equal(CALL(g, fcntl, 3, F_GETFD), FD_CLOEXEC);
	assert_int_equal(CALL(g, dup, 3), 4);
	assert_int_equal(CALL(g, fcntl, 4, F_GETFD), 0);
	assert_int_equal(CALL(g, fcntl, 3, F_DUPFD_CLOEXEC, 100), 100);
	assert_int_equal(CALL(g, fcntl, 3, F_DUPFD, 1024), -EINVAL);
	assert_int_equal(CALL(g, fcntl, 3, F_DUPFD, 1023), 1023);
	assert_int_equal(CALL(g, fcntl, 3, F_DUPFD, 1023), -EMFILE);
	assert_int_equal(CALL(g, dup2, 3, 3), 3);
	assert_int_equal(CALL(g, dup3, 3, 3, 0), -EINVAL);
	assert_int_equal(CALL(g, dup2, 3, 1024), -EBADF);
	assert_int_equal(CALL(g, dup2, 50, 60), -EBADF);
	assert_int_equal(CALL(g, dup2, 3, 1), 1);
	assert_int_equal(CALL(g, dup3, 3, 9, O_APPEND), -EINVAL);
	assert_int_equal(CALL(g, lseek, 3, 5, SEEK_SET), 5);
	assert_int_equal(CALL(g, lseek, 100, 0, SEEK_CUR), 5);
	assert_int_equal(CALL(g, close_range, 4, 3, 0), -EINVAL);
	assert_int_equal(CALL(g, close_range, 4, ~0u, 0), 0);
	assert_int_equal(CALL(g, lseek, 100, 0, SEEK_CUR), -EBADF);
	assert_int_equal(CALL(g, close, 4), -EBADF);
	assert_int_equal(CALL(g, close, ~0ull), -EBADF);
	assert_int_equal(CALL(g, close, 0), 0);
	assert_int_equal(CALL(g, dup, 3), 0);
}

static void table_full(void **state)
{
	struct guest *g = *state;

	while (CALL(g, dup, 0) >= 0)
		;
	assert_int_equal(CALL(g, dup, 0), -EMFILE);
	assert_int_equal(guest_open(g, "%/in/new", O_CREAT | O_RDWR), -EMFILE);
	assert_false(host_has(g, "%/in/new"));
	assert_int_equal(guest_open(g, "%/in/file", O_TRUNC | O_RDWR), -EMFILE);
	assert_int_equal(CALL(g, pipe, put(g, "12345678", 8)), -EMFILE);
	assert_int_equal(CALL(g, close, 1000), 0);
	assert_int_equal(CALL(g, pipe, put(g, "12345678", 8)), -EMFILE);
	assert_int_equal(CALL(g, dup, 0), 1000);
}

static void working_directory(void **state)
{
	struct guest *g = *state;
	char text[PATH_MAX] = "";
	gva_t to = put(g, text, 512);

	assert_int_equal(CALL(g, chdir, path(g, "%/in/dir")), 0);
	assert_int_equal(CALL(g, getcwd, to, 512), (int64_t)strlen(host_path(g, "%/in/dir")) + 1);
	get(g, to, text, 512);
	assert_string_equal(text, host_path(g, "%/in/dir"));
	assert_int_equal(CALL(g, getcwd, to, 5), -ERANGE);
	assert_int_equal(guest_open(g, "made", O_CREAT | O_RDWR), 3);
	assert_true(host_has(g, "%/in/dir/made"));
	assert_int_equal(guest_open(g, "../../out/new", O_CREAT | O_RDWR), -EROFS);
	assert_int_equal(CALL(g, unlink, path(g, "made")), 0);
	assert_int_equal(CALL(g, rmdir, path(g, "../dir")), 0);
	assert_int_equal(CALL(g, getcwd, to, 512), -ENOENT);
	assert_int_equal(guest_open(g, "made", O_CREAT | O_RDWR), -ENOENT);
	assert_int_equal(CALL(g, chdir, path(g, "%/in/file")), -ENOTDIR);
	assert_int_equal(CALL(g, fchdir, 3), -ENOTDIR);
	assert_int_equal(CALL(g, fchdir, 44), -EBADF);
}

static void directory_entries(void **state)
{
	struct guest *g = *state;
	gva_t to = put(g, (char[2048]){0}, 2048);
	uint64_t fd = (uint64_t)guest_open(g, "%/in", O_RDONLY);

	assert_int_equal(CALL(g, getdents64, fd, NOWHERE, 2048), -EFAULT);
	assert_int_equal(CALL(g, getdents64, fd, to, 2048), 4 * 24); /* ., .., dir, file */
	assert_int_equal(CALL(g, getdents64, fd, to, 2048), 0);
	assert_int_equal(CALL(g, getdents64, 0, to, 2048), -ENOTDIR);
}

static void sockets(void **state)
{
	struct guest *g = *state;

	gva_t to = put(g, (char[8]){0}, 8);
	int pair[2];

	assert_int_equal(CALL(g, socket, AF_INET, SOCK_STREAM, 0), -EAFNOSUPPORT);
	assert_int_equal(CALL(g, socket, AF_PACKET, SOCK_RAW, 0), -EAFNOSUPPORT);
	assert_int_equal(CALL(g, socketpair, AF_UNIX, SOCK_STREAM, 0, NOWHERE), -EFAULT);
	assert_int_equal(CALL(g, socketpair, AF_UNIX, SOCK_STREAM, 0, to), 0);
	get(g, to, pair, sizeof(pair));
	assert_int_equal(CALL(g, sendto, (uint64_t)pair[0], path(g, "sent"), 4, 0, 0, 0), 4);
	assert_int_equal(CALL(g, read, (uint64_t)pair[1], to, 8), 4);
	assert_int_equal(CALL(g, close, (uint64_t)pair[0]), 0);
	assert_int_equal(CALL(g, recvfrom, (uint64_t)pair[1], to, 8, 0, 0, 0), 0);
	assert_int_equal(CALL(g, connect, 0, ARENA, 16), -ENOTSOCK);
	assert_int_equal(CALL(g, getsockname, 99, ARENA, 16), -EBADF);
}

static void ioctls(void **state)
{
	struct guest *g = *state;
	gva_t to = put(g, (char[64]){0}, 64);
	int pair[2];

	assert_int_equal(CALL(g, pipe2, to, 0), 0);
	get(g, to, pair, sizeof(pair));
	assert_int_equal(CALL(g, write, (uint64_t)pair[1], to, 5), 5);
	assert_int_equal(CALL(g, ioctl, (uint64_t)pair[0], FIONREAD, to), 0);
	get(g, to, pair, sizeof(int));
	assert_int_equal(pair[0], 5);
	assert_int_equal(CALL(g, ioctl, 3, FIONREAD, NOWHERE), -EFAULT);
	assert_int_equal(CALL(g, ioctl, 3, TCGETS, to), -ENOTTY);
	assert_int_equal(CALL(g, ioctl, 3, TIOCSTI, to), -ENOTTY);
	assert_int_equal(CALL(g, ioctl, 33, TIOCSTI, to), -EBADF);
	assert_int_equal(CALL(g, ioctl, 3, FIOCLEX), 0);
	assert_int_equal(CALL(g, fcntl, 3, F_GETFD), FD_CLOEXEC);
	assert_int_equal(CALL(g, ioctl, 3, FIONBIO, put(g, &(int){1}, 4)), 0);
	assert_int_equal(CALL(g, fcntl, 3, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	assert_int_equal(CALL(g, fcntl, 3, F_SETFL, O_ASYNC), 0);
	assert_int_equal(CALL(g, fcntl, 3, F_GETFL) & (O_NONBLOCK | O_ASYNC), O_ASYNC);
	assert_int_equal(CALL(g, fcntl, 3, F_SETFL, 0), 0);
}

/* --- data ------------------------------------------------------------------------------------ */

static uint64_t word_of(uint64_t i)
{
	return i * 0x9e3779b97f4a7c15ull + 1;
}

/* Several windows, not aligned to anything, into pages that were never touched. */
static void large_transfers(void **state)
{
	const uint64_t words = (5ull << 20) / 8 + 3, bytes = words * 8;
	struct guest *g = *state;
	uint64_t fd = (uint64_t)guest_open(g, "%/in/big", O_CREAT | O_RDWR);

	fixture_map(g->x, BUFFER, 4096, PROT_READ | PROT_WRITE, MAP_FIXED);
	for (uint64_t i = 0; i < words; i++)
		assert_int_equal(copy_to_user(g->x->mm, BUFFER + 8 * i + 4, &(uint64_t){word_of(i)}, 8), 0);
	assert_int_equal(CALL(g, write, fd, BUFFER + 4, bytes), bytes);
	assert_int_equal(CALL(g, lseek, fd, 0, SEEK_CUR), bytes);
	assert_int_equal(CALL(g, pread64, fd, BUFFER + 0x800001, bytes + 5000, 0), bytes);
	for (uint64_t i = 0; i < words; i++) {
		uint64_t word;
		get(g, BUFFER + 0x800001 + 8 * i, &word, 8);
		assert_int_equal(word, word_of(i));
	}
	assert_int_equal(CALL(g, pread64, fd, BUFFER, 16, bytes - 6), 6);
	assert_int_equal(CALL(g, pread64, fd, BUFFER, 16, bytes + 6), 0);
	assert_int_equal(CALL(g, pread64, fd, BUFFER, 16, ~0ull), -EINVAL);
	assert_int_equal(CALL(g, ftruncate, fd, 0), 0);
}

static void read_touches_what_it_needs(void **state)
{
	struct guest *g = *state;
	uint64_t fd = (uint64_t)guest_open(g, "%/in/file", O_RDONLY), before;

	fixture_map(g->x, BUFFER, 4096, PROT_READ | PROT_WRITE, MAP_FIXED);
	before = mm_rss_pages(g->x->mm);
	assert_int_equal(CALL(g, read, fd, BUFFER, 16 << 20), 10);
	assert_true(mm_rss_pages(g->x->mm) - before <= 16);
}

static void faults_in_the_middle(void **state)
{
	struct guest *g = *state;
	uint64_t fd = (uint64_t)guest_open(g, "%/in/new", O_CREAT | O_RDWR);

	fixture_map(g->x, BUFFER, 2, PROT_READ | PROT_WRITE, MAP_FIXED);
	assert_int_equal(CALL(g, write, fd, BUFFER + 100, 3 * PAGE_SIZE), 2 * PAGE_SIZE - 100);
	assert_int_equal(CALL(g, write, fd, BUFFER + 2 * PAGE_SIZE, 1), -EFAULT);
	assert_int_equal(CALL(g, lseek, fd, 0, SEEK_SET), 0);
	assert_int_equal(CALL(g, read, fd, BUFFER + PAGE_SIZE, 2 * PAGE_SIZE), PAGE_SIZE);
	assert_int_equal(CALL(g, read, fd, NOWHERE, 1), -EFAULT);
	assert_int_equal(CALL(g, read, fd, 0xffff800000000000, 1), -EFAULT);
	assert_int_equal(CALL(g, read, 55, NOWHERE, 1), -EBADF);
	assert_int_equal(CALL(g, read, fd, NOWHERE, 0), 0);
	fd = (uint64_t)guest_open(g, "%/in/new", O_WRONLY);
	assert_int_equal(CALL(g, read, fd, NOWHERE, 1), -EBADF);
	assert_int_equal(CALL(g, read, fd, BUFFER, 0), -EBADF);
	fd = (uint64_t)guest_open(g, "%/in", O_RDONLY);
	assert_int_equal(CALL(g, read, fd, BUFFER, 1), -EISDIR);
}

static void vectors(void **state)
{
	struct guest *g = *state;
	uint64_t fd = (uint64_t)guest_open(g, "%/in/new", O_CREAT | O_RDWR);
	struct iovec iov[1024];
	char text[16];

	fixture_map(g->x, BUFFER, 2048, PROT_READ | PROT_WRITE, MAP_FIXED);
	for (unsigned int i = 0; i < 1024; i++) {
		iov[i] = (struct iovec){(void *)(BUFFER + i * 2 * PAGE_SIZE + i), i % 3};
		assert_int_equal(copy_to_user(g->x->mm, (gva_t)iov[i].iov_base,
					      &(char[2]){(char)i, (char)(i + 1)}, 2),
				 0);
	}
	gva_t array = put(g, iov, sizeof(iov));
	assert_int_equal(CALL(g, writev, fd, array, 1024), 341 * 3);
	assert_int_equal(CALL(g, preadv, fd, array, 3, 1), 3);
	get(g, (gva_t)iov[2].iov_base, text, 2);
	assert_int_equal(text[0], 3);
	assert_int_equal(CALL(g, writev, fd, array, 1025), -EINVAL);
	assert_int_equal(CALL(g, writev, fd, NOWHERE, 1), -EFAULT);
	assert_int_equal(CALL(g, writev, fd, NOWHERE, 0), 0);
	assert_int_equal(CALL(g, writev, 99, NOWHERE, 1025), -EBADF);
	iov[1].iov_len = ~0ull;
	assert_int_equal(CALL(g, writev, fd, put(g, iov, 32), 2), -EINVAL);
	iov[1].iov_len = 1ull << 50;
	assert_int_equal(CALL(g, writev, fd, put(g, iov, 32), 2), -EFAULT);
}

static void copies(void **state)
{
	struct guest *g = *state;
	uint64_t in = (uint64_t)guest_open(g, "%/in/file", O_RDONLY);
	uint64_t out = (uint64_t)guest_open(g, "%/in/new", O_CREAT | O_RDWR);
	gva_t offset = put(g, &(uint64_t){4}, 8);
	uint64_t now;

	assert_int_equal(CALL(g, sendfile, out, in, 0, 100), 10);
	assert_int_equal(CALL(g, sendfile, out, in, offset, 100), 6);
	get(g, offset, &now, 8);
	assert_int_equal(now, 10);
	assert_int_equal(CALL(g, sendfile, out, in, NOWHERE, 100), -EFAULT);
	assert_int_equal(CALL(g, sendfile, in, out, 0, 100), -EBADF);
	assert_int_equal(CALL(g, copy_file_range, in, put(g, &(uint64_t){0}, 8), out, 0, 3, 0), 3);
	assert_int_equal(CALL(g, copy_file_range, in, 0, out, 0, 3, 1), -EINVAL);
	assert_int_equal(CALL(g, lseek, out, 0, SEEK_END), 19);
}

/* --- waiting --------------------------------------------------------------------------------- */

static void make_pipe(struct guest *g, int fds[2])
{
	gva_t to = put(g, "12345678", 8);

	assert_int_equal(CALL(g, pipe2, to, 0), 0);
	get(g, to, fds, 8);
}

static void pipes(void **state)
{
	struct guest *g = *state;
	gva_t to = put(g, "hello", 6);
	int fds[2];

	make_pipe(g, fds);
	assert_int_equal(CALL(g, write, (uint64_t)fds[1], to, 5), 5);
	assert_int_equal(CALL(g, read, (uint64_t)fds[0], to, 100), 5);
	assert_int_equal(CALL(g, lseek, (uint64_t)fds[0], 0, SEEK_SET), -ESPIPE);
	assert_int_equal(CALL(g, pread64, (uint64_t)fds[0], to, 5, 0), -ESPIPE);
	assert_int_equal(CALL(g, fcntl, (uint64_t)fds[0], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(CALL(g, read, (uint64_t)fds[0], to, 100), -EAGAIN);
	assert_int_equal(CALL(g, close, (uint64_t)fds[1]), 0);
	assert_int_equal(CALL(g, read, (uint64_t)fds[0], to, 100), 0);
}

static void broken_pipe(void **state)
{
	struct guest *g = *state;
	int fds[2];

	make_pipe(g, fds);
	assert_int_equal(CALL(g, close, (uint64_t)fds[0]), 0);
	g->t->sighand->action[SIGPIPE].handler = 0x1000;
	assert_int_equal(CALL(g, write, (uint64_t)fds[1], ARENA, 5), -EPIPE);
	assert_true(g->t->sig.queue.pending & signal_bit(SIGPIPE));
}

static void *reader(void *arg)
{
	static char data[1 << 16];
	size_t *total = arg;
	int fd = (int)total[1];
	ssize_t n;

	while ((n = read(fd, data, sizeof(data))) > 0)
		total[0] += (size_t)n;
	return NULL;
}

/* More than a pipe holds: the call waits for the reader until everything is written. */
static void full_pipe(void **state)
{
	struct guest *g = *state;
	size_t total[2] = {0};
	pthread_t thread;
	int fds[2];

	make_pipe(g, fds);
	fixture_map(g->x, BUFFER, 1024, PROT_READ | PROT_WRITE, MAP_FIXED);
	total[1] = (size_t)dup(files_host_fd(g->t->files, fds[0]));
	assert_int_equal(pthread_create(&thread, NULL, reader, total), 0);
	assert_int_equal(CALL(g, write, (uint64_t)fds[1], BUFFER + 5, 3000001), 3000001);
	assert_int_equal(CALL(g, close, (uint64_t)fds[1]), 0);
	pthread_join(thread, NULL);
	close((int)total[1]);
	assert_int_equal(total[0], 3000001);
}

static void *kill_later(void *arg)
{
	struct task *t = arg;

	usleep(30000);
	atomic_store(&t->attention, ATTENTION_KILLED);
	return NULL;
}

/* The kick that should have come with it is lost, as it is when it comes just before the wait. */
static int64_t killed_in(struct guest *g, int nr, const uint64_t a[6])
{
	pthread_t thread;
	int64_t ret;

	atomic_store(&g->t->attention, 0);
	assert_int_equal(pthread_create(&thread, NULL, kill_later, g->t), 0);
	ret = handler(nr)(g->t, a);
	pthread_join(thread, NULL);
	return ret;
}

static void lost_kicks(void **state)
{
	struct guest *g = *state;
	gva_t lock = put(g, &(struct flock){.l_type = F_WRLCK}, sizeof(struct flock));
	int fds[2], other;

	make_pipe(g, fds);
	fixture_map(g->x, BUFFER, 1024, PROT_READ | PROT_WRITE, MAP_FIXED);
	assert_int_equal(killed_in(g, SYS_read, (uint64_t[6]){(uint64_t)fds[0], BUFFER, 10}), -EINTR);
	assert_int_equal(g->t->restart, RESTART_CALL);
	assert_int_equal(killed_in(g, SYS_write, (uint64_t[6]){(uint64_t)fds[1], BUFFER, 1 << 20}), 65536);
	atomic_store(&g->t->attention, 0);
	assert_int_equal(CALL(g, mknod, path(g, "%/in/fifo"), S_IFIFO | 0600, 0), 0);
	assert_int_equal(killed_in(g, SYS_open, (uint64_t[6]){path(g, "%/in/fifo"), O_RDONLY}), -EINTR);
	other = open(host_path(g, "%/in/file"), O_RDWR | O_CLOEXEC);
	atomic_store(&g->t->attention, 0);
	uint64_t fd = (uint64_t)guest_open(g, "%/in/file", O_RDWR);
	assert_int_equal(fcntl(other, F_OFD_SETLK, &(struct flock){.l_type = F_WRLCK}), 0);
	assert_int_equal(killed_in(g, SYS_fcntl, (uint64_t[6]){fd, F_OFD_SETLKW, lock}), -EINTR);
	close(other);
	atomic_store(&g->t->attention, 0);
}

static void *kick_later(void *arg)
{
	struct task *t = arg;

	usleep(30000);
	atomic_store(&t->attention, ATTENTION_KILLED);
	pthread_kill(t->thread, KICK_SIGNAL);
	return NULL;
}

static void polls(void **state)
{
	struct guest *g = *state;
	struct pollfd p[4];
	pthread_t thread;
	int fds[2];

	make_pipe(g, fds);
	p[0] = (struct pollfd){.fd = fds[0], .events = POLLIN, .revents = -1};
	p[1] = (struct pollfd){.fd = fds[1], .events = POLLOUT, .revents = -1};
	p[2] = (struct pollfd){.fd = -1, .events = POLLNVAL | POLLIN, .revents = -1};
	p[3] = (struct pollfd){.fd = 77, .events = POLLIN, .revents = -1};
	gva_t at = put(g, p, sizeof(p));
	assert_int_equal(CALL(g, poll, at, 1, 10), 0);
	assert_int_equal(CALL(g, poll, at, 4, (uint64_t)-1), 2);
	get(g, at, p, sizeof(p));
	assert_int_equal(p[0].fd, fds[0]);
	assert_int_equal(p[0].events, POLLIN);
	assert_int_equal(p[0].revents, 0);
	assert_int_equal(p[1].revents, POLLOUT);
	assert_int_equal(p[2].revents, 0);
	assert_int_equal(p[3].revents, POLLNVAL);
	assert_int_equal(CALL(g, poll, at, 1025, 0), -EINVAL);
	assert_int_equal(CALL(g, poll, NOWHERE, 1, 0), -EFAULT);
	assert_int_equal(CALL(g, ppoll, at, 1, put(g, &(struct timespec){0, 1000000000}, 16), 0), -EINVAL);
	g->t->thread = pthread_self();
	assert_int_equal(pthread_create(&thread, NULL, kick_later, g->t), 0);
	assert_int_equal(CALL(g, poll, at, 1, (uint64_t)-1), -EINTR);
	assert_int_equal(g->t->restart, RESTART_BLOCK);
	pthread_join(thread, NULL);
	atomic_store(&g->t->attention, 0);
}

static void masked_polls(void **state)
{
	struct guest *g = *state;
	gva_t mask = put(g, &(uint64_t){0}, 8), now = put(g, &(struct timespec){0}, 16);

	g->t->sighand->action[SIGUSR1].handler = 0x1000;
	signal_set_blocked(g->t, signal_bit(SIGUSR1));
	assert_int_equal(CALL(g, ppoll, 0, 0, now, mask, 8), 0);
	assert_int_equal(g->t->sig.blocked, signal_bit(SIGUSR1));
	assert_int_equal(CALL(g, ppoll, 0, 0, now, mask, 4), -EINVAL);
	assert_int_equal(signal_send(g->t, SIGUSR1, NULL), 0);
	assert_int_equal(CALL(g, ppoll, 0, 0, 0, mask, 8), -EINTR);
	assert_int_equal(g->t->sig.blocked, 0);
	assert_true(g->t->sig.restore_mask);
	assert_int_equal(g->t->sig.saved_mask, signal_bit(SIGUSR1));
}

static void selects(void **state)
{
	struct guest *g = *state;
	gva_t zero = put(g, &(struct timeval){0}, sizeof(struct timeval));
	uint64_t in, out;
	int fds[2];

	make_pipe(g, fds);
	in = out = 1ull << fds[0] | 1ull << fds[1];
	gva_t in_at = put(g, &in, 8), out_at = put(g, &out, 8);
	assert_int_equal(CALL(g, select, 5, in_at, out_at, 0, zero), 1);
	get(g, in_at, &in, 8);
	get(g, out_at, &out, 8);
	assert_int_equal(in, 0);
	assert_int_equal(out, 1ull << fds[1]);
	in_at = put(g, &(uint64_t){1ull << 40}, 8);
	assert_int_equal(CALL(g, select, 41, in_at, 0, 0, zero), -EBADF);
	assert_int_equal(CALL(g, select, 40, in_at, 0, 0, zero), 0);
	assert_int_equal(CALL(g, select, (uint64_t)-1, 0, 0, 0, zero), -EINVAL);
	assert_int_equal(CALL(g, select, 5, NOWHERE, 0, 0, zero), -EFAULT);
}

/* --- the task itself ------------------------------------------------------------------------- */

/* Found by its number, it leads to all that it shares with others; each of these is the one that calls change. */
static void task_leads_to_its_parts(void **state)
{
	struct guest *g = *state;
	uint32_t users = g->x->mm->mm_users;

	pthread_mutex_lock(&g->sandbox->lock);
	struct task *t = task_find(g->sandbox, g->t->tid);
	struct process *p = process_find(g->sandbox, g->t->pid);
	assert_null(task_find(g->sandbox, g->t->tid + 1));
	pthread_mutex_unlock(&g->sandbox->lock);
	assert_ptr_equal(t, g->t);
	assert_ptr_equal(p, t->process);
	assert_ptr_equal(p->threads.next, &t->thread_node);
	assert_ptr_equal(t->mm, g->x->mm);
	assert_true(users >= 2); /* the fixture and the task */
	assert_ptr_equal(vma_find(&t->mm->vmas, ARENA)->mm, t->mm);
	assert_true(t->files && t->fs && t->sighand);
	int64_t fd = guest_open(g, "%/in/file", O_RDONLY);
	assert_true(t->files->fd[fd].file != NULL);
	const struct guest_file *cwd = t->fs->cwd;
	assert_int_equal(CALL(g, chdir, path(g, "%/in")), 0);
	assert_ptr_not_equal(t->fs->cwd, cwd);
}

static long oom_score(struct guest *g)
{
	gva_t to = put(g, "xxxxxxxxxxxxxxxx", 16);
	char text[17] = "";
	int64_t fd = guest_open(g, "/proc/self/oom_score", O_RDONLY);

	assert_true(fd >= 0);
	assert_true(CALL(g, read, (uint64_t)fd, to, 16) > 0);
	assert_int_equal(CALL(g, close, (uint64_t)fd), 0);
	get(g, to, text, 16);
	return strtol(text, NULL, 10);
}

/* A quarter of the account more: 250 of 1000 points, of which two thirds are told. What is only mapped does not count. */
static void oom_score_follows_rss(void **state)
{
	struct guest *g = *state;
	uint64_t pages = 4096, max = g->x->mm->memcg->max_pages;

	g->x->mm->memcg->max_pages = 4 * pages;
	long before = oom_score(g);
	fixture_map(g->x, BUFFER, pages, PROT_READ | PROT_WRITE, MAP_FIXED);
	assert_int_equal(oom_score(g), before);
	assert_int_equal(mm_populate(g->x->mm, BUFFER, pages << PAGE_SHIFT), 0);
	assert_in_range(oom_score(g) - before, 166, 168);
	mm_munmap(g->x->mm, BUFFER, pages << PAGE_SHIFT);
	assert_in_range(oom_score(g), before, before + 1);
	g->x->mm->memcg->max_pages = max;
}

static void bad_rw_dir(void **state)
{
	static const char *const rw[] = {"/tmp", "/nonexistent", NULL};
	struct view *view;
	const char *bad = NULL;

	(void)state;
	assert_int_equal(view_create(&(struct view_setup){.rw_dirs = rw}, &view, &bad), -ENOENT);
	assert_string_equal(bad, "/nonexistent");
}

int main(void)
{
#define CASE(title, fn)                          \
	{                                        \
		title, fn, setup, teardown, NULL \
	}
	const struct CMUnitTest tests[] = {
		CASE("files: outside the rw directories the view is a read-only mount", opens_outside),
		CASE("files: inside them opening has Linux's results", opens_inside),
		CASE("files: a symbolic link does not lead a writer out of an rw directory", links),
		CASE("files: an rw directory is an object, not the beginning of a name", lookalikes),
		CASE("files: only harmless devices open, and none is made", devices),
		CASE("files: no name is made, moved or removed outside", names_outside),
		CASE("files: inside names come and go as in Linux", names_inside),
		CASE("files: a descriptor does not give a file outside a name inside", link_by_descriptor),
		CASE("files: attributes change inside only", attributes),
		CASE("files: no set-id file is made", set_id),
		CASE("files: the guest's umask counts and ours does not", umasks),
		CASE("proc: entries of processes are refused by every way", proc_refused),
		CASE("proc: the machine's entries are readable and never writable", proc_public),
		CASE("proc: even below an rw directory it is never written", proc_never_written),
		CASE("proc: exe, cwd and maps are the guest's own", proc_made),
		CASE("proc: fd shows the guest's descriptors and none of ours", proc_descriptors),
		CASE("task: its number leads to it, and it to space, descriptors, directory and handlers "
		     "[G1]",
		     task_leads_to_its_parts),
		CASE("proc: oom_score follows what is resident [G17]", oom_score_follows_rss),
		CASE("files: descriptor numbers behave as in Linux", numbers),
		CASE("files: a full table fails a call before it changes a file", table_full),
		CASE("files: the working directory follows the directory", working_directory),
		CASE("files: a fault in reading entries loses none", directory_entries),
		CASE("files: sockets of AF_UNIX, and no others [J2]", sockets),
		CASE("files: ioctl answers about terminals and pipes only", ioctls),
		CASE("io: transfers of many windows are complete [P4]", large_transfers),
		CASE("io: a short read does not touch all of a large buffer", read_touches_what_it_needs),
		CASE("io: a fault in the middle counts what came before [P2 P3]", faults_in_the_middle),
		CASE("io: vectors are checked as the kernel does", vectors),
		CASE("io: sendfile and copy_file_range keep offsets", copies),
		CASE("io: pipes wait, or say EAGAIN", pipes),
		CASE("io: a broken pipe is SIGPIPE and EPIPE", broken_pipe),
		CASE("io: a write waits until a pipe took all of it", full_pipe),
		CASE("io: a lost kick ends a wait all the same", lost_kicks),
		CASE("poll: descriptors are the guest's, and a kick ends it", polls),
		CASE("poll: the signal mask counts while waiting", masked_polls),
		CASE("poll: select keeps the bits that are ready", selects),
		{"files: an rw directory that is not there is named", bad_rw_dir, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests_name("files", tests, NULL, NULL);
}
