/* SPDX-License-Identifier: MIT */
/*
 * open.c - see open.h.
 *
 * What exists is found first, as an O_PATH descriptor; looked at; and only then opened through that descriptor, so nothing
 * is ever opened that was not looked at. What does not exist is made with O_EXCL, so it is never something else.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "coherent.h"
#include "host_wait.h"
#include "memfd.h"
#include "open.h"
#include "pressure.h"
#include "task.h"
#include "tty.h"
#include "view.h"

#define CREATE_ATTEMPTS 16
#define SET_ID_BITS	(S_ISUID | S_ISGID)

/* What is left of the guest's flags when an object that was found is opened. */
#define REOPEN_FLAGS \
	(O_ACCMODE | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC | O_DIRECT | O_DIRECTORY | O_NOATIME)

/* O_TMPFILE has O_DIRECTORY in it. */
#define TMPFILE_BIT (O_TMPFILE & ~O_DIRECTORY)

static bool wants_write(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
}

#define DEV_TTY	 makedev(5, 0)
#define DEV_PTMX makedev(5, 2)

/* Devices that hold nothing of the host. */
static bool is_harmless_device(const struct stat *st)
{
	static const unsigned char memory[] = {3 /* null */, 5 /* zero */, 7 /* full */, 8 /* random */,
					       9 /* urandom */};

	if (!S_ISCHR(st->st_mode))
		return false;
	for (unsigned int i = 0; i < sizeof(memory); i++)
		if (st->st_rdev == makedev(1, memory[i]))
			return true;
	return st->st_rdev == DEV_TTY || st->st_rdev == DEV_PTMX;
}

/* --- what exists ----------------------------------------------------------------------------- */

/* An open file of a directory of memory; or it is closed, and an error. */
static int keep_in_memory(struct task *t, int fd, const struct stat *st)
{
	int err = view_keep_in_memory(t->files->view, fd, st);

	if (!err)
		return fd;
	close(fd);
	return err;
}

/* A directory that may be searched opens by itself; the way through procfs is the longer one. */
static int open_again(int fd, const struct stat *st, int flags)
{
	int ret = S_ISDIR(st->st_mode) ? openat(fd, ".", flags) : -1;

	return ret < 0 ? path_reopen(fd, flags) : ret;
}

static int host_open(struct task *t, int fd, const struct stat *st, int flags)
{
	struct host_wait wait;
	bool may_wait = S_ISFIFO(st->st_mode) || atomic_load(&t->sandbox->notices.leased);
	struct coherent_change change = {0};
	int ret;

	if (may_wait)
		host_wait_begin(&wait);
	if (flags & O_TRUNC)
		coherent_begin(&change, t, fd);
	do
		ret = open_again(fd, st, (flags & REOPEN_FLAGS) | O_CLOEXEC | O_NOCTTY);
	while (ret < 0 && errno == EINTR && !task_interrupted(t));
	if (ret < 0)
		ret = errno == EINTR ? (int)host_wait_interrupted(t) : -errno;
	coherent_end(&change, 0, 0);
	if (may_wait)
		host_wait_end(&wait);
	return ret < 0 ? ret : keep_in_memory(t, ret, st);
}

/* A dup of what a guest descriptor stands for, if it can do what is asked of it. */
static int open_own_fd(struct task *t, int fd, const struct stat *st, int flags)
{
	int mode = fcntl(fd, F_GETFL) & O_ACCMODE, wanted = flags & O_ACCMODE, copy;

	if (memfd_is(fd)) /* nothing of the host's is behind it */
		return host_open(t, fd, st, flags);
	if (mode != O_RDWR && (mode != wanted || (mode == O_RDONLY && (flags & O_TRUNC))))
		return -EACCES;
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return copy < 0 ? -errno : copy;
}

/* The error that the kernel's may_open has for an object, or 0. */
static int check_openable(struct task *t, const struct stat *st, int flags)
{
	if ((flags & O_CREAT) && (flags & O_EXCL))
		return -EEXIST;
	if (S_ISDIR(st->st_mode) && ((flags & O_CREAT) || wants_write(flags)))
		return -EISDIR;
	if (S_ISLNK(st->st_mode))
		return -ELOOP;
	if ((S_ISCHR(st->st_mode) && !is_harmless_device(st) && !tty_is_ours(t, st)) || S_ISBLK(st->st_mode))
		return -EACCES;
	return 0;
}

/* The host gives numbers out again: it has to be ours still when it is open. */
static int open_terminal(struct task *t, int fd, const struct stat *st, int flags)
{
	int ret = host_open(t, fd, st, flags);

	if (ret < 0 || tty_is_ours(t, st))
		return ret;
	close(ret);
	return -EIO;
}

static int open_checked(struct task *t, const struct path_target *target, int flags)
{
	const struct stat *st = &target->st;
	int verified, ret, fd = target->fd;
	struct stat now;

	if (S_ISCHR(st->st_mode) && st->st_rdev == DEV_TTY)
		return tty_open_own(t, flags);
	if (S_ISCHR(st->st_mode) && st->st_rdev == DEV_PTMX)
		return tty_open_pair(t, flags);
	if (S_ISCHR(st->st_mode) && tty_is_ours(t, st))
		return open_terminal(t, fd, st, flags);
	if (!wants_write(flags) || is_harmless_device(st) || target->all_writable)
		return host_open(t, fd, st, flags);
	verified = path_writable(t->files->view, fd, 0);
	if (verified < 0)
		return verified;
	ret = fstat(verified, &now) ? -errno : host_open(t, verified, &now, flags);
	close(verified);
	return ret;
}

/* *proc: in, what the path led to; out, what is open. */
static int open_target(struct task *t, const struct path_target *target, int flags, struct proc_entry *proc)
{
	const struct stat *st = &target->st;
	int err;

	*proc = target->entry;

	if (proc->kind == PROC_FD && !(fcntl(target->fd, F_GETFL) & O_PATH)) {
		*proc = files_get(t->files, proc->guest_fd)->proc;
		return open_own_fd(t, target->fd, st, flags);
	}
	if (proc->kind == PROC_FD)
		*proc = procfs_entry_of_fd(t, target->fd);
	if (proc->kind == PROC_REFUSED)
		return -EACCES;
	err = check_openable(t, st, flags);
	if (err)
		return err;
	if (proc->kind == PROC_FILE)
		return procfs_open(proc, st, flags);
	if (proc->kind == PROC_NONE && S_ISDIR(st->st_mode) && procfs_holds_object(target->fd, st))
		proc->kind = PROC_MACHINE;
	return open_checked(t, target, flags);
}

static unsigned int target_flags(int flags)
{
	bool nofollow = (flags & O_NOFOLLOW) || ((flags & O_CREAT) && (flags & O_EXCL));

	return (nofollow ? PATH_NOFOLLOW : 0) | (flags & O_DIRECTORY ? PATH_DIRECTORY : 0);
}

/* What only lists. */
static bool wants_directory(int flags)
{
	const int may_not = O_ACCMODE | O_TRUNC | O_CREAT;

	return (flags & O_DIRECTORY) && !(flags & may_not);
}

static int open_existing(struct task *t, const struct path *p, int flags, struct guest_file *like)
{
	struct path_target target;
	int ret = wants_directory(flags)
			  ? path_open_directory(p, flags & (REOPEN_FLAGS | O_NOFOLLOW), &target.st)
			  : -EAGAIN;

	if (ret >= 0) {
		guest_file_know(like, &target.st);
		return ret;
	}
	ret = path_target(t, p, target_flags(flags), &target);
	if (ret < 0)
		return ret;
	ret = open_target(t, &target, flags, &like->proc);
	close(target.fd);
	/* What was opened is what was looked at: there is no need to look once more. */
	if (ret >= 0 && like->proc.kind == PROC_NONE && !wants_write(flags))
		guest_file_know(like, &target.st);
	return ret;
}

static int open_only_path(struct task *t, const struct path *p, int flags)
{
	struct path_target target;
	int err = path_target(t, p, target_flags(flags & ~O_CREAT), &target);

	if (err < 0)
		return err;
	if (target.entry.kind == PROC_NONE || target.entry.kind >= PROC_FILE ||
	    (target.entry.kind == PROC_FD && !(flags & O_NOFOLLOW)))
		return target.fd;
	close(target.fd);
	return -EACCES;
}

/* --- what does not --------------------------------------------------------------------------- */

int open_fix_mode(struct task *t, int parent_fd, const char *name, mode_t mode)
{
	mode_t lost = mode & 0777 & t->fs->host_umask & ~t->fs->umask;
	struct stat st;
	int fd, err = 0;

	if (!lost)
		return 0;
	fd = path_open_in(parent_fd, name);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) || chmod(path_link(fd).text, (st.st_mode & 07777) | lost))
		err = -errno;
	close(fd);
	return err;
}

/* The same by a descriptor that is open for more than its path. */
static void fix_mode(struct task *t, int fd, mode_t mode)
{
	mode_t lost = mode & 0777 & t->fs->host_umask & ~t->fs->umask;
	struct stat st;

	if (lost && !fstat(fd, &st))
		fchmod(fd, (st.st_mode & 07777) | lost);
}

/* dir_fd was reached from a writable mount. */
static int create_in(struct task *t, int dir_fd, const char *name, int flags, mode_t mode)
{
	mode &= 07777 & ~(mode_t)SET_ID_BITS;
	int fd = openat(dir_fd, name, flags | O_CLOEXEC | O_NOCTTY, mode & ~t->fs->umask);
	if (fd < 0)
		return -errno;
	fix_mode(t, fd, mode);
	return keep_in_memory(t, fd, NULL);
}

/* -EEXIST when something has come to stand there meanwhile. */
static int open_new(struct task *t, const struct path *p, int flags, mode_t mode)
{
	struct path copy = *p;
	struct path_parent parent;
	bool nofollow = target_flags(flags) & PATH_NOFOLLOW;
	int dir_fd, err = nofollow ? path_parent(&copy, &parent) : path_follow(&copy, &parent);

	if (err < 0)
		return err;
	dir_fd = parent.slash ? -EISDIR : path_parent_writable(t->files->view, &parent);
	/* What is made anew follows no link, and F_GETFL would tell of an O_NOFOLLOW that is not the guest's. */
	flags = (flags & ((REOPEN_FLAGS & ~O_DIRECTORY) | O_NOFOLLOW)) | O_CREAT | O_EXCL;
	err = dir_fd < 0 ? dir_fd : create_in(t, dir_fd, parent.name, flags, mode);
	path_parent_release(&parent, dir_fd);
	return err;
}

/* A file is not made by a name with a slash behind it, nor is a directory opened so. */
static int check_slash(const struct path *p)
{
	struct path copy = *p;
	struct path_parent parent;
	int err = path_parent(&copy, &parent);

	if (err < 0)
		return err;
	close(parent.fd);
	return parent.slash && strspn(parent.name, "./") != strlen(parent.name) ? -EISDIR : 0;
}

static int open_or_create(struct task *t, const struct path *p, int flags, mode_t mode,
			  struct guest_file *like)
{
	int ret = path_has_slash(p) ? check_slash(p) : 0;

	if (ret)
		return ret;
	for (int i = 0; i < CREATE_ATTEMPTS; i++) {
		ret = open_existing(t, p, flags, like);
		if (ret != -ENOENT)
			return ret;
		ret = open_new(t, p, flags, mode);
		if (ret != -EEXIST || (flags & O_EXCL))
			return ret;
	}
	return ret;
}

static int open_tmpfile(struct task *t, const struct path *p, int flags, mode_t mode)
{
	struct path_target target;
	int ret = path_target(t, p, PATH_DIRECTORY | target_flags(flags), &target), dir_fd;

	if (ret < 0)
		return ret;
	dir_fd = view_memory(t->files->view, target.fd) /* nothing would say when it is gone */
			 ? -EOPNOTSUPP
			 : path_writable(t->files->view, target.fd, O_DIRECTORY);
	close(target.fd);
	if (dir_fd < 0)
		return dir_fd;
	ret = create_in(t, dir_fd, ".", (flags & (REOPEN_FLAGS | O_EXCL)) | O_TMPFILE, mode);
	close(dir_fd);
	return ret;
}

/* A host descriptor with O_CLOEXEC, or -errno; *like: what is known of it. */
static int open_path(struct task *t, const struct path *p, int flags, mode_t mode, struct guest_file *like)
{
	if (flags & O_PATH)
		return open_only_path(t, p, flags & (O_PATH | O_NOFOLLOW | O_DIRECTORY));
	if (flags & TMPFILE_BIT) {
		if ((flags & (O_TMPFILE | O_CREAT)) != O_TMPFILE || (flags & O_ACCMODE) == O_RDONLY)
			return -EINVAL;
		return open_tmpfile(t, p, flags, mode);
	}
	if ((flags & (O_CREAT | O_DIRECTORY)) == (O_CREAT | O_DIRECTORY))
		return -EINVAL;
	return flags & O_CREAT ? open_or_create(t, p, flags, mode, like) : open_existing(t, p, flags, like);
}

int64_t open_install(struct task *t, const struct path *p, int flags, mode_t mode)
{
	struct guest_file like = {.proc.kind = PROC_NONE};
	int fd = files_next(t->files, 0); /* before anything is made or truncated */

	if (fd >= 0)
		fd = open_path(t, p, flags, mode, &like);
	if (fd >= 0 && like.proc.kind == PROC_FILE && like.proc.file->pressure)
		like.pressure = pressure_create(t);
	if (fd >= 0)
		fd = files_install(t->files, fd, flags & O_CLOEXEC, 0, &like);
	pressure_drop(like.pressure);
	if (fd >= 0)
		tty_opened(t, fd, flags);
	return fd;
}
