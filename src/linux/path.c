/* SPDX-License-Identifier: MIT */
/*
 * path.c - see path.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "path.h"
#include "task.h"
#include "view.h"

#define MAX_LINKS 40 /* as in Linux */

/* All of these are Linux 5.6. */
#define INSIDE	  (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)

static int open_at(int base, const char *path, int flags, uint64_t resolve)
{
	struct open_how how = {.flags = (unsigned int)(flags | O_PATH | O_CLOEXEC), .resolve = resolve};
	long fd = syscall(SYS_openat2, base, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

#define OWN_FDS "/proc/self/fd"

/* Written by hand: every second call on a path needs one, and snprintf takes as long as the cheaper calls of the host. */
struct path_link path_link(int fd)
{
	struct path_link link = {OWN_FDS "/"};
	char *end = link.text + strlen(OWN_FDS "/") + 1;
	unsigned int n = (unsigned int)fd; /* what is none of ours has no such name */

	for (unsigned int rest = n; rest >= 10; rest /= 10)
		end++;
	do
		*--end = (char)('0' + n % 10);
	while (n /= 10);
	return link;
}

/* /proc/self/fd, open: half of what such a path costs is the way to there. -1: not yet, or it cannot be had. */
static _Atomic int own_fds = -1;

/* The child of a fork has descriptors of its own. */
static void forget_own_fds(void)
{
	close(atomic_exchange(&own_fds, -1));
}

static void watch_forks(void)
{
	pthread_atfork(NULL, NULL, forget_own_fds);
}

static int open_own_fds(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	int fd, none = -1;

	pthread_once(&once, watch_forks);
	fd = open(OWN_FDS, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || atomic_compare_exchange_strong(&own_fds, &none, fd))
		return fd;
	close(fd);
	return none;
}

/* Where the name of one of our descriptors is to be looked for, and that name. */
struct own_fd {
	int dir;
	struct path_link link;
	const char *name;
};

static void own_fd(int fd, struct own_fd *own)
{
	int dir = atomic_load_explicit(&own_fds, memory_order_acquire);

	own->dir = dir < 0 ? open_own_fds() : dir;
	own->link = path_link(fd);
	own->name = own->dir < 0 ? own->link.text : own->link.text + strlen(OWN_FDS "/");
}

int path_reopen(int fd, int flags)
{
	struct own_fd own;

	own_fd(fd, &own);
	return openat(own.dir, own.name, flags);
}

int path_of_fd(int fd, char path[PATH_MAX])
{
	struct own_fd own;

	own_fd(fd, &own);
	ssize_t n = readlinkat(own.dir, own.name, path, PATH_MAX);

	if (n < 0)
		return -errno;
	if (n == PATH_MAX)
		return -ENAMETOOLONG;
	path[n] = '\0';
	return (int)n;
}

/* --- the argument ---------------------------------------------------------------------------- */

/* What follows the links of the guest's own process that procfs alone can follow: "fd/N/a", "cwd/a", "root/a". NULL: another path. */
static const char *after_own_directory(const char *text)
{
	static const char *const way[] = {"/proc/self/", "/proc/thread-self/", "/dev/"};

	for (unsigned int i = 0; i < ARRAY_SIZE(way); i++)
		if (!strncmp(text, way[i], strlen(way[i])))
			return text[1] == 'p' || !strncmp(text + strlen(way[i]), "fd/", 3)
				       ? text + strlen(way[i])
				       : NULL;
	return NULL;
}

static int path_begin(struct task *t, int guest_dirfd, struct path *p);

/* Goes on below the directory that such a link leads to: 0, or -ENOENT. The text becomes shorter. */
static int path_begin_below_link(struct task *t, struct path *p)
{
	const char *link = after_own_directory(p->text), *rest = link ? strchr(link, '/') : NULL;
	int base = -1;
	char *end;

	if (!rest)
		return 0;
	if (!strncmp(link, "fd/", 3) && link[3] >= '0' && link[3] <= '9') {
		long fd = strtol(link + 3, &end, 10);
		rest = end;
		base = fd > INT_MAX ? -EBADF : files_host_fd(t->files, (int)fd);
	} else if (!strncmp(link, "cwd/", 4)) {
		base = fs_cwd(t->fs);
	} else if (strncmp(link, "root/", 5) != 0) {
		return 0;
	}
	if (*rest != '/' || !rest[strspn(rest, "/")]) /* the link itself */
		return 0;
	if (base == -EBADF)
		return -ENOENT;
	rest += base < 0 ? 0 : strspn(rest, "/");
	memmove(p->text, rest, strlen(rest) + 1);
	if (base < 0)
		return path_begin(t, AT_FDCWD, p);
	p->base = base;
	p->inside = !view_has_strangers(p->view);
	return 0;
}

/* An empty path needs no start where it means nothing: that it is empty is told first (path_target, path_parent). */
static int path_begin(struct task *t, int guest_dirfd, struct path *p)
{
	p->view = t->files->view;
	p->who = (struct proc_who){0};
	p->inside = p->text[0] != '/' && !view_has_strangers(p->view);
	if (p->text[0] == '/') {
		p->base = AT_FDCWD;
		int err = procfs_redirect(t, p->text, &p->who);
		return err || p->who.serial ? err : path_begin_below_link(t, p);
	}
	if (guest_dirfd == AT_FDCWD)
		p->base = fs_cwd(t->fs);
	else
		p->base = files_host_fd(t->files, guest_dirfd);
	return p->base == -EBADF && p->text[0] ? -EBADF : 0;
}

int path_get(struct task *t, int guest_dirfd, gva_t from, struct path *p)
{
	int64_t len = strncpy_from_user(t->mm, p->text, from, sizeof(p->text));

	return len < 0 ? (int)len : path_begin(t, guest_dirfd, p);
}

int path_get_or_null(struct task *t, int guest_dirfd, gva_t from, struct path *p)
{
	if (from)
		return path_get(t, guest_dirfd, from, p);
	p->text[0] = '\0';
	return path_begin(t, guest_dirfd, p);
}

void path_from_text(struct task *t, const char *text, struct path *p)
{
	*p = (struct path){.view = t->files->view, .base = text[0] == '/' ? AT_FDCWD : fs_cwd(t->fs)};
	snprintf(p->text, sizeof(p->text), "%s", text);
}

/* --- names in a directory that is open ------------------------------------------------------- */

static int walk(const struct path *p, const char *text, int how, struct view_end *end)
{
	int fd = p->inside ? view_open_inside(p->view, p->base, text, how) : -ELOOP;

	if (fd == -ELOOP)
		return view_open(p->view, p->base, text, how, end);
	*end = (struct view_end){.by_number = view_ends_with_number(text)};
	return fd;
}

/* Nothing of procfs, judging by a directory and the device of something in it. */
static bool is_plain(int base, dev_t dev)
{
	struct stat at;

	return major(dev) || (!procfs_holds(base) && !fstat(base, &at) && at.st_dev == dev);
}

static bool is_one_name(const struct path *p)
{
	return p->inside && !strchr(p->text, '/') && view_is_inside(p->view, p->text);
}

/* Without a descriptor. False: nothing there, a link to follow, or something that path_target has to look at. */
static bool status_of_name(const struct path *p, unsigned int flags, struct stat *st)
{
	return is_one_name(p) && !fstatat(p->base, p->text, st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) &&
	       (!S_ISLNK(st->st_mode) || (flags & PATH_NOFOLLOW)) && is_plain(p->base, st->st_dev);
}

int path_status(struct task *t, const struct path *p, unsigned int flags, struct path_target *target)
{
	*target = (struct path_target){.fd = -1};
	return status_of_name(p, flags, &target->st) ? 0 : path_target(t, p, flags, target);
}

static bool statx_of_name(const struct path *p, unsigned int flags, int sync, unsigned int mask,
			  struct statx *stx)
{
	return is_one_name(p) &&
	       !statx(p->base, p->text, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | sync, mask, stx) &&
	       (!S_ISLNK(stx->stx_mode) || (flags & PATH_NOFOLLOW)) &&
	       is_plain(p->base, makedev(stx->stx_dev_major, stx->stx_dev_minor));
}

int path_statx(struct task *t, const struct path *p, unsigned int flags, int sync, unsigned int mask,
	       struct statx *stx)
{
	struct path_target target;
	int err;

	memset(stx, 0, sizeof(*stx));
	if (statx_of_name(p, flags, sync, mask, stx))
		return 0;
	err = path_target(t, p, flags, &target);
	if (err)
		return err;
	err = statx(target.fd, "", AT_EMPTY_PATH | sync, mask, stx) ? -errno : 0;
	close(target.fd);
	return err;
}

int path_readlink(const struct path *p, char text[PATH_MAX])
{
	ssize_t n =
		is_one_name(p) && !procfs_holds(p->base) ? readlinkat(p->base, p->text, text, PATH_MAX) : -1;

	return n < 0 ? -EAGAIN : (int)n;
}

int path_open_directory(const struct path *p, int flags, struct stat *st)
{
	int fd = p->base == AT_FDCWD || is_one_name(p)
			 ? view_open_directory(p->view, p->base, p->text, flags | O_NOCTTY)
			 : -1;

	if (fd < 0)
		return -EAGAIN;
	if (!fstat(fd, st) && !procfs_holds_object(fd, st))
		return fd;
	close(fd);
	return -EAGAIN;
}

/* --- the directory of the last component ----------------------------------------------------- */

/* ELOOP from a walk is a magic link in the way when it is not one too many of the others. */
static int walk_error(const struct path *p, const char *dir, int error, bool magic)
{
	int fd = error == -ELOOP && p->view->plain ? open_at(p->base, dir, 0, 0) : error;

	if (magic)
		return -EACCES;
	if (fd >= 0)
		close(fd);
	return fd == error ? error : -EACCES;
}

bool path_has_slash(const struct path *p)
{
	size_t len = strlen(p->text);

	return len && p->text[len - 1] == '/';
}

int path_parent(struct path *p, struct path_parent *parent)
{
	const char *dir = p->text;
	char *end = p->text + strlen(p->text);
	struct view_end walked;
	char *name;

	if (!*p->text)
		return -ENOENT;
	while (end > p->text && end[-1] == '/')
		end--;
	if (end == p->text) /* slashes alone */
		end = strcpy(p->text, "/.") + 2;
	for (name = end; name > p->text && name[-1] != '/'; name--)
		;
	if (name == p->text)
		dir = ".";
	else if (strspn(p->text, "/") == (size_t)(name - p->text))
		dir = "/";
	else
		name[-1] = '\0';
	parent->name = name;
	parent->slash = *end;
	parent->fd = walk(p, dir, O_DIRECTORY, &walked);
	parent->all_writable = walked.mount && walked.mount->all_writable;
	return parent->fd < 0 ? walk_error(p, dir, parent->fd, walked.magic) : 0;
}

/* The path to go on with: the text of a link, and the slashes that were behind the link. */
static int follow_link(struct path *p, const struct path_parent *parent, const char *text, size_t len)
{
	if (len + 2 > sizeof(p->text))
		return -ENAMETOOLONG;
	memcpy(p->text, text, len);
	strcpy(p->text + len, parent->slash ? "/" : "");
	p->base = text[0] == '/' ? AT_FDCWD : parent->fd;
	return 0;
}

int path_follow(struct path *p, struct path_parent *parent)
{
	char link[PATH_MAX], name[NAME_MAX + 1];
	int held = -1; /* the directory that p->base may be */

	for (int links = 0; links <= MAX_LINKS; links++) {
		int err = path_parent(p, parent);

		if (held >= 0)
			close(held);
		if (err < 0)
			return err;
		size_t len = strcspn(parent->name, "/");
		ssize_t n = -1;
		if (len <= NAME_MAX && !procfs_holds(parent->fd)) {
			memcpy(name, parent->name, len);
			name[len] = '\0';
			n = readlinkat(parent->fd, name, link, sizeof(link));
		}
		if (n < 0) /* no link, or nothing: what the caller does with the name will say it */
			return 0;
		held = parent->fd;
		err = follow_link(p, parent, link, (size_t)n);
		if (err < 0) {
			close(held);
			return err;
		}
	}
	close(held);
	return -ELOOP;
}

/* --- objects --------------------------------------------------------------------------------- */

static int dup_fd(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	return copy < 0 ? -errno : copy;
}

/* A link of the guest's own process: the link itself, as ours looks, or what it leads to. */
static int open_own_link(struct task *t, const struct proc_entry *e, unsigned int flags)
{
	int directory = flags & PATH_DIRECTORY ? O_DIRECTORY : 0;
	struct view_end end;
	int host_fd = e->kind == PROC_FD ? files_host_fd(t->files, e->guest_fd) : -1;

	if (e->kind == PROC_FD && host_fd < 0)
		return -ENOENT;
	if (flags & PATH_NOFOLLOW)
		return open_at(AT_FDCWD, e->kind == PROC_FD ? path_link(host_fd).text : "/proc/self/exe",
			       O_NOFOLLOW | directory, 0);
	switch (e->kind) {
	case PROC_FD:
		return dup_fd(host_fd);
	case PROC_EXE:
		return t->process->exe_path
			       ? open_at(AT_FDCWD, t->process->exe_path, directory, RESOLVE_NO_MAGICLINKS)
			       : -ENOENT;
	case PROC_CWD:
		return dup_fd(fs_cwd(t->fs));
	default:
		return view_open(t->files->view, AT_FDCWD, "/", directory, &end);
	}
}

static bool is_own_link(enum proc_kind kind)
{
	return kind == PROC_EXE || kind == PROC_CWD || kind == PROC_ROOT || kind == PROC_FD;
}

static int target_own_link(struct task *t, unsigned int flags, struct path_target *target)
{
	int fd = open_own_link(t, &target->entry, flags);

	if (fd < 0)
		return fd;
	target->fd = fd;
	target->all_writable = false;
	if (!(flags & PATH_NOFOLLOW) && target->entry.kind != PROC_FD)
		target->entry.kind = PROC_NONE;
	if (!fstat(fd, &target->st) && (!(flags & PATH_DIRECTORY) || S_ISDIR(target->st.st_mode)))
		return 0;
	close(fd);
	return -ENOTDIR;
}

/* Of others there are the files and the list of threads. */
static bool may_look(const struct task *t, const struct proc_who *who, const struct proc_entry *e)
{
	return !procfs_is_stranger(t, who) || e->kind == PROC_FILE || e->kind == PROC_DIR ||
	       e->kind == PROC_TASKS;
}

/* The walk came out in procfs. */
static int target_in_procfs(struct task *t, const struct path *p, unsigned int flags,
			    struct path_target *target)
{
	target->entry = procfs_entry_of_fd(t, target->fd);
	target->all_writable = false;
	if (!may_look(t, &p->who, &target->entry))
		target->entry.kind = PROC_REFUSED;
	target->entry.who = p->who;
	if (target->entry.kind != PROC_REFUSED && !is_own_link(target->entry.kind))
		return 0;
	close(target->fd);
	return target->entry.kind == PROC_REFUSED ? -EACCES : target_own_link(t, flags, target);
}

/* The walk failed with `error`: at a magic link, or where only the guest's own process has an entry? */
static int target_by_name(struct task *t, const struct path *p, unsigned int flags, int error,
			  struct path_target *target)
{
	char at[PATH_MAX];
	struct path copy = *p;
	struct path_parent parent;
	bool itself = (flags & PATH_NOFOLLOW) && !path_has_slash(p);
	int err = itself ? path_parent(&copy, &parent) : path_follow(&copy, &parent);

	if (err < 0)
		return err == -EACCES ? err : error;
	err = procfs_holds(parent.fd) ? path_of_fd(parent.fd, at) : -ENOENT;
	close(parent.fd);
	if (err < 0 || (size_t)err + strlen(parent.name) + 2 > sizeof(at))
		return error;
	if (parent.slash) {
		flags = (flags & ~PATH_NOFOLLOW) | PATH_DIRECTORY;
		parent.name[strcspn(parent.name, "/")] = '\0';
	}
	sprintf(at + err, "/%s", parent.name);
	target->entry = procfs_entry(t, at);
	if (!may_look(t, &p->who, &target->entry))
		target->entry.kind = PROC_REFUSED;
	if (target->entry.kind == PROC_REFUSED && error == -ELOOP)
		return -EACCES;
	return is_own_link(target->entry.kind) ? target_own_link(t, flags, target) : error;
}

int path_target(struct task *t, const struct path *p, unsigned int flags, struct path_target *target)
{
	int how = (flags & PATH_NOFOLLOW ? O_NOFOLLOW : 0) | (flags & PATH_DIRECTORY ? O_DIRECTORY : 0);
	struct view_end end = {0};
	int fd;

	if (!*p->text)
		fd = flags & PATH_EMPTY ? dup_fd(p->base) : -ENOENT;
	else
		fd = walk(p, p->text, how, &end);
	if (*p->text && (fd == -ELOOP || (fd == -ENOENT && end.by_number)))
		return target_by_name(t, p, flags, fd, target);
	if (fd < 0)
		return fd;
	*target = (struct path_target){.fd = fd,
				       .all_writable = *p->text && end.mount && end.mount->all_writable};
	if (fstat(fd, &target->st)) {
		close(fd);
		return -errno;
	}
	return *p->text && procfs_holds_object(fd, &target->st) ? target_in_procfs(t, p, flags, target) : 0;
}

/* --- what may be changed --------------------------------------------------------------------- */

/* `path` is that of fd. */
static int writable_at(const struct view *v, int fd, const char *path, int flags)
{
	const char *rest;
	const struct mount *m = view_find_host(v, path, &rest);

	if (!m || !m->writable || procfs_holds(fd))
		return -EROFS;
	if (!*rest && !(flags & O_DIRECTORY)) /* it may be a file */
		return dup_fd(m->fd);
	return open_at(m->fd, *rest ? rest : ".", O_NOFOLLOW | flags, INSIDE);
}

int path_writable(const struct view *v, int fd, int flags)
{
	char path[PATH_MAX];
	int err = path_of_fd(fd, path);

	return err < 0 ? err : writable_at(v, fd, path, flags);
}

int path_parent_writable(const struct view *v, const struct path_parent *parent)
{
	return parent->all_writable && !procfs_holds(parent->fd) ? parent->fd
								 : path_writable(v, parent->fd, O_DIRECTORY);
}

void path_parent_release(struct path_parent *parent, int verified)
{
	if (verified >= 0 && verified != parent->fd)
		close(verified);
	close(parent->fd);
}

int path_open_in(int dir_fd, const char *name)
{
	return open_at(dir_fd, name, O_NOFOLLOW, INSIDE);
}

static bool same_object(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Pipes, sockets and files in memory lie in no mount. */
static bool is_nameless(const char *path)
{
	return path[0] != '/' || !strncmp(path, "/memfd:", 7);
}

int path_check_writable(const struct view *v, int fd)
{
	struct stat mine, found;
	char path[PATH_MAX];
	int again = path_of_fd(fd, path);
	bool same;

	if (again >= 0 && is_nameless(path))
		return 0;
	if (again >= 0)
		again = writable_at(v, fd, path, 0);
	if (again < 0 && again != -ENOENT)
		return again;
	same = !fstat(fd, &mine) &&
	       (mine.st_nlink == 0 || (again >= 0 && !fstat(again, &found) && same_object(&mine, &found)));
	if (again >= 0)
		close(again);
	return same ? 0 : -EROFS;
}
