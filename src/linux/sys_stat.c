/* SPDX-License-Identifier: MIT */
/*
 * sys_stat.c - the system calls that read and set what a file is: status, rights, owner, times, length.
 *
 * struct stat, statx and statfs are the host's own: guest and host are of one architecture.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "../mm/hugetlb_object.h"
#include "coherent.h"
#include "memfd.h"
#include "identity.h"
#include "path.h"
#include "rlimit.h"
#include "syscall.h"

/* STATX__RESERVED and the flags of statfs, which libc keeps to itself. */
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452 /* Linux 6.6 */
#endif
#define STATX_MASK_RESERVED 0x80000000u
#define STATFS_RDONLY	    0x0001
#define STATFS_VALID	    0x0020

/* Among the flags that a call knows: AT_EMPTY_PATH needs no path either. */
#define TARGET_MAYBE_NULL   (1 << 30)

typedef int find_fn(struct task *t, const struct path *p, unsigned int how, struct path_target *target);

static int get_path(struct task *t, const uint64_t dirfd_name[2], int flags, int known, unsigned int *how,
		    struct path *p)
{
	*how = (flags & AT_SYMLINK_NOFOLLOW ? PATH_NOFOLLOW : 0) | (flags & AT_EMPTY_PATH ? PATH_EMPTY : 0);
	if (flags & ~(known & ~TARGET_MAYBE_NULL))
		return -EINVAL;
	return known & TARGET_MAYBE_NULL && flags & AT_EMPTY_PATH
		       ? path_get_or_null(t, (int)dirfd_name[0], dirfd_name[1], p)
		       : path_get(t, (int)dirfd_name[0], dirfd_name[1], p);
}

static int get_by(find_fn *find, struct task *t, const uint64_t dirfd_name[2], int flags, int known,
		  struct path_target *target)
{
	unsigned int how;
	struct path p;
	int err = get_path(t, dirfd_name, flags, known, &how, &p);

	return err ? err : find(t, &p, how, target);
}

static int target_get(struct task *t, const uint64_t dirfd_name[2], int flags, int known,
		      struct path_target *target)
{
	return get_by(path_target, t, dirfd_name, flags, known, target);
}

/* --- status ---------------------------------------------------------------------------------- */

#define STAT_FLAGS \
	(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE | TARGET_MAYBE_NULL)

/* What a memfd takes: the host's has no data. In units of 512 bytes. */
static uint64_t memfd_blocks(dev_t dev, ino_t ino, uint64_t hosts)
{
	struct backing *b = memfd_find_object(dev, ino);

	if (!b)
		return hosts;
	hosts = hugetlb_object_of(b)
			? hugetlb_object_pages(hugetlb_object_of(b)) * (PMD_SIZE / 512)
			: (filemap_nr_pages(&b->cache) + filemap_nr_swapped(&b->cache)) * (PAGE_SIZE / 512);
	backing_put(b);
	return hosts;
}

/* A file of procfs has no size, whatever its text behind the descriptor of ours. */
static bool is_sizeless(const struct guest_file *file)
{
	return file && file->proc.kind == PROC_FILE;
}

static int64_t put_stat(struct task *t, struct stat *st, gva_t to, bool sizeless)
{
	const struct identity *o = &t->sandbox->identity;

	st->st_uid = identity_shown_uid(o, st->st_uid);
	st->st_gid = identity_shown_gid(o, st->st_gid);
	st->st_blocks = (blkcnt_t)memfd_blocks(st->st_dev, st->st_ino, (uint64_t)st->st_blocks);
	if (sizeless)
		st->st_size = st->st_blocks = 0;
	return copy_to_user(t->mm, to, st, sizeof(*st)) ? -EFAULT : 0;
}

static int64_t stat_open(struct task *t, int guest_fd, gva_t to)
{
	const struct guest_file *file = files_get(t->files, guest_fd);
	struct stat st;

	if (!file)
		return -EBADF;
	return fstat(file->host_fd, &st) ? -errno : put_stat(t, &st, to, is_sizeless(file));
}

/* A descriptor and no name is fstat, as libc has it; Linux, too, looks for that first. */
static bool is_fstat(struct task *t, int dirfd, gva_t name, int flags)
{
	char first;

	return flags == AT_EMPTY_PATH && dirfd >= 0 &&
	       (!name || (!copy_from_user(t->mm, &first, name, 1) && !first));
}

static int64_t do_stat(struct task *t, int dirfd, gva_t name, gva_t to, int flags)
{
	const uint64_t at[2] = {(uint64_t)dirfd, name};
	struct path_target target;
	int64_t ret;

	if (is_fstat(t, dirfd, name, flags))
		return stat_open(t, dirfd, to);
	ret = get_by(path_status, t, at, flags, STAT_FLAGS, &target);
	if (ret)
		return ret;
	ret = put_stat(t, &target.st, to, (flags & AT_EMPTY_PATH) && is_sizeless(files_get(t->files, dirfd)));
	if (target.fd >= 0)
		close(target.fd);
	return ret;
}

static int64_t sys_stat(struct task *t, const uint64_t a[6])
{
	return do_stat(t, AT_FDCWD, a[0], a[1], 0);
}

static int64_t sys_lstat(struct task *t, const uint64_t a[6])
{
	return do_stat(t, AT_FDCWD, a[0], a[1], AT_SYMLINK_NOFOLLOW);
}

static int64_t sys_newfstatat(struct task *t, const uint64_t a[6])
{
	return do_stat(t, (int)a[0], a[1], a[2], (int)a[3]);
}

static int64_t sys_fstat(struct task *t, const uint64_t a[6])
{
	return stat_open(t, (int)a[0], a[1]);
}

static int64_t sys_statx(struct task *t, const uint64_t a[6])
{
	int flags = (int)a[2];
	unsigned int how;
	struct statx stx;
	struct path p;
	int64_t ret;

	if ((a[3] & STATX_MASK_RESERVED) || (flags & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE)
		return -EINVAL;
	ret = get_path(t, a, flags, STAT_FLAGS, &how, &p);
	if (!ret)
		ret = path_statx(t, &p, how, flags & AT_STATX_SYNC_TYPE, (unsigned int)a[3], &stx);
	if (ret)
		return ret;
	stx.stx_uid = identity_shown_uid(&t->sandbox->identity, stx.stx_uid);
	stx.stx_gid = identity_shown_gid(&t->sandbox->identity, stx.stx_gid);
	stx.stx_blocks =
		memfd_blocks(makedev(stx.stx_dev_major, stx.stx_dev_minor), stx.stx_ino, stx.stx_blocks);
	return copy_to_user(t->mm, a[4], &stx, sizeof(stx)) ? -EFAULT : 0;
}

/* A guest sees everything outside the rw directories as mounted read-only. */
static int64_t put_statfs(struct task *t, int host_fd, gva_t to)
{
	struct statfs fs;

	if (fstatfs(host_fd, &fs))
		return -errno;
	if (path_check_writable(t->files->view, host_fd))
		fs.f_flags |= STATFS_RDONLY | STATFS_VALID;
	return copy_to_user(t->mm, to, &fs, sizeof(fs)) ? -EFAULT : 0;
}

static int64_t sys_statfs(struct task *t, const uint64_t a[6])
{
	const uint64_t at[2] = {(uint64_t)AT_FDCWD, a[0]};
	struct path_target target;
	int64_t ret = target_get(t, at, 0, 0, &target);

	if (ret)
		return ret;
	ret = put_statfs(t, target.fd, a[1]);
	close(target.fd);
	return ret;
}

static int64_t sys_fstatfs(struct task *t, const uint64_t a[6])
{
	int host_fd = files_host_fd(t->files, (int)a[0]);

	return host_fd < 0 ? -EBADF : put_statfs(t, host_fd, a[1]);
}

/* --- rights ---------------------------------------------------------------------------------- */

/* Read-only mounts have no say about devices and pipes, but F1 has about the latter. */
static bool is_special(const struct stat *st)
{
	return S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode) || S_ISSOCK(st->st_mode);
}

static int64_t check_access(struct task *t, const struct path_target *target, int mode, int flags)
{
	if (mode && faccessat(target->fd, "", mode, AT_EMPTY_PATH | (flags & AT_EACCESS)))
		return -errno;
	if (!(mode & W_OK) || is_special(&target->st) || target->entry.kind == PROC_FD)
		return 0;
	return path_check_writable(t->files->view, target->fd);
}

static int64_t do_access(struct task *t, const uint64_t at[2], int mode, int flags)
{
	struct path_target target;
	int64_t ret;

	if (mode & ~(R_OK | W_OK | X_OK))
		return -EINVAL;
	ret = target_get(t, at, flags, AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, &target);
	if (ret)
		return ret;
	ret = check_access(t, &target, mode, flags);
	close(target.fd);
	return ret;
}

static int64_t sys_access(struct task *t, const uint64_t a[6])
{
	const uint64_t at[2] = {(uint64_t)AT_FDCWD, a[0]};

	return do_access(t, at, (int)a[1], 0);
}

static int64_t sys_faccessat(struct task *t, const uint64_t a[6])
{
	return do_access(t, a, (int)a[2], 0);
}

static int64_t sys_faccessat2(struct task *t, const uint64_t a[6])
{
	return do_access(t, a, (int)a[2], (int)a[3]);
}

/* --- changes --------------------------------------------------------------------------------- */

/* One change of an inode; exactly what one of the calls below asks for. */
struct change {
	enum { CHANGE_MODE, CHANGE_OWNER, CHANGE_TIMES } what;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	const struct timespec *times; /* two, or NULL: now */
};

static int64_t change_mode(int fd, mode_t mode)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (S_ISLNK(st.st_mode))
		return -EOPNOTSUPP;
	if ((mode & (S_ISUID | S_ISGID)) && !S_ISDIR(st.st_mode)) /* F4 */
		return -EPERM;
	return chmod(path_link(fd).text, mode & 07777) ? -errno : 0;
}

static bool times_valid(const struct timespec times[2])
{
	for (int i = 0; i < 2; i++) {
		long ns = times[i].tv_nsec;
		if (ns != UTIME_NOW && ns != UTIME_OMIT && (ns < 0 || ns > 999999999))
			return false;
	}
	return true;
}

/* Any descriptor that is known to lie in an rw directory; a symbolic link is changed itself. */
static int64_t change_apply(const struct task *t, int fd, const struct change *c)
{
	uid_t uid = c->uid;
	gid_t gid = c->gid;
	int ret;

	switch (c->what) {
	case CHANGE_MODE:
		return change_mode(fd, c->mode);
	case CHANGE_OWNER:
		ret = identity_meant(&t->sandbox->identity, &uid, &gid);
		if (ret)
			return ret;
		ret = fchownat(fd, "", uid, gid, AT_EMPTY_PATH);
		break;
	default:
		if (c->times && !times_valid(c->times))
			return -EINVAL;
		ret = utimensat(fd, "", c->times, AT_EMPTY_PATH);
		break;
	}
	return ret ? -errno : 0;
}

static int64_t change_fd(struct task *t, int fd, const struct change *c)
{
	int64_t ret = path_check_writable(t->files->view, fd);

	return ret ? ret : change_apply(t, fd, c);
}

static int64_t change_guest_fd(struct task *t, int guest_fd, const struct change *c)
{
	int host_fd = files_host_fd(t->files, guest_fd);

	if (host_fd < 0 || (fcntl(host_fd, F_GETFL) & O_PATH))
		return -EBADF;
	return change_fd(t, host_fd, c);
}

static int64_t change_path(struct task *t, const uint64_t at[2], int flags, const struct change *c)
{
	struct path_target target;
	int64_t ret = target_get(t, at, flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, &target);

	if (ret)
		return ret;
	ret = change_fd(t, target.fd, c);
	close(target.fd);
	return ret;
}

static int64_t sys_chmod(struct task *t, const uint64_t a[6])
{
	const uint64_t at[2] = {(uint64_t)AT_FDCWD, a[0]};

	return change_path(t, at, 0, &(struct change){.what = CHANGE_MODE, .mode = (mode_t)a[1]});
}

static int64_t sys_fchmod(struct task *t, const uint64_t a[6])
{
	return change_guest_fd(t, (int)a[0], &(struct change){.what = CHANGE_MODE, .mode = (mode_t)a[1]});
}

static int64_t sys_fchmodat(struct task *t, const uint64_t a[6])
{
	return change_path(t, a, 0, &(struct change){.what = CHANGE_MODE, .mode = (mode_t)a[2]});
}

static int64_t sys_fchmodat2(struct task *t, const uint64_t a[6])
{
	return change_path(t, a, (int)a[3], &(struct change){.what = CHANGE_MODE, .mode = (mode_t)a[2]});
}

static struct change change_owner(uint64_t uid, uint64_t gid)
{
	return (struct change){.what = CHANGE_OWNER, .uid = (uid_t)uid, .gid = (gid_t)gid};
}

static int64_t sys_chown(struct task *t, const uint64_t a[6])
{
	const struct change c = change_owner(a[1], a[2]);
	const uint64_t at[2] = {(uint64_t)AT_FDCWD, a[0]};

	return change_path(t, at, 0, &c);
}

static int64_t sys_lchown(struct task *t, const uint64_t a[6])
{
	const struct change c = change_owner(a[1], a[2]);
	const uint64_t at[2] = {(uint64_t)AT_FDCWD, a[0]};

	return change_path(t, at, AT_SYMLINK_NOFOLLOW, &c);
}

static int64_t sys_fchown(struct task *t, const uint64_t a[6])
{
	const struct change c = change_owner(a[1], a[2]);

	return change_guest_fd(t, (int)a[0], &c);
}

static int64_t sys_fchownat(struct task *t, const uint64_t a[6])
{
	const struct change c = change_owner(a[2], a[3]);

	return change_path(t, a, (int)a[4], &c);
}

/* Without a name it is the descriptor that is meant: futimens. */
static int64_t sys_utimensat(struct task *t, const uint64_t a[6])
{
	struct change c = {.what = CHANGE_TIMES};
	struct timespec times[2];
	int flags = (int)a[3];

	if (a[2]) {
		if (copy_from_user(t->mm, times, a[2], sizeof(times)))
			return -EFAULT;
		if (times[0].tv_nsec == UTIME_OMIT && times[1].tv_nsec == UTIME_OMIT)
			return 0;
		c.times = times;
	}
	if (a[1] || (int)a[0] == AT_FDCWD)
		return change_path(t, a, flags, &c);
	return flags ? -EINVAL : change_guest_fd(t, (int)a[0], &c);
}

/* Times in microseconds, as the older calls have them; NULL: now. */
static int64_t change_usec(struct task *t, const uint64_t at[2], gva_t from)
{
	struct change c = {.what = CHANGE_TIMES};
	struct timespec times[2];
	struct timeval tv[2];

	if (from && copy_from_user(t->mm, tv, from, sizeof(tv)))
		return -EFAULT;
	for (int i = 0; from && i < 2; i++) {
		if (tv[i].tv_usec < 0 || tv[i].tv_usec >= 1000000)
			return -EINVAL;
		times[i] = (struct timespec){tv[i].tv_sec, tv[i].tv_usec * 1000};
	}
	if (from)
		c.times = times;
	return at[1] || (int)at[0] == AT_FDCWD ? change_path(t, at, 0, &c)
					       : change_guest_fd(t, (int)at[0], &c);
}

static int64_t sys_futimesat(struct task *t, const uint64_t a[6])
{
	return change_usec(t, a, a[2]);
}

static int64_t sys_utimes(struct task *t, const uint64_t a[6])
{
	return change_usec(t, (const uint64_t[2]){(uint64_t)AT_FDCWD, a[0]}, a[1]);
}

static int64_t sys_utime(struct task *t, const uint64_t a[6])
{
	const uint64_t at[2] = {(uint64_t)AT_FDCWD, a[0]};
	struct change c = {.what = CHANGE_TIMES};
	struct timespec times[2] = {{0}};
	int64_t seconds[2];

	if (a[1]) {
		if (copy_from_user(t->mm, seconds, a[1], sizeof(seconds)))
			return -EFAULT;
		times[0].tv_sec = seconds[0];
		times[1].tv_sec = seconds[1];
		c.times = times;
	}
	return change_path(t, at, 0, &c);
}

/* --- length ---------------------------------------------------------------------------------- */

static int64_t truncate_fd(struct task *t, int fd, off_t length)
{
	struct stat st;
	int64_t ret = fstat(fd, &st) ? -errno : 0;
	struct coherent_change change;
	int verified;

	if (!ret && !S_ISREG(st.st_mode))
		ret = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	if (ret)
		return ret;
	verified = path_writable(t->files->view, fd, 0);
	if (verified < 0)
		return verified;
	if (rlimit_refuses_size(t, (uint64_t)length)) {
		close(verified);
		return -EFBIG;
	}
	coherent_begin(&change, t, verified);
	ret = truncate(path_link(verified).text, length) ? -errno : 0;
	coherent_end(&change, 0, 0);
	close(verified);
	return ret;
}

static int64_t sys_truncate(struct task *t, const uint64_t a[6])
{
	const uint64_t at[2] = {(uint64_t)AT_FDCWD, a[0]};
	struct path_target target;
	int64_t ret;

	if ((int64_t)a[1] < 0)
		return -EINVAL;
	ret = target_get(t, at, 0, 0, &target);
	if (ret)
		return ret;
	ret = truncate_fd(t, target.fd, (off_t)a[1]);
	close(target.fd);
	return ret;
}

const struct syscall_entry sys_stat_calls[] = {
	SYSCALL_ENTRY(stat),	   SYSCALL_ENTRY(lstat),     SYSCALL_ENTRY(fstat),
	SYSCALL_ENTRY(newfstatat), SYSCALL_ENTRY(statx),     SYSCALL_ENTRY(statfs),
	SYSCALL_ENTRY(fstatfs),	   SYSCALL_ENTRY(access),    SYSCALL_ENTRY(faccessat),
	SYSCALL_ENTRY(faccessat2), SYSCALL_ENTRY(chmod),     SYSCALL_ENTRY(fchmod),
	SYSCALL_ENTRY(fchmodat),   SYSCALL_ENTRY(fchmodat2), SYSCALL_ENTRY(chown),
	SYSCALL_ENTRY(lchown),	   SYSCALL_ENTRY(fchown),    SYSCALL_ENTRY(fchownat),
	SYSCALL_ENTRY(utimensat),  SYSCALL_ENTRY(truncate),  SYSCALL_ENTRY(utime),
	SYSCALL_ENTRY(utimes),	   SYSCALL_ENTRY(futimesat), {0},
};
