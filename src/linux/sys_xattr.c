/* SPDX-License-Identifier: MIT */
/*
 * sys_xattr.c - extended attributes, as far as they are read. Setting and removing them is EOPNOTSUPP, as on a file system that has none,
 * and EROFS where nothing may be written.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "path.h"
#include "syscall.h"

/* An object by path, or (NULL path) by descriptor: a host descriptor to be closed, or -errno. */
static int by_path(struct task *t, gva_t name, unsigned int flags)
{
	struct path_target target;
	struct path p;
	int err = path_get(t, AT_FDCWD, name, &p);

	if (!err)
		err = path_target(t, &p, flags, &target);
	return err ? err : target.fd;
}

static int by_fd(struct task *t, uint64_t guest_fd)
{
	int host_fd = files_host_fd(t->files, (int)guest_fd), copy;

	if (host_fd < 0 || (fcntl(host_fd, F_GETFL) & O_PATH))
		return -EBADF;
	copy = fcntl(host_fd, F_DUPFD_CLOEXEC, 0);
	return copy < 0 ? -errno : copy;
}

/* What procfs has is lodge's own and has no attributes. */
static bool has_none(int fd)
{
	return procfs_holds(fd);
}

/* Takes fd over. */
static int64_t get(struct task *t, int fd, gva_t name, gva_t to, uint64_t room)
{
	char key[XATTR_NAME_MAX + 1], value[XATTR_SIZE_MAX];
	int64_t ret = fd < 0 ? fd : strncpy_from_user(t->mm, key, name, sizeof(key));

	if (fd >= 0 && (ret == -ENAMETOOLONG || ret == 0))
		ret = -ERANGE;
	if (ret > 0)
		ret = has_none(fd) ? -EOPNOTSUPP
				   : getxattr(path_link(fd).text, key, value, min_u64(room, sizeof(value)));
	if (ret == -1)
		ret = -errno;
	if (fd >= 0)
		close(fd);
	return ret > 0 && room && copy_to_user(t->mm, to, value, (size_t)ret) ? -EFAULT : ret;
}

/* Likewise. */
static int64_t list(struct task *t, int fd, gva_t to, uint64_t room)
{
	char names[XATTR_LIST_MAX];
	int64_t ret = fd;

	if (fd < 0)
		return fd;
	ret = has_none(fd) ? 0 : listxattr(path_link(fd).text, names, min_u64(room, sizeof(names)));
	if (ret < 0)
		ret = -errno;
	close(fd);
	return ret > 0 && room && copy_to_user(t->mm, to, names, (size_t)ret) ? -EFAULT : ret;
}

/* Likewise: nobody may. */
static int64_t change(struct task *t, int fd)
{
	int64_t ret = fd < 0 ? fd : path_check_writable(t->files->view, fd);

	if (fd >= 0)
		close(fd);
	return ret ? ret : -EOPNOTSUPP;
}

static int64_t sys_getxattr(struct task *t, const uint64_t a[6])
{
	return get(t, by_path(t, a[0], 0), a[1], a[2], a[3]);
}

static int64_t sys_lgetxattr(struct task *t, const uint64_t a[6])
{
	return get(t, by_path(t, a[0], PATH_NOFOLLOW), a[1], a[2], a[3]);
}

static int64_t sys_fgetxattr(struct task *t, const uint64_t a[6])
{
	return get(t, by_fd(t, a[0]), a[1], a[2], a[3]);
}

static int64_t sys_listxattr(struct task *t, const uint64_t a[6])
{
	return list(t, by_path(t, a[0], 0), a[1], a[2]);
}

static int64_t sys_llistxattr(struct task *t, const uint64_t a[6])
{
	return list(t, by_path(t, a[0], PATH_NOFOLLOW), a[1], a[2]);
}

static int64_t sys_flistxattr(struct task *t, const uint64_t a[6])
{
	return list(t, by_fd(t, a[0]), a[1], a[2]);
}

static int64_t sys_setxattr(struct task *t, const uint64_t a[6])
{
	return change(t, by_path(t, a[0], 0));
}

static int64_t sys_lsetxattr(struct task *t, const uint64_t a[6])
{
	return change(t, by_path(t, a[0], PATH_NOFOLLOW));
}

static int64_t sys_fsetxattr(struct task *t, const uint64_t a[6])
{
	return change(t, by_fd(t, a[0]));
}

static int64_t sys_removexattr(struct task *t, const uint64_t a[6])
{
	return sys_setxattr(t, a);
}

static int64_t sys_lremovexattr(struct task *t, const uint64_t a[6])
{
	return sys_lsetxattr(t, a);
}

static int64_t sys_fremovexattr(struct task *t, const uint64_t a[6])
{
	return sys_fsetxattr(t, a);
}

const struct syscall_entry sys_xattr_calls[] = {
	SYSCALL_ENTRY(getxattr),
	SYSCALL_ENTRY(lgetxattr),
	SYSCALL_ENTRY(fgetxattr),
	SYSCALL_ENTRY(listxattr),
	SYSCALL_ENTRY(llistxattr),
	SYSCALL_ENTRY(flistxattr),
	SYSCALL_ENTRY(setxattr),
	SYSCALL_ENTRY(lsetxattr),
	SYSCALL_ENTRY(fsetxattr),
	SYSCALL_ENTRY(removexattr),
	SYSCALL_ENTRY(lremovexattr),
	SYSCALL_ENTRY(fremovexattr),
	{0},
};
