/* SPDX-License-Identifier: MIT */
/*
 * sys_kcmp.c - kcmp: whether two tasks share something.
 *
 * Things that differ are ordered by where we have them, which tells a guest no more than that they differ.
 */
#include <errno.h>
#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "syscall.h"

/* 0: the same; else which comes first. */
static int64_t order(uintptr_t one, uintptr_t two)
{
	return one == two ? 0 : one < two ? 1 : 2;
}

/* What the host has behind two descriptors. They are of tables that stay while the lock is held. */
static int64_t compare_files(struct task *one, int one_fd, struct task *two, int two_fd)
{
	int a = one->files ? files_host_fd(one->files, one_fd) : -EBADF,
	    b = two->files ? files_host_fd(two->files, two_fd) : -EBADF;
	pid_t self = getpid();
	long ret = a < 0 || b < 0 ? 0 : syscall(SYS_kcmp, self, self, KCMP_FILE, a, b);

	if (a < 0 || b < 0)
		return -EBADF;
	return ret < 0 ? -errno : ret;
}

static int64_t compare(struct task *one, struct task *two, const uint64_t a[6])
{
	switch ((int)a[2]) {
	case KCMP_FILE:
		return compare_files(one, (int)a[3], two, (int)a[4]);
	case KCMP_VM:
		return order((uintptr_t)one->mm, (uintptr_t)two->mm);
	case KCMP_FILES:
		return order((uintptr_t)one->files, (uintptr_t)two->files);
	case KCMP_FS:
		return order((uintptr_t)one->fs, (uintptr_t)two->fs);
	case KCMP_SIGHAND:
		return order((uintptr_t)one->sighand, (uintptr_t)two->sighand);
	case KCMP_IO: /* nobody has any */
	case KCMP_SYSVSEM:
		return 0;
	default:
		return -EINVAL;
	}
}

static int64_t sys_kcmp(struct task *t, const uint64_t a[6])
{
	struct task *one, *two;
	int64_t ret = -ESRCH;

	pthread_mutex_lock(&t->sandbox->lock);
	one = task_find(t->sandbox, (int)a[0]);
	two = task_find(t->sandbox, (int)a[1]);
	if (one && two)
		ret = compare(one, two, a);
	pthread_mutex_unlock(&t->sandbox->lock);
	return ret;
}

const struct syscall_entry sys_kcmp_calls[] = {
	SYSCALL_ENTRY(kcmp),
	{0},
};
