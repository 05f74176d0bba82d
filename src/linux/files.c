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

static bool is_stream(int host_fd)
{
	struct stat st;

	if (fstat(host_fd, &st) || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode))
		return false;
	return !S_ISCHR(st.st_mode) || major(st.st_rdev) != MEM_MAJOR;
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

static int rw_init(struct files *f, const char *const *rw_dirs, const char **bad)
{
	unsigned int nr = 0;
	int err;

	while (rw_dirs && rw_dirs[nr])
		nr++;
	f->rw = calloc(nr ? nr : 1, sizeof(*f->rw));
	if (!f->rw)
		return -ENOMEM;
	for (; f->nr_rw < nr; f->nr_rw++) {
		err = rw_dir_open(&f->rw[f->nr_rw], rw_dirs[f->nr_rw]);
		if (err < 0) {
			*bad = rw_dirs[f->nr_rw];
			return err;
		}
	}
	return 0;
}

int files_init(struct files *f, const int fds[3], const char *const *rw_dirs, const char **bad)
{
	int err;

	memset(f, 0, sizeof(*f));
	*bad = NULL;
	for (int i = 0; i < NR_OPEN_DEFAULT; i++)
		f->fd[i].host_fd = -1;
	for (int i = 0; i < 3; i++)
		if (fds[i] >= 0 && fcntl(fds[i], F_GETFD) >= 0)
			f->fd[i] = (struct guest_file){.host_fd = fds[i], .stream = is_stream(fds[i])};
	f->host_umask = f->umask = host_umask();
	f->cwd_fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	err = f->cwd_fd < 0 ? -errno : rw_init(f, rw_dirs, bad);
	if (err < 0)
		files_destroy(f);
	return err;
}

void files_destroy(struct files *f)
{
	for (int i = 0; i < NR_OPEN_DEFAULT; i++)
		files_close(f, i);
	for (unsigned int i = 0; i < f->nr_rw; i++) {
		close(f->rw[i].fd);
		free(f->rw[i].path);
	}
	free(f->rw);
	if (f->cwd_fd >= 0)
		close(f->cwd_fd);
	f->rw = NULL;
	f->nr_rw = 0;
	f->cwd_fd = -1;
}

struct guest_file *files_get(struct files *f, int guest_fd)
{
	if (guest_fd < 0 || guest_fd >= NR_OPEN_DEFAULT || f->fd[guest_fd].host_fd < 0)
		return NULL;
	return &f->fd[guest_fd];
}

int files_host_fd(const struct files *f, int guest_fd)
{
	if (guest_fd < 0 || guest_fd >= NR_OPEN_DEFAULT || f->fd[guest_fd].host_fd < 0)
		return -EBADF;
	return f->fd[guest_fd].host_fd;
}

int files_next(const struct files *f, int min)
{
	for (int i = min; i < NR_OPEN_DEFAULT; i++)
		if (f->fd[i].host_fd < 0)
			return i;
	return -EMFILE;
}

int files_install(struct files *f, int host_fd, bool cloexec, int min)
{
	int n = files_next(f, min);

	if (n < 0)
		close(host_fd);
	else
		files_put(f, n, host_fd, cloexec);
	return n;
}

void files_put(struct files *f, int guest_fd, int host_fd, bool cloexec)
{
	files_close(f, guest_fd);
	f->fd[guest_fd] = (struct guest_file){.host_fd = host_fd,
					      .cloexec = cloexec,
					      .owned = true,
					      .memfd = memfd_adopt(host_fd),
					      .stream = is_stream(host_fd)};
}

int files_close(struct files *f, int guest_fd)
{
	struct guest_file *file = files_get(f, guest_fd);
	int host_fd;

	if (!file)
		return -EBADF;
	host_fd = file->host_fd;
	file->host_fd = -1;
	memfd_drop(file->memfd);
	return file->owned && close(host_fd) ? -errno : 0;
}

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
	for (unsigned int i = 0; i < f->nr_rw && path[0] == '/'; i++) {
		*rest = path_below(path, f->rw[i].path);
		if (*rest)
			return &f->rw[i];
	}
	return NULL;
}
