/* SPDX-License-Identifier: MIT */
/*
 * sys_admin.c - what is for who administers a machine: EPERM, as for a user without any rights, whoever the guest says it is.
 *
 * What is wrong with the arguments is told where Linux looks at them before it looks at the rights.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "path.h"
#include "syscall.h"

static int64_t not_permitted(struct task *t, const uint64_t a[6])
{
	(void)t;
	(void)a;
	return -EPERM;
}

/* A directory that is there, and may be entered. */
static int64_t sys_chroot(struct task *t, const uint64_t a[6])
{
	struct path_target target;
	struct path p;
	int64_t ret = path_get(t, AT_FDCWD, a[0], &p);

	if (!ret)
		ret = path_target(t, &p, PATH_DIRECTORY, &target);
	if (ret)
		return ret;
	close(target.fd);
	return -EPERM;
}

#define UNSHARE_OWN   (CLONE_FILES | CLONE_FS | CLONE_SYSVSEM)
#define UNSHARE_SPACE (CLONE_THREAD | CLONE_SIGHAND | CLONE_VM)
#define UNSHARE_NEW                                                                                \
	(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWUSER | CLONE_NEWPID | \
	 CLONE_NEWCGROUP | 0x80 /* CLONE_NEWTIME */)

/* Descriptors and directories become the caller's own; there are no namespaces. */
static int64_t sys_unshare(struct task *t, const uint64_t a[6])
{
	uint64_t flags = a[0];
	struct files *files;
	struct fs *fs;

	if (flags & ~(uint64_t)(UNSHARE_OWN | UNSHARE_SPACE | UNSHARE_NEW))
		return -EINVAL;
	if ((flags & UNSHARE_SPACE) && t->process->nr_threads > 1)
		return -EINVAL;
	if (flags & UNSHARE_NEW)
		return -EPERM;
	files = flags & CLONE_FILES ? files_copy(t->files) : files_share(t->files);
	fs = flags & CLONE_FS ? fs_copy(t->fs) : fs_share(t->fs);
	if (!files || !fs) {
		files_release(files);
		if (fs)
			fs_release(fs);
		return -ENOMEM;
	}
	files_release(t->files);
	fs_release(t->fs);
	t->files = files;
	t->fs = fs;
	return 0;
}

/* There is no other namespace to go to. */
static int64_t sys_setns(struct task *t, const uint64_t a[6])
{
	return files_get_open(t->files, (int)a[0]) ? -EINVAL : -EBADF;
}

/* --- mounts and swap: what is said of the arguments first -------------------------------------- */

/* A text of at most a page, or none. */
static int64_t check_text(struct task *t, gva_t text)
{
	char copy[PATH_MAX];
	int64_t len = text ? strncpy_from_user(t->mm, copy, text, sizeof(copy)) : 0;

	return len == -ENAMETOOLONG ? -EINVAL : len < 0 ? len : 0;
}

static int64_t check_path(struct task *t, gva_t text, unsigned int flags)
{
	struct path_target target;
	struct path p;
	int64_t ret = path_get(t, AT_FDCWD, text, &p);

	if (!ret)
		ret = path_target(t, &p, flags, &target);
	if (!ret)
		close(target.fd);
	return ret;
}

static int64_t sys_mount(struct task *t, const uint64_t a[6])
{
	int64_t ret = check_text(t, a[2]);
	char data;

	if (!ret)
		ret = check_text(t, a[0]);
	if (!ret && a[4] && copy_from_user(t->mm, &data, a[4], sizeof(data)))
		ret = -EFAULT;
	if (!ret)
		ret = check_path(t, a[1], 0);
	return ret ? ret : -EPERM;
}

static int64_t sys_umount2(struct task *t, const uint64_t a[6])
{
	const unsigned int known = MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW;
	unsigned int flags = (unsigned int)a[1];
	int64_t ret;

	if (flags & ~known)
		return -EINVAL;
	ret = check_path(t, a[0], flags & UMOUNT_NOFOLLOW ? PATH_NOFOLLOW : 0);
	return ret ? ret : -EPERM;
}

#define SWAP_FLAGS 0x7ffff /* SWAP_FLAGS_VALID */

static int64_t sys_swapon(struct task *t, const uint64_t a[6])
{
	(void)t;
	return (unsigned int)a[1] & ~SWAP_FLAGS ? -EINVAL : -EPERM;
}

/* There is no group whose marks these could be. */
static int64_t sys_fanotify_mark(struct task *t, const uint64_t a[6])
{
	return files_get_open(t->files, (int)a[0]) ? -EINVAL : -EBADF;
}

#define REFUSED(name)                            \
	{                                        \
		SYS_##name, not_permitted, #name \
	}

const struct syscall_entry sys_admin_calls[] = {
	SYSCALL_ENTRY(setns),
	SYSCALL_ENTRY(chroot),
	SYSCALL_ENTRY(unshare),
	REFUSED(acct),
	REFUSED(pivot_root),
	REFUSED(swapoff),
	REFUSED(sethostname),
	REFUSED(setdomainname),
	REFUSED(reboot),
	REFUSED(vhangup),
	REFUSED(syslog),
	REFUSED(init_module),
	REFUSED(finit_module),
	REFUSED(delete_module),
	REFUSED(kexec_load),
	REFUSED(kexec_file_load),
	REFUSED(bpf),
	REFUSED(fsopen),
	REFUSED(fspick),
	REFUSED(fsmount),
	REFUSED(move_mount),
	REFUSED(mount_setattr),
	REFUSED(quotactl),
	REFUSED(fanotify_init),
	REFUSED(fsconfig),
	REFUSED(open_tree),
	SYSCALL_ENTRY(fanotify_mark),
	SYSCALL_ENTRY(mount),
	SYSCALL_ENTRY(umount2),
	SYSCALL_ENTRY(swapon),
	{0},
};
