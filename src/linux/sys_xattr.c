/* SPDX-License-Identifier: MIT */
/*
 * sys_xattr.c - extended attributes: the host's. They are changed where files are (EROFS elsewhere), but for what says something of rights.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "path.h"
#include "syscall.h"

#define BY_FD (-1) /* in the place of flags for a walk */

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

/* Two of the calls take AT_FDCWD for a descriptor. */
static int by_fd_or_cwd(struct task *t, uint64_t guest_fd)
{
	int copy;

	if ((int)guest_fd != AT_FDCWD)
		return by_fd(t, guest_fd);
	copy = fcntl(fs_cwd(t->fs), F_DUPFD_CLOEXEC, 0);
	return copy < 0 ? -errno : copy;
}

/* What procfs has is lodge's own and has no attributes. */
static bool has_none(int fd)
{
	return procfs_holds(fd);
}

/* Takes fd over. What is wrong with the key comes first. */
static int64_t get(struct task *t, int fd, gva_t name, gva_t to, uint64_t room)
{
	char key[XATTR_NAME_MAX + 1], value[XATTR_SIZE_MAX];
	int64_t ret = strncpy_from_user(t->mm, key, name, sizeof(key));

	if (ret == -ENAMETOOLONG || ret == 0)
		ret = -ERANGE;
	if (ret > 0 && fd < 0)
		ret = fd;
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

/* What is to be changed: a key alone removes it. */
struct change {
	char key[XATTR_NAME_MAX + 1];
	char *value;
	size_t bytes;
	int flags;
};

/* Keys that say something of rights are nobody's to change here (F4), as they are not a plain user's. */
static bool is_users(const char *key)
{
	return strncmp(key, "security.", 9) && strncmp(key, "trusted.", 8);
}

/* Reads the key from the guest: 0, or -errno. */
static int64_t key_get(struct task *t, struct change *c, gva_t name)
{
	int64_t ret = strncpy_from_user(t->mm, c->key, name, sizeof(c->key));

	return ret == -ENAMETOOLONG || ret == 0 ? -ERANGE : ret < 0 ? ret : 0;
}

/* Takes fd over. */
static int64_t change(struct task *t, int fd, const struct change *c)
{
	int64_t ret = fd < 0 ? fd : has_none(fd) ? -EOPNOTSUPP : path_check_writable(t->files->view, fd);
	struct path_link link = path_link(fd);

	if (!ret && !is_users(c->key))
		ret = -EPERM;
	if (!ret && (c->value ? setxattr(link.text, c->key, c->value, c->bytes, c->flags)
			      : removexattr(link.text, c->key)))
		ret = -errno;
	if (fd >= 0)
		close(fd);
	return ret;
}

/* By path, with the flags of the walk; or by descriptor. */
static int64_t set(struct task *t, const uint64_t a[6], int walk)
{
	struct change c = {.bytes = a[3], .flags = (int)a[4]};
	int64_t ret = c.flags & ~(XATTR_CREATE | XATTR_REPLACE) ? -EINVAL : key_get(t, &c, a[1]);

	if (!ret && a[3] > XATTR_SIZE_MAX)
		ret = -E2BIG;
	if (ret)
		return ret;
	c.value = malloc(c.bytes + 1);
	if (!c.value)
		return -ENOMEM;
	ret = copy_from_user(t->mm, c.value, a[2], c.bytes) ? -EFAULT : 0;
	if (!ret)
		ret = change(t, walk == BY_FD ? by_fd_or_cwd(t, a[0]) : by_path(t, a[0], (unsigned int)walk),
			     &c);
	free(c.value);
	return ret;
}

static int64_t drop(struct task *t, const uint64_t a[6], int walk)
{
	struct change c = {.value = NULL};
	int64_t ret = key_get(t, &c, a[1]);

	return ret ? ret
		   : change(t, walk == BY_FD ? by_fd(t, a[0]) : by_path(t, a[0], (unsigned int)walk), &c);
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
	return get(t, by_fd_or_cwd(t, a[0]), a[1], a[2], a[3]);
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
	return set(t, a, 0);
}

static int64_t sys_lsetxattr(struct task *t, const uint64_t a[6])
{
	return set(t, a, PATH_NOFOLLOW);
}

static int64_t sys_fsetxattr(struct task *t, const uint64_t a[6])
{
	return set(t, a, BY_FD);
}

static int64_t sys_removexattr(struct task *t, const uint64_t a[6])
{
	return drop(t, a, 0);
}

static int64_t sys_lremovexattr(struct task *t, const uint64_t a[6])
{
	return drop(t, a, PATH_NOFOLLOW);
}

static int64_t sys_fremovexattr(struct task *t, const uint64_t a[6])
{
	return drop(t, a, BY_FD);
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
