/* SPDX-License-Identifier: MIT */
/*
 * view_walk.c - from a guest's path to an object of the host, through the mounts of a view. See view.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "path.h"
#include "procfs.h"
#include "view.h"

#define MAX_LINKS 40 /* as in Linux */

/* All of these are Linux 5.6. */
#define NO_LINKS  (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)

struct walk {
	const struct view *v;
	char done[PATH_MAX];	 /* the guest's path so far: canonical, "" for "/" */
	char left[2 * PATH_MAX]; /* what is still to be walked */
	unsigned int links;
	int flags; /* O_NOFOLLOW, O_DIRECTORY for the last component */
	bool magic;
};

static int host_open(int base, const char *path, int flags, uint64_t resolve)
{
	struct open_how how = {.flags = (unsigned int)(flags | O_PATH | O_CLOEXEC), .resolve = resolve};
	long fd = syscall(SYS_openat2, base, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

static const char *path_below(const char *path, const char *dir)
{
	size_t len = dir[1] ? strlen(dir) : 0;

	if (strncmp(path, dir, len) || (path[len] && path[len] != '/'))
		return NULL;
	return path[len] ? path + len + 1 : path + len;
}

static const struct mount *mount_of(const struct view *v, const char *guest, const char **rest)
{
	const struct mount *found = NULL;

	for (unsigned int i = 0; i < v->nr; i++) {
		const char *below = path_below(guest, v->mount[i].guest);
		if (!below || (found && strlen(found->guest) > strlen(v->mount[i].guest)))
			continue;
		found = &v->mount[i];
		*rest = below;
	}
	return found;
}

/* What stands at a path that is canonical but perhaps for its last component. */
static int open_canonical(const struct view *v, const char *guest, int flags)
{
	const char *rest = "";
	const struct mount *m = mount_of(v, guest, &rest);
	int fd;

	if (*rest)
		return host_open(m->fd, rest, flags, NO_LINKS);
	if (flags & O_DIRECTORY)
		return host_open(m->fd, ".", O_DIRECTORY, NO_LINKS);
	fd = fcntl(m->fd, F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

/* --- text ------------------------------------------------------------------------------------ */

/* Adds a component to `done`; 0 or -ENAMETOOLONG. */
static int done_add(struct walk *w, const char *name, size_t bytes)
{
	size_t len = strlen(w->done);

	if (len + bytes + 2 > sizeof(w->done))
		return -ENAMETOOLONG;
	w->done[len] = '/';
	memcpy(w->done + len + 1, name, bytes);
	w->done[len + 1 + bytes] = '\0';
	return 0;
}

/* Takes the next component that is not "." off `left`: its length, 0 at the end. */
static size_t next_component(struct walk *w, const char **name)
{
	const char *at = w->left;
	size_t bytes;

	do {
		at += strspn(at, "/");
		bytes = strcspn(at, "/");
		*name = at;
		at += bytes;
	} while (bytes == 1 && **name == '.');
	return bytes;
}

static bool is_up(const char *name, size_t bytes)
{
	return bytes == 2 && !memcmp(name, "..", 2);
}

/* What ends with a slash, ".", or ".." means a directory, and a link there what it leads to. */
static void look_at_end(struct walk *w)
{
	size_t len = strlen(w->left);
	const char *last = strrchr(w->left, '/');

	last = last ? last + 1 : w->left;
	if (len && (!*last || !strcmp(last, ".") || !strcmp(last, "..")))
		w->flags = (w->flags & ~O_NOFOLLOW) | O_DIRECTORY;
}

/* --- one step -------------------------------------------------------------------------------- */

/* All that is left, when it has no "..": the host says whether a link is in the way (-ELOOP). */
static int walk_at_once(struct walk *w)
{
	char saved[PATH_MAX], left[sizeof(w->left)];
	const char *name;
	size_t bytes;
	int err = 0;

	strcpy(saved, w->done);
	strcpy(left, w->left);
	while (!err && (bytes = next_component(w, &name))) {
		err = is_up(name, bytes) ? -ELOOP : done_add(w, name, bytes);
		memmove(w->left, name + bytes, strlen(name + bytes) + 1);
	}
	if (!err)
		err = open_canonical(w->v, *w->done ? w->done : "/", w->flags);
	if (err >= 0)
		return err;
	strcpy(w->done, saved);
	strcpy(w->left, left);
	return err;
}

static int walk_up(struct walk *w)
{
	int fd = open_canonical(w->v, *w->done ? w->done : "/", O_DIRECTORY);
	char *last = strrchr(w->done, '/');

	if (fd < 0)
		return fd;
	close(fd);
	if (last)
		*last = '\0';
	return 0;
}

/* A link's text before what is left. */
static int follow(struct walk *w, const char *text, size_t bytes)
{
	size_t left = strlen(w->left);

	if (++w->links > MAX_LINKS)
		return -ELOOP;
	if (!bytes)
		return -ENOENT;
	if (bytes + left + 2 > sizeof(w->left))
		return -ENAMETOOLONG;
	memmove(w->left + bytes + (left ? 1 : 0), w->left, left + 1);
	memcpy(w->left, text, bytes);
	if (left)
		w->left[bytes] = '/';
	if (text[0] == '/')
		w->done[0] = '\0';
	look_at_end(w);
	return 1;
}

/* Links of procfs are its own business: "self" and kin lead where the host says, the others nowhere. */
static int follow_in_procfs(struct walk *w, const char *guest)
{
	const char *rest = "";
	const struct mount *m = mount_of(w->v, guest, &rest);
	int fd = host_open(m->fd, rest, 0, RESOLVE_NO_MAGICLINKS | RESOLVE_BENEATH), n;

	if (fd == -ELOOP)
		w->magic = true;
	if (fd < 0)
		return fd;
	n = path_of_fd(fd, w->done);
	close(fd);
	n = n < 0 ? n : view_guest_path(w->v, w->done);
	return n < 0 ? n : 1;
}

/* One component; 1: a link was followed, what is left may be walked at once. */
static int walk_one(struct walk *w, const char *name, size_t bytes, bool last)
{
	char link[PATH_MAX], guest[PATH_MAX];
	const char *rest = "";
	ssize_t n = -1;
	int err, fd;

	strcpy(guest, w->done);
	err = done_add(w, name, bytes);
	memmove(w->left, name + bytes, strlen(name + bytes) + 1);
	if (err)
		return err;
	mount_of(w->v, w->done, &rest);
	if (!*rest) /* a mount is what it is */
		return 0;
	fd = open_canonical(w->v, w->done, O_NOFOLLOW);
	if (fd < 0)
		return fd;
	if (!last || !(w->flags & O_NOFOLLOW))
		n = readlinkat(fd, "", link, sizeof(link));
	err = n >= 0 && procfs_holds(fd) ? follow_in_procfs(w, w->done) : 0;
	close(fd);
	if (err || n < 0)
		return err;
	strcpy(w->done, guest);
	return n == sizeof(link) ? -ENAMETOOLONG : follow(w, link, (size_t)n);
}

/* Up to the first link, or to the end. */
static int walk_slowly(struct walk *w)
{
	const char *name, *after;
	size_t bytes;
	int err = 0;

	while (!err && (bytes = next_component(w, &name))) {
		after = name + bytes + strspn(name + bytes, "/");
		if (is_up(name, bytes)) {
			memmove(w->left, name + bytes, strlen(name + bytes) + 1);
			err = walk_up(w);
		} else {
			err = walk_one(w, name, bytes, !*after);
		}
	}
	return err;
}

static int walk_run(struct walk *w)
{
	int ret;

	look_at_end(w);
	for (;;) {
		ret = walk_at_once(w);
		if (ret != -ELOOP)
			return ret;
		ret = walk_slowly(w);
		if (ret < 0)
			return ret;
		if (!ret)
			return open_canonical(w->v, *w->done ? w->done : "/", w->flags);
	}
}

/* What the host has at an absolute path, and a root of memory does not show. */
static void note_hidden(const struct view *v, const char *path)
{
	const char *rest = "";
	const struct mount *m = mount_of(v, path, &rest);
	struct view_hidden *h = v->hidden;
	struct stat st;

	if (!m->memory || m->guest[1] || lstat(path, &st))
		return;
	pthread_mutex_lock(&h->lock);
	/* A look at its directory belongs to the lookup before. */
	if (!path_below(h->last, path)) {
		h->nr++;
		snprintf(h->last, sizeof(h->last), "%s", path);
	}
	pthread_mutex_unlock(&h->lock);
}

static bool is_mounts_name(const struct view *v, const char *name, size_t bytes)
{
	for (unsigned int i = 0; i < v->nr; i++) {
		const char *last = strrchr(v->mount[i].guest, '/') + 1;
		if (!strncmp(last, name, bytes) && !last[bytes])
			return true;
	}
	return false;
}

bool view_is_inside(const struct view *v, const char *text)
{
	size_t bytes;

	if (*text == '/')
		return false;
	for (text += strspn(text, "/"); *text; text += bytes + strspn(text + bytes, "/")) {
		bytes = strcspn(text, "/");
		if (is_up(text, bytes) || (!v->plain && is_mounts_name(v, text, bytes)))
			return false;
	}
	return true;
}

int view_open_inside(const struct view *v, int base, const char *text, int flags)
{
	if (v->plain || !*text || !view_is_inside(v, text)) /* plain ones need no second call */
		return -ELOOP;
	return host_open(base, text, flags, NO_LINKS);
}

int view_open(const struct view *v, int base, const char *text, int flags, bool *magic)
{
	struct walk w = {.v = v, .flags = flags};
	int ret;

	*magic = false;
	if (!*text)
		return -ENOENT;
	if (v->plain)
		return host_open(base, text, flags, RESOLVE_NO_MAGICLINKS);
	if (text[0] != '/') {
		ret = path_of_fd(base, w.done);
		ret = ret < 0 ? ret : view_guest_path(v, w.done);
		if (ret < 0)
			return ret;
		if (w.done[0] != '/') /* no directory at all */
			return host_open(base, text, flags, NO_LINKS);
		if (!w.done[1])
			w.done[0] = '\0';
	}
	if (strlen(text) >= PATH_MAX)
		return -ENAMETOOLONG;
	strcpy(w.left, text);
	ret = walk_run(&w);
	if (ret == -ENOENT && text[0] == '/')
		note_hidden(v, text);
	*magic = w.magic;
	return ret;
}
