/* SPDX-License-Identifier: MIT */
/*
 * view_walk.c - from a guest's path to an object of the host, through the mounts of a view. See view.h.
 *
 * A path without links or ".." costs one call of the host, each way up one more (is that a directory, and may names be looked for in
 * it?), and a link those that find it; the links that a root of memory begins with cost none.
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
	const struct mount *mount; /* that what was opened last was reached from */
	unsigned int links;
	int flags; /* O_NOFOLLOW, O_DIRECTORY for the last component */
	bool magic;
	size_t done_len, at;
	char done[PATH_MAX];	 /* the guest's path so far, done_len bytes: canonical, "" for "/" */
	char left[2 * PATH_MAX]; /* from `at` on: what is still to be walked */
};

static int host_open_for(int base, const char *path, int flags, uint64_t resolve)
{
	struct open_how how = {.flags = (unsigned int)(flags | O_CLOEXEC), .resolve = resolve};
	long fd = syscall(SYS_openat2, base, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

static int host_open(int base, const char *path, int flags, uint64_t resolve)
{
	return host_open_for(base, path, flags | O_PATH, resolve);
}

/* What follows a mount in `path`, or NULL when it does not lie in it. */
static const char *path_below(const char *path, const struct mount *m)
{
	const char *rest = path + m->guest_len;

	if (memcmp(path, m->guest, m->guest_len) || (*rest && *rest != '/'))
		return NULL;
	return *rest ? rest + 1 : rest;
}

/* `guest` is canonical and `len` bytes long. */
static const struct mount *mount_of(const struct view *v, const char *guest, size_t len, const char **rest)
{
	const struct mount *found = NULL;

	for (unsigned int i = 0; i < v->nr; i++) {
		const struct mount *m = &v->mount[i];
		if (m->guest_len > len || (found && found->guest_len > m->guest_len))
			continue;
		const char *below = path_below(guest, m);
		if (!below)
			continue;
		found = m;
		*rest = below;
	}
	return found;
}

/* What stands in a mount. */
static int open_in(const struct mount *m, const char *rest, int flags)
{
	if (*rest)
		return host_open(m->fd, rest, flags, NO_LINKS);
	if (flags & O_DIRECTORY)
		return host_open(m->fd, ".", O_DIRECTORY, NO_LINKS);
	int fd = fcntl(m->fd, F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

/* What stands at what was done, but perhaps for its last component. */
static int open_done(struct walk *w, int flags)
{
	const char *rest = "";

	w->mount = mount_of(w->v, w->done_len ? w->done : "/", w->done_len, &rest);
	return open_in(w->mount, rest, flags);
}

/* --- text ------------------------------------------------------------------------------------ */

/* Adds a component to `done`; 0 or -ENAMETOOLONG. */
static int done_add(struct walk *w, const char *name, size_t bytes)
{
	if (w->done_len + bytes + 2 > sizeof(w->done))
		return -ENAMETOOLONG;
	w->done[w->done_len] = '/';
	memcpy(w->done + w->done_len + 1, name, bytes);
	w->done_len += bytes + 1;
	w->done[w->done_len] = '\0';
	return 0;
}

static void done_cut(struct walk *w, size_t len)
{
	w->done_len = len;
	w->done[len] = '\0';
}

/* The next component of `left` that is not ".": its length, 0 at the end; *behind is what follows it. */
static size_t peek_component(const struct walk *w, const char **name, size_t *behind)
{
	const char *at = w->left + w->at;
	size_t bytes;

	do {
		at += strspn(at, "/");
		bytes = strcspn(at, "/");
		*name = at;
		at += bytes;
	} while (bytes == 1 && **name == '.');
	*behind = (size_t)(at - w->left);
	return bytes;
}

static size_t next_component(struct walk *w, const char **name)
{
	return peek_component(w, name, &w->at);
}

static bool is_up(const char *name, size_t bytes)
{
	return bytes == 2 && !memcmp(name, "..", 2);
}

/* What ends with a slash, ".", or ".." means a directory, and a link there what it leads to. */
static void look_at_end(struct walk *w)
{
	const char *left = w->left + w->at, *last = strrchr(left, '/');

	last = last ? last + 1 : left;
	if (*left && (!*last || !strcmp(last, ".") || !strcmp(last, "..")))
		w->flags = (w->flags & ~O_NOFOLLOW) | O_DIRECTORY;
}

bool view_ends_with_number(const char *text)
{
	const char *end = text + strlen(text);

	while (end > text && end[-1] == '/')
		end--;
	const char *name = end;
	while (name > text && name[-1] >= '0' && name[-1] <= '9')
		name--;
	return name < end && (name == text || name[-1] == '/');
}

/* --- one step -------------------------------------------------------------------------------- */

/* What was done is a directory in which names may be looked for: so much ".." asks for. 0 or -errno. */
static int check_way_up(struct walk *w)
{
	int fd, err = done_add(w, ".", 1);

	if (err)
		return err;
	fd = open_done(w, O_DIRECTORY);
	done_cut(w, w->done_len - 2);
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static void walk_up(struct walk *w)
{
	while (w->done_len && w->done[--w->done_len] != '/')
		;
	w->done[w->done_len] = '\0';
}

/* All ".." that come next; what is above a directory that was reached has been walked through. */
static int walk_all_up(struct walk *w)
{
	int err = check_way_up(w);
	const char *name = "";
	size_t behind = w->at, bytes;

	if (err)
		return err;
	for (;;) {
		bytes = peek_component(w, &name, &behind);
		if (!is_up(name, bytes))
			return 0;
		w->at = behind;
		walk_up(w);
	}
}

/* All that is left, or up to the next "..": the host says whether a link is in the way (-ELOOP, and nothing is done). */
static int walk_at_once(struct walk *w, bool *up)
{
	size_t done = w->done_len, at = w->at, behind, bytes = 0;
	const char *name;
	int err = 0;

	while (!err && (bytes = peek_component(w, &name, &behind)) && !is_up(name, bytes)) {
		err = done_add(w, name, bytes);
		w->at = behind;
	}
	*up = bytes;
	if (!err)
		err = *up ? walk_all_up(w) : open_done(w, w->flags);
	if (err != -ELOOP)
		return err;
	done_cut(w, done);
	w->at = at;
	return err;
}

/* A link's text before what is left. */
static int follow(struct walk *w, const char *text, size_t bytes)
{
	const char *rest = w->left + w->at;
	size_t left = strlen(rest);

	if (++w->links > MAX_LINKS)
		return -ELOOP;
	if (!bytes)
		return -ENOENT;
	if (bytes + left + 2 > sizeof(w->left))
		return -ENAMETOOLONG;
	memmove(w->left + bytes + (left ? 1 : 0), rest, left + 1);
	memcpy(w->left, text, bytes);
	if (left)
		w->left[bytes] = '/';
	w->at = 0;
	if (text[0] == '/')
		done_cut(w, 0);
	look_at_end(w);
	return 1;
}

/* Links of procfs are their own business: "self" and kin lead where the host says, the others nowhere. */
static int follow_in_procfs(struct walk *w)
{
	const char *rest = "";
	const struct mount *m = mount_of(w->v, w->done, w->done_len, &rest);
	int fd = host_open(m->fd, rest, 0, RESOLVE_NO_MAGICLINKS | RESOLVE_BENEATH), n;

	if (fd == -ELOOP)
		w->magic = true;
	if (fd < 0)
		return fd;
	n = path_of_fd(fd, w->done);
	close(fd);
	n = n < 0 ? n : view_guest_path(w->v, w->done);
	if (n < 0)
		return n;
	done_cut(w, (size_t)n);
	return 1;
}

/* One component; 1: a link was followed, what is left may be walked at once. */
static int walk_one(struct walk *w, const char *name, size_t bytes, bool last)
{
	size_t before = w->done_len;
	char link[PATH_MAX];
	const char *rest = "";
	ssize_t n = -1;
	int fd, err = done_add(w, name, bytes);

	if (err)
		return err;
	mount_of(w->v, w->done, w->done_len, &rest);
	if (!*rest) /* a mount is what it is */
		return 0;
	fd = open_done(w, O_NOFOLLOW);
	if (fd < 0)
		return fd;
	if (!last || !(w->flags & O_NOFOLLOW))
		n = readlinkat(fd, "", link, sizeof(link));
	err = n >= 0 && procfs_holds(fd) ? follow_in_procfs(w) : 0;
	close(fd);
	if (err || n < 0)
		return err;
	done_cut(w, before);
	return n == sizeof(link) ? -ENAMETOOLONG : follow(w, link, (size_t)n);
}

/* Up to the first link, or ".."; 0: at the end. */
static int walk_slowly(struct walk *w)
{
	const char *name;
	size_t bytes;
	int err = 0;

	while (!err && (bytes = next_component(w, &name))) {
		const char *after = name + bytes;
		if (is_up(name, bytes)) {
			err = check_way_up(w);
			walk_up(w);
			err = err ? err : 1;
		} else {
			err = walk_one(w, name, bytes, !after[strspn(after, "/")]);
		}
	}
	return err;
}

/* The links of a root of memory are known. 1: one was followed. */
static int follow_root_link(struct walk *w)
{
	const char *name;
	size_t behind, bytes;

	if (w->done_len || !w->v->nr_links)
		return 0;
	bytes = peek_component(w, &name, &behind);
	bool last = bytes && !name[bytes + strspn(name + bytes, "/")];
	if (!bytes || (last && (w->flags & O_NOFOLLOW)))
		return 0;
	for (unsigned int i = 0; i < w->v->nr_links; i++) {
		const struct view_link *l = &w->v->links[i];
		if (strncmp(l->name, name, bytes) || l->name[bytes])
			continue;
		w->at = behind;
		return follow(w, l->text, strlen(l->text));
	}
	return 0;
}

static int walk_run(struct walk *w)
{
	bool up = false;
	int ret;

	look_at_end(w);
	for (;;) {
		do
			ret = follow_root_link(w);
		while (ret > 0);
		ret = ret ? ret : walk_at_once(w, &up);
		if (!ret && up)
			continue;
		if (ret != -ELOOP || w->links > MAX_LINKS)
			return ret;
		ret = walk_slowly(w);
		if (ret < 0)
			return ret;
		if (!ret)
			return open_done(w, w->flags);
	}
}

/* A path that says where it leads, as far as links do not. */
static bool is_canonical(const char *text, size_t *len)
{
	const char *at = text;

	while (*at == '/') {
		size_t bytes = strcspn(++at, "/");
		if (!bytes || (bytes == 1 && *at == '.') || is_up(at, bytes))
			return false;
		at += bytes;
	}
	*len = (size_t)(at - text);
	return *len && *len < PATH_MAX;
}

/* In one step; -ELOOP: there is more to it. */
static int open_absolute(const struct view *v, const char *text, int flags, struct view_end *end)
{
	const char *rest = "";
	size_t len;

	if (!is_canonical(text, &len))
		return -ELOOP;
	end->mount = mount_of(v, text, len, &rest);
	if (v->nr_links && end->mount == &v->mount[0])
		return -ELOOP;
	end->by_number = view_ends_with_number(text);
	return open_in(end->mount, rest, flags);
}

/* True when `path` is `dir`, or lies in it. */
static bool lies_in(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return !strncmp(path, dir, len) && (!path[len] || path[len] == '/');
}

/* What the host has at an absolute path, and a root of memory does not show. */
static void note_hidden(const struct view *v, const char *path)
{
	const char *rest = "";
	const struct mount *m = mount_of(v, path, strlen(path), &rest);
	struct view_hidden *h = v->hidden;
	struct stat st;

	if (!m->memory || m->guest[1] || lstat(path, &st))
		return;
	pthread_mutex_lock(&h->lock);
	/* A look at its directory belongs to the lookup before. */
	if (!lies_in(h->last, path)) {
		h->nr++;
		snprintf(h->last, sizeof(h->last), "%s", path);
	}
	pthread_mutex_unlock(&h->lock);
}

static bool is_mounts_name(const struct view *v, const char *name, size_t bytes)
{
	for (unsigned int i = 0; i < v->nr; i++) {
		const char *last = v->mount[i].name;
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

int view_open_directory(const struct view *v, int base, const char *text, int flags)
{
	const struct mount *m;
	const char *rest = "";
	size_t len;

	if (base != AT_FDCWD)
		return host_open_for(base, text, flags, NO_LINKS);
	if (v->plain || !is_canonical(text, &len))
		return -ELOOP;
	m = mount_of(v, text, len, &rest);
	return host_open_for(m->fd, *rest ? rest : ".", flags, NO_LINKS);
}

/* Where a walk begins; text is no plain name of a host's directory. */
static int walk_begin(struct walk *w, int base, const char *text)
{
	int n = 0;

	if (strlen(text) >= PATH_MAX)
		return -ENAMETOOLONG;
	if (text[0] != '/') {
		n = path_of_fd(base, w->done);
		n = n < 0 ? n : view_guest_path(w->v, w->done);
	}
	if (n < 0)
		return n;
	done_cut(w, n > 1 ? (size_t)n : 0);
	strcpy(w->left, text);
	return 0;
}

static int walk(const struct view *v, int base, const char *text, int flags, struct view_end *end)
{
	struct walk w;
	int ret;

	w.v = v;
	w.flags = flags;
	w.mount = NULL;
	w.links = 0;
	w.magic = false;
	w.at = 0;
	ret = walk_begin(&w, base, text);
	if (ret)
		return ret;
	if (w.done_len && w.done[0] != '/') /* no directory at all */
		return host_open(base, text, flags, NO_LINKS);
	ret = walk_run(&w);
	*end = (struct view_end){w.magic, view_ends_with_number(w.done), w.mount};
	return ret;
}

int view_open(const struct view *v, int base, const char *text, int flags, struct view_end *end)
{
	int ret;

	*end = (struct view_end){.by_number = true};
	if (!*text)
		return -ENOENT;
	if (v->plain)
		return host_open(base, text, flags, RESOLVE_NO_MAGICLINKS);
	ret = *text == '/' ? open_absolute(v, text, flags, end) : -ELOOP;
	if (ret == -ELOOP)
		ret = walk(v, base, text, flags, end);
	if (ret == -ENOENT && text[0] == '/')
		note_hidden(v, text);
	return ret;
}
