/* SPDX-License-Identifier: MIT */
/*
 * sys_exec.c - execve and execveat, and how a guest's path becomes a program.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "exec.h"
#include "path.h"
#include "task.h"

/* A descriptor to read from for an object that was found, if it is a file that may be executed. */
static int open_executable(int fd)
{
	struct path_link link = path_link(fd);
	struct stat st;
	int ret;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || faccessat(AT_FDCWD, link.text, X_OK, AT_EACCESS))
		return -EACCES;
	ret = open(link.text, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	return ret < 0 ? -errno : ret;
}

static int open_target(struct task *t, const struct path *p, unsigned int flags)
{
	struct path_target target;
	int ret = path_target(t, p, flags, &target);

	if (ret < 0)
		return ret;
	ret = open_executable(target.fd);
	close(target.fd);
	return ret;
}

int exec_open(struct task *t, const char *path)
{
	struct path p = {.base = *path == '/' ? AT_FDCWD : t->files.cwd_fd};

	if (strlen(path) >= sizeof(p.text))
		return -ENAMETOOLONG;
	strcpy(p.text, path);
	return open_target(t, &p, 0);
}
