/* SPDX-License-Identifier: MIT */
/*
 * sys_fcntl.c - fcntl and flock.
 *
 * Who is to have a file's signal is kept with the file; when it comes the host says (notice.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host_wait.h"
#include "memfd.h"
#include "notice.h"
#include "path.h"
#include "sys_file.h"
#include "syscall.h"

/* What F_SETFL may change; and O_ASYNC, where somebody hears of it. */
#define SETFL_FLAGS    (O_APPEND | O_NONBLOCK | O_NOATIME | O_DIRECT)

/* The kernel's numbers for what libc does not have. */
#define DUPFD_QUERY    1027 /* Linux 6.10 */
#define CREATED_QUERY  1028 /* Linux 6.12 */
#define GETOWNER_UIDS  17
#define LOCK_MANDATORY 32
#define HINT_BYTES     8

static int64_t result(long ret)
{
	return ret < 0 ? -errno : ret;
}

/* --- locks ----------------------------------------------------------------------------------- */

/* Locks of open file descriptions are the host's. */
static int64_t do_ofd_lock(struct task *t, int host_fd, int cmd, struct flock *lock)
{
	struct host_wait wait;
	int64_t ret;

	host_wait_begin(&wait);
	do
		ret = result(fcntl(host_fd, cmd, lock));
	while (ret == -EINTR && !task_interrupted(t));
	host_wait_end(&wait);
	return ret == -EINTR ? host_wait_interrupted(t) : ret;
}

/* Sockets and kin: there is one description and no other, so that its locks are as good as those of a process. */
static bool has_no_second(int host_fd)
{
	char path[PATH_MAX];

	return path_of_fd(host_fd, path) >= 0 && path[0] != '/' && strncmp(path, "pipe:", 5);
}

static int64_t do_lock(struct task *t, int host_fd, int cmd, gva_t address)
{
	bool of_process = cmd == F_GETLK || cmd == F_SETLK || cmd == F_SETLKW;
	struct flock lock;
	int64_t ret;

	if (copy_from_user(t->mm, &lock, address, sizeof(lock)))
		return -EFAULT;
	if (of_process && has_no_second(host_fd)) {
		lock.l_pid = 0;
		ret = do_ofd_lock(t, host_fd, cmd - F_GETLK + F_OFD_GETLK, &lock);
	} else {
		ret = of_process ? filelock_fcntl(t, host_fd, cmd, &lock)
				 : do_ofd_lock(t, host_fd, cmd, &lock);
	}
	if (!ret && (cmd == F_GETLK || cmd == F_OFD_GETLK) &&
	    copy_to_user(t->mm, address, &lock, sizeof(lock)))
		return -EFAULT;
	return ret;
}

static int64_t set_flags(struct task *t, struct guest_file *file, int guest_fd, int flags)
{
	int now = fcntl(file->host_fd, F_GETFL), may = SETFL_FLAGS | (file->owned ? O_ASYNC : 0), err = 0;

	if (flags & may & ~now & O_ASYNC)
		err = notice_arm(t, file, guest_fd);
	return err ? err : result(fcntl(file->host_fd, F_SETFL, (now & ~may) | (flags & may)));
}

static int64_t add_seals(int host_fd, unsigned int seals)
{
	struct backing *b = memfd_find(host_fd);
	int64_t ret;

	if (!b)
		return result(fcntl(host_fd, F_ADD_SEALS, seals));
	ret = memfd_add_seals(b, host_fd, seals);
	backing_put(b);
	return ret;
}

/* --- owners and hints ------------------------------------------------------------------------ */

/* Whether there is a process, thread or group of that number. */
static bool owner_exists(struct task *t, int type, int id)
{
	bool found;

	pthread_mutex_lock(&t->sandbox->lock);
	found = type == F_OWNER_PGRP  ? process_group_exists(t->sandbox, id)
		: type == F_OWNER_TID ? task_find(t->sandbox, id) != NULL
				      : process_find(t->sandbox, id) != NULL;
	pthread_mutex_unlock(&t->sandbox->lock);
	return found;
}

static int64_t set_owner(struct task *t, struct guest_file *file, int type, int id)
{
	if (id && !owner_exists(t, type, id))
		return -ESRCH;
	atomic_store(&file->owner_type, type);
	atomic_store(&file->owner, id);
	return 0;
}

static int64_t set_owner_number(struct task *t, struct guest_file *file, int number)
{
	if (number == INT_MIN)
		return -EINVAL;
	return number < 0 ? set_owner(t, file, F_OWNER_PGRP, -number)
			  : set_owner(t, file, F_OWNER_PID, number);
}

static int64_t set_owner_ex(struct task *t, struct guest_file *file, gva_t from)
{
	struct f_owner_ex ex;

	if (copy_from_user(t->mm, &ex, from, sizeof(ex)))
		return -EFAULT;
	if (ex.type != F_OWNER_TID && ex.type != F_OWNER_PID && ex.type != F_OWNER_PGRP)
		return -EINVAL;
	return set_owner(t, file, ex.type, ex.pid);
}

static int64_t get_owner_ex(struct task *t, const struct guest_file *file, gva_t to)
{
	struct f_owner_ex ex = {atomic_load(&file->owner_type), atomic_load(&file->owner)};

	return copy_to_user(t->mm, to, &ex, sizeof(ex)) ? -EFAULT : 0;
}

/* What tells whoever asked first, unless another was named before. */
static void own_first(struct task *t, struct guest_file *file)
{
	if (atomic_load(&file->owner))
		return;
	atomic_store(&file->owner_type, F_OWNER_PID);
	atomic_store(&file->owner, t->pid);
}

static int64_t set_lease(struct task *t, struct guest_file *file, int guest_fd, int type)
{
	int64_t ret = type == F_RDLCK || type == F_WRLCK ? notice_arm(t, file, guest_fd) : 0;

	if (!ret)
		ret = result(fcntl(file->host_fd, F_SETLEASE, type));
	if (!ret && type != F_UNLCK) {
		own_first(t, file);
		atomic_store(&t->sandbox->notices.leased, true);
	}
	return ret;
}

static int64_t notify(struct task *t, struct guest_file *file, int guest_fd, unsigned int events)
{
	bool begins = events & ~(unsigned int)DN_MULTISHOT;
	int64_t ret = begins ? notice_arm(t, file, guest_fd) : 0;

	if (!ret)
		ret = result(fcntl(file->host_fd, F_NOTIFY, events));
	if (!ret && begins)
		own_first(t, file);
	return ret;
}

static int64_t set_signal(struct guest_file *file, uint64_t signo)
{
	if (signo > NR_SIGNALS)
		return -EINVAL;
	atomic_store(&file->signo, (int)signo);
	return 0;
}

static int64_t do_hint(struct task *t, int host_fd, int cmd, gva_t address)
{
	uint64_t hint = 0;
	bool set = cmd == F_SET_RW_HINT || cmd == F_SET_FILE_RW_HINT;
	int64_t ret;

	if (set && copy_from_user(t->mm, &hint, address, HINT_BYTES))
		return -EFAULT;
	ret = result(fcntl(host_fd, cmd, &hint));
	return !ret && !set && copy_to_user(t->mm, address, &hint, HINT_BYTES) ? -EFAULT : ret;
}

/* --- fcntl ----------------------------------------------------------------------------------- */

static int64_t fcntl_host(struct task *t, int host_fd, int cmd, uint64_t arg)
{
	switch (cmd) {
	case F_ADD_SEALS:
		return add_seals(host_fd, (unsigned int)arg);
	case F_GET_SEALS:
	case F_GETPIPE_SZ:
	case F_GETLEASE:
		return result(fcntl(host_fd, cmd));
	case F_SETPIPE_SZ:
		return result(fcntl(host_fd, cmd, (int)arg));
	case F_GET_RW_HINT:
	case F_SET_RW_HINT:
	case F_GET_FILE_RW_HINT:
	case F_SET_FILE_RW_HINT:
		return do_hint(t, host_fd, cmd, arg);
	case F_GETLK:
	case F_SETLK:
	case F_SETLKW:
	case F_OFD_GETLK:
	case F_OFD_SETLK:
	case F_OFD_SETLKW:
		return do_lock(t, host_fd, cmd, arg);
	default:
		return -EINVAL;
	}
}

/* What takes a file that is open for more than its path. */
static int64_t fcntl_open(struct task *t, struct guest_file *file, int guest_fd, int cmd, uint64_t arg)
{
	int owner = atomic_load(&file->owner);

	switch (cmd) {
	case F_SETOWN:
		return set_owner_number(t, file, (int)arg);
	case F_GETOWN:
		return atomic_load(&file->owner_type) == F_OWNER_PGRP ? -owner : owner;
	case F_SETOWN_EX:
		return set_owner_ex(t, file, arg);
	case F_GETOWN_EX:
		return get_owner_ex(t, file, arg);
	case GETOWNER_UIDS: /* an owner that nobody has a signal for has none */
		return copy_to_user(t->mm, arg, (const uid_t[2]){0}, sizeof(uid_t[2])) ? -EFAULT : 0;
	case F_SETSIG:
		return set_signal(file, arg);
	case F_GETSIG:
		return atomic_load(&file->signo);
	case F_SETFL:
		return set_flags(t, file, guest_fd, (int)arg);
	case F_SETLEASE:
		return set_lease(t, file, guest_fd, (int)arg);
	case F_NOTIFY:
		return notify(t, file, guest_fd, (unsigned int)arg);
	default:
		return fcntl_host(t, file->host_fd, cmd, arg);
	}
}

/* A pidfd is something else for us than for the guest. */
static int64_t get_flags(const struct guest_file *file)
{
	int64_t flags = result(fcntl(file->host_fd, F_GETFL));

	return file->process_serial ? flags & ~(int64_t)O_NONBLOCK : flags;
}

static int64_t sys_fcntl(struct task *t, const uint64_t a[6])
{
	struct guest_file *file = files_get(t->files, (int)a[0]), *other;
	int cmd = (int)a[1];

	if (!file)
		return -EBADF;
	switch (cmd) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		if ((unsigned int)a[2] >= files_limit())
			return -EINVAL;
		return file_dup_above(t, (int)a[0], (int)a[2], cmd == F_DUPFD_CLOEXEC);
	case F_GETFD:
		return files_cloexec(t->files, (int)a[0]) ? FD_CLOEXEC : 0;
	case F_SETFD:
		files_set_cloexec(t->files, (int)a[0], a[2] & FD_CLOEXEC);
		return 0;
	case F_GETFL:
		return get_flags(file);
	case DUPFD_QUERY:
		other = files_get(t->files, (int)a[2]);
		return other ? result(fcntl(file->host_fd, cmd, other->host_fd)) : -EBADF;
	case CREATED_QUERY:
		return result(fcntl(file->host_fd, cmd));
	default:
		return file->only_path ? -EBADF : fcntl_open(t, file, (int)a[0], cmd, a[2]);
	}
}

static int64_t sys_flock(struct task *t, const uint64_t a[6])
{
	int host_fd = files_host_fd(t->files, (int)a[0]);
	struct host_wait wait;
	int64_t ret;

	if (a[1] & LOCK_MANDATORY) /* it is gone, and that is told in the kernel's log alone */
		return 0;
	if (host_fd < 0)
		return -EBADF;
	host_wait_begin(&wait);
	do
		ret = result(flock(host_fd, (int)a[1]));
	while (ret == -EINTR && !task_interrupted(t));
	host_wait_end(&wait);
	return ret == -EINTR ? host_wait_interrupted(t) : ret;
}

const struct syscall_entry sys_fcntl_calls[] = {
	SYSCALL_ENTRY(fcntl),
	SYSCALL_ENTRY(flock),
	{0},
};
