/* SPDX-License-Identifier: MIT */
/*
 * view.c - making a view and finding mounts. See view.h. Walks: view_walk.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../include/lodge.h"
#include "memfd.h"
#include "path.h"
#include "view.h"

#define MEMORY_MODE 01777
#define DIR_MODE    0755

/* What follows the directory `dir` in `path`, or NULL when it does not lie in it. */
static const char *path_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	if (len == 1) /* "/" */
		return path + 1;
	if (strncmp(path, dir, len) || (path[len] && path[len] != '/'))
		return NULL;
	return path[len] ? path + len + 1 : path + len;
}

const struct mount *view_find_host(const struct view *v, const char *host, const char **rest)
{
	const struct mount *found = NULL;

	for (unsigned int i = 0; i < v->nr && host[0] == '/'; i++) {
		const char *below = path_below(host, v->mount[i].host);
		if (!below || (found && strlen(found->host) > strlen(v->mount[i].host)))
			continue;
		found = &v->mount[i];
		*rest = below;
	}
	return found;
}

bool view_is_rooted(const struct view *v)
{
	return !v->mount[0].memory && strcmp(v->mount[0].host, "/");
}

int view_guest_path(const struct view *v, char path[PATH_MAX])
{
	const char *rest = "";
	const struct mount *m = v->plain ? NULL : view_find_host(v, path, &rest);
	char guest[PATH_MAX];
	int n;

	if (!m || !strcmp(m->guest, m->host))
		return (int)strlen(path);
	n = snprintf(guest, sizeof(guest), "%s%s%s", m->guest, *rest && m->guest[1] ? "/" : "", rest);
	if (n >= (int)sizeof(guest))
		return -ENAMETOOLONG;
	memcpy(path, guest, (size_t)n + 1);
	return n;
}

void view_note_stranger(const struct view *v, int fd)
{
	struct stat st;

	if (!fstat(fd, &st) && S_ISDIR(st.st_mode))
		atomic_store(&v->hidden->strangers, true);
}

bool view_has_strangers(const struct view *v)
{
	return atomic_load_explicit(&v->hidden->strangers, memory_order_relaxed);
}

const struct mount *view_memory(const struct view *v, int fd)
{
	char path[PATH_MAX];
	const struct mount *m;
	const char *rest;
	struct stat st;

	if (!v->nr_memory || (!fstat(fd, &st) && st.st_dev != v->memory_dev) || path_of_fd(fd, path) < 0)
		return NULL;
	m = view_find_host(v, path, &rest);
	return m && m->memory ? m : NULL;
}

int view_keep_in_memory(struct view *v, int fd, const struct stat *st)
{
	char path[PATH_MAX];
	struct stat own;

	if (!v->nr_memory)
		return 0;
	if (!st && fstat(fd, &own))
		return 0;
	st = st ? st : &own;
	if (!S_ISREG(st->st_mode) || st->st_dev != v->memory_dev || !view_memory(v, fd) || memfd_is(fd))
		return 0;
	if (path_of_fd(fd, path) < 0 || view_guest_path(v, path) < 0)
		return -ENOMEM;
	return memfd_attach(v->mm_host, fd, path, v);
}

/* --- directories of memory ------------------------------------------------------------------- */

/* The directory that all of them are in. */
static int make_scratch(struct view *v)
{
	struct stat st;
	int err = v->scratch.path ? 0 : scratch_make(&v->scratch);

	if (!err && fstat(v->scratch.fd, &st))
		err = -errno;
	if (!err)
		v->memory_dev = st.st_dev;
	return err;
}

static int open_memory(struct view *v, struct mount *m)
{
	char path[PATH_MAX];
	int err = make_scratch(v);

	if (err)
		return err;
	if (snprintf(path, sizeof(path), "%s/%u", v->scratch.path, v->nr_memory) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	if (mkdir(path, 0700) || chmod(path, m->writable ? MEMORY_MODE : DIR_MODE))
		return -errno;
	v->nr_memory++;
	m->memory = true;
	m->fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return m->fd < 0 ? -errno : 0;
}

/* --- making ---------------------------------------------------------------------------------- */

/* The mount that stands at a path itself, or NULL: most of what a view is made of is named from one on, which needs no walk. */
static const struct mount *mount_at(const struct view *v, const char *guest)
{
	for (unsigned int i = v->nr; i-- > 0;)
		if (!strcmp(v->mount[i].guest, guest))
			return &v->mount[i];
	return NULL;
}

/* A directory of the guest's in which something is to be made: *memory says whether it lies in memory. To be closed. */
static int open_dir(const struct view *v, const char *dir, bool *memory)
{
	const struct mount *m = mount_at(v, dir);
	struct view_end end;
	int fd;

	*memory = m && m->memory;
	if (m) {
		fd = fcntl(m->fd, F_DUPFD_CLOEXEC, 0);
		return fd < 0 ? -errno : fd;
	}
	fd = view_open(v, AT_FDCWD, dir, O_DIRECTORY, &end);
	*memory = fd >= 0 && view_memory(v, fd);
	return fd;
}

/* The directories on the way to a mount that lie in memory are made, so that they can be listed. */
static void make_way(const struct view *v, const char *guest)
{
	char way[PATH_MAX];
	bool memory;
	int fd;

	snprintf(way, sizeof(way), "%s", guest);
	for (char *at = strchr(way + 1, '/');; at = strchr(at + 1, '/')) {
		char *name = at;
		if (at)
			*at = '\0';
		name = strrchr(way, '/');
		*name = '\0';
		fd = open_dir(v, *way ? way : "/", &memory);
		if (memory)
			mkdirat(fd, name + 1, DIR_MODE);
		if (fd >= 0)
			close(fd);
		*name = '/';
		if (!at)
			return;
		*at = '/';
	}
}

/* The guest's path for a mount: absolute, its directory's links resolved. To be freed; NULL: errno. */
static char *canonical_guest(const struct view *v, const char *text)
{
	char path[PATH_MAX], dir[PATH_MAX];
	size_t len = strlen(text);
	const char *name;
	struct view_end end;
	int fd, n;

	while (len > 1 && text[len - 1] == '/')
		len--;
	if (text[0] != '/' || len >= sizeof(path) || strstr(text, "/.")) {
		errno = EINVAL;
		return NULL;
	}
	snprintf(path, sizeof(path), "%.*s", (int)len, text);
	if (len == 1)
		return strdup("/");
	name = strrchr(path, '/');
	snprintf(dir, sizeof(dir), "%.*s", name == path ? 1 : (int)(name - path), path);
	fd = mount_at(v, dir) ? -1 : view_open(v, AT_FDCWD, dir, O_DIRECTORY, &end);
	if (fd < 0)
		return strdup(path);
	n = path_of_fd(fd, dir);
	close(fd);
	n = n < 0 ? n : view_guest_path(v, dir);
	if (n < 0 || (size_t)n + strlen(name) >= sizeof(dir))
		return strdup(path);
	strcpy(dir[1] ? dir + n : dir, name);
	return strdup(dir);
}

static int open_host(struct mount *m, const char *path, int flags)
{
	m->fd = open(path, O_PATH | O_CLOEXEC | flags);
	return m->fd < 0 ? -errno : 0;
}

/* flags: O_DIRECTORY where it has to be one. */
static int mount_add(struct view *v, const char *host, const char *guest, bool writable, int flags)
{
	struct mount *m = &v->mount[v->nr];
	char canonical[PATH_MAX];
	int err;

	*m = (struct mount){.fd = -1, .writable = writable};
	err = host ? open_host(m, host, flags) : open_memory(v, m);
	if (!err)
		err = path_of_fd(m->fd, canonical);
	if (err >= 0) {
		m->host = strdup(canonical);
		m->guest = guest ? canonical_guest(v, guest) : strdup(canonical);
		err = m->host && m->guest ? 0 : -errno;
	}
	if (!err) {
		m->guest_len = m->guest[1] ? strlen(m->guest) : 0;
		m->name = strrchr(m->guest, '/') + 1;
	}
	if (err < 0) {
		if (m->fd >= 0)
			close(m->fd);
		free(m->host);
		free(m->guest);
		return err;
	}
	if (v->nr && v->nr_memory)
		make_way(v, m->guest);
	v->plain &= !m->memory && !strcmp(m->guest, m->host);
	v->nr++;
	return 0;
}

/* A link in the root. 0 or -ENOMEM. */
static int know_link(struct view *v, const char *name, const char *text)
{
	struct view_link *all = realloc(v->links, (v->nr_links + 1) * sizeof(*all));

	if (!all)
		return -ENOMEM;
	v->links = all;
	all[v->nr_links] = (struct view_link){strdup(name), strdup(text)};
	v->nr_links++;
	return all[v->nr_links - 1].name && all[v->nr_links - 1].text ? 0 : -ENOMEM;
}

static void forget_link(struct view *v, unsigned int i)
{
	free(v->links[i].name);
	free(v->links[i].text);
	v->links[i] = v->links[--v->nr_links];
}

/* Another root does, too. */
static bool is_hidden(const struct view *v, const char *name)
{
	for (unsigned int i = 1; i < v->nr; i++)
		if (!v->mount[i].guest_len || !strcmp(v->mount[i].guest + 1, name))
			return true;
	return false;
}

/* Known are only those that nobody can change, nor a mount hides. */
static void forget_uncertain_links(struct view *v)
{
	for (unsigned int i = v->nr_links; i-- > 0;)
		if (v->mount[0].writable || is_hidden(v, v->links[i].name))
			forget_link(v, i);
}

/* What is written in a mount needs no look at where that is, if there is nothing below that may not be written. */
static void find_all_writable(struct view *v)
{
	for (unsigned int i = 0; i < v->nr; i++) {
		struct mount *m = &v->mount[i];
		m->all_writable = m->writable;
		for (unsigned int j = 0; j < v->nr; j++)
			m->all_writable &= v->mount[j].writable || !path_below(v->mount[j].host, m->host);
	}
}

/* 0, -errno; -EINVAL: its directory is not of memory. */
static int make_link(struct view *v, const struct lodge_mount *m)
{
	const char *name = m->guest ? strrchr(m->guest, '/') : NULL;
	char dir[PATH_MAX];
	bool memory;
	int fd, ret = 0;

	if (!name || !m->host)
		return -EINVAL;
	snprintf(dir, sizeof(dir), "%.*s", name == m->guest ? 1 : (int)(name - m->guest), m->guest);
	fd = open_dir(v, dir, &memory);
	if (fd < 0)
		return fd;
	if (!memory)
		ret = -EINVAL;
	else if (symlinkat(m->host, fd, name + 1))
		ret = -errno;
	close(fd);
	return ret || dir[1] ? ret : know_link(v, name + 1, m->host);
}

static int add_all(struct view *v, const struct view_setup *s, const char **bad)
{
	const struct lodge_mount *root = s->mounts;
	int err = 0;

	if (s->nr_mounts && root->guest && !strcmp(root->guest, "/"))
		err = mount_add(v, root->host, "/", root->writable, O_DIRECTORY);
	else
		err = mount_add(v, "/", "/", false, 0);
	*bad = s->nr_mounts ? root->host : "/";
	for (unsigned int i = 0; !err && i < s->nr_mounts; i++) {
		const struct lodge_mount *m = &s->mounts[i];
		*bad = m->host ? m->host : m->guest;
		if (m->link)
			err = make_link(v, m);
		else if (i || !m->guest || strcmp(m->guest, "/"))
			err = mount_add(v, m->host, m->guest, m->writable, 0);
	}
	for (unsigned int i = 0; !err && s->rw_dirs && s->rw_dirs[i]; i++) {
		*bad = s->rw_dirs[i];
		err = mount_add(v, s->rw_dirs[i], NULL, true, O_DIRECTORY);
	}
	forget_uncertain_links(v);
	find_all_writable(v);
	return err;
}

int view_create(const struct view_setup *setup, struct view **result, const char **bad)
{
	unsigned int nr = setup->nr_mounts + 1;
	struct view *v;
	int err;

	for (unsigned int i = 0; setup->rw_dirs && setup->rw_dirs[i]; i++)
		nr++;
	v = calloc(1, sizeof(*v) + nr * sizeof(v->mount[0]));
	if (!v)
		return -ENOMEM;
	v->hidden = calloc(1, sizeof(*v->hidden));
	if (!v->hidden) {
		free(v);
		return -ENOMEM;
	}
	pthread_mutex_init(&v->hidden->lock, NULL);
	atomic_store(&v->refs, 1);
	v->plain = true;
	v->mm_host = setup->mm_host;
	err = add_all(v, setup, bad);
	if (err)
		view_release(v);
	else
		*result = v;
	return err;
}

struct view *view_share(struct view *v)
{
	atomic_fetch_add(&v->refs, 1);
	return v;
}

void view_release(struct view *v)
{
	if (!v || atomic_fetch_sub(&v->refs, 1) != 1)
		return;
	for (unsigned int i = 0; i < v->nr; i++) {
		close(v->mount[i].fd);
		free(v->mount[i].host);
		free(v->mount[i].guest);
	}
	while (v->nr_links)
		forget_link(v, v->nr_links - 1);
	free(v->links);
	memfd_forget(v);
	scratch_remove(&v->scratch);
	pthread_mutex_destroy(&v->hidden->lock);
	free(v->hidden);
	free(v);
}
