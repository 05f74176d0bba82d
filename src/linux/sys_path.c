/* SPDX-License-Identifier: MIT */
/*
 * sys_path.c - the system calls that open, make, move and remove names, and the working directory.
 *
 * Outside the rw directories the view is a read-only mount: what would make a name says EEXIST where there is one and
 * EROFS elsewhere, what would remove one says EROFS; between inside and outside there is EXDEV.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "memfd.h"
#include "open.h"
#include "syscall.h"
#include "view.h"

static int64_t result(int ret)
{
	return ret < 0 ? -errno : ret;
}

/* --- open ------------------------------------------------------------------------------------ */

static int64_t do_open(struct task *t, int dirfd, gva_t name, int flags, mode_t mode)
{
	struct path p;
	int err = path_get(t, dirfd, name, &p);

	return err ? err : open_install(t, &p, flags, mode);
}

static int64_t sys_openat(struct task *t, const uint64_t a[6])
{
	return do_open(t, (int)a[0], a[1], (int)a[2], (mode_t)a[3]);
}

static int64_t sys_open(struct task *t, const uint64_t a[6])
{
	return do_open(t, AT_FDCWD, a[0], (int)a[1], (mode_t)a[2]);
}

static int64_t sys_creat(struct task *t, const uint64_t a[6])
{
	return do_open(t, AT_FDCWD, a[0], O_CREAT | O_WRONLY | O_TRUNC, (mode_t)a[1]);
}

/* --- a name and its directory ---------------------------------------------------------------- */

/* A name to be made, removed or moved. dir_fd was reached from an rw directory, or is -1 and error says why. */
struct place {
	struct path path;
	struct path_parent parent;
	int dir_fd, error;
};

static int place_find(struct task *t, int dirfd, gva_t name, struct place *at)
{
	int err = path_get(t, dirfd, name, &at->path);

	if (!err)
		err = path_parent(&at->path, &at->parent);
	if (err < 0)
		return err;
	at->error = 0;
	at->dir_fd = path_parent_writable(t->files->view, &at->parent);
	if (at->dir_fd < 0)
		at->error = at->dir_fd;
	return 0;
}

static void place_release(struct place *at)
{
	path_parent_release(&at->parent, at->dir_fd);
}

/* The same for a name to be made: what is there already is worth telling even where nothing could be made. */
static int place_find_new(struct task *t, int dirfd, gva_t name, struct place *at)
{
	struct stat st;
	int err = place_find(t, dirfd, name, at);

	if (err < 0)
		return err;
	if (at->error && !procfs_holds(at->parent.fd) &&
	    !fstatat(at->parent.fd, at->parent.name, &st, AT_SYMLINK_NOFOLLOW))
		at->error = -EEXIST;
	if (at->error)
		place_release(at);
	return at->error;
}

static int place_find_old(struct task *t, int dirfd, gva_t name, struct place *at)
{
	int err = place_find(t, dirfd, name, at);

	if (err < 0)
		return err;
	if (at->error)
		place_release(at);
	return at->error;
}

/* --- making names ---------------------------------------------------------------------------- */

static int64_t do_mkdir(struct task *t, int dirfd, gva_t name, mode_t mode)
{
	struct place at;
	int64_t ret = place_find_new(t, dirfd, name, &at);

	if (ret)
		return ret;
	mode &= 01777;
	ret = result(mkdirat(at.dir_fd, at.parent.name, mode & ~t->fs->umask));
	if (!ret)
		ret = open_fix_mode(t, at.dir_fd, at.parent.name, mode);
	place_release(&at);
	return ret;
}

static int64_t sys_mkdir(struct task *t, const uint64_t a[6])
{
	return do_mkdir(t, AT_FDCWD, a[0], (mode_t)a[1]);
}

static int64_t sys_mkdirat(struct task *t, const uint64_t a[6])
{
	return do_mkdir(t, (int)a[0], a[1], (mode_t)a[2]);
}

/* FIFOs and empty files; F4 forbids devices, as Linux does to all but root. A whiteout is the device that is none. */
static int64_t do_mknod(struct task *t, int dirfd, gva_t name, mode_t mode, unsigned int device)
{
	mode_t type = mode & S_IFMT;
	struct place at;
	int64_t ret;

	if ((type == S_IFCHR && device) || type == S_IFBLK || S_ISDIR(mode))
		return -EPERM;
	if (type && type != S_IFREG && type != S_IFIFO && type != S_IFSOCK && type != S_IFCHR)
		return -EINVAL;
	ret = place_find_new(t, dirfd, name, &at);
	if (ret)
		return ret;
	mode &= 01777;
	ret = result(mknodat(at.dir_fd, at.parent.name, type | (mode & ~t->fs->umask), 0));
	if (!ret)
		ret = open_fix_mode(t, at.dir_fd, at.parent.name, mode);
	place_release(&at);
	return ret;
}

static int64_t sys_mknod(struct task *t, const uint64_t a[6])
{
	return do_mknod(t, AT_FDCWD, a[0], (mode_t)a[1], (unsigned int)a[2]);
}

static int64_t sys_mknodat(struct task *t, const uint64_t a[6])
{
	return do_mknod(t, (int)a[0], a[1], (mode_t)a[2], (unsigned int)a[3]);
}

static int64_t do_symlink(struct task *t, gva_t text, int dirfd, gva_t name)
{
	char target[PATH_MAX];
	struct place at;
	int64_t ret = strncpy_from_user(t->mm, target, text, sizeof(target));

	if (ret < 0)
		return ret;
	if (!ret)
		return -ENOENT;
	ret = place_find_new(t, dirfd, name, &at);
	if (ret)
		return ret;
	ret = result(symlinkat(target, at.dir_fd, at.parent.name));
	place_release(&at);
	return ret;
}

static int64_t sys_symlink(struct task *t, const uint64_t a[6])
{
	return do_symlink(t, a[0], AT_FDCWD, a[1]);
}

static int64_t sys_symlinkat(struct task *t, const uint64_t a[6])
{
	return do_symlink(t, a[0], (int)a[1], a[2]);
}

/* A second name for a file outside would make it writable: only what lies inside has a second name there. */
static int64_t link_target(struct task *t, const struct path_target *target, int dirfd, gva_t name)
{
	struct place at;
	struct stat st;
	int64_t ret = place_find_new(t, dirfd, name, &at);

	if (ret)
		return ret;
	ret = path_check_writable(t->files->view, target->fd);
	if (ret == -EROFS)
		ret = fstatat(at.dir_fd, at.parent.name, &st, AT_SYMLINK_NOFOLLOW) ? -EXDEV : -EEXIST;
	if (!ret && view_memory(t->files->view, target->fd) != view_memory(t->files->view, at.dir_fd))
		ret = -EXDEV;
	if (!ret)
		ret = result(linkat(AT_FDCWD, path_link(target->fd).text, at.dir_fd, at.parent.name,
				    AT_SYMLINK_FOLLOW));
	place_release(&at);
	return ret;
}

static int64_t sys_linkat(struct task *t, const uint64_t a[6])
{
	int flags = (int)a[4];
	unsigned int how =
		(flags & AT_SYMLINK_FOLLOW ? 0 : PATH_NOFOLLOW) | (flags & AT_EMPTY_PATH ? PATH_EMPTY : 0);
	struct path_target target;
	struct path p;
	int64_t ret;

	if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	ret = path_get(t, (int)a[0], a[1], &p);
	if (!ret)
		ret = path_target(t, &p, how, &target);
	if (ret)
		return ret;
	ret = link_target(t, &target, (int)a[2], a[3]);
	close(target.fd);
	return ret;
}

static int64_t sys_link(struct task *t, const uint64_t a[6])
{
	const uint64_t at[6] = {(uint64_t)AT_FDCWD, a[0], (uint64_t)AT_FDCWD, a[1], 0};

	return sys_linkat(t, at);
}

/* --- removing and moving them ---------------------------------------------------------------- */

/* What may lose a name, where its data is in memory; -1: nothing of the kind. */
static int going_open(const struct task *t, const struct place *at)
{
	return view_memory(t->files->view, at->dir_fd) ? path_open_in(at->dir_fd, at->parent.name) : -1;
}

static void going_close(int fd)
{
	if (fd < 0)
		return;
	memfd_unlinked(fd);
	close(fd);
}

/* Names in memory and others are not exchanged: a file of one kind is none of the other. */
static bool is_other_mount(const struct task *t, int a_fd, int b_fd)
{
	return view_memory(t->files->view, a_fd) != view_memory(t->files->view, b_fd);
}

static int64_t do_unlink(struct task *t, int dirfd, gva_t name, int flags)
{
	struct place at;
	int going;
	int64_t ret;

	if (flags & ~AT_REMOVEDIR)
		return -EINVAL;
	ret = place_find_old(t, dirfd, name, &at);
	if (ret)
		return ret;
	going = going_open(t, &at);
	ret = result(unlinkat(at.dir_fd, at.parent.name, flags));
	going_close(going);
	place_release(&at);
	return ret;
}

static int64_t sys_unlink(struct task *t, const uint64_t a[6])
{
	return do_unlink(t, AT_FDCWD, a[0], 0);
}

static int64_t sys_rmdir(struct task *t, const uint64_t a[6])
{
	return do_unlink(t, AT_FDCWD, a[0], AT_REMOVEDIR);
}

static int64_t sys_unlinkat(struct task *t, const uint64_t a[6])
{
	return do_unlink(t, (int)a[0], a[1], (int)a[2]);
}

static int64_t rename_place(struct task *t, const struct place *from, int dirfd, gva_t name,
			    unsigned int flags)
{
	struct place to;
	int64_t ret = place_find(t, dirfd, name, &to);

	if (ret)
		return ret;
	if (from->error == -EROFS || to.error == -EROFS)
		ret = from->error == to.error ? -EROFS : -EXDEV;
	else
		ret = from->error ? from->error : to.error;
	if (!ret && is_other_mount(t, from->dir_fd, to.dir_fd))
		ret = -EXDEV;
	if (!ret) {
		int going = going_open(t, &to);
		ret = result(renameat2(from->dir_fd, from->parent.name, to.dir_fd, to.parent.name, flags));
		going_close(going);
	}
	place_release(&to);
	return ret;
}

static int64_t do_rename(struct task *t, const uint64_t a[4], unsigned int flags)
{
	struct place from;
	int64_t ret;

	if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) ||
	    ((flags & RENAME_EXCHANGE) && (flags & ~RENAME_EXCHANGE)))
		return -EINVAL;
	ret = place_find(t, (int)a[0], a[1], &from);
	if (ret)
		return ret;
	ret = rename_place(t, &from, (int)a[2], a[3], flags);
	place_release(&from);
	return ret;
}

static int64_t sys_rename(struct task *t, const uint64_t a[6])
{
	const uint64_t at[4] = {(uint64_t)AT_FDCWD, a[0], (uint64_t)AT_FDCWD, a[1]};

	return do_rename(t, at, 0);
}

static int64_t sys_renameat(struct task *t, const uint64_t a[6])
{
	return do_rename(t, a, 0);
}

static int64_t sys_renameat2(struct task *t, const uint64_t a[6])
{
	return do_rename(t, a, (unsigned int)a[4]);
}

/* --- reading links --------------------------------------------------------------------------- */

/* Its length, or -errno. The caller named it with or without a path; that decides the error for what is no link. */
static int read_link(struct task *t, const struct path_target *target, bool empty, char text[PATH_MAX])
{
	if (!S_ISLNK(target->st.st_mode))
		return empty ? -ENOENT : -EINVAL;
	if (target->entry.kind != PROC_NONE)
		return procfs_readlink(t, &target->entry, text);
	return (int)result((int)readlinkat(target->fd, "", text, PATH_MAX));
}

static int read_link_at(struct task *t, const struct path *p, char text[PATH_MAX])
{
	struct path_target target;
	int ret = path_readlink(p, text);

	if (ret != -EAGAIN)
		return ret;
	ret = path_target(t, p, PATH_NOFOLLOW | PATH_EMPTY, &target);
	if (ret)
		return ret;
	ret = read_link(t, &target, !p->text[0], text);
	close(target.fd);
	return ret;
}

static int64_t do_readlink(struct task *t, int dirfd, gva_t name, gva_t buffer, int bytes)
{
	char text[PATH_MAX];
	struct path p;
	int ret;

	if (bytes <= 0)
		return -EINVAL;
	ret = path_get(t, dirfd, name, &p);
	if (!ret)
		ret = read_link_at(t, &p, text);
	if (ret < 0)
		return ret;
	ret = ret < bytes ? ret : bytes;
	return copy_to_user(t->mm, buffer, text, (size_t)ret) ? -EFAULT : ret;
}

static int64_t sys_readlink(struct task *t, const uint64_t a[6])
{
	return do_readlink(t, AT_FDCWD, a[0], a[1], (int)a[2]);
}

static int64_t sys_readlinkat(struct task *t, const uint64_t a[6])
{
	return do_readlink(t, (int)a[0], a[1], a[2], (int)a[3]);
}

/* --- the working directory and the umask ----------------------------------------------------- */

static int64_t sys_getcwd(struct task *t, const uint64_t a[6])
{
	char text[PATH_MAX];
	struct stat st;
	int len;

	int cwd = fs_cwd(t->fs);
	if (fstat(cwd, &st) || !st.st_nlink)
		return -ENOENT;
	len = path_of_fd(cwd, text);
	if (len >= 0)
		len = view_guest_path(t->files->view, text);
	if (len < 0)
		return len;
	if ((uint64_t)len + 1 > a[1])
		return -ERANGE;
	return copy_to_user(t->mm, a[0], text, (size_t)len + 1) ? -EFAULT : len + 1;
}

/* O_PATH does not ask for the right to search a directory; chdir does, and so does ".". */
static int64_t set_cwd(struct task *t, int fd)
{
	int path_fd = openat(fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	return path_fd < 0 ? -errno : fs_set_cwd(t->fs, path_fd);
}

static int64_t sys_chdir(struct task *t, const uint64_t a[6])
{
	struct path_target target;
	struct path p;
	int err = path_get(t, AT_FDCWD, a[0], &p);

	if (!err)
		err = path_target(t, &p, PATH_DIRECTORY, &target);
	if (err)
		return err;
	int64_t ret = set_cwd(t, target.fd);
	close(target.fd);
	return ret;
}

static int64_t sys_fchdir(struct task *t, const uint64_t a[6])
{
	int host_fd = files_host_fd(t->files, (int)a[0]);

	return host_fd < 0 ? -EBADF : set_cwd(t, host_fd);
}

static int64_t sys_umask(struct task *t, const uint64_t a[6])
{
	return atomic_exchange(&t->fs->umask, a[0] & 0777);
}

const struct syscall_entry sys_path_calls[] = {
	SYSCALL_ENTRY(open),	  SYSCALL_ENTRY(openat),   SYSCALL_ENTRY(creat),      SYSCALL_ENTRY(mkdir),
	SYSCALL_ENTRY(mkdirat),	  SYSCALL_ENTRY(mknod),	   SYSCALL_ENTRY(mknodat),    SYSCALL_ENTRY(symlink),
	SYSCALL_ENTRY(symlinkat), SYSCALL_ENTRY(link),	   SYSCALL_ENTRY(linkat),     SYSCALL_ENTRY(unlink),
	SYSCALL_ENTRY(unlinkat),  SYSCALL_ENTRY(rmdir),	   SYSCALL_ENTRY(rename),     SYSCALL_ENTRY(renameat),
	SYSCALL_ENTRY(renameat2), SYSCALL_ENTRY(readlink), SYSCALL_ENTRY(readlinkat), SYSCALL_ENTRY(getcwd),
	SYSCALL_ENTRY(chdir),	  SYSCALL_ENTRY(fchdir),   SYSCALL_ENTRY(umask),      {0},
};
