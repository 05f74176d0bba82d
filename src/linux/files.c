/* SPDX-License-Identifier: MIT */
/*
 * files.c - see files.h.
 *
 * A dup is a dup on the host too, so that guest descriptors share an offset exactly where Linux shares it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "files.h"
#include "memfd.h"
#include "path.h"

#define UMASK_UNKNOWN 022
#define MEM_MAJOR     1 /* /dev/null, /dev/zero and kin: never wait */

/* The process's umask, which could otherwise be read only by changing it under the feet of other threads. */
static mode_t host_umask(void)
{
	FILE *status = fopen("/proc/self/status", "re");
	unsigned int mask = UMASK_UNKNOWN;
	char line[128];

	while (status && fgets(line, sizeof(line), status))
		if (sscanf(line, "Umask: %o", &mask) == 1)
			break;
	if (status)
		fclose(status);
	return mask & 0777;
}

static int socket_option(int host_fd, int option)
{
	int value = 0;
	socklen_t bytes = sizeof(value);

	getsockopt(host_fd, SOL_SOCKET, option, &value, &bytes);
	return value;
}

/* What kind of thing the host has behind the descriptor. */
static void look_at(struct guest_file *file)
{
	struct stat st;

	if (fstat(file->host_fd, &st) || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode))
		return;
	file->stream = !S_ISCHR(st.st_mode) || major(st.st_rdev) != MEM_MAJOR;
	if (!S_ISSOCK(st.st_mode))
		return;
	file->socket_domain = socket_option(file->host_fd, SO_DOMAIN);
	file->socket_type = socket_option(file->host_fd, SO_TYPE);
}

static int rw_dir_open(struct rw_dir *rw, const char *path)
{
	char canonical[PATH_MAX];
	int err;

	rw->fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (rw->fd < 0)
		return -errno;
	err = path_of_fd(rw->fd, canonical);
	rw->path = err < 0 ? NULL : strdup(canonical);
	if (rw->path)
		return 0;
	close(rw->fd);
	return err < 0 ? err : -ENOMEM;
}

/* --- where a guest may write ----------------------------------------------------------------- */

static void rw_release(struct rw_dirs *rw)
{
	if (!rw || atomic_fetch_sub(&rw->refs, 1) != 1)
		return;
	for (unsigned int i = 0; i < rw->nr; i++) {
		close(rw->dir[i].fd);
		free(rw->dir[i].path);
	}
	free(rw);
}

static int rw_create(const char *const *rw_dirs, struct rw_dirs **result, const char **bad)
{
	struct rw_dirs *rw;
	unsigned int nr = 0;
	int err = 0;

	while (rw_dirs && rw_dirs[nr])
		nr++;
	rw = calloc(1, sizeof(*rw) + nr * sizeof(rw->dir[0]));
	if (!rw)
		return -ENOMEM;
	atomic_store(&rw->refs, 1);
	for (; !err && rw->nr < nr; rw->nr += !err) {
		err = rw_dir_open(&rw->dir[rw->nr], rw_dirs[rw->nr]);
		if (err)
			*bad = rw_dirs[rw->nr];
	}
	if (err)
		rw_release(rw);
	else
		*result = rw;
	return err;
}

/* --- open files ------------------------------------------------------------------------------ */

/* Takes host_fd over; NULL: no memory, and it is still the caller's. */
static struct guest_file *file_create(int host_fd, bool owned)
{
	struct guest_file *file = malloc(sizeof(*file));

	if (!file)
		return NULL;
	*file = (struct guest_file){.refs = 1,
				    .host_fd = host_fd,
				    .owned = owned,
				    .memfd = owned ? memfd_adopt(host_fd) : NULL};
	look_at(file);
	return file;
}

static struct guest_file *file_share(struct guest_file *file)
{
	atomic_fetch_add(&file->refs, 1);
	return file;
}

/* 0, or what the host said about closing. */
static int file_release(struct guest_file *file)
{
	int ret = 0;

	if (atomic_fetch_sub(&file->refs, 1) != 1)
		return 0;
	memfd_drop(file->memfd);
	if (file->owned && close(file->host_fd))
		ret = -errno;
	free(file);
	return ret;
}

static _Thread_local struct files_holds *holds;

void files_holds_enter(struct files_holds *h)
{
	holds = h;
}

void files_holds_drop(struct files_holds *h)
{
	while (h->nr)
		file_release(h->file[--h->nr]);
}

/* Keeps a file that others could close until the end of the call. False: too many. */
static bool hold(struct guest_file *file, bool shared)
{
	if (!shared || !holds)
		return true;
	if (holds->nr == FILES_MAX_HOLDS)
		return false;
	holds->file[holds->nr++] = file_share(file);
	return true;
}

/* --- tables ---------------------------------------------------------------------------------- */

static struct files *table_new(void)
{
	struct files *f = calloc(1, sizeof(*f));

	if (f) {
		atomic_store(&f->refs, 1);
		pthread_mutex_init(&f->lock, NULL);
	}
	return f;
}

static int take_caller_fds(struct files *f, const int fds[3])
{
	for (int i = 0; i < 3; i++) {
		if (fds[i] < 0 || fcntl(fds[i], F_GETFD) < 0)
			continue;
		f->fd[i].file = file_create(fds[i], false);
		if (!f->fd[i].file)
			return -ENOMEM;
	}
	return 0;
}

int files_create(const int fds[3], const char *const *rw_dirs, struct files **result, const char **bad)
{
	struct files *f = table_new();
	int err;

	*bad = NULL;
	if (!f)
		return -ENOMEM;
	err = rw_create(rw_dirs, &f->rw, bad);
	if (!err)
		err = take_caller_fds(f, fds);
	if (err)
		files_release(f);
	else
		*result = f;
	return err;
}

struct files *files_share(struct files *f)
{
	atomic_fetch_add(&f->refs, 1);
	return f;
}

struct files *files_copy(struct files *f)
{
	struct files *copy = table_new();

	if (!copy)
		return NULL;
	copy->rw = f->rw;
	atomic_fetch_add(&copy->rw->refs, 1);
	pthread_mutex_lock(&f->lock);
	for (int i = 0; i < NR_OPEN_DEFAULT; i++) {
		if (!f->fd[i].file)
			continue;
		copy->fd[i].file = file_share(f->fd[i].file);
		copy->fd[i].cloexec = f->fd[i].cloexec;
	}
	pthread_mutex_unlock(&f->lock);
	return copy;
}

void files_release(struct files *f)
{
	if (!f || atomic_fetch_sub(&f->refs, 1) != 1)
		return;
	for (int i = 0; i < NR_OPEN_DEFAULT; i++)
		if (f->fd[i].file)
			file_release(f->fd[i].file);
	rw_release(f->rw);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static bool in_table(int guest_fd)
{
	return guest_fd >= 0 && guest_fd < NR_OPEN_DEFAULT;
}

struct guest_file *files_get(struct files *f, int guest_fd)
{
	struct guest_file *file = NULL;

	if (!in_table(guest_fd))
		return NULL;
	pthread_mutex_lock(&f->lock);
	file = f->fd[guest_fd].file;
	if (file && !hold(file, atomic_load(&f->refs) > 1))
		file = NULL;
	pthread_mutex_unlock(&f->lock);
	return file;
}

int files_host_fd(struct files *f, int guest_fd)
{
	const struct guest_file *file = files_get(f, guest_fd);

	return file ? file->host_fd : -EBADF;
}

bool files_cloexec(struct files *f, int guest_fd)
{
	bool on;

	if (!in_table(guest_fd))
		return false;
	pthread_mutex_lock(&f->lock);
	on = f->fd[guest_fd].file && f->fd[guest_fd].cloexec;
	pthread_mutex_unlock(&f->lock);
	return on;
}

void files_set_cloexec(struct files *f, int guest_fd, bool on)
{
	if (!in_table(guest_fd))
		return;
	pthread_mutex_lock(&f->lock);
	f->fd[guest_fd].cloexec = on;
	pthread_mutex_unlock(&f->lock);
}

void files_close_on_exec(struct files *f)
{
	for (int i = 0; i < NR_OPEN_DEFAULT; i++)
		if (files_cloexec(f, i))
			files_close(f, i);
}

/* The lock is held. */
static int next_free(struct files *f, int min)
{
	for (int i = min; i < NR_OPEN_DEFAULT; i++)
		if (!f->fd[i].file)
			return i;
	return -EMFILE;
}

int files_next(struct files *f, int min)
{
	int n;

	pthread_mutex_lock(&f->lock);
	n = next_free(f, min);
	pthread_mutex_unlock(&f->lock);
	return n;
}

static int install(struct files *f, struct guest_file *file, bool cloexec, int min)
{
	int n;

	pthread_mutex_lock(&f->lock);
	n = next_free(f, min);
	if (n >= 0) {
		f->fd[n].file = file;
		f->fd[n].cloexec = cloexec;
	}
	pthread_mutex_unlock(&f->lock);
	if (n < 0)
		file_release(file);
	return n;
}

/* An open file that is lodge's own kind of thing where `like` is. NULL: no memory, and host_fd is closed. */
static struct guest_file *file_create_like(int host_fd, const struct guest_file *like)
{
	struct guest_file *file = file_create(host_fd, true);

	if (!file)
		close(host_fd);
	if (file && like) {
		file->proc = like->proc;
		file->process_serial = like->process_serial;
	}
	return file;
}

int files_install(struct files *f, int host_fd, bool cloexec, int min, const struct guest_file *like)
{
	struct guest_file *file = file_create_like(host_fd, like);

	return file ? install(f, file, cloexec, min) : -ENOMEM;
}

/* Puts a file, or nothing, under a number and returns what was there. */
static struct guest_file *replace(struct files *f, int guest_fd, struct guest_file *file, bool cloexec)
{
	struct guest_file *old;

	pthread_mutex_lock(&f->lock);
	old = f->fd[guest_fd].file;
	f->fd[guest_fd].file = file;
	f->fd[guest_fd].cloexec = cloexec;
	pthread_mutex_unlock(&f->lock);
	return old;
}

int files_put(struct files *f, int guest_fd, int host_fd, bool cloexec, const struct guest_file *like)
{
	struct guest_file *file = file_create_like(host_fd, like), *old;

	if (!file)
		return -ENOMEM;
	old = replace(f, guest_fd, file, cloexec);
	if (old)
		file_release(old);
	return 0;
}

int files_close(struct files *f, int guest_fd)
{
	struct guest_file *old = in_table(guest_fd) ? replace(f, guest_fd, NULL, false) : NULL;

	return old ? file_release(old) : -EBADF;
}

/* --- the working directory ------------------------------------------------------------------- */

static struct fs *fs_new(struct guest_file *cwd, mode_t umask, mode_t host_umask)
{
	struct fs *fs = malloc(sizeof(*fs));

	if (!fs)
		return NULL;
	*fs = (struct fs){.refs = 1, .cwd = cwd, .umask = umask, .host_umask = host_umask};
	pthread_mutex_init(&fs->lock, NULL);
	return fs;
}

int fs_create(struct fs **result)
{
	int fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct guest_file *cwd = fd < 0 ? NULL : file_create(fd, true);
	mode_t mask = host_umask();

	if (!cwd) {
		int err = fd < 0 ? -errno : -ENOMEM;
		if (fd >= 0)
			close(fd);
		return err;
	}
	*result = fs_new(cwd, mask, mask);
	if (*result)
		return 0;
	file_release(cwd);
	return -ENOMEM;
}

struct fs *fs_share(struct fs *fs)
{
	atomic_fetch_add(&fs->refs, 1);
	return fs;
}

struct fs *fs_copy(struct fs *fs)
{
	struct guest_file *cwd;
	struct fs *copy;

	pthread_mutex_lock(&fs->lock);
	cwd = file_share(fs->cwd);
	pthread_mutex_unlock(&fs->lock);
	copy = fs_new(cwd, atomic_load(&fs->umask), fs->host_umask);
	if (!copy)
		file_release(cwd);
	return copy;
}

void fs_release(struct fs *fs)
{
	if (!fs || atomic_fetch_sub(&fs->refs, 1) != 1)
		return;
	file_release(fs->cwd);
	pthread_mutex_destroy(&fs->lock);
	free(fs);
}

int fs_set_cwd(struct fs *fs, int host_fd)
{
	struct guest_file *cwd = file_create(host_fd, true), *old;

	if (!cwd) {
		close(host_fd);
		return -ENOMEM;
	}
	pthread_mutex_lock(&fs->lock);
	old = fs->cwd;
	fs->cwd = cwd;
	pthread_mutex_unlock(&fs->lock);
	file_release(old);
	return 0;
}

int fs_cwd(struct fs *fs)
{
	int fd;

	pthread_mutex_lock(&fs->lock);
	fd = hold(fs->cwd, atomic_load(&fs->refs) > 1) ? fs->cwd->host_fd : -EBADF;
	pthread_mutex_unlock(&fs->lock);
	return fd;
}

/* --- paths ----------------------------------------------------------------------------------- */

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

const struct rw_dir *files_rw_find(const struct files *f, const char *path, const char **rest)
{
	for (unsigned int i = 0; i < f->rw->nr && path[0] == '/'; i++) {
		*rest = path_below(path, f->rw->dir[i].path);
		if (*rest)
			return &f->rw->dir[i];
	}
	return NULL;
}
