/* SPDX-License-Identifier: MIT */
/*
 * scratch.c - see scratch.h.
 *
 *	who makes one		mkdir, lock; is it still there? else once more
 *	who removes others'	lock, without waiting; empty, rmdir
 *
 * so one that was made and is not locked yet may be removed, and that is noticed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "scratch.h"

#define PREFIX	      "lodge-scratch."
#define DIR_MODE      (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define ATTEMPTS      100

#define SHARED_MEMORY "/dev/shm"

/* --- removing -------------------------------------------------------------------------------- */

static int remove_entry(int dir_fd, const struct dirent *entry);

/* Takes dir_fd over. */
static void empty_dir(int dir_fd)
{
	DIR *dir = fdopendir(dir_fd);
	struct dirent *entry;

	if (!dir) {
		close(dir_fd);
		return;
	}
	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			remove_entry(dirfd(dir), entry);
	closedir(dir);
}

static int remove_entry(int dir_fd, const struct dirent *entry)
{
	int fd;

	/* Most directories are empty, since the files that are not are elsewhere: no look into those. */
	if (!unlinkat(dir_fd, entry->d_name, entry->d_type == DT_DIR ? AT_REMOVEDIR : 0))
		return 0;
	fd = openat(dir_fd, entry->d_name, DIR_MODE);
	if (fd < 0 && errno == EACCES && !fchmodat(dir_fd, entry->d_name, 0700, 0))
		fd = openat(dir_fd, entry->d_name, DIR_MODE);
	if (fd >= 0) {
		fchmod(fd, 0700); /* its entries could not be removed otherwise */
		empty_dir(fd);
	}
	return unlinkat(dir_fd, entry->d_name, AT_REMOVEDIR);
}

void scratch_remove(struct scratch *s)
{
	if (!s->path)
		return;
	int fd = open(s->path, DIR_MODE);
	if (fd >= 0)
		empty_dir(fd);
	rmdir(s->path);
	close(s->fd);
	free(s->path);
	s->path = NULL;
}

/* What nobody else would call a directory of his. */
static bool is_name(const char *name)
{
	return !strncmp(name, PREFIX, strlen(PREFIX)) && strlen(name) == strlen(PREFIX "XXXXXX");
}

static bool is_ours(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && st.st_uid == geteuid() && (st.st_mode & 07777) == 0700;
}

static void remove_if_left(int dir_fd, const struct dirent *entry)
{
	int fd = openat(dir_fd, entry->d_name, DIR_MODE);

	if (fd < 0)
		return;
	if (is_ours(fd) && !flock(fd, LOCK_EX | LOCK_NB)) {
		int contents = openat(fd, ".", DIR_MODE);
		if (contents >= 0)
			empty_dir(contents);
		unlinkat(dir_fd, entry->d_name, AT_REMOVEDIR);
	}
	close(fd);
}

static void remove_left(const char *tmp)
{
	DIR *dir = opendir(tmp);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (is_name(entry->d_name))
			remove_if_left(dirfd(dir), entry);
	if (dir)
		closedir(dir);
}

/* --- making ---------------------------------------------------------------------------------- */

static bool still_there(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && st.st_nlink;
}

/* -EAGAIN: somebody took it for one that was left. */
static int make_one(struct scratch *s, const char *tmp)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/" PREFIX "XXXXXX", tmp) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	if (!mkdtemp(path))
		return -errno;
	s->fd = open(path, DIR_MODE);
	if (s->fd < 0)
		return errno == ENOENT ? -EAGAIN : -errno;
	flock(s->fd, LOCK_EX); /* where there are no locks nobody removes */
	s->path = still_there(s->fd) ? realpath(path, NULL) : NULL;
	if (s->path)
		return 0;
	int err = still_there(s->fd) ? -errno : -EAGAIN;
	close(s->fd);
	rmdir(path);
	return err;
}

/* Names in memory cost nothing of a journal; what has no rights to be executed cannot hold programs. */
static bool is_memory_of_all(const char *dir)
{
	struct statfs fs;

	return !statfs(dir, &fs) && fs.f_type == TMPFS_MAGIC && !(fs.f_flags & ST_NOEXEC) &&
	       !access(dir, W_OK | X_OK);
}

static int make_below(struct scratch *s, const char *tmp)
{
	int err = -EAGAIN;

	remove_left(tmp);
	for (unsigned int i = 0; i < ATTEMPTS && err == -EAGAIN; i++)
		err = make_one(s, tmp);
	return err;
}

int scratch_make(struct scratch *s)
{
	const char *tmp = getenv("TMPDIR");

	if (tmp && *tmp == '/')
		return make_below(s, tmp);
	if (is_memory_of_all(SHARED_MEMORY) && !make_below(s, SHARED_MEMORY))
		return 0;
	return make_below(s, "/tmp");
}
